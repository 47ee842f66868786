import assert from "node:assert/strict";
import { test } from "node:test";
import { didYouMean } from "./did-you-mean.ts";

test("the nearest name is meant, whatever its case and dashes", () => {
	const names = ["head", "idle", "bodyStall", "connect", "writeStall", "OUTRIGGER_TIMEOUTS__HEAD"];
	const rows: readonly (readonly [string, string | undefined])[] = [
		["hed", "head"],
		["haed", "head"],
		["body_stall", "bodyStall"],
		["body-stal", "bodyStall"],
		["conect", "connect"],
		["OUTRIGGER_TIMEOUT_HEAD", "OUTRIGGER_TIMEOUTS__HEAD"],
		["connection", "connect"],
		["zzz", undefined],
		["", undefined],
		["a".repeat(101), undefined],
	];
	for (const [typed, meant] of rows) assert.equal(didYouMean(typed, names), meant, typed);
	assert.equal(didYouMean("x", []), undefined);
	assert.equal(didYouMean("b", ["a"]), undefined, "one letter has nothing in common with another");
});
