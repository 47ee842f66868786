import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CELL } from "../bridge/counters.ts";
import { HandPlane } from "../data-plane.fixture.ts";
import type { FakeStream } from "../foundation/byte-stream.fixture.ts";
import { FAULTS, type FaultReason } from "../foundation/fault.ts";

const GET = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const UPLOAD = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n";
const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const UPGRADE = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
const SWITCHED = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

const TIMES = {
	"timeouts.head": "10s",
	"timeouts.idle": "60s",
	"timeouts.bodyStall": "5s",
	"timeouts.response": "20s",
	"timeouts.writeStall": "7s",
	"timeouts.linger": "3s",
} as const;

/** The agent's own answer that went out: its status and reason. */
const refusal = (client: FakeStream): readonly [status: string, reason: string] => [
	/^HTTP\/1\.1 (\d{3})/.exec(client.text)?.[1] ?? "",
	/x-outrigger-error: (\w+)/.exec(client.text)?.[1] ?? "",
];

/** The client takes its answer and leaves. */
const leave = (run: HandPlane, client: FakeStream): void => {
	run.endTurn();
	client.hangUp();
	client.close();
};

describe("a wait has its end:", () => {
	const cases: readonly (readonly [
		what: string,
		says: readonly string[],
		ms: number,
		FaultReason,
		prepare?: (run: HandPlane) => void,
	])[] = [
		["a head that does not come to its end", ["GET / HT"], 10_000, "head_timeout"],
		["a head of which a byte comes now and then", ["G", "E", "T"], 10_000, "head_timeout"],
		["what may still become an HTTP/2 preface", ["PRI * HT"], 10_000, "head_timeout"],
		["a body that stops arriving", [`${UPLOAD}half`], 5_000, "body_timeout", (run) => run.app.open()],
		["an app that does not answer", [GET], 20_000, "app_response_timeout", (run) => run.app.open()],
		[
			"an app that does not say 100 while its client waits for it",
			[UPLOAD.replace("\r\n\r\n", "\r\nexpect: 100-continue\r\n\r\n")],
			20_000,
			"app_response_timeout",
			(run) => run.app.open(),
		],
	];
	for (const [what, says, ms, reason, prepare] of cases) {
		test(`${what} is ${reason}, and not a moment sooner`, () => {
			const run = new HandPlane(TIMES);
			const client = run.client();
			for (const piece of says) client.say(piece);
			prepare?.(run);
			run.advance(ms - 1);
			assert.equal(client.text, "");
			run.advance(1);
			assert.deepEqual(refusal(client), [String(FAULTS[reason].status), reason]);
			// Where the request is whole, the next one can follow.
			assert.equal(/\r\nconnection: close\r\n/.test(client.text), says[0] !== GET);
			assert.equal(client.isEnded, says[0] !== GET);
			leave(run, client);
			assert.deepEqual(run.ending(), [reason, "timeout", false]);
			run.assertSettled();
		});
	}

	test("an idle connection is ended by FIN, without a word and without an exchange", () => {
		const run = new HandPlane(TIMES);
		const client = run.client();
		run.advance(59_999);
		assert.equal(client.isEnded, false);
		run.advance(1);
		assert.deepEqual([client.isEnded, client.text], [true, ""]);
		leave(run, client);
		assert.deepEqual(run.records(), []);
		run.assertSettled();
	});

	test("a client that does not leave after its last answer is left", () => {
		const run = new HandPlane(TIMES);
		const client = run.client("nonsense\r\n\r\n");
		run.endTurn();
		run.advance(2_999);
		assert.equal(client.destroyed, false);
		run.advance(1);
		assert.equal(client.destroyed, true);
	});

	test("a client that does not take its answer is cut, and until then nobody is in a hurry", () => {
		const run = new HandPlane(TIMES);
		const client = run.client(GET);
		run.app.open();
		client.isFull = true;
		run.app.say("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n");
		run.endTurn();
		run.app.say(Buffer.alloc(50_000));
		run.endTurn();
		assert.equal(client.timeoutMs, 7_000);
		assert.ok(run.app.isPaused, "whoever sends is stopped");
		run.advance(60_000);
		assert.equal(client.destroyed, false, "the socket's own timer watches");
		client.emit("timeout");
		assert.equal(client.ending, "reset");
		assert.deepEqual(run.ending(), ["client_stalled", "timeout", true]);
		client.close();
		run.assertSettled();
	});

	test("a timer that fires when all has been taken means nothing", () => {
		const run = new HandPlane(TIMES);
		const client = run.client(GET);
		client.emit("timeout");
		assert.equal(client.destroyed, false);
	});

	test("a body that waits for an app which takes nothing is not its client's fault", () => {
		const run = new HandPlane(TIMES);
		const client = run.client(UPLOAD);
		run.app.open();
		run.endTurn();
		run.app.isFull = true;
		client.say("12345");
		run.endTurn();
		client.say("6");
		assert.ok(client.isPaused);
		run.advance(60_000);
		run.advance(60_000);
		assert.equal(client.text, "");
		run.app.drain();
		assert.equal(client.isPaused, false);
		run.advance(5_000);
		assert.deepEqual(refusal(client), ["408", "body_timeout"]);
	});

	test("a response that is under way has no deadline, however slowly it comes", () => {
		const run = new HandPlane(TIMES);
		const client = run.client(GET);
		run.app.open();
		run.app.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n");
		run.advance(1_000_000);
		run.app.say("ok");
		run.endTurn();
		assert.ok(client.text.endsWith("ok"));
		assert.equal(client.isEnded, false);
	});

	test("a tunnel whose halves are both over is cut when the app does not take the rest", () => {
		const run = new HandPlane(TIMES);
		const client = run.client(UPGRADE);
		run.app.open();
		run.app.say(SWITCHED);
		run.app.hangUp();
		assert.ok(client.isEnded);
		client.hangUp();
		client.close();
		run.advance(6_999);
		assert.equal(run.counters.get(CELL.TUNNELS), 1, "what the client said last may still be on its way");
		run.advance(1);
		assert.equal(run.app.ending, "reset");
		assert.deepEqual(run.ending(), ["-", "client", false]);
		run.assertSettled();
	});
});

