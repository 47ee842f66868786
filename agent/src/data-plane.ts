import type { ControlMessage, DataMessage, DataThreadMemory } from "./bridge/commands.ts";
import { CELL, Counters } from "./bridge/counters.ts";
import { FLAG_EVENT_STREAM, FLAG_OPAQUE, LIFECYCLE_STATES, writeExchangeRecord } from "./bridge/exchange-record.ts";
import { RecordRing } from "./bridge/record-ring.ts";
import { type SeriesRoute, SeriesTable } from "./bridge/series-table.ts";
import type { Address, Settings } from "./config/settings.ts";
import { Budget } from "./downstream/budget.ts";
import type { ConnectionParts } from "./downstream/http1-connection.ts";
import { Listener } from "./downstream/listener.ts";
import { Answers } from "./exchange/answers.ts";
import { Exchange, ExchangePool } from "./exchange/exchange.ts";
import { Account } from "./exchange/phases/account.ts";
import { Identity } from "./exchange/phases/identity.ts";
import { ReturnFields } from "./exchange/phases/return-fields.ts";
import { requestPhases } from "./exchange/phases.ts";
import { RouteTable } from "./exchange/route-table.ts";
import type { Clock } from "./foundation/clock.ts";
import { FAULT_LIST } from "./foundation/fault.ts";
import { TurnClock } from "./foundation/turn-clock.ts";
import { WriteBatch } from "./foundation/write-batch.ts";
import { FieldNames } from "./http1/field-names.ts";
import { HeadEdit } from "./http1/head-edit.ts";
import type { IdSource } from "./telemetry/ids.ts";
import { Sampler } from "./telemetry/trace-context.ts";
import { Forward, type ForwardParts } from "./upstream/forward.ts";
import { type Connect, Pool, type PoolCounts } from "./upstream/pool.ts";
import { Relay } from "./upstream/relay.ts";

/** Exchanges and forwards that are kept for their next use; beyond it they are left to the garbage collector. */
const POOLED_MAX = 1024;
/** How often deadlines are looked at, ms: what a timeout may be late by. */
export const SWEEP_MS = 100;
/** A mistake that every request leads to is told once in this time, ms; all are counted. */
const MISTAKE_TOLD_MS = 1_000;

export interface DataPlaneParts {
	readonly settings: Settings;
	readonly memory: DataThreadMemory;
	readonly clock: Clock;
	/** Runs its argument once, after the events of the present turn of the event loop. */
	readonly afterTurn: (action: () => void) => void;
	readonly ids: IdSource;
	readonly connect: Connect;
	/** Posts to the control thread. */
	readonly send: (message: DataMessage) => void;
}

/**
 * All of one data thread, in the order in which it comes to exist. It knows neither threads nor timers: `data-thread.ts` runs it in a worker,
 * tests and the simulation run it where they like.
 */
export class DataPlane {
	readonly listeners: readonly Listener[];
	readonly counters: Counters;
	readonly #settings: Settings;
	readonly #clock: TurnClock;
	readonly #pools: readonly Pool[];
	readonly #routes: RouteTable;
	readonly #account: Account;
	readonly #connecting = new Set<Relay>();
	readonly #send: (message: DataMessage) => void;
	readonly #learnedMs: number[];
	#state = 0;
	#isLeaving = false;
	#sweptMs = Number.NaN;

