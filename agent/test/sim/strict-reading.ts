/**
 * A second, independent and narrow reading of HTTP/1.1, for what came out of the agent: nothing of `src/http1` is used. It accepts what the agent may
 * write and nothing else.
 */
export interface ReadMessage {
	readonly startLine: string;
	readonly fields: readonly (readonly [name: string, value: string])[];
	/** Payload so far. */
	readonly pieces: Buffer[];
	readonly trailers: string[];
	bodyBytes: number;
	isWhole: boolean;
}

export const fieldsOf = (message: ReadMessage, name: string): string[] =>
	message.fields.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value);

export const fieldOf = (message: ReadMessage, name: string): string | undefined => fieldsOf(message, name)[0];

export const bodyOfMessage = (message: ReadMessage): Buffer => Buffer.concat(message.pieces);

const FIELD = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[\t ]*([\t\x20-\x7e\x80-\xff]*)$/;
const REQUEST_LINE = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [\x21-\x7e\x80-\xff]+ HTTP\/1\.1$/;
const STATUS_LINE = /^HTTP\/1\.1 [1-9][0-9]{2}(?: [\t\x20-\x7e\x80-\xff]*)?$/;
/** Longest head or chunk line that is waited for. */
const LINE_MAX = 256 * 1024;

export class Malformed extends Error {}

type Want = "head" | "length" | "chunk-size" | "chunk" | "chunk-end" | "trailers" | "close" | "opaque";

export interface ReadingOwner {
	head(message: ReadMessage): void;
	whole(message: ReadMessage): void;
	/** Bytes after `becomeOpaque`. */
	opaque(bytes: Buffer): void;
}

/** Reads one direction of a connection. Throws `Malformed`. */
export class StrictReader {
	readonly #owner: ReadingOwner;
	readonly #side: "request" | "response";
	/** Response: whether the final answer that comes next has no body by its request (HEAD). */
	readonly #isBodiless: () => boolean;
	#want: Want = "head";
	#held: Buffer[] = [];
	#message: ReadMessage | undefined;
	#left = 0;

	constructor(side: "request" | "response", owner: ReadingOwner, isBodiless: () => boolean = () => false) {
		this.#side = side;
		this.#owner = owner;
		this.#isBodiless = isBodiless;
	}

	/** The message under way; `undefined` between messages. */
	get message(): ReadMessage | undefined {
		return this.#message;
	}

	/** Whether something has begun: bytes of a head included. */
	get isWithin(): boolean {
		return this.#message !== undefined || this.#held.length > 0;
	}

	/** What follows belongs to no message: a tunnel. */
	becomeOpaque(): void {
		this.#want = "opaque";
		this.#message = undefined;
	}

