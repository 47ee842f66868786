import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import { describe, type TestContext, test } from "node:test";
import type { Address, Settings } from "../config/settings.ts";
import { silentLogger } from "../foundation/logger.ts";
import { ManualScheduler } from "../foundation/scheduler.ts";
import { AppHealth, type AppHealthSettings, type AppTarget, appTarget } from "./app-checks.ts";
import type { AppPortStatus } from "./app-port.ts";
import { type HealthNode, HealthTree } from "./health-tree.ts";
import { Liar } from "./liar.fixture.ts";
import { NameLookups } from "./name-lookup.ts";

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** An app behind a port, and all that is told of it, as `status reason`. */
async function fixture(
	t: TestContext,
	target: AppTarget,
	answer: (socket: Socket, number: number) => void = () => {},
	more: Partial<AppHealthSettings> = {},
) {
	const app = await Liar.start(t, answer);
	const scheduler = new ManualScheduler();
	const { clock } = scheduler;
	const tree = new HealthTree({ reportsMax: 8, clock, scheduler, log: silentLogger });
	const settings = { target, intervalMs: 5_000, timeoutMs: 1_000, fall: 3, rise: 1, critical: true, ...more };
	const parts = { tree, clock, scheduler, random: () => 0.5, lookups: new NameLookups(), userAgent: "outrigger/test" };
	const health = new AppHealth("http", settings, parts);
	const told: string[] = [];
	const node = (): HealthNode => {
		const [only] = [...tree.contributors()];
		assert.ok(only !== undefined);
		return only.node;
	};
	const word = (): string => [node().status, node().reason].filter(Boolean).join(" ");
	tree.subscribe(() => told.push(word()));
	const port = (state: AppPortStatus["state"], address: Address = app.address): void => {
		health.onPort({
			state,
			address,
			sinceMs: clock.monotonicMs(),
			isGone: state === "refuses",
			lastCheck: state === "unknown" ? "none" : state === "accepts" ? "accepted" : "refused",
			lastError: state === "refuses" ? "ECONNREFUSED 127.0.0.1:3000" : undefined,
		});
	};
	t.after(() => health.stop());
	await health.start();
	return {
		app,
		tree,
		health,
		scheduler,
		told,
		node,
		word,
		port,
		/** Moves the time; waits until so many askings are over, when given. */
		async step(ms: number, closed?: number): Promise<void> {
			scheduler.advance(ms);
			if (closed !== undefined) await app.closed(closed);
			await settle();
		},
	};
}

const http = (status: number, fields = "") => `HTTP/1.1 ${status} X\r\n${fields}content-length: 0\r\n\r\n`;
const always = (text: string) => (socket: Socket) => socket.end(text, "latin1");
const inTurn =
	(...texts: readonly string[]) =>
	(socket: Socket, number: number) =>
		socket.end(texts[Math.min(number, texts.length - 1)] ?? "", "latin1");
const AUTO: AppTarget = { t: "auto" };

