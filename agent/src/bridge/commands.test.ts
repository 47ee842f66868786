import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { MessageChannel } from "node:worker_threads";
import { type ControlMessage, controlLine, type DataMessage, dataLine } from "./commands.ts";

/** One of each kind: a kind without a message does not compile. */
const controlMessages = Object.values({
	listen: { kind: "listen" },
	routes: { kind: "routes", templates: [{ path: "/users/{id}", methods: ["GET"] }] },
	state: { kind: "state", state: "draining" },
	app: {
		kind: "app",
		inbound: 0,
		addresses: [{ kind: "tcp", host: "127.0.0.1", port: 3000 }],
		source: { ipv4: "10.0.0.7", ipv6: undefined },
	},
	closeIdle: { kind: "closeIdle", idleMs: 1_000 },
	closeStreams: { kind: "closeStreams" },
	stop: { kind: "stop" },
} satisfies { [K in ControlMessage["kind"]]: Extract<ControlMessage, { kind: K }> });

const dataMessages = Object.values({
	started: { kind: "started" },
	listening: { kind: "listening", inbounds: [{ inbound: 0, port: 9810 }] },
	series: {
		kind: "series",
		slot: 1,
		labels: { route: "/", method: 1, status: 200, minorVersion: 1, scheme: 0, faultIndex: -1 },
	},
	routeHintRejected: { kind: "routeHintRejected", hint: "{" },
	appIdleLearned: { kind: "appIdleLearned", inbound: 0, idleMs: 500, from: "header" },
	stopped: { kind: "stopped" },
	fatal: { kind: "fatal", message: "x", stack: undefined },
	log: { kind: "log", level: "warn", message: "x", fields: { n: 1 } },
} satisfies { [K in DataMessage["kind"]]: Extract<DataMessage, { kind: K }> });

describe("the line between the threads", () => {
	test("carries each message both ways, in order, and nothing that is none", async () => {
		const { port1, port2 } = new MessageChannel();
		const control = controlLine(port1);
		const data = dataLine(port2);
		const atData: ControlMessage[] = [];
		const atControl: DataMessage[] = [];
		const done = new Promise<void>((resolve) => {
			control.onMessage((message) => {
				atControl.push(message);
				if (atControl.length === dataMessages.length) resolve();
			});
		});
		const stop = data.onMessage((message) => {
			atData.push(message);
			if (atData.length < controlMessages.length) return;
			stop();
			for (const answer of dataMessages) data.send(answer);
		});
		for (const noise of [null, 7, "stop", {}, { kind: 7 }, { kind: "stopped" }]) port1.postMessage(noise);
		for (const message of controlMessages) control.send(message);
		control.send({ kind: "listen" }); // the subscription has ended
		await done;
		port1.close();
		assert.deepEqual(atData, controlMessages);
		assert.deepEqual(atControl, dataMessages);
	});
});
