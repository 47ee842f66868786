import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { findBrokenRules } from "./layers.ts";
import { packageSources, repositoryFiles } from "./repository.ts";
import { readSource } from "./source.ts";

test("the repository breaks no rule of the house", () => {
	const sources = packageSources();
	assert.ok(sources.length > 0);
	assert.deepEqual(findBrokenRules(sources, repositoryFiles()), []);
});

/** A tree that is in order, small; each case below changes it. */
const sound = {
	"agent/src/main.ts": 'import { run } from "./commands/run.ts";\nprocess.exit(run());\n',
	"agent/src/commands/run.ts": 'import { agent } from "../agent.ts";\nexport const run = () => agent();\n',
	"agent/src/agent.ts":
		'import { now } from "./foundation/clock.ts";\nimport { scan } from "./http1/scan.ts";\nexport const agent = () => scan(now);\n',
	"agent/src/data-thread.ts": 'import { scan } from "./http1/scan.ts";\nscan();\n',
	"agent/src/http1/scan.ts": 'import { now } from "../foundation/clock.ts";\nexport const scan = () => now();\n',
	"agent/src/foundation/clock.ts": "export const now = () => Date.now();\n",
	"proto/src/index.ts": "export const PORT = 1;\n",
};

function brokenWith(changes: Readonly<Record<string, string>>): readonly string[] {
	return findBrokenRules(Object.entries({ ...sound, ...changes }).map(([path, text]) => readSource(path, text)));
}

