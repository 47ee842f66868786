import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
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
