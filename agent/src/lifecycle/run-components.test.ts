import assert from "node:assert/strict";
import { test } from "node:test";
import type { Component } from "../foundation/component.ts";
import { Deadline } from "../foundation/deadline.ts";
import { silentLogger } from "../foundation/logger.ts";
import { ManualScheduler } from "../foundation/scheduler.ts";
import { ComponentRunner, ComponentStartError } from "./run-components.ts";

const forever = (): Promise<never> => new Promise(() => {});

function fixture(behaviour: Readonly<Record<string, Partial<Omit<Component, "name">>>>) {
	const scheduler = new ManualScheduler();
	const calls: string[] = [];
	const components = Object.entries(behaviour).map(([name, own]): Component => {
		const { start, drain, stop } = own;
		return {
			name,
			start: async () => {
				calls.push(`start ${name}`);
				await start?.();
			},
			...(drain === undefined
				? {}
				: {
						drain: (deadline: Deadline) => {
							calls.push(`drain ${name}`);
							return drain(deadline);
						},
					}),
			stop: async () => {
				calls.push(`stop ${name}`);
				await stop?.();
			},
		};
	});
	const runner = new ComponentRunner(
		components,
		{ startMs: 100, stopMs: 50 },
		scheduler.clock,
		scheduler,
		silentLogger,
	);
	return { runner, calls, scheduler };
}

/** Lets promises settle that need no timer. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("parts start in order, drain and stop in reverse, and a second stop joins the first", async () => {
	const { runner, calls, scheduler } = fixture({ a: {}, b: { drain: async () => 0 }, c: { drain: async () => 2 } });
	await runner.start();
	assert.deepEqual(await runner.drain(Deadline.after(scheduler.clock, 10)), new Map([["c", 2]]));
	const stopped = runner.stop();
	assert.equal(runner.stop(), stopped);
	assert.deepEqual(await stopped, []);
	assert.deepEqual(calls, ["start a", "start b", "start c", "drain c", "drain b", "stop c", "stop b", "stop a"]);
	assert.equal(scheduler.pending, 0);
});

test("a part that fails to start stops itself and those before it, and the error names it", async () => {
	const { runner, calls, scheduler } = fixture({
		a: {},
		b: { start: () => Promise.reject(new Error("EADDRINUSE")) },
		c: {},
	});
	await assert.rejects(runner.start(), (error) => {
		assert.ok(error instanceof ComponentStartError);
		assert.equal(error.component, "b");
		assert.equal(error.message, "b could not be started: EADDRINUSE");
		assert.ok(error.cause instanceof Error);
		return true;
	});
	assert.deepEqual(calls, ["start a", "start b", "stop b", "stop a"]);
	assert.equal(scheduler.pending, 0);
});

test("a part that does not start in time has failed", async () => {
	const { runner, calls, scheduler } = fixture({ a: {}, b: { start: forever } });
	const started = runner.start();
	await settle();
	scheduler.advance(100);
	await assert.rejects(started, /b could not be started: not done within 100 ms/);
	assert.deepEqual(calls, ["start a", "start b", "stop b", "stop a"]);
});

test("a part that throws something that is no Error is named with it", async () => {
	const { runner } = fixture({ a: { start: () => Promise.reject("no reason") } });
	await assert.rejects(runner.start(), /a could not be started: no reason/);
});

test("parts that stop late or badly are named and keep nobody from stopping", async () => {
	const { runner, calls, scheduler } = fixture({
		a: {},
		b: { stop: forever },
		c: { stop: () => Promise.reject(new Error("already closed")) },
	});
	await runner.start();
	const stopped = runner.stop();
	await settle();
	scheduler.advance(50);
	assert.deepEqual(await stopped, [
		{ component: "c", problem: "already closed" },
		{ component: "b", problem: "not done within 50 ms" },
	]);
	assert.equal(calls.at(-1), "stop a");
});

test("the deadline of the whole stop bounds every part", async () => {
	const { runner, scheduler } = fixture({ a: { stop: forever }, b: { stop: forever } });
	await runner.start();
	const stopped = runner.stop(Deadline.after(scheduler.clock, 60));
	await settle();
	scheduler.advance(50);
	await settle();
	scheduler.advance(10);
	assert.deepEqual(
		(await stopped).map(({ problem }) => problem),
		["not done within 50 ms", "not done within 10 ms"],
	);
});

test("stop without start does nothing, and a start after it stops where it is", async () => {
	const { runner, calls } = fixture({ a: {}, b: {} });
	assert.deepEqual(await runner.stop(), []);
	await assert.rejects(runner.start(), /stopped while starting/);
	assert.deepEqual(calls, []);
});

test("a drain that throws or hangs is over at the deadline, and the others drain all the same", async () => {
	const { runner, scheduler } = fixture({
		a: { drain: async () => 1 },
		b: { drain: forever },
		c: { drain: () => Promise.reject(new Error("broken")) },
	});
	await runner.start();
	const drained = runner.drain(Deadline.after(scheduler.clock, 30));
	await settle();
	scheduler.advance(30);
	assert.deepEqual(
		await drained,
		new Map([
			["c", Number.NaN],
			["b", Number.NaN],
			["a", 1],
		]),
	);
});