	constructor(parts: DataPlaneParts) {
		const { settings, memory, ids, connect, send } = parts;
		const clock = new TurnClock(parts.clock);
		const batch = new WriteBatch(parts.afterTurn);
		const { limits, timeouts, identity, workers } = settings;
		this.#settings = settings;
		this.#clock = clock;
		this.#send = send;

		const counters = new Counters(memory.counters);
		this.counters = counters;
		const ring = new RecordRing(memory.ring);
		const series = new SeriesTable(
			memory.series,
			settings.routes.seriesMax,
			settings.metrics.bodySizes,
			counters,
			(slot, labels) => send({ kind: "series", slot, labels }),
		);
		const names = new FieldNames([...identity.headers, ...identity.passOn]);
		const sampler = new Sampler({
			ratio: settings.traces.sample,
			forcedPerSecond: identity.forcedSamplesPerSecond / workers,
			clock,
		});
		const routes = new RouteTable({
			table: settings.routes.table,
			collapse: settings.routes.collapse,
			seriesMax: settings.routes.seriesMax,
			policy: { bodyBytesMax: limits.bodyBytesMax, responseMs: timeouts.responseMs },
		});
		this.#routes = routes;
		const account = new Account(settings.probes, counters);
		this.#account = account;
		const who = new Identity(settings, names, ids, sampler, clock, counters);
		const exchanges = new ExchangePool(() => new Exchange(settings, names), POOLED_MAX);

		// ── our own mistakes ──
		let toldMs = Number.NEGATIVE_INFINITY;
		const mistake = (error: unknown): void => {
			counters.add(CELL.INTERNAL_FAULTS, 1);
			const nowMs = clock.monotonicMs();
			if (nowMs - toldMs < MISTAKE_TOLD_MS) return;
			toldMs = nowMs;
			send({
				kind: "log",
				level: "error",
				message: "a mistake of the agent ended an exchange",
				fields: { error: String((error instanceof Error && error.stack) || error) },
			});
		};

		// ── towards the app ──
		const counts: PoolCounts = {
			opened: () => {
				counters.add(CELL.UPSTREAM_OPEN, 1);
				counters.add(CELL.UPSTREAM_OPENED, 1);
			},
			closed: () => counters.add(CELL.UPSTREAM_OPEN, -1),
			mistake,
		};
		const noSource = { ipv4: undefined, ipv6: undefined };
		this.#pools = settings.inbound.map(
			(inbound) =>
				new Pool(
					{
						candidates: candidatesOf(inbound.app),
						source: noSource,
						connectMs: timeouts.connectMs,
						appIdleMs: timeouts.appIdleMs,
						limits,
					},
					connect,
					clock,
					batch,
					names,
					counts,
				),
		);
		this.#learnedMs = this.#pools.map((pool) => pool.lesson.idleMs);
		const forwards: Forward[] = [];
		const forwardParts: ForwardParts = {
			clock,
			counters,
			edit: new HeadEdit(),
			returnFields: new ReturnFields(identity, names, routes, counters),
			release: (forward) => {
				if (forwards.length < POOLED_MAX) forwards.push(forward);
			},
		};

		// ── the end of every exchange ──
		const routesById: SeriesRoute[] = [];
		const noRoute = series.route("");
		const seriesRoute = (x: Exchange): SeriesRoute => {
			const route = x.routed;
			if (route === undefined) return noRoute;
			let known = routesById[route.id];
			if (known === undefined) {
				known = series.route(route.template);
				routesById[route.id] = known;
			}
			return known;
		};
		const fieldBytesMax = settings.log.fieldBytesMax;
		const finish = (x: Exchange): void => {
			account.close(x);
			if ((x.flags & FLAG_EVENT_STREAM) !== 0) counters.add(CELL.EVENT_STREAMS, -1);
			const fault = FAULT_LIST[x.faultIndex];
			if (fault !== undefined && fault.blame !== "upstream") counters.add(CELL.REFUSED_START + fault.index, 1);
			counters.add(x.isCut ? CELL.CUT : CELL.ANSWERED, 1);
			counters.add(CELL.BYTES_FROM_CLIENTS, x.requestBodyBytes);
			counters.add(CELL.BYTES_TO_CLIENTS, x.responseBodyBytes);
			if (x.connectMs >= 0) counters.observePhase(CELL.CONNECT_START, x.connectMs);
			if (x.waitMs >= 0) {
				counters.observePhase(CELL.WAIT_START, x.waitMs);
				counters.observePhase(CELL.RECEIVE_START, x.receiveMs);
			}
			if ((x.flags & FLAG_OPAQUE) === 0) {
				series.observe(
					seriesRoute(x),
					x.methodId,
					x.status,
					x.minorVersion,
					0,
					x.faultIndex,
					x.durationMs / 1000,
					x.requestBodyBytes,
					x.responseBodyBytes,
				);
			}
			writeExchangeRecord(ring, x, fieldBytesMax);
			exchanges.give(x);
		};

		// ── towards the clients ──
		const connection: ConnectionParts = {
			settings,
			names,
			clock,
			batch,
			counters,
			exchanges,
			phases: requestPhases(settings, { account, identity: who, routes, counters }),
			answers: new Answers(identity, clock),
			budget: new Budget(Math.ceil(limits.bufferedBytesMax / workers), counters),
			identify: (x) => {
				if (x.head.end > 0) who.identify(x);
				else who.identifyAnew(x);
			},
			forward: (inbound) => {
				const pool = this.#poolOf(inbound);
				return forwards.pop()?.reuse(pool) ?? new Forward(forwardParts, pool);
			},
			relay: (inbound) => new Relay(this.#poolOf(inbound), clock, counters, counts, this.#connecting),
			account,
			mistake,
			finish,
			isLeaving: () => this.#isLeaving,
			lifecycleState: () => this.#state,
		};
		// One bound for all entries and threads: each listener has an equal share.
		const share = Math.max(1, Math.ceil(limits.connectionsMax / workers / Math.max(1, settings.inbound.length)));
		this.listeners = settings.inbound.map((inbound, index) => new Listener(connection, index, inbound, share));
	}

