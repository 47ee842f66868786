/** Every bound: what is refused at it, with which answer, that it does not touch what is under way, and that there is room again afterwards. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { CELL } from "../../src/bridge/counters.ts";
import { FLAG_PROBE } from "../../src/bridge/exchange-record.ts";
import { ManualClock } from "../../src/foundation/clock.ts";
import { FAULTS, type FaultReason } from "../../src/foundation/fault.ts";
import {
	type App,
	answering,
	connect,
	eventually,
	field,
	ok,
	type PlaneRun,
	type Response,
	startApp,
	startPlane,
	type Wire,
} from "./harness.ts";

const GET = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

const refusals = (plane: PlaneRun, reason: FaultReason): number =>
	plane.counters.get(CELL.REFUSED_START + FAULTS[reason].index);

const refused = async (client: Wire, status: number, reason: FaultReason): Promise<Response> => {
	const response = await client.response();
	assert.equal(response.status, status);
	assert.equal(field(response, "x-outrigger-error"), reason);
	return response;
};

/** An app that answers when it is told to. */
class Gate {
	#isOpen = false;
	#app: App | undefined;

	async start(): Promise<App> {
		this.#app = await startApp(async (wire) => {
			for (;;) {
				await wire.until(() => wire.unread.length > 0 || wire.isEnded || wire.isClosed, "a request");
				if (wire.unread.length === 0) return;
				const { target } = await wire.request();
				await wire.until(() => this.#isOpen || wire.isClosed, "the gate");
				wire.write(ok(target));
			}
		});
		return this.#app;
	}

	open(): void {
		this.#isOpen = true;
		for (const wire of this.#app?.wires ?? []) wire.socket.emit("drain");
	}
}

test("connections beyond limits.connections get a 503 with retry-after; when one goes there is room again", async () => {
	await using app = await startApp(answering(() => ok()));
	await using plane = await startPlane(app.port, { set: { "limits.connections": "2" } });
	const ask = async (client: Wire): Promise<number> => {
		client.write(GET);
		return (await client.response()).status;
	};
	await using first = await connect(plane.port);
	await using second = await connect(plane.port);
	assert.equal(await ask(first), 200);
	assert.equal(await ask(second), 200);
	await using third = await connect(plane.port);
	const response = await refused(third, 503, "connections_exceeded");
	assert.equal(field(response, "retry-after"), "1");
	assert.ok((await third.rest()).isClean);
	assert.equal(await ask(first), 200);
	first.end();
	third.end();
	await eventually(() => plane.counters.get(CELL.DOWNSTREAM_OPEN) === 1, "the first and the third to be gone");
	await using fourth = await connect(plane.port);
	assert.equal(await ask(fourth), 200);
	second.end();
	fourth.end();
	await plane.settle();
	assert.equal(refusals(plane, "connections_exceeded"), 1);
});

test("an upload on a connection beyond the bound receives its 503", async () => {
	await using app = await startApp(answering(() => ok()));
	await using plane = await startPlane(app.port, { set: { "limits.connections": "1" } });
	await using first = await connect(plane.port);
	first.write(GET);
	await first.response();
	for (let round = 0; round < 20; round++) {
		await using client = await connect(plane.port);
		client.write(`POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${1 << 20}\r\n\r\n`);
		client.write(Buffer.alloc(256 << 10));
		await refused(client, 503, "connections_exceeded");
		client.end();
	}
	first.end();
	await plane.settle();
});

