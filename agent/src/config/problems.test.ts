import assert from "node:assert/strict";
import { test } from "node:test";
import { type Problem, quote, renderPlace, renderProblems } from "./problems.ts";

const problem: Problem = {
	kind: "unknown_key",
	place: { kind: "file", file: "a.yaml", line: 3, column: 12 },
	key: "timeouts",
	message: 'there is no key "hed"',
	expected: "one of head, idle",
	suggestion: "head",
	example: "head: 5s",
};

test("a problem is its place, what is wrong, what was expected and a line that would be right", () => {
	assert.equal(
		renderProblems([problem], { colour: false }),
		'a.yaml:3:12: timeouts: there is no key "hed"\n    expected: one of head, idle\n    did you mean head?\n    example: head: 5s\n',
	);
	assert.equal(renderProblems([], { colour: false }), "");
	const bare: Problem = { kind: "file", place: { kind: "flag", name: "--set a" }, key: "a", message: "no" };
	assert.equal(renderProblems([bare], { colour: false, severity: "warning" }), "--set a: warning: no\n");
});

test("colour is there when asked for, and only then", () => {
	const start = "\u001b[";
	assert.ok(renderProblems([problem], { colour: true }).includes(`${start}31m`));
	assert.ok(renderProblems([problem], { colour: true, severity: "warning" }).includes(`${start}33m`));
	assert.ok(!renderProblems([problem], { colour: false }).includes(start));
});

test("places", () => {
	assert.equal(renderPlace({ kind: "variable", name: "X" }), "X");
	assert.equal(renderPlace({ kind: "default" }), "default");
	assert.equal(renderPlace({ kind: "default", note: "host name" }), "default (host name)");
});

test("a quoted value is short and cannot paint on a terminal", () => {
	assert.equal(quote("a"), '"a"');
	assert.equal(quote("x".repeat(100)).length, 63);
	for (const character of ["\u001b", "\u009b", "\u202e", "\u2028", "\n", "\u007f"]) {
		assert.doesNotMatch(quote(`a${character}b`), new RegExp(character), JSON.stringify(character));
	}
});
