/** The results as tables: the same for the terminal and for docs/benchmarks.md. */
import type { Machine } from "../machine.ts";
import { type Marks, renderMarkdown, short, type Table } from "../report.ts";
import { type Spread, spreadOf } from "../statistics.ts";
import { WHATS } from "./arrivals.ts";
import { sumReports } from "./drain-report.ts";
import { CHECK } from "./haproxy.ts";
import { countBy, describeKind, type Failure, type Outcome, stopMsMax } from "./outcome.ts";
import { MODES, type Mode } from "./pod.ts";

export interface Results {
	readonly date: string;
	readonly commit: string;
	readonly machine: Machine;
	readonly settings: {
		readonly pairs: number;
		readonly restarts: number;
		readonly requests: number;
		readonly ratePerSecond: number;
		readonly lateMs: number;
		readonly seed: number;
		readonly agent: string;
		readonly balancer: string | undefined;
	};
	readonly apps: readonly {
		readonly name: string;
		readonly title: string;
		readonly version: string;
		readonly byItself: string;
	}[];
	readonly outcomes: readonly Outcome[];
	/** Earlier runs that some of the outcomes are of. */
	readonly earlier: readonly Earlier[];
	/** Apps that could not be run, and runs that broke off: each with its reason. */
	readonly notRun: readonly string[];
	readonly shortcomings: readonly string[];
}

export interface Earlier {
	readonly date: string;
	readonly commit: string;
	/** Such as `go without`. */
	readonly outcomes: readonly string[];
}

const nameOf = ({ app, mode }: Outcome): string => `${app} ${mode}`;

/** The results, and what an earlier run has measured that they have not; in the usual order of apps and modes. */
export function merged(results: Results, earlier: Results): Results {
	const known = new Set(results.outcomes.map(nameOf));
	const more = earlier.outcomes.filter((outcome) => !known.has(nameOf(outcome)));
	if (more.length === 0) return results;
	const apps = [...results.apps, ...earlier.apps.filter(({ name }) => !results.apps.some((app) => app.name === name))];
	const place = ({ app, mode }: Outcome): number =>
		apps.findIndex(({ name }) => name === app) * MODES.length + MODES.indexOf(mode);
	// What the earlier run had itself from others stays theirs.
	const names = new Set(more.map(nameOf));
	const theirs = earlier.earlier.map((each) => ({
		...each,
		outcomes: each.outcomes.filter((name) => names.has(name)),
	}));
	const notItsOwn = new Set(theirs.flatMap(({ outcomes }) => outcomes));
	const itsOwn = [...names].filter((name) => !notItsOwn.has(name));
	return {
		...results,
		apps,
		outcomes: [...results.outcomes, ...more].sort((a, b) => place(a) - place(b)),
		earlier: [
			...results.earlier,
			...[{ date: earlier.date, commit: earlier.commit, outcomes: itsOwn }, ...theirs].filter(
				({ outcomes }) => outcomes.length > 0,
			),
		],
	};
}

export const DRAIN_MARKS: Marks = {
	begin: "<!-- drain:begin (written by npm run bench:drain -- --markdown) -->",
	end: "<!-- drain:end -->",
};

const MODE_NAMES: Readonly<Record<Mode, string>> = {
	port: "`capture: port`",
	none: "`capture: none`",
	without: "no agent",
};
/** A cell names so many kinds; the JSON file has all. */
const KINDS_MAX = 3;

const seconds = (ms: Spread | undefined): string =>
	ms === undefined ? "–" : `${short(ms.median / 1000)} [${short(ms.min / 1000)}–${short(ms.max / 1000)}]`;
const spreadOfAny = (values: readonly (number | undefined)[]): Spread | undefined => {
	const known = values.filter((value) => value !== undefined);
	return known.length === 0 ? undefined : spreadOf(known);
};
/** The least that any of the stops was allowed. */
const allowed = (limits: readonly number[]): string =>
	limits.length === 0 ? "–" : `≤ ${short(Math.min(...limits) / 1000)}`;
const whole = (value: number): string => value.toLocaleString("en");
const listed = (counts: readonly (readonly [string, number])[], max = Number.POSITIVE_INFINITY): string => {
	const shown = counts.slice(0, max).map(([name, count]) => `${whole(count)} × ${name}`);
	const rest = counts.slice(max).reduce((sum, [, count]) => sum + count, 0);
	return [...shown, ...(rest === 0 ? [] : [`${whole(rest)} others`])].join(", ") || "–";
};

function describeMoment({ phase, whose }: Pick<Failure, "phase" | "whose">): string {
	if (phase === "calm") return "between restarts";
	if (whose === "other") return "at a pod that nobody touched";
	if (whose === "new") return "at the new pod";
	switch (phase) {
		case "hooks":
			return "before its app's SIGTERM";
		case "app stops":
			return "while the app ended";
		case "agent stops":
			return "while the agent ended";
		case "gone":
		case "arrives":
			return "when the pod was gone";
		default:
			return phase satisfies never;
	}
}

