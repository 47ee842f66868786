import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ReadRoom } from "./read-room.ts";

const LARGE = 40 * 1024;

/** A read of that many octets, each with this value. */
const read = (room: ReadRoom, length: number, value: number): Buffer => {
	const present = room.next();
	assert.ok(length <= present.length, "a read fits its room");
	present.fill(value, 0, length);
	const bytes = room.take(length, present);
	assert.equal(bytes.length, length);
	return bytes;
};

describe("the room that a socket reads into", () => {
	test("is one for all sockets while reads are small: bytes that are kept are a copy", () => {
		const one = new ReadRoom();
		const other = new ReadRoom();
		const bytes = read(one, 100, 1);
		assert.ok(one.isShared);
		const kept = one.own(bytes);
		read(other, 100, 2);
		assert.deepEqual(kept, Buffer.alloc(100, 1));
		assert.deepEqual(bytes, Buffer.alloc(100, 2), "what was not kept is gone");
	});

	test("is the socket's own after a large read, and the same again as long as nobody keeps what is in it", () => {
		const room = new ReadRoom();
		read(room, LARGE, 1);
		const second = read(room, LARGE, 2);
		assert.ok(!room.isShared);
		const third = read(room, LARGE, 3);
		assert.equal(third.buffer, second.buffer, "no new memory");
	});

	test("is another while large bytes are kept, and comes back when they are released", () => {
		const room = new ReadRoom();
		read(room, LARGE, 1);
		const second = read(room, LARGE, 2);
		assert.equal(room.own(second), second, "without a copy");
		const third = read(room, LARGE, 3);
		assert.notEqual(third.buffer, second.buffer);
		assert.deepEqual(second, Buffer.alloc(LARGE, 2));
		room.own(third);
		room.release();
		const fourth = read(room, LARGE, 4);
		assert.equal(fourth.buffer, second.buffer, "what was kept before is used again");
	});

	test("is never used again after forget: who holds the bytes will not say when it is over", () => {
		const room = new ReadRoom();
		read(room, LARGE, 1);
		const second = read(room, LARGE, 2);
		room.own(second);
		room.forget();
		room.release();
		for (let value = 3; value < 8; value++) read(room, LARGE, value);
		assert.deepEqual(second, Buffer.alloc(LARGE, 2));
	});

	test("of its own is given up with the first small read", () => {
		const room = new ReadRoom();
		read(room, LARGE, 1);
		read(room, 10, 2);
		read(room, 10, 3);
		assert.ok(room.isShared);
	});
});

test("bytes that somebody keeps never change until they are released, whatever is read meanwhile", () => {
	const length = fc.constantFrom(1, 100, 16 * 1024, 16 * 1024 + 1, LARGE, 64 * 1024);
	const step = fc.oneof(
		{ weight: 5, arbitrary: fc.record({ length, keeps: fc.boolean(), from: fc.constantFrom(0, 0.5) }) },
		{ weight: 1, arbitrary: fc.constantFrom("release" as const, "forget" as const) },
	);
	fc.assert(
		fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
			const room = new ReadRoom();
			const other = new ReadRoom();
			let held: [bytes: Buffer, value: number][] = [];
			const forgotten: [bytes: Buffer, value: number][] = [];
			for (const [index, next] of steps.entries()) {
				if (next === "release") {
					room.release();
					held = [];
				} else if (next === "forget") {
					room.forget();
					forgotten.push(...held.splice(0));
				} else {
					const value = index + 1;
					const bytes = read(room, next.length, value);
					if (next.keeps) held.push([room.own(bytes.subarray(Math.floor(next.from * bytes.length))), value]);
					read(other, 32 * 1024, 255);
				}
				for (const [bytes, value] of [...held, ...forgotten])
					assert.ok(
						bytes.every((byte) => byte === value),
						`bytes of step ${value} changed at step ${index}`,
					);
			}
		}),
		{ numRuns: 150 },
	);
});
