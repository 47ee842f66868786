import type { Settings } from "../config/settings.ts";

/** The one budget of a stop, split. Everything that waits while the pod goes away waits inside it. Milliseconds. */
export interface StopBudget {
	/** From the beginning of the drain to the moment when the app is told to stop. */
	readonly drainMs: number;
	/** From the app's SIGTERM to its SIGKILL. */
	readonly appStopMs: number;
	/** For the agent's own parts: flushes included. */
	readonly agentStopMs: number;
}

/**
 * `drain = grace − app's stop − agent's stop`. The app gets what is configured but at most a third of the grace period, so that a
 * short grace period still leaves time to drain. Parts that do not fit shrink to 0 rather than reach beyond the grace period.
 */
export function stopBudget(drain: Pick<Settings["drain"], "graceMs" | "appStopMs" | "agentStopMs">): StopBudget {
	const appStopMs = Math.min(drain.appStopMs, drain.graceMs / 3);
	const agentStopMs = Math.min(drain.agentStopMs, drain.graceMs - appStopMs);
	return { drainMs: Math.max(0, drain.graceMs - appStopMs - agentStopMs), appStopMs, agentStopMs };
}
