import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { KeepAliveLesson } from "./keep-alive-lesson.ts";

describe("what the app says of its keep-alive", () => {
	const cases: readonly (readonly [seconds: number, idleMs: number, why: string])[] = [
		[30, 29_000, "a second less: its clock started earlier than ours"],
		[5, 4_000, "a second less"],
		[2, 1_000, "half of it, which is the same"],
		[1, 500, "half of it, where a second less would be nothing"],
		[0, 100, "the floor: used again at once or not at all"],
	];
	for (const [seconds, idleMs, why] of cases) {
		test(`timeout=${seconds}: ${why}`, () => {
			const lesson = new KeepAliveLesson(60_000);
			assert.equal(lesson.told(seconds), true);
			assert.deepEqual([lesson.idleMs, lesson.source], [idleMs, "field"]);
		});
	}

	test("that it keeps connections for longer teaches nothing", () => {
		const lesson = new KeepAliveLesson(1_000);
		assert.equal(lesson.told(60), false);
		assert.deepEqual([lesson.idleMs, lesson.source], [1_000, "configured"]);
	});
});

describe("what the app's closes teach", () => {
	test("two of about the same idle time are a rule", () => {
		const lesson = new KeepAliveLesson(60_000);
		assert.equal(lesson.sawClose(5_000), false, "one may be a restart");
		assert.equal(lesson.sawClose(5_050), true);
		assert.deepEqual([lesson.idleMs, lesson.source], [4_040, "close"]);
	});

	test("two that differ are none, and the later one is the new suspicion", () => {
		const lesson = new KeepAliveLesson(60_000);
		assert.deepEqual([lesson.sawClose(5_000), lesson.sawClose(20_000), lesson.sawClose(19_000)], [false, false, true]);
		assert.equal(lesson.idleMs, 15_200);
	});

	test("a close right after an answer says nothing about idleness", () => {
		const lesson = new KeepAliveLesson(60_000);
		assert.deepEqual([lesson.sawClose(99), lesson.sawClose(99), lesson.sawClose(0)], [false, false, false]);
		assert.equal(lesson.source, "configured");
	});
});

test("whatever is learned in whatever order, the time only falls, never below the floor", () => {
	const lesson = fc.oneof(
		fc.record({ told: fc.nat(100) }),
		fc.record({ saw: fc.double({ min: 0, max: 100_000, noNaN: true }) }),
	);
	fc.assert(
		fc.property(
			fc.integer({ min: 100, max: 100_000 }),
			fc.array(lesson, { maxLength: 30 }),
			(configuredMs, lessons) => {
				const learned = new KeepAliveLesson(configuredMs);
				let before = configuredMs;
				for (const next of lessons) {
					const isNew = "told" in next ? learned.told(next.told) : learned.sawClose(next.saw);
					assert.equal(isNew, learned.idleMs < before);
					assert.ok(learned.idleMs <= before && learned.idleMs >= KeepAliveLesson.floorMs);
					before = learned.idleMs;
				}
				assert.equal(learned.source === "configured", before === configuredMs);
			},
		),
	);
});
