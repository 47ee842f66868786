import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import fc from "fast-check";
import { type Logger, silentLogger } from "../foundation/logger.ts";
import { ManualScheduler } from "../foundation/scheduler.ts";
import {
	CHILDREN_MAX,
	cleanName,
	cleanText,
	HEALTH_GROUPS,
	type HealthFinding,
	type HealthGroup,
	type HealthNode,
	type HealthStatus,
	HealthTree,
	NAME_CHARACTERS_MAX,
	rollup,
	TEXT_CHARACTERS_MAX,
} from "./health-tree.ts";

interface VectorNode {
	readonly name: string;
	readonly status: HealthStatus;
	readonly critical: boolean;
	readonly live?: boolean;
	readonly reason?: string;
	readonly children?: readonly VectorNode[];
}

interface Vectors {
	readonly rollup: readonly {
		readonly name: string;
		readonly children: readonly { readonly status: HealthStatus; readonly critical: boolean }[];
		readonly status: HealthStatus;
	}[];
	readonly trees: readonly {
		readonly name: string;
		readonly tree: Readonly<Partial<Record<HealthGroup, readonly VectorNode[]>>>;
		readonly expected: {
			readonly status: HealthStatus;
			readonly groups: Readonly<Record<HealthGroup, HealthStatus>>;
			readonly ready: boolean;
			readonly why?: string;
			readonly live: boolean;
		};
	}[];
}

// Written by us and read by every language; its shape is checked by the assertions that use it.
const vectors = JSON.parse(
	readFileSync(new URL("../../../proto/vectors/health.json", import.meta.url), "utf8"),
) as Vectors;

function fixture(reportsMax = 8, log: Logger = silentLogger) {
	const scheduler = new ManualScheduler();
	const { clock } = scheduler;
	const tree = new HealthTree({ reportsMax, clock, scheduler, log });
	return { tree, scheduler, clock };
}

/** Puts a node of the vectors where it belongs, by the way on which such a node comes. */
function plant(tree: HealthTree, group: HealthGroup, node: VectorNode): void {
	const { name, status, critical, live, reason, children } = node;
	switch (group) {
		case "reports":
			assert.deepEqual(tree.report([{ name, status, critical, ttl: "30s" }]), { ok: true });
			break;
		case "advice":
			tree.advise(name, { reason });
			break;
		default:
			tree.add(group, name, { critical, ...(live === undefined ? {} : { live }) }).set({ status, reason, children });
	}
}

function node(tree: HealthTree, path: string): HealthNode {
	const found = path
		.split("/")
		.reduce<HealthNode | undefined>((at, name) => at?.children.find((child) => child.name === name), tree.view());
	assert.ok(found !== undefined, `there is no ${path}`);
	return found;
}

describe("the rollup of children, by the vectors:", () => {
	for (const { name, children, status } of vectors.rollup) test(name, () => assert.equal(rollup(children), status));
});

describe("a tree, by the vectors:", () => {
	for (const { name, tree: given, expected } of vectors.trees) {
		test(name, () => {
			const { tree } = fixture();
			for (const group of HEALTH_GROUPS) for (const each of given[group] ?? []) plant(tree, group, each);
			const view = tree.view();
			assert.equal(view.status, expected.status);
			assert.equal(tree.status, expected.status);
			assert.deepEqual(Object.fromEntries(view.children.map((group) => [group.name, group.status])), expected.groups);
			const readiness = tree.readiness();
			assert.equal(readiness.isReady, expected.ready);
			assert.equal(readiness.isReady ? undefined : readiness.why, expected.why);
			assert.equal(tree.liveness().isLive, expected.live);
		});
	}
});