test("exchanges beyond limits.inFlight get a 503 and keep their connection; probes are never refused", async () => {
	const gate = new Gate();
	await using app = await gate.start();
	await using plane = await startPlane(app.port, { set: { "limits.inFlight": "1", "probes.paths.0": "/healthz" } });
	await using busy = await connect(plane.port);
	busy.write(GET);
	await eventually(() => plane.counters.get(CELL.IN_FLIGHT) === 1, "the exchange");
	await using other = await connect(plane.port);
	for (let round = 0; round < 3; round++) {
		other.write(GET);
		const response = await refused(other, 503, "in_flight_exceeded");
		assert.equal(field(response, "retry-after"), "1");
		assert.equal(field(response, "connection"), undefined);
	}
	const probes = [];
	for (const request of [
		"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n",
		"GET /any HTTP/1.1\r\nhost: a\r\nuser-agent: kube-probe/1.31\r\n\r\n",
		"GET /any HTTP/1.1\r\nhost: a\r\nuser-agent: ELB-HealthChecker/2.0\r\n\r\n",
		"GET /any HTTP/1.1\r\nhost: a\r\nuser-agent: GoogleHC/1.0\r\n\r\n",
	]) {
		const probe = await connect(plane.port);
		probe.write(request);
		probes.push(probe);
	}
	await eventually(() => plane.counters.get(CELL.PROBES_IN_FLIGHT) === probes.length, "the probes to be with the app");
	assert.equal(plane.counters.get(CELL.IN_FLIGHT), 1, "a probe is not in flight: it holds no drain");
	gate.open();
	for (const probe of probes) {
		assert.equal((await probe.response()).status, 200);
		probe.end();
	}
	assert.equal((await busy.response()).status, 200);
	other.write(GET);
	assert.equal((await other.response()).status, 200);
	busy.end();
	other.end();
	const records = await plane.recorded(9);
	assert.equal(records.filter(({ flags }) => (flags & FLAG_PROBE) !== 0).length, 4);
	await plane.settle();
	assert.equal(plane.counters.get(CELL.PROBES_IN_FLIGHT), 0);
	assert.equal(plane.counters.get(CELL.PROBES_ARRIVED), 4);
	assert.equal(refusals(plane, "in_flight_exceeded"), 3);
	for (const probe of probes) await probe[Symbol.asyncDispose]();
});

for (const [what, userAgent] of [
	["names a prober in the middle of its user agent", "Mozilla kube-probe/1.31"],
	["says only the beginning of a prober's name", "kube"],
] as const) {
	test(`a request that ${what} is no probe`, async () => {
		await using app = await startApp(answering(() => ok()));
		await using plane = await startPlane(app.port);
		await using client = await connect(plane.port);
		client.write(`GET / HTTP/1.1\r\nhost: a\r\nuser-agent: ${userAgent}\r\n\r\n`);
		await client.response();
		client.end();
		await plane.settle();
		assert.equal(plane.counters.get(CELL.PROBES_ARRIVED), 0);
	});
}

test("a body larger than its route's bound is a 413, by its length before it is asked for, in chunks where it exceeds", async () => {
	await using app = await startApp(answering(({ body }) => ok(String(body.length))));
	await using plane = await startPlane(app.port, {
		set: { "limits.body": "100B", "routes.table.0.path": "/large", "routes.table.0.body": "1000B" },
	});
	const post = async (path: string, fields: string, body: string): Promise<Response> => {
		await using client = await connect(plane.port);
		client.write(`POST ${path} HTTP/1.1\r\nhost: a\r\n${fields}\r\n\r\n${body}`);
		const response = await client.response();
		client.end();
		return response;
	};
	const chunk = (length: number): string => `${length.toString(16)}\r\n${"x".repeat(length)}\r\n`;
	for (const [path, limit] of [
		["/small", 100],
		["/large", 1000],
	] as const) {
		assert.equal((await post(path, `content-length: ${limit}`, "x".repeat(limit))).body.toString(), String(limit));
		const chunks = `${chunk(limit - 1)}${chunk(1)}`;
		assert.equal((await post(path, "transfer-encoding: chunked", `${chunks}0\r\n\r\n`)).body.toString(), String(limit));
		const before = app.wires.reduce((sum, wire) => sum + wire.receivedBytes, 0);
		const byLength = await post(path, `content-length: ${limit + 1}\r\nexpect: 100-continue`, "");
		assert.equal(byLength.status, 413);
		assert.equal(byLength.interim.length, 0, "it was never asked for");
		assert.equal(
			app.wires.reduce((sum, wire) => sum + wire.receivedBytes, 0),
			before,
			"the app has not heard of it",
		);
		assert.equal((await post(path, "transfer-encoding: chunked", `${chunks}${chunk(1)}`)).status, 413);
	}
	await plane.settle();
	assert.equal(refusals(plane, "body_too_large"), 4);
});

test("a client that pipelines is not read beyond limits.pipeline, and all of it is answered in order in the end", async () => {
	const gate = new Gate();
	await using app = await gate.start();
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	const path = "x".repeat(4000);
	const count = 4000;
	for (let i = 0; i < count; i++) client.write(`GET /${i}?${path} HTTP/1.1\r\nhost: a\r\n\r\n`);
	for (let before = -1; before !== client.socket.writableLength; ) {
		before = client.socket.writableLength;
		await new Promise((resolve) => setTimeout(resolve, 100));
	}
	assert.ok(client.socket.writableLength > 1 << 20, "the agent has stopped reading");
	assert.ok(plane.counters.get(CELL.BUFFERED_BYTES) < 512 << 10);
	assert.equal(app.wires.length, 1);
	gate.open();
	for (let i = 0; i < count; i++) {
		assert.match((await client.response()).body.toString(), new RegExp(`^/${i}\\?`));
		if (i % 500 === 0) assert.ok(plane.records.length > 0, "read before the ring is full");
	}
	client.end();
	await plane.settle();
	assert.equal(plane.counters.get(CELL.ANSWERED), count);
});

