import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { ManualClock } from "../foundation/clock.ts";
import { type Logger, silentLogger } from "../foundation/logger.ts";
import { ManualScheduler } from "../foundation/scheduler.ts";
import { ask, RawClient, startServer, Waiter } from "./contract.fixture.ts";
import { ApiError, type ErrorCode, type Method, STATUS_OF_CODE } from "./method.ts";
import type { ContractServer } from "./server.ts";

const path = "/outrigger.v1.Test/Echo";
const echo: Method = { path, handle: (input) => ({ input }) };

function countersOf(server: ContractServer): Record<string, number> {
	const values: Record<string, number> = {};
	for (const { name, read } of server.pulledMetrics) {
		read((labels, value) => {
			const label =
				labels["outcome"] ?? (labels["method"] === undefined ? name : `${labels["method"]} ${labels["code"]}`);
			values[label] = value;
		});
	}
	return values;
}

/** Until `holds` does, a turn of the event loop at a time. */
async function until(holds: () => boolean): Promise<void> {
	while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}

describe("a call", () => {
	test("is answered in Connect's unary JSON protocol, with the epoch", async (t) => {
		const { port, server } = await startServer(t, [echo]);
		const { status, headers, json } = await ask({
			port,
			path,
			body: '{"a":{"b":[1,null,"ü"]}}',
			headers: { "connect-protocol-version": "1", "content-type": "application/json; charset=utf-8" },
		});
		assert.equal(status, 200);
		assert.equal(headers["content-type"], "application/json");
		assert.equal(headers["cache-control"], "no-store");
		assert.equal(headers["access-control-allow-origin"], undefined);
		assert.deepEqual(json, { epoch: "epoch-1", input: { a: { b: [1, null, "ü"] } } });
		assert.equal(countersOf(server)["Test/Echo ok"], 1);
	});

	test("may follow another on the same connection, also after one that was refused", async (t) => {
		const { port, server } = await startServer(t, [echo]);
		const client = new RawClient(t, port);
		client.call(path, '{"n":1}');
		await client.until('"n":1}}\n');
		client.call("/outrigger.v1.Test/None");
		await client.until("unimplemented");
		client.call(path, "[]");
		await client.until("is not an object");
		client.call(path, '{"n":2}');
		await client.until('"n":2}}\n');
		assert.equal(countersOf(server)["outrigger_api_connections"], 1);
	});

	test("may come in chunks and in any pieces", async (t) => {
		const { port } = await startServer(t, [echo]);
		const client = new RawClient(t, port);
		const head = `POST ${path} HTTP/1.1\r\nHOST: LOCALHOST\r\nContent-Type: Application/JSON\r\ntransfer-encoding: chunked\r\n\r\n`;
		for (const piece of [...head, "2\r\n{}\r\n0\r\n\r\n"]) client.socket.write(piece);
		await client.until('{"epoch":"epoch-1","input":{}}\n');
	});

	test("ends with each code of the protocol, and its status", async (t) => {
		const fails: Method = {
			path,
			handle: (input) => {
				throw new ApiError(input["code"] as ErrorCode, "for people"); // one of the table below
			},
		};
		const { port } = await startServer(t, [fails]);
		for (const [code, status] of Object.entries(STATUS_OF_CODE)) {
			const answer = await ask({ port, path, body: JSON.stringify({ code }) });
			assert.equal(answer.status, status, code);
			assert.deepEqual(answer.json, { code, message: "for people" });
		}
		// https://connectrpc.com/docs/protocol/#error-codes
		const { failed_precondition, unimplemented, deadline_exceeded, canceled } = STATUS_OF_CODE;
		assert.deepEqual([failed_precondition, unimplemented, deadline_exceeded, canceled], [400, 501, 504, 499]);
	});

	test("that meets a mistake of ours is `internal` without details, logged, and others go on", async (t) => {
		const said: unknown[] = [];
		const log: Logger = { ...silentLogger, error: (_, fields) => said.push(fields?.["method"]) };
		const broken: Method = {
			path: "/outrigger.v1.Test/Broken",
			handle: async () => {
				throw new TypeError("secret");
			},
		};
		const sync: Method = {
			path: "/outrigger.v1.Test/Sync",
			handle: () => {
				throw new TypeError("secret");
			},
		};
		const { port, server } = await startServer(t, [echo, broken, sync], { log });
		for (const method of [broken, sync]) {
			const { status, json, text } = await ask({ port, path: method.path });
			assert.deepEqual([status, json["code"]], [500, "internal"]);
			assert.ok(!text.includes("secret"));
		}
		assert.deepEqual(said, ["Test/Broken", "Test/Sync"]);
		assert.equal((await ask({ port, path })).status, 200);
		assert.equal(countersOf(server)["Test/Broken internal"], 1);
	});
});

