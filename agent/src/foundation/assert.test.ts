import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import { AssertionFailure, assert, unreachable } from "./assert.ts";

test("a claim that holds says nothing; one that does not is a mistake of ours, with its message", () => {
	equal(assert(true, "holds"), undefined);
	throws(
		() => assert(false, "a bound is positive"),
		(error) => error instanceof AssertionFailure && error.message === "a bound is positive",
	);
});

test("a case that the types rule out names the value when it comes all the same", () => {
	const value = "sideways" as never; // what a switch over a closed union can only meet when a cast has lied
	throws(() => unreachable(value), { name: "AssertionFailure", message: "unreachable: sideways" });
	deepEqual(new AssertionFailure("x") instanceof Error, true);
});
