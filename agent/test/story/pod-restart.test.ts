/** The app's container alone is started again, after a failed liveness probe say: the kubelet calls its stop hook, ends it and starts it, and nothing else of the pod takes part. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { startProcess } from "./agent-process.ts";
import { startAppProcess } from "./app-process.ts";
import { connect } from "./harness.ts";

const GET = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

test("a hook without a drain is told of a restart; readiness goes down when the port refuses and up again; nothing is drained", async () => {
	await using first = await startAppProcess();
	const { port } = first;
	await using agent = await startProcess(port, { set: { "drain.startWithin": "200ms", "drain.sigterm": "stop" } });
	const { epoch } = (await agent.api("getInfo")).answer;
	await using client = await connect(agent.port);
	const ask = async (): Promise<number> => {
		client.write(GET);
		return (await client.response()).status;
	};
	assert.equal(await ask(), 200);

	const hook = JSON.parse((await agent.ops("/lifecycle/drained")).text) as { readonly outcome: string }; // what the hook promises
	assert.equal(hook.outcome, "restarting");
	assert.equal((await agent.ops("/readyz")).status, 200, "until the port refuses the app may well serve");
	assert.equal(await ask(), 200);
	first.child.kill("SIGTERM");
	await first.exit;
	await agent.readyz(/^fail restarting\n$/);
	assert.equal((await agent.ops("/livez")).status, 200);
	assert.equal((await agent.ops("/startupz")).status, 200);
	assert.equal(await agent.metric("outrigger_state", 'state="unready"'), 1);
	const { state, why } = (await agent.api("getInfo")).answer;
	assert.deepEqual([state, why], ["unready", "restarting"]);
	assert.equal(await ask(), 502, "whoever comes all the same is told, on the connection that he had");

	await using second = await startAppProcess({ port });
	await agent.readyz(/^ok\n$/);
	assert.equal(await ask(), 200);
	await second.event("request");
	assert.equal(await agent.metric("outrigger_state_changes_total", 'reason="restarting"'), 1);
	assert.equal(await agent.metric("outrigger_state_changes_total", 'to="announcing"'), 0);
	const info = (await agent.api("getInfo")).answer;
	assert.deepEqual(
		[info["epoch"], info["drain"], info["report"], info["why"]],
		[epoch, undefined, undefined, undefined],
	);
	assert.equal((await agent.endBy("SIGTERM")).code, 0);
});
