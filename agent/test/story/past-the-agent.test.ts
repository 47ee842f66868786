/** Who comes past the agent: with a data path he is told of and waited for, and with `capture: none` there is nobody else. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { listeningPorts } from "../../src/lifecycle/listening-ports.ts";
import { type AgentProcess, type Json, outrigger, startProcess } from "./agent-process.ts";
import { answering, connect, ok, startApp } from "./harness.ts";

const GET = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const isLinux = process.platform === "linux";
const skip = isLinux ? false : "sockets are seen in /proc";

/** The contributor of that name, wherever it is in the tree. */
const contributor = (tree: Json, name: string): Json | undefined => {
	for (const child of (tree["contributors"] as readonly Json[] | undefined) ?? []) {
		const found = child["name"] === name ? child : contributor(child, name);
		if (found !== undefined) return found;
	}
	return undefined;
};

const withoutDataPath = (appPort: number, set: Readonly<Record<string, string>> = {}): Promise<AgentProcess> =>
	startProcess(appPort, { set: { capture: "none", "inbound.0.listen": undefined, "drain.sigterm": "stop", ...set } });

describe("past the agent", { concurrency: 4, timeout: 60_000, skip }, () => {
	test("a connection to the app's own port that is no probe: counted, told in health with what to change, waited for by a drain", async () => {
		await using app = await startApp(answering(() => ok()));
		await using agent = await startProcess(app.port, { set: { "drain.sigterm": "stop", "probes.timeout": "100ms" } });
		await using direct = await connect(app.port);
		direct.write(GET);
		await direct.response();
		await using ours = await connect(agent.port);
		ours.write(GET);
		await ours.response();
		await agent.untilMetric("outrigger_bypass_connections", 1);
		const advice = contributor((await agent.api("getHealth")).answer, "bypass");
		assert.deepEqual([advice?.["status"], advice?.["reason"]], ["warn", "bypass"]);
		assert.match(String(advice?.["detail"]), /^1 connection to the app came past the agent, from 127\.0\.0\.1/);
		assert.match(String(advice?.["advice"]), new RegExp(`targetPort.* instead of ${app.port}$`));
		assert.equal((await agent.ops("/readyz")).status, 200, "it is advice and no more");
		const { stdout } = await outrigger("status", "--url", agent.url);
		assert.match(stdout, /targetPort/);

		await outrigger("drain", "--url", agent.url);
		await agent.waitsFor("1 connection that came past us");
		direct.write(GET);
		assert.equal((await direct.response()).status, 200);
		direct.end();
		const { answer } = await agent.api("drain", { wait: true });
		const report = answer["report"] as Json; // it is over
		assert.deepEqual([report["ended"], report["bypassSeen"], report["bypassLeft"]], ["idle", 1, 0]);
		assert.equal(await agent.metric("outrigger_bypass_connections"), 0);
		assert.equal((await agent.endBy("SIGTERM")).code, 0);
	});

	test("capture: none has no data path: two ports, the app's readiness, its metrics, and an end with 0", async () => {
		await using app = await startApp(
			answering(({ target }) =>
				ok(target === "/metrics" ? "shop_orders_total 7\n" : "ok", "content-type: text/plain\r\n"),
			),
		);
		const { port } = app;
		const set = {
			"metrics.app": `http://127.0.0.1:${port}/metrics`,
			"health.app.interval": "200ms",
			"health.app.timeout": "200ms",
		};
		await using agent = await withoutDataPath(port, set);
		assert.ok(agent.child.pid !== undefined);
		const bound = (await listeningPorts(agent.child.pid)).map((each) => each.port);
		assert.deepEqual(bound.toSorted(), [agent.opsPort, agent.apiPort].toSorted());
		for (const path of ["/livez", "/readyz", "/startupz"]) assert.equal((await agent.ops(path)).status, 200, path);
		const { text } = await agent.ops("/metrics");
		for (const line of ["shop_orders_total 7", 'outrigger_state{state="ready"} 1', "outrigger_bypass_connections 0"]) {
			assert.ok(text.includes(`${line}\n`), text);
		}
		assert.doesNotMatch(
			text,
			/^http_server_request_duration_seconds_count/m,
			"where nothing passes nothing is counted",
		);
		const { code, stdout, stderr } = await outrigger("status", "--url", agent.url);
		assert.deepEqual([code, stderr], [0, ""]);
		assert.match(stdout, /ready/);
		assert.match(stdout, new RegExp(`127\\.0\\.0\\.1:${port}`));

		await app[Symbol.asyncDispose]();
		await agent.readyz(/^fail app_refuses\n$/);
		assert.equal((await agent.ops("/livez")).status, 200);
		await using _again = await startApp(
			answering(() => ok()),
			"127.0.0.1",
			port,
		);
		await agent.readyz(/^ok\n$/);
		assert.equal((await agent.endBy("SIGTERM")).code, 0);
	});

	test("capture: none waits for the connections of its app, and for nobody else's", async () => {
		await using app = await startApp(answering(() => ok()));
		await using other = await startApp(answering(() => ok()));
		await using agent = await withoutDataPath(app.port);
		// They stay to the end: a connection of another service, one to the agent itself, and one that only connects.
		await using _neighbour = await connect(other.port);
		await using _scraper = await connect(agent.opsPort);
		await using direct = await connect(app.port);
		direct.write(GET);
		await direct.response();
		const hook = agent.ops("/lifecycle/drained");
		assert.equal((await outrigger("drain", "--url", agent.url)).code, 0);
		await agent.waitsFor("1 connection that came past us");
		direct.write(GET);
		assert.equal((await direct.response()).status, 200, "nobody has told it to go");
		direct.end();
		const { outcome, ended } = JSON.parse((await hook).text) as Json; // an object is what the hook answers
		assert.deepEqual([outcome, ended], ["drained", "idle"]);
		const report = (await agent.api("getInfo")).answer["report"] as Json; // it is over
		assert.deepEqual([report["bypassSeen"], report["bypassLeft"]], [1, 0]);
		assert.equal((await agent.endBy("SIGTERM")).code, 0);
	});

	test("capture: none waits for a connection that nobody ends until the deadline, and says how many were left", async () => {
		await using app = await startApp(answering(() => ok()));
		await using agent = await withoutDataPath(app.port, {
			"drain.grace": "6s",
			"drain.appStop": "0s",
			"drain.agentStop": "500ms",
		});
		await using direct = await connect(app.port);
		direct.write(GET);
		await direct.response();
		const { answer } = await agent.api("drain", { wait: true });
		const report = answer["report"] as Json; // it is over
		assert.deepEqual([report["ended"], report["bypassLeft"], report["left"]], ["deadline", 1, 0]);
		assert.equal((await agent.endBy("SIGTERM")).code, 0);
		assert.ok(!direct.isClosed && !direct.isEnded, "it is the app's, and the app's to end");
	});
});