test("beyond limits.buffered the newest unfinished head is refused, older exchanges go on, and all is given back", async () => {
	const gate = new Gate();
	await using app = await gate.start();
	await using plane = await startPlane(app.port, { set: { "limits.buffered": "1MiB" } });
	await using old = await connect(plane.port);
	old.write(GET);
	await eventually(() => plane.counters.get(CELL.IN_FLIGHT) === 1, "the old exchange");
	const clients: Wire[] = [];
	const unfinished = `GET / HTTP/1.1\r\nhost: a\r\nx: ${"y".repeat(60_000)}`;
	while (refusals(plane, "buffer_exceeded") === 0) {
		const client = await connect(plane.port);
		clients.push(client);
		client.write(unfinished);
		const { length } = clients;
		assert.ok(length < 40, "so many do not fit into 1 MiB");
		await eventually(
			() =>
				plane.counters.get(CELL.BUFFERED_BYTES) >= length * unfinished.length || refusals(plane, "buffer_exceeded") > 0,
			"the head to be held or refused",
		);
	}
	const newest = clients.at(-1);
	assert.ok(newest !== undefined);
	const response = await refused(newest, 503, "buffer_exceeded");
	assert.equal(field(response, "retry-after"), "1");
	for (const client of clients.slice(0, -1)) assert.equal(client.receivedBytes, 0, "those before wait as they did");
	gate.open();
	assert.equal((await old.response()).status, 200);
	const first = clients[0];
	for (const client of clients.slice(1, 8)) client.reset();
	await eventually(() => plane.counters.get(CELL.CUT) === 7, "room for a whole exchange");
	first?.write("\r\n\r\n");
	assert.equal((await first?.response())?.status, 200, "what was held can be finished");
	old.end();
	for (const client of clients) client.end();
	await plane.settle();
	for (const client of clients) await client[Symbol.asyncDispose]();
});

test("a client that reads slowly is held back by the app's side, not by the byte budget of others", async () => {
	await using app = await startApp(answering(({ target }) => ok(Buffer.alloc(target === "/large" ? 32 << 20 : 2))));
	await using plane = await startPlane(app.port, { set: { "limits.buffered": "8MiB" } });
	const slow: Wire[] = [];
	for (let i = 0; i < 8; i++) {
		const client = await connect(plane.port);
		client.write(GET.replace("/", "/large"));
		await client.until(() => client.receivedBytes > 0, "the beginning");
		client.socket.pause();
		slow.push(client);
	}
	await using other = await connect(plane.port);
	for (let round = 0; round < 10; round++) {
		other.write(GET);
		assert.equal((await other.response()).status, 200);
	}
	for (const client of slow) client.reset();
	other.end();
	await plane.settle();
});

for (const [what, header, seen] of [
	["version 1", Buffer.from("PROXY TCP4 203.0.113.7 10.0.0.1 1111 80\r\n"), "203.0.113.7"],
	["version 2", Buffer.from("0d0a0d0a000d0a515549540a21110" + "00ccb0071070a00000104570050", "hex"), "203.0.113.7"],
] as const) {
	test(`proxyProtocol ${what}: the app sees the client that the header names, wherever the bytes are split`, async () => {
		await using app = await startApp(answering((request) => ok(field(request, "x-forwarded-for") ?? "none")));
		await using plane = await startPlane(app.port, { set: { "connections.proxyProtocol": "true" } });
		const bytes = Buffer.concat([header, Buffer.from(GET)]);
		for (let split = 1; split < header.length + 2; split += 3) {
			await using client = await connect(plane.port);
			await client.writePieces([bytes.subarray(0, split), bytes.subarray(split)]);
			assert.equal((await client.response()).body.toString(), seen);
			client.write(GET);
			assert.equal((await client.response()).body.toString(), seen, "and on the next request of the connection");
			client.end();
		}
		await plane.settle();
	});
}