test("whatever is in it, only a live contributor of the agent that fails makes it not live, and advice alone never makes it unready", () => {
	const status = fc.constantFrom<HealthStatus>("pass", "warn", "fail", "unknown");
	const contributor = fc.record({ status, critical: fc.boolean() });
	const group = fc.array(contributor, { maxLength: 5 });
	fc.assert(
		fc.property(fc.record({ app: group, checks: group, reports: group, advice: group }), (given) => {
			const { tree } = fixture();
			tree.add("agent", "data_threads", { critical: true, live: true }).set({ status: "pass" });
			for (const each of HEALTH_GROUPS.filter((name) => name !== "agent")) {
				for (const [index, one] of given[each].entries()) plant(tree, each, { name: `c${index}`, ...one });
			}
			assert.deepEqual(tree.liveness(), { isLive: true });
			const critical = [...given.app, ...given.checks, ...given.reports].filter((one) => one.critical);
			if (critical.every((one) => one.status === "pass")) assert.deepEqual(tree.readiness(), { isReady: true });
			if (critical.some((one) => one.status === "fail")) {
				assert.equal(tree.readiness().isReady, false);
				assert.equal(tree.status, "fail");
			}
		}),
	);
});

test("what is not ready and not live says which contributor it is, and why", () => {
	const { tree } = fixture();
	const threads = tree.add("agent", "data_threads", { critical: true, live: true });
	const database = tree.add("checks", "database", { critical: true });
	assert.deepEqual(tree.readiness(), { isReady: false, why: "check_unknown", contributor: "checks/database" });
	database.set({ status: "fail" });
	assert.deepEqual(tree.readiness(), { isReady: false, why: "check_fails", contributor: "checks/database" });
	threads.set({ status: "fail", reason: "data_thread_stalled" });
	assert.deepEqual(tree.liveness(), {
		isLive: false,
		reason: "data_thread_stalled",
		contributor: "agent/data_threads",
	});
	threads.set({ status: "fail" });
	assert.deepEqual(tree.liveness(), { isLive: false, reason: "fails", contributor: "agent/data_threads" });
	database.remove();
	assert.deepEqual(tree.readiness(), { isReady: true });
});

test("since is when the status began, by both clocks; a finding that only says it again does not move it", () => {
	const { tree, scheduler, clock } = fixture();
	const app = tree.add("app", "http", { critical: true });
	scheduler.advance(1_000);
	const beganWallMs = clock.wallMs();
	app.set({ status: "pass", children: [{ name: "db", status: "pass", critical: false }] });
	scheduler.advance(500);
	clock.skew(60_000);
	app.set({ status: "pass", detail: "again", children: [{ name: "db", status: "warn", critical: false }] });
	const [http, db] = [node(tree, "app/http"), node(tree, "app/http/db")];
	assert.deepEqual([http.status, http.sinceMs], ["warn", 1_500], "its status is that of its child");
	app.set({ status: "warn", children: [{ name: "db", status: "warn", critical: false }] });
	assert.equal(node(tree, "app/http").sinceMs, 1_500);
	assert.deepEqual([db.sinceMs, db.sinceWallMs], [1_500, beganWallMs + 60_500]);
	assert.deepEqual([node(tree, "app").sinceMs, tree.view().sinceMs], [1_500, 1_500]);
});

test("the version rises with what everybody may see and not with details, and subscribers are told", () => {
	const { tree } = fixture();
	const told: number[] = [];
	const end = tree.subscribe(() => told.push(tree.version));
	const app = tree.add("app", "http", { critical: true });
	assert.equal(tree.version, 1);
	const findings: readonly (readonly [HealthFinding, number])[] = [
		[{ status: "unknown", reason: "not_asked" }, 1],
		[{ status: "pass", detail: "a" }, 2],
		[{ status: "pass", detail: "b", advice: "c" }, 2],
		[{ status: "pass", reason: "x" }, 3],
		[{ status: "pass", reason: "x", children: [{ name: "db", status: "pass", critical: false }] }, 4],
		[{ status: "pass", reason: "x", children: [{ name: "db", status: "pass", critical: false, detail: "d" }] }, 4],
		[{ status: "pass", reason: "x", children: [{ name: "db", status: "warn", critical: false }] }, 5],
		[{ status: "pass", reason: "x", children: [{ name: "db", status: "warn", critical: true }] }, 6],
		[{ status: "pass", reason: "x", children: [{ name: "other", status: "warn", critical: true }] }, 7],
	];
	for (const [finding, version] of findings) {
		app.set(finding);
		assert.equal(tree.version, version, JSON.stringify(finding));
	}
	assert.equal(node(tree, "app/http").detail, undefined);
	assert.deepEqual(told, [1, 2, 3, 4, 5, 6, 7]);
	end();
	app.remove();
	app.remove();
	app.set({ status: "fail" });
	assert.equal(tree.version, 8, "what was removed is gone, and a late answer does not bring it back");
	assert.deepEqual([told.length, tree.status], [7, "pass"]);
});

