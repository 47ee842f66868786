import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { realSystem } from "./system.ts";

test("a file is read up to the bound; one that is not there is nothing; a folder is an error", async (t) => {
	const folder = mkdtempSync(join(tmpdir(), "outrigger-system-"));
	t.after(() => rmSync(folder, { recursive: true }));
	const path = join(folder, "a.yaml");
	writeFileSync(path, "0123456789");
	assert.equal(Buffer.from((await realSystem.readFile(path, 100)) ?? []).toString(), "0123456789");
	assert.equal((await realSystem.readFile(path, 4))?.length, 4);
	assert.equal((await realSystem.readFile("/dev/zero", 1000))?.length, 1000, "a device without an end");
	assert.equal(await realSystem.readFile(join(folder, "b.yaml"), 4), undefined);
	await assert.rejects(realSystem.readFile(folder, 4), { code: "EISDIR" });
});

test("the machine has a name, and a memory limit is a number of bytes or nothing", () => {
	assert.notEqual(realSystem.hostName(), "");
	const limit = realSystem.memoryLimitBytes();
	assert.ok(limit === undefined || (Number.isSafeInteger(limit) && limit > 0));
});
