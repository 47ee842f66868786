/**
 * The per-exchange histograms, counted by the data thread in shared memory and read by the control thread.
 *
 * A series has a slot; which labels it stands for crosses once, as a message, when it is first seen. Then an observation costs two additions. There are at
 * most `routes.maxSeries` slots for series with their own labels; what comes after is counted under the route `__overflow__`, and when even its slots are used up,
 * under the one slot 0. Nothing is lost from the totals.
 *
 * Writing: `SeriesTable`, one per data thread. Reading: `SeriesUnion`, which merges the threads.
 */
import { assert } from "../foundation/assert.ts";
import { METHOD } from "../http1/methods.ts";
import type { Exemplar } from "../telemetry/exposition-write.ts";
import { CELL, type Counters } from "./counters.ts";
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

/** Slots for the combinations of method, status and fault under `__overflow__`; beyond them slot 0 takes all. */
const OVERFLOW_SLOTS = 64;
const DURATION_CELLS = histogramCells(DURATION_BOUNDS);
const SIZE_CELLS = histogramCells(SIZE_BOUNDS);
const durationBounds = Float64Array.from(DURATION_BOUNDS);
const sizeBounds = Float64Array.from(SIZE_BOUNDS);

/* A slot lies whole in its memory (`define` looks), so every index of cells below is one: the casts only take back noUncheckedIndexedAccess. */

/** The labels of slot 0: all that found no other place. */
export const LAST_RESORT: SeriesLabels = Object.freeze({
	route: OVERFLOW_ROUTE,
	method: METHOD.OTHER,
	status: 0,
	minorVersion: 1,
	scheme: 0,
	faultIndex: -1,
});

const LAST_RESORT_KEY = keyOf(LAST_RESORT);

/** Told once for each slot, before its first observation can be read. Slot 0 is never told: it is `LAST_RESORT`. */
export type DefineSeries = (slot: number, labels: SeriesLabels) => void;

/** Where a route's series are: obtained from `SeriesTable.route`, kept by whoever knows the route. */
export class SeriesRoute {
	readonly text: string;
	/** Most requests of a route repeat the labels of the one before. */
	lastKey = -1;
	lastSlot = 0;
	readonly slots = new Map<number, number>();

	constructor(text: string) {
		this.text = text;
	}
}

function keyOf(labels: SeriesLabels): number {
	return seriesKey(labels.method, labels.status, labels.minorVersion, labels.scheme, labels.faultIndex);
}

function cellsPerSlot(bodySizes: boolean): number {
	return DURATION_CELLS + (bodySizes ? 2 * SIZE_CELLS : 0);
}

export class SeriesTable {
	readonly shared: SharedArrayBuffer;
	/** The route for what has no place: also for callers that have too many routes of their own. */
	readonly overflow = new SeriesRoute(OVERFLOW_ROUTE);
	readonly #cells: Float64Array;
	readonly #stride: number;
	readonly #bodySizes: boolean;
	readonly #seriesMax: number;
	readonly #counters: Counters;
	readonly #onDefine: DefineSeries;
	readonly #routes = new Map<string, SeriesRoute>();
	#series = 0;
	#overflowSeries = 0;

	/**
	 * `seriesMax`: `routes.maxSeries`. `shared`: from `allocate` with the same values; its counts begin at zero. Keeps `ROUTES` and `SERIES_OVERFLOW` of
	 * `counters`.
	 */
	constructor(
		shared: SharedArrayBuffer,
		seriesMax: number,
		bodySizes: boolean,
		counters: Counters,
		onDefine: DefineSeries,
	) {
		this.shared = shared;
		this.#counters = counters;
		this.#cells = new Float64Array(shared);
		this.#stride = cellsPerSlot(bodySizes);
		this.#bodySizes = bodySizes;
		this.#seriesMax = seriesMax;
		this.#onDefine = onDefine;
		assert(
			this.#cells.length === this.#stride * (1 + seriesMax + OVERFLOW_SLOTS),
			"the memory of a series table comes from allocate",
		);
	}

	/** Shared memory for one data thread: 128 bytes a series (352 with body sizes). */
	static allocate(seriesMax: number, bodySizes: boolean): SharedArrayBuffer {
		return new SharedArrayBuffer(8 * cellsPerSlot(bodySizes) * (1 + seriesMax + OVERFLOW_SLOTS));
	}

