import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CELL } from "./bridge/counters.ts";
import { FLAG_EVENT_STREAM } from "./bridge/exchange-record.ts";
import { HandPlane } from "./data-plane.fixture.ts";

const GET = "GET /orders/7 HTTP/1.1\r\nhost: a\r\n\r\n";
const ok = (fields = ""): string => `HTTP/1.1 200 OK\r\ncontent-length: 2\r\n${fields}\r\nok`;

/** One exchange on a connection to the app that is made if need be. */
const exchange = (run: HandPlane, answer = ok(), request = GET): void => {
	const client = run.client(request);
	if (!run.app.isOpen) run.app.open();
	run.endTurn();
	run.app.say(answer);
	run.endTurn();
	client.hangUp();
	client.close();
};

describe("what the control thread tells", () => {
	test("templates of the app's routes name the exchanges from then on", async () => {
		const run = new HandPlane();
		await run.plane.obey({ kind: "routes", templates: [{ path: "/orders/{order}", methods: [] }] });
		exchange(run);
		assert.deepEqual(
			run.records().map(({ route }) => route),
			["/orders/{order}"],
		);
	});

	test("the state is noted in each exchange that begins in it", async () => {
		const run = new HandPlane();
		for (const state of ["ready", "announcing"] as const) {
			await run.plane.obey({ kind: "state", state });
			exchange(run);
		}
		assert.deepEqual(
			run.records().map(({ state }) => state),
			["ready", "announcing"],
		);
	});

	test("where the app is, and from where it is called, counts for the next connection", async () => {
		const run = new HandPlane();
		exchange(run);
		await run.plane.obey({
			kind: "app",
			inbound: 0,
			addresses: [{ kind: "unix", path: "/run/app.sock" }],
			source: { ipv4: undefined, ipv6: undefined },
		});
		assert.equal(run.toApp[0]?.ending, "reset", "idle connections to the old place are closed");
		exchange(run);
		assert.deepEqual(run.places.at(-1), { kind: "unix", path: "/run/app.sock" });
	});

	test("of an inbound that is not there is a mistake, and said so", async () => {
		const run = new HandPlane();
		const app = { kind: "app", inbound: 3, addresses: [], source: { ipv4: undefined, ipv6: undefined } } as const;
		await assert.rejects(run.plane.obey(app), /there is no inbound 3/);
	});

	test("listen is answered with the ports that were bound", async () => {
		const run = new HandPlane({ "inbound.0.listen": "127.0.0.1:0" });
		await run.plane.obey({ kind: "listen" });
		const [message] = run.messages;
		assert.ok(message?.kind === "listening" && (message.inbounds[0]?.port ?? 0) > 0);
		run.plane.stop();
	});
});

describe("where the app is looked for before more is known:", () => {
	const cases: readonly (readonly [app: string, hosts: readonly (string | undefined)[]])[] = [
		["127.0.0.1:3000", ["127.0.0.1"]],
		["localhost:3000", ["127.0.0.1", "::1"]],
		["unix:/run/app.sock", [undefined]],
	];
	for (const [app, hosts] of cases) {
		test(app, () => {
			const run = new HandPlane({ "inbound.0.app": app });
			const client = run.client(GET);
			for (let i = 0; i < hosts.length; i++) run.app.fail("ECONNREFUSED");
			run.endTurn();
			assert.deepEqual(
				run.places.map((place) => (place.kind === "tcp" ? place.host : undefined)),
				hosts,
			);
			assert.match(client.text, /^HTTP\/1\.1 502 [\s\S]*x-outrigger-error: app_refused/);
		});
	}
});

describe("what the sweep does", () => {
	test("the heart beats with it, and a late one is measured", () => {
		const run = new HandPlane();
		run.advance(100);
		assert.equal(run.counters.get(CELL.BEATS), 1);
		run.advance(350);
		assert.equal(run.counters.get(CELL.DELAY_MAX), 0.25);
	});

	test("idle connections to the app are counted, and closed in their time", () => {
		const run = new HandPlane({ "timeouts.appIdle": "1s" });
		exchange(run);
		run.advance(100);
		assert.equal(run.counters.get(CELL.UPSTREAM_IDLE), 1);
		run.advance(1_000);
		assert.deepEqual([run.counters.get(CELL.UPSTREAM_IDLE), run.counters.get(CELL.UPSTREAM_OPEN)], [0, 0]);
	});

	test("what was learned of the app's keep-alive is told, once for each lesson", () => {
		const run = new HandPlane({ "timeouts.appIdle": "60s" });
		exchange(run, ok("keep-alive: timeout=10\r\n"));
		run.advance(100);
		run.advance(100);
		exchange(run, ok("keep-alive: timeout=10\r\n"));
		run.advance(100);
		const lessons = (): unknown[] => run.messages.filter(({ kind }) => kind === "appIdleLearned");
		assert.deepEqual(lessons(), [{ kind: "appIdleLearned", inbound: 0, idleMs: 9_000, from: "header" }]);
		for (let i = 0; i < 2; i++) {
			exchange(run);
			run.advance(1_000);
			run.app.hangUp();
		}
		run.advance(100);
		assert.deepEqual(lessons().at(-1), { kind: "appIdleLearned", inbound: 0, idleMs: 800, from: "close" });
	});

	test("a relay that does not reach the app in time is given up", () => {
		const run = new HandPlane({ "inbound.0.protocol": "tcp", "timeouts.connect": "1s" });
		const client = run.client();
		assert.equal(run.toApp.length, 1);
		run.advance(1_000);
		assert.equal(client.ending, "reset");
		assert.deepEqual(run.ending(), ["app_connect_timeout", "timeout", true]);
		run.assertSettled();
	});
});

describe("event streams", () => {
	for (const [type, isStream] of [
		["text/event-stream", true],
		["Text/Event-Stream; charset=utf-8", true],
		["text/event-strea", false],
		["text/html;stuff-and-more", false],
	] as const) {
		test(`${type} is ${isStream ? "one, counted while it lasts" : "none"}`, () => {
			const run = new HandPlane();
			const client = run.client(GET);
			run.app.open();
			run.endTurn();
			run.app.say(`HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n`);
			assert.equal(run.counters.get(CELL.EVENT_STREAMS), isStream ? 1 : 0);
			run.app.say("0\r\n\r\n");
			run.endTurn();
			client.close();
			assert.equal(run.counters.get(CELL.EVENT_STREAMS), 0);
			assert.equal((run.records()[0]?.flags ?? 0) & FLAG_EVENT_STREAM, isStream ? FLAG_EVENT_STREAM : 0);
		});
	}
});
