import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { get } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { CounterReader } from "../bridge/counters.ts";
import { settingsFrom } from "../config/layers.ts";
import type { Address, Settings } from "../config/settings.ts";
import { systemClock } from "../foundation/clock.ts";
import { LogSink } from "../foundation/log-sink.ts";
import { systemScheduler } from "../foundation/scheduler.ts";
import { type DrainReport, drainReport } from "../lifecycle/drain-report.ts";
import { listeningPorts } from "../lifecycle/listening-ports.ts";
import type { EndSignal } from "../lifecycle/signals.ts";
import { EXIT, type Io, type ParsedArgs, UsageError } from "./command.ts";
import {
	canListen,
	childEnvironment,
	forDeveloper,
	greeting,
	makeRunCommand,
	type RunnableAgent,
	type RunParts,
	withFreePorts,
} from "./run.ts";

const tcp = (port: number, host: string | undefined = "127.0.0.1"): Address => ({ kind: "tcp", host, port });
const ADDRESSES = { inbound: [tcp(9810, undefined)], ops: tcp(9801, undefined), api: tcp(9802) };
const settings = settingsFrom();
const nobody = new CounterReader();
const OUTCOME: DrainReport = drainReport(
	{
		startedBy: "sigint",
		ended: "idle",
		left: 0,
		isDrain: true,
		budgetMs: 18_000,
		announcedMs: 0,
		drainedMs: 0,
		quietMs: 0,
		leases: 0,
		bypassSeen: 0,
		bypassLeft: 0,
	},
	{ sum: (cell) => nobody.sum(cell), lost: 0, failedAtEnd: 0 },
);

/** An agent that serves nothing and writes down what it is asked to do. */
class FakeAgent implements RunnableAgent {
	readonly calls: string[] = [];
	readonly apps: Address[] = [];
	outcome = OUTCOME;
	startError: unknown;
	/** Until this resolves the drain goes on. */
	drained: Promise<void> = Promise.resolve();
	#cut = Promise.withResolvers<void>();

