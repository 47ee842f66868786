import { EventEmitter } from "node:events";
import type { ByteStream } from "./byte-stream.ts";

/** How a stream was closed. */
export type Ending = "destroy" | "reset";

/**
 * A socket that a test holds by both ends: what was written can be read, and what happens outside is said by `say`, `hangUp`, `refuse` and
 * `drain`. Nothing happens by itself. As with a `net.Socket`, what is written while corked or while the kernel takes nothing counts in
 * `writableLength`, and `close` follows a `destroy` only when the test says so.
 */
export class FakeStream extends EventEmitter implements ByteStream {
	readonly written: Buffer[] = [];
	writableCorked = 0;
	destroyed = false;
	/** Whether `open` was called. */
	isOpen = false;
	/** Whether `end` was called. */
	isEnded = false;
	isPaused = false;
	/** How it was closed, once it was. */
	ending: Ending | undefined;
	/** What the kernel takes nothing of until `drain`. */
	isFull = false;
	timeoutMs = 0;
	/** Of a socket to the app. */
	writeFailed = false;
	onWriteFailed: ((isAtOnce: boolean) => void) | undefined;
	isShared = false;
	remoteAddress: string | undefined = "192.0.2.7";
	readonly #waiting: Buffer[] = [];
	readonly #unread: Buffer[] = [];

	get writableLength(): number {
		return this.#waiting.reduce((sum, bytes) => sum + bytes.length, 0);
	}

	get writableNeedDrain(): boolean {
		return this.isFull && this.writableLength > 0;
	}

	/** All that has gone out, latin1. */
	get text(): string {
		return Buffer.concat(this.written).toString("latin1");
	}

	write(bytes: Uint8Array): boolean {
		this.#waiting.push(Buffer.from(bytes));
		this.#flush();
		return !this.writableNeedDrain;
	}

	cork(): void {
		this.writableCorked++;
	}

	uncork(): void {
		if (this.writableCorked > 0) this.writableCorked--;
		this.#flush();
	}

	end(): void {
		this.isEnded = true;
	}

	destroy(): this {
		if (!this.destroyed) this.ending = "destroy";
		this.destroyed = true;
		return this;
	}

	resetAndDestroy(): this {
		if (!this.destroyed) this.ending = "reset";
		this.destroyed = true;
		return this;
	}

	pause(): this {
		this.isPaused = true;
		return this;
	}

	resume(): this {
		this.isPaused = false;
		return this;
	}

	setTimeout(ms: number): this {
		this.timeoutMs = ms;
		return this;
	}

	/** The connection has been made. */
	open(): void {
		this.isOpen = true;
		this.emit("connect");
	}

	/** The other end says something; latin1. While nobody reads, it waits for `flow`. */
	say(bytes: string | Uint8Array): void {
		const said = typeof bytes === "string" ? Buffer.from(bytes, "latin1") : Buffer.from(bytes);
		if (this.isPaused || this.#unread.length > 0) this.#unread.push(said);
		else this.emit("data", said);
	}

	/** The loop turns: what waited is read, as long as somebody reads. Whether there was any. */
	flow(): boolean {
		let hasFlowed = false;
		while (!this.isPaused && !this.destroyed) {
			const said = this.#unread.shift();
			if (said === undefined) break;
			hasFlowed = true;
			this.emit("data", said);
		}
		return hasFlowed;
	}

	/** The other end sends FIN. */
	hangUp(): void {
		this.emit("end");
	}

	/** The system tells an error with that code, then that the socket is closed. */
	fail(code: string): void {
		this.emit("error", Object.assign(new Error(code), { code }));
		this.close();
	}

	close(): void {
		this.destroyed = true;
		this.emit("close");
	}

	/** The kernel takes bytes again. */
	drain(): void {
		this.isFull = false;
		this.#flush();
		this.emit("drain");
	}

	#flush(): void {
		if (this.writableCorked > 0 || this.isFull) return;
		this.written.push(...this.#waiting.splice(0));
	}
}
