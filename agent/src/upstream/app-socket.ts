import { Socket } from "node:net";

type Done = (error?: Error | null) => void;

/**
 * A socket to the app on which a failed write does not end the reading.
 *
 * An app may answer early and close while the client is still uploading (413, 401). Its answer is then in our receive
 * queue when our next write fails with EPIPE or ECONNRESET; a plain `net.Socket` destroys itself on that error and the
 * answer is lost. Here the failed write is swallowed and told by `writeFailed`; what can still be read is read, and the
 * end of reading ends the socket.
 */
export class AppSocket extends Socket {
	/** Whether a write has failed: nothing more reaches the app. */
	writeFailed = false;
	/** Whether the connection has been made: before that, an error is an error of connecting. */
	isOpen = false;

	constructor() {
		super({ allowHalfOpen: true });
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
		};
	}
}
