import type { IncomingMessage } from "node:http";
import { isIPv4 } from "node:net";

/**
 * Who may call: whoever is in this pod or on this machine, and nobody whom a browser has talked into it.
 *
 * A page on the internet can make a visitor's browser send requests to loopback. What stops it: its `Host` is its own name, even when that name
 * leads to loopback (DNS rebinding); its `Origin` is not ours; and without CORS it cannot send JSON (`server.ts` demands that content type).
 */

/** Why a caller is sent away, with the code that it is told. */
export interface Stranger {
	readonly code: "invalid_argument" | "permission_denied";
	readonly message: string;
}

/** RFC 9110 §7.2, without user and without an empty port: a name or IPv4 address, or an IPv6 address in brackets, then perhaps a port. */
const HOST = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?$/;

/** `hosts`: `api.hosts`, lower case; an entry with a port fits only that port. */
export function findStranger(
	{ headersDistinct }: Pick<IncomingMessage, "headersDistinct">,
	hosts: ReadonlySet<string>,
): Stranger | undefined {
	// Of two Host fields Node's `headers` would show the first and hide the other.
	const [host, ...further] = headersDistinct["host"] ?? [];
	if (host === undefined || further.length > 0) {
		return {
			code: "invalid_argument",
			message: `there ${host === undefined ? "is no Host field" : "are several Host fields"}`,
		};
	}
	const authority = host.toLowerCase();
	if (!isOurs(authority, hosts)) {
		return {
			code: "permission_denied",
			message:
				"the Host is neither localhost nor a loopback address, nor one of api.hosts; call http://127.0.0.1 or name the host there",
		};
	}
	const origins = headersDistinct["origin"];
	if (origins === undefined) return undefined; // no browser, or a request that it takes for the same origin
	const [origin = "", ...others] = origins;
	if (others.length > 0 || origin.toLowerCase() !== `http://${authority}`) {
		return {
			code: "permission_denied",
			message: "the Origin is another one than this: pages of other sites may not call",
		};
	}
	return undefined;
}

function isOurs(authority: string, hosts: ReadonlySet<string>): boolean {
	const match = HOST.exec(authority);
	const name = match?.[1];
	if (name === undefined || Number(match?.[2] ?? 0) > 65_535) return false;
	if (name === "localhost" || name === "[::1]") return true;
	if (isIPv4(name) && name.startsWith("127.")) return true;
	return hosts.has(name) || hosts.has(authority);
}
