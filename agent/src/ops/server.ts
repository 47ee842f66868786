import { once } from "node:events";
import { closeSync, openSync, readSync } from "node:fs";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo, ListenOptions, Socket } from "node:net";
import type { Address } from "../config/settings.ts";
import type { Clock } from "../foundation/clock.ts";
import type { Component } from "../foundation/component.ts";
import type { Logger } from "../foundation/logger.ts";
import { createServer, STATUS_CODES } from "../foundation/node-http.ts";
import { negotiateFormat, parseAccept } from "../telemetry/exposition-write.ts";
import { metric } from "../telemetry/metric-names.ts";
import type { PulledMetric } from "../telemetry/registry.ts";
import type { MetricsPage } from "./metrics-page.ts";
import { PROBE_PATHS, type ProbeSource, renderProbe } from "./probes.ts";

/**
 * 9801: read only for everyone. Metrics for Prometheus, probes for the kubelet; nothing here changes anything.
 *
 * Connections are bounded by `ops.connections`. A probe must get through whatever the others do, so a new connection is always
 * let in and an old one has to go for it: the one that has been idle longest, else the one whose metrics have been on
 * their way longest. Those that wait (`/lifecycle/drained`) are never chosen; only when all wait is the new one closed.
 *
 * `ops.bearerTokenFile` protects `/metrics` only: the kubelet cannot send a token that it does not have in the pod's manifest.
 */

/** A further path, such as `/lifecycle/drained`. Must answer, or hold the response until it does. */
export interface OpsRoute {
	readonly path: string;
	/** It may wait for minutes: its connection is neither timed out nor closed for others. */
	readonly waits: boolean;
	readonly handle: (request: IncomingMessage, response: ServerResponse) => void;
}

export interface OpsServerParts {
	readonly listen: Address;
	/** `ops.connections`. */
	readonly connectionsMax: number;
	/** `ops.bearerTokenFile`. */
	readonly bearerTokenFile: string | undefined;
	readonly metrics: MetricsPage;
	readonly probes: ProbeSource;
	readonly routes: readonly OpsRoute[];
	readonly clock: Clock;
	readonly log: Logger;
	readonly timeouts?: OpsTimeouts;
}

export interface OpsTimeouts {
	/** A head must be there. */
	readonly headMs: number;
	/** A connection between two requests. */
	readonly idleMs: number;
	/** A client that takes nothing of its answer. */
	readonly writeStallMs: number;
}

export const OPS_TIMEOUTS: OpsTimeouts = Object.freeze({ headMs: 5_000, idleMs: 75_000, writeStallMs: 10_000 });

/** Bytes of a request's head: a scraper's has a few hundred. */
const HEAD_BYTES_MAX = 16_384;
/** How long a token that was read is believed, ms. */
const TOKEN_CACHE_MS = 1_000;
const TOKEN_BYTES_MAX = 4_096;
/** Part of a scraper's time limit that we spend on the app; the rest is for writing and the network. */
const APP_SHARE_OF_SCRAPE = 0.7;

type Use = "idle" | "metrics" | "waits" | "probe";

interface Connection {
	readonly socket: Socket;
	use: Use;
	/** Monotonic ms of the last change of `use`. */
	sinceMs: number;
}

export class OpsServer implements Component {
	readonly name = "ops-server";
	readonly #parts: OpsServerParts;
	readonly #timeouts: OpsTimeouts;
	readonly #routes: ReadonlyMap<string, OpsRoute>;
	readonly #token: TokenFile | undefined;
	/** In the order of their arrival. */
	readonly #connections = new Map<Socket, Connection>();
	#server: Server | undefined;
	#closedForOthers = 0;
	#refused = 0;

	constructor(parts: OpsServerParts) {
		this.#parts = parts;
		this.#timeouts = parts.timeouts ?? OPS_TIMEOUTS;
		this.#routes = new Map(parts.routes.map((route) => [route.path, route]));
		this.#token =
			parts.bearerTokenFile === undefined ? undefined : new TokenFile(parts.bearerTokenFile, parts.clock, parts.log);
	}

