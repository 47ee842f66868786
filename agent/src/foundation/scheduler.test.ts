import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualScheduler, systemScheduler } from "./scheduler.ts";

test("a manual scheduler fires in order of time, then of asking, with the clock at each moment", () => {
	const scheduler = new ManualScheduler();
	const seen: string[] = [];
	const note = (name: string) => () => seen.push(`${name}@${scheduler.clock.monotonicMs()}`);
	scheduler.after(20, note("late"));
	scheduler.after(10, note("first"));
	scheduler.after(10, note("second"));
	scheduler.after(-5, note("now"));
	scheduler.advance(15);
	assert.deepEqual(seen, ["now@0", "first@10", "second@10"]);
	assert.equal(scheduler.clock.monotonicMs(), 15);
	assert.equal(scheduler.pending, 1);
	scheduler.advance(5);
	assert.equal(seen.at(-1), "late@20");
});

test("a timer made by a timer fires in the same advance when it is due, and a cancelled one never does", () => {
	const scheduler = new ManualScheduler();
	let count = 0;
	const again = (): void => {
		count += 1;
		scheduler.after(10, again);
	};
	scheduler.after(10, again);
	const cancel = scheduler.after(10, () => assert.fail("cancelled"));
	cancel();
	cancel();
	scheduler.advance(35);
	assert.equal(count, 3);
});

test("the system's scheduler runs what was asked for, and not what was taken back", async () => {
	const { promise, resolve } = Promise.withResolvers<string>();
	const cancel = systemScheduler.after(0, () => resolve("the wrong one"));
	cancel();
	systemScheduler.after(-1, () => resolve("the right one"));
	assert.equal(await promise, "the right one");
});
