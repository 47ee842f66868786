import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { WebSocket } from "ws";
import { type AgentProcess, type App, type AppName, eventually, startAgent, startNamed } from "./peers.ts";
import { type Tool, without } from "./tools.ts";

const servers: readonly { readonly name: AppName; readonly needs: readonly Tool[] }[] = [
	{ name: "node", needs: [] },
	{ name: "uvicorn", needs: ["uvicorn"] },
];

/** Sizes around each border of the length field (RFC 6455 §5.2), and some that come in many reads. */
const SIZES = [0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537, 1_000_000];

for (const { name, needs } of servers) {
	describe(`WebSockets of ${name} through the agent`, { skip: without(...needs) }, () => {
		let app: App;
		let agent: AgentProcess;
		before(async () => {
			app = await startNamed(name);
			agent = await startAgent(app.port, { OUTRIGGER_ROUTES__OPENAPI: "none" });
		});
		after(async () => {
			await agent?.stop();
			await app?.stop();
		});
		const dial = async (deflate = false): Promise<WebSocket> => {
			const socket = new WebSocket(`ws://${agent.inbound}/ws`, { perMessageDeflate: deflate && { threshold: 0 } });
			await once(socket, "open");
			return socket;
		};
		const closed = async (socket: WebSocket): Promise<readonly [number, string]> => {
			const [code, reason] = (await once(socket, "close")) as [number, Buffer];
			return [code, reason.toString()];
		};

		for (const deflate of [false, true]) {
			test(`echo messages of all sizes, ${deflate ? "compressed" : "as they are"}`, async () => {
				const socket = await dial(deflate);
				assert.equal(socket.extensions.includes("permessage-deflate"), deflate);
				for (const size of SIZES) {
					for (const message of ["x".repeat(size), randomBytes(size)]) {
						socket.send(message);
						const [echo, isBinary] = (await once(socket, "message")) as [Buffer, boolean];
						assert.equal(isBinary, typeof message !== "string");
						assert.ok(echo.equals(Buffer.from(message)));
					}
				}
				socket.close(1000);
				assert.equal((await closed(socket))[0], 1000);
			});
		}

		test("carry fragments, and pings between them", async () => {
			const socket = await dial();
			const pong = once(socket, "pong");
			for (const piece of ["one ", "two ", "three"]) {
				socket.send(piece, { fin: piece === "three" });
				if (piece === "two ") socket.ping("between");
			}
			const [[echo], [payload]] = (await Promise.all([once(socket, "message"), pong])) as [[Buffer], [Buffer]];
			assert.equal(echo.toString(), "one two three");
			assert.equal(payload.toString(), "between");
			socket.close(4000, "by the client");
			await closed(socket);
		});

		test("carry a thousand messages that nobody waits for, in order", async () => {
			const socket = await dial();
			const echoes: string[] = [];
			socket.on("message", (data: Buffer) => echoes.push(data.toString()));
			for (let i = 0; i < 1000; i++) socket.send(String(i));
			await eventually(async () => (echoes.length === 1000 ? true : undefined), "all echoes");
			assert.deepEqual(
				echoes,
				Array.from({ length: 1000 }, (_, i) => String(i)),
			);
			socket.close();
			await closed(socket);
		});

		test("hand on the code and reason with which the app closes", async () => {
			const socket = await dial();
			socket.send("close 4001");
			assert.deepEqual(await closed(socket), [4001, "as asked"]);
		});

		test("end at the app when the client is gone, and are counted", async () => {
			const socket = await dial();
			const open = 'outrigger_relayed_connections{kind="tunnel"}';
			await eventually(async () => ((await agent.metric(open)) === 1 ? true : undefined), "the tunnel is counted");
			socket.terminate();
			await eventually(async () => ((await agent.metric(open)) === 0 ? true : undefined), "the tunnel ends");
		});

		test("are a plain request where the app has none", async () => {
			const socket = new WebSocket(`ws://${agent.inbound}/status/404`);
			const [error] = (await once(socket, "error")) as [Error];
			assert.match(error.message, /Unexpected server response: 40[0-9]/);
		});
	});
}

describe("WebSockets that end abruptly", () => {
	test("when the app cuts the connection, the client sees an abnormal end and no close frame", async (t) => {
		const app = await startNamed("node");
		t.after(() => app.stop());
		const agent = await startAgent(app.port);
		t.after(() => agent.stop());
		const socket = new WebSocket(`ws://${agent.inbound}/ws`);
		await once(socket, "open");
		socket.send("terminate");
		const [code] = (await once(socket, "close")) as [number];
		assert.equal(code, 1006);
	});
});

// ── the cases of Autobahn that can be told as a list of frames ───────────────────────────────────────────────────────

interface Sent {
	readonly opcode: number;
	readonly payload?: Buffer | string;
	readonly fin?: boolean;
	readonly reserved?: number;
}

