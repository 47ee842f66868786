import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { ManualClock } from "../foundation/clock.ts";
import { type Logger, silentLogger } from "../foundation/logger.ts";
import type { MetricSource } from "../telemetry/exposition-write.ts";
import {
	ask,
	countersOf,
	holdingRoute,
	metricsPage,
	probes,
	RawClient,
	smallSource,
	startServer,
} from "./server.fixture.ts";
import { type OpsRoute, OpsServer } from "./server.ts";

test("probes answer under both of their names, in text and JSON, also to HEAD", async (t) => {
	const { port } = await startServer(t);
	for (const path of ["/livez", "/health", "/startupz", "/livez?verbose"]) {
		const { status, body } = await ask(port, path);
		assert.equal(status, 200, path);
		assert.equal(String(body), "ok\n");
	}
	for (const path of ["/readyz", "/readiness"]) {
		const { status, headers, body } = await ask(port, path, { accept: "application/json" });
		assert.equal(status, 503);
		assert.equal(headers["content-type"], "application/json");
		assert.equal(headers["cache-control"], "no-store");
		assert.deepEqual(JSON.parse(String(body)), { status: "fail", reason: "app_refuses" });
	}
	const head = await ask(port, "/livez", {}, "HEAD");
	assert.equal(head.status, 200);
	assert.equal(head.headers["content-length"], "3");
	assert.equal(head.body.length, 0);
});