	/** FIN has come. Returns whether that made the message whole. */
	ended(): boolean {
		if (this.#want !== "close") return false;
		this.#finish();
		return true;
	}

	read(given: Buffer): void {
		let bytes = given;
		while (bytes.length > 0) {
			switch (this.#want) {
				case "opaque":
					this.#owner.opaque(bytes);
					return;
				case "close":
					this.#body(bytes);
					return;
				case "length":
				case "chunk": {
					const part = bytes.subarray(0, this.#left);
					this.#left -= part.length;
					this.#body(part);
					bytes = bytes.subarray(part.length);
					if (this.#left === 0) {
						if (this.#want === "length") this.#finish();
						else this.#want = "chunk-end";
					}
					break;
				}
				default: {
					const rest = this.#text(bytes, this.#want === "head" ? "\r\n\r\n" : "\r\n");
					if (rest === undefined) return;
					bytes = rest;
				}
			}
		}
	}

	/** Waits for a run of text up to its end; what follows it is returned. */
	#text(bytes: Buffer, end: string): Buffer | undefined {
		const all = this.#held.length === 0 ? bytes : Buffer.concat([...this.#held, bytes]);
		const at = all.indexOf(end, 0, "latin1");
		if (at < 0) {
			if (all.length > LINE_MAX) throw new Malformed(`no end of a ${this.#want} in ${all.length} bytes`);
			this.#held = [all];
			return undefined;
		}
		this.#held = [];
		const text = all.toString("latin1", 0, at);
		switch (this.#want) {
			case "head":
				this.#head(text);
				break;
			case "chunk-size": {
				const size = /^([0-9a-fA-F]{1,13})(?:[\t ]*;[\t\x20-\x7e\x80-\xff]*)?$/.exec(text)?.[1];
				if (size === undefined) throw new Malformed(`no chunk size: ${JSON.stringify(text)}`);
				this.#left = Number.parseInt(size, 16);
				this.#want = this.#left === 0 ? "trailers" : "chunk";
				break;
			}
			case "chunk-end":
				if (text !== "") throw new Malformed(`a chunk does not end: ${JSON.stringify(text.slice(0, 40))}`);
				this.#want = "chunk-size";
				break;
			default:
				if (text === "") this.#finish();
				else if (FIELD.test(text)) this.#message?.trailers.push(text);
				else throw new Malformed(`no trailer: ${JSON.stringify(text)}`);
		}
		return all.subarray(at + end.length);
	}

	#head(text: string): void {
		const [startLine = "", ...lines] = text.split("\r\n");
		if (!(this.#side === "request" ? REQUEST_LINE : STATUS_LINE).test(startLine)) {
			throw new Malformed(`no start line: ${JSON.stringify(startLine)}`);
		}
		const fields = lines.map((line): [string, string] => {
			const found = FIELD.exec(line);
			if (found === null) throw new Malformed(`no field: ${JSON.stringify(line)}`);
			return [found[1] ?? "", (found[2] ?? "").replace(/[\t ]+$/, "")];
		});
		const message: ReadMessage = { startLine, fields, pieces: [], trailers: [], bodyBytes: 0, isWhole: false };
		this.#message = message;
		const lengths = fieldsOf(message, "content-length");
		const codings = fieldsOf(message, "transfer-encoding");
		if (lengths.length + codings.length > 1) throw new Malformed(`more than one framing: ${JSON.stringify(text)}`);
		if (lengths.length === 1 && !/^[0-9]{1,15}$/.test(lengths[0] ?? "")) throw new Malformed(`length ${lengths[0]}`);
		if (codings.length === 1 && codings[0]?.toLowerCase() !== "chunked") throw new Malformed(`coding ${codings[0]}`);
		if (this.#side === "request" && fieldsOf(message, "host").length !== 1) {
			throw new Malformed(`not one host: ${JSON.stringify(text)}`);
		}
		const status = this.#side === "response" ? Number(startLine.slice(9, 12)) : 0;
		const isInterim = status >= 100 && status < 200 && status !== 101;
		const isBodiless =
			this.#side === "response" && (status < 200 || status === 204 || status === 304 || this.#isBodiless());
		this.#left = isBodiless ? 0 : Number(lengths[0] ?? 0);
		if (!isBodiless && codings.length === 1) this.#want = "chunk-size";
		else if (this.#left > 0) this.#want = "length";
		else if (this.#side === "response" && !isBodiless && lengths.length === 0) this.#want = "close";
		else this.#want = "head";
		this.#owner.head(message);
		const isOpaque = (this.#want as Want) === "opaque"; // the owner may have said so within the call
		if (!isInterim && !isOpaque && this.#want === "head") this.#finish();
		else if (isInterim) this.#message = undefined;
	}

	#body(bytes: Buffer): void {
		const message = this.#message;
		if (message === undefined) return;
		message.pieces.push(Buffer.from(bytes));
		message.bodyBytes += bytes.length;
	}

	#finish(): void {
		const message = this.#message;
		this.#message = undefined;
		this.#want = "head";
		if (message === undefined) return;
		message.isWhole = true;
		this.#owner.whole(message);
	}
}
