import { strict as assert } from "node:assert";
import { test } from "node:test";
import {
	answering,
	connect,
	field,
	fieldValues,
	ok,
	piecesOf,
	splitPoints,
	startApp,
	startPlane,
	turn,
} from "./harness.ts";

const CHUNKED = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 1\r\n\r\n";

test("an HTTP/1.0 request goes to the app as HTTP/1.1 with a host, and its connection ends with the answer", async () => {
	await using app = await startApp(
		answering((request) =>
			ok(`${request.startLine}|${fieldValues(request, "host")}|${fieldValues(request, "connection")}`),
		),
	);
	await using plane = await startPlane(app.port);
	for (const [fields, host] of [
		["", "localhost"],
		["host: shop.example\r\n", "shop.example"],
		["connection: close\r\n", "localhost"],
	]) {
		await using client = await connect(plane.port);
		client.write(`GET /a HTTP/1.0\r\n${fields}\r\n`);
		const answer = await client.response();
		assert.equal(answer.startLine, "HTTP/1.1 200 OK");
		assert.equal(answer.body.toString(), `GET /a HTTP/1.1|${host}|`);
		assert.equal(field(answer, "connection"), "close");
		assert.equal((await client.rest()).isClean, true);
	}
	await plane.settle();
	assert.deepEqual([...new Set(plane.records.map(({ minorVersion }) => minorVersion))], [0]);
});

test("an HTTP/1.0 client that asks for it keeps its connection where the answer has a length", async () => {
	await using app = await startApp(answering(({ target }) => ok(target)));
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	for (let i = 0; i < 3; i++) {
		client.write(`GET /${i} HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n`);
		const answer = await client.response();
		assert.equal(answer.body.toString(), `/${i}`);
		assert.equal(field(answer, "connection"), "keep-alive");
	}
	client.end();
	await plane.settle();
});

