import { Worker } from "node:worker_threads";
import type { Settings } from "../config/settings.ts";
import type { Clock } from "../foundation/clock.ts";
import type { Component } from "../foundation/component.ts";
import { Deadline } from "../foundation/deadline.ts";
import type { Logger } from "../foundation/logger.ts";
import type { Scheduler } from "../foundation/scheduler.ts";
import { type ControlMessage, controlLine, type DataMessage, type DataThreadMemory, type Line } from "./commands.ts";
import { CELL, type CounterReader, Counters } from "./counters.ts";
import { RecordRing } from "./record-ring.ts";
import { SeriesTable, type SeriesUnion } from "./series-table.ts";

/** What a data thread is started with. */
export interface DataThreadData {
	readonly settings: Settings;
	readonly memory: DataThreadMemory;
}

export interface DataThreadsParts {
	readonly settings: Settings;
	/** The module that a worker runs. */
	readonly entry: URL;
	readonly clock: Clock;
	readonly scheduler: Scheduler;
	readonly log: Logger;
	readonly counters: CounterReader;
	readonly series: SeriesUnion;
	/** A ring has come to be, perhaps in the place of a dead thread's. */
	readonly addRing: (thread: number, shared: SharedArrayBuffer) => void;
	/** What the parts of the agent want to know; messages that are about the thread itself are not passed on. */
	readonly onMessage: (message: DataMessage) => void;
	/** Resolves when all has been told that a thread must know before it accepts a connection. */
	readonly beforeListen: () => Promise<void>;
}

/** Records that wait to be read, per thread: at 300 bytes each some 3,000, read every 50 ms. */
const RING_BYTES = 1 << 20;
/** A thread must have bound its ports by then. */
const START_MS = 10_000;
/** A thread that dies is started again, but one that dies at once is not started in a circle. */
const RESTART_MS = 100;
const RESTARTS_PER_MINUTE_MAX = 10;
/** A thread whose heart was not seen to beat for so long has stopped turning. It beats every 100 ms. */
const STALLED_MS = 5_000;
/** A thread that is told to cut does so in one turn; one that has not by then hangs. */
const CUT_MS = 500;
/** Young generation of a data thread, MiB: large enough that what an exchange leaves behind dies young, small enough for the memory bound. */
const YOUNG_MIB = 8;

interface Thread {
	readonly index: number;
	worker: Worker;
	line: Line<ControlMessage, DataMessage>;
	readonly isListening: PromiseWithResolvers<readonly number[]>;
	readonly hasStopped: PromiseWithResolvers<void>;
	hasStarted: boolean;
	/** Beats of its heart at the last look, and when a look first saw that many, monotonic ms. */
	beats: number;
	beatMs: number;
}

/**
 * The data threads: started, supervised, replaced when one dies. Whatever they are to know is remembered here, so that a thread which comes late
 * or comes again is told the same.
 */
export class DataThreads implements Component {
	readonly name = "data-threads";
	readonly #parts: DataThreadsParts;
	readonly #threads: Thread[] = [];
	/** The last message of each kind (and inbound) that a new thread has to be told. */
	readonly #standing = new Map<string, ControlMessage>();
	/** Settings with the ports that the system gave where 0 was asked for. */
	#settings: Settings;
	#ports: readonly number[] = [];
	#isStopping = false;
	#restarts: number[] = [];
	#lost = 0;
	#exchangesLost = 0;
	#replacing = 0;
	#cut: Promise<unknown> | undefined;

	constructor(parts: DataThreadsParts) {
		this.#parts = parts;
		this.#settings = parts.settings;
	}

	/** The bound port of each inbound; 0 for a Unix socket. */
	get ports(): readonly number[] {
		return this.#ports;
	}

	/** Exchanges that were in flight on a thread when it died. */
	get exchangesLost(): number {
		return this.#exchangesLost;
	}

	/** Whether the place of a thread that died is being filled: until then nobody listens there. */
	get isReplacing(): boolean {
		return this.#replacing > 0;
	}

	/** Threads that died and were replaced. */
	get replaced(): number {
		return this.#lost;
	}

	/**
	 * Threads that should run and whose heart has stopped, or that are not there. The heart is a number that rises, and how long it has not is measured
	 * here from look to look, by the monotonic clock: a wall clock that jumps makes nobody well or ill.
	 */
	stalled(): number {
		const nowMs = this.#parts.clock.monotonicMs();
		let stalled = 0;
		for (const thread of this.#threads) {
			const beats = this.#parts.counters.of(thread.index, CELL.BEATS) ?? 0;
			if (beats !== thread.beats) {
				thread.beats = beats;
				thread.beatMs = nowMs;
			}
			// One that has died is given the same time to be replaced.
			if (nowMs - thread.beatMs > STALLED_MS) stalled++;
		}
		return stalled;
	}

