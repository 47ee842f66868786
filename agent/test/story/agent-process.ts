/** `outrigger agent` as a process of its own, with whatever standard output it is given, and the commands that ask it. */
import { strict as assert } from "node:assert";
import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { API_METHODS } from "@outrigger/contract";
import { connect } from "./harness.ts";

const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

/** Nothing that is waited for takes so long. */
const WAIT_MS = 30_000;
/** Between two looks at what no event tells of. */
const LOOK_MS = 5;

export interface AgentProcessOptions {
	/** `undefined` takes a value out that is otherwise set. */
	readonly set?: Readonly<Record<string, string | undefined>>;
	/** Those of an agent that was there before. */
	readonly ports?: AgentPorts;
	/** File that receives its lines. */
	readonly log?: string;
	readonly stdio?: StdioOptions;
	/** Words of the shell that come before: `ulimit -n 64`. */
	readonly shell?: string;
	/** Source of a module that each of its threads runs first. */
	readonly preload?: string;
	/** Resolve after so many milliseconds, ready or not. */
	readonly waitMs?: number;
}

export interface AgentPorts {
	readonly port: number;
	readonly opsPort: number;
	readonly apiPort: number;
}

/** What the API answers: JSON, of which a story looks at a few fields. */
export type Json = { readonly [key: string]: unknown };

export interface ApiAnswer {
	readonly status: number;
	readonly answer: Json;
}

export interface AgentExit {
	readonly code: number | null;
	readonly signal: NodeJS.Signals | null;
	readonly stderr: string;
}

const FIRST_PORT = 12_000;
const LAST_PORT = 31_999;
let nextPort = FIRST_PORT + ((process.pid * 61) % (LAST_PORT - FIRST_PORT));

/**
 * A port of 127.0.0.1 that was free a moment ago: for processes whose lines cannot be read. It lies below those that the system gives to connections (on Linux
 * from 32768): one of these may be somebody's by the time that the process binds it.
 */
export const freePort = async (): Promise<number> => {
	for (;;) {
		const port = nextPort;
		nextPort = port === LAST_PORT ? FIRST_PORT : port + 1;
		const server = createServer();
		const isFree = await new Promise<boolean>((resolve) => {
			server.once("error", () => resolve(false));
			server.listen(port, "127.0.0.1", () => resolve(true));
		});
		if (!isFree) continue;
		await new Promise((resolve) => server.close(resolve));
		return port;
	}
};

/** Resolves with the first answer of `look` that is not `undefined`; `seen` says what there is instead when none comes. */
const until = async <T>(
	look: () => Promise<T | undefined> | T | undefined,
	what: string,
	seen: () => unknown,
): Promise<T> => {
	const giveUpMs = performance.now() + WAIT_MS;
	for (;;) {
		const found = await look();
		if (found !== undefined) return found;
		if (performance.now() > giveUpMs) throw new Error(`waited for ${what}; there is ${JSON.stringify(seen())}`);
		await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
	}
};

export class AgentProcess implements AsyncDisposable {
	readonly child: ChildProcess;
	readonly port: number;
	readonly opsPort: number;
	readonly apiPort: number;
	readonly exit: Promise<AgentExit>;
	readonly #log: string | undefined;
	#isOver = false;

