import assert from "node:assert/strict";
import { test } from "node:test";
import * as contract from "./index.ts";
import * as names from "./names.ts";

test("the door hands out every name of names.ts and nothing else", () => {
	assert.deepEqual(Object.keys(contract).sort(), Object.keys(names).sort());
});

test("the ports are those that manifests, alerts and probes are written with", () => {
	assert.deepEqual(contract.PORTS, { ops: 9801, api: 9802, inbound: 9810 });
	assert.equal(contract.DEFAULT_AGENT_URL, "http://127.0.0.1:9802");
});

test("header names are lower-case tokens, so that HTTP/2 may carry them as they are", () => {
	for (const name of Object.values(contract.HEADERS)) assert.match(name, /^[a-z0-9!#$%&'*+.^_`|~-]+$/, name);
});

test("a header of ours begins with the prefix that clients and apps cannot forge", () => {
	assert.ok(contract.HEADERS.error.startsWith(contract.OWN_HEADER_PREFIX));
	assert.ok(contract.HEADERS.route.startsWith(contract.OWN_HEADER_PREFIX));
});

test("variables begin with the common prefix and cannot be taken for a configuration key", () => {
	for (const name of Object.values(contract.VARIABLES)) {
		assert.ok(name.startsWith(contract.VARIABLE_PREFIX), name);
		assert.ok(!name.includes("__"), `${name}: two underscores stand for a level of the configuration`);
	}
});

test("ops paths are absolute, without a trailing slash, and no two are the same", () => {
	const paths = Object.values(contract.OPS_PATHS);
	for (const path of paths) assert.match(path, /^(\/[a-z]+)+$/, path);
	assert.equal(new Set(paths).size, paths.length);
});

test("methods are paths as Connect writes them, in our package, and no two are the same", () => {
	const paths = Object.values(contract.API_METHODS);
	for (const path of paths) assert.match(path, /^\/outrigger\.v1\.[A-Z][A-Za-z]+\/[A-Z][A-Za-z]+$/, path);
	assert.equal(new Set(paths).size, paths.length);
});

test("nobody can change a name at run time", () => {
	const { PORTS, HEADERS, VARIABLES, OPS_PATHS, API_METHODS } = contract;
	for (const table of [PORTS, HEADERS, VARIABLES, OPS_PATHS, API_METHODS]) {
		assert.ok(Object.isFrozen(table));
	}
});