describe("a request that is no call", () => {
	test("of a method that is not there is a 404, and paths are compared as they came", async (t) => {
		const { port, server } = await startServer(t, [echo]);
		for (const wrong of [
			"/outrigger.v1.Test/None",
			"/outrigger.v1.Test/Echo/",
			"/outrigger.v1.Test//Echo",
			"//outrigger.v1.Test/Echo",
			"/outrigger.v1.test/echo",
			"/x/../outrigger.v1.Test/Echo",
			"/outrigger.v1.Test/./Echo",
			"/outrigger.v1.Test%2FEcho",
			"/outrigger.v1.Test/%45cho",
			"/outrigger.v1.Test/Echo%00",
			"/outrigger.v1.Test/Echo;x=1",
			"/__proto__",
		]) {
			const { status, json } = await ask({ port, path: wrong });
			assert.deepEqual([status, json["code"]], [404, "unimplemented"], wrong);
		}
		assert.equal((await ask({ port, path: `${path}?encoding=json` })).status, 200, "a query means nothing");
		assert.equal(countersOf(server)[" unimplemented"], 12);
	});

	test("by another method changes nothing: GET, HEAD, OPTIONS and all others are refused, the root with a hint", async (t) => {
		const { port } = await startServer(t, [echo]);
		const root = await ask({ port, path: "/", method: "GET" });
		assert.equal(root.status, 404);
		assert.match(String(root.json["message"]), /curl -X POST .*Agent\/GetInfo/);
		for (const method of ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "post"]) {
			const client = new RawClient(t, port);
			client.socket.write(
				`${method} ${path} HTTP/1.1\r\nhost: localhost\r\norigin: http://localhost\r\naccess-control-request-method: POST\r\nconnection: close\r\n\r\n`,
			);
			await client.closed;
			if (method === "post") assert.match(client.text, /^HTTP\/1\.1 400 /, "methods are case-sensitive");
			else assert.match(client.text, /^HTTP\/1\.1 405 [\s\S]*\r\nallow: POST\r\n/, method);
			assert.doesNotMatch(client.text, /access-control/i);
			if (method === "HEAD") assert.match(client.text, /\r\n\r\n$/);
		}
	});

	test("in absolute form, for all of the server, or as a tunnel is refused", async (t) => {
		const { port } = await startServer(t, [echo]);
		for (const [target, answer] of [
			[`POST http://localhost${path}`, /^HTTP\/1\.1 400 /],
			[`POST http://evil.example${path}`, /^HTTP\/1\.1 400 /],
			["OPTIONS *", /^HTTP\/1\.1 400 /],
			["CONNECT localhost:9802", /^$/],
		] as const) {
			const client = new RawClient(t, port);
			client.socket.write(
				`${target} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}`,
			);
			await client.closed;
			assert.match(client.text, answer, target);
		}
	});

	test("from a page of another site is refused, whatever it tries", async (t) => {
		const { port } = await startServer(t, [echo]);
		const status = async (headers: Readonly<Record<string, string | readonly string[]>>): Promise<number> =>
			(await ask({ port, path, headers })).status;
		assert.equal(await status({ host: "rebound.example:9802" }), 403);
		assert.equal(await status({ host: "localhost.:9802" }), 403);
		assert.equal(await status({ origin: "https://evil.example" }), 403);
		assert.equal(await status({ origin: "null" }), 403);
		assert.equal(await status({ origin: `http://127.0.0.1:${port}` }), 200);
		// What a page may send without asking first (Fetch standard, CORS-safelisted content types), and what looks like JSON.
		for (const type of [
			"text/plain",
			"text/plain; application/json",
			"application/x-www-form-urlencoded",
			"multipart/form-data; boundary=application/json",
			"application/json, text/plain",
			"application/jsonp",
			"application/json; charset=utf-16",
			"application/json; x=y",
			"application/proto",
			"application/connect+json",
			"application/grpc",
			"application/grpc-web+json",
			"application/grpc+proto",
			"",
		]) {
			const answer = await ask({ port, path, headers: { "content-type": type } });
			assert.equal(answer.status, 415, type);
			assert.equal(answer.headers["accept-post"], "application/json");
		}
	});

	test("without a Host, with two, with two origins or two content types is refused", async (t) => {
		const { port } = await startServer(t, [echo]);
		const json = "content-type: application/json\r\n";
		for (const [fields, status] of [
			[json, 400],
			[`host: localhost\r\nhost: localhost\r\n${json}`, 400],
			[`host: localhost\r\nhost: evil.example\r\n${json}`, 400],
			[`host: evil.example\r\nhost: localhost\r\n${json}`, 400],
			[`host: localhost\r\norigin: http://localhost\r\norigin: http://evil.example\r\n${json}`, 403],
			[`host: localhost\r\n${json}content-type: text/plain\r\n`, 415],
			[`host: localhost\r\ncontent-type: text/plain\r\n${json}`, 415],
			["host: localhost\r\n", 415],
			[`host: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n${json}`, 200],
		] as const) {
			for (const version of ["1.1", "1.0"]) {
				const client = new RawClient(t, port);
				client.socket.write(`POST ${path} HTTP/${version}\r\n${fields}content-length: 2\r\n\r\n{}`);
				await client.until("}\n");
				assert.ok(client.text.startsWith(`HTTP/1.1 ${status} `), `${fields} ${client.text}`);
			}
		}
	});

	test("in another protocol version, compressed, or with a time that is no number is refused", async (t) => {
		const { port } = await startServer(t, [echo]);
		for (const [headers, status, message] of [
			[{ "connect-protocol-version": "2" }, 400, /connect-protocol-version/],
			[{ "content-encoding": "gzip" }, 501, /compressed/],
			[{ "connect-timeout-ms": "-1" }, 400, /connect-timeout-ms/],
			[{ "connect-timeout-ms": "12345678901" }, 400, /connect-timeout-ms/],
			[{ "connect-timeout-ms": "1e3" }, 400, /connect-timeout-ms/],
			[{ "connect-timeout-ms": "9999999999" }, 200, /undefined/],
			[{ "content-encoding": "identity" }, 200, /undefined/],
		] as const) {
			const answer = await ask({ port, path, headers });
			assert.equal(answer.status, status, JSON.stringify(headers));
			assert.match(String(answer.json["message"]), message);
		}
	});

	test("without JSON in UTF-8 is refused", async (t) => {
		const { port } = await startServer(t, [echo]);
		for (const [body, message] of [
			["", /send \{\}/],
			["{", /not JSON/],
			["{}x", /not JSON/],
			["NaN", /not JSON/],
			[Buffer.from('{"a":"\xff"}', "latin1"), /not JSON/],
			["[]", /not an object/],
			["null", /not an object/],
			['"x"', /not an object/],
			["[".repeat(60_000), /not JSON/],
		] as const) {
			const { status, json } = await ask({ port, path, body });
			assert.deepEqual([status, json["code"]], [400, "invalid_argument"]);
			assert.match(String(json["message"]), message);
		}
		assert.equal((await ask({ port, path, body: '{"__proto__":{"a":1}}' })).status, 200);
	});

	test("larger than it may be is refused, and the refusal arrives", async (t) => {
		const { port } = await startServer(t, [echo]);
		const largest = `{"a":"${"x".repeat(65_536 - 8)}"}`;
		assert.equal((await ask({ port, path, body: largest })).status, 200);
		for (const bytes of [65_537, 900_000]) {
			const { status, json } = await ask({ port, path, body: " ".repeat(bytes) });
			assert.deepEqual([status, json["code"]], [429, "resource_exhausted"]);
		}
		const client = new RawClient(t, port);
		client.socket.write(
			`POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 999999999999\r\n\r\n`,
		);
		const block = Buffer.alloc(65_536, " ");
		const write = (): void => {
			while (client.socket.write(block)); // until the kernel has enough
		};
		client.socket.on("drain", write);
		write();
		await client.closed; // nobody reads for ever
	});

	test("in bytes that are none, with a head that is too long or never comes, is told so", async (t) => {
		const { port } = await startServer(t, [echo], { timeouts: { requestMs: 100, idleMs: 100, writeMs: 100 } });
		for (const [bytes, status] of [
			["nonsense\r\n\r\n", 400],
			["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400],
			[`POST / HTTP/1.1\r\nx: ${"y".repeat(20_000)}\r\n\r\n`, 431],
			["POST / HTTP/1.1\r\n", 408],
			[
				`POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 5\r\n\r\n{}`,
				408,
			],
		] as const) {
			const client = new RawClient(t, port);
			client.socket.write(bytes);
			await client.closed;
			assert.ok(client.text.startsWith(`HTTP/1.1 ${status} `), client.text);
			assert.match(client.text, /"code":"invalid_argument"/);
		}
		const silent = new RawClient(t, port);
		await silent.closed;
		const expecting = new RawClient(t, port);
		expecting.socket.write(
			`POST ${path} HTTP/1.1\r\nhost: localhost\r\nexpect: nonsense\r\ncontent-length: 2\r\n\r\n{}`,
		);
		await expecting.closed;
		assert.match(expecting.text, /^HTTP\/1\.1 417 /);
	});
});