describe("auto", () => {
	test("is unknown until the first answer, so that readiness goes up once and not up, down and up", async (t) => {
		const { told, port, step, tree, app } = await fixture(t, AUTO, always(http(503)));
		assert.deepEqual(tree.readiness(), { isReady: false, why: "app_unknown", contributor: "app/http" });
		port("refuses");
		assert.deepEqual(tree.readiness(), { isReady: false, why: "app_refuses", contributor: "app/http" });
		port("accepts");
		assert.deepEqual(tree.readiness(), { isReady: false, why: "app_unknown", contributor: "app/http" });
		await step(0, 1);
		assert.deepEqual(told, ["fail app_refuses", "unknown not_asked", "fail http_status"]);
		assert.deepEqual(tree.readiness(), { isReady: false, why: "app_fails", contributor: "app/http" });
		assert.match(app.heard[0] ?? "", /^GET \/health HTTP\/1\.1\r\n/);
	});

	for (const status of [200, 204, 302, 399]) {
		test(`${status} makes /health the app's page, and it passes`, async (t) => {
			const { word, port, step, app } = await fixture(t, AUTO, inTurn(http(status), http(500)), { fall: 1 });
			port("accepts");
			await step(0, 1);
			assert.equal(word(), "pass");
			await step(5_000, 2);
			assert.equal(word(), "fail http_status");
			assert.equal(app.connections, 2);
		});
	}

	for (const status of [500, 503, 599]) {
		test(`${status} makes it the app's page too: an app that says that it is ill has one`, async (t) => {
			const { word, port, step } = await fixture(t, AUTO, inTurn(http(status), http(200)));
			port("accepts");
			await step(0, 1);
			assert.equal(word(), "fail http_status");
			await step(1_000, 2);
			assert.equal(word(), "pass", "asked again sooner than at the interval: it should get its traffic soon");
		});
	}

	for (const status of [404, 400, 401, 403, 405, 421, 429, 999]) {
		test(`${status} says that there is no page: the port alone counts, and nobody asks again`, async (t) => {
			const { word, port, step, app, scheduler, node } = await fixture(t, AUTO, always(http(status)));
			port("accepts");
			await step(0, 1);
			assert.equal(word(), "pass");
			assert.match(node().detail ?? "", /^127\.0\.0\.1:\d+ accepts$/);
			assert.equal(scheduler.pending, 0);
			await step(60_000);
			port("accepts");
			await step(60_000);
			assert.equal(app.connections, 1);
		});
	}

	test("a page that has been one stays one: 404 is a failure then", async (t) => {
		const { word, port, step } = await fixture(t, AUTO, inTurn(http(200), http(404)), { fall: 1 });
		port("accepts");
		await step(0, 1);
		await step(5_000, 2);
		assert.equal(word(), "fail http_status");
	});

	test("is decided anew each time the port has refused", async (t) => {
		const { told, port, step } = await fixture(t, AUTO, inTurn(http(404), http(200), http(404)));
		port("accepts");
		await step(0, 1);
		port("refuses");
		port("refuses");
		port("accepts");
		await step(0, 2);
		await step(5_000, 3);
		assert.deepEqual(told, ["pass", "fail app_refuses", "unknown not_asked", "pass"]);
	});

	for (const [name, text] of [
		["another protocol", "-ERR unknown command\r\n"],
		["HTTP/2", "\x00\x00\x12\x04\x00\x00\x00\x00\x00"],
		["a connection that is closed without a word", ""],
	] as const) {
		test(`${name} is no HTTP: the app passes at once, is asked fall times in all, and then left in peace`, async (t) => {
			const { word, port, step, app, node, told } = await fixture(t, AUTO, always(text));
			port("accepts");
			await step(0, 1);
			assert.equal(word(), "pass");
			assert.match(node().detail ?? "", /only the port counts$/);
			await step(5_000, 2);
			await step(5_000, 3);
			await step(60_000);
			assert.equal(app.connections, 3);
			assert.deepEqual(told, ["pass"]);
			assert.match(node().detail ?? "", / accepts$/);
		});
	}

	test("one connection that is lost at the beginning does not hide a page", async (t) => {
		const { word, port, step, told } = await fixture(t, AUTO, inTurn("", http(500)), { fall: 2 });
		port("accepts");
		await step(0, 1);
		await step(5_000, 2);
		assert.deepEqual([word(), told], ["pass", ["pass"]], "the first of two failures");
		await step(1_000, 3);
		assert.equal(word(), "fail http_status");
	});

	test("an app that does not answer in time fails, and is told the line that turns the question off", async (t) => {
		const { word, port, step, node, app, tree } = await fixture(t, AUTO, (socket, number) => {
			if (number > 0) socket.end(http(404));
		});
		port("accepts");
		await step(0);
		await app.asked(1);
		assert.equal(word(), "unknown not_asked");
		await step(1_000, 1);
		assert.equal(word(), "fail timeout");
		assert.match(node().advice ?? "", /health: \{ app: \{ http: none \} \}/);
		assert.equal(tree.readiness().isReady, false);
		await step(0, 2);
		assert.equal(word(), "pass", "asked again at once: a timeout is as long as the time between two askings then");
		assert.equal(node().advice, undefined);
	});
});

