import assert from "node:assert/strict";
import { once } from "node:events";
import { createConnection } from "node:net";
import { describe, test } from "node:test";
import { CELL } from "../bridge/counters.ts";
import { HandPlane } from "../data-plane.fixture.ts";
import { FAULTS } from "../foundation/fault.ts";

/** A plane that listens on ports of the system's choice, and the first of them. */
const listening = async (
	set: Readonly<Record<string, string>>,
): Promise<{ readonly run: HandPlane; readonly port: number }> => {
	const run = new HandPlane({ "inbound.0.listen": "127.0.0.1:0", ...set });
	await run.plane.obey({ kind: "listen" });
	const message = run.messages.find(({ kind }) => kind === "listening");
	assert.ok(message?.kind === "listening");
	return { run, port: message.inbounds[0]?.port ?? 0 };
};
/** Resolves when `condition` holds; looked at in every turn of the event loop. */
const until = async (condition: () => boolean): Promise<void> => {
	while (!condition()) await new Promise<void>((resolve) => setImmediate(resolve));
};

describe("an entry of inbound", () => {
	test("rejects with the system's word when its port is taken", async () => {
		const { run, port } = await listening({});
		await assert.rejects(listening({ "inbound.0.listen": `127.0.0.1:${port}` }), { code: "EADDRINUSE" });
		run.plane.stop();
	});

	test("counts every connection until it is closed, and knows none afterwards", async () => {
		const { run, port } = await listening({});
		const client = createConnection(port, "127.0.0.1");
		await until(() => run.counters.get(CELL.DOWNSTREAM_OPEN) === 1);
		client.destroy();
		await until(() => run.counters.get(CELL.DOWNSTREAM_OPEN) === 0);
		assert.equal(run.counters.get(CELL.DOWNSTREAM_OPENED), 1);
		run.plane.stop();
	});

	test("that has stopped accepts no more and has let go of all it had", async () => {
		const { run, port } = await listening({});
		const client = createConnection(port, "127.0.0.1");
		client.on("error", () => undefined);
		await until(() => run.counters.get(CELL.DOWNSTREAM_OPEN) === 1);
		run.plane.stop();
		assert.equal(run.counters.get(CELL.CUT), 0, "there was no exchange to cut");
		await once(client, "close");
		assert.equal(run.counters.get(CELL.DOWNSTREAM_OPEN), 0);
		const late = createConnection(port, "127.0.0.1");
		const [error] = await once(late, "error");
		assert.equal((error as NodeJS.ErrnoException).code, "ECONNREFUSED"); // an error event of a socket carries one
	});

	test("that speaks no HTTP/1 resets what is beyond limits.connections: its client could not read an answer", () => {
		const run = new HandPlane({ "inbound.0.protocol": "tcp", "limits.connections": "1" });
		run.client();
		const beyond = run.client();
		assert.deepEqual([beyond.ending, beyond.text], ["reset", ""]);
		assert.equal(run.counters.get(CELL.REFUSED_START + FAULTS.connections_exceeded.index), 1);
	});
});

describe("with connections.proxyProtocol", () => {
	const PROXY = { "connections.proxyProtocol": "true", "limits.connections": "2" };

	test("the client is whom the header names, and what follows it is its request", async () => {
		const { run, port } = await listening(PROXY);
		const client = createConnection(port, "127.0.0.1");
		client.write("PROXY TCP4 203.0.113.5 10.0.0.1 40000 80\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n");
		await until(() => run.toApp.length === 1);
		run.app.open();
		run.endTurn();
		assert.match(run.app.text, /\r\nx-forwarded-for: 203\.0\.113\.5\r\n/);
		run.app.say("HTTP/1.1 204 No Content\r\n\r\n");
		run.endTurn();
		const [answer] = (await once(client, "data")) as [Buffer]; // what `data` tells
		assert.match(answer.toString("latin1"), /^HTTP\/1\.1 204/);
		client.destroy();
		await until(() => run.counters.get(CELL.DOWNSTREAM_OPEN) === 0);
		run.plane.stop();
	});

	test("a connection without one is reset and counted, in its time as well", async () => {
		const { run, port } = await listening(PROXY);
		const refused = (): number => run.counters.get(CELL.REFUSED_START + FAULTS.proxy_protocol.index);
		const speaks = createConnection(port, "127.0.0.1");
		speaks.on("error", () => undefined);
		speaks.write("GET / HTTP/1.1\r\n");
		await until(() => refused() === 1);
		const silent = createConnection(port, "127.0.0.1");
		silent.on("error", () => undefined);
		// The kernel has both; the agent has accepted the second when a third beyond its bound is refused.
		const beyond = [0, 1, 2].map(() => createConnection(port, "127.0.0.1").on("error", () => undefined));
		await until(() => run.counters.get(CELL.REFUSED_START + FAULTS.connections_exceeded.index) > 0);
		run.advance(run.settings.timeouts.headMs);
		await until(() => refused() >= 3);
		run.plane.stop();
		for (const client of [speaks, silent, ...beyond]) client.destroy();
		assert.deepEqual(run.records(), [], "none of them was an exchange");
	});
});