export function lostTable(outcomes: readonly Outcome[]): Table {
	return {
		title: "requests lost in a rolling restart",
		head: ["", "", "requests", "lost", "restarts", "lost each", "what was seen", "when"],
		rows: outcomes.map(({ app, mode, tally, failures, restarts }) => [
			app,
			MODE_NAMES[mode],
			whole(tally.begun),
			failures.length === 0 ? "**0**" : whole(failures.length),
			String(restarts.length),
			restarts.length === 0 ? "–" : short(failures.length / restarts.length),
			listed(countBy(failures, describeKind), KINDS_MAX),
			listed(countBy(failures, describeMoment), KINDS_MAX),
		]),
		notes: [],
	};
}

export function stopTable(outcomes: readonly Outcome[]): Table {
	return {
		title: "how long a stop took",
		head: [
			"",
			"",
			"to the app's SIGTERM, s",
			"allowed",
			"app gone, s",
			"agent gone, s",
			"exit codes",
			"new pair ready, s",
		],
		rows: outcomes.map(({ app, mode, tally, lateMs, restarts }) => [
			app,
			MODE_NAMES[mode],
			mode === "without" ? "0" : seconds(spreadOfAny(restarts.map(({ appSigtermMs }) => appSigtermMs))),
			mode === "port" ? allowed(restarts.map(({ report }) => stopMsMax({ tally, lateMs }, report))) : "–",
			seconds(spreadOfAny(restarts.map(({ appGoneMs }) => appGoneMs))),
			seconds(spreadOfAny(restarts.map(({ sidecarGoneMs }) => sidecarGoneMs))),
			mode === "without"
				? "–"
				: listed(countBy(restarts, ({ sidecarEnded }) => (sidecarEnded ?? "none").replace("exit code ", ""))),
			seconds(spreadOfAny(restarts.map(({ newPodMs }) => newPodMs))),
		]),
		notes: [],
	};
}

export function reportTable(outcomes: readonly Outcome[]): Table {
	const withAgent = outcomes.filter(({ mode }) => mode !== "without");
	return {
		title: "what the agents' drain reports say, added up",
		head: [
			"",
			"",
			"reports",
			"ended",
			"served while leaving",
			"finished",
			"cut",
			"refused",
			"failed",
			"aborted",
			"bypass seen",
			"bypass left",
		],
		rows: withAgent.map(({ app, mode, restarts }) => {
			const { reports, sums, ended } = sumReports(restarts.map(({ report }) => report));
			return [
				app,
				MODE_NAMES[mode],
				String(reports),
				listed([...ended]),
				...[sums.served, sums.finished, sums.cut, sums.refused, sums.failed, sums.aborted].map(whole),
				...[sums.bypassSeen, sums.bypassLeft].map(whole),
			];
		}),
		notes: [],
	};
}

export function loadTable(outcomes: readonly Outcome[]): Table {
	return {
		title: "the load",
		head: [
			"",
			"",
			...WHATS.map((what) => `${what}, p99 ms`),
			"longest, s",
			"sent late, p99 ms",
			"at most, ms",
			"connections",
		],
		rows: outcomes.map(({ app, mode, tally }) => [
			app,
			MODE_NAMES[mode],
			...WHATS.map((what) => short(tally.durationMs[what]?.p99 ?? Number.NaN)),
			short(Math.max(...WHATS.map((what) => tally.durationMs[what]?.max ?? 0)) / 1000),
			short(tally.latenessMs?.p99 ?? Number.NaN),
			short(tally.latenessMs?.max ?? Number.NaN),
			whole(tally.connectionsOpened),
		]),
		notes: [],
	};
}

export function appTable({ apps }: Results): Table {
	return {
		title: "what each app does with SIGTERM by itself",
		head: ["", "", "version", "SIGTERM"],
		rows: apps.map(({ name, title, version, byItself }) => [name, title, version, byItself]),
		notes: [],
	};
}

export const tablesOf = (results: Results): readonly Table[] => {
	const { outcomes } = results;
	const hasAgent = outcomes.some(({ mode }) => mode !== "without");
	return [
		lostTable(outcomes),
		stopTable(outcomes),
		...(hasAgent ? [reportTable(outcomes)] : []),
		loadTable(outcomes),
		appTable(results),
	];
};

export function renderResults(results: Results): string {
	const { machine, settings } = results;
	const balancer =
		settings.balancer === undefined
			? "no load balancer was on this machine: every request went directly"
			: `${settings.balancer} (a check a second, out after ${CHECK.fall}, in after ${CHECK.rise}; half of the requests) and a client that picks addresses itself and learns of a removal ${settings.lateMs} ms late`;
	const facts = [
		`* Date: ${results.date}; commit: ${results.commit}; ${settings.agent}`,
		`* Machine: ${machine.cpu}, ${machine.cores} cores, ${Math.round(machine.memoryBytes / 2 ** 30)} GiB, ${machine.kernel}`,
		`* ${settings.pairs} pairs; ${settings.ratePerSecond} requests/s by the clock, seed ${settings.seed}; ${balancer}`,
		...results.earlier.map(
			({ date, commit, outcomes }) => `* Of an earlier run, ${date}, commit ${commit}: ${outcomes.join(", ")}`,
		),
		...results.notRun.map((line) => `* NOT RUN: ${line}`),
		...results.shortcomings.map((line) => `* MISSED: ${line}`),
	];
	return [facts.join("\n"), ...tablesOf(results).map(renderMarkdown)].join("\n\n");
}
