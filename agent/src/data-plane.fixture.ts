import { strict as assert } from "node:assert";
import type { DataMessage } from "./bridge/commands.ts";
import { CELL, Counters } from "./bridge/counters.ts";
import { type ExchangeRecord, RecordView, readExchangeRecord } from "./bridge/exchange-record.ts";
import { RecordRing } from "./bridge/record-ring.ts";
import { SeriesTable } from "./bridge/series-table.ts";
import { settingsFrom } from "./config/layers.ts";
import type { Address, Settings } from "./config/settings.ts";
import { DataPlane } from "./data-plane.ts";
import { Peer } from "./exchange/forwarded.ts";
import { FakeStream } from "./foundation/byte-stream.fixture.ts";
import { ManualClock } from "./foundation/clock.ts";
import { FAULT_LIST, type FaultReason } from "./foundation/fault.ts";
import { IdSource } from "./telemetry/ids.ts";

/**
 * A data plane of which a test plays all else by hand: clients, app, time, turns of the event loop. Nothing happens by itself, so that every
 * bound can be met exactly.
 */
export class HandPlane {
	readonly plane: DataPlane;
	readonly settings: Settings;
	readonly counters: Counters;
	readonly clock = new ManualClock();
	readonly messages: DataMessage[] = [];
	/** Every connection to the app so far, and where it went. */
	readonly toApp: FakeStream[] = [];
	readonly places: Address[] = [];
	readonly #clients: FakeStream[] = [];
	readonly #turns: (() => void)[] = [];
	readonly #ring = RecordRing.allocate(1 << 20);

	/** `set`: concrete path → text, as of `settingsFrom`. */
	constructor(set: Readonly<Record<string, string>> = {}) {
		this.settings = settingsFrom({ "inbound.0.app": "127.0.0.1:3000", ...set });
		const { routes, metrics } = this.settings;
		this.plane = new DataPlane({
			settings: this.settings,
			memory: {
				thread: 0,
				ring: this.#ring.shared,
				counters: Counters.allocate().shared,
				series: SeriesTable.allocate(routes.seriesMax, metrics.bodySizes),
			},
			clock: this.clock,
			afterTurn: (action) => this.#turns.push(action),
			ids: new IdSource(),
			connect: (address) => {
				const stream = new FakeStream();
				this.toApp.push(stream);
				this.places.push(address);
				return stream;
			},
			send: (message) => this.messages.push(message),
		});
		this.counters = this.plane.counters;
	}

	/** A client that is connected, and has perhaps said something. */
	client(says = "", inbound = 0): FakeStream {
		const stream = new FakeStream();
		this.#clients.push(stream);
		this.plane.listeners[inbound]?.take(stream, new Peer("10.0.0.9"), undefined);
		if (says !== "") stream.say(says);
		return stream;
	}

	/** The connection to the app that was made last. */
	get app(): FakeStream {
		const stream = this.toApp.at(-1);
		assert.ok(stream !== undefined, "no connection to the app was made");
		return stream;
	}

	/** The turn of the event loop is over: what was written in it goes out, and what waited to be read is. */
	endTurn(): void {
		do {
			for (const action of this.#turns.splice(0)) action();
		} while ([...this.#clients, ...this.toApp].some((stream) => stream.flow()));
	}

	/** Lets time pass, then looks at all deadlines. */
	advance(ms: number): void {
		this.clock.advance(ms);
		this.plane.sweep();
		this.endTurn();
	}

	/** One record for each exchange that is over. */
	records(): ExchangeRecord[] {
		const records: ExchangeRecord[] = [];
		const view = new RecordView(this.#ring);
		this.#ring.drain((offset) => records.push(readExchangeRecord(view.load(offset), 0)), Number.POSITIVE_INFINITY);
		return records;
	}

	/** How the one exchange that is over ended: reason of its fault (or `-`), who ended it, whether it was cut. */
	ending(): readonly [reason: FaultReason | "-", by: string, isCut: boolean] {
		const [record, ...more] = this.records();
		assert.ok(record !== undefined && more.length === 0, "one record for the one exchange");
		assert.equal(this.counters.get(CELL.ANSWERED) + this.counters.get(CELL.CUT), 1);
		return [FAULT_LIST[record.faultIndex]?.reason ?? "-", record.endedBy, this.counters.get(CELL.CUT) === 1];
	}

	/** Nothing is in flight, buffered or open: what every story ends with. */
	assertSettled(): void {
		const left = [CELL.DOWNSTREAM_OPEN, CELL.IN_FLIGHT, CELL.BUFFERED_BYTES, CELL.TUNNELS, CELL.OPAQUE_OPEN];
		assert.deepEqual(
			left.map((cell) => this.counters.get(cell)),
			[0, 0, 0, 0, 0],
			"open, in flight, buffered, tunnels, opaque",
		);
	}
}
