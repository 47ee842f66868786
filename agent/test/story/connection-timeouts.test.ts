/** Every wait has an end: what is said then, to whom, and that nothing is left behind. Time passes only when the story says so. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { CELL } from "../../src/bridge/counters.ts";
import { ManualClock } from "../../src/foundation/clock.ts";
import { FAULTS } from "../../src/foundation/fault.ts";
import {
	answering,
	connect,
	eventually,
	field,
	ok,
	type PlaneRun,
	type Response,
	startApp,
	startPlane,
	type Wire,
} from "./harness.ts";

const GET = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const UPLOAD = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n";

const accepted = (plane: PlaneRun): Promise<void> =>
	eventually(() => plane.counters.get(CELL.DOWNSTREAM_OPEN) === 1, "the connection");

/** The answer of the agent itself, which ends the connection or does not. */
const refused = async (client: Wire, status: number, reason: string, closes = true): Promise<Response> => {
	const response = await client.response();
	assert.equal(response.status, status);
	assert.equal(field(response, "x-outrigger-error"), reason);
	assert.equal(field(response, "connection"), closes ? "close" : undefined);
	if (closes) assert.ok((await client.rest()).isClean);
	return response;
};

test("a head that comes octet by octet has timeouts.head as a whole, not for each octet", async () => {
	const clock = new ManualClock();
	await using app = await startApp(() => undefined);
	await using plane = await startPlane(app.port, { clock });
	await using client = await connect(plane.port);
	const bytes = "GET / HTTP/1.1\r\n";
	for (let i = 0; i < 10; i++) {
		client.write(bytes.charAt(i));
		await eventually(() => plane.counters.get(CELL.BUFFERED_BYTES) > i, "the octet");
		plane.advance(i === 9 ? 999 : 1_000);
		assert.equal(client.receivedBytes, 0);
	}
	plane.advance(1);
	await refused(client, 408, "head_timeout");
	client.end();
	await plane.recorded(1);
	await plane.settle();
	assert.equal(app.wires.length, 0);
});

test("a connection on which nothing is said ends by FIN after timeouts.idle, before its first request and after one", async () => {
	const clock = new ManualClock();
	await using app = await startApp(answering(() => ok()));
	await using plane = await startPlane(app.port, { clock });
	await using client = await connect(plane.port);
	await accepted(plane);
	plane.advance(619_000);
	client.write(GET);
	assert.equal((await client.response()).status, 200);
	plane.advance(619_000);
	assert.ok(!client.isEnded);
	plane.advance(1_000);
	assert.ok((await client.rest()).isClean);
	client.end();
	await plane.settle();
	assert.equal(plane.counters.get(CELL.ANSWERED), 1);
});

test("a body that stops coming is a 408, and the app feels that it will not come", async () => {
	const clock = new ManualClock();
	await using app = await startApp(async (wire) => {
		await wire.requestHead();
	});
	await using plane = await startPlane(app.port, { clock });
	await using client = await connect(plane.port);
	client.write(UPLOAD);
	const wire = await app.wire(0);
	for (let i = 0; i < 5; i++) {
		const before = wire.receivedBytes;
		client.write("x");
		await wire.until(() => wire.receivedBytes > before && wire.unread.length > i, "the octet");
		plane.advance(29_999);
		assert.equal(client.receivedBytes, 0, "each octet gives it time again");
	}
	plane.advance(1);
	await refused(client, 408, "body_timeout");
	await wire.closed();
	assert.equal(wire.error, "ECONNRESET");
	client.end();
	await plane.settle();
});

test("a body that waits because the app does not take it is nobody's stall", async () => {
	const clock = new ManualClock();
	await using app = await startApp(async (wire) => {
		wire.socket.pause();
		await eventually(() => mayRead, "leave to read");
		wire.socket.resume();
		const { body } = await wire.request();
		wire.write(ok(String(body.length)));
	});
	let mayRead = false;
	await using plane = await startPlane(app.port, { clock });
	await using client = await connect(plane.port);
	const length = 32 << 20;
	client.write(`POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${length}\r\n\r\n`);
	for (let at = 0; at < length; at += 65_536) client.write(Buffer.alloc(65_536));
	for (let before = -1; before !== client.socket.writableLength; ) {
		before = client.socket.writableLength;
		await new Promise((resolve) => setTimeout(resolve, 100));
	}
	assert.ok(client.socket.writableLength > 0, "back-pressure has reached the client");
	await eventually(() => plane.counters.get(CELL.UPSTREAM_OPEN) === 1, "the connection to the app"); // it has its own time to be made
	for (let i = 0; i < 10; i++) plane.advance(30_000);
	assert.equal(client.receivedBytes, 0);
	mayRead = true;
	assert.equal((await client.response()).body.toString(), String(length));
	client.end();
	await plane.settle();
});

