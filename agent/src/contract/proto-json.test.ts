import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ApiError } from "./method.ts";
import { Fields, renderTime } from "./proto-json.ts";

/** What is said of the mistake. */
function mistake(read: () => unknown): string {
	try {
		read();
	} catch (error) {
		assert.ok(error instanceof ApiError);
		assert.equal(error.code, "invalid_argument");
		return error.message;
	}
	assert.fail("nothing was wrong");
}

test("a moment is RFC 3339 with milliseconds", () => {
	assert.equal(renderTime(0), "1970-01-01T00:00:00.000Z");
});

describe("fields", () => {
	const bounds = { charactersMax: 5 };

	test("that are null or absent are not there, and those that nobody knows are ignored", () => {
		const fields = new Fields({ a: null, other: { deep: [1] } });
		assert.equal(fields.text("a", bounds), undefined);
		assert.equal(fields.text("b", bounds), undefined);
		assert.equal(fields.text("constructor", bounds), undefined);
		assert.equal(fields.text("__proto__", bounds), undefined);
		assert.equal(fields.flag("b"), false);
		assert.equal(fields.count("b", 10, 7), 7);
	});

	test("hold what they should", () => {
		const fields = new Fields({
			text: "abc",
			flag: true,
			ttl: "1.5s",
			limit: 3,
			zero: 0,
		});
		assert.equal(fields.requiredText("text", bounds), "abc");
		assert.equal(fields.flag("flag"), true);
		assert.equal(fields.requiredDuration("ttl", 0, 2_000), 1500);
		assert.equal(fields.count("limit", 10, 7), 3);
		assert.equal(fields.count("zero", 10, 7), 7);
	});

	test("that are wrong say where and why", () => {
		const wrong = new Fields({
			number: 1,
			long: "abcdef",
			control: "a\u0007b",
			line: "a\u2028b",
			empty: "",
			flag: "true",
			ttl: "soon",
			ttlNumber: 5,
			huge: "99s",
			negative: "-1s",
			limit: 1.5,
			below: -1,
			above: 11,
		});
		const rows: readonly (readonly [() => unknown, string])[] = [
			[() => wrong.text("number", bounds), "number: this is not a text"],
			[() => wrong.text("long", bounds), "long: at most 5 characters"],
			[() => wrong.text("control", bounds), "control: this holds a control character"],
			[() => wrong.text("line", bounds), "line: this holds a control character"],
			[() => wrong.text("long", { charactersMax: 9, pattern: /^[0-9]+$/, expected: "digits" }), "long: digits"],
			[() => wrong.requiredText("empty", bounds), "empty: this must be there"],
			[() => wrong.requiredText("absent", bounds), "absent: this must be there"],
			[() => wrong.flag("flag"), "flag: this is neither true nor false"],
			[() => wrong.requiredDuration("ttl", 0, 1), 'ttl: this is not a duration such as "1.5s"'],
			[() => wrong.requiredDuration("ttlNumber", 0, 1), 'ttlNumber: this is not a duration such as "1.5s"'],
			[() => wrong.requiredDuration("absent", 0, 1), "absent: this must be there"],
			[() => wrong.requiredDuration("huge", 1_000, 60_000), 'huge: from "1s" to "60s"'],
			[() => wrong.requiredDuration("negative", 0, 60_000), 'negative: from "0s" to "60s"'],
			[() => wrong.count("limit", 10, 1), "limit: this is not a whole number"],
			[() => wrong.count("below", 10, 1), "below: this is not a whole number"],
			[() => wrong.count("above", 10, 1), "above: at most 10"],
		];
		for (const [read, message] of rows) assert.equal(mistake(read), message);
	});
});
