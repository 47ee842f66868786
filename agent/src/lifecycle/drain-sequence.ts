import { unreachable } from "../foundation/assert.ts";
import type { Clock } from "../foundation/clock.ts";
import { Deadline } from "../foundation/deadline.ts";
import type { Drain } from "../foundation/drain.ts";
import type { Logger } from "../foundation/logger.ts";
import type { Cancel, Scheduler } from "../foundation/scheduler.ts";
import type { LifecycleState, MoveReason } from "./state.ts";

/**
 * The drain: from the first reason to leave to the moment when the app may be stopped.
 *
 *   waiting ──begin──► announcing ──minimum over──► draining ──nothing left, and quiet──► closing ──still nothing──► over
 *      │                   │                          ▲  │                                 │  │                       ▲
 *      │                   │                          │  │                                 │  │                       │
 *      │                   │                          └──┼──────── a request came ─────────┘  │                       │
 *      └───────────────────┴─────────────────────────────┴──── out of time, or endNow ────────┴───────────────────────┘
 *
 * announcing: readiness says 503, answers end their connections, everything is served. draining: the same, until nothing is in flight, nobody
 * holds it (`Drain.enter`: a lease), no socket is left that came past us, nobody is left who may just be sending, and no request has arrived for the quiet time. It
 * watches the traffic from the beginning, so that quiet which began while announcing counts. closing: connections that are idle are closed, and whatever
 * arrives in that moment sends it back to draining.
 *
 * The quiet time follows the traffic: three times the mean gap between requests, as it was in the minute before and as it is among the last that came while
 * leaving, whichever is longer (who learns late that we leave comes seldom), within `quietMinMs` and `quietMaxMs`.
 *
 * Event streams have a budget of their own; then they are closed. Tunnels and opaque connections hold nothing. Where nobody listens at the app's port any more, nothing
 * but what is in flight, and leases, is waited for (`appRefuses`); when its process has ended, or we have made a mistake, only what is in flight, and that shortly (`hurry`).
 *
 * Whatever wants the agent to leave calls `begin`, as often as it likes: there is one drain, with one deadline. It looks at the traffic in short steps,
 * synchronously and without I/O; it stops nothing itself: it moves the state and the `Drain`, and asks for connections to be closed.
 */
export interface DrainReading {
	/** Exchanges that have begun and are not over; probes, tunnels and event streams not counted. */
	inFlight(): number;
	/** Event streams that are open. */
	streams(): number;
	/**
	 * Whether somebody may still bring a request: a client that has become idle less than `quietMs` ago and was not told to close, a head that is not whole,
	 * a data thread that is being replaced.
	 */
	expects(quietMs: number): boolean;
	/** Requests that have ever arrived, probes not counted; only ever grows. */
	arrived(): number;
	/** Mean gap between the requests of the last minute, ms; `undefined` when none came. */
	meanGapMs(): number | undefined;
	/** Sockets of the app that came past us and are waited for; `undefined` while nobody has been able to look since the drain began, and it matters. */
	bypass(): number | undefined;
}

export interface DrainPlan {
	/** From `begin` to the end, whatever happens. */
	readonly budgetMs: number;
	/** Shortest announcement. 0 where no load balancer has to learn that we leave: `outrigger run`. */
	readonly announceMinMs: number;
	/** How long no request may have arrived, at least and at most. */
	readonly quietMinMs: number;
	readonly quietMaxMs: number;
	/** How long event streams are left alone, from `begin`. */
	readonly streamsMs: number;
}

/** What a drain asks the data threads for. */
export interface DrainActs {
	/** Close the connections that have been idle for so long. */
	closeIdle(idleMs: number): void;
	closeStreams(): void;
}

/** Stop without a drain, or in the middle of one: a native sidecar's SIGTERM, a second signal, a fault of our own, a test. */
export type StopReason = "second_signal" | "fault" | "sigterm" | "sigint" | "sighup" | "asked";
export type DrainEnd = "idle" | "deadline" | "app_gone" | StopReason;

export interface DrainOutcome {
	readonly startedBy: MoveReason;
	readonly ended: DrainEnd;
	/** Whether it was a drain, or a stop without one. */
	readonly isDrain: boolean;
	/** Exchanges, event streams included, that were in flight at the end: the app's stop ends them, or ours. */
	readonly left: number;
	/** The time that all of it had, ms. */
	readonly budgetMs: number;
	readonly announcedMs: number;
	readonly drainedMs: number;
	/** How long nobody had to come, ms. */
	readonly quietMs: number;
	/** Who held the drain at its end. */
	readonly leases: number;
	/** Sockets that came past us: most that were seen at a time, and those that were left. */
	readonly bypassSeen: number;
	readonly bypassLeft: number;
}

