import assert from "node:assert/strict";
import { PassThrough, Writable } from "node:stream";
import { test } from "node:test";
import { StreamOutput } from "./process-io.ts";

/** A stream as a process has it. `asWriteStream` only adds the terminal's properties that we read. */
function asWriteStream(stream: Writable, terminal?: { readonly columns: number }): NodeJS.WriteStream {
	return Object.assign(stream, {
		isTTY: terminal !== undefined,
		columns: terminal?.columns ?? 0,
	}) as unknown as NodeJS.WriteStream; // all that StreamOutput uses is there
}

function failing(code: string | undefined): Writable {
	return new Writable({
		write: (_chunk, _encoding, callback) =>
			callback(Object.assign(new Error("no"), code === undefined ? {} : { code })),
	});
}

test("what is written arrives, and flushed waits for it", async () => {
	const stream = new PassThrough({ encoding: "utf8" });
	let arrived = "";
	stream.on("data", (text: string) => {
		arrived += text;
	});
	const output = new StreamOutput(asWriteStream(stream));
	output.write("a");
	output.write("b");
	await output.flushed();
	assert.equal(arrived, "ab");
	assert.equal(output.failure, undefined);
	assert.deepEqual([output.isTerminal, output.columns], [false, undefined]);
	const terminal = new StreamOutput(asWriteStream(new PassThrough(), { columns: 80 }));
	assert.deepEqual([terminal.isTerminal, terminal.columns], [true, 80]);
});

test("a reader that has gone away is no failure, a full disk is one, and neither holds the exit", async () => {
	for (const [code, failure] of [
		["EPIPE", undefined],
		["ENOSPC", "ENOSPC"],
		[undefined, "no"],
	] as const) {
		const output = new StreamOutput(asWriteStream(failing(code)));
		output.write("a");
		await output.flushed();
		await new Promise(setImmediate);
		output.write("b");
		await output.flushed();
		assert.equal(output.failure, failure);
	}
});
