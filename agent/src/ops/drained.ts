import type { IncomingMessage, ServerResponse } from "node:http";
import { OPS_PATHS } from "@outrigger/contract";
import type { Clock } from "../foundation/clock.ts";
import type { Logger } from "../foundation/logger.ts";
import type { Cancel, Scheduler } from "../foundation/scheduler.ts";
import { type PulledMetric, pulledMetric } from "../telemetry/registry.ts";
import type { OpsRoute } from "./server.ts";

/**
 * `GET /lifecycle/drained`: the stop hook of the app's container. It waits and changes nothing; the kubelet sends the app its SIGTERM
 * when it is answered.
 *
 *   request ──► no drain yet ──drain begins──► drain ──over──────────────► drained
 *                    │                           └─────its deadline + 1 s─► overdue     (a mistake of ours: said in the log)
 *                    └──none began in time───────────────────────────────► restarting  (this container alone is being restarted)
 *   from both: the agent stops ──► stopping; the caller goes away ──► forgotten, as if it had never been there
 *
 * The kubelet looks at no status and never gives up before the grace period is over, so all answers are 200 and say in JSON what
 * happened, for people. As many may wait as the server lets (`ops.waiters`); each has its own time to wait for the beginning, and
 * all share the end. Once it is over everybody is answered at once, with the same.
 */
export type DrainedOutcome = "drained" | "restarting" | "stopping" | "overdue";

export interface DrainedParts {
	/** Tells `listener` in the turn in which the drain begins; not when the agent stops without one. What it returns ends that. */
	readonly whenBegun: (listener: () => void) => () => void;
	/** Resolves when the drain is over, or when the agent stops without one; `ended` says in a word how. Never rejects. */
	readonly over: Promise<{ readonly ended: string }>;
	/** What the drain that has begun has left until its deadline, ms. */
	readonly remainingMs: () => number;
	/** `drain.startWithin`. */
	readonly startWithinMs: number;
	/** Told before the answer `restarting`, once for each caller who gets it: anybody can be one, the kubelet or a neighbour. */
	readonly onRestart: () => void;
	readonly clock: Clock;
	readonly scheduler: Scheduler;
	readonly log: Logger;
}

/**
 * After `drain.startWithin` one more look. On a starved CPU this process may itself have stood still: timers that are late run before the
 * sockets are read, and in one of these may lie the request that begins the drain.
 */
export const LAST_LOOK_MS = 100;
/** How long after its deadline a drain is believed to end by itself. */
export const OVERDUE_MS = 1_000;
/** That a hook was answered without a drain is said once in so long at most, since anybody may be one. */
const RESTARTING_SAID_EVERY_MS = 15_000;
/** A drain that begins so soon after `restarting` was answered most likely was that pod's all the time. */
const REGRET_MS = 15_000;

interface Answer {
	readonly outcome: DrainedOutcome;
	readonly ended?: string;
}

interface Waiter {
	readonly request: IncomingMessage;
	readonly response: ServerResponse;
	/** Kept, since a socket that is closed no longer knows it. */
	readonly from: string | undefined;
	readonly sinceMs: number;
	cancel: Cancel;
}

export class DrainedRoute implements OpsRoute {
	readonly path = OPS_PATHS.drained;
	readonly waits = true;
	readonly #parts: DrainedParts;
	readonly #waiters = new Set<Waiter>();
	readonly #answers: Record<DrainedOutcome, number> = { drained: 0, restarting: 0, stopping: 0, overdue: 0 };
	readonly #unsubscribe: () => void;
	#hasBegun = false;
	#answer: Answer | undefined;
	#cancelOverdue: Cancel | undefined;
	#restartAnsweredMs: number | undefined;
	#restartingSaidMs = Number.NEGATIVE_INFINITY;

	/** Made before a drain can begin. */
	constructor(parts: DrainedParts) {
		this.#parts = parts;
		this.#unsubscribe = parts.whenBegun(() => this.#begun());
		void parts.over.then(({ ended }) =>
			this.#answerAll(this.#hasBegun ? { outcome: "drained", ended } : { outcome: "stopping" }),
		);
	}