	/** Carries out what the control thread asks for. */
	async obey(message: ControlMessage): Promise<void> {
		switch (message.kind) {
			case "listen":
				await this.#listen();
				break;
			case "routes":
				this.#routes.replaceOpenapi(message.templates);
				break;
			case "state":
				this.#state = LIFECYCLE_STATES.indexOf(message.state);
				if (message.state === "announcing" || message.state === "draining" || message.state === "stopping")
					this.#leave();
				break;
			case "app":
				this.#poolOf(message.inbound).relocate(message.addresses, message.source);
				break;
			case "closeIdle":
				this.#clock.sync();
				for (const listener of this.listeners) listener.closeIdle(message.idleMs);
				break;
			case "closeStreams":
				for (const listener of this.listeners) listener.closeStreams();
				break;
			case "stop":
				this.stop();
				this.#send({ kind: "stopped" });
				break;
			default:
				message satisfies never;
		}
	}

	/** One look at all deadlines; also the heartbeat. Called every `SWEEP_MS`. */
	sweep(): void {
		this.#clock.sync();
		const nowMs = this.#clock.monotonicMs();
		const lateMs = nowMs - this.#sweptMs - SWEEP_MS;
		this.#sweptMs = nowMs;
		this.counters.observeDelay(lateMs >= 0 ? lateMs : 0, nowMs);
		for (const listener of this.listeners) listener.sweep(nowMs);
		if (this.#isLeaving) this.#countExpected(nowMs);
		for (const relay of this.#connecting) relay.expire(nowMs, this.#settings.timeouts.connectMs);
		let idle = 0;
		for (let inbound = 0; inbound < this.#pools.length; inbound++) {
			const pool = this.#poolOf(inbound);
			pool.sweep();
			idle += pool.idleCount;
			this.#tellLesson(inbound, pool);
		}
		this.counters.set(CELL.UPSTREAM_IDLE, idle);
	}

	/** Cuts what is left; `CELL.CUT` tells how many exchanges that were. */
	stop(): void {
		for (const listener of this.listeners) listener.stop();
		for (const pool of this.#pools) pool.closeIdle();
	}

	/** Nothing leads back. */
	#leave(): void {
		if (!this.#isLeaving) {
			this.#isLeaving = true;
			for (const listener of this.listeners) listener.leave();
			this.#account.leave();
		}
		this.#countExpected(this.#clock.monotonicMs());
	}

	/** Whoever may still bring a request, for the drain to wait for. */
	#countExpected(nowMs: number): void {
		let headsOpen = 0;
		let youngestMs = Number.POSITIVE_INFINITY;
		for (const listener of this.listeners) {
			const expected = listener.expected();
			headsOpen += expected.headsOpen;
			youngestMs = Math.min(youngestMs, nowMs - expected.idleSinceMs);
		}
		this.counters.set(CELL.HEADS_OPEN, headsOpen);
		this.counters.set(CELL.YOUNGEST_IDLE_MS, youngestMs);
	}

	async #listen(): Promise<void> {
		const inbounds = [];
		for (const [inbound, listener] of this.listeners.entries()) {
			inbounds.push({ inbound, port: await listener.listen(this.#settings.workers > 1) });
		}
		this.#send({ kind: "listening", inbounds });
	}

	#tellLesson(inbound: number, pool: Pool): void {
		const { idleMs, source } = pool.lesson;
		if (source === "configured" || this.#learnedMs[inbound] === idleMs) return;
		this.#learnedMs[inbound] = idleMs;
		this.#send({ kind: "appIdleLearned", inbound, idleMs, from: source === "close" ? "close" : "header" });
	}

	#poolOf(inbound: number): Pool {
		const pool = this.#pools[inbound];
		if (pool === undefined) throw new RangeError(`there is no inbound ${inbound}`);
		return pool;
	}
}

/** Where the app is looked for until the control thread says more: loopback of both families for a name that means this machine. */
const candidatesOf = (app: Address | undefined): readonly Address[] => {
	if (app === undefined) return [];
	if (app.kind === "unix" || (app.host !== undefined && app.host !== "localhost")) return [app];
	return [
		{ kind: "tcp", host: "127.0.0.1", port: app.port },
		{ kind: "tcp", host: "::1", port: app.port },
	];
};
