import type { Settings } from "../config/settings.ts";
import type { Clock } from "../foundation/clock.ts";
import { FAULT_LIST, type Fault } from "../foundation/fault.ts";
import type { Exchange } from "./exchange.ts";

/** Seconds after which a client that met a bound may come again (RFC 9110 §10.2.3). */
const RETRY_AFTER_SECONDS = 1;
/** Methods that are forwarded (RFC 9110 §10.2.1). */
const ALLOW = "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH, QUERY";

/**
 * Turns a Fault into a response; nothing else does. The body is a problem document (RFC 9457) with the ids, and
 * `x-outrigger-error` tells the agent's answers from the app's.
 *
 * ```
 * HTTP/1.1 431 Request Header Fields Too Large
 * content-type: application/problem+json
 * x-outrigger-error: head_too_large
 * x-request-id: …
 *
 * {"type":"https://outrigger.dev/errors/head_too_large","title":"Request Header Fields Too Large","status":431,…}
 * ```
 */
export class Answers {
	/** By fault index: all of the head that never changes. */
	readonly #heads: readonly string[];
	readonly #bodies: readonly string[];
	readonly #requestIdName: string;
	readonly #correlationIdName: string;
	readonly #clock: Clock;
	#dateSecond = -1;
	#dateLine = "";

	constructor(identity: Settings["identity"], clock: Clock) {
		this.#clock = clock;
		this.#requestIdName = identity.headers[0] ?? "x-request-id";
		this.#correlationIdName = identity.headers[1] ?? this.#requestIdName;
		this.#heads = FAULT_LIST.map(headOf);
		this.#bodies = FAULT_LIST.map(bodyOf);
	}

	/**
	 * The whole answer as bytes. The exchange has its ids. `withBody`: false for HEAD, whose answer says the length of what it leaves
	 * out (RFC 9110 §9.3.2). `closes`: the connection ends with it.
	 */
	problem(fault: Fault, x: Exchange, withBody: boolean, closes: boolean): Buffer {
		const requestId = x.requestIdBytes.toString("latin1", x.requestIdStart, x.requestIdEnd);
		const correlationId = x.correlationIdBytes.toString("latin1", x.correlationIdStart, x.correlationIdEnd);
		const traceId = x.traceBytes.toString("latin1", 0, 32);
		// Ids are limited to characters that need no escaping in JSON (`data-path.md`, Identity).
		const body = `${this.#bodies[fault.index]}"request_id":"${requestId}","correlation_id":"${correlationId}","trace_id":"${traceId}"}\n`;
		const head =
			this.#heads[fault.index] +
			this.#date() +
			this.#ids(requestId, correlationId) +
			connectionLine(x, closes) +
			`content-length: ${body.length}\r\n\r\n`;
		if (withBody) x.responseBodyBytes = body.length;
		return Buffer.from(withBody ? head + body : head, "latin1");
	}

	/** The answer to `OPTIONS` with `max-forwards: 0`: this hop speaks for itself (RFC 9110 §7.6.2). */
	options(x: Exchange, closes: boolean): Buffer {
		const requestId = x.requestIdBytes.toString("latin1", x.requestIdStart, x.requestIdEnd);
		const correlationId = x.correlationIdBytes.toString("latin1", x.correlationIdStart, x.correlationIdEnd);
		return Buffer.from(
			`HTTP/1.1 204 No Content\r\nallow: ${ALLOW}\r\n${this.#date()}${this.#ids(requestId, correlationId)}${connectionLine(x, closes)}\r\n`,
			"latin1",
		);
	}

	#ids(requestId: string, correlationId: string): string {
		const first = `${this.#requestIdName}: ${requestId}\r\n`;
		if (this.#correlationIdName === this.#requestIdName) return first;
		return `${first}${this.#correlationIdName}: ${correlationId}\r\n`;
	}

	#date(): string {
		const second = Math.floor(this.#clock.wallMs() / 1000);
		if (second !== this.#dateSecond) {
			this.#dateSecond = second;
			this.#dateLine = `date: ${new Date(second * 1000).toUTCString()}\r\n`;
		}
		return this.#dateLine;
	}
}

/** Of the statuses in `fault.ts`, which its test holds against this (RFC 9110 §15). */
const TITLES: Readonly<Record<number, string>> = {
	400: "Bad Request",
	405: "Method Not Allowed",
	408: "Request Timeout",
	413: "Content Too Large",
	414: "URI Too Long",
	431: "Request Header Fields Too Large",
	500: "Internal Server Error",
	501: "Not Implemented",
	502: "Bad Gateway",
	503: "Service Unavailable",
	504: "Gateway Timeout",
	505: "HTTP Version Not Supported",
};

const connectionLine = (x: Exchange, closes: boolean): string => {
	if (closes) return "connection: close\r\n";
	return x.minorVersion === 0 ? "connection: keep-alive\r\n" : "";
};

const headOf = (fault: Fault): string => {
	const lines = [
		`HTTP/1.1 ${fault.status} ${TITLES[fault.status] ?? "Unknown"}`,
		"content-type: application/problem+json",
		"cache-control: no-store",
		`x-outrigger-error: ${fault.reason}`,
	];
	if (fault.status === 503) lines.push(`retry-after: ${RETRY_AFTER_SECONDS}`);
	if (fault.status === 405) lines.push(`allow: ${ALLOW}`);
	return `${lines.join("\r\n")}\r\n`;
};

/** The document without its closing brace; the ids follow. All ASCII, so that its length in characters is its length in bytes. */
const bodyOf = (fault: Fault): string => {
	const document = {
		type: `https://outrigger.dev/errors/${fault.reason}`,
		title: TITLES[fault.status] ?? "Unknown",
		status: fault.status,
		detail: fault.detail,
		reason: fault.reason,
	};
	const json = JSON.stringify(document).replace(
		/[^\x20-\x7e]/g,
		(c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
	);
	return `${json.slice(0, -1)},`;
};
