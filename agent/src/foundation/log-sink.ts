/**
 * The one place from which lines leave the process. Access lines and the agent's own log go through it.
 *
 * Promises: whoever reads the other end, or does not, no call here waits; what is not taken is kept up to `log.buffer` bytes, and what comes
 * after is dropped and counted, in whole lines. A destination that fails (closed pipe, full disk) costs lines, never the process. Nothing here holds the exit:
 * a `process.exit` with lines in hand loses these lines (`flush` first).
 *
 * How: a pipe or a socket is written through `net.Socket`, which is non-blocking (an asynchronous `fs.write` on a full pipe sits in libuv's thread pool, and
 * `process.exit` waits for it). Files and terminals are written synchronously: what they take is decided by the kernel's page cache, not by a reader.
 */
import { closeSync, constants, fstatSync, openSync, writeSync } from "node:fs";
import { Socket } from "node:net";
import type { Writable } from "node:stream";
import type { Deadline } from "./deadline.ts";
import { type Scheduler, systemScheduler } from "./scheduler.ts";

/** Whose lines they are: the label `observer` of `outrigger_log_lines_dropped_total`. */
export const LINE_OWNERS = ["access_line", "log"] as const;
export type LineOwner = (typeof LINE_OWNERS)[number];

export interface LineSink {
	/**
	 * Whole lines, each with its line feed. True: the bytes have been taken or dropped, and the chunk may be used again. False: the sink still needs them, the
	 * caller must not write into the chunk any more.
	 */
	write(chunk: Buffer, lines: number, owner: LineOwner): boolean;
	/** One line with its line feed. */
	writeLine(line: string, owner: LineOwner): void;
}

/** What takes the bytes: a stream that may be slow, or the kernel. */
interface Taker {
	/** Bytes that were handed over and not taken yet. */
	readonly pendingBytes: number;
	/** Whether `chunk` has been taken whole; `false`: it is kept. `lost` is called, then or later, when it never will be. */
	take(chunk: Buffer, lost: Lost): boolean;
	/** Calls back once nothing is pending any more. */
	whenEmpty(callback: () => void): void;
	close(): void;
}

type Lost = (error: unknown) => void;

const LINE_FEED = Buffer.from("\n");
/** A descriptor that somebody else made non-blocking refuses for a moment: how often it is tried again, and how long until then. */
const RETRY_MS = 20;

export class LogSink implements LineSink {
	readonly #bufferBytesMax: number;
	readonly #scheduler: Scheduler;
	readonly #dropped: Record<LineOwner, number> = { access_line: 0, log: 0 };
	#taker: Taker | undefined;
	#lastError: string | undefined;

	private constructor(bufferBytesMax: number, scheduler: Scheduler) {
		this.#bufferBytesMax = bufferBytesMax;
		this.#scheduler = scheduler;
	}

	/**
	 * `destination`: `stdout`, `stderr` or the path of a file, to which is appended. `bufferBytesMax`: `log.buffer`. Throws when the file cannot be opened:
	 * that is a problem of the configuration.
	 */
	static open(destination: string, bufferBytesMax: number, scheduler: Scheduler = systemScheduler): LogSink {
		if (destination === "stdout") return LogSink.onDescriptor(1, bufferBytesMax, scheduler);
		if (destination === "stderr") return LogSink.onDescriptor(2, bufferBytesMax, scheduler);
		// Non-blocking, or the opening of a named pipe would wait for its reader; without one it is an error (ENXIO).
		const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;
		return LogSink.onDescriptor(openSync(destination, flags, 0o644), bufferBytesMax, scheduler);
	}

	/** The same on a descriptor that is open; 1 and 2 are never closed. */
	static onDescriptor(fd: number, bufferBytesMax: number, scheduler: Scheduler = systemScheduler): LogSink {
		const sink = new LogSink(bufferBytesMax, scheduler);
		try {
			const status = fstatSync(fd);
			sink.#taker = status.isFIFO() || status.isSocket() ? new StreamTaker(fd) : new FileTaker(fd, scheduler);
		} catch (error) {
			sink.#lastError = codeOf(error) ?? String(error); // a descriptor that is not open: everything is dropped
		}
		return sink;
	}

	/** Lines dropped so far. */
	dropped(owner: LineOwner): number {
		return this.#dropped[owner];
	}

	/** Code or message of the last failure of the destination; `undefined`: none. */
	get lastError(): string | undefined {
		return this.#lastError;
	}

	/** Bytes that wait for the other end. */
	get pendingBytes(): number {
		return this.#taker?.pendingBytes ?? 0;
	}

