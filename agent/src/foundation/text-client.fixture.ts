import { connect, type Socket } from "node:net";
import type { TestContext } from "node:test";

/** A connection over which a test says what it likes; `text` is all that has come back. */
export class TextClient {
	readonly socket: Socket;
	text = "";
	readonly closed: Promise<void>;

	/** `from`: another address of the loopback network stands for another machine. */
	constructor(t: TestContext, port: number, from = "127.0.0.1") {
		this.socket = connect({ port, host: "127.0.0.1", localAddress: from });
		this.socket.on("data", (chunk) => {
			this.text += chunk.toString("latin1");
		});
		this.socket.on("error", () => {});
		this.closed = new Promise((resolve) => this.socket.once("close", () => resolve()));
		t.after(() => this.socket.destroy());
	}

	/** Resolves when `what` has come. */
	until(what: string): Promise<void> {
		return new Promise((resolve, reject) => {
			const look = (): void => {
				if (!this.text.includes(what)) return;
				this.socket.off("data", look);
				resolve();
			};
			this.socket.on("data", look);
			this.socket.once("close", () => reject(new Error(`closed before ${what}: ${this.text}`)));
			look();
		});
	}
}
