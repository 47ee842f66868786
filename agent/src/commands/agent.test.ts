import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

/** `outrigger agent` as a process: signals, exit codes, and what is said when it cannot start. */

const main = fileURLToPath(new URL("../main.ts", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "outrigger-agent-"));
after(() => rmSync(folder, { recursive: true }));

const portOf = (server: Server): number => {
	const address = server.address();
	return typeof address === "object" && address !== null ? address.port : 0;
};

const listening = async (onConnection: (socket: Socket) => void): Promise<Server> => {
	const server = createServer((socket) => {
		socket.on("error", () => undefined);
		onConnection(socket);
	});
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	return server;
};

class AgentProcess implements AsyncDisposable {
	readonly child: ChildProcess;
	readonly lines: Readonly<Record<string, unknown>>[] = [];
	readonly exit: Promise<{ readonly code: number | null; readonly stderr: string }>;
	#isOver = false;
	readonly #waiting = new Set<() => void>();

	constructor(appPort: number, set: Readonly<Record<string, string>> = {}) {
		const { PATH = "", NODE_OPTIONS, NODE_V8_COVERAGE } = process.env;
		const settings = {
			"inbound.0.listen": "127.0.0.1:0",
			"ops.listen": "127.0.0.1:0",
			"api.listen": "127.0.0.1:0",
			"health.app.http": "none",
			"drain.announceMin": "0s",
			"drain.quietMin": "0s",
			"drain.quietMax": "0s",
			"drain.report": "none",
			"routes.openapi": "none",
			...set,
		};
		this.child = spawn(
			process.execPath,
			[
				"--import",
				"tsx",
				main,
				"agent",
				...Object.entries(settings).flatMap(([key, value]) => ["--set", `${key}=${value}`]),
			],
			{
				stdio: ["ignore", "pipe", "pipe"],
				env: {
					PATH,
					OUTRIGGER_APP_PORT: String(appPort),
					...(NODE_OPTIONS === undefined ? {} : { NODE_OPTIONS }),
					...(NODE_V8_COVERAGE === undefined ? {} : { NODE_V8_COVERAGE }),
				},
			},
		);
		const { stdout, stderr } = this.child;
		assert.ok(stdout !== null && stderr !== null);
		createInterface(stdout).on("line", (line) => {
			this.lines.push(JSON.parse(line) as Record<string, unknown>); // one object a line is what the log promises
			for (const look of this.#waiting) look();
		});
		let said = "";
		stderr.setEncoding("utf8").on("data", (text: string) => {
			said += text;
		});
		this.exit = once(this.child, "close").then(([code]) => {
			this.#isOver = true;
			for (const look of this.#waiting) look();
			return { code: code as number | null, stderr: said }; // what `close` tells
		});
	}

	/** The line with that message, once it is there. */
	async line(message: string): Promise<Readonly<Record<string, unknown>>> {
		for (;;) {
			const found = this.lines.find((line) => line["msg"] === message);
			if (found !== undefined) return found;
			assert.ok(!this.#isOver, `the agent has ended without saying "${message}": ${JSON.stringify(this.lines)}`);
			await new Promise<void>((resolve) => this.#waiting.add(resolve));
		}
	}

	/** A test that has failed leaves no process. */
	async [Symbol.asyncDispose](): Promise<void> {
		this.child.kill("SIGKILL");
		await this.exit;
	}

	/** The port where it listens for clients. */
	async port(): Promise<number> {
		return Number(
			String((await this.line("listening"))["inbound"])
				.split(":")
				.at(-1),
		);
	}
}

describe("outrigger agent", () => {
	test("serves, drains at SIGTERM what is under way, and ends with 0", async () => {
		const asked = Promise.withResolvers<Socket>();
		await using app = await listening((socket) => {
			socket.once("data", () => asked.resolve(socket));
		});
		await using agent = new AgentProcess(portOf(app));
		const answer = fetch(`http://127.0.0.1:${await agent.port()}/slow`);
		const atApp = await asked.promise;
		agent.child.kill("SIGTERM");
		await agent.line("the drain begins");
		atApp.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
		assert.equal(await (await answer).text(), "ok");
		assert.deepEqual(await agent.exit, { code: 0, stderr: "" });
	});

	test("at the second signal cuts what is left, and says so with its code", async () => {
		const asked = Promise.withResolvers<void>();
		await using app = await listening((socket) => {
			socket.once("data", () => asked.resolve());
		});
		await using agent = new AgentProcess(portOf(app));
		const answer = assert.rejects(fetch(`http://127.0.0.1:${await agent.port()}/never`));
		await asked.promise;
		agent.child.kill("SIGTERM");
		await agent.line("the drain begins");
		agent.child.kill("SIGTERM");
		await answer;
		assert.equal((await agent.exit).code, 3);
	});

	test("with drain.sigterm: stop ends at the first", async () => {
		await using app = await listening(() => undefined);
		await using agent = new AgentProcess(portOf(app), { "drain.sigterm": "stop" });
		await agent.port();
		agent.child.kill("SIGINT");
		assert.equal((await agent.exit).code, 0);
	});

	test("that finds its port taken says so and ends with 1", async () => {
		await using app = await listening(() => undefined);
		await using taken = await listening(() => undefined);
		await using agent = new AgentProcess(portOf(app), { "inbound.0.listen": `127.0.0.1:${portOf(taken)}` });
		assert.equal((await agent.exit).code, 1);
		const { error } = await agent.line("the agent cannot start");
		assert.match(String(error), /EADDRINUSE/);
	});

	test("whose log cannot be opened says so and ends with 1, and nothing was started", async () => {
		const destination = join(folder, "there", "is", "none");
		await using agent = new AgentProcess(3000, { "log.destination": destination });
		const { code, stderr } = await agent.exit;
		assert.equal(code, 1);
		assert.match(stderr, /^outrigger: log\.destination .*there\/is\/none cannot be opened: ENOENT/);
		assert.deepEqual(agent.lines, []);
	});
});
