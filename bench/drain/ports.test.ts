import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";
import { Dice } from "../../agent/test/sim/dice.ts";
import { highestListeningPort, listeningPorts } from "./ports.ts";

test("ports for listening lie below those that the kernel gives to outgoing connections", async () => {
	assert.equal(
		highestListeningPort(() => "32768\t60999\n"),
		32_767,
	);
	assert.equal(
		highestListeningPort(() => "20000\t60999\n"),
		19_999,
	);
	const unknown = highestListeningPort(() => {
		throw new Error("no such file");
	});
	assert.equal(unknown, 32_767);
	assert.equal(
		highestListeningPort(() => "1024 65535"),
		32_767,
	); // there is nothing below: as good as anything
	const ports = await listeningPorts(20, new Dice(5));
	assert.equal(new Set(ports).size, 20);
	for (const port of ports) assert.ok(port >= 10_000 && port <= highestListeningPort());
});

test("a port that is taken is passed over", async () => {
	const [first = 0] = await listeningPorts(1, new Dice(6));
	const server = createServer();
	server.listen(first, "127.0.0.1");
	await once(server, "listening");
	const [second] = await listeningPorts(1, new Dice(6));
	assert.notEqual(second, first);
	server.close();
});
