import { closeSync, openSync, readSync } from "node:fs";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { listenOptions } from "../config/address.ts";
import type { Address } from "../config/settings.ts";
import type { Clock } from "../foundation/clock.ts";
import type { Component } from "../foundation/component.ts";
import { listenOn, portAddress } from "../foundation/listening.ts";
import type { Logger } from "../foundation/logger.ts";
import { createServer, type Refusal, refuseHead, STATUS_CODES, serverOptions } from "../foundation/node-http.ts";
import { negotiateFormat, parseAccept } from "../telemetry/exposition-write.ts";
import { type PulledMetric, pulledMetric } from "../telemetry/registry.ts";
import { ConnectionPlaces } from "./connection-places.ts";
import type { MetricsPage } from "./metrics-page.ts";
import { PROBE_PATHS, ProbePages, type ProbeSource } from "./probes.ts";

/**
 * 9801: read only for everyone. Metrics for Prometheus, probes for the kubelet; nothing here changes anything.
 *
 * A probe and a stop hook must get through whatever the others do. So a new connection is always let in and an old one goes for it when
 * there are too many; which, and why, is in `connection-places.ts`. Nothing that supervises waits for what observes: a probe
 * reads memory, a hook waits for the drain, and pages are made in short turns.
 *
 * `ops.bearerTokenFile` protects `/metrics` only: the kubelet cannot send a token that it does not have in the pod's manifest.
 */

/** A further path, such as `/lifecycle/drained`. Must answer, or hold the response until it does. */
export interface OpsRoute {
	readonly path: string;
	/** It may wait for minutes: its connection is not timed out, counts as one of `ops.waiters`, and ends with the answer. */
	readonly waits: boolean;
	handle(request: IncomingMessage, response: ServerResponse): void;
	/** The server stops: answers everybody who still waits, in this turn; connections are closed after it. Safe twice. */
	stop?(): void;
}

export interface OpsServerParts {
	readonly listen: Address;
	/** `ops.connections`. */
	readonly connectionsMax: number;
	/** `ops.waiters`. */
	readonly waitersMax: number;
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

/** How long a token that was read is believed, ms. */
const TOKEN_CACHE_MS = 1_000;
const TOKEN_BYTES_MAX = 4_096;
/** Part of a scraper's time limit that we spend on the app; the rest is for writing and the network. */
const APP_SHARE_OF_SCRAPE = 0.7;

/** That a waiter had to go is said for the first and then for every such number: who causes it must not fill the log. */
const REPLACED_SAID_EVERY = 1_000;

export class OpsServer implements Component {
	readonly name = "ops-server";
	readonly #parts: OpsServerParts;
	readonly #timeouts: OpsTimeouts;
	readonly #routes: ReadonlyMap<string, OpsRoute>;
	readonly #token: TokenFile | undefined;
	readonly #places: ConnectionPlaces;
	readonly #probes: ProbePages;
	#server: Server | undefined;

	constructor(parts: OpsServerParts) {
		this.#parts = parts;
		this.#probes = new ProbePages(parts.probes);
		this.#timeouts = parts.timeouts ?? OPS_TIMEOUTS;
		this.#routes = new Map(parts.routes.map((route) => [route.path, route]));
		this.#token =
			parts.bearerTokenFile === undefined ? undefined : new TokenFile(parts.bearerTokenFile, parts.clock, parts.log);
		this.#places = new ConnectionPlaces(parts, parts.clock, (from, count) => {
			if (count % REPLACED_SAID_EVERY !== 1) return;
			parts.log.warn("a stop hook that waited made room for another, since more wait than ops.waiters allows", {
				from,
				count,
			});
		});
	}

	/** Where it listens; `undefined` before `start`, after `stop`, and on a Unix socket. */
	get address(): AddressInfo | undefined {
		return portAddress(this.#server);
	}

	/** For the registry. */
	get pulledMetrics(): readonly PulledMetric[] {
		return [
			pulledMetric("outrigger_ops_connections", (set) => set({}, this.#places.connections)),
			pulledMetric("outrigger_ops_connections_closed_total", (set) => {
				set({ outcome: "replaced" }, this.#places.replaced);
				set({ outcome: "waiter_replaced" }, this.#places.waitersReplaced);
			}),
		];
	}

	async start(): Promise<void> {
		const server = createServer(serverOptions(this.#timeouts), (request, response) => {
			this.#answer(request, response).catch((error: unknown) => {
				this.#parts.log.error("an answer of the ops port failed", { error });
				if (response.headersSent) response.destroy();
				else sendProblem(request, response, 500, "The agent made a mistake; its log has the details.");
			});
		});
		server.on("connection", (socket) => {
			socket.once("close", () => this.#places.leave(socket));
			this.#places.enter(socket);
		});
		server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => refuseHead(error, socket, sayBadHead));
		server.on("checkExpectation", (request, response) =>
			sendProblem(request, response, 417, "No expectation is met here."),
		);
		this.#server = server;
		await listenOn(server, listenOptions(this.#parts.listen));
		server.on("error", (error) => this.#parts.log.error("the ops port", { error }));
	}

	async stop(): Promise<void> {
		const server = this.#server;
		this.#server = undefined;
		if (server === undefined) return;
		const closed = new Promise<void>((resolve) => {
			server.close(() => resolve());
		});
		// A hook that sees a reset is a failed one: an event that somebody will look into.
		for (const route of this.#parts.routes) route.stop?.();
		this.#places.clear();
		await closed;
	}

	async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
		const { socket } = request;
		// No scraper and no probe pipelines. Who does could have thousands of answers wait in memory with one connection.
		if (this.#places.useOf(socket) !== "idle") {
			socket.destroy();
			return;
		}
		this.#places.use(socket, "probe");
		response.once("close", () => this.#places.use(socket, "idle"));
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
			const { status, contentType, body } = this.#probes.render(probe, request.headers.accept);
			send(
				request,
				response,
				status,
				{ "content-type": contentType, "cache-control": "no-store", vary: "accept" },
				body,
			);
		} else if (route !== undefined) {
			if (route.waits) {
				this.#places.use(socket, "waits");
				response.setHeader("connection", "close");
			}
			route.handle(request, response);
		} else {
			this.#places.use(socket, "metrics");
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

function sayBadHead(status: number): Refusal {
	const body = JSON.stringify({ type: "about:blank", title: STATUS_CODES[status], status });
	return { contentType: "application/problem+json", body: `${body}\n` };
}
