import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { isHealthJson, readHealthJson } from "./health-json.ts";
import { CHILDREN_MAX, type HealthStatus, TEXT_CHARACTERS_MAX } from "./health-tree.ts";

const read = (document: unknown) => readHealthJson(JSON.stringify(document));

test("the content type may have parameters and any case, and must be this one", () => {
	for (const type of [
		"application/health+json",
		"Application/Health+JSON; charset=utf-8",
		" application/health+json ;x",
	]) {
		assert.equal(isHealthJson(type), true, type);
	}
	for (const type of [undefined, "", "application/json", "application/health+jsonx", "x application/health+json"]) {
		assert.equal(isHealthJson(type), false, String(type));
	}
});

describe("the word of the whole:", () => {
	const words: readonly (readonly [string, HealthStatus])[] = [
		["pass", "pass"],
		["OK", "pass"],
		["up", "pass"],
		["Warn", "warn"],
		["fail", "fail"],
		["error", "fail"],
		["DOWN", "fail"],
	];
	for (const [word, status] of words) {
		test(`${word} is ${status}`, () => {
			assert.deepEqual(read({ status: word }), {
				status,
				detail: undefined,
				children: [],
				left: 0,
				problem: undefined,
			});
		});
	}
});

test("the draft's own example is read: each measurement a child, instances told apart by their ids", () => {
	const { status, detail, children, left } = read({
		status: "warn",
		version: "1",
		notes: ["half of the replicas"],
		output: "",
		checks: {
			"cassandra:responseTime": [
				{ componentId: "dfd6cf2b", componentType: "datastore", observedValue: 250, observedUnit: "ms", status: "pass" },
			],
			"cpu:utilization": [
				{ componentId: "6fd416e0", node: 1, observedValue: 85, observedUnit: "percent", status: "warn", output: "" },
				{ observedValue: true, status: "fail", output: "busy" },
			],
			uptime: [{ observedValue: 1209600.245, observedUnit: "s" }],
			single: { status: "UP", observedValue: { nested: 1 } },
		},
	});
	assert.deepEqual([status, detail, left], ["warn", "half of the replicas", 0]);
	assert.deepEqual(
		children.map((child) => [child.name, child.status, child.critical, child.detail]),
		[
			["cassandra:responseTime", "pass", false, "250 ms"],
			["cpu:utilization 6fd416e0", "warn", false, "85 percent"],
			["cpu:utilization 2", "fail", false, "true: busy"],
			["uptime", "pass", false, "1209600.245 s"],
			["single", "pass", false, undefined],
		],
	);
});

describe("nonsense is a problem in words, and no child:", () => {
	const cases: readonly (readonly [string, string, RegExp])[] = [
		["half a document", '{"status":"pa', /^it is not JSON$/],
		["nothing", "", /^it is not JSON$/],
		["a page", "<html>", /^it is not JSON$/],
		["a list", '[{"status":"pass"}]', /^it is not a JSON object$/],
		["null", "null", /^it is not a JSON object$/],
		["no status", '{"checks":{"a":[{"status":"pass"}]}}', /^its "status" is none of/],
		["another word", '{"status":"healthy"}', /^its "status" is none of/],
		["a number for a word", '{"status":1}', /^its "status" is none of/],
		["deep nesting", "[".repeat(60_000), /^it is not JSON$/],
	];
	for (const [name, text, problem] of cases) {
		test(name, () => {
			const { status, children, problem: told } = readHealthJson(text);
			assert.deepEqual([status, children], [undefined, []]);
			assert.match(told ?? "", problem);
		});
	}
});

test("checks that make no sense, or are too many, are left out and counted; the rest counts", () => {
	assert.deepEqual(read({ status: "ok", checks: { a: [5, null, { status: "great" }, { status: "ok" }], b: "x" } }), {
		status: "pass",
		detail: undefined,
		children: [{ name: "a 4", status: "pass", critical: false, detail: undefined }],
		left: 4,
		problem: undefined,
	});
	const many = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`c${index}`, [{ status: "ok" }]]));
	const { children, left } = read({ status: "ok", checks: many });
	assert.deepEqual([children.length, left], [CHILDREN_MAX, 36]);
	assert.deepEqual(read({ status: "ok", checks: "none" }).children, []);
	assert.deepEqual(
		readHealthJson('{"status":"ok","checks":{"__proto__":[{"status":"fail"}]}}').children.map(({ name }) => name),
		["__proto__"],
	);
});

test("it never throws, and what comes of it is bounded, whatever the app answers", () => {
	const word = fc.oneof(fc.constantFrom("pass", "ok", "down", "warn", "?"), fc.anything());
	const entry = fc.oneof(
		fc.record(
			{ status: word, output: fc.anything(), observedValue: fc.anything(), componentId: fc.anything() },
			{ requiredKeys: [] },
		),
		fc.anything(),
	);
	const document = fc.record(
		{
			status: word,
			output: fc.anything(),
			notes: fc.anything(),
			checks: fc.dictionary(fc.string(), fc.oneof(fc.array(entry), entry)),
		},
		{ requiredKeys: [] },
	);
	const text = fc.oneof(
		fc.string(),
		fc.json(),
		document.map(
			(value) => JSON.stringify(value, (_, each: unknown) => (typeof each === "bigint" ? String(each) : each)) ?? "",
		),
	);
	fc.assert(
		fc.property(text, (given) => {
			const { status, children, problem, detail, left } = readHealthJson(given);
			assert.equal(status === undefined, problem !== undefined);
			assert.ok(children.length <= CHILDREN_MAX && left >= 0);
			assert.ok((detail?.length ?? 0) <= TEXT_CHARACTERS_MAX);
			for (const child of children) {
				assert.ok(["pass", "warn", "fail"].includes(child.status));
				assert.equal(child.critical, false);
				assert.ok((child.detail?.length ?? 0) <= 2 * TEXT_CHARACTERS_MAX);
			}
		}),
	);
});
