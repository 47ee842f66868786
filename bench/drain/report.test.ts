import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { placeBlock, renderText } from "../report.ts";
import { sumReports } from "./drain-report.ts";
import type { Stop } from "./kubelet.ts";
import type { Tally } from "./ledger.ts";
import { countBy, decisiveMs, describeKind, type Failure, type Outcome, shortcomings, stopMsMax } from "./outcome.ts";
import { DRAIN_MARKS, merged, type Results, renderResults, tablesOf } from "./report.ts";
import { Timeline } from "./timeline.ts";

const percentiles = (max: number) => ({ p50: max / 10, p99: max / 2, max });

const tally = (change: Partial<Tally> = {}): Tally => ({
	begun: 100_000,
	good: 100_000,
	lost: 0,
	begunBy: { lb: 50_000, direct: 50_000, quick: 1, slow: 1, upload: 1, download: 1, fresh: 1, reused: 1 },
	durationMs: {
		quick: percentiles(10),
		slow: percentiles(200),
		upload: percentiles(1000),
		download: percentiles(2000),
	},
	latenessMs: percentiles(5),
	connectionsOpened: 1234,
	connectionsLost: 0,
	...change,
});

const failure = (change: Partial<Failure> = {}): Failure => ({
	...{ id: 1, what: "quick", way: "lb", target: "127.0.0.1:1", server: undefined, startedMs: 100, endedMs: 3200 },
	...{ earlierExchanges: 0, kind: "status", detail: "status 503", status: 503, receivedBytes: 0, sentBytes: 60 },
	...{ pod: "pair1a", phase: "gone", whose: "old", balancer: "503 SC-- after 3 retries" },
	...change,
});

const stop = (change: Partial<Stop> = {}): Stop => ({
	...{ appHookMs: 5100, appHookSaid: "status 200", sidecarHookMs: 50, sidecarHookSaid: "exit code 0" },
	...{ appSigtermMs: 5100, appGoneMs: 5110, appEnded: "signal SIGTERM" },
	...{ sidecarSigtermMs: 5180, sidecarGoneMs: 5250, sidecarEnded: "exit code 0", isGraceOver: false },
	...change,
});

const outcome = (change: Partial<Outcome> = {}): Outcome => ({
	app: "node",
	mode: "port",
	seed: 1,
	pairs: 3,
	lateMs: 2000,
	tally: tally(),
	failures: [],
	restarts: Array.from({ length: 20 }, (_, index) => ({
		...stop(),
		pair: index % 3,
		pod: `pair${(index % 3) + 1}a`,
		atMs: index * 10_000,
		report: { ended: "idle", served: 100, finished: 3, cut: 0 },
		newPodMs: 600,
	})),
	hasBalancer: true,
	seconds: 210,
	...change,
});

const WANTED = { requests: 100_000, restarts: 20 };

test("what was going on at a moment is the last thing that had begun", () => {
	const timeline = new Timeline();
	assert.deepEqual([timeline.at(0).phase, timeline.at(0).pair], ["calm", -1]);
	timeline.enter(10, "hooks", 2, "pair3a");
	timeline.enter(20, "app stops", 2, "pair3a");
	timeline.calm(30);
	const phases = [9, 10, 19.9, 20, 29, 30, 99].map((ms) => timeline.at(ms).phase);
	assert.deepEqual(phases, ["calm", "hooks", "hooks", "app stops", "app stops", "calm", "calm"]);
	assert.deepEqual([timeline.at(25).pair, timeline.at(25).pod], [2, "pair3a"]);
});

test("a request that nobody took was lost when it was sent, one that was under way when its connection ended", () => {
	assert.equal(decisiveMs(failure()), 100); // the load balancer tried for seconds
	assert.equal(decisiveMs(failure({ kind: "refused", status: 0 })), 100);
	assert.equal(decisiveMs(failure({ kind: "cut" })), 3200);
	assert.equal(decisiveMs(failure({ status: 502 })), 3200);
	assert.equal(decisiveMs(failure({ server: "pair1a" })), 3200); // a pod's own 503
});

