import assert from "node:assert/strict";
import { test } from "node:test";
import { run } from "./health-page.ts";

test("the bench of the health page runs, and its pages are the same each time", async () => {
	const lines: string[] = [];
	const settings = { contributors: 60, probes: 200, print: (line: string) => lines.push(line) };
	const first = await run(settings);
	const second = await run(settings);
	assert.equal(lines.length, 12);
	assert.deepEqual(first, second);
	assert.equal(new Set(first).size, 3, "changed on the way or not, it is the same page");
});