test("metrics come in the format and coding that is asked for", async (t) => {
	const { port } = await startServer(t);
	const text = await ask(port, "/metrics");
	assert.equal(text.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
	assert.equal(String(text.body), "# HELP a_total A.\n# TYPE a_total counter\na_total 1\n");
	const om = await ask(port, "/metrics", {
		accept: "application/openmetrics-text",
		"accept-encoding": "br, gzip;q=0.5",
	});
	assert.equal(om.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
	assert.equal(om.headers["content-encoding"], "gzip");
	assert.equal(String(gunzipSync(om.body)), "# TYPE a counter\n# HELP a A.\na_total 1\n# EOF\n");
	const refused = await ask(port, "/metrics", { "accept-encoding": "gzip;q=0" });
	assert.equal(refused.headers["content-encoding"], undefined);
	const head = await ask(port, "/metrics", { "x-prometheus-scrape-timeout-seconds": "10" }, "HEAD");
	assert.equal(head.headers["content-length"], String(text.body.length));
	assert.equal(head.body.length, 0);
});

test("what is not there is a 404 and what would change something a 405, as problem documents", async (t) => {
	const { port } = await startServer(t);
	const missing = await ask(port, "/secret?x=1");
	assert.equal(missing.status, 404);
	assert.equal(missing.headers["content-type"], "application/problem+json");
	assert.equal((JSON.parse(String(missing.body)) as { title: string }).title, "Not Found");
	const post = await ask(port, "/metrics", {}, "POST", "x".repeat(100));
	assert.equal(post.status, 405);
	assert.equal(post.headers.allow, "GET, HEAD");
	assert.equal(post.headers.connection, "close", "the body is not read, so the connection cannot go on");
	assert.equal((await ask(port, "/livez", {}, "DELETE")).status, 405);
	const absolute = new RawClient(t, port);
	absolute.socket.write("GET http://pod:9801/livez HTTP/1.0\r\n\r\n");
	await absolute.closed;
	assert.match(absolute.text, /^HTTP\/1\.1 200 /);
	const expecting = new RawClient(t, port);
	expecting.socket.write("GET /livez HTTP/1.1\r\nhost: a\r\nexpect: nonsense\r\nconnection: close\r\n\r\n");
	await expecting.closed;
	assert.match(expecting.text, /^HTTP\/1\.1 417 /);
});

test("bytes that are no request are answered as a problem, and a long head too", async (t) => {
	const { port } = await startServer(t);
	for (const [bytes, status] of [
		["nonsense\r\n\r\n", 400],
		[`GET / HTTP/1.1\r\nx: ${"y".repeat(20_000)}\r\n\r\n`, 431],
	] as const) {
		const client = new RawClient(t, port);
		client.socket.write(bytes);
		await client.closed;
		assert.ok(client.text.startsWith(`HTTP/1.1 ${status} `), client.text);
		assert.match(client.text, /application\/problem\+json/);
	}
});

test("a head that does not come is a 408, a connection that says nothing goes too", async (t) => {
	const { port } = await startServer(t, { timeouts: { headMs: 100, idleMs: 100, writeStallMs: 100 } });
	const client = new RawClient(t, port);
	client.socket.write("GET /livez HTTP/1.1\r\n");
	await client.closed;
	assert.match(client.text, /^HTTP\/1\.1 408 /);
});

test("the token is asked for by /metrics only, compared whole, and read again when it changes", async (t) => {
	const folder = mkdtempSync(join(tmpdir(), "outrigger-token-"));
	t.after(() => rmSync(folder, { recursive: true }));
	const file = join(folder, "token");
	const clock = new ManualClock();
	const said: string[] = [];
	const log: Logger = { ...silentLogger, error: (message) => said.push(message) };
	const { port } = await startServer(t, { bearerTokenFile: file, clock, log });
	const status = async (authorization?: string): Promise<number> => {
		clock.advance(1_000);
		return (await ask(port, "/metrics", authorization === undefined ? {} : { authorization })).status;
	};
	assert.equal(await status("Bearer "), 401, "no file: nobody");
	assert.equal(await status("Bearer abc"), 401);
	assert.equal(said.length, 1, "said once");
	writeFileSync(file, "abc\n");
	assert.equal(await status("Bearer abc"), 200);
	assert.equal(await status("bearer  abc "), 200);
	assert.equal(await status("Bearer abcd"), 401);
	assert.equal(await status("Basic abc"), 401);
	assert.equal(await status(), 401);
	writeFileSync(file, "other");
	assert.equal(await status("Bearer abc"), 401);
	assert.equal(await status("Bearer other"), 200);
	writeFileSync(file, "  \n");
	assert.equal(await status("Bearer other"), 401);
	assert.equal(said.length, 2);
	const { headers } = await ask(port, "/metrics");
	assert.equal(headers["www-authenticate"], "Bearer");
	assert.equal((await ask(port, "/livez")).status, 200, "the kubelet has no token");
});

test("a new connection replaces the one that has been idle longest, so that a probe gets through", async (t) => {
	const clock = new ManualClock();
	const { port, server } = await startServer(t, { connectionsMax: 2, clock });
	const first = new RawClient(t, port);
	first.socket.write("GET /livez HTTP/1.1\r\nhost: a\r\n\r\n");
	await first.until("ok\n");
	clock.advance(1_000);
	const second = new RawClient(t, port);
	second.socket.write("GET /livez HTTP/1.1\r\nhost: a\r\n\r\n");
	await second.until("ok\n");
	assert.equal((await ask(port, "/livez")).status, 200);
	await first.closed;
	assert.equal(second.socket.destroyed, false);
	assert.equal(countersOf(server)["replaced"], 1);
});

test("hooks that wait count only as waiters: with every place taken by them a probe finds one", async (t) => {
	const { route, whenAsked } = holdingRoute();
	const { port, server } = await startServer(t, { connectionsMax: 2, waitersMax: 2, routes: [route] });
	const wait = async (): Promise<RawClient> => {
		const asked = whenAsked();
		const client = new RawClient(t, port);
		client.ask("/lifecycle/drained");
		await asked;
		return client;
	};
	const waiters = [await wait(), await wait()];
	const { outrigger_ops_connections: open } = countersOf(server);
	assert.equal(open, 0, "who becomes a waiter frees its place");
	const probe = new RawClient(t, port);
	probe.ask("/livez");
	await probe.until("ok\n");
	assert.deepEqual(
		waiters.map(({ socket }) => socket.destroyed),
		[false, false],
	);
	assert.deepEqual(countersOf(server), { outrigger_ops_connections: 1, replaced: 0, waiter_replaced: 0 });
	// One more than ops.waiters: all have one address here, so the oldest makes room.
	const third = await wait();
	await waiters[0]?.closed;
	assert.equal(probe.socket.destroyed, false);
	assert.equal(third.socket.destroyed, false);
	assert.equal(countersOf(server)["waiter_replaced"], 1);
});

test("a hook's connection ends with its answer, and says so", async (t) => {
	const route: OpsRoute = { path: "/wait", waits: true, handle: (_, response) => void response.end("done") };
	const { port } = await startServer(t, { routes: [route] });
	const client = new RawClient(t, port);
	client.ask("/wait");
	await client.closed;
	assert.match(client.text, /\r\nconnection: close\r\n/i);
	assert.match(client.text, /done/);
	const other = await ask(port, "/wait", {}, "POST");
	assert.equal(other.status, 405);
});

test("waiting routes are told of the stop before their connections are closed", async (t) => {
	const held: ServerResponse[] = [];
	let asked: () => void = () => {};
	const isAsked = new Promise<void>((resolve) => {
		asked = resolve;
	});
	const route: OpsRoute = {
		path: "/wait",
		waits: true,
		handle: (_, response) => {
			held.push(response);
			asked();
		},
		stop: () => {
			for (const response of held.splice(0)) response.end("stopping");
		},
	};
	const { port, server } = await startServer(t, { routes: [route] });
	const answer = ask(port, "/wait");
	await isAsked;
	await server.stop();
	assert.equal(String((await answer).body), "stopping");
});

test("a second request on a connection whose hook waits ends both", async (t) => {
	const { route, whenAsked } = holdingRoute();
	const { port, server } = await startServer(t, { routes: [route] });
	const asked = whenAsked();
	const client = new RawClient(t, port);
	client.ask("/lifecycle/drained");
	await asked;
	client.ask("/livez");
	await client.closed;
	assert.equal(client.text, "");
	assert.equal(countersOf(server)["outrigger_ops_connections"], 0);
});

test("a client that takes nothing of a large page is let go, one that reads gets all of it", async (t) => {
	const large: MetricSource = {
		async writeMetrics(out) {
			out.family("a", "gauge", "A.");
			for (let i = 0; i < 200_000; i++) {
				out.sample(`label="${"x".repeat(100)}${i}"`, i);
				if (out.isDue()) await out.pause();
			}
		},
	};
	const timeouts = { headMs: 5_000, idleMs: 5_000, writeStallMs: 200 };
	const { port, server } = await startServer(t, { metrics: metricsPage(large), timeouts });
	const stalled = connect(port, "127.0.0.1");
	t.after(() => stalled.destroy());
	stalled.on("error", () => {});
	stalled.pause();
	stalled.write("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n");
	const { body, headers } = await ask(port, "/metrics", { connection: "close" });
	assert.equal(String(body.length), headers["content-length"]);
	// Until the server has let go of it, which `outrigger_ops_connections` tells.
	while (countersOf(server)["outrigger_ops_connections"] !== 0) await new Promise((resolve) => setImmediate(resolve));
	let received = 0;
	stalled.on("data", (chunk) => {
		received += chunk.length; // what the kernel still held
	});
	await new Promise<void>((resolve) => {
		stalled.once("close", () => resolve());
		stalled.resume();
	});
	assert.ok(received < body.length, `${received} of ${body.length}`);
});

test("a mistake of ours is a 500 without details", async (t) => {
	const said: unknown[] = [];
	const metrics = metricsPage(smallSource);
	metrics.render = () => Promise.reject(new Error("secret"));
	const log: Logger = { ...silentLogger, error: (_, fields) => said.push(fields) };
	const { port } = await startServer(t, { metrics, log });
	const { status, body } = await ask(port, "/metrics");
	assert.equal(status, 500);
	assert.ok(!String(body).includes("secret"));
	assert.equal(said.length, 1);
});

test("a port that is taken fails the start; stopping is safe without it, and twice", async (t) => {
	const { port, server } = await startServer(t);
	const second = new OpsServer({
		listen: { kind: "tcp", host: "127.0.0.1", port },
		connectionsMax: 1,
		waitersMax: 1,
		bearerTokenFile: undefined,
		metrics: metricsPage(smallSource),
		probes,
		routes: [],
		clock: new ManualClock(),
		log: silentLogger,
	});
	await second.stop();
	await assert.rejects(second.start(), { code: "EADDRINUSE" });
	await second.stop();
	const client = new RawClient(t, port);
	client.socket.write("GET /livez HTTP/1.1\r\nhost: a\r\n\r\n");
	await client.until("ok\n");
	await server.stop();
	await server.stop();
	await client.closed;
	assert.equal(server.address, undefined);
});

test("it also listens on a Unix socket, and on all addresses", async (t) => {
	const folder = mkdtempSync(join(tmpdir(), "outrigger-ops-"));
	t.after(() => rmSync(folder, { recursive: true, force: true }));
	const path = join(folder, "ops.sock");
	const { server } = await startServer(t, { listen: { kind: "unix", path } });
	assert.equal(server.address, undefined);
	const client = connect(path);
	client.write("GET /livez HTTP/1.0\r\n\r\n");
	let text = "";
	for await (const chunk of client) text += String(chunk);
	assert.match(text, /ok\n$/);
	const { port } = await startServer(t, { listen: { kind: "tcp", host: undefined, port: 0 } });
	assert.equal((await ask(port, "/livez")).status, 200);
});
