import type { DataMessage } from "./bridge/commands.ts";
import { CELL, CounterReader } from "./bridge/counters.ts";
import { DataThreads } from "./bridge/data-threads.ts";
import { SeriesUnion } from "./bridge/series-table.ts";
import { renderAddress } from "./config/address.ts";
import type { Address, Settings } from "./config/settings.ts";
import { BUILD_INFO } from "./foundation/build-info.ts";
import type { Clock } from "./foundation/clock.ts";
import type { Component } from "./foundation/component.ts";
import { Deadline } from "./foundation/deadline.ts";
import { Drain } from "./foundation/drain.ts";
import type { LogSink } from "./foundation/log-sink.ts";
import { LINE_OWNERS } from "./foundation/log-sink.ts";
import { AgentLogger } from "./foundation/logger.ts";
import type { Cancel, Scheduler } from "./foundation/scheduler.ts";
import { SETTLE_MS, settleHeap } from "./foundation/settle-heap.ts";
import { AppPort, type AppPortStatus, appPlaces, tryConnect } from "./lifecycle/app-port.ts";
import { Arrivals } from "./lifecycle/arrivals.ts";
import { agentStopBudget, type StopBudget, stopBudget } from "./lifecycle/budget.ts";
import {
	type DrainReport,
	drainReport,
	reportFields,
	reportSentence,
	writeTerminationMessage,
} from "./lifecycle/drain-report.ts";
import { type DrainOutcome, DrainSequence, type StopReason } from "./lifecycle/drain-sequence.ts";
import { lifecycleMetrics } from "./lifecycle/lifecycle-metrics.ts";
import { ComponentRunner } from "./lifecycle/run-components.ts";
import { NO_SOURCE, ownAddresses, type SourceAddresses, sourceAddresses } from "./lifecycle/source-address.ts";
import { LifecycleState, type MoveReason } from "./lifecycle/state.ts";
import { AccessLineWriter } from "./observe/access-line.ts";
import { AppPages } from "./observe/app-page.ts";
import { ExchangeMetrics } from "./observe/exchange-metrics.ts";
import { type ExchangeObserver, ExchangeObservers, exemplarObserver } from "./observe/exchange-observers.ts";
import { type OpenapiOutcome, OpenapiRoutes } from "./observe/openapi-routes.ts";
import { RecentExchanges } from "./observe/recent.ts";
import { MetricsPage } from "./ops/metrics-page.ts";
import type { ProbeSource } from "./ops/probes.ts";
import { OpsServer } from "./ops/server.ts";
import { AgentRegistry } from "./telemetry/registry.ts";

/** Memory for the exchanges that `outrigger why` can still tell of. */
const RECENT_BYTES = 1 << 20;
/** What each part may take to start. */
const START_MS = 10_000;

export interface AgentParts {
	readonly settings: Settings;
	readonly clock: Clock;
	readonly scheduler: Scheduler;
	/** Where all lines go; opened and closed by the caller, who may have lines of its own. */
	readonly sink: LogSink;
}

/** The module of a data thread, beside this one: in the bundle every chunk lies in one folder. */
const DATA_THREAD = new URL(import.meta.url.endsWith(".ts") ? "./data-thread.ts" : "./data-thread.js", import.meta.url);

/** What was bound, with the port that the system gave where 0 was asked for. */
export interface AgentAddresses {
	/** In the order of `settings.inbound`. */
	readonly inbound: readonly Address[];
	readonly ops: Address;
	readonly api: Address | undefined;
}

/**
 * The agent: every part, in the order in which it comes to exist, and what each is handed. Nothing else knows all of them.
 *
 * Started in this order: data threads, observers, the app's check, the ops port. The data threads come first because they serve; probes come last
 * because they say that the rest is there. Stop is the reverse, so that 9801 is closed first of the servers only when the process ends anyway.
 */
