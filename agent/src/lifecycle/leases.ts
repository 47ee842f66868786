import { assert } from "../foundation/assert.ts";
import type { Clock } from "../foundation/clock.ts";
import type { DrainWatch } from "../foundation/drain.ts";
import type { Cancel, Scheduler } from "../foundation/scheduler.ts";

/**
 * Leases: what the app still has to do when no exchange shows it: a job from a queue, a batch. Each holds up the drain (`Drain.enter`) until it is
 * released, or not renewed within its time to live; each leaves exactly once. They die with the agent.
 *
 * One timer serves all: it waits for the first that ends.
 */
export interface Lease {
	readonly id: string;
	/** What the app calls it; need not be unique. */
	readonly name: string;
	/** Wall clock, ms: when it was first held, and when it ends unless it is renewed. */
	readonly heldWallMs: number;
	readonly expiresWallMs: number;
}

export type LeaseEvent = "held" | "renewed" | "released" | "expired";

export interface LeaseParts {
	readonly clock: Clock;
	readonly scheduler: Scheduler;
	/** What is held up. */
	readonly drain: Pick<DrainWatch, "enter" | "leave">;
	/** `drain.leases`. */
	readonly leasesMax: number;
	/** A name that no lease has had: UUIDs. */
	readonly newId: () => string;
}

interface Held {
	readonly id: string;
	readonly name: string;
	readonly heldWallMs: number;
	/** Monotonic ms: a wall clock that jumps ends no lease. */
	expiresMs: number;
	expiresWallMs: number;
}

/** More than there are parts that could want to know is a leak. */
const SUBSCRIBERS_MAX = 16;

export class Leases {
	readonly #parts: LeaseParts;
	readonly #held = new Map<string, Held>();
	readonly #subscribers = new Set<(event: LeaseEvent, lease: Lease) => void>();
	#cancelTimer: Cancel | undefined;
	/** When the timer fires, monotonic ms; Infinity without one. */
	#timerMs = Number.POSITIVE_INFINITY;

	constructor(parts: LeaseParts) {
		this.#parts = parts;
	}

	get count(): number {
		return this.#held.size;
	}

	/** In the order in which they were first held. */
	list(): readonly Lease[] {
		return [...this.#held.values()].map(leaseOf);
	}

	/** Holds a new lease; `undefined` when there are as many as there may be. */
	hold(name: string, ttlMs: number): Lease | undefined {
		this.#expire();
		if (this.#held.size >= this.#parts.leasesMax) return undefined;
		const { clock, drain, newId } = this.#parts;
		const wallMs = clock.wallMs();
		const held: Held = {
			id: newId(),
			name,
			heldWallMs: wallMs,
			expiresMs: clock.monotonicMs() + ttlMs,
			expiresWallMs: wallMs + ttlMs,
		};
		assert(!this.#held.has(held.id), "the id of a lease is new");
		this.#held.set(held.id, held);
		drain.enter();
		this.#waitForFirst();
		return this.#tell("held", held);
	}

	/** Lets it end `ttlMs` from now, sooner or later than before; `undefined` when there is none of that id any more. */
	renew(id: string, ttlMs: number): Lease | undefined {
		this.#expire();
		const held = this.#held.get(id);
		if (held === undefined) return undefined;
		const { clock } = this.#parts;
		held.expiresMs = clock.monotonicMs() + ttlMs;
		held.expiresWallMs = clock.wallMs() + ttlMs;
		this.#waitForFirst();
		return this.#tell("renewed", held);
	}

	/** Whether there was one of that id. */
	release(id: string): boolean {
		this.#expire();
		const held = this.#held.get(id);
		if (held === undefined) return false;
		this.#end(held, "released");
		this.#waitForFirst();
		return true;
	}

	/** Tells `listener` of every event from now on. What it returns ends that. */
	subscribe(listener: (event: LeaseEvent, lease: Lease) => void): () => void {
		assert(this.#subscribers.size < SUBSCRIBERS_MAX, "too many subscribers of the leases");
		const own = (event: LeaseEvent, lease: Lease): void => listener(event, lease);
		this.#subscribers.add(own);
		return () => {
			this.#subscribers.delete(own);
		};
	}

	/** Ends all of them, with no timer left. */
	stop(): void {
		for (const held of [...this.#held.values()]) this.#end(held, "released");
		this.#waitForFirst();
	}

	/** What a late timer has not ended yet. */
	#expire(): void {
		const nowMs = this.#parts.clock.monotonicMs();
		for (const held of [...this.#held.values()]) if (held.expiresMs <= nowMs) this.#end(held, "expired");
	}

	#end(held: Held, event: LeaseEvent): void {
		// A listener may have ended it while another was told.
		if (!this.#held.delete(held.id)) return;
		this.#parts.drain.leave();
		this.#tell(event, held);
	}

	#waitForFirst(): void {
		let firstMs = Number.POSITIVE_INFINITY;
		for (const { expiresMs } of this.#held.values()) firstMs = Math.min(firstMs, expiresMs);
		if (firstMs === this.#timerMs) return;
		this.#cancelTimer?.();
		this.#timerMs = firstMs;
		this.#cancelTimer =
			firstMs === Number.POSITIVE_INFINITY
				? undefined
				: this.#parts.scheduler.after(firstMs - this.#parts.clock.monotonicMs(), () => {
						this.#timerMs = Number.POSITIVE_INFINITY;
						this.#cancelTimer = undefined;
						this.#expire();
						this.#waitForFirst();
					});
	}

	#tell(event: LeaseEvent, held: Held): Lease {
		const lease = leaseOf(held);
		for (const subscriber of [...this.#subscribers]) if (this.#subscribers.has(subscriber)) subscriber(event, lease);
		return lease;
	}
}

function leaseOf({ id, name, heldWallMs, expiresWallMs }: Held): Lease {
	return { id, name, heldWallMs, expiresWallMs };
}
