import { Agent, type IncomingHttpHeaders, request } from "node:http";
import type { TestContext } from "node:test";
import { systemClock } from "../foundation/clock.ts";
import { silentLogger } from "../foundation/logger.ts";
import { systemScheduler } from "../foundation/scheduler.ts";
import { TextClient } from "../foundation/text-client.fixture.ts";
import type { Method } from "./method.ts";
import { ContractServer, type ContractServerParts } from "./server.ts";

/** A server on a port of the system's choice, and clients that may say what no well-behaved one would. */

export interface Running {
	readonly server: ContractServer;
	readonly port: number;
}

export async function startServer(
	t: TestContext,
	methods: readonly Method[],
	parts: Partial<ContractServerParts> = {},
): Promise<Running> {
	const server = new ContractServer({
		listen: { kind: "tcp", host: "127.0.0.1", port: 0 },
		connectionsMax: 64,
		hosts: [],
		epoch: "epoch-1",
		methods,
		clock: systemClock,
		scheduler: systemScheduler,
		log: silentLogger,
		...parts,
	});
	await server.start();
	t.after(() => server.stop());
	return { server, port: server.address?.port ?? 0 };
}

export interface Answer {
	readonly status: number;
	readonly headers: IncomingHttpHeaders;
	readonly text: string;
	/** The body; empty when it is no JSON. */
	readonly json: Readonly<Record<string, unknown>>;
}

export interface Asked {
	readonly port?: number;
	readonly socketPath?: string;
	readonly path: string;
	readonly method?: string;
	readonly headers?: Readonly<Record<string, string | readonly string[]>>;
	readonly body?: string | Buffer;
	readonly signal?: AbortSignal;
}

/** One request on a connection of its own; JSON unless `headers` says otherwise. */
export function ask(asked: Asked): Promise<Answer> {
	const { port, socketPath, path, method = "POST", headers = {}, body = "{}", signal } = asked;
	return new Promise((resolve, reject) => {
		const outgoing = request(
			{
				...(socketPath === undefined ? { host: "127.0.0.1", port } : { socketPath }),
				path,
				method,
				headers: { "content-type": "application/json", ...headers },
				agent: new Agent(),
				...(signal === undefined ? {} : { signal }),
			},
			(response) => {
				let text = "";
				response.setEncoding("utf8").on("data", (chunk: string) => {
					text += chunk;
				});
				response.on("error", reject);
				response.on("end", () => {
					const isJson = response.headers["content-type"] === "application/json" && text !== "";
					const json = isJson ? (JSON.parse(text) as Answer["json"]) : {}; // an object, as each test then sees
					resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json });
				});
			},
		);
		outgoing.on("error", reject);
		outgoing.end(method === "GET" || method === "HEAD" || method === "OPTIONS" ? undefined : body);
	});
}

/** Bytes as they are written. */
export class RawClient extends TextClient {
	/** A call, after which the connection stays. */
	call(path: string, body = "{}"): void {
		this.socket.write(
			`POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
		);
	}
}

/** A method that waits until it is told to answer, or until nobody wants to know. */
export class Waiter {
	readonly path = "/outrigger.v1.Test/Wait";
	readonly #arrived: (() => void)[] = [];
	readonly #waits = new Set<{ readonly answer: (value: object) => void; readonly signal: AbortSignal }>();
	/** How many waits have ended because nobody wanted the answer any more. */
	abandoned = 0;
	readonly #abandonedBy: (() => void)[] = [];

	get method(): Method {
		return {
			path: this.path,
			handle: (_, call) => {
				call.beginWait();
				return new Promise((answer) => {
					const wait = { answer, signal: call.signal };
					this.#waits.add(wait);
					call.signal.addEventListener("abort", () => {
						this.#waits.delete(wait);
						this.abandoned++;
						for (const tell of this.#abandonedBy.splice(0)) tell();
					});
					for (const tell of this.#arrived.splice(0)) tell();
				});
			},
		};
	}

	get waiting(): number {
		return this.#waits.size;
	}

	/** Resolves when the next call waits. */
	next(): Promise<void> {
		return new Promise((resolve) => this.#arrived.push(resolve));
	}

	nextAbandoned(): Promise<void> {
		return new Promise((resolve) => this.#abandonedBy.push(resolve));
	}

	answerAll(value: object): void {
		for (const { answer } of this.#waits) answer(value);
		this.#waits.clear();
	}
}
