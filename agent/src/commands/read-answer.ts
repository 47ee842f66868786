import { isJsonObject, type JsonObject } from "../foundation/json-object.ts";
import { printable } from "./output.ts";

/**
 * Values out of an agent's answer, which may be older or newer than the command: what is not there, or is something else than was expected, reads as
 * nothing. Texts may be printed on a terminal.
 */

/** The whole of an answer's body; `undefined` when it is no object. */
export function parseObject(json: string): JsonObject | undefined {
	try {
		const value: unknown = JSON.parse(json);
		return isJsonObject(value) ? value : undefined;
	} catch {
		return undefined;
	}
}

export function object(value: unknown): JsonObject {
	return isJsonObject(value) ? value : {};
}

export function list(value: unknown): readonly unknown[] {
	return Array.isArray(value) ? value : [];
}

/** A text or number; empty when it is neither. */
export function word(value: unknown): string {
	return typeof value === "string" ? printable(value) : typeof value === "number" ? String(value) : "";
}

export function count(value: unknown): number {
	return typeof value === "number" ? value : 0;
}

/** RFC 3339 → wall clock ms; NaN when it is no moment. */
export function momentOf(value: unknown): number {
	return typeof value === "string" ? Date.parse(value) : Number.NaN;
}

/** `"17.5s"` → 17500; NaN when it is no duration. */
export function durationMsOf(value: unknown): number {
	return typeof value === "string" ? Number.parseFloat(value) * 1000 : Number.NaN;
}
