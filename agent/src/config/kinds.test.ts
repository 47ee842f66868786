import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Input, Kind } from "./kinds.ts";
import * as kinds from "./kinds.ts";

const place = { kind: "default" } as const;
const text = (value: string): Input => ({ form: "text", place, text: value });
const yaml = (value: string | number | boolean | null): Input => ({
	form: "scalar",
	place,
	text: value === null ? "" : String(value),
	type: value === null ? "null" : (typeof value as "string" | "number" | "boolean"), // the parameter has no other type
});
const items = (...values: readonly Input[]): Input => ({ form: "list", place, items: values });
const map: Input = { form: "map", place, entries: [["a", yaml("1")]] };

/** `[input, value]` is good, `[input, kind of problem, part of the message]` is not. */
type Row = readonly [Input, unknown] | readonly [Input, string, RegExp];

function check<T>(kind: Kind<T>, rows: readonly Row[]): void {
	for (const [input, wanted, message] of rows) {
		const reading = kind.read(input);
		const told = JSON.stringify([input, reading]);
		if (message === undefined) {
			assert.ok("value" in reading, told);
			assert.deepEqual(reading.value, wanted, told);
		} else {
			assert.ok("mismatches" in reading, told);
			const [first] = reading.mismatches;
			assert.equal(first?.kind, wanted, told);
			assert.match(`${first?.message} ${first?.suggestion ?? ""}`, message, told);
		}
	}
}

