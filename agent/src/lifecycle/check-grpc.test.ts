import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { LookupFunction } from "node:net";
import { describe, type TestContext, test } from "node:test";
import fc from "fast-check";
import type { Address } from "../config/settings.ts";
import { decodeAnswer, encodeRequest, grpcCheck, grpcTargetOfUrl, judgeGrpc } from "./check-grpc.ts";
import type { AskingParts } from "./check-http.ts";
import type { HealthFinding } from "./health-tree.ts";
import { Liar } from "./liar.fixture.ts";
import { NameLookups } from "./name-lookup.ts";

const PARTS: AskingParts = { userAgent: "outrigger/test", lookup: new NameLookups().door() };

const look = (address: Address, service = "", signal = new AbortController().signal): Promise<HealthFinding> =>
	grpcCheck({ address, service }, PARTS)(signal);

/** A frame of gRPC around a message. */
const frame = (...message: readonly number[]): Buffer => Buffer.from([0, 0, 0, 0, message.length, ...message]);
const SERVING = frame(0x08, 1);

interface Heard {
	readonly headers: IncomingHttpHeaders;
	body: Buffer;
}

/** A gRPC server as far as a health check sees one. */
async function grpcServer(
	t: TestContext,
	answer: (stream: ServerHttp2Stream, heard: Heard) => void,
): Promise<{ readonly address: Address; readonly heard: readonly Heard[]; readonly closed: Promise<void> }> {
	const heard: Heard[] = [];
	const sessions = new Set<ServerHttp2Session>();
	const { promise: closed, resolve } = Promise.withResolvers<void>();
	const server = createServer();
	server.on("session", (session) => {
		sessions.add(session);
		session.on("error", () => {});
		session.on("close", () => {
			sessions.delete(session);
			resolve();
		});
	});
	server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
		const call: Heard = { headers, body: Buffer.alloc(0) };
		heard.push(call);
		stream.on("error", () => {});
		stream.on("data", (bytes: Buffer) => {
			call.body = Buffer.concat([call.body, bytes]);
		});
		stream.on("end", () => answer(stream, call));
	});
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	t.after(() => {
		for (const session of sessions) session.destroy();
		server.close();
	});
	const bound = server.address();
	const port = typeof bound === "object" && bound !== null ? bound.port : 0;
	return { address: { kind: "tcp", host: "127.0.0.1", port }, heard, closed };
}

/** Answers with a message and trailers. */
const says =
	(body: Buffer, trailers: Record<string, string> = { "grpc-status": "0" }, type = "application/grpc") =>
	(stream: ServerHttp2Stream): void => {
		stream.respond({ ":status": 200, "content-type": type }, { waitForTrailers: true });
		stream.on("wantTrailers", () => stream.sendTrailers(trailers));
		stream.end(body);
	};

/** Answers without a message: "Trailers-Only". */
const refuses =
	(status: number, message = "") =>
	(stream: ServerHttp2Stream): void =>
		stream.respond(
			{ ":status": 200, "content-type": "application/grpc", "grpc-status": String(status), "grpc-message": message },
			{ endStream: true },
		);

test("SERVING passes; the question is as gRPC frames it, and the connection is closed afterwards", async (t) => {
	const { address, heard, closed } = await grpcServer(t, says(SERVING));
	const { status, detail } = await look(address, "shop.Orders");
	assert.equal(status, "pass");
	assert.match(detail ?? "", /^gRPC health of service "shop\.Orders" at 127\.0\.0\.1:\d+: SERVING$/);
	const [call] = heard;
	assert.ok(call !== undefined);
	assert.deepEqual(
		[":method", ":path", ":scheme", "content-type", "te", "user-agent"].map((name) => call.headers[name]),
		["POST", "/grpc.health.v1.Health/Check", "http", "application/grpc", "trailers", "outrigger/test"],
	);
	assert.equal(call.body.toString("latin1"), "\x00\x00\x00\x00\x0d\x0a\x0bshop.Orders");
	await closed;
});

test("without a service the server as a whole is asked, and the message is empty", async (t) => {
	const { address, heard } = await grpcServer(t, says(SERVING));
	const { status, detail } = await look(address);
	assert.equal(status, "pass");
	assert.match(detail ?? "", /^gRPC health of the server at/);
	assert.equal(heard[0]?.body.toString("latin1"), "\x00\x00\x00\x00\x00");
});