	/** The place of a route's series; the same one for the same text. Beyond `seriesMax` routes: that of `__overflow__`. Empty: no route. */
	route(text: string): SeriesRoute {
		let route = this.#routes.get(text);
		if (route === undefined) {
			if (this.#routes.size >= this.#seriesMax || text === OVERFLOW_ROUTE) return this.overflow;
			route = new SeriesRoute(text);
			this.#routes.set(text, route);
			this.#counters.set(CELL.ROUTES, this.#routes.size);
		}
		return route;
	}

	/**
	 * One exchange: ≤ 30 ns, allocates only when the series is new. `method`: index in `METHODS`. `faultIndex`: −1 without fault. Body sizes are
	 * looked at only when the table keeps them.
	 */
	observe(
		route: SeriesRoute,
		method: number,
		status: number,
		minorVersion: number,
		scheme: number,
		faultIndex: number,
		seconds: number,
		requestBodyBytes: number,
		responseBodyBytes: number,
	): void {
		const key = seriesKey(method, status, minorVersion, scheme, faultIndex);
		let slot: number;
		if (key === route.lastKey) {
			slot = route.lastSlot;
			if (route === this.overflow) this.#counters.add(CELL.SERIES_OVERFLOW, 1);
		} else {
			slot = this.#slot(route, key);
		}
		const cells = this.#cells;
		const start = slot * this.#stride;
		let bucket = start;
		for (let i = 0; i < durationBounds.length && seconds > (durationBounds[i] as number); i++) bucket++;
		cells[bucket] = (cells[bucket] as number) + 1;
		const sum = start + DURATION_CELLS - 1;
		cells[sum] = (cells[sum] as number) + seconds;
		if (this.#bodySizes) {
			this.#observeSize(start + DURATION_CELLS, requestBodyBytes);
			this.#observeSize(start + DURATION_CELLS + SIZE_CELLS, responseBodyBytes);
		}
	}

	#observeSize(start: number, bytes: number): void {
		const cells = this.#cells;
		let bucket = start;
		for (let i = 0; i < sizeBounds.length && bytes > (sizeBounds[i] as number); i++) bucket++;
		cells[bucket] = (cells[bucket] as number) + 1;
		const sum = start + SIZE_CELLS - 1;
		cells[sum] = (cells[sum] as number) + bytes;
	}

	#slot(route: SeriesRoute, key: number): number {
		let slot = route.slots.get(key);
		if (slot === undefined) {
			if (route === this.overflow) slot = this.#newOverflowSlot(key);
			else if (this.#series < this.#seriesMax) {
				slot = ++this.#series;
				route.slots.set(key, slot);
				this.#onDefine(slot, labelsOfKey(route.text, key));
			} else return this.#slot(this.overflow, key); // not kept in the route: it would grow without bound
		}
		if (route === this.overflow) this.#counters.add(CELL.SERIES_OVERFLOW, 1);
		route.lastKey = key;
		route.lastSlot = slot;
		return slot;
	}

	#newOverflowSlot(key: number): number {
		if (this.#overflowSeries >= OVERFLOW_SLOTS) return 0;
		const slot = 1 + this.#seriesMax + this.#overflowSeries++;
		this.overflow.slots.set(key, slot);
		this.#onDefine(slot, labelsOfKey(OVERFLOW_ROUTE, key));
		return slot;
	}
}

/** One series over all threads. */
export interface Series {
	readonly labels: SeriesLabels;
	/** Empty: no error. */
	readonly errorType: string;
	/** Latest exemplar per bucket of the duration. */
	readonly exemplars: readonly (Exemplar | undefined)[];
	/** For the writer of the page: text made once of the labels. */
	rendered: string | undefined;
}

class UnionSeries implements Series {
	readonly labels: SeriesLabels;
	readonly errorType: string;
	readonly exemplars: (Exemplar | undefined)[] = [];
	rendered: string | undefined = undefined;
	/** What dead threads counted. */
	readonly gone: Float64Array;
	readonly sources: { readonly cells: Float64Array; readonly start: number }[] = [];

	constructor(labels: SeriesLabels, stride: number) {
		this.labels = labels;
		this.errorType = errorType(labels.faultIndex, labels.status);
		this.gone = new Float64Array(stride);
	}
}

interface ThreadSlots {
	readonly cells: Float64Array;
	readonly defined: Map<number, UnionSeries>;
}

export class SeriesUnion {
	readonly #stride: number;
	readonly #seriesMax: number;
	readonly #threads = new Map<number, ThreadSlots>();
	readonly #byRoute = new Map<string, Map<number, UnionSeries>>();
	readonly #series: UnionSeries[] = [];
	readonly #lastResort: UnionSeries;
	readonly bodySizes: boolean;
	#overflowSeries = 0;

	constructor(seriesMax: number, bodySizes: boolean) {
		this.#stride = cellsPerSlot(bodySizes);
		this.#seriesMax = seriesMax;
		this.bodySizes = bodySizes;
		this.#lastResort = new UnionSeries(LAST_RESORT, this.#stride);
	}

	addThread(thread: number, shared: SharedArrayBuffer): void {
		this.retire(thread);
		const slots: ThreadSlots = { cells: new Float64Array(shared), defined: new Map() };
		this.#threads.set(thread, slots);
		this.#attach(slots, 0, this.#lastResort);
	}

