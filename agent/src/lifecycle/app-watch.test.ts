import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { describe, test } from "node:test";
import { settingsFrom } from "../config/layers.ts";
import type { Address } from "../config/settings.ts";
import { Deadline } from "../foundation/deadline.ts";
import { silentLogger } from "../foundation/logger.ts";
import { ManualScheduler } from "../foundation/scheduler.ts";
import { AppWatch } from "./app-watch.ts";
import { HealthTree } from "./health-tree.ts";
import { NameLookups } from "./name-lookup.ts";
import { LifecycleState } from "./state.ts";

const APP: Address = { kind: "tcp", host: "127.0.0.1", port: 3000 };
const REFUSED = Object.assign(new Error("refused"), { code: "ECONNREFUSED" });
const TIMED_OUT = Object.assign(new Error("late"), { code: "ETIMEDOUT" });

/** An app of which the test says whether its port accepts; nothing is asked but the port. */
class World {
	readonly scheduler = new ManualScheduler();
	readonly clock = this.scheduler.clock;
	readonly state = new LifecycleState(this.clock, silentLogger);
	readonly tree = new HealthTree({
		reportsMax: 8,
		clock: this.clock,
		scheduler: this.scheduler,
		log: silentLogger,
	});
	readonly moves: string[] = [];
	readonly addresses: number[] = [];
	gone = 0;
	readies = 0;
	asked = 0;
	/** What a try to connect meets; `undefined`: it succeeds. */
	error: Error | undefined = REFUSED;
	readonly watch: AppWatch;

	constructor(apps: readonly (Address | undefined)[] = [APP], http = "none") {
		const { app } = settingsFrom({
			"health.app.fall": "3",
			"health.app.interval": "5s",
			"health.app.http": http,
		}).health;
		this.state.subscribe(({ from, to, reason }) => this.moves.push(`${from} → ${to}: ${reason}`));
		this.watch = new AppWatch({
			apps: apps.map((each, index) => ({ name: `app-${index}`, app: each, protocol: "http1" as const })),
			health: app,
			appStopMs: 10_000,
			state: this.state,
			tree: this.tree,
			lookups: new NameLookups(),
			userAgent: "outrigger/0",
			ownAddresses: () => [],
			tryConnect: async () => {
				this.asked += 1;
				if (this.error !== undefined) throw this.error;
			},
			onAddress: (index) => this.addresses.push(index),
			onReady: () => {
				this.readies += 1;
			},
			onGone: () => {
				this.gone += 1;
			},
			clock: this.clock,
			scheduler: this.scheduler,
			random: () => 0.5,
			log: silentLogger,
		});
	}

	/** Lets time pass in steps, and what waits for a connection go on in between. */
	async pass(ms: number): Promise<void> {
		for (let passed = 0; passed < ms; passed += 100) {
			this.scheduler.advance(Math.min(100, ms - passed));
			for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
		}
	}

	leave(): void {
		this.state.set({ at: "announcing", deadline: Deadline.after(this.clock, 1_000) }, "command");
	}
}

