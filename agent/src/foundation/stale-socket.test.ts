import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { removeStaleSocket } from "./stale-socket.ts";

test("a socket that nobody listens on goes; one that is in use, a file and a folder stay", async (t) => {
	const folder = mkdtempSync(join(tmpdir(), "outrigger-stale-"));
	t.after(() => rmSync(folder, { recursive: true }));
	const stale = join(folder, "stale.sock");
	// Ended without closing its server, as by SIGKILL.
	spawnSync(process.execPath, [
		"-e",
		`require("node:net").createServer().listen(${JSON.stringify(stale)}, () => process.kill(process.pid, "SIGKILL"))`,
	]);
	assert.ok(existsSync(stale));
	await removeStaleSocket(stale);
	assert.ok(!existsSync(stale));
	await removeStaleSocket(stale);

	const used = join(folder, "used.sock");
	const server = createServer((socket) => socket.destroy()).listen(used);
	await once(server, "listening");
	await removeStaleSocket(used);
	assert.ok(existsSync(used));
	server.close();

	const file = join(folder, "file");
	writeFileSync(file, "");
	await removeStaleSocket(file);
	await removeStaleSocket(folder);
	assert.ok(existsSync(file));
});
