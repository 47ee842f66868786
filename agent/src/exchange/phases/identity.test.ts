import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { CELL, Counters } from "../../bridge/counters.ts";
import { FLAG_PARENT, FLAG_SAMPLED } from "../../bridge/exchange-record.ts";
import { ManualClock } from "../../foundation/clock.ts";
import { MARK } from "../../http1/scan-fields.ts";
import { IdSource } from "../../telemetry/ids.ts";
import { Sampler } from "../../telemetry/trace-context.ts";
import { arrived, type Ground, groundFrom, linesOf } from "../exchange.fixture.ts";
import type { Exchange } from "../exchange.ts";
import { Identity } from "./identity.ts";

const UUID7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";

interface Run {
	readonly x: Exchange;
	/** Fields that came and stay. */
	readonly stays: readonly string[];
	/** Lines that were put in, by their names. */
	readonly put: Readonly<Record<string, string>>;
	readonly requestId: string;
	readonly correlationId: string;
	readonly counters: Counters;
}

interface Options {
	readonly set?: Readonly<Record<string, string>>;
	readonly forcedPerSecond?: number;
	readonly line?: string;
	readonly idNames?: readonly string[];
}

const identityOf = (ground: Ground, counters: Counters, forcedPerSecond = Number.POSITIVE_INFINITY): Identity => {
	const clock = new ManualClock();
	const sampler = new Sampler({ ratio: 0, forcedPerSecond, clock });
	return new Identity(ground.settings, ground.names, new IdSource(), sampler, clock, counters);
};

const identified = (fields: readonly string[], options: Options = {}): Run => {
	const ground = groundFrom(options.set, options.idNames);
	const counters = Counters.allocate();
	const x = arrived(ground, [options.line ?? "GET / HTTP/1.1", "host: shop.test", ...fields]);
	identityOf(ground, counters, options.forcedPerSecond).identify(x);
	const all = x.head.fields;
	const stays: string[] = [];
	for (let i = 0; i < all.count; i++) {
		if (all.mark(i) === MARK.FORWARD) stays.push(x.headBytes.toString("latin1", all.nameStart(i), all.valueEnd(i)));
	}
	const put: Record<string, string> = {};
	for (const line of linesOf(x)) {
		const colon = line.indexOf(": ");
		assert.ok(colon > 0 && !(line.slice(0, colon) in put), `once each: ${line}`);
		put[line.slice(0, colon)] = line.slice(colon + 2);
	}
	return {
		x,
		stays,
		put,
		counters,
		requestId: x.requestIdBytes.toString("latin1", x.requestIdStart, x.requestIdEnd),
		correlationId: x.correlationIdBytes.toString("latin1", x.correlationIdStart, x.correlationIdEnd),
	};
};