test("an app that is stopped (it accepts and says nothing) fails after fall askings, and is back with its first answer", async (t) => {
	let isStopped = false;
	const { told, port, step, app } = await fixture(t, { t: "path", path: "/ready?full=1" }, (socket) => {
		if (!isStopped) socket.end(http(200));
	});
	port("accepts");
	await step(0, 1);
	assert.match(app.heard[0] ?? "", /^GET \/ready\?full=1 HTTP/);
	isStopped = true;
	await step(5_000);
	await app.asked(2);
	await step(1_000, 2);
	await app.asked(3);
	await step(1_000, 3);
	assert.deepEqual(told, ["pass"], "two failures of three");
	await app.asked(4);
	await step(1_000, 4);
	assert.deepEqual(told, ["pass", "fail timeout"]);
	await app.asked(5);
	isStopped = false;
	await step(1_000, 5);
	await step(0, 6);
	assert.deepEqual(told, ["pass", "fail timeout", "pass"]);
});

describe("a page that is configured", () => {
	test("must be there: 404 is a failure, and so is what is no HTTP", async (t) => {
		for (const text of [http(404), "-ERR\r\n"]) {
			const { word, port, step, node } = await fixture(t, { t: "path", path: "/ready" }, always(text));
			port("accepts");
			await step(0, 1);
			assert.match(word(), /^fail (?:http_status|bad_answer)$/);
			assert.equal(node().advice, undefined);
		}
	});

	test("may be on another port, and is asked only while the app's own accepts", async (t) => {
		const management = await Liar.start(t, always(http(200)));
		const url = `http://127.0.0.1:${management.address.port}/ready`;
		const { word, port, step, app } = await fixture(t, { t: "url", url });
		await step(60_000);
		assert.equal(management.connections, 0);
		port("accepts");
		await step(0);
		await management.closed(1);
		await settle();
		assert.deepEqual([word(), app.connections], ["pass", 0]);
		port("refuses");
		await step(60_000);
		assert.deepEqual([word(), management.connections], ["fail app_refuses", 1]);
	});

	test("is asked where the app has been found, also when that changes", async (t) => {
		const other = await Liar.start(t, always(http(200)));
		const { word, port, step, app } = await fixture(t, { t: "path", path: "/" }, always(http(200)));
		port("accepts");
		await step(0, 1);
		port("accepts", other.address);
		await step(5_000);
		await other.closed(1);
		assert.deepEqual([word(), app.connections], ["pass", 1]);
	});

	test("has details, which become the children of the app", async (t) => {
		const body = '{"status":"warn","checks":{"db:responseTime":[{"status":"warn","output":"slow"}]}}';
		const fields = `HTTP/1.1 200 OK\r\ncontent-type: application/health+json\r\ncontent-length: ${body.length}\r\n\r\n`;
		const { port, step, word, node, tree } = await fixture(t, AUTO, always(`${fields}${body}`));
		port("accepts");
		await step(0, 1);
		assert.equal(word(), "warn says_warn");
		assert.deepEqual(
			node().children.map(({ name, status, detail }) => [name, status, detail]),
			[["db:responseTime", "warn", "slow"]],
		);
		assert.deepEqual(tree.readiness(), { isReady: true });
	});
});

test("the app's gRPC health is asked on its own port", async (t) => {
	const server = createServer();
	server.on("stream", (stream: ServerHttp2Stream) => {
		stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
		stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
		stream.end(Buffer.from([0, 0, 0, 0, 2, 8, 1]));
	});
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	t.after(() => server.close());
	const bound = server.address();
	const { port, step, word, told, tree } = await fixture(t, { t: "grpc", service: "" });
	const changed = new Promise<void>((resolve) => tree.subscribe(() => word() === "pass" && resolve()));
	port("accepts", {
		kind: "tcp",
		host: "127.0.0.1",
		port: typeof bound === "object" && bound !== null ? bound.port : 0,
	});
	await step(0);
	await changed;
	assert.deepEqual(told, ["pass"], "it had not refused before");
});

