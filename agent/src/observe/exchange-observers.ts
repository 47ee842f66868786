/**
 * Where the control thread takes the records from: at most 50 ms after an exchange has ended, every observer has seen it, and none of them can harm traffic or another
 * observer. What an observer throws is counted at this door and goes no further.
 */
import { FLAG_SAMPLED, RecordView } from "../bridge/exchange-record.ts";
import { RecordRing } from "../bridge/record-ring.ts";
import { seriesKey } from "../bridge/series-labels.ts";
import type { SeriesUnion } from "../bridge/series-table.ts";
import type { Component } from "../foundation/component.ts";
import type { Cancel, Scheduler } from "../foundation/scheduler.ts";
import { METHOD } from "../http1/methods.ts";

/** Somebody who wants to know of every exchange. The view is valid only during the call. */
export interface ExchangeObserver {
	/** Label `observer` of `outrigger_observer_faults_total`. */
	readonly name: string;
	observe(view: RecordView, thread: number): void;
	/** After the records of one turn. */
	endTurn?(): void;
}

/** How often the rings are looked at. */
const TURN_MS = 50;
/** Records of one turn: about 3 ms of work; the rest follows in the next turn of the event loop. */
const RECORDS_PER_TURN = 2000;

interface ThreadRing {
	readonly thread: number;
	readonly ring: RecordRing;
	readonly view: RecordView;
}

export class ExchangeObservers implements Component {
	readonly name = "exchange observers";
	readonly #scheduler: Scheduler;
	readonly #observers: readonly ExchangeObserver[];
	readonly #faults: number[];
	readonly #onFault: (observer: string, error: unknown) => void;
	readonly #rings: ThreadRing[] = [];
	/** Records that the rings of dead threads have dropped. */
	readonly #droppedBefore = new Map<number, number>();
	#cancel: Cancel | undefined;

	/** `onFault` is told of the first fault of each observer and then of every thousandth. */
	constructor(
		scheduler: Scheduler,
		observers: readonly ExchangeObserver[],
		onFault: (observer: string, error: unknown) => void,
	) {
		this.#scheduler = scheduler;
		this.#observers = observers;
		this.#faults = observers.map(() => 0);
		this.#onFault = onFault;
	}

	/** The ring of a data thread; in the place of a dead one's, whose last records are read first. */
	addRing(thread: number, shared: SharedArrayBuffer): void {
		this.retireRing(thread);
		const ring = new RecordRing(shared);
		this.#rings.push({ thread, ring, view: new RecordView(ring) });
	}

	/** The thread is dead: reads what it has left. */
	retireRing(thread: number): void {
		const index = this.#rings.findIndex((entry) => entry.thread === thread);
		const entry = this.#rings[index];
		if (entry === undefined) return;
		this.#drainOne(entry, Number.POSITIVE_INFINITY);
		this.#rings.splice(index, 1);
		this.#droppedBefore.set(thread, (this.#droppedBefore.get(thread) ?? 0) + entry.ring.dropped);
	}

	async start(): Promise<void> {
		this.#cancel ??= this.#scheduler.after(TURN_MS, () => this.#turn());
	}

	/** Reads what there is, for the last time. */
	async stop(): Promise<void> {
		this.#cancel?.();
		this.#cancel = undefined;
		this.readAll();
	}

	/** Reads all that is in the rings now, in one go. */
	readAll(): void {
		for (const entry of this.#rings) this.#drainOne(entry, Number.POSITIVE_INFINITY);
		this.#endTurn();
	}

	/** By thread, the dead ones' included. */
	*recordsDropped(): Iterable<readonly [number, number]> {
		for (const { thread, ring } of this.#rings) {
			yield [thread, ring.dropped + (this.#droppedBefore.get(thread) ?? 0)];
		}
	}

	*faults(): Iterable<readonly [string, number]> {
		for (const [index, observer] of this.#observers.entries()) yield [observer.name, this.#faults[index] ?? 0];
	}

	#turn(): void {
		let isMore = false;
		for (const entry of this.#rings) {
			if (this.#drainOne(entry, RECORDS_PER_TURN) === RECORDS_PER_TURN) isMore = true;
		}
		this.#endTurn();
		this.#cancel = this.#scheduler.after(isMore ? 0 : TURN_MS, () => this.#turn());
	}

	#drainOne(entry: ThreadRing, maxRecords: number): number {
		return entry.ring.drain((offset) => {
			const view = entry.view.load(offset);
			for (let i = 0; i < this.#observers.length; i++) {
				try {
					this.#observers[i]?.observe(view, entry.thread);
				} catch (error) {
					this.#fault(i, error);
				}
			}
		}, maxRecords);
	}

	#endTurn(): void {
		for (let i = 0; i < this.#observers.length; i++) {
			try {
				this.#observers[i]?.endTurn?.();
			} catch (error) {
				this.#fault(i, error);
			}
		}
	}

	#fault(index: number, error: unknown): void {
		const count = (this.#faults[index] ?? 0) + 1;
		this.#faults[index] = count;
		if (count % 1000 === 1) this.#onFault(this.#observers[index]?.name ?? "", error);
	}
}

/** Keeps an exemplar of what was sampled: the trace that a dashboard leads to from a bucket. */
export function exemplarObserver(series: SeriesUnion): ExchangeObserver {
	return {
		name: "exemplars",
		observe(view) {
			if ((view.flags & FLAG_SAMPLED) === 0 || !view.hasTrace) return;
			const bytes = view.memory.bytes;
			const trace = view.traceStart;
			const traceId = bytes.toString("latin1", trace, trace + 32);
			const spanId = bytes.toString("latin1", trace + 32, trace + 48);
			const method = view.method === 255 ? METHOD.OTHER : view.method;
			series.exemplar(
				bytes.toString("utf8", view.clientAddressEnd, view.routeEnd),
				seriesKey(method, view.status, view.minorVersion, 0, view.faultIndex),
				{
					labels: `trace_id="${traceId}",span_id="${spanId}"`,
					value: view.durationMs / 1000,
					timestampSeconds: (view.startedWallMs + view.durationMs) / 1000,
				},
			);
		},
	};
}
