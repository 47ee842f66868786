import { isJsonObject, type JsonObject } from "../foundation/json-object.ts";
import { CHILDREN_MAX, cleanText, type HealthChild, type HealthStatus } from "./health-tree.ts";

/**
 * `application/health+json` (draft-inadarei-api-health-check-06) → children for the health tree. Text in, values out; never throws.
 *
 *     { "status": "warn", "output": "…", "checks": { "db:responseTime": [{ "status": "warn", "observedValue": 250, "observedUnit": "ms" }] } }
 *
 * Every check becomes one child, none of them critical: the app has done its own rollup, `status` is what came of it. What is
 * beyond the bounds is counted, what makes no sense is a problem in words; whoever asked then goes by the HTTP status alone.
 */
export interface HealthJson {
	/** `undefined`: the document says nothing that can be used, and `problem` says why. */
	readonly status: HealthStatus | undefined;
	/** `output` of the document, or its first note. */
	readonly detail: string | undefined;
	readonly children: readonly HealthChild[];
	/** Checks that were left out as malformed or beyond the bound. */
	readonly left: number;
	/** What is wrong with it, without a full stop. */
	readonly problem: string | undefined;
}

/** Of the body. What is larger is not read. */
export const HEALTH_JSON_BYTES_MAX = 65_536;
/** Characters of an observed value. */
const VALUE_CHARACTERS_MAX = 64;

/** Section 3.1: the three words, and those of Terminus and Spring Boot; without regard to case. */
const WORDS: ReadonlyMap<string, HealthStatus> = new Map([
	["pass", "pass"],
	["ok", "pass"],
	["up", "pass"],
	["warn", "warn"],
	["fail", "fail"],
	["error", "fail"],
	["down", "fail"],
]);

/** Whether a `content-type` is this one; parameters do not matter. */
export function isHealthJson(contentType: string | undefined): boolean {
	return contentType !== undefined && /^\s*application\/health\+json\s*(?:;|$)/i.test(contentType);
}

export function readHealthJson(text: string): HealthJson {
	let document: unknown;
	try {
		document = JSON.parse(text);
	} catch {
		return nonsense("it is not JSON");
	}
	if (!isJsonObject(document)) return nonsense("it is not a JSON object");
	const status = statusOf(document["status"]);
	if (status === undefined) {
		return nonsense('its "status" is none of pass, ok, up, warn, fail, error, down');
	}
	const children: HealthChild[] = [];
	let left = 0;
	const checks = isJsonObject(document["checks"]) ? document["checks"] : {};
	for (const [key, given] of Object.entries(checks)) {
		// Section 4: a list, one entry for each instance. Some servers leave the list out when there is only one.
		const entries: readonly unknown[] = Array.isArray(given) ? given : [given];
		for (const [index, entry] of entries.entries()) {
			const child = childOf(entries.length === 1 ? key : `${key} ${instanceOf(entry, index)}`, entry);
			if (child === undefined || children.length === CHILDREN_MAX) left += 1;
			else children.push(child);
		}
	}
	return {
		status,
		detail: textOf(document["output"]) ?? firstNote(document["notes"]),
		children,
		left,
		problem: undefined,
	};
}

function nonsense(problem: string): HealthJson {
	return { status: undefined, detail: undefined, children: [], left: 0, problem };
}

function childOf(name: string, entry: unknown): HealthChild | undefined {
	if (!isJsonObject(entry)) return undefined;
	// Section 4.5: optional. An entry without one is a measurement that nobody has judged.
	const status = entry["status"] === undefined ? "pass" : statusOf(entry["status"]);
	if (status === undefined) return undefined;
	const parts = [observed(entry), textOf(entry["output"])].filter((part) => part !== undefined);
	return { name, status, critical: false, detail: parts.length === 0 ? undefined : parts.join(": ") };
}

/** `componentId` tells instances of one component apart (section 4.1); a document without them is numbered. */
function instanceOf(entry: unknown, index: number): string {
	const id = isJsonObject(entry) ? entry["componentId"] : undefined;
	return typeof id === "string" && id !== "" ? id : String(index + 1);
}

/** `250 ms`. Section 4.3: any JSON value; only simple ones are shown. */
function observed(entry: JsonObject): string | undefined {
	const value = entry["observedValue"];
	if (typeof value !== "string" && typeof value !== "number" && typeof value !== "boolean") return undefined;
	const unit = entry["observedUnit"];
	const text = typeof unit === "string" ? `${value} ${unit}` : String(value);
	return cleanText(text.slice(0, VALUE_CHARACTERS_MAX));
}

function statusOf(value: unknown): HealthStatus | undefined {
	return typeof value === "string" ? WORDS.get(value.toLowerCase()) : undefined;
}

function textOf(value: unknown): string | undefined {
	return typeof value === "string" && value !== "" ? cleanText(value) : undefined;
}

function firstNote(notes: unknown): string | undefined {
	return Array.isArray(notes) ? textOf(notes[0]) : undefined;
}
