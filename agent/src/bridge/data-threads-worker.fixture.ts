/**
 * A data thread of data-threads.test.ts: it says back what it is told, and ends as `service.name` asks.
 *
 * `well`; `no-port`: its ports are taken; `silent`: says nothing more after `started`; `gone`: ends at once. Told `closeIdle`, it throws; told
 * of the app at port 1, it says that it cannot go on.
 */
import { parentPort, workerData } from "node:worker_threads";
import { dataLine } from "./commands.ts";
import { CELL, Counters } from "./counters.ts";
import type { DataThreadData } from "./data-threads.ts";

const { settings, memory } = workerData as DataThreadData; // given by the control thread
if (parentPort === null) throw new Error("this runs in a worker");
const line = dataLine(parentPort);
const how = settings.service.name;
if (how === "gone") process.exit(3);

const note = (message: string): void =>
	line.send({ kind: "log", level: "info", message, fields: { thread: memory.thread } });

line.onMessage((message) => {
	switch (message.kind) {
		case "listen": {
			if (how === "silent") return;
			if (how === "no-port") {
				line.send({ kind: "fatal", message: "the port is taken", stack: "Error: the port is taken\n    at there" });
				return;
			}
			new Counters(memory.counters).set(CELL.DOWNSTREAM_OPEN, 4);
			// Bound as told; the system's choice is 4711.
			const inbounds = settings.inbound.map(({ listen }, inbound) => ({
				inbound,
				port: listen.kind === "unix" ? 0 : listen.port === 0 ? 4711 : listen.port,
			}));
			line.send({ kind: "listening", inbounds });
			break;
		}
		case "closeIdle":
			throw new Error("a mistake in the thread");
		case "stop":
			line.send({ kind: "stopped" });
			note("stopped");
			break;
		case "app":
			if (message.addresses.some((address) => address.kind === "tcp" && address.port === 1)) {
				line.send({ kind: "fatal", message: "cannot go on", stack: undefined });
			} else note(`app ${message.inbound}`);
			break;
		case "state":
			note(`state ${message.state}`);
			break;
		default:
			note(message.kind);
	}
});
line.send({ kind: "started" });
