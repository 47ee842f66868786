import { strict as assert } from "node:assert";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { CELL } from "../../src/bridge/counters.ts";
import { answering, connect, field, ok, type PlaneRun, startApp, startPlane, turn, type Wire } from "./harness.ts";

const MIB = 1 << 20;
const TOTAL = 64 * MIB;
const PIECE = Buffer.from(Array.from({ length: 65_536 }, (_, i) => (i * 31 + (i >> 8)) & 0xff));
/** What two loopback sockets of the system and the streams on top of them hold, by far; what is beyond it would be ours. */
const IN_BETWEEN_MAX = 24 * MIB;

const HASH = ((): string => {
	const hash = createHash("sha256");
	for (let sent = 0; sent < TOTAL; sent += PIECE.length) hash.update(PIECE);
	return hash.digest("hex");
})();

/** Sends the body as fast as it is taken, as chunks or as it is, and never holds more than a piece itself. */
const sendBody = async (wire: Wire, isChunked: boolean): Promise<void> => {
	for (let sent = 0; sent < TOTAL && !wire.isClosed; sent += PIECE.length) {
		wire.write(isChunked ? Buffer.concat([Buffer.from("10000\r\n"), PIECE, Buffer.from("\r\n")]) : PIECE);
		if (wire.socket.writableNeedDrain) {
			await wire.until(() => wire.socket.writableLength === 0 || wire.isClosed, "the body to be taken");
		}
	}
	if (isChunked) wire.write("0\r\n\r\n");
};

/** Waits until nothing moves any more, and says how many octets the sender got rid of by then. */
const sentWhenStopped = async (wire: Wire): Promise<number> => {
	const sent = (): number => wire.socket.bytesWritten - wire.socket.writableLength;
	for (let last = -1, quiet = 0; quiet < 100; ) {
		await turn();
		quiet = sent() === last ? quiet + 1 : 0;
		last = sent();
	}
	return sent();
};

/** Reads the whole body without keeping it. */
const hashOf = async (wire: Wire, take: (wire: Wire) => Promise<Buffer>): Promise<string> => {
	const hash = createHash("sha256");
	for (let taken = 0; taken < TOTAL; taken += PIECE.length) hash.update(await take(wire));
	return hash.digest("hex");
};
const takeLength = (wire: Wire): Promise<Buffer> => wire.take(PIECE.length);
/** The chunks of `sendBody` arrive as they were sent: framing passes as it came. */
const takeChunk = async (wire: Wire): Promise<Buffer> =>
	(await wire.take(PIECE.length + 9)).subarray(7, 7 + PIECE.length);

const assertLittleHeld = (plane: PlaneRun): void => {
	assert.ok(
		plane.counters.get(CELL.BUFFERED_BYTES) < MIB,
		`${plane.counters.get(CELL.BUFFERED_BYTES)} octets are held`,
	);
};

