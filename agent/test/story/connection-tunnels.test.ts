/**
 * Tunnels: a connection that has become bytes both ways, by `Upgrade`. What one side says the other gets, whole and in order; whoever ends or cuts
 * it, the other feels the same.
 */
import { strict as assert } from "node:assert";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { CELL } from "../../src/bridge/counters.ts";
import {
	type App,
	answering,
	connect,
	eventually,
	field,
	ok,
	type PlaneRun,
	startApp,
	startPlane,
	turn,
	type Wire,
} from "./harness.ts";

const ASK = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
const SWITCH = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";

/** An app that switches on the first request of each connection and then leaves the wire to the test. */
const switching = (): Promise<App> =>
	startApp(async (wire) => {
		await wire.request();
		wire.write(SWITCH);
	});

interface Tunnel {
	readonly client: Wire;
	readonly app: Wire;
}

const openTunnel = async (plane: PlaneRun, app: App): Promise<Tunnel> => {
	const client = await connect(plane.port);
	client.write(ASK);
	assert.equal((await client.response()).status, 101);
	return { client, app: await app.wire(app.wires.length - 1) };
};

const appGone = async (plane: PlaneRun): Promise<void> =>
	eventually(() => plane.counters.get(CELL.UPSTREAM_OPEN) === 0, "the connection to the app to be closed");

