import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ResponseReader } from "./response-reader.ts";

interface Reading {
	readonly status: number;
	readonly body: string;
	readonly isComplete: boolean;
	readonly isKeptAlive: boolean;
	readonly mistake: string;
}

function read(parts: readonly string[], hasEnd: boolean): Reading {
	const body: Buffer[] = [];
	const reader = new ResponseReader((bytes) => body.push(Buffer.from(bytes)));
	for (const part of parts) reader.push(Buffer.from(part, "latin1"));
	if (hasEnd) reader.end();
	const { status, isComplete, isKeptAlive, mistake } = reader;
	return { status, body: Buffer.concat(body).toString("latin1"), isComplete, isKeptAlive, mistake };
}

/** The same at every split point, and byte for byte. */
function readEveryWay(text: string, hasEnd = false): Reading {
	const whole = read([text], hasEnd);
	for (let at = 1; at < text.length; at++) {
		assert.deepEqual(read([text.slice(0, at), text.slice(at)], hasEnd), whole, `split at ${at}`);
	}
	assert.deepEqual(read([...text], hasEnd), whole, "byte for byte");
	return whole;
}

const good = (status: number, body: string, isKeptAlive = true): Reading => ({
	status,
	body,
	isComplete: true,
	isKeptAlive,
	mistake: "",
});

describe("an answer is whole", () => {
	const cases: readonly (readonly [what: string, text: string, expected: Reading, hasEnd?: boolean])[] = [
		["when its length has come", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", good(200, "hello")],
		["when its length is 0", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", good(200, "")],
		[
			"when its last chunk and its trailers have come",
			"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\na: b\r\n\r\n",
			good(200, "abc0123456789"),
		],
		["when it can have no body", "HTTP/1.1 204 No Content\r\n\r\n", good(204, "")],
		[
			"after an answer that was not the final one",
			"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 \r\ncontent-length: 1\r\n\r\n!",
			good(503, "!"),
		],
		[
			"and the last on its connection when it says so",
			"HTTP/1.1 200 OK\r\nconnection: Close\r\ncontent-length: 1\r\n\r\nx",
			good(200, "x", false),
		],
		["and the last of an HTTP/1.0 server", "HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx", good(200, "x", false)],
		[
			"and not the last of an HTTP/1.0 server that says so",
			"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\nx",
			good(200, "x"),
		],
		["at the end of a connection that is its framing", "HTTP/1.1 200 OK\r\n\r\nabc", good(200, "abc", false), true],
	];
	for (const [what, text, expected, hasEnd] of cases) {
		test(what, () => assert.deepEqual(readEveryWay(text, hasEnd), expected));
	}
});

describe("an answer is not whole", () => {
	const cases: readonly (readonly [what: string, text: string])[] = [
		["without the end of its head", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"],
		["a byte short of its length", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell"],
		["without its last chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"],
		["without the end of its trailers", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"],
		["with a first answer that is not the final one", "HTTP/1.1 100 Continue\r\n\r\n"],
	];
	for (const [what, text] of cases) {
		test(`${what}, although the connection has ended`, () => {
			const { isComplete, isKeptAlive, mistake } = readEveryWay(text, true);
			assert.deepEqual([isComplete, isKeptAlive, mistake], [false, false, ""]);
		});
	}
});

describe("bytes are no answer", () => {
	const cases: readonly (readonly [what: string, text: string, mistake: RegExp])[] = [
		["with another first line", "SSH-2.0-x\r\n\r\n", /not a status line: "SSH-2\.0-x"/],
		["with a line that is no field", "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", /not a field: "nonsense"/],
		["with a length that is none", "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n", /content-length: many/],
		["with another coding", "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", /transfer-encoding: gzip/],
		[
			"with a chunk's size that is none",
			"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
			/not a chunk's size: "xyz"/,
		],
		[
			"with a chunk that is longer than it says",
			"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n",
			/no line end after a chunk/,
		],
	];
	for (const [what, text, mistake] of cases) {
		test(what, () => {
			const reading = readEveryWay(text);
			assert.match(reading.mistake, mistake);
			assert.equal(reading.isComplete, false);
		});
	}

	test("when they come after the answer", () => {
		const text = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx";
		assert.equal(read([text, "HTTP"], false).mistake, "4 bytes after the answer");
	});

	test("when the head has no end", () => {
		assert.match(read(["HTTP/1.1 200 OK\r\n", "a: b\r\n".repeat(20_000)], false).mistake, /no end within 65536 bytes/);
	});
});
