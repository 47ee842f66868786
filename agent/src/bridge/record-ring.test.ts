import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import fc from "fast-check";
import { RecordRing } from "./record-ring.ts";

/** Fills `length` bytes with something that tells which record it is. */
function fill(ring: RecordRing, offset: number, length: number, seed: number): void {
	for (let i = 0; i < length; i++) ring.bytes[offset + i] = (seed * 31 + i * 7) & 255;
}

function isFilled(ring: RecordRing, offset: number, length: number, seed: number): boolean {
	for (let i = 0; i < length; i++) if (ring.bytes[offset + i] !== ((seed * 31 + i * 7) & 255)) return false;
	return true;
}

describe("a record ring", () => {
	test("hands over a record as it was written", () => {
		const ring = RecordRing.allocate(4096);
		const offset = ring.reserve(16);
		assert.equal(offset % 8, 0);
		ring.f64[offset / 8] = 1.5;
		ring.i32[offset / 4 + 2] = -7;
		ring.commit(12);
		const seen: number[] = [];
		const reader = new RecordRing(ring.shared);
		const count = reader.drain((at, length) => {
			seen.push(length, reader.f64[at / 8] ?? 0, reader.i32[at / 4 + 2] ?? 0);
		}, 10);
		assert.equal(count, 1);
		assert.deepEqual(seen, [12, 1.5, -7]);
		assert.equal(reader.usedBytes, 0);
	});

	test("shows nothing before commit, and a second reserve takes the place of the first", () => {
		const ring = RecordRing.allocate(1024);
		assert.ok(ring.reserve(100) > 0);
		assert.equal(
			ring.drain(() => assert.fail("not committed"), 10),
			0,
		);
		const offset = ring.reserve(8);
		fill(ring, offset, 8, 3);
		ring.commit(8);
		assert.equal(
			ring.drain((at, length) => assert.ok(isFilled(ring, at, length, 3)), 10),
			1,
		);
	});

	test("refuses and counts when it is full, and takes again when there is room", () => {
		const ring = RecordRing.allocate(1024);
		let taken = 0;
		while (ring.reserve(100) >= 0) {
			ring.commit(100);
			taken++;
		}
		assert.equal(taken, Math.floor(1024 / 112));
		assert.equal(ring.dropped, 1);
		assert.equal(ring.reserve(100), -1);
		assert.equal(ring.dropped, 2);
		assert.equal(
			ring.drain(() => {}, 1),
			1,
		);
		assert.equal(
			ring.drain(() => {}, 1),
			1,
		);
		assert.ok(ring.reserve(100) >= 0);
	});

	test("refuses what can never fit", () => {
		const ring = RecordRing.allocate(1024);
		assert.equal(ring.reserve(1024), -1);
		assert.equal(ring.dropped, 1);
	});

	test("does not hand over more than was reserved, nor twice", () => {
		const ring = RecordRing.allocate(1024);
		ring.reserve(8);
		assert.throws(() => ring.commit(9), /no larger than what was reserved/);
		ring.commit(8);
		assert.throws(() => ring.commit(0), /no larger than what was reserved/);
	});

	test("commit after a refused reserve is a mistake that is told", () => {
		const ring = RecordRing.allocate(1024);
		ring.reserve(8);
		ring.commit(8);
		assert.equal(ring.reserve(5000), -1);
		assert.throws(() => ring.commit(0), /no larger than what was reserved/);
	});

	test("counts a record whose handler throws as read, and passes the error on", () => {
		const ring = RecordRing.allocate(1024);
		for (const length of [8, 16]) {
			ring.reserve(length);
			ring.commit(length);
		}
		assert.throws(() =>
			ring.drain(() => {
				throw new Error("observer");
			}, 10),
		);
		const lengths: number[] = [];
		ring.drain((_, length) => lengths.push(length), 10);
		assert.deepEqual(lengths, [16]);
	});

	test("is taken over by a new writer where the old one stopped", () => {
		const ring = RecordRing.allocate(1024);
		ring.reserve(8);
		ring.commit(8);
		ring.reserve(8); // and dies
		const next = new RecordRing(ring.shared);
		next.reserve(24);
		next.commit(24);
		const lengths: number[] = [];
		ring.drain((_, length) => lengths.push(length), 10);
		assert.deepEqual(lengths, [8, 24]);
	});

	test("has sizes that are powers of two and refuses others", () => {
		assert.equal(RecordRing.allocate(1).capacity, 1024);
		assert.equal(RecordRing.allocate(1025).capacity, 2048);
		assert.throws(() => RecordRing.allocate(0), /between 1 byte and 1 GiB/);
		assert.throws(() => RecordRing.allocate(2 ** 31), /between 1 byte and 1 GiB/);
		assert.throws(() => new RecordRing(new SharedArrayBuffer(3000)), /comes from allocate/);
	});

	test("gives every committed record once, whole and in order, whatever their sizes (property)", () => {
		const step = fc.oneof(
			fc.record({ reserve: fc.integer({ min: 0, max: 300 }), use: fc.double({ min: 0, max: 1, noNaN: true }) }),
			fc.record({ drain: fc.integer({ min: 1, max: 20 }) }),
		);
		fc.assert(
			fc.property(fc.array(step, { maxLength: 400 }), fc.integer({ min: -40, max: 40 }), (steps, lap) => {
				const ring = RecordRing.allocate(1024);
				// Begin near the place where the positions wrap around 2^32 (or their sign changes).
				const positions = new Int32Array(ring.shared, 0, 32);
				const start = ((lap > 0 ? 0x7fffffff : -1) + 1 - 1024 + (Math.abs(lap) % 16) * 64) | 0;
				positions[0] = start;
				positions[16] = start;
				const writer = new RecordRing(ring.shared);
				const reader = new RecordRing(ring.shared);
				const expected: { length: number; seed: number }[] = [];
				let seed = 0;
				let dropped = 0;
				const drain = (max: number): number =>
					reader.drain((offset, length) => {
						const next = expected.shift();
						assert.ok(next !== undefined, "a record that nobody wrote");
						assert.equal(length, next.length);
						assert.ok(isFilled(reader, offset, length, next.seed));
					}, max);
				for (const one of steps) {
					if ("drain" in one) {
						const waiting = expected.length;
						assert.equal(drain(one.drain), Math.min(one.drain, waiting));
						continue;
					}
					const offset = writer.reserve(one.reserve);
					if (offset < 0) {
						dropped++;
						assert.ok(expected.length > 0, "an empty ring takes a third of itself");
						continue;
					}
					assert.equal(offset % 8, 0);
					assert.ok(offset + one.reserve <= writer.capacity, "contiguous");
					const length = Math.floor(one.reserve * one.use);
					fill(writer, offset, length, ++seed);
					writer.commit(length);
					expected.push({ length, seed });
				}
				drain(Number.POSITIVE_INFINITY);
				assert.equal(expected.length, 0);
				assert.equal(reader.dropped, dropped);
				assert.equal(reader.usedBytes, 0);
			}),
		);
	});

	test("carries records between two threads that never wait for each other", async () => {
		const ring = RecordRing.allocate(8192);
		const records = 50_000;
		const worker = new Worker(new URL("./record-ring-writer.fixture.ts", import.meta.url), {
			workerData: { shared: ring.shared, records },
			execArgv: ["--import", "tsx"],
		});
		let isOver = false;
		const exit = new Promise<void>((resolve, reject) => {
			worker.once("error", reject);
			worker.once("exit", () => {
				isOver = true;
				resolve();
			});
		});
		let last = 0;
		let read = 0;
		const handler = (offset: number, length: number): void => {
			const seed = ring.i32[offset / 4] ?? 0;
			assert.ok(seed > last, "in order");
			assert.equal(length, 8 + (seed % 200));
			for (let i = 8; i < length; i++) assert.equal(ring.bytes[offset + i], (seed + i) & 255);
			last = seed;
			read++;
		};
		while (!isOver) {
			ring.drain(handler, 100);
			await new Promise((resolve) => setImmediate(resolve));
		}
		ring.drain(handler, Number.POSITIVE_INFINITY);
		await exit;
		assert.ok(read > 0);
		assert.equal(read + ring.dropped, records, "each record was read or counted as dropped");
	});
});
