import { CELL, type Counters } from "../bridge/counters.ts";
import type { Exchange } from "../exchange/exchange.ts";
import type { RequestTaker, ResponseTaker } from "../exchange/exchange-events.ts";
import { errorCode, reset } from "../foundation/byte-stream.ts";
import { FAULTS, type Fault } from "../foundation/fault.ts";
import type { TurnClock } from "../foundation/turn-clock.ts";
import type { AppStream } from "./connection.ts";
import type { Pool, PoolCounts } from "./pool.ts";

/**
 * The app's side of a connection that is relayed as opaque bytes: `protocol: tcp`, or HTTP/2. Nothing is looked at and nothing is added; both
 * halves close on their own; whoever cannot take stops whoever sends.
 */
export class Relay implements RequestTaker {
	readonly #pool: Pool;
	readonly #clock: TurnClock;
	readonly #counters: Counters;
	readonly #counts: PoolCounts;
	/** Relays that are still connecting are looked at by the sweep of the data thread. */
	readonly #connecting: Set<Relay>;
	#x: Exchange | undefined;
	#taker: ResponseTaker | undefined;
	#stream: AppStream | undefined;
	/** What came before the connection was made. */
	#pending: Buffer | undefined;
	#clientEnded = false;
	#isConnected = false;
	#triedCandidates = 0;
	/** Index of the address that the present connection goes to. */
	#candidate = 0;
	#openedMs = 0;

	constructor(pool: Pool, clock: TurnClock, counters: Counters, counts: PoolCounts, connecting: Set<Relay>) {
		this.#pool = pool;
		this.#clock = clock;
		this.#counters = counters;
		this.#counts = counts;
		this.#connecting = connecting;
	}

	begin(x: Exchange, taker: ResponseTaker, body: Buffer | undefined): boolean {
		this.#x = x;
		this.#taker = taker;
		this.#pending = body;
		this.#open();
		return false; // `requestDrained` follows when the connection is made
	}

	send(bytes: Buffer): boolean {
		const stream = this.#stream;
		if (stream === undefined) return true;
		if (!this.#isConnected) {
			this.#pending = this.#pending === undefined ? bytes : Buffer.concat([this.#pending, bytes]);
			return false;
		}
		stream.write(bytes);
		return !(stream.writableNeedDrain && stream.writableLength > 0);
	}

	holdsRequestBytes(): boolean {
		return !this.#isConnected || (this.#stream?.writableLength ?? 0) > 0;
	}

	requestEnded(): void {
		this.#clientEnded = true;
		if (this.#isConnected) this.#stream?.end();
	}

	pauseResponse(): void {
		this.#stream?.pause();
	}

	resumeResponse(): void {
		this.#stream?.releaseBytes?.(); // the client has taken all there was
		this.#stream?.resume();
	}

	abandon(): void {
		this.#taker = undefined;
		this.#close();
	}

	/** Gives up when connecting has taken longer than `connectMs`. */
	expire(nowMs: number, connectMs: number): void {
		if (!this.#isConnected && nowMs - this.#openedMs >= connectMs) this.#fail(FAULTS.app_connect_timeout);
	}

	#open(): void {
		this.#candidate = this.#pool.candidate;
		const stream = this.#pool.dial();
		if (stream === undefined) {
			this.#fail(FAULTS.app_refused);
			return;
		}
		this.#stream = stream;
		this.#openedMs = this.#clock.monotonicMs();
		this.#connecting.add(this);
		this.#counts.opened();
		stream.on("connect", () => {
			try {
				this.#onConnect();
			} catch (error) {
				this.#counts.mistake(error);
				this.#fail(FAULTS.internal);
			}
		});
		stream.on("data", (bytes) => {
			if (stream !== this.#stream) return;
			const x = this.#x;
			if (x !== undefined) x.responseBodyBytes += bytes.length;
			this.#taker?.tunnelBytes(stream.own === undefined ? bytes : stream.own(bytes));
		});
		stream.on("end", () => {
			if (stream === this.#stream) this.#taker?.tunnelEnded();
		});
		stream.on("drain", () => this.#taker?.requestDrained());
		stream.on("error", (error) => {
			if (stream === this.#stream) this.#onError(error);
		});
		stream.on("close", () => {
			if (stream === this.#stream) this.#onClose();
		});
	}

	#onConnect(): void {
		this.#clock.turn();
		const stream = this.#stream;
		if (stream === undefined) return;
		this.#isConnected = true;
		this.#connecting.delete(this);
		const x = this.#x;
		if (x !== undefined) x.connectMs = this.#clock.monotonicMs() - this.#openedMs;
		const pending = this.#pending;
		this.#pending = undefined;
		if (pending !== undefined) stream.write(pending);
		if (this.#clientEnded) stream.end();
		this.#taker?.requestDrained();
	}

	#onError(error: Error): void {
		if (this.#isConnected) return; // `close` follows
		this.#stream = undefined;
		this.#connecting.delete(this);
		this.#counts.closed();
		if (errorCode(error) !== "ETIMEDOUT" && ++this.#triedCandidates < this.#pool.candidates) {
			this.#pool.tryNextCandidate(this.#candidate);
			this.#open();
			return;
		}
		this.#fail(FAULTS.app_refused);
	}

	#onClose(): void {
		const taker = this.#taker;
		this.#taker = undefined;
		this.#close();
		taker?.tunnelClosed();
	}

	#fail(fault: Fault): void {
		if (fault.blame === "upstream") this.#counters.add(CELL.UPSTREAM_FAILED_START + fault.index, 1);
		const taker = this.#taker;
		this.#taker = undefined;
		this.#close();
		taker?.failed(fault);
	}

	#close(): void {
		const stream = this.#stream;
		this.#stream = undefined;
		this.#x = undefined;
		this.#pending = undefined;
		this.#connecting.delete(this);
		if (stream === undefined) return;
		this.#counts.closed();
		if (this.#isConnected && !stream.destroyed) reset(stream);
		else stream.destroy();
	}
}
