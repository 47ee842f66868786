import type { Clock } from "../foundation/clock.ts";
import type { Cancel, Scheduler } from "../foundation/scheduler.ts";

/**
 * How often requests have come lately, so that a drain knows for how long nobody may have come. The number of requests that ever arrived is
 * looked at once a second and kept for a minute: memory is fixed, and the data threads do nothing for it.
 */
export interface ArrivalsParts {
	/** Requests that have ever arrived, probes not counted. */
	readonly arrived: () => number;
	readonly clock: Clock;
	readonly scheduler: Scheduler;
}

const LOOK_MS = 1_000;
/** What is longer ago is not recent. */
export const RECENT_MS = 60_000;

interface Look {
	readonly atMs: number;
	readonly arrived: number;
}

export class Arrivals {
	readonly #parts: ArrivalsParts;
	/** Oldest first; at most one a second of the recent time. */
	#looks: Look[] = [];
	#cancel: Cancel | undefined;

	constructor(parts: ArrivalsParts) {
		this.#parts = parts;
	}

	start(): void {
		this.#cancel?.();
		this.#look();
	}

	stop(): void {
		this.#cancel?.();
		this.#cancel = undefined;
	}

	/** Mean time between two requests of the last minute, ms; `undefined` when none came. */
	meanGapMs(): number | undefined {
		const nowMs = this.#parts.clock.monotonicMs();
		const oldest = this.#looks.find(({ atMs }) => nowMs - atMs <= RECENT_MS);
		if (oldest === undefined) return undefined;
		const count = this.#parts.arrived() - oldest.arrived;
		return count > 0 ? (nowMs - oldest.atMs) / count : undefined;
	}

	#look(): void {
		const atMs = this.#parts.clock.monotonicMs();
		this.#looks = this.#looks.filter((look) => atMs - look.atMs <= RECENT_MS);
		this.#looks.push({ atMs, arrived: this.#parts.arrived() });
		this.#cancel = this.#parts.scheduler.after(LOOK_MS, () => this.#look());
	}
}
