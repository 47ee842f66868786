import type { ControlMessage, DataMessage } from "../../src/bridge/commands.ts";
import { CELL, CounterReader } from "../../src/bridge/counters.ts";
import type { Settings } from "../../src/config/settings.ts";
import { Drain } from "../../src/foundation/drain.ts";
import { type Logger, silentLogger } from "../../src/foundation/logger.ts";
import type { Cancel } from "../../src/foundation/scheduler.ts";
import { Arrivals } from "../../src/lifecycle/arrivals.ts";
import { agentStopBudget, type StopBudget, stopBudget } from "../../src/lifecycle/budget.ts";
import { type DrainReport, drainReport, notFinished } from "../../src/lifecycle/drain-report.ts";
import { type DrainOutcome, DrainSequence, type StopReason } from "../../src/lifecycle/drain-sequence.ts";
import { Leases } from "../../src/lifecycle/leases.ts";
import { LifecycleState, type MoveReason } from "../../src/lifecycle/state.ts";
import { type World, WorldScheduler } from "./world.ts";

/** How often the app's port is looked at while it may go away, ms. */
const PORT_LOOK_MS = 200;

export interface ControlThreadParts {
	readonly world: World;
	readonly settings: Settings;
	readonly counters: SharedArrayBuffer;
	/** To the data thread. */
	readonly post: (message: ControlMessage) => void;
	readonly bypass: () => number;
	/** For how long the app's own hook has waited. */
	readonly lateMs: () => number;
	/** Whether nobody listens at the app's port, and for so long that the check has found out. */
	readonly isAppGone: () => boolean;
	/** In the turn in which the drain is over. */
	readonly onOver: (outcome: DrainOutcome) => void;
	/** The data thread is asked to close what is idle. */
	readonly onCloseIdle: () => void;
}

/**
 * What `agent.ts` wires on the control thread for a stop, with the same parts: state, drain, sequence, arrivals, leases, the account of the data
 * thread. Servers, observers and workers are left out: they are no part of the question.
 */
export class ControlThread {
	readonly scheduler: WorldScheduler;
	readonly drain = new Drain();
	readonly state: LifecycleState;
	readonly sequence: DrainSequence;
	readonly leases: Leases;
	readonly budget: StopBudget;
	beganMs: number | undefined;
	/** For how long the app's hook had waited then. */
	lateMs = 0;
	overMs: number | undefined;
	outcome: DrainOutcome | undefined;
	/** When it was hurried, and whether by our own mistake. */
	hurriedMs: number | undefined;
	isFaulty = false;
	/** Whether the app's port was seen to refuse while leaving. */
	hasRefused = false;
	stopMs: number | undefined;
	stoppedMs: number | undefined;
	/** The report in its last form. */
	report: DrainReport | undefined;
	readonly #parts: ControlThreadParts;
	readonly #counters = new CounterReader();
	readonly #arrivals: Arrivals;
	#cancelPortLook: Cancel | undefined;
	#cancelCut: Cancel | undefined;
	#failedAtEnd = 0;
	#onStopped: () => void = () => undefined;

