import { isIP } from "node:net";
import { type AddressMistake, isLoopback, parseListen, parseTarget, renderAddress } from "./address.ts";
import { didYouMean } from "./did-you-mean.ts";
import { type Place, type ProblemKind, quote } from "./problems.ts";
import type { Address } from "./settings.ts";
import { durationPattern, parseDuration, parseSize, renderDuration, renderSize, sizePattern } from "./units.ts";

/**
 * The kinds of values that keys have. A kind reads what a file, a variable or a flag holds, writes a value back as a person would
 * type it, and describes itself in words and as JSON Schema, so that these four never disagree.
 */

/** A value as it was found. A variable and a flag hold text without a type; a file has YAML's types. */
export type Input =
	| { readonly form: "text"; readonly place: Place; readonly text: string }
	/** `text` is the source for a number (1.10 stays 1.10), else the value. */
	| {
			readonly form: "scalar";
			readonly place: Place;
			readonly text: string;
			readonly type: "string" | "number" | "boolean" | "null";
	  }
	| { readonly form: "list"; readonly place: Place; readonly items: readonly Input[] }
	| {
			readonly form: "map";
			readonly place: Place;
			readonly entries: readonly (readonly [name: string, value: Input])[];
	  };

/** A value as a person writes it in YAML or JSON. */
export type Written = string | number | boolean | readonly string[] | { readonly [name: string]: string };

export interface Mismatch {
	readonly kind: ProblemKind;
	/** Why not, without a full stop; what was found is part of it unless the key is a secret. */
	readonly message: string;
	/** What was found, quoted; left out of the message by the caller when the key is a secret. */
	readonly found?: string;
	readonly suggestion?: string;
	readonly place: Place;
}

export interface Failed {
	readonly mismatches: readonly Mismatch[];
}

export type Reading<T> = { readonly value: T } | Failed;

export interface JsonSchema {
	readonly [keyword: string]: unknown;
}

export interface Kind<T> {
	/** For the tables of the documentation: `duration`, `list of paths`. */
	readonly label: string;
	/** What is right, in words, with the bounds: `a duration such as 250ms, 10s or 5m, from 1ms to 1h`. */
	readonly expected: string;
	readonly schema: JsonSchema;
	/** Whether the kind is a list whose items have variables of their own (`…__0`), and may be given with commas. */
	readonly isList?: boolean;
	read(input: Input): Reading<T>;
	/** The inverse of `read`: read(write(value)) gives value. */
	write(value: T): Written;
	/** `write` for people: with what must not be seen (userinfo in a URL) replaced. */
	show?(value: T): Written;
}

const typeNames = { string: "text", number: "a number", boolean: "a boolean", null: "nothing" } as const;

/** What was found, for a message. A password in a URL is not repeated, also where a URL is wrong. */
export function describeInput(input: Input): string {
	switch (input.form) {
		case "text":
			return quote(hideUserinfo(input.text));
		case "scalar":
			return input.type === "null" ? "nothing" : input.type === "string" ? quote(hideUserinfo(input.text)) : input.text;
		case "list":
			return "a list";
		case "map":
			return "a mapping";
	}
}

function mismatch(kind: ProblemKind, input: Input, message: string, suggestion?: string): Failed {
	const found = describeInput(input);
	return {
		mismatches: [{ kind, message, found, place: input.place, ...(suggestion === undefined ? {} : { suggestion }) }],
	};
}

/** The text of an input that holds text: from the environment, or a YAML string. */
function textOf(input: Input): string | Failed {
	if (input.form === "text") return input.text;
	if (input.form === "scalar") {
		if (input.type === "string") return input.text;
		if (input.type === "null") return mismatch("wrong_type", input, "there is no value");
		return mismatch("wrong_type", input, `this is ${typeNames[input.type]}`);
	}
	return mismatch("wrong_type", input, `this is ${describeInput(input)}`);
}

/** Numbers that are written with a unit. */
interface UnitFamily {
	readonly label: string;
	readonly such: string;
	readonly units: string;
	readonly pattern: string;
	readonly parse: (text: string) => number | undefined;
	readonly render: (value: number) => string;
	/** A right spelling for one that is used elsewhere: `10Mi` → `10MiB`. */
	readonly respell: (text: string) => string;
}

