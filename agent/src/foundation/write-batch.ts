import type { ByteStream } from "./byte-stream.ts";

/** Larger writes go out at once: they fill the kernel's buffers, and back-pressure has to be felt. */
export const BATCH_BYTES_MAX = 16 * 1024;

/**
 * Small writes of one turn of the event loop, made together at its end.
 *
 * A write to a peer that sleeps wakes it up, and to wake it is most of what the write costs. Written one by one, with the work of an
 * exchange between them, each write finds a peer that has gone back to sleep; written in a row, the first wakes it and the others find it awake.
 * Measured with 41-byte answers on 64 connections: 37 % less CPU per request (`docs/benchmarks.md`). It also makes one write of
 * what is written to one stream in several pieces.
 *
 * The order of the bytes of a stream is kept. What waits is at most what one turn has read, plus heads.
 */
export class WriteBatch {
	readonly #later: (flush: () => void) => void;
	readonly #streams: ByteStream[] = [];
	readonly #flush = (): void => this.flush();

	/** `later` runs its argument once, after the events of the present turn: `setImmediate`. */
	constructor(later: (flush: () => void) => void) {
		this.#later = later;
	}

	write(stream: ByteStream, bytes: Uint8Array): void {
		if (bytes.length > BATCH_BYTES_MAX) {
			stream.write(bytes);
			if (stream.writableCorked > 0) stream.uncork(); // what waited goes with it, before it
			return;
		}
		if (stream.writableCorked === 0 && stream.writableLength === 0) {
			stream.cork();
			if (this.#streams.length === 0) this.#later(this.#flush);
			this.#streams.push(stream);
		}
		stream.write(bytes);
	}

	/** Runs `action` at the end of the turn, when what waits now has been written. */
	afterwards(action: () => void): void {
		this.#later(action);
	}

	/** Writes what waits. A stream that was uncorked before, or destroyed, does not mind. */
	flush(): void {
		const streams = this.#streams;
		for (let i = 0; i < streams.length; i++) streams[i]?.uncork();
		streams.length = 0;
	}
}