	constructor(child: ChildProcess, { port, opsPort, apiPort }: AgentPorts, log?: string) {
		this.child = child;
		this.port = port;
		this.opsPort = opsPort;
		this.apiPort = apiPort;
		this.#log = log;
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

	/** Where the commands find it. */
	get url(): string {
		return `http://127.0.0.1:${this.apiPort}`;
	}

	/** Calls a method of 9802. */
	async api(method: keyof typeof API_METHODS, input: Json = {}): Promise<ApiAnswer> {
		return callApi(this.url, method, input);
	}

	/** `GetInfo`, as soon as it is so. */
	async untilInfo(isSo: (info: Json) => boolean, what: string): Promise<Json> {
		let info: Json = {};
		return until(
			async () => {
				info = (await this.api("getInfo")).answer;
				return isSo(info) ? info : undefined;
			},
			what,
			() => info,
		);
	}

	/** What a drain that is under way waits for, in its words but for the times; looked at until it is exactly this. */
	async waitsFor(...wanted: readonly string[]): Promise<void> {
		await this.untilInfo(
			(info) => waitingFor(info).join() === wanted.join(),
			`a drain that waits for ${wanted.join(", ")}`,
		);
	}

	/** Resolves when it says that no traffic should come. */
	async isNotReady(): Promise<void> {
		await this.readyz(/^fail/);
	}

	/** Resolves when that is the answer to a readiness probe. */
	async readyz(wanted: RegExp): Promise<void> {
		let text = "";
		await until(
			async () => {
				text = (await this.ops("/readyz")).text;
				return wanted.test(text) || undefined;
			},
			`/readyz that says ${wanted}`,
			() => text,
		);
	}

	/** Its own lines so far, and those of exchanges; it was started with `log`. */
	lines(): readonly Json[] {
		assert.ok(this.#log !== undefined, "it has no log that can be read");
		return readFileSync(this.#log, "utf8")
			.split("\n")
			.slice(0, -1)
			.map((line) => JSON.parse(line) as Json); // one object a line is what the log promises
	}

	/** The first line whose message is so, once it is there. */
	async says(message: RegExp): Promise<Json> {
		return until(
			() => this.lines().find(({ msg }) => message.test(String(msg))),
			`a line ${message}`,
			() => this.lines().map(({ msg }) => msg),
		);
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

	/** Resolves when `metric` is that. */
	async untilMetric(name: string, wanted: number, having = ""): Promise<void> {
		let value = Number.NaN;
		await until(
			async () => {
				value = await this.metric(name, having);
				return value === wanted || undefined;
			},
			`${name}{${having}} ${wanted}`,
			() => value,
		);
	}

	async [Symbol.asyncDispose](): Promise<void> {
		this.child.kill("SIGKILL");
		await this.exit;
	}
}

/** `GetInfo.drain.waitingFor` without its times, which pass. */
export const waitingFor = ({ drain }: Json): readonly string[] => {
	const words = (drain as Json | undefined)?.["waitingFor"] as readonly string[] | undefined; // GetInfo's shape, absent without a drain
	return (words ?? []).map((word) => word.replace(/, closed in .*| more$/, "").replace(/[0-9.]+ s\b/, "a while"));
};

export const callApi = async (url: string, method: keyof typeof API_METHODS, input: Json = {}): Promise<ApiAnswer> => {
	const response = await fetch(`${url}${API_METHODS[method]}`, {
		method: "POST",
		headers: { "content-type": "application/json" },
		body: JSON.stringify(input),
	});
	return { status: response.status, answer: (await response.json()) as Json }; // an object is what the protocol promises
};

/** A preload: each data thread throws, in a turn of its own, when a file of that name comes to be. */
export const mortalThreads = (file: string): string => `
import { isMainThread } from "node:worker_threads";
import { rmSync } from "node:fs";
if (!isMainThread) setInterval(() => {
	try { rmSync(${JSON.stringify(file)}); } catch { return; }
	throw new Error("this thread has come to its end");
}, 20).unref();
`;

/** So many requests on 16 connections; each must be answered with 200. */
export const serve = async ({ port }: AgentPorts, count: number): Promise<void> => {
	const clients = await Promise.all(Array.from({ length: 16 }, () => connect(port)));
	await Promise.all(
		clients.map(async (client) => {
			for (let i = 0; i < count / clients.length; i++) {
				client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
				assert.equal((await client.response()).status, 200);
			}
			client.end();
			await client[Symbol.asyncDispose]();
		}),
	);
};

/** Only what a process needs of our environment: variables of whoever runs the tests must not count. */
const bareEnv = (): Record<string, string> => {
	const { PATH = "", NODE_OPTIONS, NODE_V8_COVERAGE } = process.env;
	return {
		PATH,
		...(NODE_OPTIONS === undefined ? {} : { NODE_OPTIONS }),
		...(NODE_V8_COVERAGE === undefined ? {} : { NODE_V8_COVERAGE }),
	};
};

export interface CommandEnd {
	readonly code: number | null;
	readonly stdout: string;
	readonly stderr: string;
}

/** A command of `outrigger` in a process of its own. */
export class CommandProcess implements AsyncDisposable {
	readonly child: ChildProcess;
	/** When it has ended and all that it has written is here. */
	readonly end: Promise<CommandEnd>;
	stdout = "";
	stderr = "";

	constructor(words: readonly string[]) {
		this.child = spawn(process.execPath, ["--import", "tsx", main, ...words], {
			stdio: ["ignore", "pipe", "pipe"],
			env: bareEnv(),
		});
		this.child.stdout?.setEncoding("utf8").on("data", (text: string) => {
			this.stdout += text;
		});
		this.child.stderr?.setEncoding("utf8").on("data", (text: string) => {
			this.stderr += text;
		});
		this.end = once(this.child, "close").then(([code]) => ({
			code: code as number | null, // what `close` tells
			stdout: this.stdout,
			stderr: this.stderr,
		}));
	}

	/** The groups of the first match in what it has written, once there is one. */
	async says(words: RegExp): Promise<readonly string[]> {
		const all = (): string => `${this.stdout}\n${this.stderr}`;
		return until(() => words.exec(all()) ?? undefined, String(words), all);
	}

	async [Symbol.asyncDispose](): Promise<void> {
		this.child.kill("SIGKILL");
		await this.end;
	}
}

/** Runs a command of `outrigger` to its end. */
export const outrigger = (...words: readonly string[]): Promise<CommandEnd> => new CommandProcess(words).end;

/** Starts the process; resolves when it is ready, or has ended. */
export const startProcess = async (appPort: number, options: AgentProcessOptions = {}): Promise<AgentProcess> => {
	const ports = options.ports ?? { port: await freePort(), opsPort: await freePort(), apiPort: await freePort() };
	const settings: Readonly<Record<string, string | undefined>> = {
		"inbound.0.listen": `127.0.0.1:${ports.port}`,
		"inbound.0.app": `127.0.0.1:${appPort}`,
		"ops.listen": `127.0.0.1:${ports.opsPort}`,
		"api.listen": `127.0.0.1:${ports.apiPort}`,
		"health.app.http": "none",
		"routes.openapi": "none",
		"drain.announceMin": "0s",
		"drain.quietMin": "0s",
		"drain.quietMax": "0s",
		"drain.report": "none",
		...(options.log === undefined ? {} : { "log.destination": options.log }),
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
		...Object.entries(settings).flatMap(([key, value]) => (value === undefined ? [] : ["--set", `${key}=${value}`])),
	];
	const [command, args] =
		options.shell === undefined
			? [process.execPath, words]
			: ["/bin/sh", ["-c", `${options.shell}; exec "$0" "$@"`, process.execPath, ...words]];
	const child = spawn(command, args, {
		stdio: options.stdio ?? ["ignore", "ignore", "pipe"],
		env: bareEnv(),
	});
	const run = new AgentProcess(child, ports, options.log);
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