const durations: UnitFamily = {
	label: "duration",
	such: "250ms, 10s or 5m",
	units: "ms, s, m, h",
	pattern: durationPattern,
	parse: parseDuration,
	render: renderDuration,
	respell: (text) =>
		text
			.replaceAll(" ", "")
			.toLowerCase()
			.replace(/(?<=[0-9])(?:millis|milliseconds?|msecs?)$/, "ms")
			.replace(/(?<=[0-9])(?:secs?|seconds?)$/, "s")
			.replace(/(?<=[0-9])(?:mins?|minutes?)$/, "m")
			.replace(/(?<=[0-9])(?:hrs?|hours?)$/, "h"),
};

const sizes: UnitFamily = {
	label: "size",
	such: "512B, 16KiB or 1MiB",
	units: "B, KiB, MiB, GiB",
	pattern: sizePattern,
	parse: parseSize,
	render: renderSize,
	respell: (text) =>
		text
			.replaceAll(" ", "")
			.replace(/(?<=[0-9])([kmg])i?b?$/i, (_, unit: string) => `${unit.toUpperCase()}iB`)
			.replace(/(?<=[0-9])(?:b|bytes?)$/i, "B"),
};

/** @param min As text: `1ms`, `1KiB`. */
function withUnit(family: UnitFamily, min: string, max: string): Kind<number> {
	const { label, such, units, pattern, parse, render, respell } = family;
	const [least, most] = [parse(min) ?? Number.NaN, parse(max) ?? Number.NaN];
	return {
		label,
		expected: `a ${label} such as ${such}, from ${min} to ${max}`,
		schema: { type: "string", pattern: `^${pattern}$` },
		read: (input) => {
			const isBareNumber = input.form === "scalar" && input.type === "number";
			if (isBareNumber) return mismatch("wrong_type", input, `the unit is missing; units are ${units}`);
			const text = textOf(input);
			if (typeof text !== "string") return text;
			const value = parse(text);
			if (value === undefined) {
				const isDigits = /^[0-9.]+$/.test(text);
				const respelled = respell(text);
				return mismatch(
					"wrong_type",
					input,
					isDigits ? `the unit is missing; units are ${units}` : `this is not a ${label}`,
					parse(respelled) === undefined ? undefined : respelled,
				);
			}
			if (value < least) return mismatch("out_of_bounds", input, "this is too small");
			if (value > most) return mismatch("out_of_bounds", input, "this is too large");
			return { value };
		},
		write: render,
	};
}

/** Milliseconds, from `min` to `max`. */
export function duration(min: string, max: string): Kind<number> {
	return withUnit(durations, min, max);
}

/** Bytes, from `min` to `max`. */
export function size(min: string, max: string): Kind<number> {
	return withUnit(sizes, min, max);
}

function numeric(label: string, pattern: RegExp, jsonType: string, min: number, max: number): Kind<number> {
	return {
		label,
		expected: `${label === "integer" ? "a whole number" : "a number"} from ${min} to ${max}`,
		schema: { type: jsonType, minimum: min, maximum: max },
		read: (input) => {
			if (input.form === "scalar" && input.type === "string") {
				const isQuoted = pattern.test(input.text);
				return mismatch("wrong_type", input, isQuoted ? "this is text; leave the quotes out" : "this is text");
			}
			const text = input.form === "scalar" && input.type === "number" ? input.text : textOf(input);
			if (typeof text !== "string") return text;
			if (!pattern.test(text))
				return mismatch("wrong_type", input, `this is not ${label === "integer" ? "a whole number" : "a number"}`);
			const value = Number(text);
			if (value < min) return mismatch("out_of_bounds", input, "this is too small");
			if (value > max) return mismatch("out_of_bounds", input, "this is too large");
			return { value: value === 0 ? 0 : value }; // never −0
		},
		write: (value) => value,
	};
}

export function integer(min: number, max: number): Kind<number> {
	return numeric("integer", /^[+-]?[0-9]{1,15}$/, "integer", min, max);
}

export function number(min: number, max: number): Kind<number> {
	return numeric(
		"number",
		/^[+-]?(?:[0-9]{1,15}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:[eE][+-]?[0-9]{1,2})?$/,
		"number",
		min,
		max,
	);
}

