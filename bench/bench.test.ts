import assert from "node:assert/strict";
import { once } from "node:events";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import {
	cpuSeconds,
	machineTime,
	parseMachineTime,
	parseProcessStat,
	processTree,
	residentBytes,
	threadTimes,
} from "./accounting.ts";
import { type Contestant, LogFile, startPeer } from "./contestant.ts";
import { measureIdle } from "./idle-connections.ts";
import { profileThreads, selfTimes } from "./inspector.ts";
import { type Load, type LoadResult, parseWrk, refusalOf, wrkScript } from "./load.ts";
import { describeCommit, describeMachine } from "./machine.ts";
import { describeMissing, findMissing, unsuitable } from "./needs.ts";
import { HELP, parseOptions } from "./options.ts";
import { fetchBody, readCounts } from "./origin.ts";
import { countSeries, measureDisturbed, routePath } from "./pages.ts";
import { envoy } from "./peers/envoy.ts";
import { haproxy } from "./peers/haproxy.ts";
import { choosePeers } from "./peers/list.ts";
import { nginx, nginxBufferedLog } from "./peers/nginx.ts";
import { outriggerPeer } from "./peers/outrigger.ts";
import type { Peer, Site } from "./peers/peer.ts";
import { createRelay, relay } from "./peers/relay.ts";
import { freePort, startProcess, waitForAnswer } from "./processes.ts";
import {
	BEGIN_MARK,
	END_MARK,
	placeBlock,
	renderMarkdown,
	renderResults,
	renderText,
	scenarioTable,
	short,
	tablesOf,
} from "./report.ts";
import type { Results } from "./results.ts";
import { figuresOf, runRounds } from "./rounds.ts";
import { chooseScenarios, type LoadScenario, SCENARIOS } from "./scenarios.ts";
import { ratioOf, spreadOf } from "./statistics.ts";
import { judge } from "./targets.ts";

const onLinux = process.platform === "linux" ? {} : { skip: "reads /proc, which only Linux has" };

const folder = mkdtempSync(join(tmpdir(), "outrigger-bench-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const site = (name: string): Site => ({
	port: 1001,
	originPort: 1002,
	opsPort: 1003,
	apiPort: 1004,
	folder: join(folder, name),
	env: { OUTRIGGER_LOG__LEVEL: "warn" },
});

function resultOf(requests: number, change: Partial<LoadResult> = {}): LoadResult {
	const errors = { connect: 0, read: 0, write: 0, status: 0, timeout: 0 };
	return { requests, bytes: requests * 100, seconds: 1, p50Us: 100, p99Us: 900, maxUs: 1000, errors, ...change };
}

const tiny: LoadScenario = {
	kind: "load",
	name: "small-4",
	title: "41 B answers, 4 connections",
	path: "/",
	connections: 4,
	uploadBytes: 0,
	measure: "requests",
};

/** Ten requests one after the other: load enough to go through every line that real load goes through. */
const tinyLoad: Load = async ({ port, path }) => {
	let bytes = 0;
	for (let count = 0; count < 10; count++) {
		const answer = await fetchBody(port, path);
		assert.equal(answer.status, 200);
		bytes += answer.bytes;
	}
	return resultOf(10, { bytes });
};

async function startApp(): Promise<{ readonly server: Server; readonly port: number }> {
	let requests = 0;
	const server = createServer((request, response) => {
		if (request.url === "/stats") return response.end(JSON.stringify({ requests, bodyBytes: 7 * requests }));
		requests++;
		return response.end('{"status":"ok","message":"hello, world!"}');
	});
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	const address = server.address();
	assert.ok(address !== null && typeof address === "object");
	return { server, port: address.port };
}

test("a line of /proc/PID/stat is read although the name holds spaces and parentheses", () => {
	const line = "42 (tricky) name (x) S 7 42 42 0 -1 4194560 100 0 0 0 150 50 20 10 20 0 11 0 999 1 2 3";
	assert.deepEqual(parseProcessStat(line), { pid: 42, parent: 7, cpuSeconds: 2, endedChildrenSeconds: 0.3 });
	for (const bad of ["", "42", "42 (x) S 7", "(x) S 7 42 42 0 -1 0 0 0 0 0 1 1 1 1"]) {
		assert.throws(() => parseProcessStat(bad), /not a line of/);
	}
});

