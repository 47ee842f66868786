/**
 * Where a body ends: Content-Length and Transfer-Encoding, RFC 9112 §6. This is where request smuggling lives, so there is one
 * way to write each of them, and everything else is refused.
 */
import { FAULTS, type Fault } from "../foundation/fault.ts";
import { COMMA, equalsIgnoringCase, HTAB, IS_TOKEN, SEMICOLON, SP } from "./octets.ts";

/** How the body of a message ends. */
export const FRAMING = {
	/** There is none. */
	NONE: 0,
	/** After `contentLength` octets. */
	LENGTH: 1,
	/** With the last chunk and its trailers. */
	CHUNKED: 2,
	/** With the connection; responses only. */
	CLOSE: 3,
} as const;

const CHUNKED = Uint8Array.from(Buffer.from("chunked", "latin1"));

/** What `parseLength` answers instead of a length. */
export const LENGTH_INVALID = -1;
export const LENGTH_LIST = -2;

/**
 * 1*DIGIT up to 2^53−1 (RFC 9110 §8.6). A sign, white space, a comma, hexadecimal: none. Zeros before are digits like others.
 * `LENGTH_LIST` when digits are followed by a comma: two lengths in one line, which we refuse even when they are equal.
 */
export function parseLength(bytes: Uint8Array, from: number, to: number): number {
	if (from === to) return LENGTH_INVALID;
	let length = 0;
	for (let p = from; p < to; p++) {
		const octet = bytes[p] as number; // p < to
		if (octet < 0x30 || octet > 0x39) {
			let q = p;
			while (q < to && (bytes[q] === SP || bytes[q] === HTAB)) q++;
			return q < to && bytes[q] === COMMA ? LENGTH_LIST : LENGTH_INVALID;
		}
		// Exact below 2^53; what is above it can only be rounded to 2^53 or more.
		length = length * 10 + (octet - 0x30);
		if (length > Number.MAX_SAFE_INTEGER) return LENGTH_INVALID;
	}
	return length;
}

/** `undefined` when the value of a Transfer-Encoding is `chunked` and nothing else; what is wrong with it otherwise. */
export function checkCoding(bytes: Uint8Array, from: number, to: number): Fault | undefined {
	if (equalsIgnoringCase(bytes, from, to, CHUNKED)) return undefined;
	let p = from;
	while (p < to && IS_TOKEN[bytes[p] as number] !== 0) p++;
	if (p === from) return FAULTS.coding_invalid;
	const isChunked = equalsIgnoringCase(bytes, from, p, CHUNKED);
	while (p < to && (bytes[p] === SP || bytes[p] === HTAB)) p++;
	if (p < to && bytes[p] !== COMMA && (bytes[p] !== SEMICOLON || isChunked)) return FAULTS.coding_invalid;
	// A list: chunked first is not last or there twice; anything else first is a coding that we do not have.
	return isChunked ? FAULTS.coding_not_final : FAULTS.coding_unsupported;
}
