import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { startServer, Waiter } from "../contract/contract.fixture.ts";
import { ApiError, type Method } from "../contract/method.ts";
import { callAgent, findAgent, placeOf } from "./api-client.ts";
import { UsageError } from "./command.ts";
import { argsOf, Said } from "./said.fixture.ts";

const path = "/outrigger.v1.Test/Echo";
const echo: Method = { path, handle: (input, call) => ({ input, userAgent: call.userAgent }) };
const soon = { timeoutMs: 20_000 };

/** Something that listens and does what `onConnection` says. */
async function listening(t: TestContext, onConnection: (socket: Socket) => void): Promise<string> {
	const server = createServer((socket) => {
		socket.on("error", () => undefined);
		t.after(() => socket.destroy());
		onConnection(socket);
	});
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	t.after(() => server.close());
	const address = server.address();
	return `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
}

describe("where the agent is", () => {
	const find = async (
		values: Readonly<Record<string, string>>,
		env: Readonly<Record<string, string>>,
	): Promise<string> =>
		(await findAgent(argsOf(values), new Said({ env: { OUTRIGGER_CONFIG: "/none", ...env } }).io)).url;

	test("the flag says before the variable, that before the key, and all before the default", async () => {
		const env = { OUTRIGGER_AGENT_URL: "http://127.0.0.1:1", OUTRIGGER_API__LISTEN: "127.0.0.1:2" };
		assert.equal(await find({ url: "http://127.0.0.1:3" }, env), "http://127.0.0.1:3");
		assert.equal(await find({}, env), "http://127.0.0.1:1");
		assert.equal(await find({}, { ...env, OUTRIGGER_AGENT_URL: "" }), "http://127.0.0.1:2");
		assert.equal(await find({}, {}), "http://127.0.0.1:9802");
		assert.equal(await find({}, { OUTRIGGER_CONFIG: "" }), "http://127.0.0.1:9802");
	});

	test("the configuration's file says it when it speaks of the API", async (t) => {
		const folder = mkdtempSync(join(tmpdir(), "outrigger-client-"));
		t.after(() => rmSync(folder, { recursive: true }));
		const said = new Said({ env: { OUTRIGGER_CONFIG: "o.yaml" }, cwd: folder });
		const at = async (text: string): Promise<string> => {
			writeFileSync(join(folder, "o.yaml"), text);
			return (await findAgent(argsOf({}), said.io)).url;
		};
		assert.equal(await at("api: { listen: 'unix:/run/o.sock' }\n"), "unix:/run/o.sock");
		assert.equal(await at("api: { listen: '[::1]:9999' }\n"), "http://[::1]:9999");
		assert.equal(await at("log: { level: warn }\n"), "http://127.0.0.1:9802");
		assert.equal(await at("# api: none\nlog: { level: warn }\n"), "http://127.0.0.1:9802");
		assert.equal(await at('{"log": {"level": "warn"}, "api": {"listen": "127.0.0.1:9000"}}'), "http://127.0.0.1:9000");
		assert.equal(said.err, "");
		assert.equal(await at("api: { lisen: 1 }\n"), "http://127.0.0.1:9802");
		assert.match(said.err, /^outrigger: .*o\.yaml has problems \(outrigger config check tells them\), so http:\/\/127/);
		assert.equal(await at(`api: {}\n${"#".repeat(300_000)}`), "http://127.0.0.1:9802", "too large to be one");
	});

	test("is written as a URL, as host and port, or as a Unix socket", () => {
		for (const [text, url, host] of [
			["http://127.0.0.1:9802", "http://127.0.0.1:9802", "127.0.0.1:9802"],
			["HTTP://LocalHost:9802/", "http://LocalHost:9802", "LocalHost:9802"],
			["http://[::1]:9802", "http://[::1]:9802", "[::1]:9802"],
			["http://agent.test", "http://agent.test:80", "agent.test:80"],
			["localhost:9802", "http://localhost:9802", "localhost:9802"],
			["[::1]:9802", "http://[::1]:9802", "[::1]:9802"],
			["unix:/run/o.sock", "unix:/run/o.sock", "localhost"],
			["unix:///run/o.sock", "unix:/run/o.sock", "localhost"],
		] as const) {
			const place = placeOf(text, "--url");
			assert.deepEqual([place.url, place.host], [url, host], text);
		}
		assert.deepEqual(placeOf("http://[::1]:1", "x").address, { host: "::1", port: 1 });
		for (const text of [
			"9802",
			"localhost",
			"http://",
			"http://localhost:0",
			"http://localhost:65536",
			"http://user@localhost:1",
			"http://localhost:1/path",
			"http://localhost:1?x",
			"ftp://localhost:1",
			"unix:run/o.sock",
			"http://localhost:1\r\nx: y",
		]) {
			assert.throws(
				() => placeOf(text, "--url"),
				new UsageError(`--url: ${text} is no place of an agent; write http://127.0.0.1:9802 or unix:/path`),
			);
		}
		assert.throws(
			() => placeOf("https://localhost:1", "OUTRIGGER_AGENT_URL"),
			/OUTRIGGER_AGENT_URL: .*speaks plain HTTP/,
		);
	});
});

