import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import {
	closeSync,
	constants,
	existsSync,
	mkdtempSync,
	openSync,
	readFileSync,
	readSync,
	rmSync,
	writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { ManualClock, systemClock } from "./clock.ts";
import { Deadline } from "./deadline.ts";
import { LogSink } from "./log-sink.ts";
import { ManualScheduler } from "./scheduler.ts";

const folder = mkdtempSync(join(tmpdir(), "log-sink-"));
after(() => rmSync(folder, { recursive: true }));
let files = 0;

function path(): string {
	return join(folder, `${++files}`);
}

/** A named pipe with a reading end that this test holds open and reads when it likes. */
function pipe(): { readonly path: string; readonly reader: number } {
	const at = path();
	execFileSync("mkfifo", [at]);
	return { path: at, reader: openSync(at, constants.O_RDONLY | constants.O_NONBLOCK) };
}

function readAll(fd: number): string {
	const chunk = Buffer.alloc(65_536);
	let text = "";
	for (;;) {
		try {
			const length = readSync(fd, chunk);
			if (length === 0) return text;
			text += chunk.toString("latin1", 0, length);
		} catch (error) {
			if (error instanceof Error && "code" in error && error.code === "EAGAIN") return text;
			throw error;
		}
	}
}

const soon = (): Deadline => Deadline.after(systemClock, 2000);
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const LINE = `${"x".repeat(1023)}\n`;

describe("the log sink", () => {
	test("appends to a file, at once, and takes the chunk for good", async () => {
		const file = path();
		const first = LogSink.open(file, 1000);
		first.writeLine("one\n", "log");
		first.close();
		const sink = LogSink.open(file, 1000);
		assert.equal(sink.write(Buffer.from("two\nthree\n"), 2, "access_line"), true);
		assert.equal(sink.pendingBytes, 0);
		assert.equal(await sink.flush(soon()), true);
		assert.equal(readFileSync(file, "utf8"), "one\ntwo\nthree\n");
		sink.close();
		sink.close();
		sink.writeLine("four\n", "log");
		assert.equal(sink.dropped("log"), 1);
		assert.equal(await sink.flush(soon()), false);
		assert.equal(readFileSync(file, "utf8"), "one\ntwo\nthree\n");
	});

	test("refuses a file that cannot be opened, and a named pipe that nobody reads", () => {
		assert.throws(() => LogSink.open(join(folder, "none", "x"), 1000), /ENOENT/);
		const at = path();
		execFileSync("mkfifo", [at]);
		assert.throws(() => LogSink.open(at, 1000), /ENXIO/);
	});

	test("drops everything on a descriptor that is not open", () => {
		const fd = openSync(path(), "w");
		closeSync(fd);
		const sink = LogSink.onDescriptor(fd, 1000);
		sink.writeLine("x\n", "log");
		assert.equal(sink.dropped("log"), 1);
		assert.equal(sink.lastError, "EBADF");
	});

	test("survives a full disk, counts the lines, and goes on", { skip: !existsSync("/dev/full") }, () => {
		const sink = LogSink.open("/dev/full", 1000);
		assert.equal(sink.write(Buffer.from("one\ntwo\n"), 2, "access_line"), true);
		sink.writeLine("three\n", "log");
		assert.equal(sink.dropped("access_line"), 2);
		assert.equal(sink.dropped("log"), 1);
		assert.equal(sink.lastError, "ENOSPC");
		sink.close();
	});

	test("never waits for a pipe that nobody reads: keeps log.buffer, drops and counts the rest, and sends what it kept", async () => {
		const { path: at, reader } = pipe();
		const sink = LogSink.open(at, 32_768);
		let lines = 0;
		while (sink.dropped("access_line") < 50) {
			sink.write(Buffer.from(LINE), 1, "access_line");
			assert.ok(++lines < 1000, "the kernel's pipe has an end");
		}
		assert.ok(sink.pendingBytes > 0 && sink.pendingBytes <= 32_768);
		const clock = new ManualClock();
		assert.equal(await sink.flush(Deadline.after(clock, 0)), false);
		let text = "";
		while (sink.pendingBytes > 0) {
			text += readAll(reader);
			await turn();
		}
		assert.equal(await sink.flush(soon()), true);
		text += readAll(reader);
		const arrived = text.split("\n").length - 1;
		assert.equal(text, LINE.repeat(arrived), "whole lines only");
		assert.equal(arrived + sink.dropped("access_line"), lines);
		sink.writeLine("again\n", "log");
		assert.equal(await sink.flush(soon()), true);
		assert.equal(readAll(reader), "again\n");
		sink.close();
		closeSync(reader);
	});

	test("flushes as soon as the other end has taken everything", async () => {
		const { path: at, reader } = pipe();
		const sink = LogSink.open(at, 1 << 20);
		for (let i = 0; i < 200; i++) sink.write(Buffer.from(LINE), 1, "access_line");
		assert.ok(sink.pendingBytes > 0);
		const flushed = sink.flush(soon());
		let text = "";
		let isFlushed = false;
		void flushed.then(() => {
			isFlushed = true;
		});
		while (!isFlushed) {
			text += readAll(reader);
			await turn();
		}
		assert.equal(await flushed, true);
		text += readAll(reader);
		assert.equal(text, LINE.repeat(200));
		sink.close();
		closeSync(reader);
	});

	test("takes one chunk that is larger than the whole buffer when nothing is in its way", async () => {
		const { path: at, reader } = pipe();
		const sink = LogSink.open(at, 1000);
		assert.equal(sink.write(Buffer.from(LINE.repeat(3)), 3, "access_line"), true);
		assert.equal(readAll(reader), LINE.repeat(3));
		assert.equal(await sink.flush(soon()), true);
		sink.close();
		closeSync(reader);
	});

	test("survives a reader that goes away: counts what is lost and drops what comes", async () => {
		const { path: at, reader } = pipe();
		const sink = LogSink.open(at, 1 << 20);
		for (let i = 0; i < 100; i++) sink.write(Buffer.from(LINE), 1, "access_line");
		closeSync(reader);
		assert.equal(await sink.flush(soon()), false);
		sink.writeLine("x\n", "log");
		for (let i = 0; i < 100 && sink.lastError === undefined; i++) await turn();
		assert.match(sink.lastError ?? "", /EPIPE|ECONNRESET/);
		sink.writeLine("y\n", "log");
		assert.ok(sink.dropped("log") >= 1);
		assert.ok(sink.dropped("access_line") > 0);
		sink.close();
	});

	test("keeps what a non-blocking descriptor refuses for a moment, in order", async () => {
		// A terminal's descriptor can be made non-blocking by whoever shares it. FileTaker is what writes there; a pipe opened that way acts the same.
		const { FileTaker } = await import("./log-sink.ts");
		const { path: at, reader } = pipe();
		const fd = openSync(at, constants.O_WRONLY | constants.O_NONBLOCK);
		const scheduler = new ManualScheduler();
		const taker = new FileTaker(fd, scheduler);
		const lost: unknown[] = [];
		const note = (error: unknown): void => {
			lost.push(error);
		};
		let lines = 0;
		while (taker.pendingBytes === 0) {
			taker.take(Buffer.from(LINE), note);
			lines++;
		}
		assert.equal(taker.take(Buffer.from("last\n"), note), false);
		let emptied = 0;
		taker.whenEmpty(() => emptied++);
		scheduler.advance(20);
		assert.equal(emptied, 0, "nobody has read");
		let text = readAll(reader);
		scheduler.advance(20);
		assert.equal(emptied, 1);
		text += readAll(reader);
		assert.equal(text, `${LINE.repeat(lines)}last\n`);
		while (taker.pendingBytes === 0) taker.take(Buffer.from(LINE), note);
		taker.whenEmpty(() => emptied++);
		taker.close();
		assert.equal(emptied, 2);
		assert.equal(lost.length, 1);
		assert.equal(scheduler.pending, 0);
		closeSync(reader);
	});

	test("begins a new line after one that a failure has cut", async () => {
		const { FileTaker } = await import("./log-sink.ts");
		const { path: at, reader } = pipe();
		const fd = openSync(at, constants.O_WRONLY | constants.O_NONBLOCK);
		const file = path();
		writeSync(fd, ".");
		assert.equal(readAll(reader), ".");
		closeSync(reader);
		closeSync(fd);
		// The first write takes a part, the second fails, later ones succeed: as a disk that was full for a moment.
		const target = openSync(file, "w");
		const script: (number | Error)[] = [3, Object.assign(new Error("full"), { code: "ENOSPC" })];
		const taker = new FileTaker(target, new ManualScheduler(), (to, chunk, offset) => {
			const next = script.shift();
			if (next instanceof Error) throw next;
			return writeSync(to, chunk, offset, next ?? chunk.length - offset);
		});
		const lost: unknown[] = [];
		assert.equal(
			taker.take(Buffer.from("first\n"), (error) => lost.push(error)),
			true,
		);
		taker.take(Buffer.from("second\n"), (error) => lost.push(error));
		assert.equal(lost.length, 1);
		assert.equal(readFileSync(file, "utf8"), "fir\nsecond\n");
		taker.close();
	});

	for (const stream of ["stdout", "stderr"] as const) {
		test(`a ${stream} that nobody reads holds neither the work nor the exit`, async () => {
			const { path: at, reader } = pipe();
			const writer = openSync(at, constants.O_WRONLY);
			const child = spawn(
				process.execPath,
				["--import", "tsx", new URL("./log-sink-flood.fixture.ts", import.meta.url).pathname, stream],
				{ stdio: ["ignore", stream === "stdout" ? writer : "ignore", stream === "stderr" ? writer : "ignore", "ipc"] },
			);
			const reports: unknown[] = [];
			child.on("message", (report) => reports.push(report));
			const code = await new Promise((resolve) => child.once("exit", resolve)); // its pipe is full, and nobody has read
			closeSync(writer);
			closeSync(reader);
			assert.equal(code, 0);
			assert.equal(reports.length, 1);
			const { dropped, pendingBytes, isFlushed } = reports[0] as Record<string, number | boolean>;
			assert.equal(isFlushed, false);
			assert.ok(Number(pendingBytes) > 0 && Number(pendingBytes) <= 65_536);
			assert.ok(Number(dropped) > 0);
		});
	}
});