export function boolean(): Kind<boolean> {
	return {
		label: "boolean",
		expected: "true or false",
		schema: { type: "boolean" },
		read: (input) => {
			if (input.form === "scalar" && input.type === "boolean") return { value: input.text.toLowerCase() === "true" };
			if (input.form === "text" && (input.text === "true" || input.text === "false"))
				return { value: input.text === "true" };
			if (input.form === "scalar" && input.type === "string" && /^(?:true|false)$/.test(input.text)) {
				return mismatch("wrong_type", input, "this is text; leave the quotes out");
			}
			return mismatch("wrong_type", input, "this is not a boolean", booleanMeant(input));
		},
		write: (value) => value,
	};
}

function booleanMeant(input: Input): string | undefined {
	if (input.form !== "text" && input.form !== "scalar") return undefined;
	if (/^(?:yes|on|y|1|enabled?)$/i.test(input.text)) return "true";
	return /^(?:no|off|n|0|disabled?)$/i.test(input.text) ? "false" : undefined;
}

export function choice<const C extends string>(...choices: readonly C[]): Kind<C> {
	return {
		label: "choice",
		expected: `one of ${choices.join(", ")}`,
		schema: { type: "string", enum: choices },
		read: (input) => {
			const text = textOf(input);
			if (typeof text !== "string") return text;
			const value = choices.find((candidate) => candidate === text);
			return value === undefined
				? mismatch("bad_value", input, "there is no such choice", didYouMean(text, choices))
				: { value };
		},
		write: (value) => value,
	};
}

export interface TextRule {
	readonly label: string;
	/** In words, with an article. */
	readonly expected: string;
	/** Source of a regular expression (flag `u`) that the whole text matches. */
	readonly pattern: string;
	readonly charactersMax: number;
	/** What the pattern cannot say. Returns why not. */
	readonly refuse?: (text: string) => string | undefined;
	/** The form in which it is kept: `lower` for names that are compared without case. */
	readonly keeps?: "lower";
	readonly show?: (text: string) => string;
}

export function text(rule: TextRule): Kind<string> {
	const pattern = new RegExp(`^${rule.pattern}$`, "u");
	const { show } = rule;
	return {
		label: rule.label,
		expected: `${rule.expected} (at most ${rule.charactersMax} characters)`,
		schema: { type: "string", pattern: `^${rule.pattern}$`, maxLength: rule.charactersMax },
		read: (input) => {
			if (input.form === "scalar" && (input.type === "number" || input.type === "boolean")) {
				return mismatch("wrong_type", input, `this is ${typeNames[input.type]}, not text; put it in quotes`);
			}
			const value = textOf(input);
			if (typeof value !== "string") return value;
			if (value.length > rule.charactersMax) return mismatch("out_of_bounds", input, "this is too long");
			if (!pattern.test(value)) return mismatch("bad_value", input, `this is not ${rule.expected}`);
			const why = rule.refuse?.(value);
			if (why !== undefined) return mismatch("bad_value", input, why);
			return { value: rule.keeps === "lower" ? value.toLowerCase() : value };
		},
		write: (value) => value,
		...(show === undefined ? {} : { show }),
	};
}

function address(
	label: string,
	expected: string,
	pattern: string,
	parse: (text: string) => Address | AddressMistake,
	refuse?: (address: Address) => string | undefined,
): Kind<Address> {
	return {
		label,
		expected,
		schema: { type: "string", pattern },
		read: (input) => {
			if (input.form === "scalar" && input.type === "number") {
				return mismatch("wrong_type", input, "a port alone is not an address");
			}
			const value = textOf(input);
			if (typeof value !== "string") return value;
			const parsed = parse(value);
			if ("mistake" in parsed) return mismatch("bad_address", input, parsed.mistake);
			const why = refuse?.(parsed);
			return why === undefined ? { value: parsed } : mismatch("bad_address", input, why);
		},
		write: renderAddress,
	};
}

const listenPattern = "^(?:unix:/.+|(?:[0-9.]+|localhost|\\[[0-9A-Fa-f:.]+\\])?:[0-9]{1,5})$";

/** Where we listen. */
export function listenAddress(): Kind<Address> {
	return address(
		"listen address",
		"an address to listen on, such as :9810, 127.0.0.1:9810, [::1]:9810 or unix:/run/x.sock",
		listenPattern,
		parseListen,
	);
}

