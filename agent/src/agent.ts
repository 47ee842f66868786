import type { DataMessage } from "./bridge/commands.ts";
import { CELL, CounterReader } from "./bridge/counters.ts";
import { DataThreads } from "./bridge/data-threads.ts";
import { SeriesUnion } from "./bridge/series-table.ts";
import { renderAddress } from "./config/address.ts";
import { fileBudget, openFilesMax } from "./config/file-limit.ts";
import type { Address, Settings } from "./config/settings.ts";
import { realSystem } from "./config/system.ts";
import { type AgentInfo, agentMethods } from "./contract/agent-service.ts";
import { healthMethods } from "./contract/health-service.ts";
import { lifecycleMethods } from "./contract/lifecycle-service.ts";
import { ContractServer } from "./contract/server.ts";
import { BUILD_INFO } from "./foundation/build-info.ts";
import type { Clock } from "./foundation/clock.ts";
import type { Component } from "./foundation/component.ts";
import { Deadline } from "./foundation/deadline.ts";
import { Drain } from "./foundation/drain.ts";
import { FAULTS } from "./foundation/fault.ts";
import type { LogSink } from "./foundation/log-sink.ts";
import { LINE_OWNERS } from "./foundation/log-sink.ts";
import { AgentLogger } from "./foundation/logger.ts";
import type { Cancel, Scheduler } from "./foundation/scheduler.ts";
import { SETTLE_MS, settleHeap } from "./foundation/settle-heap.ts";
import { adviseOnAppIdle, adviseOnBudget, adviseOnBypass } from "./lifecycle/advice.ts";
import { AgentHealth } from "./lifecycle/agent-health.ts";
import { appPlaces, tryConnect } from "./lifecycle/app-port.ts";
import { AppWatch } from "./lifecycle/app-watch.ts";
import { Arrivals } from "./lifecycle/arrivals.ts";
import { agentStopBudget, type StopBudget, stopBudget } from "./lifecycle/budget.ts";
import { type BypassReading, BypassWatch } from "./lifecycle/bypass.ts";
import { Checks } from "./lifecycle/checks.ts";
import { type DrainReport, notFinished } from "./lifecycle/drain-report.ts";
import { DrainSequence, type StopReason } from "./lifecycle/drain-sequence.ts";
import { HealthTree } from "./lifecycle/health-tree.ts";
import { Leases } from "./lifecycle/leases.ts";
import { lifecycleMetrics } from "./lifecycle/lifecycle-metrics.ts";
import { NameLookups } from "./lifecycle/name-lookup.ts";
import { ownSockets, readTable } from "./lifecycle/proc-sockets.ts";
import { ComponentRunner } from "./lifecycle/run-components.ts";
import { NO_SOURCE, rememberedAddresses, type SourceAddresses, sourceAddresses } from "./lifecycle/source-address.ts";
import { LifecycleState, type MoveReason } from "./lifecycle/state.ts";
import { StopReport } from "./lifecycle/stop-report.ts";
import { AccessLineWriter } from "./observe/access-line.ts";
import { AppPages } from "./observe/app-page.ts";
import { ExchangeMetrics } from "./observe/exchange-metrics.ts";
import { type ExchangeObserver, ExchangeObservers, exemplarObserver } from "./observe/exchange-observers.ts";
import { type OpenapiOutcome, OpenapiRoutes } from "./observe/openapi-routes.ts";
import { RecentExchanges } from "./observe/recent.ts";
import { DrainedRoute } from "./ops/drained.ts";
import { MetricsPage } from "./ops/metrics-page.ts";
import type { ProbeAnswer, ProbeSource } from "./ops/probes.ts";
import { OpsServer } from "./ops/server.ts";
import { IdSource } from "./telemetry/ids.ts";
import { AgentRegistry } from "./telemetry/registry.ts";

