import assert from "node:assert/strict";
import { test } from "node:test";
import { CELL, Counters } from "../../bridge/counters.ts";
import { FLAG_PROBE } from "../../bridge/exchange-record.ts";
import { FAULTS } from "../../foundation/fault.ts";
import { arrived, groundFrom } from "../exchange.fixture.ts";
import { limit } from "./limit.ts";

const ground = groundFrom({ "limits.inFlight": "10" });
const x = () => arrived(ground, ["GET / HTTP/1.1", "host: a"]);

test("each thread takes its share of limits.inFlight, rounded up, the present request included", () => {
	const counters = Counters.allocate();
	for (const [workers, share] of [
		[1, 10],
		[3, 4],
		[64, 1],
	] as const) {
		const phase = limit(ground.settings.limits, workers, counters);
		counters.set(CELL.IN_FLIGHT, share);
		assert.equal(phase(x()), undefined, `${share} of ${share}`);
		counters.set(CELL.IN_FLIGHT, share + 1);
		assert.equal(phase(x()), FAULTS.in_flight_exceeded);
	}
});

test("a probe is never refused: a busy app is not a dead one", () => {
	const counters = Counters.allocate();
	counters.set(CELL.IN_FLIGHT, 1_000);
	const probe = x();
	probe.flags |= FLAG_PROBE;
	assert.equal(limit(ground.settings.limits, 1, counters)(probe), undefined);
});
