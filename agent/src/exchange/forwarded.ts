import { isIP } from "node:net";
import type { Settings } from "../config/settings.ts";
import { BACKSLASH, COLON, COMMA, CR, DQUOTE, HTAB, LF, SP } from "../http1/octets.ts";

/**
 * Who the client is, and what the app is told about it: `x-forwarded-for`, `-proto`, `-host`, and `forwarded` (RFC 7239).
 *
 * For each request: `begin()`, then `note` for every field of which `forwardedKind` is not 0 (`true`: cut that line out), then
 * `write` the new lines. One object per data thread: it keeps places, not bytes, and is done with when `write` returns.
 *
 * * *Untrusted* (`identity.trust: false` or `trustedHops: 0`): all that came is cut, and the fields are written anew from the
 *   connection. A client cannot say who it is.
 * * *Trusted*: the direct peer is hop 1 and what it wrote is believed. Its `x-forwarded-for` lines become **one** line with the peer's
 *   address behind it (apps that read only the first line of a list would otherwise read what an outsider may have written);
 *   `-proto`, `-host`, `-port` and `x-real-ip` stay when they are there; `forwarded` is continued when it is there and well
 *   quoted, and never begun. The list is not cut at the trusted part: apps have their own rule for how far to believe it.
 * * Names that some servers cannot tell from ours (`x_forwarded_for`: CGI, WSGI and PHP fold `_` and `-`) are always cut.
 */

/** Kinds of field; 0 is none of them. */
export const FORWARDED_FOR = 1;
export const FORWARDED_PROTO = 2;
export const FORWARDED_HOST = 3;
export const FORWARDED_PORT = 4;
/** RFC 7239's `forwarded`. */
export const FORWARDED = 5;
export const FORWARDED_REAL_IP = 6;
/** Any other `x-forwarded-…`. */
export const FORWARDED_OTHER = 7;
/** One of them with `_` for `-`. */
export const FORWARDED_LOOKALIKE = 8;

const ascii = (text: string): Buffer => Buffer.from(text, "latin1");

const PREFIX = ascii("x-forwarded-");
const REAL_IP = ascii("x-real-ip");
const FORWARDED_NAME = ascii("forwarded");
const SUFFIXES: readonly (readonly [Buffer, number])[] = [
	[ascii("for"), FORWARDED_FOR],
	[ascii("proto"), FORWARDED_PROTO],
	[ascii("host"), FORWARDED_HOST],
	[ascii("port"), FORWARDED_PORT],
];

const DASH = 0x2d;
const UNDERSCORE = 0x5f;

/** Whether `bytes` from `at` read `lower` (lower-case letters and dashes), in any case and with `_` for `-`. Names are tokens already. */
function reads(bytes: Uint8Array, at: number, lower: Uint8Array): boolean {
	for (let i = 0; i < lower.length; i += 1) {
		const wanted = lower[i] as number; // i < length
		const byte = bytes[at + i] as number;
		if ((byte | 0x20) !== wanted && !(wanted === DASH && byte === UNDERSCORE)) return false;
	}
	return true;
}

/** Which of the forwarded fields the name `bytes[start, end)` is; 0: none. The name is a token (RFC 9110 §5.6.2), in any case. */
export function forwardedKind(bytes: Uint8Array, start: number, end: number): number {
	const length = end - start;
	if (length < 9) return 0;
	const first = (bytes[start] as number) | 0x20;
	if (first === 0x66) return length === 9 && reads(bytes, start, FORWARDED_NAME) ? FORWARDED : 0;
	if (first !== 0x78) return 0;
	let kind = FORWARDED_OTHER;
	if (length === 9) {
		if (!reads(bytes, start, REAL_IP)) return 0;
		kind = FORWARDED_REAL_IP;
	} else if (length > PREFIX.length && reads(bytes, start, PREFIX)) {
		for (const [suffix, of] of SUFFIXES) {
			if (length === PREFIX.length + suffix.length && reads(bytes, start + PREFIX.length, suffix)) kind = of;
		}
	} else return 0;
	for (let i = start; i < end; i += 1) if (bytes[i] === UNDERSCORE) return FORWARDED_LOOKALIKE;
	return kind;
}