test("the machine's busy and stolen time is read from /proc/stat, idle and waiting left out", () => {
	const text = "cpu  100 10 50 1000 500 5 15 30 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
	assert.deepEqual(parseMachineTime(text), { busySeconds: 1.8, stolenSeconds: 0.3 });
	assert.throws(() => parseMachineTime("intr 1 2 3\n"), /not \/proc\/stat/);
});

test("a process finds itself, its cost and its threads in /proc", onLinux, () => {
	const pids = processTree(process.pid);
	assert.equal(pids[0], process.pid);
	assert.ok(cpuSeconds(pids) > 0);
	assert.ok(residentBytes(pids) > 10 * 1024 * 1024);
	assert.ok(threadTimes(process.pid).some((thread) => thread.id === process.pid && thread.cpuSeconds > 0));
	assert.ok(machineTime().busySeconds > 0);
	assert.equal(cpuSeconds([2 ** 30]), 0); // nobody has that pid
	assert.equal(residentBytes([2 ** 30]), 0);
});

test("wrk is asked for its numbers as JSON, and they are read back", () => {
	const script = wrkScript({ uploadBytes: 1048576, pauseMs: 10 });
	assert.match(script, /wrk\.method = "POST"/);
	assert.match(script, /string\.rep\("x", 1048576\)/);
	assert.match(script, /math\.random\(0, 20\)/);
	assert.doesNotMatch(wrkScript({ uploadBytes: 0, pauseMs: 0 }), /POST|delay/);
	const line =
		'@outrigger-bench {"requests":1200,"bytes":99000,"durationUs":2000000,"p50Us":50,"p99Us":700,"maxUs":900,' +
		'"connect":0,"read":1,"write":0,"status":2,"timeout":0}';
	const result = parseWrk(`Running 2s test\n  1 threads\n\n${line}\n`);
	assert.equal(result.seconds, 2);
	assert.equal(result.requests, 1200);
	assert.equal(refusalOf(result), "errors: 1 read, 2 status (in 1200 requests)");
	assert.throws(() => parseWrk("unable to connect to 127.0.0.1:1 Connection refused"), /no result: unable to connect/);
	assert.throws(() => parseWrk('@outrigger-bench {"requests":"many"}'), /no "requests"/);
});

test("a result is refused for any error and for no requests at all", () => {
	assert.equal(refusalOf(resultOf(5)), undefined);
	assert.equal(refusalOf(resultOf(0)), "not one request was answered");
	for (const key of ["connect", "read", "write", "status", "timeout"] as const) {
		const errors = { ...resultOf(1).errors, [key]: 3 };
		assert.match(refusalOf(resultOf(9, { errors })) ?? "", new RegExp(`^errors: 3 ${key}`));
	}
});

test("a median lies between least and most, and ratios are taken round by round", () => {
	fc.assert(
		fc.property(fc.array(fc.double({ min: 0.001, max: 1e9, noNaN: true }), { minLength: 1 }), (values) => {
			const { median, min, max } = spreadOf(values);
			assert.ok(min <= median && median <= max);
			const one = ratioOf(values, values);
			assert.deepEqual(one, { median: 1, min: 1, max: 1 });
		}),
	);
	assert.deepEqual(spreadOf([3, 1, 2, 10]), { median: 2.5, min: 1, max: 10 });
	// a round in which the machine was half as fast leaves no trace in the ratio
	assert.deepEqual(ratioOf([10, 20, 10], [5, 10, 5]), { median: 2, min: 2, max: 2 });
	assert.deepEqual(ratioOf([10, 20], [5, 0]), { median: 2, min: 2, max: 2 });
	assert.equal(ratioOf([10, 20], [0, 0]), undefined);
	assert.throws(() => spreadOf([]), /no values/);
});