describe("after the last answer", () => {
	test("what still comes is discarded up to limits.lingerBytes, and then not read any more", () => {
		const run = new HandPlane({ "limits.lingerBytes": "1KiB" });
		const client = run.client("nonsense\r\n\r\n");
		run.endTurn();
		client.say(Buffer.alloc(1024));
		assert.equal(client.isPaused, false);
		client.say("x");
		assert.deepEqual([client.isPaused, client.destroyed], [true, false], "a reset would take the answer from it");
		run.advance(run.settings.timeouts.lingerMs);
		assert.equal(client.destroyed, true);
	});

	test("a client that ends as well is let go at once, or when it has taken its answer", () => {
		const run = new HandPlane();
		const taken = run.client("nonsense\r\n\r\n");
		run.endTurn();
		taken.hangUp();
		assert.equal(taken.destroyed, true);
		const slow = run.client();
		slow.isFull = true;
		slow.say("nonsense\r\n\r\n");
		run.endTurn();
		slow.hangUp();
		assert.equal(slow.destroyed, false);
		run.advance(run.settings.timeouts.lingerMs);
		assert.equal(slow.destroyed, false, "the time to read on begins when the answer is out");
		slow.drain();
		run.advance(run.settings.timeouts.lingerMs);
		assert.equal(slow.destroyed, true);
	});
});

