import type { Logger } from "../foundation/logger.ts";

/**
 * What nobody has caught: a mistake of ours that reaches the process.
 *
 *   no fault ──first──► ending (onFault: drain what can be drained, within a bound) ──second──► given up (onSecond: end at once)
 *
 * Each of the two is logged; whatever comes after them is not even looked at. So a fault in what writes the log, or in the ending itself,
 * makes one line more and then an end, never a loop. Somebody who listens keeps Node from ending the process, so whoever is
 * told has to.
 */
export type FaultEvent = "uncaughtException" | "unhandledRejection";
export const FAULT_EVENTS: readonly FaultEvent[] = ["uncaughtException", "unhandledRejection"];

/** The part of `process` that is needed here. */
export interface FaultSource {
	on(event: FaultEvent, listener: (error: unknown) => void): unknown;
	off(event: FaultEvent, listener: (error: unknown) => void): unknown;
}

export interface FaultListener {
	/** The first fault: end within a bounded time, with a code that is not 0. */
	readonly onFault: (error: unknown) => void;
	/** Another one before that was done, or `onFault` threw: end at once. Told once. */
	readonly onSecond: (error: unknown) => void;
}

/** A stack is cut here: recursion without end makes long ones, and messages may hold what was received. */
export const FAULT_TEXT_MAX = 8_192;

/** Tells of the first fault and of the second. What it returns takes the listeners off: the process then has Node's own way back. */
export function listenForFaults(source: FaultSource, log: Logger, listener: FaultListener): () => void {
	let faults = 0;
	const hasGivenUp = (): boolean => faults >= 2;
	const onSecond = (event: FaultEvent, error: unknown): void => {
		faults = 2;
		say(log, "another fault while the agent ends because of one: it ends at once", event, error);
		listener.onSecond(error);
	};
	const releases = FAULT_EVENTS.map((event) => {
		const handle = (error: unknown): void => {
			if (hasGivenUp()) return;
			if (faults === 1) {
				onSecond(event, error);
				return;
			}
			faults = 1; // before anything that may itself fail
			say(log, "a fault that nobody caught: the agent drains what it can, and ends", event, error);
			if (hasGivenUp()) return; // to write that line was itself a fault
			try {
				listener.onFault(error);
			} catch (second) {
				onSecond("uncaughtException", second);
			}
		};
		source.on(event, handle);
		return () => source.off(event, handle);
	});
	return () => {
		for (const release of releases) release();
	};
}

/** A log that cannot be written must not keep the process from ending. */
function say(log: Logger, message: string, event: FaultEvent, error: unknown): void {
	try {
		log.error(message, { event, fatal: true, error: describe(error) });
	} catch {
		// There is nobody left to tell.
	}
}

/** Anything can be thrown: null, a symbol, an object without a prototype, an error whose stack is a getter that throws. */
function describe(error: unknown): string {
	try {
		const text =
			error instanceof Error ? String(error.stack ?? error.message) : `thrown, and no error: ${String(error)}`;
		return text.length <= FAULT_TEXT_MAX ? text : `${text.slice(0, FAULT_TEXT_MAX)}…`;
	} catch {
		return "thrown, and cannot be described";
	}
}
