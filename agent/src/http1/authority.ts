/**
 * Whether octets are the authority of an http URI without userinfo: `uri-host [ ":" port ]` (RFC 9112 §3.2, RFC 3986 §3.2).
 *
 * What this refuses and why: userinfo, because `Host: trusted@evil` is read in two ways (RFC 9110 §4.2.4 wants it treated as
 * an error); an empty host before a port; white space, quotes, slashes, `\`, `<`, raw UTF-8, a `%` that is not followed by
 * two hexadecimal digits. A literal in brackets is checked for its characters, not for being an address that exists.
 */
import { COLON, HEX, IS_REG_NAME } from "./octets.ts";

const PERCENT = 0x25;
const BRACKET_OPEN = 0x5b;
const BRACKET_CLOSE = 0x5d;
const DOT = 0x2e;
const SMALL_V = 0x76;

function isDigit(octet: number): boolean {
	return octet >= 0x30 && octet <= 0x39;
}

/** Offset after the `]` of a literal that begins with `[` at `from`; −1 when it is none. */
function literalEnd(bytes: Uint8Array, from: number, to: number): number {
	let p = from + 1;
	let colons = 0;
	// IPvFuture has a version and other characters; IPv6 is hexadecimal, colons and perhaps an IPv4 at the end.
	const future = p < to && ((bytes[p] as number) | 0x20) === SMALL_V;
	for (; p < to; p++) {
		const octet = bytes[p] as number; // p < to
		if (octet === BRACKET_CLOSE) break;
		if (octet === COLON) colons++;
		else if (future ? IS_REG_NAME[octet] === 0 : HEX[octet] === 255 && octet !== DOT) return -1;
	}
	if (p === to) return -1;
	return future ? (p > from + 2 ? p + 1 : -1) : colons >= 2 ? p + 1 : -1;
}

/** Whether bytes[from..to) is a host with or without a port. Empty is none. */
export function isAuthority(bytes: Uint8Array, from: number, to: number): boolean {
	const isRegName = IS_REG_NAME; // local: an imported binding is loaded and checked at each use
	let p = from;
	if (p < to && bytes[p] === BRACKET_OPEN) {
		p = literalEnd(bytes, from, to);
		if (p === -1) return false;
		if (p < to && bytes[p] !== COLON) return false;
	} else {
		while (p < to) {
			const octet = bytes[p] as number; // p < to
			if (isRegName[octet] !== 0) {
				p++;
			} else if (octet === PERCENT) {
				if (p + 2 >= to || HEX[bytes[p + 1] as number] === 255 || HEX[bytes[p + 2] as number] === 255) return false;
				p += 3;
			} else break;
		}
		if (p === from) return false;
	}
	if (p === to) return true;
	if (bytes[p] !== COLON) return false;
	// port = *DIGIT: it may be empty.
	for (p++; p < to; p++) {
		if (!isDigit(bytes[p] as number)) return false;
	}
	return true;
}