test("scenarios are chosen by name, by beginning and by group, and a wrong name is told with the right ones", () => {
	const names = (wanted: readonly string[]) => chooseScenarios(wanted).map(({ name }) => name);
	assert.deepEqual(names(["small"]), ["small-1", "small-64", "small-1000"]);
	assert.deepEqual(names(["upload-64", "start"]), ["upload-64", "start"]);
	assert.equal(chooseScenarios(["all"]).length, SCENARIOS.length);
	assert.ok(chooseScenarios(["load"]).every(({ kind }) => kind === "load"));
	assert.ok(names(["quick"]).includes("small-64"));
	assert.throws(() => chooseScenarios(["smal"]), /no scenario is called "smal"; there are: all quick load small-1 /);
});

test("the command line has defaults, a quick form, and refuses what it does not know", () => {
	const usual = parseOptions([]);
	assert.deepEqual([usual.rounds, usual.seconds, usual.peers.length], [3, 3, 4]);
	assert.equal(usual.markdownFile, undefined);
	const quick = parseOptions(["--quick", "--rounds", "5", "--markdown", "--json", "x.json", "--node-flags=--a,--b=1"]);
	assert.deepEqual([quick.rounds, quick.seconds], [5, 2]);
	assert.deepEqual([quick.markdownFile, quick.jsonFile], ["docs/benchmarks.md", "x.json"]);
	assert.deepEqual(quick.nodeFlags, ["--a", "--b=1"]);
	assert.equal(parseOptions(["--markdown=other.md"]).markdownFile, "other.md");
	assert.equal(parseOptions(["--profile", "p"]).profileFolder, "p");
	for (const bad of ["0", "1.5", "x", "1000"])
		assert.throws(() => parseOptions(["--rounds", bad]), /--rounds is a whole/);
	assert.equal(parseOptions(["--nice=-10"]).niceness, -10);
	assert.throws(() => parseOptions(["--nice=-21"]), /from -20 to 19/);
	assert.throws(() => parseOptions(["--fast"]), /Unknown option/);
	for (const option of ["peers", "scenarios", "json", "markdown", "install", "profile"])
		assert.match(HELP, new RegExp(`--${option}`));
});

test("peers are chosen by name or as a build of the agent, each once", () => {
	const names = choosePeers(["nginx", "before=a/main.js", "outrigger"], []).map(({ name }) => name);
	assert.deepEqual(names, ["nginx", "before", "outrigger"]);
	assert.throws(() => choosePeers(["caddy"], []), /no peer is called "caddy"; there are: outrigger, nginx/);
	assert.throws(() => choosePeers(["nginx", "nginx"], []), /a name of its own/);
});

test("what is missing is told with the command that brings it", () => {
	const absent = outriggerPeer("outrigger", join(folder, "absent.js"));
	const missing = findMissing([absent, relay], () => undefined);
	const text = describeMissing(missing);
	assert.match(text, /wrk: apt-get install wrk/);
	assert.match(text, /absent\.js: npm run build/);
	assert.match(text, /--install/);
	assert.equal(findMissing([relay], (name) => `/usr/bin/${name}`).length, 0);
	assert.match(unsuitable("darwin", 8) ?? "", /needs Linux/);
	assert.match(unsuitable("linux", 1) ?? "", /two cores/);
	assert.equal(unsuitable("linux", 2), undefined);
});

test("every peer writes a configuration that names its port and the app's", () => {
	for (const peer of [nginx, nginxBufferedLog, haproxy, envoy]) {
		const launch = peer.launch(site(peer.name));
		const file = launch.argv.find((word) => /\.(conf|cfg|json)$/.test(word));
		assert.ok(file !== undefined, peer.name);
		const text = readFileSync(file, "utf8");
		assert.match(text, /1001/);
		assert.match(text, /1002/);
		if (file.endsWith(".json")) assert.doesNotThrow(() => JSON.parse(text));
	}
	const agent = outriggerPeer("outrigger", "main.js", ["--x"]).launch(site("agent"));
	assert.deepEqual(agent.argv.slice(1), ["--x", "main.js", "agent"]);
	assert.equal(agent.env?.["OUTRIGGER_INBOUND__0__LISTEN"], "127.0.0.1:1001");
	assert.equal(agent.env?.["OUTRIGGER_LOG__LEVEL"], "warn");
});