describe("a call that waits", () => {
	test("is answered when there is an answer", async (t) => {
		const waiter = new Waiter();
		const { port } = await startServer(t, [waiter.method]);
		const arrived = waiter.next();
		const answer = ask({ port, path: waiter.path });
		await arrived;
		waiter.answerAll({ done: true });
		assert.deepEqual((await answer).json, { epoch: "epoch-1", done: true });
	});

	test("ends when its caller goes away, also by closing only its half", async (t) => {
		const waiter = new Waiter();
		const { port, server } = await startServer(t, [waiter.method]);
		for (const leave of ["destroy", "end"] as const) {
			const client = new RawClient(t, port);
			const arrived = waiter.next();
			client.call(waiter.path);
			await arrived;
			const abandoned = waiter.nextAbandoned();
			client.socket[leave]();
			await abandoned;
			assert.equal(waiter.waiting, 0);
			await until(() => countersOf(server)["outrigger_api_connections"] === 0);
		}
		await until(() => countersOf(server)["Test/Wait canceled"] === 2);
	});

	test("ends when the caller's own time is over", async (t) => {
		const scheduler = new ManualScheduler();
		const waiter = new Waiter();
		const { port } = await startServer(t, [waiter.method], { scheduler, clock: scheduler.clock });
		const arrived = waiter.next();
		const answer = ask({ port, path: waiter.path, headers: { "connect-timeout-ms": "1500" } });
		await arrived;
		scheduler.advance(1_499);
		assert.equal(waiter.waiting, 1);
		scheduler.advance(1);
		assert.equal(waiter.waiting, 0);
		const { status, json } = await answer;
		assert.deepEqual([status, json["code"]], [504, "deadline_exceeded"]);
		await until(() => scheduler.pending === 0);
	});

	test("is told when the agent stops, and no answer is cut", async (t) => {
		const waiter = new Waiter();
		const { port, server } = await startServer(t, [waiter.method]);
		const arrived = waiter.next();
		const answer = ask({ port, path: waiter.path });
		await arrived;
		await server.stop();
		const { status, json, headers } = await answer;
		assert.deepEqual([status, json["code"], headers.connection], [503, "unavailable", "close"]);
		assert.equal(waiter.abandoned, 1);
	});

	test("takes no more than its share of the connections, so that a drain always gets through", async (t) => {
		const waiter = new Waiter();
		const { port, server } = await startServer(t, [waiter.method, echo], { connectionsMax: 8 });
		const clients: RawClient[] = [];
		for (let i = 0; i < 6; i++) {
			const client = new RawClient(t, port);
			const arrived = waiter.next();
			client.call(waiter.path);
			await arrived;
			clients.push(client);
		}
		const { status, json } = await ask({ port, path: waiter.path, headers: { connection: "close" } });
		assert.deepEqual([status, json["code"]], [429, "resource_exhausted"]);
		for (let i = 0; i < 10; i++) assert.equal((await ask({ port, path })).status, 200);
		assert.ok(clients.every(({ socket }) => !socket.destroyed));
		assert.equal(waiter.waiting, 6);
		assert.equal(countersOf(server)["refused"], 0);
	});
});

