/** When a start is over, its first log lines and the app's first check included. */
export const SETTLE_MS = 1_000;

/**
 * Gives back what starting left behind: parsed sources, module records, half a young generation. V8 would do so after minutes, or never in a
 * process without work, and a sidecar has one process per pod. Takes some 10 ms of the calling thread, once; frees about 2 MiB of each.
 */
export const settleHeap = (): void => {
	const v8 = process.getBuiltinModule("node:v8");
	const vm = process.getBuiltinModule("node:vm");
	v8.setFlagsFromString("--expose-gc"); // the only door to it that needs no flag on the command line
	// Flags are the process's: another thread that settles at the same time may just have closed the door. Then there is nothing to call.
	const collect: unknown = vm.runInNewContext("globalThis.gc");
	v8.setFlagsFromString("--no-expose-gc");
	if (typeof collect === "function") collect({ type: "major", execution: "sync", flavor: "last-resort" });
};
