/**
 * What a data thread counts: named cells of 8 bytes in shared memory, written by that thread alone and read by the control thread at any time.
 *
 * A cell is written whole (an aligned double), so the reader sees an old or a new number, never half of one. Nothing orders one cell against another: a reader may
 * see a request that has arrived and not yet its connection. Cells are added up over the threads; when a thread is gone its counts stay, its gauges do not.
 */
import { FAULT_LIST } from "../foundation/fault.ts";
import { METHODS } from "../http1/methods.ts";
import { histogramCells, PHASE_BOUNDS } from "./series-labels.ts";

/** Why a request was sent to the app a second time; the order is the wire order. */
export const RESEND_REASONS = ["app_closed", "app_reset", "idle_connection_dead"] as const;

/** Phases of the way to the app; the order is the wire order. */
export const UPSTREAM_PHASES = ["connect", "wait", "receive"] as const;

const PHASE_CELLS = histogramCells(PHASE_BOUNDS);
const METHODS_START = 56;
const REFUSED_START = METHODS_START + METHODS.length;
const UPSTREAM_FAILED_START = REFUSED_START + FAULT_LIST.length;
const RESENT_START = UPSTREAM_FAILED_START + FAULT_LIST.length;
const PHASES_START = RESENT_START + RESEND_REASONS.length;
const CELLS = PHASES_START + UPSTREAM_PHASES.length * PHASE_CELLS;

/**
 * Where each number lies. Those that end in `_START` are the first of a row: add the index (method, fault, reason). Gauges go up and down, counters only up, the rest
 * are readings of one thread.
 */
export const CELL = {
	// Gauges: summed over the living threads.
	DOWNSTREAM_OPEN: 0,
	UPSTREAM_OPEN: 1,
	/** Idle among `UPSTREAM_OPEN`. */
	UPSTREAM_IDLE: 2,
	/** Exchanges between arrival and their last byte; while we leave, until the kernel has that byte. Probes and tunnels are not in it. */
	IN_FLIGHT: 3,
	/** Probes between arrival and their last byte. */
	PROBES_IN_FLIGHT: 4,
	EVENT_STREAMS: 5,
	TUNNELS: 6,
	OPAQUE_OPEN: 7,
	/** Bytes of `limits.buffered` in use. */
	BUFFERED_BYTES: 8,
	/** Routes that have a label of their own. */
	ROUTES: 9,
	// Counters: summed over all threads that ever lived.
	DOWNSTREAM_OPENED: 12,
	UPSTREAM_OPENED: 13,
	REQUESTS_ARRIVED: 14,
	PROBES_ARRIVED: 15,
	OPAQUE_OPENED: 16,
	TUNNELS_OPENED: 17,
	/** Exchanges that ended with an answer sent whole. */
	ANSWERED: 18,
	/** Exchanges that ended without. */
	CUT: 19,
	/** Traces sampled because the client said so beyond `identity.forcedSamplesPerSecond`, and therefore not. */
	FORCED_SAMPLES_REFUSED: 21,
	ROUTE_HINTS_REJECTED: 22,
	SERIES_OVERFLOW: 23,
	BYTES_FROM_CLIENTS: 24,
	BYTES_TO_CLIENTS: 25,
	/** Exceptions that ended one exchange. */
	INTERNAL_FAULTS: 26,
	// The account of leaving, from the moment at which this thread was told that we leave; probes are not in it. What was in flight then and what
	// arrived since is what was finished, served, cut, refused, failed, aborted, closed as a stream or upgraded, and what still is in flight.
	/** In flight when the thread was told. */
	LEAVING_IN_FLIGHT: 27,
	LEAVING_ARRIVED: 28,
	/** Had begun before, and ended with its answer whole. */
	LEAVING_FINISHED: 29,
	/** Arrived since, and ended with its answer whole. */
	LEAVING_SERVED: 30,
	/** Ended by us before it was over. */
	LEAVING_CUT: 31,
	/** Answered by us with a refusal, or discarded unread on a connection that we had just closed. */
	LEAVING_REFUSED: 32,
	/** Ended by the app, or by our own mistake. */
	LEAVING_FAILED: 33,
	/** Ended by its client. */
	LEAVING_ABORTED: 34,
	/** Event streams that were closed when their share of the budget was over. */
	LEAVING_STREAMS_CLOSED: 35,
	/** Became a tunnel, which nobody waits for. */
	LEAVING_UPGRADED: 36,
	/** Idle connections that were closed. */
	IDLE_CLOSED: 37,
	// Readings of this thread.
	/** Turns of the thread's sweep: the heartbeat. Whoever looks twice and sees the same number sees a thread that does not turn. */
	BEATS: 48,
	/** Longest delay of the event loop in the present and the previous window, seconds. */
	DELAY_MAX: 49,
	DELAY_SUM: 50,
	DELAY_COUNT: 51,
	/** How long the client that was idle last has been so at the last sweep, ms; Infinity when none is idle. Written while we leave. */
	YOUNGEST_IDLE_MS: 52,
	/** Heads that have begun to arrive and are not whole, at the last sweep. Written while we leave. */
	HEADS_OPEN: 53,

	ACTIVE_BY_METHOD_START: METHODS_START,
	REFUSED_START,
	UPSTREAM_FAILED_START,
	RESENT_START,
	CONNECT_START: PHASES_START,
	WAIT_START: PHASES_START + PHASE_CELLS,
	RECEIVE_START: PHASES_START + 2 * PHASE_CELLS,
} as const;

