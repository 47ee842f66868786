import assert from "node:assert/strict";
import { test } from "node:test";
import type { CheckSettings } from "../config/settings.ts";
import { silentLogger } from "../foundation/logger.ts";
import { ManualScheduler } from "../foundation/scheduler.ts";
import { Checks } from "./checks.ts";
import { HealthTree } from "./health-tree.ts";
import { Liar } from "./liar.fixture.ts";
import { NameLookups } from "./name-lookup.ts";

function fixture(settings: readonly Partial<CheckSettings>[]) {
	const scheduler = new ManualScheduler();
	const { clock } = scheduler;
	const tree = new HealthTree({ reportsMax: 8, clock, scheduler, log: silentLogger });
	const whole = settings.map((each, index) => ({
		name: `check-${index}`,
		url: "tcp://127.0.0.1:1",
		intervalMs: 5_000,
		timeoutMs: 1_000,
		fall: 2,
		rise: 2,
		critical: false,
		...each,
	}));
	const parts = { tree, clock, scheduler, random: () => 0.5, lookups: new NameLookups(), userAgent: "outrigger/test" };
	const checks = new Checks(whole, parts);
	const waiting: (() => void)[] = [];
	let version = tree.version;
	tree.subscribe(() => {
		for (const resolve of waiting.splice(0)) resolve();
	});
	return {
		tree,
		checks,
		scheduler,
		/** Moves the time and waits until the tree has changed since the last time. */
		async step(ms: number): Promise<void> {
			scheduler.advance(ms);
			while (tree.version === version) await new Promise<void>((resolve) => waiting.push(resolve));
			version = tree.version;
		},
		words: () => Object.fromEntries([...tree.contributors()].map(({ node }) => [node.name, node.status])),
	};
}

const ok = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const down = "HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n";

test("a page, a port and a gRPC service are checks, asked from the start, and none has a connection left behind", async (t) => {
	const page = await Liar.start(t, (socket) => socket.end(ok));
	const port = await Liar.start(t, () => {}, "connected");
	const grpc = await Liar.start(t, (socket) => socket.end(ok));
	const { tree, checks, scheduler, words, step } = fixture([
		{ name: "page", url: `http://127.0.0.1:${page.address.port}/ready?full=1` },
		{ name: "port", url: `tcp://localhost:${port.address.port}` },
		{ name: "grpc", url: `grpc://127.0.0.1:${grpc.address.port}/shop.Orders`, critical: true },
	]);
	assert.deepEqual(words(), { page: "unknown", port: "unknown", grpc: "unknown" });
	assert.deepEqual(tree.readiness(), { isReady: false, why: "check_unknown", contributor: "checks/grpc" });
	await checks.start();
	await step(0);
	while (Object.values(words()).includes("unknown")) await step(0);
	assert.deepEqual(words(), { page: "pass", port: "pass", grpc: "fail" });
	assert.deepEqual(tree.readiness(), { isReady: false, why: "check_fails", contributor: "checks/grpc" });
	assert.deepEqual(tree.liveness(), { isLive: true });
	assert.match(page.heard[0] ?? "", /^GET \/ready\?full=1 HTTP/);
	await Promise.all([page.closed(1), port.closed(1), grpc.closed(1)]);
	await checks.stop();
	await checks.stop();
	assert.equal(scheduler.pending, 0);
});

test("a dependency that flaps falls and rises by its counts, asked at its own interval also while it is down", async (t) => {
	const script = [ok, down, ok, down, down, ok, ok];
	const page = await Liar.start(t, (socket, number) => socket.end(script[number] ?? ok));
	const { checks, tree, scheduler, words } = fixture([{ name: "db", url: `http://127.0.0.1:${page.address.port}/` }]);
	const seen: (string | undefined)[] = [];
	await checks.start();
	for (let asked = 0; asked < script.length; asked += 1) {
		scheduler.advance(asked === 0 ? 0 : 5_000);
		await page.closed(asked + 1); // which the check does when it has its answer
		seen.push(words()["db"]);
	}
	assert.deepEqual(seen, ["pass", "pass", "pass", "pass", "fail", "fail", "pass"]);
	assert.equal(tree.status, "pass");
	await checks.stop();
});

test("a dependency that hangs fails at its timeout, and its connection is cut", async (t) => {
	const page = await Liar.start(t, () => {});
	const { checks, words, step, scheduler, tree } = fixture([
		{ name: "db", url: `http://127.0.0.1:${page.address.port}/` },
	]);
	await checks.start();
	scheduler.advance(0);
	await page.asked(1);
	assert.deepEqual(words(), { db: "unknown" });
	await step(1_000);
	assert.deepEqual(words(), { db: "fail" });
	assert.equal([...tree.contributors()][0]?.node.detail, "no answer within 1000 ms");
	await page.closed(1);
	await checks.stop();
	assert.equal(scheduler.pending, 0);
});
