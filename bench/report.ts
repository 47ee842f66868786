/** The results as tables: the same for the terminal and for docs/benchmarks.md. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { Answer, Results, ScenarioResult, Stay } from "./results.ts";
import type { LoadFigures } from "./rounds.ts";
import type { Spread } from "./statistics.ts";
import type { Verdict } from "./targets.ts";

export interface Table {
	readonly title: string;
	readonly head: readonly string[];
	readonly rows: readonly (readonly string[])[];
	readonly notes: readonly string[];
}

const MIB = 1024 * 1024;

/** Three significant digits, as much as these measurements hold. */
export function short(value: number): string {
	if (!Number.isFinite(value)) return "–";
	if (value === 0) return "0";
	const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
	return value >= 1000 ? Math.round(value).toLocaleString("en") : value.toFixed(Math.min(digits, 3));
}

const spread = (value: Spread | undefined, scale = 1): string =>
	value === undefined
		? "–"
		: `${short(value.median / scale)} [${short(value.min / scale)}–${short(value.max / scale)}]`;
const middle = (value: Spread | undefined, scale = 1): string =>
	value === undefined ? "–" : short(value.median / scale);
const time = (us: Spread | undefined): string => (us === undefined ? "–" : micros(us.median));
const mib = (bytes: number | undefined): string => (bytes === undefined ? "–" : `${short(bytes / MIB)} MiB`);

function micros(us: number): string {
	if (us < 1000) return `${short(us)} µs`;
	return us < 1e6 ? `${short(us / 1000)} ms` : `${short(us / 1e6)} s`;
}

/** The reader is warned above this many cores busy elsewhere. */
const FOREIGN_CORES_MAX = 0.2;
/** Below this share of its core a proxy was not the bottleneck: its throughput is that of load and app. */
const BOTTLENECK_SHARE = 0.9;

export function scenarioTable(scenario: ScenarioResult): Table {
	const title = `${scenario.name}: ${scenario.title}`;
	switch (scenario.kind) {
		case "load":
			return { title, ...loadTable(scenario.measure, scenario.figures) };
		case "start":
			return {
				title,
				head: ["", "ms"],
				rows: scenario.answers.map((entry) => answerRow(entry, (value) => [spread(value)])),
				notes: [],
			};
		case "idle":
			return {
				title,
				head: ["", "KiB of RSS each", "RSS before", "open", "closed again"],
				rows: scenario.answers.map((entry) =>
					answerRow(entry, (value) => [
						short(value.bytesPerConnection / 1024),
						mib(value.beforeBytes),
						mib(value.openBytes),
						mib(value.closedBytes),
					]),
				),
				notes: [],
			};
		case "metrics-page":
			return {
				title,
				head: ["", "series", "page", "control thread, ms", "with gzip, ms", "scraper waits, ms"],
				rows: scenario.answers.map((entry) =>
					answerRow(entry, (value) => [
						short(value.series),
						mib(value.bytes),
						spread(value.controlThreadMs),
						spread(value.controlThreadGzipMs),
						spread(value.wallMs),
					]),
				),
				notes: [],
			};
		case "scrape":
			return {
				title,
				head: ["", "traffic while", "p50", "p99", "max", "requests/s", "scrapes", "smallest page"],
				rows: scenario.answers.flatMap((entry) =>
					"failure" in entry
						? [answerRow(entry, () => [])]
						: entry.figures.map((row) => [
								entry.peer,
								row.title,
								micros(row.p50Us),
								micros(row.p99Us),
								micros(row.maxUs),
								short(row.requestsPerSecond),
								String(row.scrapes),
								row.scrapes === 0 ? "–" : mib(row.pageBytes),
							]),
				),
				notes: [],
			};
		default:
			return scenario satisfies never;
	}
}

function answerRow<T>(entry: Answer<T>, cells: (figures: T) => readonly string[]): readonly string[] {
	return "failure" in entry ? [entry.peer, `FAILED: ${entry.failure}`] : [entry.peer, ...cells(entry.figures)];
}

function loadTable(measure: "requests" | "bytes", figures: readonly LoadFigures[]): Omit<Table, "title"> {
	const cost = measure === "requests" ? ["CPU µs/request", "× base"] : ["MiB per CPU s", "× base"];
	const notes: string[] = [];
	const rows = figures.map((entry) => {
		if (entry.failure !== undefined) return [entry.peer, `FAILED: ${entry.failure}`];
		if ((entry.foreignCores ?? 0) > FOREIGN_CORES_MAX) {
			notes.push(`${entry.peer}: ${short(entry.foreignCores ?? 0)} cores were busy with something else`);
		}
		const share = entry.coreShare ?? 0;
		return [
			entry.peer,
			measure === "requests" ? spread(entry.cpuUsPerRequest) : spread(entry.bytesPerCpuSecond, MIB),
			measure === "requests" ? spread(entry.cpuRatio) : spread(entry.bytesRatio),
			middle(entry.requestsPerSecond),
			time(entry.p50Us),
			time(entry.p99Us),
			mib(entry.peakResidentBytes),
			`${Math.round(share * 100)} %${share < BOTTLENECK_SHARE ? " (waits)" : ""}`,
		];
	});
	const { roundsUsed = 0, roundsTaken = 0 } = figures.find(({ failure }) => failure === undefined) ?? {};
	if (roundsUsed < roundsTaken)
		notes.push(`${roundsUsed} of ${roundsTaken} rounds count: in the others something else kept the machine busy`);
	return { head: ["", ...cost, "requests/s", "p50", "p99", "RSS peak", "of its core"], rows, notes };
}

