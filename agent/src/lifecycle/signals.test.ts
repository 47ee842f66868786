import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { test } from "node:test";
import { ManualClock } from "../foundation/clock.ts";
import { END_SIGNALS, type EndSignal, listenForEnd, signalReason } from "./signals.ts";

function listening() {
	const source = new EventEmitter();
	const clock = new ManualClock();
	const told: string[] = [];
	const release = listenForEnd(source, clock, {
		first: (signal) => told.push(`first ${signal}`),
		second: (signal) => told.push(`second ${signal}`),
	});
	const send = (signal: EndSignal): boolean => source.emit(signal);
	return { source, clock, told, release, send };
}

test("the first signal begins, the second ends, whichever they are, and a third says nothing", () => {
	const { told, send, clock } = listening();
	send("SIGINT");
	clock.advance(1_000);
	send("SIGTERM");
	send("SIGTERM");
	assert.deepEqual(told, ["first SIGINT", "second SIGTERM"]);
});

test("two SIGTERMs in one moment are two decisions", () => {
	const { told, send } = listening();
	send("SIGTERM");
	send("SIGTERM");
	assert.deepEqual(told, ["first SIGTERM", "second SIGTERM"]);
});

test("one Ctrl-C that arrives twice, from the terminal and from npm, is one; a later one is a second", () => {
	const { told, send, clock } = listening();
	send("SIGINT");
	clock.advance(20);
	send("SIGINT");
	assert.deepEqual(told, ["first SIGINT"]);
	clock.advance(400);
	send("SIGINT");
	assert.deepEqual(told, ["first SIGINT", "second SIGINT"]);
});

test("after the release nothing is listened to", () => {
	const { source, release, told, send } = listening();
	release();
	for (const signal of END_SIGNALS) assert.equal(source.listenerCount(signal), 0);
	send("SIGTERM");
	assert.deepEqual(told, []);
});

test("each signal has its reason", () => {
	assert.deepEqual(END_SIGNALS.map(signalReason), ["sigterm", "sigint", "sighup"]);
});
