/**
 * Connections that are relayed as they are: HTTP/2, known by its preface, and `protocol: tcp`. Nothing is looked at, nothing is added, and
 * whatever happens on one side happens on the other.
 */
import { strict as assert } from "node:assert";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import {
	connect as connectHttp2,
	constants,
	createServer as createHttp2Server,
	type ServerHttp2Stream,
} from "node:http2";
import { Socket } from "node:net";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { CELL } from "../../src/bridge/counters.ts";
import { FLAG_OPAQUE } from "../../src/bridge/exchange-record.ts";
import { ManualClock } from "../../src/foundation/clock.ts";
import { FAULTS } from "../../src/foundation/fault.ts";
import { answering, connect, eventually, field, ok, startApp, startPlane, Wire } from "./harness.ts";

const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const TCP = { "inbound.0.protocol": "tcp" };

/** An app that says back what it hears, and ends when the client does. */
const echo = () =>
	startApp(async (wire) => {
		wire.socket.on("data", (bytes: Buffer) => wire.socket.write(bytes));
		await wire.until(() => wire.isEnded || wire.isClosed, "the end");
		wire.end();
	});

test("a preface is recognised however it is split, and reaches the app octet for octet", async () => {
	await using app = await echo();
	await using plane = await startPlane(app.port);
	const bytes = Buffer.from(`${PREFACE}\0\0\0\x04\0\0\0\0\0`, "latin1");
	for (let split = 1; split < PREFACE.length; split++) {
		await using client = await connect(plane.port);
		await client.writePieces([bytes.subarray(0, split), bytes.subarray(split)]);
		assert.ok((await client.take(bytes.length)).equals(bytes), `split at ${split}`);
		client.end();
		assert.ok((await client.rest()).isClean);
	}
	const records = await plane.recorded(PREFACE.length - 1);
	assert.ok(records.every(({ flags }) => (flags & FLAG_OPAQUE) !== 0));
	assert.equal(plane.counters.get(CELL.OPAQUE_OPENED), PREFACE.length - 1);
	assert.equal(plane.counters.get(CELL.REQUESTS_ARRIVED), 0);
	assert.equal(app.wires.length, PREFACE.length - 1);
	await plane.settle();
});

test("what begins like a preface and is none is read as HTTP/1", async () => {
	await using app = await startApp(answering(() => ok("http/1")));
	await using plane = await startPlane(app.port);
	for (const [begin, rest] of [
		["P", "OST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"],
		["PR", "OPFIND / HTTP/1.1\r\nhost: a\r\n\r\n"],
		["P", "UT / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"],
	] as const) {
		await using client = await connect(plane.port);
		await client.writePieces([Buffer.from(begin), Buffer.from(rest)]);
		assert.equal((await client.response()).body.toString(), "http/1");
		client.end();
		await client.rest();
	}
	assert.equal(plane.counters.get(CELL.OPAQUE_OPENED), 0);
	await plane.settle();
});

test("a connection that stops in the middle of a preface is a head that was not finished in time", async () => {
	const clock = new ManualClock();
	await using app = await echo();
	await using plane = await startPlane(app.port, { clock, set: { "timeouts.head": "10s" } });
	await using client = await connect(plane.port);
	client.write("PRI * HT");
	await eventually(() => plane.counters.get(CELL.DOWNSTREAM_OPEN) === 1, "the connection");
	await new Promise((resolve) => setTimeout(resolve, 20));
	plane.advance(9_000);
	assert.ok(!client.isEnded);
	plane.advance(1_100);
	const response = await client.response();
	assert.equal(response.status, 408);
	assert.equal(field(response, "x-outrigger-error"), "head_timeout");
	client.end();
	await plane.recorded(1);
	await plane.settle();
});

for (const [what, bytes] of [
	["whole", PREFACE],
	["in its first half", PREFACE.slice(0, 9)],
] as const) {
	test(`a client that resets after a preface (${what}) leaves nothing behind`, async () => {
		await using app = await echo();
		await using plane = await startPlane(app.port);
		await using client = await connect(plane.port);
		client.write(bytes);
		await eventually(() => plane.counters.get(CELL.DOWNSTREAM_OPEN) === 1, "the connection");
		client.reset();
		await plane.settle();
	});
}

test("with protocol http1 a preface is answered in HTTP/1 and goes no further", async () => {
	await using app = await echo();
	await using plane = await startPlane(app.port, { set: { "inbound.0.protocol": "http1" } });
	await using client = await connect(plane.port);
	client.write(PREFACE);
	const response = await client.response();
	assert.ok(response.status === 505 || response.status === 400, String(response.status));
	client.end();
	await client.rest();
	assert.equal(app.wires.length, 0);
	assert.equal(plane.counters.get(CELL.OPAQUE_OPENED), 0);
	await plane.settle();
});

test("with protocol http2 every connection is relayed without being looked at", async () => {
	await using app = await echo();
	await using plane = await startPlane(app.port, { set: { "inbound.0.protocol": "http2" } });
	await using client = await connect(plane.port);
	client.write("anything");
	assert.equal((await client.take(8)).toString(), "anything");
	client.end();
	await client.rest();
	await plane.recorded(1);
	await plane.settle();
});