/** Where we listen, out of reach of everybody outside. */
export function loopbackAddress(): Kind<Address> {
	return address(
		"loopback address",
		"a loopback address, such as 127.0.0.1:9802, [::1]:9802 or unix:/run/outrigger.sock",
		listenPattern,
		parseListen,
		(parsed) => (isLoopback(parsed) ? undefined : "this can be reached from outside the pod"),
	);
}

/** Where somebody else listens. */
export function targetAddress(): Kind<Address> {
	return address(
		"address",
		"an address such as localhost:3000, 10.0.0.7:3000, [::1]:3000 or unix:/run/app.sock",
		"^(?:unix:/.+|(?:[A-Za-z0-9_.-]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5})$",
		parseTarget,
	);
}

export function ipAddress(): Kind<string> {
	return text({
		label: "IP address",
		expected: "an IP address",
		pattern: "[0-9A-Fa-f:.]+",
		charactersMax: 45,
		refuse: (value) => (isIP(value) === 0 ? "this is not an IP address" : undefined),
	});
}

/** A URL with a host and one of the schemes; `needsPort` where the scheme has no port of its own. */
export function url(schemes: readonly string[], needsPort: boolean): Kind<string> {
	const examples = schemes.map((scheme) => `${scheme}://…`).join(", ");
	return text({
		label: "URL",
		expected: `a URL that begins with ${examples}`,
		pattern: `(?:${schemes.join("|")})://[^\\s/?#]+[^\\s]*`,
		charactersMax: 2000,
		refuse: (value) => {
			const parsed = URL.parse(value);
			if (parsed === null || parsed.host === "") return "this is not a URL";
			if (parsed.hash !== "") return "a fragment (#…) is never sent";
			return needsPort && parsed.port === "" && !/^https?:$/.test(parsed.protocol) ? "the port is missing" : undefined;
		},
		show: hideUserinfo,
	});
}