test("a subscriber may change the tree: it and the others are told once more; one that throws harms nobody", () => {
	const errors: unknown[] = [];
	const { tree } = fixture(8, { ...silentLogger, error: (_, fields) => errors.push(fields?.["error"]) });
	const seen: (readonly [string, number])[] = [];
	tree.subscribe(() => {
		seen.push(["first", tree.version]);
		tree.advise("keep_alive", { detail: "learned" });
	});
	tree.subscribe(() => {
		throw new Error("broken");
	});
	const end = tree.subscribe(() => seen.push(["last", tree.version]));
	tree.add("app", "http", { critical: true });
	assert.deepEqual(seen, [
		["first", 1],
		["last", 2],
		["first", 2],
		["last", 2],
	]);
	assert.equal(errors.length, 2);
	assert.equal(tree.observerFaults, 2);
	tree.subscribe(() => end());
	seen.length = 0;
	tree.add("app", "grpc", { critical: true });
	assert.deepEqual(seen.at(-1), ["last", 3]);
});

test("subscribers that change the tree for ever are our own mistake", () => {
	const { tree } = fixture();
	const app = tree.add("app", "http", { critical: true });
	let times = 0;
	tree.subscribe(() => app.set({ status: "pass", reason: `r${(times += 1)}` }));
	assert.throws(() => app.set({ status: "warn" }), /in circles/);
});

test("advice comes and goes, is a warning, and has the line to change", () => {
	const { tree } = fixture();
	tree.advise("keep alive!", {
		reason: "keep_alive_short",
		detail: "the app closes after 5 s",
		advice: "timeouts: { appIdle: 4s }",
	});
	const { status, critical, advice } = node(tree, "advice/keep alive_");
	assert.deepEqual([status, critical, advice], ["warn", false, "timeouts: { appIdle: 4s }"]);
	assert.deepEqual(tree.readiness(), { isReady: true });
	tree.advise("keep alive!", undefined);
	tree.advise("keep alive!", undefined);
	assert.equal(tree.status, "pass");
	assert.equal(tree.version, 2);
	for (let index = 0; index < 100; index += 1) tree.advise(`a${index}`, {});
	assert.equal(node(tree, "advice").children.length, 64, "bounded, and nothing breaks");
});

test("names and texts can be shown anywhere, and are bounded; a name that is taken gets a number", () => {
	assert.equal(cleanName("  "), "_");
	assert.equal(cleanName("a/b\nc·d"), "a_b_c_d");
	assert.equal(cleanName("x".repeat(100)).length, NAME_CHARACTERS_MAX);
	assert.equal(cleanText("a\u001b[31m\u0085b"), "a [31m b");
	assert.equal(cleanText("\ud800"), "\ufffd");
	assert.equal(cleanText("x".repeat(5_000)).length, TEXT_CHARACTERS_MAX);
	const { tree } = fixture();
	const long = "x".repeat(NAME_CHARACTERS_MAX);
	const names = [long, long, long].map((name) => tree.add("checks", name, { critical: false }).name);
	assert.deepEqual(
		names.map((name) => name.slice(-3)),
		["xxx", "x-2", "x-3"],
	);
	assert.ok(names.every((name) => name.length === NAME_CHARACTERS_MAX));
	const children = Array.from({ length: 100 }, () => ({ name: "same", status: "pass" as const, critical: false }));
	tree.add("app", "http", { critical: true }).set({ status: "pass", children });
	const kept = node(tree, "app/http").children.map(({ name }) => name);
	assert.deepEqual(
		[kept.length, kept[0], kept[1], kept.at(-1)],
		[CHILDREN_MAX, "same", "same-2", `same-${CHILDREN_MAX}`],
	);
});

test("children of children have an end", () => {
	const { tree } = fixture();
	let finding: HealthFinding = { status: "pass" };
	for (let depth = 0; depth < 10; depth += 1) {
		finding = { status: "pass", children: [{ ...finding, name: "below", critical: true }] };
	}
	tree.add("app", "http", { critical: true }).set(finding);
	assert.deepEqual(node(tree, "app/http/below/below/below").children, []);
});

