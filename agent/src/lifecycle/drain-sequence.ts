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
 *   waiting ──begin──► announcing ──minimum over──► draining ──idle, or out of time──► over
 *      └──────────────────────┴────────── endNow ──────┴──────────────────────────────►▲
 *
 * announcing: readiness says 503, answers end their connections, everything is served. draining: the same, and the drain ends as
 * soon as nothing is in flight, nobody holds it (`Drain.enter`) and no request has arrived for the quiet time. It watches the
 * traffic from the beginning, so that quiet which began while announcing counts. Both end when the budget does. An app that is
 * gone has nothing to wait for but the answers that tell the clients so: no announcement, no quiet time, a short limit.
 *
 * Whatever wants the agent to leave calls `begin`, as often as it likes: there is one drain. It looks at the traffic in short steps,
 * synchronously and without I/O; it stops nothing itself: it moves the state and the `Drain`, and others follow these.
 */
export interface DrainReading {
	/** Exchanges that have begun and are not over, probes not counted. */
	inFlight(): number;
	/** Requests that have ever arrived, probes not counted; only ever grows. */
	arrived(): number;
}

export interface DrainPlan {
	/** From `begin` to the end, whatever happens. */
	readonly budgetMs: number;
	/** Shortest announcement. 0 where no load balancer has to learn that we leave: `outrigger run`. */
	readonly announceMinMs: number;
	/** How long no request may have arrived. */
	readonly quietMs: number;
}

/** Stop without a drain, or in the middle of one: a native sidecar's SIGTERM, a second signal, a fault of our own, a test. */
export type StopReason = "second_signal" | "fault" | "sigterm" | "sigint" | "sighup" | "asked";
export type DrainEnd = "idle" | "deadline" | "app_gone" | StopReason;

export interface DrainOutcome {
	readonly startedBy: MoveReason;
	readonly ended: DrainEnd;
	/** Exchanges that were in flight at the end, and so are cut. */
	readonly cut: number;
	/** Requests that arrived after the drain had begun, and were served. */
	readonly arrivedWhileLeaving: number;
	readonly announcedMs: number;
	readonly drainedMs: number;
}

export interface DrainParts {
	readonly state: LifecycleState;
	readonly drain: Drain;
	readonly reading: DrainReading;
	readonly plan: DrainPlan;
	readonly clock: Clock;
	readonly scheduler: Scheduler;
	readonly log: Logger;
}

/** How often the counters are looked at: the most by which a drain lasts longer than it must. */
export const LOOK_MS = 20;
/** What the clients of an app that is gone get, to receive the answers that say so. */
export const APP_GONE_MS = 1_000;

type Phase =
	| { readonly at: "waiting" }
	| { readonly at: "announcing"; readonly untilMs: number }
	| { readonly at: "draining"; readonly sinceMs: number }
	| { readonly at: "over"; readonly outcome: DrainOutcome };

export class DrainSequence {
	readonly #parts: DrainParts;
	readonly #over = Promise.withResolvers<DrainOutcome>();
	#phase: Phase = { at: "waiting" };
	#startedBy: MoveReason = "asked";
	#deadline: Deadline;
	#beganMs = 0;
	#arrivedAtBegin = 0;
	#arrivedSeen = 0;
	#lastArrivalMs = 0;
	#isAppGone = false;
	#cancelLook: Cancel | undefined;

	constructor(parts: DrainParts) {
		this.#parts = parts;
		this.#deadline = Deadline.after(parts.clock, Number.POSITIVE_INFINITY);
	}

	get hasBegun(): boolean {
		return this.#phase.at !== "waiting";
	}