describe("request and correlation id", () => {
	const untrusted = { "identity.trust": "false" };
	const cases: readonly (readonly [
		why: string,
		fields: readonly string[],
		request: string,
		correlation: string,
		Options?,
	])[] = [
		["both came: both are kept, byte for byte", ["X-Request-ID: A.b:1", "x-correlation-id: c=2"], "A.b:1", "c=2"],
		["a missing correlation id takes the request's", ["x-request-id: r1"], "r1", "r1"],
		["a missing request id takes the correlation's", ["x-correlation-id: c1"], "c1", "c1"],
		["none came: a new one for both", [], "new", "new"],
		["a request id with a space is none", ["x-request-id: a b", "x-correlation-id: c1"], "c1", "c1"],
		["an empty one is none", ["x-request-id:"], "new", "new"],
		["one of 128 octets is kept", [`x-request-id: ${"a".repeat(128)}`], "a".repeat(128), "a".repeat(128)],
		["one of 129 is none", [`x-request-id: ${"a".repeat(129)}`], "new", "new"],
		["twice is as none: nobody knows which is meant", ["x-request-id: a", "x-request-id: b"], "new", "new"],
		[
			"what an untrusted client says is not believed",
			["x-request-id: r1", "x-correlation-id: c1"],
			"new",
			"new",
			{ set: untrusted },
		],
		[
			"the names are those of the configuration",
			["x-request-id: no", "x-rid: r", "x-cid: c"],
			"r",
			"c",
			{ set: { "identity.headers": "x-rid,x-cid" } },
		],
		["one name serves for both", ["x-rid: r"], "r", "r", { idNames: ["x-rid"] }],
	];
	for (const [why, fields, request, correlation, options] of cases) {
		test(why, () => {
			const { requestId, correlationId, x } = identified(fields, options);
			assert.ok(x.hasIdentity);
			for (const [value, expected] of [
				[requestId, request],
				[correlationId, correlation],
			] as const) {
				if (expected === "new") assert.match(value, UUID7);
				else assert.equal(value, expected);
			}
			if (request === "new" && correlation === "new") assert.equal(requestId, correlationId);
		});
	}

	test("reach the app once each, whatever came", () => {
		const names = ["x-request-id", "x-correlation-id"];
		const value = fc.constantFrom("good-1", "good-2", "not good", "", "ümlaut");
		const field = fc.tuple(fc.constantFrom(...names), value).map(([name, text]) => `${name}: ${text}`);
		fc.assert(
			fc.property(fc.array(field, { maxLength: 5 }), fc.boolean(), (fields, trust) => {
				const { stays, put, requestId, correlationId } = identified(fields, {
					set: { "identity.trust": String(trust) },
				});
				for (const [name, id] of [
					["x-request-id", requestId],
					["x-correlation-id", correlationId],
				] as const) {
					const came = stays
						.filter((line) => line.startsWith(`${name}:`))
						.map((line) => line.slice(name.length + 1).trim());
					const all = [...came, ...(put[name] === undefined ? [] : [put[name]])];
					assert.deepEqual(all, [id]);
				}
			}),
			{ numRuns: 100 },
		);
	});
});

describe("trace context", () => {
	const parent = `traceparent: 00-${TRACE}-${SPAN}-01`;

	test("of the caller is continued with a new span, and what comes with it stays", () => {
		const { x, put, stays } = identified([parent, "tracestate: a=1,b=2", "tracestate: c=3", "baggage: user=7"]);
		const [, trace, span, flags] = (put["traceparent"] ?? "").split("-");
		assert.equal(trace, TRACE);
		assert.notEqual(span, SPAN);
		assert.equal(flags, "01");
		assert.equal(x.traceBytes.toString("latin1", 48, 64), span, "the CLIENT span is the app's parent");
		assert.equal(x.traceBytes.toString("latin1", 64, 80), SPAN);
		assert.notEqual(x.traceBytes.toString("latin1", 32, 48), span, "the SERVER span is another");
		assert.deepEqual([x.flags & FLAG_PARENT, x.flags & FLAG_SAMPLED], [FLAG_PARENT, FLAG_SAMPLED]);
		assert.deepEqual(stays, ["host: shop.test", "tracestate: a=1,b=2", "tracestate: c=3", "baggage: user=7"]);
	});

	const begunAnew: readonly (readonly [why: string, fields: readonly string[], Options?])[] = [
		["there is none", []],
		["it is malformed", ["traceparent: 00-nonsense-00"]],
		["it is there twice", [parent, parent]],
		["the client is not trusted", [parent], { set: { "identity.trust": "false" } }],
	];
	for (const [why, fields, options] of begunAnew) {
		test(`begins anew when ${why}, and its tracestate goes`, () => {
			const { x, put, stays } = identified([...fields, "tracestate: a=1"], options);
			const [version, trace, span, flags] = (put["traceparent"] ?? "").split("-");
			assert.deepEqual([version, flags?.length], ["00", 2]);
			assert.notEqual(trace, TRACE);
			assert.match(trace ?? "", /^(?!0{32})[0-9a-f]{32}$/);
			assert.match(span ?? "", /^(?!0{16})[0-9a-f]{16}$/);
			assert.equal(x.flags & FLAG_PARENT, 0);
			assert.deepEqual(stays, ["host: shop.test"]);
		});
	}

	test("loses a tracestate that is malformed or too long in any of its lines, and keeps the trace", () => {
		const members = (count: number): string => Array.from({ length: count }, (_, i) => `k${i}=v`).join(",");
		for (const lines of [
			["tracestate: =broken"],
			["tracestate: a=1", "tracestate: ="],
			[`tracestate: ${members(33)}`],
		]) {
			const { put, stays } = identified([parent, ...lines]);
			assert.ok(put["traceparent"]?.includes(TRACE));
			assert.deepEqual(stays, ["host: shop.test"], lines.join(" | "));
		}
	});

	test("of an untrusted client brings no baggage", () => {
		const { stays } = identified(["baggage: a=1", "baggage: b=2"], { set: { "identity.trust": "false" } });
		assert.deepEqual(stays, ["host: shop.test"]);
	});

	test("sampled by the client beyond the cap is counted, and not sampled", () => {
		const ground = groundFrom();
		const counters = Counters.allocate();
		const identity = identityOf(ground, counters, 1);
		const flags = Array.from({ length: 3 }, () => {
			const x = arrived(ground, ["GET / HTTP/1.1", "host: a", parent]);
			identity.identify(x);
			return x.flags & FLAG_SAMPLED;
		});
		assert.equal(flags.at(0), FLAG_SAMPLED);
		assert.equal(flags.at(-1), 0);
		assert.equal(counters.get(CELL.FORCED_SAMPLES_REFUSED), flags.filter((flag) => flag === 0).length);
	});
});

