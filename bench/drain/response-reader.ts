/**
 * Reads one HTTP/1.1 answer from bytes as they come (RFC 9112). Not for every server in the world, but strict: what it does not
 * understand is an answer that went wrong, never one that was fine.
 */

/** Longest head, and longest line of a chunked body. */
const HEAD_BYTES_MAX = 64 * 1024;
const CRLF = Buffer.from("\r\n");
const HEAD_END = Buffer.from("\r\n\r\n");

type State =
	| "head"
	| "length"
	| "until-close"
	| "chunk-size"
	| "chunk"
	| "chunk-end"
	| "trailers"
	| "complete"
	| "malformed";

export class ResponseReader {
	status = 0;
	/** By name in lower case; of fields that come twice the last. */
	readonly fields = new Map<string, string>();
	/** At least one byte has come. */
	hasBegun = false;
	/** Why it is malformed. */
	mistake = "";
	readonly #onBody: (bytes: Buffer) => void;
	#state: State = "head";
	/** Bytes of an unfinished head or line. */
	#pending: Buffer = Buffer.alloc(0);
	/** Bytes that the body, or the chunk, still has to bring. */
	#left = 0;

	constructor(onBody: (bytes: Buffer) => void) {
		this.#onBody = onBody;
	}

	get isComplete(): boolean {
		return this.#state === "complete";
	}

	get isMalformed(): boolean {
		return this.#state === "malformed";
	}

	/** The whole head has come. */
	get hasHead(): boolean {
		return this.status !== 0;
	}

	/** The connection may carry another request after this answer. */
	get isKeptAlive(): boolean {
		return this.isComplete && !this.#isLast;
	}

	#isLast = true;

	push(bytes: Buffer): void {
		let rest: Buffer | undefined = bytes;
		if (bytes.length > 0) this.hasBegun = true;
		while (rest !== undefined && rest.length > 0 && this.#state !== "malformed") rest = this.#take(rest);
	}

	/** The server has closed its side. */
	end(): void {
		if (this.#state === "until-close") this.#state = "complete";
	}

	/** What is left of the bytes, or undefined when all were needed. */
	#take(bytes: Buffer): Buffer | undefined {
		switch (this.#state) {
			case "head":
				return this.#until(HEAD_END, bytes, (text) => this.#readHead(text));
			case "length":
			case "chunk": {
				const part = bytes.subarray(0, this.#left);
				this.#left -= part.length;
				this.#onBody(part);
				if (this.#left === 0) this.#state = this.#state === "length" ? "complete" : "chunk-end";
				return bytes.subarray(part.length);
			}
			case "until-close":
				this.#onBody(bytes);
				return undefined;
			case "chunk-size":
				return this.#until(CRLF, bytes, (text) => this.#readChunkSize(text));
			case "chunk-end":
				return this.#until(CRLF, bytes, (text) => {
					if (text === "") this.#state = "chunk-size";
					else this.#refuse("no line end after a chunk");
				});
			case "trailers":
				return this.#until(CRLF, bytes, (text) => {
					if (text === "") this.#state = "complete";
				});
			case "complete":
				this.#refuse(`${bytes.length} bytes after the answer`);
				return undefined;
			case "malformed":
				return undefined;
			default:
				return this.#state satisfies never;
		}
	}

	/** Gathers bytes up to `mark`, hands over what was before it, and returns what is after it. */
	#until(mark: Buffer, bytes: Buffer, read: (text: string) => void): Buffer | undefined {
		const all = this.#pending.length === 0 ? bytes : Buffer.concat([this.#pending, bytes]);
		const at = all.indexOf(mark);
		if (at === -1) {
			this.#pending = all;
			if (all.length > HEAD_BYTES_MAX) this.#refuse(`no end within ${HEAD_BYTES_MAX} bytes`);
			return undefined;
		}
		this.#pending = Buffer.alloc(0);
		read(all.toString("latin1", 0, at));
		return all.subarray(at + mark.length);
	}

	#readHead(text: string): void {
		const [statusLine = "", ...lines] = text.split("\r\n");
		const match = /^HTTP\/1\.([01]) (\d{3})(?: |$)/.exec(statusLine);
		if (match === null) {
			this.#refuse(`not a status line: ${JSON.stringify(statusLine.slice(0, 100))}`);
			return;
		}
		const status = Number(match[2]);
		if (status >= 100 && status < 200) return; // RFC 9110 §15.2: the final answer follows
		this.fields.clear();
		for (const line of lines) {
			const colon = line.indexOf(":");
			if (colon < 1) {
				this.#refuse(`not a field: ${JSON.stringify(line.slice(0, 100))}`);
				return;
			}
			this.fields.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
		}
		this.status = status;
		const connection = (this.fields.get("connection") ?? "").toLowerCase().split(/ *, */);
		this.#isLast = match[1] === "0" ? !connection.includes("keep-alive") : connection.includes("close");
		this.#readFraming(status);
	}

	/** RFC 9112 §6.3, for answers to GET and POST. */
	#readFraming(status: number): void {
		const coding = this.fields.get("transfer-encoding");
		const length = this.fields.get("content-length");
		if (status === 204 || status === 304) this.#state = "complete";
		else if (coding !== undefined) {
			if (coding.toLowerCase() === "chunked") this.#state = "chunk-size";
			else this.#refuse(`transfer-encoding: ${coding}`);
		} else if (length !== undefined) {
			this.#left = /^\d{1,15}$/.test(length) ? Number(length) : -1;
			if (this.#left < 0) this.#refuse(`content-length: ${length}`);
			else this.#state = this.#left === 0 ? "complete" : "length";
		} else {
			this.#isLast = true;
			this.#state = "until-close";
		}
	}

	#readChunkSize(text: string): void {
		const digits = /^([0-9a-f]{1,8})(?:[ \t]*;.*)?$/i.exec(text)?.[1];
		if (digits === undefined) {
			this.#refuse(`not a chunk's size: ${JSON.stringify(text.slice(0, 100))}`);
			return;
		}
		this.#left = Number.parseInt(digits, 16);
		this.#state = this.#left === 0 ? "trailers" : "chunk";
	}

	#refuse(mistake: string): void {
		this.mistake = mistake;
		this.#state = "malformed";
	}
}