describe("readiness", () => {
	test("follows the port: one refusal before it was ready, several in a row afterwards", async () => {
		const world = new World();
		await world.watch.start();
		assert.equal(world.state.at, "starting");
		await world.pass(200);
		world.error = undefined;
		await world.pass(400);
		assert.deepEqual([world.readies, world.watch.accepts, world.watch.why], [1, true, undefined]);
		world.error = REFUSED;
		await world.pass(10_000);
		assert.deepEqual(world.moves, [
			"starting → unready: app_refuses",
			"unready → ready: app_passes",
			"ready → unready: app_refuses",
		]);
		assert.equal(world.watch.why, "app_refuses");
		await world.watch.stop();
		assert.equal(world.scheduler.pending, 0);
	});

	test("waits for every port", async () => {
		const world = new World([APP, undefined]);
		world.error = undefined;
		await world.watch.start();
		await world.pass(500);
		assert.equal(world.state.at, "starting", "the second is not known yet");
		world.watch.setApp(1, { ...APP, port: 3001 });
		await world.pass(300);
		assert.equal(world.state.at, "ready");
		assert.deepEqual([...new Set(world.addresses)], [0, 1]);
		await world.watch.stop();
	});

	test("an app that is looked for at another place is not ready until it is found there", async () => {
		const world = new World();
		world.error = undefined;
		await world.watch.start();
		await world.pass(200);
		world.error = REFUSED;
		world.watch.setApp(0, { ...APP, port: 3001 });
		assert.equal(world.state.at, "unready");
		world.error = undefined;
		await world.pass(500);
		assert.equal(world.state.at, "ready");
		await world.watch.stop();
	});

	test("an app that says it wants no traffic gets none, until it says so or its port has refused", async () => {
		const world = new World();
		world.error = undefined;
		await world.watch.start();
		await world.pass(200);
		world.watch.say(false);
		assert.equal(world.watch.why, "app_says");
		world.watch.say(true);
		assert.equal(world.state.at, "ready");
		world.watch.say(false);
		world.error = REFUSED;
		await world.pass(10_000);
		assert.equal(world.watch.why, "app_refuses");
		world.error = undefined;
		await world.pass(1_000);
		assert.equal(world.state.at, "ready", "who starts anew has said nothing yet");
		await world.watch.stop();
	});

	test("an app that said it wants no traffic, crashes and is soon back has said nothing, and is not ready in between", async () => {
		const world = new World();
		world.error = undefined;
		await world.watch.start();
		await world.pass(200);
		world.watch.say(false);
		world.watch.say(false);
		world.error = REFUSED;
		await world.pass(300);
		assert.equal(world.watch.why, "app_says", "nobody listens");
		world.error = undefined;
		await world.pass(400);
		assert.deepEqual(world.moves, [
			"starting → ready: app_passes",
			"ready → unready: app_says",
			"unready → ready: app_passes",
		]);
		world.asked = 0;
		await world.pass(4_900);
		assert.ok(world.asked <= 1, "no longer watched closely");
		await world.watch.stop();
		assert.equal(world.scheduler.pending, 0);
	});

	test("what an app says before it listens holds, and a check that is late is no crash", async () => {
		const world = new World();
		world.watch.say(false);
		await world.watch.start();
		await world.pass(1_300);
		world.error = undefined;
		await world.pass(1_000);
		assert.equal(world.watch.why, "app_says");
		world.error = TIMED_OUT;
		await world.pass(300);
		world.error = undefined;
		await world.pass(1_000);
		assert.equal(world.watch.why, "app_says", "who is busy is the one that said it");
		world.error = REFUSED;
		await world.pass(300);
		world.watch.say(false); // the one that comes, before it listens
		world.error = undefined;
		await world.pass(1_000);
		assert.equal(world.watch.why, "app_says");
		world.watch.say(true);
		assert.equal(world.state.at, "ready");
		await world.watch.stop();
		assert.equal(world.scheduler.pending, 0);
	});

	test("a part of the agent that fails liveness takes the pod out, whatever else there is", async () => {
		const world = new World();
		world.error = undefined;
		const thread = world.tree.add("agent", "data-thread", { critical: true, live: true });
		await world.watch.start();
		await world.pass(200);
		assert.equal(world.state.at, "ready", "not asked yet is no failure");
		thread.set({ status: "fail", reason: "hangs" });
		assert.equal(world.watch.why, "agent_fails");
		world.watch.say(false);
		world.error = REFUSED;
		await world.pass(10_000);
		assert.equal(world.watch.why, "agent_fails", "before all others");
		thread.set({ status: "pass" });
		assert.equal(world.watch.why, "app_refuses");
		assert.equal(world.moves[1], "ready → unready: agent_fails");
		await world.watch.stop();
	});

	test("a critical report takes the pod out, and its reason is told apart from the app's", async () => {
		const world = new World();
		world.error = undefined;
		await world.watch.start();
		await world.pass(200);
		assert.deepEqual(world.tree.report([{ name: "migrations", status: "fail", critical: true, ttl: "60s" }]), {
			ok: true,
		});
		assert.equal(world.watch.why, "check_fails");
		world.error = REFUSED;
		await world.pass(10_000);
		assert.equal(world.watch.why, "app_refuses");
		assert.equal(world.moves.at(-1), "unready → unready: app_refuses", "from one reason to another");
		await world.watch.stop();
	});

	test("without an app to watch the agent is ready at once", async () => {
		const world = new World([]);
		await world.watch.start();
		assert.equal(world.state.at, "ready");
		await world.watch.stop();
	});
});

describe("a restart of the app alone", () => {
	test("is told by the port that refuses, seen within a second, and over when it accepts", async () => {
		const world = new World();
		world.error = undefined;
		await world.watch.start();
		await world.pass(200);
		world.watch.expectRestart();
		await world.pass(1_000);
		assert.equal(world.state.at, "ready", "that somebody asked is no proof");
		world.error = REFUSED;
		await world.pass(800);
		assert.equal(world.watch.why, "restarting");
		world.error = undefined;
		await world.pass(600);
		assert.equal(world.state.at, "ready");
		await world.watch.stop();
		assert.equal(world.scheduler.pending, 0);
	});
});

test("who asks for a restart again and again has the port looked at, and not the app's health page", async (t) => {
	let asked = 0;
	const app = createServer((_, response) => {
		asked += 1;
		response.end("ok");
	});
	app.listen(0, "127.0.0.1");
	await once(app, "listening");
	t.after(() => app.close());
	const bound = app.address();
	assert.ok(typeof bound === "object" && bound !== null);
	const world = new World([{ ...APP, port: bound.port }], "/health");
	world.error = undefined;
	const ready = new Promise<void>((resolve) => world.state.subscribe(({ to }) => to === "ready" && resolve()));
	await world.watch.start();
	await world.pass(200);
	await ready;
	const [asksBefore, triesBefore] = [asked, world.asked];
	world.watch.expectRestart();
	await world.pass(2_000);
	// Connections are taken in their order: when this one is answered, an earlier one has been seen.
	await (await fetch(`http://127.0.0.1:${bound.port}/`)).text();
	assert.deepEqual([asksBefore, asked], [1, 2]);
	assert.ok(world.asked - triesBefore >= 10);
	await world.watch.stop();
});

describe("while we leave", () => {
	test("an app at whose port nobody listens is gone, and that is seen within a second", async () => {
		const world = new World();
		world.error = undefined;
		await world.watch.start();
		await world.pass(200);
		world.leave();
		await world.pass(1_000);
		assert.equal(world.gone, 0);
		world.error = REFUSED;
		await world.pass(1_000);
		assert.ok(world.gone > 0);
		assert.equal(world.state.at, "announcing", "readiness is no question any more");
		await world.watch.stop();
		assert.equal(world.scheduler.pending, 0);
	});

	test("an app that does not answer in time is busy or stopped, and not gone", async () => {
		const world = new World();
		world.error = undefined;
		await world.watch.start();
		await world.pass(200);
		world.leave();
		world.error = TIMED_OUT;
		await world.pass(5_000);
		assert.equal(world.gone, 0);
		await world.watch.stop();
	});

	test("an app that was gone before is told at once", async () => {
		const world = new World();
		await world.watch.start();
		await world.pass(200);
		world.leave();
		assert.equal(world.gone, 1);
		world.watch.expectRestart();
		assert.equal(world.watch.why, undefined);
		await world.watch.stop();
	});
});
