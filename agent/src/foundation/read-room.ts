import { BATCH_BYTES_MAX } from "./write-batch.ts";

/** What one read can take: as much as Node reads by itself. */
const ROOM_BYTES = 64 * 1024;
/** A read that fills so much of its room is one of many: what follows goes into rooms of the socket's own. */
const LARGE_READ_BYTES = 32 * 1024;
/** Up to so many bytes are copied rather than leave a whole room to them; all that a `WriteBatch` holds back is so small. */
const COPY_BYTES_MAX = BATCH_BYTES_MAX;
/** Rooms of its own that a socket keeps for their next use. */
const SPARE_MAX = 2;

/** Where the small reads of all sockets of a thread go, one after the other: each is used up within its event. */
const sharedRoom = Buffer.allocUnsafeSlow(ROOM_BYTES);

/**
 * The room into which a socket reads (`onread` of `net.Socket`).
 *
 * By itself Node allocates 64 KiB for every read and shrinks them to what came; under load that is most of a proxy's garbage, and its memory
 * grows with it. Here the bytes of a `data` event lie in room that a later read uses again. They are good until the event is over; whoever
 * keeps them asks for them with `own`.
 *
 * ```
 *            next()                own(), large                 next()             release()
 *   spare ──────────► present room ────────────► present, kept ────────► kept ──────────────► spare
 * ```
 *
 * `release` says that nobody holds bytes of this socket any more; `forget`, that who holds them will not say so. Kept rooms are then left to
 * the garbage collector, since to use one while its bytes still wait to be written would send another's bytes in their place.
 */
export class ReadRoom {
	/** Whether the bytes of the present event lie in the room of all sockets. */
	isShared = true;
	#present: Buffer | undefined;
	#isKept = false;
	#isLong = false;
	readonly #kept: Buffer[] = [];
	readonly #spare: Buffer[] = [];

	/** The room for the next read. Node asks before the first read and after each one. */
	next(): Buffer {
		if (!this.#isLong) {
			this.#disown();
			this.#spare.length = 0;
			return sharedRoom;
		}
		if (this.#present === undefined || this.#isKept) {
			this.#disown();
			this.#present = this.#spare.pop() ?? Buffer.allocUnsafeSlow(ROOM_BYTES);
		}
		return this.#present;
	}

	/** What was read, as the bytes of an event. */
	take(length: number, room: Uint8Array): Buffer {
		this.isShared = room === sharedRoom;
		this.#isLong = length >= LARGE_READ_BYTES;
		return Buffer.from(room.buffer, room.byteOffset, length);
	}

	/** Bytes of the present event for somebody who keeps them: a copy, or the same when their room is then left to them. */
	own(bytes: Buffer): Buffer {
		if (this.isShared || bytes.length <= COPY_BYTES_MAX) return Buffer.from(bytes);
		this.#isKept = true;
		return bytes;
	}

	/** Nobody holds bytes of earlier events any more. */
	release(): void {
		while (this.#kept.length > 0 && this.#spare.length < SPARE_MAX) {
			const room = this.#kept.pop();
			if (room !== undefined) this.#spare.push(room);
		}
		this.#kept.length = 0;
	}

	/** Whoever holds bytes of earlier events holds them for good. */
	forget(): void {
		this.#kept.length = 0;
		if (!this.#isKept) return;
		this.#present = undefined;
		this.#isKept = false;
	}

	#disown(): void {
		if (this.#isKept && this.#present !== undefined && this.#kept.length < SPARE_MAX) this.#kept.push(this.#present);
		this.#present = undefined;
		this.#isKept = false;
	}
}
