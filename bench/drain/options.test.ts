import assert from "node:assert/strict";
import { test } from "node:test";
import { AGENT_BUNDLE } from "../peers/outrigger.ts";
import { HELP, parseOptions } from "./options.ts";

test("without options it is every app in every mode, over twenty restarts and a hundred thousand requests", () => {
	const options = parseOptions([]);
	assert.deepEqual(
		options.apps.map(({ name }) => name),
		["node", "fastapi", "go", "java", "nginx"],
	);
	assert.deepEqual(options.modes, ["port", "none", "without"]);
	assert.deepEqual(
		[options.pairs, options.restarts, options.requests, options.ratePerSecond, options.lateMs, options.seed],
		[3, 20, 100_000, 500, 2000, 1],
	);
	assert.deepEqual([options.isCheck, options.agent, options.markdownFile], [false, AGENT_BUNDLE, undefined]);
});

test("--quick is small and a check, and what is said besides counts", () => {
	const options = parseOptions(["--quick", "--restarts", "5", "--seed", "9"]);
	assert.deepEqual(
		options.apps.map(({ name }) => name),
		["node"],
	);
	assert.deepEqual(options.modes, ["port"]);
	assert.deepEqual([options.pairs, options.restarts, options.requests, options.seed], [2, 5, 5000, 9]);
	assert.equal(options.isCheck, true);
	assert.deepEqual(parseOptions(["--quick", "--apps", "go,nginx", "--modes", "none"]).modes, ["none"]);
});

test("files, and the build of the agent, are taken as they are said", () => {
	const options = parseOptions(["--markdown", "--json", "x.json", "--agent", "/a/main.js", "--check", "--keep"]);
	assert.deepEqual(
		[options.markdownFile, options.jsonFile, options.agent],
		["docs/benchmarks.md", "x.json", "/a/main.js"],
	);
	assert.deepEqual([options.isCheck, options.isKept, options.isInstall], [true, true, false]);
	assert.equal(parseOptions(["--markdown=other.md"]).markdownFile, "other.md");
});

test("what is wrong is told with what is right", () => {
	assert.throws(() => parseOptions(["--apps", "node,ruby"]), /no app is called "ruby"; there are: node, fastapi, go/);
	assert.throws(() => parseOptions(["--modes", "env"]), /no mode is called "env"; there are: port, none, without/);
	assert.throws(() => parseOptions(["--pairs", "1"]), /--pairs is a whole number from 2 to 20, not "1"/);
	assert.throws(() => parseOptions(["--rate", "fast"]), /--rate is a whole number/);
	assert.throws(() => parseOptions(["--fast"]), /Unknown option/);
});

test("the help names every option", () => {
	const names = ["apps", "modes", "pairs", "restarts", "requests", "rate", "late", "seed", "quick", "agent"];
	for (const name of [...names, "json", "markdown", "check", "install", "keep"])
		assert.match(HELP, new RegExp(`--${name}`));
});