test("proxyProtocol: a connection without a header is reset and counted; so are more that wait for theirs than limits.connections", async () => {
	await using app = await startApp(answering(() => ok()));
	await using plane = await startPlane(app.port, {
		set: { "connections.proxyProtocol": "true", "limits.connections": "2" },
	});
	await using bare = await connect(plane.port);
	bare.write(GET);
	await bare.closed();
	assert.equal(bare.receivedBytes, 0);
	assert.equal(refusals(plane, "proxy_protocol"), 1);
	const silent = await Promise.all(Array.from({ length: 5 }, () => connect(plane.port)));
	await eventually(() => refusals(plane, "connections_exceeded") === 3, "three to be too many");
	for (const client of silent) client.end();
	await eventually(() => refusals(plane, "proxy_protocol") === 3, "the two that waited to be gone");
	await plane.settle();
	for (const client of silent) await client[Symbol.asyncDispose]();
});

test("a connection older than connections.maxAge ends with its next answer", async () => {
	const clock = new ManualClock();
	await using app = await startApp(answering(() => ok()));
	await using plane = await startPlane(app.port, { clock, set: { "connections.maxAge": "60s" } });
	await using client = await connect(plane.port);
	client.write(GET);
	assert.equal(field(await client.response(), "connection"), undefined);
	plane.advance(60_001);
	client.write(GET);
	assert.equal(field(await client.response(), "connection"), "close");
	assert.ok((await client.rest()).isClean);
	client.end();
	await plane.settle();
});

for (const state of ["announcing", "draining", "stopping"] as const) {
	test(`${state}: what comes is served, and each answer is its connection's last`, async () => {
		await using app = await startApp(answering(() => ok()));
		await using plane = await startPlane(app.port);
		await using before = await connect(plane.port);
		before.write(GET);
		assert.equal(field(await before.response(), "connection"), undefined);
		await plane.plane.obey({ kind: "state", state });
		await using after = await connect(plane.port);
		for (const client of [before, after]) {
			client.write(GET);
			const response = await client.response();
			assert.equal(response.status, 200);
			assert.equal(field(response, "connection"), "close");
			assert.ok((await client.rest()).isClean);
			client.end();
		}
		await plane.settle();
	});
}

test("closeIdle ends idle connections by FIN and no other; stop cuts what is in flight and counts it", async () => {
	await using app = await startApp(async (wire, index) => {
		await wire.request();
		if (index === 0) wire.write(ok());
	});
	await using plane = await startPlane(app.port);
	await using idle = await connect(plane.port);
	idle.write(GET);
	await idle.response();
	await using fresh = await connect(plane.port);
	await using busy = await connect(plane.port);
	busy.write(GET.replace("GET", "POST").replace("\r\n\r\n", "\r\ncontent-length: 2\r\n\r\nhi"));
	await eventually(() => plane.counters.get(CELL.IN_FLIGHT) === 1, "the exchange");
	await eventually(() => plane.counters.get(CELL.DOWNSTREAM_OPEN) === 3, "three connections");
	await plane.plane.obey({ kind: "closeIdle", idleMs: 0 });
	assert.equal(plane.counters.get(CELL.IDLE_CLOSED), 2);
	assert.ok((await idle.rest()).isClean);
	assert.ok((await fresh.rest()).isClean);
	idle.end();
	fresh.end();
	assert.ok(!busy.isEnded);
	await plane.plane.obey({ kind: "stop" });
	assert.deepEqual(plane.messages.at(-1), { kind: "stopped" });
	assert.equal(plane.counters.get(CELL.CUT), 1);
	await busy.closed();
	assert.equal(busy.error, "ECONNRESET");
	const records = await plane.recorded(2);
	assert.equal(plane.reasonOf(records[1]), "drain_cut");
	assert.equal(records[1]?.endedBy, "drain");
	await plane.settle();
});

test("several entries of inbound: each has its own port and its own app", async () => {
	await using one = await startApp(answering(() => ok("one")));
	await using two = await startApp(answering(() => ok("two")));
	await using plane = await startPlane(one.port, {
		set: {
			"inbound.1.name": "second",
			"inbound.1.listen": "127.0.0.1:0",
			"inbound.1.app": `127.0.0.1:${two.port}`,
		},
	});
	assert.equal(new Set(plane.ports).size, 2);
	for (const [index, body] of ["one", "two"].entries()) {
		await using client = await connect(plane.ports[index] ?? 0);
		client.write(GET);
		assert.equal((await client.response()).body.toString(), body);
		client.end();
	}
	const records = await plane.recorded(2);
	assert.deepEqual(
		records.map(({ inbound }) => inbound),
		[0, 1],
	);
	await plane.settle();
});
