/** Bounds that an attacker would turn against others. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { CELL } from "../../src/bridge/counters.ts";
import { answering, connect, eventually, field, ok, startApp, startPlane } from "./harness.ts";

const GET = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

test("connections that are being refused take no place from those that come when there is room again", async () => {
	await using app = await startApp(answering(ok()));
	await using plane = await startPlane(app.port, { set: { "limits.connections": "2" } });
	const open = (count: number): Promise<void> =>
		eventually(() => plane.counters.get(CELL.DOWNSTREAM_OPEN) === count, `${count} connections`);
	await using first = await connect(plane.port);
	await open(1);
	await using second = await connect(plane.port);
	await open(2);
	// Neither goes away by itself: both are read on for a while, so that their answers arrive.
	await using third = await connect(plane.port);
	assert.equal(field(await third.response(), "x-outrigger-error"), "connections_exceeded");
	await using fourth = await connect(plane.port);
	assert.equal(field(await fourth.response(), "x-outrigger-error"), "connections_exceeded");
	first.reset();
	await open(3);
	await using fifth = await connect(plane.port);
	fifth.write(GET);
	assert.equal((await fifth.response()).status, 200);
	for (const wire of [second, third, fourth, fifth]) wire.reset();
	await plane.settle();
});
