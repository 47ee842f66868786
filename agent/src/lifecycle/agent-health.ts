import type { Clock } from "../foundation/clock.ts";
import type { Component } from "../foundation/component.ts";
import type { Cancel, Scheduler } from "../foundation/scheduler.ts";
import type { Contributor, HealthTree } from "./health-tree.ts";

/**
 * How the agent itself is: one look a second at numbers that are there anyway.
 *
 *   data_threads   critical, live   fails when a data thread does not turn: the only thing that can fail liveness
 *   event_loop     warns            the control thread or a data thread comes late, again and again
 *   memory         warns            near the container's limit, before the kernel ends the process
 *   upstream       warns            connections to the app fail although its port accepts
 *
 * What warns begins and ends with some looks in a row, so that nothing flaps.
 */
export interface AgentHealthParts {
	readonly tree: HealthTree;
	readonly clock: Clock;
	readonly scheduler: Scheduler;
	/** Data threads that should turn and do not. Has to be asked regularly: it measures from one asking to the next. */
	readonly stalled: () => number;
	/** Delays of the data threads' event loops since the start: their sum in seconds, and how many there were. May fall when a thread is replaced. */
	readonly dataDelays: () => { readonly seconds: number; readonly count: number };
	/** Bytes of this process; `undefined` when the system cannot say just now. */
	readonly rssBytes: () => number | undefined;
	/** Of the container; `undefined` without one. */
	readonly memoryLimitBytes: number | undefined;
	/** Connections to the app that failed to come to be, since the start. */
	readonly connectFailures: () => number;
	/** Whether the app's port accepts: else failures are no surprise, and `app` tells of them. */
	readonly appAccepts: () => boolean;
}

const LOOK_MS = 1_000;
/** A timer that is this late means that the loop was held up, ms. */
const DELAY_WARN_MS = 100;
/** Looks in a row after which a warning begins, and after which it ends. */
const LOOKS_TO_WARN = 3;
const LOOKS_TO_END = 10;
/** After a look that is itself this late the whole process stood still (a stopped container, a starved node), and says nothing about a thread. */
const STOOD_STILL_MS = 1_000;
const MEMORY_WARN_SHARE = 0.9;
/** Lower than where the warning begins: memory goes up and down around a bound. */
const MEMORY_END_SHARE = 0.85;

/** On after so many looks in a row that say so, off after so many that do not. */
class Steady {
	readonly #toBegin: number;
	readonly #toEnd: number;
	#streak = 0;
	isOn = false;

	constructor(toBegin: number, toEnd: number) {
		this.#toBegin = toBegin;
		this.#toEnd = toEnd;
	}

	look(says: boolean): boolean {
		this.#streak = says === this.isOn ? 0 : this.#streak + 1;
		if (this.#streak >= (this.isOn ? this.#toEnd : this.#toBegin)) {
			this.isOn = says;
			this.#streak = 0;
		}
		return this.isOn;
	}
}

export class AgentHealth implements Component {
	readonly name = "agent-health";
	readonly #parts: AgentHealthParts;
	readonly #dataThreads: Contributor;
	readonly #eventLoop: Contributor;
	readonly #memory: Contributor;
	readonly #upstream: Contributor;
	readonly #isLate = new Steady(LOOKS_TO_WARN, LOOKS_TO_END);
	readonly #failsToConnect = new Steady(1, LOOKS_TO_END);
	#isNearLimit = false;
	#failuresBefore = 0;
	#delaysBefore = { seconds: 0, count: 0 };
	#cancelNext: Cancel | undefined;

	constructor(parts: AgentHealthParts) {
		this.#parts = parts;
		const { tree } = parts;
		this.#dataThreads = tree.add("agent", "data_threads", { critical: true, live: true });
		this.#eventLoop = tree.add("agent", "event_loop", { critical: false });
		this.#memory = tree.add("agent", "memory", { critical: false });
		this.#upstream = tree.add("agent", "upstream", { critical: false });
	}

