/** `outrigger agent` as a process of its own, with whatever standard output it is given. */
import { strict as assert } from "node:assert";
import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

export interface AgentProcessOptions {
	readonly set?: Readonly<Record<string, string>>;
	readonly stdio?: StdioOptions;
	/** Words of the shell that come before: `ulimit -n 64`. */
	readonly shell?: string;
	/** Source of a module that each of its threads runs first. */
	readonly preload?: string;
	/** Resolve after so many milliseconds, ready or not. */
	readonly waitMs?: number;
}

export interface AgentExit {
	readonly code: number | null;
	readonly signal: NodeJS.Signals | null;
	readonly stderr: string;
}

/** A port of 127.0.0.1 that was free a moment ago: for processes whose lines cannot be read. */
export const freePort = async (): Promise<number> => {
	const server = createServer();
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	const address = server.address();
	await new Promise((resolve) => server.close(resolve));
	assert.ok(typeof address === "object" && address !== null);
	return address.port;
};

export class AgentProcess implements AsyncDisposable {
	readonly child: ChildProcess;
	readonly port: number;
	readonly opsPort: number;
	readonly exit: Promise<AgentExit>;
	#isOver = false;

	constructor(child: ChildProcess, port: number, opsPort: number) {
		this.child = child;
		this.port = port;
		this.opsPort = opsPort;
		let said = "";
		child.stderr?.setEncoding("utf8").on("data", (text: string) => {
			said += text;
		});
		this.exit = once(child, "exit").then(([code, signal]) => {
			this.#isOver = true;
			return { code: code as number | null, signal: signal as NodeJS.Signals | null, stderr: said }; // what `exit` tells
		});
	}

	get isOver(): boolean {
		return this.#isOver;
	}

	/** Milliseconds from the signal to the end of the process. */
	async endBy(signal: NodeJS.Signals): Promise<AgentExit & { readonly tookMs: number }> {
		const began = performance.now();
		this.child.kill(signal);
		const exit = await this.exit;
		return { ...exit, tookMs: performance.now() - began };
	}

	async ops(path: string): Promise<{ readonly status: number; readonly text: string }> {
		const answer = await fetch(`http://127.0.0.1:${this.opsPort}${path}`);
		return { status: answer.status, text: await answer.text() };
	}

	/** Resolves when it says that no traffic should come. */
	async isNotReady(): Promise<void> {
		while ((await this.ops("/readyz")).status !== 503) await new Promise((resolve) => setTimeout(resolve, 5));
	}

	/** The sum of all samples of a family whose labels hold `having`. */
	async metric(name: string, having = ""): Promise<number> {
		const { text } = await this.ops("/metrics");
		return text
			.split("\n")
			.filter((line) => (line.startsWith(`${name}{`) || line.startsWith(`${name} `)) && line.includes(having))
			.reduce(
				(sum, line) =>
					sum +
					Number(
						line
							.slice(line.lastIndexOf("} ") + 2)
							.split(" ")
							.at(line.includes("} ") ? 0 : -1),
					),
				0,
			);
	}

	async [Symbol.asyncDispose](): Promise<void> {
		this.child.kill("SIGKILL");
		await this.exit;
	}
}

/** Starts the process; resolves when it is ready, or has ended. */
export const startProcess = async (appPort: number, options: AgentProcessOptions = {}): Promise<AgentProcess> => {
	const port = await freePort();
	const opsPort = await freePort();
	const { PATH = "", NODE_OPTIONS, NODE_V8_COVERAGE } = process.env;
	const settings = {
		"inbound.0.listen": `127.0.0.1:${port}`,
		"inbound.0.app": `127.0.0.1:${appPort}`,
		"ops.listen": `127.0.0.1:${opsPort}`,
		"api.listen": "127.0.0.1:0",
		"health.app.http": "none",
		"routes.openapi": "none",
		"drain.announceMin": "0s",
		"drain.quietMin": "0s",
		"drain.quietMax": "0s",
		"drain.report": "none",
		...options.set,
	};
	const words = [
		"--import",
		"tsx",
		...(options.preload === undefined
			? []
			: ["--import", `data:text/javascript,${encodeURIComponent(options.preload)}`]),
		main,
		"agent",
		...Object.entries(settings).flatMap(([key, value]) => ["--set", `${key}=${value}`]),
	];
	const [command, args] =
		options.shell === undefined
			? [process.execPath, words]
			: ["/bin/sh", ["-c", `${options.shell}; exec "$0" "$@"`, process.execPath, ...words]];
	const child = spawn(command, args, {
		stdio: options.stdio ?? ["ignore", "ignore", "pipe"],
		env: {
			PATH,
			...(NODE_OPTIONS === undefined ? {} : { NODE_OPTIONS }),
			...(NODE_V8_COVERAGE === undefined ? {} : { NODE_V8_COVERAGE }),
		},
	});
	const run = new AgentProcess(child, port, opsPort);
	if (options.waitMs !== undefined) {
		await new Promise((resolve) => setTimeout(resolve, options.waitMs));
		return run;
	}
	const giveUpMs = performance.now() + 30_000;
	while (!run.isOver && !(await isReady(run))) {
		assert.ok(performance.now() < giveUpMs, "the agent is not ready");
		await new Promise((resolve) => setTimeout(resolve, 20));
	}
	return run;
};

const isReady = async (run: AgentProcess): Promise<boolean> => {
	try {
		return (await run.ops("/readyz")).status === 200;
	} catch {
		return false; // not bound yet
	}
};
