import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { everydayFacts } from "../../bench/records.ts";
import { METHODS } from "../http1/methods.ts";
import {
	ENDED_BY,
	type ExchangeFacts,
	type ExchangeRecord,
	FLAG_PARENT,
	LIFECYCLE_STATES,
	RecordView,
	readExchangeRecord,
	recordBytesMax,
	writeExchangeRecord,
} from "./exchange-record.ts";
import { RecordRing } from "./record-ring.ts";

function through(facts: ExchangeFacts, fieldBytesMax = 1024): ExchangeRecord {
	const ring = RecordRing.allocate(65_536);
	assert.ok(writeExchangeRecord(ring, facts, fieldBytesMax));
	const view = new RecordView(ring);
	let record: ExchangeRecord | undefined;
	ring.drain((offset, length) => {
		view.load(offset);
		assert.equal(view.length, length);
		record = readExchangeRecord(view, 3);
	}, 2);
	assert.ok(record !== undefined);
	return record;
}

describe("an exchange record", () => {
	test("arrives as it was sent", () => {
		assert.deepEqual(through(everydayFacts()), {
			thread: 3,
			inbound: 0,
			startedWallMs: 1_790_000_000_000,
			durationMs: 1.234,
			connectMs: Number.NaN,
			waitMs: 0.9,
			receiveMs: 0.05,
			method: "GET",
			minorVersion: 1,
			status: 200,
			faultIndex: -1,
			endedBy: "app",
			state: "ready",
			flags: 1,
			requestBodyBytes: 0,
			responseBodyBytes: 41,
			path: "/api/orders/8231/items",
			query: "page=2",
			userAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0",
			requestId: "01998c5e-7a5b-7c3f-9d21-0f6a3b1c2d3e",
			correlationId: "01998c5e-7a5b-7c3f-9d21-0f6a3b1c2d3e",
			traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
			spanId: "00f067aa0ba902b7",
			clientSpanId: "b7ad6b7169203331",
			parentSpanId: "",
			clientAddress: "10.42.17.203",
			route: "/api/orders/{id}/items",
		} satisfies ExchangeRecord);
	});

	test("of a malformed head has no method, and what is not there is empty", () => {
		const trace = Buffer.alloc(80);
		const record = through({
			...everydayFacts(),
			method: "",
			pathEnd: 0,
			pathStart: 0,
			queryStart: 5,
			queryEnd: 4,
			traceBytes: trace,
			traceView: new DataView(trace.buffer, trace.byteOffset, 80),
			flags: FLAG_PARENT,
			route: "",
		});
		const { method, path, query, traceId, spanId, clientSpanId, parentSpanId, route } = record;
		assert.deepEqual([method, path, query, traceId, spanId, clientSpanId, parentSpanId, route], Array(8).fill(""));
	});

	test("tells the parent span only when there was one", () => {
		assert.equal(through({ ...everydayFacts(), flags: FLAG_PARENT }).parentSpanId, "00f067aa0ba902b7");
	});

	test("cuts each string at the bound", () => {
		const record = through({ ...everydayFacts(), route: "/é".repeat(50), clientAddress: "1".repeat(200) }, 10);
		assert.equal(record.path, "/api/order");
		assert.equal(record.userAgent, "Mozilla/5.");
		assert.equal(record.requestId, "01998c5e-7");
		assert.equal(record.clientAddress, "1111111111");
		assert.equal(record.route, "/é/é/é/");
	});

	test("keeps a route in any script", () => {
		assert.equal(through({ ...everydayFacts(), route: "/заказы/{id}/日本" }).route, "/заказы/{id}/日本");
	});

	test("is refused and counted when the ring is full", () => {
		const ring = RecordRing.allocate(1024);
		const facts = everydayFacts();
		while (writeExchangeRecord(ring, facts, 1024)) assert.equal(ring.dropped, 0);
		assert.equal(ring.dropped, 1);
	});

	test("is never larger than said", () => {
		const long = Buffer.alloc(5000, "x");
		const facts: ExchangeFacts = {
			...everydayFacts(),
			headBytes: long,
			pathStart: 0,
			pathEnd: 5000,
			queryStart: 0,
			queryEnd: 5000,
			userAgentStart: 0,
			userAgentEnd: 5000,
			requestIdBytes: long,
			requestIdEnd: 5000,
			correlationIdBytes: long,
			correlationIdStart: 1,
			correlationIdEnd: 5000,
			clientAddress: "x".repeat(5000),
			route: "ж".repeat(5000),
		};
		for (const max of [1, 63, 64, 65, 1024]) {
			const ring = RecordRing.allocate(65_536);
			assert.ok(writeExchangeRecord(ring, facts, max));
			ring.drain((_, length) => assert.ok(length <= recordBytesMax(max)), 1);
		}
	});

	test("arrives whatever it holds (property)", () => {
		const number = fc.oneof(fc.double({ noDefaultInfinity: true }), fc.constant(Number.NaN));
		const text = fc.uint8Array({ maxLength: 200 });
		fc.assert(
			fc.property(
				fc.tuple(number, number, number, number, number, number, number),
				fc.tuple(text, text, text, text, text),
				fc.tuple(fc.ipV6(), fc.string({ unit: "binary", maxLength: 60 })),
				fc.tuple(
					fc.nat(METHODS.length - 1),
					fc.nat(999),
					fc.integer({ min: -1, max: 60 }),
					fc.nat(ENDED_BY.length - 1),
					fc.nat(LIFECYCLE_STATES.length - 1),
					fc.nat(255),
					fc.nat(1),
				),
				(
					numbers,
					texts,
					[clientAddress, route],
					[methodId, status, faultIndex, endedBy, state, flags, minorVersion],
				) => {
					const [path, query, userAgent, requestId, correlationId] = texts.map((one) => Buffer.from(one));
					assert.ok(path && query && userAgent && requestId && correlationId);
					const head = Buffer.concat([path, query, userAgent]);
					const facts: ExchangeFacts = {
						...everydayFacts(),
						startedWallMs: numbers[0],
						durationMs: numbers[1],
						connectMs: numbers[2],
						waitMs: numbers[3],
						receiveMs: numbers[4],
						requestBodyBytes: numbers[5],
						responseBodyBytes: numbers[6],
						headBytes: head,
						pathStart: 0,
						pathEnd: path.length,
						queryStart: path.length,
						queryEnd: path.length + query.length,
						userAgentStart: path.length + query.length,
						userAgentEnd: head.length,
						requestIdBytes: requestId,
						requestIdStart: 0,
						requestIdEnd: requestId.length,
						correlationIdBytes: correlationId,
						correlationIdStart: 0,
						correlationIdEnd: correlationId.length,
						clientAddress,
						route,
						method: METHODS[methodId] ?? "",
						methodId,
						status,
						faultIndex,
						endedBy,
						state,
						flags,
						minorVersion,
					};
					const record = through(facts);
					assert.deepEqual(
						[
							record.startedWallMs,
							record.durationMs,
							record.connectMs,
							record.waitMs,
							record.receiveMs,
							record.requestBodyBytes,
							record.responseBodyBytes,
						],
						numbers,
					);
					assert.equal(record.path, path.toString("utf8"));
					assert.equal(record.query, query.toString("utf8"));
					assert.equal(record.userAgent, userAgent.toString("utf8"));
					assert.equal(record.requestId, requestId.toString("latin1"));
					assert.equal(record.correlationId, correlationId.toString("latin1"));
					assert.equal(record.clientAddress, clientAddress);
					assert.equal(record.route, Buffer.from(route).toString());
					assert.equal(record.method, METHODS[methodId]);
					assert.equal(record.status, status);
					assert.equal(record.faultIndex, faultIndex);
					assert.equal(record.endedBy, ENDED_BY[endedBy]);
					assert.equal(record.state, LIFECYCLE_STATES[state]);
					assert.equal(record.flags, flags);
					assert.equal(record.minorVersion, minorVersion);
				},
			),
		);
	});
});
