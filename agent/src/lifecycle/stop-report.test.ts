import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { CELL } from "../bridge/counters.ts";
import { type Logger, silentLogger } from "../foundation/logger.ts";
import type { DrainOutcome } from "./drain-sequence.ts";
import { StopReport } from "./stop-report.ts";

const folder = mkdtempSync(join(tmpdir(), "outrigger-stop-"));
after(() => rmSync(folder, { recursive: true }));

const OUTCOME: DrainOutcome = {
	startedBy: "command",
	ended: "idle",
	isDrain: true,
	left: 0,
	budgetMs: 18_000,
	announcedMs: 5_000,
	drainedMs: 0,
	quietMs: 1_000,
	leases: 0,
	bypassSeen: 0,
	bypassLeft: 0,
};

class World {
	readonly cells = new Map<number, number>();
	readonly lines: string[] = [];
	lost = 0;
	readonly path: string;
	readonly report: StopReport;

	constructor(path = join(folder, "report")) {
		this.path = path;
		const say =
			(level: string) =>
			(message: string): void => {
				this.lines.push(`${level} ${message.split(":", 1)[0]}`);
			};
		const log: Logger = { ...silentLogger, info: say("info"), warn: say("warn") };
		this.report = new StopReport({
			sum: (cell) => this.cells.get(cell) ?? 0,
			exchangesLost: () => this.lost,
			path,
			log,
		});
	}

	get written(): { readonly cut: number; readonly lost: number } {
		return JSON.parse(readFileSync(this.path, "utf8")); // the report, as the test before has it
	}
}

test("a drain in which nothing was lost is one line, and its message stays what it was", () => {
	const world = new World();
	world.report.leave();
	world.report.over(OUTCOME);
	assert.equal(world.report.stopped(OUTCOME).cut, 0);
	assert.deepEqual(world.lines, ["info the drain is over"]);
	assert.equal(world.written.cut, 0);
});

test("what the stop still cuts has a line of its own, and is in the message", () => {
	const world = new World();
	world.report.leave();
	world.cells.set(CELL.IN_FLIGHT, 1);
	const late: DrainOutcome = { ...OUTCOME, ended: "deadline", left: 1 };
	world.report.over(late);
	world.cells.set(CELL.IN_FLIGHT, 0);
	world.cells.set(CELL.LEAVING_CUT, 1);
	assert.equal(world.report.stopped(late).cut, 1);
	assert.deepEqual(world.lines, ["warn the drain is over", "warn at the stop"]);
	assert.equal(world.written.cut, 1);
});

test("threads that died before we left took nothing of this stop with them; those that died since did", () => {
	const world = new World();
	world.lost = 7;
	world.report.leave();
	world.lost = 9;
	world.report.over(OUTCOME);
	assert.equal(world.written.lost, 2);
});

test("a stop without a drain is told when it is done; a message that cannot be written is told as well", () => {
	const world = new World(join(folder, "no", "such"));
	const stop: DrainOutcome = { ...OUTCOME, isDrain: false, startedBy: "sigterm", ended: "sigterm" };
	world.report.over(stop);
	assert.deepEqual(world.lines, []);
	world.report.stopped(stop);
	assert.deepEqual(world.lines, ["info stopped without a drain", "warn the drain report cannot be written"]);
});
