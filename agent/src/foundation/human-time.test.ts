import assert from "node:assert/strict";
import { test } from "node:test";
import { humanTime } from "./human-time.ts";

test("a time is told in the units in which people read it", () => {
	for (const [ms, text] of [
		[Number.NaN, "0 ms"],
		[-1, "0 ms"],
		[0, "0 ms"],
		[0.04, "less than 0.1 ms"],
		[0.14, "0.1 ms"],
		[1, "1 ms"],
		[9.94, "9.9 ms"],
		[9.96, "10 ms"],
		[12.4, "12 ms"],
		[999, "999 ms"],
		[999.6, "1 s"],
		[1_234, "1.23 s"],
		[9_999, "10 s"],
		[12_345, "12.3 s"],
		[59_900, "59.9 s"],
		[60_000, "1 min"],
		[61_000, "1 min 1 s"],
		[3_599_000, "59 min 59 s"],
		[3_599_900, "1 h"],
		[3_660_000, "1 h 1 min"],
		[86_400_000, "1 d"],
		[90_000_000, "1 d 1 h"],
	] as const) {
		assert.equal(humanTime(ms), text, String(ms));
	}
});