/** Memory for the exchanges that `outrigger why` can still tell of. */
const RECENT_BYTES = 1 << 20;
/** A lease is held long before a drain, whose deadline then bounds it. */
const LEASE_TTL_MAX_MS = 24 * 60 * 60 * 1000;
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
 * Started in this order: data threads, observers, the ops port, the API, the app's checks, the looks at health and sockets. The data threads come first because they serve. Stop
 * is the reverse, but for what is told last: first what is left is cut and counted, and observers write it; then 9801 and the others close.
 */
export class Agent {
	readonly recent = new RecentExchanges(RECENT_BYTES);
	/** Names this run of the agent: who has told us something and sees another epoch has to tell it again. */
	readonly epoch: string;
	readonly #settings: Settings;
	readonly #clock: Clock;
	readonly #scheduler: Scheduler;
	readonly #log: AgentLogger;
	readonly #startedWallMs: number;
	readonly #state: LifecycleState;
	readonly #drain = new Drain();
	readonly #sequence: DrainSequence;
	readonly #counters = new CounterReader();
	readonly #threads: DataThreads;
	readonly #observers: ExchangeObservers;
	readonly #tree: HealthTree;
	readonly #app: AppWatch;
	readonly #bypass: BypassWatch;
	readonly #arrivals: Arrivals;
	readonly #leases: Leases;
	readonly #stopReport: StopReport;
	readonly #drained: DrainedRoute;
	readonly #ops: OpsServer;
	readonly #contract: ContractServer;
	readonly #appPages: AppPages;
	readonly #runner: ComponentRunner;
	readonly #budget: StopBudget;
	readonly #ownAddresses = rememberedAddresses();
	#openapi: OpenapiRoutes | undefined;
	#source: SourceAddresses = NO_SOURCE;
	#sourceFound: Promise<void> | undefined;
	#hasStarted = false;
	/** What the caller of `outrigger drain` gave as the reason. */
	#drainReason: string | undefined;
	/** Looks at sockets that saw somebody, where there is no data path to count requests. */
	#looksWithPeers = 0;
	/** Monotonic ms; what was seen before says little of who is there now. */
	#leavingSinceMs = Number.POSITIVE_INFINITY;
	#endCloseLooks: (() => void) | undefined;
	/** Pushed contributors that have a label in the metrics. */
	readonly #reportLabels = new Set<string>();
	#stopping: Promise<DrainReport> | undefined;
	#cancelSettle: Cancel | undefined;

