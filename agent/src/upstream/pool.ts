import type { Address } from "../config/settings.ts";
import type { TurnClock } from "../foundation/turn-clock.ts";
import type { WriteBatch } from "../foundation/write-batch.ts";
import type { FieldNames } from "../http1/field-names.ts";
import type { HeadLimits } from "../http1/limits.ts";
import { type AppStream, type ConnectionOwner, UpstreamConnection } from "./connection.ts";
import { KeepAliveLesson } from "./keep-alive-lesson.ts";

/** Makes a socket that is connecting. `localAddress`: the address to come from, `undefined` for the kernel's choice. */
export type Connect = (address: Address, localAddress: string | undefined) => AppStream;

export interface PoolSettings {
	/** Where the app may be found, in the order in which it is looked for. */
	readonly candidates: readonly Address[];
	/** The address to come from, per family: 4, 6. */
	readonly source: { readonly ipv4: string | undefined; readonly ipv6: string | undefined };
	readonly connectMs: number;
	readonly appIdleMs: number;
	readonly limits: HeadLimits;
}

/** Counts that the pool keeps up to date; cells in shared memory in the agent. */
export interface PoolCounts {
	opened(): void;
	closed(): void;
	/** A mistake of ours was caught. */
	mistake(error: unknown): void;
}

/** A request that is not idempotent never rides a connection that has been idle for longer than this, in ms. */
export const FRESH_IDLE_MS = 250;

/**
 * The connections to one app. Idle ones are taken last in, first out, so that what is not needed grows old and is closed.
 * There are never more connections than exchanges were in flight at once within the idle time; exchanges are bounded by
 * `limits.connections` and `limits.inFlight`.
 */
export class Pool implements ConnectionOwner {
	readonly lesson: KeepAliveLesson;
	#settings: PoolSettings;
	readonly #connect: Connect;
	readonly #clock: TurnClock;
	readonly #batch: WriteBatch;
	readonly #names: FieldNames;
	readonly #counts: PoolCounts;
	readonly #idle: UpstreamConnection[] = [];
	readonly #connecting = new Set<UpstreamConnection>();
	/** How often the app has moved. */
	#place = 0;
	/** Index in `candidates` of the address that answered last. */
	#candidate = 0;

	constructor(
		settings: PoolSettings,
		connect: Connect,
		clock: TurnClock,
		batch: WriteBatch,
		names: FieldNames,
		counts: PoolCounts,
	) {
		this.#settings = settings;
		this.#connect = connect;
		this.#clock = clock;
		this.#batch = batch;
		this.#names = names;
		this.#counts = counts;
		this.lesson = new KeepAliveLesson(settings.appIdleMs);
	}

	/** How many addresses there are to try. */
	get candidates(): number {
		return this.#settings.candidates.length;
	}

	/** Index of the address that the next connection goes to. */
	get candidate(): number {
		return this.#candidate;
	}

	get idleCount(): number {
		return this.#idle.length;
	}

	/** The app has moved (`outrigger run` has found its port). Idle connections to the old place are closed. */
	relocate(candidates: readonly Address[], source: PoolSettings["source"]): void {
		this.#settings = { ...this.#settings, candidates, source };
		this.#candidate = 0;
		this.#place++;
		this.closeIdle();
	}

	now(): number {
		return this.#clock.monotonicMs();
	}

	turn(): void {
		this.#clock.turn();
	}

	/** A connection that may carry this request: an idle one, if one is young enough, else `undefined`. */
	takeIdle(isIdempotent: boolean): UpstreamConnection | undefined {
		const connection = this.#idle[this.#idle.length - 1];
		if (connection === undefined) return undefined;
		const idleMs = this.now() - connection.idleSinceMs;
		// The newest is on top: if it is too old, all are, and `sweep` closes them.
		if (idleMs > this.lesson.idleMs || (!isIdempotent && idleMs > FRESH_IDLE_MS)) return undefined;
		this.#idle.pop();
		return connection;
	}

	/** A socket to the app that is connecting and that nobody looks after but the caller. `undefined`: the app's port is not known yet. */
	dial(): AppStream | undefined {
		const { candidates, source } = this.#settings;
		const address = candidates[this.#candidate];
		return address === undefined ? undefined : this.#connect(address, sourceFor(address, source));
	}

	/** A new connection, connecting. `undefined`: the app's port is not known yet. */
	open(): UpstreamConnection | undefined {
		const stream = this.dial();
		if (stream === undefined) return undefined;
		const connection = new UpstreamConnection(stream, this, this.#batch, this.#settings.limits, this.#names);
		connection.place = this.#place;
		this.#connecting.add(connection);
		this.#counts.opened();
		return connection;
	}

	/** The candidate with that index refused. The next `open` tries another, unless somebody has found out before. */
	tryNextCandidate(refused: number): void {
		if (refused !== this.#candidate) return;
		this.#candidate = (this.#candidate + 1) % Math.max(1, this.#settings.candidates.length);
	}

	mistake(error: unknown): void {
		this.#counts.mistake(error);
	}

	connected(connection: UpstreamConnection): void {
		this.#connecting.delete(connection);
	}

	released(connection: UpstreamConnection): void {
		if (connection.place !== this.#place)
			connection.closeIdle(); // to where the app was before it moved
		else this.#idle.push(connection);
	}

	closed(connection: UpstreamConnection, idleMs: number): void {
		this.#counts.closed();
		this.#connecting.delete(connection);
		if (idleMs < 0) return;
		this.lesson.sawClose(idleMs);
		const index = this.#idle.indexOf(connection);
		if (index >= 0) this.#idle.splice(index, 1);
	}

	/** Closes what has been idle or connecting for too long. Called a few times a second. */
	sweep(): void {
		const now = this.now();
		const idle = this.#idle;
		let old = 0;
		while (old < idle.length && now - (idle[old]?.idleSinceMs ?? now) > this.lesson.idleMs) old++;
		if (old > 0) for (const connection of idle.splice(0, old)) connection.closeIdle();
		for (const connection of this.#connecting) {
			// In order of age, so the first one that is young enough ends the look.
			if (now - connection.openedMs < this.#settings.connectMs) break;
			connection.connectTimedOut();
		}
	}

	/** Closes every idle connection. */
	closeIdle(): void {
		for (const connection of this.#idle.splice(0)) connection.closeIdle();
	}
}

const sourceFor = (address: Address, source: PoolSettings["source"]): string | undefined => {
	if (address.kind === "unix" || address.host === undefined) return undefined;
	return address.host.includes(":") ? source.ipv6 : source.ipv4;
};