	/** Where it listens; `undefined` before `start`, after `stop`, and on a Unix socket. */
	get address(): AddressInfo | undefined {
		const address = this.#server?.address();
		return typeof address === "object" && address !== null ? address : undefined;
	}

	/** For the registry. */
	get pulledMetrics(): readonly PulledMetric[] {
		const open = metric("outrigger_ops_connections");
		const closed = metric("outrigger_ops_connections_closed_total");
		return [
			{
				name: open.name,
				type: "gauge",
				help: open.help,
				labelNames: open.labels,
				read: (set) => set({}, this.#connections.size),
			},
			{
				name: closed.name,
				type: "counter",
				help: closed.help,
				labelNames: closed.labels,
				read: (set) => {
					set({ outcome: "replaced" }, this.#closedForOthers);
					set({ outcome: "refused" }, this.#refused);
				},
			},
		];
	}

	async start(): Promise<void> {
		const server = createServer(
			{
				maxHeaderSize: HEAD_BYTES_MAX,
				headersTimeout: this.#timeouts.headMs,
				requestTimeout: this.#timeouts.headMs,
				keepAliveTimeout: this.#timeouts.idleMs,
				// Node looks for late heads at this interval only; its default is 30 s.
				connectionsCheckingInterval: Math.max(100, Math.min(1_000, this.#timeouts.headMs)),
				requireHostHeader: false, // HTTP/1.0 probes of load balancers
			},
			(request, response) => {
				this.#answer(request, response).catch((error: unknown) => {
					this.#parts.log.error("an answer of the ops port failed", { error });
					if (response.headersSent) response.destroy();
					else sendProblem(request, response, 500, "The agent made a mistake; its log has the details.");
				});
			},
		);
		server.on("connection", (socket) => this.#accept(socket));
		server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => refuseHead(error, socket));
		server.on("checkExpectation", (request, response) =>
			sendProblem(request, response, 417, "No expectation is met here."),
		);
		this.#server = server;
		server.listen(listenOptions(this.#parts.listen));
		await once(server, "listening"); // rejects on "error"
		server.on("error", (error) => this.#parts.log.error("the ops port", { error }));
	}

	async stop(): Promise<void> {
		const server = this.#server;
		this.#server = undefined;
		if (server === undefined) return;
		const closed = new Promise<void>((resolve) => {
			server.close(() => resolve());
		});
		for (const { socket } of this.#connections.values()) socket.destroy();
		await closed;
	}

	#accept(socket: Socket): void {
		const nowMs = this.#parts.clock.monotonicMs();
		if (this.#connections.size >= this.#parts.connectionsMax) {
			const victim = this.#victim();
			if (victim === undefined) {
				this.#refused++;
				socket.destroy();
				return;
			}
			this.#closedForOthers++;
			this.#connections.delete(victim.socket);
			victim.socket.destroy();
		}
		this.#connections.set(socket, { socket, use: "idle", sinceMs: nowMs });
		socket.once("close", () => this.#connections.delete(socket));
	}

	/** Whom a new connection replaces. */
	#victim(): Connection | undefined {
		let idle: Connection | undefined;
		let metrics: Connection | undefined;
		for (const connection of this.#connections.values()) {
			if (connection.use === "idle" && (idle === undefined || connection.sinceMs < idle.sinceMs)) idle = connection;
			if (connection.use === "metrics" && (metrics === undefined || connection.sinceMs < metrics.sinceMs)) {
				metrics = connection;
			}
		}
		return idle ?? metrics;
	}

	#use(socket: Socket, use: Use): void {
		const connection = this.#connections.get(socket);
		if (connection === undefined) return;
		connection.use = use;
		connection.sinceMs = this.#parts.clock.monotonicMs();
	}

	async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
		const { socket } = request;
		// No scraper and no probe pipelines. Who does could have thousands of answers wait in memory with one connection.
		if (this.#connections.get(socket)?.use !== "idle") {
			socket.destroy();
			return;
		}
		this.#use(socket, "probe");
		response.once("close", () => this.#use(socket, "idle"));
		// Nothing here reads a body. One that comes would have to be read to reach the next request, so there is none.
		if (request.headers["content-length"] !== undefined || request.headers["transfer-encoding"] !== undefined) {
			response.setHeader("connection", "close");
		}
		const path = pathOf(request.url ?? "");
		const probe = PROBE_PATHS.get(path);
		const route = this.#routes.get(path);
		if (probe === undefined && route === undefined && path !== "/metrics") {
			sendProblem(request, response, 404, "There is nothing here; see /metrics, /livez, /readyz and /startupz.");
			return;
		}
		if (request.method !== "GET" && request.method !== "HEAD") {
			response.setHeader("allow", "GET, HEAD");
			sendProblem(request, response, 405, "This port is read only.");
			return;
		}
		if (probe !== undefined) {
			const { status, contentType, body } = renderProbe(this.#parts.probes, probe, request.headers.accept);
			send(
				request,
				response,
				status,
				{ "content-type": contentType, "cache-control": "no-store", vary: "accept" },
				body,
			);
		} else if (route !== undefined) {
			if (route.waits) this.#use(socket, "waits");
			route.handle(request, response);
		} else {
			this.#use(socket, "metrics");
			await this.#answerMetrics(request, response);
		}
	}

	async #answerMetrics(request: IncomingMessage, response: ServerResponse): Promise<void> {
		if (this.#token !== undefined && !this.#token.admits(request.headers.authorization)) {
			response.setHeader("www-authenticate", "Bearer");
			sendProblem(request, response, 401, "The token of ops.bearerTokenFile is asked for.");
			return;
		}
		const page = await this.#parts.metrics.render(negotiateFormat(request.headers.accept), appTimeoutMs(request));
		if (response.destroyed) return;
		const isGzip = acceptsGzip(request.headers["accept-encoding"]);
		const blocks = isGzip ? await page.gzip() : page.blocks;
		if (response.destroyed) return;
		response.writeHead(200, {
			"content-type": page.contentType,
			"content-length": blocks.reduce((sum, block) => sum + block.length, 0),
			"cache-control": "no-store",
			vary: "accept, accept-encoding",
			...(isGzip ? { "content-encoding": "gzip" } : {}),
		});
		if (request.method === "HEAD") response.end();
		else await this.#writeBlocks(response, blocks);
	}

	/** Writes as fast as the client reads, and not for longer than it reads. */
	async #writeBlocks(response: ServerResponse, blocks: readonly Buffer[]): Promise<void> {
		const stalled = setTimeout(() => response.destroy(), this.#timeouts.writeStallMs);
		response.once("close", () => clearTimeout(stalled));
		for (const block of blocks) {
			if (response.destroyed) return;
			stalled.refresh();
			if (response.write(block)) continue;
			await new Promise<void>((resolve) => {
				const resume = (): void => {
					response.off("drain", resume);
					response.off("close", resume);
					resolve();
				};
				response.once("drain", resume);
				response.once("close", resume);
			});
		}
		response.end();
	}
}

/** A secret in a file that somebody may replace. */
class TokenFile {
	readonly #path: string;
	readonly #clock: Clock;
	readonly #log: Logger;
	#digest: Buffer | undefined;
	#readMs = Number.NEGATIVE_INFINITY;
	#hasFailed = false;

	constructor(path: string, clock: Clock, log: Logger) {
		this.#path = path;
		this.#clock = clock;
		this.#log = log;
	}

	/** Whether the value of `Authorization` has the token. Without a readable token nobody is admitted. */
	admits(authorization: string | undefined): boolean {
		if (this.#clock.monotonicMs() - this.#readMs >= TOKEN_CACHE_MS) {
			this.#read();
		}
		const match = /^bearer +([^ ]+) *$/i.exec(authorization ?? "");
		if (match?.[1] === undefined || this.#digest === undefined) return false;
		// Digests have one length, so the comparison says nothing about the token's.
		return crypto().timingSafeEqual(digestOf(match[1]), this.#digest);
	}

	/** Synchronous: a mounted secret is memory, and `node:fs/promises` would cost 4 MiB. */
	#read(): void {
		try {
			const file = openSync(this.#path, "r");
			try {
				const buffer = Buffer.alloc(TOKEN_BYTES_MAX);
				const token = buffer.toString("latin1", 0, readSync(file, buffer)).trim();
				if (token === "") throw new Error("the file is empty");
				this.#digest = digestOf(token);
			} finally {
				closeSync(file);
			}
			this.#hasFailed = false;
		} catch (error) {
			this.#digest = undefined;
			if (!this.#hasFailed) this.#log.error("ops.bearerTokenFile cannot be read: nobody gets /metrics", { error });
			this.#hasFailed = true;
		}
		this.#readMs = this.#clock.monotonicMs();
	}
}

/** Loaded only where there is a token: 3 MiB. */
const crypto = () => process.getBuiltinModule("node:crypto");

function digestOf(text: string): Buffer {
	return crypto().createHash("sha256").update(text, "latin1").digest();
}

function listenOptions(address: Address): ListenOptions {
	if (address.kind === "unix") return { path: address.path };
	return address.host === undefined ? { port: address.port } : { port: address.port, host: address.host };
}

/** The path of origin-form or absolute-form, without its query. */
function pathOf(target: string): string {
	const path = target.startsWith("/") ? target : target.replace(/^https?:\/\/[^/?#]*/i, "");
	return path.split("?", 1)[0] ?? "";
}

/** How long the app may take, by the scraper's own limit (Prometheus tells it in a header). */
function appTimeoutMs(request: IncomingMessage): number {
	const seconds = Number(request.headers["x-prometheus-scrape-timeout-seconds"]);
	return seconds > 0 ? seconds * 1_000 * APP_SHARE_OF_SCRAPE : Number.POSITIVE_INFINITY;
}

/** RFC 9110 §12.5.3. */
function acceptsGzip(field: string | string[] | undefined): boolean {
	const text = Array.isArray(field) ? field.join(",") : (field ?? "");
	// A coding has no slash; with one put in, the same parser reads both fields.
	const codings = parseAccept(text.replace(/(^|,)\s*([^\s;,/]+)/g, "$1coding/$2"));
	const find = (name: string): number | undefined => codings.find(({ type }) => type === `coding/${name}`)?.quality;
	return (find("gzip") ?? find("x-gzip") ?? 0) > 0;
}

function send(
	request: IncomingMessage,
	response: ServerResponse,
	status: number,
	fields: Readonly<Record<string, string>>,
	body: string,
): void {
	response.writeHead(status, { ...fields, "content-length": Buffer.byteLength(body) });
	response.end(request.method === "HEAD" ? undefined : body);
}

/** RFC 9457. */
function sendProblem(request: IncomingMessage, response: ServerResponse, status: number, detail: string): void {
	const body = JSON.stringify({ type: "about:blank", title: STATUS_CODES[status], status, detail });
	send(request, response, status, { "content-type": "application/problem+json" }, `${body}\n`);
}

/** Bytes that are no request, or a head that is late or too long: answered if there is still somebody. */
function refuseHead(error: NodeJS.ErrnoException, socket: Socket): void {
	if (!socket.writable || socket.bytesWritten > 0) {
		socket.destroy();
		return;
	}
	const status = error.code === "HPE_HEADER_OVERFLOW" ? 431 : error.code === "ERR_HTTP_REQUEST_TIMEOUT" ? 408 : 400;
	const body = `${JSON.stringify({ type: "about:blank", title: STATUS_CODES[status], status })}\n`;
	socket.end(
		`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-type: application/problem+json\r\n` +
			`content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
	);
}
