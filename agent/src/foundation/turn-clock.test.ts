import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "./clock.ts";
import { TurnClock } from "./turn-clock.ts";

test("within an event the time stands still; the next one reads it anew", () => {
	const source = new ManualClock(5_000);
	const clock = new TurnClock(source);
	source.advance(10);
	assert.deepEqual([clock.monotonicMs(), clock.wallMs()], [0, 5_000]);
	clock.turn();
	assert.deepEqual([clock.monotonicMs(), clock.wallMs()], [10, 5_010]);
});

test("a wall clock that was set is noticed with the next sweep, and no duration changes by it", () => {
	const source = new ManualClock(5_000);
	const clock = new TurnClock(source);
	source.skew(-3_000);
	clock.turn();
	assert.equal(clock.wallMs(), 5_000);
	source.advance(1);
	clock.sync();
	assert.deepEqual([clock.monotonicMs(), clock.wallMs()], [1, 2_001]);
});