	/** For the registry. */
	get pulledMetrics(): readonly PulledMetric[] {
		return [
			pulledMetric("outrigger_drained_waiters", (set) => set({}, this.#waiters.size)),
			pulledMetric("outrigger_drained_answers_total", (set) => {
				for (const [outcome, count] of Object.entries(this.#answers)) set({ outcome }, count);
			}),
		];
	}

	/** For how long the one that has been waiting longest does, ms; 0 when nobody waits. The kubelet's clock runs at least since then. */
	get waitedMs(): number {
		let longestMs = 0;
		for (const waiter of this.#waiters) longestMs = Math.max(longestMs, this.#waitedMs(waiter));
		return longestMs;
	}

	handle(request: IncomingMessage, response: ServerResponse): void {
		const { clock, scheduler, log, startWithinMs } = this.#parts;
		const waiter: Waiter = {
			request,
			response,
			from: request.socket.remoteAddress,
			sinceMs: clock.monotonicMs(),
			cancel: NOTHING,
		};
		if (this.#answer !== undefined) {
			// For a caller who asks without end this must not be a line each at the usual level.
			log.debug("a stop hook is answered at once", { from: waiter.from, ...this.#answer });
			this.#send(waiter, this.#answer);
			return;
		}
		if (!this.#hasBegun) waiter.cancel = scheduler.after(startWithinMs, () => this.#lookOnceMore(waiter));
		this.#waiters.add(waiter);
		response.once("close", () => this.#forget(waiter));
		log.debug("a stop hook waits for the drain", {
			from: waiter.from,
			waiting: this.#waiters.size,
			has_begun: this.#hasBegun,
		});
	}

	/** Answers everybody who still waits, and whoever comes later. Safe twice. */
	stop(): void {
		this.#answerAll({ outcome: "stopping" });
	}

	#begun(): void {
		const { clock, log } = this.#parts;
		if (this.#hasBegun || this.#answer !== undefined) return;
		this.#hasBegun = true;
		for (const waiter of this.#waiters) waiter.cancel();
		this.#watchDeadline();
		if (this.#restartAnsweredMs === undefined) return;
		const lateMs = clock.monotonicMs() - this.#restartAnsweredMs;
		if (lateMs > REGRET_MS) return;
		log.warn(
			"the drain begins after a stop hook was answered because none began: if both belong to one stop, its app ends too early, and drain.startWithin is too short for this node",
			{ late_ms: Math.round(lateMs) },
		);
	}

	#watchDeadline(): void {
		const { scheduler, remainingMs, log } = this.#parts;
		this.#cancelOverdue = scheduler.after(remainingMs() + OVERDUE_MS, () => {
			if (remainingMs() > 0) {
				this.#watchDeadline();
				return;
			}
			log.error("the drain has not ended by its deadline: stop hooks are answered all the same", {
				waiting: this.#waiters.size,
			});
			this.#answerAll({ outcome: "overdue" });
		});
	}

	#lookOnceMore(waiter: Waiter): void {
		waiter.cancel = this.#parts.scheduler.after(LAST_LOOK_MS, () => {
			this.#restartAnsweredMs = this.#parts.clock.monotonicMs();
			this.#parts.onRestart(); // first, since the app's SIGTERM follows the answer
			this.#end(waiter, { outcome: "restarting" });
		});
	}

	#answerAll(answer: Answer): void {
		if (this.#answer !== undefined) return;
		this.#answer = answer;
		this.#unsubscribe();
		this.#cancelOverdue?.();
		for (const waiter of [...this.#waiters]) this.#end(waiter, answer);
	}

	#end(waiter: Waiter, answer: Answer): void {
		if (!this.#waiters.delete(waiter)) return;
		waiter.cancel();
		const fields = { from: waiter.from, ...answer, waited_ms: Math.round(this.#waitedMs(waiter)) };
		if (this.#isSaid(answer)) this.#parts.log.info("a stop hook is answered", fields);
		else this.#parts.log.debug("a stop hook is answered", fields);
		this.#send(waiter, answer);
	}

	/** The others come once: with the end of the drain, or of the agent, and for no more than may wait. */
	#isSaid({ outcome }: Answer): boolean {
		if (outcome !== "restarting") return true;
		const nowMs = this.#parts.clock.monotonicMs();
		if (nowMs - this.#restartingSaidMs < RESTARTING_SAID_EVERY_MS) return false;
		this.#restartingSaidMs = nowMs;
		return true;
	}

	#forget(waiter: Waiter): void {
		if (!this.#waiters.delete(waiter)) return; // it was answered
		waiter.cancel();
		this.#parts.log.debug("a stop hook went away before its answer", {
			from: waiter.from,
			waited_ms: Math.round(this.#waitedMs(waiter)),
		});
	}

	#waitedMs({ sinceMs }: Waiter): number {
		return this.#parts.clock.monotonicMs() - sinceMs;
	}

	#send(waiter: Waiter, answer: Answer): void {
		this.#answers[answer.outcome] += 1;
		const body = `${JSON.stringify({ ...answer, waitedMs: Math.round(this.#waitedMs(waiter)) })}\n`;
		waiter.response.writeHead(200, {
			"content-type": "application/json",
			"cache-control": "no-store",
			"content-length": Buffer.byteLength(body),
		});
		waiter.response.end(waiter.request.method === "HEAD" ? undefined : body);
	}
}

const NOTHING: Cancel = () => {};
