import { closeSync, openSync, readSync } from "node:fs";
import { hostname, totalmem } from "node:os";

/** What the configuration asks of the machine; a test hands over its own. */
export interface System {
	/** At most `bytesMax` bytes from the beginning; `undefined` when there is no such file. Rejects as `fs` does. */
	readFile(path: string, bytesMax: number): Promise<Uint8Array | undefined>;
	hostName(): string;
	/** The container's memory limit; `undefined` without one. */
	memoryLimitBytes(): number | undefined;
}

export const realSystem: System = {
	readFile,
	hostName: hostname,
	// libuv reads memory.max and memory.high of cgroup v2, memory.limit_in_bytes of v1, from the process's own cgroup upward. It
	// says 0 when it does not know, and a huge number when v1 has no limit.
	memoryLimitBytes: () => {
		const bytes = process.constrainedMemory();
		return bytes > 0 && bytes < totalmem() ? bytes : undefined;
	},
};

/** Synchronous inside: nothing else runs yet, and `node:fs/promises` would cost 4 MiB for one file. */
async function readFile(path: string, bytesMax: number): Promise<Uint8Array | undefined> {
	let file: number;
	try {
		file = openSync(path, "r");
	} catch (error) {
		if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
		throw error;
	}
	try {
		// Not readFile: the size of a device or a pipe is not known beforehand.
		const buffer = new Uint8Array(bytesMax);
		let length = 0;
		while (length < bytesMax) {
			const bytesRead = readSync(file, buffer, length, bytesMax - length, null);
			if (bytesRead === 0) break;
			length += bytesRead;
		}
		return buffer.subarray(0, length);
	} finally {
		closeSync(file);
	}
}
