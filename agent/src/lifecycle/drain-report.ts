import { closeSync, constants, fstatSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { CELL } from "../bridge/counters.ts";
import type { DrainEnd, DrainOutcome } from "./drain-sequence.ts";
import type { MoveReason } from "./state.ts";

/**
 * What a stop was: who began it, how long each part took, what became of every exchange. One log line, a set of metrics, the container's termination
 * message and the answer to `outrigger drain --wait` are this one value.
 *
 * The numbers add up: `inFlightAtStart + arrived = finished + served + cut + lost + refused + failed + aborted + streamsClosed + upgraded + left`.
 */
export interface DrainReport {
	readonly startedBy: MoveReason;
	readonly ended: DrainEnd;
	/** The time that there was, the announcement, from there to the end, and how long nobody had to come, ms. */
	readonly budgetMs: number;
	readonly announcedMs: number;
	readonly drainedMs: number;
	readonly quietMs: number;
	readonly inFlightAtStart: number;
	readonly arrived: number;
	/** Were in flight at the start, and ended with their answer whole. */
	readonly finished: number;
	/** Arrived since, and ended with their answer whole. */
	readonly served: number;
	/** Ended by us before they were over, or by the app's stop because the budget had ended before they were. */
	readonly cut: number;
	/** Went down with a data thread that died. */
	readonly lost: number;
	/** Answered with a refusal of ours. */
	readonly refused: number;
	/** Ended by the app. */
	readonly failed: number;
	/** Ended by their client. */
	readonly aborted: number;
	readonly streamsClosed: number;
	readonly upgraded: number;
	/** Still in flight: ended later, by the app's stop or by ours. */
	readonly left: number;
	/** Idle connections that were closed. */
	readonly idleClosed: number;
	/** Leases that were held at the end. */
	readonly leases: number;
	/** Connections that came past us: most at a time, and those that were left. */
	readonly bypassSeen: number;
	readonly bypassLeft: number;
}

/** What is counted. */
export interface Tally {
	/** Sum of a cell over the data threads. */
	readonly sum: (cell: number) => number;
	/** Exchanges that went down with data threads since the drain began. */
	readonly lost: number;
	/** `CELL.LEAVING_FAILED` when the drain was over: what failed later was ended by the app's stop. */
	readonly failedAtEnd: number;
}

/** The report as things are now: complete when nothing is left. */
export function drainReport(outcome: DrainOutcome, { sum, lost, failedAtEnd }: Tally): DrainReport {
	const failed = sum(CELL.LEAVING_FAILED);
	// Of what was in flight when the budget ended nobody can say one by one what the app's stop did to it; but no more than that was cut by it.
	const cutByAppStop = outcome.ended === "deadline" ? Math.min(outcome.left, Math.max(0, failed - failedAtEnd)) : 0;
	const of = {
		inFlightAtStart: sum(CELL.LEAVING_IN_FLIGHT),
		arrived: sum(CELL.LEAVING_ARRIVED),
		finished: sum(CELL.LEAVING_FINISHED),
		served: sum(CELL.LEAVING_SERVED),
		cut: sum(CELL.LEAVING_CUT) + cutByAppStop,
		lost,
		refused: sum(CELL.LEAVING_REFUSED),
		failed: failed - cutByAppStop,
		aborted: sum(CELL.LEAVING_ABORTED),
		streamsClosed: sum(CELL.LEAVING_STREAMS_CLOSED),
		upgraded: sum(CELL.LEAVING_UPGRADED),
	};
	return {
		startedBy: outcome.startedBy,
		ended: outcome.ended,
		budgetMs: Math.round(outcome.budgetMs),
		announcedMs: Math.round(outcome.announcedMs),
		drainedMs: Math.round(outcome.drainedMs),
		quietMs: Math.round(outcome.quietMs),
		...of,
		left: sum(CELL.IN_FLIGHT),
		idleClosed: sum(CELL.IDLE_CLOSED),
		leases: outcome.leases,
		bypassSeen: outcome.bypassSeen,
		bypassLeft: outcome.bypassLeft,
	};
}

/** The report's fields as they stand in the log: with underscores, as all our own fields. */
export function reportFields(report: DrainReport): Readonly<Record<string, string | number>> {
	return Object.fromEntries(
		Object.entries(report).map(([name, value]) => [
			name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
			value,
		]),
	);
}

/** One sentence for the termination message and for people. */
export function reportSentence(report: DrainReport): string {
	const { startedBy, ended, announcedMs, drainedMs, finished, served, refused, failed, streamsClosed } = report;
	const cut = notFinished(report);
	return (
		`${cut === 0 ? "nothing was cut" : `${cut} exchange${cut === 1 ? " was" : "s were"} cut`}: ` +
		`begun by ${startedBy}, ended by ${ended} after ${((announcedMs + drainedMs) / 1000).toFixed(1)} s; ` +
		`${finished} finished, ${served} served while leaving` +
		`${refused === 0 ? "" : `, ${refused} refused`}${failed === 0 ? "" : `, ${failed} failed at the app`}` +
		`${streamsClosed === 0 ? "" : `, ${streamsClosed} event streams closed`}`
	);
}

/** Where Kubernetes looks for a container's termination message by default; it makes the file before the container starts. */
const KUBERNETES_FILE = "/dev/termination-log";
/** The kubelet reads so much (`MaxContainerTerminationMessageLength`). */
const MESSAGE_BYTES_MAX = 4_096;

/**
 * Writes the report as one line of JSON. Kubernetes' own file is only written where it is: outside of a pod nobody wants a new file in `/dev`.
 * Synchronous: it is the last that we do. Returns what went wrong, if anything did.
 */
export function writeTerminationMessage(path: string, report: DrainReport): string | undefined {
	const text = `${JSON.stringify({ drain: reportSentence(report), ...report })}\n`.slice(0, MESSAGE_BYTES_MAX);
	try {
		// Without waiting: of a pipe that nobody reads we hear so, and do not hang.
		const { O_WRONLY, O_NONBLOCK, O_CREAT } = constants;
		const file = openSync(path, O_WRONLY | O_NONBLOCK | (path === KUBERNETES_FILE ? 0 : O_CREAT), 0o644);
		try {
			if (fstatSync(file).isFile()) ftruncateSync(file);
			writeSync(file, text);
		} finally {
			closeSync(file);
		}
		return undefined;
	} catch (error) {
		const isAbsent = error instanceof Error && "code" in error && error.code === "ENOENT" && path === KUBERNETES_FILE;
		return isAbsent ? undefined : error instanceof Error ? error.message : String(error);
	}
}

/** What did not end as it should have, for our reasons: cut, gone with a thread, or still in flight when there was no more time. */
export function notFinished({ cut, lost, left }: Pick<DrainReport, "cut" | "lost" | "left">): number {
	return cut + lost + left;
}

/** Exit code of an agent that has drained: 0 when everything was finished, 3 when something was cut. */
export function drainExitCode(report: Pick<DrainReport, "cut" | "lost" | "left">): 0 | 3 {
	return notFinished(report) > 0 ? 3 : 0;
}