const FIRST_COUNTER = CELL.DOWNSTREAM_OPENED;
const FIRST_READING = CELL.BEATS;

/** How long one window of `DELAY_MAX` lasts, ms. */
export const DELAY_WINDOW_MS = 10_000;

const phaseBounds = Float64Array.from(PHASE_BOUNDS);

/* Cells are named by `CELL` and rows are as long as their lists, so every index below is one: the casts only take back noUncheckedIndexedAccess. */

export class Counters {
	readonly shared: SharedArrayBuffer;
	readonly cells: Float64Array;
	#windowMax = 0;
	#windowStartMs = 0;

	constructor(shared: SharedArrayBuffer) {
		this.shared = shared;
		this.cells = new Float64Array(shared);
	}

	static allocate(): Counters {
		return new Counters(new SharedArrayBuffer(CELLS * 8));
	}

	get(cell: number): number {
		return this.cells[cell] as number;
	}

	set(cell: number, value: number): void {
		this.cells[cell] = value;
	}

	add(cell: number, value: number): void {
		this.cells[cell] = (this.cells[cell] as number) + value;
	}

	/** One observation of a phase: `start` is `CELL.CONNECT_START`, `WAIT_START` or `RECEIVE_START`. NaN is not observed. */
	observePhase(start: number, ms: number): void {
		const seconds = ms / 1000;
		if (!(seconds >= 0)) return;
		let bucket = 0;
		while (bucket < phaseBounds.length && seconds > (phaseBounds[bucket] as number)) bucket++;
		const cells = this.cells;
		cells[start + bucket] = (cells[start + bucket] as number) + 1;
		const sum = start + PHASE_CELLS - 1;
		cells[sum] = (cells[sum] as number) + seconds;
	}

	/** One look at the event loop: how much later than asked for a timer came. Also the heartbeat. */
	observeDelay(delayMs: number, monotonicMs: number): void {
		const seconds = Math.max(0, delayMs) / 1000;
		if (monotonicMs - this.#windowStartMs >= DELAY_WINDOW_MS) {
			this.#windowStartMs = monotonicMs;
			this.set(CELL.DELAY_MAX, Math.max(this.#windowMax, seconds));
			this.#windowMax = 0;
		}
		if (seconds > this.#windowMax) this.#windowMax = seconds;
		if (seconds > this.get(CELL.DELAY_MAX)) this.set(CELL.DELAY_MAX, seconds);
		this.add(CELL.DELAY_SUM, seconds);
		this.add(CELL.DELAY_COUNT, 1);
		this.add(CELL.BEATS, 1);
	}
}

/** The control thread's look at the counters of all data threads, the dead ones' counts included. */
export class CounterReader {
	readonly #threads = new Map<number, Float64Array>();
	readonly #gone = new Float64Array(CELLS);

	/** `thread` is the index of the data thread; one that takes the place of a dead one may have the same. */
	addThread(thread: number, shared: SharedArrayBuffer): void {
		this.retire(thread);
		this.#threads.set(thread, new Float64Array(shared));
	}

	/** The thread is dead: what it counted stays, what it held is gone. */
	retire(thread: number): void {
		const cells = this.#threads.get(thread);
		if (cells === undefined) return;
		this.#threads.delete(thread);
		for (let cell = 0; cell < CELLS; cell++) {
			if (isCounter(cell)) this.#gone[cell] = (this.#gone[cell] as number) + (cells[cell] as number);
		}
	}

	threads(): readonly number[] {
		return [...this.#threads.keys()];
	}

	/** Sum over the threads. */
	sum(cell: number): number {
		let sum = this.#gone[cell] as number;
		for (const cells of this.#threads.values()) sum += cells[cell] as number;
		return sum;
	}

	/** Smallest reading of the living threads; Infinity without threads. */
	min(cell: number): number {
		let min = Number.POSITIVE_INFINITY;
		for (const cells of this.#threads.values()) min = Math.min(min, cells[cell] as number);
		return min;
	}

	/** Sum of a reading over the living threads. */
	sumOfLiving(cell: number): number {
		let sum = 0;
		for (const cells of this.#threads.values()) sum += cells[cell] as number;
		return sum;
	}

	/** Largest reading of the living threads (`DELAY_MAX`); 0 without threads. */
	max(cell: number): number {
		let max = 0;
		for (const cells of this.#threads.values()) max = Math.max(max, cells[cell] as number);
		return max;
	}

	/** A reading of one thread; `undefined` when there is no such thread. */
	of(thread: number, cell: number): number | undefined {
		return this.#threads.get(thread)?.[cell];
	}
}

function isCounter(cell: number): boolean {
	if (cell >= FIRST_COUNTER && cell < FIRST_READING) return true;
	return cell >= CELL.REFUSED_START;
}
