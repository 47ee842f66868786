import type { Socket } from "node:net";
import { reset } from "../foundation/byte-stream.ts";
import type { Clock } from "../foundation/clock.ts";
import { ProxyProtocolParser } from "./proxy-protocol.ts";

/** Told once: the client's address with the bytes after the header, or `undefined` when there was no header. */
export type ProxyHeaderTaker = (address: string | undefined, rest: Buffer | undefined) => void;

/**
 * A connection of which the PROXY protocol header is still to come (`connections.proxyProtocol`). One that does not begin with a header, or not
 * within `timeouts.head`, is reset: nobody knows what its client speaks or who it is.
 */
export class ProxyHeader {
	readonly #socket: Socket;
	readonly #parser = new ProxyProtocolParser();
	readonly #taker: ProxyHeaderTaker;
	readonly #deadlineMs: number;
	#isOver = false;
	readonly #onData = (bytes: Buffer): void => this.#read(bytes);
	readonly #onEnd = (): void => this.cut();

	constructor(socket: Socket, clock: Clock, headMs: number, taker: ProxyHeaderTaker) {
		this.#socket = socket;
		this.#taker = taker;
		this.#deadlineMs = clock.monotonicMs() + headMs;
		socket.on("data", this.#onData);
		for (const event of ["end", "error", "close"]) socket.on(event, this.#onEnd);
	}

	expire(nowMs: number): void {
		if (nowMs >= this.#deadlineMs) this.cut();
	}

	/** Gives up. */
	cut(): void {
		if (this.#isOver) return;
		this.#isOver = true;
		reset(this.#socket);
		this.#taker(undefined, undefined);
	}

	#read(bytes: Buffer): void {
		if (this.#isOver) return;
		const parser = this.#parser;
		const used = parser.push(bytes, 0, bytes.length);
		if (parser.fault !== undefined) {
			this.cut();
			return;
		}
		if (!parser.isDone) return;
		this.#isOver = true;
		this.#socket.off("data", this.#onData);
		for (const event of ["end", "error", "close"]) this.#socket.off(event, this.#onEnd);
		this.#taker(
			parser.sourceAddress ?? this.#socket.remoteAddress ?? "unknown",
			used < bytes.length ? bytes.subarray(used) : undefined,
		);
	}
}