test("only the agent has contributors that liveness looks at, and a group has an end: anything else is our own mistake", () => {
	const { tree } = fixture();
	assert.throws(() => tree.add("checks", "database", { critical: true, live: true }), /nothing outside the agent/);
	for (let index = 0; index < 64; index += 1) tree.add("checks", "c", { critical: false });
	assert.throws(() => tree.add("checks", "c", { critical: false }), /too many contributors/);
});

test("every contributor is told with its path, for the metric", () => {
	const { tree } = fixture();
	tree.add("agent", "memory", { critical: false }).set({ status: "warn" });
	tree.report([{ name: "queue", status: "pass", ttl: "5s" }]);
	assert.deepEqual(
		[...tree.contributors()].map(({ group, path, node: { status } }) => [group, path, status]),
		[
			["agent", "agent/memory", "warn"],
			["reports", "reports/queue", "pass"],
		],
	);
});

describe("what the app pushes", () => {
	test("is there until its time to live is over, and then unknown; renewing it moves the end", async () => {
		const { tree, scheduler } = fixture();
		await tree.start();
		tree.report([
			{ name: "queue", status: "pass", critical: true, detail: "3 waiting", ttl: "10s" },
			{ name: "cache", status: "fail", ttl: "2.5s" },
		]);
		assert.equal(scheduler.pending, 1, "one timer for all");
		assert.equal(node(tree, "reports/queue").detail, "3 waiting");
		scheduler.advance(2_499);
		assert.equal(node(tree, "reports/cache").status, "fail");
		scheduler.advance(1);
		const cache = node(tree, "reports/cache");
		assert.deepEqual([cache.status, cache.reason, cache.critical], ["unknown", "report_expired", false]);
		assert.equal(cache.detail, "not renewed in time; before that it was fail");
		scheduler.advance(5_000);
		const { version } = tree;
		tree.report([{ name: "queue", status: "pass", critical: true, detail: "4 waiting", ttl: "10s" }]);
		assert.equal(tree.version, version, "nothing that everybody sees has changed");
		assert.equal(node(tree, "reports/queue").detail, "4 waiting");
		scheduler.advance(9_999);
		assert.equal(node(tree, "reports/queue").status, "pass");
		assert.equal(tree.status, "warn");
		scheduler.advance(1);
		assert.equal(node(tree, "reports/queue").status, "unknown");
		assert.equal(tree.status, "unknown");
		assert.deepEqual(tree.readiness(), { isReady: true }, "that a pusher is silent takes no pod out");
		assert.equal(scheduler.pending, 0);
		tree.report([{ name: "cache", status: "pass", ttl: "1s" }]);
		assert.equal(node(tree, "reports/cache").status, "pass");
		await tree.stop();
		await tree.stop();
		assert.equal(scheduler.pending, 0);
	});

	test("is taken out with a time to live of 0s", () => {
		const { tree } = fixture();
		tree.report([{ name: "queue", status: "fail", critical: true, ttl: "10s" }]);
		assert.deepEqual(tree.readiness(), { isReady: false, why: "check_fails", contributor: "reports/queue" });
		assert.deepEqual(
			tree.report([
				{ name: "queue", status: "pass", ttl: "0s" },
				{ name: "new", status: "pass", ttl: "0s" },
			]),
			{ ok: true },
		);
		assert.deepEqual([tree.status, node(tree, "reports").children.length], ["pass", 0]);
	});

	test("has a bound: what is beyond is refused as a whole, unless something expired makes room", () => {
		const { tree, scheduler } = fixture(3);
		const push = (...names: readonly string[]) =>
			tree.report(names.map((name) => ({ name, status: "pass", ttl: "60s" })));
		tree.report([{ name: "old", status: "pass", ttl: "1s" }]);
		tree.report([{ name: "older", status: "pass", ttl: "1s" }]);
		assert.deepEqual(push("a"), { ok: true });
		assert.deepEqual(push("b"), {
			ok: false,
			kind: "full",
			problems: [{ place: "contributors", message: "there is no room for 1 of them; health.reports is 3" }],
		});
		scheduler.advance(1_000);
		assert.deepEqual(push("b"), { ok: true });
		assert.deepEqual(
			node(tree, "reports").children.map(({ name }) => name),
			["older", "a", "b"],
		);
		assert.deepEqual(push("a", "b", "c"), { ok: true });
		assert.equal(push("a", "b", "c", "d", "e").ok, false);
		assert.deepEqual(push("a", "c"), { ok: true }, "what is known needs no room");
		assert.deepEqual(
			tree.report([
				{ name: "a", status: "pass", ttl: "0s" },
				{ name: "d", status: "pass", ttl: "9s" },
			]),
			{ ok: true },
			"and what goes makes it",
		);
		assert.equal(fixture(0).tree.report([{ name: "a", status: "pass", ttl: "1s" }]).ok, false);
	});

	test("is taken whole or not at all, and every mistake is told with its place", () => {
		const { tree } = fixture();
		const outcome = tree.report([
			{ name: "good", status: "pass", ttl: "1s" },
			{ name: "-", status: "ok", ttl: "30", critical: "yes", detail: 5 },
			{ name: "x".repeat(65), status: "pass", ttl: "0.5s" },
			{ name: "good", status: "pass", ttl: "86401s" },
			{ name: "é", status: "pass", ttl: 30 },
			"nothing",
			null,
			[],
		]);
		assert.ok(!outcome.ok && outcome.kind === "invalid");
		assert.deepEqual(
			outcome.problems.map(({ place }) => place),
			[
				"contributors[1].name",
				"contributors[1].status",
				"contributors[1].critical",
				"contributors[1].detail",
				"contributors[1].ttl",
				"contributors[2].name",
				"contributors[2].ttl",
				"contributors[3].name",
				"contributors[3].ttl",
				"contributors[4].name",
				"contributors[4].ttl",
				"contributors[5]",
				"contributors[6]",
				"contributors[7]",
			],
		);
		assert.equal(node(tree, "reports").children.length, 0);
		assert.equal(tree.version, 0);
		for (const wrong of [undefined, null, {}, "a", 5]) {
			assert.deepEqual(tree.report(wrong), {
				ok: false,
				kind: "invalid",
				problems: [{ place: "contributors", message: "a list is expected" }],
			});
		}
		const many = tree.report(Array.from({ length: 1_000 }, () => ({})));
		assert.ok(!many.ok && many.problems.length < 20);
	});

	test("may have fields that are not known, and null for what is not there", () => {
		const { tree } = fixture();
		const given = { name: "a.b:c_d-e", status: "warn", critical: null, detail: null, ttl: "1.5s", later: {} };
		assert.deepEqual(tree.report([given]), { ok: true });
		const { critical, detail, status } = node(tree, "reports/a.b:c_d-e");
		assert.deepEqual([critical, detail, status], [false, undefined, "warn"]);
		assert.deepEqual(tree.report([]), { ok: true });
	});

	test("is never more than its bound and never throws, whatever it is", () => {
		const entry = fc.record(
			{
				name: fc.oneof(fc.constantFrom("a", "b", "c", "d"), fc.anything()),
				status: fc.oneof(fc.constantFrom("pass", "warn", "fail", "unknown"), fc.anything()),
				critical: fc.oneof(fc.boolean(), fc.anything()),
				detail: fc.anything(),
				ttl: fc.oneof(fc.constantFrom("0s", "1s", "2s", "30s"), fc.anything()),
			},
			{ requiredKeys: [] },
		);
		const report = fc.oneof(fc.array(fc.oneof(entry, fc.anything()), { maxLength: 6 }), fc.anything());
		fc.assert(
			fc.property(fc.array(fc.tuple(report, fc.nat(3_000)), { maxLength: 12 }), (reports) => {
				const { tree, scheduler } = fixture(3);
				for (const [each, ms] of reports) {
					tree.report(each);
					scheduler.advance(ms);
					const { children } = node(tree, "reports");
					assert.ok(children.length <= 3);
					assert.ok(scheduler.pending <= 1);
					assert.equal(tree.status, rollup(children));
				}
				scheduler.advance(86_400_000);
				assert.ok(node(tree, "reports").children.every(({ status }) => status === "unknown"));
			}),
		);
	});
});
