import { strict as assert } from "node:assert";
import { test } from "node:test";
import { CELL } from "../../src/bridge/counters.ts";
import { connect, ok, piecesOf, startApp, startPlane } from "./harness.ts";

const GET = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const GET10 = "GET / HTTP/1.0\r\n\r\n";
const LENGTH = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly a part";
const CHUNKED = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
const CLOSED = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nwho knows";

for (const [what, request, raw, how] of [
	["a length, and FIN", GET, LENGTH, "end"],
	["a length, and RST", GET, LENGTH, "reset"],
	["a length, and FIN, to HTTP/1.0", GET10, LENGTH, "end"],
	["chunks, and FIN", GET, CHUNKED, "end"],
	["chunks, and RST", GET, CHUNKED, "reset"],
	["chunks without the last line, and FIN", GET, `${CHUNKED}0\r\n`, "end"],
	["chunks, and FIN, to HTTP/1.0", GET10, CHUNKED, "end"],
	["chunks that break, to HTTP/1.0", GET10, `${CHUNKED}zz`, "end"],
	["no framing, and RST", GET, CLOSED, "reset"],
	["no framing, and RST, to HTTP/1.0", GET10, CLOSED, "reset"],
] as const) {
	test(`an answer cut short (${what}) is never delivered as a whole one`, async () => {
		await using app = await startApp(async (wire) => {
			await wire.request();
			wire.write(raw);
			// What has been said must have been read before an RST: the client's own bytes are the sign of it.
			await sawAnswer;
			if (how === "end") wire.end();
			else wire.reset();
		});
		const { promise: sawAnswer, resolve: saw } = Promise.withResolvers<void>();
		await using plane = await startPlane(app.port);
		await using client = await connect(plane.port);
		client.write(request);
		await client.until(() => client.unread.includes("\r\n\r\n") || client.isClosed, "the head");
		saw();
		await client.closed();
		assert.equal(client.error, "ECONNRESET", "a FIN would say that the answer is whole");
		assert.equal(client.unread.toString("latin1").endsWith("0\r\n\r\n"), false);
		await plane.settle();
		const [record] = plane.records;
		assert.equal(record?.status, 200);
		assert.equal(plane.reasonOf(record), what.includes("break") ? "app_framing_invalid" : "app_truncated");
		assert.deepEqual([plane.counters.get(CELL.CUT), plane.counters.get(CELL.ANSWERED)], [1, 0]);
	});
}

test("an app that says two answers to one request: the second is nobody's", async () => {
	const poison = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
	await using app = await startApp(async (wire, index) => {
		await wire.request();
		const first = ok(`${index}`).toString();
		if (index % 2 === 0) wire.write(first + poison);
		else await wire.writePieces(piecesOf(first + poison, first.length));
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	for (let i = 0; i < 6; i++) {
		client.write(GET);
		assert.equal((await client.response()).body.toString(), `${i}`);
		// The second half of the two-part answer has come by the time the next request is sent.
		await new Promise((resolve) => setTimeout(resolve, 20));
	}
	assert.equal(client.unread.length, 0);
	assert.equal(app.wires.length, 6, "a connection that said too much is not used again");
	client.end();
	await plane.settle();
});

test("a body after the answer to HEAD, and after 204 and 304, is nobody's", async () => {
	const answers = [
		["HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"],
		["GET", "HTTP/1.1 204 No Content\r\n\r\npoison"],
		["GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 6\r\n\r\npoison"],
	] as const;
	await using app = await startApp(async (wire, index) => {
		await wire.request();
		wire.write(answers[index]?.[1] ?? "");
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	for (const [method, raw] of answers) {
		client.write(`${method} / HTTP/1.1\r\nhost: a\r\n\r\n`);
		assert.equal((await client.response(method)).status, Number(raw.slice(9, 12)));
		assert.equal(client.unread.length, 0);
	}
	client.end();
	await plane.settle();
});

test("bytes that an app says before it was asked are no answer", async () => {
	await using app = await startApp(async (wire, index) => {
		await wire.request();
		wire.write(ok(`${index}`));
		await new Promise((resolve) => setTimeout(resolve, 20));
		wire.write("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison");
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	for (let i = 0; i < 3; i++) {
		client.write(GET);
		assert.equal((await client.response()).body.toString(), `${i}`);
		await (await app.wire(i)).closed();
	}
	client.end();
	await plane.settle();
});
