import { ManualClock } from "./clock.ts";

/** Takes back what `Scheduler.after` promised; harmless when it has already run. */
export type Cancel = () => void;

/** Timers as a value, beside `Clock`: what waits is handed one, so that tests and the simulation move time by hand. */
export interface Scheduler {
	/** Runs `action` once, `ms` milliseconds from now (at once in the next turn when that is 0 or less). */
	after(ms: number, action: () => void): Cancel;
}

export const systemScheduler: Scheduler = {
	after(ms, action) {
		const timer = setTimeout(action, Math.max(0, ms));
		return () => clearTimeout(timer);
	},
};

interface Entry {
	readonly atMs: number;
	readonly order: number;
	readonly action: () => void;
}

/** A scheduler that only fires when its clock is moved through it. Actions run synchronously, in order of time, then of asking. */
export class ManualScheduler implements Scheduler {
	readonly clock: ManualClock;
	readonly #entries = new Set<Entry>();
	#order = 0;

	constructor(clock: ManualClock = new ManualClock()) {
		this.clock = clock;
	}

	/** Timers that have not fired: a part that has stopped leaves none. */
	get pending(): number {
		return this.#entries.size;
	}

	after(ms: number, action: () => void): Cancel {
		const entry: Entry = { atMs: this.clock.monotonicMs() + Math.max(0, ms), order: this.#order, action };
		this.#order += 1;
		this.#entries.add(entry);
		return () => {
			this.#entries.delete(entry);
		};
	}

	/** Moves the clock forward by `ms`, stopping at every timer on the way, those included that are made on the way. */
	advance(ms: number): void {
		const endMs = this.clock.monotonicMs() + ms;
		for (let next = this.#earliest(); next !== undefined && next.atMs <= endMs; next = this.#earliest()) {
			this.clock.advance(Math.max(0, next.atMs - this.clock.monotonicMs()));
			this.#entries.delete(next);
			next.action();
		}
		this.clock.advance(Math.max(0, endMs - this.clock.monotonicMs()));
	}

	#earliest(): Entry | undefined {
		let earliest: Entry | undefined;
		for (const entry of this.#entries) {
			if (
				earliest === undefined ||
				entry.atMs < earliest.atMs ||
				(entry.atMs === earliest.atMs && entry.order < earliest.order)
			) {
				earliest = entry;
			}
		}
		return earliest;
	}
}
