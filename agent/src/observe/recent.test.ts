import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { everydayFacts } from "../../bench/records.ts";
import { type ExchangeFacts, FLAG_PROBE, RecordView, writeExchangeRecord } from "../bridge/exchange-record.ts";
import { RecordRing } from "../bridge/record-ring.ts";
import { FAULTS } from "../foundation/fault.ts";
import { RecentExchanges } from "./recent.ts";

function withId(id: string, changes: Partial<ExchangeFacts> = {}): ExchangeFacts {
	const bytes = Buffer.from(id);
	return { ...everydayFacts(), requestIdBytes: bytes, requestIdStart: 0, requestIdEnd: bytes.length, ...changes };
}

function add(recent: RecentExchanges, facts: ExchangeFacts, thread = 0): void {
	const ring = RecordRing.allocate(16_384);
	const view = new RecordView(ring);
	assert.ok(writeExchangeRecord(ring, facts, 1024));
	ring.drain((offset) => recent.add(view.load(offset), thread), 1);
}

describe("recent exchanges", () => {
	test("are found by request id, correlation id and trace id, with the thread that served them", () => {
		const recent = new RecentExchanges(65_536);
		const correlation = Buffer.from("corr-1");
		add(recent, withId("other"), 1);
		add(recent, withId("req-1", { correlationIdBytes: correlation, correlationIdStart: 0, correlationIdEnd: 6 }), 2);
		for (const id of ["req-1", "corr-1"]) {
			const [found, ...more] = recent.find(id, 10);
			assert.equal(found?.requestId, "req-1");
			assert.equal(found?.thread, 2);
			assert.equal(more.length, 0);
		}
		assert.equal(recent.find("4bf92f3577b34da6a3ce929d0e0e4736", 10).length, 2);
		assert.equal(recent.find("4bf92f3577b34da6a3ce929d0e0e4736", 1).length, 1);
		assert.deepEqual(recent.find("req-", 10), []);
		assert.deepEqual(recent.find("", 10), []);
	});

	test("are told newest first", () => {
		const recent = new RecentExchanges(65_536);
		for (let i = 0; i < 5; i++) add(recent, withId(`id-${i}`, { startedWallMs: i, status: i === 2 ? 503 : 200 }));
		assert.deepEqual(
			recent.latest(3).map((record) => record.requestId),
			["id-4", "id-3", "id-2"],
		);
	});

	test("that failed outlive the traffic, and probes that went well are not kept", () => {
		const recent = new RecentExchanges(16_384);
		add(recent, withId("failed", { faultIndex: FAULTS.app_reset.index, status: 502 }));
		add(recent, withId("probe-failed", { flags: FLAG_PROBE, status: 500 }));
		add(recent, withId("probe", { flags: FLAG_PROBE }));
		for (let i = 0; i < 200; i++) add(recent, withId(`id-${i}`));
		assert.equal(recent.find("failed", 1).length, 1);
		assert.equal(recent.find("probe-failed", 1).length, 1);
		assert.equal(recent.find("probe", 1).length, 0);
		assert.equal(recent.find("id-0", 1).length, 0);
		assert.equal(recent.find("id-199", 1).length, 1);
	});

	test("keep within their memory whatever the sizes, and the newest are whole and in order (property)", () => {
		fc.assert(
			fc.property(fc.array(fc.nat(1000), { minLength: 1, maxLength: 120 }), (sizes) => {
				const recent = new RecentExchanges(16_384);
				const head = Buffer.alloc(1000, "x");
				for (const [index, pathEnd] of sizes.entries()) {
					add(
						recent,
						withId(`id-${index}`, { startedWallMs: index, headBytes: head, pathStart: 0, pathEnd, route: "" }),
					);
				}
				const kept = recent.latest(1000);
				assert.equal(kept.length, recent.size);
				assert.ok(kept.length > 0);
				for (const [age, record] of kept.entries()) {
					const index = sizes.length - 1 - age;
					assert.equal(record.requestId, `id-${index}`);
					assert.equal(record.path, "x".repeat(sizes[index] ?? -1));
				}
				if (kept.length < sizes.length) assert.ok(kept.length >= 3, "8 KiB hold at least three of these");
			}),
		);
	});

	test("that are too large for the memory are not kept, and a memory that is too small is refused", () => {
		const recent = new RecentExchanges(8192);
		const head = Buffer.alloc(5000, "x");
		const everything = { pathStart: 0, queryStart: 0, userAgentStart: 0 };
		add(recent, withId("large", { headBytes: head, ...everything, pathEnd: 5000, queryEnd: 5000, userAgentEnd: 5000 }));
		assert.equal(recent.size, 0);
		assert.throws(() => new RecentExchanges(100), /at least 8 KiB/);
	});
});
