import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CELL, RESEND_REASONS } from "../bridge/counters.ts";
import { FLAG_RESENT, FLAG_REUSED } from "../bridge/exchange-record.ts";
import { HandPlane } from "../data-plane.fixture.ts";
import type { FakeStream } from "../foundation/byte-stream.fixture.ts";
import { FAULTS } from "../foundation/fault.ts";

const get = (path = "/"): string => `GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`;
const post = (body: string): string => `POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/** A plane whose connection to the app has carried an exchange and is idle. */
const warm = (): HandPlane => {
	const run = new HandPlane();
	run.client(get("/first"));
	run.app.open();
	run.endTurn();
	run.app.say(OK);
	run.endTurn();
	run.records();
	return run;
};
const resent = (run: HandPlane): Readonly<Record<string, number>> =>
	Object.fromEntries(RESEND_REASONS.map((reason, i) => [reason, run.counters.get(CELL.RESENT_START + i)]));
const reason = (client: FakeStream): string => /x-outrigger-error: (\w+)/.exec(client.text)?.[1] ?? "";

describe("a request whose idle connection the app was just closing", () => {
	for (const [how, ends, why] of [
		["FIN", (app: FakeStream) => app.hangUp(), "app_closed"],
		["RST", (app: FakeStream) => app.fail("ECONNRESET"), "app_reset"],
	] as const) {
		test(`by ${how} is sent once more on a new connection, and the client sees nothing of it`, () => {
			const run = warm();
			const client = run.client(get("/second"));
			run.endTurn();
			assert.equal(run.toApp.length, 1);
			ends(run.app);
			assert.equal(run.toApp.length, 2);
			run.app.open();
			run.endTurn();
			assert.match(run.app.text, /^GET \/second /);
			run.app.say(OK);
			run.endTurn();
			assert.match(client.text, /^HTTP\/1\.1 200 OK/);
			assert.deepEqual(resent(run), { app_closed: 0, app_reset: 0, idle_connection_dead: 0, [why]: 1 });
			const [record] = run.records();
			assert.equal((record?.flags ?? 0) & (FLAG_RESENT | FLAG_REUSED), FLAG_RESENT);
		});
	}

	test("is sent once more, not twice", () => {
		const run = warm();
		const client = run.client(get());
		run.endTurn();
		run.app.hangUp();
		run.app.open();
		run.endTurn();
		run.app.hangUp();
		run.endTurn();
		assert.equal(run.toApp.length, 2);
		assert.equal(reason(client), "app_closed");
	});

	const never: readonly (readonly [why: string, request: string, happens: (run: HandPlane) => void])[] = [
		["it may do something twice", post("x"), (run) => run.app.hangUp()],
		[
			"it has a body, idempotent or not",
			"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx",
			(run) => run.app.hangUp(),
		],
		[
			"a byte of an answer has come",
			get(),
			(run) => {
				run.app.say("HTTP/1.1 100 Continue\r\n\r\n");
				run.app.hangUp();
			},
		],
		["the answer was no HTTP", get(), (run) => run.app.say("nonsense\r\n\r\n")],
	];
	for (const [why, request, happens] of never) {
		test(`is not sent once more when ${why}`, () => {
			const run = warm();
			const client = run.client(request);
			run.endTurn();
			happens(run);
			run.endTurn();
			assert.equal(run.toApp.length, 1);
			assert.match(client.text, /^(HTTP\/1\.1 100 Continue\r\n\r\n)?HTTP\/1\.1 502 /);
			assert.deepEqual(resent(run), { app_closed: 0, app_reset: 0, idle_connection_dead: 0 });
		});
	}

	test("of which the kernel took no byte is sent on another, whatever it is: nothing was sent yet", () => {
		const run = warm();
		const client = run.client(post("body"));
		run.app.onWriteFailed?.(true);
		assert.equal(run.toApp[0]?.ending, "reset");
		run.app.open();
		run.endTurn();
		assert.match(run.app.text, /^POST [\s\S]*body$/);
		run.app.say(OK);
		run.endTurn();
		assert.match(client.text, /^HTTP\/1\.1 200/);
		assert.equal(resent(run)["idle_connection_dead"], 1);
	});
});

test("a request on a new connection is never sent twice: the app has closed it because of the request", () => {
	const run = new HandPlane();
	const client = run.client(get());
	run.app.open();
	run.endTurn();
	run.app.hangUp();
	run.endTurn();
	assert.deepEqual([run.toApp.length, reason(client)], [1, "app_closed"]);
});

describe("a connection that cannot be made", () => {
	test("has written nothing, so any request is tried at the next place", () => {
		const run = new HandPlane({ "inbound.0.app": "localhost:3000" });
		const client = run.client(post("body"));
		run.app.fail("ECONNREFUSED");
		run.app.open();
		run.endTurn();
		assert.match(run.app.text, /body$/);
		run.app.say(OK);
		run.endTurn();
		assert.match(client.text, /^HTTP\/1\.1 200/);
		assert.equal(run.counters.get(CELL.UPSTREAM_FAILED_START + FAULTS.app_refused.index), 1);
	});

	test("in time is 504", () => {
		const run = new HandPlane({ "timeouts.connect": "1s" });
		const client = run.client(get());
		run.advance(1_000);
		assert.equal(reason(client), "app_connect_timeout");
	});

	test("because nobody knows the app's port yet is app_refused at once", async () => {
		const run = new HandPlane();
		await run.plane.obey({ kind: "app", inbound: 0, addresses: [], source: { ipv4: undefined, ipv6: undefined } });
		const client = run.client(get());
		run.endTurn();
		assert.deepEqual([run.toApp.length, reason(client)], [0, "app_refused"]);
		assert.equal(run.counters.get(CELL.UPSTREAM_FAILED_START + FAULTS.app_refused.index), 1);
	});
});

describe("what the app gets", () => {
	const cases: readonly (readonly [what: string, head: readonly string[], expected: readonly string[]])[] = [
		["HTTP/1.0 becomes HTTP/1.1, with a Host", ["GET /x HTTP/1.0"], ["GET /x HTTP/1.1", "host: localhost"]],
		[
			"absolute-form becomes origin-form, its authority the Host",
			["GET http://b:81/x?y HTTP/1.1", "Host: a"],
			["GET /x?y HTTP/1.1", "host: b:81"],
		],
		["absolute-form without a path gets one", ["GET http://b HTTP/1.1", "Host: b"], ["GET / HTTP/1.1", "host: b"]],
		[
			"OPTIONS of a whole server stays that",
			["OPTIONS http://b HTTP/1.1", "Host: b"],
			["OPTIONS * HTTP/1.1", "host: b"],
		],
		[
			"Max-Forwards is counted down",
			["OPTIONS / HTTP/1.1", "Host: a", "Max-Forwards: 3"],
			["OPTIONS / HTTP/1.1", "Host: a", "Max-Forwards: 2"],
		],
		[
			"what is hop-by-hop stops",
			["GET / HTTP/1.1", "Host: a", "Connection: close, x-hop", "X-Hop: 1", "Keep-Alive: 5", "X-Stays: 1"],
			["GET / HTTP/1.1", "Host: a", "X-Stays: 1"],
		],
		[
			"TE goes on as trailers alone",
			["GET / HTTP/1.1", "Host: a", "Connection: te", "TE: gzip, trailers"],
			["GET / HTTP/1.1", "Host: a", "connection: te", "te: trailers"],
		],
		[
			"an upgrade is asked for anew",
			["GET / HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: websocket"],
			["GET / HTTP/1.1", "Host: a", "Upgrade: websocket", "connection: upgrade"],
		],
	];
	for (const [what, head, expected] of cases) {
		test(what, () => {
			const run = new HandPlane();
			run.client(`${head.join("\r\n")}\r\n\r\n`);
			run.app.open();
			run.endTurn();
			const own = /^(traceparent|x-request-id|x-correlation-id|x-forwarded-|via)/;
			const lines = run.app.text.split("\r\n").slice(0, -2);
			assert.deepEqual(
				lines.filter((line) => !own.test(line)),
				expected,
			);
		});
	}
});

describe("what the client gets", () => {
	const cases: readonly (readonly [what: string, version: string, answer: string, pattern: RegExp])[] = [
		[
			"a body that ends with the connection is chunked",
			"1.1",
			"HTTP/1.1 200 OK\r\n\r\nbody",
			/\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n$/,
		],
		[
			"and for HTTP/1.0 ends with the connection as it came",
			"1.0",
			"HTTP/1.1 200 OK\r\n\r\nbody",
			/connection: close\r\n\r\nbody$/,
		],
		[
			"chunks are taken off for HTTP/1.0",
			"1.0",
			"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
			/connection: close\r\n\r\nbody$/,
		],
		[
			"an answer in HTTP/1.0 is passed on in HTTP/1.1",
			"1.1",
			"HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\nbody",
			/^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\nbody$/,
		],
		[
			"1xx is passed on",
			"1.1",
			`HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n${OK}`,
			/^HTTP\/1\.1 103 Early Hints\r\nlink: <\/a>\r\n\r\nHTTP\/1\.1 200/,
		],
		[
			"1xx is kept from HTTP/1.0, which does not know it",
			"1.0",
			`HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n${OK}`,
			/^HTTP\/1\.1 200/,
		],
	];
	for (const [what, version, answer, pattern] of cases) {
		test(what, () => {
			const run = new HandPlane();
			const client = run.client(`GET / HTTP/${version}\r\nhost: a\r\n\r\n`);
			run.app.open();
			run.endTurn();
			run.app.say(answer);
			run.app.hangUp();
			run.endTurn();
			assert.match(client.text, pattern);
		});
	}
});
