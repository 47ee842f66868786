import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { silentLogger } from "../foundation/logger.ts";
import { ManualScheduler } from "../foundation/scheduler.ts";
import { HealthTree } from "../lifecycle/health-tree.ts";
import { type ProbeAnswer, ProbePages, type ProbeSource } from "./probes.ts";

const source: ProbeSource = {
	live: () => ({ ok: true }),
	ready: () => ({ ok: false, reason: "app_refuses" }),
	started: () => {
		throw new Error("a secret detail");
	},
};

/** A tree with a few contributors, and probes that follow `now`. */
function fixture() {
	const scheduler = new ManualScheduler();
	const tree = new HealthTree({ reportsMax: 1_000, clock: scheduler.clock, scheduler, log: silentLogger });
	tree.add("agent", "data_threads", { critical: true, live: true }).set({ status: "pass" });
	const app = tree.add("app", "http", { critical: true });
	app.set({
		status: "pass",
		detail: "a secret detail",
		children: [{ name: "db:responseTime", status: "pass", critical: false, detail: "a secret detail" }],
	});
	const now: Record<"live" | "ready" | "started", ProbeAnswer> = {
		live: { ok: true },
		ready: { ok: true },
		started: { ok: true },
	};
	const pages = new ProbePages({
		live: () => now.live,
		ready: () => now.ready,
		started: () => now.started,
		health: tree,
	});
	return { tree, app, now, pages };
}

test("a probe is answered in text, with status words and reasons only", () => {
	const contentType = "text/plain; charset=utf-8";
	const pages = new ProbePages(source);
	assert.deepEqual(pages.render("live", undefined), { status: 200, contentType, body: "ok\n" });
	assert.deepEqual(pages.render("ready", "*/*"), { status: 503, contentType, body: "fail app_refuses\n" });
});

test("a source that throws is not well, and its error stays inside", () => {
	const pages = new ProbePages(source);
	assert.deepEqual(pages.render("started", "text/plain").body, "fail internal\n");
	const { status, body } = pages.render("started", "application/json");
	assert.deepEqual([status, body], [503, '{"status":"fail","reason":"internal"}\n']);
	const broken = {
		...source,
		health: {
			version: 1,
			status: "pass" as const,
			view: () => {
				throw new Error("a secret detail");
			},
		},
	};
	assert.equal(
		new ProbePages(broken).render("live", "application/json").body,
		'{"status":"fail","reason":"internal"}\n',
	);
	assert.equal(new ProbePages(broken).render("live", undefined).body, "ok\n", "text does not need the tree");
});

test("without a tree JSON has the word and the reason", () => {
	const pages = new ProbePages(source);
	const json = pages.render("ready", "application/health+json");
	assert.equal(json.contentType, "application/health+json");
	assert.deepEqual(JSON.parse(json.body), { status: "fail", reason: "app_refuses" });
	assert.deepEqual(JSON.parse(pages.render("live", "application/json").body), { status: "pass" });
});

describe("who gets which form:", () => {
	const cases: readonly (readonly [string | undefined, string])[] = [
		[undefined, "text/plain; charset=utf-8"],
		["", "text/plain; charset=utf-8"],
		["*/*", "text/plain; charset=utf-8"],
		["text/html,application/xhtml+xml,*/*;q=0.8", "text/plain; charset=utf-8"],
		["application/json", "application/json"],
		["Application/JSON", "application/json"],
		["application/*", "application/json"],
		["application/json, */*;q=0.5", "application/json"],
		["application/json;q=0", "text/plain; charset=utf-8"],
		["application/json;q=0.5, text/plain", "text/plain; charset=utf-8"],
		["text/plain;q=0.5, application/json;q=0.9", "application/json"],
		["text/plain, application/json", "application/json"],
		["application/health+json", "application/health+json"],
		["application/json;q=0.5, application/health+json", "application/health+json"],
		["application/health+json, application/json", "application/health+json"],
		["application/json, application/health+json", "application/json"],
		["application/health+json;q=0.2, application/json;q=0.3", "application/json"],
		[`application/json${" ".repeat(1_000)}`, "application/json"],
	];
	for (const [accept, contentType] of cases) {
		test(String(accept).slice(0, 80), () => {
			const pages = new ProbePages(source);
			assert.equal(pages.render("live", accept).contentType, contentType);
			assert.equal(pages.render("live", accept).contentType, contentType, "also the second time");
		});
	}
});

