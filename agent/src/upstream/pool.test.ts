import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { Address } from "../config/settings.ts";
import type { FakeStream } from "../foundation/byte-stream.fixture.ts";
import { METHOD } from "../http1/methods.ts";
import { FakeApp } from "./app.fixture.ts";
import type { ResponseSink, UpstreamConnection } from "./connection.ts";
import { FRESH_IDLE_MS, type Pool } from "./pool.ts";

const nobody: ResponseSink = {
	informational: () => undefined,
	responseHead: () => undefined,
	responseBytes: () => undefined,
	holdsResponseBytes: () => false,
	responseEnded: () => undefined,
	upstreamFailed: () => undefined,
	upstreamConnected: () => undefined,
	upstreamRefusedBytes: () => undefined,
	upstreamDrained: () => undefined,
	tunnelBytes: () => undefined,
	tunnelEnded: () => undefined,
	tunnelClosed: () => undefined,
};

const opened = (pool: Pool): UpstreamConnection => {
	const connection = pool.open();
	assert.ok(connection !== undefined);
	return connection;
};

/** Carries one exchange; the connection is idle afterwards. */
const carry = (connection: UpstreamConnection, stream: FakeStream): void => {
	if (!connection.isConnected) stream.open();
	connection.begin(nobody, METHOD.GET, false, false);
	connection.requestSent();
	stream.say("HTTP/1.1 204 No Content\r\n\r\n");
	assert.ok(connection.isIdle);
};

/** A pool with so many idle connections, each idle for a millisecond less than the one before it. */
const withIdle = (count: number) => {
	const app = new FakeApp();
	const pool = app.pool();
	const connections = Array.from({ length: count }, () => {
		const connection = opened(pool);
		carry(connection, app.last);
		app.advance(1);
		return connection;
	});
	return { app, pool, connections };
};

describe("idle connections", () => {
	test("are taken last in, first out, so that what is not needed grows old", () => {
		const { pool, connections } = withIdle(3);
		assert.deepEqual([pool.takeIdle(true), pool.takeIdle(true), pool.takeIdle(true)], connections.toReversed());
		assert.equal(pool.takeIdle(true), undefined);
	});

	test("that are no longer fresh carry no request that may not be sent twice", () => {
		const { app, pool, connections } = withIdle(1);
		app.advance(FRESH_IDLE_MS - 1);
		assert.equal(pool.takeIdle(false), connections[0]);
		carry(connections[0] as UpstreamConnection, app.last);
		app.advance(FRESH_IDLE_MS + 1);
		assert.equal(pool.takeIdle(false), undefined);
		assert.equal(pool.takeIdle(true), connections[0]);
	});

	test("older than the app keeps them are not taken, and the sweep closes those alone", () => {
		const { app, pool } = withIdle(2);
		app.advance(999);
		pool.sweep();
		assert.deepEqual(
			app.streams.map((stream) => stream.ending),
			["reset", undefined],
		);
		app.advance(2);
		assert.equal(pool.takeIdle(true), undefined);
		pool.sweep();
		assert.deepEqual([pool.idleCount, app.closed], [0, 2]);
	});

	for (const [how, ends] of [
		["FIN", (stream) => stream.hangUp()],
		["RST", (stream) => stream.fail("ECONNRESET")],
		["no word", (stream) => stream.close()],
		["bytes that nobody asked for", (stream) => stream.say("HTTP/1.1 408 Request Timeout\r\n\r\n")],
	] as const satisfies readonly (readonly [string, (stream: FakeStream) => void])[]) {
		test(`that the app ends with ${how} are forgotten`, () => {
			const { app, pool, connections } = withIdle(3);
			ends(app.streams[1] as FakeStream);
			assert.equal(pool.idleCount, 2);
			assert.deepEqual([pool.takeIdle(true), pool.takeIdle(true)], [connections[2], connections[0]]);
			assert.equal(app.closed, 1);
		});
	}

	test("that the app ends twice after the same time teach when to end them first", () => {
		const { app, pool } = withIdle(0);
		for (let i = 0; i < 2; i++) {
			carry(opened(pool), app.last);
			app.advance(500);
			app.last.hangUp();
		}
		assert.deepEqual([pool.lesson.idleMs, pool.lesson.source], [400, "close"]);
	});

	test("are all closed when the app has moved", () => {
		const { app, pool } = withIdle(2);
		pool.relocate([{ kind: "tcp", host: "127.0.0.1", port: 4000 }], { ipv4: undefined, ipv6: undefined });
		assert.deepEqual(
			app.streams.map((stream) => stream.ending),
			["reset", "reset"],
		);
		opened(pool);
		assert.deepEqual(app.calls.at(-1)?.address, { kind: "tcp", host: "127.0.0.1", port: 4000 });
	});
});