/** What a drain that is under way still waits for. */
export interface DrainProgress {
	readonly startedBy: MoveReason;
	readonly phase: "announcing" | "draining" | "closing" | "over";
	/** Milliseconds left. */
	readonly remainingMs: number;
	/** In words: `2 exchanges in flight`. */
	readonly waitingFor: readonly string[];
}

export interface DrainParts {
	readonly state: LifecycleState;
	readonly drain: Drain;
	readonly reading: DrainReading;
	readonly plan: DrainPlan;
	readonly acts: DrainActs;
	/** For how long a stop hook of the app has been waiting for the drain to begin, ms: so much of the budget is gone. */
	readonly lateMs: () => number;
	readonly clock: Clock;
	readonly scheduler: Scheduler;
	readonly log: Logger;
}

/** How often the counters are looked at: the most by which a drain lasts longer than it must. */
export const LOOK_MS = 20;
/** What the clients of an app whose process has ended get, to receive the answers that say so; and what is in flight when the agent has made a mistake. */
export const HURRY_MS = 1_000;
/** From closing idle connections to believing that nobody was just sending on one: more than a data thread's sweep, which says who is idle. */
export const CLOSING_MS = 150;
/** Between two askings to close streams: one may begin after the first. */
const STREAMS_AGAIN_MS = 250;
/** Quiet is so many mean gaps without a request. */
const QUIET_GAPS = 3;
/** Arrivals while leaving of which the mean gap is taken: so many at most, and not of fewer. */
const LAST_ARRIVALS_MAX = 5;
const LAST_ARRIVALS_MIN = 3;

type Phase =
	| { readonly at: "waiting" }
	| { readonly at: "announcing"; readonly untilMs: number }
	| { readonly at: "draining" }
	| { readonly at: "closing"; readonly untilMs: number; readonly arrived: number }
	| { readonly at: "over"; readonly outcome: DrainOutcome };

const WAITING: Phase = { at: "waiting" };
const DRAINING: Phase = { at: "draining" };

export class DrainSequence {
	readonly #parts: DrainParts;
	readonly #over = Promise.withResolvers<DrainOutcome>();
	#phase: Phase = WAITING;
	#startedBy: MoveReason = "asked";
	#deadline: Deadline;
	#beganMs = 0;
	#drainingSinceMs: number | undefined;
	#arrivedSeen = 0;
	#lastArrivalMs = 0;
	/** Monotonic ms of the last looks that saw somebody arrive, and how many had arrived by then. */
	#lastArrivals: { readonly atMs: number; readonly arrived: number }[] = [];
	#gapBeforeMs: number | undefined;
	#isDrain = false;
	/** Why nobody is announced to, and no quiet waited for, any more. */
	#hurriedBy: "app_gone" | "fault" | undefined;
	/** Whether only what is in flight is waited for, and that for `HURRY_MS`. */
	#isShort = false;
	#bypassSeen = 0;
	#streamsAskedMs = Number.NEGATIVE_INFINITY;
	#cancelLook: Cancel | undefined;

	constructor(parts: DrainParts) {
		this.#parts = parts;
		this.#deadline = Deadline.after(parts.clock, Number.POSITIVE_INFINITY);
	}

	get hasBegun(): boolean {
		return this.#phase.at !== "waiting";
	}

	/** Resolves when the drain is over, whoever begins it; never rejects. */
	get over(): Promise<DrainOutcome> {
		return this.#over.promise;
	}

	/** The outcome once it is over. */
	get outcome(): DrainOutcome | undefined {
		return this.#phase.at === "over" ? this.#phase.outcome : undefined;
	}

	/** By when it is over; `undefined` until it has begun. */
	get deadline(): Deadline | undefined {
		return this.hasBegun ? this.#deadline : undefined;
	}

	/** `undefined` until it has begun. */
	progress(): DrainProgress | undefined {
		const phase = this.#phase;
		if (phase.at === "waiting") return undefined;
		return {
			startedBy: this.#startedBy,
			phase: phase.at,
			remainingMs: phase.at === "over" ? 0 : this.#deadline.remainingMs(),
			waitingFor: phase.at === "over" ? [] : this.#waitingFor(phase),
		};
	}

