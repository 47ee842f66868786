import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualScheduler } from "../foundation/scheduler.ts";
import { Arrivals } from "./arrivals.ts";

class World {
	readonly scheduler = new ManualScheduler();
	arrived = 0;
	readonly arrivals = new Arrivals({
		arrived: () => this.arrived,
		clock: this.scheduler.clock,
		scheduler: this.scheduler,
	});

	/** So many requests, one every `gapMs`. */
	traffic(count: number, gapMs: number): void {
		for (let index = 0; index < count; index += 1) {
			this.scheduler.advance(gapMs);
			this.arrived += 1;
		}
	}
}

test("nobody has come: there is no mean gap, before the start as after it", () => {
	const world = new World();
	assert.equal(world.arrivals.meanGapMs(), undefined);
	world.arrivals.start();
	world.scheduler.advance(30_000);
	assert.equal(world.arrivals.meanGapMs(), undefined);
});

test("the mean gap is that of the last minute, and of the time since the start while that is shorter", () => {
	const world = new World();
	world.arrivals.start();
	world.traffic(20, 100);
	assert.equal(world.arrivals.meanGapMs(), 100);
	world.traffic(12, 5_000);
	const gapMs = world.arrivals.meanGapMs() ?? 0;
	assert.ok(gapMs >= 4_500 && gapMs <= 5_000, String(gapMs));
	world.scheduler.advance(61_000);
	assert.equal(world.arrivals.meanGapMs(), undefined, "what is longer ago is not recent");
});

test("it keeps a minute of looks however long it runs, and no timer after its stop", () => {
	const world = new World();
	world.arrivals.start();
	world.traffic(10_000, 100);
	assert.equal(Math.round(world.arrivals.meanGapMs() ?? 0), 100);
	world.arrivals.stop();
	world.arrivals.stop();
	assert.equal(world.scheduler.pending, 0);
});
