import type { Clock } from "./clock.ts";

/**
 * A clock that stands still within an event: read once at its beginning, asked many times. A reading costs 50 ns, and an exchange asks for
 * the time some ten times.
 *
 * Whoever takes events from outside (a socket's bytes, a timer) calls `turn` first. Where that is not worth it, the time is that of the
 * last turn, at most one sweep old.
 */
export class TurnClock implements Clock {
	readonly #clock: Clock;
	#monotonicMs = 0;
	/** What to add to monotonic time to get the wall clock's; renewed by `sync`. */
	#offsetMs = 0;

	constructor(clock: Clock) {
		this.#clock = clock;
		this.sync();
	}

	/** An event begins. */
	turn(): void {
		this.#monotonicMs = this.#clock.monotonicMs();
	}

	/** The same, and looks at the wall clock, which may have been set. Called with each sweep. */
	sync(): void {
		this.turn();
		this.#offsetMs = this.#clock.wallMs() - this.#monotonicMs;
	}

	monotonicMs(): number {
		return this.#monotonicMs;
	}

	wallMs(): number {
		return this.#monotonicMs + this.#offsetMs;
	}
}