	constructor(parts: ControlThreadParts) {
		const { world, settings, post } = parts;
		const { clock } = world;
		this.#parts = parts;
		const scheduler = new WorldScheduler(world);
		this.scheduler = scheduler;
		const log = logOf(world);
		const counters = this.#counters;
		counters.addThread(0, parts.counters);
		this.state = new LifecycleState(clock, log);
		this.budget = stopBudget(settings.drain);
		this.#arrivals = new Arrivals({ arrived: () => counters.sum(CELL.REQUESTS_ARRIVED), clock, scheduler });
		let ids = 0;
		this.leases = new Leases({
			clock,
			scheduler,
			drain: this.drain,
			leasesMax: settings.drain.leasesMax,
			newId: () => `lease-${ids++}`,
		});
		this.sequence = new DrainSequence({
			state: this.state,
			drain: this.drain,
			reading: {
				inFlight: () => Math.max(0, counters.sum(CELL.IN_FLIGHT) - counters.sum(CELL.EVENT_STREAMS)),
				streams: () => counters.sum(CELL.EVENT_STREAMS),
				expects: (quietMs) =>
					counters.sumOfLiving(CELL.HEADS_OPEN) > 0 || counters.min(CELL.YOUNGEST_IDLE_MS) < quietMs,
				arrived: () => counters.sum(CELL.REQUESTS_ARRIVED),
				meanGapMs: () => this.#arrivals.meanGapMs(),
				bypass: parts.bypass,
			},
			plan: { ...settings.drain, budgetMs: this.budget.drainMs },
			acts: {
				closeIdle: (idleMs) => {
					post({ kind: "closeIdle", idleMs });
					parts.onCloseIdle();
				},
				closeStreams: () => post({ kind: "closeStreams" }),
			},
			lateMs: () => {
				this.lateMs = parts.lateMs();
				return this.lateMs;
			},
			clock,
			scheduler,
			log,
		});
		this.state.subscribe(({ to }) => {
			post({ kind: "state", state: to });
			if (to === "announcing") this.beganMs = world.nowMs;
			const { outcome } = this.sequence;
			if (to !== "stopping" || outcome === undefined) return;
			this.overMs = world.nowMs;
			this.#failedAtEnd = counters.sum(CELL.LEAVING_FAILED);
			this.outcome = outcome;
			parts.onOver(outcome);
		});
	}

	start(): void {
		this.state.set({ at: "ready" }, "app_passes");
		this.#arrivals.start();
		this.#lookAtPort();
	}

	begin(by: MoveReason): void {
		if (this.stopMs === undefined) void this.sequence.begin(by);
	}

	hurry(why: "app_gone" | "fault"): void {
		if (this.stopMs !== undefined || this.outcome !== undefined) return;
		this.hurriedMs ??= this.#parts.world.nowMs;
		if (why === "fault") this.isFaulty = true;
		void this.sequence.hurry(why);
	}

	endNow(why: StopReason): void {
		if (this.stopMs === undefined) void this.sequence.endNow(why);
	}

	/** As `Agent.stop`. `then`: the process has ended. */
	stop(then: () => void): void {
		if (this.stopMs !== undefined) return;
		const { world, post } = this.#parts;
		this.stopMs = world.nowMs;
		this.#onStopped = then;
		void this.sequence.endNow("asked");
		this.#arrivals.stop();
		this.#cancelPortLook?.();
		post({ kind: "stop" });
		this.#cancelCut = this.scheduler.after(agentStopBudget(this.budget).partsMs, () => this.#finish());
	}

	/** From the data thread. */
	onMessage(message: DataMessage): void {
		if (message.kind === "stopped") this.#finish();
	}

	#finish(): void {
		if (this.stoppedMs !== undefined) return;
		const { world } = this.#parts;
		this.#cancelCut?.();
		this.leases.stop();
		this.stoppedMs = world.nowMs;
		if (this.outcome !== undefined)
			this.report = drainReport(this.outcome, {
				sum: (cell) => this.#counters.sum(cell),
				lost: 0,
				failedAtEnd: this.#failedAtEnd,
			});
		this.state.set({ at: "stopped", cut: this.report === undefined ? 0 : notFinished(this.report) }, "parts_stopped");
		this.#onStopped();
	}

	#lookAtPort(): void {
		this.#cancelPortLook = this.scheduler.after(PORT_LOOK_MS, () => {
			if (this.state.isLeaving && this.#parts.isAppGone()) {
				this.hasRefused = true;
				this.sequence.appRefuses();
			}
			if (this.stopMs === undefined) this.#lookAtPort();
		});
	}
}

/** What the agent says of itself is part of the story of a seed; an error is a violation. */
function logOf(world: World): Logger {
	return {
		...silentLogger,
		info: (message, fields) => world.tell("agent", `${message} ${JSON.stringify(fields ?? {})}`),
		error: (message, fields) => world.violated(`${message}: ${JSON.stringify(fields ?? {})}`),
	};
}
