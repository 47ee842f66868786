import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { CELL, Counters } from "../../bridge/counters.ts";
import { FLAG_PROBE } from "../../bridge/exchange-record.ts";
import { METHODS } from "../../http1/methods.ts";
import { arrived, groundFrom } from "../exchange.fixture.ts";
import type { Exchange } from "../exchange.ts";
import { Account } from "./account.ts";

const ground = groundFrom({ "probes.paths": "/healthz,/ready" });
const request = (line: string, ...fields: readonly string[]): Exchange =>
	arrived(ground, [`${line} HTTP/1.1`, "host: a", ...fields]);
const newAccount = (): { readonly account: Account; readonly counters: Counters } => {
	const counters = Counters.allocate();
	return { account: new Account(ground.settings.probes, counters), counters };
};

describe("what is in flight", () => {
	test("counts from arrival to the end, by method, and its end only once", () => {
		const { account, counters } = newAccount();
		const x = request("POST /orders");
		account.open(x);
		assert.equal(counters.get(CELL.IN_FLIGHT), 1);
		assert.equal(counters.get(CELL.ACTIVE_BY_METHOD_START + METHODS.indexOf("POST")), 1);
		account.close(x);
		account.close(x);
		assert.equal(counters.get(CELL.IN_FLIGHT), 0);
		assert.equal(counters.get(CELL.ACTIVE_BY_METHOD_START + METHODS.indexOf("POST")), 0);
		assert.equal(counters.get(CELL.REQUESTS_ARRIVED), 1);
	});

	test("is not touched by the end of an exchange that never got so far", () => {
		const { account, counters } = newAccount();
		account.close(request("GET /"));
		assert.equal(counters.get(CELL.IN_FLIGHT), 0);
	});

	test("balances, whatever comes and goes in whatever order", () => {
		const lines = fc.constantFrom("GET /a", "PUT /b", "BREW /c", "GET /healthz", "HEAD /ready");
		fc.assert(
			fc.property(fc.array(fc.tuple(lines, fc.boolean()), { maxLength: 30 }), (steps) => {
				const { account, counters } = newAccount();
				const open: Exchange[] = [];
				let probes = 0;
				for (const [line, endsOldest] of steps) {
					const x = request(line);
					account.open(x);
					open.push(x);
					if (line.endsWith("/healthz") || line.endsWith("/ready")) probes++;
					if (endsOldest) account.close(open.shift() as Exchange); // one was pushed above
					const inFlight = counters.get(CELL.IN_FLIGHT) + counters.get(CELL.PROBES_IN_FLIGHT);
					assert.equal(inFlight, open.length);
				}
				assert.equal(counters.get(CELL.PROBES_ARRIVED), probes);
				assert.equal(counters.get(CELL.REQUESTS_ARRIVED), steps.length - probes);
				for (const x of open) account.close(x);
				for (let method = 0; method < METHODS.length; method++)
					assert.equal(counters.get(CELL.ACTIVE_BY_METHOD_START + method), 0);
			}),
			{ numRuns: 50 },
		);
	});
});

describe("while we leave", () => {
	test("an exchange whose last bytes wait stays in flight, and has its outcome when they have gone, or never will", () => {
		const { account, counters } = newAccount();
		const get = (...cells: readonly number[]): readonly number[] => cells.map((cell) => counters.get(cell));
		const before = request("GET /");
		account.open(before);
		account.close(before);
		account.unsent();
		account.leave();
		const since = [request("GET /"), request("GET /")];
		for (const x of since) {
			account.open(x);
			x.isUnsent = true;
			account.close(x);
		}
		assert.deepEqual(get(CELL.LEAVING_IN_FLIGHT, CELL.LEAVING_ARRIVED, CELL.IN_FLIGHT), [1, 2, 3]);
		account.sent(false);
		account.sent(true);
		account.unsentLost(true);
		assert.deepEqual(get(CELL.LEAVING_FINISHED, CELL.LEAVING_SERVED, CELL.LEAVING_CUT, CELL.IN_FLIGHT), [1, 1, 1, 0]);
	});

	test("what was refused unread has come; before, such a connection was closed for its age, and nobody counts", () => {
		const { account, counters } = newAccount();
		account.refusedUnread();
		assert.equal(counters.get(CELL.REQUESTS_ARRIVED), 0);
		account.leave();
		account.refusedUnread();
		assert.equal(counters.get(CELL.REQUESTS_ARRIVED), 1);
	});
});

describe("a probe", () => {
	const cases: readonly (readonly [what: string, x: Exchange, isProbe: boolean])[] = [
		["the kubelet's user agent", request("GET /whatever", "user-agent: kube-probe/1.34"), true],
		["the user agent in other letters", request("GET /whatever", "user-agent: Kube-Probe/1.34"), false],
		["a user agent that only holds the name", request("GET /", "user-agent: not-kube-probe/1.34"), false],
		["a user agent that is a beginning of the name", request("GET /", "user-agent: kube"), false],
		["no user agent", request("GET /"), false],
		["a path of the list", request("GET /healthz"), true],
		["a path of the list with a query", request("GET /ready?verbose"), true],
		["a path that begins like one", request("GET /healthz/deep"), false],
		["a path that is longer by a slash", request("GET /ready/"), false],
	];
	for (const [what, x, isProbe] of cases) {
		test(`is ${isProbe ? "" : "not "}known by ${what}`, () => {
			const { account, counters } = newAccount();
			account.open(x);
			assert.equal((x.flags & FLAG_PROBE) !== 0, isProbe);
			assert.equal(counters.get(CELL.PROBES_IN_FLIGHT), isProbe ? 1 : 0);
			assert.equal(counters.get(CELL.IN_FLIGHT), isProbe ? 0 : 1, "a drain does not wait for probes");
			assert.equal(counters.get(CELL.REQUESTS_ARRIVED), isProbe ? 0 : 1, "nor do they count as traffic");
			account.close(x);
			assert.equal(counters.get(CELL.PROBES_IN_FLIGHT) + counters.get(CELL.IN_FLIGHT), 0);
		});
	}
});
