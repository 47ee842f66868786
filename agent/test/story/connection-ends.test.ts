/**
 * Ends that nobody asked for: a client that goes away is felt by the app, an app that goes away is felt by the client, and an answer that was
 * cut is never taken for a whole one.
 */
import { strict as assert } from "node:assert";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { CELL } from "../../src/bridge/counters.ts";
import { FAULTS } from "../../src/foundation/fault.ts";
import {
	answering,
	connect,
	eventually,
	field,
	ok,
	type PlaneRun,
	startApp,
	startPlane,
	type Wire,
} from "./harness.ts";

const GET = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const UPLOAD = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n";

/** The one exchange was cut by the client, and the app has felt it. */
const cutByClient = async (plane: PlaneRun, app: Wire): Promise<void> => {
	await app.closed();
	assert.equal(app.error, "ECONNRESET");
	const [record] = await plane.recorded(1);
	assert.equal(plane.reasonOf(record), "client_closed");
	assert.equal(record?.endedBy, "client");
	assert.equal(plane.counters.get(CELL.CUT), 1);
	assert.equal(plane.counters.get(CELL.ANSWERED), 0);
	await plane.settle();
};

for (const [how, leave] of [
	["FIN", (client: Wire) => client.end()],
	["RST", (client: Wire) => client.reset()],
] as const) {
	test(`a client that leaves by ${how} while the app works is felt by the app`, async () => {
		await using app = await startApp(async (wire) => {
			await wire.request();
		});
		await using plane = await startPlane(app.port);
		await using client = await connect(plane.port);
		client.write(GET);
		const wire = await app.wire(0);
		await wire.until(() => wire.receivedBytes > 0, "the request");
		leave(client);
		await cutByClient(plane, wire);
	});

	test(`a client that leaves by ${how} in the middle of its upload is felt by the app`, async () => {
		await using app = await startApp(async (wire) => {
			await wire.requestHead();
		});
		await using plane = await startPlane(app.port);
		await using client = await connect(plane.port);
		client.write(`${UPLOAD}some`);
		const wire = await app.wire(0);
		await wire.until(() => wire.unread.includes("some"), "the beginning of the body");
		leave(client);
		await cutByClient(plane, wire);
	});

	test(`a client that leaves by ${how} in the middle of a slow download is felt by the app`, async () => {
		await using app = await startApp(async (wire) => {
			await wire.request();
			wire.write(`HTTP/1.1 200 OK\r\ncontent-length: ${64 << 20}\r\n\r\n`);
			wire.write(randomBytes(16 << 20));
		});
		await using plane = await startPlane(app.port);
		await using client = await connect(plane.port);
		client.write(GET);
		await client.until(() => client.receivedBytes > 1000, "the beginning of the answer");
		client.socket.pause();
		leave(client);
		await cutByClient(plane, await app.wire(0));
	});

	test(`a client that leaves by ${how} in the middle of its head is an exchange too`, async () => {
		await using app = await startApp(() => undefined);
		await using plane = await startPlane(app.port);
		await using client = await connect(plane.port);
		client.write("GET / HTTP/1.1\r\nho");
		await eventually(() => plane.counters.get(CELL.BUFFERED_BYTES) > 0, "the beginning of the head");
		leave(client);
		const [record] = await plane.recorded(1);
		assert.equal(plane.reasonOf(record), "client_closed");
		await plane.settle();
		assert.equal(app.wires.length, 0);
	});

	test(`a client that leaves by ${how} between requests has ended nothing`, async () => {
		await using app = await startApp(answering(() => ok()));
		await using plane = await startPlane(app.port);
		await using client = await connect(plane.port);
		client.write(GET);
		await client.response();
		leave(client);
		await plane.settle();
		assert.equal(plane.counters.get(CELL.ANSWERED), 1);
		assert.equal(plane.counters.get(CELL.CUT), 0);
	});
}

test("halfClose serve: who ends its half after its request gets its answer, and then the end", async () => {
	await using app = await startApp(async (wire) => {
		await wire.request();
		await wire.until(() => clientEnded, "the client's FIN").catch(() => undefined);
		wire.write(ok("served"));
	});
	let clientEnded = false;
	await using plane = await startPlane(app.port, { set: { "connections.halfClose": "serve" } });
	await using client = await connect(plane.port);
	client.write(GET);
	const wire = await app.wire(0);
	await wire.until(() => wire.receivedBytes > 0, "the request");
	client.end();
	await new Promise((resolve) => setTimeout(resolve, 30));
	clientEnded = true;
	wire.socket.emit("drain"); // wakes the script
	const response = await client.response();
	assert.equal(response.body.toString(), "served");
	assert.equal(field(response, "connection"), "close");
	assert.ok((await client.rest()).isClean);
	await plane.settle();
	assert.equal(plane.counters.get(CELL.ANSWERED), 1);
});

test("halfClose serve: requests that were sent ahead are served too, in order, the last says close", async () => {
	await using app = await startApp(answering(({ target }) => ok(target)));
	await using plane = await startPlane(app.port, { set: { "connections.halfClose": "serve" } });
	await using client = await connect(plane.port);
	client.write(["/1", "/2", "/3"].map((path) => GET.replace("/", path)).join(""));
	client.end();
	for (const path of ["/1", "/2", "/3"]) assert.equal((await client.response()).body.toString(), path);
	assert.ok((await client.rest()).isClean);
	await plane.settle();
	assert.equal(plane.counters.get(CELL.ANSWERED), 3);
});

