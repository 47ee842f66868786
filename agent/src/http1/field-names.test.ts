import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { AssertionFailure } from "../foundation/assert.ts";
import { FIELD, FIELD_FLAG, FieldNames } from "./field-names.ts";

const latin1 = (text: string): Buffer => Buffer.from(text, "latin1");
const find = (names: FieldNames, text: string): number => names.find(latin1(text), 0, text.length);

describe("the table of field names", () => {
	it("gives each known name the id that FIELD promises, in any case", () => {
		const names = new FieldNames();
		const entries = Object.entries(FIELD).filter(([key]) => key !== "UNKNOWN");
		assert.equal(names.count, entries.length);
		for (const [key, id] of entries) {
			const name = key.toLowerCase().replaceAll("_", "-");
			assert.equal(names.nameOf(id), name);
			assert.equal(names.idOf(name), id);
			assert.equal(find(names, name), id);
			assert.equal(find(names, name.toUpperCase()), id);
			assert.equal(names.find(latin1(`??${name}??`), 2, 2 + name.length), id);
		}
	});

	it("gives configured names ids of their own and protects them", () => {
		const names = new FieldNames(["x-request-id", "x-tenant-id", "user-agent"]);
		const id = names.idOf("x-request-id");
		assert.equal(id, new FieldNames().count + 1);
		assert.equal(find(names, "X-Request-ID"), id);
		assert.equal(names.flags(id), FIELD_FLAG.WHO | FIELD_FLAG.NOT_TRAILER);
		assert.equal(names.idOf("user-agent"), FIELD.USER_AGENT);
		assert.equal(names.flags(FIELD.USER_AGENT), FIELD_FLAG.WHO | FIELD_FLAG.NOT_TRAILER);
	});

	it("gives 0 to every other name, also to ones that look alike", () => {
		const names = new FieldNames();
		for (const text of [
			"hos",
			"hosts",
			"h0st",
			"HOSU",
			"x",
			"content-lengti",
			"content--length",
			"content.length",
			"X-Forwarded-Fox",
		]) {
			assert.equal(find(names, text), 0, text);
		}
		assert.equal(names.idOf("x-none"), 0);
		assert.equal(names.flags(0), 0);
		const known = new Set(Object.keys(FIELD).map((key) => key.toLowerCase().replaceAll("_", "-")));
		fc.assert(
			fc.property(fc.stringMatching(/^[a-z-]{1,20}$/), (text) => {
				assert.equal(find(names, text) !== 0, known.has(text) && text !== "unknown");
			}),
		);
	});

	it("tells a name with underscores from the name that it resembles", () => {
		const names = new FieldNames(["x-request-id", "under_score"]);
		assert.equal(find(names, "Content_Length"), -FIELD.CONTENT_LENGTH);
		assert.equal(find(names, "x_request-id"), -names.idOf("x-request-id"));
		assert.equal(find(names, "under_score"), names.idOf("under_score"));
		assert.equal(find(names, "under-score"), -names.idOf("under_score"));
	});

	it("finds all of a thousand configured names", () => {
		const configured = Array.from({ length: 1000 }, (_, i) => `x-name-${i}`);
		const names = new FieldNames(configured);
		for (const name of configured) assert.equal(names.nameOf(find(names, name)), name);
	});

	it("knows families by their beginning", () => {
		const names = new FieldNames();
		const is = (text: string) => [
			names.isForwardedName(latin1(text), 0, text.length),
			names.isOurName(latin1(text), 0, text.length),
		];
		assert.deepEqual(is("X-Forwarded-Prefix"), [true, false]);
		assert.deepEqual(is("X-Outrigger-"), [false, true]);
		assert.deepEqual(is("X-Outrigger"), [false, false]);
		assert.deepEqual(is("X-Forwardex-For"), [false, false]);
		assert.deepEqual(is("Y-Outrigger-A"), [false, false]);
	});

	it("refuses names that no configuration may have", () => {
		for (const name of ["", "X-Upper", "a b", "a:b", "\u00e4"]) {
			assert.throws(() => new FieldNames([name]), AssertionFailure);
		}
		assert.throws(() => new FieldNames(Array.from({ length: 1025 }, (_, i) => `x${i}`)), AssertionFailure);
	});
});
