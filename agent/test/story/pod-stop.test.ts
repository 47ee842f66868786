/**
 * A pod goes away: the app and its agent as processes, and between them a kubelet. It calls the stop hooks of both at once, sends the app its SIGTERM when the app's own
 * hook has been answered, and the agent, a native sidecar, when the app is gone.
 */
import { strict as assert } from "node:assert";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import {
	type AgentExit,
	type AgentProcess,
	type CommandEnd,
	type Json,
	outrigger,
	startProcess,
} from "./agent-process.ts";
import { type AppProcess, startAppProcess } from "./app-process.ts";
import { connect, field, type Wire } from "./harness.ts";

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`;

const folder = mkdtempSync(join(tmpdir(), "outrigger-story-"));
after(() => rmSync(folder, { recursive: true }));
let files = 0;
const newFile = (): string => join(folder, `file-${++files}`);

/** 2 s of grace leave the drain 1.5 s, since the app wants none of them. */
const SHORT = { "drain.grace": "2s", "drain.appStop": "0s", "drain.agentStop": "500ms" };

interface Pod extends AsyncDisposable {
	readonly app: AppProcess;
	readonly agent: AgentProcess;
	/** The termination message. */
	report(): Json;
}

const startPod = async (
	set: Readonly<Record<string, string>> = {},
	atSigterm: "finish" | "exit" | "ignore" = "finish",
): Promise<Pod> => {
	const app = await startAppProcess({ atSigterm });
	const file = newFile();
	const agent = await startProcess(app.port, { set: { "drain.sigterm": "stop", "drain.report": file, ...set } });
	return {
		app,
		agent,
		report: () => JSON.parse(readFileSync(file, "utf8")) as Json, // an object is what the agent promises
		[Symbol.asyncDispose]: async () => {
			await agent[Symbol.asyncDispose]();
			await app[Symbol.asyncDispose]();
		},
	};
};

/** A stop of the pod that is under way. */
interface Stop {
	/** `outrigger drain`, or what it was in this pod. */
	readonly agentHook: Promise<CommandEnd>;
	/** What `/lifecycle/drained` answered. */
	readonly appHook: Promise<Json>;
	readonly appExit: Promise<number | null>;
	readonly agentExit: Promise<AgentExit>;
	/** What has happened so far. */
	readonly tale: readonly string[];
}

const drained = async (agent: AgentProcess): Promise<Json> => {
	const { status, text } = await agent.ops("/lifecycle/drained");
	assert.equal(status, 200);
	return JSON.parse(text) as Json; // an object is what the hook answers
};

interface StopOptions {
	/** Words of the agent's hook after `outrigger drain`. */
	readonly words?: readonly string[];
	/** The grace period is over then, and the agent gets its SIGTERM although the app is still there. */
	readonly patience?: Promise<unknown>;
}

/** Ends it as the kubelet does. */
const stopPod = ({ app, agent }: Pod, { words = [], patience = new Promise(() => {}) }: StopOptions = {}): Stop => {
	const tale: string[] = [];
	const told = async <T>(what: string, happens: Promise<T>): Promise<T> => {
		const outcome = await happens;
		tale.push(what);
		return outcome;
	};
	const appHook = told("the app's hook is answered", drained(agent));
	const agentHook = told("the agent's hook is answered", outrigger("drain", ...words, "--url", agent.url));
	const appExit = appHook.then(() => {
		tale.push("SIGTERM for the app");
		app.child.kill("SIGTERM");
		return told("the app is gone", app.exit);
	});
	const agentExit = Promise.all([agentHook, Promise.race([appExit, patience])]).then(() => {
		tale.push("SIGTERM for the agent");
		return told("the agent is gone", agent.endBy("SIGTERM"));
	});
	return { agentHook, appHook, appExit, agentExit, tale };
};

const numberOf = (report: Json, name: string): number => {
	const value = report[name];
	assert.ok(typeof value === "number", `${name} in ${JSON.stringify(report)}`);
	return value;
};

/** `inFlightAtStart + arrived` is the sum of all that can become of an exchange. */
const assertAddsUp = (report: Json): void => {
	const outcomes = [
		"finished",
		"served",
		"cut",
		"lost",
		"refused",
		"failed",
		"aborted",
		"streamsClosed",
		"upgraded",
		"left",
	];
	assert.equal(
		outcomes.reduce((sum, name) => sum + numberOf(report, name), 0),
		numberOf(report, "inFlightAtStart") + numberOf(report, "arrived"),
		JSON.stringify(report),
	);
};

/** A client that asks again and again, on a connection for as long as the agent leaves it open; resolves with how many answers it got. */
class Regular {
	readonly over: Promise<number>;
	#isTired = false;

	constructor(agent: AgentProcess) {
		this.over = this.#ask(agent);
	}

	/** Lets it end the request that it is at. */
	async end(): Promise<number> {
		this.#isTired = true;
		return this.over;
	}

	async #ask(agent: AgentProcess): Promise<number> {
		let answers = 0;
		let client: Wire | undefined;
		while (!this.#isTired) {
			client ??= await connect(agent.port);
			client.write(get("/regular"));
			const answer = await client.response();
			assert.equal(answer.status, 200);
			answers += 1;
			if (field(answer, "connection") === "close") {
				await client[Symbol.asyncDispose]();
				client = undefined;
			}
			await new Promise((resolve) => setTimeout(resolve, 10)); // it has other things to do
		}
		await client?.[Symbol.asyncDispose]();
		return answers;
	}
}

describe("a pod that goes away", { concurrency: 2, timeout: 60_000 }, () => {
	test("its app gets SIGTERM when uploads, downloads, streams, leases and regular clients are through, and not before; nobody loses anything; code 0", async () => {
		await using pod = await startPod({
			"drain.announceMin": "200ms",
			"drain.quietMax": "200ms",
			"drain.streams": "400ms",
		});
		const { app, agent } = pod;
		await using upload = await connect(agent.port);
		upload.write(`POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: ${1 << 20}\r\n\r\n`);
		upload.write(Buffer.alloc(1000));
		// Nobody reads it yet: it is more than all buffers on the way hold.
		await using download = await connect(agent.port);
		download.socket.pause();
		download.write(get(`/bytes?${16 << 20}`));
		await using stream = await connect(agent.port);
		stream.write(get("/events"));
		await stream.until(() => stream.unread.includes("data: here"), "the first event");
		await using tunnel = await connect(agent.port);
		tunnel.write("GET /tunnel HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
		assert.equal((await tunnel.response()).status, 101);
		const lease = await agent.api("holdLease", { name: "import", ttl: "60s" });
		assert.equal(lease.status, 200);
		const regular = new Regular(agent);
		for (const url of ["/upload", `/bytes?${16 << 20}`, "/regular"]) await app.event("request", url);

		const stop = stopPod(pod);
		const begun = await stop.agentHook;
		assert.deepEqual([begun.code, begun.stderr], [0, ""]);
		assert.match(begun.stdout, /^The drain has begun, and will be over within/);
		assert.match((await agent.ops("/readyz")).text, /^fail (announcing|draining)\n$/);
		assert.equal((await agent.ops("/livez")).status, 200, "who leaves is not ill");

		// Its share is over: it ends without a last chunk, so that nobody takes it for whole.
		const events = await stream.rest();
		assert.ok(!events.bytes.toString().endsWith("0\r\n\r\n"), events.bytes.toString());
		assert.ok((await regular.end()) > 0);
		await agent.waitsFor("2 exchanges in flight", "1 lease");
		upload.write(Buffer.alloc((1 << 20) - 1000));
		const stored = await upload.response("POST");
		assert.deepEqual([stored.body.toString(), field(stored, "connection")], [String(1 << 20), "close"]);
		await agent.waitsFor("1 exchange in flight", "1 lease");
		download.socket.resume();
		assert.equal((await download.response()).body.length, 16 << 20);
		await agent.waitsFor("1 lease");
		assert.deepEqual(stop.tale, ["the agent's hook is answered"]);
		await agent.api("releaseLease", { id: lease.answer["id"] });

		const hook = await stop.appHook;
		assert.deepEqual([hook["outcome"], hook["ended"]], ["drained", "idle"]);
		const sigterm = await app.event("sigterm");
		assert.deepEqual([sigterm["open"], sigterm["tunnels"]], [0, 1]);
		const happened = app.events.map(({ event }) => event);
		assert.ok(happened.indexOf("body") < happened.indexOf("sigterm"));
		assert.equal(happened.at(-1), "sigterm", "nothing came to it after that");
		await tunnel.rest(); // the app has ended it, as it should at SIGTERM; we have not
		tunnel.end();
		assert.equal(await stop.appExit, 0);
		assert.equal((await stop.agentExit).code, 0);
		assert.deepEqual(stop.tale, [
			"the agent's hook is answered",
			"the app's hook is answered",
			"SIGTERM for the app",
			"the app is gone",
			"SIGTERM for the agent",
			"the agent is gone",
		]);
		const report = pod.report();
		assertAddsUp(report);
		const words = [
			"startedBy",
			"ended",
			"finished",
			"streamsClosed",
			"cut",
			"refused",
			"failed",
			"aborted",
			"left",
			"leases",
		];
		assert.deepEqual(
			words.map((word) => report[word]),
			["command", "idle", numberOf(report, "inFlightAtStart") - 1, 1, 0, 0, 0, 0, 0, 0],
		);
		assert.ok(numberOf(report, "finished") >= 2 && numberOf(report, "served") > 0, JSON.stringify(report));
		assert.match(String(report["drain"]), /^nothing was cut: begun by command, ended by idle/);
	});

	test("between the end of the drain and the end of the app what still comes is served, and tunnels are left to the app", async () => {
		await using pod = await startPod({}, "ignore");
		const { app, agent } = pod;
		await using tunnel = await connect(agent.port);
		tunnel.write("GET /tunnel HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
		await tunnel.response();
		const stop = stopPod(pod);
		await app.event("sigterm");
		assert.equal((await agent.api("getInfo")).answer["state"], "stopping");
		await using late = await connect(agent.port);
		late.write(get("/late"));
		const answer = await late.response();
		assert.deepEqual([answer.body.toString(), field(answer, "connection")], ["/late", "close"]);
		tunnel.write("still here");
		assert.equal((await tunnel.take(10)).toString(), "still here");
		app.child.kill("SIGKILL");
		const { code } = await stop.agentExit;
		assert.equal(code, 0);
		assertAddsUp(pod.report());
		assert.equal(numberOf(pod.report(), "served"), 1);
	});

	test("an exchange that hangs: the hook is answered at the deadline, and says so; what the app's stop then does to it was cut; code 3", async () => {
		await using pod = await startPod(SHORT, "exit");
		const { app, agent } = pod;
		await using client = await connect(agent.port);
		client.write(get("/hang"));
		await app.event("request", "/hang");
		const stop = stopPod(pod, { words: ["--wait"] });
		const hook = await stop.appHook;
		assert.deepEqual([hook["outcome"], hook["ended"]], ["drained", "deadline"]);
		assert.deepEqual((await app.event("sigterm"))["open"], 1);
		assert.equal((await client.response()).status, 502);
		const { code, stdout } = await stop.agentHook;
		assert.equal(code, 3, stdout);
		assert.match(stdout, /^The drain is over; 1 exchange was cut: begun by command, ended by deadline/);
		assert.equal((await stop.agentExit).code, 3);
		const report = pod.report();
		assertAddsUp(report);
		assert.deepEqual([report["failed"], report["cut"], report["left"]], [0, 1, 0]);
	});

	test("an app that does not end: the agent's SIGTERM cuts what is left, and the report says so; code 3", async () => {
		await using pod = await startPod(SHORT, "ignore");
		const { app, agent } = pod;
		await using client = await connect(agent.port);
		client.write(get("/hang"));
		await app.event("request", "/hang");
		const stop = stopPod(pod, { patience: app.event("sigterm") });
		await stop.appHook;
		await app.event("sigterm");
		assert.equal((await stop.agentExit).code, 3);
		await client.closed();
		assert.equal(client.error, "ECONNRESET", "a client must not take it for an answer");
		const report = pod.report();
		assertAddsUp(report);
		assert.deepEqual([report["ended"], report["cut"], report["left"]], ["deadline", 1, 0]);
		assert.match(String(report["drain"]), /^1 exchange was cut/);
		assert.equal(app.child.exitCode, null);
	});

	test("an app that dies in the middle of the drain: neither announcement nor quiet time, and its lease as long as it was to live; code 0", async () => {
		await using pod = await startPod({ "drain.announceMin": "15s", "drain.quietMin": "15s", "drain.quietMax": "15s" });
		const { app, agent } = pod;
		await agent.api("holdLease", { name: "import", ttl: "3s" });
		await using client = await connect(agent.port);
		client.write(get("/hang"));
		await app.event("request", "/hang");
		const hook = drained(agent);
		await outrigger("drain", "--url", agent.url);
		app.child.kill("SIGKILL");
		assert.equal((await client.response()).status, 502);
		assert.equal((await hook)["ended"], "app_gone");
		assert.equal((await agent.endBy("SIGTERM")).code, 0);
		const report = pod.report();
		assertAddsUp(report);
		assert.deepEqual([report["failed"], report["cut"], report["leases"]], [1, 0, 0]);
	});

	test("an agent that gets its SIGTERM in the middle of the drain stops: it cuts, reports, answers the hook; code 3", async () => {
		await using pod = await startPod();
		const { app, agent } = pod;
		await using client = await connect(agent.port);
		client.write(get("/hang"));
		await app.event("request", "/hang");
		const hook = drained(agent);
		assert.equal((await outrigger("drain", "--url", agent.url)).code, 0);
		await agent.waitsFor("1 exchange in flight");
		assert.equal((await agent.endBy("SIGTERM")).code, 3);
		const { outcome, ended } = await hook;
		assert.deepEqual([outcome, ended], ["drained", "sigterm"]);
		await client.closed();
		const report = pod.report();
		assertAddsUp(report);
		assert.deepEqual([report["startedBy"], report["ended"], report["cut"]], ["command", "sigterm", 1]);
	});

	test("where SIGTERM means to drain it joins the drain that a command has begun, and a second one ends it at once", async () => {
		await using pod = await startPod({ "drain.sigterm": "drain" });
		const { app, agent } = pod;
		await using client = await connect(agent.port);
		client.write("POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n1");
		await using hanging = await connect(agent.port);
		hanging.write(get("/hang"));
		await app.event("request", "/upload");
		await app.event("request", "/hang");
		await outrigger("drain", "--url", agent.url);
		agent.child.kill("SIGTERM");
		await agent.waitsFor("2 exchanges in flight");
		client.write("2");
		assert.equal((await client.response("POST")).status, 200);
		await agent.waitsFor("1 exchange in flight");
		assert.equal((await agent.endBy("SIGTERM")).code, 3);
		const report = pod.report();
		assertAddsUp(report);
		assert.deepEqual(
			["startedBy", "ended", "finished", "cut"].map((name) => report[name]),
			["command", "second_signal", 1, 1],
		);
	});

	test("several hooks, one that goes away, one that comes after the end: each that is there is told the same", async () => {
		await using pod = await startPod();
		const { app, agent } = pod;
		await using client = await connect(agent.port);
		client.write("POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n1");
		await app.event("request", "/upload");
		const early = [drained(agent), drained(agent)];
		await using impatient = await connect(agent.opsPort);
		impatient.write(get("/lifecycle/drained"));
		const waiters = (count: number): Promise<void> => agent.untilMetric("outrigger_drained_waiters", count);
		await waiters(3);
		impatient.reset();
		await waiters(2);
		await outrigger("drain", "--url", agent.url);
		const late = drained(agent);
		await waiters(3);
		client.write("2");
		await client.response("POST");
		for (const hook of [...(await Promise.all([...early, late])), await drained(agent)]) {
			assert.deepEqual([hook["outcome"], hook["ended"]], ["drained", "idle"]);
		}
		assert.equal(
			(await outrigger("drain", "--wait", "--url", agent.url)).code,
			0,
			"nor does a repeated drain change anything",
		);
		assert.equal(await agent.metric("outrigger_drained_answers_total", 'outcome="drained"'), 4);
		assert.equal((await agent.endBy("SIGTERM")).code, 0);
		assert.equal(numberOf(pod.report(), "finished"), 1);
	});
});