test("JSON lists every contributor by name and word; details are for others", () => {
	const { tree, app, now, pages } = fixture();
	tree.add("checks", "mail", { critical: false });
	const json = pages.render("ready", "application/json");
	assert.deepEqual(JSON.parse(json.body), {
		status: "warn",
		contributors: {
			agent: { data_threads: "pass" },
			app: { http: "pass", "http/db:responseTime": "pass" },
			checks: { mail: "unknown" },
		},
	});
	const health = pages.render("ready", "application/health+json");
	assert.deepEqual(JSON.parse(health.body), {
		status: "warn",
		checks: {
			"agent:data_threads": [{ status: "pass" }],
			"app:http": [{ status: "pass" }],
			"app:http/db_responseTime": [{ status: "pass" }],
			"checks:mail": [{ status: "warn" }],
		},
	});
	app.set({ status: "fail", reason: "app_refuses", detail: "a secret detail" });
	now.ready = { ok: false, reason: "app_refuses" };
	assert.deepEqual(JSON.parse(pages.render("ready", "application/health+json").body).output, "app_refuses");
	const live = pages.render("live", "application/json");
	assert.deepEqual([live.status, JSON.parse(live.body).status], [200, "warn"], "alive, and something is not well");
	for (const accept of ["application/json", "application/health+json"]) {
		for (const probe of ["live", "ready", "started"] as const) {
			assert.doesNotMatch(pages.render(probe, accept).body, /secret/);
		}
	}
});

test("a name that means something to JavaScript is a name like any other", () => {
	const { tree, pages } = fixture();
	tree.add("checks", "__proto__", { critical: false }).set({ status: "pass" });
	assert.match(pages.render("live", "application/json").body, /"checks":\{"__proto__":"pass"\}/);
	assert.match(pages.render("live", "application/health+json").body, /"checks:__proto__":\[\{"status":"pass"\}\]/);
});

test("hundreds of contributors and a probe each second cost no rendering, until something changes that is shown", () => {
	const { tree, app, now, pages } = fixture();
	tree.report(
		Array.from({ length: 500 }, (_, index) => ({ name: `c${index}`, status: "pass", detail: "a", ttl: "60s" })),
	);
	const ask = (): number => {
		for (const probe of ["live", "ready", "started"] as const) {
			for (const accept of [undefined, "application/json", "application/health+json"]) pages.render(probe, accept);
		}
		return pages.renders;
	};
	assert.equal(ask(), 9);
	for (let second = 0; second < 1_000; second += 1) {
		// Renewed as it was, measured anew: nothing of it is shown here.
		tree.report([{ name: "c7", status: "pass", detail: `${second} waiting`, ttl: "60s" }]);
		assert.equal(ask(), 9);
	}
	tree.report([{ name: "c7", status: "warn", ttl: "60s" }]);
	assert.equal(ask(), 15, "text does not show it");
	now.ready = { ok: false, reason: "draining" };
	assert.equal(ask(), 18);
	now.ready = { ok: false, reason: "stopping" };
	assert.equal(ask(), 21);
	app.set({ status: "pass" });
	assert.equal(ask(), 27, "its child is gone");
	assert.match(pages.render("ready", "application/json").body, /"c7":"warn"/);
});

test("the values of Accept that are remembered have a bound, and are right beyond it", () => {
	const pages = new ProbePages(source);
	for (let index = 0; index < 100; index += 1) {
		assert.equal(pages.render("live", `application/json;v=${index}`).contentType, "application/json");
	}
	assert.equal(pages.render("live", "application/json;v=0").contentType, "application/json");
	assert.equal(pages.renders, 1);
});