export class Agent {
	readonly recent = new RecentExchanges(RECENT_BYTES);
	readonly #settings: Settings;
	readonly #clock: Clock;
	readonly #scheduler: Scheduler;
	readonly #log: AgentLogger;
	readonly #state: LifecycleState;
	readonly #drain = new Drain();
	readonly #sequence: DrainSequence;
	readonly #threads: DataThreads;
	readonly #appPorts: readonly AppPort[];
	readonly #ops: OpsServer;
	readonly #appPages: AppPages;
	readonly #runner: ComponentRunner;
	readonly #arrivals: Arrivals;
	readonly #counters = new CounterReader();
	readonly #observers: ExchangeObservers;
	readonly #budget: StopBudget;
	#stopping: Promise<DrainReport> | undefined;
	#openapi: OpenapiRoutes | undefined;
	#source: SourceAddresses = NO_SOURCE;
	#sourceFound: Promise<void> | undefined;
	#hasStarted = false;
	#cancelSettle: Cancel | undefined;

	constructor(parts: AgentParts) {
		const { settings, clock, scheduler, sink } = parts;
		this.#settings = settings;
		this.#clock = clock;
		this.#scheduler = scheduler;
		const log = new AgentLogger(sink, clock, settings.log.level, settings.log.fieldBytesMax);
		this.#log = log;
		this.#state = new LifecycleState(clock, log);

		// ── what is counted, and who sees every exchange ──
		const counters = this.#counters;
		const series = new SeriesUnion(settings.routes.seriesMax, settings.metrics.bodySizes);
		const accessLines = new AccessLineWriter(sink, settings.log);
		const recent = this.recent;
		this.#observers = new ExchangeObservers(
			scheduler,
			[
				...(settings.log.access ? [accessObserver(accessLines)] : []),
				{ name: "recent", observe: (view, thread) => recent.add(view, thread) },
				exemplarObserver(series),
			],
			(observer, error) => log.error("an observer failed", { observer, error }),
		);

