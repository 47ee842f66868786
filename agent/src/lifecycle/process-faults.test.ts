import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { EventEmitter } from "node:events";
import { test } from "node:test";
import { type LogFields, type Logger, silentLogger } from "../foundation/logger.ts";
import { FAULT_EVENTS, FAULT_TEXT_MAX, listenForFaults } from "./process-faults.ts";

function listening(log: Partial<Logger> = {}, onFault: (error: unknown) => void = () => {}) {
	const source = new EventEmitter();
	const told: string[] = [];
	const lines: { readonly message: string; readonly fields: LogFields | undefined }[] = [];
	const release = listenForFaults(
		source,
		{ ...silentLogger, error: (message, fields) => lines.push({ message, fields }), ...log },
		{
			onFault: (error) => {
				told.push(`first ${String(error)}`);
				onFault(error);
			},
			onSecond: (error) => told.push(`second ${String(error)}`),
		},
	);
	return { source, told, lines, release };
}

test("the first fault is logged with its stack and told, the second ends, a third says nothing", () => {
	const { source, told, lines } = listening();
	const first = new Error("one");
	source.emit("unhandledRejection", first, Promise.resolve());
	assert.deepEqual(told, ["first Error: one"]);
	assert.deepEqual(lines[0]?.fields, { event: "unhandledRejection", fatal: true, error: first.stack });
	source.emit("uncaughtException", new Error("two"), "uncaughtException");
	source.emit("uncaughtException", new Error("three"), "uncaughtException");
	assert.deepEqual(told, ["first Error: one", "second Error: two"]);
	assert.equal(lines.length, 2);
	assert.match(lines[1]?.message ?? "", /^another fault/);
});

test("a fault in what ends the agent is the second one, and so is one that comes while it is told of the first", () => {
	const throwing = listening({}, () => {
		throw new Error("in the end");
	});
	throwing.source.emit("uncaughtException", new Error("one"));
	assert.deepEqual(throwing.told, ["first Error: one", "second Error: in the end"]);
	const inner = listening({}, () => {
		inner.source.emit("unhandledRejection", new Error("inside"));
	});
	inner.source.emit("uncaughtException", new Error("one"));
	assert.deepEqual(inner.told, ["first Error: one", "second Error: inside"]);
});

test("a fault in the log stops neither the end nor makes a loop", () => {
	const throwing = listening({
		error: () => {
			throw new Error("the disk is full");
		},
	});
	throwing.source.emit("uncaughtException", new Error("one"));
	throwing.source.emit("uncaughtException", new Error("two"));
	assert.deepEqual(throwing.told, ["first Error: one", "second Error: two"]);
	let lines = 0;
	// A destination whose own error reaches the process each time that something is written.
	const looping = listening({
		error: () => {
			lines++;
			looping.source.emit("uncaughtException", new Error("EPIPE"));
		},
	});
	looping.source.emit("uncaughtException", new Error("one"));
	assert.equal(lines, 2);
	assert.deepEqual(looping.told, ["second Error: EPIPE"]);
});

test("whatever was thrown is described, within a bound", () => {
	const hostile = new Error("hostile");
	Object.defineProperty(hostile, "stack", {
		get() {
			throw new Error("no");
		},
	});
	const without = new Error("no stack");
	delete without.stack;
	const thrown: readonly (readonly [unknown, RegExp])[] = [
		[null, /^thrown, and no error: null$/],
		[undefined, /undefined$/],
		[Symbol("x"), /Symbol\(x\)$/],
		["text", /: text$/],
		[Object.create(null), /^thrown, and cannot be described$/],
		[hostile, /^thrown, and cannot be described$/],
		[without, /^no stack$/],
		[new Error("x".repeat(100_000)), /^Error: x+…$/],
	];
	for (const [error, expected] of thrown) {
		const lines: unknown[] = [];
		const source = new EventEmitter();
		listenForFaults(
			source,
			{ ...silentLogger, error: (_, fields) => lines.push(fields?.["error"]) },
			{ onFault: () => {}, onSecond: () => {} },
		);
		source.emit("uncaughtException", error);
		const text = String(lines[0]);
		assert.match(text, expected);
		assert.ok(text.length <= FAULT_TEXT_MAX + 1);
	}
});

test("after the release nothing is listened to", () => {
	const { source, told, release } = listening();
	release();
	for (const event of FAULT_EVENTS) assert.equal(source.listenerCount(event), 0);
	source.emit("unhandledRejection", new Error("later"));
	assert.deepEqual(told, []);
});

test("a real process hears of an exception and of a rejection, and ends as it is told", () => {
	const module = new URL("./process-faults.ts", import.meta.url).href;
	const program = `
		import { listenForFaults } from ${JSON.stringify(module)};
		const log = { debug() {}, info() {}, warn() {}, error: (message, fields) => console.log(fields.event) };
		listenForFaults(process, log, { onFault: () => void Promise.reject(new Error("second")), onSecond: () => process.exit(70) });
		setInterval(() => {}, 1_000);
		setImmediate(() => { throw new Error("first"); });
	`;
	const { status, stdout, stderr } = spawnSync(
		process.execPath,
		["--import", "tsx", "--input-type=module", "--eval", program],
		{ encoding: "utf8", timeout: 60_000 },
	);
	assert.deepEqual([status, stdout], [70, "uncaughtException\nunhandledRejection\n"], stderr);
});