describe("connections", () => {
	test("that have no call give way to a new one, the one without a call for longest first", async (t) => {
		const clock = new ManualClock();
		const { port, server } = await startServer(t, [echo], { connectionsMax: 2, clock });
		const first = new RawClient(t, port);
		first.call(path);
		await first.until("{}}\n");
		clock.advance(1_000);
		const second = new RawClient(t, port);
		second.socket.write(`POST ${path} HTTP/1.1\r\n`);
		await until(() => countersOf(server)["outrigger_api_connections"] === 2);
		assert.equal((await ask({ port, path, headers: { connection: "close" } })).status, 200);
		await first.closed;
		assert.equal(second.socket.destroyed, false);
		assert.equal(countersOf(server)["replaced"], 1);
	});

	test("that all have a call stay, and the new one is closed", async (t) => {
		const { promise, resolve } = Promise.withResolvers<object>();
		let calls = 0;
		const busy: Method = {
			path,
			handle: () => {
				calls++;
				return promise;
			},
		};
		const { port, server } = await startServer(t, [busy], { connectionsMax: 2 });
		const answers = [ask({ port, path }), ask({ port, path })];
		await until(() => calls === 2);
		const refused = new RawClient(t, port);
		await refused.closed;
		assert.equal(refused.text, "");
		assert.equal(countersOf(server)["refused"], 1);
		resolve({});
		for (const answer of answers) assert.equal((await answer).status, 200);
	});

	test("that pipeline are closed", async (t) => {
		const waiter = new Waiter();
		const { port, server } = await startServer(t, [waiter.method]);
		const client = new RawClient(t, port);
		const arrived = waiter.next();
		client.call(waiter.path);
		await arrived;
		client.call(waiter.path);
		await client.closed;
		assert.equal(client.text, "");
		await until(() => countersOf(server)["outrigger_api_connections"] === 0);
		assert.equal(waiter.waiting, 0);
	});

	test("that do not take their answer are let go", async (t) => {
		const large: Method = { path, handle: () => ({ text: "x".repeat(20_000_000) }) };
		const scheduler = new ManualScheduler();
		const { port, server } = await startServer(t, [large], { scheduler, clock: scheduler.clock });
		const client = new RawClient(t, port);
		client.socket.pause();
		client.call(path);
		await until(() => scheduler.pending === 1);
		scheduler.advance(10_000);
		await until(() => countersOf(server)["outrigger_api_connections"] === 0);
		assert.equal(scheduler.pending, 0);
	});
});

