import { strict as assert } from "node:assert";
import { test } from "node:test";
import { fuzzWholeAgent } from "./whole-agent.ts";

test("on real sockets, too, everything that was asked for is accounted for", async (t) => {
	const seed = Number(process.env["TEST_SEED"] ?? 1);
	t.diagnostic(`seed ${seed}`);
	const { requests, answered, violations } = await fuzzWholeAgent(seed);
	assert.deepEqual(violations, [], `seed ${seed}`);
	assert.ok(answered > 0 && answered <= requests);
});
