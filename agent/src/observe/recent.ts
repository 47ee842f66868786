/**
 * The last exchanges, for `outrigger why` and the dashboard: kept as the bytes of their records, made into objects only when somebody asks.
 *
 * Two rings of fixed size: one for all, one for those that went wrong, so that an error is still there when the traffic of a second has swept the first. Probes that went well
 * are not kept. Memory is what the constructor is told and no more; the cost per exchange is one copy.
 */
import { type ExchangeRecord, FLAG_PROBE, RecordView, readExchangeRecord } from "../bridge/exchange-record.ts";
import { assert } from "../foundation/assert.ts";

const PREFIX_BYTES = 8;
const SMALLEST_BYTES = 4096;

/** Records behind each other in one buffer; the oldest make room for the newest. */
class KeptRecords {
	readonly #bytes: Buffer;
	readonly #i32: Int32Array;
	readonly #view: RecordView;
	/** Where the oldest begins, where the next goes. Lengths lie before the records; −1: the rest of the lap is unused. */
	#first = 0;
	#next = 0;
	#count = 0;

	constructor(bytes: number) {
		const memory = new ArrayBuffer(bytes & ~7);
		this.#bytes = Buffer.from(memory);
		this.#i32 = new Int32Array(memory);
		this.#view = new RecordView({
			bytes: this.#bytes,
			f64: new Float64Array(memory),
			u16: new Uint16Array(memory),
			view: new DataView(memory),
		});
	}

	get size(): number {
		return this.#count;
	}

	add(record: RecordView, thread: number): void {
		const length = record.length;
		const need = PREFIX_BYTES + ((length + 7) & ~7);
		if (need > this.#bytes.length / 2) return; // a record of many long fields in a very small memory
		if (this.#bytes.length - this.#next < need) {
			while (this.#count > 0 && this.#first >= this.#next) this.#forget();
			if (this.#next < this.#bytes.length) this.#i32[this.#next >> 2] = -1;
			this.#next = 0;
		}
		while (this.#count > 0 && this.#first >= this.#next && this.#first < this.#next + need) this.#forget();
		if (this.#count === 0) this.#first = this.#next;
		this.#i32[this.#next >> 2] = length;
		this.#i32[(this.#next >> 2) + 1] = thread;
		record.memory.bytes.copy(this.#bytes, this.#next + PREFIX_BYTES, record.offset, record.offset + length);
		this.#next += need;
		this.#count++;
	}

	/** Oldest first. */
	*all(): Iterable<RecordView> {
		let at = this.#first;
		for (let n = 0; n < this.#count; n++) {
			at = this.#skip(at);
			yield this.#view.load(at + PREFIX_BYTES);
			at += this.#bytesAt(at);
		}
	}

	/** The data thread that wrote the record which `all` has just handed out. */
	threadOf(view: RecordView): number {
		return this.#i32[(view.offset >> 2) - 1] ?? 0;
	}

	#forget(): void {
		this.#first = this.#skip(this.#first);
		this.#first += this.#bytesAt(this.#first);
		this.#count--;
		// The next to forget is found behind the mark at the lap's end, so that comparisons with #next mean what they say.
		if (this.#count > 0) this.#first = this.#skip(this.#first);
	}

	#skip(at: number): number {
		return at >= this.#bytes.length || this.#i32[at >> 2] === -1 ? 0 : at;
	}

	#bytesAt(at: number): number {
		return PREFIX_BYTES + (((this.#i32[at >> 2] ?? 0) + 7) & ~7);
	}
}

export class RecentExchanges {
	readonly #all: KeptRecords;
	readonly #failed: KeptRecords;

	/** `bytes`: memory in all; half of it for what went wrong. */
	constructor(bytes: number) {
		assert(bytes >= 2 * SMALLEST_BYTES, "recent exchanges need at least 8 KiB");
		this.#all = new KeptRecords(bytes / 2);
		this.#failed = new KeptRecords(bytes / 2);
	}

	add(view: RecordView, thread: number): void {
		if (view.faultIndex >= 0 || view.status >= 500) this.#failed.add(view, thread);
		else if ((view.flags & FLAG_PROBE) === 0) this.#all.add(view, thread);
	}

	/** How many are kept now. */
	get size(): number {
		return this.#all.size + this.#failed.size;
	}

	/** Those whose request id, correlation id or trace id is `id`, newest first, at most `max`. Looks at every record: microseconds to a millisecond. */
	find(id: string, max: number): ExchangeRecord[] {
		const wanted = Buffer.from(id, "latin1");
		if (wanted.length === 0) return [];
		return this.#collect(max, (view) => {
			const bytes = view.memory.bytes;
			return (
				equal(bytes, view.userAgentEnd, view.requestIdEnd, wanted) ||
				equal(bytes, view.requestIdEnd, view.correlationIdEnd, wanted) ||
				equal(bytes, view.traceStart, view.traceStart + 32, wanted)
			);
		});
	}

	/** The newest `max`, newest first. */
	latest(max: number): ExchangeRecord[] {
		return this.#collect(max, () => true);
	}

	#collect(max: number, isWanted: (view: RecordView) => boolean): ExchangeRecord[] {
		const found: ExchangeRecord[] = [];
		for (const kept of [this.#all, this.#failed]) {
			const here: ExchangeRecord[] = [];
			for (const view of kept.all()) {
				if (!isWanted(view)) continue;
				here.push(readExchangeRecord(view, kept.threadOf(view)));
				if (here.length > max) here.shift();
			}
			found.push(...here);
		}
		return found.sort((a, b) => endOf(b) - endOf(a)).slice(0, max);
	}
}

function endOf(record: ExchangeRecord): number {
	return record.startedWallMs + record.durationMs;
}

function equal(bytes: Buffer, start: number, end: number, wanted: Buffer): boolean {
	return end - start === wanted.length && bytes.compare(wanted, 0, wanted.length, start, end) === 0;
}