	write(chunk: Buffer, lines: number, owner: LineOwner): boolean {
		const taker = this.#taker;
		const pending = taker?.pendingBytes ?? 0;
		// A chunk that is larger than the whole buffer still goes when nothing is in its way.
		if (taker === undefined || (pending > 0 && pending + chunk.length > this.#bufferBytesMax)) {
			this.#dropped[owner] += lines;
			return true;
		}
		return taker.take(chunk, (error) => {
			this.#dropped[owner] += lines;
			this.#note(error);
		});
	}

	writeLine(line: string, owner: LineOwner): void {
		this.write(Buffer.from(line, "utf8"), 1, owner);
	}

	/** Resolves as soon as everything has been taken (true), or at the deadline (false), or when the destination is gone (false). */
	async flush(deadline: Deadline): Promise<boolean> {
		const taker = this.#taker;
		if (taker === undefined) return false;
		if (taker.pendingBytes === 0) return true;
		return new Promise((resolve) => {
			const cancel = this.#scheduler.after(deadline.remainingMs(), () => resolve(false));
			taker.whenEmpty(() => {
				cancel();
				resolve(this.pendingBytes === 0 && this.#taker !== undefined);
			});
		});
	}

	/** Lets go of the destination; what is pending is lost, what comes is dropped. Safe twice. */
	close(): void {
		const taker = this.#taker;
		this.#taker = undefined; // first: closing tells of lost lines, which must not close again
		taker?.close();
	}

	#note(error: unknown): void {
		if (this.#taker === undefined) return;
		this.#lastError = codeOf(error) ?? String(error);
		if (GONE.has(this.#lastError)) this.close();
	}
}

/** Failures after which nobody will ever read this again. */
const GONE = new Set(["EPIPE", "ECONNRESET", "EBADF", "ERR_STREAM_DESTROYED", "ERR_STREAM_WRITE_AFTER_END"]);

function codeOf(error: unknown): string | undefined {
	return error instanceof Error && "code" in error ? String(error.code) : undefined;
}

class StreamTaker implements Taker {
	readonly #stream: Writable;
	readonly #isOwn: boolean;
	readonly #waiting: (() => void)[] = [];
	readonly #release = (): void => {
		if (this.#stream.writableLength > 0 && !this.#stream.destroyed) return;
		for (const callback of this.#waiting.splice(0)) callback();
	};

	constructor(fd: number) {
		// Node's own streams of 1 and 2 never close their descriptors. Ours would, and the next connection would get number 1.
		this.#isOwn = fd !== 1 && fd !== 2;
		this.#stream =
			fd === 1 ? process.stdout : fd === 2 ? process.stderr : new Socket({ fd, readable: false, writable: true });
		this.#stream.on("error", ignore); // told through the callback of the write; without a listener it would end the process
		this.#stream.on("close", this.#release);
		this.#stream.on("drain", this.#release);
	}

	get pendingBytes(): number {
		return this.#stream.writableLength;
	}

	take(chunk: Buffer, lost: Lost): boolean {
		this.#stream.write(chunk, (error) => {
			if (error) lost(error);
		});
		return this.#stream.writableLength === 0; // libuv tries at once: mostly the kernel has it already
	}

	whenEmpty(callback: () => void): void {
		this.#waiting.push(callback);
		// An empty write comes behind all others, and its callback after theirs, whether they succeed or not.
		this.#stream.write("", this.#release);
	}

	close(): void {
		this.#stream.off("close", this.#release);
		this.#stream.off("drain", this.#release);
		if (this.#isOwn) this.#stream.destroy();
		for (const callback of this.#waiting.splice(0)) callback();
	}
}

function ignore(): void {}

interface Kept {
	readonly chunk: Buffer;
	readonly lost: Lost;
}

/** How bytes get to a descriptor: `writeSync`, or what a test puts in its place. */
type WriteBytes = (fd: number, chunk: Buffer, offset: number) => number;

/** Files and terminals. Exported for its tests alone. */
export class FileTaker implements Taker {
	readonly #fd: number;
	readonly #writeBytes: WriteBytes;
	readonly #scheduler: Scheduler;
	readonly #waiting: (() => void)[] = [];
	/** Only for descriptors that refuse for a moment (EAGAIN): a terminal or pipe that somebody else made non-blocking. */
	#kept: Kept[] = [];
	#keptBytes = 0;
	/** A failure has cut a line: the next one must not be glued to it. */
	#isLineCut = false;
	#cancel: (() => void) | undefined;

	constructor(fd: number, scheduler: Scheduler, writeBytes: WriteBytes = writeSync) {
		this.#fd = fd;
		this.#writeBytes = writeBytes;
		this.#scheduler = scheduler;
	}

	get pendingBytes(): number {
		return this.#keptBytes;
	}

	take(chunk: Buffer, lost: Lost): boolean {
		if (this.#keptBytes > 0) return this.#keep(chunk, lost);
		let written = 0;
		try {
			if (this.#isLineCut) {
				this.#writeBytes(this.#fd, LINE_FEED, 0);
				this.#isLineCut = false;
			}
			while (written < chunk.length) written += this.#writeBytes(this.#fd, chunk, written);
			return true;
		} catch (error) {
			if (codeOf(error) === "EAGAIN") return this.#keep(chunk.subarray(written), lost);
			if (written > 0) this.#isLineCut = true;
			lost(error); // a full disk, a file server that is gone: these lines are lost, the next are tried
			return true;
		}
	}

	whenEmpty(callback: () => void): void {
		this.#waiting.push(callback);
	}

	close(): void {
		this.#cancel?.();
		this.#cancel = undefined;
		const kept = this.#kept.splice(0);
		this.#keptBytes = 0;
		for (const { lost } of kept) lost(new Error("closed"));
		for (const callback of this.#waiting.splice(0)) callback();
		if (this.#fd > 2) closeSync(this.#fd);
	}

	#keep(chunk: Buffer, lost: Lost): boolean {
		this.#kept.push({ chunk, lost });
		this.#keptBytes += chunk.length;
		this.#cancel ??= this.#scheduler.after(RETRY_MS, () => this.#retry());
		return false;
	}

	#retry(): void {
		this.#cancel = undefined;
		const kept = this.#kept;
		this.#kept = [];
		this.#keptBytes = 0;
		for (const { chunk, lost } of kept) this.take(chunk, lost);
		if (this.#keptBytes === 0) for (const callback of this.#waiting.splice(0)) callback();
	}
}
