import assert from "node:assert/strict";
import { test } from "node:test";
import { settleHeap } from "./settle-heap.ts";

test("what nobody holds any more is given back, and the door to the collector is closed again", async () => {
	const { promise, resolve } = Promise.withResolvers<string>();
	const registry = new FinalizationRegistry(resolve);
	(() => registry.register({ big: new Array(1000).fill({}) }, "collected"))();
	settleHeap();
	assert.equal(await promise, "collected");
	const { runInNewContext } = process.getBuiltinModule("node:vm");
	assert.equal(runInNewContext("typeof gc"), "undefined");
});
