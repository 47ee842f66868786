/**
 * What the data path needs of a socket. `net.Socket` is one; the simulation's seeded socket is the other.
 * Writes are fire and forget: an accepted write that cannot be carried out ends in `error` and `close`.
 */
export interface ByteStream {
	/** Bytes that were written and that the kernel has not yet taken. */
	readonly writableLength: number;
	/** Whether `drain` will follow. */
	readonly writableNeedDrain: boolean;
	/** How often it was corked and not uncorked. */
	readonly writableCorked: number;
	readonly destroyed: boolean;
	/** Whether `end` was called, and whether its FIN is out. Absent: never. */
	readonly writableEnded?: boolean;
	readonly writableFinished?: boolean;
	/** Whether the bytes of a `data` event lie in room that other streams read into. Absent: they do not. */
	readonly isShared?: boolean;
	/** Bytes of the present `data` event for somebody who keeps them beyond it (`ReadRoom`). Absent: they may be kept as they are. */
	own?(bytes: Buffer): Buffer;
	/** Nobody holds bytes of earlier `data` events any more; or: whoever does will not say so. */
	releaseBytes?(): void;
	forgetBytes?(): void;
	write(bytes: Uint8Array): boolean;
	/** Sends FIN once everything written has been taken. */
	end(): void;
	/** Closes both directions at once. */
	destroy(): void;
	/** Closes with RST: no TIME_WAIT, and the peer cannot take what it has for whole. Throws on a Unix socket: see `reset`. */
	resetAndDestroy(): void;
	pause(): unknown;
	resume(): unknown;
	cork(): void;
	uncork(): void;
	/** `timeout` follows when nothing was read or written for so long; 0 ends the watch. */
	setTimeout(ms: number): unknown;
	on(event: "data", listener: (bytes: Buffer) => void): unknown;
	on(event: "error", listener: (error: Error) => void): unknown;
	on(event: "connect" | "end" | "drain" | "close" | "timeout", listener: () => void): unknown;
	removeAllListeners(event?: string): unknown;
}

/**
 * Closes with RST; on a Unix socket, which knows none and where Node throws (ERR_INVALID_HANDLE_TYPE), at once. The only way in which the data
 * path resets: an exception in a timer or in accepting would end the thread.
 *
 * While a FIN is on its way libuv refuses to reset (EINVAL), and Node 22 to 26 then takes the handle for closed although it is not: the
 * descriptor is lost, and the thread never ends, since it waits for that handle for ever. So such a stream is destroyed.
 */
export const reset = (
	stream: Pick<ByteStream, "resetAndDestroy" | "destroy" | "writableEnded" | "writableFinished">,
): void => {
	if (stream.writableEnded === true && stream.writableFinished !== true) {
		stream.destroy();
		return;
	}
	try {
		stream.resetAndDestroy();
	} catch (error) {
		if (errorCode(error) !== "ERR_INVALID_HANDLE_TYPE") throw error;
		stream.destroy();
	}
};

/** The `code` of a Node system error, or an empty string. */
export const errorCode = (error: unknown): string =>
	error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
