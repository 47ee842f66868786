import assert from "node:assert/strict";
import { test } from "node:test";
import { listProcesses, outputOf, parsePs, parseStat, treeOf } from "./process-tree.ts";

test("the name of a program may hold parentheses, spaces and newlines", () => {
	assert.deepEqual(parseStat("42 (a) S 1 (b\n) S 7 40 40 0 -1 4194304"), {
		pid: 42,
		parentPid: 7,
		groupId: 40,
		isZombie: false,
	});
	assert.equal(parseStat("42 (node) Z 7 40 40 0")?.isZombie, true);
});

for (const text of ["", "42", "42 (node)", "42 (node) S", "42 (node) S x 1", "x (node) S 1 1", "42 (node) S 1"]) {
	test(`no process is read from ${JSON.stringify(text)}`, () => {
		assert.equal(parseStat(text), undefined);
	});
}

test("lines of ps are read, and those that are none passed over", () => {
	assert.deepEqual(parsePs("    1     0     1 Ss\nPID\n   42     1    42 Z+\n"), [
		{ pid: 1, parentPid: 0, groupId: 1, isZombie: false },
		{ pid: 42, parentPid: 1, groupId: 42, isZombie: true },
	]);
});

test("a tree holds descendants in any order of the list, and members of the group whose parent is gone", () => {
	const row = (pid: number, parentPid: number, groupId: number) => ({ pid, parentPid, groupId, isZombie: false });
	const processes = [
		row(13, 12, 99),
		row(12, 11, 10),
		row(11, 10, 10),
		row(10, 1, 10),
		row(20, 1, 10),
		row(21, 20, 21),
		row(30, 1, 30),
	];
	assert.deepEqual([...treeOf(10, processes)].sort(), [10, 11, 12, 13, 20, 21]);
	assert.deepEqual(treeOf(77, processes), [77]);
});

test("this process is in the system's list, under its parent, whichever way it is asked", async (t) => {
	const ways: NodeJS.Platform[] = process.platform === "linux" ? ["linux", "darwin"] : [process.platform];
	for (const platform of ways) {
		const processes = await listProcesses(platform);
		if (processes.length === 0) {
			t.diagnostic(`ps is not there (${platform})`);
			continue;
		}
		assert.equal(processes.find(({ pid }) => pid === process.pid)?.parentPid, process.ppid, platform);
	}
});

test("a program of the system that is not there says nothing", async () => {
	assert.equal(await outputOf("there-is-no-such-program", []), "");
});
