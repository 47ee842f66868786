/** What the agent has promised to cost, and whether it does. */
import type { Results, ScenarioResult } from "./results.ts";

export interface Verdict {
	readonly target: string;
	/** Undefined: this run did not measure it. */
	readonly value: number | undefined;
	readonly limit: number;
	readonly unit: string;
	readonly isMet: boolean | undefined;
}

const MIB = 1024 * 1024;
const KIB = 1024;

/** @param agent name of the peer that is judged */
export function judge(results: Results, agent: string): readonly Verdict[] {
	const atMost = (target: string, limit: number, unit: string, value: number | undefined): Verdict => ({
		target,
		limit,
		unit: `≤ ${limit}${unit}`,
		value,
		isMet: value === undefined ? undefined : value <= limit,
	});
	const atLeast = (target: string, limit: number, unit: string, value: number | undefined): Verdict => ({
		target,
		limit,
		unit: `≥ ${limit}${unit}`,
		value,
		isMet: value === undefined ? undefined : value >= limit,
	});
	const stay = results.stays.find(({ peer }) => peer === agent);
	const start = answer(results, "start", agent, (scenario) => (scenario.kind === "start" ? scenario.answers : []));
	const idle = answer(results, "idle-5000", agent, (scenario) => (scenario.kind === "idle" ? scenario.answers : []));
	const page = answer(results, "metrics-page", agent, (scenario) =>
		scenario.kind === "metrics-page" ? scenario.answers : [],
	);
	return [
		atMost("41 B, 64 connections: CPU per request", 1.15, " × nginx", cpuRatio(results, agent, "nginx")),
		atMost("41 B, 64 connections: CPU per request", 0.4, " × Envoy", cpuRatio(results, agent, "envoy")),
		atLeast("1 MiB answers, 64: bytes per CPU second", 0.8, " × nginx", bytesRatio(results, agent, "1m-64")),
		atLeast("1 MiB uploads, 64: bytes per CPU second", 0.8, " × nginx", bytesRatio(results, agent, "upload-64")),
		atMost("5,000 idle connections: RSS each", 8, " KiB", scale(idle?.bytesPerConnection, KIB)),
		atMost("RSS at start", 70, " MiB", scale(stay?.idleBytes, MIB)),
		atMost("RSS under load", 95, " MiB", scale(stay?.peakBytes, MIB)),
		atMost("exec to first served request", 200, " ms", start?.median),
		atMost("/metrics of 10,000 series: control thread", 40, " ms", page?.controlThreadMs.median),
	];
}

const scale = (value: number | undefined, by: number): number | undefined =>
	value === undefined ? undefined : value / by;

function figures(results: Results, scenario: string, peer: string) {
	const found = results.scenarios.find(({ name }) => name === scenario);
	return found?.kind === "load" ? found.figures.find((entry) => entry.peer === peer) : undefined;
}

function cpuRatio(results: Results, agent: string, other: string): number | undefined {
	const ours = figures(results, "small-64", agent)?.cpuUsPerRequest;
	const theirs = figures(results, "small-64", other)?.cpuUsPerRequest;
	if (ours === undefined || theirs === undefined) return undefined;
	const paired = other === "nginx" ? figures(results, "small-64", agent)?.cpuRatio?.median : undefined;
	return paired ?? ours.median / theirs.median;
}

function bytesRatio(results: Results, agent: string, scenario: string): number | undefined {
	return figures(results, scenario, "nginx") === undefined
		? undefined
		: figures(results, scenario, agent)?.bytesRatio?.median;
}

function answer<T>(
	results: Results,
	name: string,
	agent: string,
	answers: (
		scenario: ScenarioResult,
	) => readonly ({ readonly peer: string } & ({ figures: T } | { failure: string }))[],
): T | undefined {
	const scenario = results.scenarios.find((entry) => entry.name === name);
	const found = scenario === undefined ? undefined : answers(scenario).find(({ peer }) => peer === agent);
	return found !== undefined && "figures" in found ? found.figures : undefined;
}
