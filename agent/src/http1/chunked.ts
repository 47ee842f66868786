/**
 * The chunked coding, RFC 9112 §7.1: checks it on the way through, or takes it off.
 *
 *      ┌─────────────────────── CRLF ◄──────────────────────┐
 *      ▼                                                    │
 *   SIZE ─ hex ─► SIZE_MORE ─ CR ─► SIZE_LF ─ LF, size > 0 ─► DATA ─► DATA_CR ─► DATA_LF
 *                    │ ';'    ▲        └ LF, size 0 ─► TRAILER ─ CR LF ─────────────────► DONE
 *                    ▼        │ CR                        └ other ─► TRAILER_LINES ─────► DONE
 *                  EXT_… ─────┘
 *
 * Resumable at every byte; no byte but those of trailers is kept, so the input may be anywhere at each call. Trailers are
 * copied into a buffer of their own (bounded by `headBytesMax`) because names must be read whole.
 *
 * Strict: sizes are 1 to 16 hexadecimal digits and no white space; extensions follow the grammar (a quoted string that is
 * left open at the end of a line is read in two ways) and all of them together are bounded by `headBytesMax`, so that a body
 * cannot be made of extensions (CVE-2023-39326 of Go); lines end with CRLF, data too; trailers are field lines without
 * framing, routing or identity (RFC 9110 §6.5.1).
 */
import { FAULTS, type Fault } from "../foundation/fault.ts";
import { FIELD_FLAG, type FieldNames } from "./field-names.ts";
import type { HeadLimits } from "./limits.ts";
import { BACKSLASH, CR, DQUOTE, EQUALS, HEX, HTAB, IS_TOKEN, IS_VALUE, LF, SEMICOLON, SP } from "./octets.ts";
import { FieldLines, MARK, NOTICE } from "./scan-fields.ts";
import { COMPLETE, INCOMPLETE, type ScanResult } from "./scan-result.ts";

/** `next` found payload: bytes[dataStart..dataEnd). */
export const DATA = 2;

const SIZE = 0;
const SIZE_MORE = 1;
const SIZE_LF = 2;
const CHUNK_DATA = 3;
const DATA_CR = 4;
const DATA_LF = 5;
const TRAILER = 6;
const TRAILER_END_LF = 7;
const TRAILER_LINES = 8;
const DONE = 9;
const FAILED = 10;
// chunk-ext = *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )
const EXT_NAME_START = 11;
const EXT_NAME = 12;
const EXT_NAME_BWS = 13;
const EXT_VALUE_START = 14;
const EXT_VALUE = 15;
const EXT_QUOTED = 16;
const EXT_ESCAPED = 17;
const EXT_AFTER = 18;

/** 2^53−1 has 14; a few zeros before are harmless. */
const SIZE_DIGITS_MAX = 16;
/** First size of the buffer for trailers. */
const TRAILER_ROOM = 256;
const NOTHING = Buffer.alloc(0);

/** Whose body it is: decides which Faults are told. */
export type BodySide = "request" | "response";

export class ChunkedScanner {
	/** First byte that was not consumed. After COMPLETE: the next message begins here. */
	position = 0;
	/** Octets of data so far, framing not counted. */
	payloadBytes = 0;
	/** After `next` gave DATA. */
	dataStart = 0;
	dataEnd = 0;
	/**
	 * Where the trailers begin in the input of the last call: whoever forwards bytes as they come can hold back from here until
	 * COMPLETE and then send `trailerSection`. `from` when they began in an earlier call; −1 before the last chunk has ended.
	 */
	trailerStart = -1;

	readonly #limits: HeadLimits;
	readonly #names: FieldNames;
	readonly #isRequest: boolean;
	#state = SIZE;
	#fault: Fault | undefined = undefined;
	/** Octets of the present chunk that are still to come. */
	#left = 0;
	#digits = 0;
	#extensionBytes = 0;
	/** Made when the first trailer is seen; most bodies have none. */
	#fields: FieldLines | undefined = undefined;
	#trailers: Buffer = NOTHING;
	#trailerBytes = 0;

	constructor(limits: HeadLimits, names: FieldNames, side: BodySide) {
		this.#limits = limits;
		this.#names = names;
		this.#isRequest = side === "request";
	}

	/** Makes the scanner ready for another body. */
	reset(): void {
		this.position = 0;
		this.payloadBytes = 0;
		this.dataStart = 0;
		this.dataEnd = 0;
		this.trailerStart = -1;
		this.#state = SIZE;
		this.#fault = undefined;
		this.#left = 0;
		this.#digits = 0;
		this.#extensionBytes = 0;
		this.#trailerBytes = 0;
	}

	/** Trailers as they came, the blank line included; only CRLF when there are none. Valid after COMPLETE until `reset`. */
	trailerSection(): Buffer {
		return this.#trailerBytes === 0 ? EMPTY_TRAILERS : this.#trailers.subarray(0, this.#trailerBytes);
	}

