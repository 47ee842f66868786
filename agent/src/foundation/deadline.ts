import type { Clock } from "./clock.ts";

/** A moment on the monotonic clock by which a wait must be over. */
export class Deadline {
	readonly #clock: Clock;
	/** Monotonic milliseconds. */
	readonly atMs: number;

	private constructor(clock: Clock, atMs: number) {
		this.#clock = clock;
		this.atMs = atMs;
	}

	static after(clock: Clock, ms: number): Deadline {
		return new Deadline(clock, clock.monotonicMs() + ms);
	}

	/** Milliseconds left; 0 when it has passed. */
	remainingMs(): number {
		return Math.max(0, this.atMs - this.#clock.monotonicMs());
	}

	/** The earlier of this one and one `ms` from now. */
	within(ms: number): Deadline {
		return new Deadline(this.#clock, Math.min(this.atMs, this.#clock.monotonicMs() + ms));
	}
}