test("failures are called what a reader sees, and are counted by that, the most frequent first", () => {
	const kinds = [
		failure(),
		failure({ kind: "refused" }),
		failure({ way: "direct", status: 502 }),
		failure({ kind: "cut" }),
		failure(),
	];
	assert.deepEqual(countBy(kinds, describeKind), [
		["503 by the load balancer", 2],
		["connection refused", 1],
		["502", 1],
		["answer cut short", 1],
	]);
	for (const kind of ["closed", "reset", "body", "stalled", "malformed"] as const) {
		assert.ok(describeKind(failure({ kind })).length > 5);
	}
});

describe("the promise", () => {
	test("is kept when nothing was lost, every stop was in time and every agent ended with 0 and a report", () => {
		assert.deepEqual(shortcomings(outcome(), WANTED), []);
	});

	test("allows a stop the longer of the announcement and the quiet time with the longest exchange, and a second", () => {
		assert.equal(stopMsMax(outcome(), undefined), 6000);
		const slow = { ...tally().durationMs, download: percentiles(8000) };
		assert.equal(stopMsMax(outcome({ tally: tally({ durationMs: slow }) }), {}), 10_000);
		assert.equal(stopMsMax(outcome({ tally: tally({ durationMs: slow }) }), { quietMs: 3000 }), 12_000);
		assert.equal(stopMsMax(outcome({ lateMs: 12_000 }), {}), 16_000);
	});

	const restart = outcome().restarts[0];
	assert.ok(restart !== undefined);
	const with_ = (change: Partial<typeof restart>): Outcome =>
		outcome({ restarts: [...outcome().restarts.slice(1), { ...restart, ...change }] });
	const cases: readonly (readonly [what: string, broken: Outcome, told: RegExp])[] = [
		["by one lost request", outcome({ failures: [failure()] }), /node, port: lost 1 requests/],
		["by too few requests", outcome({ tally: tally({ begun: 99_999 }) }), /99999 requests, not 100000/],
		["by too few restarts", outcome({ restarts: outcome().restarts.slice(1) }), /19 restarts, not 20/],
		[
			"by a stop that took too long",
			with_({ appSigtermMs: 6001 }),
			/the stop of pair1a took 6001 ms, not 6000 ms at most/,
		],
		["by an agent that cut something", with_({ sidecarEnded: "exit code 3" }), /pair1a ended with exit code 3/],
		["by an agent without a report", with_({ report: undefined }), /pair1a left no drain report/],
		["by the end of the grace period", with_({ isGraceOver: true }), /the grace period of pair1a ended/],
	];
	for (const [what, broken, told] of cases) {
		test(`is broken ${what}`, () => {
			const found = shortcomings(broken, WANTED);
			assert.equal(found.length, 1);
			assert.match(found[0] ?? "", told);
		});
	}

	test("is only that of capture: port: the others must only have been run", () => {
		const failures = [failure(), failure()];
		assert.deepEqual(shortcomings(outcome({ mode: "without", failures }), WANTED), []);
		assert.equal(shortcomings(outcome({ mode: "none", failures, restarts: [] }), WANTED).length, 1);
	});
});

test("drain reports are added up, whatever is in them", () => {
	const { reports, sums, ended } = sumReports([
		{ ended: "idle", served: 5, cut: 0 },
		{ ended: "idle", served: 6, cut: "many", refused: Number.NaN },
		{ ended: "deadline", cut: 2 },
		{},
		undefined,
		null,
		"words",
	]);
	assert.deepEqual([reports, sums.served, sums.cut, sums.refused], [4, 11, 2, 0]);
	assert.deepEqual(
		[...ended],
		[
			["idle", 2],
			["deadline", 1],
			["unknown", 1],
		],
	);
});

