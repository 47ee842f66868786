/** The example application: a small orders API on node:http, without any dependency and without knowing of an agent. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { setInterval as every } from "node:timers";
import { setTimeout as wait } from "node:timers/promises";
import { openapi } from "./openapi.ts";
import type { Orders } from "./orders.ts";

export interface AppOptions {
	readonly orders: Orders;
	/** Pause between two lines of an invoice, in milliseconds. */
	readonly invoiceLineMs: number;
	/** How often a silent event stream is told that it is still there, in milliseconds. */
	readonly heartbeatMs: number;
}

export interface App {
	readonly server: Server;
	/** Stops accepting, lets what is running finish, ends event streams. Done when the last connection is gone. */
	stop(): Promise<void>;
}

const BODY_BYTES_MAX = 64 * 1024;
const INVOICE_LINES = 10;

type Handler = (request: IncomingMessage, response: ServerResponse, id: number, url: URL) => void | Promise<void>;

interface Route {
	readonly method: string;
	readonly path: RegExp;
	readonly handle: Handler;
}

export function createApp({ orders, invoiceLineMs, heartbeatMs }: AppOptions): App {
	const answered = new Map<string, number>();
	const stopping = new AbortController();

	const routes: readonly Route[] = [
		{
			method: "GET",
			path: /^\/$/,
			handle: (_request, response) =>
				sendJson(response, 200, { service: "orders", try: ["/orders", "/events", "/openapi.json"] }),
		},
		{
			method: "GET",
			path: /^\/orders$/,
			handle(_request, response, _id, url) {
				const limit = Number(url.searchParams.get("limit") ?? 100);
				if (!Number.isInteger(limit) || limit < 1 || limit > 1000) {
					return sendProblem(response, 400, "limit: a whole number from 1 to 1000 is expected");
				}
				sendJson(response, 200, orders.list(limit));
			},
		},
		{
			method: "POST",
			path: /^\/orders$/,
			async handle(request, response) {
				const body = await readBody(request);
				if (body === undefined) return sendProblem(response, 413, `body: at most ${BODY_BYTES_MAX} bytes are expected`);
				const made = orders.create(parseJson(body));
				if ("field" in made) return sendProblem(response, 400, `${made.field}: ${made.detail}`);
				response.setHeader("location", `/orders/${made.id}`);
				sendJson(response, 201, made);
			},
		},
		{
			method: "GET",
			path: /^\/orders\/(\d{1,15})$/,
			handle(_request, response, id) {
				const order = orders.find(id);
				if (order === undefined) return sendProblem(response, 404, `there is no order ${id}`);
				sendJson(response, 200, order);
			},
		},
		{
			method: "GET",
			path: /^\/orders\/(\d{1,15})\/invoice$/,
			async handle(request, response, id) {
				const order = orders.find(id);
				if (order === undefined) return sendProblem(response, 404, `there is no order ${id}`);
				response.writeHead(200, { "content-type": "text/plain; charset=utf-8" });
				for (let line = 1; line <= INVOICE_LINES; line++) {
					response.write(`${line}/${INVOICE_LINES} ${order.quantity} x ${order.item}\n`);
					await wait(invoiceLineMs);
					// The reader has gone: nobody wants the other lines.
					if (request.socket.destroyed) return;
				}
				response.end();
			},
		},
		{
			method: "GET",
			path: /^\/events$/,
			handle(_request, response) {
				response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
				response.write(": here from now on\n\n");
				const unsubscribe = orders.onCreate((order) => {
					// A reader that has stopped reading must not fill our memory: it loses the connection and may come again.
					if (!response.write(`id: ${order.id}\nevent: order\ndata: ${JSON.stringify(order)}\n\n`)) response.destroy();
				});
				const heartbeat = every(() => response.write(": still here\n\n"), heartbeatMs);
				const end = () => response.end();
				stopping.signal.addEventListener("abort", end, { once: true });
				response.on("close", () => {
					unsubscribe();
					clearInterval(heartbeat);
					stopping.signal.removeEventListener("abort", end);
				});
			},
		},
		{
			method: "GET",
			path: /^\/health$/,
			handle(_request, response) {
				if (stopping.signal.aborted) sendJson(response, 503, { status: "fail", output: "stopping" });
				else sendJson(response, 200, { status: "pass" });
			},
		},
		{ method: "GET", path: /^\/openapi\.json$/, handle: (_request, response) => sendJson(response, 200, openapi) },
		{
			method: "GET",
			path: /^\/metrics$/,
			handle(_request, response) {
				const lines = [
					"# HELP orders_created_total Orders made since the start.",
					"# TYPE orders_created_total counter",
					`orders_created_total ${orders.created}`,
					"# HELP orders_answers_total Answers by status.",
					"# TYPE orders_answers_total counter",
					...[...answered].map(([status, count]) => `orders_answers_total{status="${status}"} ${count}`),
				];
				response.writeHead(200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" });
				response.end(`${lines.join("\n")}\n`);
			},
		},
	];

	const server = createServer((request, response) => {
		response.on("finish", () => {
			const status = String(response.statusCode);
			answered.set(status, (answered.get(status) ?? 0) + 1);
			// close() ended only the connections that were idle then; one that becomes idle now would stay for seconds.
			if (stopping.signal.aborted) setImmediate(() => server.closeIdleConnections());
		});
		const url = URL.parse(request.url ?? "/", "http://app");
		if (url === null) return sendProblem(response, 400, "the target is not a path");
		const matching = routes.filter(({ path }) => path.test(url.pathname));
		const method = request.method === "HEAD" ? "GET" : request.method;
		const route = matching.find((candidate) => candidate.method === method);
		if (route === undefined) {
			if (matching.length === 0) return sendProblem(response, 404, `there is nothing at ${url.pathname}`);
			response.setHeader("allow", matching.map((candidate) => candidate.method).join(", "));
			return sendProblem(response, 405, `${request.method} is not possible here`);
		}
		const id = Number(route.path.exec(url.pathname)?.[1] ?? 0);
		Promise.resolve(route.handle(request, response, id, url)).catch((error: unknown) => {
			// Only a client that goes away midway comes here.
			console.error(
				`orders: ${request.method} ${url.pathname}: ${error instanceof Error ? error.message : String(error)}`,
			);
			response.destroy();
		});
	});

	return {
		server,
		stop() {
			stopping.abort();
			return new Promise((resolve) => server.close(() => resolve()));
		},
	};
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
	const body = Buffer.from(JSON.stringify(value));
	response.writeHead(status, { "content-type": "application/json", "content-length": body.length });
	response.end(body);
}

/** RFC 9457. */
function sendProblem(response: ServerResponse, status: number, detail: string): void {
	const body = Buffer.from(JSON.stringify({ status, detail }));
	response.writeHead(status, { "content-type": "application/problem+json", "content-length": body.length });
	response.end(body);
}

/** The whole body, or undefined when it is larger than it may be; the rest is then read and thrown away. */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
	const parts: Buffer[] = [];
	let bytes = 0;
	for await (const part of request as AsyncIterable<Buffer>) {
		bytes += part.length;
		if (bytes <= BODY_BYTES_MAX) parts.push(part);
	}
	return bytes <= BODY_BYTES_MAX ? Buffer.concat(parts).toString("utf8") : undefined;
}

function parseJson(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
}