test("log lines are counted from where the count stopped, and a long file is emptied", () => {
	const file = join(folder, "lines.log");
	const log = new LogFile(file);
	assert.equal(log.countLines(), 0); // not there yet
	writeFileSync(file, "one\ntwo\nhalf");
	assert.equal(log.countLines(), 2);
	appendFileSync(file, " more\n");
	assert.equal(log.countLines(), 3);
	appendFileSync(file, `${"x".repeat(1023)}\n`.repeat(33 * 1024));
	assert.equal(log.countLines(), 3 + 33 * 1024);
	assert.equal(statSync(file).size, 0);
	appendFileSync(file, "again\n");
	assert.equal(log.countLines(), 4 + 33 * 1024);
});

test("series are the sample lines of a page, and every route is a word of its own", () => {
	assert.equal(countSeries('# HELP a b\n# TYPE a counter\na{x="1"} 1\na{x="2"} 2\n\n# EOF\n'), 2);
	const paths = Array.from({ length: 2000 }, (_, index) => routePath(index));
	assert.equal(new Set(paths).size, 2000);
	assert.ok(paths.every((path) => /^\/shop\/o[b-z]+o$/.test(path)));
});

test("self times are summed per function, over all places in the tree", () => {
	const frame = (functionName: string, url: string, lineNumber: number) => ({
		functionName,
		url,
		lineNumber,
		columnNumber: 0,
	});
	const times = selfTimes(
		{
			nodes: [
				{ id: 1, callFrame: frame("(root)", "", -1), children: [2, 3] },
				{ id: 2, callFrame: frame("scan", "file:///a.js", 9), children: [4] },
				{ id: 3, callFrame: frame("", "file:///a.js", 19) },
				{ id: 4, callFrame: frame("scan", "file:///a.js", 9) },
			],
			startTime: 0,
			endTime: 100,
			samples: [2, 4, 3, 2],
			timeDeltas: [5, 10, 20, 30],
		},
		(url, line) => `${url}:${line + 1}`,
	);
	assert.deepEqual(times, [
		{ name: "scan", place: "file:///a.js:10", selfUs: 30 },
		{ name: "(anonymous)", place: "file:///a.js:20", selfUs: 30 },
	]);
});

test("a whole comparison runs with a relay as proxy, and its table shows each proxy's figures", onLinux, async () => {
	const app = await startApp();
	const proxy = createRelay(app.port);
	proxy.listen(0, "127.0.0.1");
	await once(proxy, "listening");
	const address = proxy.address();
	assert.ok(address !== null && typeof address === "object");
	await waitForAnswer(address.port, 5000);
	const contestant = (name: string, port: number): Contestant => ({
		name,
		port,
		pids: () => [process.pid],
		hasEnded: () => undefined,
	});
	const order: string[] = [];
	const entries = await runRounds(
		[
			contestant("nginx", app.port),
			contestant("relay", address.port),
			{ ...contestant("dead", app.port), hasEnded: () => "exit code 9" },
		],
		tiny,
		{
			rounds: 2,
			extraRounds: 0,
			seconds: 1,
			warmUpSeconds: 1,
			afterWindow: ({ name }, _, isMeasured) => order.push(`${name} ${isMeasured}`),
		},
		{ load: tinyLoad, counts: () => readCounts(app.port), originPids: [] },
	);
	// the second round turns the order; a warm-up comes before the first window only
	assert.deepEqual(order, ["nginx false", "nginx true", "relay false", "relay true", "relay true", "nginx true"]);
	const figures = figuresOf(entries);
	assert.equal(figures[1]?.requestsPerSecond?.median, 10);
	assert.equal(figures[2]?.failure, "exit code 9");
	const table = scenarioTable({
		kind: "load",
		name: tiny.name,
		title: tiny.title,
		measure: "requests",
		figures,
		entries,
	});
	assert.equal(table.rows.length, 3);
	assert.match(renderText(table), /^dead +FAILED: exit code 9$/m);

	const idle = await measureIdle(contestant("relay", address.port), 20, 1);
	assert.equal(idle.connections, 20);
	assert.ok(idle.openBytes > 0);

	let scrapes = 0;
	const disturbed = await measureDisturbed("scraped", address.port, 1, tinyLoad, async () => {
		scrapes++;
		return { status: 200, bytes: 77 };
	});
	assert.equal(disturbed.scrapes, scrapes);
	assert.equal(disturbed.pageBytes, 77);
	proxy.close();
	app.server.closeAllConnections();
	app.server.close();
	await assert.rejects(
		measureIdle(contestant("gone", address.port), 1, 1),
		/could not be opened: connect ECONNREFUSED/,
	);
});