describe("a call", () => {
	test("brings the answer, over TCP and over a Unix socket", async (t) => {
		const { port } = await startServer(t, [echo]);
		const folder = mkdtempSync(join(tmpdir(), "outrigger-client-"));
		t.after(() => rmSync(folder, { recursive: true }));
		const socketPath = join(folder, "api.sock");
		await startServer(t, [echo], { listen: { kind: "unix", path: socketPath } });
		for (const url of [`http://127.0.0.1:${port}`, `unix:${socketPath}`]) {
			const outcome = await callAgent(placeOf(url, "x"), path, { a: "ü" }, soon);
			assert.ok(outcome.ok);
			assert.deepEqual(outcome.answer["input"], { a: "ü" });
			assert.match(String(outcome.answer["userAgent"]), /^outrigger\/[0-9]/);
		}
	});

	test("that the agent refuses is told in its words", async (t) => {
		const refuses: Method = {
			path,
			handle: () => {
				throw new ApiError("failed_precondition", "not now");
			},
		};
		const { port } = await startServer(t, [refuses]);
		const url = `http://127.0.0.1:${port}`;
		assert.deepEqual(await callAgent(placeOf(url, "x"), path, {}, soon), {
			ok: false,
			kind: "refused",
			message: `the agent at ${url} says failed_precondition: not now`,
		});
	});

	test("to where nobody listens says so, and what to look at", async (t) => {
		const url = await listening(t, () => undefined);
		const { port: taken } = new URL(url);
		const { port, server } = await startServer(t, [echo]);
		await server.stop();
		const closed = await callAgent(placeOf(`127.0.0.1:${port}`, "x"), path, {}, soon);
		assert.deepEqual(closed, {
			ok: false,
			kind: "unreachable",
			message: `no agent listens at http://127.0.0.1:${port} (ECONNREFUSED); is it running there? --url says where it is`,
		});
		const none = await callAgent(placeOf("unix:/none/api.sock", "x"), path, {}, soon);
		assert.match(none.ok ? "" : none.message, /^no agent listens at unix:\/none\/api\.sock \(ENOENT\)/);
		const unknown = await callAgent(placeOf(`name.invalid:${taken}`, "x"), path, {}, soon);
		assert.match(unknown.ok ? "" : unknown.message, /^the host of http:\/\/name\.invalid:[0-9]+ is not known \(E/);
	});

	test("that is not answered ends when its time is over, or when nobody waits for it any longer", async (t) => {
		const url = await listening(t, () => undefined);
		assert.deepEqual(await callAgent(placeOf(url, "x"), path, {}, { timeoutMs: 20 }), {
			ok: false,
			kind: "lost",
			message: `the agent at ${url}: no answer within 20 ms`,
		});
		const waiter = new Waiter();
		const { port } = await startServer(t, [waiter.method]);
		const controller = new AbortController();
		const arrived = waiter.next();
		const call = callAgent(placeOf(`127.0.0.1:${port}`, "x"), waiter.path, {}, { ...soon, signal: controller.signal });
		await arrived;
		controller.abort();
		assert.equal((await call).ok, false);
		const late = await callAgent(placeOf(url, "x"), path, {}, { ...soon, signal: controller.signal });
		assert.match(late.ok ? "" : late.message, /not waited for any longer$/);
	});

	test("that breaks off, or is answered by something else, says what was there", async (t) => {
		const answers = (text: string): Promise<string> =>
			listening(t, (socket) => {
				socket.once("data", () => socket.end(text));
			});
		const json = "content-type: application/json\r\n";
		for (const [text, kind, message] of [
			["", "lost", /it closed the connection before its answer was whole$/],
			[`HTTP/1.1 200 OK\r\n${json}content-length: 9\r\n\r\n{`, "lost", /before its answer was whole$/],
			["220 mail.example ESMTP\r\n\r\n", "lost", /it does not speak HTTP\/1\.1$/],
			[
				"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n<p>",
				"strange",
				/is no Outrigger agent \(HTTP 200, text\/html\)$/,
			],
			["HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "strange", /is no Outrigger agent \(HTTP 404\)$/],
			[`HTTP/1.1 200 OK\r\n${json}\r\n{"a":1}`, "strange", /\(HTTP 200, application\/json\)$/],
			[`HTTP/1.1 200 OK\r\n${json}\r\n{"a"`, "strange", /\(HTTP 200, application\/json\)$/],
			[`HTTP/1.1 200 OK\r\n${json}\r\n[1]`, "strange", /\(HTTP 200, application\/json\)$/],
			[`HTTP/1.1 500 Oops\r\n${json}\r\n{"error":1}`, "strange", /\(HTTP 500, application\/json\)$/],
		] as const) {
			const outcome = await callAgent(placeOf(await answers(text), "x"), path, {}, soon);
			assert.ok(!outcome.ok);
			assert.equal(outcome.kind, kind, text);
			assert.match(outcome.message, message);
		}
		const resets = await listening(t, (socket) => {
			socket.once("data", () => socket.resetAndDestroy());
		});
		const reset = await callAgent(placeOf(resets, "x"), path, {}, soon);
		assert.match(reset.ok ? "" : reset.message, /the connection broke \(ECONNRESET\)$/);
	});
});
