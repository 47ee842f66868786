import assert from "node:assert/strict";
import { test } from "node:test";
import { arrived, groundFrom } from "../exchange.fixture.ts";
import { normalise } from "./normalise.ts";

const ground = groundFrom();

/** [method, values of Max-Forwards, what it becomes (−1: stays), whether this hop answers, why] */
const cases: readonly (readonly [string, readonly string[], number, boolean, string])[] = [
	["OPTIONS", ["5"], 4, false, "is counted down"],
	["OPTIONS", ["1"], 0, false, "may become 0: the next hop answers"],
	["OPTIONS", ["0"], -1, true, "of 0 is answered here"],
	["OPTIONS", ["000"], -1, true, "of 0 in three digits is 0"],
	["OPTIONS", ["999999999"], 999_999_998, false, "of nine digits is counted down"],
	["OPTIONS", ["1000000000"], -1, false, "of ten digits is passed on as it is"],
	["OPTIONS", [""], -1, false, "without a value is passed on"],
	["OPTIONS", ["5x"], -1, false, "that is no number is passed on"],
	["OPTIONS", ["-1"], -1, false, "that is negative is no number"],
	["OPTIONS", ["5", "0"], -1, false, "twice says nothing: nobody knows which is meant"],
	["OPTIONS", [], -1, false, "that is not there is not made up"],
	["GET", ["0"], -1, false, "means nothing for other methods (RFC 9110 §7.6.2)"],
];
for (const [method, values, maxForwards, isAnsweredHere, why] of cases) {
	test(`Max-Forwards ${JSON.stringify(values)} of ${method}: ${why}`, () => {
		const x = arrived(ground, [`${method} / HTTP/1.1`, "host: a", ...values.map((value) => `max-forwards: ${value}`)]);
		assert.equal(normalise(x), undefined);
		assert.deepEqual([x.maxForwards, x.isAnsweredHere], [maxForwards, isAnsweredHere]);
	});
}
