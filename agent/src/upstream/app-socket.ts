import { Socket } from "node:net";
import { errorCode } from "../foundation/byte-stream.ts";
import { ReadRoom } from "../foundation/read-room.ts";

type Done = (error?: Error | null) => void;

/**
 * A socket to the app that reads into room that is there already (`ReadRoom`), and on which a failed write does not end the reading.
 *
 * An app may answer early and close while the client is still uploading (413, 401). Its answer is then in our receive
 * queue when our next write fails with EPIPE or ECONNRESET; a plain `net.Socket` destroys itself on that error and the
 * answer is lost. Here the failed write is swallowed and told by `writeFailed`; what can still be read is read, and the
 * end of reading ends the socket.
 *
 * Linux tells a reset once: when a write has been told of it, the reading that follows ends as if the app had sent FIN, and a body that
 * ends with the connection would look whole. So that end is told as the error that it is. (After the app's FIN a write fails with EPIPE.)
 */
export class AppSocket extends Socket {
	/** Whether a write has failed: nothing more reaches the app. */
	writeFailed = false;
	/** Told once, when a write has failed. `isAtOnce`: the kernel took no byte of it. */
	onWriteFailed: ((isAtOnce: boolean) => void) | undefined;
	/** Whether the kernel is being asked right now: an error that comes later may follow a part that was taken. */
	#isAsking = false;
	/** Whether a write has met the app's reset. */
	#wasReset = false;
	/** Whether the connection has been made: before that, an error is an error of connecting. */
	isOpen = false;

	readonly #room: ReadRoom;

	constructor() {
		const room = new ReadRoom();
		super({
			allowHalfOpen: true,
			onread: {
				buffer: () => room.next(),
				callback: (length, bytes) => {
					this.emit("data", room.take(length, bytes));
					return true;
				},
			},
		});
		this.#room = room;
		this.once("connect", () => {
			this.isOpen = true;
		});
	}

	own(bytes: Buffer): Buffer {
		return this.#room.own(bytes);
	}

	releaseBytes(): void {
		this.#room.release();
	}

	forgetBytes(): void {
		this.#room.forget();
	}

	get isShared(): boolean {
		return this.#room.isShared;
	}

	override push(chunk: unknown, encoding?: BufferEncoding): boolean {
		if (chunk !== null || !this.#wasReset) return super.push(chunk, encoding);
		this.destroy(Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" }));
		return false;
	}

	override _write(chunk: Buffer, encoding: BufferEncoding, done: Done): void {
		if (this.writeFailed) {
			done();
			return;
		}
		this.#isAsking = true;
		super._write(chunk, encoding, this.#swallow(done));
		this.#isAsking = false;
	}

	override _writev(chunks: { chunk: Buffer; encoding: BufferEncoding }[], done: Done): void {
		if (this.writeFailed) {
			done();
			return;
		}
		this.#isAsking = true;
		super._writev?.(chunks, this.#swallow(done));
		this.#isAsking = false;
	}

	#swallow(done: Done): Done {
		return (error) => {
			if (!error || !this.isOpen) {
				done(error);
				return;
			}
			this.writeFailed = true;
			this.#wasReset ||= errorCode(error) === "ECONNRESET";
			done();
			this.onWriteFailed?.(this.#isAsking);
		};
	}
}
