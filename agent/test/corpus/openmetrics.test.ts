import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ExpositionParser } from "../../src/telemetry/exposition-parse.ts";

/**
 * The expositions of the OpenMetrics project's own parser tests. The strict parser must agree with every verdict; the lenient one
 * may pass flawed families on without their type, but must never take a page that cannot be read.
 */
const corpora = process.env["OUTRIGGER_CORPORA"];
const skip = corpora === undefined ? "OUTRIGGER_CORPORA is not set" : false;

interface Case {
	readonly name: string;
	readonly should_parse: boolean;
	readonly text: string;
}

/** Cases judged otherwise by the strict rules, with the reason. */
const DEVIATIONS: Readonly<Record<string, string>> = {};

const LIMITS = { bytesMax: 1 << 20, lineBytesMax: 16_384, samplesMax: 1_000, familiesMax: 100, labelsMax: 64 };

function load(): readonly Case[] {
	const file = JSON.parse(readFileSync(join(corpora ?? "", "openmetrics_vectors.json"), "utf8")) as { cases: Case[] };
	return file.cases;
}

function parse(text: string, rules: "strict" | "lenient", step = Number.POSITIVE_INFINITY): string {
	const parser = new ExpositionParser("openmetrics", rules, LIMITS);
	const bytes = Buffer.from(text);
	for (let at = 0; at < bytes.length; at += step) if (!parser.write(bytes.subarray(at, at + step))) break;
	return parser.end() === undefined ? `refused: line ${parser.problem?.line}: ${parser.problem?.message}` : "taken";
}

test("the strict rules judge every vector as its authors do", { skip }, () => {
	const cases = load();
	assert.equal(cases.length, 211);
	const otherwise = cases.filter(({ text, should_parse }) => (parse(text, "strict") === "taken") !== should_parse);
	assert.deepEqual(
		otherwise.map(({ name }) => name).sort(),
		Object.keys(DEVIATIONS).sort(),
		"judged otherwise (left) must be what DEVIATIONS lists (right): no more, and nothing stale",
	);
});

test("a vector is judged the same when it comes byte by byte", { skip }, () => {
	for (const { name, text } of load()) assert.equal(parse(text, "strict", 1), parse(text, "strict"), name);
});

test("the lenient rules take every good vector", { skip }, () => {
	for (const { name, text, should_parse } of load()) {
		if (should_parse) assert.equal(parse(text, "lenient"), "taken", name);
	}
});