for (const isChunked of [false, true]) {
	const framing = isChunked ? "transfer-encoding: chunked" : `content-length: ${TOTAL}`;

	test(`an upload of 64 MiB (${framing}) is stopped by an app that does not read, and arrives whole when it does`, async () => {
		const isReading = Promise.withResolvers<void>();
		await using app = await startApp(async (wire) => {
			await wire.requestHead();
			wire.socket.pause();
			await isReading.promise;
			wire.socket.resume();
			const hash = await hashOf(wire, isChunked ? takeChunk : takeLength);
			if (isChunked) assert.equal((await wire.take(5)).toString(), "0\r\n\r\n");
			wire.write(ok(hash));
		});
		await using plane = await startPlane(app.port);
		await using client = await connect(plane.port);
		client.write(`POST /up HTTP/1.1\r\nhost: a\r\n${framing}\r\n\r\n`);
		const sending = sendBody(client, isChunked);
		await app.wire(0);
		const stoppedAt = await sentWhenStopped(client);
		assert.ok(stoppedAt < IN_BETWEEN_MAX, `the client got rid of ${stoppedAt} octets before anybody read`);
		assertLittleHeld(plane);
		isReading.resolve();
		await sending;
		assert.equal((await client.response()).body.toString(), HASH);
		client.end();
		await plane.settle();
		assert.equal(plane.records[0]?.requestBodyBytes, TOTAL);
	});

	test(`a download of 64 MiB (${framing}) is stopped by a client that does not read, and arrives whole when it does`, async () => {
		await using app = await startApp(async (wire) => {
			await wire.request();
			wire.write(`HTTP/1.1 200 OK\r\n${framing}\r\n\r\n`);
			await sendBody(wire, isChunked);
		});
		await using plane = await startPlane(app.port);
		await using client = await connect(plane.port);
		client.write("GET /down HTTP/1.1\r\nhost: a\r\n\r\n");
		client.socket.pause();
		const stoppedAt = await sentWhenStopped(await app.wire(0));
		assert.ok(stoppedAt < IN_BETWEEN_MAX, `the app got rid of ${stoppedAt} octets before anybody read`);
		assertLittleHeld(plane);
		client.socket.resume();
		await client.until(() => client.unread.includes("\r\n\r\n"), "the head");
		await client.take(client.unread.indexOf("\r\n\r\n") + 4);
		assert.equal(await hashOf(client, isChunked ? takeChunk : takeLength), HASH);
		if (isChunked) assert.equal((await client.take(5)).toString(), "0\r\n\r\n");
		client.write("GET /again HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
		client.reset();
		await plane.settle();
		assert.equal(plane.records[0]?.responseBodyBytes, TOTAL);
		assert.equal(plane.records[0]?.faultIndex, -1);
	});
}

test("bodies flow both ways at once: an answer that begins early is not held up by the request", async () => {
	await using app = await startApp(async (wire) => {
		await wire.requestHead();
		wire.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
		for (let i = 0; i < 50; i++) {
			const octets = await wire.take(4);
			wire.write(`4\r\n${octets.toString("latin1")}\r\n`);
		}
		wire.write("0\r\n\r\n");
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	client.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 200\r\n\r\n");
	await client.until(() => client.unread.includes("\r\n\r\n"), "the head of the answer");
	for (let i = 0; i < 50; i++) {
		const word = String(i).padStart(4, "0");
		client.write(word);
		await client.until(() => client.unread.includes(`4\r\n${word}\r\n`), `the echo of ${word}`);
	}
	const answer = await client.response();
	assert.equal(answer.body.length, 200);
	assert.equal(field(answer, "connection"), "close");
	client.end();
	await plane.settle();
	assert.equal(plane.records[0]?.requestBodyBytes, 200);
});

test("four uploads and downloads at once do not mix", async () => {
	await using app = await startApp(answering(({ body }) => ok(createHash("sha256").update(body).digest("hex"))));
	await using plane = await startPlane(app.port);
	await Promise.all(
		[1, 2, 3, 4].map(async (octet) => {
			await using client = await connect(plane.port);
			for (let round = 0; round < 5; round++) {
				const body = Buffer.alloc(300_000 + octet * 1000 + round, octet);
				client.write(`POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\n\r\n`);
				for (let at = 0; at < body.length; at += 7919) client.write(body.subarray(at, at + 7919));
				assert.equal((await client.response()).body.toString(), createHash("sha256").update(body).digest("hex"));
			}
		}),
	);
	await plane.settle();
	assert.equal(plane.records.length, 20);
});

test("answers to clients that read slowly keep their octets while others are served", async () => {
	const sizes = [900, 5_000, 17_000, 30_000];
	const hashes: string[] = [];
	await using app = await startApp(async (wire) => {
		const octet = Number((await wire.request()).target.slice(1));
		const hash = createHash("sha256");
		wire.write("HTTP/1.1 200 OK\r\ncontent-length: 8000000\r\n\r\n");
		for (let sent = 0, i = 0; sent < 8_000_000 && !wire.isClosed; i++) {
			const piece = Buffer.alloc(Math.min(sizes[i % sizes.length] ?? 1, 8_000_000 - sent), (octet * 61 + i) & 0xff);
			hash.update(piece);
			sent += piece.length;
			wire.write(piece);
			// A read for each piece, small ones mostly.
			if (wire.socket.writableNeedDrain) {
				await wire.until(() => wire.socket.writableLength === 0 || wire.isClosed, "the body to be taken");
			} else await turn();
		}
		hashes[octet] = hash.digest("hex");
	});
	await using plane = await startPlane(app.port);
	await Promise.all(
		[0, 1, 2, 3, 4, 5].map(async (octet) => {
			await using client = await connect(plane.port);
			client.write(`GET /${octet} HTTP/1.1\r\nhost: a\r\n\r\n`);
			client.socket.pause();
			for (let i = 0; i < 100 * (octet % 3); i++) await turn();
			client.socket.resume();
			const { body } = await client.response();
			assert.equal(createHash("sha256").update(body).digest("hex"), hashes[octet], `download ${octet}`);
		}),
	);
	await plane.settle();
});
