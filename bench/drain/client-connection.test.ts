import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { after, describe, test } from "node:test";
import { patternOf } from "./body.ts";
import { ClientConnection, type Request, type Target } from "./client-connection.ts";
import { ConnectionPool, KEEP_MS } from "./connection-pool.ts";

const TIMES = { connectMs: 20_000, stallMs: 20_000 };
const OK = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

const servers: Server[] = [];
const accepted = new Set<Socket>();
after(() => {
	for (const server of servers) server.close();
	for (const socket of accepted) socket.destroy();
});

/** A server that does with each connection what the test wants. */
async function serve(onSocket: (socket: Socket) => void): Promise<Target> {
	const server = createServer({ allowHalfOpen: true }, (socket) => {
		accepted.add(socket);
		socket.on("error", () => undefined);
		onSocket(socket);
	});
	servers.push(server);
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	const address = server.address();
	assert.ok(address !== null && typeof address === "object");
	return { host: "127.0.0.1", port: address.port };
}

const requestOf = (change: Partial<Request> = {}): Request => ({
	head: "GET / HTTP/1.1\r\nhost: a\r\n",
	uploadMs: 0,
	downloadMs: 0,
	expected: Buffer.from("hello"),
	isLast: false,
	...change,
});

async function failureOf(onRequest: (socket: Socket) => void, change: Partial<Request> = {}, times = TIMES) {
	const target = await serve((socket) => socket.once("data", () => onRequest(socket)));
	const connection = new ClientConnection(target, times);
	const { failure } = await connection.exchange(requestOf(change));
	assert.equal(connection.isClosed, failure !== undefined);
	connection.close();
	return failure;
}

test("a connection carries exchange after exchange until the server says that one was the last", async () => {
	let requests = 0;
	const target = await serve((socket) =>
		socket.on("data", () => socket.write(++requests === 2 ? OK.replace("\r\n", "\r\nconnection: close\r\n") : OK)),
	);
	const connection = new ClientConnection(target, TIMES);
	assert.equal((await connection.exchange(requestOf())).failure, undefined);
	assert.equal(connection.isIdle, true);
	assert.equal((await connection.exchange(requestOf())).failure, undefined);
	assert.equal(connection.isClosed, true);
	assert.equal(connection.exchanges, 2);
	assert.throws(() => connection.exchange(requestOf()), /an exchange on a connection that is closed/);
});

test("a request that is the last one says so", async () => {
	const heads: string[] = [];
	const target = await serve((socket) =>
		socket.on("data", (bytes) => {
			heads.push(bytes.toString());
			socket.write(OK);
		}),
	);
	const connection = new ClientConnection(target, TIMES);
	await connection.exchange(requestOf({ isLast: true }));
	assert.equal(connection.isClosed, true);
	assert.match(heads[0] ?? "", /\r\nconnection: close\r\n\r\n$/);
});