describe("a connection that takes too long to be made", () => {
	test("is given up by the sweep, and no younger one", () => {
		const app = new FakeApp();
		const pool = app.pool();
		opened(pool);
		app.advance(600);
		opened(pool);
		app.advance(400);
		pool.sweep();
		assert.deepEqual(
			app.streams.map((stream) => stream.destroyed),
			[true, false],
		);
		assert.deepEqual([app.opened, app.closed], [2, 1]);
	});

	test("is left alone once it is made", () => {
		const app = new FakeApp();
		const pool = app.pool();
		const connection = opened(pool);
		app.last.open();
		app.advance(60_000);
		pool.sweep();
		assert.equal(connection.isClosed, false);
	});
});

describe("where the app is looked for", () => {
	const places: readonly Address[] = [
		{ kind: "tcp", host: "127.0.0.1", port: 3000 },
		{ kind: "tcp", host: "::1", port: 3000 },
		{ kind: "unix", path: "/run/app.sock" },
		{ kind: "tcp", host: undefined, port: 3000 },
	];

	test("each place has its turn; one refusal moves on once, however many saw it", () => {
		const app = new FakeApp();
		const pool = app.pool(places);
		assert.equal(pool.candidates, 4);
		const seen = places.map(() => {
			const at = pool.candidate;
			opened(pool);
			pool.tryNextCandidate(at);
			pool.tryNextCandidate(at); // somebody else was refused at the same place
			return app.calls.at(-1)?.address;
		});
		assert.deepEqual(seen, places);
		assert.equal(pool.candidate, 0, "and from the beginning");
	});

	test("it is called from the address of its family", () => {
		const app = new FakeApp();
		const pool = app.pool();
		pool.relocate(places, { ipv4: "10.0.0.7", ipv6: "fd00::7" });
		for (let i = 0; i < places.length; i++) {
			opened(pool);
			pool.tryNextCandidate(i);
		}
		assert.deepEqual(
			app.calls.map(({ localAddress }) => localAddress),
			["10.0.0.7", "fd00::7", undefined, undefined],
		);
	});

	test("nowhere, as long as its port is not known", () => {
		const app = new FakeApp();
		const pool = app.pool([]);
		assert.deepEqual([pool.open(), pool.dial()], [undefined, undefined]);
		pool.tryNextCandidate(0);
		assert.deepEqual([pool.candidate, app.opened], [0, 0]);
	});
});

test("a mistake of ours on one of its connections is passed on", () => {
	const app = new FakeApp();
	const connection = opened(app.pool());
	connection.begin(
		{
			...nobody,
			upstreamConnected: () => {
				throw new Error("our mistake");
			},
		},
		METHOD.GET,
		false,
		false,
	);
	app.last.open();
	assert.equal(app.mistakes.length, 1);
	assert.deepEqual([app.opened, app.closed], [1, 1]);
});

test("whatever happens in whatever order, no closed connection is handed out and the count is right", () => {
	const steps = fc.constantFrom("open", "take", "answer", "hang up", "reset", "wait", "sweep", "close idle");
	fc.assert(
		fc.property(fc.array(fc.tuple(steps, fc.nat(5)), { maxLength: 60 }), (path) => {
			const app = new FakeApp();
			const pool = app.pool();
			const busy: [UpstreamConnection, FakeStream][] = [];
			const streamOf = new Map<UpstreamConnection, FakeStream>();
			for (const [step, which] of path) {
				const stream = app.streams[which];
				switch (step) {
					case "open": {
						const connection = opened(pool);
						streamOf.set(connection, app.last);
						busy.push([connection, app.last]);
						break;
					}
					case "take": {
						const connection = pool.takeIdle(which % 2 === 0);
						if (connection === undefined) break;
						assert.ok(connection.isIdle && !connection.isClosed);
						busy.push([connection, streamOf.get(connection) as FakeStream]); // each was put there when it was made
						break;
					}
					case "answer": {
						const [connection, its] = busy.shift() ?? [];
						if (connection !== undefined && its !== undefined && !connection.isClosed) carry(connection, its);
						break;
					}
					case "hang up":
						if (stream?.isOpen === true) stream.hangUp();
						break;
					case "reset":
						if (stream !== undefined && !stream.destroyed) stream.fail("ECONNRESET");
						break;
					case "wait":
						app.advance(which * 100);
						break;
					case "sweep":
						pool.sweep();
						break;
					default:
						pool.closeIdle();
				}
				const open = [...streamOf.keys()].filter((connection) => !connection.isClosed);
				assert.equal(app.opened - app.closed, open.length);
				assert.ok(pool.idleCount <= open.filter((connection) => connection.isIdle).length);
			}
		}),
		{ numRuns: 200 },
	);
});
