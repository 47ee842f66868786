/** The agent's drain reports of one run, added up. */

/** What a reader of the table wants of them. */
export const REPORT_KEYS = [
	"served",
	"finished",
	"cut",
	"refused",
	"failed",
	"aborted",
	"left",
	"idleClosed",
	"bypassSeen",
	"bypassLeft",
] as const;
export type ReportKey = (typeof REPORT_KEYS)[number];

export interface ReportSum {
	/** Reports that could be read. */
	readonly reports: number;
	readonly sums: Readonly<Record<ReportKey, number>>;
	/** Why each drain ended, with how often. */
	readonly ended: ReadonlyMap<string, number>;
}

/** Adds up what is there; a report without one of the numbers has none of it. */
export function sumReports(reports: readonly unknown[]): ReportSum {
	const sums = Object.fromEntries(REPORT_KEYS.map((key) => [key, 0])) as Record<ReportKey, number>; // made of all keys
	const ended = new Map<string, number>();
	let count = 0;
	for (const report of reports) {
		if (typeof report !== "object" || report === null) continue;
		count++;
		for (const key of REPORT_KEYS) sums[key] += numberOf(report, key) ?? 0;
		const why = "ended" in report ? String(report.ended) : "unknown";
		ended.set(why, (ended.get(why) ?? 0) + 1);
	}
	return { reports: count, sums, ended };
}

/** One number of one report; undefined where it is not in it. */
export function numberOf(report: unknown, key: string): number | undefined {
	if (typeof report !== "object" || report === null) return undefined;
	const value: unknown = Object.entries(report).find(([name]) => name === key)?.[1];
	return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}
