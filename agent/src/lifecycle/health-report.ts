import { isJsonObject } from "../foundation/json-object.ts";
import { parseDuration } from "../foundation/proto-duration.ts";
import type { HealthStatus } from "./health-tree.ts";

/** What an app pushes about itself (`Health/Report` of the contract), read from JSON: values out, or every problem with its place. */
export interface ReportEntry {
	readonly name: string;
	readonly status: HealthStatus;
	readonly critical: boolean;
	readonly detail: string | undefined;
	/** 0: it is taken out. */
	readonly ttlMs: number;
}

export interface ReportProblem {
	/** As one writes it in JavaScript: `contributors[2].ttl`. */
	readonly place: string;
	/** What was expected, without a full stop. */
	readonly message: string;
}

const TTL_MIN_MS = 1_000;
const TTL_MAX_MS = 24 * 60 * 60 * 1_000;
/** More are not told: whoever sends thousands of wrong entries has made one mistake. */
const PROBLEMS_MAX = 16;

/** A name is a metric's label and part of a path. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$/;

/** Fields that are not known are passed over: a newer app may say more than this agent knows. */
export function readReport(
	contributors: unknown,
): { readonly entries: readonly ReportEntry[] } | { readonly problems: readonly ReportProblem[] } {
	if (!Array.isArray(contributors)) {
		return { problems: [{ place: "contributors", message: "a list is expected" }] };
	}
	const list: readonly unknown[] = contributors;
	const entries: ReportEntry[] = [];
	const problems: ReportProblem[] = [];
	const names = new Set<string>();
	for (const [index, given] of list.entries()) {
		if (problems.length >= PROBLEMS_MAX) break;
		const place = `contributors[${index}]`;
		const tell = (field: string, message: string): void => {
			problems.push({ place: `${place}.${field}`, message });
		};
		if (!isJsonObject(given)) {
			problems.push({ place, message: "an object is expected" });
			continue;
		}
		const { name, status, critical, detail, ttl } = given;
		const before = problems.length;
		if (typeof name !== "string" || !NAME.test(name)) {
			tell(
				"name",
				"1 to 64 letters, digits, dots, colons, dashes and underscores are expected, a letter or digit first",
			);
		} else if (names.has(name)) tell("name", "each name may be there once");
		if (!isStatus(status)) tell("status", "one of pass, warn, fail, unknown is expected");
		if (critical !== undefined && critical !== null && typeof critical !== "boolean") {
			tell("critical", "true or false is expected");
		}
		if (detail !== undefined && detail !== null && typeof detail !== "string") tell("detail", "text is expected");
		const ttlMs = typeof ttl === "string" ? parseDuration(ttl) : undefined;
		if (ttlMs === undefined) tell("ttl", 'a duration in seconds such as "30s" or "1.5s" is expected');
		else if (ttlMs !== 0 && (ttlMs < TTL_MIN_MS || ttlMs > TTL_MAX_MS)) {
			tell("ttl", 'from "1s" to "86400s" is expected, or "0s" to take the contributor out');
		}
		if (problems.length > before || typeof name !== "string" || !isStatus(status) || ttlMs === undefined) continue;
		names.add(name);
		// proto3 in JSON: null is the same as a field that is not there.
		entries.push({
			name,
			status,
			critical: critical === true,
			detail: typeof detail === "string" ? detail : undefined,
			ttlMs,
		});
	}
	return problems.length > 0 ? { problems } : { entries };
}

function isStatus(value: unknown): value is HealthStatus {
	return value === "pass" || value === "warn" || value === "fail" || value === "unknown";
}
