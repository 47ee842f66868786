import type { Clock } from "../foundation/clock.ts";
import type { Component } from "../foundation/component.ts";
import { Deadline } from "../foundation/deadline.ts";
import type { Logger } from "../foundation/logger.ts";
import type { Scheduler } from "../foundation/scheduler.ts";

/**
 * The lives of the parts, in order. `start` starts one after the other, in the order of the list; `drain` and `stop` go the other way,
 * so that each part drains into one that still runs. A part that does not start in time, or fails to, stops all that were
 * started, itself included (`Component`: `stop` is still called). A part that does not stop in time is left behind and named: it must not keep
 * the others from stopping.
 */
export interface ComponentLimits {
	/** For each part to start, ms. */
	readonly startMs: number;
	/** For each part to stop, ms; all together have the deadline that `stop` is given. */
	readonly stopMs: number;
}

export interface StopProblem {
	readonly component: string;
	/** An error, or that it took too long. */
	readonly problem: string;
}

/** A part did not start. `cause` is what it threw; the parts before it have been stopped. */
export class ComponentStartError extends Error {
	override readonly name = "ComponentStartError";
	readonly component: string;

	constructor(component: string, cause: unknown) {
		super(`${component} could not be started: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
		this.component = component;
	}
}

export class ComponentRunner {
	readonly #components: readonly Component[];
	readonly #limits: ComponentLimits;
	readonly #clock: Clock;
	readonly #scheduler: Scheduler;
	readonly #log: Logger;
	/** Those whose `start` was called, in that order. */
	readonly #begun: Component[] = [];
	#stopping: Promise<readonly StopProblem[]> | undefined;

	constructor(
		components: readonly Component[],
		limits: ComponentLimits,
		clock: Clock,
		scheduler: Scheduler,
		log: Logger,
	) {
		this.#components = components;
		this.#limits = limits;
		this.#clock = clock;
		this.#scheduler = scheduler;
		this.#log = log;
	}

	/** Rejects with `ComponentStartError`; also when `stop` was called meanwhile. */
	async start(): Promise<void> {
		for (const component of this.#components) {
			if (this.#stopping !== undefined)
				throw new ComponentStartError(component.name, new Error("stopped while starting"));
			this.#begun.push(component);
			try {
				await this.#within(component.start(), this.#limits.startMs);
			} catch (error) {
				const failure = new ComponentStartError(component.name, error);
				await this.stop();
				throw failure;
			}
			this.#log.debug("started", { component: component.name });
		}
	}

	/** What was left at the deadline, by name of the part; empty when everything has drained. Never rejects. */
	async drain(deadline: Deadline): Promise<ReadonlyMap<string, number>> {
		const left = new Map<string, number>();
		for (const component of this.#begun.toReversed()) {
			if (component.drain === undefined) continue;
			try {
				const count = await this.#within(component.drain(deadline), deadline.remainingMs());
				if (count > 0) left.set(component.name, count);
			} catch (error) {
				left.set(component.name, Number.NaN);
				this.#log.warn("could not drain", { component: component.name, error: message(error) });
			}
		}
		return left;
	}

	/** Stops what was started, last first. Safe without `start`, safe twice: the second call joins the first. Never rejects. */
	stop(deadline?: Deadline): Promise<readonly StopProblem[]> {
		this.#stopping ??= this.#stopAll(deadline ?? Deadline.after(this.#clock, Number.POSITIVE_INFINITY));
		return this.#stopping;
	}

	async #stopAll(deadline: Deadline): Promise<readonly StopProblem[]> {
		const problems: StopProblem[] = [];
		for (const component of this.#begun.toReversed()) {
			try {
				await this.#within(component.stop(), Math.min(this.#limits.stopMs, deadline.remainingMs()));
			} catch (error) {
				problems.push({ component: component.name, problem: message(error) });
				this.#log.warn("could not stop", { component: component.name, error: message(error) });
			}
		}
		return problems;
	}

	#within<T>(work: Promise<T>, limitMs: number): Promise<T> {
		if (limitMs === Number.POSITIVE_INFINITY) return work;
		const { promise, resolve, reject } = Promise.withResolvers<T>();
		const cancel = this.#scheduler.after(limitMs, () => reject(new Error(`not done within ${Math.round(limitMs)} ms`)));
		work.then(resolve, reject).finally(cancel);
		return promise;
	}
}

function message(error: unknown): string {
	return error instanceof Error ? error.message : String(error);
}