	/** Number of trailer fields. */
	get trailerCount(): number {
		return this.#trailerBytes === 0 ? 0 : (this.#fields?.count ?? 0);
	}

	/** Consumes bytes[from..to) up to the end of the body or of the input. `position` says how far. */
	scan(bytes: Uint8Array, from: number, to: number): ScanResult {
		let result = this.next(bytes, from, to);
		// `trailerStart` belongs to the whole call.
		while (result === DATA) result = this.#step(bytes, this.position, to);
		return result;
	}

	/** As `scan`, but stops after each run of data (DATA), which is `dataStart` to `dataEnd`. Go on with `from = position`. */
	next(bytes: Uint8Array, from: number, to: number): ScanResult | typeof DATA {
		this.trailerStart = this.#state >= TRAILER && this.#state <= TRAILER_LINES ? from : -1;
		return this.#step(bytes, from, to);
	}

	#fail(forRequest: Fault): Fault {
		this.#state = FAILED;
		const fault = this.#isRequest ? forRequest : FAULTS.app_framing_invalid;
		this.#fault = fault;
		return fault;
	}

	#step(bytes: Uint8Array, from: number, to: number): ScanResult | typeof DATA {
		let p = from;
		let state = this.#state;
		this.position = p;
		if (state === DONE) return COMPLETE;
		if (state === FAILED) return this.#fault ?? FAULTS.internal;
		while (p < to) {
			const octet = bytes[p] as number;
			switch (state) {
				case CHUNK_DATA: {
					const end = to - p < this.#left ? to : p + this.#left;
					this.#left -= end - p;
					this.payloadBytes += end - p;
					this.dataStart = p;
					this.dataEnd = end;
					this.position = end;
					this.#state = this.#left === 0 ? DATA_CR : CHUNK_DATA;
					return DATA;
				}
				case DATA_CR:
					if (octet !== CR) return this.#fail(FAULTS.chunk_framing);
					state = DATA_LF;
					break;
				case DATA_LF:
					if (octet !== LF) return this.#fail(FAULTS.chunk_framing);
					state = SIZE;
					break;
				case SIZE: {
					const digit = HEX[octet] as number;
					if (digit === 255) return this.#fail(FAULTS.chunk_size);
					this.#left = digit;
					this.#digits = 1;
					state = SIZE_MORE;
					break;
				}
				case SIZE_MORE: {
					const digit = HEX[octet] as number;
					if (digit !== 255) {
						this.#left = this.#left * 16 + digit;
						if (++this.#digits > SIZE_DIGITS_MAX || this.#left + this.payloadBytes > Number.MAX_SAFE_INTEGER) {
							return this.#fail(FAULTS.chunk_size);
						}
					} else if (octet === CR) state = SIZE_LF;
					else if (octet === SEMICOLON) state = EXT_NAME_START;
					else return this.#fail(FAULTS.chunk_size);
					break;
				}
				case SIZE_LF:
					if (octet !== LF) return this.#fail(FAULTS.chunk_framing);
					state = this.#left === 0 ? TRAILER : CHUNK_DATA;
					if (state === TRAILER) this.trailerStart = p + 1;
					break;
				case TRAILER:
					if (octet !== CR) {
						this.#beginTrailers();
						return this.#scanTrailers(bytes, p, to);
					}
					state = TRAILER_END_LF;
					break;
				case TRAILER_END_LF:
					if (octet !== LF) return this.#fail(FAULTS.trailer_field);
					this.#state = DONE;
					this.position = p + 1;
					return COMPLETE;
				case TRAILER_LINES:
					return this.#scanTrailers(bytes, p, to);
				default:
					state = this.#extension(state, octet);
					if (state === FAILED) return this.#fail(FAULTS.chunk_extension);
			}
			p++;
		}
		this.position = p;
		this.#state = state;
		return INCOMPLETE;
	}

	/** The state after one octet of extensions; FAILED when it cannot stand there, or there are too many. */
	#extension(state: number, octet: number): number {
		if (++this.#extensionBytes > this.#limits.headBytesMax) return FAILED;
		const isSpace = octet === SP || octet === HTAB;
		const isToken = IS_TOKEN[octet] !== 0;
		switch (state) {
			case EXT_NAME_START:
				return isSpace ? EXT_NAME_START : isToken ? EXT_NAME : FAILED;
			case EXT_NAME:
				if (isToken) return EXT_NAME;
				if (octet === EQUALS) return EXT_VALUE_START;
				return isSpace ? EXT_NAME_BWS : afterExtension(octet);
			case EXT_NAME_BWS:
				if (isSpace) return EXT_NAME_BWS;
				// White space may stand before `=` and `;`, not before the end of the line.
				return octet === EQUALS ? EXT_VALUE_START : octet === SEMICOLON ? EXT_NAME_START : FAILED;
			case EXT_VALUE_START:
				if (isSpace) return EXT_VALUE_START;
				return octet === DQUOTE ? EXT_QUOTED : isToken ? EXT_VALUE : FAILED;
			case EXT_VALUE:
				if (isToken) return EXT_VALUE;
				return isSpace ? EXT_AFTER : afterExtension(octet);
			case EXT_QUOTED:
				if (octet === DQUOTE) return EXT_AFTER;
				if (octet === BACKSLASH) return EXT_ESCAPED;
				return IS_VALUE[octet] !== 0 ? EXT_QUOTED : FAILED;
			case EXT_ESCAPED:
				return IS_VALUE[octet] !== 0 ? EXT_QUOTED : FAILED;
			default:
				return isSpace ? EXT_AFTER : afterExtension(octet);
		}
	}

	#beginTrailers(): void {
		this.#fields ??= new FieldLines(this.#limits, this.#names);
		this.#fields.reset(0);
	}

	#scanTrailers(bytes: Uint8Array, from: number, to: number): ScanResult {
		const fields = this.#fields;
		if (fields === undefined) return this.#fail(FAULTS.internal); // #beginTrailers comes before
		const max = this.#limits.headBytesMax;
		const before = this.#trailerBytes;
		const taken = Math.min(to - from, max - before);
		this.#keep(bytes, from, taken);
		const kept = before + taken;
		let seen = fields.count;
		for (;;) {
			const result = fields.scan(this.#trailers, kept);
			for (; seen < fields.count; seen++) {
				if (this.#isForbidden(seen)) return this.#fail(FAULTS.trailer_field);
			}
			if (result === NOTICE) continue;
			if (result === COMPLETE) {
				this.#trailerBytes = fields.position;
				this.#state = DONE;
				this.position = from + fields.position - before;
				return COMPLETE;
			}
			if (result !== INCOMPLETE || kept === max) return this.#fail(FAULTS.trailer_field);
			this.#trailerBytes = kept;
			this.#state = TRAILER_LINES;
			this.position = to;
			return INCOMPLETE;
		}
	}

	#isForbidden(i: number): boolean {
		const fields = this.#fields;
		if (fields === undefined) return true;
		const id = fields.fieldId(i);
		if (id !== 0) return (this.#names.flags(id) & FIELD_FLAG.NOT_TRAILER) !== 0;
		return (
			fields.mark(i) !== MARK.FORWARD ||
			this.#names.isForwardedName(this.#trailers, fields.nameStart(i), fields.nameEnd(i))
		);
	}

	/** Appends bytes[from..from+length) to the kept trailers. */
	#keep(bytes: Uint8Array, from: number, length: number): void {
		const needed = this.#trailerBytes + length;
		if (needed > this.#trailers.length) {
			const room = Math.min(Math.max(needed, this.#trailers.length * 2, TRAILER_ROOM), this.#limits.headBytesMax);
			const grown = Buffer.allocUnsafeSlow(room);
			this.#trailers.copy(grown, 0, 0, this.#trailerBytes);
			this.#trailers = grown;
		}
		this.#trailers.set(bytes.subarray(from, from + length), this.#trailerBytes);
	}
}

function afterExtension(octet: number): number {
	return octet === SEMICOLON ? EXT_NAME_START : octet === CR ? SIZE_LF : FAILED;
}

const EMPTY_TRAILERS = Buffer.from("\r\n", "latin1");

/** The last chunk without trailers: ends a chunked body. */
export const LAST_CHUNK: Buffer = Buffer.from("0\r\n\r\n", "latin1");
/** What follows the data of each chunk. */
export const CHUNK_END: Buffer = Buffer.from("\r\n", "latin1");

/** Most octets that `writeChunkHeader` writes: 14 digits and CRLF. */
export const CHUNK_HEADER_BYTES_MAX = 16;
const DIGITS = Buffer.from("0123456789abcdef", "latin1");

/**
 * Writes the line before a chunk of `size` octets (1 to 2^53−1) into `target` at `offset`, where there is room for
 * `CHUNK_HEADER_BYTES_MAX`. Returns the offset after it.
 */
export function writeChunkHeader(size: number, target: Uint8Array, offset: number): number {
	let digits = 1;
	for (let rest = size; rest >= 16; rest = Math.floor(rest / 16)) digits++;
	let rest = size;
	for (let p = offset + digits - 1; p >= offset; p--) {
		target[p] = DIGITS[rest % 16] as number; // below 16
		rest = Math.floor(rest / 16);
	}
	target[offset + digits] = CR;
	target[offset + digits + 1] = LF;
	return offset + digits + 2;
}

/** The line before a chunk of `size` octets (1 to 2^53−1), in a buffer of its own. */
export function encodeChunkHeader(size: number): Buffer {
	const header = Buffer.allocUnsafe(CHUNK_HEADER_BYTES_MAX);
	return header.subarray(0, writeChunkHeader(size, header, 0));
}
