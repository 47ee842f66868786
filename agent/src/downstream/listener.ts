import { createServer, type Server, type Socket } from "node:net";
import { CELL } from "../bridge/counters.ts";
import { listenOptions } from "../config/address.ts";
import { refusalsMax } from "../config/file-limit.ts";
import type { InboundSettings } from "../config/settings.ts";
import { Peer } from "../exchange/forwarded.ts";
import { type ByteStream, reset } from "../foundation/byte-stream.ts";
import { FAULTS } from "../foundation/fault.ts";
import { removeStaleSocket } from "../foundation/stale-socket.ts";
import { ClientSocket } from "./client-socket.ts";
import { type ConnectionParts, Http1Connection } from "./http1-connection.ts";
import { ProxyHeader } from "./proxy-header.ts";

/** Connections that wait in the kernel to be accepted; the kernel lowers it to net.core.somaxconn. */
const BACKLOG = 4096;
/** When the kernel asks whether a silent client is still there, ms: tunnels and event streams may be silent for long. */
const KEEP_ALIVE_PROBE_MS = 60_000;

/**
 * One `inbound` entry on one data thread: accepts, keeps to the bound, and knows every connection until it is closed. With several data
 * threads each has a listener of its own on the same port (`reusePort`), and the kernel shares connections out among them.
 */
export class Listener {
	readonly #parts: ConnectionParts;
	readonly #inbound: number;
	readonly #settings: InboundSettings;
	readonly #connectionsMax: number;
	readonly #connections = new Set<Http1Connection>();
	/** Connections of which the PROXY protocol header has not come yet. */
	readonly #headers = new Set<ProxyHeader>();
	#server: Server | undefined;
	#refusals = 0;

	/** `connectionsMax`: this listener's share of `limits.connections`. */
	constructor(parts: ConnectionParts, inbound: number, settings: InboundSettings, connectionsMax: number) {
		this.#parts = parts;
		this.#inbound = inbound;
		this.#settings = settings;
		this.#connectionsMax = connectionsMax;
	}

	/** Binds and accepts. Resolves with the port (0 for a Unix socket); rejects with the system's error. */
	async listen(reusePort: boolean): Promise<number> {
		const { listen } = this.#settings;
		if (listen.kind === "unix") await removeStaleSocket(listen.path);
		const server = createServer(
			{
				pauseOnConnect: true,
				allowHalfOpen: true,
				noDelay: true,
				keepAlive: true,
				keepAliveInitialDelay: KEEP_ALIVE_PROBE_MS,
			},
			(socket) => this.#accept(socket),
		);
		this.#server = server;
		return new Promise((resolve, reject) => {
			server.once("error", reject);
			server.listen({ ...listenOptions(listen), backlog: BACKLOG, reusePort }, () => {
				server.off("error", reject);
				// Errors of accepting (EMFILE) do not end a listener: libuv waits and tries again.
				server.on("error", () => undefined);
				const bound = server.address();
				resolve(typeof bound === "object" && bound !== null ? bound.port : 0);
			});
		});
	}

	/** Takes a connection whose client is known. The simulation comes in here. */
	take(socket: ByteStream, peer: Peer, first: Buffer | undefined): void {
		const { counters, clock } = this.#parts;
		clock.turn();
		counters.add(CELL.DOWNSTREAM_OPEN, 1);
		counters.add(CELL.DOWNSTREAM_OPENED, 1);
		const isBeyond = this.#connections.size - this.#refusals >= this.#connectionsMax; // who is being refused has no place
		const isOpaque = this.#settings.protocol === "tcp" || this.#settings.protocol === "http2";
		// Who does not speak HTTP/1 cannot read the answer either.
		if (isBeyond && (isOpaque || this.#refusals >= refusalsMax(this.#connectionsMax))) {
			counters.add(CELL.DOWNSTREAM_OPEN, -1);
			counters.add(CELL.REFUSED_START + FAULTS.connections_exceeded.index, 1);
			socket.on("error", () => undefined);
			reset(socket);
			return;
		}
		const connection = new Http1Connection(socket, this.#parts, this.#inbound, peer, (closed) => {
			this.#connections.delete(closed);
			if (isBeyond) this.#refusals--;
			counters.add(CELL.DOWNSTREAM_OPEN, -1);
		});
		this.#connections.add(connection);
		if (isBeyond) {
			this.#refusals++;
			connection.refuse(FAULTS.connections_exceeded);
		} else if (isOpaque) {
			connection.relay(first);
		} else if (first !== undefined) {
			connection.receive(first);
		}
	}

	/** Looks at the deadlines of all connections. */
	sweep(nowMs: number): void {
		for (const connection of this.#connections) connection.expire(nowMs);
		for (const header of this.#headers) header.expire(nowMs);
	}

	/** The agent begins to leave. Answers that are over and have not gone yet are in flight from here on. */
	leave(): void {
		for (const connection of this.#connections) connection.leave();
	}

	/** Closes connections that have had no request for `idleMs`. */
	closeIdle(idleMs: number): void {
		const beforeMs = this.#parts.clock.monotonicMs() - idleMs;
		for (const connection of this.#connections) {
			if (connection.closeIdle(beforeMs)) this.#parts.counters.add(CELL.IDLE_CLOSED, 1);
		}
	}

	/** Who may still bring a request while we leave: heads that are not whole, and since when the client that became idle last is so, monotonic ms. */
	expected(): { readonly headsOpen: number; readonly idleSinceMs: number } {
		let headsOpen = 0;
		let idleSinceMs = Number.NEGATIVE_INFINITY;
		for (const connection of this.#connections) {
			if (connection.hasOpenHead) headsOpen++;
			else if (connection.idleSinceMs > idleSinceMs) idleSinceMs = connection.idleSinceMs;
		}
		return { headsOpen, idleSinceMs };
	}

	/** Ends the event streams: their share of the drain's budget is over. */
	closeStreams(): void {
		for (const connection of this.#connections) connection.closeStream();
	}

	/** Accepts no more and cuts what is left. */
	stop(): void {
		this.#server?.close();
		this.#server = undefined;
		for (const header of this.#headers) header.cut();
		for (const connection of this.#connections) connection.cut();
	}

	#accept(accepted: Socket): void {
		const socket = ClientSocket.takeOver(accepted);
		if (!this.#parts.settings.connections.proxyProtocol) {
			this.take(socket, new Peer(socket.remoteAddress), undefined);
			return;
		}
		if (this.#headers.size >= this.#connectionsMax) {
			this.#parts.counters.add(CELL.REFUSED_START + FAULTS.connections_exceeded.index, 1);
			socket.on("error", () => undefined);
			reset(socket);
			return;
		}
		const header = new ProxyHeader(socket, this.#parts.clock, this.#parts.settings.timeouts.headMs, (address, rest) => {
			this.#headers.delete(header);
			if (address !== undefined) this.take(socket, new Peer(address), rest);
			else this.#parts.counters.add(CELL.REFUSED_START + FAULTS.proxy_protocol.index, 1);
		});
		this.#headers.add(header);
	}
}
