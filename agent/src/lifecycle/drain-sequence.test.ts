import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Drain, type DrainStage } from "../foundation/drain.ts";
import { silentLogger } from "../foundation/logger.ts";
import { ManualScheduler } from "../foundation/scheduler.ts";
import { CLOSING_MS, type DrainOutcome, type DrainPlan, DrainSequence, HURRY_MS, LOOK_MS } from "./drain-sequence.ts";
import { LifecycleState, type StateName } from "./state.ts";

const PLAN: DrainPlan = {
	budgetMs: 18_000,
	announceMinMs: 5_000,
	quietMinMs: 1_000,
	quietMaxMs: 10_000,
	streamsMs: 10_000,
};
const AT_ONCE: Partial<DrainPlan> = { announceMinMs: 0, quietMinMs: 0, quietMaxMs: 0 };

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
	streams = 0;
	arrived = 0;
	bypass = 0;
	/** A head that is not whole, or a thread that is being replaced. */
	expects = false;
	/** When a client became idle without being told to close. */
	idleSinceMs = Number.NEGATIVE_INFINITY;
	lateMs = 0;
	/** Whether the sockets have been looked at since the drain began. */
	hasLooked = true;
	meanGapMs: number | undefined;
	readonly closedIdle: number[] = [];
	readonly closedStreams: number[] = [];
	/** Told when idle connections are closed: a request may be just on its way. */
	onCloseIdle: () => void = () => {};
	outcome: DrainOutcome | undefined;
	endedMs = Number.NaN;

	constructor(plan: Partial<DrainPlan> = {}, isReady = true) {
		if (isReady) this.state.set({ at: "ready" }, "app_passes");
		this.state.subscribe(({ to }) => this.moves.push([to, this.clock.monotonicMs()]));
		this.drain.subscribe((stage) => {
			this.stages.push(stage);
			if (stage === "cutting") this.endedMs = this.clock.monotonicMs();
		});
		this.sequence = new DrainSequence({
			state: this.state,
			drain: this.drain,
			reading: {
				inFlight: () => this.inFlight,
				streams: () => this.streams,
				arrived: () => this.arrived,
				meanGapMs: () => this.meanGapMs,
				expects: (quietMs) => this.expects || this.clock.monotonicMs() - this.idleSinceMs < quietMs,
				bypass: () => (this.hasLooked ? this.bypass : undefined),
			},
			acts: {
				closeIdle: () => {
					this.closedIdle.push(this.clock.monotonicMs());
					this.onCloseIdle();
				},
				closeStreams: () => {
					this.closedStreams.push(this.clock.monotonicMs());
					this.streams = 0;
				},
			},
			plan: { ...PLAN, ...plan },
			lateMs: () => this.lateMs,
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
	world.advance(2 * LOOK_MS + CLOSING_MS);
	assert.equal(world.state.at, "stopping");
	const outcome = await world.over();
	assert.deepEqual({ ...outcome, announcedMs: 0, drainedMs: 0 }, {
		startedBy: "sigterm",
		ended: "idle",
		isDrain: true,
		left: 0,
		budgetMs: 18_000,
		announcedMs: 0,
		drainedMs: 0,
		quietMs: 1_000,
		leases: 0,
		bypassSeen: 0,
		bypassLeft: 0,
	} satisfies DrainOutcome);
	assert.equal(world.closedIdle.length, 1);
	assert.deepEqual(world.stages, ["leaving", "finishing", "cutting"]);
	assert.equal(world.scheduler.pending, 0);
});

test("on a laptop, with no announcement and no quiet time, it is over at the first look", async () => {
	const world = new World(AT_ONCE);
	world.begin();
	assert.equal(world.state.at, "announcing", "never in the turn in which it began");
	world.advance(2 * LOOK_MS + CLOSING_MS);
	assert.equal((await world.over()).ended, "idle");
});

test("requests that arrive while leaving are served, counted, and make the drain wait for quiet", async () => {
	const world = new World();
	world.begin();
	for (let index = 0; index < 14; index += 1) world.scheduler.after(500 * index, () => world.request(100));
	world.advance(20_000);
	const outcome = await world.over();
	assert.equal(outcome.ended, "idle");
	// The last one arrived at 6,500 ms; half a second between two makes 1.5 s of quiet after it.
	assert.ok(Math.abs(world.endedMs - CLOSING_MS - 8_000) <= 2 * LOOK_MS, String(world.endedMs));
});

test("what is in flight is waited for to its end", async () => {
	const world = new World();
	world.request(9_000);
	world.begin();
	world.advance(20_000);
	assert.equal((await world.over()).left, 0);
	assert.ok(world.endedMs >= 9_000 && world.endedMs <= 9_000 + 2 * LOOK_MS + CLOSING_MS);
});

test("at the deadline it is over with what is left, and says how much that is", async () => {
	const world = new World();
	world.request(60_000);
	world.request(60_000);
	world.begin();
	world.advance(18_000);
	const outcome = await world.over();
	assert.equal(outcome.ended, "deadline");
	assert.equal(outcome.left, 2);
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
	const world = new World(AT_ONCE);
	world.drain.enter();
	world.begin();
	world.advance(2_000);
	assert.equal(world.state.at, "draining");
	world.drain.leave();
	world.advance(2 * LOOK_MS + CLOSING_MS);
	assert.equal((await world.over()).left, 0);
});

test("a service with one request in five seconds is not taken for quiet: the quiet time is three mean gaps, within its bounds", async () => {
	for (const [meanGapMs, quietMs] of [
		[undefined, 1_000],
		[10, 1_000],
		[500, 1_500],
		[2_000, 6_000],
		[5_000, 10_000],
	] as const) {
		const world = new World();
		world.meanGapMs = meanGapMs;
		world.begin();
		world.scheduler.after(4_500, () => world.request(10));
		world.advance(18_000);
		const outcome = await world.over();
		assert.equal(outcome.quietMs, quietMs);
		assert.equal(outcome.ended, "idle");
		const expectedMs = Math.max(5_000, 4_500 + quietMs) + CLOSING_MS;
		assert.ok(
			world.endedMs >= expectedMs && world.endedMs <= expectedMs + 3 * LOOK_MS,
			`${meanGapMs}: ${world.endedMs}`,
		);
	}
});

test("who learns late that we leave comes seldom: the last arrivals count as well as the minute before", async () => {
	const world = new World();
	world.meanGapMs = 10;
	world.begin();
	for (let index = 0; index < 5; index += 1) world.scheduler.after(1_000 + 1_500 * index, () => world.request(5));
	world.advance(18_000);
	const outcome = await world.over();
	assert.equal(world.arrived, 5, "all of them came before its end");
	assert.ok(Math.abs(outcome.quietMs - 4_500) < 100, String(outcome.quietMs));
	assert.ok(world.endedMs >= 7_000 + 4_400);
});

test("a request that arrives just when idle connections are closed sends it back to draining, and is served", async () => {
	const world = new World();
	world.onCloseIdle = () => {
		if (world.closedIdle.length === 1) world.request(3_000);
	};
	world.begin();
	world.advance(18_000);
	const outcome = await world.over();
	assert.equal(outcome.ended, "idle");
	assert.equal(outcome.left, 0);
	assert.equal(world.closedIdle.length, 2);
	assert.ok(world.endedMs >= 5_000 + 3_000);
});

test("event streams are left alone for their own time, then closed; one that begins later is closed as well", async () => {
	const world = new World();
	world.streams = 3;
	world.begin();
	world.scheduler.after(10_100, () => {
		world.streams = 1;
	});
	world.advance(9_990);
	assert.deepEqual(world.closedStreams, []);
	world.advance(8_000);
	const outcome = await world.over();
	assert.equal(outcome.ended, "idle");
	assert.equal(world.closedStreams.length, 2);
	assert.ok((world.closedStreams[0] ?? 0) >= 10_000 && (world.closedStreams[0] ?? 0) <= 10_000 + LOOK_MS);
});

test("connections that came past us are waited for, and those that are left at the deadline are told", async () => {
	const world = new World();
	world.bypass = 2;
	world.begin();
	world.scheduler.after(7_000, () => {
		world.bypass = 0;
	});
	world.advance(8_000);
	const outcome = await world.over();
	assert.deepEqual([outcome.ended, outcome.bypassSeen, outcome.bypassLeft], ["idle", 2, 0]);
	const stuck = new World();
	stuck.bypass = 1;
	stuck.begin();
	stuck.advance(18_000);
	const late = await stuck.over();
	assert.deepEqual([late.ended, late.bypassSeen, late.bypassLeft], ["deadline", 1, 1]);
});

test("as long as nobody has been able to look who came past us, nobody is not taken for the answer", async () => {
	const world = new World(AT_ONCE);
	world.hasLooked = false;
	world.begin();
	world.advance(5_000);
	assert.deepEqual(world.sequence.progress()?.waitingFor, ["a look at the app's connections"]);
	world.hasLooked = true;
	world.bypass = 1;
	world.advance(1_000);
	world.bypass = 0;
	world.advance(1_000);
	const outcome = await world.over();
	assert.deepEqual([outcome.ended, outcome.bypassSeen, outcome.bypassLeft], ["idle", 1, 0]);
	const blind = new World(AT_ONCE);
	blind.hasLooked = false;
	blind.begin();
	blind.advance(18_000);
	const late = await blind.over();
	assert.deepEqual([late.ended, late.bypassSeen, late.bypassLeft], ["deadline", 0, 0]);
});

test("what it waits for can be asked at any time, in words", () => {
	const world = new World();
	assert.equal(world.sequence.progress(), undefined);
	world.request(60_000);
	world.request(60_000);
	world.streams = 1;
	world.bypass = 1;
	world.drain.enter();
	world.begin();
	world.advance(500);
	assert.deepEqual(world.sequence.progress(), {
		startedBy: "sigterm",
		phase: "announcing",
		remainingMs: 17_500,
		waitingFor: [
			"the announcement: 4.5 s more",
			"2 exchanges in flight",
			"1 event stream, closed in 9.5 s",
			"1 lease",
			"1 connection that came past us",
			"0.5 s more without a request",
		],
	});
	void world.sequence.endNow("second_signal");
	assert.deepEqual(world.sequence.progress(), { startedBy: "sigterm", phase: "over", remainingMs: 0, waitingFor: [] });
});

test("a mistake of our own gives what is in flight a second, and waits for nothing else", async () => {
	const world = new World();
	world.drain.enter();
	world.streams = 2;
	world.request(400);
	const over = world.sequence.hurry("fault");
	world.advance(400 + LOOK_MS);
	const outcome = await over;
	assert.deepEqual([outcome.startedBy, outcome.ended, outcome.left, outcome.leases], ["fault", "fault", 0, 1]);
	assert.equal(world.closedStreams.length, 1);
});

test("an app whose port refuses ends the announcement and the quiet time, and has the whole budget for what it still has in flight", async () => {
	const world = new World();
	world.request(9_000);
	world.drain.enter();
	world.scheduler.after(12_000, () => world.drain.leave());
	world.begin();
	world.advance(100);
	world.bypass = 1;
	world.expects = true;
	world.sequence.appRefuses();
	assert.equal(world.state.at, "draining");
	world.advance(11_000);
	assert.equal(world.state.at, "draining", "a server that stops gracefully closes its port first");
	world.advance(1_000);
	const outcome = await world.over();
	assert.deepEqual([outcome.ended, outcome.left], ["app_gone", 0]);
	assert.ok(world.endedMs >= 12_000 && world.endedMs <= 12_000 + 2 * LOOK_MS, String(world.endedMs));
});

test("an app whose port refuses and has nothing in flight is not waited for; to say so again, or without a drain, changes nothing", async () => {
	const world = new World();
	world.sequence.appRefuses();
	assert.equal(world.state.at, "ready", "that is no reason to leave");
	world.begin();
	world.advance(100);
	world.sequence.appRefuses();
	world.sequence.appRefuses();
	const outcome = await world.over();
	assert.deepEqual([outcome.ended, world.endedMs], ["app_gone", 100]);
});

test("an app whose process has ended gives its clients a moment for their answers", async () => {
	const world = new World();
	world.request(400);
	world.drain.enter();
	world.begin();
	world.advance(100);
	void world.sequence.hurry("app_gone");
	assert.equal(world.state.at, "draining");
	world.advance(400);
	const outcome = await world.over();
	assert.equal(outcome.ended, "app_gone");
	assert.deepEqual([outcome.left, outcome.leases], [0, 1]);
	assert.ok(world.endedMs <= 400 + LOOK_MS);
});

test("a client that has become idle without being told to close may send at any moment, and is waited for until it has been quiet itself", async () => {
	const world = new World();
	world.begin();
	world.scheduler.after(7_000, () => {
		world.idleSinceMs = 7_000;
	});
	world.request(7_000);
	world.advance(18_000);
	const outcome = await world.over();
	assert.equal(outcome.ended, "idle");
	assert.ok(world.endedMs >= 8_000 && world.endedMs <= 8_000 + CLOSING_MS + 3 * LOOK_MS, String(world.endedMs));
	const slow = new World();
	slow.expects = true;
	slow.begin();
	slow.advance(6_000);
	assert.ok(slow.sequence.progress()?.waitingFor.includes("clients that may just be sending"));
	slow.advance(12_000);
	assert.equal((await slow.over()).ended, "deadline");
});

test("a hook of the app that came before ours has already used up a part of the budget", async () => {
	const world = new World();
	world.lateMs = 4_500;
	world.request(60_000);
	world.begin();
	world.advance(18_000 - 4_500);
	const outcome = await world.over();
	assert.deepEqual([outcome.ended, world.endedMs], ["deadline", 13_500]);
});

test("an app that is gone begins a drain where there is none, and cuts what hangs after its limit", async () => {
	const world = new World();
	world.request(60_000);
	const over = world.sequence.hurry("app_gone");
	world.advance(HURRY_MS);
	const outcome = await over;
	assert.equal(outcome.startedBy, "app_gone");
	assert.equal(outcome.ended, "app_gone", "not the budget has ended");
	assert.equal(outcome.left, 1);
	assert.equal(await world.sequence.hurry("app_gone"), outcome);
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
		assert.equal(outcome.left, 1);
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
			{ weight: 2, arbitrary: fc.record({ kind: fc.constant("stream" as const) }) },
			{ weight: 2, arbitrary: fc.record({ kind: fc.constant("past" as const), lastsMs: fc.nat({ max: 8_000 }) }) },
			{ weight: 1, arbitrary: fc.record({ kind: fc.constant("again" as const) }) },
		),
	});
	const plan = fc.record({
		budgetMs: fc.integer({ min: 0, max: 18_000 }),
		announceMinMs: fc.nat({ max: 6_000 }),
		quietMinMs: fc.nat({ max: 3_000 }),
		quietMaxMs: fc.integer({ min: 3_000, max: 6_000 }),
		streamsMs: fc.nat({ max: 12_000 }),
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
						inFlightAtEnd = world.inFlight + world.streams;
						heldAtEnd = world.drain.inHand + world.bypass;
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
							case "stream":
								lastArrivalMs = world.clock.monotonicMs();
								world.arrived += 1;
								world.streams += 1;
								break;
							case "past":
								world.bypass += 1;
								world.scheduler.after(what.lastsMs, () => {
									world.bypass -= 1;
								});
								break;
							case "appGone":
								urgent = true;
								void world.sequence.hurry("app_gone");
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
				assert.equal(outcome.left, inFlightAtEnd);
				if (outcome.ended === "idle") {
					assert.equal(inFlightAtEnd + heldAtEnd, 0);
					assert.ok(world.endedMs - lastArrivalMs >= chosen.quietMinMs);
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
