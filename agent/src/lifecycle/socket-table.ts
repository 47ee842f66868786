import { endianness } from "node:os";

/**
 * `/proc/net/tcp` and `/proc/net/tcp6` (Linux, Documentation/networking/proc_net_tcp.rst): every TCP socket of the network
 * namespace, readable without any privilege. Text in, values out.
 */
export interface TableSocket {
	/** As Node writes addresses; IPv4-mapped ones (RFC 4291 §2.5.5.2) as IPv4. */
	readonly localAddress: string;
	readonly localPort: number;
	readonly remoteAddress: string;
	readonly remotePort: number;
	readonly state: SocketState;
	/** 0 for sockets that no process holds any more, such as those in TIME_WAIT. */
	readonly inode: number;
	readonly family: 4 | 6;
}

export type SocketState =
	| "established"
	| "syn_sent"
	| "syn_received"
	| "fin_wait_1"
	| "fin_wait_2"
	| "time_wait"
	| "closed"
	| "close_wait"
	| "last_ack"
	| "listen"
	| "closing"
	| "other";

export interface SocketTable {
	readonly sockets: readonly TableSocket[];
	/** Lines that could not be read: a kernel that writes it differently. Never an error. */
	readonly malformed: number;
	/** Whether there were more than `socketsMax`. */
	readonly isTruncated: boolean;
}

/** `include/net/tcp_states.h`, from 1. */
const STATES: readonly SocketState[] = [
	"established",
	"syn_sent",
	"syn_received",
	"fin_wait_1",
	"fin_wait_2",
	"time_wait",
	"closed",
	"close_wait",
	"last_ack",
	"listen",
	"closing",
	"syn_received", // TCP_NEW_SYN_RECV
];

/** Ten times the connections that an agent takes by default is far more than one look should cost. */
export const SOCKETS_MAX = 65_536;

const LINE =
	/^\s*\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) ([0-9A-F]{2}) \S+ \S+ \S+\s+\d+\s+\d+ (\d+)/;

/** A line has some 150 characters, an IPv6 one 170. What is behind these is of no use to us. */
const LINE_CHARACTERS_MAX = 1_024;
/** Addresses of one table whose text is kept while it is read: most lines share a few. */
const ADDRESSES_MAX = 1_024;

/** Reads one table. `wanted` sees a socket before it is kept, so that ten thousand others cost no memory. */
export function parseSocketTable(
	text: string,
	wanted: (socket: TableSocket) => boolean = () => true,
	socketsMax = SOCKETS_MAX,
	byteOrder: "LE" | "BE" = endianness(),
): SocketTable {
	const sockets: TableSocket[] = [];
	let malformed = 0;
	let isHeading = true;
	for (let start = 0; start < text.length; ) {
		const newline = text.indexOf("\n", start);
		const end = newline === -1 ? text.length : newline;
		const line = text.slice(start, end);
		start = end + 1;
		if (isHeading || line.trim() === "") {
			isHeading = false;
			continue;
		}
		const socket = parseLine(line, (hex) => addressOf(hex, byteOrder));
		if (socket === undefined) malformed += 1;
		else if (wanted(socket)) {
			if (sockets.length === socketsMax) return { sockets, malformed, isTruncated: true };
			sockets.push(socket);
		}
	}
	return { sockets, malformed, isTruncated: false };
}

/**
 * Reads a table that comes in pieces, for those sockets only that have one of `ports` at either end. A line without such a port is
 * never looked at: the search runs over it. So twenty thousand sockets of others cost one millisecond, not fifteen.
 *
 * Of the lines that cannot be read only those are counted that seem to have one of the ports.
 */
export class SocketTableScan {
	readonly #ports: ReadonlySet<number>;
	/** The ports as the kernel writes them. No other column ends in a colon, four digits and a space. */
	readonly #needles: readonly string[];
	readonly #found: (socket: TableSocket) => void;
	readonly #byteOrder: "LE" | "BE";
	readonly #addresses = new Map<string, string>();
	/** The beginning of a line whose end has not come yet. */
	#rest = "";
	#malformed = 0;