	async start(): Promise<void> {
		const { settings } = this.#parts;
		if (settings.inbound.length === 0) return;
		// The first one finds out the ports; the others bind the same.
		this.#ports = await this.#spawn(0);
		this.#settings = {
			...settings,
			inbound: settings.inbound.map((inbound, index) =>
				inbound.listen.kind === "tcp" && inbound.listen.port === 0
					? { ...inbound, listen: { ...inbound.listen, port: this.#ports[index] ?? 0 } }
					: inbound,
			),
		};
		await Promise.all(Array.from({ length: settings.workers - 1 }, (_, index) => this.#spawn(index + 1)));
	}

	/** Tells all threads; those that come later too. */
	tell(message: ControlMessage): void {
		if (message.kind === "state" || message.kind === "routes") this.#standing.set(message.kind, message);
		if (message.kind === "app") this.#standing.set(`app ${message.inbound}`, message);
		for (const thread of this.#threads) thread.line.send(message);
	}

	/**
	 * Cuts what is left; `CELL.CUT` and the account of leaving tell how many exchanges that were. Resolves when every thread has said so, or at
	 * the deadline: one that hangs is ended by `stop`.
	 */
	async cut(deadline: Deadline): Promise<void> {
		this.#isStopping = true;
		this.#cut ??= Promise.all(
			this.#threads.map((thread) => {
				thread.line.send({ kind: "stop" });
				return thread.hasStarted ? thread.hasStopped.promise : undefined; // it has nothing yet
			}),
		);
		const isLate = Promise.withResolvers<void>();
		const cancel = this.#parts.scheduler.after(deadline.remainingMs(), isLate.resolve);
		await Promise.race([this.#cut, isLate.promise]);
		cancel();
	}

	async stop(): Promise<void> {
		this.#isStopping = true;
		if (this.#threads.length === 0) return;
		await this.cut(Deadline.after(this.#parts.clock, CUT_MS));
		await Promise.all(this.#threads.map((thread) => thread.worker.terminate()));
		this.#threads.length = 0;
	}

	#spawn(index: number): Promise<readonly number[]> {
		const { settings, counters, series } = this.#parts;
		const memory: DataThreadMemory = {
			thread: index,
			ring: RecordRing.allocate(RING_BYTES).shared,
			counters: Counters.allocate().shared,
			series: SeriesTable.allocate(settings.routes.seriesMax, settings.metrics.bodySizes),
		};
		counters.addThread(index, memory.counters);
		series.addThread(index, memory.series);
		this.#parts.addRing(index, memory.ring);
		const data: DataThreadData = { settings: this.#settings, memory };
		const worker = new Worker(this.#parts.entry, {
			workerData: data,
			name: `outrigger-data-${index}`,
			resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
		});
		const thread: Thread = {
			index,
			worker,
			line: controlLine(worker),
			isListening: Promise.withResolvers(),
			hasStopped: Promise.withResolvers(),
			hasStarted: false,
			beats: 0,
			beatMs: this.#parts.clock.monotonicMs(),
		};
		// Who waits sees the failure; when nobody does it has been logged.
		thread.isListening.promise.catch(() => undefined);
		this.#threads[index] = thread;
		thread.line.onMessage((message) => this.#onMessage(thread, message));
		worker.on("error", (error: unknown) =>
			this.#onDeath(thread, error instanceof Error ? error : new Error(String(error))),
		);
		worker.on("exit", (code) => this.#onDeath(thread, new Error(`the data thread ended with code ${code}`)));
		const cancel = this.#parts.scheduler.after(START_MS, () =>
			thread.isListening.reject(new Error(`the data thread has not bound its ports within ${START_MS} ms`)),
		);
		return thread.isListening.promise.finally(cancel);
	}

	#onMessage(thread: Thread, message: DataMessage): void {
		switch (message.kind) {
			case "started":
				this.#parts
					.beforeListen()
					.then(() => {
						for (const standing of this.#standing.values()) thread.line.send(standing);
						thread.line.send({ kind: "listen" });
					})
					.catch((error: unknown) => thread.isListening.reject(error));
				break;
			case "listening":
				thread.hasStarted = true;
				thread.beatMs = this.#parts.clock.monotonicMs();
				thread.isListening.resolve(message.inbounds.map(({ port }) => port));
				break;
			case "series":
				this.#parts.series.define(thread.index, message.slot, message.labels);
				break;
			case "stopped":
				thread.hasStopped.resolve();
				break;
			case "fatal": {
				const error = new Error(message.message);
				if (message.stack !== undefined) error.stack = message.stack;
				if (!thread.hasStarted) thread.isListening.reject(error);
				else void thread.worker.terminate().then(() => this.#onDeath(thread, error));
				break;
			}
			default:
				this.#parts.onMessage(message);
		}
	}

	#onDeath(thread: Thread, error: Error): void {
		thread.hasStopped.resolve();
		thread.isListening.reject(error);
		if (this.#threads[thread.index] !== thread || this.#isStopping || !thread.hasStarted) return;
		thread.hasStarted = false;
		this.#lost++;
		const open = this.#parts.counters.of(thread.index, CELL.DOWNSTREAM_OPEN) ?? 0;
		const inFlight = this.#parts.counters.of(thread.index, CELL.IN_FLIGHT) ?? 0;
		this.#exchangesLost += inFlight;
		this.#parts.counters.retire(thread.index); // what it held is gone, and must not hold up a drain
		this.#parts.log.error("a data thread died and is replaced", {
			thread: thread.index,
			error,
			connections_lost: open,
			exchanges_lost: inFlight,
		});
		const now = this.#parts.clock.monotonicMs();
		this.#restarts = this.#restarts.filter((at) => now - at < 60_000);
		if (this.#restarts.length >= RESTARTS_PER_MINUTE_MAX) {
			// Liveness fails from here on (`stalled`), and the kubelet starts the container again.
			this.#parts.log.error("data threads die too often; this one is not replaced", { thread: thread.index });
			return;
		}
		this.#restarts.push(now);
		this.#replacing++;
		this.#parts.scheduler.after(RESTART_MS, () => {
			if (this.#isStopping) return;
			this.#spawn(thread.index)
				.catch((cause: unknown) => {
					this.#parts.log.error("a data thread could not be replaced", { thread: thread.index, error: cause });
				})
				.finally(() => {
					this.#replacing--;
				});
		});
	}
}