describe("a kind reads what is right and says why the rest is not:", () => {
	test("duration", () => {
		check(kinds.duration("10ms", "1m"), [
			[text("1s"), 1000],
			[yaml("1s"), 1000],
			[yaml("10ms"), 10],
			[yaml("9ms"), "out_of_bounds", /too small/],
			[yaml("61s"), "out_of_bounds", /too large/],
			[yaml(10), "wrong_type", /unit is missing/],
			[text("10"), "wrong_type", /unit is missing/],
			[text("10 seconds"), "wrong_type", /10s/],
			[text("2 MIN"), "wrong_type", /2m/],
			[text("1hour"), "wrong_type", /1h/],
			[text("5 millis"), "wrong_type", /5ms/],
			[text("soon"), "wrong_type", /not a duration/],
			[yaml(true), "wrong_type", /boolean/],
			[yaml(null), "wrong_type", /no value/],
			[items(), "wrong_type", /a list/],
			[map, "wrong_type", /a mapping/],
		]);
	});

	test("size", () => {
		check(kinds.size("1KiB", "1MiB"), [
			[yaml("1KiB"), 1024],
			[yaml(1024), "wrong_type", /unit is missing/],
			[yaml("16Ki"), "wrong_type", /16KiB/],
			[yaml("16 kb"), "wrong_type", /16KiB/],
			[yaml("1M"), "wrong_type", /1MiB/],
			[yaml("512 bytes"), "wrong_type", /512B/],
			[yaml("1B"), "out_of_bounds", /too small/],
			[yaml("2MiB"), "out_of_bounds", /too large/],
		]);
	});

	test("integer and number", () => {
		check(kinds.integer(-1, 10), [
			[yaml(10), 10],
			[text("-1"), -1],
			[text("-0"), 0],
			[text("+3"), 3],
			[yaml(11), "out_of_bounds", /too large/],
			[yaml(-2), "out_of_bounds", /too small/],
			[yaml(1.5), "wrong_type", /whole number/],
			[yaml("5"), "wrong_type", /quotes/],
			[yaml("five"), "wrong_type", /this is text/],
			[text(""), "wrong_type", /whole number/],
			[text("1e1"), "wrong_type", /whole number/],
			[text("0x5"), "wrong_type", /whole number/],
			[text("1234567890123456"), "wrong_type", /whole number/],
			[yaml(true), "wrong_type", /boolean/],
		]);
		check(kinds.number(0, 1), [
			[yaml(0.5), 0.5],
			[text(".5"), 0.5],
			[text("1."), 1],
			[text("5e-1"), 0.5],
			[yaml(1.1), "out_of_bounds", /too large/],
			[text("NaN"), "wrong_type", /not a number/],
			[yaml("0.5"), "wrong_type", /quotes/],
		]);
	});

	test("boolean", () => {
		check(kinds.boolean(), [
			[yaml(true), true],
			[{ form: "scalar", place, text: "False", type: "boolean" }, false],
			[text("true"), true],
			[text("false"), false],
			[text("TRUE"), "wrong_type", /not a boolean/],
			[text("1"), "wrong_type", /true/],
			[yaml("yes"), "wrong_type", /true/],
			[yaml("off"), "wrong_type", /false/],
			[yaml("true"), "wrong_type", /quotes/],
			[yaml(null), "wrong_type", /not a boolean/],
			[items(), "wrong_type", /not a boolean/],
		]);
	});

	test("choice", () => {
		check(kinds.choice("warn", "error"), [
			[yaml("warn"), "warn"],
			[yaml("warning"), "bad_value", /warn$/],
			[text("WARN"), "bad_value", /warn$/],
			[yaml(3), "wrong_type", /a number/],
		]);
	});

	test("text", () => {
		const rule = { label: "name", expected: "a name", pattern: "[A-Za-z]+", charactersMax: 5 } as const;
		check(
			kinds.text({ ...rule, keeps: "lower", refuse: (value) => (value === "root" ? "this is taken" : undefined) }),
			[
				[yaml("Abc"), "abc"],
				[yaml("abcdef"), "out_of_bounds", /too long/],
				[yaml("a1"), "bad_value", /not a name/],
				[yaml("abc\n"), "bad_value", /not a name/],
				[yaml("root"), "bad_value", /taken/],
				[yaml(1.1), "wrong_type", /quotes/],
				[yaml(false), "wrong_type", /quotes/],
				[yaml(null), "wrong_type", /no value/],
				[map, "wrong_type", /a mapping/],
			],
		);
		assert.equal(kinds.text(rule).write("abc"), "abc");
	});

	test("addresses", () => {
		check(kinds.listenAddress(), [
			[yaml(":80"), { kind: "tcp", host: undefined, port: 80 }],
			[yaml(80), "wrong_type", /a port alone/],
			[text("80"), "bad_address", /colon/],
			[yaml(null), "wrong_type", /no value/],
		]);
		check(kinds.loopbackAddress(), [
			[text("unix:/x"), { kind: "unix", path: "/x" }],
			[text(":9802"), "bad_address", /outside/],
			[text("10.0.0.1:9802"), "bad_address", /outside/],
		]);
		check(kinds.targetAddress(), [
			[text("app:80"), { kind: "tcp", host: "app", port: 80 }],
			[text(":80"), "bad_address", /host is missing/],
		]);
		check(kinds.ipAddress(), [
			[text("::1"), "::1"],
			[text("1.2.3"), "bad_value", /not an IP/],
			[text("host"), "bad_value", /not an IP/],
		]);
	});

	test("URL, whose password is never shown", () => {
		const kind = kinds.url(["http", "tcp"], true);
		check(kind, [
			[text("http://a/b"), "http://a/b"],
			[text("tcp://a:1"), "tcp://a:1"],
			[text("tcp://a"), "bad_value", /port is missing/],
			[text("ftp://a"), "bad_value", /not a URL/],
			[text("http://a b"), "bad_value", /not a URL/],
			[text("http://[x"), "bad_value", /not a URL/],
			[text("http://a/#x"), "bad_value", /fragment/],
			[text("http://"), "bad_value", /not a URL/],
		]);
		assert.equal(kind.show?.("http://u:p@a/b@c"), "http://[hidden]@a/b@c");
		assert.equal(kind.show?.("http://a/b@c"), "http://a/b@c");
		const reading = kind.read(text("htp://u:geheim@a/"));
		assert.ok("mismatches" in reading);
		assert.doesNotMatch(JSON.stringify(reading), /geheim/);
	});

	test("list", () => {
		const kind = kinds.list(kinds.choice("a", "b", "c"), { itemsMin: 1, itemsMax: 2, plural: "letters" });
		check(kind, [
			[items(yaml("a"), yaml("b")), ["a", "b"]],
			[text("a, b"), ["a", "b"]],
			[text("a"), ["a"]],
			[text("none"), "out_of_bounds", /only 0/],
			[items(), "out_of_bounds", /only 0/],
			[text("a,b,c"), "out_of_bounds", /3 letters/],
			[text("a,"), "bad_value", /no such choice/],
			[text("a,a"), "duplicate", /twice/],
			[items(yaml("a"), yaml(3)), "wrong_type", /a number/],
			[yaml("a"), "wrong_type", /brackets/],
			[yaml(3), "wrong_type", /not a list/],
			[yaml(null), "wrong_type", /not a list/],
			[map, "wrong_type", /a mapping/],
		]);
		const all = kind.read(items(yaml("x"), yaml("y")));
		assert.equal("mismatches" in all && all.mismatches.length, 2, "each bad item is told");
		const free = kinds.list(kinds.url(["http"], false), { itemsMax: 2, plural: "URLs" });
		check(free, [[yaml("none"), []]]);
		assert.deepEqual(free.show?.(["http://u:p@a/"]), ["http://[hidden]@a/"]);
	});

	test("names with values", () => {
		const name = { label: "name", expected: "a name", pattern: "[a-z]+", charactersMax: 9, keeps: "lower" } as const;
		const kind = kinds.pairs(
			name,
			{ label: "text", expected: "text", pattern: "[^\\x00-\\x1f]*", charactersMax: 20 },
			2,
		);
		check(kind, [
			[map, { a: "1" }],
			[text("a=1,b=two%20words,"), { a: "1", b: "two words" }],
			[text("none"), {}],
			[yaml("none"), {}],
			[text("a=b=c"), { a: "b=c" }],
			[text("a"), "bad_value", /name=value/],
			[text("=1"), "bad_value", /name=value/],
			[text("a=%zz"), "bad_value", /name=value/],
			[text("a=1,a=2"), "duplicate", /twice/],
			[text("a=1,b=2,c=3"), "out_of_bounds", /3 names/],
			[text("1=1"), "bad_value", /not a name/],
			[text("a=%00"), "bad_value", /not text/],
			[yaml("a=1"), "wrong_type", /mapping/],
			[items(), "wrong_type", /mapping/],
		]);
		assert.equal(kind.write({}), "none");
	});

	test("a word in place of a value, and no value at all", () => {
		const kind = kinds.or(kinds.duration("1s", "1m"), "none", Number.POSITIVE_INFINITY);
		check(kind, [
			[yaml("none"), Number.POSITIVE_INFINITY],
			[text("1s"), 1000],
			[yaml("None"), "wrong_type", /not a duration/],
		]);
		assert.equal(kind.write(Number.POSITIVE_INFINITY), "none");
		assert.equal(kind.show?.(1000), "1s");
		const maybe = kinds.optional(kinds.url(["http"], false));
		assert.equal(maybe.write(undefined), "");
		assert.equal(maybe.show?.(undefined), "");
		assert.equal(maybe.show?.("http://u@a"), "http://[hidden]@a");
		assert.equal(kinds.optional(kind).show?.(1000), "1s");
		assert.equal(kinds.optional(kinds.duration("1s", "1m")).show?.(1000), "1s");
	});
});
