import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Drain, type DrainStage } from "../foundation/drain.ts";
import { silentLogger } from "../foundation/logger.ts";
import { ManualScheduler } from "../foundation/scheduler.ts";
import {
	APP_GONE_MS,
	type DrainOutcome,
	type DrainPlan,
	DrainSequence,
	drainExitCode,
	LOOK_MS,
} from "./drain-sequence.ts";
import { LifecycleState, type StateName } from "./state.ts";

const PLAN: DrainPlan = { budgetMs: 18_000, announceMinMs: 5_000, quietMs: 1_000 };

/** An agent whose traffic is two numbers, on a clock that the test moves. */
class World {
	readonly scheduler = new ManualScheduler();
	readonly clock = this.scheduler.clock;
	readonly drain = new Drain();
	readonly state = new LifecycleState(this.clock, silentLogger);
	readonly moves: [StateName, number][] = [];
	readonly stages: DrainStage[] = [];
	readonly sequence: DrainSequence;
	inFlight = 0;
	arrived = 0;
	outcome: DrainOutcome | undefined;
	endedMs = Number.NaN;

	constructor(plan: Partial<DrainPlan> = {}, isReady = true) {
		if (isReady) this.state.set({ at: "ready" }, "app_accepts");
		this.state.subscribe(({ to }) => this.moves.push([to, this.clock.monotonicMs()]));
		this.drain.subscribe((stage) => {
			this.stages.push(stage);
			if (stage === "cutting") this.endedMs = this.clock.monotonicMs();
		});
		this.sequence = new DrainSequence({
			state: this.state,
			drain: this.drain,
			reading: { inFlight: () => this.inFlight, arrived: () => this.arrived },
			plan: { ...PLAN, ...plan },
			clock: this.clock,
			scheduler: this.scheduler,
			log: silentLogger,
		});
	}

	begin(): void {
		void this.sequence.begin("sigterm").then((outcome) => {
			this.outcome = outcome;
		});
	}

	request(lastsMs: number): void {
		this.arrived += 1;
		this.inFlight += 1;
		this.scheduler.after(lastsMs, () => {
			this.inFlight -= 1;
		});
	}

	advance(ms: number): void {
		this.scheduler.advance(ms);
	}

	async over(): Promise<DrainOutcome> {
		return this.sequence.begin("asked"); // joins
	}
}

test("a drain without traffic lasts as long as its announcement, and no longer", async () => {
	const world = new World();
	world.begin();
	assert.deepEqual(world.stages, ["leaving"]);
	world.advance(4_999);
	assert.equal(world.state.at, "announcing");
	world.advance(LOOK_MS);
	assert.equal(world.state.at, "stopping");
	const outcome = await world.over();
	assert.deepEqual({ ...outcome, announcedMs: 0, drainedMs: 0 }, {
		startedBy: "sigterm",
		ended: "idle",
		cut: 0,
		arrivedWhileLeaving: 0,
		announcedMs: 0,
		drainedMs: 0,
	} satisfies DrainOutcome);
	assert.equal(drainExitCode(outcome), 0);
	assert.deepEqual(world.stages, ["leaving", "finishing", "cutting"]);
	assert.equal(world.scheduler.pending, 0);
});

test("on a laptop, with no announcement and no quiet time, it is over at the first look", async () => {
	const world = new World({ announceMinMs: 0, quietMs: 0 });
	world.begin();
	assert.equal(world.state.at, "announcing", "never in the turn in which it began");
	world.advance(LOOK_MS);
	assert.equal((await world.over()).ended, "idle");
});

test("requests that arrive while leaving are served, counted, and make the drain wait for quiet", async () => {
	const world = new World();
	world.begin();
	for (let index = 0; index < 14; index += 1) world.scheduler.after(500 * index, () => world.request(100));
	world.advance(20_000);
	const outcome = await world.over();
	assert.equal(outcome.ended, "idle");
	assert.equal(outcome.arrivedWhileLeaving, 14);
	// The last one arrived at 6,500 ms; quiet for a second after it.
	assert.ok(Math.abs(world.endedMs - 7_500) <= 2 * LOOK_MS, String(world.endedMs));
});

test("what is in flight is waited for to its end", async () => {
	const world = new World();
	world.request(9_000);
	world.begin();
	world.advance(20_000);
	assert.equal((await world.over()).cut, 0);
	assert.ok(world.endedMs >= 9_000 && world.endedMs <= 9_000 + LOOK_MS);
});

test("at the deadline what is left is cut, counted, and the exit code says so", async () => {
	const world = new World();
	world.request(60_000);
	world.request(60_000);
	world.begin();
	world.advance(18_000);
	const outcome = await world.over();
	assert.equal(outcome.ended, "deadline");
	assert.equal(outcome.cut, 2);
	assert.equal(drainExitCode(outcome), 3);
	assert.equal(world.endedMs, 18_000);
});

test("a budget smaller than the announcement ends both", async () => {
	const world = new World({ budgetMs: 300 });
	world.request(60_000);
	world.begin();
	world.advance(300);
	assert.equal((await world.over()).ended, "deadline");
	assert.deepEqual(
		world.moves.map(([to]) => to),
		["announcing", "draining", "stopping"],
	);
});

test("who holds the drain is waited for like an exchange, and is not counted as cut", async () => {
	const world = new World({ announceMinMs: 0, quietMs: 0 });
	world.drain.enter();
	world.begin();
	world.advance(2_000);
	assert.equal(world.state.at, "draining");
	world.drain.leave();
	world.advance(LOOK_MS);
	assert.equal((await world.over()).cut, 0);
});

