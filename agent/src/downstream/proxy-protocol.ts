import { isIPv4, isIPv6 } from "node:net";
import { FAULTS, type Fault } from "../foundation/fault.ts";

/**
 * The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt), as a resumable parser: bytes in any portions, at most 107 of
 * them kept. A listener with `connections.proxyProtocol` demands the header: its specification forbids to guess whether it is there,
 * as a client could then write its own.
 *
 * TLVs are skipped unread, the CRC32c one included. `LOCAL`, `UNKNOWN`, UNSPEC, Unix addresses and datagram families give no
 * source: the connection's own endpoints stand. Time is not this file's: the head's deadline runs while it waits.
 */

/** Longest version 1 line, CRLF included (§2.1). Version 2 keeps less: its head and two IPv6 addresses with ports. */
const KEPT_BYTES_MAX = 107;
const V2_HEAD_BYTES = 16;
const V1_START = Buffer.from("PROXY ", "latin1");
const V2_START = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]);
const LOCAL = 0x20;
const PROXY = 0x21;
const TCP4 = 0x11;
const TCP6 = 0x21;
const CR = 0x0d;
const LF = 0x0a;

/** Bytes of the address block by family and transport (high and low half of byte 14, §2.2); −1: not defined. */
const V2_BLOCK_BYTES = new Int16Array(256).fill(-1);
for (const [family, bytes] of [
	[0x00, 0],
	[TCP4, 12],
	[0x12, 12],
	[TCP6, 36],
	[0x22, 36],
	[0x31, 216],
	[0x32, 216],
] as const) {
	V2_BLOCK_BYTES[family] = bytes;
}

/** One per connection, dropped when `isDone`. */
export class ProxyProtocolParser {
	readonly #kept: Buffer;
	#length: number;
	/** Bytes that are left to skip. */
	#skip: number;
	#isDone: boolean;
	#fault: Fault | undefined;
	/** Client's address as text; undefined: use the connection's own. */
	sourceAddress: string | undefined;
	sourcePort: number;
	/** Address that the client had connected to. */
	destinationAddress: string | undefined;
	destinationPort: number;

	constructor() {
		this.#kept = Buffer.alloc(KEPT_BYTES_MAX);
		this.#length = 0;
		this.#skip = 0;
		this.#isDone = false;
		this.#fault = undefined;
		this.sourceAddress = undefined;
		this.sourcePort = 0;
		this.destinationAddress = undefined;
		this.destinationPort = 0;
	}

	/** Whether the header is complete and valid. */
	get isDone(): boolean {
		return this.#isDone;
	}

	/** Set once and for all when the bytes are no such header; then no more are taken. */
	get fault(): Fault | undefined {
		return this.#fault;
	}

	/**
	 * Takes bytes of `bytes[start, end)` and returns the offset of the first that is not the header's: when done, the first of the
	 * request.
	 */
	push(bytes: Uint8Array, start: number, end: number): number {
		let at = start;
		while (at < end && !this.#isDone && this.#fault === undefined) {
			if (this.#skip > 0) {
				const step = Math.min(end - at, this.#skip);
				this.#skip -= step;
				at += step;
				this.#isDone = this.#skip === 0;
				continue;
			}
			this.#take(bytes[at] as number); // at < end
			at += 1;
		}
		return at;
	}

	#take(byte: number): void {
		const at = this.#length;
		this.#kept[at] = byte;
		this.#length = at + 1;
		if (this.#kept[0] === V1_START[0]) this.#takeV1(at, byte);
		else this.#takeV2(at, byte);
	}

	#takeV1(at: number, byte: number): void {
		if (at < V1_START.length) {
			if (byte !== V1_START[at]) this.#fault = FAULTS.proxy_protocol;
			return;
		}
		const isAfterCr = this.#kept[at - 1] === CR;
		if (isAfterCr !== (byte === LF) || byte === 0 || (at + 1 === KEPT_BYTES_MAX && byte !== LF)) {
			this.#fault = FAULTS.proxy_protocol;
		} else if (byte === LF) this.#readV1(this.#kept.toString("latin1", V1_START.length, at - 1));
	}

