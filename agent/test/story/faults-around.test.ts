/** What goes wrong around the agent while it leaves, and what its user sees: nobody reads its lines, the app stands still, descriptors run out, the wall clock jumps. */
import { strict as assert } from "node:assert";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { type AgentProcess, type Json, outrigger, serve, startProcess, waitingFor } from "./agent-process.ts";
import { startAppProcess } from "./app-process.ts";
import { answering, connect, eventually, ok, startApp, type Wire } from "./harness.ts";

const GET = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const HALF_UPLOAD = "POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n1";
const STOP = { "drain.sigterm": "stop" };

const folder = mkdtempSync(join(tmpdir(), "outrigger-story-"));
after(() => rmSync(folder, { recursive: true }));
let files = 0;
const newFile = (): string => join(folder, `file-${++files}`);
const jsonIn = (file: string): Json => JSON.parse(readFileSync(file, "utf8")) as Json; // an object is what the agent promises

const isLinux = process.platform === "linux";
const skip = isLinux ? false : "only Linux has /dev/full and /proc";

/** A whole stop with an upload under way, of which nothing may be held up. */
const stopsAsEver = async (agent: AgentProcess, report: string): Promise<void> => {
	await using client = await connect(agent.port);
	client.write(HALF_UPLOAD);
	await agent.untilInfo(({ inFlight }) => inFlight === 1, "the upload");
	const hook = agent.ops("/lifecycle/drained");
	assert.equal((await outrigger("drain", "--url", agent.url)).code, 0);
	await agent.waitsFor("1 exchange in flight");
	client.write("2");
	assert.equal((await client.response("POST")).status, 200);
	const { outcome, ended } = JSON.parse((await hook).text) as Json; // an object is what the hook answers
	assert.deepEqual([outcome, ended], ["drained", "idle"]);
	assert.equal((await agent.endBy("SIGTERM")).code, 0);
	const { finished, cut, left } = jsonIn(report);
	assert.deepEqual([finished, cut, left], [1, 0, 0]);
};

/** Idle clients, as many as there is room for, and those that were turned away: a FIN without a byte. */
const crowdOf = async (agent: AgentProcess): Promise<readonly Wire[]> => {
	const crowd: Wire[] = [];
	while (!crowd.some(({ isEnded }) => isEnded)) crowd.push(await connect(agent.port));
	return crowd;
};

const FEW = "ulimit -n 96";
/** The agent keeps clients from using up its descriptors when it knows how many there are. Here it does not: what if they are gone all the same? */
const LIMIT_IS_HIDDEN = `
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
const { readFileSync } = fs;
fs.readFileSync = (path, ...rest) => readFileSync(path === "/proc/self/limits" ? "/nowhere" : path, ...rest);
syncBuiltinESMExports();
`;
const QUICK_CHECKS = { "health.app.interval": "200ms", "health.app.timeout": "200ms", "health.app.fall": "1" };

const lines = "outrigger_log_lines_dropped_total";

