import { isIPv4, isIPv6 } from "node:net";
import type { Address } from "./settings.ts";

/** Addresses as people write them. Text in, `Address` or the reason why not out, and back. No name is looked up. */

/** `sun_path` of sockaddr_un holds 108 bytes with its final NUL (Linux, unix(7)). */
const unixPathBytesMax = 107;

export interface AddressMistake {
	readonly mistake: string;
}

/** `:9810` (all addresses, both families), `127.0.0.1:9802`, `[::1]:80`, `localhost:80` or `unix:/path`. Port 0: the system picks one. */
export function parseListen(text: string): Address | AddressMistake {
	if (text.startsWith("unix:")) return parseUnix(text);
	const split = splitPort(text, 0);
	if ("mistake" in split) return split;
	const { host, port } = split;
	if (host === "") return { kind: "tcp", host: undefined, port };
	if (!isAddress(host) && host !== "localhost") {
		return { mistake: "one listens on an address, not on a name" };
	}
	return { kind: "tcp", host, port };
}

/** `localhost:3000`, `10.0.0.7:3000`, `[::1]:3000` or `unix:/path`: where somebody else listens. */
export function parseTarget(text: string): Address | AddressMistake {
	if (text.startsWith("unix:")) return parseUnix(text);
	const split = splitPort(text, 1);
	if ("mistake" in split) return split;
	const { host, port } = split;
	if (host === "") return { mistake: `the host is missing; write localhost:${port}` };
	if (!isAddress(host) && !isHostName(host)) return { mistake: "the host is neither a name nor an address" };
	return { kind: "tcp", host, port };
}

export function renderAddress(address: Address): string {
	if (address.kind === "unix") return `unix:${address.path}`;
	const host = address.host ?? "";
	return `${host.includes(":") ? `[${host}]` : host}:${address.port}`;
}

/** What `net.Server.listen` wants to be told. Without a host Node binds `::`, which takes both families where the system has IPv6, and 0.0.0.0 where it has not. */
export function listenOptions(
	address: Address,
): { readonly path: string } | { readonly port: number; readonly host?: string } {
	if (address.kind === "unix") return { path: address.path };
	return address.host === undefined ? { port: address.port } : { port: address.port, host: address.host };
}

/** Whether only this pod (or machine) can reach what listens there. */
export function isLoopback(address: Address): boolean {
	if (address.kind === "unix") return true;
	const { host } = address;
	if (host === undefined) return false;
	return host === "localhost" || (isIPv4(host) && host.startsWith("127.")) || isLoopbackIPv6(host);
}

/** Node's pattern for IPv6 takes 7 ms to compile, a tenth of our start: it is asked only about what has a colon. */
function isAddress(host: string): boolean {
	return host.includes(":") ? isIPv6(host) : isIPv4(host);
}

function isLoopbackIPv6(host: string): boolean {
	// The URL parser brings every spelling of an IPv6 address into one.
	return host.includes(":") && !host.includes("%") && new URL(`http://[${host}]`).hostname === "[::1]";
}

/** Whether two listeners cannot both be: the same path, or the same port on addresses that overlap. */
export function listenersClash(a: Address, b: Address): boolean {
	if (a.kind === "unix" || b.kind === "unix") return a.kind === "unix" && b.kind === "unix" && a.path === b.path;
	if (a.port !== b.port || a.port === 0) return false;
	const [one, other] = [hosts(a.host), hosts(b.host)];
	return one.some((host) => other.some((taken) => hostsOverlap(host, taken)));
}

/** `::` takes both families, as no host does (Node listens without `ipv6Only`). */
function hosts(host: string | undefined): readonly string[] {
	if (host === undefined || host === "::") return ["0.0.0.0", "::"];
	if (host === "localhost") return ["127.0.0.1", "::1"];
	return [host];
}

function hostsOverlap(a: string, b: string): boolean {
	const isSix = a.includes(":");
	if (isSix !== b.includes(":")) return false;
	const all = isSix ? "::" : "0.0.0.0";
	return a === b || a === all || b === all;
}

function parseUnix(text: string): Address | AddressMistake {
	const path = text.slice("unix:".length);
	if (!path.startsWith("/")) return { mistake: "the path of a Unix socket is absolute: unix:/run/app.sock" };
	if (path.includes("\0")) return { mistake: "the path holds a NUL" };
	if (Buffer.byteLength(path) > unixPathBytesMax) {
		return { mistake: `the path of a Unix socket has at most ${unixPathBytesMax} bytes` };
	}
	return { kind: "unix", path };
}

function splitPort(text: string, portMin: number): { readonly host: string; readonly port: number } | AddressMistake {
	const match = /^(?:\[([^\]]*)\]|([^:[\]]*)):([0-9]+)$/.exec(text);
	if (match === null) {
		if (/^[0-9]+$/.test(text)) return { mistake: "a port alone is not an address; put a colon before it" };
		if (text.includes(":") && isIPv6(text))
			return { mistake: "an IPv6 address stands in brackets, with a port after it: [::1]:80" };
		if (text.includes("://")) return { mistake: "this is a URL; write host and port only" };
		return { mistake: "there is no port; write host:port" };
	}
	const [, bracketed, name, digits = ""] = match;
	if (bracketed !== undefined && !isIPv6(bracketed)) return { mistake: "only an IPv6 address stands in brackets" };
	const port = digits.length > 5 ? Number.POSITIVE_INFINITY : Number(digits);
	if (port < portMin || port > 65_535) return { mistake: `a port is a number from ${portMin} to 65535` };
	return { host: bracketed ?? name ?? "", port };
}

/** RFC 1123 §2.1; an underscore is allowed because compose and many resolvers allow it. */
export function isHostName(text: string): boolean {
	if (text.length === 0 || text.length > 253 || /^[0-9.]+$/.test(text)) return false;
	return text.split(".").every((label) => /^[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/.test(label));
}
