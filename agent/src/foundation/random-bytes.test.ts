import assert from "node:assert/strict";
import { test } from "node:test";
import { fillRandom } from "./random-bytes.ts";

test("the whole of the target is filled, and nothing beside it", () => {
	const room = Buffer.alloc(4096 + 16);
	fillRandom(room.subarray(8, 8 + 4096));
	assert.deepEqual(room.subarray(0, 8), Buffer.alloc(8));
	assert.deepEqual(room.subarray(-8), Buffer.alloc(8));
	// Random bytes of that number lack 30 of the 256 values less than once in 10^60 times.
	assert.ok(new Set(room.subarray(8, 8 + 4096)).size > 200);
	assert.ok(!room.subarray(8 + 4096 - 32, 8 + 4096).equals(Buffer.alloc(32)), "up to its end");
});

test("no two fillings are alike, and an empty target is filled at once", () => {
	const one = Buffer.alloc(32);
	const two = Buffer.alloc(32);
	fillRandom(one);
	fillRandom(two);
	assert.notDeepEqual(one, two);
	fillRandom(new Uint8Array(0));
});
