import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { API_METHODS } from "@outrigger/contract";
import { FLAG_REUSED, FLAG_SAMPLED } from "../bridge/exchange-record.ts";
import { Deadline } from "../foundation/deadline.ts";
import { Drain } from "../foundation/drain.ts";
import { FAULTS } from "../foundation/fault.ts";
import type { JsonObject } from "../foundation/json-object.ts";
import { silentLogger } from "../foundation/logger.ts";
import { ManualScheduler } from "../foundation/scheduler.ts";
import { type DrainReport, reportSentence } from "../lifecycle/drain-report.ts";
import { HealthTree } from "../lifecycle/health-tree.ts";
import { Leases } from "../lifecycle/leases.ts";
import type { StateName } from "../lifecycle/state.ts";
import { type AgentInfo, agentMethods } from "./agent-service.ts";
import { healthMethods } from "./health-service.ts";
import { lifecycleMethods } from "./lifecycle-service.ts";
import { ApiError, type Call, type Method } from "./method.ts";
import { recordOf } from "./record.fixture.ts";

const report: DrainReport = {
	startedBy: "command",
	ended: "idle",
	budgetMs: 18_000,
	announcedMs: 5_000,
	drainedMs: 1_000,
	quietMs: 1_000,
	inFlightAtStart: 1,
	arrived: 2,
	finished: 1,
	served: 2,
	cut: 0,
	lost: 0,
	refused: 0,
	failed: 0,
	aborted: 0,
	streamsClosed: 0,
	upgraded: 0,
	left: 0,
	idleClosed: 3,
	leases: 0,
	bypassSeen: 0,
	bypassLeft: 0,
};

/** Calls methods as the server does. */
class Caller {
	readonly #methods: readonly Method[];
	waits = 0;
	waitsMax = 10;

	constructor(methods: readonly Method[]) {
		this.#methods = methods;
	}

	/** The answer as it would be sent: what is undefined is not there. */
	async call(
		path: string,
		input: JsonObject = {},
		{ userAgent = "app/1", signal = new AbortController().signal }: Partial<Call> = {},
	): Promise<JsonObject> {
		const method = this.#methods.find((each) => each.path === path);
		assert.ok(method !== undefined, path);
		const beginWait = (): void => {
			if (this.waits >= this.waitsMax) throw new ApiError("resource_exhausted", "too many");
			this.waits++;
		};
		return JSON.parse(JSON.stringify(await method.handle(input, { signal, userAgent, beginWait }))) as JsonObject;
	}

	async fails(path: string, input: JsonObject = {}): Promise<string> {
		try {
			await this.call(path, input);
		} catch (error) {
			assert.ok(error instanceof ApiError);
			return `${error.code} ${error.message}`;
		}
		assert.fail("it did not fail");
	}
}

