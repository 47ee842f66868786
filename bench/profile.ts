/** `--profile`: the agent alone under load, and where its time goes, thread by thread. */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { SourceMap } from "node:module";
import { basename, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { threadTimes } from "./accounting.ts";
import { messageOf, startPeer } from "./contestant.ts";
import { findExecutable } from "./executables.ts";
import { profileThreads, selfTimes } from "./inspector.ts";
import { type LoadOrder, wrkLoad } from "./load.ts";
import type { Options } from "./options.ts";
import { startOrigin } from "./origin.ts";
import type { Peer } from "./peers/peer.ts";
import { freePort } from "./processes.ts";
import { renderText, short } from "./report.ts";

type Say = (line: string) => void;

const SAMPLE_US = 200;
const ROWS = 45;
const WARM_UP_SECONDS = 3;
const PERF_ROWS = 60;

/**
 * Writes one .cpuprofile per thread into `target` (open them in Chrome's DevTools or in VS Code) and prints the
 * functions that were longest on top, in µs per request, with their places in the source when the bundle has a map.
 */
export async function profileAgent(
	peers: readonly Peer[],
	options: Options,
	folder: string,
	target: string,
	say: Say,
): Promise<void> {
	const scenario = options.scenarios.find(({ kind }) => kind === "load");
	const chosen = peers.find(({ isAgent }) => isAgent);
	if (chosen === undefined) throw new Error("--profile needs a build of the agent among --peers");
	if (scenario?.kind !== "load") throw new Error("--profile needs a load scenario");
	const { withFlags } = chosen;
	if (withFlags === undefined) throw new Error(`${chosen.name} does not run on Node`);
	mkdirSync(target, { recursive: true });
	const inspectPort = await freePort();
	const flags = [`--inspect=127.0.0.1:${inspectPort}`, ...(options.isPerf ? ["--perf-basic-prof"] : [])];
	const origin = await startOrigin(folder, options.loadCore, 4096);
	const load = wrkLoad(folder);
	const agent = await startPeer(withFlags(flags), { folder, cores: options.proxyCore, originPort: origin.port });
	try {
		const order = (seconds: number): LoadOrder => ({
			port: agent.port,
			path: scenario.path,
			connections: scenario.connections,
			uploadBytes: scenario.uploadBytes,
			seconds,
			pauseMs: 0,
		});
		say(`${scenario.title}: ${WARM_UP_SECONDS} s unwatched, then ${options.seconds} s`);
		await load(order(WARM_UP_SECONDS));

		const before = threadTimes(agent.process.pid);
		const plain = await load(order(options.seconds));
		const rows = threadTimes(agent.process.pid).map(({ id, name, cpuSeconds }) => {
			const used = cpuSeconds - (before.find((thread) => thread.id === id)?.cpuSeconds ?? 0);
			return [name, short((used / plain.requests) * 1e6)];
		});
		const used = rows.filter(([, us]) => us !== "0");
		console.log(renderText({ title: "threads, not watched", head: ["", "CPU µs/request"], rows: used, notes: [] }));

		let requests = 0;
		const profiles = await profileThreads(inspectPort, SAMPLE_US, async () => {
			requests = (await load(order(options.seconds))).requests;
		});
		for (const { thread, profile } of profiles) {
			const file = join(target, `${thread.replaceAll(/[^\w.-]+/g, "-")}.cpuprofile`);
			writeFileSync(file, JSON.stringify(profile));
			const times = selfTimes(profile, placeFinder());
			const busyUs = times.filter(({ name }) => name !== "(idle)").reduce((sum, { selfUs }) => sum + selfUs, 0);
			console.log(
				renderText({
					title: `${thread}: ${file}`,
					head: ["µs/request", "share", "function", "place"],
					rows: times
						.slice(0, ROWS)
						.map(({ name, place, selfUs }) => [
							(selfUs / requests).toFixed(2),
							name === "(idle)" ? "" : `${((selfUs / busyUs) * 100).toFixed(1)} %`,
							name,
							place,
						]),
					notes: [],
				}),
			);
		}
		if (options.isPerf) {
			await perf(agent.process.pid, target, () => load(order(options.seconds + 1)), options.seconds);
			await syscalls(agent.process.pid, target, () => load(order(options.seconds + 1)), options.seconds);
		}
	} finally {
		await agent.process.stop(0);
		await origin.process.stop(0);
	}
}

/** The kernel's half: perf samples all threads; names of JavaScript functions come from --perf-basic-prof. */
async function perf(pid: number, target: string, load: () => Promise<unknown>, seconds: number): Promise<void> {
	const file = join(target, "perf.data");
	const loading = load();
	await runBeside(
		["perf", "record", "-F", "2000", "-o", file, "-p", String(pid), "--", "sleep", String(seconds)],
		target,
	);
	await loading;
	const report = spawnSync(
		"perf",
		["report", "-i", file, "--stdio", "--no-children", "--sort", "comm,dso,symbol", "--percent-limit", "0.3"],
		{ encoding: "utf8", maxBuffer: 64 * 1024 * 1024 },
	);
	writeFileSync(join(target, "perf.txt"), report.stdout);
	const lines = report.stdout.split("\n").filter((line) => line.trim() !== "" && !line.startsWith("#"));
	console.log(`\nperf: ${join(target, "perf.txt")}\n${lines.slice(0, PERF_ROWS).join("\n")}`);
}

/** System calls by kind; the counts are what matters, strace itself makes them slow. */
async function syscalls(pid: number, target: string, load: () => Promise<unknown>, seconds: number): Promise<void> {
	const file = join(target, "syscalls.txt");
	const loading = load();
	await runBeside(
		["timeout", "-s", "INT", String(seconds), "strace", "-f", "-c", "-S", "calls", "-o", file, "-p", String(pid)],
		target,
	);
	await loading;
	if (existsSync(file))
		console.log(`\nsystem calls: ${file}\n${readFileSync(file, "utf8").split("\n").slice(0, 16).join("\n")}`);
}

async function runBeside(argv: readonly string[], target: string): Promise<void> {
	const [file = "", ...args] = argv;
	if (findExecutable(file) === undefined) return console.log(`${file} is not installed`);
	const log = openSync(join(target, `${basename(file)}.log`), "w");
	const child = spawn(file, args, { stdio: ["ignore", log, log] });
	await new Promise<void>((resolve) => {
		child.on("close", () => resolve());
		child.on("error", (error) => {
			console.log(messageOf(error));
			resolve();
		});
	});
}

/** Places in the source by way of the bundle's source map; without a map the place in the bundle. */
function placeFinder(): (url: string, line: number, column: number) => string {
	const maps = new Map<string, SourceMap | undefined>();
	const mapOf = (file: string): SourceMap | undefined => {
		if (!maps.has(file)) {
			const map = `${file}.map`;
			maps.set(file, existsSync(map) ? new SourceMap(JSON.parse(readFileSync(map, "utf8"))) : undefined);
		}
		return maps.get(file);
	};
	return (url, line, column) => {
		if (!url.startsWith("file:")) return `${url}:${line + 1}`;
		const file = fileURLToPath(url);
		const entry = mapOf(file)?.findEntry(line, column);
		return entry !== undefined && "originalSource" in entry && entry.originalSource !== undefined
			? `${entry.originalSource.replace(/^(\.\.\/)+/, "").replace(/^file:\/\/.*\/(agent|proto)\//, "$1/")}:${entry.originalLine + 1}`
			: `${relative(process.cwd(), file)}:${line + 1}`;
	};
}
