/**
 * Time, as two readings that must not be mixed. Everything that waits or measures is handed a Clock, so that tests and the
 * simulation move it by hand. This file alone calls `Date.now` and `performance.now`.
 */
export interface Clock {
	/** Milliseconds since an arbitrary moment; never goes back. For durations and deadlines. */
	monotonicMs(): number;
	/** Milliseconds since 1970-01-01T00:00:00Z; may jump. For telling people when. */
	wallMs(): number;
}

export const systemClock: Clock = {
	monotonicMs: () => performance.now(),
	wallMs: () => Date.now(),
};

/** A clock that only moves when told; starts at 0 monotonic and the given wall time. */
export class ManualClock implements Clock {
	#monotonicMs = 0;
	#wallMs: number;

	constructor(wallMs = 1_700_000_000_000) {
		this.#wallMs = wallMs;
	}

	monotonicMs(): number {
		return this.#monotonicMs;
	}

	wallMs(): number {
		return this.#wallMs;
	}

	/** Moves both readings forward. */
	advance(ms: number): void {
		this.#monotonicMs += ms;
		this.#wallMs += ms;
	}

	/** Moves only the wall clock, as NTP or an administrator does. */
	skew(ms: number): void {
		this.#wallMs += ms;
	}
}
