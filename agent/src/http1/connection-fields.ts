/**
 * The fields that speak about the connection: Connection, Upgrade, TE, Keep-Alive. RFC 9110 §7.6.1, §7.8, §10.1.4; RFC 9112
 * §9; RFC 2068 §19.7.1 for `timeout=`.
 *
 * Lists are read member by member, empty members are skipped (RFC 9110 §5.6.1.2). A member that is malformed asks for
 * nothing: none of these fields frames a message, and all of them stop here.
 */
import { COMMA, EQUALS, equalsIgnoringCase, HTAB, SEMICOLON, SLASH, SP } from "./octets.ts";

const octets = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "latin1"));
const CLOSE = octets("close");
const KEEP_ALIVE = octets("keep-alive");
const UPGRADE = octets("upgrade");
const TE = octets("te");
const TRAILERS = octets("trailers");
const H2C = octets("h2c");
const TIMEOUT = octets("timeout");

/** Longest keep-alive time that is believed, in seconds: more would not change what the pool does. */
const KEEP_ALIVE_SECONDS_MAX = 1e9;

/** One member of a comma-separated list at a time, without the white space around it. Reused; makes nothing. */
export class ListCursor {
	start = 0;
	end = 0;
	#position = 0;
	#to = 0;

	begin(from: number, to: number): void {
		this.#position = from;
		this.#to = to;
	}

	/** Moves to the next member that is not empty; false at the end of the list. */
	next(bytes: Uint8Array): boolean {
		let p = this.#position;
		const to = this.#to;
		while (p < to) {
			let octet = bytes[p] as number; // p < to, here and below
			if (octet === COMMA || octet === SP || octet === HTAB) {
				p++;
				continue;
			}
			this.start = p;
			let end = p;
			while (p < to) {
				octet = bytes[p] as number;
				if (octet === COMMA) break;
				p++;
				if (octet !== SP && octet !== HTAB) end = p;
			}
			this.end = end;
			this.#position = p;
			return true;
		}
		this.#position = p;
		return false;
	}
}

/** What a connection option is: bits, so that several can be kept in one number. */
export const OPTION = { OTHER: 0, CLOSE: 1, KEEP_ALIVE: 2, UPGRADE: 4, TE: 8 } as const;

/** The option in bytes[from..to); `OTHER` when it names a field that stops here. */
export function optionOf(bytes: Uint8Array, from: number, to: number): number {
	switch (to - from) {
		case 5:
			return equalsIgnoringCase(bytes, from, to, CLOSE) ? OPTION.CLOSE : OPTION.OTHER;
		case 10:
			return equalsIgnoringCase(bytes, from, to, KEEP_ALIVE) ? OPTION.KEEP_ALIVE : OPTION.OTHER;
		case 7:
			return equalsIgnoringCase(bytes, from, to, UPGRADE) ? OPTION.UPGRADE : OPTION.OTHER;
		case 2:
			return equalsIgnoringCase(bytes, from, to, TE) ? OPTION.TE : OPTION.OTHER;
		default:
			return OPTION.OTHER;
	}
}

/** Whether an Upgrade member (`name` or `name/version`) is h2c, whose upgrade is never forwarded. */
export function isH2c(bytes: Uint8Array, from: number, to: number): boolean {
	let end = from;
	while (end < to && bytes[end] !== SLASH) end++;
	return equalsIgnoringCase(bytes, from, end, H2C);
}

/** Whether a TE member is `trailers`; with a weight it is none (RFC 9110 §10.1.4). */
export function isTrailers(bytes: Uint8Array, from: number, to: number): boolean {
	return equalsIgnoringCase(bytes, from, to, TRAILERS);
}

/** Seconds of `timeout=` in a Keep-Alive member, bounded; −1 when the member says nothing of the kind. */
export function keepAliveSeconds(bytes: Uint8Array, from: number, to: number): number {
	let p = from;
	while (p < to && bytes[p] !== EQUALS && bytes[p] !== SP && bytes[p] !== HTAB && bytes[p] !== SEMICOLON) p++;
	if (!equalsIgnoringCase(bytes, from, p, TIMEOUT)) return -1;
	while (p < to && (bytes[p] === SP || bytes[p] === HTAB)) p++;
	if (p === to || bytes[p] !== EQUALS) return -1;
	p++;
	while (p < to && (bytes[p] === SP || bytes[p] === HTAB)) p++;
	let seconds = -1;
	for (; p < to; p++) {
		const digit = (bytes[p] as number) - 0x30; // p < to
		if (digit < 0 || digit > 9) break;
		seconds = Math.min((seconds < 0 ? 0 : seconds) * 10 + digit, KEEP_ALIVE_SECONDS_MAX);
	}
	return seconds;
}
