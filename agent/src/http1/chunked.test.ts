import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { chunkedAtEverySplit, LIMITS, NAMES, readChunked } from "../../test/fuzz/http1-reading.ts";
import { FAULTS, type FaultReason } from "../foundation/fault.ts";
import {
	CHUNK_END,
	CHUNK_HEADER_BYTES_MAX,
	ChunkedScanner,
	encodeChunkHeader,
	LAST_CHUNK,
	writeChunkHeader,
} from "./chunked.ts";
import { COMPLETE, INCOMPLETE } from "./scan-head.ts";

const REFUSED: readonly (readonly [text: string, reason: FaultReason, why: string])[] = [
	["\r\n", "chunk_size", "no size"],
	["g\r\n", "chunk_size", "a size that is not hexadecimal"],
	["0x5\r\n", "chunk_size", "a size with 0x"],
	["-1\r\n", "chunk_size", "a sign"],
	["+1\r\n", "chunk_size", "a plus"],
	[" 5\r\n", "chunk_size", "a space before the size"],
	["5 \r\n", "chunk_size", "a space after the size"],
	["5 ;a\r\n", "chunk_size", "a space before the extension"],
	["5\t\r\n", "chunk_size", "HTAB after the size"],
	["5\n", "chunk_size", "LF after the size"],
	["5_0\r\n", "chunk_size", "an underscore in the size"],
	["20000000000000\r\n", "chunk_size", "2^53"],
	["00000000000000005\r\n", "chunk_size", "seventeen digits"],
	["5\rX", "chunk_framing", "CR alone after the size"],
	["1\r\naX", "chunk_framing", "data that goes on"],
	["1\r\na\n", "chunk_framing", "LF after the data"],
	["1\r\na\rX", "chunk_framing", "CR alone after the data"],
	["1;\r\n", "chunk_extension", "an extension without a name"],
	["1;a\n", "chunk_extension", "LF after an extension"],
	["1;=b\r\n", "chunk_extension", "a value without a name"],
	["1;a=\r\n", "chunk_extension", "an empty value"],
	["1;a=(\r\n", "chunk_extension", "a delimiter as value"],
	["1;a=b c\r\n", "chunk_extension", "two words"],
	["1;a b\r\n", "chunk_extension", "two names"],
	["1;a \r\n", "chunk_extension", "a space at the end"],
	['1;a="b\r\n', "chunk_extension", "a quoted string that is left open"],
	['1;a="b\\\r\n', "chunk_extension", "an escaped CR"],
	['1;a="b"c\r\n', "chunk_extension", "a word after a quoted string"],
	["1;a\0\r\n", "chunk_extension", "NUL in an extension"],
	["0\r\n\rX", "trailer_field", "CR alone after the last chunk"],
	["0\r\n\n", "trailer_field", "LF after the last chunk"],
	["0\r\nX: 1\n", "trailer_field", "LF after a trailer"],
	["0\r\nX : 1\r\n", "trailer_field", "a space before the colon of a trailer"],
	["0\r\n X: 1\r\n", "trailer_field", "white space before a trailer"],
	...[
		"Content-Length: 1",
		"transfer-encoding: chunked",
		"Host: a",
		"Connection: close",
		"Trailer: x",
		"TE: trailers",
		"Authorization: x",
		"Cookie: a=b",
		"X-Forwarded-For: 1",
		"X-Forwarded-Anything: 1",
		"X-Request-Id: 1",
		"Traceparent: 1",
		"X-Outrigger-Route: /",
		"X-Outrigger-Anything: /",
		"Content_Length: 1",
		"X_Real_Ip: 1",
	].map((line) => [`0\r\nX-Ok: 1\r\n${line}\r\n`, "trailer_field", `the trailer ${line}`] as const),
];

describe("a chunked body that is refused", () => {
	for (const [text, reason, why] of REFUSED) {
		it(`is refused with ${reason} for ${why}, wherever it is split`, () => {
			assert.equal(chunkedAtEverySplit(text).verdict, reason);
			assert.equal(readChunked(Buffer.from(`${text}0\r\n\r\n`, "latin1")).verdict, reason);
			assert.equal(chunkedAtEverySplit(text, "response").verdict, "app_framing_invalid");
		});
	}

	it("stays refused", () => {
		const scanner = new ChunkedScanner(LIMITS, NAMES, "request");
		assert.equal(scanner.scan(Buffer.from("x"), 0, 1), FAULTS.chunk_size);
		assert.equal(scanner.scan(LAST_CHUNK, 0, LAST_CHUNK.length), FAULTS.chunk_size);
		scanner.reset();
		assert.equal(scanner.scan(LAST_CHUNK, 0, LAST_CHUNK.length), COMPLETE);
		assert.equal(scanner.scan(LAST_CHUNK, 2, LAST_CHUNK.length), COMPLETE);
		assert.equal(scanner.position, 2, "nothing is consumed after the end");
	});

	it("is bounded in its extensions, all together, and in its trailers", () => {
		const limits = { headBytesMax: 32, headersMax: 2, targetBytesMax: 1 };
		const chunk = "1;abcdefg\r\nx\r\n"; // eight octets of extension, CR included
		assert.equal(chunkedAtEverySplit(`${chunk.repeat(4)}0\r\n\r\n`, "request", limits).verdict, "complete");
		assert.equal(chunkedAtEverySplit(`${chunk.repeat(4)}0;a`, "request", limits).verdict, "chunk_extension");
		const fits = `0\r\nA: ${"a".repeat(32 - 7)}\r\n\r\n`;
		assert.equal(chunkedAtEverySplit(fits, "request", limits).verdict, "complete");
		assert.equal(chunkedAtEverySplit(fits.replace("A: ", "A: a"), "request", limits).verdict, "trailer_field");
		assert.equal(chunkedAtEverySplit("0\r\nA:\r\nB:\r\n\r\n", "request", limits).verdict, "complete");
		assert.equal(chunkedAtEverySplit("0\r\nA:\r\nB:\r\nC:\r\n", "request", limits).verdict, "trailer_field");
	});
});

