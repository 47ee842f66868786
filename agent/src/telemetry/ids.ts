import { fillRandom } from "../foundation/random-bytes.ts";

/**
 * Identifiers as bytes: UUIDv7 for requests and conversations, random ids for traces and spans, and the rule for ids that come
 * from outside. Nothing here makes a string or an object per call; random bytes come out of a pool that is filled in slices.
 *
 * It promises uniqueness and, within one `IdSource`, UUIDs that sort in the order in which they were made. It promises no order
 * between two sources (data threads), and no secrecy: these ids are names, not keys.
 */

/** Bytes of a UUID in its text form (RFC 9562 §4). */
export const UUID_BYTES = 36;
/** Longest id that is kept (`data-path.md`, Identity). */
export const ID_BYTES_MAX = 128;

/** 1 for each byte of `A-Z a-z 0-9 . _ : + / = -`. */
const ID_BYTE = new Uint8Array(256);
for (const character of "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:+/=-") {
	ID_BYTE[character.charCodeAt(0)] = 1;
}

const HEX_DIGITS = "0123456789abcdef";
/** First and second hex digit of each byte value, as ASCII. */
const HEX_HIGH = new Uint8Array(256);
const HEX_LOW = new Uint8Array(256);
for (let value = 0; value < 256; value += 1) {
	HEX_HIGH[value] = HEX_DIGITS.charCodeAt(value >> 4);
	HEX_LOW[value] = HEX_DIGITS.charCodeAt(value & 15);
}

const DASH = 0x2d;
const TWO_TO_32 = 0x1_0000_0000;
/**
 * Random bytes drawn from the system at once: enough for some 250 requests, little enough (a few µs) that the one request
 * that pays for it is not seen in a percentile.
 */
const POOL_BYTES = 8192;
/** A wall clock that went back further than this was set, not slewed: then order yields to the true time. */
const ROLLBACK_MS_MAX = 10_000;

/** Whether `bytes[start, end)` may be kept as a request or correlation id: 1 to 128 bytes of the id alphabet. */
export function isValidId(bytes: Uint8Array, start: number, end: number): boolean {
	const length = end - start;
	if (length < 1 || length > ID_BYTES_MAX) return false;
	for (let i = start; i < end; i += 1) {
		if (ID_BYTE[bytes[i] as number] === 0) return false; // i < end ≤ length
	}
	return true;
}

/** Fills the whole of `target` with random bytes; `fillRandom` outside of tests. */
export type RandomFill = (target: Uint8Array) => void;

/** One per thread: a pool of random bytes and the state that keeps UUIDs in order. */
export class IdSource {
	readonly #fill: RandomFill;
	readonly #pool: Uint8Array;
	#at: number;
	/** Millisecond of the last UUID; its text is kept, as most UUIDs share it with the one before. */
	#uuidMs: number;
	#counter: number;
	readonly #uuidMsText: Uint8Array;

	constructor(fill: RandomFill = fillRandom) {
		this.#fill = fill;
		this.#pool = new Uint8Array(POOL_BYTES);
		this.#at = POOL_BYTES;
		this.#uuidMs = -1;
		this.#counter = 0;
		this.#uuidMsText = new Uint8Array(13);
		this.#uuidMsText[8] = DASH;
	}

