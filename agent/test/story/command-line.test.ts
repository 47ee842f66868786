import assert from "node:assert/strict";
import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

/** The program as a process: exit codes, streams, and that nothing begins with a bad configuration. */

const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "outrigger-story-"));
after(() => rmSync(folder, { recursive: true }));

const bad = join(folder, "bad.yaml");
writeFileSync(bad, "timeouts: { hed: 1s }\nlog: { level: loud }\nworkers: 0\n");

interface Given {
	readonly nodeArgs?: readonly string[];
	readonly env?: Readonly<Record<string, string>>;
	readonly shell?: string;
}

/** Only what a process needs of our environment: variables of whoever runs the tests must not count. */
function outrigger(words: readonly string[], { nodeArgs = [], env = {} }: Given = {}): SpawnSyncReturns<string> {
	const { PATH = "", NODE_OPTIONS, NODE_V8_COVERAGE } = process.env;
	return spawnSync(
		process.execPath,
		[...process.execArgv.filter((each) => !each.startsWith("--test")), ...nodeArgs, ...tsx(), main, ...words],
		{
			encoding: "utf8",
			timeout: 60_000,
			env: {
				PATH,
				...(NODE_OPTIONS === undefined ? {} : { NODE_OPTIONS }),
				...(NODE_V8_COVERAGE === undefined ? {} : { NODE_V8_COVERAGE }),
				...env,
			},
		},
	);
}

/** The tests may run under tsx, given on the command line that started them. */
function tsx(): readonly string[] {
	return process.execArgv.some((each) => each.includes("tsx")) ? [] : ["--import", "tsx"];
}

describe("the program", () => {
	test("config check with a bad file tells every problem with its place, and ends with 78", () => {
		const { status, stdout, stderr } = outrigger(["config", "check", "--config", bad]);
		assert.equal(status, 78, stderr);
		for (const place of ["1:13", "2:15", "3:10"]) assert.ok(stdout.includes(`${bad}:${place}: `), stdout);
		assert.match(stderr, /^3 problems in the configuration/);
	});

	test("agent with a bad configuration ends with 78 before it has bound anything", async () => {
		// The ports are taken: had the agent tried one, it would have ended in another way.
		const server = createServer().listen(0, "127.0.0.1");
		await new Promise((resolve) => server.once("listening", resolve));
		const address = server.address();
		assert.ok(typeof address === "object" && address !== null);
		const taken = `127.0.0.1:${address.port}`;
		const env = { OUTRIGGER_OPS__LISTEN: taken, OUTRIGGER_TIMEOUT__HEAD: "1s" };
		const { status, stdout, stderr } = outrigger(["agent", "--config", bad], { env });
		server.close();
		assert.equal(status, 78, stderr);
		assert.equal(stdout, "");
		assert.match(stderr, /OUTRIGGER_TIMEOUT__HEAD: there is no key/);
		assert.match(stderr, /5 problems in the configuration; nothing was started\.\n$/);
		assert.doesNotMatch(stderr, /EADDRINUSE/);
	});

	test("agent without an app's port says what to set", () => {
		const { status, stderr } = outrigger(["agent"]);
		assert.equal(status, 78);
		assert.match(stderr, /^OUTRIGGER_APP_PORT: .*\n.*\n +example: OUTRIGGER_APP_PORT=3000\n/);
	});

	test("a wrong use ends with 64, and says so on standard error", () => {
		const { status, stdout, stderr } = outrigger(["agnet"]);
		assert.deepEqual([status, stdout], [64, ""]);
		assert.match(stderr, /did you mean agent\?/);
	});

	test("help names every command", () => {
		const { status, stdout, stderr } = outrigger(["--help"]);
		assert.deepEqual([status, stderr], [0, ""]);
		for (const name of ["agent", "run", "config", "completion", "version", "help"])
			assert.match(stdout, new RegExp(`^  ${name} `, "m"));
	});

	test("an older Node gets one clear sentence", () => {
		const pretend = join(folder, "old-node.cjs");
		writeFileSync(
			pretend,
			'Object.defineProperty(process, "versions", { value: { ...process.versions, node: "22.18.9" } });\n',
		);
		const { status, stdout, stderr } = outrigger(["--version"], { nodeArgs: ["--require", pretend] });
		assert.deepEqual([status, stdout, stderr], [1, "", "outrigger needs Node.js 22.19 or newer; this is 22.18.9.\n"]);
	});

	test("a reader that has seen enough is no failure", () => {
		const words = [
			process.execPath,
			...process.execArgv.filter((each) => !each.startsWith("--test")),
			...tsx(),
			main,
			"config",
			"schema",
		];
		const line = `${words.map((word) => `'${word}'`).join(" ")} | head -c 10; echo " \${PIPESTATUS[0]}"`;
		const { stdout, stderr } = spawnSync("bash", ["-c", line], { encoding: "utf8", timeout: 60_000 });
		assert.deepEqual([stdout.replace(/\s+/g, " "), stderr], ['{ "$sche 0 ', ""]);
	});
});