describe("Lifecycle", () => {
	function fixture() {
		const scheduler = new ManualScheduler();
		const { clock } = scheduler;
		const over = Promise.withResolvers<void>();
		const began: string[] = [];
		const said: string[] = [];
		const now: { at: StateName; hasBegun: boolean; deadline: Deadline | undefined; report: DrainReport | undefined } = {
			at: "ready",
			hasBegun: false,
			deadline: undefined,
			report: undefined,
		};
		let made = 0;
		const leases = new Leases({
			clock,
			scheduler,
			drain: new Drain(),
			leasesMax: 2,
			newId: () => `lease-${++made}`,
		});
		const caller = new Caller(
			lifecycleMethods({
				clock,
				state: now,
				drain: {
					get hasBegun() {
						return now.hasBegun;
					},
					get deadline() {
						return now.deadline;
					},
					over: over.promise,
				},
				beginDrain: (startedBy, reason) => {
					began.push(`${startedBy} ${reason ?? "-"}`);
					now.hasBegun = true;
					now.at = "announcing";
					now.deadline = Deadline.after(clock, 18_000);
				},
				report: () => now.report,
				ready: () => void said.push("ready"),
				notReady: (reason) => void said.push(`not ready: ${reason ?? "-"}`),
				leases,
				leaseTtlMaxMs: 3_600_000,
			}),
		);
		const end = (): void => {
			now.at = "stopping";
			now.report = report;
			over.resolve();
		};
		return { caller, scheduler, began, said, now, leases, end };
	}

	test("Drain begins it once, and says by when it is over", async () => {
		const { caller, began, scheduler } = fixture();
		const wallMs = scheduler.clock.wallMs();
		assert.deepEqual(await caller.call(API_METHODS.drain, { reason: "deploy" }), {
			state: "announcing",
			begun: true,
			deadline: new Date(wallMs + 18_000).toISOString(),
			remaining: "18s",
		});
		scheduler.advance(1_000);
		assert.deepEqual(await caller.call(API_METHODS.drain, { reason: "again" }), {
			state: "announcing",
			begun: false,
			deadline: new Date(wallMs + 18_000).toISOString(),
			remaining: "17s",
		});
		assert.deepEqual(began, ["contract deploy"]);
	});

	test("Drain of the command is told from the app's", async () => {
		const { caller, began } = fixture();
		await caller.call(API_METHODS.drain, {}, { userAgent: "outrigger/1.2.3" });
		assert.deepEqual(began, ["command -"]);
	});

	test("Drain with wait answers everybody when it is over, and at once afterwards", async () => {
		const { caller, end, now } = fixture();
		const [first, second] = [
			caller.call(API_METHODS.drain, { wait: true }),
			caller.call(API_METHODS.drain, { wait: true }),
		];
		assert.equal(caller.waits, 2);
		end();
		assert.deepEqual((await first)["report"], { summary: reportSentence(report), ...report });
		assert.deepEqual((await second)["begun"], false);
		assert.deepEqual((await second)["state"], "stopping");
		assert.deepEqual((await caller.call(API_METHODS.drain, { wait: true }))["report"], {
			summary: reportSentence(report),
			...report,
		});
		assert.equal(caller.waits, 2);
		assert.equal(now.hasBegun, true);
	});

	test("Drain of a caller who goes away goes on without it", async () => {
		const { caller, end } = fixture();
		const controller = new AbortController();
		const gone = caller.call(API_METHODS.drain, { wait: true }, { signal: controller.signal });
		controller.abort();
		assert.equal((await gone)["report"], undefined);
		const stays = caller.call(API_METHODS.drain, { wait: true });
		end();
		assert.deepEqual((await stays)["report"], { summary: reportSentence(report), ...report });
	});

	test("Drain begins also when there is no room for one who waits", async () => {
		const { caller, began } = fixture();
		caller.waitsMax = 0;
		assert.equal(await caller.fails(API_METHODS.drain, { wait: true }), "resource_exhausted too many");
		assert.deepEqual(began, ["contract -"]);
	});

	test("Ready and NotReady are passed on, and answered with the state", async () => {
		const { caller, said } = fixture();
		assert.deepEqual(await caller.call(API_METHODS.notReady, { reason: "cache is cold" }), { state: "ready" });
		assert.deepEqual(await caller.call(API_METHODS.notReady), { state: "ready" });
		assert.deepEqual(await caller.call(API_METHODS.ready, { unknown: 1 }), { state: "ready" });
		assert.deepEqual(said, ["not ready: cache is cold", "not ready: -", "ready"]);
	});

	test("a lease is held, renewed by its id, and released", async () => {
		const { caller, scheduler, leases } = fixture();
		const expires = (ms: number): string => new Date(scheduler.clock.wallMs() + ms).toISOString();
		assert.deepEqual(await caller.call(API_METHODS.holdLease, { name: "import", ttl: "10s" }), {
			id: "lease-1",
			expires: expires(10_000),
		});
		scheduler.advance(5_000);
		assert.deepEqual(await caller.call(API_METHODS.holdLease, { id: "lease-1", ttl: "10.5s" }), {
			id: "lease-1",
			expires: expires(10_500),
		});
		assert.deepEqual(await caller.call(API_METHODS.releaseLease, { id: "lease-1" }), { released: true });
		assert.deepEqual(await caller.call(API_METHODS.releaseLease, { id: "lease-1" }), { released: false });
		assert.equal(leases.count, 0);
		assert.match(
			await caller.fails(API_METHODS.holdLease, { id: "lease-1", ttl: "10s" }),
			/^not_found there is no lease/,
		);
	});

	test("leases are bounded, and after the drain none is held or renewed", async () => {
		const { caller, end } = fixture();
		await caller.call(API_METHODS.holdLease, { name: "a", ttl: "10s" });
		const { id } = await caller.call(API_METHODS.holdLease, { name: "b", ttl: "10s" });
		assert.match(
			await caller.fails(API_METHODS.holdLease, { name: "c", ttl: "10s" }),
			/^resource_exhausted .*drain\.leases/,
		);
		end();
		assert.match(await caller.fails(API_METHODS.holdLease, { name: "c", ttl: "10s" }), /^failed_precondition /);
		assert.match(await caller.fails(API_METHODS.holdLease, { id, ttl: "10s" }), /^failed_precondition /);
		assert.deepEqual(await caller.call(API_METHODS.releaseLease, { id }), { released: true });
	});

	test("what is wrong is told with its field, and changes nothing", async () => {
		const { caller, began, said, leases } = fixture();
		for (const [path, input, message] of [
			[API_METHODS.drain, { reason: 1 }, "reason: this is not a text"],
			[API_METHODS.drain, { reason: "x".repeat(257) }, "reason: at most 256 characters"],
			[API_METHODS.drain, { reason: "a\u001b[2Jb" }, "reason: this holds a control character"],
			[API_METHODS.drain, { wait: "yes" }, "wait: this is neither true nor false"],
			[API_METHODS.notReady, { reason: {} }, "reason: this is not a text"],
			[API_METHODS.holdLease, { ttl: "10s" }, "name: this must be there"],
			[API_METHODS.holdLease, { name: "a" }, "ttl: this must be there"],
			[API_METHODS.holdLease, { name: "a", ttl: 10 }, 'ttl: this is not a duration such as "1.5s"'],
			[API_METHODS.holdLease, { name: "a", ttl: "0s" }, 'ttl: from "0.1s" to "3600s"'],
			[API_METHODS.holdLease, { name: "a", ttl: "3601s" }, 'ttl: from "0.1s" to "3600s"'],
			[API_METHODS.holdLease, { name: "x".repeat(129), ttl: "1s" }, "name: at most 128 characters"],
			[API_METHODS.releaseLease, {}, "id: this must be there"],
		] as const) {
			assert.equal(await caller.fails(path, input), `invalid_argument ${message}`);
		}
		assert.deepEqual([began, said, leases.count], [[], [], 0]);
	});
});

