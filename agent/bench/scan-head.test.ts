import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { benchScanHead, HEADS } from "./scan-head.ts";

describe("the bench of the head scanner", () => {
	it("runs, and finds the same at every run", () => {
		const first = benchScanHead(1);
		assert.match(first.hash, /^[0-9a-f]{64}$/);
		assert.equal(benchScanHead(2).hash, first.hash);
		assert.ok(first.measurements.length > Object.keys(HEADS).length);
		for (const { nsEach } of first.measurements) assert.ok(Number.isFinite(nsEach));
	});
});
