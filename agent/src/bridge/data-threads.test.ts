import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { settingsFrom } from "../config/layers.ts";
import { Deadline } from "../foundation/deadline.ts";
import { type Logger, silentLogger } from "../foundation/logger.ts";
import { ManualScheduler } from "../foundation/scheduler.ts";
import type { DataMessage } from "./commands.ts";
import { CELL, CounterReader, Counters } from "./counters.ts";
import { DataThreads } from "./data-threads.ts";
import { SeriesUnion } from "./series-table.ts";

interface Given {
	readonly how?: "well" | "no-port" | "silent" | "gone";
	readonly workers?: number;
	readonly set?: Readonly<Record<string, string>>;
	readonly beforeListen?: () => Promise<void>;
}

/** Threads that do what the fixture says, with time that the test moves. */
class Run implements AsyncDisposable {
	readonly scheduler = new ManualScheduler();
	readonly counters = new CounterReader();
	readonly errors: string[] = [];
	/** What the threads have said, as `0 state ready`. */
	readonly said: string[] = [];
	readonly rings: number[] = [];
	readonly threads: DataThreads;
	readonly #memories = new Map<number, SharedArrayBuffer>();

	constructor({ how = "well", workers = 1, set = {}, beforeListen = () => Promise.resolve() }: Given = {}) {
		// Several workers on a port of the system's choice are refused by the configuration; here nothing is bound.
		const settings = {
			...settingsFrom({ "inbound.0.listen": "127.0.0.1:0", "service.name": how, ...set }),
			workers,
		};
		const addThread = this.counters.addThread.bind(this.counters);
		this.counters.addThread = (thread, shared) => {
			this.#memories.set(thread, shared);
			addThread(thread, shared);
		};
		const log: Logger = {
			...silentLogger,
			error: (message, fields) => {
				this.errors.push(`${message} (${fields?.["thread"]})`);
			},
		};
		this.threads = new DataThreads({
			settings,
			entry: new URL("./data-threads-worker.fixture.ts", import.meta.url),
			clock: this.scheduler.clock,
			scheduler: this.scheduler,
			log,
			counters: this.counters,
			series: new SeriesUnion(settings.routes.seriesMax, settings.metrics.bodySizes),
			addRing: (thread) => this.rings.push(thread),
			onMessage: (message: DataMessage) => {
				if (message.kind === "log") this.said.push(`${message.fields["thread"]} ${message.message}`);
			},
			beforeListen,
		});
	}

	/** The counters of a thread, as it writes them. */
	cells(thread: number): Counters {
		const shared = this.#memories.get(thread);
		assert.ok(shared !== undefined);
		return new Counters(shared);
	}

	/** Resolves when `condition` holds; looked at in every turn of the event loop. */
	async until(condition: () => boolean): Promise<void> {
		while (!condition()) await new Promise<void>((resolve) => setImmediate(resolve));
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.threads.stop();
	}
}

describe("data threads that start", () => {
	test("all bind the port that the system gave the first", async () => {
		await using run = new Run({
			workers: 3,
			set: { "inbound.1.listen": "127.0.0.1:5555", "inbound.1.app": "127.0.0.1:3001" },
		});
		await run.threads.start();
		assert.deepEqual(run.threads.ports, [4711, 5555]);
		assert.deepEqual(run.rings.toSorted(), [0, 1, 2]);
		assert.equal(run.threads.stalled(), 0);
		assert.equal(run.scheduler.pending, 0, "nothing is waited for any more");
	});

	test("know all that was told before, before they accept; the last word of each kind counts", async () => {
		const told = Promise.withResolvers<void>();
		await using run = new Run({ beforeListen: () => told.promise });
		run.threads.tell({ kind: "state", state: "starting" });
		const started = run.threads.start();
		run.threads.tell({ kind: "state", state: "ready" });
		const source = { ipv4: undefined, ipv6: undefined };
		run.threads.tell({ kind: "app", inbound: 0, addresses: [{ kind: "tcp", host: "127.0.0.1", port: 3000 }], source });
		told.resolve();
		await started;
		// What is told while a thread starts may reach it twice; the last word is the same.
		assert.equal(
			run.said.findLast((said) => said.startsWith("0 state")),
			"0 state ready",
		);
		assert.ok(run.said.includes("0 app 0"));
		assert.ok(!run.said.includes("0 state starting"));
	});

	test("reject with what the thread says when it cannot bind", async () => {
		await using run = new Run({ how: "no-port" });
		await assert.rejects(run.threads.start(), { message: "the port is taken", stack: /at there/ });
		assert.deepEqual(run.errors, [], "who waits is told, and logs it");
	});

	test("reject when the thread ends before it has bound, and it is not started in a circle", async () => {
		await using run = new Run({ how: "gone" });
		await assert.rejects(run.threads.start(), /the data thread ended with code 3/);
		assert.deepEqual([run.threads.replaced, run.scheduler.pending], [0, 0]);
	});

	test("reject when nothing is heard of it in time", async () => {
		await using run = new Run({ how: "silent" });
		const started = assert.rejects(run.threads.start(), /has not bound its ports within 10000 ms/);
		run.scheduler.advance(10_000);
		await started;
		await run.threads.cut(Deadline.after(run.scheduler.clock, 1_000)); // which a silent thread does not answer
	});

	test("reject when what must come before cannot be found", async () => {
		await using run = new Run({ beforeListen: () => Promise.reject(new Error("no source address")) });
		await assert.rejects(run.threads.start(), /no source address/);
	});

	test("are none where there is nothing to listen on", async () => {
		await using run = new Run();
		const without = new DataThreads({
			...({} as ConstructorParameters<typeof DataThreads>[0]), // no part is used
			settings: { ...settingsFrom(), inbound: [] },
		});
		await without.start();
		assert.deepEqual(without.ports, []);
		await without.stop();
		assert.deepEqual(run.rings, []);
	});
});

