import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Drain } from "../foundation/drain.ts";
import { ManualScheduler } from "../foundation/scheduler.ts";
import { Leases } from "./leases.ts";

function fixture(leasesMax = 64) {
	const scheduler = new ManualScheduler();
	const drain = new Drain();
	let made = 0;
	const leases = new Leases({ clock: scheduler.clock, scheduler, drain, leasesMax, newId: () => `lease-${++made}` });
	const told: string[] = [];
	const unsubscribe = leases.subscribe((event, { id }) => told.push(`${event} ${id}`));
	return { scheduler, drain, leases, told, unsubscribe };
}

test("a lease holds up the drain until it is released", () => {
	const { leases, drain, scheduler, told } = fixture();
	const lease = leases.hold("import", 10_000);
	assert.deepEqual(lease, {
		id: "lease-1",
		name: "import",
		heldWallMs: scheduler.clock.wallMs(),
		expiresWallMs: scheduler.clock.wallMs() + 10_000,
	});
	assert.deepEqual(leases.list(), [lease]);
	assert.deepEqual([drain.inHand, leases.count, scheduler.pending], [1, 1, 1]);
	assert.equal(leases.release("lease-1"), true);
	assert.equal(leases.release("lease-1"), false);
	assert.deepEqual([drain.inHand, leases.count, scheduler.pending], [0, 0, 0]);
	assert.deepEqual(told, ["held lease-1", "released lease-1"]);
});

test("a lease that is not renewed in time ends by itself, one that is goes on", () => {
	const { leases, drain, scheduler, told } = fixture();
	leases.hold("a", 1_000);
	leases.hold("b", 2_000);
	scheduler.advance(999);
	assert.equal(drain.inHand, 2);
	assert.equal(leases.renew("lease-1", 5_000)?.expiresWallMs, scheduler.clock.wallMs() + 5_000);
	scheduler.advance(1_001);
	assert.deepEqual(told, ["held lease-1", "held lease-2", "renewed lease-1", "expired lease-2"]);
	assert.equal(leases.renew("lease-2", 5_000), undefined, "what has ended is held anew, with another id");
	assert.deepEqual(leases.renew("lease-1", 500)?.name, "a", "a shorter time counts too");
	scheduler.advance(500);
	assert.deepEqual([drain.inHand, leases.count, scheduler.pending], [0, 0, 0]);
});

test("one timer serves all leases", () => {
	const { leases, scheduler } = fixture();
	for (const ttlMs of [3_000, 1_000, 2_000, 1_000]) leases.hold("x", ttlMs);
	assert.equal(scheduler.pending, 1);
	scheduler.advance(1_000);
	assert.deepEqual([leases.count, scheduler.pending], [2, 1]);
	scheduler.advance(2_000);
	assert.deepEqual([leases.count, scheduler.pending], [0, 0]);
});

test("a wall clock that jumps ends no lease; a timer that is late is not waited for", () => {
	const { leases, scheduler } = fixture();
	leases.hold("a", 1_000);
	scheduler.clock.skew(3_600_000);
	scheduler.advance(999);
	assert.equal(leases.count, 1);
	scheduler.clock.advance(1); // past the end, and the timer has not run
	assert.equal(leases.renew("lease-1", 1_000), undefined);
	assert.equal(leases.release("lease-1"), false);
	assert.equal(leases.count, 0);
});

test("there are no more than there may be, until one ends", () => {
	const { leases, scheduler, drain } = fixture(2);
	leases.hold("a", 1_000);
	leases.hold("b", 2_000);
	assert.equal(leases.hold("c", 1_000), undefined);
	assert.equal(drain.inHand, 2);
	scheduler.advance(1_000);
	assert.equal(leases.hold("c", 1_000)?.id, "lease-3");
});

test("stop ends all and leaves no timer; a subscription ends by its own hand", () => {
	const { leases, drain, scheduler, told, unsubscribe } = fixture();
	leases.hold("a", 1_000);
	leases.hold("b", 2_000);
	unsubscribe();
	leases.stop();
	leases.stop();
	assert.deepEqual([drain.inHand, leases.count, scheduler.pending], [0, 0, 0]);
	assert.deepEqual(told, ["held lease-1", "held lease-2"]);
});

test("a listener that releases what it is told of ends it once", () => {
	const { leases, drain } = fixture();
	leases.subscribe((_, { id }) => leases.release(id));
	leases.hold("a", 1_000);
	assert.deepEqual([drain.inHand, leases.count], [0, 0]);
});

test("whatever is asked, and in whatever order, each lease enters once and leaves once (property)", () => {
	const action = fc.oneof(
		fc.record({ do: fc.constant("hold" as const), ms: fc.integer({ min: 0, max: 5_000 }) }),
		fc.record({ do: fc.constant("renew" as const), id: fc.nat(30), ms: fc.integer({ min: 0, max: 5_000 }) }),
		fc.record({ do: fc.constant("release" as const), id: fc.nat(30) }),
		fc.record({ do: fc.constant("advance" as const), ms: fc.integer({ min: 0, max: 3_000 }) }),
		fc.record({ do: fc.constant("late" as const), ms: fc.integer({ min: 0, max: 3_000 }) }),
	);
	fc.assert(
		fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
			const { leases, drain, scheduler } = fixture(8);
			const ends = new Map<string, string[]>();
			leases.subscribe((event, { id }) => {
				if (event === "held") ends.set(id, []);
				else if (event !== "renewed") ends.get(id)?.push(event);
			});
			for (const each of actions) {
				if (each.do === "hold") leases.hold("x", each.ms);
				else if (each.do === "renew") leases.renew(`lease-${each.id}`, each.ms);
				else if (each.do === "release") leases.release(`lease-${each.id}`);
				else if (each.do === "advance") scheduler.advance(each.ms);
				else scheduler.clock.advance(each.ms);
				assert.equal(drain.inHand, leases.count);
				assert.equal(leases.list().length, leases.count);
				assert.ok(leases.count <= 8);
				assert.ok(scheduler.pending <= 1, "one timer at most");
				for (const [id, ended] of ends) {
					const isHeld = leases.list().some((lease) => lease.id === id);
					assert.equal(ended.length, isHeld ? 0 : 1, id);
				}
			}
			scheduler.advance(10_000);
			assert.deepEqual([drain.inHand, leases.count, scheduler.pending], [0, 0, 0]);
		}),
	);
});