describe("the server", () => {
	test("on a port that is taken fails the start; stopping is safe without it, and twice", async (t) => {
		const { port, server } = await startServer(t, [echo]);
		await assert.rejects(startServer(t, [echo], { listen: { kind: "tcp", host: "127.0.0.1", port } }), {
			code: "EADDRINUSE",
		});
		const client = new RawClient(t, port);
		client.call(path);
		await client.until("{}}\n");
		await server.stop();
		await server.stop();
		await client.closed;
		assert.equal(server.address, undefined);
	});

	test("on a Unix socket is for its owner and the owner's group, and takes the place of one that was killed", async (t) => {
		const folder = mkdtempSync(join(tmpdir(), "outrigger-api-"));
		t.after(() => rmSync(folder, { recursive: true }));
		const socketPath = join(folder, "api.sock");
		spawnSync(process.execPath, [
			"-e",
			`require("node:net").createServer().listen(${JSON.stringify(socketPath)}, () => process.kill(process.pid, "SIGKILL"))`,
		]);
		assert.ok(existsSync(socketPath));
		const before = process.umask();
		for (const umask of [0, 0o777, before]) {
			process.umask(umask);
			const { server } = await startServer(t, [echo], { listen: { kind: "unix", path: socketPath } }).finally(() =>
				process.umask(before),
			);
			assert.equal(statSync(socketPath).mode & 0o777, 0o660);
			assert.equal(server.address, undefined);
			const { json } = await ask({ socketPath, path, headers: { host: "localhost" } });
			assert.deepEqual(json, { epoch: "epoch-1", input: {} });
			assert.equal((await ask({ socketPath, path, headers: { host: "evil.example" } })).status, 403);
			await server.stop();
			assert.ok(!existsSync(socketPath));
		}
		writeFileSync(socketPath, "");
		await assert.rejects(startServer(t, [echo], { listen: { kind: "unix", path: socketPath } }), {
			code: "EADDRINUSE",
		});
		assert.ok(existsSync(socketPath), "a file of somebody else stays");
		assert.equal(process.umask(), before);
	});

	test("leaves no timer, listener or socket behind", async (t) => {
		const scheduler = new ManualScheduler();
		const { port, server } = await startServer(t, [echo], { scheduler, clock: scheduler.clock });
		assert.equal((await ask({ port, path, headers: { "connect-timeout-ms": "5000" } })).status, 200);
		await server.stop();
		assert.equal(scheduler.pending, 0);
		const late = connect(port, "127.0.0.1");
		await assert.rejects(new Promise((resolve, reject) => late.once("connect", resolve).once("error", reject)), {
			code: "ECONNREFUSED",
		});
	});
});
