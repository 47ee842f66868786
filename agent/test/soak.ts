/**
 * Soak: many requests through the bundled agent, with clients that abort, read slowly and talk nonsense, and an app that is killed now and again. At the end
 * nothing has grown and everything is accounted for.
 *
 *     npm run soak -- [--requests 1000000] [--seconds 900] [--connections 64] [--kills 20] [--seed N] [--json]
 *
 * Exit code 1 when a check fails. Memory and file descriptors are looked at on Linux only.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Dice } from "./sim/dice.ts";
import { newTally, SoakClient } from "./soak/soak-client.ts";

const MIB = 1024 * 1024;
/** What the agent's memory may grow by between the first fifth and the end: garbage that is not yet collected. */
const GROWTH_SHARE = 0.15;
const GROWTH_BYTES = 12 * MIB;
/** File descriptors that may be more at the end than at the start: connections of scrapes. */
const FD_SLACK = 8;
/** A run of so many requests has its first third, with which the last is compared, after the warm-up. */
const JUDGED_FROM_REQUESTS = 500_000;
const SAMPLE_MS = 500;
const SETTLE_MS = 30_000;

const { values: args } = parseArgs({
	options: {
		requests: { type: "string", default: "1000000" },
		seconds: { type: "string", default: "900" },
		connections: { type: "string", default: "64" },
		kills: { type: "string", default: "20" },
		seed: { type: "string", default: String(Math.floor(Math.random() * 1e9)) },
		json: { type: "boolean", default: false },
	},
});
const number = (name: "requests" | "seconds" | "connections" | "kills" | "seed"): number => {
	const value = Number(args[name]);
	if (Number.isSafeInteger(value) && value >= (name === "kills" || name === "seed" ? 0 : 1)) return value;
	console.error(`outrigger soak: --${name} takes a whole number (found "${args[name]}")`);
	process.exit(64);
};
const requestsMax = number("requests");
const deadlineMs = performance.now() + number("seconds") * 1000;
const kills = number("kills");
const dice = new Dice(number("seed"));

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));
const bundle = path("../dist/main.js");
if (!existsSync(bundle)) {
	const built = spawnSync(process.execPath, [path("../build.ts"), "--quiet"], { stdio: "inherit" });
	if (built.status !== 0) process.exit(1);
}

// ── the app, which dies ──
let appPort = 0;
let app: ChildProcess | undefined;
const startApp = async (): Promise<void> => {
	const child = spawn(process.execPath, [path("./soak/app.mjs")], {
		env: { ...process.env, PORT: String(appPort) },
		stdio: ["ignore", "pipe", "inherit"],
	});
	app = child;
	const [line] = (await once(child.stdout, "data")) as [Buffer];
	appPort = Number(line.toString().split(" ")[1]);
};
const killApp = async (): Promise<void> => {
	const child = app;
	if (child === undefined) return;
	const gone = once(child, "exit");
	child.kill("SIGKILL");
	await gone;
};

// ── the agent ──
let lines = 0;
let accessLines = 0;
let otherErrors: string[] = [];
const startAgent = async (): Promise<{ child: ChildProcess; port: number; ops: number }> => {
	const set = [
		"inbound.0.listen=127.0.0.1:0",
		`inbound.0.app=127.0.0.1:${appPort}`,
		"ops.listen=127.0.0.1:0",
		"api.listen=127.0.0.1:0",
		"routes.openapi=none",
		"drain.announceMin=0s",
	];
	const child = spawn(process.execPath, [bundle, "agent", ...set.flatMap((one) => ["--set", one])], {
		stdio: ["ignore", "pipe", "inherit"],
	});
	const listening = Promise.withResolvers<{ port: number; ops: number }>();
	let rest = "";
	child.stdout.setEncoding("latin1");
	child.stdout.on("data", (piece: string) => {
		const all = rest + piece;
		const end = all.lastIndexOf("\n") + 1;
		rest = all.slice(end);
		for (let at = 0; at < end; ) {
			const next = all.indexOf("\n", at);
			lines++;
			if (all.includes('"ended_by":', at) && all.indexOf('"ended_by":', at) < next) accessLines++;
			else {
				const line = all.slice(at, next);
				const found = /"inbound":"[^"]*:(\d+)","ops":"[^"]*:(\d+)"/.exec(line);
				if (found !== null) listening.resolve({ port: Number(found[1]), ops: Number(found[2]) });
				if (line.includes('"level":"error"')) otherErrors = [...otherErrors, line].slice(0, 10);
			}
			at = next + 1;
		}
	});
	child.on("exit", (code) => listening.reject(new Error(`the agent ended with ${code}`)));
	return { child, ...(await listening.promise) };
};

