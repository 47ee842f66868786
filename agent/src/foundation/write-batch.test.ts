import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { FakeStream } from "./byte-stream.fixture.ts";
import { BATCH_BYTES_MAX, WriteBatch } from "./write-batch.ts";

/** A batch of which the test ends the turns. */
const batchAndTurns = () => {
	const waiting: (() => void)[] = [];
	const batch = new WriteBatch((flush) => waiting.push(flush));
	return {
		batch,
		asked: () => waiting.length,
		endTurn: () => {
			for (const flush of waiting.splice(0)) flush();
		},
	};
};

describe("small writes of one turn", () => {
	test("go out together at its end, each stream's in their order, with one flush for all", () => {
		const { batch, asked, endTurn } = batchAndTurns();
		const one = new FakeStream();
		const other = new FakeStream();
		batch.write(one, Buffer.from("a"));
		batch.write(other, Buffer.from("1"));
		batch.write(one, Buffer.from("b"));
		assert.equal(asked(), 1);
		assert.deepEqual([one.text, other.text], ["", ""]);
		endTurn();
		assert.deepEqual([one.text, other.text], ["ab", "1"]);
		batch.write(one, Buffer.from("c"));
		assert.equal(asked(), 1, "the next turn is asked for anew");
		endTurn();
		assert.equal(one.text, "abc");
		assert.equal(one.writableCorked, 0);
	});

	test("of a stream that is full already are not held on top of that", () => {
		const { batch, asked } = batchAndTurns();
		const stream = new FakeStream();
		stream.isFull = true;
		stream.write(Buffer.from("x"));
		batch.write(stream, Buffer.from("y"));
		assert.equal(asked(), 0);
		assert.equal(stream.writableCorked, 0);
		stream.drain();
		assert.equal(stream.text, "xy");
	});

	test("have gone when what is to be done afterwards is done", () => {
		const { batch, endTurn } = batchAndTurns();
		const stream = new FakeStream();
		batch.write(stream, Buffer.from("a"));
		let seen = "";
		batch.afterwards(() => {
			seen = stream.text;
		});
		assert.equal(seen, "");
		endTurn();
		assert.equal(seen, "a");
	});

	test("do no harm to a stream that has been closed or uncorked before the turn ends", () => {
		const { batch, endTurn } = batchAndTurns();
		const closed = new FakeStream();
		const early = new FakeStream();
		batch.write(closed, Buffer.from("lost"));
		batch.write(early, Buffer.from("gone"));
		closed.destroy();
		early.uncork();
		assert.equal(early.text, "gone");
		endTurn();
		assert.deepEqual([closed.writableCorked, early.writableCorked], [0, 0]);
	});
});

test("a large write goes out at once, and takes with it what waited before it", () => {
	const { batch, endTurn } = batchAndTurns();
	const stream = new FakeStream();
	const large = Buffer.alloc(BATCH_BYTES_MAX + 1, "L");
	batch.write(stream, Buffer.from("small"));
	batch.write(stream, large);
	assert.equal(stream.text, `small${large.toString("latin1")}`);
	endTurn();
	const alone = new FakeStream();
	batch.write(alone, large);
	assert.equal(alone.text.length, large.length);
});

test("whatever is written in whatever sizes and turns, each stream gets its bytes once and in order", () => {
	const size = fc.constantFrom(1, 7, 4096, BATCH_BYTES_MAX, BATCH_BYTES_MAX + 1);
	const step = fc.oneof(fc.record({ stream: fc.nat(2), size }), fc.constant("turn" as const));
	fc.assert(
		fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
			const { batch, endTurn } = batchAndTurns();
			const streams = [new FakeStream(), new FakeStream(), new FakeStream()];
			const expected = streams.map(() => "");
			for (const [index, next] of steps.entries()) {
				if (next === "turn") {
					endTurn();
					continue;
				}
				const bytes = Buffer.alloc(next.size, 0x41 + (index % 26));
				expected[next.stream] += bytes.toString("latin1");
				batch.write(streams[next.stream] as FakeStream, bytes); // nat(2) is one of the three
			}
			endTurn();
			assert.deepEqual(
				streams.map((stream) => stream.text),
				expected,
			);
			for (const stream of streams) assert.equal(stream.writableCorked, 0);
		}),
		{ numRuns: 60 },
	);
});
