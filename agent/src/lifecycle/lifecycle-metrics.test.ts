import assert from "node:assert/strict";
import { test } from "node:test";
import { CELL, Counters } from "../bridge/counters.ts";
import { ManualClock } from "../foundation/clock.ts";
import { silentLogger } from "../foundation/logger.ts";
import { type DrainReport, drainReport } from "./drain-report.ts";
import { lifecycleMetrics } from "./lifecycle-metrics.ts";
import { LifecycleState } from "./state.ts";

const reportOf = (cells: Readonly<Record<number, number>>): DrainReport => {
	const counters = Counters.allocate();
	for (const [cell, value] of Object.entries(cells)) counters.set(Number(cell), value);
	return drainReport(
		{
			startedBy: "command",
			ended: "idle",
			left: 0,
			isDrain: true,
			budgetMs: 18_000,
			announcedMs: 5_000,
			drainedMs: 1_500,
			quietMs: 1_000,
			leases: 0,
			bypassSeen: 0,
			bypassLeft: 0,
		},
		{ sum: (cell) => counters.get(cell), lost: 2, failedAtEnd: 0 },
	);
};

/** Every sample, as it would stand on the page. */
const samples = (report: DrainReport | undefined, bypass: number | undefined): readonly string[] => {
	const state = new LifecycleState(new ManualClock(), silentLogger);
	state.set({ at: "ready" }, "app_passes");
	const found: string[] = [];
	for (const { name, read, labelNames } of lifecycleMetrics({
		state,
		health: () => [
			["health", "warn"],
			["app/http", "pass"],
			["checks/db", "fail"],
			["reports/x", "unknown"],
		],
		bypass: () => bypass,
		leases: () => 2,
		threadsReplaced: () => 1,
		report: () => report,
	})) {
		read((labels, value) => {
			assert.deepEqual(Object.keys(labels), [...labelNames], `the labels of ${name}`);
			found.push(`${name}${JSON.stringify(labels)} ${value}`);
		});
	}
	return found;
};

test("state, health and what holds a drain are numbers; of a drain that has not been there are none", () => {
	const found = samples(undefined, undefined);
	assert.ok(found.includes('outrigger_state{"state":"ready"} 1'));
	assert.equal(found.filter((line) => line.startsWith("outrigger_state{") && line.endsWith(" 1")).length, 1);
	assert.ok(found.includes('outrigger_state_changes_total{"from":"starting","to":"ready","reason":"app_passes"} 1'));
	assert.deepEqual(
		found.filter((line) => line.startsWith("outrigger_health")),
		[
			'outrigger_health{"contributor":"health"} 0.5',
			'outrigger_health{"contributor":"app/http"} 1',
			'outrigger_health{"contributor":"checks/db"} 0',
			'outrigger_health{"contributor":"reports/x"} -1',
		],
	);
	assert.ok(found.includes("outrigger_leases{} 2"));
	assert.ok(found.includes("outrigger_data_threads_replaced_total{} 1"));
	assert.ok(!found.some((line) => line.startsWith("outrigger_bypass") || line.startsWith("outrigger_drain_seconds")));
});

test("the drain report in numbers", () => {
	const found = samples(
		reportOf({
			[CELL.LEAVING_SERVED]: 5,
			[CELL.LEAVING_FINISHED]: 4,
			[CELL.LEAVING_CUT]: 1,
			[CELL.LEAVING_REFUSED]: 2,
			[CELL.LEAVING_FAILED]: 3,
			[CELL.LEAVING_ABORTED]: 6,
			[CELL.LEAVING_STREAMS_CLOSED]: 7,
			[CELL.LEAVING_UPGRADED]: 8,
			[CELL.IDLE_CLOSED]: 9,
		}),
		3,
	);
	const drain = found.filter((line) => line.startsWith("outrigger_drain") || line.startsWith("outrigger_bypass"));
	assert.deepEqual(drain, [
		"outrigger_bypass_connections{} 3",
		'outrigger_drain_seconds{"phase":"announce"} 5',
		'outrigger_drain_seconds{"phase":"drain"} 1.5',
		'outrigger_drain_exchanges{"outcome":"served"} 5',
		'outrigger_drain_exchanges{"outcome":"finished"} 4',
		'outrigger_drain_exchanges{"outcome":"cut"} 1',
		'outrigger_drain_exchanges{"outcome":"lost"} 2',
		'outrigger_drain_exchanges{"outcome":"refused"} 2',
		'outrigger_drain_exchanges{"outcome":"failed"} 3',
		'outrigger_drain_exchanges{"outcome":"aborted"} 6',
		'outrigger_drain_exchanges{"outcome":"stream_closed"} 7',
		'outrigger_drain_exchanges{"outcome":"upgraded"} 8',
		"outrigger_drain_connections_closed{} 9",
	]);
});