/** `http://user:secret@host/` → `http://[hidden]@host/`. */
export function hideUserinfo(value: string): string {
	return value.replace(/(:\/\/)[^/?#\s]*@/, "$1[hidden]@");
}

export interface ListBounds {
	readonly itemsMin?: number;
	readonly itemsMax: number;
	/** Of the items, for labels: `paths`. */
	readonly plural: string;
}

/** A list of simple values without repetition. A variable holds them with commas between, or `none`. */
export function list(item: Kind<string>, bounds: ListBounds): Kind<readonly string[]> {
	const { itemsMax, itemsMin = 0, plural } = bounds;
	const readItems = (input: Input): readonly Input[] | Failed => {
		if (input.form === "list") return input.items;
		if (input.form === "scalar" && input.type !== "string") return mismatch("wrong_type", input, "this is not a list");
		if (input.form === "scalar" && input.text !== "none") {
			return mismatch("wrong_type", input, "this is not a list; put it in brackets");
		}
		const value = textOf(input);
		if (typeof value !== "string") return value;
		if (value === "none") return [];
		return value.split(",").map((part): Input => ({ form: "text", place: input.place, text: part.trim() }));
	};
	const written = (values: readonly string[], one: (value: string) => Written): Written =>
		values.map((value) => String(one(value)));
	const show = item.show ?? item.write;
	return {
		label: `list of ${plural}`,
		expected: `a list of at most ${itemsMax} ${plural}, each ${item.expected}`,
		schema: {
			type: "array",
			items: item.schema,
			maxItems: itemsMax,
			uniqueItems: true,
			...(itemsMin === 0 ? {} : { minItems: itemsMin }),
		},
		isList: true,
		read: (input) => {
			const items = readItems(input);
			if ("mismatches" in items) return items;
			if (items.length > itemsMax) return mismatch("out_of_bounds", input, `there are ${items.length} ${plural}`);
			if (items.length < itemsMin) return mismatch("out_of_bounds", input, `there are only ${items.length} ${plural}`);
			const values: string[] = [];
			const mismatches: Mismatch[] = [];
			for (const each of items) {
				const reading = item.read(each);
				if ("mismatches" in reading) mismatches.push(...reading.mismatches);
				else if (values.includes(reading.value)) {
					mismatches.push({
						kind: "duplicate",
						message: "this is there twice",
						found: describeInput(each),
						place: each.place,
					});
				} else values.push(reading.value);
			}
			return mismatches.length === 0 ? { value: values } : { mismatches };
		},
		write: (values) => written(values, item.write),
		show: (values) => written(values, show),
	};
}

export type Pairs = Readonly<Record<string, string>>;

/** Names with values. A variable holds them as `a=1,b=2` with percent-encoding, as OpenTelemetry writes them, or `none`. */
export function pairs(name: TextRule, value: TextRule, pairsMax: number): Kind<Pairs> {
	const [nameKind, valueKind] = [text(name), text(value)];
	const readEntries = (input: Input): readonly (readonly [string, Input])[] | Failed => {
		if (input.form === "map") return input.entries;
		if (input.form === "text" || (input.form === "scalar" && input.type === "string" && input.text === "none")) {
			const entries = input.text === "none" ? [] : splitPairs(input.text);
			if (entries === undefined) return mismatch("bad_value", input, "this is not name=value with commas between");
			return entries.map(([key, held]) => [key, { form: "text", place: input.place, text: held }] as const);
		}
		return mismatch("wrong_type", input, "this is not a mapping of names to values");
	};
	return {
		label: "names with values",
		expected: `at most ${pairsMax} names with values, each name ${name.expected}, each value ${value.expected}; in a variable name=value,name=value`,
		schema: {
			anyOf: [
				{
					type: "object",
					maxProperties: pairsMax,
					propertyNames: nameKind.schema,
					additionalProperties: valueKind.schema,
				},
				{ const: "none" },
			],
		},
		read: (input) => {
			const entries = readEntries(input);
			if ("mismatches" in entries) return entries;
			if (entries.length > pairsMax) return mismatch("out_of_bounds", input, `there are ${entries.length} names`);
			const kept = new Map<string, string>();
			const mismatches: Mismatch[] = [];
			for (const [key, held] of entries) {
				const [keyReading, reading] = [
					nameKind.read({ form: "text", place: held.place, text: key }),
					valueKind.read(held),
				];
				if ("mismatches" in keyReading) mismatches.push(...keyReading.mismatches);
				if ("mismatches" in reading) mismatches.push(...reading.mismatches);
				if (!("value" in keyReading) || !("value" in reading)) continue;
				if (kept.has(keyReading.value)) {
					mismatches.push({
						kind: "duplicate",
						message: "this name is there twice",
						found: quote(key),
						place: held.place,
					});
				}
				kept.set(keyReading.value, reading.value);
			}
			return mismatches.length === 0 ? { value: Object.fromEntries(kept) } : { mismatches };
		},
		write: (value) => (Object.keys(value).length === 0 ? "none" : value),
	};
}

/** `a=1,b=two%20words` → pairs; `undefined` when one has no name or no `=`, or is not percent-encoded rightly. */
export function splitPairs(source: string): readonly (readonly [name: string, value: string])[] | undefined {
	const entries: [string, string][] = [];
	for (const part of source.split(",")) {
		if (part.trim() === "") continue; // W3C Baggage and OpenTelemetry both write a comma at the end at times
		const equals = part.indexOf("=");
		if (equals < 1) return undefined;
		try {
			entries.push([
				decodeURIComponent(part.slice(0, equals).trim()),
				decodeURIComponent(part.slice(equals + 1).trim()),
			]);
		} catch {
			return undefined; // URIError: the only thing that decodeURIComponent throws
		}
	}
	return entries;
}

/** A kind that also takes one word, which stands for a value of its own: `none`, `auto`. */
export function or<T, const V>(kind: Kind<T>, word: string, stands: V): Kind<T | V> {
	const isWord = (value: T | V): value is V => Object.is(value, stands);
	const show = kind.show ?? kind.write;
	return {
		label: `${kind.label} or ${word}`,
		expected: `${word} or ${kind.expected}`,
		schema: { anyOf: [{ const: word }, kind.schema] },
		read: (input) => {
			const isText = input.form === "text" || (input.form === "scalar" && input.type === "string");
			return isText && input.text === word ? { value: stands } : kind.read(input);
		},
		write: (value) => (isWord(value) ? word : kind.write(value)),
		show: (value) => (isWord(value) ? word : show(value)),
	};
}

/** A kind for a key that may have no value at all; `undefined` is then not something that can be written. */
export function optional<T>(kind: Kind<T>): Kind<T | undefined> {
	return {
		...kind,
		write: (value) => (value === undefined ? "" : kind.write(value)),
		show: (value) => (value === undefined ? "" : (kind.show ?? kind.write)(value)),
	};
}
