import type { JsonObject } from "../foundation/json-object.ts";
import { parseDuration, renderDuration } from "../foundation/proto-duration.ts";
import { ApiError } from "./method.ts";

/**
 * Messages as proto3 writes them in JSON (https://protobuf.dev/programming-guides/json/): a field that is null is absent, unknown fields are
 * ignored, a duration is "1.5s", a moment is RFC 3339. What is wrong is an `invalid_argument` that says where: `ttl: …`.
 */

/** `wallMs` as RFC 3339 with milliseconds. */
export function renderTime(wallMs: number): string {
	return new Date(wallMs).toISOString();
}

/** What a text may be. */
export interface TextBounds {
	/** UTF-16 units; also the bound of what a message may repeat. */
	readonly charactersMax: number;
	/** Default: no control characters. */
	readonly pattern?: RegExp;
	/** Said when the pattern does not fit. */
	readonly expected?: string;
}

/** No control characters: what is kept is shown on terminals and written into log lines. */
const NO_CONTROLS = /^[^\p{Cc}\u2028\u2029]*$/u;

/** Reads the fields of one message. Absent (or null) is `undefined`; what is there and wrong throws. */
export class Fields {
	readonly #object: JsonObject;

	constructor(object: JsonObject) {
		this.#object = object;
	}

	/** An `ApiError` that names the field. */
	mistake(name: string, message: string): ApiError {
		return new ApiError("invalid_argument", `${name}: ${message}`);
	}

	text(name: string, { charactersMax, pattern = NO_CONTROLS, expected }: TextBounds): string | undefined {
		const value = this.#get(name);
		if (value === undefined) return undefined;
		if (typeof value !== "string") throw this.mistake(name, "this is not a text");
		if (value === "") return undefined; // proto3 does not tell an empty text from none
		if (value.length > charactersMax) throw this.mistake(name, `at most ${charactersMax} characters`);
		if (!pattern.test(value)) throw this.mistake(name, expected ?? "this holds a control character");
		return value;
	}

	requiredText(name: string, bounds: TextBounds): string {
		return this.#required(name, this.text(name, bounds));
	}

	flag(name: string): boolean {
		const value = this.#get(name) ?? false;
		if (typeof value !== "boolean") throw this.mistake(name, "this is neither true nor false");
		return value;
	}

	/** ms. */
	requiredDuration(name: string, minMs: number, maxMs: number): number {
		const value = this.#required(name, this.#get(name));
		const ms = typeof value === "string" ? parseDuration(value) : undefined;
		if (ms === undefined) throw this.mistake(name, 'this is not a duration such as "1.5s"');
		if (ms < minMs || ms > maxMs) {
			throw this.mistake(name, `from "${renderDuration(minMs)}" to "${renderDuration(maxMs)}"`);
		}
		return ms;
	}

	/** A whole number; `fallback` when it is absent or 0, which proto3 does not tell apart. */
	count(name: string, max: number, fallback: number): number {
		const value = this.#get(name) ?? 0;
		if (typeof value !== "number" || !Number.isInteger(value) || value < 0) {
			throw this.mistake(name, "this is not a whole number");
		}
		if (value > max) throw this.mistake(name, `at most ${max}`);
		return value === 0 ? fallback : value;
	}

	#required<T>(name: string, value: T | undefined): T {
		if (value === undefined) throw this.mistake(name, "this must be there");
		return value;
	}

	#get(name: string): unknown {
		return (Object.hasOwn(this.#object, name) ? this.#object[name] : undefined) ?? undefined;
	}
}
