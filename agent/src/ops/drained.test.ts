import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { systemClock } from "../foundation/clock.ts";
import { type LogFields, silentLogger } from "../foundation/logger.ts";
import { ManualScheduler, systemScheduler } from "../foundation/scheduler.ts";
import { DrainedRoute, LAST_LOOK_MS, OVERDUE_MS } from "./drained.ts";
import { ask, countersOf, RawClient, startServer } from "./server.fixture.ts";
import type { OpsRoute } from "./server.ts";

const START_WITHIN_MS = 5_000;
const DRAIN_MS = 18_000;

async function fixture(t: TestContext) {
	const scheduler = new ManualScheduler();
	const { clock } = scheduler;
	const over = Promise.withResolvers<{ readonly ended: string }>();
	const listeners = new Set<() => void>();
	const said: { readonly level: string; readonly message: string; readonly fields: LogFields | undefined }[] = [];
	const log = {
		debug: (message: string, fields?: LogFields) => said.push({ level: "debug", message, fields }),
		info: (message: string, fields?: LogFields) => said.push({ level: "info", message, fields }),
		warn: (message: string, fields?: LogFields) => said.push({ level: "warn", message, fields }),
		error: (message: string, fields?: LogFields) => said.push({ level: "error", message, fields }),
	};
	let deadlineMs = Number.POSITIVE_INFINITY;
	let restarts = 0;
	const route = new DrainedRoute({
		whenBegun: (listener) => {
			listeners.add(listener);
			return () => listeners.delete(listener);
		},
		over: over.promise,
		remainingMs: () => Math.max(0, deadlineMs - clock.monotonicMs()),
		startWithinMs: START_WITHIN_MS,
		onRestart: () => {
			restarts += 1;
		},
		clock,
		scheduler,
		log,
	});
	const { port, server } = await startServer(t, { routes: [route], clock });
	const waiting = (): number => countersOf(route)["outrigger_drained_waiters"] ?? -1;
	/** Until so many wait: what is on its way through a socket comes when it comes. */
	const untilWaiting = async (count: number): Promise<void> => {
		while (waiting() !== count) await new Promise((resolve) => setImmediate(resolve));
	};
	return {
		route,
		server,
		port,
		scheduler,
		said,
		untilWaiting,
		restarts: () => restarts,
		listeners: () => listeners.size,
		/** A hook as the kubelet sends it; resolves with the answer's JSON once there is one. */
		hook: async (): Promise<unknown> => {
			const { status, headers, body } = await ask(port, "/lifecycle/drained", { "user-agent": "kube-lifecycle/1.36" });
			assert.equal(status, 200);
			assert.equal(headers["content-type"], "application/json");
			assert.equal(headers["cache-control"], "no-store");
			return JSON.parse(String(body));
		},
		setDeadline: (ms: number) => {
			deadlineMs = clock.monotonicMs() + ms;
		},
		begin: () => {
			deadlineMs = clock.monotonicMs() + DRAIN_MS;
			for (const listener of [...listeners]) listener();
		},
		end: async (ended: string): Promise<void> => {
			over.resolve({ ended });
			await over.promise;
		},
	};
}

test("several hooks wait until the drain is over, and whoever comes later is answered at once with the same", async (t) => {
	const { hook, untilWaiting, scheduler, begin, end, route, restarts } = await fixture(t);
	const early = [hook(), hook()];
	await untilWaiting(2);
	scheduler.advance(2_000);
	begin();
	begin(); // harmless: there is one drain
	const late = hook();
	await untilWaiting(3);
	scheduler.advance(DRAIN_MS - 1);
	await untilWaiting(3);
	await end("idle");
	const answer = { outcome: "drained", ended: "idle" };
	for (const one of early) assert.deepEqual(await one, { ...answer, waitedMs: 2_000 + DRAIN_MS - 1 });
	assert.deepEqual(await late, { ...answer, waitedMs: DRAIN_MS - 1 });
	assert.deepEqual(await hook(), { ...answer, waitedMs: 0 });
	assert.equal(scheduler.pending, 0);
	assert.equal(restarts(), 0);
	assert.deepEqual(countersOf(route), {
		outrigger_drained_waiters: 0,
		drained: 4,
		restarting: 0,
		stopping: 0,
		overdue: 0,
	});
});

test("HEAD waits as GET does and gets no body; a query changes nothing; POST is refused", async (t) => {
	const { port, untilWaiting, begin, end } = await fixture(t);
	begin();
	const head = ask(port, "/lifecycle/drained?x=1", {}, "HEAD");
	await untilWaiting(1);
	await end("deadline");
	const { status, headers, body } = await head;
	assert.equal(status, 200);
	assert.ok(Number(headers["content-length"]) > 0);
	assert.equal(body.length, 0);
	assert.equal((await ask(port, "/lifecycle/drained", {}, "POST")).status, 405);
});