export function stayTable(stays: readonly Stay[]): Table {
	return {
		title: "memory over the whole run, and the access log",
		head: ["", "RSS idle", "peak under load", "after", "requests", "log lines each"],
		rows: stays.map((stay) => [
			stay.peer,
			mib(stay.idleBytes),
			mib(stay.peakBytes),
			mib(stay.afterBytes),
			stay.requests.toLocaleString("en"),
			stay.requests === 0 ? "–" : (stay.logLines / stay.requests).toFixed(3),
		]),
		notes: stays
			.filter((stay) => stay.requests > 0 && stay.logLines < stay.requests * 0.99 && stay.peer !== "relay")
			.map((stay) => `${stay.peer} left out ${(stay.requests - stay.logLines).toLocaleString("en")} access lines`),
	};
}

export function verdictTable(verdicts: readonly Verdict[]): Table {
	return {
		title: "targets",
		head: ["", "wanted", "is", ""],
		rows: verdicts.map(({ target, unit, value, isMet }) => [
			target,
			unit,
			value === undefined ? "not measured" : short(value),
			isMet === undefined ? "" : isMet ? "met" : "MISSED",
		]),
		notes: [],
	};
}

/** Columns in line, for a terminal. */
export function renderText(table: Table): string {
	const lines = [table.head, ...table.rows];
	const widths = table.head.map((_, column) =>
		Math.max(...lines.map((cells) => (cells.length === table.head.length ? (cells[column] ?? "").length : 0))),
	);
	const width = Math.max(widths[0] ?? 0, ...lines.map((cells) => cells[0]?.length ?? 0));
	const rendered = lines.map((cells) =>
		cells
			.map((cell, column) => cell.padEnd(column === 0 ? width : (widths[column] ?? 0)))
			.join("  ")
			.trimEnd(),
	);
	return [`\n${table.title}`, ...rendered, ...table.notes.map((note) => `  ! ${note}`)].join("\n");
}

export function renderMarkdown(table: Table): string {
	const row = (cells: readonly string[]): string =>
		`| ${table.head.map((_, at) => escapeCell(cells[at] ?? "")).join(" | ")} |`;
	const rule = `|${table.head.map((_, at) => (at === 0 ? "---" : "---:")).join("|")}|`;
	const notes = table.notes.map((note) => `\n* ${note}`);
	return [`### ${table.title}\n`, row(table.head), rule, ...table.rows.map(row), ...notes].join("\n");
}

const escapeCell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ");

export function tablesOf(results: Results, verdicts: readonly Verdict[]): readonly Table[] {
	return [
		...(verdicts.some(({ value }) => value !== undefined) ? [verdictTable(verdicts)] : []),
		...results.scenarios.map(scenarioTable),
		...(results.stays.length > 0 ? [stayTable(results.stays)] : []),
	];
}

export function renderResults(results: Results, verdicts: readonly Verdict[]): string {
	const { machine } = results;
	const facts = [
		`* Date: ${results.date}; commit: ${results.commit}`,
		`* Machine: ${machine.cpu}, ${machine.cores} cores, ${Math.round(machine.memoryBytes / MIB / 1024)} GiB, ${machine.kernel}`,
		`* Rounds: ${results.rounds} of ${results.seconds} s each, interleaved; median [min–max]; ratios (× base) are to nginx, round by round`,
		...results.peers.map(({ name, version, setting }) => `* ${name} ${version}: ${setting}`),
		...results.failures.map((failure) => `* FAILED: ${failure}`),
	];
	return [facts.join("\n"), ...tablesOf(results, verdicts).map(renderMarkdown)].join("\n\n");
}

export const BEGIN_MARK = "<!-- bench:begin (written by npm run bench -- --markdown) -->";
export const END_MARK = "<!-- bench:end -->";

/** What stands before and after a block that a bench has written into a page. */
export interface Marks {
	readonly begin: string;
	readonly end: string;
}

const BENCH_MARKS: Marks = { begin: BEGIN_MARK, end: END_MARK };

/**
 * Puts the block between the markers of a page, or at its end where there are none yet.
 * @throws when only one of the markers is there: somebody's text could be lost
 */
export function placeBlock(page: string, block: string, marks: Marks = BENCH_MARKS): string {
	const begin = page.indexOf(marks.begin);
	const end = page.indexOf(marks.end);
	const whole = `${marks.begin}\n\n${block.trim()}\n\n${marks.end}`;
	if (begin === -1 && end === -1) return `${page.trimEnd()}\n\n${whole}\n`;
	if (begin === -1 || end < begin)
		throw new Error("the page has only one of the bench's two markers, or in the wrong order");
	return page.slice(0, begin) + whole + page.slice(end + marks.end.length);
}

export function writeMarkdown(file: string, block: string, marks: Marks = BENCH_MARKS): void {
	const page = existsSync(file) ? readFileSync(file, "utf8") : "# Benchmarks\n";
	writeFileSync(file, placeBlock(page, block, marks));
}
