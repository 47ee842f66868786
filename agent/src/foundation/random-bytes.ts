import { openSync, readSync } from "node:fs";

/** The kernel's generator: on Linux and macOS the same that `node:crypto` draws from. */
const DEVICE = "/dev/urandom";

/**
 * Fills the whole of `target` with random bytes. Read from the device where there is one: loading `node:crypto` costs a thread 3 MiB, which is
 * a lot for names of requests (these bytes are never keys).
 */
export const fillRandom = (target: Uint8Array): void => {
	device ??= open();
	if (device === NONE) process.getBuiltinModule("node:crypto").randomFillSync(target);
	else for (let at = 0; at < target.length; ) at += readSync(device, target, at, target.length - at, null);
};

/** Opened once a thread, for the life of the process. `NONE`: Windows, or a root without devices. */
let device: number | undefined;
const NONE = -1;

const open = (): number => {
	try {
		return openSync(DEVICE, "r");
	} catch {
		return NONE;
	}
};
