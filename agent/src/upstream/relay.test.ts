import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CELL, Counters } from "../bridge/counters.ts";
import type { Address } from "../config/settings.ts";
import { arrived, groundFrom } from "../exchange/exchange.fixture.ts";
import type { ResponseTaker } from "../exchange/exchange-events.ts";
import { FAULTS } from "../foundation/fault.ts";
import { FakeApp } from "./app.fixture.ts";
import { Relay } from "./relay.ts";

const unasked = (): never => assert.fail("a relay knows no messages");

const relaying = (candidates?: readonly Address[]) => {
	const app = new FakeApp();
	const counters = Counters.allocate();
	const connecting = new Set<Relay>();
	const relay = new Relay(app.pool(candidates), app.clock, counters, app.counts, connecting);
	const x = arrived(groundFrom(), ["GET / HTTP/1.1", "host: a"]);
	const told: string[] = [];
	const taker: ResponseTaker = {
		closesAfterResponse: unasked,
		informational: unasked,
		response: unasked,
		body: unasked,
		responseEnded: unasked,
		upgraded: unasked,
		holdsResponseBytes: () => false,
		failed: (fault) => told.push(`failed ${fault.reason}`),
		requestDrained: () => told.push("drained"),
		tunnelBytes: (bytes) => told.push(`bytes ${bytes.toString("latin1")}`),
		tunnelEnded: () => told.push("ended"),
		tunnelClosed: () => told.push("closed"),
	};
	const begin = (first?: string): boolean =>
		relay.begin(x, taker, first === undefined ? undefined : Buffer.from(first, "latin1"));
	return { app, counters, connecting, relay, x, taker, told, begin };
};

describe("bytes that are relayed", () => {
	test("wait for the connection, then go out in their order", () => {
		const { app, relay, told, begin, connecting, x } = relaying();
		assert.equal(begin("a"), false, "no more is welcome yet");
		assert.equal(relay.send(Buffer.from("b")), false);
		assert.ok(relay.holdsRequestBytes());
		app.advance(30);
		app.last.open();
		assert.deepEqual([app.last.text, told, connecting.size], ["ab", ["drained"], 0]);
		assert.equal(x.connectMs, 30);
		assert.equal(relay.send(Buffer.from("c")), true);
		assert.equal(app.last.text, "abc");
		assert.equal(relay.holdsRequestBytes(), false);
	});

	test("come back as they are and are counted, and each half ends by itself", () => {
		const { app, relay, told, begin, x } = relaying();
		begin();
		app.last.open();
		app.last.say("\x00\x01");
		relay.requestEnded();
		assert.ok(app.last.isEnded);
		app.last.say("last");
		app.last.hangUp();
		app.last.close();
		assert.deepEqual(told, ["drained", "bytes \x00\x01", "bytes last", "ended", "closed"]);
		assert.equal(x.responseBodyBytes, 6);
		assert.deepEqual([app.opened, app.closed], [1, 1]);
	});

	test("of a client that has said all before there is a connection still arrive, and then its FIN", () => {
		const { app, relay, begin } = relaying();
		begin("all of it");
		relay.requestEnded();
		assert.equal(app.last.isEnded, false);
		app.last.open();
		assert.deepEqual([app.last.text, app.last.isEnded], ["all of it", true]);
	});

	test("stop whoever sends while the other side cannot take them", () => {
		const { app, relay, told, begin } = relaying();
		begin();
		app.last.open();
		app.last.isFull = true;
		assert.equal(relay.send(Buffer.alloc(100)), false);
		assert.ok(relay.holdsRequestBytes());
		app.last.drain();
		assert.deepEqual(told, ["drained", "drained"]);
		relay.pauseResponse();
		assert.ok(app.last.isPaused);
		relay.resumeResponse();
		assert.equal(app.last.isPaused, false);
	});
});

describe("an app that cannot be reached", () => {
	const both: readonly Address[] = [
		{ kind: "tcp", host: "127.0.0.1", port: 3000 },
		{ kind: "tcp", host: "::1", port: 3000 },
	];
	const failed = (counters: Counters, reason: "app_refused" | "app_connect_timeout"): number =>
		counters.get(CELL.UPSTREAM_FAILED_START + FAULTS[reason].index);

	test("is looked for at its next place, once each, and what came is not lost", () => {
		const { app, told, begin } = relaying(both);
		begin("hello");
		app.last.fail("ECONNREFUSED");
		assert.deepEqual(
			app.calls.map(({ address }) => (address.kind === "tcp" ? address.host : "")),
			["127.0.0.1", "::1"],
		);
		app.last.open();
		assert.deepEqual([app.last.text, told], ["hello", ["drained"]]);
	});

	test("at none of its places is refused, told once and counted", () => {
		const { app, told, begin, counters, connecting } = relaying(both);
		begin();
		app.last.fail("ECONNREFUSED");
		app.last.fail("ECONNREFUSED");
		assert.deepEqual(told, ["failed app_refused"]);
		assert.deepEqual([failed(counters, "app_refused"), connecting.size, app.opened, app.closed], [1, 0, 2, 2]);
	});

	test("has not told its port yet: refused at once", () => {
		const { app, told, begin, relay } = relaying([]);
		begin();
		assert.deepEqual([told, app.opened], [["failed app_refused"], 0]);
		assert.equal(relay.send(Buffer.from("late")), true, "nobody takes it, and nobody waits");
	});

	test("within the time for it is given up", () => {
		const { app, told, begin, relay, counters, connecting } = relaying();
		begin();
		app.advance(999);
		relay.expire(999, 1_000);
		assert.deepEqual(told, []);
		relay.expire(1_000, 1_000);
		assert.deepEqual(told, ["failed app_connect_timeout"]);
		assert.deepEqual([failed(counters, "app_connect_timeout"), connecting.size, app.closed], [1, 0, 1]);
	});

	test("according to the system's own time is refused without trying elsewhere: there is no time left for that", () => {
		const { app, told, begin } = relaying(both);
		begin();
		app.last.fail("ETIMEDOUT");
		assert.deepEqual([told, app.opened], [["failed app_refused"], 1]);
	});
});

describe("an end", () => {
	test("by the client is felt by the app as a reset, and nothing is told any more", () => {
		const { app, relay, told, begin } = relaying();
		begin();
		app.last.open();
		relay.abandon();
		relay.abandon();
		assert.equal(app.last.ending, "reset");
		app.last.say("late");
		app.last.close();
		assert.deepEqual(told, ["drained"]);
		assert.deepEqual([app.opened, app.closed], [1, 1]);
	});

	test("by the client before the connection is made leaves none", () => {
		const { app, relay, begin, connecting } = relaying();
		begin();
		relay.abandon();
		assert.deepEqual([app.last.ending, connecting.size, app.closed], ["destroy", 0, 1]);
		app.last.open();
		app.last.hangUp();
		app.last.fail("ECONNRESET");
	});

	test("by the app with an error is told when its connection is closed", () => {
		const { app, told, begin } = relaying();
		begin();
		app.last.open();
		app.last.fail("ECONNRESET");
		assert.deepEqual(told, ["drained", "closed"]);
	});

	test("by a mistake of ours is counted and told as such", () => {
		const { app, told, begin, taker, counters } = relaying();
		taker.requestDrained = () => {
			throw new Error("our mistake");
		};
		begin();
		app.last.open();
		assert.equal(app.mistakes.length, 1);
		assert.deepEqual(told, ["failed internal"]);
		assert.equal(counters.get(CELL.UPSTREAM_FAILED_START + FAULTS.internal.index), 0, "which is not the app's");
	});
});
