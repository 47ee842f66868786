/**
 * Connections to the app: kept while they are good, never used when they may be dead, looked for where the app is. The race that every proxy
 * has to live with, an app that closes at the moment of the next request, costs an idempotent request nothing and is never paid by
 * sending anything else twice.
 */
import { strict as assert } from "node:assert";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { CELL, RESEND_REASONS } from "../../src/bridge/counters.ts";
import { FLAG_RESENT, FLAG_REUSED } from "../../src/bridge/exchange-record.ts";
import { ManualClock } from "../../src/foundation/clock.ts";
import { FAULTS } from "../../src/foundation/fault.ts";
import { AppSocket } from "../../src/upstream/app-socket.ts";
import {
	type App,
	type AppScript,
	answering,
	connect,
	connectToApp,
	eventually,
	field,
	ok,
	type PlaneRun,
	startApp,
	startPlane,
	type Wire,
} from "./harness.ts";

const GET = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const POST = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
const PUT = POST.replace("POST", "PUT");
const HERE = { ipv4: undefined, ipv6: undefined };

const resent = (plane: PlaneRun): number =>
	RESEND_REASONS.reduce((sum, _, index) => sum + plane.counters.get(CELL.RESENT_START + index), 0);

/** Answers the first request of its first `dying` connections and closes instead of answering the second. */
const dies =
	(how: "FIN" | "RST", dying = 1): AppScript =>
	async (wire, index) => {
		if (index >= dying) return answering(() => ok(`from ${index}`))(wire, index);
		await wire.request();
		wire.write(ok());
		await wire.request();
		if (how === "FIN") wire.end();
		else wire.reset();
	};

const ask = async (client: Wire, request: string): Promise<number> => {
	client.write(request);
	return (await client.response()).status;
};

for (const how of ["FIN", "RST"] as const) {
	test(`an app that closes (${how}) at the moment of a request: GET is sent once more and nobody sees it`, async () => {
		await using app = await startApp(dies(how));
		await using plane = await startPlane(app.port);
		await using client = await connect(plane.port);
		assert.equal(await ask(client, GET), 200);
		assert.equal(await ask(client, GET), 200);
		const [first, second] = await plane.recorded(2);
		assert.equal((first?.flags ?? 0) & FLAG_RESENT, 0);
		assert.notEqual((second?.flags ?? 0) & FLAG_RESENT, 0);
		assert.equal(plane.reasonOf(second), undefined);
		assert.equal(app.wires.length, 2);
		assert.equal(resent(plane), 1);
		client.end();
		await plane.settle();
	});

	for (const [method, request] of [
		["POST", POST],
		["PUT with a body", PUT],
	] as const) {
		test(`an app that closes (${how}) at the moment of a request: ${method} is a 502 and was sent once`, async () => {
			await using app = await startApp(dies(how));
			await using plane = await startPlane(app.port);
			await using client = await connect(plane.port);
			assert.equal(await ask(client, GET), 200);
			assert.equal(await ask(client, request), 502);
			assert.equal(app.wires.length, 1);
			assert.equal(resent(plane), 0);
			assert.equal(await ask(client, GET), 200, "the client's connection goes on");
			client.end();
			await plane.settle();
		});
	}
}