describe("the rules notice", () => {
	test("nothing in a tree that is in order", () => {
		assert.deepEqual(brokenWith({}), []);
	});

	const cases: readonly (readonly [
		what: string,
		changes: Readonly<Record<string, string>>,
		expected: readonly RegExp[],
	])[] = [
		[
			"an import from a higher floor",
			{
				"agent/src/http1/scan.ts":
					'import type { agent } from "../agent.ts";\nexport const scan = (a?: typeof agent) => a;\n',
			},
			[/^agent\/src\/http1\/scan\.ts:1: imports up, .*Let agent\.ts hand over/],
		],
		[
			"an import from another folder on the same floor",
			{
				"agent/src/http1/scan.ts": '\nimport { a } from "../config/a.ts";\nexport const scan = () => a;\n',
				"agent/src/config/a.ts": "export const a = 1;\n",
			},
			[/^agent\/src\/http1\/scan\.ts:2: imports sideways/],
		],
		[
			"the one arrow that may go sideways, in the other direction",
			{
				"agent/src/agent.ts":
					'import "./exchange/a.ts";\nimport "./bridge/a.ts";\nimport "./foundation/clock.ts";\nexport const agent = 1;\n',
				"agent/src/exchange/a.ts": 'import "../bridge/b.ts";\n',
				"agent/src/bridge/a.ts": 'import "../exchange/b.ts";\n',
				"agent/src/exchange/b.ts": "",
				"agent/src/bridge/b.ts": "",
			},
			[/bridge\/a\.ts:1: imports sideways/],
		],
		[
			"an import over several lines, and one that is dynamic",
			{
				"agent/src/http1/scan.ts":
					'import {\n\tagent,\n} from "../agent.ts";\nexport const scan = async () => [agent, await import("../commands/run.ts")];\n',
			},
			[
				/scan\.ts:3: imports up, \.\.\/agent/,
				/scan\.ts:4: imports up, \.\.\/commands/,
				/circle/,
				/circle/,
				/data thread reaches commands/,
			],
		],
		[
			"a re-export from a higher floor",
			{
				"agent/src/foundation/clock.ts": 'export * from "../http1/limits.ts";\n',
				"agent/src/http1/limits.ts": "export const a = 1;\n",
			},
			[/clock\.ts:1: imports up/],
		],
		[
			"a folder without a floor",
			{
				"agent/src/agent.ts":
					'import "./magic/a.ts";\nimport { scan } from "./http1/scan.ts";\nimport "./foundation/clock.ts";\nexport const agent = scan;\n',
				"agent/src/magic/a.ts": "",
			},
			[/^agent\/src\/magic\/a\.ts: "magic" has no floor/],
		],
		[
			"a circle",
			{
				"agent/src/http1/scan.ts": 'import { b } from "./b.ts";\nexport const scan = () => b;\n',
				"agent/src/http1/b.ts": 'import { scan } from "./scan.ts";\nexport const b = () => scan;\n',
			},
			[/scan\.ts → agent\/src\/http1\/b\.ts → agent\/src\/http1\/scan\.ts: a circle\. Move/],
		],
		[
			"a file that only its test imports",
			{
				"agent/src/http1/lost.ts": "export const lost = 1;\n",
				"agent/src/http1/lost.test.ts": 'import { lost } from "./lost.ts";\nlost;\n',
			},
			[/^agent\/src\/http1\/lost\.ts: nobody imports it/],
		],
		[
			"a second process.exit, wherever it is",
			{
				"agent/src/main.ts": 'import { run } from "./commands/run.ts";\nprocess.exit(run());\nprocess.exit(1);\n',
				"agent/src/agent.ts":
					'import { scan } from "./http1/scan.ts";\nexport const agent = () => process.exit(scan());\n',
			},
			[/main\.ts:3: process\.exit/, /agent\.ts:2: process\.exit.*return an exit code/],
		],
		[
			"a second clock",
			{ "agent/src/http1/scan.ts": "export const scan = () => Date.now();\n" },
			[/scan\.ts:1: Date\.now\(\).*take a Clock/],
		],
		[
			"a folder name that says nothing",
			{ "sdk/src/index.ts": 'export { a } from "./utils/a.ts";\n', "sdk/src/utils/a.ts": "export const a = 1;\n" },
			[/^sdk\/src\/utils\/: a folder name/],
		],
		[
			"an index.ts that is no door",
			{
				"k8s/src/index.ts": 'export { a } from "./inject/index.ts";\n',
				"k8s/src/inject/index.ts": "export const a = 1;\n",
			},
			[/^k8s\/src\/inject\/index\.ts: index\.ts is only the door/],
		],
		[
			"proto importing one of our packages",
			{ "proto/src/index.ts": 'export { a } from "@outrigger/sdk";\n' },
			[/^proto\/src\/index\.ts:1: proto may not import @outrigger\/sdk/],
		],
		[
			"proto or foundation importing a package",
			{
				"proto/src/index.ts": 'export { parse } from "yaml";\n',
				"agent/src/foundation/clock.ts": 'import pino from "pino";\nexport const now = () => pino(Date.now());\n',
			},
			[
				/clock\.ts:1: pino in foundation/,
				/proto\/src\/index\.ts:1: yaml in proto/,
				/data thread reaches the package pino/,
			],
		],
		[
			"pino in the logger only where it is loaded at once",
			{
				"agent/src/agent.ts":
					'import "./foundation/logger.ts";\nimport { scan } from "./http1/scan.ts";\nexport const agent = scan;\n',
				"agent/src/foundation/logger.ts":
					'import pino from "pino";\nexport const load = () => [pino, import("pino")];\n',
			},
			[/logger\.ts:1: pino in foundation/],
		],
		[
			"the sdk importing the agent, by name and by path",
			{ "sdk/src/index.ts": 'import "@outrigger/agent";\nexport { run } from "../../agent/src/commands/run.ts";\n' },
			[/sdk may not import @outrigger\/agent/, /sdk\/src\/index\.ts:2: reaches into another package by path/],
		],
		[
			"k8s outside commands",
			{
				"agent/src/agent.ts":
					'import "@outrigger/k8s";\nimport { scan } from "./http1/scan.ts";\nimport "./foundation/clock.ts";\nexport const agent = scan;\n',
				"agent/src/commands/run.ts":
					'import "@outrigger/k8s";\nimport { agent } from "../agent.ts";\nexport const run = agent;\n',
			},
			[/agent\/src\/agent\.ts:1: only agent\/src\/commands may import @outrigger\/k8s/],
		],
		[
			"a socket in a protocol folder",
			{
				"agent/src/http1/scan.ts":
					'import { connect } from "node:net";\nimport { now } from "../foundation/clock.ts";\nexport const scan = () => connect(now());\n',
			},
			[/scan\.ts:1: node:net in a folder that is pure/],
		],
		[
			"a test that something else imports, and a test tool that the agent imports",
			{
				"agent/src/http1/scan.ts":
					'import "./a.test.ts";\nimport "../../test/sim/sockets.ts";\nimport { now } from "../foundation/clock.ts";\nexport const scan = now;\n',
				"agent/src/http1/a.test.ts": "",
				"agent/test/sim/sockets.ts": "",
			},
			[
				/scan\.ts:1: imports \.\/a\.test\.ts, which belongs to tests/,
				/scan\.ts:2: imports .*sockets\.ts, which belongs to tests/,
			],
		],
		[
			"what the data thread reaches by way of others",
			{
				"agent/src/data-thread.ts":
					'import { a } from "./observe/a.ts";\nimport { scan } from "./http1/scan.ts";\nscan(a);\n',
				"agent/src/observe/a.ts": 'export const a = () => import("prom-client");\n',
			},
			[/^data-thread\.ts → observe\/a\.ts: the data thread reaches observe\//],
		],
	];
	for (const [what, changes, expected] of cases) {
		test(what, () => {
			const broken = brokenWith(changes);
			assert.equal(broken.length, expected.length, broken.join("\n"));
			for (const pattern of expected)
				assert.ok(
					broken.some((sentence) => pattern.test(sentence)),
					`${pattern}\n${broken.join("\n")}`,
				);
			// Each says what to do, not only what is wrong.
			for (const sentence of broken) assert.match(sentence, /\. [A-Z]|Instead: /, sentence);
		});
	}
});

describe("the rules do not mistake for code", () => {
	const innocent: readonly (readonly [string, string])[] = [
		["a line comment", "// import x from './agent.ts'; process.exit(1); Date.now()\n"],
		["a block comment", "/*\nimport { a } from '../agent.ts';\nprocess.exit() Date.now()\n*/\n"],
		["a string", 'export const a = "process.exit(1)";\nexport const b = \'import("../agent.ts")\';\n'],
		["a string with an escaped quote", 'export const a = "\\" + Date.now() + \\"";\n'],
		["a template", "export const a = `\nimport { a } from '../agent.ts';\n${1}process.exit(1)`;\n"],
		[
			"a template in a template's expression",
			"export const a = `${[1].map((n) => `Date.now() ${{ n }.n}`)} process.exit(1)`;\n",
		],
		["a regular expression", 'export const a = /["\'`]process.exit(1)[/"]/;\nexport const b = [/Date.now\\(\\/"/];\n'],
		["a division", 'export const a = (n: number) => n / 2 / 3;\nexport const b = "Date.now()";\n'],
		["a name that only looks like it", "export const a = (myDate: { now(): number }) => myDate.now();\n"],
	];
	for (const [what, text] of innocent) {
		test(what, () => {
			assert.deepEqual(brokenWith({ "proto/src/index.ts": text, "sdk/src/index.ts": text }), []);
			const inAgent = brokenWith({ "agent/src/foundation/clock.ts": `${text}export const now = () => Date.now();\n` });
			assert.deepEqual(inAgent, []);
		});
	}

	test("and they do see code between and after these", () => {
		const text = "export const a = `${Date.now()}` + /x/.source + process.exit(1); // end\n";
		assert.equal(
			brokenWith({
				"agent/src/http1/b.ts": text,
				"agent/src/agent.ts": `import "./http1/b.ts";\n${sound["agent/src/agent.ts"]}`,
			}).length,
			2,
		);
	});

	test("imports are read with their kind and line", () => {
		const text = [
			'import type { A } from "./a.ts";',
			'import b, { type B } from "./b.ts";',
			'import * as c from "./c.ts";',
			'import "./d.ts";',
			'export type { E } from "./e.ts";',
			'export { f } from "./f.ts";',
			'const g = await import("./g.ts");',
			'type H = typeof import("./h.ts");',
			'export const notAnImport = "./i.ts";',
			"import type from './j.ts';",
		].join("\n");
		assert.deepEqual(
			readSource("x.ts", text).imports.map(({ specifier, kind, line }) => [line, specifier, kind]),
			[
				[1, "./a.ts", "type"],
				[2, "./b.ts", "static"],
				[3, "./c.ts", "static"],
				[4, "./d.ts", "static"],
				[5, "./e.ts", "type"],
				[6, "./f.ts", "static"],
				[7, "./g.ts", "dynamic"],
				[8, "./h.ts", "type"],
				[10, "./j.ts", "static"],
			],
		);
	});
});
