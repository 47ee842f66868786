import assert from "node:assert/strict";
import { test } from "node:test";
import { settingsFrom } from "../config/layers.ts";
import { adviseOnAppIdle, adviseOnBudget, adviseOnBypass } from "./advice.ts";
import { stopBudget } from "./budget.ts";
import type { HealthFinding } from "./health-tree.ts";

type Finding = Omit<HealthFinding, "status" | "children"> | undefined;

/** What is advised, by name. */
class Tree {
	readonly advised = new Map<string, Finding>();
	advise(name: string, finding: Finding): void {
		this.advised.set(name, finding);
	}
}

test("a budget that holds its parts is nothing to tell; one that does not is told with the grace period that would", () => {
	for (const [set, advice] of [
		[{}, undefined],
		[{ "timeouts.response": "18s" }, undefined],
		[{ "timeouts.response": "60s" }, "terminationGracePeriodSeconds: 72 (and drain.grace)"],
		[{ "drain.grace": "15s", "drain.announceMin": "1s" }, "terminationGracePeriodSeconds: 17 (and drain.grace)"],
	] as const) {
		const tree = new Tree();
		const settings = settingsFrom(set);
		adviseOnBudget(tree, settings, stopBudget(settings.drain));
		assert.equal(tree.advised.get("grace")?.advice, advice, JSON.stringify(set));
	}
});

test("traffic that comes past the agent is told with whom it comes from, as long as it comes", () => {
	const tree = new Tree();
	const peer = { address: "10.0.9.9", port: 3000, count: 2, settled: 2, sinceMs: 0 };
	adviseOnBypass(tree, { settled: 2, peers: [peer] });
	assert.match(tree.advised.get("bypass")?.detail ?? "", /^2 connections to the app .* from 10\.0\.9\.9/);
	assert.match(tree.advised.get("bypass")?.advice ?? "", /instead of 3000$/);
	adviseOnBypass(tree, { settled: 0, peers: [] });
	assert.equal(tree.advised.get("bypass"), undefined);
});

test("an app that closes idle connections early is told with the time", () => {
	const tree = new Tree();
	adviseOnAppIdle(tree, 400);
	assert.match(tree.advised.get("app_keep_alive")?.detail ?? "", /idle for 400 ms/);
});
