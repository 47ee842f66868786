import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { LookupFunction, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import type { Address } from "../config/settings.ts";
import {
	type AskingParts,
	askHttp,
	type HealthPage,
	httpCheck,
	judgeHttp,
	pageOfUrl,
	renderPage,
} from "./check-http.ts";
import { HEALTH_JSON_BYTES_MAX } from "./health-json.ts";
import type { HealthFinding } from "./health-tree.ts";
import { Liar } from "./liar.fixture.ts";
import { NameLookups } from "./name-lookup.ts";
import { selfSigned } from "./self-signed.fixture.ts";

const PARTS: AskingParts = { userAgent: "outrigger/test", lookup: new NameLookups().door() };

const pageAt = (address: Address, more: Partial<HealthPage> = {}): HealthPage => ({
	address,
	isTls: false,
	isVerified: false,
	path: "/health",
	auth: undefined,
	...more,
});

const look = (page: HealthPage, signal = new AbortController().signal): Promise<HealthFinding> =>
	httpCheck(page, PARTS)(signal);

const answers = (text: string) => (socket: Socket) => socket.end(text, "latin1");
const plain = (status: number | string): string => `HTTP/1.1 ${status} X\r\ncontent-length: 2\r\n\r\nok`;
const health = (body: string, status = 200, length = body.length): string =>
	`HTTP/1.1 ${status} X\r\ncontent-type: application/health+json\r\ncontent-length: ${length}\r\n\r\n${body}`;

test("it asks with our name, on a connection of its own that it closes", async (t) => {
	const liar = await Liar.start(t, answers(plain(200)));
	for (const auth of [undefined, "me:se cret"]) {
		const { status, detail } = await look(pageAt(liar.address, { path: "/health?token=x", auth }));
		assert.deepEqual(
			[status, detail],
			["pass", `GET http://127.0.0.1:${liar.address.port}/health was answered with 200`],
		);
	}
	await liar.closed(2);
	const [first = "", second = ""] = liar.heard;
	assert.match(first, /^GET \/health\?token=x HTTP\/1\.1\r\n/);
	assert.match(first, /\r\nuser-agent: outrigger\/test\r\n/);
	assert.match(first, /\r\nconnection: close\r\n/);
	assert.match(first, /\r\naccept: application\/health\+json, /);
	assert.match(first, /\r\nHost: 127\.0\.0\.1:\d+\r\n/);
	assert.doesNotMatch(first, /authorization/i);
	assert.match(second, new RegExp(`\r\nAuthorization: Basic ${Buffer.from("me:se cret").toString("base64")}\r\n`));
});

describe("a status is good from 200 to 399, as for the kubelet:", () => {
	const cases: readonly (readonly [number | string, "pass" | "fail"])[] = [
		[200, "pass"],
		[204, "pass"],
		[301, "pass"],
		[302, "pass"],
		[399, "pass"],
		[400, "fail"],
		[401, "fail"],
		[404, "fail"],
		[500, "fail"],
		[503, "fail"],
		[599, "fail"],
		["000", "fail"],
		[999, "fail"],
	];
	for (const [status, expected] of cases) {
		test(`${status}: ${expected}`, async (t) => {
			const location = "location: http://127.0.0.1:1/elsewhere\r\n";
			const liar = await Liar.start(t, answers(`HTTP/1.1 ${status} X\r\n${location}content-length: 0\r\n\r\n`));
			const finding = await look(pageAt(liar.address));
			assert.equal(finding.status, expected);
			assert.match(finding.detail ?? "", new RegExp(`was answered with ${Number(status)}$`));
			if (expected === "fail") assert.equal(finding.reason, "http_status");
			await liar.closed(1);
			assert.equal(liar.connections, 1, "redirects are not followed");
		});
	}
});

describe("who lies does not pass, and is told apart from who speaks something else:", () => {
	const cases: readonly (readonly [string, string, "answered" | "alien" | "failed", string])[] = [
		["nothing at all", "", "alien", "no_answer"],
		["another protocol", "-ERR unknown command\r\n", "alien", "bad_answer"],
		["HTTP/2 frames", "\x00\x00\x12\x04\x00\x00\x00\x00\x00", "alien", "bad_answer"],
		["a version that is none", "HTTP/x.1 200 OK\r\n\r\n", "alien", "bad_answer"],
		["half a head", "HTTP/1.1 200 OK\r\ncontent-le", "failed", "broken_off"],
		["a status that is none", "HTTP/1.1 20 OK\r\n\r\n", "failed", "bad_answer"],
		["half a body", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", "failed", "broken_off"],
		["two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", "failed", "bad_answer"],
		[
			"a length and chunks",
			"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
			"failed",
			"bad_answer",
		],
		[
			"a chunk that is none",
			"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n",
			"failed",
			"broken_off",
		],
		[
			"chunks without an end",
			"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
			"failed",
			"broken_off",
		],
		["a head without end", `HTTP/1.1 200 OK\r\na: ${"x".repeat(20_000)}\r\n\r\n`, "failed", "bad_answer"],
		[
			"another protocol that nobody asked for",
			"HTTP/1.1 101 Y\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
			"failed",
			"bad_answer",
		],
		["interim answers and no answer", "HTTP/1.1 103 Y\r\n\r\n".repeat(3), "failed", "broken_off"],
		["half a document", health('{"status":"pass"', 200, 100), "failed", "broken_off"],
		[
			"a few interim answers before the answer are fine",
			`${"HTTP/1.1 102 Y\r\n\r\n".repeat(3)}${plain(200)}`,
			"answered",
			"",
		],
		["bytes behind the answer are nobody's", `${plain(200)}HTTP/1.1 500 X\r\n\r\n`, "answered", ""],
		["a body until the end of the connection is one", "HTTP/1.0 200 OK\r\n\r\nfine", "answered", ""],
	];
	for (const [name, payload, expected, reason] of cases) {
		test(name, async (t) => {
			const liar = await Liar.start(t, answers(payload));
			const page = pageAt(liar.address);
			const outcome = await askHttp(page, PARTS, new AbortController().signal);
			assert.equal(outcome.t, expected);
			const finding = judgeHttp(page, outcome);
			assert.deepEqual([finding.status, finding.reason ?? ""], [expected === "answered" ? "pass" : "fail", reason]);
			await liar.closed(1);
		});
	}
});

test("a flood of interim answers ends with the sixteenth, and so does the connection", async (t) => {
	for (const interim of ["HTTP/1.1 100 C\r\n\r\n", "HTTP/1.1 103 E\r\nlink: </a>\r\n\r\n"]) {
		const liar = await Liar.start(t, (socket) => {
			const more = (): void => {
				if (socket.writable && socket.write(interim.repeat(100))) setImmediate(more);
			};
			socket.on("drain", more);
			more();
		});
		const finding = await look(pageAt(liar.address));
		assert.deepEqual([finding.status, finding.reason], ["fail", "bad_answer"]);
		assert.match(finding.detail ?? "", /more than 16 interim answers/);
		await liar.closed(1);
	}
});

test("a body without end is read up to the bound; the status decides, and a document of that size is of no use", async (t) => {
	for (const [type, detail] of [
		["text/plain", /was answered with 200$/],
		["application/health+json", /is of no use, it is larger than 65536 bytes$/],
	] as const) {
		const liar = await Liar.start(t, (socket) => {
			socket.write(`HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\n\r\n`);
			const more = (): void => {
				if (socket.writable && socket.write("x".repeat(16_384))) setImmediate(more);
			};
			socket.on("drain", more);
			more();
		});
		const finding = await look(pageAt(liar.address));
		assert.equal(finding.status, "pass");
		assert.match(finding.detail ?? "", detail);
		await liar.closed(1);
	}
});

test("a document of the largest size is read", async (t) => {
	const document = JSON.stringify({ status: "warn", output: "x".repeat(100) });
	const liar = await Liar.start(t, answers(health(document.padEnd(HEALTH_JSON_BYTES_MAX))));
	assert.equal((await look(pageAt(liar.address))).status, "warn");
});

describe("what hangs is cut by the signal, wherever it hangs:", () => {
	const cases: readonly (readonly [string, string])[] = [
		["it accepts and says nothing", ""],
		["in the middle of the head", "HTTP/1.1 200 OK\r\ncontent-"],
		["between interim answers", "HTTP/1.1 103 Y\r\n\r\n"],
		[
			"in the middle of the body, of which one byte at a time comes",
			"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nab",
		],
		["in the middle of a document", health('{"sta', 200, 100)],
	];
	for (const [name, payload] of cases) {
		test(name, async (t) => {
			const controller = new AbortController();
			const liar = await Liar.start(t, (socket) => {
				// Cut once all that will ever come has been handed to the system.
				socket.write(payload === "" ? Buffer.alloc(0) : payload, () => setImmediate(() => controller.abort()));
			});
			const outcome = await askHttp(pageAt(liar.address), PARTS, controller.signal);
			assert.deepEqual([outcome.t, outcome.t === "failed" ? outcome.reason : ""], ["failed", "timeout"]);
			await liar.closed(1);
		});
	}

	test("and a signal that came before the question", async (t) => {
		const liar = await Liar.start(t, answers(plain(200)));
		const outcome = await askHttp(pageAt(liar.address), PARTS, AbortSignal.abort());
		assert.equal(outcome.t, "failed");
	});

	test("and while the name is being resolved", async () => {
		const controller = new AbortController();
		const lookup: LookupFunction = () => setImmediate(() => controller.abort());
		const address: Address = { kind: "tcp", host: "name.invalid", port: 1 };
		const outcome = await askHttp(pageAt(address), { ...PARTS, lookup }, controller.signal);
		assert.deepEqual([outcome.t, outcome.t === "failed" ? outcome.reason : ""], ["failed", "timeout"]);
	});
});

describe("connections that are reset:", () => {
	test("before an answer: it may be that it does not speak HTTP", async (t) => {
		const liar = await Liar.start(t, (socket) => socket.resetAndDestroy(), "connected");
		const outcome = await askHttp(pageAt(liar.address), PARTS, new AbortController().signal);
		assert.deepEqual([outcome.t, outcome.t === "alien" ? outcome.reason : ""], ["alien", "no_answer"]);
	});

	test("in the middle of an answer: it failed", async (t) => {
		const liar = await Liar.start(t, (socket) => {
			socket.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nab", () =>
				setImmediate(() => socket.resetAndDestroy()),
			);
		});
		const outcome = await askHttp(pageAt(liar.address), PARTS, new AbortController().signal);
		assert.deepEqual([outcome.t, outcome.t === "failed" ? outcome.reason : ""], ["failed", "broken_off"]);
	});
});

describe("application/health+json:", () => {
	const cases: readonly (readonly [string, number, string, string, string | undefined])[] = [
		["says pass", 200, '{"status":"up"}', "pass", undefined],
		["says warn", 200, '{"status":"warn"}', "warn", "says_warn"],
		["says fail with a 200, and means it", 200, '{"status":"DOWN","output":"no database"}', "fail", "says_fail"],
		["says pass with a 503: the status counts", 503, '{"status":"pass"}', "fail", "http_status"],
		["makes no sense: the status decides alone", 200, '{"status":"great"}', "pass", undefined],
		["makes no sense, and the status is bad", 500, "<html>", "fail", "http_status"],
	];
	for (const [name, status, body, expected, reason] of cases) {
		test(name, async (t) => {
			const liar = await Liar.start(t, answers(health(body, status)));
			const finding = await look(pageAt(liar.address));
			assert.deepEqual([finding.status, finding.reason], [expected, reason]);
		});
	}

	test("its checks become children, and what is wrong or left out is said", async (t) => {
		const checks = { "db:responseTime": [{ status: "warn", observedValue: 250, observedUnit: "ms" }], bad: [5] };
		const liar = await Liar.start(t, answers(health(JSON.stringify({ status: "warn", output: "slow", checks }))));
		const { detail, children } = await look(pageAt(liar.address));
		assert.match(detail ?? "", /was answered with 200; slow; 1 of its checks were left out$/);
		assert.deepEqual(children, [{ name: "db:responseTime", status: "warn", critical: false, detail: "250 ms" }]);
	});

	test("of another content type it is not read", async (t) => {
		const body = '{"status":"fail"}';
		const liar = await Liar.start(
			t,
			answers(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`),
		);
		assert.deepEqual((await look(pageAt(liar.address))).status, "pass");
	});
});

describe("where there is no connection, the reason is a name and the cause is in words:", () => {
	test("nobody listens", async (t) => {
		const liar = await Liar.start(t, () => {});
		await liar.stop();
		const finding = await look(pageAt(liar.address));
		assert.deepEqual([finding.status, finding.reason], ["fail", "connect_refused"]);
		assert.match(
			finding.detail ?? "",
			/^GET http:\/\/127\.0\.0\.1:\d+\/health: nobody listens there \(ECONNREFUSED\)$/,
		);
		const socket = await look(pageAt({ kind: "unix", path: "/nonexistent/app.sock" }));
		assert.equal(socket.detail, "GET unix:/nonexistent/app.sock /health: nobody listens there (ENOENT)");
	});

	for (const [code, reason] of [
		["ENOTFOUND", "name_unresolved"],
		["EAI_AGAIN", "name_unresolved"],
		["EHOSTUNREACH", "connect_failed"],
		["EMFILE", "connect_failed"],
	] as const) {
		test(code, async () => {
			const lookup: LookupFunction = (_name, _options, callback) =>
				setImmediate(() => callback(Object.assign(new Error(`${code} x`), { code }), ""));
			const page = pageAt({ kind: "tcp", host: "name.invalid", port: 80 });
			assert.equal((await httpCheck(page, { ...PARTS, lookup })(new AbortController().signal)).reason, reason);
		});
	}
});

test("an app on a Unix socket is asked there", async (t) => {
	const folder = mkdtempSync(join(tmpdir(), "check-http-"));
	const path = join(folder, "app.sock");
	const server = createHttpServer((_, response) => response.end("ok"));
	t.after(() => {
		server.close();
		rmSync(folder, { recursive: true, force: true });
	});
	server.listen(path);
	await once(server, "listening");
	assert.equal((await look(pageAt({ kind: "unix", path }))).status, "pass");
});

describe("TLS", () => {
	async function secure(t: TestContext): Promise<Address> {
		const server = createHttpsServer(selfSigned(), (_, response) => response.end("ok"));
		server.on("tlsClientError", () => {}); // a client that did not like the certificate
		server.listen(0, "127.0.0.1");
		await once(server, "listening");
		t.after(() => {
			server.closeAllConnections();
			server.close();
		});
		const bound = server.address();
		return { kind: "tcp", host: "127.0.0.1", port: typeof bound === "object" && bound !== null ? bound.port : 0 };
	}

	test("a certificate that nobody has signed is good enough within the pod, and nowhere else", async (t) => {
		const address = await secure(t);
		assert.equal((await look(pageAt(address, { isTls: true }))).status, "pass");
		const { status, reason, detail } = await look(pageAt(address, { isTls: true, isVerified: true }));
		assert.deepEqual([status, reason], ["fail", "tls_failed"]);
		assert.match(detail ?? "", /^GET https:\/\/127\.0\.0\.1:\d+\/health: no TLS with it: self.signed certificate$/);
	});

	test("who does not speak it fails", async (t) => {
		const liar = await Liar.start(t, answers(plain(400)));
		assert.equal((await look(pageAt(liar.address, { isTls: true }))).reason, "tls_failed");
	});
});

test("a URL becomes a page; its certificate is looked at unless it is the app's own or on loopback", () => {
	assert.deepEqual(pageOfUrl("http://db.shop:8080/health?full=1", false), {
		address: { kind: "tcp", host: "db.shop", port: 8080 },
		isTls: false,
		isVerified: true,
		path: "/health?full=1",
		auth: undefined,
	});
	const of = (url: string, isOwn = false) => pageOfUrl(url, isOwn);
	assert.deepEqual(of("https://user:p%40ss@[::1]").address, { kind: "tcp", host: "::1", port: 443 });
	assert.equal(of("https://user:p%40ss@[::1]").auth, "user:p@ss");
	assert.equal(of("https://100%25:%zz@a/").auth, "100%:%zz");
	assert.deepEqual(of("http://localhost").address, { kind: "tcp", host: "localhost", port: 80 });
	assert.deepEqual(
		[of("https://localhost/"), of("https://127.0.0.9/"), of("https://db/"), of("https://db/", true)].map(
			({ isVerified }) => isVerified,
		),
		[false, false, true, false],
	);
	assert.equal(renderPage(of("https://u:secret@db:1/a?token=secret")), "GET https://db:1/a");
});
