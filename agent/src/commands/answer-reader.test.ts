import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { AnswerReader, BODY_BYTES_MAX, type HttpAnswer } from "./answer-reader.ts";

/** What is read of `text` in two pieces; the connection is closed behind it. */
function read(text: string, split = text.length): HttpAnswer | string {
	const bytes = Buffer.from(text, "latin1");
	const reader = new AnswerReader();
	try {
		reader.push(bytes.subarray(0, split));
		reader.push(bytes.subarray(split));
		reader.end();
	} catch (error) {
		return error instanceof Error ? error.message : String(error);
	}
	return reader.answer ?? "nothing";
}

const ok = "HTTP/1.1 200 OK\r\n";

describe("an answer", () => {
	test("is read whole, however it is framed, at every split", () => {
		for (const [text, status, type, body] of [
			[`${ok}content-type: application/json\r\ncontent-length: 2\r\n\r\n{}`, 200, "application/json", "{}"],
			[
				`${ok}Content-Type: application/json; charset=utf-8\r\nContent-Length:2\r\n\r\n{}`,
				200,
				"application/json",
				"{}",
			],
			[`${ok}content-length: 2\r\n\r\n{}HTTP/1.1 200 more`, 200, "", "{}"],
			["HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", 503, "", ""],
			["HTTP/1.1 404\r\ncontent-length: 0\r\n\r\n", 404, "", ""],
			["HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, "", "until the end"],
			["HTTP/1.1 204 No Content\r\n\r\n", 204, "", ""],
			[
				`HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n${ok}content-length: 2\r\n\r\n{}`,
				200,
				"",
				"{}",
			],
			[`${ok}transfer-encoding: chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n`, 200, "", "{}"],
			[`${ok}Transfer-Encoding: Chunked\r\n\r\nA \r\n0123456789\r\n0\r\ntrailer: x\r\n\r\n`, 200, "", "0123456789"],
		] as const) {
			for (let split = 0; split <= text.length; split++) {
				const answer = read(text, split);
				assert.ok(typeof answer !== "string", `${JSON.stringify(text)} at ${split}: ${JSON.stringify(answer)}`);
				assert.deepEqual(
					[answer.status, answer.contentType, answer.body.toString("latin1")],
					[status, type, body],
					`${JSON.stringify(text)} at ${split}`,
				);
			}
		}
	});

	test("is there as soon as it is whole, without the end of the connection", () => {
		const reader = new AnswerReader();
		reader.push(Buffer.from(`${ok}content-length: 2\r\n\r\n{`));
		const body = (): string | undefined => reader.answer?.body.toString();
		assert.equal(body(), undefined);
		reader.push(Buffer.from("}"));
		assert.equal(body(), "{}");
	});

	test("that cannot be read says why", () => {
		for (const [text, mistake] of [
			["", "it closed the connection before its answer was whole"],
			["HTTP/1.1 200 OK\r\n", "it closed the connection before its answer was whole"],
			[`${ok}content-length: 3\r\n\r\n{}`, "it closed the connection before its answer was whole"],
			[`${ok}transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n`, "it closed the connection before its answer was whole"],
			["SSH-2.0-OpenSSH_9.6\r\n\r\n", "it does not speak HTTP/1.1"],
			["HTTP/2 200 OK\r\n\r\n", "it does not speak HTTP/1.1"],
			["HTTP/1.1 099 x\r\n\r\n", "it does not speak HTTP/1.1"],
			[`${ok}content-length: x\r\n\r\n`, "the length of its answer is no number"],
			[`${ok}content-length: -1\r\n\r\n`, "the length of its answer is no number"],
			[`${ok}transfer-encoding: gzip\r\n\r\n`, "its answer has an unknown coding"],
			[`${ok}transfer-encoding: chunked\r\n\r\nx\r\n`, "its answer is badly chunked"],
			[`${ok}transfer-encoding: chunked\r\n\r\n1\r\nabc\r\n`, "its answer is badly chunked"],
			[`${ok}transfer-encoding: chunked\r\n\r\nffffffff\r\n`, "its answer is badly chunked"],
			[`${ok}x: ${"y".repeat(20_000)}`, "the head of its answer is too long"],
			[`${ok}x: ${"y".repeat(20_000)}\r\n\r\n`, "the head of its answer is too long"],
		] as const) {
			assert.equal(read(text), mistake, JSON.stringify(text.slice(0, 60)));
		}
	});

	test("is bounded", () => {
		const reader = new AnswerReader();
		reader.push(Buffer.from(`${ok}\r\n`));
		const block = Buffer.alloc(BODY_BYTES_MAX / 8);
		for (let i = 0; i < 8; i++) reader.push(block);
		assert.throws(() => reader.push(Buffer.alloc(1)), /too long/);
	});
});
