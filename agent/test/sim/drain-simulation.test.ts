import { strict as assert } from "node:assert";
import { test } from "node:test";
import { simulateDrain } from "./drain-simulation.ts";

/** How many stops `npm test` makes, and for how long at most: whichever is reached first, but never fewer than `RUNS_LEAST`. */
const RUNS = 3_000;
const RUNS_LEAST = 200;
const RUNS_MS = 10_000;

/** Seeds that once failed, each with what was wrong; see `simulation.test.ts` for what they are worth after a change of the simulation. */
const FOUND: readonly (readonly [seed: number, what: string])[] = [
	[868, "who was refused unread had not come, and found the app stopped when he came again"],
	[132, "an answer whose last bytes waited for a slow client was counted as served, and cut by the stop"],
	[661, "the same of an answer that was over before the stop began"],
	[560, "half a head was nothing to wait for"],
	[82, "an app that was finishing what it had was cut a second after its port refused"],
];

const check = (seed: number): ReturnType<typeof simulateDrain> => {
	const report = simulateDrain(seed);
	assert.deepEqual(report.violations, [], `seed ${seed}; look at it with: npm run fuzz -- --drain --replay ${seed}`);
	return report;
};

test("a seed gives the same stop every time", () => {
	assert.deepEqual(simulateDrain(7), simulateDrain(7));
	assert.notDeepEqual(simulateDrain(7), { ...simulateDrain(8), seed: 7 });
});

test("however a pod is stopped, what has begun is finished or accounted for, and while nobody misbehaves no request is lost", (t) => {
	const first = Number(process.env["TEST_SEED"] ?? 1);
	const startedMs = performance.now();
	const sum = { requests: 0, answered: 0, arrivedLeaving: 0, refusedClean: 0, calm: 0, calmAndIdle: 0 };
	const ends = new Map<string, number>();
	let runs = 0;
	while (runs < RUNS_LEAST || (runs < RUNS && performance.now() - startedMs < RUNS_MS)) {
		const report = check(first + runs++);
		sum.requests += report.requests;
		sum.answered += report.answered;
		sum.arrivedLeaving += report.arrivedLeaving;
		sum.refusedClean += report.refusedClean;
		if (report.isCalm) sum.calm++;
		if (report.isCalm && report.ended === "idle") sum.calmAndIdle++;
		ends.set(report.ended, (ends.get(report.ended) ?? 0) + 1);
	}
	const ended = [...ends].map(([how, count]) => `${count} ${how}`).join(", ");
	t.diagnostic(
		`seeds ${first} to ${first + runs - 1}: ${sum.requests} requests, ${sum.answered} answered, ${sum.arrivedLeaving} came while leaving, ` +
			`${sum.refusedClean} of them on a connection that was just closed; ${sum.calm} stops were calm; ended by: ${ended}`,
	);
	// The runs must be about something: in most calm ones there was nothing left in the end, and the others end in every way.
	assert.ok(sum.calm > runs / 4 && sum.calm < runs / 2);
	assert.ok(sum.calmAndIdle > sum.calm * 0.8);
	assert.ok(sum.answered > sum.requests / 2 && sum.answered < sum.requests);
	assert.ok(sum.arrivedLeaving > 2 * runs && sum.refusedClean > 0);
	assert.ok(ends.size >= 5, "nearly every way to end");
});

for (const [seed, what] of FOUND) test(`seed ${seed}: ${what}`, () => void check(seed));