/** The other end of a downstream connection, rendered once when the connection comes to be. */
export class Peer {
	/** Text form without port or zone, an IPv4 address mapped into IPv6 as IPv4; `unknown` for a Unix socket. */
	readonly address: string;
	/** `address` as bytes. */
	readonly bytes: Buffer;
	/** Both whole lines of a request that brought nothing: `x-forwarded-for` and `x-forwarded-proto`. */
	readonly lines: Buffer;
	/** `for=…;proto=http`, the element of RFC 7239 §4. */
	readonly element: Buffer;

	/** `remote`: `socket.remoteAddress`, or what a PROXY protocol header said; undefined: unknown. */
	constructor(remote: string | undefined) {
		let address = remote === undefined ? "" : remote;
		const zone = address.indexOf("%");
		if (zone !== -1) address = address.slice(0, zone);
		// A socket that listens on both families names IPv4 peers ::ffff:a.b.c.d (RFC 4291 §2.5.5.2).
		if (address.startsWith("::ffff:") && isIP(address.slice(7)) === 4) address = address.slice(7);
		const family = isIP(address);
		if (family === 0) address = "unknown";
		this.address = address;
		this.bytes = ascii(address);
		this.lines = ascii(`x-forwarded-for: ${address}\r\nx-forwarded-proto: http\r\n`);
		this.element = ascii(family === 6 ? `for="[${address}]";proto=http` : `for=${address};proto=http`);
	}
}

const FOR_LINE = ascii("x-forwarded-for: ");
const PROTO_LINE = ascii("x-forwarded-proto: http\r\n");
const HOST_LINE = ascii("x-forwarded-host: ");
const FORWARDED_LINE = ascii("forwarded: ");
const HOST_PARAMETER = ascii(';host="');
/** Longest text of an IPv6 address (with an IPv4 tail): INET6_ADDRSTRLEN − 1. */
const ADDRESS_BYTES_MAX = 45;
/** Client addresses remembered as strings, so that a busy client's is made once. A power of two. */
const ADDRESS_SLOTS = 256;

function put(target: Uint8Array, offset: number, source: Uint8Array, start: number, end: number): number {
	// A loop, not `copy`: these runs are short, and the call into the runtime costs more than twenty bytes do.
	let at = offset;
	for (let i = start; i < end; i += 1) {
		target[at] = source[i] as number; // start, end are places in source
		at += 1;
	}
	return at;
}

/** Whether every quoted-string in it is closed. If one is not, an element behind it would be read as a part of it. */
function isWellQuoted(bytes: Uint8Array, start: number, end: number): boolean {
	let quoted = false;
	for (let i = start; i < end; i += 1) {
		const byte = bytes[i];
		if (byte === DQUOTE) quoted = !quoted;
		else if (quoted && byte === BACKSLASH) i += 1;
	}
	return !quoted;
}

/** The forwarded fields of the request at hand. */
export class ForwardedFields {
	readonly #trusted: boolean;
	readonly #hops: number;
	readonly #linesMax: number;
	/** Places of the values of `x-forwarded-for` and of `forwarded`: start, end, start, end, … */
	readonly #forPlaces: Int32Array;
	readonly #forwardedPlaces: Int32Array;
	#forCount: number;
	#forwardedCount: number;
	#isForwardedBroken: boolean;
	#hasProto: boolean;
	#hasHost: boolean;
	readonly #slotBytes: Buffer;
	readonly #slotLengths: Uint8Array;
	readonly #slotTexts: string[];

	/** `headersMax`: `limits.headers`, the most lines that one request can bring. */
	constructor(identity: Pick<Settings["identity"], "trust" | "trustedHops">, headersMax: number) {
		this.#trusted = identity.trust && identity.trustedHops > 0;
		this.#hops = identity.trustedHops;
		this.#linesMax = headersMax;
		this.#forPlaces = new Int32Array(2 * headersMax);
		this.#forwardedPlaces = new Int32Array(2 * headersMax);
		this.#forCount = 0;
		this.#forwardedCount = 0;
		this.#isForwardedBroken = false;
		this.#hasProto = false;
		this.#hasHost = false;
		this.#slotBytes = Buffer.alloc(ADDRESS_SLOTS * ADDRESS_BYTES_MAX);
		this.#slotLengths = new Uint8Array(ADDRESS_SLOTS);
		this.#slotTexts = new Array<string>(ADDRESS_SLOTS).fill("");
	}

