/** Heads that are well formed and mean harm. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { CELL } from "../../src/bridge/counters.ts";
import { answering, connect, field, ok, startApp, startPlane } from "./harness.ts";

test("Max-Forwards that Connection names is cut, and is no mistake of ours", async () => {
	await using app = await startApp(answering((request) => ok(field(request, "max-forwards") ?? "none")));
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	client.write("OPTIONS /a HTTP/1.1\r\nhost: a\r\nmax-forwards: 5\r\nconnection: max-forwards\r\n\r\n");
	const response = await client.response();
	assert.equal(response.status, 200);
	assert.equal(response.body.toString(), "none");
	assert.equal(plane.counters.get(CELL.INTERNAL_FAULTS), 0);
	client.end();
	await plane.settle();
});
