/** Everything that a run of the bench found out: what `--json` writes and the tables show. */
import type { IdleFigures } from "./idle-connections.ts";
import type { Machine } from "./machine.ts";
import type { DisturbedFigures, PageFigures } from "./pages.ts";
import type { LoadEntry, LoadFigures } from "./rounds.ts";
import type { Spread } from "./statistics.ts";

/** One proxy's answer to a question of its own; `failure` instead when there is none. */
export type Answer<T> = { readonly peer: string } & ({ readonly figures: T } | { readonly failure: string });

export type ScenarioResult =
	| {
			readonly kind: "load";
			readonly name: string;
			readonly title: string;
			readonly measure: "requests" | "bytes";
			readonly figures: readonly LoadFigures[];
			readonly entries: readonly LoadEntry[];
	  }
	| {
			readonly kind: "start";
			readonly name: string;
			readonly title: string;
			readonly answers: readonly Answer<Spread>[];
	  }
	| {
			readonly kind: "idle";
			readonly name: string;
			readonly title: string;
			readonly answers: readonly Answer<IdleFigures>[];
	  }
	| {
			readonly kind: "metrics-page";
			readonly name: string;
			readonly title: string;
			readonly answers: readonly Answer<PageFigures>[];
	  }
	| {
			readonly kind: "scrape";
			readonly name: string;
			readonly title: string;
			readonly answers: readonly Answer<readonly DisturbedFigures[]>[];
	  };

/** A proxy's memory over the whole run, and whether it wrote its log. */
export interface Stay {
	readonly peer: string;
	readonly idleBytes: number;
	readonly peakBytes: number;
	readonly afterBytes: number;
	readonly requests: number;
	readonly logLines: number;
}

export interface Results {
	readonly date: string;
	readonly commit: string;
	readonly machine: Machine;
	readonly rounds: number;
	readonly seconds: number;
	readonly peers: readonly { readonly name: string; readonly version: string; readonly setting: string }[];
	readonly scenarios: readonly ScenarioResult[];
	readonly stays: readonly Stay[];
	/** Whatever has no figure because it went wrong. */
	readonly failures: readonly string[];
}
