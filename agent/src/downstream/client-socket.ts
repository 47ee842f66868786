import { Socket } from "node:net";
import { ReadRoom } from "../foundation/read-room.ts";

/** A client's connection that reads into room that is there already (`ReadRoom`). */
export class ClientSocket extends Socket {
	readonly #room: ReadRoom;

	private constructor(handle: object, room: ReadRoom) {
		super({
			// `handle` is not in the documentation: it is how Node's own server makes its sockets, which take no `onread`.
			...({ handle } as object),
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
	}

	/**
	 * Takes a connection over from the socket that a server with `pauseOnConnect` has made for it, of which nothing was read. That socket is
	 * then an empty shell. Where a Node keeps its handles elsewhere, it is given back as it is: it works the same, with more garbage.
	 */
	static takeOver(accepted: Socket): Socket {
		const shell: { _handle?: unknown } = accepted as object;
		const handle = shell._handle;
		if (typeof handle !== "object" || handle === null) {
			accepted.resume();
			return accepted;
		}
		shell._handle = null;
		return new ClientSocket(handle, new ReadRoom());
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
}
