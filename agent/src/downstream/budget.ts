import { CELL, type Counters } from "../bridge/counters.ts";

/**
 * The byte budget (`limits.buffered`) as one data thread sees its share of it: unfinished heads, requests that wait in a pipeline, and what
 * was written and not yet taken. Beyond it the newest unfinished head is refused; what is under way goes on, and is stopped by
 * back-pressure instead.
 */
export class Budget {
	readonly #bytesMax: number;
	readonly #counters: Counters;

	constructor(bytesMax: number, counters: Counters) {
		this.#bytesMax = bytesMax;
		this.#counters = counters;
	}

	/** Takes the bytes in any case; false when that was more than there is. */
	take(bytes: number): boolean {
		this.#counters.add(CELL.BUFFERED_BYTES, bytes);
		return this.#counters.get(CELL.BUFFERED_BYTES) <= this.#bytesMax;
	}

	give(bytes: number): void {
		this.#counters.add(CELL.BUFFERED_BYTES, -bytes);
	}

	/** Whether a new exchange may begin. */
	get isExceeded(): boolean {
		return this.#counters.get(CELL.BUFFERED_BYTES) > this.#bytesMax;
	}
}