// ── what the agent says of itself ──
type Page = (name: string, labels?: string) => number;
const page = async (ops: number): Promise<Page> => {
	const text = await (await fetch(`http://127.0.0.1:${ops}/metrics`)).text();
	return (name, labels = "") => {
		let sum = 0;
		for (const line of text.split("\n")) {
			if (!line.startsWith(name) || (line[name.length] !== " " && line[name.length] !== "{")) continue;
			if (labels === "" || line.includes(labels)) sum += Number(line.slice(line.lastIndexOf(" ") + 1));
		}
		return sum;
	};
};
const isLinux = process.platform === "linux";
const rssBytes = (pid: number): number =>
	isLinux ? Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024 : 0;
const fdCount = (pid: number): number => (isLinux ? readdirSync(`/proc/${pid}/fd`).length : 0);
const median = (of: readonly number[]): number => [...of].sort((a, b) => a - b)[Math.floor(of.length / 2)] ?? 0;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

// ── the run ──
await startApp();
const agent = await startAgent();
const pid = agent.child.pid ?? 0;
await pause(500);
const before = await page(agent.ops);
const fdsBefore = fdCount(pid);
const tally = newTally();
const startedMs = performance.now();
const mayGoOn = (): boolean => tally.sent < requestsMax && performance.now() < deadlineMs;

const samples: { readonly share: number; readonly rss: number }[] = [];
const sampler = setInterval(() => samples.push({ share: tally.sent / requestsMax, rss: rssBytes(pid) }), SAMPLE_MS);
let killed = 0;
const killer = (async () => {
	for (let next = 1; next <= kills && mayGoOn(); ) {
		if (tally.sent < (next * requestsMax) / (kills + 1)) {
			await pause(20);
			continue;
		}
		next++;
		killed++;
		await killApp();
		await startApp();
	}
})();
const clients = Array.from(
	{ length: number("connections") },
	() => new SoakClient(agent.port, new Dice(dice.below(2 ** 31)), tally, mayGoOn),
);
await Promise.all([...clients.map((client) => client.run()), killer]);
clearInterval(sampler);
const seconds = (performance.now() - startedMs) / 1000;

// ── everybody is gone: the account ──
const GAUGES = [
	"outrigger_connections",
	"http_server_active_requests",
	"outrigger_buffered_bytes",
	"outrigger_relayed_connections",
];
let after = await page(agent.ops);
const ended = (): number => after("outrigger_exchanges_ended_total") - before("outrigger_exchanges_ended_total");
const dropped = (): number =>
	after("outrigger_log_lines_dropped_total", 'observer="access') + after("outrigger_records_dropped_total");
const settledByMs = performance.now() + SETTLE_MS;
const isSettled = (): boolean => GAUGES.every((name) => after(name) === 0) && accessLines + dropped() >= ended();
while (!isSettled() && performance.now() < settledByMs) {
	await pause(200);
	after = await page(agent.ops);
}
const rssAfter = rssBytes(pid);
const fdsAfter = fdCount(pid);
const since = (name: string, labels?: string): number => after(name, labels) - before(name, labels);

const arrived = since("outrigger_requests_arrived_total");
const answered = since("outrigger_exchanges_ended_total", 'outcome="answered"');
const cut = since("outrigger_exchanges_ended_total", 'outcome="cut"');
const malformed = since("outrigger_refused_total", 'reason="head_space_before_colon"');
const warm = median(samples.filter(({ share }) => share > 0.15 && share < 0.35).map(({ rss }) => rss));
const late = median(samples.filter(({ share }) => share > 0.85).map(({ rss }) => rss));
const heap = after("outrigger_nodejs_heap_size_used_bytes");

