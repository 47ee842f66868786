import assert from "node:assert/strict";
import { test } from "node:test";
import { type Arrival, Arrivals, WHATS } from "./arrivals.ts";

const take = (count: number, seed: number, lbShare = 0.5): readonly Arrival[] => {
	const arrivals = new Arrivals({ seed, ratePerSecond: 100, lbShare, uploadSizes: [10, 20] });
	return Array.from({ length: count }, () => arrivals.next());
};

test("the same seed gives the same requests at the same moments, another seed others", () => {
	assert.deepEqual(take(500, 7), take(500, 7));
	assert.notDeepEqual(take(500, 7), take(500, 8));
});

test("requests come at the rate that was asked for, each later than the last, of every sort, on both ways", () => {
	const arrivals = take(20_000, 1);
	const seconds = (arrivals.at(-1)?.atMs ?? 0) / 1000;
	assert.ok(Math.abs(20_000 / seconds - 100) < 3, `${20_000 / seconds} a second`);
	for (const [index, { id, atMs }] of arrivals.entries()) {
		assert.equal(id, index + 1);
		assert.ok(atMs > (arrivals[index - 1]?.atMs ?? 0));
	}
	for (const what of WHATS) {
		const some = arrivals.filter((arrival) => arrival.what === what);
		assert.ok(some.length > 30, `${some.length} × ${what}`);
		for (const way of ["lb", "direct"]) assert.ok(some.some((arrival) => arrival.way === way));
		assert.ok(some.every(({ uploadBytes }) => (what === "upload" ? uploadBytes >= 10 : uploadBytes === 0)));
	}
	const fresh = arrivals.filter(({ isFresh }) => isFresh).length / arrivals.length;
	assert.ok(fresh > 0.25 && fresh < 0.35, `${fresh} on connections of their own`);
});

test("without a load balancer every request goes directly", () => {
	assert.ok(take(1000, 1, 0).every(({ way }) => way === "direct"));
});