describe("a request is lost", () => {
	test("when nobody listens", async () => {
		const target = await serve(() => undefined);
		servers.pop()?.close();
		const { failure } = await new ClientConnection(target, TIMES).exchange(requestOf());
		assert.deepEqual([failure?.kind, failure?.detail, failure?.sentBytes], ["refused", "ECONNREFUSED", 0]);
	});

	test("when the server closes before it answers", async () => {
		const failure = await failureOf((socket) => socket.end());
		assert.deepEqual([failure?.kind, failure?.detail], ["closed", "FIN"]);
	});

	test("when the server resets before it answers", async () => {
		const failure = await failureOf((socket) => socket.resetAndDestroy());
		assert.deepEqual([failure?.kind, failure?.detail], ["reset", "ECONNRESET"]);
	});

	test("when the answer ends before it is whole", async () => {
		const failure = await failureOf((socket) => socket.end(OK.slice(0, -1)));
		assert.deepEqual([failure?.kind, failure?.detail, failure?.receivedBytes, failure?.status], ["cut", "FIN", 4, 200]);
	});

	test("when the answer has another status, with what stands in it", async () => {
		const failure = await failureOf((socket) => socket.write("HTTP/1.1 503 Gone\r\ncontent-length: 0\r\n\r\n"));
		assert.deepEqual([failure?.kind, failure?.status], ["status", 503]);
	});

	test("when the body is another one", async () => {
		const failure = await failureOf((socket) => socket.write(OK.replace("hello", "hullo")));
		assert.deepEqual(
			[failure?.kind, failure?.detail],
			["body", "other bytes than expected, from within the part at 0"],
		);
	});

	test("when the body is shorter than the right one, although the server calls it whole", async () => {
		const failure = await failureOf((socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhe"));
		assert.deepEqual([failure?.kind, failure?.detail], ["body", "2 of 5 bytes"]);
	});

	test("when the answer is none", async () => {
		const failure = await failureOf((socket) => socket.write("nonsense\r\n\r\n"));
		assert.equal(failure?.kind, "malformed");
	});

	test("when no byte moves for the time that is allowed", async () => {
		const failure = await failureOf(() => undefined, {}, { ...TIMES, stallMs: 5 });
		assert.equal(failure?.kind, "stalled");
	});
});

test("an upload is sent in parts and whole, and a download read in parts and whole", async () => {
	const upload = patternOf(100_000);
	let received = 0;
	let parts = 0;
	const answer = patternOf(300_000);
	const target = await serve((socket) =>
		socket.on("data", (bytes) => {
			received += bytes.length;
			parts++;
			if (received < upload.length) return;
			socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${answer.length}\r\n\r\n`);
			socket.write(answer);
		}),
	);
	const connection = new ClientConnection(target, TIMES);
	const { failure } = await connection.exchange(
		requestOf({
			head: "POST / HTTP/1.1\r\nhost: a\r\n",
			upload,
			uploadMs: 150,
			downloadMs: 100,
			expected: answer,
		}),
	);
	assert.equal(failure, undefined);
	assert.ok(parts >= 3, `${parts} parts`);
	assert.equal(connection.isIdle, true);
	connection.close();
});

test("a connection that answered before it had the whole upload is not used again", async () => {
	const target = await serve((socket) => socket.once("data", () => socket.write(OK)));
	const connection = new ClientConnection(target, TIMES);
	const upload = patternOf(1000);
	const { failure } = await connection.exchange(requestOf({ upload, uploadMs: 60_000 }));
	assert.equal(failure, undefined);
	assert.equal(connection.isClosed, true);
});

describe("the pool", () => {
	const answering = (): Promise<Target> => serve((socket) => socket.on("data", () => socket.write(OK)));

	test("gives the connection that was used last, and a new one when there is none", async () => {
		const pool = new ConnectionPool(TIMES);
		const target = await answering();
		const [first, second] = [pool.take(target, 0), pool.take(target, 0)];
		await Promise.all([first.exchange(requestOf()), second.exchange(requestOf())]);
		pool.give(first, 0);
		pool.give(second, 0);
		assert.equal(pool.take(target, 0), second);
		assert.equal(pool.take(target, 0), first);
		assert.notEqual(pool.take(target, 0), first);
		assert.equal(pool.opened, 3);
		pool.close();
		for (const connection of [first, second]) connection.close();
	});

	test("never gives one that the server has closed, by FIN or with words that nobody asked for", async () => {
		const sockets: Socket[] = [];
		const target = await serve((socket) => {
			sockets.push(socket);
			socket.on("data", () => socket.write(OK));
		});
		const pool = new ConnectionPool(TIMES);
		for (const leave of [
			(socket: Socket | undefined) => socket?.end(),
			(socket: Socket | undefined) => socket?.end("HTTP/1.1 408 Request Timeout\r\n\r\n"),
			(socket: Socket | undefined) => socket?.resetAndDestroy(),
		]) {
			const connection = pool.take(target, 0);
			await connection.exchange(requestOf());
			pool.give(connection, 0);
			leave(sockets.at(-1));
			while (connection.isIdle) await new Promise((resolve) => setImmediate(resolve));
			const other = pool.take(target, 0);
			assert.notEqual(other, connection);
			await other.exchange(requestOf());
			other.close();
		}
		assert.equal(pool.lost, 3);
	});

	test("closes what was kept long enough, and what is closed is not kept", async () => {
		const pool = new ConnectionPool(TIMES);
		const target = await answering();
		const connection = pool.take(target, 0);
		await connection.exchange(requestOf());
		pool.give(connection, 1000);
		pool.sweep(1000 + KEEP_MS - 1);
		assert.equal(connection.isIdle, true);
		pool.sweep(1000 + KEEP_MS);
		assert.equal(connection.isClosed, true);
		pool.give(connection, 9000);
		const second = pool.take(target, 9000);
		assert.notEqual(second, connection);
		await second.exchange(requestOf());
		pool.give(second, 9000);
		assert.notEqual(pool.take(target, 9000 + KEEP_MS), second, "although nobody has swept");
		assert.equal(pool.lost, 0);
		pool.close();
	});
});
