import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const server = fileURLToPath(new URL("server.ts", import.meta.url));

/** The process, and the first line it prints. */
async function start(env: Readonly<Record<string, string>>): Promise<{ child: ChildProcess; line: string }> {
	const child = spawn(process.execPath, [server], {
		env: { ...process.env, ...env },
		stdio: ["ignore", "pipe", "pipe"],
	});
	const lines = [child.stdout, child.stderr].map((stream) => once(createInterface({ input: stream }), "line"));
	const [line] = (await Promise.race(lines)) as [string];
	return { child, line };
}

test("with PORT=0 the process listens on any free port, says which, and ends with 0 on SIGTERM", async () => {
	const { child, line } = await start({ PORT: "0", HOST: "127.0.0.1" });
	const port = /^orders: listening on port (\d+)$/.exec(line)?.[1];
	assert.ok(port !== undefined, line);
	assert.equal((await fetch(`http://127.0.0.1:${port}/health`)).status, 200);
	child.kill("SIGTERM");
	assert.deepEqual(await once(child, "exit"), [0, null]);
});

test("a PORT that is none ends the process with 78 and one line that says what was expected", async () => {
	const { child, line } = await start({ PORT: "eighty" });
	assert.match(line, /PORT is "eighty"; a number from 0 to 65535 is expected/);
	if (child.exitCode === null) await once(child, "exit");
	assert.equal(child.exitCode, 78);
});

test("a port that is taken ends the process with 1 and one line that says which", async () => {
	const first = await start({ PORT: "0", HOST: "127.0.0.1" });
	const port = first.line.split(" ").at(-1) ?? "";
	const { child, line } = await start({ PORT: port, HOST: "127.0.0.1" });
	assert.match(line, new RegExp(`cannot listen on port ${port}: .*EADDRINUSE`));
	if (child.exitCode === null) await once(child, "exit");
	assert.equal(child.exitCode, 1);
	first.child.kill("SIGTERM");
	await once(first.child, "exit");
});
