/** A response or a tunnel that the app cuts with RST is never told as a clean end, even when it was our own write that met the reset first. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { connect, startApp, startPlane } from "./harness.ts";

/** Larger than what waits for the end of the turn: written at once, in the event in which it comes. */
const LARGE = Buffer.alloc(48 * 1024, 0x61);

test("a body that ends with the connection is cut when a write of ours has met the app's reset", async () => {
	await using app = await startApp(async (wire) => {
		await wire.requestHead();
		wire.write("HTTP/1.1 200 OK\r\n\r\nthe first half, ");
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	client.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10000000\r\n\r\n");
	await client.until(() => client.unread.includes("the first half"), "the first half");
	const wire = await app.wire(0);
	// In one turn: the client's bytes are there first, then the reset. So the write meets it before the reading does.
	client.write(LARGE);
	wire.reset();
	await client.until(() => client.isEnded || client.isClosed, "the end");
	assert.doesNotMatch(client.unread.toString("latin1"), /\r\n0\r\n\r\n$/, "no last chunk: it is not whole");
	assert.equal(client.error, "ECONNRESET");
	const [record] = await plane.recorded(1);
	assert.equal(plane.reasonOf(record), "app_truncated");
	await plane.settle();
});

test("a tunnel is cut when a write of ours has met the app's reset", async () => {
	await using app = await startApp(async (wire) => {
		await wire.requestHead();
		wire.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	client.write("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
	assert.equal((await client.response()).status, 101);
	const wire = await app.wire(0);
	client.write(LARGE);
	wire.reset();
	await client.until(() => client.isEnded || client.isClosed, "the end");
	assert.equal(client.error, "ECONNRESET");
	await plane.settle();
});

test("a relayed connection is cut when a write of ours has met the app's reset", async () => {
	await using app = await startApp(async (wire) => {
		await wire.until(() => wire.unread.length > 0, "bytes");
		wire.write("some");
	});
	await using plane = await startPlane(app.port, { set: { "inbound.0.protocol": "tcp" } });
	await using client = await connect(plane.port);
	client.write("x");
	await client.take(4);
	const wire = await app.wire(0);
	client.write(LARGE);
	wire.reset();
	await client.until(() => client.isEnded || client.isClosed, "the end");
	assert.equal(client.error, "ECONNRESET");
	await plane.settle();
});
