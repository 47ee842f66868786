import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { CELL, CounterReader, Counters } from "../bridge/counters.ts";
import {
	drainExitCode,
	drainReport,
	reportFields,
	reportSentence,
	type Tally,
	writeTerminationMessage,
} from "./drain-report.ts";
import type { DrainOutcome } from "./drain-sequence.ts";

const folder = mkdtempSync(join(tmpdir(), "outrigger-report-"));
after(() => rmSync(folder, { recursive: true }));

const OUTCOME: DrainOutcome = {
	startedBy: "command",
	ended: "idle",
	left: 0,
	isDrain: true,
	budgetMs: 18_000,
	announcedMs: 5_000.4,
	drainedMs: 1_320.6,
	quietMs: 1_000,
	leases: 0,
	bypassSeen: 2,
	bypassLeft: 0,
};

const reportOf = (
	cells: Readonly<Record<number, number>>,
	outcome: Partial<DrainOutcome> = {},
	tally: Partial<Tally> = {},
) => {
	const reader = new CounterReader();
	for (const thread of [0, 1]) {
		const counters = Counters.allocate();
		for (const [cell, value] of Object.entries(cells)) counters.set(Number(cell), value);
		reader.addThread(thread, counters.shared);
	}
	return drainReport(
		{ ...OUTCOME, ...outcome },
		{ sum: (cell) => reader.sum(cell), lost: 0, failedAtEnd: 0, ...tally },
	);
};

test("the report is the outcome of the drain and the account of all data threads, in whole numbers", () => {
	const report = reportOf({
		[CELL.LEAVING_IN_FLIGHT]: 2,
		[CELL.LEAVING_FINISHED]: 2,
		[CELL.LEAVING_ARRIVED]: 3,
		[CELL.LEAVING_SERVED]: 3,
	});
	assert.deepEqual(report, {
		startedBy: "command",
		ended: "idle",
		budgetMs: 18_000,
		announcedMs: 5_000,
		drainedMs: 1_321,
		quietMs: 1_000,
		inFlightAtStart: 4,
		arrived: 6,
		finished: 4,
		served: 6,
		cut: 0,
		lost: 0,
		refused: 0,
		failed: 0,
		aborted: 0,
		streamsClosed: 0,
		upgraded: 0,
		left: 0,
		idleClosed: 0,
		leases: 0,
		bypassSeen: 2,
		bypassLeft: 0,
	});
	assert.equal(reportFields(report)["in_flight_at_start"], 4);
	assert.equal(drainExitCode(report), 0);
	assert.equal(drainExitCode(reportOf({ [CELL.LEAVING_CUT]: 1 })), 3);
});

test("what the app's stop does to exchanges that the budget did not suffice for was cut, and is no failure of the app", () => {
	const cells = { [CELL.LEAVING_FAILED]: 3 };
	const late = reportOf(cells, { ended: "deadline", left: 4 }, { failedAtEnd: 1 });
	assert.deepEqual([late.cut, late.failed, drainExitCode(late)], [4, 2, 3], "no more than were left");
	const few = reportOf(cells, { ended: "deadline", left: 4 }, { failedAtEnd: 5 });
	assert.deepEqual([few.cut, few.failed], [1, 5]);
	const good = reportOf(cells, { ended: "idle", left: 0 }, { failedAtEnd: 0 });
	assert.deepEqual(
		[good.cut, good.failed, drainExitCode(good)],
		[0, 6, 0],
		"who comes when the app is stopped meets no app",
	);
});

test("what is left at the end, and what went down with a thread, is as good as cut", () => {
	assert.equal(drainExitCode(reportOf({ [CELL.IN_FLIGHT]: 1 })), 3);
	const lost = reportOf({}, {}, { lost: 20 });
	assert.equal(drainExitCode(lost), 3);
	assert.match(reportSentence(lost), /^20 exchanges were cut/);
});

test("a pipe that nobody reads does not hold up the stop", { skip: process.platform === "win32" }, () => {
	const path = join(folder, "pipe");
	execFileSync("mkfifo", [path]);
	assert.match(writeTerminationMessage(path, reportOf({})) ?? "", /ENXIO/);
});

test("in one sentence it says first whether anything was lost, and leaves out what did not happen", () => {
	assert.equal(
		reportSentence(reportOf({ [CELL.LEAVING_FINISHED]: 1 })),
		"nothing was cut: begun by command, ended by idle after 6.3 s; 2 finished, 0 served while leaving",
	);
	const bad = reportOf(
		{ [CELL.IN_FLIGHT]: 1, [CELL.LEAVING_REFUSED]: 1, [CELL.LEAVING_FAILED]: 1, [CELL.LEAVING_STREAMS_CLOSED]: 1 },
		{ ended: "deadline" },
	);
	assert.equal(
		reportSentence(bad),
		"2 exchanges were cut: begun by command, ended by deadline after 6.3 s; 0 finished, 0 served while leaving, 2 refused, 2 failed at the app, 2 event streams closed",
	);
});

test("the termination message is one line of JSON that takes the place of an older one and fits what the kubelet reads", () => {
	const path = join(folder, "message");
	writeFileSync(path, "x".repeat(10_000));
	assert.equal(writeTerminationMessage(path, reportOf({})), undefined);
	const text = readFileSync(path, "utf8");
	assert.ok(Buffer.byteLength(text) <= 4_096);
	assert.equal((JSON.parse(text) as { startedBy: string }).startedBy, "command"); // what the line before has shown to be an object
	assert.equal(text.split("\n").length, 2);
});

test("a message that cannot be written is told; outside of a pod no file is made in /dev", {
	skip: existsSync("/dev/termination-log"),
}, () => {
	assert.match(writeTerminationMessage(join(folder, "no", "such"), reportOf({})) ?? "", /ENOENT/);
	assert.equal(writeTerminationMessage("/dev/termination-log", reportOf({})), undefined);
	assert.equal(existsSync("/dev/termination-log"), false);
	chmodSync(folder, 0o755);
});
