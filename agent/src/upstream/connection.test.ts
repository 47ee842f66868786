import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { FakeStream } from "../foundation/byte-stream.fixture.ts";
import { FAULTS, type Fault } from "../foundation/fault.ts";
import { METHOD } from "../http1/methods.ts";
import type { ResponseHead } from "../http1/scan-response-head.ts";
import { FakeApp } from "./app.fixture.ts";
import { type ConnectionOwner, type ResponseSink, UpstreamConnection } from "./connection.ts";

/** Notes what it is told, in order: `head 200`, `body hello`, `ended`, `failed app_closed`. */
class Sink implements ResponseSink {
	readonly told: string[] = [];
	body = "";
	/** Called with each thing that is told. */
	onTold: (what: string) => void = () => undefined;
	holds = false;

	informational(head: ResponseHead): void {
		this.#note(`1xx ${head.status}`);
	}
	responseHead(head: ResponseHead, bytes: Buffer, start: number, end: number): void {
		this.body += bytes.toString("latin1", start, end);
		this.#note(`head ${head.status}`);
	}
	responseBytes(bytes: Buffer): void {
		assert.ok(bytes.length > 0, "nothing is told of no bytes");
		this.body += bytes.toString("latin1");
		this.#note("body");
	}
	holdsResponseBytes(): boolean {
		return this.holds;
	}
	responseEnded(): void {
		this.#note("ended");
	}
	upstreamFailed(fault: Fault): void {
		this.#note(`failed ${fault.reason}`);
	}
	upstreamConnected(): void {
		this.#note("connected");
	}
	upstreamRefusedBytes(): void {
		this.#note("refused bytes");
	}
	upstreamDrained(): void {
		this.#note("drained");
	}
	tunnelBytes(bytes: Buffer): void {
		this.#note(`tunnel ${bytes.toString("latin1")}`);
	}
	tunnelEnded(): void {
		this.#note("tunnel ended");
	}
	tunnelClosed(): void {
		this.#note("tunnel closed");
	}

	#note(what: string): void {
		this.told.push(what);
		this.onTold(what);
	}
}

class Owner implements ConnectionOwner {
	readonly told: string[] = [];
	readonly mistakes: unknown[] = [];
	nowMs = 0;
	released(): void {
		this.told.push("released");
	}
	closed(_: UpstreamConnection, idleMs: number): void {
		this.told.push(`closed ${idleMs}`);
	}
	connected(): void {
		this.told.push("connected");
	}
	now(): number {
		return this.nowMs;
	}
	turn(): void {}
	mistake(error: unknown): void {
		this.mistakes.push(error);
	}
}

interface Options {
	readonly method?: number;
	readonly dechunk?: boolean;
	readonly upgradeWasAsked?: boolean;
}

const connecting = () => {
	const app = new FakeApp();
	const stream = new FakeStream();
	const owner = new Owner();
	const connection = new UpstreamConnection(stream, owner, app.batch, app.settings.limits, app.names);
	return { app, stream, owner, connection };
};

/** A connection that has been made and has carried the request of an exchange. */
const asked = (options: Options = {}) => {
	const made = connecting();
	const sink = new Sink();
	made.stream.open();
	made.connection.begin(sink, options.method ?? METHOD.GET, options.dechunk ?? false, options.upgradeWasAsked ?? false);
	made.connection.write(Buffer.from("the request"));
	made.connection.requestSent();
	made.app.endTurn();
	return { ...made, sink };
};

const LENGTH = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
const CHUNKED = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
const UPGRADE = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";

