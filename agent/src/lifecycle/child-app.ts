import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import type { Readable } from "node:stream";
import type { Scheduler } from "../foundation/scheduler.ts";
import { listProcesses } from "./process-tree.ts";

/**
 * The app as a child of ours, under `outrigger run`.
 *
 * It leads a process group (and session) of its own. Otherwise Ctrl-C would reach it together with us, since a terminal signals its whole
 * foreground group, and it would be gone before the drain has begun. The price is that nobody else signals it either:
 * whoever ends us without asking (SIGKILL) leaves it running.
 *
 * Its signals go to the whole group, as a terminal's do: `sh -c`, `npm run` and the like do not pass SIGTERM on, and a server that
 * is left behind holds its port. What of the group outlives its leader gets the rest of the same time limit.
 */
export interface ChildEnd {
	/** What a shell would say: the exit code, or 128 + the signal's number. */
	readonly exitCode: number;
	readonly signal: NodeJS.Signals | undefined;
}

/** Takes bytes and never waits: what it cannot write it keeps within its bound, or drops and counts. */
export interface ByteSink {
	write(bytes: Uint8Array): void;
}

export interface ChildCommand {
	readonly program: string;
	readonly args: readonly string[];
	readonly env: Readonly<Record<string, string | undefined>>;
	readonly cwd: string;
}

/** CMD could not be started. `exitCode` as a shell has it: 127 not found, 126 found and not startable. */
export class ChildStartError extends Error {
	override readonly name = "ChildStartError";
	readonly exitCode: 126 | 127;

	constructor(program: string, cause: unknown) {
		const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
		const why =
			code === "ENOENT"
				? "there is no such program in PATH"
				: code === "EACCES"
					? "it is not executable, or a folder on the way to it is closed"
					: cause instanceof Error
						? cause.message
						: String(cause);
		super(`${program} cannot be started: ${why}`, { cause });
		this.exitCode = code === "ENOENT" ? 127 : 126;
	}
}

/** How often the group is looked at while its last members end. */
const LOOK_MS = 50;
/** A member that has left the group may hold the output open for ever: its last words get this long. */
const OUTPUT_MS = 500;

export class ChildApp {
	readonly pid: number;
	/** When the leader has ended and what it wrote has been handed on. Never rejects. */
	readonly ended: Promise<ChildEnd>;
	readonly #child: ChildProcess;
	readonly #scheduler: Scheduler;
	#hasExited = false;
	readonly #exited: Promise<ChildEnd>;

	private constructor(child: ChildProcess, pid: number, scheduler: Scheduler) {
		this.#child = child;
		this.pid = pid;
		this.#scheduler = scheduler;
		const exited = Promise.withResolvers<ChildEnd>();
		child.once("exit", (code, signal) => {
			this.#hasExited = true;
			exited.resolve(endOf(code, signal));
		});
		this.#exited = exited.promise;
		this.ended = exited.promise.then(async (end) => {
			await this.#outputEnd();
			return end;
		});
	}

	/** Rejects with `ChildStartError`. */
	static start(command: ChildCommand, out: ByteSink, err: ByteSink, scheduler: Scheduler): Promise<ChildApp> {
		const { promise, resolve, reject } = Promise.withResolvers<ChildApp>();
		const { program, args, cwd } = command;
		let child: ChildProcess;
		try {
			// Standard input stays the user's: in a session of its own the app reads the terminal as before.
			child = spawn(program, [...args], {
				cwd,
				env: { ...command.env },
				stdio: ["inherit", "pipe", "pipe"],
				detached: true,
			});
		} catch (error) {
			return Promise.reject(new ChildStartError(program, error)); // a NUL in an argument, an environment too large
		}
		const refuse = (error: Error): void => reject(new ChildStartError(program, error));
		child.once("error", refuse);
		child.once("spawn", () => {
			child.off("error", refuse);
			child.on("error", () => {}); // a signal that could not be sent: the group has ended meanwhile
			passOn(child.stdout, out);
			passOn(child.stderr, err);
			if (child.pid === undefined) reject(new ChildStartError(program, new Error("it has no process id")));
			else resolve(new ChildApp(child, child.pid, scheduler));
		});
		return promise;
	}

	get hasExited(): boolean {
		return this.#hasExited;
	}

	/** SIGTERM to the group, SIGKILL after `limitMs` to whatever is left of it. Resolves when the group is empty. Never rejects. */
	async stop(limitMs: number): Promise<ChildEnd> {
		this.#signalGroup("SIGTERM");
		let isKilled = false;
		const cancel = this.#scheduler.after(limitMs, () => {
			isKilled = true;
			this.#signalGroup("SIGKILL");
		});
		await this.#exited;
		while (!isKilled && (await this.#hasMembers())) await this.#pause(LOOK_MS);
		cancel();
		return this.ended;
	}

	/** SIGKILL to the group, now. */
	kill(): void {
		this.#signalGroup("SIGKILL");
	}

	/**
	 * A group outlives its leader, and its number is not given out again while it has members. Once it is empty, the number would have to
	 * come round again between that moment and this signal.
	 */
	#signalGroup(signal: NodeJS.Signals): void {
		// −1 would be every process that we may signal, 0 our own group.
		if (this.pid <= 1) return;
		try {
			process.kill(-this.pid, signal);
		} catch {
			// ESRCH: the group is empty. EPERM: on macOS, the same when only zombies are left.
		}
	}

	async #hasMembers(): Promise<boolean> {
		try {
			process.kill(-this.pid, 0);
		} catch {
			return false;
		}
		// Where nobody waits for orphans (a container without an init) zombies keep a group alive, and only the table tells.
		return (await listProcesses()).some((row) => row.groupId === this.pid && !row.isZombie);
	}

	async #outputEnd(): Promise<void> {
		const streams = [this.#child.stdout, this.#child.stderr];
		const closed = streams.map((stream) => {
			const { promise, resolve } = Promise.withResolvers<void>();
			if (stream === null || stream.closed) resolve();
			else stream.once("close", resolve);
			return promise;
		});
		await Promise.race([Promise.all(closed), this.#pause(OUTPUT_MS)]);
		for (const stream of streams) stream?.destroy();
	}

	#pause(ms: number): Promise<void> {
		const { promise, resolve } = Promise.withResolvers<void>();
		this.#scheduler.after(ms, resolve);
		return promise;
	}
}

function endOf(code: number | null, signal: NodeJS.Signals | null): ChildEnd {
	if (signal === null) return { exitCode: code ?? 1, signal: undefined };
	return { exitCode: 128 + constants.signals[signal], signal };
}

/** Always read, so that the app is never held up by a terminal or a pipe that nobody reads. */
function passOn(from: Readable | null, to: ByteSink): void {
	from?.on("data", (bytes: Buffer) => to.write(bytes));
	from?.on("error", () => {});
}