describe("around a drain", { concurrency: 3, timeout: 60_000, skip }, () => {
	test("a pipe that is full and that nobody reads: hooks are answered, the report is written, the process ends", async () => {
		await using app = await startApp(answering(() => ok()));
		const report = newFile();
		await using agent = await startProcess(app.port, {
			stdio: ["ignore", "pipe", "pipe"],
			set: { ...STOP, "drain.report": report, "log.buffer": "64KiB" },
		});
		agent.child.stdout?.pause();
		while ((await agent.metric(lines, "access_line")) === 0) await serve(agent, 800);
		// A short line may still find room where a slice of many did not.
		while ((await agent.metric(lines, 'observer="log"')) === 0) {
			for (let i = 0; i < 20; i++) await agent.api("notReady", { reason: "x".repeat(256) });
		}
		await stopsAsEver(agent, report);
	});

	test("a full disk: the same", async () => {
		const full = openSync("/dev/full", "w");
		try {
			await using app = await startApp(answering(() => ok()));
			const report = newFile();
			await using agent = await startProcess(app.port, {
				stdio: ["ignore", full, "pipe"],
				set: { ...STOP, "drain.report": report },
			});
			assert.ok((await agent.metric(lines, 'observer="log"')) > 0);
			await stopsAsEver(agent, report);
		} finally {
			closeSync(full);
		}
	});

	test("a report that cannot be written is a line in the log, and holds up nothing", async () => {
		await using app = await startApp(answering(() => ok()));
		const log = newFile();
		await using agent = await startProcess(app.port, {
			log,
			set: { "drain.report": join(folder, "nowhere", "report") },
		});
		assert.equal((await agent.endBy("SIGTERM")).code, 0);
		assert.equal((await agent.says(/^the drain report cannot be written$/))["level"], "warn");
	});

	test("an app that stands still (SIGSTOP): not ready by its check, live, requests wait; when it goes on they are answered", async () => {
		await using app = await startAppProcess();
		await using agent = await startProcess(app.port, {
			set: {
				"health.app.http": "/health",
				"health.app.interval": "300ms",
				"health.app.timeout": "200ms",
				"health.app.fall": "2",
			},
		});
		await using client = await connect(agent.port);
		app.child.kill("SIGSTOP");
		client.write(GET);
		await agent.readyz(/^fail app_fails\n$/);
		assert.equal((await agent.ops("/livez")).status, 200, "nothing outside the agent fails its liveness");
		assert.equal(client.receivedBytes, 0);
		app.child.kill("SIGCONT");
		assert.equal((await client.response()).status, 200);
		await agent.readyz(/^ok\n$/);
	});

	test("an app that stands still during the drain is not taken for gone: the drain lasts to its deadline, and what is left is still served when it goes on", async () => {
		await using app = await startAppProcess();
		const report = newFile();
		await using agent = await startProcess(app.port, {
			set: {
				...STOP,
				"drain.report": report,
				"drain.grace": "2s",
				"drain.appStop": "0s",
				"drain.agentStop": "500ms",
				"health.app.interval": "200ms",
				"health.app.timeout": "100ms",
			},
		});
		app.child.kill("SIGSTOP");
		await using client = await connect(agent.port);
		client.write(GET);
		await agent.untilInfo(({ inFlight }) => inFlight === 1, "the request");
		const hook = agent.ops("/lifecycle/drained");
		await outrigger("drain", "--url", agent.url);
		const { ended } = JSON.parse((await hook).text) as Json; // an object is what the hook answers
		assert.equal(ended, "deadline");
		const over = await agent.untilInfo((info) => info["report"] !== undefined, "the report");
		assert.equal((over["report"] as Json)["left"], 1); // GetInfo's shape
		assert.equal(client.receivedBytes, 0);
		app.child.kill("SIGCONT");
		assert.equal((await client.response()).status, 200);
		assert.equal((await agent.endBy("SIGTERM")).code, 0);
		const { finished, left } = jsonIn(report);
		assert.deepEqual([finished, left], [1, 0]);
	});

	test("no descriptor left: who is connected is served; who comes new, be it a client, a probe or a command, is turned away unanswered; the process stays, and is itself again when there is room", async () => {
		await using app = await startApp(answering(() => ok()));
		const report = newFile();
		const log = newFile();
		await using agent = await startProcess(app.port, {
			shell: FEW,
			preload: LIMIT_IS_HIDDEN,
			log,
			set: { ...STOP, ...QUICK_CHECKS, "drain.report": report },
		});
		await using probe = await connect(agent.opsPort);
		const readyz = async (): Promise<string> => {
			probe.write("GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n");
			return (await probe.response()).body.toString();
		};
		await using client = await connect(agent.port);
		client.write(HALF_UPLOAD);
		await agent.untilInfo(({ inFlight }) => inFlight === 1, "the upload");
		const crowd = await crowdOf(agent);
		// The check of the app's port has no descriptor either; that the app is gone does not follow.
		while ((await readyz()) !== "fail app_refuses\n") await new Promise((resolve) => setTimeout(resolve, 20));
		await using late = await connect(agent.opsPort);
		late.write("GET /livez HTTP/1.1\r\nhost: a\r\n\r\n");
		assert.equal((await late.rest()).bytes.length, 0);
		probe.write("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n");
		assert.equal((await probe.response()).status, 200, "even the first page, for which something must be loaded");
		await using call = await connect(agent.apiPort);
		call.write("POST /outrigger.v1.Lifecycle/Drain HTTP/1.1\r\nhost: localhost\r\n");
		assert.equal((await call.rest()).bytes.length, 0);
		for (const each of crowd) each.socket.destroy();
		// There is room again: it is ready, and its stop loses nothing.
		await agent.readyz(/^ok\n$/);
		await agent.untilMetric("outrigger_state", 1, 'state="ready"'); // pages are whole again
		await outrigger("drain", "--url", agent.url);
		await agent.waitsFor("1 exchange in flight");
		client.write("2");
		assert.equal((await client.response("POST")).status, 200);
		assert.equal((await agent.endBy("SIGTERM")).code, 0);
		assert.equal(jsonIn(report)["finished"], 1);
		const errors = agent.lines().filter(({ level }) => level === "error");
		assert.deepEqual(
			errors.map(({ msg, observer }) => [msg, observer]),
			[["a part of the metrics page failed", "registry"]],
		);
	});

	test("no descriptor left in the middle of a drain: the app is not taken for gone, what is in flight is finished, the hook that waits is answered", async () => {
		await using app = await startApp(answering(() => ok()));
		await using agent = await startProcess(app.port, {
			shell: FEW,
			preload: LIMIT_IS_HIDDEN,
			set: { ...STOP, ...QUICK_CHECKS },
		});
		await using api = await connect(agent.apiPort);
		const info = async (): Promise<Json> => {
			api.write(
				"POST /outrigger.v1.Agent/GetInfo HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
			);
			return JSON.parse((await api.response("POST")).body.toString()) as Json; // an object is what the protocol promises
		};
		await using client = await connect(agent.port);
		client.write(HALF_UPLOAD);
		await agent.untilInfo(({ inFlight }) => inFlight === 1, "the upload");
		await using hook = await connect(agent.opsPort);
		hook.write("GET /lifecycle/drained HTTP/1.1\r\nhost: a\r\n\r\n");
		await agent.untilMetric("outrigger_drained_waiters", 1);
		await outrigger("drain", "--url", agent.url);
		const crowd = await crowdOf(agent);
		let now = await info();
		while ((now["apps"] as readonly Json[])[0]?.["state"] !== "refuses") now = await info(); // GetInfo's shape
		assert.deepEqual(waitingFor(now), ["1 exchange in flight"]);
		assert.equal(hook.receivedBytes, 0);
		client.write("2");
		assert.equal((await client.response("POST")).status, 200);
		const { ended } = JSON.parse((await hook.response()).body.toString()) as Json; // an object is what the hook answers
		assert.equal(ended, "idle");
		assert.equal((await agent.endBy("SIGTERM")).code, 0);
		for (const each of crowd) each.socket.destroy();
	});

	for (const [where, shiftMs] of [
		["forward", 3_600_000],
		["back", -3_600_000],
	] as const) {
		test(`a wall clock that jumps an hour ${where}: no deadline, check, lease, report or liveness changes, only the times that people read`, async () => {
			const shift = newFile();
			const log = newFile();
			await using app = await startApp(answering(() => ok()));
			await using agent = await startProcess(app.port, {
				log,
				set: { ...STOP, "health.app.interval": "200ms", "health.app.timeout": "200ms" },
				preload: `
					import { readFileSync } from "node:fs";
					const { now } = Date;
					let shiftMs = 0;
					Date.now = () => now() + shiftMs;
					setInterval(() => {
						try { shiftMs = Number(readFileSync(${JSON.stringify(shift)}, "utf8")); } catch {}
					}, 10).unref();
				`,
			});
			await using client = await connect(agent.port);
			client.write(HALF_UPLOAD);
			await agent.untilInfo(({ inFlight }) => inFlight === 1, "the upload");
			const { id } = (await agent.api("holdLease", { name: "import", ttl: "60s" })).answer;
			await agent.api("reportHealth", {
				contributors: [{ name: "cache", status: "pass", critical: true, ttl: "60s" }],
			});
			await outrigger("drain", "--url", agent.url);
			await agent.waitsFor("1 exchange in flight", "1 lease");

			writeFileSync(shift, String(shiftMs));
			const isShifted = (time: unknown): boolean => Math.abs(Date.parse(String(time)) - Date.now() - shiftMs) < 600_000;
			await agent.untilInfo(({ stateSince }) => isShifted(stateSince), "a wall clock that has jumped");
			// Long enough for each of these to go wrong: the app has been asked five more times, and liveness looks each second.
			const checks = app.wires.length + 5;
			await eventually(() => app.wires.length >= checks, "five checks");
			const short = (await agent.api("holdLease", { name: "short", ttl: "0.3s" })).answer;
			assert.ok(isShifted(short["expires"]), JSON.stringify(short));
			await agent.waitsFor("1 exchange in flight", "2 leases");
			await agent.waitsFor("1 exchange in flight", "1 lease");
			const health = (await agent.api("getHealth")).answer;
			assert.deepEqual([health["live"], health["whyNotReady"]], [true, "draining"]);
			assert.doesNotMatch(JSON.stringify(health), /"(?:fail|unknown)"/);
			client.write("2");
			assert.equal((await client.response("POST")).status, 200);
			await agent.waitsFor("1 lease");
			assert.equal((await agent.api("holdLease", { id, ttl: "60s" })).status, 200, "it can be renewed");
			await agent.api("releaseLease", { id });
			const { answer } = await agent.api("drain", { wait: true });
			assert.equal((answer["report"] as Json)["ended"], "idle"); // it is over
			assert.equal((await agent.endBy("SIGTERM")).code, 0);
			assert.ok(isShifted((await agent.says(/^the drain is over/))["time"]));
			assert.equal((await agent.says(/^request$/))["http.response.status_code"], 200);
		});
	}
});
