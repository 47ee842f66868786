import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ENDED_BY } from "../bridge/exchange-record.ts";
import { FAULTS } from "../foundation/fault.ts";
import { arrived, groundFrom } from "./exchange.fixture.ts";
import { Exchange, ExchangePool } from "./exchange.ts";
import { Peer } from "./forwarded.ts";

const ground = groundFrom();
const newExchange = (): Exchange => new Exchange(ground.settings, ground.names);
const text = (x: Exchange, from: number, to: number): string => x.headBytes.toString("latin1", from, to);

describe("what an exchange takes over from its head", () => {
	const cases: readonly (readonly [target: string, path: string, query: string])[] = [
		["/orders/7?page=2&q=a?b", "/orders/7", "page=2&q=a?b"],
		["/orders/7", "/orders/7", ""],
		["/?", "/", ""],
		["http://shop.test:8080/a/b?c", "/a/b", "c"],
		["http://shop.test", "", ""],
		["http://shop.test?only=query", "", "only=query"],
	];
	for (const [target, path, query] of cases) {
		test(`path and query of ${target}`, () => {
			const x = arrived(ground, [`GET ${target} HTTP/1.1`, "host: shop.test"]);
			assert.equal(text(x, x.pathStart, x.pathEnd), path);
			assert.equal(text(x, x.queryStart, x.queryEnd), query);
			assert.equal(x.method, "GET");
		});
	}

	test("a method that is not in the list is _OTHER", () => {
		assert.equal(arrived(ground, ["BREW /pot HTTP/1.1", "host: a"]).method, "_OTHER");
	});

	const broken: readonly (readonly [head: string, method: string, path: string, why: string])[] = [
		["GE(T / HTTP/1.1\r\n", "", "", "nothing when not even the method was understood"],
		["GET /a\x01b HTTP/1.1\r\n", "GET", "", "the method alone when the target is wrong"],
		["GET /a?b HTTP/9.9\r\nhost: a\r\n\r\n", "GET", "/a", "method and path when something after them is wrong"],
		["POST /a HTTP/1.1\r\nhost : a\r\n\r\n", "POST", "/a", "method and path when a field is wrong"],
	];
	for (const [head, method, path, why] of broken) {
		test(`of a malformed head: ${why}`, () => {
			const x = newExchange();
			x.begin(0, new Peer("10.0.0.9"), 0, 0, 0);
			x.headBytes = Buffer.from(head, "latin1");
			x.head.reset(0);
			assert.equal(typeof x.head.scan(x.headBytes, x.headBytes.length), "object", "it is refused");
			x.readHead();
			assert.deepEqual([x.method, text(x, x.pathStart, x.pathEnd)], [method, path]);
		});
	}
});

describe("how an exchange ended", () => {
	test("is told by its first fault; what goes wrong afterwards follows from it", () => {
		const x = newExchange();
		x.fail(FAULTS.body_timeout, "timeout");
		x.fail(FAULTS.client_closed, "client");
		x.end("app");
		assert.equal(x.faultIndex, FAULTS.body_timeout.index);
		assert.equal(ENDED_BY[x.endedBy], "timeout");
	});

	test("is told by who ended it when nothing went wrong", () => {
		const x = newExchange();
		x.end("app");
		assert.deepEqual([x.faultIndex, ENDED_BY[x.endedBy]], [-1, "app"]);
	});
});

test("a pooled exchange that begins anew knows nothing of the one before", () => {
	const peer = new Peer("10.0.0.1");
	const used = arrived(ground, ["POST /a?b HTTP/1.1", "host: a", "content-length: 3"]);
	for (const [key, value] of Object.entries(used)) {
		const field = key as keyof Exchange; // a key of this very object
		if (typeof value === "number") Object.assign(used, { [field]: 7 });
		if (typeof value === "boolean") Object.assign(used, { [field]: true });
		if (typeof value === "string") Object.assign(used, { [field]: "left over" });
	}
	used.release();
	used.begin(0, peer, 5, 6, 1);
	const fresh = newExchange();
	fresh.begin(0, peer, 5, 6, 1);
	// What identity overwrites for every request, and the head, which the connection resets.
	const { head: _, traceBytes: __, traceView: ___, idRoom: ____, ...usedFields } = used;
	const { head: _h, traceBytes: _t, traceView: _v, idRoom: _r, ...freshFields } = fresh;
	assert.deepEqual(usedFields, freshFields);
});

describe("the pool of exchanges", () => {
	test("gives the same one again, without the client's bytes, and keeps no more than its bound", () => {
		let made = 0;
		const pool = new ExchangePool(() => {
			made++;
			return newExchange();
		}, 2);
		const [a, b, c] = [pool.take(), pool.take(), pool.take()];
		assert.equal(made, 3);
		a.headBytes = Buffer.alloc(1 << 20);
		a.peer = new Peer("10.0.0.1");
		for (const x of [a, b, c]) pool.give(x);
		assert.deepEqual([a.headBytes.length, a.peer], [0, undefined]);
		assert.deepEqual(new Set([pool.take(), pool.take()]), new Set([a, b]));
		pool.take();
		assert.equal(made, 4, "the third was beyond the bound");
	});
});