		// ── traffic ──
		this.#threads = new DataThreads({
			settings,
			entry: DATA_THREAD,
			clock,
			scheduler,
			log,
			counters,
			series,
			addRing: (thread, shared) => this.#observers.addRing(thread, shared),
			onMessage: (message) => this.#onMessage(message),
			beforeListen: () => this.#whenSourceIsFound(),
		});

		// ── leaving ──
		this.#budget = stopBudget(settings.drain);
		this.#arrivals = new Arrivals({ arrived: () => counters.sum(CELL.REQUESTS_ARRIVED), clock, scheduler });
		this.#sequence = new DrainSequence({
			state: this.#state,
			drain: this.#drain,
			reading: {
				inFlight: () => Math.max(0, counters.sum(CELL.IN_FLIGHT) - counters.sum(CELL.EVENT_STREAMS)),
				streams: () => counters.sum(CELL.EVENT_STREAMS),
				arrived: () => counters.sum(CELL.REQUESTS_ARRIVED),
				meanGapMs: () => this.#arrivals.meanGapMs(),
				bypass: () => 0,
			},
			plan: { ...settings.drain, budgetMs: this.#budget.drainMs },
			acts: {
				closeIdle: (idleMs) => this.#threads.tell({ kind: "closeIdle", idleMs }),
				closeStreams: () => this.#threads.tell({ kind: "closeStreams" }),
			},
			clock,
			scheduler,
			log,
		});
		this.#state.subscribe(({ to }) => this.#threads.tell({ kind: "state", state: to }));
		void this.#sequence.over.then((outcome) => this.#report(outcome));

		// ── the app ──
		const { intervalMs, timeoutMs, fall, rise } = settings.health.app;
		// Without a data path (`capture: none`) there is no inbound, and the app is watched all the same.
		const watched: readonly { readonly name: string; readonly app: Address | undefined }[] =
			settings.inbound.length > 0
				? settings.inbound
				: settings.apps.map((place) => ({ name: renderAddress(place), app: place }));
		this.#appPorts = watched.map(
			({ name, app: place }) =>
				new AppPort(
					`app-port ${name}`,
					place,
					{ intervalMs, timeoutMs, fall, rise },
					{ clock, scheduler, random: Math.random, ownAddresses, tryConnect },
				),
		);
		for (const [index, port] of this.#appPorts.entries()) port.subscribe((status) => this.#onAppPort(index, status));

		// ── what is shown ──
		const app = new AppPages({ urls: settings.metrics.app, clock, scheduler, log });
		this.#appPages = app;
		const registry = new AgentRegistry();
		registry.addBuildInfo(BUILD_INFO.version, BUILD_INFO.revision, BUILD_INFO.node);
		const exchangeMetrics = new ExchangeMetrics(
			counters,
			series,
			{
				recordsDropped: () => this.#observers.recordsDropped(),
				linesDropped: () => LINE_OWNERS.map((owner) => [owner, sink.dropped(owner)] as const),
				faults: () => this.#observers.faults(),
			},
			settings.metrics,
		);
		const faults = new Map<string, number>();
		const metrics = new MetricsPage({
			sources: [
				{ name: "exchange_metrics", source: exchangeMetrics },
				{ name: "registry", source: registry },
			],
			app,
			collision: settings.metrics.collision,
			clock,
			log,
			onFault: (observer, error) => {
				faults.set(observer, (faults.get(observer) ?? 0) + 1);
				log.error("a part of the metrics page failed", { observer, error });
			},
		});
		this.#ops = new OpsServer({
			listen: settings.ops.listen,
			connectionsMax: settings.ops.connectionsMax,
			bearerTokenFile: settings.ops.bearerTokenFile,
			metrics,
			probes: this.#probes(),
			routes: [],
			clock,
			log,
		});
		for (const metric of this.#ops.pulledMetrics) registry.add(metric);
		const lifecycle = lifecycleMetrics({
			state: this.#state,
			health: () => [],
			bypass: () => undefined,
			leases: () => 0,
			threadsReplaced: () => this.#threads.replaced,
			report: () => this.report,
		});
		for (const metric of lifecycle) registry.add(metric);

		const components: Component[] = [this.#threads, this.#observers, ...this.#appPorts, this.#ops];
		this.#runner = new ComponentRunner(
			components,
			{ startMs: START_MS, stopMs: agentStopBudget(this.#budget).partsMs },
			clock,
			scheduler,
			log,
		);
	}

	get log(): AgentLogger {
		return this.#log;
	}

	get state(): LifecycleState {
		return this.#state;
	}

	/** Rejects when a port cannot be bound or a part cannot start; nothing is left then. */
	async start(): Promise<AgentAddresses> {
		// Beside the start of the data threads, which wait for it: not even the first request may reach the app from loopback.
		void this.#whenSourceIsFound().catch(() => undefined);
		await this.#runner.start();
		this.#hasStarted = true;
		this.#arrivals.start();
		this.#log.info("the agent has started", {
			version: BUILD_INFO.version,
			inbound: this.#settings.inbound.map((inbound) => inbound.name).join(","),
		});
		this.#settle();
		// What loads slowly comes after the first request can be served.
		void this.#log.load();
		this.#cancelSettle = this.#scheduler.after(SETTLE_MS, settleHeap);
		return this.addresses;
	}

	get addresses(): AgentAddresses {
		const ops = this.#settings.ops.listen;
		const opsPort = this.#ops.address?.port;
		return {
			inbound: this.#settings.inbound.map(({ listen }, index) =>
				listen.kind === "unix" ? listen : { ...listen, port: this.#threads.ports[index] ?? listen.port },
			),
			ops: ops.kind === "unix" || opsPort === undefined ? ops : { ...ops, port: opsPort },
			api: undefined,
		};
	}

	/** Where the app of that entry of `inbound` listens, from now on. */
	setApp(inbound: number, app: Address): void {
		this.#tellApp(inbound, app, undefined);
		this.#appPorts[inbound]?.setApp(app);
	}

	/** Announces and drains. Resolves when the app may be stopped; never rejects. A second call joins the first. */
	async drain(startedBy: MoveReason): Promise<DrainReport> {
		return this.#reportOf(await this.#sequence.begin(startedBy));
	}

	/** The app's process has ended: ends a drain, or makes a short one. */
	async appGone(): Promise<DrainReport> {
		return this.#reportOf(await this.#sequence.hurry("app_gone"));
	}

	/** The agent has made a mistake that it cannot go on with: what is in flight gets a moment. */
	async fault(): Promise<DrainReport> {
		return this.#reportOf(await this.#sequence.hurry("fault"));
	}

	/** Ends a drain in this turn, with whatever is in flight; `stop` then cuts it. */
	async endNow(why: StopReason): Promise<DrainReport> {
		return this.#reportOf(await this.#sequence.endNow(why));
	}

	/** What the drain has come to so far; `undefined` until it is over. */
	get report(): DrainReport | undefined {
		const outcome = this.#sequence.outcome;
		return outcome === undefined ? undefined : this.#reportOf(outcome);
	}

	/**
	 * Stops every part: what is left is cut and counted, then the observers write what they have, then the rest ends, in the reverse order of the start.
	 * Safe without `start`, safe twice; never rejects. Resolves with the report as it is in the end.
	 */
	stop(): Promise<DrainReport> {
		this.#stopping ??= this.#stop();
		return this.#stopping;
	}

	async #stop(): Promise<DrainReport> {
		const outcome = await this.#sequence.endNow("asked");
		const deadline = Deadline.after(this.#clock, agentStopBudget(this.#budget).partsMs);
		this.#cancelSettle?.();
		this.#arrivals.stop();
		this.#appPages.stop();
		await this.#threads.cut(deadline);
		this.#observers.readAll();
		const report = this.#reportOf(outcome);
		if (report.cut > 0) this.#log.warn("cut at the stop", { cut: report.cut });
		this.#writeMessage(report);
		await this.#openapi?.stop();
		await this.#runner.stop(deadline);
		if (this.#state.canMoveTo("stopped")) this.#state.set({ at: "stopped", cut: report.cut }, "parts_stopped");
		return report;
	}

	#reportOf(outcome: DrainOutcome): DrainReport {
		return drainReport(outcome, (cell) => this.#counters.sum(cell));
	}

	/** The one line of a drain that is over. What the stop then still cuts has a line of its own. */
	#report(outcome: DrainOutcome): void {
		const report = this.#reportOf(outcome);
		const isWhole = report.left === 0 && report.cut === 0 && report.failed === 0;
		this.#log[isWhole ? "info" : "warn"](`the drain is over: ${reportSentence(report)}`, reportFields(report));
		this.#writeMessage(report);
	}

	#writeMessage(report: DrainReport): void {
		const { report: path } = this.#settings.drain;
		if (path === "none") return;
		const problem = writeTerminationMessage(path, report);
		if (problem !== undefined) this.#log.warn("the drain report cannot be written", { path, error: problem });
	}

	#probes(): ProbeSource {
		return {
			live: () => {
				const stalled = this.#hasStarted ? this.#threads.stalled() : 0;
				return stalled === 0 ? { ok: true } : { ok: false, reason: "data_thread_stalled" };
			},
			ready: () => {
				const at = this.#state.at;
				if (at === "ready") return { ok: true };
				return { ok: false, reason: at === "unready" ? "app_refuses" : at };
			},
			started: () => (this.#hasStarted ? { ok: true } : { ok: false, reason: "starting" }),
		};
	}

	#onMessage(message: DataMessage): void {
		switch (message.kind) {
			case "appIdleLearned":
				this.#log.info("the app closes idle connections sooner than we would; we do now", {
					inbound: this.#settings.inbound[message.inbound]?.name,
					idle_ms: message.idleMs,
					from: message.from,
				});
				break;
			case "routeHintRejected":
				this.#log.warn("x-outrigger-route is no route template", { hint: message.hint });
				break;
			case "log":
				this.#log[message.level](message.message, message.fields);
				break;
			default:
				break;
		}
	}

	#onAppPort(inbound: number, status: AppPortStatus): void {
		const entry = this.#settings.inbound[inbound];
		if (entry !== undefined && status.address !== undefined) {
			this.#tellApp(inbound, entry.app ?? status.address, status.address);
		}
		// An app that is gone while we leave has nothing to be waited for.
		if (this.#state.isLeaving && this.#appPorts.every((port) => port.status.isGone))
			void this.#sequence.hurry("app_gone");
		if (this.#hasStarted) this.#settle();
	}

	/** Readiness follows the app: all of its ports accept. */
	#settle(): void {
		const state = this.#state;
		if (state.isLeaving) return;
		if (this.#appPorts.some((port) => port.status.state === "unknown") && state.at === "starting") return; // not asked yet
		const accepts = this.#appPorts.every((port) => port.status.state === "accepts");
		if (accepts && state.canMoveTo("ready")) {
			state.set({ at: "ready" }, "app_passes");
			this.#askForRoutes();
		} else if (!accepts && state.canMoveTo("unready")) {
			state.set({ at: "unready", why: "app_refuses" }, "app_refuses");
		}
	}

	/** The place that answered comes first, then all the others. */
	#tellApp(inbound: number, app: Address, answered: Address | undefined): void {
		const places = appPlaces(app, ownAddresses());
		const first = answered === undefined ? undefined : renderAddress(answered);
		const ordered = [
			...places.filter((place) => renderAddress(place) === first),
			...places.filter((place) => renderAddress(place) !== first),
		];
		this.#threads.tell({
			kind: "app",
			inbound,
			addresses: ordered.map((place) =>
				place.kind === "unix" ? place : { kind: "tcp", host: place.host ?? "127.0.0.1", port: place.port },
			),
			source: this.#source,
		});
	}

	#whenSourceIsFound(): Promise<void> {
		this.#sourceFound ??= this.#findSource();
		return this.#sourceFound;
	}

	async #findSource(): Promise<void> {
		this.#source = await sourceAddresses(this.#settings.connections.source);
		for (const [index, { app }] of this.#settings.inbound.entries()) {
			const answered = this.#appPorts[index]?.status.address;
			if (app !== undefined) this.#tellApp(index, app, answered);
		}
		if (this.#settings.connections.source === "auto" && this.#source.ipv4 === undefined) {
			this.#log.warn(
				"connections to the app come from loopback, since nothing else works here: an app that trusts 127/8 trusts every client",
			);
		}
		this.#log.debug("connections to the app come from", { ipv4: this.#source.ipv4, ipv6: this.#source.ipv6 });
	}

	#askForRoutes(): void {
		const app = this.#appPorts[0]?.status.address;
		if (app === undefined) return;
		this.#openapi ??= new OpenapiRoutes({
			app,
			openapi: this.#settings.routes.openapi,
			templatesMax: this.#settings.routes.seriesMax,
			userAgent: `outrigger/${BUILD_INFO.version}`,
			onOutcome: (outcome) => this.#onOpenapi(outcome),
		});
		this.#openapi.appReady();
	}

	#onOpenapi(outcome: OpenapiOutcome): void {
		switch (outcome.t) {
			case "found":
				this.#threads.tell({ kind: "routes", templates: outcome.templates });
				this.#log.info("routes are named after the app's OpenAPI document", {
					path: outcome.path,
					templates: outcome.templates.length,
					left_out: outcome.left,
				});
				break;
			case "failed":
				this.#log.warn("the app's OpenAPI document could not be read", { detail: outcome.detail });
				break;
			case "absent":
				this.#log.debug("the app has no OpenAPI document");
				break;
			default:
				outcome satisfies never;
		}
	}
}

const accessObserver = (lines: AccessLineWriter): ExchangeObserver => ({
	name: "access_line",
	observe: (view) => lines.write(view),
	endTurn: () => lines.flush(),
});