describe("a data thread that dies", () => {
	for (const [how, kill] of [
		["throws", (run: Run) => run.threads.tell({ kind: "closeIdle", idleMs: 0 })],
		[
			"cannot go on",
			(run: Run) =>
				run.threads.tell({
					kind: "app",
					inbound: 7,
					addresses: [{ kind: "tcp", host: "127.0.0.1", port: 1 }],
					source: { ipv4: undefined, ipv6: undefined },
				}),
		],
	] as const) {
		test(`because it ${how} is told of and replaced by one that binds the same port and knows the same`, async () => {
			await using run = new Run();
			await run.threads.start();
			run.threads.tell({ kind: "state", state: "ready" });
			await run.until(() => run.said.includes("0 state ready"));
			if (how === "throws") run.cells(0).set(CELL.IN_FLIGHT, 3);
			kill(run);
			await run.until(() => run.errors.length > 0);
			assert.deepEqual(run.errors, ["a data thread died and is replaced (0)"]);
			assert.deepEqual([run.threads.replaced, run.threads.stalled()], [1, 0], "it has its time to be replaced");
			assert.deepEqual([run.threads.isReplacing, run.threads.exchangesLost], [true, how === "throws" ? 3 : 0]);
			assert.equal(run.counters.sum(CELL.DOWNSTREAM_OPEN), 0, "what it held is gone");
			if (how === "cannot go on") return; // its replacement would be told the same
			run.said.length = 0;
			run.scheduler.advance(100);
			await run.until(() => run.said.includes("0 state ready") && !run.threads.isReplacing);
			assert.deepEqual(run.threads.ports, [4711]);
			assert.deepEqual(run.rings, [0, 0]);
		});
	}

	test("again and again is in the end not replaced, so that liveness fails", async () => {
		await using run = new Run();
		await run.threads.start();
		for (let death = 1; death <= 11; death++) {
			run.threads.tell({ kind: "closeIdle", idleMs: 0 });
			await run.until(() => run.threads.replaced === death && run.errors.length >= death);
			if (death === 11) break;
			run.scheduler.advance(100);
			await run.until(() => !run.threads.isReplacing);
		}
		assert.equal(run.errors.at(-1), "data threads die too often; this one is not replaced (0)");
		run.scheduler.advance(60_000);
		assert.equal(run.threads.stalled(), 1);
	});

	test("while the others are being stopped is not replaced", async () => {
		await using run = new Run();
		await run.threads.start();
		run.threads.tell({ kind: "closeIdle", idleMs: 0 });
		await run.until(() => run.errors.length > 0);
		await run.threads.stop();
		run.scheduler.advance(100);
		assert.deepEqual(run.rings, [0]);
	});
});

test("a thread whose heart has stopped is stalled, by the monotonic clock: a wall clock that jumps changes nothing", async () => {
	await using run = new Run();
	await run.threads.start();
	const beat = (): void => run.cells(0).add(CELL.BEATS, 1);
	assert.equal(run.threads.stalled(), 0);
	beat();
	assert.equal(run.threads.stalled(), 0);
	run.scheduler.clock.skew(3_600_000);
	assert.equal(run.threads.stalled(), 0);
	run.scheduler.clock.skew(-7_200_000);
	run.scheduler.advance(5_000);
	assert.equal(run.threads.stalled(), 0);
	run.scheduler.advance(1);
	assert.equal(run.threads.stalled(), 1);
	beat();
	assert.equal(run.threads.stalled(), 0);
});

test("to cut tells every thread once, and is over when each has said that it has", async () => {
	await using run = new Run({ workers: 2 });
	await run.threads.start();
	const deadline = Deadline.after(run.scheduler.clock, 1_000);
	await Promise.all([run.threads.cut(deadline), run.threads.cut(deadline)]);
	await run.until(() => run.said.filter((text) => text.endsWith("stopped")).length === 2);
	await run.threads.stop();
	await run.threads.stop();
});