describe("a chunked body", () => {
	it("gives its data and leaves what follows", () => {
		assert.deepEqual(chunkedAtEverySplit("5\r\nhello\r\n00A\r\n, world!!!\r\n0\r\n\r\nGET /"), {
			verdict: "complete",
			payload: "hello, world!!!",
			consumed: 32,
			trailers: "\r\n",
		});
	});

	it("may have extensions by their grammar", () => {
		const text = '1;a;b=c; d = "e;\\"\r"; f\r\nx\r\n'.replace('\r"', '"') + "0;last\r\n\r\n";
		assert.deepEqual(chunkedAtEverySplit(text), {
			verdict: "complete",
			payload: "x",
			consumed: text.length,
			trailers: "\r\n",
		});
		assert.equal(chunkedAtEverySplit('1;a \t= "\x80" ;b\r\nx\r\n0\r\n\r\n').verdict, "complete");
	});

	it("may have trailers, which are kept whole", () => {
		const trailers = "Grpc-Status: 0\r\nX-Sum: \xe4b\r\nDate: x\r\n\r\n";
		const reading = chunkedAtEverySplit(`1\r\nx\r\n0\r\n${trailers}HTTP/1.1`, "response");
		assert.equal(reading.verdict, "complete");
		assert.equal(reading.trailers, trailers);
		const scanner = new ChunkedScanner(LIMITS, NAMES, "response");
		const bytes = Buffer.from(`0\r\n${trailers}`, "latin1");
		assert.equal(scanner.scan(bytes, 0, bytes.length), COMPLETE);
		assert.equal(scanner.trailerCount, 3);
		scanner.reset();
		assert.equal(scanner.scan(LAST_CHUNK, 0, LAST_CHUNK.length), COMPLETE);
		assert.equal(scanner.trailerCount, 0);
	});

	it("tells where its trailers begin, so that they can be held back", () => {
		const scanner = new ChunkedScanner(LIMITS, NAMES, "request");
		const bytes = Buffer.from("1\r\nx\r\n0\r\nA: b\r\n\r\n", "latin1");
		assert.equal(scanner.scan(bytes, 0, 4), INCOMPLETE);
		assert.equal(scanner.trailerStart, -1);
		assert.equal(scanner.scan(bytes, 4, 12), INCOMPLETE);
		assert.equal(scanner.trailerStart, 9);
		assert.equal(scanner.scan(bytes, 12, bytes.length), COMPLETE);
		assert.equal(scanner.trailerStart, 12);
		assert.equal(scanner.trailerSection().toString("latin1"), "A: b\r\n\r\n");
		assert.equal(scanner.payloadBytes, 1);
	});

	it("is read back as it was written, whatever the splits and whatever follows", () => {
		fc.assert(
			fc.property(
				fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 6 }),
				fc.array(fc.nat({ max: 2000 }), { maxLength: 8 }),
				fc.string({ maxLength: 5 }),
				(chunks, at, after) => {
					const body = Buffer.concat([
						...chunks.flatMap((chunk) => [encodeChunkHeader(chunk.length), Buffer.from(chunk), CHUNK_END]),
						LAST_CHUNK,
					]);
					const bytes = Buffer.concat([body, Buffer.from(after, "latin1")]);
					const cuts = at.map((n) => Math.min(n, bytes.length)).sort((a, b) => a - b);
					assert.deepEqual(readChunked(bytes, cuts), {
						verdict: "complete",
						payload: Buffer.concat(chunks).toString("latin1"),
						consumed: body.length,
						trailers: "\r\n",
					});
				},
			),
			{ numRuns: 200 },
		);
	});

	it("can be larger than 32 bits in its chunks", () => {
		const scanner = new ChunkedScanner(LIMITS, NAMES, "response");
		const header = encodeChunkHeader(2 ** 40);
		assert.equal(scanner.scan(header, 0, header.length), INCOMPLETE);
		const piece = Buffer.alloc(1000);
		assert.equal(scanner.scan(piece, 0, piece.length), INCOMPLETE);
		assert.equal(scanner.payloadBytes, 1000);
		// All chunks together stay countable.
		scanner.reset();
		assert.equal(scanner.scan(Buffer.from("1\r\nx\r\n1fffffffffffff\r\n"), 0, 22), FAULTS.app_framing_invalid);
	});
});

describe("a chunk header", () => {
	it("is the size in hexadecimal and CRLF, from one digit to fourteen", () => {
		for (const size of [1, 9, 10, 15, 16, 255, 256, 65536, 2 ** 31, 2 ** 32 + 17, Number.MAX_SAFE_INTEGER]) {
			assert.equal(encodeChunkHeader(size).toString("latin1"), `${size.toString(16)}\r\n`);
		}
		const target = Buffer.alloc(CHUNK_HEADER_BYTES_MAX + 2, "-");
		assert.equal(writeChunkHeader(0xab, target, 2), 6);
		assert.equal(target.toString("latin1", 0, 8), "--ab\r\n--");
	});
});