const results = (): Results => ({
	date: "2024-01-01T00:00:00.000Z",
	commit: "abc",
	machine: { cpu: "Some CPU", cores: 2, memoryBytes: 2 ** 34, kernel: "Linux 6", node: "26.0.0" },
	settings: {
		...{ pairs: 3, restarts: 20, requests: 100_000, ratePerSecond: 500, lateMs: 2000, seed: 1 },
		...{ agent: "outrigger 1.0.0 on Node 26.0.0", balancer: "haproxy 2.6.12" },
	},
	apps: [{ name: "node", title: "Node", version: "26.0.0", byItself: "ends at once" }],
	outcomes: [
		outcome(),
		outcome({
			mode: "without",
			failures: [failure(), failure({ kind: "refused", phase: "hooks" }), failure({ kind: "cut" })],
			restarts: outcome().restarts.map((entry) => ({
				...entry,
				...{ appSigtermMs: 0, appGoneMs: 8, sidecarGoneMs: undefined, sidecarEnded: undefined, report: undefined },
			})),
		}),
	],
	notRun: ["java: a JDK is missing"],
	earlier: [],
	shortcomings: ["node, port: something"],
});

test("the tables hold what was lost, why, how long the stops took, and what the reports say", () => {
	const text = tablesOf(results()).map(renderText).join("\n");
	assert.match(text, /node +`capture: port` +100,000 +\*\*0\*\* +20 +0 +– +–/);
	assert.match(
		text,
		/node +no agent +100,000 +3 +20 +0\.150 +1 × 503 by the load balancer, 1 × connection refused, 1 ×/,
	);
	assert.match(text, /2 × when the pod was gone, 1 × before its app's SIGTERM/);
	assert.match(text, /`capture: port` +5\.10 \[5\.10–5\.10\] +≤ 6\.00 +5\.11 .* 5\.25 .* 20 × 0 /);
	assert.match(text, /`capture: port` +20 +20 × idle +2,000 +60 +0 +0 +0 +0 +0 +0/);
	assert.match(text, /no agent +0 +– +0\.008 /);
	const none = { ...results(), outcomes: [] };
	assert.ok(tablesOf(none).every(({ head }) => head.length > 0));
});

test("the block names machine, commit, load and whatever was not run or missed, and replaces only itself", () => {
	const block = renderResults(results());
	assert.match(block, /commit: abc; outrigger 1\.0\.0 on Node/);
	assert.match(block, /haproxy 2\.6\.12 .*learns of a removal 2000 ms late/);
	assert.match(block, /\* NOT RUN: java: a JDK is missing/);
	assert.match(block, /\* MISSED: node, port: something/);
	const alone = renderResults({ ...results(), settings: { ...results().settings, balancer: undefined } });
	assert.match(alone, /no load balancer was on this machine/);
	const page = `# B\n\n${DRAIN_MARKS.begin}\nold\n${DRAIN_MARKS.end}\n\n<!-- bench:begin -->\nother\n<!-- bench:end -->\n`;
	const placed = placeBlock(page, "new", DRAIN_MARKS);
	assert.equal(placed, page.replace("\nold\n", "\n\nnew\n\n"));
	assert.throws(() => placeBlock(DRAIN_MARKS.begin, "x", DRAIN_MARKS), /only one of the bench's two markers/);
});

test("what an earlier run has measured and this one has not stands in its place, with its date and commit", () => {
	const [port, without] = results().outcomes;
	assert.ok(port !== undefined && without !== undefined);
	const now: Results = { ...results(), outcomes: [{ ...port, seed: 7 }] };
	const earlier: Results = {
		...results(),
		date: "2023-12-31",
		commit: "older",
		apps: [...results().apps, { name: "go", title: "Go", version: "1", byItself: "ends" }],
		outcomes: [{ ...without, app: "go" }, without, port],
	};
	const all = merged(now, earlier);
	assert.deepEqual(
		all.outcomes.map(({ app, mode, seed }) => [app, mode, seed]),
		[
			["node", "port", 7],
			["node", "without", 1],
			["go", "without", 1],
		],
	);
	assert.deepEqual(
		all.apps.map(({ name }) => name),
		["node", "go"],
	);
	assert.match(renderResults(all), /\* Of an earlier run, 2023-12-31, commit older: go without, node without/);
	assert.equal(merged(now, now), now, "nothing that was not there");
	const third: Results = { ...results(), date: "2023-12-30", commit: "oldest", outcomes: [] };
	assert.deepEqual(
		merged(third, all).earlier.map(({ commit, outcomes }) => [commit, outcomes]),
		[
			["abc", ["node port"]],
			["older", ["go without", "node without"]],
		],
		"each outcome stays with the run that measured it",
	);
});
