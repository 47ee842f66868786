import { close, fstatSync, open, read, readdir } from "node:fs";

/**
 * What Linux tells in `/proc` about the sockets of this network namespace and of this process, without any privilege. For
 * `BypassWatch`, which looks again and again: nothing here holds up the event loop for more than a millisecond, and a table
 * is never in memory as a whole. Callbacks throughout, since `node:fs/promises` would cost 4 MiB.
 */
export type TableName = "tcp" | "tcp6";

/**
 * `missing`: there is no such table. That is so on other systems, where `/proc` was mounted without it, and for `tcp6` where
 * IPv6 is switched off.
 */
export type TableRead = "whole" | "truncated" | "missing";

/** Of one table: more than a hundred thousand sockets. */
export const TABLE_BYTES_MAX = 32 * 1024 * 1024;
/** The kernel gives a page at a time, whatever is asked for, and pages have up to 64 KiB. */
const PIECE_BYTES = 65_536;
/** Open files that are looked at in one turn of the event loop; a look at one takes about a microsecond. */
const FILES_A_TURN = 512;

/** Hands over the text of a table piece by piece. Rejects when it is there and cannot be read. */
export function readTable(
	name: TableName,
	take: (piece: string) => void,
	folder = "/proc/net",
	bytesMax = TABLE_BYTES_MAX,
): Promise<TableRead> {
	const { promise, resolve, reject } = Promise.withResolvers<TableRead>();
	open(`${folder}/${name}`, "r", (openError, file) => {
		if (openError !== null) {
			if (openError.code === "ENOENT") resolve("missing");
			else reject(openError);
			return;
		}
		const buffer = Buffer.allocUnsafeSlow(PIECE_BYTES);
		let bytes = 0;
		const end = (settle: () => void): void => close(file, settle); // an error of close changes nothing for a file that was read
		const next = (): void =>
			read(file, buffer, 0, PIECE_BYTES, null, (error, length) => {
				if (error !== null) {
					end(() => reject(error));
					return;
				}
				if (length === 0) {
					end(() => resolve("whole"));
					return;
				}
				bytes += length;
				if (bytes > bytesMax) {
					end(() => resolve("truncated"));
					return;
				}
				try {
					take(buffer.toString("latin1", 0, length));
				} catch (mistake) {
					end(() => reject(mistake));
					return;
				}
				next();
			});
		next();
	});
	return promise;
}

/**
 * Which of these sockets (by inode) this process has open, all of its threads included: they share one table of files. Rejects
 * when the table cannot be read. A socket that is open from the beginning to the end of the call is found; one that is opened
 * or closed meanwhile may be.
 */
export async function ownSockets(wanted: ReadonlySet<number>): Promise<ReadonlySet<number>> {
	const own = new Set<number>();
	const files = await openFiles();
	for (let start = 0; start < files.length && own.size < wanted.size; start += FILES_A_TURN) {
		if (start > 0) await new Promise<void>((resolve) => setImmediate(resolve));
		for (const file of files.slice(start, start + FILES_A_TURN)) {
			const inode = inodeOf(Number(file));
			if (inode !== undefined && wanted.has(inode)) own.add(inode);
		}
	}
	return own;
}

/** As many as there are connections, which are bounded, and the limit of open files bounds them again. */
function openFiles(): Promise<readonly string[]> {
	const { promise, resolve, reject } = Promise.withResolvers<readonly string[]>();
	readdir("/proc/self/fd", (error, files) => {
		if (error !== null) reject(error);
		else resolve(files);
	});
	return promise;
}

/** The number in the link `socket:[4711]`; `fstat` has it in a fifth of the time that it takes to read the link. */
function inodeOf(file: number): number | undefined {
	try {
		const stats = fstatSync(file);
		return stats.isSocket() ? stats.ino : undefined;
	} catch {
		return undefined; // closed since the listing
	}
}
