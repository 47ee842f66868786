/** A peer that runs: started before the app, counted, ended. */
import { closeSync, mkdirSync, openSync, readFileSync, readSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import type { Peer } from "./peers/peer.ts";
import { freePort, type Process, startProcess, waitForAnswer } from "./processes.ts";

export interface Contestant {
	readonly name: string;
	readonly port: number;
	/** The processes that count as this proxy. */
	pids(): readonly number[];
	/** Why it is no longer there, as soon as that is so. */
	hasEnded(): string | undefined;
}

export interface StartedPeer extends Contestant {
	readonly peer: Peer;
	readonly process: Process;
	readonly opsPort: number;
	/** From exec to the first byte of the first answer. */
	readonly startMs: number;
	/** Access lines written so far. Empties the file when it has grown, so that a long run does not fill the disk. */
	countLogLines(): number;
}

const START_MS_MAX = 15_000;
const LOG_BYTES_KEPT = 32 * 1024 * 1024;

export interface StartOptions {
	readonly folder: string;
	readonly cores: string | undefined;
	readonly originPort: number;
	readonly env?: Readonly<Record<string, string>>;
}

let started = 0;

export async function startPeer(peer: Peer, options: StartOptions): Promise<StartedPeer> {
	const folder = join(options.folder, `${peer.name}-${++started}`);
	mkdirSync(folder, { recursive: true });
	const [port, opsPort, apiPort] = [await freePort(), await freePort(), await freePort()];
	const site = { port, opsPort, apiPort, originPort: options.originPort, folder, env: options.env ?? {} };
	const launch = peer.launch(site);
	const stderrFile = join(folder, "stderr.log");
	const process = startProcess({
		argv: launch.argv,
		stdoutFile: launch.isLogStdout ? launch.logFile : join(folder, "stdout.log"),
		stderrFile,
		...(launch.env === undefined ? {} : { env: launch.env }),
		...(options.cores === undefined ? {} : { cores: options.cores }),
	});
	let answeredAtMs: number;
	try {
		answeredAtMs = await waitForAnswer(port, START_MS_MAX, process.hasEnded);
	} catch (error) {
		await process.stop(0);
		const said = tail(stderrFile) || tail(launch.logFile) || "nothing";
		throw new Error(`${peer.name} did not start: ${messageOf(error)}. It said: ${said}`);
	}
	const log = new LogFile(launch.logFile);
	return {
		name: peer.name,
		peer,
		process,
		port,
		opsPort,
		startMs: answeredAtMs - process.startedAtMs,
		pids: () => process.tree(),
		hasEnded: () => process.hasEnded(),
		countLogLines: () => log.countLines(),
	};
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function tail(file: string): string {
	try {
		return readFileSync(file, "utf8").trim().slice(-1500);
	} catch {
		return "";
	}
}

/** Counts the lines of a file that grows, from where it stopped the last time. */
export class LogFile {
	readonly #file: string;
	#offset = 0;
	#lines = 0;

	constructor(file: string) {
		this.#file = file;
	}

	countLines(): number {
		const size = statSync(this.#file, { throwIfNoEntry: false })?.size ?? 0;
		if (size > this.#offset) {
			const fd = openSync(this.#file, "r");
			const buffer = Buffer.allocUnsafe(1024 * 1024);
			for (;;) {
				const read = readSync(fd, buffer, 0, buffer.length, this.#offset);
				if (read === 0) break;
				this.#offset += read;
				for (let at = buffer.indexOf(10); at !== -1 && at < read; at = buffer.indexOf(10, at + 1)) this.#lines++;
			}
			closeSync(fd);
		}
		// All writers append, so an emptied file goes on at its new end. A line that arrives just now is lost to the
		// count, so the caller does this between windows, when nothing is being written.
		if (this.#offset > LOG_BYTES_KEPT) {
			truncateSync(this.#file, 0);
			this.#offset = 0;
		}
		return this.#lines;
	}
}
