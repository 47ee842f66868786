import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { Agent, type AgentAddresses } from "./agent.ts";
import { settingsFrom } from "./config/layers.ts";
import { systemClock } from "./foundation/clock.ts";
import { LogSink } from "./foundation/log-sink.ts";
import { systemScheduler } from "./foundation/scheduler.ts";

const folder = mkdtempSync(join(tmpdir(), "outrigger-agent-"));
after(() => rmSync(folder, { recursive: true }));

const listening = async (answer: (request: IncomingMessage, response: ServerResponse) => void) => {
	const server = createServer(answer);
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	const address = server.address();
	assert.ok(typeof address === "object" && address !== null);
	return Object.assign(server, { port: address.port });
};

let logs = 0;

/** An agent whose ports the system chooses. */
class Run implements AsyncDisposable {
	readonly agent: Agent;
	readonly #sink: LogSink;
	readonly #log = join(folder, `log-${++logs}`);
	#addresses: AgentAddresses | undefined;

	constructor(appPort: number | undefined, set: Readonly<Record<string, string>> = {}) {
		this.#sink = LogSink.open(this.#log, 1 << 20);
		const settings = settingsFrom({
			"inbound.0.listen": "127.0.0.1:0",
			...(appPort === undefined ? {} : { "inbound.0.app": `127.0.0.1:${appPort}` }),
			"ops.listen": "127.0.0.1:0",
			"api.listen": "127.0.0.1:0",
			"health.app.http": "none",
			"routes.openapi": "none",
			"drain.announceMin": "0s",
			"drain.quietMin": "0s",
			"drain.quietMax": "0s",
			"drain.report": "none",
			"health.app.interval": "100ms",
			"health.app.timeout": "100ms",
			...set,
		});
		this.agent = new Agent({ settings, clock: systemClock, scheduler: systemScheduler, sink: this.#sink });
	}

	async start(): Promise<this> {
		this.#addresses = await this.agent.start();
		return this;
	}

	/** Resolves when the agent is in that state. */
	async is(at: string): Promise<void> {
		const reached = Promise.withResolvers<void>();
		this.agent.state.subscribe(({ to }) => {
			if (to === at) reached.resolve();
		});
		if (this.agent.state.at !== at) await reached.promise;
	}

	async ops(path: string): Promise<{ readonly status: number; readonly text: string }> {
		const ops = this.#addresses?.ops;
		assert.ok(ops?.kind === "tcp");
		const answer = await fetch(`http://127.0.0.1:${ops.port}${path}`);
		return { status: answer.status, text: await answer.text() };
	}

	get url(): string {
		const inbound = this.#addresses?.inbound[0];
		assert.ok(inbound?.kind === "tcp" && inbound.port > 0);
		return `http://127.0.0.1:${inbound.port}`;
	}

	/** Resolves when its log holds that text: lines are written in turns of their own. */
	async says(text: string): Promise<void> {
		while (!readFileSync(this.#log, "utf8").includes(text)) await new Promise((resolve) => setTimeout(resolve, 5));
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.agent.stop();
		this.#sink.close();
	}
}

describe("the agent", () => {
	test("that has not started can be stopped, twice", async () => {
		await using run = new Run(1);
		await run.agent.stop();
		await run.agent.stop();
		assert.equal(run.agent.state.at, "stopped");
	});

	test("that cannot bind rejects with the system's word, and leaves nothing", async () => {
		await using taken = await listening((_, response) => response.end());
		await using run = new Run(1, { "ops.listen": `127.0.0.1:${taken.port}` });
		await assert.rejects(run.start(), /EADDRINUSE/);
	});

	test("follows the app: unready while it refuses, ready when it accepts, and back", async () => {
		const gone = await listening((_, response) => response.end());
		const { port } = gone;
		gone.close();
		await once(gone, "close");
		await using run = await new Run(port, { "health.app.fall": "1", "health.app.rise": "1" }).start();
		await run.is("unready");
		assert.deepEqual([(await run.ops("/readyz")).status, (await run.ops("/livez")).status], [503, 200]);
		const app = createServer((_, response) => response.end("here"));
		app.listen(port, "127.0.0.1");
		await once(app, "listening");
		await run.is("ready");
		assert.deepEqual([(await run.ops("/readyz")).status, (await run.ops("/startupz")).status], [200, 200]);
		assert.equal(await (await fetch(run.url)).text(), "here");
		app.closeAllConnections();
		app.close();
		await run.is("unready");
		const { text } = await run.ops("/metrics");
		assert.match(text, /^outrigger_state\{state="unready"\} 1$/m);
		assert.match(text, /^outrigger_state_changes_total\{from="unready",to="ready",reason="app_passes"\} 1$/m);
	});

	test("that was not told where the app is learns it later, and then serves", async () => {
		await using app = await listening((_, response) => response.end("found"));
		await using run = await new Run(undefined, { "health.app.rise": "1" }).start();
		run.agent.setApp(0, { kind: "tcp", host: "127.0.0.1", port: app.port });
		await run.is("ready");
		assert.equal(await (await fetch(run.url)).text(), "found");
	});

	test("names routes after the app's OpenAPI document, and says so; one that cannot be had is told and costs nothing else", async () => {
		const document = { openapi: "3.1.0", info: { title: "t", version: "1" }, paths: { "/users/{name}": { get: {} } } };
		for (const [status, body, said] of [
			[200, JSON.stringify(document), "routes are named after the app's OpenAPI document"],
			[500, "no document today", "the app's OpenAPI document could not be read"],
		] as const) {
			await using app = await listening((request, response) => {
				const isDocument = request.url === "/openapi.json";
				response.writeHead(isDocument ? status : 200, { "content-type": "application/json" });
				response.end(isDocument ? body : "ok");
			});
			await using run = await new Run(app.port, { "routes.openapi": "auto", "health.app.rise": "1" }).start();
			await run.says(said);
			assert.equal(await (await fetch(`${run.url}/users/ada`)).text(), "ok");
		}
	});

	test("drains what is under way and no more: idle connections do not keep it waiting", async () => {
		const asked = Promise.withResolvers<ServerResponse>();
		await using app = await listening((request, response) => {
			if (request.url === "/slow") asked.resolve(response);
			else response.end("quick");
		});
		await using run = await new Run(app.port, { "log.level": "debug" }).start();
		await run.is("ready");
		await (await fetch(run.url)).text(); // leaves an idle connection
		const slow = fetch(`${run.url}/slow`);
		const response = await asked.promise;
		const drained = run.agent.drain("sigterm");
		const joined = run.agent.drain("command");
		assert.deepEqual((await run.ops("/readyz")).status, 503);
		response.end("done");
		assert.equal(await (await slow).text(), "done");
		const report = await drained;
		assert.deepEqual([report.startedBy, report.finished, report.cut, report.idleClosed], ["sigterm", 1, 0, 1]);
		assert.deepEqual(await joined, report, "a second call joins the first");
		await run.says("the drain is over: nothing was cut");
	});

	test("ends at once when its app has gone", async () => {
		await using app = await listening(() => undefined);
		await using run = await new Run(app.port).start();
		await run.is("ready");
		assert.equal((await run.agent.appGone()).cut, 0);
		assert.ok(run.agent.state.isLeaving);
	});
});
