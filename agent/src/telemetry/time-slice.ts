import type { Clock } from "../foundation/clock.ts";

/** Longest turn of the control thread's event loop that work on a page may take, ms. */
export const SLICE_MS_MAX = 5;
/** We stop here: a step that has begun (one line, one histogram, one block) still has to end within SLICE_MS_MAX. */
const SLICE_MS_TARGET = 2;
/** Steps between two readings of the clock: a reading costs about as much as a short line. */
const STEPS_PER_READING = 8;

/**
 * Cuts work whose length somebody else decides into turns of the event loop. Call `isDue` after each small step and
 * `await pause()` when it says so; call `restart()` after any other wait.
 *
 * Promises at most about 5 ms per turn when a step is short; it does not interrupt a long step.
 */
export class TimeSlices {
	readonly #clock: Clock;
	readonly #yieldTurn: (resume: () => void) => void;
	#startMs: number;
	#steps = 0;
	#longestMs = 0;
	#totalMs = 0;

	/** `yieldTurn` calls `resume` in a later turn of the event loop; tests hand in their own. */
	constructor(
		clock: Clock,
		yieldTurn: (resume: () => void) => void = (resume) => {
			setImmediate(resume);
		},
	) {
		this.#clock = clock;
		this.#yieldTurn = yieldTurn;
		this.#startMs = clock.monotonicMs();
	}

	/** Longest turn so far, ms. */
	get longestMs(): number {
		return this.#longestMs;
	}

	/** All turns so far together, ms. */
	get totalMs(): number {
		return this.#totalMs;
	}

	/** Whether the present turn has lasted long enough. Reads the clock in one of eight calls. */
	isDue(): boolean {
		if (++this.#steps < STEPS_PER_READING) return false;
		return this.isOver();
	}

	/** The same with a reading of the clock in each call: after steps that are long. */
	isOver(): boolean {
		this.#steps = 0;
		return this.#clock.monotonicMs() - this.#startMs >= SLICE_MS_TARGET;
	}

	/** Ends this turn; resolves in a later one. */
	async pause(): Promise<void> {
		this.stop();
		await new Promise<void>(this.#yieldTurn);
		this.restart();
	}

	/** Ends this turn's measurement: before a wait that is not `pause`, and at the end. */
	stop(): void {
		const ms = this.#clock.monotonicMs() - this.#startMs;
		this.#totalMs += ms;
		if (ms > this.#longestMs) this.#longestMs = ms;
		this.restart();
	}

	/** Begins a turn. */
	restart(): void {
		this.#steps = 0;
		this.#startMs = this.#clock.monotonicMs();
	}
}