	/** Forgets the request before. */
	begin(): void {
		this.#forCount = 0;
		this.#forwardedCount = 0;
		this.#isForwardedBroken = false;
		this.#hasProto = false;
		this.#hasHost = false;
	}

	/** Takes note of a field with its trimmed value `bytes[start, end)`; whether its line must be cut out of the head. */
	note(kind: number, bytes: Uint8Array, start: number, end: number): boolean {
		if (!this.#trusted || kind === FORWARDED_LOOKALIKE) return true;
		switch (kind) {
			case FORWARDED_FOR:
				if (start === end || this.#forCount === this.#linesMax) return true;
				this.#forPlaces[2 * this.#forCount] = start;
				this.#forPlaces[2 * this.#forCount + 1] = end;
				this.#forCount += 1;
				return true;
			case FORWARDED:
				if (!isWellQuoted(bytes, start, end)) this.#isForwardedBroken = true;
				if (start === end || this.#forwardedCount === this.#linesMax) return true;
				this.#forwardedPlaces[2 * this.#forwardedCount] = start;
				this.#forwardedPlaces[2 * this.#forwardedCount + 1] = end;
				this.#forwardedCount += 1;
				return true;
			case FORWARDED_PROTO:
				this.#hasProto = true;
				return false;
			case FORWARDED_HOST:
				this.#hasHost = true;
				return false;
			default:
				return false;
		}
	}

	/** The most bytes that `write` can write for this request, with a Host of `hostLength` bytes. */
	bytesMax(peer: Peer, hostLength: number): number {
		let total = peer.lines.length + HOST_LINE.length + hostLength + 2;
		for (let i = 0; i < this.#forCount; i += 1) {
			total += (this.#forPlaces[2 * i + 1] as number) - (this.#forPlaces[2 * i] as number) + 2;
		}
		if (this.#forwardedCount > 0) {
			total += FORWARDED_LINE.length + peer.element.length + HOST_PARAMETER.length + hostLength + 3;
			for (let i = 0; i < this.#forwardedCount; i += 1) {
				total += (this.#forwardedPlaces[2 * i + 1] as number) - (this.#forwardedPlaces[2 * i] as number) + 2;
			}
		}
		return total;
	}

	/**
	 * Writes the lines to put in, each with its CRLF, at `offset` of `target`, and returns the offset after them. `bytes` is the head that
	 * `note` saw; `hostStart`, `hostEnd` its (checked) Host, empty when there is none.
	 */
	write(target: Uint8Array, offset: number, peer: Peer, bytes: Uint8Array, hostStart: number, hostEnd: number): number {
		let at = offset;
		if (this.#forCount === 0 && !this.#hasProto) at = put(target, at, peer.lines, 0, peer.lines.length);
		else {
			at = put(target, at, FOR_LINE, 0, FOR_LINE.length);
			at = this.#putList(target, at, bytes, this.#forPlaces, this.#forCount);
			at = put(target, at, peer.bytes, 0, peer.bytes.length);
			target[at] = CR;
			target[at + 1] = LF;
			at += 2;
			if (!this.#hasProto) at = put(target, at, PROTO_LINE, 0, PROTO_LINE.length);
		}
		if (!this.#hasHost && hostStart < hostEnd) {
			at = put(target, at, HOST_LINE, 0, HOST_LINE.length);
			at = put(target, at, bytes, hostStart, hostEnd);
			target[at] = CR;
			target[at + 1] = LF;
			at += 2;
		}
		if (this.#forwardedCount > 0 && !this.#isForwardedBroken) {
			at = put(target, at, FORWARDED_LINE, 0, FORWARDED_LINE.length);
			at = this.#putList(target, at, bytes, this.#forwardedPlaces, this.#forwardedCount);
			at = put(target, at, peer.element, 0, peer.element.length);
			if (hostStart < hostEnd && isQuotable(bytes, hostStart, hostEnd)) {
				at = put(target, at, HOST_PARAMETER, 0, HOST_PARAMETER.length);
				at = put(target, at, bytes, hostStart, hostEnd);
				target[at] = DQUOTE;
				at += 1;
			}
			target[at] = CR;
			target[at + 1] = LF;
			at += 2;
		}
		return at;
	}

	#putList(target: Uint8Array, offset: number, bytes: Uint8Array, places: Int32Array, count: number): number {
		let at = offset;
		for (let i = 0; i < count; i += 1) {
			at = put(target, at, bytes, places[2 * i] as number, places[2 * i + 1] as number); // i < count
			target[at] = COMMA;
			target[at + 1] = SP;
			at += 2;
		}
		return at;
	}

	/**
	 * The client's address for the access line: with n trusted hops the nth entry of `x-forwarded-for` from the right (the first
	 * hop is the peer and wrote the last entry; the second wrote the one before), the leftmost when there are fewer, the peer's
	 * when there is none or it is not an address. Ports and brackets are cut off.
	 */
	clientAddress(bytes: Uint8Array, peer: Peer): string {
		if (this.#forCount === 0) return peer.address;
		let left = this.#hops;
		let start = -1;
		let end = -1;
		for (let line = this.#forCount - 1; line >= 0 && left > 0; line -= 1) {
			const lineStart = this.#forPlaces[2 * line] as number; // line < count
			let at = this.#forPlaces[2 * line + 1] as number;
			while (at > lineStart && left > 0) {
				let from = at;
				while (from > lineStart && bytes[from - 1] !== COMMA) from -= 1;
				let first = from;
				let last = at;
				while (first < last && (bytes[first] === SP || bytes[first] === HTAB)) first += 1;
				while (last > first && (bytes[last - 1] === SP || bytes[last - 1] === HTAB)) last -= 1;
				if (first < last) {
					start = first;
					end = last;
					left -= 1;
				}
				at = from - 1;
			}
		}
		if (start === -1) return peer.address;
		const text = this.#addressText(bytes, start, end);
		return text === "" ? peer.address : text;
	}

	/** The entry as an address without port and brackets; empty when it is none. */
	#addressText(bytes: Uint8Array, from: number, to: number): string {
		let start = from;
		let end = to;
		if (bytes[start] === 0x5b) {
			start += 1;
			let close = start;
			while (close < end && bytes[close] !== 0x5d) close += 1;
			end = close;
		} else {
			let colons = 0;
			let colonAt = end;
			for (let i = start; i < end; i += 1) {
				if (bytes[i] === COLON) {
					colons += 1;
					colonAt = i;
				}
			}
			if (colons === 1) end = colonAt; // 192.0.2.1:4711; an IPv6 address has at least two
		}
		const length = end - start;
		if (length < 2 || length > ADDRESS_BYTES_MAX) return "";
		let hash = length;
		for (let i = start; i < end; i += 1) hash = (Math.imul(hash, 31) + (bytes[i] as number)) | 0;
		const slot = (hash ^ (hash >>> 15)) & (ADDRESS_SLOTS - 1);
		const base = slot * ADDRESS_BYTES_MAX;
		if (this.#slotLengths[slot] === length) {
			let i = 0;
			while (i < length && this.#slotBytes[base + i] === bytes[start + i]) i += 1;
			if (i === length) return this.#slotTexts[slot] as string; // slot < ADDRESS_SLOTS
		}
		let text = "";
		for (let i = start; i < end; i += 1) text += String.fromCharCode(bytes[i] as number);
		if (isIP(text) === 0) text = "";
		put(this.#slotBytes, base, bytes, start, end);
		this.#slotLengths[slot] = length;
		this.#slotTexts[slot] = text;
		return text;
	}
}

/** Whether a Host can stand between quotes as it is. An accepted authority can; this is for the reader's peace. */
function isQuotable(bytes: Uint8Array, start: number, end: number): boolean {
	for (let i = start; i < end; i += 1) if (bytes[i] === DQUOTE || bytes[i] === BACKSLASH) return false;
	return true;
}
