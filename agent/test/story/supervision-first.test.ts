/** What supervises never waits behind what observes: probes, hooks and the drain are answered while a huge page of metrics is made and clients come without a pause. */
import { strict as assert } from "node:assert";
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import { test } from "node:test";
import { type Json, outrigger, startProcess } from "./agent-process.ts";
import { answering, connect, field, ok, type Response, startApp, type Wire } from "./harness.ts";

const GET = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/** Some 8 MiB: what an app with careless labels has. */
const SAMPLES = 100_000;
const hugePage = (): string => {
	const lines = ["# TYPE shop_requests counter"];
	for (let i = 0; i < SAMPLES; i++)
		lines.push(`shop_requests_total{customer="customer-number-${i}",shop="north"} ${i}`);
	return `${lines.join("\n")}\n`;
};

test("a huge page that comes slowly and a flood of requests: probes, both hooks and the drain are answered before the page is", {
	timeout: 60_000,
}, async (t) => {
	// The app's page: nearly all of it at once, and the end when the test says so.
	const asked = Promise.withResolvers<ServerResponse>();
	const metrics = createServer((_, response) => {
		response.writeHead(200, { "content-type": "text/plain; version=0.0.4" });
		response.write(hugePage(), () => asked.resolve(response));
	}).listen(0, "127.0.0.1");
	t.after(() => {
		metrics.closeAllConnections();
		metrics.close();
	});
	await once(metrics, "listening");
	const address = metrics.address();
	assert.ok(typeof address === "object" && address !== null);
	await using app = await startApp(answering(() => ok()));
	await using agent = await startProcess(app.port, {
		set: {
			"metrics.app": `http://127.0.0.1:${address.port}/metrics`,
			"drain.sigterm": "stop",
			// Longer than any pause of the flood: idle connections are closed only after it.
			"drain.quietMin": "1s",
			"drain.quietMax": "1s",
		},
	});
	let isFlood = true;
	const floods = Array.from({ length: 8 }, async () => {
		let client: Wire | undefined;
		while (isFlood) {
			client ??= await connect(agent.port);
			client.write(GET.repeat(8));
			for (let i = 0; i < 8; i++) {
				const answer: Response = await client.response();
				assert.equal(answer.status, 200);
				if (field(answer, "connection") !== "close") continue;
				await client[Symbol.asyncDispose]();
				client = undefined;
				break;
			}
		}
		await client?.[Symbol.asyncDispose]();
	});
	const tale: string[] = [];
	const page = agent.ops("/metrics").then((answer) => {
		tale.push("the page");
		return answer;
	});
	const response = await asked.promise;
	for (const path of ["/livez", "/readyz", "/startupz"]) assert.equal((await agent.ops(path)).status, 200, path);
	tale.push("probes");
	const hook = agent.ops("/lifecycle/drained");
	assert.equal((await outrigger("drain", "--url", agent.url)).code, 0);
	tale.push("the drain has begun");
	assert.equal((await agent.ops("/readyz")).status, 503);
	assert.equal((await agent.api("getInfo")).status, 200);
	isFlood = false;
	await Promise.all(floods);
	const { outcome, ended } = JSON.parse((await hook).text) as Json; // an object is what the hook answers
	assert.deepEqual([outcome, ended], ["drained", "idle"]);
	tale.push("the hook");
	assert.deepEqual(tale, ["probes", "the drain has begun", "the hook"]);
	response.end();
	const { status, text } = await page;
	assert.equal(status, 200);
	assert.match(text, /^outrigger_app_metrics_up\{[^}]*\} 1$/m);
	assert.match(text, new RegExp(`^shop_requests_total\\{customer="customer-number-${SAMPLES - 1}"`, "m"));
	assert.equal((await agent.endBy("SIGTERM")).code, 0);
});