describe("requests behind one another", () => {
	test("are answered in their order, each when the one before is whole", () => {
		const run = new HandPlane();
		const client = run.client(GET.replace("/", "/1") + GET.replace("/", "/2"));
		run.app.open();
		run.endTurn();
		assert.equal(run.app.text.match(/GET/g)?.length, 1);
		run.app.say(OK);
		run.endTurn();
		assert.match(run.app.text, /GET \/1[\s\S]*GET \/2/);
		run.app.say(OK);
		run.endTurn();
		assert.equal(client.text.match(/HTTP\/1\.1 200 OK/g)?.length, 2);
		assert.equal(run.toApp.length, 1);
	});

	test("stop being read at limits.pipeline, and go on afterwards", () => {
		const run = new HandPlane({ "limits.pipeline": "2" });
		const client = run.client(GET);
		client.say(GET);
		assert.equal(client.isPaused, false);
		client.say(GET);
		assert.equal(client.isPaused, true);
		run.app.open();
		run.endTurn();
		for (let answered = 0; answered < 3; answered++) {
			run.app.say(OK);
			run.endTurn();
		}
		assert.equal(client.text.match(/HTTP\/1\.1 200 OK/g)?.length, 3);
		assert.equal(client.isPaused, false);
		leave(run, client);
		run.assertSettled();
	});

	test("wait while their client does not take the answers before", () => {
		const run = new HandPlane();
		const client = run.client(GET);
		run.app.open();
		client.isFull = true;
		run.app.say(OK);
		run.endTurn();
		run.app.say(OK);
		for (let i = 0; i < 3; i++) client.say(GET);
		run.endTurn();
		assert.ok(client.isPaused);
		const asked = run.toApp
			.map((stream) => stream.text)
			.join("")
			.match(/GET/g)?.length;
		assert.ok(asked !== undefined && asked < 3, `${asked} were asked for`);
		client.drain();
		for (let i = 0; i < 4 && run.counters.get(CELL.ANSWERED) < 4; i++) {
			run.endTurn();
			if (!run.app.isOpen) run.app.open();
			run.app.say(OK);
		}
		run.endTurn();
		assert.equal(client.text.match(/HTTP\/1\.1 200 OK/g)?.length, 4);
	});

	test("of a client that has ended its half are served under halfClose: serve, then the connection ends", () => {
		const run = new HandPlane({ "connections.halfClose": "serve" });
		const client = run.client(GET + GET);
		client.hangUp();
		run.app.open();
		for (let answered = 0; answered < 2; answered++) {
			run.endTurn();
			run.app.say(OK);
		}
		run.endTurn();
		assert.equal(client.text.match(/HTTP\/1\.1 200 OK/g)?.length, 2);
		assert.match(client.text, /connection: close/);
		assert.ok(client.isEnded);
	});

	test("of which the last is not whole when the client has ended are cut after those that are", () => {
		const run = new HandPlane({ "connections.halfClose": "serve" });
		const client = run.client(`${GET}GET / HT`);
		client.hangUp();
		run.app.open();
		run.app.say(OK);
		run.endTurn();
		assert.equal(client.text.match(/HTTP\/1\.1 200 OK/g)?.length, 1);
		assert.ok(client.destroyed);
		assert.equal(run.counters.get(CELL.CUT), 1);
	});
});

describe("bounds of the agent:", () => {
	test("a connection beyond limits.connections is told so, and ends", () => {
		const run = new HandPlane({ "limits.connections": "1" });
		const first = run.client();
		const beyond = run.client();
		run.endTurn();
		assert.deepEqual(refusal(beyond), ["503", "connections_exceeded"]);
		leave(run, beyond);
		first.close();
		const next = run.client(GET);
		assert.equal(next.text, "", "there is room again");
	});

	for (const [served, told] of [
		[1, 16],
		[50, 50],
		[200, 128],
	] as const) {
		test(`where ${served} may be connected ${told} at once are told so, and more are reset`, () => {
			const run = new HandPlane({ "limits.connections": `${served}` });
			for (let i = 0; i < served; i++) run.client();
			const beyond = Array.from({ length: told + 1 }, () => run.client());
			run.endTurn();
			assert.equal(beyond.filter((client) => refusal(client)[1] === "connections_exceeded").length, told);
			assert.equal(beyond.at(-1)?.ending, "reset");
			beyond.at(-1)?.emit("error", new Error("of a socket that nobody holds any more"));
			assert.equal(run.counters.get(CELL.REFUSED_START + FAULTS.connections_exceeded.index), told + 1);
		});
	}

	test("the newest unfinished head is refused when the byte budget is used up", () => {
		const run = new HandPlane({ "limits.buffered": "1MiB" });
		run.counters.add(CELL.BUFFERED_BYTES, (1 << 20) - 3);
		const client = run.client("GET ");
		run.endTurn();
		assert.deepEqual(refusal(client), ["503", "buffer_exceeded"]);
		run.counters.add(CELL.BUFFERED_BYTES, -((1 << 20) - 3));
		leave(run, client);
		run.assertSettled();
	});

	test("a whole request is refused too while it is used up, a probe is not", () => {
		const run = new HandPlane({ "limits.buffered": "1MiB" });
		run.counters.add(CELL.BUFFERED_BYTES, (1 << 20) + 1);
		const client = run.client(GET);
		const probe = run.client("GET / HTTP/1.1\r\nhost: a\r\nuser-agent: kube-probe/1.34\r\n\r\n");
		run.endTurn();
		assert.deepEqual([refusal(client)[1], probe.text], ["buffer_exceeded", ""]);
	});

	test("an exchange beyond limits.inFlight is refused, and the connection stays", () => {
		const run = new HandPlane({ "limits.inFlight": "1" });
		run.client(GET);
		const second = run.client(GET);
		run.endTurn();
		assert.deepEqual(refusal(second), ["503", "in_flight_exceeded"]);
		assert.equal(second.isEnded, false);
	});

	test("a body that grows beyond its bound is refused where it does", () => {
		const run = new HandPlane({ "limits.body": "4B" });
		const chunk = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
		const atOnce = run.client(`${chunk}5\r\nhello\r\n`);
		const later = run.client(chunk);
		run.app.open();
		later.say("4\r\nhell\r\n");
		later.say("1\r\no\r\n");
		run.endTurn();
		assert.deepEqual(
			[refusal(atOnce), refusal(later)],
			[
				["413", "body_too_large"],
				["413", "body_too_large"],
			],
		);
		assert.equal(run.toApp.at(-1)?.destroyed, true, "the app feels it");
	});
});

