import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock, systemClock } from "./clock.ts";

test("the system's monotonic time never goes back, and its wall time is that of the system", () => {
	let last = systemClock.monotonicMs();
	for (let i = 0; i < 1000; i++) {
		const now = systemClock.monotonicMs();
		assert.ok(now >= last);
		last = now;
	}
	const now = (): number => performance.timeOrigin + performance.now();
	// The origin was read once, when the process began; the wall clock may have been set since then.
	assert.ok(Math.abs(systemClock.wallMs() - now()) < 60_000);
});

test("a manual clock moves only when told, and its wall clock can be set without time passing", () => {
	const clock = new ManualClock(1_000);
	assert.deepEqual([clock.monotonicMs(), clock.wallMs()], [0, 1_000]);
	clock.advance(25);
	assert.deepEqual([clock.monotonicMs(), clock.wallMs()], [25, 1_025]);
	clock.skew(-500);
	assert.deepEqual([clock.monotonicMs(), clock.wallMs()], [25, 525]);
});
