import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import type { TestContext } from "node:test";
import type { Address } from "../config/settings.ts";

/** A server that says what a test likes, true or not, and knows what became of its connections. */
export class Liar {
	readonly address: Address & { readonly kind: "tcp" };
	/** All that was sent to it, by connection. */
	readonly heard: string[] = [];
	readonly #server: Server;
	readonly #sockets: Socket[] = [];
	readonly #waiting: (() => void)[] = [];
	#closed = 0;

	private constructor(server: Server, port: number) {
		this.#server = server;
		this.address = { kind: "tcp", host: "127.0.0.1", port };
	}

	/** `answer` is called with the first bytes of each connection, or with the connection itself when it does not want to wait for them. */
	static async start(
		t: TestContext,
		answer: (socket: Socket, number: number) => void,
		when: "asked" | "connected" = "asked",
	): Promise<Liar> {
		const server = createServer({ allowHalfOpen: true });
		server.listen(0, "127.0.0.1");
		await once(server, "listening");
		const bound = server.address();
		const liar = new Liar(server, typeof bound === "object" && bound !== null ? bound.port : 0);
		server.on("connection", (socket) => liar.#take(socket, answer, when));
		t.after(() => liar.stop());
		return liar;
	}

	/** Connections so far. */
	get connections(): number {
		return this.#sockets.length;
	}

	/** Resolves when so many connections have been closed by both sides. */
	async closed(count: number): Promise<void> {
		while (this.#closed < count) await new Promise<void>((resolve) => this.#waiting.push(resolve));
	}

	/** Resolves when so many connections have been made and asked something. */
	async asked(count: number): Promise<void> {
		while (this.heard.filter(Boolean).length < count) {
			await new Promise<void>((resolve) => this.#waiting.push(resolve));
		}
	}

	async stop(): Promise<void> {
		for (const socket of this.#sockets) socket.destroy();
		if (this.#server.listening) {
			this.#server.close();
			await once(this.#server, "close");
		}
	}

	#take(socket: Socket, answer: (socket: Socket, number: number) => void, when: "asked" | "connected"): void {
		const number = this.#sockets.length;
		this.#sockets.push(socket);
		this.heard.push("");
		socket.on("error", () => {});
		socket.on("data", (bytes) => {
			const isFirst = this.heard[number] === "";
			this.heard[number] += bytes.toString("latin1");
			if (isFirst && when === "asked") answer(socket, number);
			this.#wake();
		});
		socket.on("end", () => socket.end());
		socket.on("close", () => {
			this.#closed += 1;
			this.#wake();
		});
		if (when === "connected") answer(socket, number);
	}

	#wake(): void {
		for (const resolve of this.#waiting.splice(0)) resolve();
	}
}