describe("leaving", () => {
	test("each answer is then the connection's last, and idle connections are ended when asked", async () => {
		const run = new HandPlane();
		const busy = run.client(GET);
		const idle = run.client();
		const half = run.client("GET / HT");
		run.app.open();
		await run.plane.obey({ kind: "state", state: "draining" });
		await run.plane.obey({ kind: "closeIdle", idleMs: 0 });
		assert.equal(run.counters.get(CELL.IDLE_CLOSED), 1);
		assert.deepEqual([idle.isEnded, busy.isEnded, half.isEnded], [true, false, false]);
		run.app.say(OK);
		run.endTurn();
		assert.match(busy.text, /connection: close/);
		assert.ok(busy.isEnded);
	});

	const STREAM = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
	/** The app's connection is not used again, so that each exchange has its own. */
	const LAST_OK = OK.replace("content-length", "connection: close\r\ncontent-length");
	const EVENT = "9\r\ndata: 1\n\n\r\n";
	/** What was in flight when it began and what came since is what became of them, and what still is. */
	const assertAddsUp = ({ counters }: HandPlane): void => {
		const sum = (...cells: readonly number[]): number => cells.reduce((all, cell) => all + counters.get(cell), 0);
		assert.equal(
			sum(CELL.LEAVING_IN_FLIGHT, CELL.LEAVING_ARRIVED),
			sum(
				CELL.LEAVING_FINISHED,
				CELL.LEAVING_SERVED,
				CELL.LEAVING_CUT,
				CELL.LEAVING_REFUSED,
				CELL.LEAVING_FAILED,
				CELL.LEAVING_ABORTED,
				CELL.LEAVING_STREAMS_CLOSED,
				CELL.LEAVING_UPGRADED,
				CELL.IN_FLIGHT,
			),
		);
	};

	test("an idle connection on which something may just be on its way stays: new, just answered, or with the first bytes of a request", async () => {
		const run = new HandPlane();
		const old = run.client();
		const preface = run.client("PR");
		const served = run.client(GET);
		run.app.open();
		run.advance(5_000);
		run.app.say(OK);
		run.endTurn();
		const young = run.client();
		await run.plane.obey({ kind: "state", state: "announcing" });
		await run.plane.obey({ kind: "closeIdle", idleMs: 1_000 });
		assert.deepEqual([old.isEnded, preface.isEnded, served.isEnded, young.isEnded], [true, false, false, false]);
		run.advance(1_000);
		await run.plane.obey({ kind: "closeIdle", idleMs: 1_000 });
		assert.deepEqual([preface.isEnded, served.isEnded, young.isEnded], [false, true, true]);
		assert.equal(run.counters.get(CELL.IDLE_CLOSED), 3);
	});

	test("a request on a connection that was closed a moment before is discarded unread, and counted once", async () => {
		const run = new HandPlane();
		const client = run.client();
		await run.plane.obey({ kind: "state", state: "announcing" });
		await run.plane.obey({ kind: "closeIdle", idleMs: 0 });
		client.say(GET);
		client.say(GET);
		run.endTurn();
		assert.equal(client.text, "", "no byte after FIN");
		assert.equal(run.toApp.length, 0, "the app has not seen it: the client may send it again");
		assert.deepEqual(
			[CELL.REQUESTS_ARRIVED, CELL.LEAVING_ARRIVED, CELL.LEAVING_REFUSED].map((cell) => run.counters.get(cell)),
			[1, 1, 1],
			"it has come, so that the drain waits for its client to come again",
		);
		assertAddsUp(run);
	});

	test("an answer is in flight until the kernel has its last byte, also when it was over before", async () => {
		const run = new HandPlane();
		const inFlight = (): number => run.counters.get(CELL.IN_FLIGHT);
		const early = run.client(GET);
		run.app.open();
		early.isFull = true;
		run.app.say(LAST_OK);
		run.endTurn();
		assert.equal(inFlight(), 0, "while we do not leave nobody asks");
		await run.plane.obey({ kind: "state", state: "announcing" });
		assert.deepEqual([inFlight(), run.counters.get(CELL.LEAVING_IN_FLIGHT)], [1, 1]);
		const late = run.client(GET);
		run.app.open();
		late.isFull = true;
		run.app.say(LAST_OK);
		run.endTurn();
		await run.plane.obey({ kind: "state", state: "draining" });
		run.advance(100);
		assert.equal(inFlight(), 2);
		assertAddsUp(run);
		early.drain();
		late.drain();
		assert.match(late.text, /connection: close/);
		run.advance(100);
		assert.equal(inFlight(), 0);
		assert.deepEqual([run.counters.get(CELL.LEAVING_FINISHED), run.counters.get(CELL.LEAVING_SERVED)], [1, 1]);
		assertAddsUp(run);
	});

	test("an answer whose last bytes never go is no served one: cut by our stop, aborted by its client", async () => {
		const run = new HandPlane();
		const ask = (): FakeStream => {
			const client = run.client(GET);
			run.app.open();
			client.isFull = true;
			run.app.say(LAST_OK);
			run.endTurn();
			return client;
		};
		const begun = [ask(), ask()];
		await run.plane.obey({ kind: "state", state: "announcing" });
		begun.push(ask());
		begun[0]?.close();
		run.plane.stop();
		const cells = [CELL.LEAVING_ABORTED, CELL.LEAVING_CUT, CELL.LEAVING_FINISHED, CELL.LEAVING_SERVED, CELL.IN_FLIGHT];
		assert.deepEqual(
			cells.map((cell) => run.counters.get(cell)),
			[1, 2, 0, 0, 0],
		);
		assertAddsUp(run);
	});

	test("half of an answer that ends with its connection is not made whole by our stop", async () => {
		const run = new HandPlane();
		const client = run.client("GET / HTTP/1.0\r\n\r\n");
		run.app.open();
		client.isFull = true;
		run.app.say("HTTP/1.1 200 OK\r\n\r\nall of it");
		run.app.hangUp();
		run.endTurn();
		assert.ok(client.isEnded, "the exchange is over, FIN is behind its last bytes");
		run.plane.stop();
		assert.equal(client.ending, "reset");
	});

	test("each exchange has one outcome in the account of leaving", async () => {
		const run = new HandPlane();
		const begin = (text: string): readonly [FakeStream, FakeStream] => {
			const client = run.client(text);
			run.app.open();
			return [client, run.app];
		};
		const [, finished] = begin(GET);
		const [, failed] = begin(GET);
		const [aborted] = begin(GET);
		const [stream, events] = begin(GET);
		events.say(STREAM + EVENT);
		run.endTurn();
		await run.plane.obey({ kind: "state", state: "announcing" });
		await run.plane.obey({ kind: "state", state: "draining" });
		assert.equal(run.counters.get(CELL.LEAVING_IN_FLIGHT), 4);
		assertAddsUp(run);
		finished.say(LAST_OK);
		failed.say("HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\nhalf");
		failed.hangUp();
		aborted.close();
		const [, served] = begin(GET);
		served.say(LAST_OK);
		const [, upgraded] = begin(UPGRADE);
		upgraded.say(SWITCHED);
		run.client("GET / HTTP/9.9\r\n\r\n");
		run.client("GET / HTTP/1.1\r\nhost: a\r\nuser-agent: kube-probe/1.36\r\n\r\n");
		await run.plane.obey({ kind: "closeStreams" });
		run.endTurn();
		assert.match(stream.text, /data: 1\n\n\r\n$/, "without the last chunk: it must not look whole");
		assert.deepEqual([stream.isEnded, stream.ending], [true, undefined], "and with FIN: what was sent arrives");
		assert.equal(events.ending, "reset", "the app feels it");
		const [left] = begin(GET);
		run.endTurn();
		assertAddsUp(run);
		run.plane.stop();
		assert.equal(left.ending, "reset");
		assertAddsUp(run);
		const outcomes = {
			arrived: CELL.LEAVING_ARRIVED,
			finished: CELL.LEAVING_FINISHED,
			served: CELL.LEAVING_SERVED,
			cut: CELL.LEAVING_CUT,
			refused: CELL.LEAVING_REFUSED,
			failed: CELL.LEAVING_FAILED,
			aborted: CELL.LEAVING_ABORTED,
			streamsClosed: CELL.LEAVING_STREAMS_CLOSED,
			upgraded: CELL.LEAVING_UPGRADED,
		};
		assert.deepEqual(
			Object.fromEntries(Object.entries(outcomes).map(([name, cell]) => [name, run.counters.get(cell)])),
			{ arrived: 4, finished: 1, served: 1, cut: 1, refused: 1, failed: 1, aborted: 1, streamsClosed: 1, upgraded: 1 },
		);
		assert.equal(run.counters.get(CELL.EVENT_STREAMS), 0);
	});

	test("who may still bring a request is told to the drain: heads that are not whole, and how long the youngest idle client is idle", async () => {
		const run = new HandPlane();
		const told = (): readonly number[] =>
			[CELL.HEADS_OPEN, CELL.YOUNGEST_IDLE_MS].map((cell) => run.counters.get(cell));
		run.client();
		run.advance(3_000);
		await run.plane.obey({ kind: "state", state: "announcing" });
		assert.deepEqual(told(), [0, 3_000], "in the turn in which it hears that we leave");
		const busy = run.client(GET);
		run.app.open();
		run.client("GET / HT");
		run.client("PR");
		run.advance(100);
		assert.deepEqual(told(), [2, 3_100]);
		run.app.say(OK);
		run.endTurn();
		run.advance(100);
		assert.ok(busy.isEnded, "it was told that this is the last answer");
		assert.deepEqual(told(), [2, 3_200], "and so it is not expected any more");
		const untold = run.client();
		run.advance(100);
		assert.deepEqual(told(), [2, 100]);
		untold.close();
		await run.plane.obey({ kind: "closeIdle", idleMs: 1_000 });
		run.advance(100);
		assert.deepEqual(told(), [2, Number.POSITIVE_INFINITY]);
	});

	test("requests that were sent ahead are served, each by its answer, and only the last one ends the connection", async () => {
		const run = new HandPlane();
		const client = run.client(GET + GET + GET);
		run.app.open();
		await run.plane.obey({ kind: "state", state: "draining" });
		for (let answers = 1; answers <= 3; answers++) {
			if (!run.app.isOpen) run.app.open();
			run.app.say(LAST_OK);
			run.endTurn();
			assert.equal(client.text.split("HTTP/1.1 200").length - 1, answers);
			assert.equal(client.isEnded, answers === 3);
		}
		assert.equal(client.text.split("connection: close").length - 1, 1);
		assert.equal(run.counters.get(CELL.LEAVING_SERVED) + run.counters.get(CELL.LEAVING_FINISHED), 3);
		assertAddsUp(run);
	});

	test("a head that never became whole is no loss of ours, nor is a client that takes nothing; an answer that we cut is", async () => {
		const run = new HandPlane(TIMES);
		run.client("GET / HT");
		const cut = run.client(GET);
		run.app.open();
		const stalled = run.client(GET);
		run.app.open();
		const slow = run.app;
		await run.plane.obey({ kind: "state", state: "draining" });
		stalled.isFull = true;
		slow.say(`HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n${"x".repeat(100_000)}`);
		run.endTurn();
		stalled.emit("timeout");
		run.plane.stop();
		assert.equal(cut.ending, "reset");
		assert.deepEqual(
			[CELL.LEAVING_CUT, CELL.LEAVING_ABORTED, CELL.LEAVING_FAILED].map((cell) => run.counters.get(cell)),
			[1, 2, 0],
		);
		assertAddsUp(run);
	});

	test("a probe that is answered with an event stream holds up nothing", () => {
		const run = new HandPlane();
		run.client("GET / HTTP/1.1\r\nhost: a\r\nuser-agent: kube-probe/1.36\r\n\r\n");
		run.app.open();
		run.app.say(STREAM + EVENT);
		run.endTurn();
		assert.deepEqual([run.counters.get(CELL.EVENT_STREAMS), run.counters.get(CELL.IN_FLIGHT)], [0, 0]);
	});

	test("an event stream that only the end of the connection delimits is reset, and one that has not begun is left alone", async () => {
		const run = new HandPlane();
		const old = run.client("GET / HTTP/1.0\r\n\r\n");
		run.app.open();
		run.app.say("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n");
		const waiting = run.client(GET);
		run.app.open();
		await run.plane.obey({ kind: "state", state: "draining" });
		await run.plane.obey({ kind: "closeStreams" });
		run.endTurn();
		assert.equal(old.ending, "reset");
		assert.deepEqual([waiting.ending, waiting.isEnded], [undefined, false]);
		assert.equal(run.counters.get(CELL.LEAVING_STREAMS_CLOSED), 1);
		assertAddsUp(run);
	});

	test("what is left is cut by stop, and that is told", async () => {
		const run = new HandPlane();
		const busy = run.client(GET);
		run.client();
		run.app.open();
		await run.plane.obey({ kind: "stop" });
		assert.deepEqual(run.messages.at(-1), { kind: "stopped" });
		assert.equal(run.counters.get(CELL.CUT), 1);
		assert.equal(busy.ending, "reset");
		assert.equal(run.app.ending, "reset");
		assert.deepEqual(run.ending(), ["drain_cut", "drain", true]);
		run.assertSettled();
	});
});