	/** Begins the drain, or joins the one that has begun. Resolves when it is over; never rejects. */
	begin(startedBy: MoveReason): Promise<DrainOutcome> {
		if (this.#phase.at !== "waiting") return this.#over.promise;
		const { clock, plan, state, drain, reading, log } = this.#parts;
		this.#startedBy = startedBy;
		this.#beganMs = clock.monotonicMs();
		this.#lastArrivalMs = this.#beganMs;
		this.#arrivedAtBegin = reading.arrived();
		this.#arrivedSeen = this.#arrivedAtBegin;
		this.#deadline = Deadline.after(clock, plan.budgetMs);
		if (!state.canMoveTo("announcing")) {
			this.#finish("fault"); // somebody has stopped the agent without a drain
			return this.#over.promise;
		}
		this.#phase = { at: "announcing", untilMs: this.#beganMs + Math.min(plan.announceMinMs, plan.budgetMs) };
		log.info("the drain begins", {
			reason: startedBy,
			in_flight: reading.inFlight(),
			budget_ms: Math.round(plan.budgetMs),
		});
		state.set({ at: "announcing", deadline: this.#deadline }, startedBy);
		drain.move("leaving", this.#deadline);
		// Never over in the turn in which it began: the data threads have not yet heard of it.
		this.#lookLater();
		return this.#over.promise;
	}

	/** The app's process has ended, or its port refuses while we leave. Begins a drain if there is none. */
	appGone(): Promise<DrainOutcome> {
		this.#isAppGone = true;
		const over = this.begin("app_gone");
		if (this.#phase.at !== "over") {
			this.#deadline = this.#deadline.within(APP_GONE_MS);
			this.#look();
		}
		return over;
	}

	/** Ends it in this turn, with whatever is in flight; also when none has begun. */
	endNow(why: StopReason): Promise<DrainOutcome> {
		if (this.#phase.at === "waiting") {
			this.#beganMs = this.#parts.clock.monotonicMs();
			this.#arrivedAtBegin = this.#parts.reading.arrived();
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
		const { clock, plan, state, drain, reading } = this.#parts;
		const nowMs = clock.monotonicMs();
		const arrived = reading.arrived();
		if (arrived !== this.#arrivedSeen) {
			this.#arrivedSeen = arrived;
			this.#lastArrivalMs = nowMs;
		}
		const isOutOfTime = this.#deadline.remainingMs() === 0;
		const phase = this.#phase;
		switch (phase.at) {
			case "waiting":
			case "over":
				break;
			case "announcing":
				if (state.isStopping) this.#finish("fault");
				else if (nowMs < phase.untilMs && !this.#isAppGone && !isOutOfTime) this.#lookLater();
				else {
					this.#phase = { at: "draining", sinceMs: nowMs };
					state.set({ at: "draining", deadline: this.#deadline }, this.#isAppGone ? "app_gone" : "announced");
					drain.move("finishing");
					this.#look(); // it may be over already
				}
				break;
			case "draining": {
				const isEmpty = reading.inFlight() === 0 && drain.inHand === 0;
				const isQuiet = this.#isAppGone || nowMs - this.#lastArrivalMs >= plan.quietMs;
				if (state.isStopping) this.#finish("fault");
				else if (isEmpty && isQuiet) this.#finish(this.#isAppGone ? "app_gone" : "idle");
				else if (isOutOfTime) this.#finish("deadline");
				else this.#lookLater();
				break;
			}
			default:
				unreachable(phase);
		}
	}

	#finish(ended: DrainEnd): void {
		const { clock, state, drain, reading, log } = this.#parts;
		this.#cancelLook?.();
		this.#cancelLook = undefined;
		const nowMs = clock.monotonicMs();
		const drainingSinceMs = this.#phase.at === "draining" ? this.#phase.sinceMs : nowMs;
		const outcome: DrainOutcome = {
			startedBy: this.#startedBy,
			ended,
			cut: reading.inFlight(),
			arrivedWhileLeaving: reading.arrived() - this.#arrivedAtBegin,
			announcedMs: drainingSinceMs - this.#beganMs,
			drainedMs: nowMs - drainingSinceMs,
		};
		const hadBegun = this.hasBegun;
		this.#phase = { at: "over", outcome };
		if (state.canMoveTo("stopping")) state.set({ at: "stopping" }, ended);
		drain.move("cutting", this.#deadline);
		const level = outcome.cut > 0 ? "warn" : "info";
		log[level](hadBegun ? "the drain is over" : "stopping without a drain", {
			reason: outcome.startedBy,
			ended,
			cut: outcome.cut,
			arrived_while_leaving: outcome.arrivedWhileLeaving,
			announced_ms: Math.round(outcome.announcedMs),
			drained_ms: Math.round(outcome.drainedMs),
		});
		this.#over.resolve(outcome);
	}
}

/** Exit code of an agent that has drained: 0 when everything was finished, 3 when something was cut. */
export function drainExitCode(outcome: Pick<DrainOutcome, "cut">): 0 | 3 {
	return outcome.cut > 0 ? 3 : 0;
}
