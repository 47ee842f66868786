import type { ServerOptions } from "node:http";
import type { Socket } from "node:net";

/**
 * `node:http`, without what comes with importing it: an ES import reads every export of a built-in module, and some exports of this one
 * are getters that load undici and the WebSocket client (Node 26: 14 MiB and 100 ms that nobody uses). `getBuiltinModule` reads none.
 */
export const { createServer, request, STATUS_CODES } = process.getBuiltinModule("node:http");

/** Bytes of a request's head on the ports beside the traffic: a scraper's has a few hundred. */
export const HEAD_BYTES_MAX = 16_384;

/** What `createServer` is told for them. `headMs`: a request must be there; `idleMs`: a connection between two requests. */
export function serverOptions({ headMs, idleMs }: { readonly headMs: number; readonly idleMs: number }): ServerOptions {
	return {
		maxHeaderSize: HEAD_BYTES_MAX,
		headersTimeout: headMs,
		requestTimeout: headMs,
		keepAliveTimeout: idleMs,
		// Node looks for what is late at this interval only; its default is 30 s.
		connectionsCheckingInterval: Math.max(100, Math.min(1_000, headMs)),
		requireHostHeader: false, // HTTP/1.0 probes of load balancers; who needs one refuses it in its own form
	};
}

/** What is said to a client whose bytes are no request. */
export interface Refusal {
	readonly contentType: string;
	readonly body: string;
}

/**
 * For a server's `clientError`: bytes that are no request, or a head that is late or too long, are answered if there is still somebody, and the
 * connection ends. Behind an answer that has begun nothing can be said.
 */
export function refuseHead(error: NodeJS.ErrnoException, socket: Socket, say: (status: number) => Refusal): void {
	if (!socket.writable || socket.bytesWritten > 0) {
		socket.destroy();
		return;
	}
	const status = error.code === "HPE_HEADER_OVERFLOW" ? 431 : error.code === "ERR_HTTP_REQUEST_TIMEOUT" ? 408 : 400;
	const { contentType, body } = say(status);
	socket.end(
		`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-type: ${contentType}\r\n` +
			`content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
	);
}
