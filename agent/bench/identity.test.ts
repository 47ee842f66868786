import assert from "node:assert/strict";
import { it } from "node:test";
import { benchIdentity } from "./identity.ts";

it("the identity bench runs, measures every question, and finds the same each time", () => {
	const first = benchIdentity(50);
	const second = benchIdentity(50);
	assert.equal(first.hash, second.hash);
	assert.equal(first.measurements.length, 14);
	for (const { name, nsEach } of first.measurements) assert.ok(Number.isFinite(nsEach), name);
});
