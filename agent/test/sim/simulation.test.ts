import { strict as assert } from "node:assert";
import { test } from "node:test";
import { simulate } from "./simulation.ts";

/** How many runs `npm test` makes, and for how long at most: whichever is reached first, but never fewer than `RUNS_LEAST`. */
const RUNS = 3_000;
const RUNS_LEAST = 300;
const RUNS_MS = 10_000;

/**
 * Seeds that once failed, each with what was wrong. They run whatever the seed of the day is. (A change of the simulation makes them other runs:
 * then they are seeds like any other, and what they stood for has a test of its own.)
 */
const FOUND: readonly (readonly [seed: number, what: string])[] = [
	[1564, "the app switches to a protocol that the client did not ask for (upgrade-of-another.test.ts)"],
	[4165, "the same, after other exchanges"],
];

const check = (seed: number): ReturnType<typeof simulate> => {
	const report = simulate(seed);
	assert.deepEqual(report.violations, [], `seed ${seed}; look at it with: npm run fuzz -- --replay ${seed}`);
	return report;
};

test("a seed gives the same run every time", () => {
	assert.deepEqual(simulate(7), simulate(7));
	assert.notDeepEqual(simulate(7), { ...simulate(8), seed: 7 });
});

test("whatever clients and app do, the app gets only what is accounted for and the client only what is whole", (t) => {
	const first = Number(process.env["TEST_SEED"] ?? 1);
	const startedMs = performance.now();
	let runs = 0;
	let answered = 0;
	let requests = 0;
	let calm = 0;
	while (runs < RUNS_LEAST || (runs < RUNS && performance.now() - startedMs < RUNS_MS)) {
		const report = check(first + runs++);
		answered += report.answered;
		requests += report.requests;
		if (report.isCalm) calm++;
	}
	t.diagnostic(
		`seeds ${first} to ${first + runs - 1}: ${requests} requests, ${answered} answered, ${calm} runs were calm`,
	);
	// The runs must be about something: most requests are answered although much is broken on purpose.
	assert.ok(calm > runs / 5 && calm < runs / 2);
	assert.ok(answered > requests / 2 && answered < requests);
});

for (const [seed, what] of FOUND) test(`seed ${seed}: ${what}`, () => void check(seed));