test("a load with errors is a failure, never a figure", onLinux, async () => {
	const failing: Load = async () => resultOf(100, { errors: { ...resultOf(1).errors, timeout: 2 } });
	const contestant = { name: "nginx", port: 1, pids: () => [process.pid], hasEnded: () => undefined };
	const means = { load: failing, counts: async () => ({ requests: 0, bodyBytes: 0 }), originPids: [] };
	const entries = await runRounds(
		[contestant],
		tiny,
		{ rounds: 1, extraRounds: 0, seconds: 1, warmUpSeconds: 0 },
		means,
	);
	assert.deepEqual(figuresOf(entries), [{ peer: "nginx", failure: "errors: 2 timeout (in 100 requests)" }]);
});

test("a peer is started, answers, is counted and leaves nothing behind", onLinux, async () => {
	const app = await startApp();
	const running = await startPeer(relay, { folder, cores: undefined, originPort: app.port });
	assert.ok(running.startMs > 0);
	assert.deepEqual(running.pids(), [running.process.pid]);
	assert.equal((await fetchBody(running.port, "/")).bytes, 41);
	await running.process.stop(2000);
	await running.process.stop(2000);
	assert.equal(running.hasEnded(), "signal SIGTERM");
	assert.throws(() => process.kill(running.process.pid, 0), { code: "ESRCH" });
	app.server.closeAllConnections();
	app.server.close();
});

test("a peer that cannot start says why, in its own words", onLinux, async () => {
	const broken: Peer = {
		...relay,
		name: "broken",
		launch: ({ folder: own }) => ({
			argv: [process.execPath, "-e", 'console.error("no such option"); process.exit(3)'],
			logFile: join(own, "out.log"),
			isLogStdout: true,
		}),
	};
	const starting = startPeer(broken, { folder, cores: undefined, originPort: 1 });
	await assert.rejects(starting, /broken did not start: it ended before .* exit code 3\. It said: no such option/);
});

test("both threads of a process that runs under --inspect are profiled", onLinux, async () => {
	const [inspectPort, port] = [await freePort(), await freePort()];
	const program = `
		const { Worker, isMainThread } = require("node:worker_threads");
		if (isMainThread) {
			new Worker(__filename, { name: "outrigger-data" }).on("message", () =>
				require("node:http").createServer((q, r) => r.end()).listen(${port}, "127.0.0.1"));
		} else {
			require("node:worker_threads").parentPort.postMessage("up");
			setInterval(function spin() { for (let i = 0; i < 1e5; i++) Math.sqrt(i); }, 1);
		}`;
	const file = join(folder, "threads.cjs");
	writeFileSync(file, program);
	const out = join(folder, "threads.log");
	const argv = [process.execPath, `--inspect=127.0.0.1:${inspectPort}`, file];
	const child = startProcess({ argv, stdoutFile: out, stderrFile: out });
	try {
		await waitForAnswer(port, 10_000, child.hasEnded);
		// until the worker has been seen spinning; on a busy machine that may take more than one look
		for (let look = 0; ; look++) {
			const profiles = await profileThreads(inspectPort, 500, async () => {
				for (let count = 0; count < 20; count++) await fetchBody(port, "/");
			});
			assert.equal(profiles.length, 2);
			const worker = profiles.find(({ thread }) => thread.includes("outrigger-data"));
			assert.ok(worker !== undefined);
			const names = selfTimes(worker.profile, (url, line) => `${url}:${line}`).map(({ name }) => name);
			if (names.includes("spin")) break;
			assert.ok(look < 20, `the worker's function is not in its profile: ${names.join(", ")}`);
		}
	} finally {
		await child.stop(0);
	}
});

