import assert from "node:assert/strict";
import { test } from "node:test";
import { parse } from "yaml";
import { configurationSchema } from "./json-schema.ts";
import { defaultOf, KEY_PATHS, keyOf } from "./keys.ts";
import type { JsonSchema } from "./kinds.ts";

const schema = configurationSchema();

function isSchema(value: unknown): value is JsonSchema {
	return typeof value === "object" && value !== null && !Array.isArray(value);
}

function part(of: JsonSchema, keyword: string): JsonSchema | undefined {
	const value = of[keyword];
	return isSchema(value) ? value : undefined;
}

function parts(of: JsonSchema, keyword: string): readonly JsonSchema[] {
	const value = of[keyword];
	return Array.isArray(value) ? value.filter(isSchema) : [];
}

/** As much of draft 2020-12 as the schema uses; an unknown keyword fails. Returns where and why a value does not fit. */
function misfits(of: JsonSchema, value: unknown, path = "$"): readonly string[] {
	const found: string[] = [];
	const fail = (why: string): void => void found.push(`${path}: ${why}`);
	const typeOf = (): string => (value === null ? "null" : Array.isArray(value) ? "array" : typeof value);
	for (const [keyword, argument] of Object.entries(of)) {
		switch (keyword) {
			case "$schema":
			case "title":
			case "description":
			case "default":
			case "examples":
				break;
			case "type": {
				const types: readonly unknown[] = Array.isArray(argument) ? argument : [argument];
				const fits = types.includes(typeOf()) || (types.includes("integer") && Number.isInteger(value));
				if (!fits) fail(`is ${typeOf()}, not ${types.join(" or ")}`);
				break;
			}
			case "const":
				if (value !== argument) fail(`is not ${String(argument)}`);
				break;
			case "enum":
				if (!Array.isArray(argument) || !argument.includes(value)) fail("is no choice");
				break;
			case "pattern":
				if (typeof value === "string" && !new RegExp(String(argument), "u").test(value))
					fail(`does not match ${String(argument)}`);
				break;
			case "maxLength":
				if (typeof value === "string" && value.length > Number(argument)) fail("is too long");
				break;
			case "minimum":
				if (typeof value === "number" && value < Number(argument)) fail("is too small");
				break;
			case "maximum":
				if (typeof value === "number" && value > Number(argument)) fail("is too large");
				break;
			case "minItems":
				if (Array.isArray(value) && value.length < Number(argument)) fail("has too few");
				break;
			case "maxItems":
				if (Array.isArray(value) && value.length > Number(argument)) fail("has too many");
				break;
			case "uniqueItems":
				if (Array.isArray(value) && new Set(value).size < value.length) fail("has one twice");
				break;
			case "items":
				if (Array.isArray(value) && isSchema(argument))
					for (const [index, item] of value.entries()) found.push(...misfits(argument, item, `${path}[${index}]`));
				break;
			case "anyOf":
				if (parts(of, "anyOf").every((each) => misfits(each, value).length > 0)) fail("fits none of the alternatives");
				break;
			case "required":
				for (const name of Array.isArray(argument) ? argument : [])
					if (isSchema(value) && !(String(name) in value)) fail(`lacks ${String(name)}`);
				break;
			case "maxProperties":
				if (isSchema(value) && Object.keys(value).length > Number(argument)) fail("has too many");
				break;
			case "propertyNames":
				for (const name of isSchema(value) && isSchema(argument) ? Object.keys(value) : [])
					found.push(...misfits(argument as JsonSchema, name, `${path} name`)); // checked in the condition
				break;
			case "properties":
			case "additionalProperties":
				break; // below, together
			default:
				fail(`keyword ${keyword} is not known`);
		}
	}
	if (isSchema(value) && of["additionalProperties"] !== undefined) {
		const properties = part(of, "properties") ?? {};
		const rest = part(of, "additionalProperties");
		for (const [name, child] of Object.entries(value)) {
			const own = part(properties, name) ?? rest;
			if (own === undefined) fail(`has no key ${name}`);
			else found.push(...misfits(own, child, `${path}.${name}`));
		}
	}
	return found;
}

/** Every schema in the schema. */
function* all(of: JsonSchema): Iterable<JsonSchema> {
	yield of;
	for (const keyword of ["items", "additionalProperties", "propertyNames"]) {
		const child = part(of, keyword);
		if (child !== undefined) yield* all(child);
	}
	for (const child of Object.values(part(of, "properties") ?? {})) if (isSchema(child)) yield* all(child);
	for (const child of parts(of, "anyOf")) yield* all(child);
}

test("says its draft, is plain JSON, and closes every mapping of keys", () => {
	assert.equal(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
	assert.deepEqual(JSON.parse(JSON.stringify(schema)), schema);
	for (const each of all(schema)) {
		if (each["properties"] !== undefined) assert.equal(each["additionalProperties"], false);
		if (each["pattern"] !== undefined) assert.doesNotThrow(() => new RegExp(String(each["pattern"]), "u"));
	}
});

test("describes every key, and its own defaults and examples fit", () => {
	for (const path of KEY_PATHS) {
		let at: JsonSchema | undefined = schema;
		for (const segment of path.split(".")) {
			at = part(part(at ?? {}, "properties") ?? {}, segment.replace("[]", ""));
			if (segment.endsWith("[]")) at = part(at ?? {}, "items");
		}
		assert.ok(at !== undefined, path);
		assert.match(String(at["description"]), /Variable: OUTRIGGER_/, path);
		assert.deepEqual(misfits(at, keyOf(path).example), [], path);
		const written = defaultOf(path);
		if (written !== undefined) assert.deepEqual(misfits(at, written), [], path);
		assert.deepEqual(at["default"], path.includes("[]") ? undefined : written, path);
	}
});

test("accepts a right file and finds what is wrong in others", () => {
	const right = [
		"",
		"inbound:\n  - { app: localhost:3000 }\n",
		"limits: { buffered: auto, inFlight: none, body: 10MiB }\nlog: { skip: [probes, /internal/*] }\nhealth:\n",
		"traces: { headers: { authorization: Bearer x }, resourceAttributes: { team: shop } }",
		"routes: { table: [{ path: '/a/{id}', methods: [GET], body: none }] }",
	];
	for (const source of right) assert.deepEqual(misfits(schema, parse(source)), [], source);
	const wrong = [
		"timeout: { head: 1s }",
		"timeouts: { head: 10 }",
		"limits: { body: 10Mi }",
		"workers: 0",
		"log: { level: loud }",
		"inbound: [{ listen: 9810 }]",
		"routes: { table: [{ methods: [GET] }] }",
		"identity: { headers: [a] }",
		"probes: { paths: [/a, /a] }",
		"capture: [port]",
	];
	for (const source of wrong) assert.notDeepEqual(misfits(schema, parse(source)), [], source);
});
