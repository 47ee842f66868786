import { settingsFrom } from "../config/layers.ts";
import type { Address, Settings } from "../config/settings.ts";
import { FakeStream } from "../foundation/byte-stream.fixture.ts";
import { ManualClock } from "../foundation/clock.ts";
import { TurnClock } from "../foundation/turn-clock.ts";
import { WriteBatch } from "../foundation/write-batch.ts";
import { FieldNames } from "../http1/field-names.ts";
import { Pool, type PoolCounts } from "./pool.ts";

/** An app that a test plays by hand: every connection to it is a `FakeStream`, and time stands still. */
export class FakeApp {
	readonly settings: Settings = settingsFrom();
	readonly names = new FieldNames([...this.settings.identity.headers, ...this.settings.identity.passOn]);
	readonly manual = new ManualClock();
	readonly clock = new TurnClock(this.manual);
	/** Every connection so far, with where it goes to and where it comes from. */
	readonly streams: FakeStream[] = [];
	readonly calls: { readonly address: Address; readonly localAddress: string | undefined }[] = [];
	/** Ends a turn of the event loop: what was written in it goes out. */
	readonly endTurn: () => void;
	readonly batch: WriteBatch;
	readonly mistakes: unknown[] = [];
	opened = 0;
	closed = 0;
	readonly counts: PoolCounts = {
		opened: () => {
			this.opened++;
		},
		closed: () => {
			this.closed++;
		},
		mistake: (error) => this.mistakes.push(error),
	};

	constructor() {
		const waiting: (() => void)[] = [];
		this.batch = new WriteBatch((flush) => waiting.push(flush));
		this.endTurn = () => {
			for (const flush of waiting.splice(0)) flush();
		};
	}

	pool(candidates: readonly Address[] = [{ kind: "tcp", host: "127.0.0.1", port: 3000 }], appIdleMs = 1_000): Pool {
		return new Pool(
			{
				candidates,
				source: { ipv4: undefined, ipv6: undefined },
				connectMs: 1_000,
				appIdleMs,
				limits: this.settings.limits,
			},
			(address, localAddress) => {
				this.calls.push({ address, localAddress });
				const stream = new FakeStream();
				this.streams.push(stream);
				return stream;
			},
			this.clock,
			this.batch,
			this.names,
			this.counts,
		);
	}

	/** The connection made last. */
	get last(): FakeStream {
		const stream = this.streams.at(-1);
		if (stream === undefined) throw new Error("no connection was made");
		return stream;
	}

	advance(ms: number): void {
		this.manual.advance(ms);
		this.clock.sync();
	}
}
