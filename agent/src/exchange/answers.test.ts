import assert from "node:assert/strict";
import { STATUS_CODES } from "node:http";
import { describe, test } from "node:test";
import { ManualClock } from "../foundation/clock.ts";
import { FAULT_LIST, FAULTS } from "../foundation/fault.ts";
import { Answers } from "./answers.ts";
import { arrived, groundFrom } from "./exchange.fixture.ts";
import type { Exchange } from "./exchange.ts";

const WALL_MS = Date.UTC(2026, 1, 3, 4, 5, 6, 789);
const REQUEST_ID = "0198a1b2-0000-7000-8000-000000000001";
const CORRELATION_ID = "basket-7";
const TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736";

const withIds = (version = "HTTP/1.1"): Exchange => {
	const x = arrived(groundFrom(), [`GET / ${version}`, "host: a"]);
	x.requestIdBytes = Buffer.from(REQUEST_ID);
	x.requestIdEnd = REQUEST_ID.length;
	x.correlationIdBytes = Buffer.from(`--${CORRELATION_ID}`);
	x.correlationIdStart = 2;
	x.correlationIdEnd = 2 + CORRELATION_ID.length;
	x.traceBytes.write(TRACE_ID);
	return x;
};

const answersWith = (clock = new ManualClock(WALL_MS), idNames?: readonly string[]): Answers =>
	new Answers(groundFrom({}, idNames).settings.identity, clock);

interface Answer {
	readonly statusLine: string;
	readonly fields: readonly string[];
	readonly body: string;
}

const read = (bytes: Buffer): Answer => {
	const [head = "", ...rest] = bytes.toString("latin1").split("\r\n\r\n");
	const [statusLine = "", ...fields] = head.split("\r\n");
	return { statusLine, fields, body: rest.join("\r\n\r\n") };
};

describe("the answer to a fault", () => {
	test("is a problem document with the ids, and says that the agent made it", () => {
		const bytes = answersWith().problem(FAULTS.head_too_large, withIds(), true, true);
		const { statusLine, fields, body } = read(bytes);
		assert.equal(statusLine, "HTTP/1.1 431 Request Header Fields Too Large");
		assert.deepEqual(fields, [
			"content-type: application/problem+json",
			"cache-control: no-store",
			"x-outrigger-error: head_too_large",
			"date: Tue, 03 Feb 2026 04:05:06 GMT",
			`x-request-id: ${REQUEST_ID}`,
			`x-correlation-id: ${CORRELATION_ID}`,
			"connection: close",
			`content-length: ${body.length}`,
		]);
		assert.deepEqual(JSON.parse(body), {
			type: "https://outrigger.dev/errors/head_too_large",
			title: "Request Header Fields Too Large",
			status: 431,
			detail: FAULTS.head_too_large.detail,
			reason: "head_too_large",
			request_id: REQUEST_ID,
			correlation_id: CORRELATION_ID,
			trace_id: TRACE_ID,
		});
	});

	for (const fault of FAULT_LIST.filter(({ status }) => status > 0)) {
		test(`${fault.reason} is whole: known title, a document that can be read, a length in octets`, () => {
			const bytes = answersWith().problem(fault, withIds(), true, false);
			const { statusLine, fields, body } = read(bytes);
			const [, status = "", title = ""] = /^HTTP\/1\.1 (\d{3}) (.+)$/.exec(statusLine) ?? [];
			assert.equal(Number(status), fault.status);
			// RFC 9110 §15.5.14 and §15.5.21 have renamed what Node still calls by the old names.
			assert.ok(title === STATUS_CODES[fault.status] || [413, 414].includes(fault.status), title);
			assert.notEqual(title, "Unknown");
			assert.ok(fields.includes(`content-length: ${Buffer.byteLength(body)}`));
			assert.match(body, /^[\x20-\x7e]+\n$/);
			const document: unknown = JSON.parse(body);
			assert.ok(typeof document === "object" && document !== null && "detail" in document);
			assert.equal(document.detail, fault.detail);
			assert.equal(
				fields.some((line) => line.startsWith("retry-after: ")),
				fault.status === 503,
			);
			assert.equal(
				fields.some((line) => line.startsWith("allow: ")),
				fault.status === 405,
			);
			assert.equal(
				fields.some((line) => line.startsWith("connection: ")),
				false,
			);
		});
	}

	test("to HEAD has the length of the body that it leaves out (RFC 9110 §9.3.2)", () => {
		const answers = answersWith();
		const whole = answers.problem(FAULTS.app_refused, withIds(), true, false);
		const head = answers.problem(FAULTS.app_refused, withIds(), false, false);
		assert.ok(head.toString("latin1").endsWith("\r\n\r\n"));
		assert.equal(whole.toString("latin1").startsWith(head.toString("latin1")), true);
	});

	test("tells an HTTP/1.0 client that the connection stays, which it would not assume", () => {
		const { fields } = read(answersWith().problem(FAULTS.app_refused, withIds("HTTP/1.0"), true, false));
		assert.ok(fields.includes("connection: keep-alive"));
	});

	test("has one id field when one name serves for both", () => {
		const answers = answersWith(undefined, ["x-trace"]);
		const { fields } = read(answers.problem(FAULTS.app_refused, withIds(), true, false));
		assert.deepEqual(
			fields.filter((line) => line.includes(REQUEST_ID) || line.includes(CORRELATION_ID)),
			[`x-trace: ${REQUEST_ID}`],
		);
	});

	test("has the date of its second, written anew when the second is over", () => {
		const clock = new ManualClock(WALL_MS);
		const answers = answersWith(clock);
		const date = (): string | undefined =>
			read(answers.problem(FAULTS.internal, withIds(), true, true)).fields.find((line) => line.startsWith("date: "));
		assert.equal(date(), "date: Tue, 03 Feb 2026 04:05:06 GMT");
		clock.advance(210);
		assert.equal(date(), "date: Tue, 03 Feb 2026 04:05:06 GMT");
		clock.advance(1);
		assert.equal(date(), "date: Tue, 03 Feb 2026 04:05:07 GMT");
		clock.skew(-60_000);
		assert.equal(date(), "date: Tue, 03 Feb 2026 04:04:07 GMT");
	});
});

test("OPTIONS with max-forwards 0 is answered by this hop: 204, what is allowed, the ids, no length (RFC 9110 §8.6)", () => {
	const answers = answersWith();
	const { statusLine, fields, body } = read(answers.options(withIds(), false));
	assert.equal(statusLine, "HTTP/1.1 204 No Content");
	assert.equal(body, "");
	assert.deepEqual(fields, [
		"allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH, QUERY",
		"date: Tue, 03 Feb 2026 04:05:06 GMT",
		`x-request-id: ${REQUEST_ID}`,
		`x-correlation-id: ${CORRELATION_ID}`,
	]);
	assert.equal(read(answers.options(withIds(), true)).fields.at(-1), "connection: close");
});