describe("everything else fails, and says why:", () => {
	const cases: readonly (readonly [string, (stream: ServerHttp2Stream) => void, string, RegExp])[] = [
		["NOT_SERVING", says(frame(0x08, 2)), "not_serving", /NOT_SERVING$/],
		["SERVICE_UNKNOWN", says(frame(0x08, 3)), "not_serving", /SERVICE_UNKNOWN$/],
		["UNKNOWN, which is an empty message", says(frame()), "not_serving", /UNKNOWN$/],
		["a status of the future", says(frame(0x08, 9)), "not_serving", /unknown status 9$/],
		["a service that is not known", refuses(5), "service_unknown", /does not know this service \(NOT_FOUND\)$/],
		[
			"a server without health",
			refuses(12),
			"no_health_service",
			/has no grpc\.health\.v1\.Health service \(UNIMPLEMENTED\)$/,
		],
		["a server that wants a token", refuses(16, "who%20are you?"), "grpc_status", /grpc-status 16 who are you\?$/],
		["a message that is not encoded rightly", refuses(2, "50%"), "grpc_status", /grpc-status 2 50%$/],
		["a failure behind a message", says(SERVING, { "grpc-status": "14" }), "grpc_status", /grpc-status 14$/],
		["no status at all", says(SERVING, { "x-a": "b" }), "broken_off", /no grpc-status/],
		["a status that is none", says(SERVING, { "grpc-status": "fine" }), "broken_off", /no grpc-status/],
		[
			"another content type",
			says(SERVING, { "grpc-status": "0" }, "text/html"),
			"bad_answer",
			/not of type application\/grpc$/,
		],
		["another content type that begins like it", says(SERVING, {}, "application/grpcx"), "bad_answer", /not of type/],
		["a compressed message", says(Buffer.from([1, 0, 0, 0, 0])), "bad_answer", /no HealthCheckResponse$/],
		["a length that does not fit", says(Buffer.from([0, 0, 0, 0, 9, 8, 1])), "bad_answer", /no HealthCheckResponse$/],
		["two messages", says(Buffer.concat([SERVING, SERVING])), "bad_answer", /no HealthCheckResponse$/],
		["no message", says(Buffer.alloc(0)), "bad_answer", /no HealthCheckResponse$/],
		["a body without end", says(Buffer.alloc(100_000)), "bad_answer", /larger than 4096 bytes$/],
		[
			"an HTTP status",
			(stream) => stream.respond({ ":status": 503 }, { endStream: true }),
			"http_status",
			/HTTP status 503$/,
		],
		["a stream that is reset", (stream) => stream.close(2), "broken_off", /reset the stream/],
		[
			"a session that ends",
			(stream) => stream.session?.destroy(),
			"broken_off",
			/closed the connection|ended the stream/,
		],
	];
	for (const [name, answer, reason, detail] of cases) {
		test(name, async (t) => {
			const { address, closed } = await grpcServer(t, answer);
			const finding = await look(address, "a");
			assert.deepEqual([finding.status, finding.reason], ["fail", reason], String(finding.detail));
			assert.match(finding.detail ?? "", detail);
			await closed;
		});
	}

	test("content types with parameters and formats of gRPC are fine", async (t) => {
		for (const type of ["application/grpc+proto", "application/grpc;charset=utf-8"]) {
			const { address } = await grpcServer(t, says(SERVING, undefined, type));
			assert.equal((await look(address)).status, "pass");
		}
	});
});

describe("who does not speak it fails:", () => {
	const settings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00";
	const cases: readonly (readonly [string, string, string])[] = [
		["HTTP/1.1", "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", "bad_answer"],
		["anything", "-ERR unknown command\r\n", "bad_answer"],
		["a frame that is too large", "\xff\xff\xff\x04\x00\x00\x00\x00\x00", "bad_answer"],
		["a GOAWAY at once", `${settings}\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0b`, ""],
		["nothing", "", ""],
		["settings and nothing more", settings, ""],
	];
	for (const [name, payload, reason] of cases) {
		test(name, async (t) => {
			const liar = await Liar.start(t, (socket) => socket.end(payload, "latin1"));
			const finding = await look(liar.address);
			assert.equal(finding.status, "fail");
			if (reason !== "") assert.equal(finding.reason, reason, String(finding.detail));
			await liar.closed(1);
		});
	}

	test("and nobody at all", async (t) => {
		const liar = await Liar.start(t, () => {});
		await liar.stop();
		assert.equal((await look(liar.address)).reason, "connect_refused");
		const unix = await look({ kind: "unix", path: "/nonexistent/app.sock" });
		assert.equal(unix.detail, "gRPC health of the server at unix:/nonexistent/app.sock: nobody listens there (ENOENT)");
	});

	test("and a name that is none", async () => {
		const lookup: LookupFunction = (_name, _options, callback) =>
			setImmediate(() => callback(Object.assign(new Error("x"), { code: "ENOTFOUND" }), ""));
		const target = { address: { kind: "tcp", host: "name.invalid", port: 1 } as const, service: "" };
		const { reason } = await grpcCheck(target, { ...PARTS, lookup })(new AbortController().signal);
		assert.equal(reason, "name_unresolved");
	});

	test("and a reset", async (t) => {
		const liar = await Liar.start(t, (socket) => socket.resetAndDestroy());
		assert.equal((await look(liar.address)).reason, "broken_off");
	});
});