describe("a response", () => {
	const whole: readonly (readonly [what: string, bytes: string, body: string, keeps: boolean, Options?])[] = [
		["with a length", `${LENGTH}hello`, "hello", true],
		["with chunks", `${CHUNKED}5\r\nhello\r\n0\r\n\r\n`, "5\r\nhello\r\n0\r\n\r\n", true],
		["with chunks and trailers", `${CHUNKED}1;x=y\r\na\r\n0\r\nt: 1\r\n\r\n`, "1;x=y\r\na\r\n0\r\nt: 1\r\n\r\n", true],
		[
			"with chunks for HTTP/1.0, which gets the payload",
			`${CHUNKED}2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n`,
			"hello",
			true,
			{ dechunk: true },
		],
		["without a body", "HTTP/1.1 204 No Content\r\n\r\n", "", true],
		["to HEAD, whose length is of what is left out", LENGTH, "", true, { method: METHOD.HEAD }],
		["of length 0", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "", true],
		[
			"after 1xx",
			`HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n${LENGTH}hello`,
			"hello",
			true,
		],
		["that ends the connection", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok", "ok", false],
		["with bytes after its end, which belong to nothing", `${LENGTH}hello!`, "hello", false],
		["with bytes after its last chunk", `${CHUNKED}0\r\n\r\n!`, "0\r\n\r\n", false],
		["of no length with bytes after it", "HTTP/1.1 304 Not Modified\r\n\r\n!", "", false],
	];
	for (const [what, bytes, body, keeps, options] of whole) {
		test(`${what} is whole, ${keeps ? "and the connection can carry another" : "and the connection is closed"}, wherever it is cut`, () => {
			for (let at = 0; at < bytes.length; at++) {
				const { stream, sink, owner, connection } = asked(options);
				if (at > 0) stream.say(bytes.slice(0, at));
				stream.say(bytes.slice(at));
				const expected = [...bytes.matchAll(/HTTP\/1.1 (1\d\d)/g)].map(([, status]) => `1xx ${status}`);
				assert.deepEqual(
					sink.told.filter((told) => told.startsWith("1xx")),
					expected,
				);
				assert.equal(sink.told.filter((told) => told.startsWith("head")).length, 1, `cut at ${at}`);
				assert.equal(sink.told.at(-1), "ended", `cut at ${at}: ${sink.told}`);
				assert.equal(sink.body, body, `cut at ${at}`);
				assert.equal(connection.isIdle, keeps);
				assert.equal(stream.destroyed, !keeps);
				assert.equal(owner.told.filter((told) => told.startsWith("closed")).length, keeps ? 0 : 1);
				assert.equal(connection.served, 1);
			}
		});
	}

	test("is the same in every number of pieces", () => {
		fc.assert(
			fc.property(
				fc.constantFrom(...whole),
				fc.infiniteStream(fc.integer({ min: 1, max: 30 })),
				([, bytes, body, , options], sizes) => {
					const { stream, sink } = asked(options);
					for (let at = 0; at < bytes.length; ) {
						const size: number = sizes.next().value;
						stream.say(bytes.slice(at, at + size));
						at += size;
					}
					assert.equal(sink.body, body);
					assert.equal(sink.told.at(-1), "ended");
				},
			),
			{ numRuns: 100 },
		);
	});

	test("that ends with the connection is whole with its FIN", () => {
		const { stream, sink, connection } = asked();
		stream.say("HTTP/1.1 200 OK\r\n\r\nall ");
		stream.say("of it");
		assert.ok(!sink.told.includes("ended"));
		stream.hangUp();
		assert.deepEqual([sink.body, sink.told.at(-1)], ["all of it", "ended"]);
		assert.equal(connection.payloadBytes, 9);
		assert.ok(connection.isClosed);
	});

	test("is counted by its payload, whatever its framing", () => {
		for (const bytes of [`${LENGTH}hello`, `${CHUNKED}5\r\nhello\r\n0\r\n\r\n`, "HTTP/1.1 200 OK\r\n\r\nhello"]) {
			const { stream, connection } = asked();
			stream.say(bytes);
			assert.equal(connection.payloadBytes, 5);
		}
	});

	test("that is whole before its request is ends the connection: the next request could not be told from the rest", () => {
		const { stream, owner, connection } = connecting();
		const sink = new Sink();
		stream.open();
		connection.begin(sink, METHOD.POST, false, false);
		connection.write(Buffer.from("half of"));
		stream.say(`${LENGTH}hello`);
		assert.equal(sink.told.at(-1), "ended");
		assert.equal(stream.ending, "reset");
		assert.deepEqual(owner.told, ["connected", "closed -1"]);
	});

	test("whose request still waits to be taken ends the connection too", () => {
		const { stream, connection } = asked();
		stream.isFull = true;
		stream.write(Buffer.from("more of it"));
		stream.say(`${LENGTH}hello`);
		assert.ok(connection.isClosed);
	});
});

describe("what is no whole response", () => {
	const cases: readonly (readonly [
		what: string,
		bytes: string,
		end: "FIN" | "RST" | "close" | "none",
		Fault,
		Options?,
	])[] = [
		["a FIN instead of an answer", "", "FIN", FAULTS.app_closed],
		["a reset instead of an answer", "", "RST", FAULTS.app_reset],
		["a close of which nothing was told", "", "close", FAULTS.app_reset],
		["a FIN in the head", "HTTP/1.1 200 OK\r\n", "FIN", FAULTS.app_head_invalid],
		["a reset in the head", "HTTP/1.1 200 OK\r\n", "RST", FAULTS.app_head_invalid],
		["a FIN after a 1xx", "HTTP/1.1 100 Continue\r\n\r\n", "FIN", FAULTS.app_closed],
		["a FIN in a body with a length", `${LENGTH}hell`, "FIN", FAULTS.app_truncated],
		["a reset in a body with a length", `${LENGTH}hell`, "RST", FAULTS.app_truncated],
		["a close in a body with a length", `${LENGTH}hell`, "close", FAULTS.app_truncated],
		["a FIN before the last chunk", `${CHUNKED}5\r\nhello\r\n`, "FIN", FAULTS.app_truncated],
		["a reset in a body that ends with the connection", "HTTP/1.1 200 OK\r\n\r\nhalf", "RST", FAULTS.app_truncated],
		["a head that is not HTTP", "SSH-2.0-OpenSSH\r\n", "none", FAULTS.app_head_invalid],
		["chunks that are none, with the head", `${CHUNKED}zz\r\n`, "none", FAULTS.app_framing_invalid],
		["chunks that are none, after the head", `${CHUNKED}1\r\na\r\n|zz\r\n`, "none", FAULTS.app_framing_invalid],
		[
			"chunks that are none for HTTP/1.0",
			`${CHUNKED}1\r\na\r\n|zz\r\n`,
			"none",
			FAULTS.app_framing_invalid,
			{ dechunk: true },
		],
		["a 101 that nobody asked for", UPGRADE, "none", FAULTS.app_upgrade_unasked],
	];
	for (const [what, bytes, end, fault, options] of cases) {
		test(`${what} is ${fault.reason}, told once and last`, () => {
			const { stream, sink, owner, connection } = asked(options);
			for (const piece of bytes.split("|")) if (piece !== "") stream.say(piece);
			if (end === "FIN") stream.hangUp();
			if (end === "RST") stream.fail("ECONNRESET");
			if (end === "close") stream.close();
			assert.equal(sink.told.at(-1), `failed ${fault.reason}`);
			assert.equal(sink.told.filter((told) => told.startsWith("failed") || told === "ended").length, 1);
			assert.ok(connection.isClosed && stream.destroyed);
			const told = sink.told.length;
			stream.say("late");
			stream.close();
			assert.equal(sink.told.length, told);
			assert.equal(owner.told.filter((each) => each.startsWith("closed")).length, 1);
		});
	}
});

describe("a connection that is being made", () => {
	test("carries the request that waits for it as soon as it is there", () => {
		const { stream, owner, connection } = connecting();
		const sink = new Sink();
		connection.begin(sink, METHOD.GET, false, false);
		assert.equal(connection.isConnected, false);
		stream.open();
		assert.deepEqual(sink.told, ["connected"]);
		stream.say(`${LENGTH}hello`);
		assert.equal(sink.told.at(-1), "ended");
		assert.deepEqual(owner.told.slice(0, 1), ["connected"]);
	});

	test("and that nobody wants any more is idle when it is there", () => {
		const { stream, connection } = connecting();
		stream.open();
		assert.ok(connection.isIdle);
		stream.open();
		assert.ok(connection.isIdle, "once is enough");
	});

	const failures: readonly (readonly [what: string, (made: ReturnType<typeof connecting>) => void, Fault])[] = [
		["was refused", ({ stream }) => stream.fail("ECONNREFUSED"), FAULTS.app_refused],
		["was not answered by the system in time", ({ stream }) => stream.fail("ETIMEDOUT"), FAULTS.app_connect_timeout],
		["was closed before", ({ stream }) => stream.close(), FAULTS.app_refused],
		["took longer than timeouts.connect", ({ connection }) => connection.connectTimedOut(), FAULTS.app_connect_timeout],
	];
	for (const [what, fail, fault] of failures) {
		test(`and ${what} is ${fault.reason}`, () => {
			const made = connecting();
			const sink = new Sink();
			made.connection.begin(sink, METHOD.GET, false, false);
			fail(made);
			assert.deepEqual(sink.told, [`failed ${fault.reason}`]);
			assert.deepEqual(made.owner.told, ["closed -1"]);
			assert.notEqual(made.stream.ending, "reset", "there is nothing to reset");
		});
	}
});

describe("an idle connection", () => {
	const idle = () => {
		const all = asked();
		all.stream.say(`${LENGTH}hello`);
		assert.ok(all.connection.isIdle);
		all.owner.nowMs += 700;
		return all;
	};

	test("that the app closes tells how long it had been idle", () => {
		const byFin = idle();
		byFin.stream.hangUp();
		assert.equal(byFin.owner.told.at(-1), "closed 700");
		const byReset = idle();
		byReset.stream.fail("ECONNRESET");
		assert.equal(byReset.owner.told.at(-1), "closed 700");
	});

	test("on which the app speaks unasked is closed: it must not become the next answer", () => {
		const { stream, owner } = idle();
		stream.say("HTTP/1.1 408 Request Timeout\r\n\r\n");
		assert.equal(stream.ending, "reset");
		assert.equal(owner.told.at(-1), "closed 0");
	});

	test("is closed by RST, so that no port is left in TIME_WAIT", () => {
		const { stream, connection } = idle();
		connection.closeIdle();
		connection.closeIdle();
		assert.equal(stream.ending, "reset");
	});

	test("that just goes is told as one that was idle, so that nobody takes it any more", () => {
		const { stream, owner } = idle();
		stream.close();
		assert.equal(owner.told.at(-1), "closed 0");
	});

	test("carries the next exchange from a clean start", () => {
		const { stream, connection } = idle();
		const next = new Sink();
		connection.begin(next, METHOD.HEAD, false, false);
		assert.deepEqual([connection.hasAnswered, connection.payloadBytes], [false, 0]);
		connection.requestSent();
		stream.say(LENGTH);
		assert.deepEqual(next.told, ["head 200", "ended"]);
		assert.equal(connection.served, 2);
	});
});

describe("a tunnel", () => {
	test("begins with the 101 that was asked for; bytes behind it are the tunnel's", () => {
		const { stream, sink, connection } = asked({ upgradeWasAsked: true });
		stream.say(`${UPGRADE}\x81\x00`);
		stream.say("more");
		stream.hangUp();
		stream.close();
		assert.deepEqual(sink.told, ["head 101", "tunnel \x81\x00", "tunnel more", "tunnel ended", "tunnel closed"]);
		assert.ok(connection.isClosed);
	});

	for (const [what, head] of [
		["to h2c, which is not spoken", "HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n"],
		["without an Upgrade field", "HTTP/1.1 101 Switching Protocols\r\n\r\n"],
	] as const) {
		test(`${what} is none`, () => {
			const { stream, sink } = asked({ upgradeWasAsked: true });
			stream.say(head);
			assert.equal(sink.told.length, 1);
			assert.match(sink.told[0] ?? "", /^failed app_(upgrade_unasked|head_invalid)$/);
			assert.equal(stream.ending, "reset");
		});
	}

	test("that its client leaves within the head gets no bytes any more", () => {
		const { stream, sink, connection } = asked({ upgradeWasAsked: true });
		sink.onTold = () => connection.abandon();
		stream.say(`${UPGRADE}late`);
		assert.deepEqual(sink.told, ["head 101"]);
	});
});

describe("back-pressure", () => {
	test("of the app is told by write, and drained when it is over", () => {
		const { stream, sink, connection, app } = asked();
		assert.equal(connection.write(Buffer.from("a")), true);
		app.endTurn();
		stream.isFull = true;
		assert.equal(connection.write(Buffer.alloc(20_000)), false);
		stream.drain();
		assert.deepEqual(sink.told, ["drained"]);
	});

	test("of the client stops the reading, and the next exchange finds it running", () => {
		const { stream, sink, connection } = asked();
		connection.resume();
		sink.onTold = (what) => {
			if (what === "body") connection.pause();
		};
		stream.say(`${LENGTH}he`);
		stream.say("llo");
		assert.equal(sink.told.at(-1), "ended");
		assert.equal(stream.isPaused, false);
		assert.ok(connection.isIdle);
	});
});

describe("a write that fails", () => {
	test("before an answer began is told: what was written last has not reached the app", () => {
		const { stream, sink } = asked();
		stream.onWriteFailed?.(true);
		assert.deepEqual(sink.told, ["refused bytes"]);
	});

	test("after the kernel had taken a part of it says nothing: that part may be at the app", () => {
		const { stream, sink } = asked();
		stream.onWriteFailed?.(false);
		assert.deepEqual(sink.told, []);
	});

	test("after an answer began says nothing new: the answer is read to its end", () => {
		const { stream, sink, connection } = asked();
		stream.say("HTTP/1.1 413 Content Too");
		stream.writeFailed = true;
		stream.onWriteFailed?.(true);
		assert.deepEqual(sink.told, []);
		assert.ok(connection.writeFailed);
		stream.say(" Large\r\ncontent-length: 0\r\n\r\n");
		assert.deepEqual(sink.told, ["head 413", "ended"]);
	});
});

describe("an exchange that wants nothing more", () => {
	test("is felt by the app as a reset, and nothing is told any more", () => {
		const { stream, sink, connection } = asked();
		stream.say(`${LENGTH}he`);
		connection.abandon();
		assert.equal(stream.ending, "reset");
		stream.say("llo");
		stream.close();
		assert.deepEqual(sink.told, ["head 200"]);
	});

	for (const [what, pieces] of [
		["after a 1xx", ["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"]],
		["between chunks for HTTP/1.0", [`${CHUNKED}1\r\na\r\n1\r\nb\r\n0\r\n\r\n`]],
		["with the last piece", [`${CHUNKED}`, "1\r\na\r\n0\r\n\r\n"]],
	] as const) {
		test(`may want nothing more ${what}, in the middle of what came`, () => {
			const { stream, sink, connection } = asked({ dechunk: what.includes("1.0") });
			sink.onTold = (told) => {
				if (told === "body" || told.startsWith("1xx")) connection.abandon();
			};
			for (const piece of pieces) stream.say(piece);
			assert.ok(!sink.told.includes("ended"));
			assert.ok(connection.isClosed);
		});
	}
});

describe("a mistake of ours in what is told", () => {
	const boom = (when: string) => (what: string) => {
		if (what.startsWith(when)) throw new Error("our mistake");
	};
	const doors: readonly (readonly [door: string, when: string, (made: ReturnType<typeof asked>) => void])[] = [
		["data", "head", ({ stream }) => stream.say(`${LENGTH}he`)],
		[
			"end",
			"ended",
			({ stream }) => {
				stream.say("HTTP/1.1 200 OK\r\n\r\n");
				stream.hangUp();
			},
		],
		["a failed write", "refused", ({ stream }) => stream.onWriteFailed?.(true)],
	];
	for (const [door, when, happens] of doors) {
		test(`at ${door} ends the exchange and the connection, and is counted`, () => {
			const made = asked();
			made.sink.onTold = boom(when);
			happens(made);
			assert.equal(made.owner.mistakes.length, 1);
			assert.ok(made.connection.isClosed && made.stream.destroyed);
			assert.equal(made.owner.told.filter((told) => told.startsWith("closed")).length, 1);
		});
	}

	test("at connect does the same", () => {
		const { stream, owner, connection } = connecting();
		const sink = new Sink();
		sink.onTold = boom("connected");
		connection.begin(sink, METHOD.GET, false, false);
		stream.open();
		assert.deepEqual(sink.told, ["connected", "failed internal"]);
		assert.equal(owner.mistakes.length, 1);
		assert.ok(connection.isClosed);
	});
});
