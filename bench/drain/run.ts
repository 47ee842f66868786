/**
 * `npm run bench:drain`: rolling restarts under load, with and without the agent. What is measured and how: docs/benchmarks.md; how to call it:
 * --help.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../contestant.ts";
import { CACHE_FOLDER, findExecutable, outputOf, versionIn } from "../executables.ts";
import { describeCommit, describeMachine } from "../machine.ts";
import { install } from "../needs.ts";
import { outriggerPeer } from "../peers/outrigger.ts";
import type { Missing } from "../peers/peer.ts";
import { renderText, writeMarkdown } from "../report.ts";
import type { App } from "./apps.ts";
import { HELP, type Options, parseOptions } from "./options.ts";
import { type Outcome, shortcomings } from "./outcome.ts";
import { DRAIN_MARKS, merged, type Results, renderResults, tablesOf } from "./report.ts";
import { hasBalancer, rollingRestart, SIZES } from "./rolling-restart.ts";

const say = (line: string): void => {
	process.stderr.write(`${line}\n`);
};

/** `terminationGracePeriodSeconds` as Kubernetes has it by default. */
const GRACE_MS = 30_000;
const SETTLE_MS = 1000;

const HAPROXY: Missing = { what: "haproxy", how: "apt-get install haproxy", apt: ["haproxy"] };

function findMissing(apps: readonly App[]): readonly Missing[] {
	return [...(hasBalancer() ? [] : [HAPROXY]), ...apps.flatMap((app) => app.missing() ?? [])];
}

async function main(options: Options): Promise<number> {
	if (process.platform !== "linux") {
		say(`the bench ends processes by /proc and needs Linux; this is ${process.platform}`);
		return 2;
	}
	const needsAgent = options.modes.some((mode) => mode !== "without");
	if (needsAgent && !existsSync(options.agent)) {
		say(`there is no agent at ${options.agent}: npm run build`);
		return 2;
	}
	if (options.isInstall) {
		const missing = findMissing(options.apps);
		if (missing.length > 0) install(missing, say);
	}
	const notRun: string[] = [];
	const apps = options.apps.filter((app) => {
		const missing = app.missing();
		if (missing !== undefined) notRun.push(`${app.name}: ${missing.what} is missing (${missing.how}, or --install)`);
		return missing === undefined;
	});
	if (!hasBalancer()) say(`${HAPROXY.what} is missing (${HAPROXY.how}, or --install): every request goes directly`);
	for (const line of notRun) say(`NOT RUN ${line}`);

	mkdirSync(CACHE_FOLDER, { recursive: true });
	const folder = mkdtempSync(join(CACHE_FOLDER, "run-"));
	if (options.isKept) say(`everything is kept in ${folder}`);
	else process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
	for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(130)); // ends the children

	const outcomes: Outcome[] = [];
	for (const app of apps) {
		for (const mode of options.modes) {
			say(`${app.title}, ${mode}`);
			try {
				const { agent, pairs, restarts, requests, ratePerSecond, lateMs, seed } = options;
				const outcome = await rollingRestart({
					...{ app, mode, agent, pairs, restarts, requests, ratePerSecond, lateMs, seed, say },
					...SIZES,
					folder: join(folder, `${app.name}-${mode}`),
					graceMs: GRACE_MS,
					settleMs: SETTLE_MS,
					agentEnv: {},
					isBalanced: hasBalancer(),
				});
				outcomes.push(outcome);
				say(`  lost ${outcome.failures.length} of ${outcome.tally.begun} in ${Math.round(outcome.seconds)} s`);
			} catch (error) {
				notRun.push(`${app.name}, ${mode}: ${messageOf(error)}`);
				say(`  BROKEN OFF: ${messageOf(error)}`);
			}
		}
	}

	const results = withEarlier(gather(options, apps, outcomes, notRun), options.fromFiles);
	for (const table of tablesOf(results)) console.log(renderText(table));
	if (options.jsonFile !== undefined) writeFileSync(options.jsonFile, `${JSON.stringify(results, undefined, "\t")}\n`);
	if (options.markdownFile !== undefined) writeMarkdown(options.markdownFile, renderResults(results), DRAIN_MARKS);
	for (const line of results.notRun) say(`NOT RUN ${line}`);
	for (const line of results.shortcomings) say(`MISSED ${line}`);
	const hasBrokenOff = outcomes.length < apps.length * options.modes.length;
	return hasBrokenOff || (options.isCheck && (results.shortcomings.length > 0 || outcomes.length === 0)) ? 1 : 0;
}

/** What was measured by earlier runs and not by this one, put in its place. */
function withEarlier(results: Results, files: readonly string[]): Results {
	return files.reduce((all, file) => {
		const text = readFileSync(file, "utf8");
		return merged(all, JSON.parse(text) as Results); // a file that this tool has written
	}, results);
}

function gather(
	options: Options,
	apps: readonly App[],
	outcomes: readonly Outcome[],
	notRun: readonly string[],
): Results {
	const { pairs, restarts, requests, ratePerSecond, lateMs, seed } = options;
	const haproxy = findExecutable("haproxy");
	return {
		date: new Date().toISOString(),
		commit: describeCommit(),
		machine: describeMachine(),
		settings: {
			...{ pairs, restarts, requests, ratePerSecond, lateMs, seed },
			agent: `outrigger ${outriggerPeer("outrigger", options.agent).version()}`,
			balancer: haproxy === undefined ? undefined : `haproxy ${versionIn(outputOf(haproxy, ["-v"]))}`,
		},
		apps: apps.map((app) => ({
			name: app.name,
			title: app.title,
			version: app.version(),
			byItself: app.byItself,
		})),
		outcomes,
		notRun,
		earlier: [],
		shortcomings: outcomes.flatMap((outcome) => shortcomings(outcome, { requests, restarts })),
	};
}

try {
	const options = parseOptions(process.argv.slice(2));
	if (options.isHelp) process.stdout.write(HELP);
	else process.exitCode = await main(options);
} catch (error) {
	say(messageOf(error));
	process.exitCode = 1;
}
