import { EXIT, type Io, type Output } from "./command.ts";
import { type Commands, runCommandLine } from "./command-line.ts";

/** The real streams and environment as an `Io`, and the command line run on them. */

/** Runs what the process was called with. Resolves to the exit code once results have been read (or the command does not wait). */
export async function runOnProcess(commands: Commands): Promise<number> {
	const stdout = new StreamOutput(process.stdout);
	const stderr = new StreamOutput(process.stderr);
	const io: Io = { stdout, stderr, env: process.env, cwd: process.cwd() };
	const { code, leavesAtOnce } = await runCommandLine(process.argv.slice(2), io, commands);
	if (leavesAtOnce) return code;
	await Promise.all([stdout.flushed(), stderr.flushed()]);
	if (stdout.failure === undefined) return code;
	stderr.write(`outrigger: the result could not be written (${stdout.failure})\n`);
	return code === EXIT.done ? EXIT.failed : code;
}

/**
 * A stream that may go away. A reader that has seen enough (`outrigger config schema | head`) closes the pipe: EPIPE is no failure,
 * what follows is dropped, and the command's code stays what it was.
 */
export class StreamOutput implements Output {
	readonly #stream: NodeJS.WriteStream;
	#isGone = false;
	/** Code of an error other than EPIPE: a full disk, say. */
	failure: string | undefined;

	constructor(stream: NodeJS.WriteStream) {
		this.#stream = stream;
		stream.on("error", (error: NodeJS.ErrnoException) => {
			this.#isGone = true;
			if (error.code !== "EPIPE") this.failure = error.code ?? error.message;
		});
	}

	get isTerminal(): boolean {
		return this.#stream.isTTY === true;
	}

	get columns(): number | undefined {
		return this.isTerminal ? this.#stream.columns : undefined;
	}

	write(text: string): void {
		if (!this.#isGone) this.#stream.write(text);
	}

	/** Resolves when everything has been handed to the kernel, or never will be. */
	flushed(): Promise<void> {
		if (this.#isGone) return Promise.resolve();
		// The callback of a write comes after all writes before it, and also when they fail.
		return new Promise((resolve) => this.#stream.write("", () => resolve()));
	}
}