test("a request is sent once more at most: what fails again is a 502", async () => {
	await using app = await startApp(async (wire, index) => {
		await wire.request();
		if (index === 0) {
			wire.write(ok());
			await wire.request();
		}
		wire.end();
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	assert.equal(await ask(client, GET), 200);
	assert.equal(await ask(client, GET), 502);
	assert.equal(app.wires.length, 2);
	assert.equal(resent(plane), 1);
	client.end();
	await plane.settle();
});

test("a request on a new connection is not sent again, whatever its method", async () => {
	await using app = await startApp(async (wire) => {
		await wire.request();
		wire.end();
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	assert.equal(await ask(client, GET), 502);
	assert.equal(app.wires.length, 1);
	assert.equal(resent(plane), 0);
	client.end();
	await plane.settle();
});

test("what may not be sent twice never rides a connection that was idle for more than 250 ms", async () => {
	const clock = new ManualClock();
	await using app = await startApp(answering(() => ok()));
	await using plane = await startPlane(app.port, { clock });
	await using client = await connect(plane.port);
	assert.equal(await ask(client, GET), 200);
	plane.advance(249);
	assert.equal(await ask(client, POST), 200);
	assert.equal(app.wires.length, 1);
	plane.advance(251);
	assert.equal(await ask(client, GET), 200);
	assert.equal(app.wires.length, 1, "an idempotent one does");
	plane.advance(251);
	assert.equal(await ask(client, POST), 200);
	assert.equal(app.wires.length, 2);
	const records = await plane.recorded(4);
	assert.deepEqual(
		records.map(({ flags }) => (flags & FLAG_REUSED) !== 0),
		[false, true, true, false],
	);
	client.end();
	await plane.settle();
});

test("an idle connection that the app has closed is replaced, and that is no resend", async () => {
	await using app = await startApp(async (wire) => {
		await wire.request();
		wire.write(ok());
		wire.end();
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	for (let round = 0; round < 3; round++) {
		assert.equal(await ask(client, round === 1 ? POST : GET), 200);
		await eventually(() => plane.counters.get(CELL.UPSTREAM_OPEN) === 0, "the close to be seen");
	}
	assert.equal(app.wires.length, 3);
	assert.equal(resent(plane), 0);
	client.end();
	await plane.settle();
});

test("an app that speaks on an idle connection loses it: that is never the next answer", async () => {
	await using app = await startApp(async (wire, index) => {
		await wire.request();
		wire.write(ok(`${index}`));
		if (index > 0) return;
		await wire.until(() => isAnswered, "the answer to have gone");
		wire.write(ok("poison"));
	});
	let isAnswered = false;
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	assert.equal(await ask(client, GET), 200);
	isAnswered = true;
	(await app.wire(0)).socket.emit("drain");
	await eventually(() => plane.counters.get(CELL.UPSTREAM_OPEN) === 0, "the connection to be closed");
	client.write(GET);
	assert.equal((await client.response()).body.toString(), "1");
	client.end();
	await plane.settle();
});

test("idle connections are closed by RST when timeouts.appIdle is over", async () => {
	const clock = new ManualClock();
	await using app = await startApp(async (wire) => {
		await wire.request();
		wire.write(ok());
	});
	await using plane = await startPlane(app.port, { clock });
	await using client = await connect(plane.port);
	assert.equal(await ask(client, GET), 200);
	plane.advance(1_000);
	assert.equal(plane.counters.get(CELL.UPSTREAM_IDLE), 1);
	plane.advance(1);
	const wire = await app.wire(0);
	await wire.closed();
	assert.equal(wire.error, "ECONNRESET");
	assert.equal(plane.counters.get(CELL.UPSTREAM_IDLE), 0);
	client.end();
	await plane.settle();
});

test("Keep-Alive: timeout= lowers how long a connection is kept, and that is told", async () => {
	const clock = new ManualClock();
	await using app = await startApp(async (wire) => {
		await wire.request();
		wire.write(ok("", "keep-alive: timeout=1, max=100\r\n"));
	});
	await using plane = await startPlane(app.port, { clock });
	await using client = await connect(plane.port);
	client.write(GET);
	assert.equal(field(await client.response(), "keep-alive"), undefined, "that was said to us");
	plane.advance(500);
	const lessons = plane.messages.filter(({ kind }) => kind === "appIdleLearned");
	assert.deepEqual(lessons, [{ kind: "appIdleLearned", inbound: 0, idleMs: 500, from: "header" }]);
	plane.advance(1);
	await (await app.wire(0)).closed();
	client.end();
	await plane.settle();
});

test("two closes after about the same idle time are a lesson, one is none", async () => {
	const clock = new ManualClock();
	await using app = await startApp(async (wire) => {
		await wire.request();
		wire.write(ok());
	});
	await using plane = await startPlane(app.port, { clock });
	await using client = await connect(plane.port);
	for (let round = 0; round < 2; round++) {
		assert.equal(await ask(client, GET), 200);
		assert.ok(!plane.messages.some(({ kind }) => kind === "appIdleLearned"));
		plane.advance(600);
		(await app.wire(round)).end();
		await eventually(() => plane.counters.get(CELL.UPSTREAM_OPEN) === 0, "the close to be seen");
		plane.advance(1);
	}
	const lessons = plane.messages.filter(({ kind }) => kind === "appIdleLearned");
	assert.deepEqual(lessons, [{ kind: "appIdleLearned", inbound: 0, idleMs: 480, from: "close" }]);
	client.end();
	await plane.settle();
});

// ── where the app is ──────────────────────────────────────────────────────────────────────────────────────────────

/** An app on that address, or the test is skipped where the machine has no such address. */
const startAt = async (t: TestContext, address: string): Promise<App | undefined> => {
	try {
		return await startApp(
			answering(() => ok(address)),
			address,
		);
	} catch (error) {
		t.skip(`no app can listen on ${address} here: ${String(error)}`);
		return undefined;
	}
};

for (const address of ["127.0.0.1", "::1"]) {
	test(`an app that listens on ${address} alone is found by "localhost", by many requests at once as well`, async (t) => {
		const found = await startAt(t, address);
		if (found === undefined) return;
		await using app = found;
		await using plane = await startPlane(app.port, { set: { "inbound.0.app": `localhost:${app.port}` } });
		const clients = await Promise.all(Array.from({ length: 16 }, () => connect(plane.port)));
		for (const client of clients) client.write(POST);
		for (const client of clients) {
			const response = await client.response();
			assert.equal(response.status, 200);
			assert.equal(response.body.toString(), address);
			client.end();
		}
		await plane.settle();
		assert.equal(plane.counters.get(CELL.ANSWERED), 16);
		for (const client of clients) await client[Symbol.asyncDispose]();
	});
}

test("an app that listens nowhere is a 502 after each place has been tried once", async () => {
	const app = await startApp(() => undefined);
	const { port } = app;
	await app[Symbol.asyncDispose]();
	await using plane = await startPlane(port, { set: { "inbound.0.app": `localhost:${port}` } });
	await using client = await connect(plane.port);
	client.write(GET);
	const response = await client.response();
	assert.equal(response.status, 502);
	assert.equal(field(response, "x-outrigger-error"), "app_refused");
	assert.equal(plane.counters.get(CELL.UPSTREAM_OPENED), 2);
	assert.equal(plane.counters.get(CELL.UPSTREAM_FAILED_START + FAULTS.app_refused.index), 2);
	client.end();
	await plane.settle();
});

test("an app on a Unix socket is served", async () => {
	const folder = mkdtempSync(join(tmpdir(), "outrigger-story-"));
	const path = join(folder, "app.sock");
	await using app = await startApp(
		answering(() => ok("unix")),
		path,
	);
	await using plane = await startPlane(0, { set: { "inbound.0.app": `unix:${path}` } });
	await using client = await connect(plane.port);
	for (let round = 0; round < 2; round++) {
		client.write(GET);
		assert.equal((await client.response()).body.toString(), "unix");
	}
	assert.equal(app.wires.length, 1);
	client.end();
	await plane.settle();
	rmSync(folder, { recursive: true });
});

test("an app that moves is followed: what is under way ends where it began, idle connections to the old place are closed", async () => {
	await using old = await startApp(async (wire) => {
		await wire.request();
		await wire.until(() => mayAnswer || wire.isClosed, "leave to answer");
		wire.write(ok("old"));
	});
	let mayAnswer = false;
	await using next = await startApp(answering(() => ok("new")));
	await using plane = await startPlane(old.port);
	await using first = await connect(plane.port);
	first.write(GET);
	const wire = await old.wire(0);
	await wire.until(() => wire.receivedBytes > 0, "the request");
	await plane.plane.obey({
		kind: "app",
		inbound: 0,
		addresses: [{ kind: "tcp", host: "127.0.0.1", port: next.port }],
		source: HERE,
	});
	await using second = await connect(plane.port);
	second.write(GET);
	assert.equal((await second.response()).body.toString(), "new");
	mayAnswer = true;
	wire.socket.emit("drain");
	assert.equal((await first.response()).body.toString(), "old");
	await wire.closed();
	first.write(GET);
	assert.equal((await first.response()).body.toString(), "new");
	first.end();
	second.end();
	await plane.settle();
});

test("the app sees the address that the agent was told to come from", async (t) => {
	if (process.platform !== "linux") return t.skip("only Linux has all of 127/8");
	await using app = await startApp(answering((_, wire) => ok(wire.socket.remoteAddress ?? "")));
	await using plane = await startPlane(app.port);
	await plane.plane.obey({
		kind: "app",
		inbound: 0,
		addresses: [{ kind: "tcp", host: "127.0.0.1", port: app.port }],
		source: { ipv4: "127.0.0.6", ipv6: undefined },
	});
	await using client = await connect(plane.port);
	client.write(GET);
	assert.equal((await client.response()).body.toString(), "127.0.0.6");
	client.end();
	await plane.settle();
});

test("an app that does not take the connection in timeouts.connect is a 504; an upload that waits is not read", async () => {
	const clock = new ManualClock();
	await using plane = await startPlane(1, { clock, connect: () => new AppSocket() });
	for (const request of [
		GET,
		`POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${1 << 20}\r\n\r\n${"x".repeat(1 << 20)}`,
	]) {
		await using client = await connect(plane.port);
		client.write(request);
		await eventually(() => plane.counters.get(CELL.IN_FLIGHT) === 1, "the request");
		plane.advance(999);
		assert.equal(client.receivedBytes, 0);
		plane.advance(1);
		const response = await client.response();
		assert.equal(response.status, 504);
		assert.equal(field(response, "x-outrigger-error"), "app_connect_timeout");
		client.end();
		await client.rest();
	}
	await plane.settle();
	assert.equal(plane.counters.get(CELL.UPSTREAM_FAILED_START + FAULTS.app_connect_timeout.index), 2);
});

test("a client that leaves while the connection to the app is being made leaves nothing behind", async () => {
	await using plane = await startPlane(1, { connect: () => new AppSocket() });
	await using client = await connect(plane.port);
	client.write(GET);
	await eventually(() => plane.counters.get(CELL.UPSTREAM_OPEN) === 1, "the connection to the app");
	client.reset();
	await plane.settle();
	assert.equal(plane.counters.get(CELL.UPSTREAM_OPEN), 0);
});

test("a client that takes a large answer slowly does not stop the one that has the connection next", async () => {
	await using app = await startApp(
		answering(({ target }) => ok(Buffer.alloc(target === "/large" ? 12 << 20 : 2, 120))),
	);
	await using plane = await startPlane(app.port, { connect: connectToApp });
	await using slow = await connect(plane.port);
	slow.write(GET.replace("/", "/large"));
	await slow.until(() => slow.receivedBytes > 1000, "the beginning");
	slow.socket.pause();
	await using other = await connect(plane.port);
	for (let round = 0; round < 5; round++) assert.equal(await ask(other, GET), 200);
	slow.socket.resume();
	assert.equal((await slow.response()).body.length, 12 << 20);
	for (let round = 0; round < 5; round++) assert.equal(await ask(other, GET), 200);
	slow.end();
	other.end();
	await plane.settle();
});
