import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** No peer takes longer than this to say that it listens, ms. A JVM on a busy machine takes seconds. */
const START_MS = 60_000;
/** After SIGTERM, ms; then SIGKILL. */
const STOP_MS = 10_000;
/** Lines that are kept of one process; older ones are forgotten. */
const LINES_MAX = 20_000;

export interface ProcessOptions {
	readonly env?: Readonly<Record<string, string>>;
	readonly cwd?: string;
	readonly input?: string | Uint8Array;
}

/** A program that runs until the test ends it. What it prints on both streams is one list of lines. */
export class Running {
	readonly child: ChildProcess;
	readonly lines: string[] = [];
	readonly exited: Promise<number>;
	#hasExited = false;
	readonly #name: string;
	readonly #waiting = new Set<(line: string) => void>();

	constructor(program: string, args: readonly string[], { env, cwd }: ProcessOptions = {}) {
		this.#name = [program, ...args].join(" ");
		// A group of its own, so that what it starts itself (workers, wrappers) ends with it.
		this.child = spawn(program, args, {
			stdio: ["ignore", "pipe", "pipe"],
			detached: true,
			env: {
				PATH: process.env["PATH"],
				HOME: process.env["HOME"],
				LANG: "C.UTF-8",
				PYTHONDONTWRITEBYTECODE: "1",
				...env,
			},
			...(cwd === undefined ? {} : { cwd }),
		});
		const { promise, resolve } = Promise.withResolvers<number>();
		this.exited = promise;
		const ended = (code: number): void => {
			this.#hasExited = true;
			resolve(code);
		};
		this.child.on("error", (error) => {
			this.#take(String(error));
			ended(-1);
		});
		this.child.on("close", (code, signal) => {
			if (signal !== null) this.#take(`ended by ${signal}`);
			ended(code ?? -1);
		});
		for (const stream of [this.child.stdout, this.child.stderr]) {
			if (stream !== null) createInterface(stream).on("line", (line) => this.#take(line));
		}
	}

	get hasExited(): boolean {
		return this.#hasExited;
	}

	/** The first line that matches, past or to come. Rejects when the process ends or the time is over. */
	async line(pattern: RegExp, withinMs = START_MS): Promise<RegExpExecArray> {
		for (const line of this.lines) {
			const found = pattern.exec(line);
			if (found !== null) return found;
		}
		const { promise, resolve, reject } = Promise.withResolvers<RegExpExecArray>();
		const look = (line: string): void => {
			const found = pattern.exec(line);
			if (found !== null) resolve(found);
		};
		const fail = (why: string): void =>
			reject(new Error(`${this.#name} ${why} before ${pattern}:\n${this.lines.slice(-30).join("\n")}`));
		this.#waiting.add(look);
		const timer = setTimeout(() => fail(`said nothing for ${withinMs} ms`), withinMs);
		void this.exited.then((code) => fail(`ended with ${code}`));
		try {
			return await promise;
		} finally {
			clearTimeout(timer);
			this.#waiting.delete(look);
		}
	}

	/** Ends it and its children. Safe twice. Resolves with the exit code, −1 for a signal. */
	async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number> {
		this.kill(signal);
		const timer = setTimeout(() => this.kill("SIGKILL"), STOP_MS);
		const code = await this.exited;
		clearTimeout(timer);
		return code;
	}

	kill(signal: NodeJS.Signals): void {
		if (this.child.pid === undefined || this.#hasExited) return;
		try {
			process.kill(-this.child.pid, signal);
		} catch {
			// The group is gone already.
		}
	}

	#take(line: string): void {
		if (this.lines.push(line) > LINES_MAX) this.lines.shift();
		for (const look of this.#waiting) look(line);
	}
}

export interface Ended {
	readonly code: number;
	readonly stdout: Buffer;
	readonly stderr: string;
}

/** Runs a program to its end. It is killed after `withinMs`, and its code is then −1. */
export async function run(
	program: string,
	args: readonly string[],
	{ env, cwd, input }: ProcessOptions = {},
	withinMs = 120_000,
): Promise<Ended> {
	const child = spawn(program, args, {
		stdio: ["pipe", "pipe", "pipe"],
		timeout: withinMs,
		killSignal: "SIGKILL",
		env: {
			PATH: process.env["PATH"],
			HOME: process.env["HOME"],
			LANG: "C.UTF-8",
			PYTHONDONTWRITEBYTECODE: "1",
			...env,
		},
		...(cwd === undefined ? {} : { cwd }),
	});
	const stdout: Buffer[] = [];
	const stderr: Buffer[] = [];
	child.stdout.on("data", (bytes: Buffer) => stdout.push(bytes));
	child.stderr.on("data", (bytes: Buffer) => stderr.push(bytes));
	child.stdin.on("error", () => undefined); // it may end without reading
	child.stdin.end(input);
	const [code] = (await once(child, "close")) as [number | null];
	return { code: code ?? -1, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() };
}
