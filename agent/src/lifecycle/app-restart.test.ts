import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../foundation/logger.ts";
import { ManualScheduler } from "../foundation/scheduler.ts";
import { AppRestart } from "./app-restart.ts";

function fixture() {
	const scheduler = new ManualScheduler();
	const told: string[] = [];
	const said: string[] = [];
	let watchers = 0;
	const restart = new AppRestart({
		clock: scheduler.clock,
		scheduler,
		log: { ...silentLogger, info: (message) => said.push(message) },
		appStopMs: 10_000,
		watchClosely: () => {
			watchers += 1;
			return () => {
				watchers -= 1;
			};
		},
		onChange: (phase) => told.push(phase),
	});
	return { restart, scheduler, told, said, watchers: () => watchers };
}

test("a restart is over when the port has refused and accepts again, and is watched closely until then", () => {
	const { restart, scheduler, told, said, watchers } = fixture();
	restart.onPort("accepts");
	restart.begin();
	assert.deepEqual([told, watchers()], [["expected"], 1]);
	restart.onPort("accepts");
	restart.onPort("unknown");
	assert.equal(restart.phase, "expected");
	scheduler.advance(11_999);
	restart.onPort("refuses");
	assert.deepEqual([told, watchers()], [["expected", "down"], 1]);
	scheduler.advance(3_600_000); // CrashLoopBackOff
	restart.onPort("refuses");
	restart.onPort("unknown");
	assert.equal(restart.phase, "down");
	restart.onPort("accepts");
	assert.deepEqual([told, watchers()], [["expected", "down", "none"], 0]);
	assert.equal(scheduler.pending, 0);
	assert.match(said[0] ?? "", /has been restarted/);
});

test("a port that never refuses is another container's restart: nothing is waited for after the app's stop and 2 s", () => {
	const { restart, scheduler, told, said, watchers } = fixture();
	restart.onPort("accepts");
	restart.begin();
	scheduler.advance(11_999);
	assert.equal(restart.phase, "expected");
	scheduler.advance(1);
	assert.deepEqual([told, watchers(), scheduler.pending], [["expected", "none"], 0, 0]);
	assert.match(said[0] ?? "", /never refused/);
	restart.onPort("refuses");
	assert.equal(restart.phase, "none", "what happens now is for the port's own check to say");
});

test("a hook in the middle of it changes nothing: who asks without end has the port watched no longer for it", () => {
	const { restart, scheduler, told, watchers } = fixture();
	restart.begin();
	scheduler.advance(11_000);
	restart.begin();
	scheduler.advance(999);
	assert.deepEqual([told, watchers(), scheduler.pending], [["expected"], 1, 1]);
	scheduler.advance(1);
	assert.deepEqual([told, watchers(), scheduler.pending], [["expected", "none"], 0, 0]);
	told.length = 0;
	restart.begin();
	restart.onPort("refuses");
	restart.begin();
	assert.deepEqual([told, watchers(), scheduler.pending], [["expected", "down"], 1, 0]);
	restart.onPort("accepts");
	restart.onPort("accepts");
	assert.deepEqual([told, watchers()], [["expected", "down", "none"], 0]);
});

test("an app that was refused already when its hook was answered is down at once", () => {
	const { restart, scheduler, told } = fixture();
	restart.onPort("refuses");
	assert.deepEqual(told, []);
	restart.begin();
	assert.deepEqual([told, scheduler.pending], [["down"], 0]);
	restart.onPort("accepts");
	assert.deepEqual(told, ["down", "none"]);
	restart.begin();
	assert.equal(restart.phase, "expected", "and the next restart is one of its own");
	restart.stop();
});

test("stopping is safe in every phase and twice, and leaves neither timer nor watcher", () => {
	for (const ports of [[], ["accepts"], ["accepts", "refuses"]] as const) {
		const { restart, scheduler, watchers } = fixture();
		restart.stop();
		restart.begin();
		for (const port of ports) restart.onPort(port);
		restart.stop();
		restart.stop();
		assert.deepEqual([restart.phase, watchers(), scheduler.pending], ["none", 0, 0]);
	}
});
