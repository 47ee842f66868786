import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { FAULTS } from "../foundation/fault.ts";
import { METHOD } from "../http1/methods.ts";
import { CELL, Counters } from "./counters.ts";
import {
	DURATION_BOUNDS,
	errorType,
	histogramCells,
	labelsOfKey,
	OVERFLOW_ROUTE,
	type SeriesLabels,
	SIZE_BOUNDS,
	seriesKey,
} from "./series-labels.ts";
import { durationBucket, LAST_RESORT, type Series, SeriesTable, SeriesUnion } from "./series-table.ts";

interface Thread {
	readonly table: SeriesTable;
	readonly counters: Counters;
	readonly defined: [number, SeriesLabels][];
}

function thread(seriesMax: number, bodySizes = false): Thread {
	const defined: [number, SeriesLabels][] = [];
	const counters = Counters.allocate();
	const table = new SeriesTable(
		SeriesTable.allocate(seriesMax, bodySizes),
		seriesMax,
		bodySizes,
		counters,
		(slot, labels) => defined.push([slot, labels]),
	);
	return { table, counters, defined };
}

function observe(one: Thread, route: string, status = 200, seconds = 0.001, faultIndex = -1): void {
	one.table.observe(one.table.route(route), METHOD.GET, status, 1, 0, faultIndex, seconds, 10, 300);
}

function union(seriesMax: number, threads: readonly Thread[], bodySizes = false): SeriesUnion {
	const all = new SeriesUnion(seriesMax, bodySizes);
	for (const [index, one] of threads.entries()) {
		all.addThread(index, one.table.shared);
		for (const [slot, labels] of one.defined) all.define(index, slot, labels);
	}
	return all;
}

function counts(all: SeriesUnion, series: Series): number {
	const cells = new Float64Array(histogramCells(DURATION_BOUNDS));
	all.duration(series, cells);
	return cells.subarray(0, -1).reduce((sum, count) => sum + count, 0);
}

function total(all: SeriesUnion): number {
	return [...all.all()].reduce((sum, series) => sum + counts(all, series), 0);
}

