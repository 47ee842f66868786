import { parentPort, workerData } from "node:worker_threads";
import { dataLine } from "./bridge/commands.ts";
import type { DataThreadData } from "./bridge/data-threads.ts";
import type { Address } from "./config/settings.ts";
import { DataPlane, SWEEP_MS } from "./data-plane.ts";
import { assert } from "./foundation/assert.ts";
import { systemClock } from "./foundation/clock.ts";
import { SETTLE_MS, settleHeap } from "./foundation/settle-heap.ts";
import { IdSource } from "./telemetry/ids.ts";
import { AppSocket } from "./upstream/app-socket.ts";
import type { AppStream } from "./upstream/connection.ts";

// Small buffers are cut from a pool of this size: heads are most of them, and a larger pool is renewed more rarely.
Buffer.poolSize = 64 * 1024;

assert(parentPort !== null, "data-thread.ts runs in a worker");
const { settings, memory } = workerData as DataThreadData; // the control thread of the same build has put it there
const line = dataLine(parentPort);

const connect = (address: Address, localAddress: string | undefined): AppStream => {
	const socket = new AppSocket();
	socket.setNoDelay(true);
	if (address.kind === "unix") socket.connect({ path: address.path });
	else {
		const to = { host: address.host ?? "127.0.0.1", port: address.port };
		socket.connect(localAddress === undefined ? to : { ...to, localAddress });
	}
	return socket;
};

const plane = new DataPlane({
	settings,
	memory,
	clock: systemClock,
	afterTurn: setImmediate,
	ids: new IdSource(),
	connect,
	send: line.send,
});

line.onMessage((message) => {
	plane.obey(message).catch((error: unknown) => {
		const text = error instanceof Error ? error.message : String(error);
		line.send({ kind: "fatal", message: text, stack: error instanceof Error ? error.stack : undefined });
	});
});

setInterval(() => plane.sweep(), SWEEP_MS);
setTimeout(settleHeap, SETTLE_MS).unref();
line.send({ kind: "started" });