test("what hangs is cut by the signal, and the connection with it", async (t) => {
	for (const payload of ["", "\x00\x00\x00\x04\x00\x00\x00\x00\x00"]) {
		const controller = new AbortController();
		const liar = await Liar.start(t, (socket) => {
			socket.write(Buffer.from(payload, "latin1"), () => setImmediate(() => controller.abort()));
		});
		assert.equal((await look(liar.address, "", controller.signal)).reason, "timeout");
		await liar.closed(1);
	}
	const liar = await Liar.start(t, () => {});
	assert.equal((await look(liar.address, "", AbortSignal.abort())).reason, "timeout");
});

test("a URL becomes a target", () => {
	assert.deepEqual(grpcTargetOfUrl("grpc://localhost:50051/shop.Orders"), {
		address: { kind: "tcp", host: "localhost", port: 50_051 },
		service: "shop.Orders",
	});
	assert.deepEqual(grpcTargetOfUrl("grpc://[::1]:1"), { address: { kind: "tcp", host: "::1", port: 1 }, service: "" });
	assert.equal(grpcTargetOfUrl("grpc://a:1/").service, "");
	assert.equal(grpcTargetOfUrl("grpc://a:1/a%20b").service, "a b");
	assert.equal(grpcTargetOfUrl("grpc://a:1/%zz").service, "%zz");
});

describe("two fields of protobuf", () => {
	test("a long name has a length of two bytes", () => {
		const bytes = encodeRequest("x".repeat(300));
		assert.deepEqual([...bytes.subarray(0, 8)], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
		assert.equal(bytes.length, 5 + 3 + 300);
	});

	const cases: readonly (readonly [string, readonly number[], number | undefined])[] = [
		["the last of several counts", [0x08, 1, 0x08, 2], 2],
		["a varint of more bytes than it needs", [0x08, 0x81, 0x80, 0x00], 1],
		["a negative number, in ten bytes", [0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], 0xffff_ffff],
		[
			"unknown fields of each type are passed over",
			[0x10, 0xff, 1, 0x19, 1, 2, 3, 4, 5, 6, 7, 8, 0x22, 2, 9, 9, 0x2d, 1, 2, 3, 4, 0x08, 1],
			1,
		],
		["a varint without end", [0x08, 0x80], undefined],
		["a varint of eleven bytes", [0x08, ...Array<number>(10).fill(0x80), 1], undefined],
		["field number 0", [0x00, 1], undefined],
		["a field that is longer than the message", [0x22, 200, 1], undefined],
		["a fixed field that breaks off", [0x19, 1, 2], undefined],
		["a group, which proto3 does not have", [0x0b], undefined],
		["a wire type that does not exist", [0x0f, 1], undefined],
	];
	for (const [name, message, status] of cases) {
		test(name, () => assert.equal(decodeAnswer(frame(...message)), status));
	}

	test("any bytes are a status or nothing, and every answer is judged", () => {
		fc.assert(
			fc.property(fc.uint8Array({ maxLength: 40 }), fc.boolean(), fc.string(), (bytes, isFramed, status) => {
				const body = isFramed ? frame(...bytes) : Buffer.from(bytes);
				const decoded = decodeAnswer(body);
				assert.ok(decoded === undefined || (Number.isInteger(decoded) && decoded >= 0));
				const head = { ":status": 200, "content-type": "application/grpc", "grpc-status": status };
				assert.ok(["pass", "fail"].includes(judgeGrpc(head, undefined, body).status));
			}),
		);
		assert.equal(judgeGrpc(undefined, undefined, Buffer.alloc(0)).reason, "broken_off");
	});
});
