import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../foundation/clock.ts";
import { TimeSlices } from "./time-slice.ts";

test("a turn is due after some milliseconds, and the clock is read in one of eight steps", () => {
	const clock = new ManualClock();
	const slices = new TimeSlices(clock);
	clock.advance(4);
	const answers = Array.from({ length: 8 }, () => slices.isDue());
	assert.deepEqual(answers, [...Array.from({ length: 7 }, () => false), true]);
	assert.equal(slices.isOver(), true);
});

test("a pause ends the turn, lets others run and begins the next", async () => {
	const clock = new ManualClock();
	const yields: (() => void)[] = [];
	const slices = new TimeSlices(clock, (resume) => yields.push(resume));
	clock.advance(4);
	let isOver = false;
	const paused = slices.pause().then(() => {
		isOver = true;
	});
	await Promise.resolve();
	assert.equal(isOver, false);
	clock.advance(100);
	yields[0]?.();
	await paused;
	assert.equal(slices.isOver(), false);
	clock.advance(2);
	slices.stop();
	assert.equal(slices.longestMs, 4);
	assert.equal(slices.totalMs, 6);
});

test("without a way to yield of its own it waits for the event loop", async () => {
	const slices = new TimeSlices(new ManualClock());
	let others = 0;
	setImmediate(() => others++);
	await slices.pause();
	assert.equal(others, 1);
});
