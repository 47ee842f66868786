import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "./clock.ts";
import { Deadline } from "./deadline.ts";
import { Drain, type DrainStage } from "./drain.ts";

test("a stage is told once to everybody, is never gone back to, and keeps the first deadline", () => {
	const clock = new ManualClock();
	const drain = new Drain();
	const told: DrainStage[] = [];
	drain.subscribe((stage) => told.push(stage));
	assert.equal(drain.stage, "serving");
	assert.equal(drain.deadline, undefined);
	const first = Deadline.after(clock, 100);
	drain.move("leaving", first);
	drain.move("leaving", Deadline.after(clock, 5));
	drain.move("cutting", Deadline.after(clock, 5));
	drain.move("finishing");
	assert.deepEqual(told, ["leaving", "cutting"]);
	assert.equal(drain.deadline, first);
});

test("one function subscribed twice is told twice, and each subscription ends by itself, also while it is told", () => {
	const drain = new Drain();
	let count = 0;
	const listener = (): void => {
		count += 1;
	};
	drain.subscribe(listener);
	const end = drain.subscribe(listener);
	let late: () => void = () => {};
	drain.subscribe(() => late());
	late = drain.subscribe(() => assert.fail("ended by the one before it"));
	drain.move("leaving");
	assert.equal(count, 2);
	end();
	drain.move("finishing");
	assert.equal(count, 3);
});

test("what has entered is in hand until it leaves, and to leave without having entered is a mistake", () => {
	const drain = new Drain();
	drain.enter();
	drain.enter();
	drain.leave();
	assert.equal(drain.inHand, 1);
	drain.leave();
	assert.throws(() => drain.leave(), /leave without enter/);
});
