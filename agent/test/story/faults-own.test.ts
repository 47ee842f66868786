/** What goes wrong in the agent itself, and what its user sees: it is killed, a thread dies, somebody throws. */
import { strict as assert } from "node:assert";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { type Json, mortalThreads, outrigger, startProcess } from "./agent-process.ts";
import { startAppProcess } from "./app-process.ts";
import { answering, connect, eventually, field, ok, startApp } from "./harness.ts";

const GET = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const HALF_UPLOAD = "POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n1";
const STOP = { "drain.sigterm": "stop" };

const folder = mkdtempSync(join(tmpdir(), "outrigger-story-"));
after(() => rmSync(folder, { recursive: true }));
let files = 0;
const newFile = (): string => join(folder, `file-${++files}`);
const jsonIn = (file: string): Json => JSON.parse(readFileSync(file, "utf8")) as Json; // an object is what the agent promises

/** Clients that come again and again, whatever becomes of them. */
class Load {
	/** In their order; `undefined`: no answer. */
	readonly outcomes: (number | undefined)[] = [];
	readonly #clients: readonly Promise<void>[];
	#isOver = false;

	constructor(port: number) {
		this.#clients = Array.from({ length: 4 }, () => this.#come(port));
	}

	async end(): Promise<void> {
		this.#isOver = true;
		await Promise.all(this.#clients);
	}

	async #come(port: number): Promise<void> {
		while (!this.#isOver) {
			try {
				await using client = await connect(port);
				client.write(GET);
				this.outcomes.push((await client.response()).status);
			} catch {
				this.outcomes.push(undefined);
			}
			await new Promise((resolve) => setTimeout(resolve, 5)); // they have other things to do
		}
	}
}

/** Resolves when the data thread has heard that we leave: its answers say so. */
const isLeaving = async (port: number): Promise<void> => {
	for (;;) {
		await using client = await connect(port);
		client.write(GET);
		if (field(await client.response(), "connection") === "close") return;
	}
};

/**
 * A preload: the control thread ends a turn of its own in that way when a file of that name comes to be. `secondMs`: how long what it takes for a second lasts; a story that
 * has to do something within it gets more.
 */
const careless = (file: string, secondMs = 1_000): string => `
import { isMainThread } from "node:worker_threads";
import { readFileSync, rmSync } from "node:fs";
const now = performance.now.bind(performance);
if (isMainThread) Object.defineProperty(performance, "now", { value: () => (now() * 1_000) / ${secondMs} });
if (isMainThread) setInterval(() => {
	let how;
	try { how = readFileSync(${JSON.stringify(file)}, "utf8"); } catch { return; }
	if (how === "") return; // not written yet
	rmSync(${JSON.stringify(file)});
	if (how === "exception") throw new Error("nobody expects this");
	Promise.reject(new Error("nobody expects this"));
}, 10).unref();
`;

/** A preload: the writer of access lines throws. */
const BROKEN_OBSERVER = `
import { isMainThread } from "node:worker_threads";
if (isMainThread) {
	const { AccessLineWriter } = await import(${JSON.stringify(new URL("../../src/observe/access-line.ts", import.meta.url).href)});
	AccessLineWriter.prototype.write = () => { throw new Error("the writer is broken"); };
}
`;

