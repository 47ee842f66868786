import assert from "node:assert/strict";
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { ownSockets, readTable } from "./proc-sockets.ts";
import { SocketTableScan } from "./socket-table.ts";

function folder(t: TestContext): string {
	const path = mkdtempSync(join(tmpdir(), "proc-sockets-"));
	t.after(() => rmSync(path, { recursive: true, force: true }));
	return path;
}

test("a table is handed over piece by piece, up to a bound; one that is not there is no error", async (t) => {
	const path = folder(t);
	const text = "0123456789abcdef\n".repeat(10_000);
	writeFileSync(join(path, "tcp"), text);
	const pieces: string[] = [];
	assert.equal(await readTable("tcp", (piece) => pieces.push(piece), path), "whole");
	assert.equal(pieces.join(""), text);
	assert.ok(pieces.length > 1);
	pieces.length = 0;
	assert.equal(await readTable("tcp", (piece) => pieces.push(piece), path, 100_000), "truncated");
	assert.ok(text.startsWith(pieces.join("")) && pieces.join("").length <= 100_000);
	assert.equal(await readTable("tcp6", () => assert.fail("nothing is there"), path), "missing");
});

test("a table that cannot be read, and one whose reader fails, reject", async (t) => {
	const path = folder(t);
	mkdirSync(join(path, "tcp"));
	await assert.rejects(
		readTable("tcp", () => {}, path),
		{ code: "EISDIR" },
	);
	writeFileSync(join(path, "tcp6"), "text\n");
	const take = (): never => {
		throw new Error("no");
	};
	await assert.rejects(readTable("tcp6", take, path), { message: "no" });
	writeFileSync(join(path, "file"), "");
	await assert.rejects(
		readTable("tcp", () => {}, join(path, "file")),
		{ code: "ENOTDIR" },
	);
});

test("sockets of this process are told from others, also behind many other open files", async (t) => {
	if (!existsSync("/proc/net/tcp")) return t.skip("there is no /proc/net/tcp here");
	const files = Array.from({ length: 1_200 }, () => openSync("/dev/null", "r"));
	t.after(() => files.forEach(closeSync));
	const server = createServer((socket) => socket.on("error", () => {}));
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	t.after(() => server.close());
	const address = server.address();
	assert.ok(address !== null && typeof address === "object");
	const socket = connect(address.port, "127.0.0.1");
	t.after(() => socket.destroy());
	await new Promise((resolve) => socket.once("connect", resolve));
	const inodes: number[] = [];
	const scan = new SocketTableScan([address.port], ({ inode, remotePort }) => {
		if (remotePort === address.port || remotePort === 0) inodes.push(inode);
	});
	assert.equal(await readTable("tcp", (piece) => scan.add(piece)), "whole");
	scan.end();
	assert.equal(inodes.length, 2, "the listening socket and the client's");
	const never = 1; // of the first file system that the kernel made
	assert.deepEqual(await ownSockets(new Set([never, ...inodes])), new Set(inodes));
	assert.deepEqual(await ownSockets(new Set()), new Set());
});
