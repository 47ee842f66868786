import { assert } from "./assert.ts";
import type { Deadline } from "./deadline.ts";

/**
 * The drain as a value that is handed over, never a global flag. Who owns it moves the stage; who is handed it reads the stage,
 * is told of a move, and says what it still has in hand.
 *
 *   serving ──► leaving ──► finishing ──► cutting
 *
 * `leaving`: serve as before, but let answers say that the connection ends. `finishing`: the same, and whatever is idle may be
 * closed. `cutting`: end what is left, now. A stage is never gone back to; one may be passed over.
 */
export const DRAIN_STAGES = ["serving", "leaving", "finishing", "cutting"] as const;
export type DrainStage = (typeof DRAIN_STAGES)[number];

/** What a part of the agent sees of a drain. */
export interface DrainWatch {
	readonly stage: DrainStage;
	/** By when everything must be over; `undefined` while serving. */
	readonly deadline: Deadline | undefined;
	/** Something that the drain has to wait for has begun. */
	enter(): void;
	/** And is over: exactly one for each `enter`. */
	leave(): void;
	/** Tells `listener` each later stage, once. What it returns ends that. */
	subscribe(listener: (stage: DrainStage) => void): () => void;
}

export class Drain implements DrainWatch {
	#stage: DrainStage = "serving";
	#deadline: Deadline | undefined;
	#inHand = 0;
	readonly #listeners = new Set<(stage: DrainStage) => void>();

	get stage(): DrainStage {
		return this.#stage;
	}

	get deadline(): Deadline | undefined {
		return this.#deadline;
	}

	/** How many have entered and not left. */
	get inHand(): number {
		return this.#inHand;
	}

	enter(): void {
		this.#inHand += 1;
	}

	leave(): void {
		assert(this.#inHand > 0, "Drain.leave without enter");
		this.#inHand -= 1;
	}

	subscribe(listener: (stage: DrainStage) => void): () => void {
		// Wrapped, so that the same function twice is two subscriptions, each ended by its own hand.
		const own = (stage: DrainStage): void => listener(stage);
		this.#listeners.add(own);
		return () => {
			this.#listeners.delete(own);
		};
	}

	/**
	 * Moves to a later stage and tells everybody; a stage that is not later changes nothing, so that two causes of one drain may
	 * both say so. The first deadline stays: a drain has one budget.
	 */
	move(stage: DrainStage, deadline?: Deadline): void {
		if (DRAIN_STAGES.indexOf(stage) <= DRAIN_STAGES.indexOf(this.#stage)) return;
		this.#stage = stage;
		this.#deadline ??= deadline;
		// A copy: a listener may end its own subscription, or another's, while it is told.
		for (const listener of [...this.#listeners]) if (this.#listeners.has(listener)) listener(stage);
	}
}
