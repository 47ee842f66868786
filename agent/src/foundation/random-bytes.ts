import { closeSync, openSync, readSync } from "node:fs";

/** The kernel's generator: on Linux and macOS the same that `node:crypto` draws from. */
const DEVICE = "/dev/urandom";

/**
 * Fills the whole of `target` with random bytes. Read from the device where there is one: loading `node:crypto` costs a thread 3 MiB, which is
 * a lot for names of requests (these bytes are never keys).
 */
export const fillRandom = (target: Uint8Array): void => {
	let device: number;
	try {
		device = openSync(DEVICE, "r");
	} catch {
		process.getBuiltinModule("node:crypto").randomFillSync(target); // Windows, or a root without devices
		return;
	}
	try {
		for (let at = 0; at < target.length; ) at += readSync(device, target, at, target.length - at, null);
	} finally {
		closeSync(device);
	}
};
