import { lstatSync, unlinkSync } from "node:fs";
import { createConnection } from "node:net";
import { errorCode } from "./byte-stream.ts";

/**
 * A process that was killed leaves its Unix socket behind, and nobody could bind there again: it goes when nobody listens on it. Never
 * rejects; whatever else is in the way is told by binding.
 */
export const removeStaleSocket = (path: string): Promise<void> =>
	new Promise((resolve) => {
		const probe = createConnection({ path });
		probe.once("connect", () => probe.destroy());
		probe.once("error", (error) => {
			if (errorCode(error) !== "ECONNREFUSED") return;
			try {
				// A file that is no socket refuses as well; it is somebody's.
				if (lstatSync(path, { throwIfNoEntry: false })?.isSocket()) unlinkSync(path);
			} catch {
				// A folder in which we may delete nothing: binding says that the address is in use.
			}
		});
		probe.once("close", () => resolve());
	});