test("an app that is gone ends the announcement, and its clients get a moment for their answers", async () => {
	const world = new World();
	world.request(400);
	world.begin();
	world.advance(100);
	void world.sequence.appGone();
	assert.equal(world.state.at, "draining");
	world.advance(400);
	const outcome = await world.over();
	assert.equal(outcome.ended, "app_gone");
	assert.equal(outcome.cut, 0);
	assert.ok(world.endedMs <= 400 + LOOK_MS);
});

test("an app that is gone begins a drain where there is none, and cuts what hangs after its limit", async () => {
	const world = new World();
	world.request(60_000);
	const over = world.sequence.appGone();
	world.advance(APP_GONE_MS);
	const outcome = await over;
	assert.equal(outcome.startedBy, "app_gone");
	assert.equal(outcome.ended, "deadline");
	assert.equal(outcome.cut, 1);
	assert.equal(await world.sequence.appGone(), outcome);
});

test("a second signal ends it in the same turn, whatever the phase", async () => {
	for (const afterMs of [0, 2_000, 6_000]) {
		const world = new World();
		world.request(60_000);
		world.begin();
		world.advance(afterMs);
		const outcome = await world.sequence.endNow("second_signal");
		assert.equal(world.state.at, "stopping");
		assert.equal(outcome.ended, "second_signal");
		assert.equal(outcome.cut, 1);
		assert.equal(outcome.announcedMs + outcome.drainedMs, afterMs);
		assert.equal(world.scheduler.pending, 1, "only the request's own timer is left");
	}
});

test("to stop without a drain is one move, also before the agent was ever ready", async () => {
	const world = new World({}, false);
	const outcome = await world.sequence.endNow("sigterm");
	assert.equal(outcome.startedBy, "sigterm");
	assert.deepEqual(world.moves, [["stopping", 0]]);
	assert.equal(await world.sequence.endNow("second_signal"), outcome);
});

test("a drain of an agent that somebody has stopped is over at once; so is one that is stopped under way", async () => {
	const stopped = new World();
	stopped.state.set({ at: "stopping" }, "fault");
	assert.equal((await stopped.sequence.begin("sigterm")).ended, "fault");
	for (const afterMs of [100, 6_000]) {
		const world = new World();
		world.request(60_000);
		world.begin();
		world.advance(afterMs);
		world.state.set({ at: "stopping" }, "fault");
		world.advance(LOOK_MS);
		assert.equal((await world.over()).ended, "fault");
	}
});

test("whatever happens to it, a drain ends once, inside its budget, and never idle with something in flight", async () => {
	const happening = fc.record({
		atMs: fc.nat({ max: 20_000 }),
		what: fc.oneof(
			{ weight: 12, arbitrary: fc.record({ kind: fc.constant("request" as const), lastsMs: fc.nat({ max: 8_000 }) }) },
			{ weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("appGone" as const, "secondSignal" as const) }) },
			{ weight: 2, arbitrary: fc.record({ kind: fc.constant("hold" as const), lastsMs: fc.nat({ max: 8_000 }) }) },
			{ weight: 1, arbitrary: fc.record({ kind: fc.constant("again" as const) }) },
		),
	});
	const plan = fc.record({
		budgetMs: fc.integer({ min: 0, max: 18_000 }),
		announceMinMs: fc.nat({ max: 6_000 }),
		quietMs: fc.nat({ max: 3_000 }),
	});
	await fc.assert(
		fc.asyncProperty(
			plan,
			fc.nat({ max: 5_000 }),
			fc.array(happening, { maxLength: 40 }),
			async (chosen, beginMs, events) => {
				const world = new World(chosen);
				let beganMs = Number.NaN;
				let urgent = false;
				let inFlightAtEnd = Number.NaN;
				let heldAtEnd = Number.NaN;
				let lastArrivalMs = Number.NEGATIVE_INFINITY;
				world.state.subscribe(({ to }) => {
					if (to === "announcing") beganMs = world.clock.monotonicMs();
					if (to === "stopping") {
						inFlightAtEnd = world.inFlight;
						heldAtEnd = world.drain.inHand;
					}
				});
				world.scheduler.after(beginMs, () => world.begin());
				for (const { atMs, what } of events) {
					world.scheduler.after(atMs, () => {
						if (world.state.isStopping) return;
						switch (what.kind) {
							case "request":
								lastArrivalMs = world.clock.monotonicMs();
								world.request(what.lastsMs);
								break;
							case "hold":
								world.drain.enter();
								world.scheduler.after(what.lastsMs, () => world.drain.leave());
								break;
							case "appGone":
								urgent = true;
								void world.sequence.appGone();
								break;
							case "secondSignal":
								urgent = true;
								void world.sequence.endNow("second_signal");
								break;
							case "again":
								if (world.sequence.hasBegun) world.begin();
								break;
						}
					});
				}
				world.advance(60_000);
				const outcome = await world.over();
				assert.deepEqual(world.moves.filter(([to]) => to === "stopping").length, 1);
				assert.equal(world.scheduler.pending, 0);
				assert.equal(outcome.cut, inFlightAtEnd);
				if (outcome.ended === "idle") {
					assert.equal(inFlightAtEnd + heldAtEnd, 0);
					assert.ok(world.endedMs - lastArrivalMs >= chosen.quietMs);
					assert.ok(outcome.announcedMs >= Math.min(chosen.announceMinMs, chosen.budgetMs));
				}
				if (!Number.isNaN(beganMs)) {
					assert.ok(world.endedMs - beganMs <= chosen.budgetMs + 1e-6, "nothing outlives the budget");
					assert.ok(
						Math.abs(outcome.announcedMs + outcome.drainedMs - (world.endedMs - beganMs)) < 1e-6,
						"the parts add up",
					);
				}
				if (!urgent) assert.ok(outcome.ended === "idle" || outcome.ended === "deadline");
			},
		),
		{ numRuns: 1_000 },
	);
});