const MASK = Buffer.from([1, 2, 3, 4]);

/** A client's frame (RFC 6455 §5.2), masked. */
function frame({ opcode, payload = "", fin = true, reserved = 0 }: Sent): Buffer {
	const body = Buffer.from(payload);
	const first = (fin ? 0x80 : 0) | (reserved << 4) | opcode;
	const head =
		body.length < 126
			? Buffer.from([first, 0x80 | body.length])
			: body.length < 65_536
				? Buffer.from([first, 0x80 | 126, body.length >> 8, body.length & 0xff])
				: Buffer.concat([Buffer.from([first, 0x80 | 127, 0, 0, 0, 0]), uint32(body.length)]);
	for (let i = 0; i < body.length; i++) body[i] = (body[i] ?? 0) ^ (MASK[i % 4] ?? 0);
	return Buffer.concat([head, MASK, body]);
}

const uint32 = (n: number): Buffer => {
	const bytes = Buffer.alloc(4);
	bytes.writeUInt32BE(n);
	return bytes;
};
const uint16 = (n: number): Buffer => Buffer.from([n >> 8, n & 0xff]);

const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;
const closing = (code = 1000, reason = ""): Sent => ({
	opcode: CLOSE,
	payload: Buffer.concat([uint16(code), Buffer.from(reason)]),
});

/** What the client of a case sends, by its number; the close that ends it is added. `undefined`: cannot be told as frames. */
function framesOf(id: string): readonly Sent[] | undefined {
	const [group = 0, a = 0, b = 0] = id.split(".").map(Number);
	const size = [0, 125, 126, 127, 128, 65_535, 65_536, 65_536][b - 1];
	const say = (text: string, more: Partial<Sent> = {}): Sent => ({ opcode: TEXT, payload: text, ...more });
	const goOn = (text: string, fin: boolean, more: Partial<Sent> = {}): Sent => ({
		opcode: 0,
		payload: text,
		fin,
		...more,
	});
	const ping = (payload: Buffer | string = ""): Sent => ({ opcode: PING, payload });
	switch (group) {
		case 1:
			return size === undefined ? undefined : [{ opcode: a === 1 ? TEXT : BINARY, payload: Buffer.alloc(size, "*") }];
		case 2: {
			const pings: Readonly<Record<number, readonly Sent[]>> = {
				1: [ping()],
				2: [ping("Hello, world!")],
				3: [ping(Buffer.from([0, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0, 0xff]))],
				4: [ping(Buffer.alloc(125, 0xfe))],
				5: [ping(Buffer.alloc(126, 0xfe))],
				6: [ping(Buffer.alloc(125, 0xfe))],
				7: [{ opcode: PONG }],
				8: [{ opcode: PONG, payload: "unsolicited" }],
				9: [{ opcode: PONG, payload: "unsolicited" }, ping("payload")],
				10: Array.from({ length: 10 }, (_, i) => ping(`payload-${i}`)),
				11: Array.from({ length: 10 }, (_, i) => ping(`payload-${i}`)),
			};
			return pings[a];
		}
		case 3:
			return a <= 7 ? [say("small"), say("reserved", { reserved: a })] : undefined;
		case 4: {
			const opcode = (b === 0 ? undefined : a === 1 ? 2 + b : 10 + b) ?? 3;
			return [say("before"), { opcode, payload: b === 1 ? "" : "reserved opcode" }, ping()];
		}
		case 5: {
			const fragments: Readonly<Record<number, readonly Sent[]>> = {
				1: [{ opcode: PING, payload: "f", fin: false }, goOn("rest", true)],
				2: [{ opcode: PONG, payload: "f", fin: false }, goOn("rest", true)],
				3: [say("one", { fin: false }), goOn("two", true)],
				6: [say("one", { fin: false }), ping("between"), goOn("two", true)],
				9: [goOn("nothing to continue", true), say("after")],
				10: [goOn("nothing to continue", true), say("after")],
				12: [goOn("nothing to continue", false), say("after")],
				15: [say("a", { fin: false }), goOn("b", true), goOn("c", false), say("d")],
				16: [goOn("a", false), say("b"), goOn("c", true)],
				17: [goOn("a", true), say("b"), goOn("c", true)],
				18: [say("one", { fin: false }), say("two")],
				19: [
					say("1", { fin: false }),
					goOn("2", false),
					ping("p1"),
					goOn("3", false),
					goOn("4", false),
					ping("p2"),
					goOn("5", true),
				],
			};
			return fragments[a];
		}
		case 6: {
			const valid = "Hello-µ@ßöäüàá-UTF-8!!";
			const invalid = Buffer.from("cebae1bdb9cf83cebcceb5eda080656469746564", "hex");
			if (a === 1)
				return b === 1 ? [say("")] : b === 2 ? [say("", { fin: false }), goOn("", false), goOn("", true)] : undefined;
			if (a === 2)
				return b === 1
					? [say(valid)]
					: b === 2
						? [say(valid.slice(0, 9), { fin: false }), goOn(valid.slice(9), true)]
						: undefined;
			if (a === 3) return b === 1 ? [{ opcode: TEXT, payload: invalid }] : undefined;
			return undefined;
		}
		case 7:
			if (a === 1) {
				if (b === 1) return [say("Hello World!")];
				if (b === 2) return [closing(), closing()];
				if (b === 3) return [closing(), ping()];
				if (b === 4) return [closing(), say("too late")];
				if (b === 5) return [say("one", { fin: false }), closing(), goOn("two", true)];
				return undefined;
			}
			if (a === 3) {
				if (b === 1) return [{ opcode: CLOSE }];
				if (b === 2) return [{ opcode: CLOSE, payload: "a" }];
				if (b === 3) return [closing()];
				if (b === 4) return [closing(1000, "Hello World!")];
				if (b === 5) return [closing(1000, "*".repeat(123))];
				if (b === 6) return [closing(1000, "*".repeat(124))];
				return undefined;
			}
			if (a === 5) return [{ opcode: CLOSE, payload: Buffer.concat([uint16(1000), Buffer.from("ceba80", "hex")]) }];
			if (a === 7)
				return [closing([1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999][b - 1] ?? 1000)];
			if (a === 9) return [closing([0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999][b - 1] ?? 65_535)];
			return undefined;
		default:
			return undefined;
	}
}