	async start() {
		this.calls.push("start");
		if (this.startError !== undefined) throw this.startError;
		return ADDRESSES;
	}
	setApp(_inbound: number, app: Address): void {
		this.calls.push("setApp");
		this.apps.push(app);
	}
	async drain(startedBy: string): Promise<DrainReport> {
		this.calls.push(`drain ${startedBy}`);
		await Promise.race([this.drained, this.#cut.promise]);
		return this.outcome;
	}
	async appGone(): Promise<DrainReport> {
		this.calls.push("appGone");
		this.#cut.resolve();
		return this.outcome;
	}
	async endNow(why: string): Promise<DrainReport> {
		this.calls.push(`endNow ${why}`);
		this.#cut.resolve();
		return this.outcome;
	}
	async stop(): Promise<DrainReport> {
		if (!this.calls.includes("stop")) this.calls.push("stop"); // safe twice, as the real one
		return this.outcome;
	}
}

/** One `outrigger run` inside of this process, with real children and files for its streams. */
class Scene {
	readonly agent = new FakeAgent();
	readonly signals = new EventEmitter();
	readonly said: string[] = [];
	readonly atExit = new Set<() => void>();
	settings: Settings = settings;
	isBad = false;
	/** How many times faster than the world its clock and timers are. */
	speed = 1;
	readonly #folder: string;
	readonly #files: number[];

	constructor(t: TestContext) {
		this.#folder = mkdtempSync(join(tmpdir(), "run-"));
		this.#files = ["out", "err"].map((name) => openSync(join(this.#folder, name), "a"));
		t.after(() => {
			for (const action of this.atExit) action();
			for (const file of this.#files) closeSync(file);
			rmSync(this.#folder, { recursive: true, force: true });
		});
	}

	get out(): string {
		return readFileSync(join(this.#folder, "out"), "utf8");
	}

	get err(): string {
		return readFileSync(join(this.#folder, "err"), "utf8");
	}

	parts(): RunParts {
		const [out = 1, err = 2] = this.#files;
		return {
			load: async () => (this.isBad ? undefined : { settings: this.settings, isDefault: () => true }),
			createAgent: () => this.agent,
			openSinks: () => {
				const stderr = LogSink.onDescriptor(err, 65_536);
				return { stdout: LogSink.onDescriptor(out, 65_536), stderr, agent: stderr };
			},
			signals: this.signals,
			atExit: (action) => {
				this.atExit.add(action);
				return () => this.atExit.delete(action);
			},
			canListen: async () => true,
			look: (pid) => listeningPorts(pid),
			clock: { monotonicMs: () => systemClock.monotonicMs() * this.speed, wallMs: () => systemClock.wallMs() },
			scheduler: { after: (ms, action) => systemScheduler.after(ms / this.speed, action) },
		};
	}

	run(rest: readonly string[] | undefined, values: ParsedArgs["values"] = {}): Promise<number> {
		const output = (text: string): number => this.said.push(text);
		const io: Io = {
			stdout: { write: output, isTerminal: false, columns: undefined },
			stderr: { write: output, isTerminal: false, columns: undefined },
			env: { ...process.env, OUTRIGGER_AGENT_URL: "http://somebody.else" },
			cwd: process.cwd(),
		};
		return makeRunCommand(this.parts()).run({ values, positionals: [], rest }, io);
	}

	send(signal: EndSignal): void {
		this.signals.emit(signal);
	}

	/** Resolves when it is so; the test's own time limit ends the wait. */
	async until(isSo: () => boolean): Promise<void> {
		while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 5));
	}
}

const node = (script: string): readonly string[] => [process.execPath, "-e", script];
const SERVER = `const s = require("node:net").createServer((c) => c.resume()).listen(0, "127.0.0.1", () => console.log("up " + s.address().port))`;
const WITH_LIMIT = { timeout: 60_000 };

test("Ctrl-C drains first, then stops the app, and passes on its code", WITH_LIMIT, async (t) => {
	const scene = new Scene(t);
	const { promise, resolve } = Promise.withResolvers<void>();
	scene.agent.drained = promise;
	const code = scene.run(
		node(`${SERVER}; process.on("SIGTERM", () => { console.log("asked to stop"); process.exit(7) })`),
	);
	await scene.until(() => scene.agent.apps.length > 0);
	assert.deepEqual(scene.agent.apps, [
		{ kind: "tcp", host: "localhost", port: Number(/up (\d+)/.exec(scene.out)?.[1]) },
	]);
	await scene.until(() => scene.err.includes("Three things to try"));
	scene.send("SIGINT");
	await scene.until(() => scene.agent.calls.includes("drain sigint"));
	assert.doesNotMatch(scene.out, /asked to stop/, "not before the drain is over");
	resolve();
	assert.equal(await code, 7);
	assert.match(scene.out, /asked to stop/);
	assert.deepEqual(
		scene.agent.calls.filter((call) => call !== "appGone"),
		["start", "setApp", "drain sigint", "stop"],
	);
	assert.match(scene.err, /SIGINT: finishing what is in flight, at most 18 s; once more ends at once/);
	assert.match(scene.err, /outrigger: stopped: the app ended with code 7\n$/);
	assert.equal(scene.atExit.size, 0);
	assert.equal(scene.signals.eventNames().length, 0);
});

test("a second signal ends the drain and the app at once", WITH_LIMIT, async (t) => {
	const scene = new Scene(t);
	scene.agent.drained = new Promise(() => {});
	scene.agent.outcome = { ...OUTCOME, cut: 2 };
	const code = scene.run(node(`${SERVER}; process.on("SIGTERM", () => {})`));
	await scene.until(() => scene.agent.apps.length > 0);
	scene.send("SIGTERM");
	await scene.until(() => scene.agent.calls.includes("drain sigterm"));
	scene.send("SIGTERM");
	assert.equal(await code, 137);
	assert.ok(scene.agent.calls.includes("endNow second_signal"));
	assert.match(scene.err, /SIGTERM again: ending at once/);
	assert.match(scene.err, /stopped, 2 exchanges cut: the app was ended by SIGKILL\n$/);
});

test("an app that ignores SIGTERM is killed when its time is over", WITH_LIMIT, async (t) => {
	const scene = new Scene(t);
	scene.settings = { ...settings, drain: { ...settings.drain, appStopMs: 100 } };
	const code = scene.run(node(`process.on("SIGTERM", () => {}); ${SERVER}`));
	await scene.until(() => scene.agent.apps.length > 0);
	scene.send("SIGHUP");
	assert.equal(await code, 137);
	assert.ok(scene.agent.calls.includes("drain sighup"));
});

test("an app that dies takes the agent with it, and the last line says how", WITH_LIMIT, async (t) => {
	const scene = new Scene(t);
	scene.agent.outcome = { ...OUTCOME, cut: 1 };
	assert.equal(await scene.run(node(`console.error("out of luck"); process.exit(9)`)), 9);
	assert.deepEqual(scene.agent.calls, ["start", "appGone", "stop"]);
	assert.match(scene.err, /out of luck/);
	assert.match(scene.err, /outrigger: stopped, 1 exchange cut: the app ended with code 9\n$/);
});

test("an app that dies in the middle of the drain ends the drain", WITH_LIMIT, async (t) => {
	const scene = new Scene(t);
	scene.agent.drained = new Promise(() => {});
	const code = scene.run(node(`${SERVER}; process.stdin.resume(); process.on("SIGUSR2", () => process.exit(4))`));
	await scene.until(() => scene.agent.apps.length > 0);
	scene.send("SIGINT");
	await scene.until(() => scene.agent.calls.includes("drain sigint"));
	process.kill(Number(/pid (\d+)/.exec(scene.err)?.[1]), "SIGUSR2");
	assert.equal(await code, 4);
	assert.ok(scene.agent.calls.includes("appGone"));
});

test(
	"an app on several ports is a question with an answer that can be typed, and is stopped",
	WITH_LIMIT,
	async (t) => {
		const scene = new Scene(t);
		const code = await scene.run(node(`${SERVER}; require("node:net").createServer().listen(0, "127.0.0.1")`));
		assert.equal(code, EXIT.usage);
		assert.equal(scene.err.match(/ {2}--app-port \d+\t/g)?.length, 2);
		assert.ok(scene.agent.calls.includes("endNow asked"));
		assert.equal(scene.agent.apps.length, 0);
	},
);

test("PORT in the environment decides between several ports", WITH_LIMIT, async (t) => {
	const scene = new Scene(t);
	const free = createServer();
	await new Promise<void>((resolve) => free.listen(0, "127.0.0.1", resolve));
	const address = free.address();
	assert.ok(address !== null && typeof address === "object");
	await new Promise((resolve) => free.close(resolve));
	const code = scene.run([
		"env",
		`PORT=${address.port}`,
		...node(`${SERVER}; require("node:net").createServer().listen(process.env.PORT, "127.0.0.1")`),
	]);
	// PORT that only the app knows is not ours to see: this is still a question …
	assert.equal(await code, EXIT.usage);
	// … and PORT that we were started with is an answer.
	const { PORT: before } = process.env;
	process.env["PORT"] = String(address.port);
	t.after(() => {
		if (before === undefined) delete process.env["PORT"];
		else process.env["PORT"] = before;
	});
	const told = new Scene(t);
	const second = told.run(node(`${SERVER}; require("node:net").createServer().listen(process.env.PORT, "127.0.0.1")`));
	await told.until(() => told.agent.apps.length > 0);
	assert.deepEqual(told.agent.apps, [{ kind: "tcp", host: "localhost", port: address.port }]);
	told.send("SIGTERM");
	assert.equal(await second, 143);
});

test(
	"a port that was told is not looked for: the app gets it, and the greeting comes when it answers",
	WITH_LIMIT,
	async (t) => {
		const scene = new Scene(t);
		const [inbound] = settings.inbound;
		assert.ok(inbound !== undefined);
		const free = createServer();
		await new Promise<void>((resolve) => free.listen(0, "127.0.0.1", resolve));
		const address = free.address();
		assert.ok(address !== null && typeof address === "object");
		await new Promise((resolve) => free.close(resolve));
		scene.settings = { ...settings, inbound: [{ ...inbound, app: tcp(address.port, "localhost") }] };
		const code = scene.run(
			node(
				`require("node:net").createServer().listen(process.env.OUTRIGGER_APP_PORT, "127.0.0.1"); console.log(process.env.OUTRIGGER_AGENT_URL)`,
			),
		);
		await scene.until(() => scene.err.includes("Three things to try"));
		assert.match(scene.err, new RegExp(`answers at 127\\.0\\.0\\.1:${address.port}`));
		assert.match(scene.out, /^http:\/\/127\.0\.0\.1:9802\n/);
		assert.deepEqual(scene.agent.apps, []);
		scene.send("SIGTERM");
		assert.equal(await code, 143);
	},
);

test(
	"an app that listens late is waited for aloud; when it moves, or opens another port, that is told too",
	WITH_LIMIT,
	async (t) => {
		const scene = new Scene(t);
		scene.speed = 20;
		const code = scene.run(
			node(
				`const net = require("node:net"); const open = () => net.createServer().listen(0, "127.0.0.1");
			let first; process.on("SIGUSR2", () => { if (first === undefined) first = open(); else open(); });
			process.on("SIGHUP", () => first.close()); setInterval(() => {}, 1000); console.log(process.pid)`,
			),
		);
		await scene.until(() => /listens on no port yet, after \d+ s; still waiting/.test(scene.err));
		const pid = Number.parseInt(scene.out, 10);
		process.kill(pid, "SIGUSR2");
		await scene.until(() => scene.agent.apps.length === 1);
		process.kill(pid, "SIGUSR2");
		await scene.until(() =>
			/listens on \d+ too; traffic goes to \d+\. To choose the other: --app-port \d+/.test(scene.err),
		);
		process.kill(pid, "SIGHUP");
		await scene.until(() => scene.agent.apps.length === 2);
		assert.match(scene.err, /the app listens on port \d+ now, and no longer on \d+/);
		assert.equal(scene.err.match(/Three things to try/g)?.length, 1);
		scene.send("SIGTERM");
		assert.equal(await code, 143);
	},
);

test(
	"a port that was told and does not answer is waited for aloud, with the ports that there are",
	WITH_LIMIT,
	async (t) => {
		const scene = new Scene(t);
		scene.speed = 20;
		const [inbound] = settings.inbound;
		assert.ok(inbound !== undefined);
		scene.settings = { ...settings, inbound: [{ ...inbound, app: { kind: "unix", path: "/there/is/no/such.sock" } }] };
		const code = scene.run(node(SERVER));
		await scene.until(() =>
			/nothing answers at unix:\/there\/is\/no\/such\.sock after \d+ s \(it listens on \d+\)/.test(scene.err),
		);
		scene.send("SIGTERM");
		assert.equal(await code, 143);
	},
);

test("a command that is not there is told, with 127, and the agent is stopped", WITH_LIMIT, async (t) => {
	const scene = new Scene(t);
	assert.equal(await scene.run(["there-is-no-such-program"]), 127);
	assert.deepEqual(scene.agent.calls, ["start", "stop"]);
	assert.match(scene.err, /there-is-no-such-program cannot be started: there is no such program in PATH/);
});

test("an agent that cannot start is told, and no app is started", WITH_LIMIT, async (t) => {
	for (const [error, text] of [
		[new Error("port 9810 is taken"), /the agent cannot start: port 9810 is taken/],
		["no Error at all", /the agent cannot start: no Error at all/],
	] as const) {
		const scene = new Scene(t);
		scene.agent.startError = error;
		assert.equal(await scene.run(node(`console.log("started")`)), EXIT.failed);
		assert.match(scene.err, text);
		assert.equal(scene.out, "");
		assert.deepEqual(scene.agent.calls, ["start", "stop"]);
	}
});

test("bad settings are exit code 78, no command is a usage error, and neither starts anything", async (t) => {
	const scene = new Scene(t);
	scene.isBad = true;
	assert.equal(await scene.run(node("")), EXIT.configuration);
	await assert.rejects(scene.run(undefined), UsageError);
	await assert.rejects(scene.run([]), UsageError);
	assert.deepEqual(scene.agent.calls, []);
});

for (const port of ["0", "65536", "abc", "1.5", "-1", ""]) {
	test(`--app-port ${JSON.stringify(port)} is a usage error`, async (t) => {
		const scene = new Scene(t);
		await assert.rejects(scene.run(["true"], { "app-port": port }), UsageError);
		assert.deepEqual(scene.agent.calls, []);
	});
}

test("a log destination that cannot be opened is told before anything is started", async (t) => {
	const scene = new Scene(t);
	const command = makeRunCommand({
		...scene.parts(),
		openSinks: () => {
			throw new Error("EISDIR");
		},
	});
	const said: string[] = [];
	const output = { write: (text: string) => void said.push(text), isTerminal: false, columns: undefined };
	const io: Io = { stdout: output, stderr: output, env: {}, cwd: process.cwd() };
	assert.equal(await command.run({ values: {}, positionals: [], rest: ["true"] }, io), EXIT.failed);
	assert.match(said.join(""), /log\.destination stderr cannot be opened: EISDIR/);
	assert.deepEqual(scene.agent.calls, []);
});

test("on a laptop there is no announcement, no report file, and standard output is the app's; what was asked for stays", () => {
	const ours = forDeveloper({ settings, isDefault: () => true });
	assert.equal(ours.drain.announceMinMs, 0);
	assert.equal(ours.drain.quietMinMs, 0);
	assert.equal(ours.drain.report, "none");
	assert.equal(ours.log.destination, "stderr");
	assert.deepEqual(forDeveloper({ settings, isDefault: () => false }), settings);
});

test("when a default port is taken all default ports move together, and none that was asked for", async () => {
	const ports = (chosen: Settings): readonly (number | undefined)[] =>
		[...chosen.inbound.map(({ listen }) => listen), chosen.ops.listen, chosen.api.listen].map((address) =>
			address.kind === "tcp" ? address.port : undefined,
		);
	const taken =
		(...numbers: readonly number[]) =>
		async (address: Address): Promise<boolean> =>
			address.kind === "unix" || !numbers.includes(address.port);
	const free = await withFreePorts(settings, () => true, taken());
	assert.deepEqual([ports(free.settings), free.movedBy], [[9810, 9801, 9802], 0]);
	const second = await withFreePorts(settings, () => true, taken(9801));
	assert.deepEqual([ports(second.settings), second.movedBy], [[9830, 9821, 9822], 20]);
	const third = await withFreePorts(settings, () => true, taken(9801, 9822));
	assert.deepEqual([ports(third.settings), third.movedBy], [[9850, 9841, 9842], 40]);
	const asked = await withFreePorts(settings, (path) => path !== "ops.listen", taken(9801, 9802));
	assert.deepEqual([ports(asked.settings), asked.movedBy], [[9830, 9801, 9822], 20]);
	const none = await withFreePorts(
		settings,
		() => true,
		async () => false,
	);
	assert.deepEqual([ports(none.settings), none.movedBy], [[9810, 9801, 9802], 0]);
});

test("a port that is taken cannot be listened on, one that is free can, a Unix socket is the agent's own business", async (t) => {
	const server = createServer();
	t.after(() => server.close());
	await new Promise<void>((resolve) => server.listen(0, resolve));
	const address = server.address();
	assert.ok(address !== null && typeof address === "object");
	assert.equal(await canListen(tcp(address.port, undefined)), false);
	assert.equal(await canListen(tcp(0)), true);
	assert.equal(await canListen({ kind: "unix", path: "/run/app.sock" }), true);
});

test("the app learns where its agent is, its own PORT is left alone, and an inherited agent is forgotten", () => {
	const env = { PORT: "3000", OUTRIGGER_AGENT_URL: "http://somebody.else" };
	assert.deepEqual(childEnvironment(env, ADDRESSES, undefined), {
		PORT: "3000",
		OUTRIGGER_AGENT_URL: "http://127.0.0.1:9802",
	});
	assert.deepEqual(childEnvironment(env, { ...ADDRESSES, api: undefined }, tcp(8000)), {
		PORT: "3000",
		OUTRIGGER_APP_PORT: "8000",
	});
	const unix = childEnvironment(
		{},
		{ ...ADDRESSES, api: { kind: "unix", path: "/run/o.sock" } },
		{ kind: "unix", path: "/a" },
	);
	assert.deepEqual(unix, { OUTRIGGER_AGENT_URL: "unix:/run/o.sock" });
});

test("the greeting holds addresses that can be typed", () => {
	const text = greeting("app listens on port 3000", ADDRESSES);
	assert.match(text, /curl -i http:\/\/127\.0\.0\.1:9810\/ /);
	assert.match(text, /curl -s http:\/\/127\.0\.0\.1:9801\/metrics /);
	assert.match(text, /curl -i http:\/\/127\.0\.0\.1:9801\/readyz /);
	const unix = greeting("x", { ...ADDRESSES, inbound: [{ kind: "unix", path: "/run/in.sock" }], api: undefined });
	assert.match(unix, /curl -i --unix-socket \/run\/in\.sock http:\/\/localhost\//);
	assert.doesNotMatch(unix, /9802/);
	assert.match(greeting("x", { ...ADDRESSES, inbound: [tcp(9810, "::1")] }), /http:\/\/\[::1\]:9810\//);
});

test(
	"the whole command with the real agent: a request passes with its ids, and SIGTERM lets it finish before the app is stopped",
	WITH_LIMIT,
	async (t) => {
		const app = `const s = require("node:http").createServer((q, r) => {
		console.log("got " + q.url);
		process.on("SIGUSR2", () => r.end(q.headers["x-request-id"]));
	}).listen(0, "127.0.0.1"); process.on("SIGTERM", () => { console.log("asked to stop"); process.exit(0) })`;
		const main = fileURLToPath(new URL("../main.ts", import.meta.url));
		const child = spawn(process.execPath, ["--import", "tsx", main, "run", "--", ...node(app)], {
			env: {
				// Variables of whoever runs the tests must not count.
				...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("OUTRIGGER_"))),
				OUTRIGGER_INBOUND__0__LISTEN: "127.0.0.1:0",
				OUTRIGGER_OPS__LISTEN: "127.0.0.1:0",
				OUTRIGGER_API__LISTEN: "127.0.0.1:0",
				OUTRIGGER_HEALTH__APP__HTTP: "none", // this app answers nothing until it is told to
			},
			stdio: ["ignore", "pipe", "pipe"],
		});
		t.after(() => child.kill("SIGKILL"));
		let out = "";
		let err = "";
		child.stdout.on("data", (bytes) => {
			out += bytes;
		});
		child.stderr.on("data", (bytes) => {
			err += bytes;
		});
		const exited = once(child, "exit");
		const until = async (isSo: () => boolean): Promise<void> => {
			while (!isSo()) {
				assert.equal(child.exitCode, null, err);
				await new Promise((resolve) => setTimeout(resolve, 5));
			}
		};
		await until(() => /app_passes/.test(err) && /through the agent {2}(\S+)/.test(err));
		const url = /through the agent {2}(\S+)/.exec(err)?.[1] ?? "";
		const answered = new Promise<{ id: unknown; body: string }>((resolve, reject) => {
			get(`${url}/slow`, { agent: false }, (response) => {
				let body = "";
				response.on("data", (bytes) => {
					body += bytes;
				});
				response.on("end", () => resolve({ id: response.headers["x-request-id"], body }));
			}).on("error", reject);
		});
		await until(() => out.includes("got /slow"));
		child.kill("SIGTERM");
		await until(() => err.includes("announcing → draining"));
		assert.doesNotMatch(out, /asked to stop/);
		process.kill(Number(/pid (\d+)/.exec(err)?.[1]), "SIGUSR2");
		const { id, body } = await answered;
		assert.equal(body, id);
		assert.match(body, /^[0-9a-f-]{36}$/);
		assert.deepEqual(await exited, [0, null]);
		assert.match(out, /asked to stop/);
		assert.match(err, /"http.response.status_code":200/);
		assert.match(err, /outrigger: stopped: the app ended with code 0\n/);
	},
);
