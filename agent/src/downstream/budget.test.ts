import assert from "node:assert/strict";
import { test } from "node:test";
import { CELL, Counters } from "../bridge/counters.ts";
import { Budget } from "./budget.ts";

test("bytes are taken in any case; that they are too many is said, until enough are given back", () => {
	const counters = Counters.allocate();
	const budget = new Budget(100, counters);
	assert.deepEqual([budget.take(60), budget.take(40)], [true, true]);
	assert.equal(budget.isExceeded, false, "all of it is not too much");
	assert.equal(budget.take(1), false);
	assert.equal(budget.isExceeded, true);
	assert.equal(counters.get(CELL.BUFFERED_BYTES), 101, "they are there, whether we like it or not");
	budget.give(1);
	assert.equal(budget.isExceeded, false);
	budget.give(100);
	assert.equal(counters.get(CELL.BUFFERED_BYTES), 0);
});
