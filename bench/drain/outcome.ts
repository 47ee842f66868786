/** What came out of one app in one mode: its failures with their circumstances, its stops, and whether it kept the promise. */

import { numberOf } from "./drain-report.ts";
import type { Stop } from "./kubelet.ts";
import type { Lost, Tally } from "./ledger.ts";
import type { Mode } from "./pod.ts";
import type { Phase } from "./timeline.ts";

/** A lost request, and what was going on. */
export interface Failure extends Lost {
	/** Name of the slot that it went to, where that is known. */
	readonly pod: string | undefined;
	readonly phase: Phase;
	/** Whose it was: of the pod that went, of the one that came in its place, or of a pair that nobody touched. */
	readonly whose: "old" | "new" | "other" | "unknown";
	/** What the load balancer's log says of it. */
	readonly balancer: string | undefined;
}

/** The load balancer answered in place of a pod. */
const isBalancers = ({ kind, way, server }: Pick<Lost, "kind" | "way" | "server">): boolean =>
	kind === "status" && way === "lb" && server === undefined;

/**
 * The moment at which it was decided that a request would be lost. One that nobody took was lost when it was sent, although a load balancer may
 * have tried for seconds; one that was under way was lost when its connection ended.
 */
export const decisiveMs = (lost: Lost): number =>
	lost.kind === "refused" || (isBalancers(lost) && lost.status === 503) ? lost.startedMs : lost.endedMs;

export interface Restart extends Stop {
	readonly pair: number;
	readonly pod: string;
	/** Moment of t0 since the load began, ms. */
	readonly atMs: number;
	/** The agent's drain report; undefined where it wrote none. */
	readonly report: unknown;
	/** How long the new pair took from its first exec until it was ready, ms. */
	readonly newPodMs: number;
}

export interface Outcome {
	readonly app: string;
	readonly mode: Mode;
	readonly seed: number;
	readonly pairs: number;
	readonly lateMs: number;
	readonly tally: Tally;
	readonly failures: readonly Failure[];
	readonly restarts: readonly Restart[];
	readonly hasBalancer: boolean;
	readonly seconds: number;
}

/** How often each thing occurs, the most frequent first. */
export function countBy<T>(items: readonly T[], name: (item: T) => string): readonly (readonly [string, number])[] {
	const counts = new Map<string, number>();
	for (const item of items) counts.set(name(item), (counts.get(name(item)) ?? 0) + 1);
	return [...counts].sort(([, a], [, b]) => b - a);
}

/** The kind of a failure as a reader wants it: what was seen, not how it is stored. */
export function describeKind(failure: Pick<Failure, "kind" | "status" | "way" | "server">): string {
	const { kind, status } = failure;
	switch (kind) {
		case "refused":
			return "connection refused";
		case "closed":
			return "closed without an answer";
		case "reset":
			return "reset without an answer";
		case "cut":
			return "answer cut short";
		case "status":
			return `${status}${isBalancers(failure) ? " by the load balancer" : ""}`;
		case "body":
			return "wrong body";
		case "stalled":
			return "no byte for too long";
		case "malformed":
			return "not an answer";
		default:
			return kind satisfies never;
	}
}

/** The longest that a good request took, ms. */
export const longestMs = ({ durationMs }: Tally): number =>
	Math.max(0, ...Object.values(durationMs).map((values) => values?.max ?? 0));

/** `drain.announceMin`, with which the pods run. */
const ANNOUNCE_MIN_MS = 5000;
/** `drain.quietMin`: the quiet time under traffic that is denser than a request in a third of a second. The report tells the real one. */
const QUIET_MIN_MS = 1000;
const ALLOWANCE_MS = 1000;

/**
 * How long it may take from t0 to the app's SIGTERM, without leases, streams and bypass. Clients that are late within the announcement cost
 * nothing; those that are later than it are waited for.
 */
export function stopMsMax({ tally, lateMs }: Pick<Outcome, "tally" | "lateMs">, report: unknown): number {
	const lastArrivalMs = lateMs > ANNOUNCE_MIN_MS ? lateMs : 0;
	const quietMs = numberOf(report, "quietMs") ?? QUIET_MIN_MS;
	return Math.max(ANNOUNCE_MIN_MS, lastArrivalMs + quietMs + longestMs(tally)) + ALLOWANCE_MS;
}

export interface Wanted {
	readonly requests: number;
	readonly restarts: number;
}

/** What is not as it must be. For `capture: port` a single lost request is; the other modes may lose, and must only have been run. */
export function shortcomings(outcome: Outcome, wanted: Wanted): readonly string[] {
	const { tally, restarts, mode, failures } = outcome;
	const name = `${outcome.app}, ${mode}`;
	const found: string[] = [];
	if (tally.begun < wanted.requests) found.push(`${name}: ${tally.begun} requests, not ${wanted.requests}`);
	if (restarts.length < wanted.restarts) found.push(`${name}: ${restarts.length} restarts, not ${wanted.restarts}`);
	if (mode !== "port") return found;
	if (failures.length > 0) found.push(`${name}: lost ${failures.length} requests`);
	for (const { pod, appSigtermMs, sidecarEnded, report, isGraceOver } of restarts) {
		const boundMs = stopMsMax(outcome, report);
		if (appSigtermMs > boundMs) {
			found.push(
				`${name}: the stop of ${pod} took ${Math.round(appSigtermMs)} ms, not ${Math.round(boundMs)} ms at most`,
			);
		}
		if (sidecarEnded !== "exit code 0") found.push(`${name}: the agent of ${pod} ended with ${sidecarEnded}`);
		if (report === undefined) found.push(`${name}: the agent of ${pod} left no drain report`);
		if (isGraceOver) found.push(`${name}: the grace period of ${pod} ended before its stop`);
	}
	return found;
}