for (const [what, set, limitMs] of [
	["timeouts.response", { "timeouts.response": "2s" }, 2_000],
	[
		"its route's response",
		{ "timeouts.response": "60s", "routes.table.0.path": "/slow/{id}", "routes.table.0.response": "300ms" },
		300,
	],
] as const) {
	test(`an app that does not answer in ${what} is a 504, counted as its failure; the client's connection goes on`, async () => {
		const clock = new ManualClock();
		await using app = await startApp(async (wire, index) => {
			if (index > 0) return answering(() => ok())(wire, index);
			await wire.request();
		});
		await using plane = await startPlane(app.port, { clock, set });
		await using client = await connect(plane.port);
		client.write("GET /slow/7 HTTP/1.1\r\nhost: a\r\n\r\n");
		const wire = await app.wire(0);
		await wire.until(() => wire.receivedBytes > 0, "the request");
		plane.advance(limitMs - 1);
		assert.equal(client.receivedBytes, 0);
		plane.advance(1);
		await refused(client, 504, "app_response_timeout", false);
		await wire.closed();
		assert.equal(wire.error, "ECONNRESET");
		assert.equal(plane.counters.get(CELL.UPSTREAM_FAILED_START + FAULTS.app_response_timeout.index), 1);
		client.write(GET);
		assert.equal((await client.response()).status, 200);
		client.end();
		await plane.settle();
	});
}

test("the time for an answer begins when the request is whole, and a body that comes slowly afterwards is no stall", async () => {
	const clock = new ManualClock();
	await using app = await startApp(async (wire) => {
		await wire.request();
		await wire.until(() => step > 0, "the first step");
		wire.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na");
		await wire.until(() => step > 1, "the second step");
		wire.write("b");
	});
	let step = 0;
	await using plane = await startPlane(app.port, { clock, set: { "timeouts.response": "2s" } });
	await using client = await connect(plane.port);
	client.write(UPLOAD);
	const wire = await app.wire(0);
	await wire.until(() => wire.receivedBytes > 0, "the head");
	plane.advance(20_000);
	const before = wire.receivedBytes;
	client.write("x".repeat(100));
	await wire.until(() => wire.receivedBytes >= before + 100, "the body");
	plane.advance(1_999);
	step = 1;
	wire.socket.emit("drain");
	await client.until(() => client.unread.includes("\r\n\r\na"), "the beginning of the answer");
	plane.advance(3_600_000);
	step = 2;
	wire.socket.emit("drain");
	assert.equal((await client.response()).body.toString(), "ab");
	client.end();
	await plane.settle();
});

test("a client that reads nothing of a large answer is cut after timeouts.writeStall, and the app feels it", async () => {
	await using app = await startApp(async (wire) => {
		await wire.request();
		wire.write(ok(Buffer.alloc(32 << 20)));
	});
	await using plane = await startPlane(app.port, { set: { "timeouts.writeStall": "200ms" } });
	await using client = await connect(plane.port);
	client.write(GET);
	await client.until(() => client.receivedBytes > 0, "the beginning");
	client.socket.pause();
	const [record] = await plane.recorded(1);
	assert.equal(plane.reasonOf(record), "client_stalled");
	const wire = await app.wire(0);
	await wire.closed();
	assert.equal(wire.error, "ECONNRESET");
	await plane.settle();
});

test("a refused client that goes on sending is listened to for timeouts.linger, and its connection then closed", async () => {
	const clock = new ManualClock();
	await using app = await startApp(() => undefined);
	await using plane = await startPlane(app.port, { clock, set: { "limits.body": "10B" } });
	await using client = await connect(plane.port);
	client.write(`POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${8 << 20}\r\n\r\n`);
	const response = await client.response();
	assert.equal(response.status, 413);
	await client.until(() => client.isEnded, "the agent's FIN");
	client.write(Buffer.alloc(1000));
	plane.advance(4_999);
	assert.equal(plane.counters.get(CELL.DOWNSTREAM_OPEN), 1);
	plane.advance(1);
	await plane.settle();
});

test("a refused client may send no more than limits.lingerBytes, and still has its answer", async () => {
	const clock = new ManualClock();
	await using app = await startApp(() => undefined);
	await using plane = await startPlane(app.port, {
		clock,
		set: { "limits.body": "10B", "limits.lingerBytes": "64KiB" },
	});
	await using client = await connect(plane.port);
	client.socket.pause();
	client.write(`POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${32 << 20}\r\n\r\n`);
	for (let i = 0; i < 512; i++) client.write(Buffer.alloc(65_536));
	for (let before = -1; before !== client.socket.writableLength; ) {
		before = client.socket.writableLength;
		await new Promise((resolve) => setTimeout(resolve, 100));
	}
	assert.ok(client.socket.writableLength > 0, "the agent has stopped reading");
	client.socket.resume();
	assert.equal((await client.response()).status, 413);
	plane.advance(5_000);
	await plane.settle();
});

test("a client that neither leaves nor reads the last of its answer does not stay for ever", async () => {
	await using app = await startApp(answering(() => ok(Buffer.alloc(20_000))));
	await using plane = await startPlane(app.port, {
		set: { "timeouts.writeStall": "200ms", "timeouts.linger": "100ms" },
	});
	await using client = await connect(plane.port);
	client.socket.pause();
	// Answers of less than what counts as back-pressure, until one does not go out.
	for (let i = 0; i < 600; i++) client.write(GET);
	await plane.settle();
});