	/** Makes sure of `count` bytes in one run and gives the place of the first. */
	#take(count: number): number {
		if (this.#at + count > POOL_BYTES) {
			this.#fill(this.#pool);
			this.#at = 0;
		}
		const at = this.#at;
		this.#at = at + count;
		return at;
	}

	/**
	 * Writes `count` random bytes as `2 × count` lower-case hex digits at `offset`. They are never all zero: an all-zero trace or
	 * span id is invalid (W3C Trace Context level 2 §3.2.2.3, §3.2.2.4).
	 */
	writeHex(out: Uint8Array, offset: number, count: number): void {
		const pool = this.#pool;
		let any = 0;
		do {
			const at = this.#take(count);
			for (let i = 0; i < count; i += 1) {
				const value = pool[at + i] as number; // #take made sure of them
				any |= value;
				out[offset + 2 * i] = HEX_HIGH[value] as number;
				out[offset + 2 * i + 1] = HEX_LOW[value] as number;
			}
		} while (any === 0);
	}

	/**
	 * Writes a UUIDv7 (RFC 9562 §5.7) as 36 ASCII bytes at `offset`. Within one millisecond `rand_a` counts upward from a random
	 * start (§6.2 method 1, with the guard bit zero at first); when it is used up, or the clock slews back, the
	 * timestamp runs ahead, as §6.2 allows. `wallMs`: milliseconds since 1970, whole.
	 */
	writeUuid7(out: Uint8Array, offset: number, wallMs: number): void {
		const pool = this.#pool;
		const at = this.#take(10);
		if (wallMs > this.#uuidMs || wallMs < this.#uuidMs - ROLLBACK_MS_MAX) {
			this.#setUuidMs(wallMs);
			this.#counter = (((pool[at] as number) << 8) | (pool[at + 1] as number)) & 0x7ff;
		} else if (this.#counter === 0xfff) {
			this.#setUuidMs(this.#uuidMs + 1);
			this.#counter = (((pool[at] as number) << 8) | (pool[at + 1] as number)) & 0x7ff;
		} else {
			this.#counter += 1;
		}
		const text = this.#uuidMsText;
		for (let i = 0; i < 13; i += 1) out[offset + i] = text[i] as number;
		out[offset + 13] = DASH;
		const counter = this.#counter;
		out[offset + 14] = 0x37; // version 7
		out[offset + 15] = HEX_LOW[counter >> 8] as number;
		out[offset + 16] = HEX_HIGH[counter & 0xff] as number;
		out[offset + 17] = HEX_LOW[counter & 0xff] as number;
		out[offset + 18] = DASH;
		const variant = ((pool[at + 2] as number) & 0x3f) | 0x80; // variant 10 (RFC 9562 §4.1)
		out[offset + 19] = HEX_HIGH[variant] as number;
		out[offset + 20] = HEX_LOW[variant] as number;
		const next = pool[at + 3] as number;
		out[offset + 21] = HEX_HIGH[next] as number;
		out[offset + 22] = HEX_LOW[next] as number;
		out[offset + 23] = DASH;
		for (let i = 0; i < 6; i += 1) {
			const value = pool[at + 4 + i] as number;
			out[offset + 24 + 2 * i] = HEX_HIGH[value] as number;
			out[offset + 25 + 2 * i] = HEX_LOW[value] as number;
		}
	}

	/** A UUIDv7 as text, for what is named rarely: the agent's epoch, leases. */
	uuid7(wallMs: number): string {
		const bytes = Buffer.allocUnsafe(UUID_BYTES);
		this.writeUuid7(bytes, 0, Math.floor(wallMs));
		return bytes.toString("latin1");
	}

	#setUuidMs(ms: number): void {
		this.#uuidMs = ms;
		const text = this.#uuidMsText;
		const high = Math.floor(ms / TWO_TO_32) & 0xffff;
		const low = (ms % TWO_TO_32) >>> 0;
		text[0] = HEX_HIGH[high >>> 8] as number;
		text[1] = HEX_LOW[high >>> 8] as number;
		text[2] = HEX_HIGH[high & 0xff] as number;
		text[3] = HEX_LOW[high & 0xff] as number;
		text[4] = HEX_HIGH[low >>> 24] as number;
		text[5] = HEX_LOW[low >>> 24] as number;
		text[6] = HEX_HIGH[(low >>> 16) & 0xff] as number;
		text[7] = HEX_LOW[(low >>> 16) & 0xff] as number;
		text[9] = HEX_HIGH[(low >>> 8) & 0xff] as number;
		text[10] = HEX_LOW[(low >>> 8) & 0xff] as number;
		text[11] = HEX_HIGH[low & 0xff] as number;
		text[12] = HEX_LOW[low & 0xff] as number;
	}
}