test("rounds in which something else kept the machine busy are left out while there are enough others", () => {
	const window = (cpu: number, foreignCores: number) => ({
		load: resultOf(1_000_000),
		cpuSeconds: cpu,
		wallSeconds: 1,
		threadSeconds: {},
		bodyBytes: 0,
		peakResidentBytes: 0,
		foreignCores,
	});
	const entries = (noise: readonly number[]) => [
		{ peer: "nginx", windows: [1, 1, 1].map((cpu) => window(cpu, 0)) },
		{ peer: "outrigger", windows: [1, 2, 9].map((cpu, round) => window(cpu, noise[round] ?? 0)) },
	];
	const some = figuresOf(entries([0, 0, 0.9]));
	assert.equal(some[1]?.cpuRatio?.max, 2);
	assert.deepEqual([some[0]?.roundsUsed, some[0]?.roundsTaken], [2, 3]);
	// when nearly all are disturbed there is nothing to choose from: all are shown, and the table warns
	assert.equal(figuresOf(entries([0.9, 0, 0.9]))[1]?.roundsUsed, 3);
});

test("a round that was disturbed is taken again, as often as was allowed", onLinux, async () => {
	const contestant = { name: "nginx", port: 1, pids: () => [process.pid], hasEnded: () => undefined };
	const load: Load = async () => resultOf(10);
	const means = { load, counts: async () => ({ requests: 0, bodyBytes: 0 }), originPids: [] };
	const order = { rounds: 2, extraRounds: 3, seconds: 1, warmUpSeconds: 0 };
	const calm = await runRounds([contestant], tiny, order, means, () => true);
	assert.equal(calm[0]?.windows.length, 2);
	const noisy = await runRounds([contestant], tiny, order, means, () => false);
	assert.equal(noisy[0]?.windows.length, 5);
});

const results = (): Results => {
	const window = (cpu: number, requests: number) => ({
		load: resultOf(requests),
		cpuSeconds: cpu,
		wallSeconds: 1,
		threadSeconds: {},
		bodyBytes: requests * 1048576,
		peakResidentBytes: 50 * 1048576,
		foreignCores: 0.4,
	});
	const entries = [
		{ peer: "nginx", windows: [window(1, 40_000), window(1, 20_000)] },
		{ peer: "envoy", windows: [window(1, 10_000), window(1, 5000)] },
		{ peer: "outrigger", windows: [window(1, 36_000), window(1, 18_000)] },
	];
	const spread = { median: 150, min: 140, max: 190 };
	const load = (name: string, measure: "requests" | "bytes") =>
		({ kind: "load", name, title: "t", measure, entries, figures: figuresOf(entries) }) as const;
	return {
		date: "2024-01-01T00:00:00.000Z",
		commit: "abc",
		machine: { cpu: "Some|CPU", cores: 2, memoryBytes: 2 ** 34, kernel: "Linux 6", node: "26.0.0" },
		rounds: 2,
		seconds: 1,
		peers: [{ name: "nginx", version: "1.22", setting: "a log" }],
		scenarios: [
			load("small-64", "requests"),
			load("1m-64", "bytes"),
			load("upload-64", "bytes"),
			{
				kind: "start",
				name: "start",
				title: "t",
				answers: [
					{ peer: "outrigger", figures: spread },
					{ peer: "envoy", failure: "gone" },
				],
			},
			{
				kind: "idle",
				name: "idle-5000",
				title: "t",
				answers: [
					{
						peer: "outrigger",
						figures: { connections: 5000, beforeBytes: 0, openBytes: 1, closedBytes: 2, bytesPerConnection: 9 * 1024 },
					},
				],
			},
			{
				kind: "metrics-page",
				name: "metrics-page",
				title: "t",
				answers: [
					{
						peer: "outrigger",
						figures: {
							series: 10_001,
							bytes: 9,
							scrapes: 3,
							controlThreadMs: spread,
							controlThreadGzipMs: spread,
							wallMs: spread,
						},
					},
				],
			},
			{
				kind: "scrape",
				name: "scrape",
				title: "t",
				answers: [
					{
						peer: "outrigger",
						figures: [
							{ title: "quiet", p50Us: 90, p99Us: 1500, maxUs: 2e6, requestsPerSecond: 3000, scrapes: 0, pageBytes: 0 },
						],
					},
				],
			},
		],
		stays: [
			{
				peer: "outrigger",
				idleBytes: 60 * 1048576,
				peakBytes: 96 * 1048576,
				afterBytes: 1,
				requests: 1000,
				logLines: 900,
			},
		],
		failures: ["start, envoy: gone"],
	};
};