test("bytes right after the 101, and right after the request, are the tunnel's first, both ways", async () => {
	await using app = await startApp(async (wire) => {
		await wire.request();
		wire.write(`${SWITCH}from the app`);
		assert.equal((await wire.take(15)).toString(), "from the client");
		wire.end();
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	client.write(`${ASK}from the client`);
	const response = await client.response();
	assert.equal(response.status, 101);
	assert.equal(field(response, "upgrade"), "websocket");
	assert.equal(field(response, "connection")?.toLowerCase(), "upgrade");
	assert.equal((await client.take(12)).toString(), "from the app");
	await client.until(() => client.isEnded, "the app's half to end");
	client.end();
	const [record] = await plane.recorded(1);
	assert.equal(record?.status, 101);
	assert.equal(plane.counters.get(CELL.TUNNELS_OPENED), 1);
	await plane.settle();
});

test("a 101 in pieces of one octet opens the same tunnel", async () => {
	await using app = await startApp(async (wire) => {
		await wire.request();
		await wire.writePieces([...Buffer.from(`${SWITCH}x`)].map((octet) => Buffer.of(octet)));
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	client.write(ASK);
	assert.equal((await client.response()).status, 101);
	assert.equal((await client.take(1)).toString(), "x");
	client.end();
	(await app.wire(0)).end();
	await plane.recorded(1);
	await plane.settle();
});

test("the client's half ends and the app goes on, until its own half ends", async () => {
	await using app = await switching();
	await using plane = await startPlane(app.port);
	const tunnel = await openTunnel(plane, app);
	tunnel.client.write("last words");
	tunnel.client.end();
	assert.equal((await tunnel.app.rest()).bytes.toString(), "last words");
	assert.equal(plane.counters.get(CELL.TUNNELS), 1);
	tunnel.app.write("the app has more to say");
	tunnel.app.end();
	const rest = await tunnel.client.rest();
	assert.equal(rest.bytes.toString(), "the app has more to say");
	assert.ok(rest.isClean);
	await plane.recorded(1);
	await plane.settle();
});

test("the app's half ends and the client goes on, until its own half ends", async () => {
	await using app = await switching();
	await using plane = await startPlane(app.port);
	const tunnel = await openTunnel(plane, app);
	tunnel.app.end();
	await tunnel.client.until(() => tunnel.client.isEnded, "the app's half to end");
	tunnel.client.write("the client has more to say");
	tunnel.client.end();
	const rest = await tunnel.app.rest();
	assert.equal(rest.bytes.toString(), "the client has more to say");
	assert.ok(rest.isClean);
	await plane.recorded(1);
	await plane.settle();
});

test("a client that cuts the tunnel is felt by the app as a cut, not as an end", async () => {
	await using app = await switching();
	await using plane = await startPlane(app.port);
	const tunnel = await openTunnel(plane, app);
	tunnel.client.reset();
	await tunnel.app.closed();
	assert.equal(tunnel.app.error, "ECONNRESET");
	const [record] = await plane.recorded(1);
	assert.equal(plane.reasonOf(record), undefined);
	await plane.settle();
});

test("an app that cuts the tunnel is felt by the client as a cut, not as an end", async () => {
	await using app = await switching();
	await using plane = await startPlane(app.port);
	const tunnel = await openTunnel(plane, app);
	tunnel.app.write("some");
	assert.equal((await tunnel.client.take(4)).toString(), "some");
	tunnel.app.reset();
	await tunnel.client.closed();
	assert.equal(tunnel.client.error, "ECONNRESET");
	await plane.recorded(1);
	await plane.settle();
});

/** Sends all of it to a peer that does not read; resolves when nothing moves any more. */
const fill = async (from: Wire, bytes: Buffer): Promise<void> => {
	for (let at = 0; at < bytes.length; at += 65_536) from.write(bytes.subarray(at, at + 65_536));
	for (let before = -1; before !== from.socket.writableLength; ) {
		before = from.socket.writableLength;
		await new Promise((resolve) => setTimeout(resolve, 100));
	}
};

for (const direction of ["client to app", "app to client"] as const) {
	test(`${direction}: who does not read stops who sends, and gets every octet in the end`, async () => {
		await using app = await switching();
		await using plane = await startPlane(app.port);
		const tunnel = await openTunnel(plane, app);
		const [from, to] = direction === "client to app" ? [tunnel.client, tunnel.app] : [tunnel.app, tunnel.client];
		const bytes = randomBytes(24 << 20);
		to.socket.pause();
		await fill(from, bytes);
		assert.ok(from.socket.writableLength > 1 << 20, "back-pressure has reached the sender");
		assert.ok(plane.counters.get(CELL.BUFFERED_BYTES) <= 1 << 20, "little is held between");
		from.end();
		to.end(); // the other half is over long before
		to.socket.resume();
		const rest = await to.rest();
		assert.ok(rest.isClean);
		assert.ok(rest.bytes.equals(bytes), `${rest.bytes.length} of ${bytes.length} octets`);
		await plane.recorded(1);
		await plane.settle();
		await appGone(plane);
	});
}

test("an upgrade that the app does not take is an ordinary exchange, and the connection goes on", async () => {
	await using app = await startApp(answering(() => ok("no")));
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	for (let turn = 0; turn < 3; turn++) {
		client.write(ASK);
		const response = await client.response();
		assert.equal(response.status, 200);
		assert.equal(response.body.toString(), "no");
	}
	assert.equal(plane.counters.get(CELL.TUNNELS_OPENED), 0);
	client.end();
	await plane.settle();
});

test("upgrade: h2c is not forwarded, neither is its settings field", async () => {
	await using app = await startApp(async (wire) => {
		const request = await wire.request();
		assert.equal(field(request, "upgrade"), undefined);
		assert.equal(field(request, "http2-settings"), undefined);
		assert.equal(field(request, "connection"), undefined);
		wire.write(ok());
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	client.write(
		"GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n",
	);
	assert.equal((await client.response()).status, 200);
	client.end();
	await plane.settle();
});

test("an upgrade asked for in HTTP/1.0 is ignored", async () => {
	await using app = await startApp(async (wire) => {
		assert.equal(field(await wire.request(), "upgrade"), undefined);
		wire.write(ok());
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	client.write(ASK.replace("HTTP/1.1", "HTTP/1.0"));
	assert.equal((await client.response()).status, 200);
	await client.rest();
	client.end();
	await plane.settle();
});

for (const [what, request] of [
	["nobody asked for", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"],
	["was asked for in HTTP/1.0", ASK.replace("HTTP/1.1", "HTTP/1.0")],
	["was asked for as h2c", ASK.replace("websocket", "h2c")],
] as const) {
	test(`a 101 that ${what} is a 502`, async () => {
		await using app = await startApp(async (wire) => {
			await wire.request();
			wire.write(SWITCH);
		});
		await using plane = await startPlane(app.port);
		await using client = await connect(plane.port);
		client.write(request);
		const response = await client.response();
		assert.equal(response.status, 502);
		assert.equal(field(response, "x-outrigger-error"), "app_upgrade_unasked");
		client.end();
		await plane.recorded(1);
		await plane.settle();
	});
}

test("a tunnel is not in flight: it holds no drain, and limits.inFlight does not see it", async () => {
	await using app = await startApp(async (wire, index) => {
		await wire.request();
		wire.write(index === 0 ? SWITCH : ok());
	});
	await using plane = await startPlane(app.port, { set: { "limits.inFlight": "1" } });
	const tunnel = await openTunnel(plane, app);
	assert.equal(plane.counters.get(CELL.IN_FLIGHT), 0);
	await using other = await connect(plane.port);
	other.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
	assert.equal((await other.response()).status, 200);
	other.end();
	tunnel.client.reset();
	await plane.recorded(2);
	await plane.settle();
});

test("the stop of the agent cuts a tunnel both ways, which is no lost request", async () => {
	await using app = await switching();
	await using plane = await startPlane(app.port);
	const tunnel = await openTunnel(plane, app);
	plane.plane.stop();
	assert.equal(plane.counters.get(CELL.CUT), 0, "a tunnel has had its answer: nobody has lost a request");
	await tunnel.client.closed();
	await tunnel.app.closed();
	assert.equal(tunnel.client.error, "ECONNRESET");
	await plane.recorded(1);
	await plane.settle();
});

test("a client that takes nothing out of a tunnel is cut after timeouts.writeStall, and the app feels it", async () => {
	await using app = await switching();
	await using plane = await startPlane(app.port, { set: { "timeouts.writeStall": "200ms" } });
	const tunnel = await openTunnel(plane, app);
	tunnel.client.socket.pause();
	tunnel.app.write(randomBytes(24 << 20));
	await tunnel.app.closed();
	await turn();
	await plane.recorded(1);
	tunnel.client.socket.resume();
	await tunnel.client.closed();
	await plane.settle();
});