	#readV1(line: string): void {
		const words = line.split(" ");
		const [family, source = "", destination = "", sourcePort = "", destinationPort = ""] = words;
		if (family === "UNKNOWN") {
			this.#isDone = true; // whatever else is on the line must be ignored (§2.1)
			return;
		}
		const isAddress = family === "TCP4" ? isIPv4 : isIPv6;
		const from = portOf(sourcePort);
		const to = portOf(destinationPort);
		if (
			words.length === 5 &&
			(family === "TCP4" || family === "TCP6") &&
			isAddress(source) &&
			isAddress(destination) &&
			!line.includes("%") && // isIPv6 takes zones, which mean nothing on another machine
			from !== -1 &&
			to !== -1
		) {
			this.#setEndpoints(source, from, destination, to);
			this.#isDone = true;
		} else this.#fault = FAULTS.proxy_protocol;
	}

	#takeV2(at: number, byte: number): void {
		const kept = this.#kept;
		if (at < V2_START.length) {
			if (byte !== V2_START[at]) this.#fault = FAULTS.proxy_protocol;
		} else if (at === 12) {
			if (byte !== LOCAL && byte !== PROXY) this.#fault = FAULTS.proxy_protocol; // the high half is the version
		} else if (at === 13) {
			if (kept[12] === PROXY && V2_BLOCK_BYTES[byte] === -1) this.#fault = FAULTS.proxy_protocol;
		} else if (at >= 15) {
			const bytes = kept.readUInt16BE(14);
			const family = kept[12] === LOCAL ? 0 : (kept[13] as number); // kept is 107 bytes long
			if (bytes < (V2_BLOCK_BYTES[family] as number)) {
				this.#fault = FAULTS.proxy_protocol;
				return;
			}
			// Only addresses that are used are kept; everything else is skipped with the TLVs.
			const block = family === TCP4 || family === TCP6 ? (V2_BLOCK_BYTES[family] as number) : 0;
			if (this.#length < V2_HEAD_BYTES + block) return;
			if (family === TCP4) {
				this.#setEndpoints(ipv4Text(kept, 16), kept.readUInt16BE(24), ipv4Text(kept, 20), kept.readUInt16BE(26));
			} else if (family === TCP6) {
				this.#setEndpoints(ipv6Text(kept, 16), kept.readUInt16BE(48), ipv6Text(kept, 32), kept.readUInt16BE(50));
			}
			this.#skip = bytes - block;
			this.#isDone = this.#skip === 0;
		}
	}

	#setEndpoints(source: string, sourcePort: number, destination: string, destinationPort: number): void {
		this.sourceAddress = source;
		this.sourcePort = sourcePort;
		this.destinationAddress = destination;
		this.destinationPort = destinationPort;
	}
}

/** A decimal port without leading zeros, 0 to 65535; −1: none. */
function portOf(text: string): number {
	const port = Number(text);
	return String(port) === text && Number.isInteger(port) && port >= 0 && port <= 65_535 ? port : -1;
}

function ipv4Text(bytes: Uint8Array, at: number): string {
	return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
}

/** RFC 5952: lower case, the longest run of two or more zero groups (the first of equals) as `::`. */
function ipv6Text(bytes: Uint8Array, at: number): string {
	const groups: number[] = [];
	for (let i = 0; i < 16; i += 2) groups.push(((bytes[at + i] as number) << 8) | (bytes[at + i + 1] as number));
	let longest = 1;
	let longestAt = -1;
	for (let i = 0; i < 8; i += 1) {
		let run = 0;
		while (i + run < 8 && groups[i + run] === 0) run += 1;
		if (run > longest) {
			longest = run;
			longestAt = i;
		}
	}
	const hex = groups.map((group) => group.toString(16));
	if (longestAt === -1) return hex.join(":");
	return `${hex.slice(0, longestAt).join(":")}::${hex.slice(longestAt + longest).join(":")}`;
}
