import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { listenOptions } from "../config/address.ts";
import type { Address } from "../config/settings.ts";
import type { Clock } from "../foundation/clock.ts";
import type { Component } from "../foundation/component.ts";
import { isJsonObject, type JsonObject } from "../foundation/json-object.ts";
import { listenOn, portAddress } from "../foundation/listening.ts";
import type { Logger } from "../foundation/logger.ts";
import { createServer, HEAD_BYTES_MAX, type Refusal, refuseHead, serverOptions } from "../foundation/node-http.ts";
import type { Cancel, Scheduler } from "../foundation/scheduler.ts";
import { type PulledMetric, pulledMetric } from "../telemetry/registry.ts";
import { findStranger } from "./guard.ts";
import { ApiError, type Call, type ErrorCode, type Method, STATUS_OF_CODE } from "./method.ts";

/**
 * 9802: the contract between the app and its agent, and what the `outrigger` commands call. Each method is a POST with JSON, in Connect's unary
 * protocol; every answer carries the agent's epoch. No GET has an effect, there is no CORS, and strangers are sent away (`guard.ts`).
 *
 * A drain must get through whatever the others do. Connections are bounded by `api.connections`, and a new one replaces the one that has been
 * without a call longest; calls that wait are never chosen, and take at most three quarters of the connections.
 */
export interface ContractServerParts {
	readonly listen: Address;
	/** `api.connections`. */
	readonly connectionsMax: number;
	/** `api.hosts`, lower case. */
	readonly hosts: readonly string[];
	/** Of this run of the agent. */
	readonly epoch: string;
	readonly methods: readonly Method[];
	readonly clock: Clock;
	readonly scheduler: Scheduler;
	readonly log: Logger;
	readonly timeouts?: ContractTimeouts;
}

export interface ContractTimeouts {
	/** A request must be there, body included. */
	readonly requestMs: number;
	/** A connection between two requests. */
	readonly idleMs: number;
	/** A caller must have taken its answer. */
	readonly writeMs: number;
}

export const CONTRACT_TIMEOUTS: ContractTimeouts = Object.freeze({
	requestMs: 10_000,
	idleMs: 75_000,
	writeMs: 10_000,
});

/** A Unix socket is for its owner and the owner's group: whoever may connect may drain the pod. */
const SOCKET_UMASK = 0o117;
export const BODY_BYTES_MAX = 65_536;
/** Bytes of a body that is refused which are read and thrown away, so that the answer arrives and no reset. */
const LINGER_BYTES_MAX = 1_048_576;
/** Share of the connections that may wait. */
const WAITING_SHARE = 0.75;
/** How long the last answers of a server that stops may take. */
const STOP_MS = 250;
/** A timer takes no more (2^31 − 1 ms); who waits for 24 days may as well wait without an end. */
const TIMEOUT_MS_MAX = 2_147_483_647;

const JSON_TYPE = /^application\/json\s*(?:;\s*charset\s*=\s*"?utf-8"?\s*)?$/i;
const HINT =
	"this is the API of an Outrigger agent; its methods are called by POST with JSON: " +
	"curl -X POST -H 'content-type: application/json' -d '{}' http://127.0.0.1:9802/outrigger.v1.Agent/GetInfo";

/** idle: between two requests. reads: a request has begun. calls, waits: a method has it. answers: the caller is taking its answer. */
type Use = "idle" | "reads" | "calls" | "waits" | "answers";

interface Connection {
	readonly socket: Socket;
	use: Use;
	/** Monotonic ms of the last change of `use`. */
	sinceMs: number;
	/** Ends the call that is under way. */
	abort: ((why: ApiError) => void) | undefined;
}

interface Reply {
	readonly status: number;
	readonly code: ErrorCode | "ok";
	readonly body: object;
	readonly fields?: Readonly<Record<string, string>>;
}

