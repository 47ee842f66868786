/** What the load asks for and when, all from one seed: the same seed gives the same requests at the same moments. */
import { Dice } from "../../agent/test/sim/dice.ts";

export const WHATS = ["quick", "slow", "upload", "download"] as const;
export type What = (typeof WHATS)[number];
/** Through the load balancer, or straight to an address that the client has picked. */
export const WAYS = ["lb", "direct"] as const;
export type Way = (typeof WAYS)[number];

export interface Arrival {
	readonly id: number;
	/** Since the first moment of the load, ms. */
	readonly atMs: number;
	readonly what: What;
	readonly way: Way;
	/** On a connection of its own, which is closed after it; otherwise on one that is kept. */
	readonly isFresh: boolean;
	readonly uploadBytes: number;
	/** In [0, 1): which of the addresses that are known then. */
	readonly pick: number;
}

/** Of a thousand requests. Few are long, but at 500 a second some are under way to every pair at every moment. */
const SHARES: Readonly<Record<What, number>> = { quick: 790, slow: 198, upload: 8, download: 4 };
const FRESH_SHARE = 0.3;

export interface ArrivalSettings {
	readonly seed: number;
	readonly ratePerSecond: number;
	/** Share of requests that go through the load balancer; 0 where there is none. */
	readonly lbShare: number;
	readonly uploadSizes: readonly number[];
}

/** Arrivals of many clients that know nothing of each other: the gaps are exponential, whatever the answers take. */
export class Arrivals {
	readonly #settings: ArrivalSettings;
	readonly #dice: Dice;
	#atMs = 0;
	#id = 0;

	constructor(settings: ArrivalSettings) {
		this.#settings = settings;
		this.#dice = new Dice(settings.seed);
	}

	next(): Arrival {
		const { ratePerSecond, lbShare, uploadSizes } = this.#settings;
		const dice = this.#dice;
		this.#atMs += (-Math.log(1 - dice.random()) * 1000) / ratePerSecond;
		const what = whatOf(dice.below(1000));
		return {
			id: ++this.#id,
			atMs: this.#atMs,
			what,
			way: dice.chance(lbShare) ? "lb" : "direct",
			isFresh: dice.chance(FRESH_SHARE),
			uploadBytes: what === "upload" ? dice.pick(uploadSizes) : 0,
			pick: dice.random(),
		};
	}
}

function whatOf(roll: number): What {
	let until = 0;
	for (const what of WHATS) {
		until += SHARES[what];
		if (roll < until) return what;
	}
	return "quick";
}
