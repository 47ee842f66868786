import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { systemScheduler } from "../foundation/scheduler.ts";
import { ChildApp, ChildStartError } from "./child-app.ts";
import { listProcesses } from "./process-tree.ts";

class Heard {
	text = "";
	readonly #waiting = new Set<() => void>();
	write(bytes: Uint8Array): void {
		this.text += Buffer.from(bytes).toString("latin1");
		for (const look of this.#waiting) look();
	}
	/** Resolves when `wanted` has been heard. */
	hear(wanted: string): Promise<void> {
		return new Promise((resolve) => {
			const look = (): void => {
				if (!this.text.includes(wanted)) return;
				this.#waiting.delete(look);
				resolve();
			};
			this.#waiting.add(look);
			look();
		});
	}
}

async function start(t: TestContext, program: string, args: readonly string[], env: Record<string, string> = {}) {
	const out = new Heard();
	const err = new Heard();
	const child = await ChildApp.start(
		{ program, args, env: { ...process.env, ...env }, cwd: process.cwd() },
		out,
		err,
		systemScheduler,
	);
	t.after(() => child.kill());
	return { child, out, err };
}
const node = (t: TestContext, script: string, env?: Record<string, string>) =>
	start(t, process.execPath, ["-e", script], env);

test("output comes through as it was written, and the exit code is the app's", async (t) => {
	const { child, out, err } = await node(
		t,
		`process.stdout.write("to out " + process.env.WORD); process.stderr.write("to err"); process.exitCode = 7`,
		{
			WORD: "x",
		},
	);
	assert.deepEqual(await child.ended, { exitCode: 7, signal: undefined });
	assert.equal(out.text, "to out x");
	assert.equal(err.text, "to err");
	assert.equal(child.hasExited, true);
	assert.deepEqual(await child.stop(5_000), { exitCode: 7, signal: undefined });
});

test("an app that is ended by a signal has the code that a shell would say", async (t) => {
	const { child } = await node(t, `process.kill(process.pid, "SIGKILL")`);
	assert.deepEqual(await child.ended, { exitCode: 137, signal: "SIGKILL" });
});

test("SIGTERM reaches an app that handles it, with the time that it needs", async (t) => {
	const { child, out } = await node(
		t,
		`process.on("SIGTERM", () => setTimeout(() => process.exit(3), 50)); setInterval(() => {}, 1000); console.log("up")`,
	);
	await out.hear("up");
	assert.deepEqual(await child.stop(30_000), { exitCode: 3, signal: undefined });
});

test("an app that ignores SIGTERM gets SIGKILL when its time is over", async (t) => {
	const { child, out } = await node(
		t,
		`process.on("SIGTERM", () => console.log("no")); setInterval(() => {}, 1000); console.log("up")`,
	);
	await out.hear("up");
	assert.deepEqual(await child.stop(100), { exitCode: 137, signal: "SIGKILL" });
	assert.match(out.text, /no/);
});

test("a grandchild behind a shell is stopped too, gets its time, and nothing of the group is left", async (t) => {
	const script = `process.on("SIGTERM", () => setTimeout(() => { console.log("finished"); process.exit(0) }, 100)); setInterval(() => {}, 1000); console.log("up")`;
	const { child, out } = await start(t, "sh", ["-c", `"$0" -e "$1" & wait`, process.execPath, script]);
	await out.hear("up");
	assert.equal((await child.stop(30_000)).signal, "SIGTERM", "the shell does not wait");
	assert.match(out.text, /finished/);
	const left = (await listProcesses()).filter(({ groupId, isZombie }) => groupId === child.pid && !isZombie);
	assert.deepEqual(left, []);
});

test("a grandchild that ignores SIGTERM and outlives its shell is killed", async (t) => {
	const script = `process.on("SIGTERM", () => {}); setInterval(() => {}, 1000); console.log("up")`;
	const { child, out } = await start(t, "sh", ["-c", `"$0" -e "$1" & wait`, process.execPath, script]);
	await out.hear("up");
	await child.stop(200);
	const gone = async (): Promise<boolean> =>
		!(await listProcesses()).some(({ groupId, isZombie }) => groupId === child.pid && !isZombie);
	// SIGKILL has been sent; the kernel needs a turn to carry it out.
	for (let turn = 0; !(await gone()); turn += 1) assert.ok(turn < 10_000, "still there");
	assert.equal(await gone(), true);
});

test("an app is in a group of its own, so that Ctrl-C on our terminal does not reach it", async (t) => {
	const { child, out } = await node(t, `setInterval(() => {}, 1000); console.log("up")`);
	await out.hear("up");
	const row = (await listProcesses()).find(({ pid }) => pid === child.pid);
	assert.equal(row?.groupId, child.pid);
});

test("a lot of output is passed on whole, on both streams", async (t) => {
	const { child, out, err } = await node(
		t,
		`const line = "x".repeat(1023) + "\\n"; for (let i = 0; i < 2048; i++) { process.stdout.write(line); if (i % 2) process.stderr.write(line) }`,
	);
	await child.ended;
	assert.equal(out.text.length, 2 * 1024 * 1024);
	assert.equal(err.text.length, 1024 * 1024);
});

test("somebody who left the group and holds the output open does not hold up the end", async (t) => {
	const script = `require("node:child_process").spawn(process.execPath, ["-e", "console.log(process.pid); setTimeout(() => {}, 60000)"], { detached: true, stdio: ["ignore", "inherit", "ignore"] }).unref(); setTimeout(() => process.exit(5), 1000)`;
	const { child, out } = await node(t, script);
	await out.hear("\n");
	const stranger = Number.parseInt(out.text, 10);
	t.after(() => process.kill(stranger, "SIGKILL"));
	assert.equal((await child.ended).exitCode, 5);
});

const folder = mkdtempSync(join(tmpdir(), "child-app-"));
test.after(() => rmSync(folder, { recursive: true, force: true }));
const notExecutable = join(folder, "plain.txt");
writeFileSync(notExecutable, "text");
chmodSync(notExecutable, 0o644);

const refusals: readonly [string, string, readonly string[], 126 | 127, RegExp][] = [
	["a program that is not there", "there-is-no-such-program", [], 127, /no such program in PATH/],
	["a file that is not executable", notExecutable, [], 126, /not executable/],
	["an argument that no program can be given", process.execPath, ["\0"], 126, /cannot be started: .*null bytes/],
];
for (const [name, program, args, exitCode, message] of refusals) {
	test(`${name} is told with code ${exitCode}`, async (t) => {
		await assert.rejects(start(t, program, args), (error) => {
			assert.ok(error instanceof ChildStartError);
			assert.equal(error.exitCode, exitCode);
			assert.match(error.message, message);
			return true;
		});
	});
}