/** What the server sends after its 101 until it closes, as frames: opcode with flags, and payload. */
async function transcript(port: number, sent: readonly Sent[], pieceBytes: number): Promise<readonly string[]> {
	const socket = connect({ host: "127.0.0.1", port, noDelay: true });
	const key = Buffer.alloc(16).toString("base64");
	socket.write(
		`GET /ws HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: ${key}\r\n\r\n`,
	);
	socket.on("error", () => undefined); // a reset after the last frame is how some servers end
	const received: Buffer[] = [];
	let begun = false;
	const bytes = Buffer.concat([...sent, closing()].map(frame));
	socket.on("data", (data: Buffer) => {
		received.push(data);
		if (begun || !Buffer.concat(received).includes("\r\n\r\n")) return;
		begun = true;
		for (let at = 0; at < bytes.length; at += pieceBytes) socket.write(bytes.subarray(at, at + pieceBytes));
	});
	await once(socket, "close");
	const all = Buffer.concat(received);
	const head = all.indexOf("\r\n\r\n") + 4;
	assert.match(all.subarray(0, head).toString(), /^HTTP\/1\.1 101 /);
	const frames: string[] = [];
	for (let at = head; at < all.length; ) {
		let length = (all[at + 1] ?? 0) & 0x7f;
		let start = at + 2;
		if (length === 126) [length, start] = [all.readUInt16BE(start), start + 2];
		else if (length === 127) [length, start] = [Number(all.readBigUInt64BE(start)), start + 8];
		frames.push(`${all[at]?.toString(16)} ${length} ${all.toString("hex", start, start + Math.min(length, 200))}`);
		at = start + length;
	}
	return frames;
}

const corpora = process.env["OUTRIGGER_CORPORA"];
const noCorpora =
	corpora === undefined && "OUTRIGGER_CORPORA is not set: the cases of the Autobahn testsuite are not here";

describe("the cases of the Autobahn testsuite end as they do directly", { skip: noCorpora }, () => {
	let app: App;
	let agent: AgentProcess;
	before(async () => {
		app = await startNamed("node");
		agent = await startAgent(app.port, { OUTRIGGER_ROUTES__OPENAPI: "none" });
	});
	after(async () => {
		await agent?.stop();
		await app?.stop();
	});

	const { cases } = JSON.parse(readFileSync(join(corpora ?? "", "autobahn_index.json"), "utf8")) as {
		cases: readonly { id: string; description: string }[];
	};
	const driven = cases.filter(({ id }) => framesOf(id) !== undefined);

	test("most cases can be driven", () => {
		assert.ok(driven.length >= 70, `${driven.length} of ${cases.length}`);
	});
	for (const { id, description } of driven) {
		test(`${id}: ${description.replaceAll(/<[^>]*>/g, "").slice(0, 90)}`, async () => {
			const frames = framesOf(id) ?? [];
			const direct = await transcript(app.port, frames, Number.POSITIVE_INFINITY);
			const isLarge = frames.some(({ payload }) => (payload?.length ?? 0) > 1000);
			for (const pieceBytes of isLarge ? [Number.POSITIVE_INFINITY, 997] : [Number.POSITIVE_INFINITY, 1]) {
				assert.deepEqual(await transcript(agent.port, frames, pieceBytes), direct);
			}
			assert.ok(direct.length > 0);
		});
	}
});
