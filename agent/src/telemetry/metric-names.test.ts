import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { METRICS, metric } from "./metric-names.ts";

describe("the names of our metrics", () => {
	test("are unique, valid and end as their type asks", () => {
		assert.equal(new Set(METRICS.map(({ name }) => name)).size, METRICS.length);
		for (const { name, type, labels, unit, help } of METRICS) {
			assert.match(name, /^(?:http|outrigger)_[a-z0-9_]+$/);
			assert.equal(name.endsWith("_total"), type === "counter", name);
			assert.doesNotMatch(name, /_(?:bucket|sum|count|created)$/);
			if (unit !== undefined) assert.ok(name.endsWith(`_${unit}`), name);
			if (/_(?:seconds|bytes)$/.test(name)) assert.notEqual(unit, undefined, `${name} has a unit`);
			for (const label of labels) assert.match(label, /^[a-z][a-z_]*$/);
			assert.match(help, /\.$/);
		}
	});

	test("lead to their rows", () => {
		assert.equal(metric("outrigger_connections").type, "gauge");
		assert.throws(() => metric("nothing" as "outrigger_connections"), /no metric nothing/);
	});
});
