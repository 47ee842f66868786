/** Who asks 9801 without end gets no more of the agent's memory than its connections have. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { answering, connect, ok, startAgent, startApp } from "./harness.ts";

test("a client that pipelines on the ops port is cut, and the port answers others", async () => {
	await using app = await startApp(answering(ok()));
	await using agent = await startAgent(app.port);
	await using client = await connect(agent.opsPort);
	client.write("GET /metrics HTTP/1.1\r\n\r\n".repeat(1000));
	await client.until(() => client.isEnded || client.isClosed, "the end");
	assert.ok(client.receivedBytes < 1_000_000, `${client.receivedBytes} octets`);
	assert.equal((await agent.ops("/livez")).status, 200);
});

test("one request after the other is answered on one connection of the ops port", async () => {
	await using app = await startApp(answering(ok()));
	await using agent = await startAgent(app.port);
	await using client = await connect(agent.opsPort);
	for (const path of ["/livez", "/metrics", "/nothing", "/metrics", "/livez"]) {
		client.write(`GET ${path} HTTP/1.1\r\n\r\n`);
		assert.equal((await client.response()).status, path === "/nothing" ? 404 : 200);
	}
});