test("without anything to ask the port alone counts", async (t) => {
	const { told, port, step, app, scheduler } = await fixture(t, { t: "none" });
	port("refuses");
	port("accepts");
	port("unknown");
	await step(60_000);
	assert.deepEqual(told, ["fail app_refuses", "pass", "unknown not_asked"]);
	assert.deepEqual([app.connections, scheduler.pending], [0, 0]);
});

test("a refusal counts at once, cuts the question that is out, and its answer is nobody's", async (t) => {
	const { told, port, step, app } = await fixture(t, AUTO, (socket, number) => {
		if (number > 0) socket.end(http(200));
	});
	port("accepts");
	await step(0);
	await app.asked(1);
	port("refuses");
	await step(0, 1);
	assert.deepEqual(told, ["fail app_refuses"], "unknown is what it was");
	port("accepts");
	await step(0, 2);
	assert.deepEqual(told, ["fail app_refuses", "unknown not_asked", "pass"]);
});

test("an app that is not critical only warns when its check fails, and need not be asked first; a port that refuses still fails", async (t) => {
	const { told, port, step, tree } = await fixture(t, AUTO, inTurn(http(503), http(200)), { critical: false });
	port("refuses");
	assert.equal(tree.readiness().isReady, false);
	port("accepts");
	assert.deepEqual(tree.readiness(), { isReady: true });
	await step(0, 1);
	assert.deepEqual(tree.readiness(), { isReady: true });
	await step(1_000, 2);
	assert.deepEqual(told, ["fail app_refuses", "pass", "warn http_status", "pass"]);
});

test("nothing is asked before the start and after the stop, and nothing is left behind", async (t) => {
	const { port, step, app, health, scheduler, word } = await fixture(t, AUTO, always(http(200)));
	await health.stop();
	port("accepts");
	await step(60_000);
	assert.deepEqual([app.connections, word()], [0, "unknown not_asked"]);
	await health.start();
	await health.start();
	await step(0, 1);
	assert.equal(word(), "pass");
	await health.stop();
	await health.stop();
	assert.equal(scheduler.pending, 0);
});

test("the check is one of the app, not of a port: it is asked on the first, in the form that is configured", () => {
	const health = { intervalMs: 1, timeoutMs: 1, fall: 1, rise: 1, critical: true };
	const of = (http: string, grpc: string, index = 0, protocol?: Settings["inbound"][number]["protocol"]): AppTarget =>
		appTarget({ ...health, http, grpc }, index, protocol);
	assert.deepEqual(of("auto", "none"), { t: "auto" });
	assert.deepEqual(of("auto", "none", 0, "auto"), { t: "auto" });
	assert.deepEqual(of("auto", "none", 0, "http1"), { t: "auto" });
	assert.deepEqual(of("auto", "none", 0, "tcp"), { t: "none" });
	assert.deepEqual(of("auto", "none", 0, "http2"), { t: "none" });
	assert.deepEqual(of("/ready?x=1", "none", 0, "http2"), { t: "path", path: "/ready?x=1" });
	assert.deepEqual(of("http://localhost:81/r", "none"), { t: "url", url: "http://localhost:81/r" });
	assert.deepEqual(of("none", "none"), { t: "none" });
	assert.deepEqual(of("auto", "shop.Orders", 0, "http2"), { t: "grpc", service: "shop.Orders" });
	assert.deepEqual(of("none", "*"), { t: "grpc", service: "" });
	for (const [http, grpc] of [
		["auto", "none"],
		["/ready", "none"],
		["auto", "*"],
	] as const) {
		assert.deepEqual(of(http, grpc, 1), { t: "none" });
	}
});
