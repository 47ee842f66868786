/** Unix sockets on both sides know no RST: what is cut over TCP by a reset has to end there as well, and must not end the data thread. */
import { strict as assert } from "node:assert";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { CELL } from "../../src/bridge/counters.ts";
import { ManualClock } from "../../src/foundation/clock.ts";
import { answering, connect, eventually, ok, startApp, startPlane } from "./harness.ts";

const GET = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

const withFolder = async (story: (folder: string) => Promise<void>): Promise<void> => {
	const folder = mkdtempSync(join(tmpdir(), "outrigger-unix-"));
	try {
		await story(folder);
	} finally {
		rmSync(folder, { recursive: true, force: true });
	}
};

test("an idle connection to an app on a Unix socket is closed when it has grown old", () =>
	withFolder(async (folder) => {
		const at = join(folder, "app");
		await using _app = await startApp(answering(ok()), at);
		await using plane = await startPlane(0, { clock: new ManualClock(), set: { "inbound.0.app": `unix:${at}` } });
		await using client = await connect(plane.port);
		client.write(GET);
		assert.equal((await client.response()).status, 200);
		assert.equal(plane.counters.get(CELL.UPSTREAM_OPEN), 1);
		plane.advance(10_000);
		assert.equal(plane.counters.get(CELL.UPSTREAM_OPEN), 0);
		client.end();
		await plane.settle();
	}));

test("an app on a Unix socket feels that its client has gone", () =>
	withFolder(async (folder) => {
		const at = join(folder, "app");
		await using app = await startApp(async (wire) => {
			await wire.request();
		}, at);
		await using plane = await startPlane(0, { set: { "inbound.0.app": `unix:${at}` } });
		await using client = await connect(plane.port);
		client.write(GET);
		const wire = await app.wire(0);
		await wire.until(() => wire.receivedBytes > 0, "the request");
		client.reset();
		await wire.until(() => wire.isEnded || wire.isClosed, "the end");
		await eventually(() => plane.counters.get(CELL.UPSTREAM_OPEN) === 0, "the connection to be given back");
		assert.equal(plane.counters.get(CELL.INTERNAL_FAULTS), 0);
		await plane.settle();
	}));

test("a client on a Unix socket whose answer is cut short sees the end of its connection", () =>
	withFolder(async (folder) => {
		const listen = join(folder, "inbound");
		await using app = await startApp(async (wire) => {
			await wire.request();
			wire.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome");
			wire.end();
		});
		await using plane = await startPlane(app.port, { set: { "inbound.0.listen": `unix:${listen}` } });
		await using client = await connect(0, { path: listen });
		client.write(GET);
		await client.rest();
		assert.match(client.unread.toString("latin1"), /some$/);
		assert.equal(plane.counters.get(CELL.INTERNAL_FAULTS), 0);
		await plane.settle();
	}));

for (const protocol of ["http1", "tcp"]) {
	test(`connections on a Unix socket beyond the bound are refused (${protocol})`, () =>
		withFolder(async (folder) => {
			const listen = join(folder, "inbound");
			await using app = await startApp(answering(ok()));
			await using plane = await startPlane(app.port, {
				set: { "inbound.0.listen": `unix:${listen}`, "inbound.0.protocol": protocol, "limits.connections": "1" },
			});
			await using first = await connect(0, { path: listen });
			await eventually(() => plane.counters.get(CELL.DOWNSTREAM_OPEN) === 1, "the first connection");
			await using second = await connect(0, { path: listen });
			await second.until(() => second.isEnded || second.isClosed, "the refusal");
			first.socket.destroy();
			second.socket.destroy();
			await plane.settle();
		}));
}

test("a stop cuts what is open on Unix sockets", () =>
	withFolder(async (folder) => {
		const at = join(folder, "app");
		const listen = join(folder, "inbound");
		await using app = await startApp(async (wire) => {
			await wire.request();
		}, at);
		await using plane = await startPlane(0, {
			set: { "inbound.0.app": `unix:${at}`, "inbound.0.listen": `unix:${listen}` },
		});
		await using client = await connect(0, { path: listen });
		client.write(GET);
		const wire = await app.wire(0);
		await wire.until(() => wire.receivedBytes > 0, "the request");
		plane.plane.stop();
		assert.equal(plane.counters.get(CELL.CUT), 1);
		await client.until(() => client.isEnded || client.isClosed, "the end");
	}));

test("a Unix socket that a killed process has left behind is bound again; one that is in use, and a file, are not", () =>
	withFolder(async (folder) => {
		await using app = await startApp(answering(ok()));
		const stale = join(folder, "stale");
		const killed = spawnSync(process.execPath, [
			"-e",
			`require("node:net").createServer().listen(${JSON.stringify(stale)}, () => process.kill(process.pid, "SIGKILL"))`,
		]);
		assert.equal(killed.signal, "SIGKILL");
		assert.ok(existsSync(stale));
		await using plane = await startPlane(app.port, { set: { "inbound.0.listen": `unix:${stale}` } });
		const client = await connect(0, { path: stale });
		client.write(GET);
		assert.equal((await client.response()).status, 200);
		client.socket.destroy();
		await plane.settle();

		const inUse = { code: "EADDRINUSE" };
		await assert.rejects(startPlane(app.port, { set: { "inbound.0.listen": `unix:${stale}` } }), inUse);
		const file = join(folder, "file");
		writeFileSync(file, "somebody's");
		await assert.rejects(startPlane(app.port, { set: { "inbound.0.listen": `unix:${file}` } }), inUse);
		assert.ok(existsSync(file));
		await plane.settle();
	}));