	constructor(parts: AgentParts) {
		const { settings, clock, scheduler, sink } = parts;
		this.#settings = settings;
		this.#clock = clock;
		this.#scheduler = scheduler;
		const log = new AgentLogger(sink, clock, settings.log.level, settings.log.fieldBytesMax);
		this.#log = log;
		this.#state = new LifecycleState(clock, log);
		this.#startedWallMs = clock.wallMs();
		const ids = new IdSource();
		this.epoch = ids.uuid7(this.#startedWallMs);

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
		const files = fileBudget(settings, openFilesMax());
		this.#threads = new DataThreads({
			settings: { ...settings, limits: { ...settings.limits, connectionsMax: files.connectionsMax } },
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

		// ── the app, and how all is ──
		const userAgent = `outrigger/${BUILD_INFO.version}`;
		const random = Math.random;
		const lookups = new NameLookups();
		this.#budget = stopBudget(settings.drain);
		this.#tree = new HealthTree({ reportsMax: settings.health.reportsMax, clock, scheduler, log });
		const tree = this.#tree;
		this.#app = new AppWatch({
			// Without a data path (`capture: none`) there is no inbound, and the app is watched all the same.
			apps:
				settings.inbound.length > 0
					? settings.inbound
					: settings.apps.map((app) => ({ name: renderAddress(app), app, protocol: undefined })),
			health: settings.health.app,
			appStopMs: this.#budget.appStopMs,
			state: this.#state,
			tree,
			lookups,
			userAgent,
			ownAddresses: this.#ownAddresses,
			tryConnect,
			onAddress: (index, address) => this.#onAppAddress(index, address),
			onReady: () => this.#askForRoutes(userAgent),
			onGone: () => this.#sequence.appRefuses(),
			clock,
			scheduler,
			random,
			log,
		});
		const checks = new Checks(settings.health.checks, { tree, lookups, userAgent, clock, scheduler, random });
		const agentHealth = new AgentHealth({
			tree,
			clock,
			scheduler,
			stalled: () => this.#threads.stalled(),
			dataDelays: () => ({ seconds: counters.sum(CELL.DELAY_SUM), count: counters.sum(CELL.DELAY_COUNT) }),
			rssBytes,
			memoryLimitBytes: realSystem.memoryLimitBytes(),
			connectFailures: () =>
				counters.sum(CELL.UPSTREAM_FAILED_START + FAULTS.app_refused.index) +
				counters.sum(CELL.UPSTREAM_FAILED_START + FAULTS.app_connect_timeout.index),
			appAccepts: () => this.#app.accepts,
		});
		this.#bypass = new BypassWatch(
			settings.apps,
			{
				settledMs: settings.probes.timeoutMs,
				ownListeners: [...settings.inbound.map(({ listen }) => listen), settings.ops.listen, settings.api.listen],
			},
			{ ownAddresses: this.#ownAddresses, readTable, ownSockets, clock, scheduler, log },
		);
		this.#bypass.subscribe((reading) => this.#onBypass(reading));
		adviseOnBudget(tree, settings, this.#budget);
		if (files.advice !== undefined) {
			// The default is more than most need: half of it is worth a line, and no warning that stays.
			if (files.connectionsMax * 4 < settings.limits.connectionsMax) tree.advise("file_descriptors", files.advice);
			log.info("fewer connections than configured", { why: files.advice.detail, advice: files.advice.advice });
		}

		// ── leaving ──
		const hasDataPath = settings.inbound.length > 0;
		const arrived = (): number => counters.sum(CELL.REQUESTS_ARRIVED) + this.#looksWithPeers;
		this.#arrivals = new Arrivals({ arrived: () => counters.sum(CELL.REQUESTS_ARRIVED), clock, scheduler });
		this.#sequence = new DrainSequence({
			state: this.#state,
			drain: this.#drain,
			reading: {
				inFlight: () => Math.max(0, counters.sum(CELL.IN_FLIGHT) - counters.sum(CELL.EVENT_STREAMS)),
				streams: () => counters.sum(CELL.EVENT_STREAMS),
				expects: (quietMs) =>
					this.#threads.isReplacing ||
					counters.sumOfLiving(CELL.HEADS_OPEN) > 0 ||
					counters.min(CELL.YOUNGEST_IDLE_MS) < quietMs,
				arrived,
				meanGapMs: () => this.#arrivals.meanGapMs(),
				bypass: () => (hasDataPath ? this.#bypass.reading().settled : this.#everybody()),
			},
			plan: { ...settings.drain, budgetMs: this.#budget.drainMs },
			acts: {
				closeIdle: (idleMs) => this.#threads.tell({ kind: "closeIdle", idleMs }),
				closeStreams: () => this.#threads.tell({ kind: "closeStreams" }),
			},
			lateMs: () => this.#drained.waitedMs,
			clock,
			scheduler,
			log,
		});
		this.#stopReport = new StopReport({
			sum: (cell) => counters.sum(cell),
			exchangesLost: () => this.#threads.exchangesLost,
			path: settings.drain.report,
			log,
		});
		this.#leases = new Leases({
			drain: this.#drain,
			leasesMax: settings.drain.leasesMax,
			newId: () => ids.uuid7(clock.wallMs()),
			clock,
			scheduler,
		});
		this.#leases.subscribe((event, { id, name }) => {
			if (event !== "renewed") log[event === "expired" ? "warn" : "info"](`a lease is ${event}`, { id, name });
		});
		this.#state.subscribe(({ to }) => {
			this.#threads.tell({ kind: "state", state: to });
			if (to !== "announcing") return;
			this.#leavingSinceMs = clock.monotonicMs();
			this.#stopReport.leave();
			this.#endCloseLooks = this.#bypass.watchClosely();
		});
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
				faults: () => [
					...this.#observers.faults(),
					["state", this.#state.observerFaults],
					["health", tree.observerFaults],
					["metrics_page", pageFaults],
				],
			},
			settings.metrics,
		);
		let pageFaults = 0;
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
				pageFaults += 1;
				log.error("a part of the metrics page failed", { observer, error });
			},
		});
		this.#drained = new DrainedRoute({
			whenBegun: (listener) => this.#state.subscribe(({ to }) => to === "announcing" && listener()),
			over: this.#sequence.over,
			remainingMs: () => this.#sequence.deadline?.remainingMs() ?? 0,
			startWithinMs: settings.drain.startWithinMs,
			onRestart: () => this.#app.expectRestart(),
			clock,
			scheduler,
			log,
		});
		const probes = this.#probes();
		this.#ops = new OpsServer({
			listen: settings.ops.listen,
			connectionsMax: settings.ops.connectionsMax,
			waitersMax: settings.ops.waitersMax,
			bearerTokenFile: settings.ops.bearerTokenFile,
			metrics,
			probes,
			routes: [this.#drained],
			clock,
			log,
		});
		this.#contract = new ContractServer({
			listen: settings.api.listen,
			connectionsMax: settings.api.connectionsMax,
			hosts: settings.api.hosts,
			epoch: this.epoch,
			methods: [
				...lifecycleMethods({
					clock,
					state: this.#state,
					drain: this.#sequence,
					beginDrain: (startedBy, reason) => {
						this.#drainReason = reason;
						if (reason !== undefined) log.info("a drain is asked for", { by: startedBy, why: reason });
						void this.#sequence.begin(startedBy);
					},
					report: () => this.report,
					ready: () => this.#app.say(true),
					notReady: (reason) => {
						log.info("the app wants no traffic", { why: reason });
						this.#app.say(false);
					},
					leases: this.#leases,
					leaseTtlMaxMs: LEASE_TTL_MAX_MS,
				}),
				...healthMethods({ tree, live: () => probes.live(), ready: () => probes.ready() }),
				...agentMethods({
					build: BUILD_INFO,
					pid: process.pid,
					service: settings.service,
					inboundNames: settings.inbound.map(({ name }) => name),
					info: () => this.#info(),
					exchanges: this.recent,
					log: settings.log,
				}),
			],
			clock,
			scheduler,
			log,
		});
		for (const metric of [
			...lifecycleMetrics({
				state: this.#state,
				health: () => this.#healthByContributor(),
				bypass: () => {
					const { isAvailable, settled } = this.#bypass.reading();
					return isAvailable ? settled : undefined;
				},
				leases: () => this.#leases.count,
				threadsReplaced: () => this.#threads.replaced,
				report: () => this.report,
			}),
			...this.#ops.pulledMetrics,
			...this.#drained.pulledMetrics,
			...this.#contract.pulledMetrics,
		]) {
			registry.add(metric);
		}

		// After the hooks, which are answered first: what is written may take a moment.
		void this.#sequence.over.then((outcome) => this.#stopReport.over(outcome));

		const components: Component[] = [
			this.#threads,
			this.#observers,
			this.#ops,
			this.#contract,
			tree,
			agentHealth,
			this.#app,
			checks,
			this.#bypass,
		];
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
			epoch: this.epoch,
		});
		// What loads slowly comes after the first request can be served.
		void this.#log.load();
		this.#cancelSettle = this.#scheduler.after(SETTLE_MS, settleHeap);
		return this.addresses;
	}

	get addresses(): AgentAddresses {
		const { ops, api } = this.#settings;
		return {
			inbound: this.#settings.inbound.map(({ listen }, index) =>
				listen.kind === "unix" ? listen : { ...listen, port: this.#threads.ports[index] ?? listen.port },
			),
			ops: bound(ops.listen, this.#ops.address?.port),
			api: bound(api.listen, this.#contract.address?.port),
		};
	}

	/** Where the app of that entry of `inbound` listens, from now on. */
	setApp(inbound: number, app: Address): void {
		void this.#openapi?.stop();
		this.#openapi = undefined; // at another port its document may be another
		this.#tellApp(inbound, app, undefined);
		this.#app.setApp(inbound, app);
		this.#bypass.setApps([app]);
	}

	/** Announces and drains. Resolves when the app may be stopped; never rejects. A second call joins the first. */
	async drain(startedBy: MoveReason): Promise<DrainReport> {
		return this.#stopReport.of(await this.#sequence.begin(startedBy));
	}

	/** The app's process has ended: ends a drain, or makes a short one. */
	async appGone(): Promise<DrainReport> {
		return this.#stopReport.of(await this.#sequence.hurry("app_gone"));
	}

	/**
	 * The agent has made a mistake that it cannot go on with: what is in flight gets a moment. A drain that has begun goes on to its end, since nobody starts
	 * an agent again in a pod that goes away.
	 */
	async fault(): Promise<DrainReport> {
		const isLeaving = this.#sequence.hasBegun;
		return this.#stopReport.of(await (isLeaving ? this.#sequence.over : this.#sequence.hurry("fault")));
	}

	/** Ends a drain in this turn, with whatever is in flight; `stop` then cuts it. */
	async endNow(why: StopReason): Promise<DrainReport> {
		return this.#stopReport.of(await this.#sequence.endNow(why));
	}

	/** What the drain has come to so far; `undefined` until it is over. */
	get report(): DrainReport | undefined {
		const outcome = this.#sequence.outcome;
		return outcome === undefined ? undefined : this.#stopReport.of(outcome);
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
		this.#leases.stop();
		this.#endCloseLooks?.();
		this.#appPages.stop();
		await this.#threads.cut(deadline);
		this.#observers.readAll();
		const report = this.#stopReport.stopped(outcome);
		await this.#openapi?.stop();
		await this.#runner.stop(deadline);
		if (this.#state.canMoveTo("stopped")) this.#state.set({ at: "stopped", cut: notFinished(report) }, "parts_stopped");
		return report;
	}

	#probes(): ProbeSource {
		return {
			live: () => {
				const liveness = this.#tree.liveness();
				return liveness.isLive ? OK : { ok: false, reason: liveness.reason };
			},
			ready: () => {
				const { at } = this.#state;
				return at === "ready" ? OK : { ok: false, reason: this.#app.why ?? at };
			},
			started: () => (this.#hasStarted ? OK : { ok: false, reason: "starting" }),
			health: this.#tree,
		};
	}

	/**
	 * What the app pushes it may name anew each second, and a label is for ever: of its names as many have a label of their own as may be there at a time, for as
	 * long as the agent runs.
	 */
	*#healthByContributor(): Iterable<readonly [string, "pass" | "warn" | "fail" | "unknown"]> {
		yield ["health", this.#tree.status];
		for (const { group, path, node } of this.#tree.contributors()) {
			if (group === "reports" && !this.#reportLabels.has(path)) {
				if (this.#reportLabels.size >= this.#settings.health.reportsMax) continue;
				this.#reportLabels.add(path);
			}
			yield [path, node.status];
		}
	}

	#info(): AgentInfo {
		const counters = this.#counters;
		const nowMs = this.#clock.wallMs();
		const progress = this.#sequence.progress();
		const names = this.#settings.inbound;
		return {
			startedWallMs: this.#startedWallMs,
			state: this.#state.at,
			stateSinceWallMs: nowMs - this.#state.lastedMs,
			why: this.#app.why ?? progress?.startedBy,
			addresses: this.addresses,
			apps: this.#app.statuses.map(({ address, state, lastError }, index) => ({
				name: names[index]?.name ?? "app",
				address: address ?? names[index]?.app ?? this.#settings.apps[index],
				state,
				lastError,
			})),
			inFlight: counters.sum(CELL.IN_FLIGHT),
			streams: counters.sum(CELL.EVENT_STREAMS),
			tunnels: counters.sum(CELL.TUNNELS) + counters.sum(CELL.OPAQUE_OPEN),
			connections: { downstream: counters.sum(CELL.DOWNSTREAM_OPEN), upstream: counters.sum(CELL.UPSTREAM_OPEN) },
			bypass: this.#bypass.reading().settled,
			leases: this.#leases.list(),
			drain:
				progress === undefined || progress.phase === "over"
					? undefined
					: { ...progress, reason: this.#drainReason, deadlineWallMs: nowMs + progress.remainingMs },
			report: this.report,
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
				adviseOnAppIdle(this.#tree, message.idleMs);
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

	#onAppAddress(inbound: number, address: Address): void {
		const entry = this.#settings.inbound[inbound];
		if (entry !== undefined) this.#tellApp(inbound, entry.app ?? address, address);
	}

	#onBypass({ present, settled, peers, failedLooks }: BypassReading): void {
		// Where there is no data path this is how traffic looks; each look that sees somebody is an arrival.
		if (this.#settings.inbound.length === 0) {
			if (present > 0 && failedLooks === 0) this.#looksWithPeers += 1;
			return;
		}
		adviseOnBypass(this.#tree, { settled, peers });
	}

	/**
	 * Where all traffic comes past us there is nothing else to go by, so everybody counts, however short he stays, and who may be somebody else as well.
	 * `undefined`: nobody has looked since we leave.
	 */
	#everybody(): number | undefined {
		const { unavailable, lookedMs, present, undecided, failedLooks } = this.#bypass.reading();
		if (unavailable !== undefined && unavailable !== "not_yet") return 0; // it cannot be seen here
		const seen = present + undecided;
		const isBlind = lookedMs === undefined || lookedMs < this.#leavingSinceMs || (failedLooks > 0 && seen === 0);
		return isBlind ? undefined : seen;
	}

	/** The place that answered comes first, then all the others. */
	#tellApp(inbound: number, app: Address, answered: Address | undefined): void {
		const places = appPlaces(app, this.#ownAddresses());
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
			const answered = this.#app.statuses[index]?.address;
			if (app !== undefined) this.#tellApp(index, app, answered);
		}
		if (this.#settings.connections.source === "auto" && this.#source.ipv4 === undefined) {
			this.#log.warn(
				"connections to the app come from loopback, since nothing else works here: an app that trusts 127/8 trusts every client",
			);
		}
		this.#log.debug("connections to the app come from", { ipv4: this.#source.ipv4, ipv6: this.#source.ipv6 });
	}

	#askForRoutes(userAgent: string): void {
		const app = this.#app.statuses[0]?.address;
		if (app === undefined || this.#settings.inbound.length === 0) return;
		this.#openapi ??= new OpenapiRoutes({
			app,
			openapi: this.#settings.routes.openapi,
			templatesMax: this.#settings.routes.seriesMax,
			userAgent,
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

const OK: ProbeAnswer = { ok: true };

/** libuv opens a file for it, and there may be no descriptor left: that is no reason to end. */
function rssBytes(): number | undefined {
	try {
		return process.memoryUsage.rss();
	} catch {
		return undefined;
	}
}

/** Where it listens, with the port that the system gave where 0 was asked for. */
const bound = (listen: Address, port: number | undefined): Address =>
	listen.kind === "unix" || port === undefined ? listen : { ...listen, port };

const accessObserver = (lines: AccessLineWriter): ExchangeObserver => ({
	name: "access_line",
	observe: (view) => lines.write(view),
	endTurn: () => lines.flush(),
});