describe("a mistake of ours", () => {
	/** A client of which the door named throws once. */
	const thrown = (client: FakeStream, door: "end" | "resume"): void => {
		Object.assign(client, {
			[door]: () => {
				Reflect.deleteProperty(client, door);
				throw new Error("our mistake");
			},
		});
	};
	const told = (run: HandPlane): number => run.messages.filter(({ kind }) => kind === "log").length;

	test("ends its exchange with 500, is counted, and told once in a second", () => {
		const run = new HandPlane();
		for (let i = 0; i < 3; i++) {
			const client = run.client();
			Object.assign(run.plane.counters, {
				observePhase: () => {
					throw new Error("our mistake");
				},
			});
			client.say(GET);
			run.app.open();
			run.app.say(OK);
			run.endTurn();
			assert.ok(client.text.startsWith("HTTP/1.1 200 OK"), "the answer was out already");
			assert.ok(client.isEnded, "and the connection ends");
			Reflect.deleteProperty(run.plane.counters, "observePhase");
		}
		assert.equal(run.counters.get(CELL.INTERNAL_FAULTS), 3);
		assert.equal(told(run), 1);
		run.advance(1_000);
		const client = run.client(UPLOAD);
		thrown(client, "resume");
		run.app.open();
		run.endTurn();
		assert.deepEqual(refusal(client), ["500", "internal"]);
		assert.equal(told(run), 2);
	});

	test("at the end of a client's half, in an idle connection or a tunnel, ends that connection alone", () => {
		const run = new HandPlane();
		const other = run.client(GET);
		const idle = run.client();
		thrown(idle, "end");
		idle.hangUp();
		assert.ok(idle.isEnded || idle.destroyed);
		const tunnel = run.client(UPGRADE);
		run.app.open();
		run.app.say(SWITCHED);
		run.endTurn();
		Object.assign(run.app, {
			end: () => {
				throw new Error("our mistake");
			},
		});
		tunnel.hangUp();
		assert.equal(tunnel.ending, "reset");
		assert.equal(run.counters.get(CELL.INTERNAL_FAULTS), 2);
		assert.equal(other.destroyed, false);
	});

	test("while a mistake is being mended leaves nothing behind either", () => {
		const run = new HandPlane();
		const client = run.client();
		Object.assign(client, {
			cork: () => {
				throw new Error("our mistake, and again");
			},
		});
		client.say("nonsense\r\n\r\n");
		assert.ok(client.destroyed);
		assert.equal(run.records().length, 1);
		assert.equal(run.counters.get(CELL.ANSWERED) + run.counters.get(CELL.CUT), 1);
		run.assertSettled();
	});
});