	/** Begins the drain, or joins the one that has begun. Resolves when it is over; never rejects. */
	begin(startedBy: MoveReason): Promise<DrainOutcome> {
		if (this.#phase.at !== "waiting") return this.#over.promise;
		const { clock, plan, state, drain, reading, log, lateMs } = this.#parts;
		this.#startedBy = startedBy;
		this.#beganMs = clock.monotonicMs();
		this.#lastArrivalMs = this.#beganMs;
		this.#arrivedSeen = reading.arrived();
		this.#gapBeforeMs = reading.meanGapMs();
		// The kubelet's clock runs since it asked for the hooks, and that of the app may have come first.
		const budgetMs = Math.max(0, plan.budgetMs - lateMs());
		this.#deadline = Deadline.after(clock, budgetMs);
		if (!state.canMoveTo("announcing")) {
			this.#finish("fault"); // somebody has stopped the agent without a drain
			return this.#over.promise;
		}
		this.#isDrain = true;
		this.#phase = { at: "announcing", untilMs: this.#beganMs + Math.min(plan.announceMinMs, budgetMs) };
		log.info("the drain begins", {
			reason: startedBy,
			in_flight: reading.inFlight(),
			streams: reading.streams(),
			budget_ms: Math.round(budgetMs),
			quiet_ms: Math.round(this.#quietMs()),
		});
		state.set({ at: "announcing", deadline: this.#deadline }, startedBy);
		drain.move("leaving", this.#deadline);
		// Never over in the turn in which it began: the data threads have not yet heard of it.
		this.#lookLater();
		return this.#over.promise;
	}

	/**
	 * Nobody listens at the app's port while we leave. Nobody need be told that we leave, and no quiet is waited for, since nothing new can be served. But a server that
	 * stops gracefully closes its port first: what it still has in flight, and leases, have the whole of the budget. If its process is gone, they end by themselves.
	 */
	appRefuses(): void {
		if (!this.hasBegun || this.#phase.at === "over") return;
		this.#hurriedBy ??= "app_gone";
		this.#look();
	}

	/**
	 * Nobody is waited for any more but what is in flight, and that for a second: the app's process has ended, or the agent has made a mistake and
	 * ends. Begins a drain if there is none.
	 */
	hurry(why: "app_gone" | "fault"): Promise<DrainOutcome> {
		this.#hurriedBy ??= why;
		this.#isShort = true;
		const over = this.begin(why);
		if (this.#phase.at !== "over") {
			this.#deadline = this.#deadline.within(HURRY_MS);
			this.#look();
		}
		return over;
	}

	/** Ends it in this turn, with whatever is in flight; also when none has begun. */
	endNow(why: StopReason): Promise<DrainOutcome> {
		if (this.#phase.at === "waiting") {
			this.#beganMs = this.#parts.clock.monotonicMs();
			this.#startedBy = why;
		}
		if (this.#phase.at !== "over") this.#finish(why);
		return this.#over.promise;
	}

	#lookLater(): void {
		this.#cancelLook?.();
		this.#cancelLook = this.#parts.scheduler.after(Math.min(LOOK_MS, this.#deadline.remainingMs()), () => this.#look());
	}

	#look(): void {
		const { state, drain, acts, clock } = this.#parts;
		const nowMs = clock.monotonicMs();
		this.#noteArrivals(nowMs);
		this.#bypassSeen = Math.max(this.#bypassSeen, this.#parts.reading.bypass() ?? 0);
		const phase = this.#phase;
		if (phase.at === "waiting" || phase.at === "over") return;
		if (state.isStopping) {
			this.#finish("fault"); // somebody has stopped the agent past us
			return;
		}
		const isOutOfTime = this.#deadline.remainingMs() === 0;
		this.#endStreams(nowMs);
		switch (phase.at) {
			case "announcing":
				if (nowMs < phase.untilMs && this.#hurriedBy === undefined && !isOutOfTime) break;
				this.#phase = DRAINING;
				this.#drainingSinceMs = nowMs;
				state.set({ at: "draining", deadline: this.#deadline }, this.#hurriedBy ?? "announced");
				drain.move("finishing");
				this.#look(); // it may be over already
				return;
			case "draining":
				if (!this.#isEmpty() || !this.#isQuiet(nowMs)) {
					if (!isOutOfTime) break;
					this.#finish(this.#isShort ? (this.#hurriedBy ?? "deadline") : "deadline");
					return;
				}
				acts.closeIdle(this.#quietMs());
				if (this.#hurriedBy !== undefined || isOutOfTime) {
					this.#finish(this.#hurriedBy ?? "idle");
					return;
				}
				this.#phase = { at: "closing", untilMs: nowMs + CLOSING_MS, arrived: this.#arrivedSeen };
				break;
			case "closing":
				if (this.#arrivedSeen !== phase.arrived || !this.#isEmpty()) this.#phase = DRAINING;
				else if (nowMs >= phase.untilMs || isOutOfTime) {
					this.#finish(this.#hurriedBy ?? "idle");
					return;
				}
				break;
			default:
				unreachable(phase);
		}
		this.#lookLater();
	}

	#noteArrivals(nowMs: number): void {
		const arrived = this.#parts.reading.arrived();
		if (arrived === this.#arrivedSeen) return;
		this.#arrivedSeen = arrived;
		this.#lastArrivalMs = nowMs;
		this.#lastArrivals.push({ atMs: nowMs, arrived });
		if (this.#lastArrivals.length > LAST_ARRIVALS_MAX) this.#lastArrivals.shift();
	}

	#endStreams(nowMs: number): void {
		const { reading, plan, acts } = this.#parts;
		if (reading.streams() === 0) return;
		if (this.#hurriedBy === undefined && nowMs - this.#beganMs < plan.streamsMs) return;
		if (nowMs - this.#streamsAskedMs < STREAMS_AGAIN_MS) return;
		this.#streamsAskedMs = nowMs;
		acts.closeStreams();
	}

	#isEmpty(): boolean {
		const { reading, drain } = this.#parts;
		if (reading.inFlight() > 0 || reading.streams() > 0) return false;
		if (this.#isShort) return true;
		if (drain.inHand > 0) return false;
		// Who may still come, and who came past us, is nothing to an app that takes nobody.
		return this.#hurriedBy !== undefined || (reading.bypass() === 0 && !reading.expects(this.#quietMs()));
	}

	#isQuiet(nowMs: number): boolean {
		return this.#hurriedBy !== undefined || nowMs - this.#lastArrivalMs >= this.#quietMs();
	}

	#quietMs(): number {
		const { quietMinMs, quietMaxMs } = this.#parts.plan;
		const gapMs = Math.max(this.#gapBeforeMs ?? 0, this.#gapNowMs());
		return Math.min(quietMaxMs, Math.max(quietMinMs, QUIET_GAPS * gapMs));
	}

	/** Mean gap among the last arrivals since we leave, ms; 0 while there are too few. */
	#gapNowMs(): number {
		const first = this.#lastArrivals[0];
		const last = this.#lastArrivals.at(-1);
		if (first === undefined || last === undefined || this.#lastArrivals.length < LAST_ARRIVALS_MIN) return 0;
		return (last.atMs - first.atMs) / (last.arrived - first.arrived);
	}

	#waitingFor(phase: Phase): readonly string[] {
		const { reading, drain, plan, clock } = this.#parts;
		const nowMs = clock.monotonicMs();
		const quietLeftMs = this.#isQuiet(nowMs) ? 0 : this.#lastArrivalMs + this.#quietMs() - nowMs;
		return [
			...(phase.at === "announcing" ? [`the announcement: ${seconds(phase.untilMs - nowMs)} more`] : []),
			...counted(reading.inFlight(), "exchange in flight", "exchanges in flight"),
			...(reading.expects(this.#quietMs()) ? ["clients that may just be sending"] : []),
			...counted(reading.streams(), "event stream", "event streams").map(
				(text) => `${text}, closed in ${seconds(this.#beganMs + plan.streamsMs - nowMs)}`,
			),
			...counted(drain.inHand, "lease", "leases"),
			...past(reading.bypass()),
			...(quietLeftMs > 0 ? [`${seconds(quietLeftMs)} more without a request`] : []),
		];
	}

	#finish(ended: DrainEnd): void {
		const { clock, state, drain, reading, plan } = this.#parts;
		this.#cancelLook?.();
		this.#cancelLook = undefined;
		const nowMs = clock.monotonicMs();
		const drainingSinceMs = this.#drainingSinceMs ?? nowMs;
		const outcome: DrainOutcome = {
			startedBy: this.#startedBy,
			ended,
			isDrain: this.#isDrain,
			left: reading.inFlight() + reading.streams(),
			budgetMs: plan.budgetMs,
			announcedMs: drainingSinceMs - this.#beganMs,
			drainedMs: nowMs - drainingSinceMs,
			quietMs: this.#quietMs(),
			leases: drain.inHand,
			bypassSeen: this.#bypassSeen,
			bypassLeft: reading.bypass() ?? 0,
		};
		this.#phase = { at: "over", outcome };
		if (state.canMoveTo("stopping")) state.set({ at: "stopping" }, ended);
		drain.move("cutting", this.#deadline);
		this.#over.resolve(outcome);
	}
}

function seconds(ms: number): string {
	return `${(Math.max(0, ms) / 1000).toFixed(1)} s`;
}

function past(bypass: number | undefined): readonly string[] {
	if (bypass === undefined) return ["a look at the app's connections"];
	return counted(bypass, "connection that came past us", "connections that came past us");
}

function counted(count: number, one: string, many: string): readonly string[] {
	return count === 0 ? [] : [`${count} ${count === 1 ? one : many}`];
}
