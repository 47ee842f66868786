import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { FAULT_LIST } from "../foundation/fault.ts";
import { METHODS } from "../http1/methods.ts";
import { CELL, CounterReader, Counters, DELAY_WINDOW_MS, RESEND_REASONS } from "./counters.ts";
import { histogramCells, PHASE_BOUNDS } from "./series-labels.ts";

describe("counters", () => {
	test("have a cell of their own for everything", () => {
		const rows: Partial<Record<keyof typeof CELL, number>> = {
			ACTIVE_BY_METHOD_START: METHODS.length,
			REFUSED_START: FAULT_LIST.length,
			UPSTREAM_FAILED_START: FAULT_LIST.length,
			RESENT_START: RESEND_REASONS.length,
			CONNECT_START: histogramCells(PHASE_BOUNDS),
			WAIT_START: histogramCells(PHASE_BOUNDS),
			RECEIVE_START: histogramCells(PHASE_BOUNDS),
		};
		const length = Counters.allocate().cells.length;
		const taken = new Set<number>();
		for (const [name, start] of Object.entries(CELL)) {
			for (let i = 0; i < (rows[name as keyof typeof CELL] ?? 1); i++) {
				assert.ok(!taken.has(start + i), `${name} lies where another lies`);
				assert.ok(start + i < length, `${name} lies outside`);
				taken.add(start + i);
			}
		}
	});

	test("are added up over the threads, and a dead thread's counts stay while what it held is gone", () => {
		const reader = new CounterReader();
		const threads = [Counters.allocate(), Counters.allocate()];
		for (const [index, counters] of threads.entries()) {
			reader.addThread(index, counters.shared);
			counters.add(CELL.DOWNSTREAM_OPEN, 2);
			counters.add(CELL.DOWNSTREAM_OPENED, 5);
			counters.add(CELL.REFUSED_START + 3, 1);
			counters.add(CELL.ACTIVE_BY_METHOD_START + 1, 1);
			counters.set(CELL.DELAY_MAX, 1000 + index);
		}
		assert.equal(reader.sum(CELL.DOWNSTREAM_OPEN), 4);
		assert.equal(reader.max(CELL.DELAY_MAX), 1001);
		assert.equal(reader.of(0, CELL.DELAY_MAX), 1000);
		reader.retire(0);
		reader.retire(0);
		assert.equal(reader.sum(CELL.DOWNSTREAM_OPEN), 2);
		assert.equal(reader.sum(CELL.ACTIVE_BY_METHOD_START + 1), 1);
		assert.equal(reader.sum(CELL.DOWNSTREAM_OPENED), 10);
		assert.equal(reader.sum(CELL.REFUSED_START + 3), 2);
		assert.equal(reader.of(0, CELL.DELAY_MAX), undefined);
		const next = Counters.allocate();
		next.add(CELL.DOWNSTREAM_OPENED, 1);
		reader.addThread(1, next.shared);
		assert.equal(reader.sum(CELL.DOWNSTREAM_OPENED), 11);
		assert.deepEqual(reader.threads(), [1]);
	});

	test("put a phase into the bucket of its duration, bounds included, and nothing for NaN", () => {
		const counters = Counters.allocate();
		const last = PHASE_BOUNDS.length;
		counters.observePhase(CELL.WAIT_START, Number.NaN);
		counters.observePhase(CELL.WAIT_START, -1);
		counters.observePhase(CELL.WAIT_START, 0);
		counters.observePhase(CELL.WAIT_START, 0.1);
		counters.observePhase(CELL.WAIT_START, 0.11);
		counters.observePhase(CELL.WAIT_START, 20_000);
		assert.equal(counters.get(CELL.WAIT_START), 2);
		assert.equal(counters.get(CELL.WAIT_START + 1), 1);
		assert.equal(counters.get(CELL.WAIT_START + last), 1);
		assert.ok(Math.abs(counters.get(CELL.WAIT_START + last + 1) - 20.00021) < 1e-9);
		assert.equal(counters.get(CELL.RECEIVE_START), 0);
	});

	test("remember the longest delay for one to two windows", () => {
		const counters = Counters.allocate();
		counters.observeDelay(5, 0);
		counters.observeDelay(80, 1000);
		counters.observeDelay(-3, 2000);
		assert.equal(counters.get(CELL.DELAY_MAX), 0.08);
		counters.observeDelay(1, DELAY_WINDOW_MS);
		assert.equal(counters.get(CELL.DELAY_MAX), 0.08);
		counters.observeDelay(2, 2 * DELAY_WINDOW_MS);
		assert.equal(counters.get(CELL.DELAY_MAX), 0.002);
		assert.equal(counters.get(CELL.DELAY_COUNT), 5);
		assert.ok(Math.abs(counters.get(CELL.DELAY_SUM) - 0.088) < 1e-12);
		assert.equal(counters.get(CELL.BEATS), 5);
	});
});