const checks: (readonly [what: string, isGood: boolean, figures: string])[] = [
	[
		"clients: sent = answered + unanswered",
		tally.sent === tally.answered + tally.unanswered,
		`${tally.sent} = ${tally.answered} + ${tally.unanswered}`,
	],
	["agent: requests in = answers + cuts", arrived === answered + cut, `${arrived} = ${answered} + ${cut}`],
	[
		"agent: answers = what clients got, or could not take",
		answered >= tally.answered && answered - tally.answered <= tally.unanswered,
		`${answered} - ${tally.answered} in 0..${tally.unanswered}`,
	],
	["agent: no exchange but the clients'", answered + cut <= tally.sent, `${answered + cut} <= ${tally.sent}`],
	[
		"malformed: refused, every one",
		malformed <= tally.malformed && malformed >= (tally.refused.get("head_space_before_colon") ?? 0),
		`${malformed} of ${tally.malformed}`,
	],
	[
		"access lines + dropped = exchanges",
		accessLines + dropped() === answered + cut,
		`${accessLines} + ${dropped()} = ${answered + cut}`,
	],
	["gauges are 0", GAUGES.every((name) => after(name) === 0), GAUGES.map((name) => after(name)).join(" ")],
	["no mistakes of the agent", otherErrors.length === 0, otherErrors[0] ?? "none"],
	["clients saw nothing that cannot be", tally.violations.length === 0, tally.violations[0] ?? "nothing"],
];
if (isLinux) {
	const isFlat = late - warm <= Math.max(GROWTH_BYTES, warm * GROWTH_SHARE);
	// Before that the code is still being compiled and the heap finds its size: growth that says nothing.
	const isJudged = tally.sent >= JUDGED_FROM_REQUESTS;
	checks.push([
		isJudged ? "memory has not grown" : `memory (judged from ${JUDGED_FROM_REQUESTS} requests on)`,
		isFlat || !isJudged,
		`${(warm / MIB).toFixed(1)} MiB after warm-up, ${(late / MIB).toFixed(1)} MiB late, ${(rssAfter / MIB).toFixed(1)} MiB after`,
	]);
	checks.push([
		"no file descriptors are left",
		fdsAfter <= fdsBefore + FD_SLACK,
		`${fdsBefore} before, ${fdsAfter} after`,
	]);
}

agent.child.removeAllListeners("exit");
const exited = once(agent.child, "exit");
agent.child.kill("SIGTERM");
const [exitCode] = (await exited) as [number | null];
checks.push(["the agent ends with 0", exitCode === 0, String(exitCode)]);
await killApp();

const isGood = checks.every(([, good]) => good);
const report = {
	seed: number("seed"),
	seconds: Math.round(seconds),
	requests: tally.sent,
	perSecond: Math.round(tally.sent / seconds),
	good: tally.good,
	refused: Object.fromEntries(tally.refused),
	aborted: tally.aborted,
	unanswered: tally.unanswered,
	connections: tally.connections,
	appKilled: killed,
	resent: since("outrigger_resent_total"),
	logLines: lines,
	heapBytes: heap,
	rssPeakBytes: Math.max(0, ...samples.map(({ rss }) => rss)),
	isGood,
	checks: checks.map(([what, good, figures]) => ({ what, good, figures })),
};
if (args.json) console.log(JSON.stringify(report, undefined, "\t"));
else {
	for (const [key, value] of Object.entries(report)) {
		if (key !== "checks" && key !== "isGood")
			console.log(`${key.padEnd(16)} ${typeof value === "object" ? JSON.stringify(value) : value}`);
	}
	console.log("");
	for (const [what, good, figures] of checks) console.log(`${good ? "ok  " : "FAIL"} ${what.padEnd(52)} ${figures}`);
}
process.exit(isGood ? 0 : 1);
