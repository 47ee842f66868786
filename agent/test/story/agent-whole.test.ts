/** The whole agent in this process: what data threads, observers and the ops port say of the same traffic. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { answering, connect, eventually, ok, startAgent, startApp } from "./harness.ts";

const GET = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

test("the very first request already comes from an address that the app does not take for its own machine's", async (t) => {
	if (process.platform !== "linux") return t.skip("elsewhere loopback cannot be left");
	await using app = await startApp(answering((_, wire) => ok(wire.socket.remoteAddress ?? "")));
	for (let round = 0; round < 3; round++) {
		await using agent = await startAgent(app.port);
		await using client = await connect(agent.port);
		client.write(GET);
		const seen = (await client.response()).body.toString();
		assert.notEqual(seen, "127.0.0.1");
		assert.notEqual(seen, "::1");
		client.end();
		await agent.accessLines(1);
	}
});

test("connections.source none: the app sees loopback, as it was asked for", async () => {
	await using app = await startApp(answering((_, wire) => ok(wire.socket.remoteAddress ?? "")));
	await using agent = await startAgent(app.port, { "connections.source": "none" });
	await using client = await connect(agent.port);
	client.write(GET);
	assert.equal((await client.response()).body.toString(), "127.0.0.1");
	client.end();
});

test("one access line for each exchange, however it ended: answered, refused, cut by the client, cut by the app", async () => {
	await using app = await startApp(async (wire) => {
		for (;;) {
			await wire.until(() => wire.unread.length > 0 || wire.isEnded || wire.isClosed, "a request");
			if (wire.unread.length === 0) return;
			const { target } = await wire.request();
			if (target === "/truncated") {
				wire.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
				wire.end();
				return;
			}
			isAsked = target === "/never";
			if (!isAsked) wire.write(ok());
		}
	});
	let isAsked = false;
	await using agent = await startAgent(app.port);
	for (const request of [
		GET,
		"GET /malformed HTTP/1.1\r\n\r\n",
		GET.replace("/", "/truncated"),
		GET.replace("/", "/never"),
	]) {
		await using client = await connect(agent.port);
		client.write(request);
		if (request.includes("/never")) {
			await eventually(() => isAsked, "the request");
			client.reset();
		} else {
			await client.until(() => client.receivedBytes > 0 || client.isClosed, "an answer, or the end");
			if (request.includes("/truncated")) await client.closed();
		}
	}
	const lines = await agent.accessLines(4);
	assert.deepEqual(
		lines.map((line) => [line["url.path"], line["error.type"], line["ended_by"]]),
		[
			["/", undefined, "app"],
			["/malformed", "host_missing", "agent"],
			["/truncated", "app_truncated", "app"],
			["/never", "client_closed", "client"],
		],
	);
	const { text } = await agent.ops("/metrics");
	for (const wanted of [
		'outrigger_refused_total{reason="host_missing"} 1',
		'outrigger_refused_total{reason="client_closed"} 1',
		'outrigger_upstream_failures_total{reason="app_truncated"} 1',
	]) {
		assert.ok(text.includes(wanted), `${wanted} in\n${text}`);
	}
});