describe("Health", () => {
	function fixture(verdict: { ok: boolean; reason?: string } = { ok: true }) {
		const scheduler = new ManualScheduler();
		const tree = new HealthTree({ reportsMax: 2, clock: scheduler.clock, scheduler, log: silentLogger });
		const caller = new Caller(healthMethods({ tree, live: () => ({ ok: true }), ready: () => verdict }));
		return { caller, tree, scheduler };
	}

	test("Report is taken into the tree, and Get shows all of it with causes and advice", async () => {
		const { caller, tree, scheduler } = fixture({ ok: false, reason: "check_fails" });
		tree.add("app", "http", { critical: true }).set({ status: "pass" });
		tree.advise("keep-alive", { reason: "keep_alive_short", detail: "2 s", advice: "set keepAliveTimeout to 75 s" });
		const contributors = [
			{ name: "database", status: "fail", critical: true, detail: "no route", ttl: "30s", more: 1 },
		];
		assert.deepEqual(await caller.call(API_METHODS.reportHealth, { contributors }), {});
		assert.deepEqual(await caller.call(API_METHODS.reportHealth), {}, "nothing to say is said");
		const since = new Date(scheduler.clock.wallMs()).toISOString();
		const got = await caller.call(API_METHODS.getHealth);
		assert.deepEqual(
			[got["status"], got["ready"], got["live"], got["whyNotReady"], got["whyNotLive"]],
			["fail", false, true, "check_fails", undefined],
		);
		assert.deepEqual(got["contributors"], [
			{ name: "agent", status: "pass", critical: true, since },
			{
				name: "app",
				status: "pass",
				critical: true,
				since,
				contributors: [{ name: "http", status: "pass", critical: true, since }],
			},
			{ name: "checks", status: "pass", critical: true, since },
			{
				name: "reports",
				status: "fail",
				critical: true,
				since,
				contributors: [{ name: "database", status: "fail", critical: true, since, detail: "no route" }],
			},
			{
				name: "advice",
				status: "warn",
				critical: false,
				since,
				contributors: [
					{
						name: "keep-alive",
						status: "warn",
						critical: false,
						since,
						reason: "keep_alive_short",
						detail: "2 s",
						advice: "set keepAliveTimeout to 75 s",
					},
				],
			},
		]);
	});

	test("Report that is wrong says where, and one for which there is no room too", async () => {
		const { caller } = fixture();
		const one = { name: "a", status: "pass", ttl: "30s" };
		assert.match(
			await caller.fails(API_METHODS.reportHealth, {
				contributors: [one, { ...one, name: "b", ttl: "soon" }, { ...one, status: 1 }],
			}),
			/^invalid_argument contributors\[1\]\.ttl: .*; contributors\[2\]\./,
		);
		const contributors = ["a", "b", "c"].map((name) => ({ ...one, name }));
		assert.match(await caller.fails(API_METHODS.reportHealth, { contributors }), /^resource_exhausted contributors: /);
	});

	test("Get says why liveness fails", async () => {
		const { tree } = fixture();
		const caller = new Caller(
			healthMethods({ tree, live: () => ({ ok: false, reason: "stalled" }), ready: () => ({ ok: true }) }),
		);
		const { live, whyNotLive, whyNotReady } = await caller.call(API_METHODS.getHealth);
		assert.deepEqual([live, whyNotLive, whyNotReady], [false, "stalled", undefined]);
	});
});

