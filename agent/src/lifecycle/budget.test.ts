import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { agentStopBudget, stopBudget } from "./budget.ts";

test("the default grace period of 30 s gives the drain 18 s", () => {
	assert.deepEqual(stopBudget({ graceMs: 30_000, appStopMs: 10_000, agentStopMs: 2_000 }), {
		drainMs: 18_000,
		appStopMs: 10_000,
		agentStopMs: 2_000,
	});
});

test("the app gets at most a third of a short grace period", () => {
	assert.deepEqual(stopBudget({ graceMs: 9_000, appStopMs: 10_000, agentStopMs: 2_000 }), {
		drainMs: 4_000,
		appStopMs: 3_000,
		agentStopMs: 2_000,
	});
});

test("the parts never reach beyond the grace period, and none is negative", () => {
	const ms = fc.nat({ max: 600_000 });
	fc.assert(
		fc.property(ms, ms, ms, (graceMs, appStopMs, agentStopMs) => {
			const budget = stopBudget({ graceMs, appStopMs, agentStopMs });
			for (const part of Object.values(budget)) assert.ok(part >= 0);
			assert.ok(budget.drainMs + budget.appStopMs + budget.agentStopMs <= graceMs + 1e-6);
			assert.ok(budget.appStopMs <= graceMs / 3);
		}),
	);
});

test("the agent's own stop is over within 1.5 s, last lines included, however much it could have", () => {
	const of = (agentStopMs: number) => agentStopBudget({ drainMs: 0, appStopMs: 0, agentStopMs });
	assert.deepEqual(of(2_000), { partsMs: 800, linesMs: 400 });
	assert.deepEqual(of(60_000), { partsMs: 800, linesMs: 400 });
	assert.deepEqual(of(300), { partsMs: 200, linesMs: 100 });
	assert.deepEqual(of(0), { partsMs: 0, linesMs: 0 });
});
