import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../foundation/clock.ts";
import { ConnectionPlaces, type PlaceHolder, type Use } from "./connection-places.ts";

class Holder implements PlaceHolder {
	remoteAddress: string | undefined;
	isClosed = false;

	constructor(address: string | undefined) {
		this.remoteAddress = address;
	}

	destroy(): void {
		this.isClosed = true;
		this.remoteAddress = undefined; // as that of a socket
	}
}

function fixture(connectionsMax: number, waitersMax: number) {
	const clock = new ManualClock();
	const told: string[] = [];
	const places = new ConnectionPlaces({ connectionsMax, waitersMax }, clock, (address, count) =>
		told.push(`${address} ${count}`),
	);
	/** Comes from `address` a millisecond after whatever was before. */
	const come = (address: string | undefined, use: Use = "idle"): Holder => {
		clock.advance(1);
		const holder = new Holder(address);
		places.enter(holder);
		if (use !== "idle") places.use(holder, use);
		return holder;
	};
	const closed = (holders: readonly Holder[]): readonly number[] =>
		holders.flatMap(({ isClosed }, index) => (isClosed ? [index] : []));
	return { clock, places, told, come, closed };
}

const KUBELET = "10.0.0.1";
const STRANGER = "10.0.3.7";

test("64 waiters of one stranger, and then the kubelet's: the stranger's oldest makes room", () => {
	const { places, come, closed, told } = fixture(64, 64);
	const strangers = Array.from({ length: 64 }, () => come(STRANGER, "waits"));
	const hook = come(KUBELET, "waits");
	assert.equal(hook.isClosed, false);
	assert.deepEqual(closed(strangers), [0]);
	assert.deepEqual([places.waiters, places.waitersReplaced, told], [64, 1, [`${STRANGER} 1`]]);
});

test("the kubelet's waiter, and then as many of one stranger as he likes: the kubelet's stays", () => {
	const { places, come, closed } = fixture(64, 64);
	const hooks = [come(KUBELET, "waits"), come(KUBELET, "waits")];
	const strangers = Array.from({ length: 1_000 }, () => come(STRANGER, "waits"));
	assert.deepEqual(closed(hooks), []);
	assert.equal(closed(strangers).length, 1_000 - 62);
	assert.equal(strangers.at(-1)?.isClosed, false, "a newcomer is never the one to go");
	assert.equal(places.waiters, 64);
});

test("two strangers who share the places pay by turns, and the kubelet's stays among them", () => {
	const { come } = fixture(64, 64);
	const first = Array.from({ length: 32 }, () => come(STRANGER, "waits"));
	const hook = come(KUBELET, "waits");
	const second = Array.from({ length: 200 }, () => come("10.0.3.8", "waits"));
	assert.equal(hook.isClosed, false);
	const left = [first, second].map((holders) => holders.filter(({ isClosed }) => !isClosed).length);
	assert.deepEqual(left, [31, 32]);
});

test("where one address has all the waiters its oldest goes; where each has one, the oldest of all", () => {
	const alone = fixture(64, 2);
	const hooks = [alone.come(KUBELET, "waits"), alone.come(KUBELET, "waits"), alone.come(KUBELET, "waits")];
	assert.deepEqual(alone.closed(hooks), [0]);
	const many = fixture(64, 2);
	const others = ["a", "b", "c"].map((address) => many.come(address, "waits"));
	assert.deepEqual(many.closed(others), [0]);
	const single = fixture(1, 1);
	const pair = [single.come("a", "waits"), single.come("b", "waits")];
	assert.deepEqual(single.closed(pair), [0]);
});

test("the oldest waiter is the one that has waited longest, not the one whose connection is oldest", () => {
	const { places, come, closed, clock } = fixture(64, 2);
	const holders = [come(STRANGER), come(STRANGER, "waits"), come(STRANGER)] as const;
	clock.advance(1);
	places.use(holders[2], "waits");
	clock.advance(1);
	places.use(holders[0], "waits");
	assert.deepEqual(closed(holders), [1]);
});

test("a connection that becomes a waiter frees its place, and keeps the other until its socket is closed", () => {
	const { places, come } = fixture(1, 1);
	const hook = come(KUBELET, "probe");
	assert.deepEqual([places.connections, places.waiters], [1, 0]);
	places.use(hook, "waits");
	assert.deepEqual([places.connections, places.waiters], [0, 1]);
	const probe = come(KUBELET);
	assert.equal(hook.isClosed, false);
	places.use(hook, "idle"); // answered
	assert.equal(places.useOf(hook), "waits");
	assert.equal(probe.isClosed, false);
	places.leave(hook);
	places.leave(hook);
	assert.deepEqual([places.connections, places.waiters, places.useOf(hook)], [1, 0, undefined]);
	places.use(hook, "probe");
	assert.equal(places.connections, 1, "who has left comes back by no request");
});

test("among connections the address with most pays, however new the others are", () => {
	const { places, come, closed } = fixture(64, 64);
	const prometheus = come("10.0.2.2", "metrics");
	const hung = Array.from({ length: 63 }, () => come(STRANGER, "metrics"));
	const probe = come(KUBELET);
	assert.deepEqual(closed(hung), [0]);
	// The probe has not been read yet when more of the stranger come.
	const flood = Array.from({ length: 500 }, () => come(STRANGER));
	assert.deepEqual([probe.isClosed, prometheus.isClosed], [false, false]);
	assert.deepEqual(
		[closed(hung), closed(flood).length],
		[[0, 1], 499],
		"his idle ones go before those that are in use",
	);
	assert.equal(places.replaced, 501);
});

test("of one address the one goes that has been idle longest, then who scrapes longest, then who does not take an answer", () => {
	const { places, come, closed, clock } = fixture(4, 1);
	const holders = [come(KUBELET, "probe"), come(KUBELET, "metrics"), come(KUBELET), come(KUBELET)] as const;
	clock.advance(1);
	places.use(holders[2], "probe");
	places.use(holders[2], "idle"); // used since
	const order: number[] = [];
	for (let round = 0; round < 4; round++) {
		const before = closed(holders);
		const newcomer = come(KUBELET, "probe");
		order.push(...closed(holders).filter((index) => !before.includes(index)));
		assert.equal(newcomer.isClosed, false);
	}
	assert.deepEqual(order, [3, 2, 1, 0]);
});

test("on a Unix socket all are one address, and so are those that were gone before they were accepted", () => {
	const { come, closed } = fixture(2, 1);
	const holders = [come(undefined), come(undefined), come("a")];
	assert.deepEqual(closed(holders), [0]);
});

test("clearing closes everybody", () => {
	const { places, come, closed } = fixture(4, 4);
	const holders = [come("a"), come("b", "waits"), come("c", "metrics")];
	places.clear();
	places.clear();
	assert.deepEqual(closed(holders), [0, 1, 2]);
	assert.deepEqual([places.connections, places.waiters, places.replaced, places.waitersReplaced], [0, 0, 0, 0]);
});
