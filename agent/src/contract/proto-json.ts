import { ApiError, type JsonObject } from "./method.ts";

/**
 * Messages as proto3 writes them in JSON (https://protobuf.dev/programming-guides/json/): a field that is null is absent, unknown fields are
 * ignored, a duration is "1.5s", a moment is RFC 3339. What is wrong is an `invalid_argument` that says where: `contributors[2].ttl: …`.
 */

/** Seconds with up to nine decimals; google.protobuf.Duration has no other unit. */
const DURATION = /^(-?)([0-9]{1,12})(?:\.([0-9]{1,9}))?s$/;

/** `"1.5s"` → 1500; `undefined` when it is no duration. */
export function parseDuration(text: string): number | undefined {
	const match = DURATION.exec(text);
	if (match === null) return undefined;
	const [, sign = "", seconds = "", decimals = ""] = match;
	const ms = Number(`${seconds}.${decimals}0`) * 1000;
	return sign === "-" ? -ms : ms;
}

/** 1500 → `"1.5s"`; to the microsecond. */
export function renderDuration(ms: number): string {
	return `${Number((ms / 1000).toFixed(6))}s`;
}

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
	/** With its dot: `contributors[2].`; empty at the top. */
	readonly #place: string;

	constructor(object: JsonObject, place = "") {
		this.#object = object;
		this.#place = place;
	}

	/** An `ApiError` that names the field. */
	mistake(name: string, message: string): ApiError {
		return new ApiError("invalid_argument", `${this.#place}${name}: ${message}`);
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

	requiredChoice<T extends string>(name: string, choices: readonly T[]): T {
		const value = this.#required(name, this.#get(name));
		const choice = choices.find((each) => each === value);
		if (choice === undefined) throw this.mistake(name, `one of ${choices.join(", ")}`);
		return choice;
	}

	/** Absent is empty. */
	messages(name: string, itemsMax: number): readonly Fields[] {
		const value = this.#get(name) ?? [];
		if (!Array.isArray(value)) throw this.mistake(name, "this is not a list");
		if (value.length > itemsMax) throw this.mistake(name, `at most ${itemsMax}`);
		return value.map((item: unknown, index) => {
			if (!isJsonObject(item)) throw this.mistake(`${name}[${index}]`, "this is not an object");
			return new Fields(item, `${this.#place}${name}[${index}].`);
		});
	}

	#required<T>(name: string, value: T | undefined): T {
		if (value === undefined) throw this.mistake(name, "this must be there");
		return value;
	}

	#get(name: string): unknown {
		return (Object.hasOwn(this.#object, name) ? this.#object[name] : undefined) ?? undefined;
	}
}

export function isJsonObject(value: unknown): value is JsonObject {
	return typeof value === "object" && value !== null && !Array.isArray(value);
}
