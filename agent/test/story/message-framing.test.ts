import { strict as assert } from "node:assert";
import { test } from "node:test";
import { CELL } from "../../src/bridge/counters.ts";
import {
	answering,
	connect,
	eventually,
	field,
	fieldValues,
	ok,
	piecesOf,
	type Request,
	splitPoints,
	startApp,
	startPlane,
	turn,
} from "./harness.ts";

/** Says back what it was told: method, target, trailers and body. */
const echo = ({ method, target, body, trailers }: Request): Buffer =>
	ok(JSON.stringify({ method, target, body: body.toString("latin1"), trailers }));

const REQUESTS: readonly { readonly name: string; readonly raw: string; readonly told: object }[] = [
	{
		name: "without a body",
		raw: "GET /a?b=c HTTP/1.1\r\nhost: a\r\n\r\n",
		told: { method: "GET", target: "/a?b=c", body: "", trailers: [] },
	},
	{
		name: "after one empty line",
		raw: "\r\nGET /a HTTP/1.1\r\nhost: a\r\n\r\n",
		told: { method: "GET", target: "/a", body: "", trailers: [] },
	},
	{
		name: "with a length",
		raw: "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world",
		told: { method: "POST", target: "/p", body: "hello world", trailers: [] },
	},
	{
		name: "with a length of zero",
		raw: "PUT /p HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
		told: { method: "PUT", target: "/p", body: "", trailers: [] },
	},
	{
		name: "a GET with a body",
		raw: "GET /p HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody",
		told: { method: "GET", target: "/p", body: "body", trailers: [] },
	},
	{
		name: "a body that looks like a request",
		raw: "POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 29\r\n\r\nGET /x HTTP/1.1\r\nhost: b\r\n\r\n.",
		told: { method: "POST", target: "/p", body: "GET /x HTTP/1.1\r\nhost: b\r\n\r\n.", trailers: [] },
	},
	{
		name: "chunked",
		raw: "POST /c HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
		told: { method: "POST", target: "/c", body: "hello world", trailers: [] },
	},
	{
		name: "chunked and empty",
		raw: "POST /c HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
		told: { method: "POST", target: "/c", body: "", trailers: [] },
	},
	{
		name: "chunked with extensions",
		raw: 'POST /c HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5;a=b;c="d;e"\r\nhello\r\n0;last\r\n\r\n',
		told: { method: "POST", target: "/c", body: "hello", trailers: [] },
	},
	{
		name: "chunked with trailers",
		raw: "POST /c HTTP/1.1\r\nhost: a\r\ntransfer-encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\nx-other: 2\r\n\r\n",
		told: { method: "POST", target: "/c", body: "abc", trailers: ["X-Sum: 1", "x-other: 2"] },
	},
];

for (const { name, raw, told } of REQUESTS) {
	test(`a request ${name} reaches the app as it was said, wherever it is cut`, async () => {
		await using app = await startApp(answering(echo));
		await using plane = await startPlane(app.port);
		await using client = await connect(plane.port);
		for (const cut of splitPoints(raw.length)) {
			await client.writePieces(piecesOf(raw, cut));
			const answer = await client.response();
			assert.equal(answer.status, 200, `cut at ${cut}`);
			assert.deepEqual(JSON.parse(answer.body.toString()), told, `cut at ${cut}`);
		}
		client.end();
		await plane.settle();
		const records = plane.records;
		assert.equal(records.length, splitPoints(raw.length).length);
		for (const record of records) {
			const { method, body } = told as { method: string; body: string };
			assert.deepEqual([record.method, record.status, record.requestBodyBytes], [method, 200, body.length]);
		}
	});

	test(`a request ${name} that comes one octet at a time is the same request`, async () => {
		await using app = await startApp(answering(echo));
		await using plane = await startPlane(app.port);
		await using client = await connect(plane.port);
		await client.writePieces(piecesOf(raw, ...Array.from({ length: raw.length - 1 }, (_, i) => i + 1)));
		assert.deepEqual(JSON.parse((await client.response()).body.toString()), told);
		client.end();
		await plane.settle();
	});
}