describe("the series of exchanges", () => {
	test("are defined once and counted by their labels", () => {
		const one = thread(10);
		observe(one, "/a");
		observe(one, "/a");
		observe(one, "/a", 404);
		observe(one, "/b");
		assert.deepEqual(
			one.defined.map(([slot, labels]) => [slot, labels.route, labels.status]),
			[
				[1, "/a", 200],
				[2, "/a", 404],
				[3, "/b", 200],
			],
		);
		const all = union(10, [one]);
		assert.deepEqual(
			[...all.all()].map((series) => counts(all, series)),
			[2, 1, 1],
		);
		assert.equal(all.size, 3);
		assert.equal(one.counters.get(CELL.ROUTES), 2);
	});

	test("of several threads are one when their labels are", () => {
		const threads = [thread(10), thread(10)];
		observe(threads[0] as Thread, "/a");
		observe(threads[1] as Thread, "/b");
		observe(threads[1] as Thread, "/a");
		const all = union(10, threads);
		assert.deepEqual(
			[...all.all()].map((series) => [series.labels.route, counts(all, series)]),
			[
				["/a", 2],
				["/b", 1],
			],
		);
	});

	test("beyond the cap are counted under __overflow__, and nothing is lost from the total", () => {
		const one = thread(3);
		for (let i = 0; i < 10; i++) observe(one, `/${i}`);
		observe(one, "/0", 500);
		observe(one, "/0");
		const all = union(3, [one]);
		assert.equal(total(all), 12);
		const overflow = [...all.all()].filter((series) => series.labels.route === OVERFLOW_ROUTE);
		assert.deepEqual(
			overflow.map((series) => [series.labels.status, counts(all, series)]),
			[
				[200, 7],
				[500, 1],
			],
		);
		assert.equal(one.counters.get(CELL.SERIES_OVERFLOW), 8);
		assert.equal(one.table.route("/99"), one.table.overflow);
		assert.equal(one.table.route(OVERFLOW_ROUTE), one.table.overflow);
	});

	test("that have no place even under __overflow__ are counted in the last resort", () => {
		const one = thread(1);
		observe(one, "/a");
		for (let status = 200; status < 300; status++) observe(one, "/b", status);
		observe(one, "/b", 299);
		const all = union(1, [one]);
		assert.equal(total(all), 102);
		const [first] = all.all();
		assert.deepEqual(first?.labels, LAST_RESORT);
		assert.equal(counts(all, first as Series), 37);
		// What has exactly its labels must not become a second series with them.
		one.table.observe(one.table.overflow, METHOD.OTHER, 0, 1, 0, -1, 0.1, 0, 0);
		all.define(0, 2, LAST_RESORT);
		assert.equal([...all.all()].filter((series) => series.labels.status === 0).length, 1);
	});

	test("of threads whose union is beyond the cap join __overflow__", () => {
		const threads = [thread(2), thread(2)];
		for (const route of ["/a", "/b"]) observe(threads[0] as Thread, route);
		for (const route of ["/c", "/d"]) observe(threads[1] as Thread, route);
		const all = union(2, threads);
		assert.deepEqual(
			[...all.all()].map((series) => [series.labels.route, counts(all, series)]),
			[
				["/a", 1],
				["/b", 1],
				[OVERFLOW_ROUTE, 2],
			],
		);
	});

	test("of which nobody has told yet are not read; told twice or wrongly is ignored", () => {
		const one = thread(5);
		observe(one, "/a");
		const all = new SeriesUnion(5, false);
		all.addThread(0, one.table.shared);
		assert.equal(total(all), 0);
		const [slot, labels] = one.defined[0] ?? assert.fail("not defined");
		for (const wrong of [0, -1, 1.5, 1000, Number.NaN]) all.define(0, wrong, labels);
		all.define(7, slot, labels);
		assert.equal(total(all), 0);
		all.define(0, slot, labels);
		all.define(0, slot, { ...labels, route: "/other" });
		assert.equal(total(all), 1);
	});

	test("of a dead thread stay, those included that it did not tell of", () => {
		const one = thread(5);
		observe(one, "/a");
		const all = union(5, [one]);
		observe(one, "/a");
		observe(one, "/untold");
		all.retire(0);
		all.retire(0);
		assert.deepEqual(
			[...all.all()].map((series) => [series.labels.route, counts(all, series)]),
			[
				[OVERFLOW_ROUTE, 1],
				["/a", 2],
			],
		);
		const next = thread(5);
		observe(next, "/a");
		all.addThread(0, next.table.shared);
		for (const [slot, labels] of next.defined) all.define(0, slot, labels);
		assert.equal(total(all), 4);
	});

	test("keep body sizes only when asked", () => {
		const one = thread(2, true);
		observe(one, "/a");
		const all = union(2, [one], true);
		const [series] = all.all();
		const cells = new Float64Array(histogramCells(SIZE_BOUNDS));
		all.bodySize(series as Series, 0, cells);
		assert.equal(cells[1], 1);
		assert.equal(cells.at(-1), 10);
		all.bodySize(series as Series, 1, cells);
		assert.equal(cells[2], 1);
		assert.equal(cells.at(-1), 300);
		assert.throws(() => new SeriesTable(SeriesTable.allocate(2, false), 2, true, one.counters, () => {}), /allocate/);
	});

	test("keep the latest exemplar of each bucket", () => {
		const one = thread(2);
		observe(one, "/a");
		const all = union(2, [one]);
		const key = seriesKey(METHOD.GET, 200, 1, 0, -1);
		for (const [labels, value] of [
			["first", 0.001],
			["second", 0.002],
			["slow", 11],
		] as const) {
			all.exemplar("/a", key, { labels, value, timestampSeconds: 1 });
		}
		all.exemplar("/unknown", key, { labels: "x", value: 1, timestampSeconds: 1 });
		const [series] = all.all();
		assert.equal(series?.exemplars[0]?.labels, "second");
		assert.equal(series?.exemplars[DURATION_BOUNDS.length]?.labels, "slow");
	});

	test("have labels that survive being a number (property)", () => {
		fc.assert(
			fc.property(
				fc.nat(10),
				fc.nat(999),
				fc.nat(1),
				fc.nat(1),
				fc.integer({ min: -1, max: 254 }),
				(method, status, minorVersion, scheme, faultIndex) => {
					const key = seriesKey(method, status, minorVersion, scheme, faultIndex);
					assert.ok(key >= 0 && key < 2 ** 24);
					assert.deepEqual(labelsOfKey("/r", key), { route: "/r", method, status, minorVersion, scheme, faultIndex });
				},
			),
		);
	});

	test("lose no observation, whatever is observed by however many threads (property)", () => {
		const what = fc.record({
			thread: fc.nat(2),
			route: fc.nat(6),
			status: fc.constantFrom(0, 200, 404, 500),
			seconds: fc.double({ min: 0, max: 20, noNaN: true }),
		});
		fc.assert(
			fc.property(fc.array(what, { maxLength: 200 }), fc.integer({ min: 1, max: 8 }), (all, seriesMax) => {
				const threads = [thread(seriesMax), thread(seriesMax), thread(seriesMax)];
				for (const one of all) observe(threads[one.thread] as Thread, `/${one.route}`, one.status, one.seconds);
				const merged = union(seriesMax, threads);
				assert.equal(total(merged), all.length);
				const own = [...merged.all()].filter((series) => series.labels.route !== OVERFLOW_ROUTE);
				assert.ok(own.length <= seriesMax);
				const cells = new Float64Array(histogramCells(DURATION_BOUNDS));
				let sum = 0;
				for (const series of merged.all()) {
					merged.duration(series, cells);
					sum += cells.at(-1) ?? 0;
				}
				assert.ok(Math.abs(sum - all.reduce((seconds, one) => seconds + one.seconds, 0)) < 1e-6);
				merged.retire(1);
				assert.equal(total(merged), all.length);
			}),
		);
	});

	test("have an error type by whose fault it was", () => {
		assert.equal(errorType(-1, 200), "");
		assert.equal(errorType(-1, 404), "");
		assert.equal(errorType(-1, 503), "503");
		assert.equal(errorType(FAULTS.app_refused.index, 502), "app_refused");
		assert.equal(errorType(FAULTS.client_closed.index, 0), "client_closed");
	});

	test("have buckets with their upper bound in them", () => {
		assert.equal(durationBucket(0), 0);
		for (const [index, bound] of DURATION_BOUNDS.entries()) {
			assert.equal(durationBucket(bound), index);
			assert.equal(durationBucket(bound * 1.0001), index + 1);
		}
	});
});
