import type { Socket } from "node:net";

/**
 * `node:http`, without what comes with importing it: an ES import reads every export of a built-in module, and some exports of this one
 * are getters that load undici and the WebSocket client (Node 26: 14 MiB and 100 ms that nobody uses). `getBuiltinModule` reads none.
 */
export const { createServer, request, STATUS_CODES } = process.getBuiltinModule("node:http");

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
