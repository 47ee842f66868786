import assert from "node:assert/strict";
import { test } from "node:test";
import { parseDuration, renderDuration } from "./proto-duration.ts";

test("a duration is seconds with up to nine decimals, and nothing else", () => {
	for (const [text, ms] of [
		["1s", 1000],
		["1.5s", 1500],
		["0s", 0],
		["0.001s", 1],
		["0.0625s", 62.5],
		["-2.25s", -2250],
		["999999999999s", 999_999_999_999_000],
	] as const) {
		assert.equal(parseDuration(text), ms, text);
	}
	for (const text of [
		"",
		"1",
		"s",
		"1.s",
		".5s",
		"1.0000000001s",
		"1e3s",
		"1m",
		"1ms",
		" 1s",
		"1s ",
		"+1s",
		"1,5s",
		"١s",
	]) {
		assert.equal(parseDuration(text), undefined, text);
	}
	assert.deepEqual([1500, 0, 0.5, 30_000, 1234.5678].map(renderDuration), [
		"1.5s",
		"0s",
		"0.0005s",
		"30s",
		"1.234568s",
	]);
});
