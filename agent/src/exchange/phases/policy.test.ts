import assert from "node:assert/strict";
import { test } from "node:test";
import { FAULTS } from "../../foundation/fault.ts";
import { arrived, groundFrom } from "../exchange.fixture.ts";
import type { Exchange } from "../exchange.ts";
import { RouteTable } from "../route-table.ts";
import { policy } from "./policy.ts";
import { route } from "./route.ts";

const ground = groundFrom();
const routes = new RouteTable({
	table: [
		{ path: "/upload", methods: ["POST"], bodyBytesMax: 100, responseMs: 5_000 },
		{ path: "/reports/{id}", methods: [], bodyBytesMax: undefined, responseMs: 60_000 },
	],
	collapse: true,
	seriesMax: 100,
	policy: { bodyBytesMax: 10, responseMs: 1_000 },
});
const phase = route(routes);

const routed = (line: string, ...fields: readonly string[]): Exchange => {
	const x = arrived(ground, [`${line} HTTP/1.1`, "host: a", ...fields]);
	assert.equal(phase(x), undefined);
	return x;
};

test("a request has the bounds of its route; where the table says nothing, those of the agent", () => {
	const cases: readonly (readonly [line: string, template: string, bodyBytesMax: number, responseMs: number])[] = [
		["POST /upload", "/upload", 100, 5_000],
		["PUT /upload", "/upload", 10, 1_000],
		["GET /reports/7", "/reports/{id}", 10, 60_000],
		["GET /orders/7", "/orders/{id}", 10, 1_000],
	];
	for (const [line, template, bodyBytesMax, responseMs] of cases) {
		const x = routed(line);
		assert.equal(policy(x), undefined);
		assert.deepEqual([x.route, x.bodyBytesMax, x.responseMs], [template, bodyBytesMax, responseMs], line);
	}
});

test("a body that says that it is too large is refused before it is asked for", () => {
	assert.equal(policy(routed("POST /upload", "content-length: 100")), undefined);
	assert.equal(policy(routed("POST /upload", "content-length: 101")), FAULTS.body_too_large);
	assert.equal(
		policy(routed("POST /upload", "transfer-encoding: chunked")),
		undefined,
		"it has not said how large it is",
	);
});

test("without a route nothing is bounded here", () => {
	const x = arrived(ground, ["POST / HTTP/1.1", "host: a", "content-length: 1000"]);
	assert.equal(policy(x), undefined);
	assert.equal(x.bodyBytesMax, Number.POSITIVE_INFINITY);
});
