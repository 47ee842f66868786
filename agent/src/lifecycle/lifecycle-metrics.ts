import { type PulledMetric, pulledMetric } from "../telemetry/registry.ts";
import type { DrainReport } from "./drain-report.ts";
import { type LifecycleState, MOVES } from "./state.ts";

/** Start, health, drain and stop in numbers, read at each scrape. */
export interface LifecycleMetricsParts {
	readonly state: LifecycleState;
	/** Contributors and their health; the whole is among them. */
	readonly health: () => Iterable<readonly [contributor: string, status: "pass" | "warn" | "fail" | "unknown"]>;
	/** Connections that came past us; `undefined` where that cannot be seen. */
	readonly bypass: () => number | undefined;
	readonly leases: () => number;
	readonly threadsReplaced: () => number;
	/** The drain so far; `undefined` before one has begun. */
	readonly report: () => DrainReport | undefined;
}

const HEALTH_VALUES = { pass: 1, warn: 0.5, fail: 0, unknown: -1 } as const;

export function lifecycleMetrics(parts: LifecycleMetricsParts): readonly PulledMetric[] {
	const { state } = parts;
	return [
		pulledMetric("outrigger_state", (set) => {
			for (const each of Object.keys(MOVES)) set({ state: each }, state.at === each ? 1 : 0);
		}),
		pulledMetric("outrigger_state_changes_total", (set) => {
			for (const { from, to, reason, count } of state.counts()) set({ from, to, reason }, count);
		}),
		pulledMetric("outrigger_health", (set) => {
			for (const [contributor, status] of parts.health()) set({ contributor }, HEALTH_VALUES[status]);
		}),
		pulledMetric("outrigger_bypass_connections", (set) => {
			const bypass = parts.bypass();
			if (bypass !== undefined) set({}, bypass);
		}),
		pulledMetric("outrigger_leases", (set) => set({}, parts.leases())),
		pulledMetric("outrigger_drain_seconds", (set) => {
			const report = parts.report();
			if (report === undefined) return;
			set({ phase: "announce" }, report.announcedMs / 1000);
			set({ phase: "drain" }, report.drainedMs / 1000);
		}),
		pulledMetric("outrigger_drain_exchanges", (set) => {
			const report = parts.report();
			if (report === undefined) return;
			set({ outcome: "served" }, report.served);
			set({ outcome: "finished" }, report.finished);
			set({ outcome: "cut" }, report.cut);
			set({ outcome: "lost" }, report.lost);
			set({ outcome: "refused" }, report.refused);
			set({ outcome: "failed" }, report.failed);
			set({ outcome: "aborted" }, report.aborted);
			set({ outcome: "stream_closed" }, report.streamsClosed);
			set({ outcome: "upgraded" }, report.upgraded);
		}),
		pulledMetric("outrigger_drain_connections_closed", (set) => set({}, parts.report()?.idleClosed ?? 0)),
		pulledMetric("outrigger_data_threads_replaced_total", (set) => set({}, parts.threadsReplaced())),
	];
}
