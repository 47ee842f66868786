import assert from "node:assert/strict";
import { test } from "node:test";
import { run } from "./metrics-page.ts";

test("the bench of the metrics page runs, and its pages are the same each time", async () => {
	const lines: string[] = [];
	const settings = { series: 200, appBytes: 20_000, rounds: 2, print: (line: string) => lines.push(line) };
	const first = await run(settings);
	const second = await run(settings);
	assert.equal(lines.length, 8);
	assert.deepEqual(first, second);
	assert.equal(new Set(first).size, 4);
});