	/** A data thread has told what a slot stands for. A slot that is told twice or that cannot be is ignored. */
	define(thread: number, slot: number, labels: SeriesLabels): void {
		const slots = this.#threads.get(thread);
		if (slots === undefined || slots.defined.has(slot)) return;
		if (!Number.isInteger(slot) || slot < 1 || (slot + 1) * this.#stride > slots.cells.length) return;
		this.#attach(slots, slot, this.#of(labels));
	}

	/** The thread is dead: its counts stay. Those of slots that it could not tell of any more go to `__overflow__`. */
	retire(thread: number): void {
		const slots = this.#threads.get(thread);
		if (slots === undefined) return;
		this.#threads.delete(thread);
		for (let slot = 0; (slot + 1) * this.#stride <= slots.cells.length; slot++) {
			const union = slots.defined.get(slot) ?? this.#lastResort;
			const start = slot * this.#stride;
			for (let i = 0; i < this.#stride; i++)
				union.gone[i] = (union.gone[i] as number) + (slots.cells[start + i] as number);
		}
		for (const union of new Set(slots.defined.values())) {
			const left = union.sources.filter((source) => source.cells !== slots.cells);
			union.sources.splice(0, union.sources.length, ...left);
		}
	}

	/** A sampled exchange: the latest stands for its series and bucket. `key`: `seriesKey` of its labels; `exemplar.value`: seconds. */
	exemplar(route: string, key: number, exemplar: Exemplar): void {
		const series = this.#byRoute.get(route)?.get(key);
		if (series !== undefined) series.exemplars[durationBucket(exemplar.value)] = exemplar;
	}

	/** Every series of which something was counted, in the order in which they came to be; the last resort only when it was needed. */
	*all(): Iterable<Series> {
		if (this.#counted(this.#lastResort)) yield this.#lastResort;
		yield* this.#series;
	}

	get size(): number {
		return this.#series.length;
	}

	/** Adds up the duration of a series into `out` (`DURATION_BOUNDS.length + 2` cells: buckets, not cumulative, then the sum). */
	duration(series: Series, out: Float64Array): void {
		this.#sum(series, 0, DURATION_CELLS, out);
	}

	/** The same for the request's (`which` 0) and the response's (1) body size, `SIZE_BOUNDS.length + 2` cells. Only with `bodySizes`. */
	bodySize(series: Series, which: 0 | 1, out: Float64Array): void {
		this.#sum(series, DURATION_CELLS + which * SIZE_CELLS, SIZE_CELLS, out);
	}

	#sum(series: Series, from: number, cells: number, out: Float64Array): void {
		assert(series instanceof UnionSeries, "a series comes from all()");
		for (let i = 0; i < cells; i++) out[i] = series.gone[from + i] as number;
		for (const source of series.sources) {
			const start = source.start + from;
			for (let i = 0; i < cells; i++) out[i] = (out[i] as number) + (source.cells[start + i] as number);
		}
	}

	#counted(series: UnionSeries): boolean {
		for (let bucket = 0; bucket < DURATION_CELLS - 1; bucket++) {
			if ((series.gone[bucket] as number) > 0) return true;
			if (series.sources.some((source) => (source.cells[source.start + bucket] as number) > 0)) return true;
		}
		return false;
	}

	#attach(slots: ThreadSlots, slot: number, union: UnionSeries): void {
		slots.defined.set(slot, union);
		union.sources.push({ cells: slots.cells, start: slot * this.#stride });
	}

	/** Several threads may each be within the cap and their union not: what is beyond joins `__overflow__`. */
	#of(labels: SeriesLabels): UnionSeries {
		const key = keyOf(labels);
		const known = this.#byRoute.get(labels.route)?.get(key);
		if (known !== undefined) return known;
		const isOverflow = labels.route === OVERFLOW_ROUTE;
		if (isOverflow) {
			if (key === LAST_RESORT_KEY) return this.#lastResort; // two series with the same labels would spoil the page
			if (this.#overflowSeries >= OVERFLOW_SLOTS) return this.#lastResort;
			this.#overflowSeries++;
		} else if (this.#series.length - this.#overflowSeries >= this.#seriesMax) {
			return this.#of({ ...labels, route: OVERFLOW_ROUTE });
		}
		const series = new UnionSeries(labels, this.#stride);
		this.#series.push(series);
		const ofRoute = this.#byRoute.get(labels.route);
		if (ofRoute === undefined) this.#byRoute.set(labels.route, new Map([[key, series]]));
		else ofRoute.set(key, series);
		return series;
	}
}

/** Index of the bucket of a duration; `DURATION_BOUNDS.length` is +Inf. */
export function durationBucket(seconds: number): number {
	let bucket = 0;
	while (bucket < durationBounds.length && seconds > (durationBounds[bucket] as number)) bucket++;
	return bucket;
}
