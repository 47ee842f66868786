/** The agent as a process: how it ends, what it leaves, and that nobody who reads its lines, or does not, can hold it up. */
import { strict as assert } from "node:assert";
import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { Agent as HttpAgent, request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { freePort, mortalThreads, serve, startProcess } from "./agent-process.ts";
import { type App, answering, connect, eventually, field, ok, startApp, type Wire } from "./harness.ts";

const GET = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

const folder = mkdtempSync(join(tmpdir(), "outrigger-story-"));
after(() => rmSync(folder, { recursive: true }));

/** The connection of the first request; before it come those of the agent's looks at the port. */
const asked = async (app: App, bytes = 1): Promise<Wire> => {
	const find = (): Wire | undefined => app.wires.find((wire) => wire.receivedBytes >= bytes);
	await eventually(() => find() !== undefined, "the request");
	const wire = find();
	assert.ok(wire !== undefined);
	return wire;
};

const answeringApp = (): Promise<App> => startApp(answering(() => ok()));

test("a port that is taken is said in one line, and the process ends with 1 and lets go of the ports that it had", async () => {
	await using app = await answeringApp();
	await using taken = await answeringApp();
	const ops = await freePort();
	await using agent = await startProcess(app.port, {
		set: {
			"ops.listen": `127.0.0.1:${ops}`,
			"inbound.0.listen": `127.0.0.1:${taken.port}`,
			"log.destination": "stderr",
		},
	});
	const { code, stderr } = await agent.exit;
	assert.equal(code, 1);
	const said = stderr.split("\n").filter((line) => line.includes("cannot start"));
	assert.equal(said.length, 1, stderr);
	assert.match(said[0] ?? "", /EADDRINUSE/);
	assert.match(said[0] ?? "", new RegExp(String(taken.port)));
	await assert.rejects(connect(ops), /ECONNREFUSED/);
});

test("SIGTERM: what is in flight is finished, idle connections end, new ones are served until then; code 0", async () => {
	let mayAnswer = false;
	await using app = await startApp(async (wire) => {
		while (!wire.isClosed) {
			const { target } = await wire.request();
			if (target === "/slow") await wire.until(() => mayAnswer || wire.isClosed, "leave to answer");
			wire.write(ok(target));
		}
	});
	await using agent = await startProcess(app.port);
	await using idle = await connect(agent.port);
	idle.write(GET);
	await idle.response();
	await using busy = await connect(agent.port);
	busy.write(GET.replace("/", "/slow"));
	await eventually(() => app.wires.some((wire) => wire.receivedBytes > 0 && wire.unread.length === 0), "the requests");
	agent.child.kill("SIGTERM");
	await agent.isNotReady();
	await using late = await connect(agent.port);
	late.write(GET.replace("/", "/late"));
	const served = await late.response();
	assert.equal(served.body.toString(), "/late");
	assert.equal(field(served, "connection"), "close");
	late.end();
	mayAnswer = true;
	for (const wire of app.wires) wire.socket.emit("drain");
	const response = await busy.response();
	assert.equal(response.body.toString(), "/slow");
	assert.equal(field(response, "connection"), "close");
	busy.end();
	assert.ok((await idle.rest()).isClean, "idle connections end last");
	assert.equal((await agent.exit).code, 0);
});

test("SIGTERM with an upload under way: the rest of it still reaches the app, and its answer the client", async () => {
	await using app = await startApp(answering(({ body }) => ok(String(body.length))));
	await using agent = await startProcess(app.port);
	await using client = await connect(agent.port);
	client.write(`POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${1 << 20}\r\n\r\n`);
	client.write(Buffer.alloc(1000));
	await asked(app, 1001);
	agent.child.kill("SIGTERM");
	await eventually(() => agent.child.killed, "the signal");
	client.write(Buffer.alloc((1 << 20) - 1000));
	assert.equal((await client.response()).body.toString(), String(1 << 20));
	client.end();
	assert.equal((await agent.exit).code, 0);
});

for (const [what, signals] of [
	["a second SIGTERM", ["SIGTERM", "SIGTERM"]],
	["SIGINT after SIGTERM, later than an echo", ["SIGTERM", "SIGINT"]],
] as const) {
	test(`${what} cuts what is in flight at once: the client feels it, code 3`, async () => {
		await using app = await startApp(() => undefined);
		await using agent = await startProcess(app.port);
		await using busy = await connect(agent.port);
		busy.write(GET);
		await asked(app);
		agent.child.kill(signals[0]);
		await new Promise((resolve) => setTimeout(resolve, 400));
		assert.ok(!agent.isOver && !busy.isEnded, "the drain waits for it");
		const { code } = await agent.endBy(signals[1]);
		assert.equal(code, 3);
		await busy.closed();
		assert.equal(busy.error, "ECONNRESET");
	});
}

test("a drain that runs out of its budget cuts what is left, and ends with 3", async () => {
	await using app = await startApp(() => undefined);
	await using agent = await startProcess(app.port, {
		set: { "drain.grace": "2s", "drain.appStop": "0s", "drain.agentStop": "500ms" },
	});
	await using busy = await connect(agent.port);
	busy.write(GET);
	await asked(app);
	const { code } = await agent.endBy("SIGTERM");
	assert.equal(code, 3);
	await busy.closed();
	assert.equal(busy.error, "ECONNRESET");
});

test("an open tunnel does not keep a drain waiting", async () => {
	await using app = await startApp(async (wire) => {
		await wire.request();
		wire.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
	});
	await using agent = await startProcess(app.port);
	await using client = await connect(agent.port);
	client.write("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
	assert.equal((await client.response()).status, 101);
	const { code } = await agent.endBy("SIGTERM");
	assert.equal(code, 0);
	await client.closed();
});

// ── who reads the lines ───────────────────────────────────────────────────────────────────────────────────────────

const lines = "outrigger_log_lines_dropped_total";

test("a pipe that nobody reads: traffic as before, lines dropped and counted, the exit not held up", async () => {
	await using app = await answeringApp();
	await using agent = await startProcess(app.port, {
		stdio: ["ignore", "pipe", "pipe"],
		set: { "log.buffer": "64KiB" },
	});
	agent.child.stdout?.pause();
	await serve(agent, 3200);
	assert.ok((await agent.metric(lines, "access_line")) > 0);
	await serve(agent, 160);
	const { code, tookMs } = await agent.endBy("SIGTERM");
	assert.equal(code, 0);
	assert.ok(tookMs < 10_000, `the exit took ${tookMs} ms`);
});

test("a pipe whose reader goes away: traffic as before, lines dropped and counted", async () => {
	await using app = await answeringApp();
	await using agent = await startProcess(app.port, { stdio: ["ignore", "pipe", "pipe"] });
	await serve(agent, 160);
	agent.child.stdout?.destroy();
	await serve(agent, 1600);
	await eventually(() => !agent.isOver, "it to be there");
	assert.ok((await agent.metric(lines, "access_line")) > 0);
	assert.equal((await agent.endBy("SIGTERM")).code, 0);
});

test("standard output that was closed before the start: traffic as before", async () => {
	await using app = await answeringApp();
	await using agent = await startProcess(app.port, { shell: "exec >&-" });
	await serve(agent, 320);
	assert.equal((await agent.endBy("SIGTERM")).code, 0);
});

test("a full disk: traffic as before, lines dropped and counted", async (t) => {
	if (process.platform !== "linux") return t.skip("only Linux has /dev/full");
	const full = openSync("/dev/full", "w");
	try {
		await using app = await answeringApp();
		await using agent = await startProcess(app.port, { stdio: ["ignore", full, "pipe"] });
		await serve(agent, 320);
		await eventually(() => !agent.isOver, "it to be there");
		assert.ok((await agent.metric(lines, "access_line")) > 0);
		assert.equal((await agent.endBy("SIGTERM")).code, 0);
	} finally {
		closeSync(full);
	}
});

// ── bounds of the system ──────────────────────────────────────────────────────────────────────────────────────────

test("too few descriptors: connections fail or wait, the process does not; when there are enough again it serves", async (t) => {
	if (process.platform !== "linux") return t.skip("descriptors are counted as Linux does");
	await using app = await answeringApp();
	await using agent = await startProcess(app.port, { shell: "ulimit -n 96" });
	const clients: Wire[] = [];
	let failed = 0;
	for (let i = 0; i < 200; i++) {
		try {
			const client = await connect(agent.port);
			client.write(GET);
			clients.push(client);
		} catch {
			failed++;
		}
	}
	await new Promise((resolve) => setTimeout(resolve, 500));
	assert.ok(!agent.isOver);
	for (const client of clients) {
		const head = client.unread.toString("latin1", 0, 12);
		assert.ok(["", "HTTP/1.1 200", "HTTP/1.1 502", "HTTP/1.1 503"].includes(head), head);
		await client[Symbol.asyncDispose]();
	}
	await serve(agent, 160);
	assert.equal((await agent.endBy("SIGTERM")).code, 0);
	t.diagnostic(`${failed} of 200 connections could not be made`);
});

// ── data threads ──────────────────────────────────────────────────────────────────────────────────────────────────

test("a data thread that dies is replaced on the same port; what it held is gone, what it counted stays", async () => {
	const file = join(folder, "die");
	let isBusy = false;
	await using app = await startApp(
		answering(({ method }) => {
			isBusy ||= method === "DELETE";
			return method === "DELETE" ? undefined : ok();
		}),
	);
	await using agent = await startProcess(app.port, {
		preload: mortalThreads(file),
		stdio: ["ignore", "ignore", "pipe"],
	});
	await using before = await connect(agent.port);
	before.write(GET);
	assert.equal((await before.response()).status, 200);
	await using busy = await connect(agent.port);
	busy.write(GET.replace("GET", "DELETE"));
	await eventually(() => isBusy, "the request that is not answered");
	closeSync(openSync(file, "w"));
	await before.rest();
	await busy.rest();
	assert.equal(busy.receivedBytes, 0);
	let answered = false;
	for (let attempt = 0; attempt < 200 && !answered; attempt++) {
		try {
			await using client = await connect(agent.port);
			client.write(GET);
			answered = (await client.response()).status === 200;
		} catch {
			await new Promise((resolve) => setTimeout(resolve, 25));
		}
	}
	assert.ok(answered, "the new thread serves on the same port");
	assert.equal(await agent.metric("outrigger_data_threads_replaced_total"), 1);
	assert.equal(await agent.metric("http_server_active_requests"), 0, "what the dead one held is gone");
	assert.ok((await agent.metric("http_server_request_duration_seconds_count")) >= 2, "what it counted stays");
	assert.equal((await agent.ops("/livez")).status, 200);
	assert.equal((await agent.endBy("SIGTERM")).code, 0);
});

test("workers: 2: one port, one truth on the ops port", async () => {
	await using app = await startApp(answering(({ target }) => ok(target)));
	await using agent = await startProcess(app.port, { set: { workers: "2" } });
	for (let round = 0; round < 4; round++) await serve(agent, 320);
	const { text } = await agent.ops("/metrics");
	const series = text
		.split("\n")
		.filter((line) => line.startsWith("http_server_request_duration_seconds_count{"))
		.map((line) => line.split(" "));
	assert.equal(series.length, 1, "one series, whichever thread served");
	assert.equal(series[0]?.at(-1), "1280");
	const delays = text.split("\n").filter((line) => line.startsWith("outrigger_data_thread_delay_seconds{"));
	assert.equal(new Set(delays.map((line) => /thread="(\d+)"/.exec(line)?.[1])).size, 2, delays.join("\n"));
	assert.equal(await agent.metric("outrigger_connections", 'side="downstream"'), 0);
	assert.equal((await agent.endBy("SIGTERM")).code, 0);
});

test("one of two threads dies: the other goes on meanwhile, and nothing that was counted is lost", async () => {
	const file = join(folder, "die-of-two");
	await using app = await answeringApp();
	await using agent = await startProcess(app.port, { set: { workers: "2" }, preload: mortalThreads(file) });
	await serve(agent, 640);
	closeSync(openSync(file, "w"));
	const pool = new HttpAgent({ keepAlive: false });
	const get = (): Promise<number | undefined> =>
		new Promise((resolve) => {
			const request = httpRequest({ port: agent.port, agent: pool }, (response) => {
				response.resume();
				response.on("end", () => resolve(response.statusCode));
			});
			request.on("error", () => resolve(undefined)); // it was on the thread that died, or in its queue
			request.end();
		});
	let served = 0;
	let replaced = 0;
	for (let attempt = 0; attempt < 400 && replaced === 0; attempt++) {
		if ((await get()) === 200) served++;
		if (attempt % 10 === 9) replaced = await agent.metric("outrigger_data_threads_replaced_total");
	}
	assert.equal(replaced, 1);
	assert.ok(served > 0);
	await eventually(() => !agent.isOver, "it to be there");
	const before = await agent.metric("http_server_request_duration_seconds_count");
	assert.ok(before >= 640 + served, `${before} of ${640 + served}`);
	assert.equal((await agent.endBy("SIGTERM")).code, 0);
});

test("a process that is told to stop while it starts ends, whenever that is", async () => {
	await using app = await answeringApp();
	const started = performance.now();
	await using first = await startProcess(app.port);
	const startMs = performance.now() - started;
	assert.equal((await first.endBy("SIGTERM")).code, 0);
	for (let part = 1; part <= 8; part++) {
		await using agent = await startProcess(app.port, { waitMs: (startMs * part) / 8 });
		const { code, signal } = await agent.endBy("SIGTERM");
		// Before it listens for signals the system ends it.
		assert.ok(code === 0 || signal === "SIGTERM", `part ${part}: code ${code}, ${signal}`);
	}
});
