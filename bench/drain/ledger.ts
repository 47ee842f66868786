/** The load's book: every request is written down once when it begins and once when it ends. */
import type { Arrival, Way, What } from "./arrivals.ts";
import type { Failure } from "./client-connection.ts";

/** A request that was lost, with all that may tell why. */
export interface Lost extends Failure {
	readonly id: number;
	readonly what: What;
	readonly way: Way;
	/** `host:port` that the client connected to. */
	readonly target: string;
	/** Which server the load balancer had chosen, where that is known. */
	readonly server: string | undefined;
	/** On the clock of `nowMs`, which all processes of a machine share. */
	readonly startedMs: number;
	readonly endedMs: number;
	/** Requests that its connection had carried before. */
	readonly earlierExchanges: number;
}

export interface Percentiles {
	readonly p50: number;
	readonly p99: number;
	readonly max: number;
}

export interface Tally {
	readonly begun: number;
	readonly good: number;
	readonly lost: number;
	readonly begunBy: Readonly<Record<Way | What | "fresh" | "reused", number>>;
	/** Of requests that ended well, ms. */
	readonly durationMs: Readonly<Record<What, Percentiles | undefined>>;
	/** How much later than its moment a request was sent, ms. */
	readonly latenessMs: Percentiles | undefined;
	readonly connectionsOpened: number;
	/** Kept connections that the server closed while nothing was on them. */
	readonly connectionsLost: number;
}

/** @returns undefined when there are no values: an empty row must not look like a fast one */
export function percentilesOf(values: readonly number[]): Percentiles | undefined {
	if (values.length === 0) return undefined;
	const sorted = Float64Array.from(values).sort();
	const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? 0;
	return { p50: at(0.5), p99: at(0.99), max: at(1) };
}

export class Ledger {
	readonly #open = new Set<number>();
	readonly #durations: Readonly<Record<What, number[]>> = { quick: [], slow: [], upload: [], download: [] };
	readonly #lateness: number[] = [];
	readonly #begunBy = { lb: 0, direct: 0, quick: 0, slow: 0, upload: 0, download: 0, fresh: 0, reused: 0 };
	#begun = 0;
	#good = 0;
	#lost = 0;

	get begun(): number {
		return this.#begun;
	}

	get open(): number {
		return this.#open.size;
	}

	begin({ id, what, way }: Arrival, latenessMs: number, isReused: boolean): void {
		if (this.#open.has(id)) throw new Error(`request ${id} begins twice`);
		this.#open.add(id);
		this.#begun++;
		this.#begunBy[what]++;
		this.#begunBy[way]++;
		this.#begunBy[isReused ? "reused" : "fresh"]++;
		this.#lateness.push(latenessMs);
	}

	end({ id, what }: Arrival, durationMs: number, isGood: boolean): void {
		if (!this.#open.delete(id)) throw new Error(`request ${id} ends without having begun, or twice`);
		if (isGood) {
			this.#good++;
			this.#durations[what].push(durationMs);
		} else this.#lost++;
	}

	/** @throws when requests are still open: nobody would know what became of them */
	tally(connectionsOpened: number, connectionsLost: number): Tally {
		if (this.#open.size > 0) throw new Error(`${this.#open.size} requests have not ended`);
		return {
			begun: this.#begun,
			good: this.#good,
			lost: this.#lost,
			begunBy: { ...this.#begunBy },
			durationMs: {
				quick: percentilesOf(this.#durations.quick),
				slow: percentilesOf(this.#durations.slow),
				upload: percentilesOf(this.#durations.upload),
				download: percentilesOf(this.#durations.download),
			},
			latenessMs: percentilesOf(this.#lateness),
			connectionsOpened,
			connectionsLost,
		};
	}
}
