import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ManualClock } from "./clock.ts";
import { Deadline } from "./deadline.ts";

test("a deadline counts down to zero and no further, whatever the wall clock does", () => {
	const clock = new ManualClock();
	const deadline = Deadline.after(clock, 100);
	assert.equal(deadline.remainingMs(), 100);
	clock.advance(60);
	clock.skew(1_000_000);
	assert.equal(deadline.remainingMs(), 40);
	clock.advance(60);
	assert.equal(deadline.remainingMs(), 0);
});

test("a part of a wait never ends later than the whole", () => {
	const ms = fc.integer({ min: 0, max: 10_000 });
	fc.assert(
		fc.property(ms, ms, ms, (wholeMs, passedMs, partMs) => {
			const clock = new ManualClock();
			const whole = Deadline.after(clock, wholeMs);
			clock.advance(passedMs);
			const part = whole.within(partMs);
			assert.equal(part.atMs, Math.min(whole.atMs, passedMs + partMs));
			assert.equal(part.remainingMs(), Math.min(partMs, whole.remainingMs()));
		}),
	);
});
