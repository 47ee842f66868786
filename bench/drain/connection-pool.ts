/** Connections that are kept for further requests, by target; the one that was used last is taken first. */
import { ClientConnection, type ConnectionTimes, renderTarget, type Target } from "./client-connection.ts";

/**
 * How long a connection is kept without a request, ms. Shorter than the keep-alive of every app here (uvicorn and Node: 5 s), as a client's
 * has to be: to send on a connection that the server closes just then is the client's mistake, and no restart's.
 */
export const KEEP_MS = 4000;

interface Kept {
	readonly connection: ClientConnection;
	readonly sinceMs: number;
}

export class ConnectionPool {
	readonly #times: ConnectionTimes;
	readonly #kept = new Map<string, Kept[]>();
	opened = 0;
	/** Connections that the server closed while they were kept. */
	lost = 0;

	constructor(times: ConnectionTimes) {
		this.#times = times;
	}

	open(target: Target): ClientConnection {
		this.opened++;
		return new ClientConnection(target, this.#times);
	}

	/** The one that was used last and is still good, or a new one. */
	take(target: Target, nowMs: number): ClientConnection {
		const kept = this.#kept.get(renderTarget(target)) ?? [];
		for (let last = kept.pop(); last !== undefined; last = kept.pop()) {
			if (!last.connection.isIdle) this.lost++;
			else if (nowMs - last.sinceMs < KEEP_MS) return last.connection;
			else last.connection.close(); // the sweep is late
		}
		return this.open(target);
	}

	give(connection: ClientConnection, nowMs: number): void {
		if (!connection.isIdle) return;
		const key = renderTarget(connection.target);
		const kept = this.#kept.get(key);
		if (kept === undefined) this.#kept.set(key, [{ connection, sinceMs: nowMs }]);
		else kept.push({ connection, sinceMs: nowMs });
	}

	/** Closes those that were kept long enough. */
	sweep(nowMs: number): void {
		for (const [key, kept] of this.#kept) {
			const left = kept.filter(({ connection, sinceMs }) => {
				if (!connection.isIdle) {
					this.lost++;
					return false;
				}
				if (nowMs - sinceMs < KEEP_MS) return true;
				connection.close();
				return false;
			});
			if (left.length === 0) this.#kept.delete(key);
			else this.#kept.set(key, left);
		}
	}

	close(): void {
		for (const kept of this.#kept.values()) for (const { connection } of kept) connection.close();
		this.#kept.clear();
	}
}