test("the targets are judged by the medians, and what was not measured is not met", () => {
	const verdicts = judge(results(), "outrigger");
	const told = verdicts.map(({ value, isMet }) => [value === undefined ? undefined : Number(value.toFixed(3)), isMet]);
	assert.deepEqual(told, [
		[1.111, true],
		[0.278, true],
		[0.9, true],
		[0.9, true],
		[9, false],
		[60, true],
		[96, false],
		[150, true],
		[150, false],
	]);
	const none = judge({ ...results(), scenarios: [], stays: [] }, "outrigger");
	assert.ok(none.every(({ value, isMet }) => value === undefined && isMet === undefined));
});

test("results are written as tables that hold every failure, warning and left-out line", () => {
	const all = results();
	const verdicts = judge(all, "outrigger");
	const text = tablesOf(all, verdicts).map(renderText).join("\n");
	assert.match(text, /outrigger +41\.7 \[27\.8–55\.6\] +1\.11 \[1\.11–1\.11\]/);
	assert.match(text, /MISSED/);
	assert.match(text, /envoy +FAILED: gone/);
	assert.match(text, /! outrigger left out 100 access lines/);
	assert.match(text, /! nginx: 0\.400 cores were busy with something else/);
	const markdown = renderResults(all, verdicts);
	assert.match(markdown, /\* Machine: Some\|CPU, 2 cores, 16 GiB, Linux 6/);
	assert.match(markdown, /\* FAILED: start, envoy: gone/);
	assert.match(markdown, /\| outrigger \| quiet \| 90\.0 µs \| 1\.50 ms \| 2\.00 s \|/);
	assert.equal(
		renderMarkdown({ title: "t", head: ["", "a"], rows: [["x|y", "1"]], notes: [] }),
		"### t\n\n|  | a |\n|---|---:|\n| x\\|y | 1 |",
	);
	assert.deepEqual(
		[short(0), short(1234.5), short(12.345), short(0.01234), short(Number.NaN)],
		["0", "1,235", "12.3", "0.012", "–"],
	);
});

test("the block in the page is replaced as a whole, and nothing around it", () => {
	const once_ = placeBlock("# Benchmarks\n\nWords.\n", "first");
	assert.match(once_, /Words\.\n\n<!-- bench:begin/);
	const page = `${once_}\nMore words.\n`;
	const twice = placeBlock(page, "second");
	assert.equal(twice, page.replace("first", "second"));
	for (const broken of [BEGIN_MARK, END_MARK, `${END_MARK}\n${BEGIN_MARK}`]) {
		assert.throws(() => placeBlock(broken, "x"), /only one of the bench's two markers/);
	}
});

test("the machine and the commit are described", () => {
	const machine = describeMachine();
	assert.ok(machine.cores > 0 && machine.memoryBytes > 0);
	assert.equal(machine.node, process.versions.node);
	assert.match(describeCommit(), /^([0-9a-f]{7,}|none yet)/);
});

test("a request that the app does not answer as asked is an error, not a count", async () => {
	const server = createServer((_, response) => response.end("[]"));
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	const address = server.address();
	assert.ok(address !== null && typeof address === "object");
	await assert.rejects(readCounts(address.port), /does not tell its counts/);
	server.closeAllConnections();
	server.close();
	await assert.rejects(fetchBody(address.port, "/"), { code: "ECONNREFUSED" });
	await assert.rejects(waitForAnswer(address.port, 30), /nothing served on port/);
});
