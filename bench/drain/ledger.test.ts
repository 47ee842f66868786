import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Arrival } from "./arrivals.ts";
import { Ledger, percentilesOf } from "./ledger.ts";

const arrival = (id: number, change: Partial<Arrival> = {}): Arrival => ({
	id,
	atMs: 0,
	what: "quick",
	way: "lb",
	isFresh: false,
	uploadBytes: 0,
	pick: 0,
	...change,
});

test("every request is counted once when it begins and once when it ends, well or lost", () => {
	const ledger = new Ledger();
	const [one, two, three] = [arrival(1), arrival(2, { what: "slow", way: "direct" }), arrival(3)];
	ledger.begin(one, 0.5, true);
	ledger.begin(two, 1.5, false);
	ledger.begin(three, 0, true);
	ledger.end(one, 10, true);
	ledger.end(two, 20, false);
	assert.throws(() => ledger.tally(0, 0), /1 requests have not ended/);
	ledger.end(three, 30, true);
	const tally = ledger.tally(5, 1);
	assert.deepEqual([tally.begun, tally.good, tally.lost], [3, 2, 1]);
	assert.deepEqual([tally.connectionsOpened, tally.connectionsLost], [5, 1]);
	assert.deepEqual(tally.begunBy, {
		...{ lb: 2, direct: 1, quick: 2, slow: 1, upload: 0, download: 0 },
		...{ fresh: 1, reused: 2 },
	});
	assert.deepEqual(tally.durationMs.quick, { p50: 10, p99: 30, max: 30 });
	assert.equal(tally.durationMs.slow, undefined); // a lost request has no duration
	assert.deepEqual(tally.latenessMs, { p50: 0.5, p99: 1.5, max: 1.5 });
});

test("a request that begins twice, ends twice, or ends without having begun is a mistake of the bench", () => {
	const ledger = new Ledger();
	ledger.begin(arrival(1), 0, false);
	assert.throws(() => ledger.begin(arrival(1), 0, false), /request 1 begins twice/);
	ledger.end(arrival(1), 0, true);
	assert.throws(() => ledger.end(arrival(1), 0, true), /request 1 ends without having begun, or twice/);
	assert.throws(() => ledger.end(arrival(2), 0, true), /request 2 ends without/);
});

test("percentiles are values that were there, in their order; there are none of nothing", () => {
	assert.equal(percentilesOf([]), undefined);
	assert.deepEqual(percentilesOf(Array.from({ length: 100 }, (_, index) => 100 - index)), {
		p50: 50,
		p99: 99,
		max: 100,
	});
	fc.assert(
		fc.property(fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { minLength: 1 }), (values) => {
			const found = percentilesOf(values);
			assert.ok(found !== undefined);
			assert.ok(found.p50 <= found.p99 && found.p99 <= found.max);
			assert.equal(found.max, Math.max(...values));
			for (const value of Object.values(found)) assert.ok(values.includes(value));
		}),
	);
});