	async start(): Promise<void> {
		if (this.#cancelNext !== undefined) return;
		this.#failuresBefore = this.#parts.connectFailures();
		this.#delaysBefore = this.#parts.dataDelays();
		this.#look(0);
	}

	async stop(): Promise<void> {
		this.#cancelNext?.();
		this.#cancelNext = undefined;
	}

	/** `delayMs`: how much later than asked for this look comes. */
	#look(delayMs: number): void {
		const dueMs = this.#parts.clock.monotonicMs() + LOOK_MS;
		this.#cancelNext = this.#parts.scheduler.after(LOOK_MS, () =>
			this.#look(Math.max(0, this.#parts.clock.monotonicMs() - dueMs)),
		);
		this.#lookAtThreads(delayMs);
		this.#lookAtLoops(delayMs);
		this.#lookAtMemory();
		this.#lookAtUpstream();
	}

	#lookAtThreads(delayMs: number): void {
		const stalled = this.#parts.stalled(); // also when it is not used: it remembers when it was asked
		if (delayMs >= STOOD_STILL_MS) return;
		this.#dataThreads.set(
			stalled === 0
				? { status: "pass" }
				: { status: "fail", reason: "data_thread_stalled", detail: `data threads that do not turn: ${stalled}` },
		);
	}

	#lookAtLoops(delayMs: number): void {
		const dataDelayMs = this.#meanDataDelayMs();
		const isLate = this.#isLate.look(delayMs > DELAY_WARN_MS || dataDelayMs > DELAY_WARN_MS);
		const detail = `delay: control thread ${Math.round(delayMs)} ms, data threads ${Math.round(dataDelayMs)} ms`;
		this.#eventLoop.set(
			isLate
				? {
						status: "warn",
						reason: "event_loop_late",
						detail,
						advice: "give the agent more CPU: annotation outrigger.dev/cpu, or without a CPU limit",
					}
				: { status: "pass", detail },
		);
	}

	/** Since the last look; a mean, because one long turn is no loop that is late. */
	#meanDataDelayMs(): number {
		const delays = this.#parts.dataDelays();
		const seconds = delays.seconds - this.#delaysBefore.seconds;
		const count = delays.count - this.#delaysBefore.count;
		this.#delaysBefore = delays;
		return count > 0 && seconds > 0 ? (seconds * 1_000) / count : 0;
	}

	#lookAtMemory(): void {
		const { memoryLimitBytes } = this.#parts;
		const bytes = this.#parts.rssBytes();
		if (bytes === undefined) return;
		const used = `${mebibytes(bytes)} MiB in use`;
		if (memoryLimitBytes === undefined) {
			this.#memory.set({ status: "pass", detail: `${used}, no limit` });
			return;
		}
		const share = bytes / memoryLimitBytes;
		this.#isNearLimit = share > (this.#isNearLimit ? MEMORY_END_SHARE : MEMORY_WARN_SHARE);
		const detail = `${used} of ${mebibytes(memoryLimitBytes)}`;
		this.#memory.set(
			this.#isNearLimit
				? {
						status: "warn",
						reason: "memory_near_limit",
						detail,
						advice: `raise the container's limit (annotation outrigger.dev/memory-limit), or lower limits.buffered`,
					}
				: { status: "pass", detail },
		);
	}

	#lookAtUpstream(): void {
		const failures = this.#parts.connectFailures();
		const more = failures - this.#failuresBefore;
		this.#failuresBefore = failures;
		const isFailing = this.#failsToConnect.look(more > 0 && this.#parts.appAccepts());
		this.#upstream.set(
			isFailing
				? {
						status: "warn",
						reason: "app_connect_fails",
						detail: "connections to the app failed although its port accepts: it may not accept fast enough",
					}
				: { status: "pass" },
		);
	}
}

function mebibytes(bytes: number): number {
	return Math.round(bytes / 1_048_576);
}
