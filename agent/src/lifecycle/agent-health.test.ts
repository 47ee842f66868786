import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../foundation/logger.ts";
import { ManualScheduler } from "../foundation/scheduler.ts";
import { AgentHealth } from "./agent-health.ts";
import { type HealthNode, HealthTree } from "./health-tree.ts";

const MIB = 1_048_576;

function fixture(limit: "limited" | "unlimited" = "limited") {
	const scheduler = new ManualScheduler();
	const { clock } = scheduler;
	const tree = new HealthTree({ reportsMax: 8, clock, scheduler, log: silentLogger });
	const now = {
		stalled: 0,
		dataDelays: { seconds: 0, count: 0 },
		rssBytes: (50 * MIB) as number | undefined,
		connectFailures: 7,
		appAccepts: true,
	};
	let looks = 0;
	const health = new AgentHealth({
		tree,
		clock,
		scheduler,
		stalled: () => {
			looks += 1;
			return now.stalled;
		},
		dataDelays: () => now.dataDelays,
		rssBytes: () => now.rssBytes,
		memoryLimitBytes: limit === "limited" ? 100 * MIB : undefined,
		connectFailures: () => now.connectFailures,
		appAccepts: () => now.appAccepts,
	});
	const node = (name: string): HealthNode => {
		const found = [...tree.contributors()].find(({ path }) => path === `agent/${name}`)?.node;
		assert.ok(found !== undefined);
		return found;
	};
	return { tree, health, scheduler, clock, now, node, looks: () => looks };
}

test("before the start nothing is known and the agent lives; then one look a second, and none after the stop", async () => {
	const { tree, health, scheduler, node, looks } = fixture();
	assert.deepEqual([node("data_threads").status, tree.liveness()], ["unknown", { isLive: true }]);
	await health.start();
	await health.start();
	assert.deepEqual(
		["data_threads", "event_loop", "memory", "upstream"].map((name) => node(name).status),
		["pass", "pass", "pass", "pass"],
	);
	assert.equal(node("memory").detail, "50 MiB in use of 100");
	const { version } = tree;
	scheduler.advance(10_000);
	assert.equal(looks(), 11);
	assert.equal(tree.version, version, "nothing has changed, so nothing is rendered anew");
	await health.stop();
	await health.stop();
	assert.equal(scheduler.pending, 0);
});

test("a data thread that does not turn fails liveness within a second, and is well as soon as it turns", async () => {
	const { tree, health, scheduler, now, node } = fixture();
	await health.start();
	now.stalled = 1;
	scheduler.advance(1_000);
	assert.deepEqual(tree.liveness(), {
		isLive: false,
		reason: "data_thread_stalled",
		contributor: "agent/data_threads",
	});
	assert.equal(node("data_threads").detail, "data threads that do not turn: 1");
	now.stalled = 0;
	scheduler.advance(1_000);
	assert.deepEqual(tree.liveness(), { isLive: true });
	await health.stop();
});

test("after the whole process stood still the first look says nothing about a thread, and still is one", async () => {
	const { tree, health, scheduler, clock, now, looks } = fixture();
	await health.start();
	now.stalled = 1;
	clock.advance(60_000);
	scheduler.advance(0);
	assert.equal(looks(), 2);
	assert.deepEqual(tree.liveness(), { isLive: true });
	scheduler.advance(1_000);
	assert.equal(tree.liveness().isLive, false, "the next one does");
	await health.stop();
});

test("an event loop that is late three looks in a row is a warning, and ten good ones end it; one late look is none", async () => {
	const { health, scheduler, clock, node, now } = fixture();
	await health.start();
	const look = (delayMs: number): void => {
		clock.advance(1_000 + delayMs);
		scheduler.advance(0);
	};
	look(500);
	look(101);
	look(0);
	look(101);
	look(200);
	assert.equal(node("event_loop").status, "pass");
	look(300);
	assert.deepEqual([node("event_loop").status, node("event_loop").reason], ["warn", "event_loop_late"]);
	assert.equal(node("event_loop").detail, "delay: control thread 300 ms, data threads 0 ms");
	assert.match(node("event_loop").advice ?? "", /outrigger\.dev\/cpu/);
	for (let good = 0; good < 9; good += 1) look(0);
	look(150);
	for (let good = 0; good < 9; good += 1) look(100);
	assert.equal(node("event_loop").status, "warn");
	look(0);
	assert.equal(node("event_loop").status, "pass");
	const delayed = (ms: number): void => {
		now.dataDelays = { seconds: now.dataDelays.seconds + (10 * ms) / 1_000, count: now.dataDelays.count + 10 };
		look(0);
	};
	delayed(150);
	delayed(150);
	now.dataDelays = { seconds: 0, count: 0 }; // a thread was replaced
	look(0);
	for (let late = 0; late < 3; late += 1) delayed(150);
	assert.deepEqual(
		[node("event_loop").status, node("event_loop").detail],
		["warn", "delay: control thread 0 ms, data threads 150 ms"],
	);
	assert.equal(node("event_loop").critical, false);
	await health.stop();
});

test("memory warns above 90 % of the limit and until it is below 85 %; without a limit it cannot", async () => {
	const { tree, health, scheduler, node, now } = fixture();
	await health.start();
	const at = (mebibytes: number): string => {
		now.rssBytes = mebibytes * MIB;
		scheduler.advance(1_000);
		return node("memory").status;
	};
	assert.deepEqual(
		[at(90), at(91), at(88), at(86), at(85), at(89), at(95)],
		["pass", "warn", "warn", "warn", "pass", "pass", "warn"],
	);
	assert.equal(node("memory").reason, "memory_near_limit");
	assert.match(node("memory").advice ?? "", /outrigger\.dev\/memory-limit/);
	assert.deepEqual([tree.status, tree.readiness(), tree.liveness()], ["warn", { isReady: true }, { isLive: true }]);
	await health.stop();
	const unlimited = fixture("unlimited");
	unlimited.now.rssBytes = 5_000 * MIB;
	await unlimited.health.start();
	assert.deepEqual(
		[unlimited.node("memory").status, unlimited.node("memory").detail],
		["pass", "5000 MiB in use, no limit"],
	);
	await unlimited.health.stop();
});

test("memory that cannot be read just now is what it was", async () => {
	const { health, scheduler, node, now } = fixture();
	now.rssBytes = 95 * MIB;
	await health.start();
	now.rssBytes = undefined;
	scheduler.advance(5_000);
	assert.deepEqual([node("memory").status, node("memory").detail], ["warn", "95 MiB in use of 100"]);
	await health.stop();
});

test("connections to the app that fail although its port accepts are a warning for ten looks; else they are no surprise", async () => {
	const { health, scheduler, node, now } = fixture();
	await health.start();
	assert.equal(node("upstream").status, "pass", "what failed before the start is over");
	now.appAccepts = false;
	now.connectFailures += 5;
	scheduler.advance(1_000);
	assert.equal(node("upstream").status, "pass");
	now.appAccepts = true;
	scheduler.advance(1_000);
	assert.equal(node("upstream").status, "pass");
	now.connectFailures += 1;
	scheduler.advance(1_000);
	assert.deepEqual([node("upstream").status, node("upstream").reason], ["warn", "app_connect_fails"]);
	scheduler.advance(9_000);
	assert.equal(node("upstream").status, "warn");
	scheduler.advance(1_000);
	assert.equal(node("upstream").status, "pass");
	await health.stop();
});
