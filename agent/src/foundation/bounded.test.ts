import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { BoundedMap } from "./bounded.ts";

describe("a bounded map", () => {
	test("forgets its oldest key to make room, and counts it", () => {
		const map = new BoundedMap<string, number>(2);
		map.set("a", 1);
		map.set("b", 2);
		map.set("a", 3);
		map.set("c", 4);
		assert.deepEqual(
			[...map.entries()],
			[
				["b", 2],
				["c", 4],
			],
		);
		assert.equal(map.forgotten, 1);
		assert.equal(map.get("a"), undefined);
		assert.equal(map.delete("b"), true);
		assert.equal(map.delete("b"), false);
		map.set("d", 5);
		assert.equal(map.size, 2);
		assert.equal(map.forgotten, 1);
	});

	test("has a bound", () => {
		for (const bound of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
			assert.throws(() => new BoundedMap(bound), /positive whole number/);
		}
	});
});
