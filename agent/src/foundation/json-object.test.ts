import assert from "node:assert/strict";
import { test } from "node:test";
import { isJsonObject } from "./json-object.ts";

test("an object of JSON is neither null nor a list, text, number or truth", () => {
	for (const json of ["{}", '{"a":null}', '{"length":0}']) assert.ok(isJsonObject(JSON.parse(json)), json);
	for (const json of ["null", "[]", "[{}]", '"{}"', "1", "true"]) assert.ok(!isJsonObject(JSON.parse(json)), json);
	assert.ok(!isJsonObject(undefined));
});