test("halfClose serve: a request that was begun ahead and can never become whole is a cut", async () => {
	await using app = await startApp(answering(({ target }) => ok(target)));
	await using plane = await startPlane(app.port, { set: { "connections.halfClose": "serve" } });
	for (const unfinished of ["GET /2 HT", UPLOAD]) {
		await using client = await connect(plane.port);
		client.write(`${GET}${unfinished}`);
		client.end();
		await client.response();
		await client.rest();
	}
	await plane.recorded(4);
	assert.equal(plane.counters.get(CELL.ANSWERED), 2);
	assert.equal(plane.counters.get(CELL.CUT), 2);
	await plane.settle();
});

for (const [what, begin] of [
	["a length", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome"],
	["chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n"],
] as const) {
	for (const how of ["FIN", "RST"] as const) {
		test(`an app that leaves by ${how} in the middle of an answer with ${what}: the client feels a cut`, async () => {
			await using app = await startApp(async (wire) => {
				await wire.request();
				wire.write(begin);
				await wire.until(() => isSeen || wire.isClosed, "the client to have it").catch(() => undefined);
				if (how === "FIN") wire.end();
				else wire.reset();
			});
			let isSeen = false;
			await using plane = await startPlane(app.port);
			await using client = await connect(plane.port);
			client.write(GET);
			await client.until(() => client.unread.includes("some"), "the beginning of the answer");
			isSeen = true;
			(await app.wire(0)).socket.emit("drain");
			await client.closed();
			assert.equal(client.error, "ECONNRESET");
			const [record] = await plane.recorded(1);
			assert.equal(plane.reasonOf(record), "app_truncated");
			assert.equal(plane.counters.get(CELL.CUT), 1);
			assert.equal(plane.counters.get(CELL.UPSTREAM_FAILED_START + FAULTS.app_truncated.index), 1);
			await plane.settle();
		});
	}
}

test("an answer whose framing breaks after its head is a cut, and is counted as one", async () => {
	await using app = await startApp(async (wire) => {
		await wire.request();
		wire.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n");
		await wire.until(() => isSeen, "the client to have it");
		wire.write("zz\r\n");
	});
	let isSeen = false;
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	client.write(GET);
	await client.until(() => client.unread.includes("some"), "the beginning of the answer");
	isSeen = true;
	(await app.wire(0)).socket.emit("drain");
	await client.closed();
	assert.equal(client.error, "ECONNRESET");
	const [record] = await plane.recorded(1);
	assert.equal(plane.reasonOf(record), "app_framing_invalid");
	assert.equal(record?.status, 200);
	assert.equal(plane.counters.get(CELL.CUT), 1);
	assert.equal(plane.counters.get(CELL.ANSWERED), 0);
	await plane.settle();
});

test("an upload whose framing breaks after the app's answer has begun is a cut, and is counted as one", async () => {
	await using app = await startApp(async (wire) => {
		await wire.requestHead();
		wire.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome");
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	client.write("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n");
	await client.until(() => client.unread.includes("some"), "the beginning of the answer");
	client.write("zz\r\n");
	await client.closed();
	const [record] = await plane.recorded(1);
	assert.equal(plane.reasonOf(record), "chunk_size");
	assert.equal(plane.counters.get(CELL.CUT), 1);
	assert.equal(plane.counters.get(CELL.ANSWERED), 0);
	await plane.settle();
});

for (const how of ["FIN", "RST"] as const) {
	test(`an app that leaves by ${how} before it answers is a 502, and the client's connection goes on`, async () => {
		await using app = await startApp(async (wire, index) => {
			await wire.request();
			if (index > 0) wire.write(ok());
			else if (how === "FIN") wire.end();
			else wire.reset();
		});
		await using plane = await startPlane(app.port);
		await using client = await connect(plane.port);
		client.write(GET);
		const response = await client.response();
		assert.equal(response.status, 502);
		assert.equal(field(response, "x-outrigger-error"), how === "FIN" ? "app_closed" : "app_reset");
		client.write(GET);
		assert.equal((await client.response()).status, 200);
		client.end();
		await plane.settle();
	});
}

test("an upload that the app refuses early receives its answer, though the app closes with unread bytes", async () => {
	await using app = await startApp(async (wire) => {
		await wire.requestHead();
		wire.write("HTTP/1.1 413 Content Too Large\r\ncontent-length: 9\r\nconnection: close\r\n\r\ntoo large");
		wire.end();
	});
	await using plane = await startPlane(app.port);
	for (let round = 0; round < 20; round++) {
		await using client = await connect(plane.port);
		client.write(`POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${8 << 20}\r\n\r\n`);
		client.write(randomBytes(512 << 10));
		const response = await client.response();
		assert.equal(response.status, 413);
		assert.equal(response.body.toString(), "too large");
		client.end();
	}
	await plane.settle();
	assert.equal(plane.counters.get(CELL.ANSWERED), 20);
});
