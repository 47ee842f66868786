/**
 * The answer to one request on a connection of its own (RFC 9112), as far as the agent's API needs it: bytes in, status and body out. By hand,
 * because loading node:http would double what a stop hook costs.
 */
export interface HttpAnswer {
	readonly status: number;
	/** Lower case, without parameters; empty: none. */
	readonly contentType: string;
	readonly body: Buffer;
}

const HEAD_BYTES_MAX = 16_384;
/** The longest answer there is lists exchanges. */
export const BODY_BYTES_MAX = 8_388_608;

const HEAD_END = Buffer.from("\r\n\r\n", "latin1");
const LINE_END = Buffer.from("\r\n", "latin1");
const STATUS_LINE = /^HTTP\/1\.[01] ([0-9]{3})(?: |$)/;
const CHUNK_HEAD = /^([0-9a-f]{1,8})[\t ]*(?:;.*)?$/i;

type Framing =
	| { readonly by: "length"; readonly length: number }
	| { readonly by: "chunks" }
	| { readonly by: "close" };

export class AnswerReader {
	#bytes: Buffer[] = [];
	#length = 0;
	#head: { readonly status: number; readonly contentType: string; readonly framing: Framing } | undefined;
	#answer: HttpAnswer | undefined;

	/** `undefined` until it is whole. */
	get answer(): HttpAnswer | undefined {
		return this.#answer;
	}

	/** Takes what has come. Throws when it is no answer that could be read. */
	push(chunk: Buffer): void {
		if (this.#answer !== undefined) return; // what follows was not asked for
		this.#bytes.push(chunk);
		this.#length += chunk.length;
		if (this.#head === undefined) this.#readHead();
		const head = this.#head;
		if (head === undefined) return;
		if (this.#length > BODY_BYTES_MAX) throw new Error("its answer is too long");
		const { framing } = head;
		if (framing.by === "length" && this.#length >= framing.length) {
			this.#finish(this.#all().subarray(0, framing.length));
		} else if (framing.by === "chunks") {
			const body = unchunk(this.#all());
			if (body !== undefined) this.#finish(body);
		}
	}

	/** The other side has closed. Throws when the answer is not whole. */
	end(): void {
		if (this.#answer !== undefined) return;
		if (this.#head?.framing.by !== "close") throw new Error("it closed the connection before its answer was whole");
		this.#finish(this.#all());
	}

	#all(): Buffer {
		const [first, ...more] = this.#bytes;
		if (first !== undefined && more.length > 0) this.#bytes = [Buffer.concat(this.#bytes)];
		return this.#bytes[0] ?? Buffer.alloc(0);
	}

	#readHead(): void {
		const bytes = this.#all();
		const end = bytes.indexOf(HEAD_END);
		if (end < 0 ? bytes.length > HEAD_BYTES_MAX : end > HEAD_BYTES_MAX)
			throw new Error("the head of its answer is too long");
		if (end < 0) return;
		const [first = "", ...lines] = bytes.toString("latin1", 0, end).split("\r\n");
		const status = Number(STATUS_LINE.exec(first)?.[1]);
		if (!(status >= 100)) throw new Error("it does not speak HTTP/1.1");
		const rest = bytes.subarray(end + HEAD_END.length);
		this.#bytes = [rest];
		this.#length = rest.length;
		if (status < 200 && status !== 101) {
			this.#readHead(); // an interim answer (RFC 9110 §15.2)
			return;
		}
		const field = (name: string): string | undefined =>
			lines
				.find((line) => line.toLowerCase().startsWith(`${name}:`))
				?.slice(name.length + 1)
				.trim()
				.toLowerCase();
		this.#head = {
			status,
			contentType: field("content-type")?.split(";", 1)[0]?.trim() ?? "",
			framing: framingOf(status, field("transfer-encoding"), field("content-length")),
		};
	}

	#finish(body: Buffer): void {
		const { status = 0, contentType = "" } = this.#head ?? {};
		this.#answer = { status, contentType, body };
		this.#bytes = [];
	}
}

/** RFC 9112 §6.3, for answers to POST. */
function framingOf(status: number, coding: string | undefined, length: string | undefined): Framing {
	if (status === 204 || status === 304) return { by: "length", length: 0 };
	if (coding !== undefined) {
		if (coding !== "chunked") throw new Error("its answer has an unknown coding");
		return { by: "chunks" };
	}
	if (length === undefined) return { by: "close" };
	if (!/^[0-9]{1,15}$/.test(length)) throw new Error("the length of its answer is no number");
	return { by: "length", length: Number(length) };
}

/** The body without its chunks; `undefined` while it is not whole. Trailers are passed over. */
function unchunk(bytes: Buffer): Buffer | undefined {
	const chunks: Buffer[] = [];
	for (let at = 0; ; ) {
		const lineEnd = bytes.indexOf(LINE_END, at);
		if (lineEnd < 0) return undefined;
		const size = Number.parseInt(CHUNK_HEAD.exec(bytes.toString("latin1", at, lineEnd))?.[1] ?? "", 16);
		if (!(size <= BODY_BYTES_MAX)) throw new Error("its answer is badly chunked");
		const start = lineEnd + LINE_END.length;
		if (size === 0) {
			// The last chunk's own line end is the first half of the end, when there are no trailers.
			return bytes.indexOf(HEAD_END, lineEnd) < 0 ? undefined : Buffer.concat(chunks);
		}
		const end = start + size;
		if (bytes.length < end + LINE_END.length) return undefined;
		if (bytes.compare(LINE_END, 0, 2, end, end + 2) !== 0) throw new Error("its answer is badly chunked");
		chunks.push(bytes.subarray(start, end));
		at = end + LINE_END.length;
	}
}
