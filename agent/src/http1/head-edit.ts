/**
 * The head that is forwarded: the head that came, as one run of bytes, with lines cut out and lines put in.
 *
 * One per data thread, reused for every head, so it allocates only while its lists grow (they are bounded by the fields of a
 * head plus what the phases put in). Edits may come in any order; they are kept sorted, because phases know nothing of
 * each other. Kept lines that touch each other are one copy.
 */
import { assert } from "../foundation/assert.ts";
import { CR, LF } from "./octets.ts";

const NOTHING = Buffer.alloc(0);

/**
 * Up to this many octets are copied one by one: a call into the runtime costs more than that.
 * Measured in `agent/bench/scan-head.ts`.
 */
const SMALL_COPY = 32;

/** Copies source[from..to) to target at `offset`; returns the offset after it. */
export function copyBytes(source: Buffer, from: number, to: number, target: Buffer, offset: number): number {
	const length = to - from;
	if (length <= SMALL_COPY) {
		for (let i = 0; i < length; i++) target[offset + i] = source[from + i] as number; // to ≤ source.length
	} else {
		source.copy(target, offset, from, to);
	}
	return offset + length;
}

export class HeadEdit {
	/** Length of the edited head. */
	byteLength = 0;
	#bytes: Buffer = NOTHING;
	#start = 0;
	#end = 0;
	/** Replaced ranges in ascending order; a cut is replaced by nothing. */
	#cuts = 0;
	readonly #from: number[] = [];
	readonly #to: number[] = [];
	readonly #with: Buffer[] = [];
	/** What is put in before the blank line, in the order in which it came. */
	#puts = 0;
	readonly #put: Buffer[] = [];
	readonly #putFrom: number[] = [];
	readonly #putTo: number[] = [];

	/** The head as it came: bytes[start..end), its blank line included. The bytes must stay as they are until `writeTo`. */
	begin(bytes: Buffer, start: number, end: number): void {
		assert(end - start >= 2 && bytes[end - 1] === LF && bytes[end - 2] === CR, "a head ends with a blank line");
		this.#bytes = bytes;
		this.#start = start;
		this.#end = end;
		this.#cuts = 0;
		this.#puts = 0;
		this.byteLength = end - start;
	}

	/** Cuts bytes[from..to) out. The same range twice is one cut. */
	cut(from: number, to: number): void {
		this.replaceRange(from, to, NOTHING);
	}

	/** Cuts the line of field i out. */
	cutField(head: { lineStart(i: number): number; lineEnd(i: number): number }, i: number): void {
		this.replaceRange(head.lineStart(i), head.lineEnd(i), NOTHING);
	}

	/**
	 * Puts `replacement` where bytes[from..to) stood; `from === to` puts it in there. The same range again: the later one
	 * counts. Ranges may touch but not overlap.
	 */
	replaceRange(from: number, to: number, replacement: Buffer): void {
		assert(this.#start <= from && from <= to && to <= this.#end - 2, "an edit lies within the lines of the head");
		let i = this.#cuts;
		while (i > 0 && (this.#from[i - 1] as number) > from) i--; // i ≤ #cuts ≤ length of the lists, here and below
		if (i > 0 && this.#from[i - 1] === from && this.#to[i - 1] === to) {
			this.byteLength += replacement.length - (this.#with[i - 1] as Buffer).length;
			this.#with[i - 1] = replacement;
			return;
		}
		// An insertion goes before a range that begins at the same place.
		if (i > 0 && from === to && this.#from[i - 1] === from) i--;
		assert(i === 0 || (this.#to[i - 1] as number) <= from, "edits do not overlap");
		assert(i === this.#cuts || to <= (this.#from[i] as number), "edits do not overlap");
		for (let j = this.#cuts; j > i; j--) {
			this.#from[j] = this.#from[j - 1] as number;
			this.#to[j] = this.#to[j - 1] as number;
			this.#with[j] = this.#with[j - 1] as Buffer;
		}
		this.#from[i] = from;
		this.#to[i] = to;
		this.#with[i] = replacement;
		this.#cuts++;
		this.byteLength += replacement.length - (to - from);
	}

	/** Adds a line, or several, each with its CRLF, before the blank line. */
	put(line: Buffer): void {
		this.putRange(line, 0, line.length);
	}

	/** Adds buffer[from..to): a part of a line, or whole lines. After the last of them a CRLF must stand. */
	putRange(buffer: Buffer, from: number, to: number): void {
		this.#put[this.#puts] = buffer;
		this.#putFrom[this.#puts] = from;
		this.#putTo[this.#puts] = to;
		this.#puts++;
		this.byteLength += to - from;
	}

	/** Writes the edited head, `byteLength` octets, into `target` from `offset` on. Returns the offset after it. */
	writeTo(target: Buffer, offset: number): number {
		assert(target.length - offset >= this.byteLength, "the target has room for the head");
		const bytes = this.#bytes;
		let from = this.#start;
		for (let i = 0; i < this.#cuts; i++) {
			const to = this.#from[i] as number;
			if (to > from) offset = copyBytes(bytes, from, to, target, offset);
			const replacement = this.#with[i] as Buffer;
			if (replacement.length > 0) offset = copyBytes(replacement, 0, replacement.length, target, offset);
			from = this.#to[i] as number;
		}
		offset = copyBytes(bytes, from, this.#end - 2, target, offset);
		for (let i = 0; i < this.#puts; i++) {
			const put = this.#put[i] as Buffer;
			offset = copyBytes(put, this.#putFrom[i] as number, this.#putTo[i] as number, target, offset);
		}
		assert(target[offset - 1] === LF, "lines that are put in end with CRLF");
		target[offset] = CR;
		target[offset + 1] = LF;
		return offset + 2;
	}
}