const RESPONSES: readonly {
	readonly name: string;
	readonly raw: string;
	readonly body: string;
	readonly trailers?: string[];
}[] = [
	{ name: "with a length", raw: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", body: "hello" },
	{ name: "without a reason", raw: "HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", body: "ok" },
	{ name: "with a length of zero", raw: "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", body: "" },
	{
		name: "chunked",
		raw: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
		body: "hello!",
	},
	{ name: "chunked and empty", raw: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", body: "" },
	{
		name: "chunked with trailers and extensions",
		raw: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n3;q=1\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n",
		body: "abc",
		trailers: ["X-Sum: 7"],
	},
];

for (const { name, raw, body, trailers = [] } of RESPONSES) {
	test(`a response ${name} reaches the client as it was said, wherever it is cut`, async () => {
		const cuts = splitPoints(raw.length);
		await using app = await startApp(async (wire) => {
			for (const cut of cuts) {
				await wire.request();
				await wire.writePieces(piecesOf(raw, cut));
			}
		});
		await using plane = await startPlane(app.port);
		await using client = await connect(plane.port);
		for (const cut of cuts) {
			client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
			const answer = await client.response();
			assert.equal(answer.status, 200);
			assert.equal(answer.body.toString(), body, `cut at ${cut}`);
			assert.deepEqual(answer.trailers, trailers, `cut at ${cut}`);
		}
		assert.equal(app.wires.length, 1, "one connection to the app carried them all");
		client.end();
		await plane.settle();
		for (const record of plane.records) assert.equal(record.responseBodyBytes, body.length);
	});
}

test("a response that comes one octet at a time is the same response", async () => {
	const raw = RESPONSES.at(-1)?.raw ?? "";
	await using app = await startApp(async (wire) => {
		await wire.request();
		await wire.writePieces(piecesOf(raw, ...Array.from({ length: raw.length - 1 }, (_, i) => i + 1)));
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
	const answer = await client.response();
	assert.deepEqual([answer.body.toString(), answer.trailers], ["abc", ["X-Sum: 7"]]);
});

test("five hundred requests in one write are answered in their order", async () => {
	await using app = await startApp(answering(({ target }) => ok(target)));
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	client.write(Array.from({ length: 500 }, (_, i) => `GET /${i} HTTP/1.1\r\nhost: a\r\n\r\n`).join(""));
	for (let i = 0; i < 500; i++) assert.equal((await client.response()).body.toString(), `/${i}`);
	client.end();
	await plane.settle();
	assert.deepEqual(
		plane.records.map(({ path }) => path),
		Array.from({ length: 500 }, (_, i) => `/${i}`),
	);
});

test("requests with and without bodies and refusals that keep the connection are pipelined in one write, and cut anywhere", async () => {
	await using app = await startApp(answering(({ method, body }) => ok(`${method} ${body.toString("latin1")}`)));
	await using plane = await startPlane(app.port);
	const raw = [
		"POST /1 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\none",
		"GET /2 HTTP/1.1\r\nhost: a\r\n\r\n",
		"TRACE /3 HTTP/1.1\r\nhost: a\r\n\r\n",
		"POST /4 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\nx-t: 1\r\n\r\n",
		"\r\nHEAD /5 HTTP/1.1\r\nhost: a\r\n\r\n",
		"OPTIONS /6 HTTP/1.1\r\nhost: a\r\nmax-forwards: 0\r\n\r\n",
		"GET /7 HTTP/1.1\r\nhost: a\r\n\r\n",
	].join("");
	const cuts = [raw.length - 1, ...splitPoints(raw.length)];
	for (const cut of cuts) {
		await using client = await connect(plane.port);
		await client.writePieces(piecesOf(raw, cut));
		assert.equal((await client.response()).body.toString(), "POST one", `cut at ${cut}`);
		assert.equal((await client.response()).body.toString(), "GET ");
		assert.equal((await client.response()).status, 405);
		assert.equal((await client.response()).body.toString(), "POST four");
		const head = await client.response("HEAD");
		assert.deepEqual([head.body.length, field(head, "content-length")], [0, "5"]);
		assert.equal((await client.response()).status, 204);
		assert.equal((await client.response()).body.toString(), "GET ");
		assert.equal(client.unread.length, 0);
	}
	await plane.settle();
	assert.equal(plane.records.length, cuts.length * 7);
});

test("requests that are pipelined behind a slow one wait unread beyond the bound, and are all served", async () => {
	let release = (): void => undefined;
	const isReleased = new Promise<void>((resolve) => {
		release = resolve;
	});
	await using app = await startApp(async (wire, index) => {
		for (;;) {
			const request = await wire.request();
			if (index === 0 && request.target === "/0") await isReleased;
			wire.write(ok(request.target));
		}
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	const filler = "x".repeat(8000);
	client.write("GET /0 HTTP/1.1\r\nhost: a\r\n\r\n");
	await app.wire(0);
	const more = 2000;
	for (let i = 1; i <= more; i++) client.write(`GET /${i} HTTP/1.1\r\nhost: a\r\nx-filler: ${filler}\r\n\r\n`);
	// All that the kernel and the agent will take has been taken once nothing moves any more.
	for (let last = -1; last !== client.socket.bytesWritten - client.socket.writableLength; ) {
		last = client.socket.bytesWritten - client.socket.writableLength;
		for (let i = 0; i < 50; i++) await turn();
	}
	assert.ok(client.socket.writableLength > 0, "the client was stopped");
	assert.ok(plane.counters.get(CELL.BUFFERED_BYTES) < 1 << 20, "the agent holds less than a mebibyte of them");
	release();
	for (let i = 0; i <= more; i++) assert.equal((await client.response()).body.toString(), `/${i}`);
	client.end();
	await plane.settle();
});

test("a client that sends requests and reads no answers is stopped, and what waits for it stays bounded", async () => {
	const body = Buffer.alloc(60_000, "b");
	await using app = await startApp(answering(() => ok(body)));
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	client.socket.pause();
	const count = 1000;
	client.write("GET /quite/a/long/path HTTP/1.1\r\nhost: a\r\n\r\n".repeat(count));
	let mostBuffered = 0;
	for (let quiet = 0, last = -1; quiet < 50; ) {
		await turn();
		mostBuffered = Math.max(mostBuffered, plane.counters.get(CELL.BUFFERED_BYTES));
		const served = plane.records.length;
		quiet = served === last ? quiet + 1 : 0;
		last = served;
	}
	assert.ok(plane.records.length < count, "the agent did not serve what nobody reads");
	assert.ok(mostBuffered < 2 << 20, `at most ${mostBuffered} octets waited`);
	// Another client meets the same connections to the app: none of them may be stuck.
	await using other = await connect(plane.port);
	for (let i = 0; i < 5; i++) {
		other.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
		assert.equal((await other.response()).body.length, body.length);
	}
	client.socket.resume();
	for (let i = 0; i < count; i++) assert.equal((await client.response()).body.length, body.length);
	client.end();
	other.end();
	await plane.settle();
});

test("a connection to the app that carried an answer to a client that does not read serves the next client", async () => {
	const body = Buffer.alloc(50_000, "b");
	await using app = await startApp(answering(() => ok(body)));
	await using plane = await startPlane(app.port);
	await using slow = await connect(plane.port);
	slow.socket.pause();
	let asked = 0;
	const isStopped = (): boolean => plane.counters.get(CELL.BUFFERED_BYTES) > 0;
	// Small answers fill what the kernel holds; the last of them is written whole and not taken whole.
	while (!isStopped()) {
		slow.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
		asked++;
		await eventually(() => plane.records.length === asked || isStopped(), "an answer, or the client to be stopped");
	}
	for (let i = 0; i < 3; i++) {
		await using other = await connect(plane.port);
		other.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
		assert.equal((await other.response()).body.length, body.length);
	}
	slow.socket.resume();
	for (let i = 0; i < asked; i++) assert.equal((await slow.response()).body.length, body.length);
	slow.end();
	await plane.settle();
});

test("both sides keep their connections, and the app's `connection: close` ends only the app's", async () => {
	await using app = await startApp(async (wire) => {
		for (let i = 0; i < 3; i++) {
			await wire.request();
			wire.write(ok(`${i}`, i === 2 ? "connection: close\r\n" : ""));
		}
		wire.end();
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	for (let i = 0; i < 9; i++) {
		client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
		const answer = await client.response();
		assert.equal(answer.body.toString(), `${i % 3}`);
		assert.equal(field(answer, "connection"), undefined);
	}
	assert.equal(app.wires.length, 3);
	client.end();
	await plane.settle();
});

test("`connection: close` of the client ends the client's connection and not the app's", async () => {
	await using app = await startApp(answering((request) => ok(fieldValues(request, "connection").join("|"))));
	await using plane = await startPlane(app.port);
	for (let i = 0; i < 3; i++) {
		await using client = await connect(plane.port);
		client.write("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\nGET /never HTTP/1.1\r\nhost: a\r\n\r\n");
		const answer = await client.response();
		assert.equal(answer.body.toString(), "", "the app is told of no connection option");
		assert.equal(field(answer, "connection"), "close");
		assert.deepEqual(await client.rest(), { bytes: Buffer.alloc(0), isClean: true });
	}
	assert.equal(app.wires.length, 1);
	await plane.settle();
	assert.equal(plane.records.length, 3, "what follows the last request is none");
});

test("an empty line after a body is no request: the connection stays idle and leaves no record", async () => {
	await using app = await startApp(answering(({ body }) => ok(body)));
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	for (let i = 0; i < 3; i++) {
		client.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi\r\n");
		assert.equal((await client.response()).body.toString(), "hi");
	}
	client.end();
	await plane.settle();
	assert.deepEqual(
		plane.records.map(({ status }) => status),
		[200, 200, 200],
	);
});

test("writes of nothing and chunks of one octet change nothing", async () => {
	await using app = await startApp(answering(({ body }) => ok(body)));
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	client.write("");
	client.write("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
	for (let i = 0; i < 300; i++) {
		client.write(Buffer.alloc(0));
		client.write(`1\r\n${i % 10}\r\n`);
		if (i % 10 === 0) await turn();
	}
	client.write("000\r\n\r\n");
	const { body } = await client.response();
	assert.equal(body.toString(), Array.from({ length: 300 }, (_, i) => i % 10).join(""));
	client.end();
	await plane.settle();
});