test("a drain that begins in the 4.99th second is waited for", async (t) => {
	const { hook, untilWaiting, scheduler, begin, end, restarts } = await fixture(t);
	const answer = hook();
	await untilWaiting(1);
	scheduler.advance(START_WITHIN_MS - 10);
	begin();
	assert.equal(scheduler.pending, 1, "only the end is waited for");
	scheduler.advance(10_000);
	await end("idle");
	assert.deepEqual(await answer, { outcome: "drained", ended: "idle", waitedMs: START_WITHIN_MS - 10 + 10_000 });
	assert.equal(restarts(), 0);
});

test("a process that stood still reads what begins the drain before it says that none began", async (t) => {
	const { promise: over, resolve } = Promise.withResolvers<{ readonly ended: string }>();
	let begin: () => void = () => {};
	const startWithinMs = 500;
	const route = new DrainedRoute({
		whenBegun: (listener) => {
			begin = listener;
			return () => {};
		},
		over,
		remainingMs: () => DRAIN_MS,
		startWithinMs,
		onRestart: () => assert.fail("the drain has begun"),
		clock: systemClock,
		scheduler: systemScheduler,
		log: silentLogger,
	});
	const beginning: OpsRoute = {
		path: "/begin",
		waits: false,
		handle: (_, response) => {
			begin();
			response.end("begun");
		},
	};
	const { port } = await startServer(t, { routes: [route, beginning] });
	const other = new RawClient(t, port);
	other.ask("/livez");
	await other.until("ok\n"); // its connection is there; only a request has to be read
	const hook = ask(port, "/lifecycle/drained");
	while (countersOf(route)["outrigger_drained_waiters"] !== 1) await new Promise((turn) => setImmediate(turn));
	other.ask("/begin");
	// Until the hook's timer is late. Timers that are late run before any socket is read.
	const untilMs = systemClock.monotonicMs() + startWithinMs + 10;
	while (systemClock.monotonicMs() < untilMs);
	await other.until("begun");
	resolve({ ended: "idle" });
	assert.match(String((await hook).body), /"outcome":"drained"/);
});

test("a drain that begins in the last look is waited for", async (t) => {
	const { hook, untilWaiting, scheduler, begin, end, restarts } = await fixture(t);
	const answer = hook();
	await untilWaiting(1);
	scheduler.advance(START_WITHIN_MS + LAST_LOOK_MS - 1);
	begin();
	scheduler.advance(LAST_LOOK_MS);
	await end("idle");
	assert.deepEqual(await answer, {
		outcome: "drained",
		ended: "idle",
		waitedMs: START_WITHIN_MS + 2 * LAST_LOOK_MS - 1,
	});
	assert.equal(restarts(), 0);
});

test("without a drain each hook is answered when its own time is over, after the restart has been told", async (t) => {
	const { hook, untilWaiting, scheduler, restarts, route } = await fixture(t);
	const first = hook();
	await untilWaiting(1);
	scheduler.advance(1_000);
	const second = hook();
	await untilWaiting(2);
	scheduler.advance(START_WITHIN_MS - 1_000 + LAST_LOOK_MS - 1);
	assert.equal(restarts(), 0);
	scheduler.advance(1);
	assert.equal(restarts(), 1);
	assert.deepEqual(await first, { outcome: "restarting", waitedMs: START_WITHIN_MS + LAST_LOOK_MS });
	await untilWaiting(1);
	scheduler.advance(1_000);
	assert.deepEqual(await second, { outcome: "restarting", waitedMs: START_WITHIN_MS + LAST_LOOK_MS });
	assert.equal(restarts(), 2);
	assert.equal(scheduler.pending, 0);
	assert.equal(countersOf(route)["restarting"], 2);
});

test("that a hook is answered without a drain is said once in 15 s at most: anybody may ask for it", async (t) => {
	const { hook, untilWaiting, scheduler, said, begin, end } = await fixture(t);
	const answered = async (): Promise<void> => {
		const answer = hook();
		await untilWaiting(1);
		scheduler.advance(START_WITHIN_MS + LAST_LOOK_MS);
		await answer;
	};
	for (let hooks = 0; hooks < 7; hooks += 1) await answered(); // one in 5.1 s
	const lines = (): readonly unknown[] =>
		said.filter(({ message }) => message === "a stop hook is answered").map(({ level }) => level);
	assert.deepEqual(lines(), ["info", "debug", "debug", "info", "debug", "debug", "info"]);
	const waits = hook();
	await untilWaiting(1);
	begin();
	await end("idle");
	await waits;
	assert.equal(lines().at(-1), "info", "the end of a drain is always said");
});

