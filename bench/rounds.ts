/**
 * Interleaved rounds: every proxy in every round, in an order that turns, so that a machine that gets slower or
 * noisier meanwhile does so for all. The figures are medians over rounds.
 */
import { type Contestant, messageOf } from "./contestant.ts";
import type { LoadScenario } from "./scenarios.ts";
import { ratioOf, type Spread, spreadOf } from "./statistics.ts";
import { measureWindow, type Window, type WindowMeans } from "./window.ts";

/** A proxy's windows in one scenario; `failure` instead, when one of them is not to be used. */
export interface LoadEntry {
	readonly peer: string;
	readonly failure?: string;
	readonly windows: readonly Window[];
}

/** What a table shows of one proxy in one scenario. Ratios are to the base proxy, in the same rounds. */
export interface LoadFigures {
	readonly peer: string;
	readonly failure?: string;
	readonly cpuUsPerRequest?: Spread;
	readonly cpuRatio?: Spread;
	readonly bytesPerCpuSecond?: Spread;
	readonly bytesRatio?: Spread;
	readonly requestsPerSecond?: Spread;
	readonly p50Us?: Spread;
	readonly p99Us?: Spread;
	readonly peakResidentBytes?: number;
	/** Share of one core that the proxy used: near 1 it was the bottleneck, and throughput says something. */
	readonly coreShare?: number;
	readonly foreignCores?: number;
	/** Rounds that the figures are of, and rounds there were: see `isCalm`. */
	readonly roundsUsed?: number;
	readonly roundsTaken?: number;
}

export interface RoundsOrder {
	readonly rounds: number;
	/** At most so many more, in place of rounds in which something else kept the machine busy. */
	readonly extraRounds: number;
	readonly seconds: number;
	/** Unmeasured seconds for each proxy before the first round: a JIT has to see the work first. */
	readonly warmUpSeconds: number;
	/** Called after each window, warm-ups included: the place for books that cover the whole run. */
	readonly afterWindow?: (contestant: Contestant, window: Window, isMeasured: boolean) => void;
}

/** More than this many cores busy with something else disturb a window: the other side's caches and time slices. */
const FOREIGN_CORES_MAX = 0.2;

export const isCalm = (window: Window): boolean => window.foreignCores <= FOREIGN_CORES_MAX;

export async function runRounds(
	contestants: readonly Contestant[],
	scenario: LoadScenario,
	order: RoundsOrder,
	means: WindowMeans,
	isRoundCalm: (windows: readonly Window[]) => boolean = (windows) => windows.every(isCalm),
): Promise<readonly LoadEntry[]> {
	const entries = contestants.map((contestant) => ({ contestant, windows: [] as Window[], failure: "" }));
	let calmRounds = 0;
	for (let round = 0; calmRounds < order.rounds && round < order.rounds + order.extraRounds; round++) {
		const ofRound: Window[] = [];
		const turned = round % 2 === 0 ? entries : entries.toReversed();
		for (const entry of turned) {
			if (entry.failure !== "") continue;
			try {
				if (round === 0 && order.warmUpSeconds > 0) {
					const warm = await measureWindow(entry.contestant, scenario, order.warmUpSeconds, means);
					order.afterWindow?.(entry.contestant, warm, false);
				}
				const window = await measureWindow(entry.contestant, scenario, order.seconds, means);
				entry.windows.push(window);
				ofRound.push(window);
				order.afterWindow?.(entry.contestant, window, true);
			} catch (error) {
				entry.failure = messageOf(error);
			}
		}
		if (ofRound.length === 0) break; // all have failed
		if (isRoundCalm(ofRound)) calmRounds++;
	}
	return entries.map(({ contestant, windows, failure }) => ({
		peer: contestant.name,
		windows,
		...(failure === "" ? {} : { failure }),
	}));
}

const cpuUsPerRequest = (window: Window): number => (window.cpuSeconds / window.load.requests) * 1e6;
const bytesPerCpuSecond = (window: Window): number => window.bodyBytes / window.cpuSeconds;

/** The proxy that all others are divided by: nginx where it takes part, else the first. */
export function baseOf(entries: readonly LoadEntry[]): LoadEntry | undefined {
	return entries.find((entry) => entry.peer === "nginx") ?? entries[0];
}

/**
 * The rounds that count: those in which nothing disturbed any proxy. When they are fewer than half there is nothing to
 * choose from, all count, and `foreignCores` warns the reader.
 */
function roundsThatCount(entries: readonly LoadEntry[]): { readonly used: readonly number[]; readonly taken: number } {
	const whole = entries.filter(({ failure }) => failure === undefined);
	const taken = Math.max(0, ...whole.map(({ windows }) => windows.length));
	const all = Array.from({ length: taken }, (_, round) => round);
	const calm = all.filter((round) => whole.every(({ windows }) => windows.slice(round, round + 1).every(isCalm)));
	return { used: calm.length * 2 >= taken ? calm : all, taken };
}

export function figuresOf(entries: readonly LoadEntry[]): readonly LoadFigures[] {
	const base = baseOf(entries);
	const { used, taken } = roundsThatCount(entries);
	const pick = (windows: readonly Window[]): readonly Window[] =>
		used.flatMap((round) => windows.slice(round, round + 1));
	return entries.map(({ peer, failure, windows: allWindows }): LoadFigures => {
		if (failure !== undefined) return { peer, failure };
		const windows = pick(allWindows);
		const of = (value: (window: Window) => number): Spread => spreadOf(windows.map(value));
		const ratio = (value: (window: Window) => number): Spread | undefined =>
			base === undefined || base.failure !== undefined
				? undefined
				: ratioOf(windows.map(value), pick(base.windows).map(value));
		const cpuRatio = ratio(cpuUsPerRequest);
		const bytesRatio = ratio(bytesPerCpuSecond);
		return {
			peer,
			cpuUsPerRequest: of(cpuUsPerRequest),
			...(cpuRatio === undefined ? {} : { cpuRatio }),
			bytesPerCpuSecond: of(bytesPerCpuSecond),
			...(bytesRatio === undefined ? {} : { bytesRatio }),
			requestsPerSecond: of((window) => window.load.requests / window.load.seconds),
			p50Us: of((window) => window.load.p50Us),
			p99Us: of((window) => window.load.p99Us),
			peakResidentBytes: Math.max(...allWindows.map((window) => window.peakResidentBytes)),
			coreShare: of((window) => window.cpuSeconds / window.wallSeconds).median,
			foreignCores: of((window) => window.foreignCores).median,
			roundsUsed: windows.length,
			roundsTaken: taken,
		};
	});
}