test("a real HTTP/2 client and server speak through it: streams, large bodies both ways, trailers, a reset", async () => {
	const server = createHttp2Server();
	server.on("stream", (stream: ServerHttp2Stream, headers) => {
		stream.on("error", () => undefined);
		if (headers[":path"] === "/reset") {
			stream.close(constants.NGHTTP2_INTERNAL_ERROR); // CANCEL would not be an error to Node's client
			return;
		}
		stream.respond({ ":status": 200 }, { waitForTrailers: true });
		stream.on("wantTrailers", () => stream.sendTrailers({ "x-trailer": "yes" }));
		stream.pipe(stream);
	});
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	const address = server.address();
	assert.ok(address !== null && typeof address === "object");
	await using plane = await startPlane(address.port);
	const session = connectHttp2(`http://127.0.0.1:${plane.port}`);
	using _ = {
		[Symbol.dispose]: () => {
			session.destroy();
			server.close();
		},
	};
	const body = randomBytes(1 << 17).toString("base64");
	const exchange = async (): Promise<void> => {
		const stream = session.request({ ":path": "/echo", ":method": "POST" });
		let trailer: unknown;
		stream.on("trailers", (headers) => {
			trailer = headers["x-trailer"];
		});
		stream.end(body);
		assert.equal(await text(stream), body);
		assert.equal(trailer, "yes");
	};
	await Promise.all(Array.from({ length: 8 }, exchange));
	const reset = session.request({ ":path": "/reset" });
	await assert.rejects(async () => text(reset), { code: "ERR_HTTP2_STREAM_ERROR" });
	await exchange();
	assert.equal(plane.counters.get(CELL.OPAQUE_OPEN), 1);
	assert.equal(plane.counters.get(CELL.IN_FLIGHT), 0);
	session.close();
	await once(session, "close");
	await plane.recorded(1);
	await plane.settle();
	await new Promise((resolve) => server.close(resolve));
});

test("protocol tcp: the server speaks first", async () => {
	await using app = await startApp(async (wire) => {
		wire.write("220 ready\r\n");
		assert.equal((await wire.take(6)).toString(), "QUIT\r\n");
		wire.write("221 bye\r\n");
		wire.end();
	});
	await using plane = await startPlane(app.port, { set: TCP });
	await using client = await connect(plane.port);
	assert.equal((await client.take(11)).toString(), "220 ready\r\n");
	client.write("QUIT\r\n");
	const rest = await client.rest();
	assert.equal(rest.bytes.toString(), "221 bye\r\n");
	assert.ok(rest.isClean);
	client.end();
	await plane.recorded(1);
	await plane.settle();
});

test("protocol tcp: any bytes pass, whole and both ways, though the client has ended its half at once", async () => {
	await using app = await echo();
	await using plane = await startPlane(app.port, { set: TCP });
	await using client = await connect(plane.port);
	const bytes = randomBytes(8 << 20);
	client.write(bytes);
	client.end();
	const rest = await client.rest();
	assert.ok(rest.isClean);
	assert.ok(rest.bytes.equals(bytes));
	const [record] = await plane.recorded(1);
	assert.equal(record?.requestBodyBytes, bytes.length);
	assert.equal(record?.responseBodyBytes, bytes.length);
	await plane.settle();
});

test("protocol tcp: a cut on either side is a cut on the other", async () => {
	await using app = await startApp(async (wire, index) => {
		await wire.take(1);
		if (index === 1) wire.reset();
	});
	await using plane = await startPlane(app.port, { set: TCP });
	await using first = await connect(plane.port);
	first.write("x");
	await (await app.wire(0)).until(() => app.wires[0]?.receivedBytes === 1, "the octet");
	first.reset();
	await app.wires[0]?.closed();
	assert.equal(app.wires[0]?.error, "ECONNRESET");
	await using second = await connect(plane.port);
	second.write("x");
	await second.closed();
	assert.equal(second.error, "ECONNRESET");
	await plane.recorded(2);
	await plane.settle();
});

test("protocol tcp: a client whose app cannot be reached is reset, and that is counted as the app's failure", async () => {
	const app = await startApp(() => undefined);
	const { port } = app;
	await app[Symbol.asyncDispose]();
	await using plane = await startPlane(port, { set: TCP });
	await using client = await connect(plane.port);
	await client.closed();
	assert.equal(client.error, "ECONNRESET");
	const [record] = await plane.recorded(1);
	assert.equal(plane.reasonOf(record), "app_refused");
	assert.equal(plane.counters.get(CELL.UPSTREAM_FAILED_START + FAULTS.app_refused.index), 1);
	assert.equal(plane.counters.get(CELL.CUT), 1);
	await plane.settle();
});

test("protocol tcp: connections beyond limits.connections are reset, and no HTTP is said to them", async () => {
	await using app = await echo();
	await using plane = await startPlane(app.port, { set: { ...TCP, "limits.connections": "1" } });
	await using first = await connect(plane.port);
	first.write("x");
	await first.take(1);
	const second = new Wire(new Socket());
	second.socket.connect(plane.port, "127.0.0.1");
	await second.closed();
	assert.equal(second.error, "ECONNRESET");
	assert.equal(second.receivedBytes, 0);
	first.end();
	await first.rest();
	await plane.settle();
	assert.equal(plane.counters.get(CELL.REFUSED_START + FAULTS.connections_exceeded.index), 1);
});
