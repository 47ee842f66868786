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

/** Whatever `drain.agentStop` allows: the kubelet's floor for a container whose time is up is 2 s, of which the last lines want some. */
const FLUSHED_MS = 1_200;

/** How the agent's own stop is split: its parts with all that they flush, then the last lines; with what a busy machine adds both within 1.5 s. */
export function agentStopBudget({ agentStopMs }: StopBudget): { readonly partsMs: number; readonly linesMs: number } {
	const allMs = Math.min(agentStopMs, FLUSHED_MS);
	return { partsMs: (allMs * 2) / 3, linesMs: allMs / 3 };
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
