import { CELL } from "../bridge/counters.ts";
import type { Logger } from "../foundation/logger.ts";
import {
	type DrainReport,
	drainReport,
	notFinished,
	reportFields,
	reportSentence,
	writeTerminationMessage,
} from "./drain-report.ts";
import type { DrainOutcome } from "./drain-sequence.ts";

/**
 * The report of this one stop, from the moment at which we begin to leave: what it is to be compared with later, and when and where it is told. A drain that is
 * over has one line; what the stop then still cuts has another, and so has a stop without a drain, when it is done. The termination message is written
 * at the end of the drain, and again at the stop: a pod that is killed in between has the first.
 */
export interface StopReportParts {
	/** Sum of a cell over the data threads. */
	readonly sum: (cell: number) => number;
	/** Exchanges that ever went down with a data thread. */
	readonly exchangesLost: () => number;
	/** `drain.report`. */
	readonly path: string;
	readonly log: Logger;
}

export class StopReport {
	readonly #parts: StopReportParts;
	#lostBefore = 0;
	#failedAtEnd: number | undefined;

	constructor(parts: StopReportParts) {
		this.#parts = parts;
	}

	/** We begin to leave. */
	leave(): void {
		this.#lostBefore = this.#parts.exchangesLost();
	}

	/** As things are now. */
	of(outcome: DrainOutcome): DrainReport {
		const { sum, exchangesLost } = this.#parts;
		return drainReport(outcome, {
			sum,
			lost: exchangesLost() - this.#lostBefore,
			failedAtEnd: this.#failedAtEnd ?? sum(CELL.LEAVING_FAILED),
		});
	}

	/** The drain is over, or there was none. */
	over(outcome: DrainOutcome): void {
		this.#failedAtEnd = this.#parts.sum(CELL.LEAVING_FAILED);
		if (!outcome.isDrain) return;
		const report = this.of(outcome);
		this.#tell("the drain is over", report);
		this.#write(report);
	}

	/** What was left has been cut. Returns the report, which is final. */
	stopped(outcome: DrainOutcome): DrainReport {
		const report = this.of(outcome);
		if (!outcome.isDrain) this.#tell("stopped without a drain", report);
		else if (notFinished(report) > 0) this.#tell("at the stop", report);
		this.#write(report);
		return report;
	}

	#tell(what: string, report: DrainReport): void {
		const isWhole = notFinished(report) === 0 && report.failed === 0;
		this.#parts.log[isWhole ? "info" : "warn"](`${what}: ${reportSentence(report)}`, reportFields(report));
	}

	#write(report: DrainReport): void {
		const { path, log } = this.#parts;
		if (path === "none") return;
		const problem = writeTerminationMessage(path, report);
		if (problem !== undefined) log.warn("the drain report cannot be written", { path, error: problem });
	}
}
