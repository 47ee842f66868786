import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { everydayFacts } from "../../bench/records.ts";
import { Counters } from "../bridge/counters.ts";
import { writeExchangeRecord } from "../bridge/exchange-record.ts";
import { RecordRing } from "../bridge/record-ring.ts";
import { SeriesTable, SeriesUnion } from "../bridge/series-table.ts";
import { ManualScheduler } from "../foundation/scheduler.ts";
import { METHOD } from "../http1/methods.ts";
import { type ExchangeObserver, ExchangeObservers, exemplarObserver } from "./exchange-observers.ts";

interface Seen extends ExchangeObserver {
	readonly statuses: number[];
	readonly threads: number[];
	turns: number;
}

function seeing(name = "seeing"): Seen {
	const seen: Seen = {
		name,
		statuses: [],
		threads: [],
		turns: 0,
		observe(view, thread) {
			seen.statuses.push(view.status);
			seen.threads.push(thread);
		},
		endTurn() {
			seen.turns++;
		},
	};
	return seen;
}

function write(ring: RecordRing, status: number, times = 1): void {
	for (let i = 0; i < times; i++) assert.ok(writeExchangeRecord(ring, { ...everydayFacts(), status }, 1024));
}

function refuseFaults(observer: string, error: unknown): void {
	assert.fail(`${observer}: ${String(error)}`);
}

describe("the observers of exchanges", () => {
	test("see each exchange of each thread within 50 ms, and a turn's end after it", async () => {
		const scheduler = new ManualScheduler();
		const seen = seeing();
		const observers = new ExchangeObservers(scheduler, [seen], refuseFaults);
		const rings = [RecordRing.allocate(65_536), RecordRing.allocate(65_536)] as const;
		for (const [thread, ring] of rings.entries()) observers.addRing(thread, ring.shared);
		await observers.start();
		await observers.start();
		assert.equal(scheduler.pending, 1);
		write(rings[0], 200);
		write(rings[1], 404);
		scheduler.advance(49);
		assert.deepEqual(seen.statuses, []);
		scheduler.advance(1);
		assert.deepEqual(seen.statuses, [200, 404]);
		assert.deepEqual(seen.threads, [0, 1]);
		assert.equal(seen.turns, 1);
		await observers.stop();
		await observers.stop();
		assert.equal(scheduler.pending, 0);
	});

	test("read what is left when they stop", async () => {
		const seen = seeing();
		const observers = new ExchangeObservers(new ManualScheduler(), [seen], refuseFaults);
		const ring = RecordRing.allocate(65_536);
		observers.addRing(0, ring.shared);
		await observers.start();
		write(ring, 200);
		await observers.stop();
		assert.deepEqual(seen.statuses, [200]);
	});

	test("take many records in several turns of the event loop", async () => {
		const scheduler = new ManualScheduler();
		const seen = seeing();
		const observers = new ExchangeObservers(scheduler, [seen], refuseFaults);
		const ring = RecordRing.allocate(2 ** 21);
		observers.addRing(0, ring.shared);
		await observers.start();
		write(ring, 200, 4500);
		scheduler.advance(50);
		assert.equal(seen.statuses.length, 4500);
		assert.equal(seen.turns, 3);
		await observers.stop();
	});

	test("that throw harm nobody else, and are counted", () => {
		const faults: string[] = [];
		const first = seeing("first");
		const last = seeing("last");
		const broken: ExchangeObserver = {
			name: "broken",
			observe() {
				throw new Error("observe");
			},
			endTurn() {
				throw new Error("endTurn");
			},
		};
		const observers = new ExchangeObservers(new ManualScheduler(), [first, broken, last], (observer, error) => {
			faults.push(`${observer}: ${error instanceof Error ? error.message : ""}`);
		});
		const ring = RecordRing.allocate(2 ** 20);
		observers.addRing(0, ring.shared);
		write(ring, 200, 1001);
		observers.readAll();
		assert.equal(first.statuses.length, 1001);
		assert.equal(last.statuses.length, 1001);
		assert.equal(last.turns, 1);
		assert.deepEqual(faults, ["broken: observe", "broken: observe"]);
		assert.deepEqual(
			[...observers.faults()],
			[
				["first", 0],
				["broken", 1002],
				["last", 0],
			],
		);
	});

	test("read the last records of a dead thread, and its losses are not forgotten", () => {
		const seen = seeing();
		const observers = new ExchangeObservers(new ManualScheduler(), [seen], refuseFaults);
		const ring = RecordRing.allocate(1024);
		observers.addRing(0, ring.shared);
		while (writeExchangeRecord(ring, everydayFacts(), 1024));
		const before = seen.statuses.length;
		const next = RecordRing.allocate(1024);
		observers.addRing(0, next.shared);
		assert.ok(seen.statuses.length > before);
		while (writeExchangeRecord(next, everydayFacts(), 1024));
		assert.deepEqual([...observers.recordsDropped()], [[0, 2]]);
		observers.retireRing(7);
	});

	test("keep an exemplar of what was sampled", () => {
		const counters = Counters.allocate();
		const union = new SeriesUnion(10, false);
		const table = new SeriesTable(SeriesTable.allocate(10, false), 10, false, counters, (slot, labels) =>
			union.define(0, slot, labels),
		);
		union.addThread(0, table.shared);
		const facts = everydayFacts();
		for (const status of [200, 201, 202]) {
			table.observe(table.route(facts.route), METHOD.GET, status, 1, 0, -1, facts.durationMs / 1000, 0, 0);
		}
		table.observe(table.route(""), METHOD.OTHER, 400, 1, 0, 3, 0.1, 0, 0);
		const observers = new ExchangeObservers(new ManualScheduler(), [exemplarObserver(union)], refuseFaults);
		const ring = RecordRing.allocate(65_536);
		observers.addRing(0, ring.shared);
		writeExchangeRecord(ring, facts, 1024);
		writeExchangeRecord(ring, { ...facts, status: 201, flags: 0 }, 1024);
		const none = Buffer.alloc(80);
		const traceView = new DataView(none.buffer, none.byteOffset, 80);
		writeExchangeRecord(ring, { ...facts, status: 202, traceBytes: none, traceView }, 1024);
		writeExchangeRecord(ring, { ...facts, method: "", route: "", status: 400, faultIndex: 3 }, 1024);
		observers.readAll();
		assert.deepEqual(
			[...union.all()].map((series) => series.exemplars[0]),
			[
				{
					labels: 'trace_id="4bf92f3577b34da6a3ce929d0e0e4736",span_id="00f067aa0ba902b7"',
					value: 0.001234,
					timestampSeconds: (1_790_000_000_000 + 1.234) / 1000,
				},
				undefined,
				undefined,
				{
					labels: 'trace_id="4bf92f3577b34da6a3ce929d0e0e4736",span_id="00f067aa0ba902b7"',
					value: 0.001234,
					timestampSeconds: (1_790_000_000_000 + 1.234) / 1000,
				},
			],
		);
	});
});