describe("forwarded fields and via", () => {
	test("name the client, the host that was asked for, and this hop", () => {
		const { put, x } = identified(["User-Agent: curl/8"], { set: { "identity.via": "true" } });
		assert.equal(put["x-forwarded-for"], "10.0.0.9");
		assert.equal(put["via"], "1.1 outrigger");
		assert.equal(x.clientAddress, "10.0.0.9");
		assert.equal(x.headBytes.toString("latin1", x.userAgentStart, x.userAgentEnd), "curl/8");
	});

	test("continue what a trusted hop wrote; the client is then the one it names", () => {
		const { put, stays, x } = identified(["X-Forwarded-For: 203.0.113.5"], { set: { "identity.trustedHops": "1" } });
		assert.equal(put["x-forwarded-for"], "203.0.113.5, 10.0.0.9");
		assert.ok(!stays.some((line) => /^x-forwarded-for/i.test(line)));
		assert.equal(x.clientAddress, "203.0.113.5");
	});

	test("name the host of an absolute-form target, not the Host field beside it (RFC 9112 §3.2.2)", () => {
		const { put } = identified([], { line: "GET http://other.test:81/x HTTP/1.1", set: { "identity.trust": "false" } });
		assert.equal(put["x-forwarded-host"] ?? "other.test:81", "other.test:81");
		assert.ok(!Object.values(put).includes("shop.test"));
	});

	test("find room for themselves, however long what has to be repeated is", () => {
		const list = Array.from({ length: 300 }, (_, i) => `192.0.2.${i % 256}`).join(", ");
		const { put } = identified([`x-forwarded-for: ${list}`]);
		assert.equal(put["x-forwarded-for"], `${list}, 10.0.0.9`);
	});
});

test("an exchange that was refused for its head gets ids of its own, and nothing of that head is believed", () => {
	const ground = groundFrom();
	const x = arrived(ground, [
		"GET / HTTP/1.1",
		"host: a",
		"x-request-id: theirs",
		`traceparent: 00-${TRACE}-${SPAN}-01`,
	]);
	identityOf(ground, Counters.allocate()).identifyAnew(x);
	assert.ok(x.hasIdentity);
	assert.match(x.requestIdBytes.toString("latin1", x.requestIdStart, x.requestIdEnd), UUID7);
	assert.match(x.traceBytes.toString("latin1", 0, 32), /^[0-9a-f]{32}$/);
	assert.notEqual(x.traceBytes.toString("latin1", 0, 32), TRACE);
});