	constructor(ports: readonly number[], found: (socket: TableSocket) => void, byteOrder: "LE" | "BE" = endianness()) {
		this.#ports = new Set(ports);
		this.#needles = [...this.#ports].map((port) => `:${port.toString(16).toUpperCase().padStart(4, "0")} `);
		this.#found = found;
		this.#byteOrder = byteOrder;
	}

	get malformed(): number {
		return this.#malformed;
	}

	/** The next part of the text; it may end anywhere. */
	add(piece: string): void {
		const text = this.#rest + piece;
		const whole = text.lastIndexOf("\n") + 1;
		this.#scan(text.slice(0, whole));
		this.#rest = text.slice(whole, whole + LINE_CHARACTERS_MAX);
	}

	/** There is no more: a last line need not have its newline. */
	end(): void {
		this.#scan(this.#rest);
		this.#rest = "";
	}

	#scan(text: string): void {
		const hits = this.#needles.map((needle) => text.indexOf(needle));
		for (let position = 0; ; ) {
			let first = -1;
			for (const [index, needle] of this.#needles.entries()) {
				let hit = hits[index] ?? -1;
				if (hit !== -1 && hit < position) {
					hit = text.indexOf(needle, position);
					hits[index] = hit;
				}
				if (hit !== -1 && (first === -1 || hit < first)) first = hit;
			}
			if (first === -1) return;
			const start = text.lastIndexOf("\n", first) + 1;
			const newline = text.indexOf("\n", first);
			const end = newline === -1 ? text.length : newline;
			this.#take(text.slice(start, end));
			position = end + 1;
		}
	}

	#take(line: string): void {
		const socket = parseLine(line, this.#address);
		if (socket === undefined) this.#malformed += 1;
		else if (this.#ports.has(socket.localPort) || this.#ports.has(socket.remotePort)) this.#found(socket);
	}

	readonly #address = (hex: string): string => {
		const known = this.#addresses.get(hex);
		if (known !== undefined) return known;
		const address = addressOf(hex, this.#byteOrder);
		if (this.#addresses.size < ADDRESSES_MAX) this.#addresses.set(hex, address);
		return address;
	};
}

function parseLine(line: string, address: (hex: string) => string): TableSocket | undefined {
	const match = LINE.exec(line);
	if (match === null) return undefined;
	const [, local = "", localPort = "", remote = "", remotePort = "", state = "", inode = ""] = match;
	if (local.length !== remote.length) return undefined;
	return {
		localAddress: address(local),
		localPort: Number.parseInt(localPort, 16),
		remoteAddress: address(remote),
		remotePort: Number.parseInt(remotePort, 16),
		state: STATES[Number.parseInt(state, 16) - 1] ?? "other",
		inode: Number(inode),
		family: local.length === 8 ? 4 : 6,
	};
}

/** The kernel prints 32-bit words as numbers, so that on a little-endian machine the bytes of each stand in reverse. */
function addressOf(hex: string, byteOrder: "LE" | "BE"): string {
	const bytes = Buffer.from(hex, "hex");
	if (byteOrder === "LE") bytes.swap32();
	if (bytes.length === 4) return bytes.join(".");
	const isMapped = bytes.readUInt32BE(0) === 0 && bytes.readUInt32BE(4) === 0 && bytes.readUInt32BE(8) === 0xffff;
	return isMapped ? bytes.subarray(12).join(".") : ipv6Text(bytes);
}

/** RFC 5952: lower case, no leading zeros, the first of the longest runs of two or more zero groups as `::`. */
function ipv6Text(bytes: Buffer): string {
	const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2));
	let bestStart = -1;
	let bestLength = 1;
	for (let start = 0; start < 8; ) {
		let length = 0;
		while (start + length < 8 && groups[start + length] === 0) length += 1;
		if (length > bestLength) {
			bestStart = start;
			bestLength = length;
		}
		start += Math.max(1, length);
	}
	const text = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(":");
	if (bestStart === -1) return text(groups);
	return `${text(groups.slice(0, bestStart))}::${text(groups.slice(bestStart + bestLength))}`;
}
