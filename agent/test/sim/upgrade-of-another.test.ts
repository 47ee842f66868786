import { strict as assert } from "node:assert";
import { test } from "node:test";
import { connect, field, startApp, startPlane } from "../story/harness.ts";

const ask = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket, chat/2\r\n\r\n";

/** Found by the simulation (a tunnel gave other bytes than were sent). RFC 9110 §7.8: only to a protocol that the client named. */
test("a 101 to a protocol that the client did not ask for is refused with 502", async () => {
	await using app = await startApp(async (wire) => {
		await wire.request();
		wire.write("HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: other\r\n\r\nbytes of no protocol");
	});
	await using plane = await startPlane(app.port);
	{
		await using client = await connect(plane.port);
		client.write(ask);
		const answer = await client.response();
		assert.equal(answer.status, 502);
		assert.equal(field(answer, "x-outrigger-error"), "app_upgrade_unasked");
	}
	await plane.settle();
	assert.equal(plane.reasonOf(plane.records[0]), "app_upgrade_unasked");
});

test("a 101 to one of the protocols that the client asked for opens the tunnel, however it is spelled", async () => {
	await using app = await startApp(async (wire) => {
		await wire.request();
		wire.write("HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: Chat/2\r\n\r\nhello");
		wire.end();
	});
	await using plane = await startPlane(app.port);
	{
		await using client = await connect(plane.port);
		client.write(ask);
		assert.equal((await client.response()).status, 101);
		assert.equal((await client.take(5)).toString(), "hello");
	}
	await plane.settle();
});
