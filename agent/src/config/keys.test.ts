import assert from "node:assert/strict";
import { test } from "node:test";
import { concretePath, findPath, findVariable, objectListOf, variableOf } from "./key-tree.ts";
import { defaultOf, KEY_PATHS, keyOf, objectLists } from "./keys.ts";
import type { Input, Written } from "./kinds.ts";
import { asText, isListKey } from "./layer.ts";

function fromVariable(written: Written): Input {
	const encoded =
		typeof written === "object" && !Array.isArray(written)
			? Object.fromEntries(
					Object.entries(written).map(([name, value]) => [encodeURIComponent(name), encodeURIComponent(value)]),
				)
			: written;
	return { form: "text", place: { kind: "variable", name: "X" }, text: asText(encoded) };
}

test("every default and every example is a value of its key, also as a variable's text, and is written as it was read", () => {
	for (const path of KEY_PATHS) {
		const { kind, example } = keyOf(path);
		for (const written of [defaultOf(path), defaultOf(path, 1), example]) {
			if (written === undefined) continue;
			const reading = kind.read(fromVariable(written));
			assert.ok("value" in reading, `${path}: ${asText(written)} ${JSON.stringify(reading)}`);
			const again = kind.read(fromVariable(kind.write(reading.value)));
			assert.deepEqual(again, reading, path);
		}
	}
});

test("an example is never the default: it would show nothing", () => {
	for (const path of KEY_PATHS) assert.notDeepEqual(keyOf(path).example, defaultOf(path), path);
});

test("a key without a default says what happens then", () => {
	for (const path of KEY_PATHS) {
		const { defaultNote, meaning } = keyOf(path);
		if (defaultOf(path) === undefined) assert.ok(defaultNote !== undefined, path);
		assert.match(meaning, /^\S.*[.]$/s, `${path}: the meaning is a sentence`);
	}
});

test("each key has one variable, and the variable leads back to the key", () => {
	const names = new Set<string>();
	for (const path of KEY_PATHS) {
		for (const index of [0, 7, 31]) {
			const concrete = concretePath(path, index);
			const name = variableOf(concrete);
			assert.match(name, /^OUTRIGGER(?:_{1,2}[A-Z0-9]+)+$/);
			assert.deepEqual(findVariable(name, isListKey), { type: "key", path, concrete });
			assert.deepEqual(findPath(concrete, isListKey), { type: "key", path, concrete });
			names.add(name);
			if (objectListOf(path) === undefined) break;
		}
		const item = findVariable(`${variableOf(path)}__3`, isListKey);
		if (isListKey(path)) assert.equal(item?.type === "key" ? item.itemIndex : undefined, 3, path);
		else assert.equal(item, undefined, path);
	}
	const items = KEY_PATHS.filter((path) => objectListOf(path) !== undefined).length;
	assert.equal(names.size, KEY_PATHS.length + 2 * items);
	assert.equal(variableOf("timeouts.bodyStall"), "OUTRIGGER_TIMEOUTS__BODY_STALL");
	assert.equal(variableOf("inbound.0.listen"), "OUTRIGGER_INBOUND__0__LISTEN");
});

test("what is no key leads nowhere, and what holds keys is no key", () => {
	for (const name of [
		"OUTRIGGER_",
		"OUTRIGGER_TIMEOUTS_HEAD",
		"OUTRIGGER_INBOUND__X__APP",
		"OUTRIGGER_INBOUND__00__APP",
		"HEAD",
		"OUTRIGGER_timeouts__head",
	]) {
		assert.equal(findVariable(name, isListKey), undefined, name);
	}
	assert.deepEqual(findVariable("OUTRIGGER_TIMEOUTS", isListKey), { type: "section", concrete: "timeouts" });
	assert.deepEqual(findPath("inbound", isListKey), { type: "objects", concrete: "inbound" });
	assert.deepEqual(findPath("inbound.0", isListKey), { type: "section", concrete: "inbound.0" });
	assert.equal(findPath("workers.0", isListKey), undefined);
	assert.equal(findPath("", isListKey), undefined);
});

test("every list of objects is told, and has keys", () => {
	for (const list of Object.keys(objectLists)) {
		assert.ok(
			KEY_PATHS.some((path) => objectListOf(path) === list),
			list,
		);
	}
});
