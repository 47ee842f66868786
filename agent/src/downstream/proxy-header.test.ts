import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { describe, test } from "node:test";
import { FakeStream } from "../foundation/byte-stream.fixture.ts";
import { ManualClock } from "../foundation/clock.ts";
import { ProxyHeader } from "./proxy-header.ts";

const HEADER = "PROXY TCP4 203.0.113.5 10.0.0.1 40000 80\r\n";

const awaited = () => {
	const stream = new FakeStream();
	const told: (readonly [address: string | undefined, rest: string | undefined])[] = [];
	const clock = new ManualClock();
	// A fake has all of a socket that is used here: its bytes, its events, its address.
	const header = new ProxyHeader(stream as unknown as Socket, clock, 10_000, (address, rest) =>
		told.push([address, rest?.toString("latin1")]),
	);
	return { stream, told, header };
};

describe("a PROXY protocol header", () => {
	test("tells the client's address, and what follows it belongs to the connection, wherever it is cut", () => {
		const bytes = `${HEADER}GET / HTTP/1.1\r\n`;
		for (let at = 0; at <= HEADER.length; at++) {
			const { stream, told } = awaited();
			if (at > 0) stream.say(bytes.slice(0, at));
			if (at < HEADER.length) stream.say(bytes.slice(at));
			assert.deepEqual(
				told,
				[["203.0.113.5", at === HEADER.length ? undefined : "GET / HTTP/1.1\r\n"]],
				`cut at ${at}`,
			);
			assert.equal(stream.listenerCount("data") + stream.listenerCount("end") + stream.listenerCount("close"), 0);
			assert.equal(stream.destroyed, false);
		}
	});

	test("that says nothing of the client leaves the address of the connection", () => {
		const { stream, told } = awaited();
		stream.say("PROXY UNKNOWN\r\n");
		const nameless = awaited();
		nameless.stream.remoteAddress = undefined;
		nameless.stream.say("PROXY UNKNOWN\r\n");
		assert.deepEqual([told, nameless.told], [[["192.0.2.7", undefined]], [["unknown", undefined]]]);
	});

	const ends: readonly (readonly [what: string, happens: (made: ReturnType<typeof awaited>) => void])[] = [
		["that is none", ({ stream }) => stream.say("GET / HTTP/1.1\r\n\r\n")],
		["that does not come in time", ({ header }) => header.expire(10_000)],
		["whose client ends before it is whole", ({ stream }) => stream.hangUp()],
		["whose connection is reset", ({ stream }) => stream.fail("ECONNRESET")],
		["that is waited for when the agent stops", ({ header }) => header.cut()],
	];
	for (const [what, happens] of ends) {
		test(`${what} is told once as missing, and the connection is reset`, () => {
			const made = awaited();
			if (what !== "that is none") made.stream.say("PROXY");
			made.header.expire(9_999);
			assert.deepEqual(made.told, []);
			happens(made);
			made.header.cut();
			made.stream.say(HEADER);
			assert.deepEqual(made.told, [[undefined, undefined]]);
			assert.equal(made.stream.ending, "reset");
		});
	}
});
