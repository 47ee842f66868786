import { Socket } from "node:net";

type Done = (error?: Error | null) => void;

/** What one read can take. */
const ROOM_BYTES = 64 * 1024;
/** A read that fills so much of its room is one of many: what follows gets rooms of its own, which need no copy. */
const LARGE_READ_BYTES = 32 * 1024;

/** Where small reads of all sockets of a thread go, one after the other: each is used up within its event. */
const sharedRoom = Buffer.allocUnsafeSlow(ROOM_BYTES);

/**
 * A socket to the app that reads into room that is there already, and on which a failed write does not end the reading.
 *
 * By itself Node allocates 64 KiB for each read and shrinks them to what came. Here most reads need no allocation (`onread`): the bytes of
 * a `data` event are then good only until the event is over (`isShared`), and whoever keeps them makes a copy. A long
 * body gets a room of its own for each read instead.
 *
 * An app may answer early and close while the client is still uploading (413, 401). Its answer is then in our receive
 * queue when our next write fails with EPIPE or ECONNRESET; a plain `net.Socket` destroys itself on that error and the
 * answer is lost. Here the failed write is swallowed and told by `writeFailed`; what can still be read is read, and the
 * end of reading ends the socket.
 */
export class AppSocket extends Socket {
	/** Whether a write has failed: nothing more reaches the app. */
	writeFailed = false;
	/** Told once, when a write has failed. */
	onWriteFailed: (() => void) | undefined;
	/** Whether the connection has been made: before that, an error is an error of connecting. */
	isOpen = false;

	/** Whether the bytes of the present `data` event are good only until it is over. */
	isShared = true;
	#isLong = false;

	constructor() {
		super({
			allowHalfOpen: true,
			onread: {
				// Asked for before the first read and after each one.
				buffer: () => (this.#isLong ? Buffer.allocUnsafeSlow(ROOM_BYTES) : sharedRoom),
				callback: (length, room) => {
					this.isShared = room === sharedRoom;
					this.#isLong = length >= LARGE_READ_BYTES;
					this.emit("data", Buffer.from(room.buffer, room.byteOffset, length));
					return true;
				},
			},
		});
		this.once("connect", () => {
			this.isOpen = true;
		});
	}

	override _write(chunk: Buffer, encoding: BufferEncoding, done: Done): void {
		if (this.writeFailed) done();
		else super._write(chunk, encoding, this.#swallow(done));
	}

	override _writev(chunks: { chunk: Buffer; encoding: BufferEncoding }[], done: Done): void {
		if (this.writeFailed) done();
		else super._writev?.(chunks, this.#swallow(done));
	}

	#swallow(done: Done): Done {
		return (error) => {
			if (!error || !this.isOpen) {
				done(error);
				return;
			}
			this.writeFailed = true;
			done();
			this.onWriteFailed?.();
		};
	}
}
