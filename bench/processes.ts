/**
 * Starts and ends the processes of the bench: each pinned to its core, each remembered, none left behind, whichever
 * way the bench ends. Also finds free ports and waits for the first answer.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { setPriority } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { processTree } from "./accounting.ts";

export interface Launch {
	/** Executable and arguments. */
	readonly argv: readonly string[];
	readonly env?: Readonly<Record<string, string>>;
	/** Cores it may use, as taskset writes them: `1` or `0,1`; undefined: wherever the bench itself may. */
	readonly cores?: string;
	/** stdout is appended to this file. */
	readonly stdoutFile: string;
	/** stderr is appended to this file; it is read again when the process ends too early. */
	readonly stderrFile: string;
}

export interface Process {
	readonly pid: number;
	/** When exec was asked for, by `process.hrtime` in milliseconds. */
	readonly startedAtMs: number;
	/** Why it is no longer there, as soon as that is so. */
	hasEnded(): string | undefined;
	/** The process and all that it started. Read from /proc: call it per window, not per request. */
	tree(): readonly number[];
	/** SIGTERM, and SIGKILL for what is left after `graceMs`. Safe twice. */
	stop(graceMs: number): Promise<void>;
}

export const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6;

const living = new Set<ChildProcess>();

process.on("exit", () => {
	for (const child of living) killTree(child);
});

function killTree(child: ChildProcess): void {
	if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
	for (const pid of processTree(child.pid)) {
		try {
			process.kill(pid, "SIGKILL");
		} catch {
			// it ended before us
		}
	}
}

export function startProcess(launch: Launch): Process {
	const stdout = openSync(launch.stdoutFile, "a"); // "a": so that a file that is emptied between rounds stays small
	const stderr = openSync(launch.stderrFile, "a");
	const pinned = launch.cores === undefined ? launch.argv : ["taskset", "-c", launch.cores, ...launch.argv];
	const [file, ...args] = pinned;
	if (file === undefined) throw new Error("nothing to start");
	const startedAtMs = nowMs();
	const child = spawn(file, args, { stdio: ["ignore", stdout, stderr], env: { ...process.env, ...launch.env } });
	closeSync(stdout);
	closeSync(stderr);
	living.add(child);
	let ended: string | undefined;
	child.on("error", (error) => {
		ended = error.message;
		living.delete(child);
	});
	child.on("exit", (code, signal) => {
		ended = signal === null ? `exit code ${code}` : `signal ${signal}`;
		living.delete(child);
	});
	const pid = child.pid ?? -1;
	return {
		pid,
		startedAtMs,
		hasEnded: () => ended,
		tree: () => processTree(pid),
		async stop(graceMs) {
			if (ended !== undefined) return;
			const exited = once(child, "exit");
			child.kill("SIGTERM");
			const timer = new AbortController();
			await Promise.race([exited, sleep(graceMs, undefined, { signal: timer.signal }).catch(() => undefined)]);
			timer.abort();
			if (ended === undefined) {
				killTree(child);
				await exited;
			}
		},
	};
}

/** Binds the bench itself, and with it the load generator, to a core, so that it never disturbs what it measures. */
export function pinSelf(cores: string): void {
	const done = spawnSync("taskset", ["-a", "-c", "-p", cores, String(process.pid)], { encoding: "utf8" });
	if (done.status !== 0) throw new Error(`taskset could not bind the bench to core ${cores}: ${done.stderr.trim()}`);
}

/**
 * Sets the priority of the bench and of all that it starts from now on. Where the kernel groups processes by session
 * (sched(7), autogroup) nice counts only within the group, so the group's own is set as well, and set back at exit.
 */
export function goBefore(niceness: number): void {
	setPriority(niceness);
	const group = "/proc/self/autogroup";
	if (!existsSync(group)) return;
	const before = /nice (-?\d+)/.exec(readFileSync(group, "latin1"))?.[1] ?? "0";
	writeFileSync(group, String(niceness));
	process.on("exit", () => writeFileSync(group, before));
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
	const server = createServer();
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	const address = server.address();
	server.close();
	await once(server, "close");
	if (address === null || typeof address === "string") throw new Error("the system gave no port");
	return address.port;
}

const RETRY_MS = 1;
const ATTEMPT_MS = 1000;

/**
 * Connects and asks until `GET /` is answered with 200, once a millisecond.
 * @returns the moment of the first byte of that answer, on the clock of `nowMs`
 * @throws after `limitMs`, or when `hasEnded` says that nobody will answer
 */
export async function waitForAnswer(
	port: number,
	limitMs: number,
	hasEnded: () => string | undefined = () => undefined,
): Promise<number> {
	const until = nowMs() + limitMs;
	let last = "no answer";
	while (nowMs() < until) {
		const ended = hasEnded();
		if (ended !== undefined) throw new Error(`it ended before it served anything: ${ended}`);
		const answer = await askOnce(port);
		if (typeof answer === "number") return answer;
		last = answer;
		await sleep(RETRY_MS);
	}
	throw new Error(`nothing served on port ${port} within ${limitMs} ms: ${last}`);
}

function askOnce(port: number): Promise<number | string> {
	return new Promise((resolve) => {
		const socket = connect(port, "127.0.0.1");
		const end = (result: number | string): void => {
			socket.destroy();
			resolve(result);
		};
		socket.setTimeout(ATTEMPT_MS, () => end("timed out"));
		socket.on("connect", () => socket.write("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"));
		socket.on("data", (chunk) => {
			const at = nowMs();
			const line = chunk.toString("latin1").split("\r\n", 1)[0] ?? "";
			end(/^HTTP\/1\.1 200/.test(line) ? at : line);
		});
		socket.on("error", (error) => end(error.message));
		socket.on("close", () => end("closed without an answer"));
	});
}
