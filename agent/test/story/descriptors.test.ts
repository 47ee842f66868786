/** More clients than there are descriptors: they keep each other out, and neither the probes nor the hooks nor the commands of whoever looks after the pod. */
import { strict as assert } from "node:assert";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { type AgentProcess, type Json, outrigger, startProcess } from "./agent-process.ts";
import { answering, connect, ok, startApp, type Wire } from "./harness.ts";

const GET = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const FILES = 256;
const CROWD = 400;
/** Half of the files, a third of which may be clients, as many their connections to the app, and as many clients who are refused. */
const PLACES = Math.floor(FILES / 2 / 3);
const skip = process.platform === "linux" ? false : "descriptors are counted as Linux does";

const filesOpen = ({ child }: AgentProcess): number => readdirSync(`/proc/${child.pid}/fd`).length;

/** Silent clients: who is let in, who is told that there is no room and does not go, and who is reset at once, perhaps before he knows that he was connected. */
const crowdOf = async (agent: AgentProcess): Promise<readonly Wire[]> => {
	const crowd: Wire[] = [];
	for (let i = 0; i < CROWD; i++) {
		const wire = await connect(agent.port).catch(() => undefined);
		if (wire !== undefined) crowd.push(wire);
	}
	return crowd;
};

const adviceIn = ({ contributors }: Json): readonly Json[] => {
	const groups = contributors as readonly Json[]; // GetHealth's shape
	const advice = groups.find(({ name }) => name === "advice");
	return (advice?.["contributors"] ?? []) as readonly Json[];
};

test("400 silent clients and 256 descriptors: probes, a hook that is abandoned, checks, pages and a whole drain go on as ever", {
	skip,
	timeout: 60_000,
}, async (t) => {
	await using app = await startApp(answering(() => ok()));
	await using agent = await startProcess(app.port, {
		shell: `ulimit -n ${FILES}`,
		set: {
			"drain.sigterm": "stop",
			"health.app.interval": "200ms",
			"health.app.timeout": "200ms",
			"health.app.fall": "1",
		},
	});
	await using client = await connect(agent.port);
	client.write(GET);
	assert.equal((await client.response()).status, 200);

	const crowd = await crowdOf(agent);
	const answered = async (path: string): Promise<void> => {
		assert.deepEqual([path, (await agent.ops(path)).status], [path, 200]);
	};
	for (let round = 0; round < 5; round++) {
		for (const path of ["/livez", "/readyz", "/startupz", "/metrics"]) await answered(path);
		for (const method of ["HEAD", "GET"]) {
			await using hook = await connect(agent.opsPort);
			hook.write(`${method} /lifecycle/drained HTTP/1.1\r\nhost: a\r\n\r\n`);
			await answered("/livez");
			assert.ok(!hook.isEnded, "a hook that waits is not turned away");
		}
	}
	t.diagnostic(`${filesOpen(agent)} files are open`);
	assert.ok(filesOpen(agent) < FILES - 32, "some are left for who comes next");

	// Who has a place is served, also on a new connection to the app; who has none is told so, and some are not even told.
	const [first] = crowd;
	assert.ok(first !== undefined);
	for (const each of [client, first]) {
		each.write(GET);
		assert.equal((await each.response()).status, 200);
	}
	const silent = crowd.filter(({ receivedBytes, isClosed }) => receivedBytes === 0 && !isClosed);
	assert.equal(silent.length + 2, PLACES);
	const refused = await agent.metric("outrigger_refused_total", 'reason="connections_exceeded"');
	assert.equal(refused + silent.length + 1, CROWD);

	// The app's check has been made all the time, and it is known what to change.
	const [{ answer: health }, { stdout }] = [
		await agent.api("getHealth"),
		await outrigger("status", "--url", agent.url),
	];
	assert.deepEqual([health["live"], health["ready"]], [true, true]);
	const advice = adviceIn(health).find(({ name }) => name === "file_descriptors");
	assert.match(String(advice?.["detail"]), new RegExp(`^the agent may have ${FILES} files open`));
	assert.match(stdout, /nofile/);

	const hook = agent.ops("/lifecycle/drained");
	assert.equal((await outrigger("drain", "--wait", "--url", agent.url)).code, 0);
	const { outcome, ended } = JSON.parse((await hook).text) as Json; // an object is what the hook answers
	assert.deepEqual([outcome, ended], ["drained", "idle"]);
	for (const each of crowd) each.reset();
	assert.equal((await agent.endBy("SIGTERM")).code, 0);
});

test("400 clients who all have a request in flight at once: probes and commands are answered, and when the crowd has gone there is room for others", {
	skip,
	timeout: 60_000,
}, async (t) => {
	const { promise: released, resolve: release } = Promise.withResolvers<void>();
	await using app = await startApp(async (wire) => {
		await wire.request();
		await released;
		wire.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
		wire.end();
	});
	await using agent = await startProcess(app.port, { shell: `ulimit -n ${FILES}` });
	const crowd = await crowdOf(agent);
	for (const each of crowd) each.write(GET);
	await agent.untilInfo(({ inFlight }) => inFlight === PLACES, "as many exchanges as there is room for");
	assert.equal((await agent.ops("/livez")).status, 200);
	assert.equal((await agent.ops("/metrics")).status, 200);
	assert.equal((await outrigger("status", "--url", agent.url)).code, 0);
	t.diagnostic(`${filesOpen(agent)} files are open`);
	assert.ok(filesOpen(agent) < FILES - 32, "some are left for who comes next");
	release();
	await agent.untilInfo(({ inFlight }) => inFlight === 0, "all of them to be answered");
	for (const each of crowd) each.reset();
	await agent.untilInfo(
		({ connections }) => (connections as Json)["downstream"] === 0, // GetInfo's shape
		"nobody to be connected",
	);
	await using next = await connect(agent.port);
	next.write(GET);
	assert.equal((await next.response()).status, 200);
});