test("an HTTP/1.0 client gets a chunked answer without its framing, wherever that is cut", async () => {
	const cuts = splitPoints(CHUNKED.length);
	let next = 0;
	await using app = await startApp(async (wire) => {
		for (;;) {
			await wire.request();
			await wire.writePieces(piecesOf(CHUNKED, cuts[next++] ?? 1));
		}
	});
	await using plane = await startPlane(app.port);
	for (const cut of cuts) {
		await using client = await connect(plane.port);
		client.write("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
		const answer = await client.response();
		assert.equal(answer.body.toString(), "abcde", `cut at ${cut}`);
		assert.deepEqual([fieldValues(answer, "transfer-encoding"), field(answer, "connection")], [[], "close"]);
	}
	assert.equal(app.wires.length, 1, "the app's connection is not the client's");
	await plane.settle();
	for (const record of plane.records) assert.deepEqual([record.faultIndex, record.responseBodyBytes], [-1, 5]);
});

test("an HTTP/1.0 client never sees a transfer coding, not even of a body that is not there", async () => {
	await using app = await startApp(
		answering(({ method }) =>
			method === "HEAD"
				? "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
				: "HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n",
		),
	);
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	for (const method of ["HEAD", "GET"]) {
		client.write(`${method} / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n`);
		assert.deepEqual(fieldValues(await client.response(method), "transfer-encoding"), []);
	}
	client.end();
	await plane.settle();
});

test("an HTTP/1.0 app's answers are HTTP/1.1 to the client, with and without its keep-alive", async () => {
	let connections = 0;
	await using app = await startApp(async (wire) => {
		connections++;
		await wire.request();
		wire.write("HTTP/1.0 200 OK\r\ncontent-length: 5\r\nconnection: keep-alive\r\n\r\nfirst");
		await wire.request();
		wire.write("HTTP/1.0 200 OK\r\ncontent-length: 6\r\n\r\nsecond");
		wire.end();
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	for (const expected of ["first", "second", "first", "second"]) {
		client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
		const answer = await client.response();
		assert.deepEqual([answer.startLine, answer.body.toString()], ["HTTP/1.1 200 OK", expected]);
		assert.equal(field(answer, "connection"), undefined);
	}
	assert.equal(connections, 2);
	client.end();
	await plane.settle();
});

const CLOSED = ["HTTP/1.0 200 OK\r\n\r\nuntil the end", "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end"];

for (const raw of CLOSED) {
	const version = raw.slice(0, 8);

	test(`what ends with the connection of an ${version} app is chunked to HTTP/1.1, and the client's connection goes on`, async () => {
		const cuts = splitPoints(raw.length);
		await using app = await startApp(async (wire, index) => {
			await wire.request();
			await wire.writePieces(piecesOf(raw, cuts[index] ?? 1));
			wire.end();
		});
		await using plane = await startPlane(app.port);
		await using client = await connect(plane.port);
		for (const cut of cuts) {
			client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
			const answer = await client.response();
			assert.equal(answer.startLine, "HTTP/1.1 200 OK");
			assert.deepEqual(fieldValues(answer, "transfer-encoding"), ["chunked"]);
			assert.equal(answer.body.toString(), "until the end", `cut at ${cut}`);
			assert.equal(field(answer, "connection"), undefined);
		}
		client.end();
		await plane.settle();
	});

	test(`what ends with the connection of an ${version} app ends with the connection to HTTP/1.0`, async () => {
		await using app = await startApp(async (wire) => {
			await wire.request();
			wire.write(raw);
			await turn();
			wire.write(" and more");
			wire.end();
		});
		await using plane = await startPlane(app.port);
		await using client = await connect(plane.port);
		client.write("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
		const answer = await client.response();
		assert.equal(answer.body.toString(), "until the end and more");
		assert.deepEqual([fieldValues(answer, "transfer-encoding"), field(answer, "connection")], [[], "close"]);
	});
}

test("an empty body that ends with the connection is an empty chunked one", async () => {
	await using app = await startApp(async (wire) => {
		await wire.request();
		wire.write("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
		wire.end();
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	for (let i = 0; i < 3; i++) {
		client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
		const { raw, body } = await client.response();
		assert.equal(body.length, 0);
		assert.ok(raw.toString().endsWith("\r\n\r\n0\r\n\r\n"));
	}
	client.end();
	await plane.settle();
});

for (const [what, raw, length] of [
	["HEAD with a length", "HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n", "5000"],
	["HEAD with chunked", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", undefined],
	["HEAD with neither", "HTTP/1.1 200 OK\r\n\r\n", undefined],
	["304 with a length", "HTTP/1.1 304 Not Modified\r\ncontent-length: 5000\r\n\r\n", "5000"],
	["304 with chunked", "HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n", undefined],
	["304 with neither", 'HTTP/1.1 304 Not Modified\r\netag: "x"\r\n\r\n', undefined],
	["204", "HTTP/1.1 204 No Content\r\n\r\n", undefined],
	["204 with a length, which is taken out,", "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", undefined],
] as const) {
	test(`${what} has no body, and the next answer on the same connections is the next answer`, async () => {
		const method = what.startsWith("HEAD") ? "HEAD" : "GET";
		await using app = await startApp(answering(({ target }) => (target === "/empty" ? raw : ok("next"))));
		await using plane = await startPlane(app.port);
		await using client = await connect(plane.port);
		for (let i = 0; i < 3; i++) {
			client.write(`${method} /empty HTTP/1.1\r\nhost: a\r\n\r\nGET /next HTTP/1.1\r\nhost: a\r\n\r\n`);
			const empty = await client.response(method);
			assert.deepEqual([empty.status, field(empty, "content-length")], [Number(raw.slice(9, 12)), length]);
			assert.equal((await client.response()).body.toString(), "next");
		}
		assert.equal(app.wires.length, 1);
		client.end();
		await plane.settle();
		for (const { path, responseBodyBytes } of plane.records) assert.equal(responseBodyBytes, path === "/empty" ? 0 : 4);
	});
}

test("a 204 that says chunked is sent without it, and its connection to the app is not used again", async () => {
	await using app = await startApp(async (wire) => {
		await wire.request();
		wire.write("HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	for (let i = 0; i < 3; i++) {
		client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
		const answer = await client.response();
		assert.deepEqual([answer.status, fieldValues(answer, "transfer-encoding"), client.unread.length], [204, [], 0]);
	}
	assert.equal(app.wires.length, 3);
	client.end();
	await plane.settle();
});