test("a drain that begins soon after a hook was answered without one is told, with what to change", async (t) => {
	const { hook, untilWaiting, scheduler, begin, said } = await fixture(t);
	const answer = hook();
	await untilWaiting(1);
	scheduler.advance(START_WITHIN_MS + LAST_LOOK_MS);
	await answer;
	scheduler.advance(800);
	begin();
	const warnings = said.filter(({ level }) => level === "warn");
	assert.match(warnings[0]?.message ?? "", /drain\.startWithin/);
	assert.deepEqual(warnings[0]?.fields, { late_ms: 800 });
});

test("a drain that begins long after a restart of the app's container is another matter", async (t) => {
	const { hook, untilWaiting, scheduler, begin, said } = await fixture(t);
	const answer = hook();
	await untilWaiting(1);
	scheduler.advance(START_WITHIN_MS + LAST_LOOK_MS);
	await answer;
	scheduler.advance(60_000);
	begin();
	assert.deepEqual(
		said.filter(({ level }) => level === "warn"),
		[],
	);
});

test("callers that go away are forgotten: nothing is counted, no restart is told, no timer is left", async (t) => {
	const { port, untilWaiting, scheduler, restarts, route, said, begin, end } = await fixture(t);
	const clients = [new RawClient(t, port), new RawClient(t, port), new RawClient(t, port)] as const;
	for (const client of clients) client.ask("/lifecycle/drained");
	await untilWaiting(3);
	clients[0].socket.destroy();
	clients[1].socket.end(); // who sends no more takes no answer either
	await untilWaiting(1);
	scheduler.advance(START_WITHIN_MS);
	clients[2].socket.resetAndDestroy(); // while the last look is under way
	await untilWaiting(0);
	assert.equal(scheduler.pending, 0);
	scheduler.advance(60_000);
	assert.equal(restarts(), 0);
	begin();
	await end("idle");
	assert.deepEqual(countersOf(route), {
		outrigger_drained_waiters: 0,
		drained: 0,
		restarting: 0,
		stopping: 0,
		overdue: 0,
	});
	const messages = said.filter(({ level }) => level === "debug").map(({ message }) => message);
	assert.equal(messages.filter((message) => message === "a stop hook went away before its answer").length, 3);
});

test("an agent that stops without a drain answers who waits and who comes", async (t) => {
	const { hook, untilWaiting, scheduler, end, restarts } = await fixture(t);
	const waiting = hook();
	await untilWaiting(1);
	scheduler.advance(300);
	await end("sigterm");
	assert.deepEqual(await waiting, { outcome: "stopping", waitedMs: 300 });
	assert.deepEqual(await hook(), { outcome: "stopping", waitedMs: 0 });
	assert.equal(scheduler.pending, 0);
	assert.equal(restarts(), 0);
});

test("the server's stop answers everybody before it closes the connections, in the middle of a drain too", async (t) => {
	const { hook, untilWaiting, scheduler, begin, end, server, route, listeners, port } = await fixture(t);
	const hooks = [hook(), hook(), hook()];
	await untilWaiting(3);
	begin();
	const raw = new RawClient(t, port);
	raw.ask("/lifecycle/drained");
	await untilWaiting(4);
	await server.stop();
	await server.stop();
	for (const one of hooks) assert.deepEqual(await one, { outcome: "stopping", waitedMs: 0 });
	await raw.closed;
	assert.match(raw.text, /"outcome":"stopping"/);
	assert.equal(scheduler.pending, 0);
	assert.equal(listeners(), 0);
	route.stop();
	await end("idle");
	assert.equal(countersOf(route)["stopping"], 4);
});

test("a drain that does not end by its deadline holds nobody for more than a second, and is told as our mistake", async (t) => {
	const { hook, untilWaiting, scheduler, begin, setDeadline, said, end, route } = await fixture(t);
	begin();
	const answer = hook();
	await untilWaiting(1);
	scheduler.advance(DRAIN_MS - 1_000);
	setDeadline(3_000); // it has been moved meanwhile
	scheduler.advance(1_000 + OVERDUE_MS);
	await untilWaiting(1);
	scheduler.advance(1_000 + OVERDUE_MS - 1);
	await untilWaiting(1);
	scheduler.advance(1);
	assert.deepEqual(await answer, { outcome: "overdue", waitedMs: DRAIN_MS + 2_000 + OVERDUE_MS });
	assert.equal(said.filter(({ level }) => level === "error").length, 1);
	assert.equal(scheduler.pending, 0);
	await end("idle");
	assert.deepEqual(await hook(), { outcome: "overdue", waitedMs: 0 }, "the same answer again");
	assert.equal(countersOf(route)["overdue"], 2);
});

test("who asks again and again after the end writes no line at the usual level", async (t) => {
	const { hook, begin, end, said } = await fixture(t);
	begin();
	await end("idle");
	for (let i = 0; i < 5; i++) await hook();
	assert.deepEqual(
		said.filter(({ level }) => level !== "debug"),
		[],
	);
	assert.equal(said.length, 5);
});