export class ContractServer implements Component {
	readonly name = "contract-server";
	readonly #parts: ContractServerParts;
	readonly #timeouts: ContractTimeouts;
	readonly #hosts: ReadonlySet<string>;
	readonly #methods: ReadonlyMap<string, Method>;
	readonly #waitingMax: number;
	readonly #connections = new Map<Socket, Connection>();
	readonly #calls = new Map<string, { readonly method: string; readonly code: string; count: number }>();
	#server: Server | undefined;
	#waiting = 0;
	#closedForOthers = 0;
	#refused = 0;

	constructor(parts: ContractServerParts) {
		this.#parts = parts;
		this.#timeouts = parts.timeouts ?? CONTRACT_TIMEOUTS;
		this.#hosts = new Set(parts.hosts);
		this.#methods = new Map(parts.methods.map((method) => [method.path, method]));
		this.#waitingMax = Math.max(1, Math.floor(parts.connectionsMax * WAITING_SHARE));
	}

	/** Where it listens; `undefined` before `start`, after `stop`, and on a Unix socket. */
	get address(): AddressInfo | undefined {
		return portAddress(this.#server);
	}

	/** For the registry. */
	get pulledMetrics(): readonly PulledMetric[] {
		return [
			pulledMetric("outrigger_api_connections", (set) => set({}, this.#connections.size)),
			pulledMetric("outrigger_api_connections_closed_total", (set) => {
				set({ outcome: "replaced" }, this.#closedForOthers);
				set({ outcome: "refused" }, this.#refused);
			}),
			pulledMetric("outrigger_api_calls_total", (set) => {
				for (const { method, code, count } of this.#calls.values()) set({ method, code }, count);
			}),
		];
	}

	async start(): Promise<void> {
		const { listen, log } = this.#parts;
		const { requestMs, idleMs } = this.#timeouts;
		const server = createServer(serverOptions({ headMs: requestMs, idleMs }), (request, response) => {
			// Never rejects but for a mistake of ours between the two answers: the connection is then good for nothing more.
			this.#serve(request, response).catch((error: unknown) => {
				log.error("an answer of the API failed", { error });
				response.destroy();
			});
		});
		server.on("connection", (socket) => this.#accept(socket));
		server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => refuseHead(error, socket, sayBadHead));
		server.on("checkExpectation", (_, response) =>
			this.#send(response, refusal("invalid_argument", "no expectation is met here", 417), true),
		);
		this.#server = server;
		await listenOn(server, listenOptions(listen), SOCKET_UMASK);
		server.on("error", (error) => log.error("the API port", { error }));
	}

	async stop(): Promise<void> {
		const server = this.#server;
		this.#server = undefined;
		if (server === undefined) return;
		const closed = new Promise<void>((resolve) => {
			server.close(() => resolve());
		});
		const end = (): void => {
			for (const { socket } of this.#connections.values()) socket.destroy();
		};
		for (const { socket, use, abort } of this.#connections.values()) {
			if (abort !== undefined) abort(new ApiError("unavailable", "the agent stops"));
			else if (use !== "answers") socket.destroy();
		}
		const cancel = this.#parts.scheduler.after(STOP_MS, end);
		await closed;
		cancel();
	}

	#accept(socket: Socket): void {
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
		const sinceMs = this.#parts.clock.monotonicMs();
		this.#connections.set(socket, { socket, use: "idle", sinceMs, abort: undefined });
		socket.once("close", () => this.#connections.delete(socket));
	}

	/** Whom a new connection replaces: who has no call, then who does not take its answer. */
	#victim(): Connection | undefined {
		const longest = (...uses: readonly Use[]): Connection | undefined => {
			let found: Connection | undefined;
			for (const connection of this.#connections.values()) {
				if (!uses.includes(connection.use)) continue;
				if (found === undefined || connection.sinceMs < found.sinceMs) found = connection;
			}
			return found;
		};
		return longest("idle", "reads") ?? longest("answers");
	}

	#use(connection: Connection, use: Use): void {
		connection.use = use;
		connection.sinceMs = this.#parts.clock.monotonicMs();
	}

	async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
		const connection = this.#connections.get(request.socket);
		// Nobody who calls methods pipelines. Who does could have thousands of calls wait with one connection.
		if (connection?.use !== "idle") {
			request.socket.destroy();
			return;
		}
		this.#use(connection, "reads");
		response.once("close", () => this.#use(connection, "idle"));
		const method = this.#find(request);
		const body = await readBody(request, "status" in method ? 0 : BODY_BYTES_MAX);
		if (body === "gone") return;
		const reply =
			"status" in method
				? method
				: typeof body === "string"
					? refusal("resource_exhausted", `the body has more than ${BODY_BYTES_MAX} bytes`)
					: await this.#call(method, body, request, response, connection);
		this.#count("status" in method ? "" : nameOf(method), reply.code);
		if (response.destroyed) return;
		this.#use(connection, "answers");
		this.#send(response, reply, body === "endless");
	}

	/** The method that is called, or why it may not be. */
	#find(request: IncomingMessage): Method | Reply {
		const stranger = findStranger(request, this.#hosts);
		if (stranger !== undefined) return refusal(stranger.code, stranger.message);
		const target = request.url ?? "";
		if (!target.startsWith("/")) return refusal("invalid_argument", "the request target is not a path");
		// Compared as it came: nothing is decoded, and no dots are followed.
		const path = target.split("?", 1)[0] ?? "";
		const method = this.#methods.get(path);
		if (method === undefined) {
			const message = path === "/" ? HINT : "there is no such method; GET / says how methods are called";
			return refusal("unimplemented", message, 404);
		}
		if (request.method !== "POST") {
			return { ...refusal("unimplemented", "methods are called by POST", 405), fields: { allow: "POST" } };
		}
		const types = request.headersDistinct["content-type"] ?? [];
		if (types.length !== 1 || !JSON_TYPE.test(types[0] ?? "")) {
			const type = "application/json";
			return {
				...refusal("invalid_argument", `the content-type must be ${type}`, 415),
				fields: { "accept-post": type },
			};
		}
		if ((request.headers["content-encoding"] ?? "identity") !== "identity") {
			return {
				...refusal("unimplemented", "compressed bodies are not read"),
				fields: { "accept-encoding": "identity" },
			};
		}
		if ((request.headers["connect-protocol-version"] ?? "1") !== "1") {
			return refusal("invalid_argument", "the connect-protocol-version is 1");
		}
		if (!/^(?:[0-9]{1,10})?$/.test(String(request.headers["connect-timeout-ms"] ?? ""))) {
			return refusal("invalid_argument", "connect-timeout-ms is a number of up to ten digits");
		}
		return method;
	}

	async #call(
		method: Method,
		body: Buffer,
		request: IncomingMessage,
		response: ServerResponse,
		connection: Connection,
	): Promise<Reply> {
		const ended = Promise.withResolvers<never>();
		const controller = new AbortController();
		const abort = (why: ApiError): void => {
			controller.abort(why);
			ended.reject(why);
		};
		const onClose = (): void => abort(new ApiError("canceled", "the caller has gone"));
		const timeoutMs = request.headers["connect-timeout-ms"] ?? "";
		let cancel: Cancel | undefined;
		let isWaiting = false;
		const call: Call = {
			signal: controller.signal,
			userAgent: request.headers["user-agent"] ?? "",
			beginWait: () => {
				if (isWaiting) return;
				if (this.#waiting >= this.#waitingMax) {
					throw new ApiError("resource_exhausted", "too many calls wait already (api.connections)");
				}
				isWaiting = true;
				this.#waiting++;
				this.#use(connection, "waits");
			},
		};
		this.#use(connection, "calls");
		connection.abort = abort;
		response.once("close", onClose);
		try {
			const input = parseBody(body);
			if (timeoutMs !== "") {
				cancel = this.#parts.scheduler.after(Math.min(Number(timeoutMs), TIMEOUT_MS_MAX), () =>
					abort(new ApiError("deadline_exceeded", "the time that the caller gave (connect-timeout-ms) is over")),
				);
			}
			const answer = await Promise.race([method.handle(input, call), ended.promise]);
			return { status: 200, code: "ok", body: { epoch: this.#parts.epoch, ...answer } };
		} catch (error) {
			if (error instanceof ApiError) return refusal(error.code, error.message);
			this.#parts.log.error("a method of the API failed", { method: nameOf(method), error });
			return refusal("internal", "the agent made a mistake; its log has the details");
		} finally {
			ended.promise.catch(() => undefined); // raced or not, it is nobody's any more
			cancel?.();
			response.off("close", onClose);
			connection.abort = undefined;
			if (isWaiting) this.#waiting--;
		}
	}

	#send(response: ServerResponse, { status, body, fields }: Reply, closes: boolean): void {
		const text = `${JSON.stringify(body)}\n`;
		response.writeHead(status, {
			"content-type": "application/json",
			"content-length": Buffer.byteLength(text),
			"cache-control": "no-store",
			"x-content-type-options": "nosniff",
			...(closes || this.#server === undefined ? { connection: "close" } : {}),
			...fields,
		});
		const cancel = this.#parts.scheduler.after(this.#timeouts.writeMs, () => response.destroy());
		response.once("close", cancel);
		response.end(response.req.method === "HEAD" ? undefined : text);
	}

	#count(method: string, code: string): void {
		const key = `${method} ${code}`;
		const counted = this.#calls.get(key);
		if (counted === undefined) this.#calls.set(key, { method, code, count: 1 });
		else counted.count++;
	}
}

/** `Lifecycle/Drain`. */
function nameOf({ path }: Method): string {
	return path.slice(path.lastIndexOf(".") + 1);
}

/** A Connect error: https://connectrpc.com/docs/protocol/#error-end-stream. `status`: where HTTP has a better one for what is no call at all. */
function refusal(code: ErrorCode, message: string, status: number = STATUS_OF_CODE[code]): Reply {
	return { status, code, body: { code, message } };
}

function sayBadHead(status: number): Refusal {
	const message =
		status === 431
			? `the head has more than ${HEAD_BYTES_MAX} bytes`
			: status === 408
				? "the request did not come in time"
				: "this is no HTTP/1.1 request";
	return {
		contentType: "application/json",
		body: `${JSON.stringify({ code: "invalid_argument", message })}\n`,
	};
}

/**
 * The body; `too_large` when it was longer and has been read to its end all the same; `endless` when even that would be too much; `gone` when
 * the caller is.
 */
function readBody(request: IncomingMessage, bytesMax: number): Promise<Buffer | "too_large" | "endless" | "gone"> {
	return new Promise((resolve) => {
		const chunks: Buffer[] = [];
		let length = 0;
		request.on("data", (chunk: Buffer) => {
			length += chunk.length;
			if (length <= bytesMax) chunks.push(chunk);
			else chunks.length = 0;
			if (length > LINGER_BYTES_MAX) {
				request.pause();
				resolve("endless");
			}
		});
		request.once("end", () => resolve(length <= bytesMax ? Buffer.concat(chunks) : "too_large"));
		request.once("close", () => resolve("gone")); // after `end` it is too late for that
		request.on("error", () => undefined); // `close` follows
	});
}

function parseBody(body: Buffer): JsonObject {
	if (body.length === 0) throw new ApiError("invalid_argument", "there is no body; send {}");
	let input: unknown;
	try {
		input = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
	} catch {
		throw new ApiError("invalid_argument", "the body is not JSON in UTF-8");
	}
	if (!isJsonObject(input)) throw new ApiError("invalid_argument", "the body is not an object");
	return input;
}