describe("Agent", () => {
	const info: AgentInfo = {
		startedWallMs: 1_700_000_000_000,
		state: "draining",
		stateSinceWallMs: 1_700_000_060_000,
		why: "command",
		addresses: {
			inbound: [
				{ kind: "tcp", host: undefined, port: 9810 },
				{ kind: "unix", path: "/run/in.sock" },
			],
			ops: { kind: "tcp", host: undefined, port: 9801 },
			api: { kind: "tcp", host: "127.0.0.1", port: 9802 },
		},
		apps: [
			{ name: "http", address: { kind: "tcp", host: "::1", port: 3000 }, state: "accepts", lastError: undefined },
			{ name: "grpc", address: undefined, state: "unknown", lastError: undefined },
		],
		inFlight: 3,
		streams: 1,
		tunnels: 2,
		connections: { downstream: 12, upstream: 4 },
		bypass: 0,
		leases: [{ id: "lease-1", name: "import", heldWallMs: 1_700_000_000_000, expiresWallMs: 1_700_000_070_000 }],
		drain: {
			startedBy: "command",
			reason: "deploy",
			phase: "draining",
			deadlineWallMs: 1_700_000_078_000,
			waitingFor: ["3 exchanges in flight"],
		},
		report: undefined,
	};

	function fixture(
		log: { query: boolean; redact: readonly string[] } = { query: false, redact: [] },
		found = [recordOf()],
		now = info,
	) {
		const asked: string[] = [];
		const caller = new Caller(
			agentMethods({
				build: { version: "1.2.3", revision: "abc", node: "26.0.0" },
				pid: 7,
				service: { name: "orders", namespace: "shop", version: undefined },
				inboundNames: ["http", "grpc"],
				info: () => now,
				exchanges: {
					find: (id, max) => {
						asked.push(`find ${id} ${max}`);
						return found;
					},
					latest: (max) => {
						asked.push(`latest ${max}`);
						return found;
					},
				},
				log,
			}),
		);
		return { caller, asked };
	}

	test("GetInfo says what the agent is and does", async () => {
		assert.deepEqual(await fixture().caller.call(API_METHODS.getInfo), {
			version: "1.2.3",
			revision: "abc",
			node: "26.0.0",
			pid: 7,
			service: { name: "orders", namespace: "shop" },
			startedAt: "2023-11-14T22:13:20.000Z",
			state: "draining",
			stateSince: "2023-11-14T22:14:20.000Z",
			why: "command",
			addresses: { inbound: [":9810", "unix:/run/in.sock"], ops: ":9801", api: "127.0.0.1:9802" },
			apps: [
				{ name: "http", state: "accepts", address: "[::1]:3000" },
				{ name: "grpc", state: "unknown" },
			],
			inFlight: 3,
			streams: 1,
			tunnels: 2,
			connections: { downstream: 12, upstream: 4 },
			bypass: 0,
			leases: [
				{
					id: "lease-1",
					name: "import",
					held: "2023-11-14T22:13:20.000Z",
					expires: "2023-11-14T22:14:30.000Z",
				},
			],
			drain: {
				startedBy: "command",
				reason: "deploy",
				phase: "draining",
				deadline: "2023-11-14T22:14:38.000Z",
				waitingFor: ["3 exchanges in flight"],
			},
		});
	});

	test("GetInfo of an agent that has drained has the report, with its sentence", async () => {
		const { caller } = fixture(undefined, undefined, { ...info, drain: undefined, report });
		const answer = await caller.call(API_METHODS.getInfo);
		assert.equal(answer["drain"], undefined);
		assert.deepEqual(answer["report"], { summary: reportSentence(report), ...report });
	});

	test("ListExchanges tells as many as are asked for, within its bound", async () => {
		const { caller, asked } = fixture();
		const { exchanges } = await caller.call(API_METHODS.listExchanges);
		await caller.call(API_METHODS.listExchanges, { limit: 200 });
		assert.deepEqual(asked, ["latest 50", "latest 200"]);
		assert.equal(await caller.fails(API_METHODS.listExchanges, { limit: 201 }), "invalid_argument limit: at most 200");
		assert.deepEqual(exchanges, [
			{
				startedAt: "2023-11-14T22:13:20.000Z",
				inbound: "http",
				thread: 0,
				method: "GET",
				path: "/users/7",
				route: "/users/{id}",
				status: 200,
				endedBy: "app",
				state: "ready",
				durationMs: 20,
				connectMs: 1,
				waitMs: 12,
				receiveMs: 6,
				requestBodyBytes: 0,
				responseBodyBytes: 512,
				clientAddress: "10.0.0.9",
				userAgent: "curl/8",
				requestId: "req-1",
				correlationId: "corr-1",
				traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
				spanId: "00f067aa0ba902b7",
			},
		]);
	});

	test("an exchange that went wrong has its fault and flags, and nothing of what did not happen", async () => {
		const record = recordOf({
			faultIndex: FAULTS.app_reset.index,
			status: 0,
			waitMs: Number.NaN,
			receiveMs: Number.NaN,
			flags: FLAG_REUSED | FLAG_SAMPLED,
			route: "",
			traceId: "",
			spanId: "",
		});
		const { exchanges } = await fixture(undefined, [record]).caller.call(API_METHODS.listExchanges);
		const [one] = exchanges as readonly JsonObject[]; // what the test before has shown
		assert.deepEqual([one?.["error"], one?.["reused"], one?.["sampled"]], ["app_reset", true, true]);
		for (const absent of ["status", "waitMs", "receiveMs", "route", "traceId", "resent", "probe"]) {
			assert.ok(!Object.hasOwn(one ?? {}, absent), absent);
		}
	});

	test("what the log hides is hidden here, and the query is only told where the log tells it", async () => {
		const pathAndQuery = async (log: { query: boolean; redact: readonly string[] }): Promise<readonly unknown[]> => {
			const { exchanges } = await fixture(log).caller.call(API_METHODS.why, { id: "req-1" });
			const [one] = exchanges as readonly JsonObject[]; // as above
			return [one?.["path"], one?.["query"]];
		};
		assert.deepEqual(await pathAndQuery({ query: false, redact: [] }), ["/users/7", undefined]);
		assert.deepEqual(await pathAndQuery({ query: true, redact: [] }), ["/users/7", "token=secret"]);
		assert.deepEqual(await pathAndQuery({ query: true, redact: ["/users/*"] }), ["[redacted]", "[redacted]"]);
	});

	test("Why explains, and finds the trace id in a traceparent", async () => {
		const { caller, asked } = fixture();
		const { exchanges } = await caller.call(API_METHODS.why, { id: " req-1 " });
		const [one] = exchanges as readonly JsonObject[]; // as above
		assert.match(String(one?.["explanation"]), /^The app answered 200/);
		await caller.call(API_METHODS.why, { id: "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01" });
		await caller.call(API_METHODS.why, { id: "4BF92F3577B34DA6A3CE929D0E0E4736" });
		await caller.call(API_METHODS.why, { id: "Order-4711" });
		assert.deepEqual(asked, [
			"find req-1 200",
			"find 4bf92f3577b34da6a3ce929d0e0e4736 200",
			"find 4bf92f3577b34da6a3ce929d0e0e4736 200",
			"find Order-4711 200",
		]);
		assert.equal(await caller.fails(API_METHODS.why), "invalid_argument id: this must be there");
		assert.equal(
			await caller.fails(API_METHODS.why, { id: "x".repeat(129) }),
			"invalid_argument id: at most 128 characters",
		);
	});
});

test("every method of the contract is in a service", () => {
	const unused = (): never => assert.fail("not called");
	const methods = [
		...lifecycleMethods({
			clock: new ManualScheduler().clock,
			state: { at: "ready" },
			drain: { hasBegun: false, deadline: undefined, over: new Promise(() => {}) },
			beginDrain: unused,
			report: unused,
			ready: unused,
			notReady: unused,
			leases: { hold: unused, renew: unused, release: unused },
			leaseTtlMaxMs: 1,
		}),
		...healthMethods({ tree: { report: unused, view: unused }, live: unused, ready: unused }),
		...agentMethods({
			build: { version: "", revision: "", node: "" },
			pid: 1,
			service: { name: "", namespace: undefined, version: undefined },
			inboundNames: [],
			info: unused,
			exchanges: { find: unused, latest: unused },
			log: { query: false, redact: [] },
		}),
	];
	assert.deepEqual(methods.map(({ path }) => path).toSorted(), Object.values(API_METHODS).toSorted());
});
