import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { errorCode } from "./byte-stream.ts";

test("the code of a system error is its code, and of anything else an empty string", () => {
	assert.equal(errorCode(Object.assign(new Error("reset"), { code: "ECONNRESET" })), "ECONNRESET");
	for (const other of [new Error("none"), Object.assign(new Error("a number"), { code: 5 }), "ECONNRESET", undefined]) {
		assert.equal(errorCode(other), "");
	}
	assert.throws(
		() => readFileSync(new URL("there-is-no-such-file", import.meta.url)),
		(error) => errorCode(error) === "ENOENT",
	);
});

test("a stream that is reset while its FIN is on its way keeps no process from ending", () => {
	const fixture = fileURLToPath(new URL("./reset-while-ending.fixture.ts", import.meta.url));
	// Without the way around it this child spins for ever in the clean-up of its handles.
	const { status, signal } = spawnSync(
		process.execPath,
		[...process.execArgv.filter((arg) => !arg.startsWith("--test")), fixture],
		{
			timeout: 60_000,
			env: { ...process.env, NODE_TEST_CONTEXT: undefined },
		},
	);
	assert.deepEqual([status, signal], [0, null]);
});