describe("the agent's own faults", { concurrency: 3, timeout: 60_000 }, () => {
	test("killed under load and started again: it serves at once under another epoch, leases and reports are gone, the app knows nothing of it", async () => {
		await using app = await startAppProcess();
		await using first = await startProcess(app.port);
		const before = (await first.api("getInfo")).answer;
		const lease = (await first.api("holdLease", { name: "import", ttl: "60s" })).answer;
		assert.equal(lease["epoch"], before["epoch"]);
		await first.api("reportHealth", { contributors: [{ name: "cache", status: "pass", ttl: "60s" }] });
		assert.match(JSON.stringify((await first.api("getHealth")).answer), /"cache"/);
		const load = new Load(first.port);
		try {
			await eventually(() => load.outcomes.length > 20, "load");
			assert.equal((await first.endBy("SIGKILL")).signal, "SIGKILL");
			await eventually(() => load.outcomes.at(-1) === undefined, "somebody who is refused");
			await using second = await startProcess(app.port, { ports: first });
			const restarted = load.outcomes.length;
			await eventually(() => load.outcomes.length > restarted + 20, "load");
			await load.end();
			// Those that were under way while it started may have been refused just before.
			assert.deepEqual(new Set(load.outcomes.slice(restarted + 4)), new Set([200]));
			const now = (await second.api("getInfo")).answer;
			assert.notEqual(now["epoch"], before["epoch"]);
			assert.deepEqual([now["state"], now["leases"], now["report"]], ["ready", [], undefined]);
			const renewal = await second.api("holdLease", { id: lease["id"], ttl: "60s" });
			assert.deepEqual([renewal.status, renewal.answer["code"]], [404, "not_found"]);
			assert.doesNotMatch(JSON.stringify((await second.api("getHealth")).answer), /"cache"/);
			assert.equal((await second.endBy("SIGTERM")).code, 0);
		} finally {
			await load.end();
		}
		assert.ok(!load.outcomes.includes(502), "whoever was connected lost his connection, and got nothing false");
		assert.ok(!app.events.some(({ event }) => event === "sigterm"));
		assert.equal(app.child.exitCode, null);
	});

	for (const how of ["exception", "rejection"]) {
		test(`nobody catches an error (${how}): what is in flight is finished, the hook is answered, one fatal line, code 1`, async () => {
			await using app = await startApp(answering(() => ok()));
			const file = newFile();
			const report = newFile();
			await using agent = await startProcess(app.port, {
				log: newFile(),
				set: { ...STOP, "drain.report": report, "drain.announceMin": "5s", "drain.quietMax": "5s" },
				preload: careless(file, 20_000),
			});
			await using client = await connect(agent.port);
			client.write(HALF_UPLOAD);
			await agent.untilInfo(({ inFlight }) => inFlight === 1, "the upload");
			const hook = agent.ops("/lifecycle/drained");
			await agent.untilMetric("outrigger_drained_waiters", 1);
			writeFileSync(file, how);
			await agent.says(/^a fault that nobody caught/);
			await isLeaving(agent.port);
			client.write("2");
			const answer = await client.response("POST");
			assert.deepEqual([answer.status, field(answer, "connection")], [200, "close"]);
			const { ended } = JSON.parse((await hook).text) as Json; // an object is what the hook answers
			assert.equal(ended, "fault");
			assert.equal((await agent.exit).code, 1);
			const fatal = agent.lines().filter((line) => line["fatal"] === true);
			assert.equal(fatal.length, 1);
			assert.equal(fatal[0]?.["event"], how === "exception" ? "uncaughtException" : "unhandledRejection");
			assert.match(String(fatal[0]?.["error"]), /^Error: nobody expects this\n +at /);
			const { startedBy, finished, cut } = jsonIn(report);
			assert.deepEqual([startedBy, cut], ["fault", 0]);
			assert.ok(Number(finished) >= 1, "the upload, and perhaps one of those that asked whether we leave");
		});
	}

	test("nobody catches an error, and an exchange does not end: it has no more than a second, then it is cut; code 1 all the same", async () => {
		await using app = await startApp(answering(() => ok()));
		const file = newFile();
		const report = newFile();
		await using agent = await startProcess(app.port, {
			set: { ...STOP, "drain.report": report },
			preload: careless(file),
		});
		await using client = await connect(agent.port);
		client.write(HALF_UPLOAD);
		await agent.untilInfo(({ inFlight }) => inFlight === 1, "the upload");
		writeFileSync(file, "exception");
		assert.equal((await agent.exit).code, 1);
		await client.closed();
		assert.equal(client.error, "ECONNRESET", "a client must not take it for an answer");
		const { startedBy, cut } = jsonIn(report);
		assert.deepEqual([startedBy, cut], ["fault", 1]);
	});

	test("nobody catches an error in the middle of a drain: that goes on to its own end, as the pod's hooks expect; code 1", async () => {
		await using app = await startApp(answering(() => ok()));
		const file = newFile();
		const report = newFile();
		await using agent = await startProcess(app.port, {
			log: newFile(),
			set: { ...STOP, "drain.report": report },
			preload: careless(file),
		});
		await using client = await connect(agent.port);
		client.write(HALF_UPLOAD);
		await agent.untilInfo(({ inFlight }) => inFlight === 1, "the upload");
		const hook = agent.ops("/lifecycle/drained");
		await outrigger("drain", "--url", agent.url);
		await agent.waitsFor("1 exchange in flight");
		writeFileSync(file, "exception");
		await agent.says(/^a fault that nobody caught/);
		client.write("2");
		assert.equal((await client.response("POST")).status, 200);
		const { ended } = JSON.parse((await hook).text) as Json; // an object is what the hook answers
		assert.equal(ended, "idle");
		assert.equal((await agent.exit).code, 1);
		const { startedBy, finished, cut } = jsonIn(report);
		assert.deepEqual([startedBy, finished, cut], ["command", 1, 0]);
	});

	test("an observer that throws is counted, and nobody else notices: neither clients, nor the other observers, nor the drain", async () => {
		await using app = await startApp(answering(() => ok()));
		const report = newFile();
		await using agent = await startProcess(app.port, {
			log: newFile(),
			set: { ...STOP, "drain.report": report },
			preload: BROKEN_OBSERVER,
		});
		await using client = await connect(agent.port);
		for (let i = 0; i < 3; i++) {
			client.write(GET);
			assert.equal((await client.response()).status, 200);
		}
		await agent.untilMetric("outrigger_observer_faults_total", 3, 'observer="access_line"');
		const { exchanges } = (await agent.api("listExchanges")).answer;
		assert.equal((exchanges as readonly unknown[]).length, 3); // a list is what the API promises
		assert.equal(await agent.metric("http_server_request_duration_seconds_count"), 3);
		client.write(HALF_UPLOAD);
		await agent.untilInfo(({ inFlight }) => inFlight === 1, "the upload");
		await outrigger("drain", "--url", agent.url);
		client.write("2");
		assert.equal((await client.response("POST")).status, 200);
		assert.equal((await agent.endBy("SIGTERM")).code, 0);
		assert.equal(jsonIn(report)["finished"], 1);
		assert.equal(agent.lines().filter(({ msg }) => msg === "an observer failed").length, 1, "said once");
	});

	test("a data thread that dies during a drain takes what it had with it; the next one serves, knows that we leave, and the drain ends; code 3", async () => {
		await using app = await startApp(answering(() => ok()));
		const file = newFile();
		const report = newFile();
		await using agent = await startProcess(app.port, {
			log: newFile(),
			set: { ...STOP, "drain.report": report },
			preload: mortalThreads(file),
		});
		await using client = await connect(agent.port);
		client.write(HALF_UPLOAD);
		await agent.untilInfo(({ inFlight }) => inFlight === 1, "the upload");
		const { id } = (await agent.api("holdLease", { name: "import", ttl: "60s" })).answer;
		const hook = agent.ops("/lifecycle/drained");
		await outrigger("drain", "--url", agent.url);
		await agent.waitsFor("1 exchange in flight", "1 lease");
		writeFileSync(file, "");
		await client.rest();
		await agent.waitsFor("1 lease");
		const died = await agent.says(/^a data thread died and is replaced$/);
		assert.deepEqual([died["connections_lost"], died["exchanges_lost"]], [1, 1]);
		const isThere = async (): Promise<boolean> => {
			try {
				await using late = await connect(agent.port);
				late.write(GET);
				const answer = await late.response();
				assert.equal(field(answer, "connection"), "close");
				return answer.status === 200;
			} catch {
				return false; // not yet
			}
		};
		while (!(await isThere())) await new Promise((resolve) => setTimeout(resolve, 10));
		await agent.api("releaseLease", { id });
		const { ended } = JSON.parse((await hook).text) as Json; // an object is what the hook answers
		assert.equal(ended, "idle");
		assert.equal((await agent.endBy("SIGTERM")).code, 3);
		const { served, cut, lost, left } = jsonIn(report);
		assert.deepEqual([served, cut, lost, left], [1, 0, 1, 0]);
	});
});
