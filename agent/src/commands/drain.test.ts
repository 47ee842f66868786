import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { API_METHODS } from "@outrigger/contract";
import { startServer } from "../contract/contract.fixture.ts";
import type { Method } from "../contract/method.ts";
import type { JsonObject } from "../foundation/json-object.ts";
import { runDrain } from "./drain.ts";
import { argsOf, Said, type } from "./said.fixture.ts";

const REPORT = { summary: "nothing was cut", startedBy: "command", ended: "idle", cut: 0, left: 0, drainedMs: 1_234 };

/** An agent that begins a drain, and ends it when it is told to. */
class FakeAgent {
	readonly asked: JsonObject[] = [];
	readonly userAgents: string[] = [];
	report: JsonObject | undefined;
	readonly #waiting: (() => void)[] = [];
	readonly #arrived: (() => void)[] = [];
	#hasBegun = false;

	get method(): Method {
		return {
			path: API_METHODS.drain,
			handle: async (input, call) => {
				this.asked.push(input);
				this.userAgents.push(call.userAgent);
				const begun = !this.#hasBegun;
				this.#hasBegun = true;
				if (input["wait"] === true && this.report === undefined) {
					await new Promise<void>((resolve) => {
						this.#waiting.push(resolve);
						for (const tell of this.#arrived.splice(0)) tell();
					});
				}
				return {
					state: "announcing",
					begun,
					deadline: "2030-01-01T00:00:00.000Z",
					remaining: "18s",
					report: this.report,
				};
			},
		};
	}

	/** Resolves when somebody waits for the end. */
	waitedFor(): Promise<void> {
		return new Promise((resolve) => this.#arrived.push(resolve));
	}

	end(report: JsonObject): void {
		this.report = report;
		for (const tell of this.#waiting.splice(0)) tell();
	}
}

async function fixture(t: TestContext) {
	const agent = new FakeAgent();
	const { port, server } = await startServer(t, [agent.method]);
	const said = new Said({ env: { OUTRIGGER_AGENT_URL: `http://127.0.0.1:${port}` } });
	return { agent, said, server, port };
}

/** Where a server of the test listens. */
async function listening(t: TestContext, server: Server): Promise<Said> {
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	t.after(() => server.close());
	const bound = server.address();
	assert.ok(typeof bound === "object" && bound !== null);
	return new Said({ env: { OUTRIGGER_AGENT_URL: `http://127.0.0.1:${bound.port}` } });
}

describe("outrigger drain", () => {
	test("returns as soon as the drain has begun", async (t) => {
		const { agent, said } = await fixture(t);
		assert.equal(await type(said, "drain", "--reason", "node goes\naway"), 0);
		assert.deepEqual(agent.asked, [{ reason: "node goes away" }]);
		assert.match(agent.userAgents[0] ?? "", /^outrigger\//);
		assert.deepEqual([said.out, said.err], ["The drain has begun, and will be over within 18 s (announcing).\n", ""]);
	});

	test("joins a drain that has begun, and says so", async (t) => {
		const { agent, said } = await fixture(t);
		await type(said, "drain");
		said.out = "";
		assert.equal(await type(said, "drain"), 0);
		assert.equal(said.out, "The drain had begun before, and will be over within 18 s (announcing).\n");
		agent.end({ ...REPORT, cut: 3 });
		said.out = "";
		assert.equal(await type(said, "drain"), 0, "what was cut is only looked at by who waits");
		assert.match(said.out, /^The drain is over; nothing was cut\.\n\nREPORT +VALUE\nstartedBy +command\n/);
	});

	test("--wait prints the report, and ends with 3 when something was cut or left to be cut", async (t) => {
		for (const [changes, code] of [
			[{}, 0],
			[{ cut: 1 }, 3],
			[{ left: 2 }, 3],
		] as const) {
			const { agent, said } = await fixture(t);
			const waited = agent.waitedFor();
			const running = type(said, "drain", "--wait");
			await waited;
			assert.equal(said.err, "The drain has begun, and will be over within 18 s (announcing).\n");
			assert.equal(said.out, "");
			agent.end({ ...REPORT, ...changes });
			assert.equal(await running, code);
			assert.match(said.out, /^The drain is over; nothing was cut\.\n\n[\s\S]*^drainedMs +1234$/m);
		}
	});

	test("--wait on a drain that is over prints its report at once", async (t) => {
		const { agent, said } = await fixture(t);
		agent.end({ ...REPORT, cut: 1 });
		assert.equal(await type(said, "drain", "-w", "-o", "json"), 3);
		assert.equal(JSON.parse(said.out).report.cut, 1);
		assert.equal(said.err, "");
	});

	test("-o json prints the agent's answer", async (t) => {
		const { said } = await fixture(t);
		assert.equal(await type(said, "drain", "-o", "json"), 0);
		const { epoch, begun, remaining } = JSON.parse(said.out);
		assert.deepEqual([epoch, begun, remaining], ["epoch-1", true, "18s"]);
	});

	test("an agent that is not there, or goes away, is one line and code 1", async (t) => {
		const { agent, said, server } = await fixture(t);
		const waited = agent.waitedFor();
		const running = type(said, "drain", "--wait");
		await waited;
		await server.stop();
		assert.equal(await running, 1);
		assert.match(
			said.err,
			/\noutrigger drain: the drain has begun, but its report did not come: the agent at .* says unavailable: the agent stops\n$/,
		);
		said.err = "";
		assert.equal(await runDrain(argsOf({}), said.io, { withinMs: 150, retryMs: 10 }), 1);
		assert.match(said.err, /^outrigger drain: no agent listens at http:.*\n$/);
		assert.equal(said.out, "");
	});

	test("an agent that listens only later is found, and a person is told that it is looked for", async (t) => {
		const folder = mkdtempSync(join(tmpdir(), "drain-"));
		t.after(() => rmSync(folder, { recursive: true, force: true }));
		const path = join(folder, "api.sock");
		const said = new Said({ env: { OUTRIGGER_AGENT_URL: `unix:${path}` }, columns: 80 });
		const running = type(said, "drain");
		await Promise.race([running, said.until(() => said.err !== "")]);
		const agent = new FakeAgent();
		await startServer(t, [agent.method], { listen: { kind: "unix", path } });
		assert.equal(await running, 0);
		assert.match(said.err, /^no agent listens at unix:.*\(ENOENT\).*; trying again for up to 10 s\n$/);
		assert.match(said.out, /^The drain has begun/);
		assert.equal(agent.asked.length, 1);
	});

	test("a connection that is reset before the answer is followed by another", async (t) => {
		const { agent, port } = await fixture(t);
		let connections = 0;
		const server = createServer((socket) => {
			connections += 1;
			if (connections === 1) socket.resetAndDestroy();
			else socket.pipe(connect(port, "127.0.0.1")).pipe(socket);
		});
		const said = await listening(t, server);
		assert.equal(await type(said, "drain", "--reason", "x"), 0);
		assert.deepEqual([connections, said.err], [2, ""]);
		assert.deepEqual(agent.asked, [{ reason: "x" }]);
	});

	test("an agent that says no, and what is no agent, is asked once", async (t) => {
		for (const [answer, message] of [
			["HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", /is no Outrigger agent/],
			[
				'HTTP/1.1 503 -\r\ncontent-type: application/json\r\ncontent-length: 36\r\n\r\n{"code":"unavailable","message":"x"}',
				/says unavailable/,
			],
		] as const) {
			let connections = 0;
			const server = createServer((socket) => {
				connections += 1;
				socket.once("data", () => socket.end(answer));
			});
			const said = await listening(t, server);
			assert.equal(await type(said, "drain"), 1);
			assert.match(said.err, message);
			assert.equal(connections, 1);
		}
	});

	test("is a process of its own with the same words, without what the other commands need", async (t) => {
		const { agent, port } = await fixture(t);
		const main = fileURLToPath(new URL("../main.ts", import.meta.url));
		const run = async (...argv: readonly string[]) => {
			const child = spawn(process.execPath, ["--import", "tsx", main, "drain", ...argv], {
				env: { ...process.env, OUTRIGGER_AGENT_URL: `http://127.0.0.1:${port}` },
				stdio: ["ignore", "pipe", "inherit"],
			});
			let out = "";
			child.stdout.setEncoding("utf8").on("data", (text: string) => {
				out += text;
			});
			const [code] = await once(child, "close");
			return { code, out };
		};
		assert.deepEqual(await run("--reason", "x"), {
			code: 0,
			out: "The drain has begun, and will be over within 18 s (announcing).\n",
		});
		assert.deepEqual(agent.asked, [{ reason: "x" }]);
		const { out } = await run("--help");
		assert.match(out, /^outrigger drain \[--wait\]/);
	});

	test("words that make no sense are 64", async () => {
		const said = new Said();
		assert.equal(await type(said, "drain", "now"), 64);
		assert.equal(await type(said, "drain", "--url", "nonsense"), 64);
		assert.match(
			said.err,
			/outrigger drain: --url: nonsense is no place of an agent; write .*\nTry: outrigger drain --help\n$/,
		);
	});
});
