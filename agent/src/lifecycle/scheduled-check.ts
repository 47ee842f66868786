import type { Clock } from "../foundation/clock.ts";
import type { Cancel, Scheduler } from "../foundation/scheduler.ts";
import type { HealthFinding } from "./health-tree.ts";

/**
 * Asks once. Should end soon after `signal` says so, whatever it is waiting for; what it throws is a failed check. Its finding is never `unknown`.
 */
export type Check = (signal: AbortSignal) => Promise<HealthFinding>;

export interface CheckPace {
	/** From the start of one asking to that of the next, ms; ±10 %, so that many agents do not ask in step. */
	readonly intervalMs: number;
	/** For a whole asking: name, connection, answer, body. */
	readonly timeoutMs: number;
	/** Failures in a row after which what was good counts as failed. */
	readonly fall: number;
	/** Good answers in a row after which what had failed counts as good. */
	readonly rise: number;
	/** In place of `intervalMs` after a failure, and until it counts as good again. */
	readonly retryMs: number;
}

export interface ScheduledCheckParts {
	readonly clock: Clock;
	readonly scheduler: Scheduler;
	/** In [0, 1). */
	readonly random: () => number;
	readonly check: Check;
	/** What counts after each asking, with fall and rise taken into account. */
	readonly onFinding: (finding: HealthFinding) => void;
}

interface Asking {
	readonly round: number;
	readonly abort: () => void;
	readonly ended: Promise<void>;
}

const JITTER = 0.1;

/**
 * One check in the background: never two askings at a time, each cut at its timeout, the first answer counts at once, and then it takes `fall` failures or
 * `rise` good answers in a row to turn. Who wants to know the result is told it; nobody waits here.
 *
 *   stopped ──start──► asking ──answer, timeout──► waiting ──interval──► asking …
 *
 * After `stop` nothing is told any more, also not by an asking that was out.
 */
export class ScheduledCheck {
	readonly #pace: CheckPace;
	readonly #parts: ScheduledCheckParts;
	#isRunning = false;
	/** Raised by start and stop: an answer of an earlier round is nobody's. */
	#round = 0;
	/** The asking whose check has not ended yet, which may be after its timeout or after `stop`. */
	#out: Asking | undefined;
	#cancelNext: Cancel | undefined;
	#isUp: boolean | undefined;
	/** Good answers (positive) or failures (negative) in a row. */
	#streak = 0;
	#lastGood: HealthFinding = { status: "pass" };
	#lastBad: HealthFinding = { status: "fail" };

	constructor(pace: CheckPace, parts: ScheduledCheckParts) {
		this.#pace = pace;
		this.#parts = parts;
	}

	/** Forgets what it knew and asks at once. */
	start(): void {
		if (this.#isRunning) return;
		this.#isRunning = true;
		this.#round += 1;
		this.#isUp = undefined;
		this.#streak = 0;
		this.#askAfter(0);
	}

	stop(): void {
		this.#isRunning = false;
		this.#round += 1;
		this.#cancelNext?.();
		this.#cancelNext = undefined;
		this.#out?.abort();
	}

	#askAfter(ms: number): void {
		this.#cancelNext?.();
		this.#cancelNext = this.#parts.scheduler.after(ms, () => {
			this.#cancelNext = undefined;
			this.#ask();
		});
	}

	#ask(): void {
		const round = this.#round;
		const startedMs = this.#parts.clock.monotonicMs();
		if (this.#out !== undefined) {
			this.#waitFor(this.#out);
			return;
		}
		const controller = new AbortController();
		const { timeoutMs } = this.#pace;
		let isAnswered = false;
		const answer = (finding: HealthFinding): void => {
			if (isAnswered) return;
			isAnswered = true;
			cancelTimeout();
			if (round !== this.#round) return;
			this.#take(startedMs, finding);
		};
		const cancelTimeout = this.#parts.scheduler.after(timeoutMs, () => {
			answer({ status: "fail", reason: "timeout", detail: `no answer within ${timeoutMs} ms` });
			controller.abort();
		});
		const ended = this.#parts
			.check(controller.signal)
			.then(answer, (error: unknown) =>
				answer({ status: "fail", reason: "internal", detail: error instanceof Error ? error.message : String(error) }),
			)
			.finally(() => {
				this.#out = undefined;
			});
		const abort = (): void => {
			cancelTimeout();
			controller.abort();
		};
		this.#out = { round, abort, ended };
	}

	/**
	 * The asking before was told to end, and has not. Most do within this turn, and then it goes on. One that cannot be cut is not given a
	 * second one beside it: within its own round it is a failure more, every `retryMs`.
	 */
	#waitFor(out: Asking): void {
		const round = this.#round;
		const startedMs = this.#parts.clock.monotonicMs();
		const cancel =
			out.round === round
				? this.#parts.scheduler.after(this.#pace.retryMs, () => {
						this.#cancelNext = undefined;
						this.#take(startedMs, { status: "fail", reason: "timeout", detail: "the last asking has not ended yet" });
					})
				: () => {};
		this.#cancelNext = cancel;
		void out.ended.then(() => {
			if (this.#cancelNext !== cancel) return; // stopped, or given up waiting
			cancel();
			this.#cancelNext = undefined;
			this.#ask();
		});
	}

	#take(startedMs: number, finding: HealthFinding): void {
		const told = this.#judge(finding);
		const { clock, random, onFinding } = this.#parts;
		const nowMs = clock.monotonicMs();
		const { intervalMs, retryMs } = this.#pace;
		const pauseMs = this.#streak < 0 || this.#isUp === false ? retryMs : intervalMs;
		const jitter = 1 + JITTER * (2 * random() - 1);
		this.#askAfter(Math.max(0, startedMs + pauseMs * jitter - nowMs));
		onFinding(told); // last: it may stop us
	}

	#judge(finding: HealthFinding): HealthFinding {
		const { fall, rise } = this.#pace;
		if (finding.status !== "fail") {
			this.#streak = Math.max(0, this.#streak) + 1;
			this.#lastGood = finding;
			if (this.#isUp === false && this.#streak < rise) {
				return {
					...this.#lastBad,
					detail: `${this.#streak} of ${rise} good answers since: ${this.#lastBad.detail ?? ""}`,
				};
			}
			this.#isUp = true;
			return finding;
		}
		this.#streak = Math.min(0, this.#streak) - 1;
		this.#lastBad = finding;
		if (this.#isUp === true && -this.#streak < fall) {
			return { ...this.#lastGood, detail: `${-this.#streak} of ${fall} failures: ${finding.detail ?? ""}` };
		}
		this.#isUp = false;
		return finding;
	}
}
