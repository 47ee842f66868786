/** What one thread does to the process ends no other thread. */
import { strict as assert } from "node:assert";
import { mock, test } from "node:test";
import v8 from "node:v8";
import { settleHeap } from "../../src/foundation/settle-heap.ts";

test("a thread that settles while another has closed the door to the collector goes on", () => {
	const flags = mock.method(v8, "setFlagsFromString", () => undefined);
	try {
		settleHeap();
		assert.deepEqual(
			flags.mock.calls.map(({ arguments: [flag] }) => flag),
			["--expose-gc", "--no-expose-gc"],
		);
	} finally {
		flags.mock.restore();
	}
});
