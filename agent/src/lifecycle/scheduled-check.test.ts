import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualScheduler } from "../foundation/scheduler.ts";
import type { HealthFinding } from "./health-tree.ts";
import { type CheckPace, ScheduledCheck } from "./scheduled-check.ts";

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const PACE: CheckPace = { intervalMs: 5_000, timeoutMs: 1_000, fall: 3, rise: 2, retryMs: 1_000 };

/** A check whose answers the test gives; `stubborn` ignores its signal. */
function fixture(pace: Partial<CheckPace> = {}, random = () => 0.5) {
	const scheduler = new ManualScheduler();
	const told: string[] = [];
	const asked: number[] = [];
	let answer: (finding: HealthFinding) => void = () => assert.fail("nothing was asked");
	let throws: (error: unknown) => void = () => assert.fail("nothing was asked");
	let isStubborn = false;
	let out = 0;
	const check = new ScheduledCheck(
		{ ...PACE, ...pace },
		{
			clock: scheduler.clock,
			scheduler,
			random,
			check: async (signal) => {
				out += 1;
				assert.equal(out, 1, "never two at a time");
				asked.push(scheduler.clock.monotonicMs());
				const { promise, resolve, reject } = Promise.withResolvers<HealthFinding>();
				answer = resolve;
				throws = reject;
				signal.addEventListener("abort", () => !isStubborn && reject(new Error("cut")));
				try {
					return await promise;
				} finally {
					out -= 1;
				}
			},
			onFinding: ({ status, reason, detail }) => told.push([status, reason, detail].filter(Boolean).join(" ")),
		},
	);
	return {
		check,
		scheduler,
		told,
		asked,
		out: () => out,
		beStubborn: () => {
			isStubborn = true;
		},
		/** Moves the time, and lets what was asked settle. */
		async step(ms: number): Promise<void> {
			scheduler.advance(ms);
			await settle();
		},
		async answers(finding: HealthFinding | Error): Promise<void> {
			if (finding instanceof Error) throws(finding);
			else answer(finding);
			await settle();
		},
	};
}

const GOOD: HealthFinding = { status: "pass" };
const BAD: HealthFinding = { status: "fail", reason: "http_status", detail: "503" };

test("the first answer counts at once, then it takes fall failures to fall and rise good answers to rise", async () => {
	const { check, step, answers, told } = fixture();
	check.start();
	check.start();
	await step(0);
	for (const finding of [GOOD, BAD, BAD, GOOD, BAD, BAD, BAD, GOOD, BAD, GOOD, GOOD]) {
		await answers(finding);
		await step(finding === GOOD && told.at(-1) === "pass" ? 5_000 : 1_000);
	}
	assert.deepEqual(told, [
		"pass",
		"pass 1 of 3 failures: 503",
		"pass 2 of 3 failures: 503",
		"pass",
		"pass 1 of 3 failures: 503",
		"pass 2 of 3 failures: 503",
		"fail http_status 503",
		"fail http_status 1 of 2 good answers since: 503",
		"fail http_status 503",
		"fail http_status 1 of 2 good answers since: 503",
		"pass",
	]);
});

test("a first answer that is bad counts at once too, and a warning is a good answer", async () => {
	const { check, step, answers, told } = fixture({ rise: 1 });
	check.start();
	await step(0);
	await answers(BAD);
	await step(1_000);
	await answers({ status: "warn", reason: "says_warn" });
	assert.deepEqual(told, ["fail http_status 503", "warn says_warn"]);
});

test("it is asked at the interval from start to start, sooner while it fails, and never exactly in step with others", async () => {
	const { check, step, answers, asked } = fixture();
	check.start();
	await step(0);
	await step(400);
	await answers(GOOD);
	await step(4_600);
	assert.deepEqual(asked, [0, 5_000]);
	await answers(BAD);
	await step(1_000);
	assert.deepEqual(asked, [0, 5_000, 6_000]);
	for (const [random, at] of [
		[0, 4_500],
		[0.999_999, 5_499],
	] as const) {
		const other = fixture({}, () => random);
		other.check.start();
		await other.step(0);
		await other.answers(GOOD);
		await other.step(10_000);
		assert.equal(Math.floor(other.asked[1] ?? 0), at);
	}
});

test("a check that hangs is cut at its timeout, counts as a failure, and the next one comes", async () => {
	const { check, step, told, asked, answers, scheduler } = fixture({ fall: 2 });
	check.start();
	await step(0);
	await answers(GOOD);
	await step(5_000);
	await step(999);
	assert.equal(told.length, 1);
	await step(1);
	assert.deepEqual(told.slice(1), ["pass 1 of 2 failures: no answer within 1000 ms"]);
	assert.deepEqual(asked, [0, 5_000, 6_000], "the one before was cut, or this one could not have begun");
	await step(1_000);
	assert.equal(told.at(-1), "fail timeout no answer within 1000 ms");
	check.stop();
	await settle();
	assert.equal(scheduler.pending, 0);
});

test("a check that cannot be cut is not asked a second time beside the first; it fails until it ends", async () => {
	const { check, step, told, asked, answers, beStubborn } = fixture({ fall: 1, rise: 1 });
	beStubborn();
	check.start();
	await step(0);
	await step(1_000);
	await step(500);
	assert.deepEqual(told, ["fail timeout no answer within 1000 ms"]);
	await step(2_000);
	assert.deepEqual(asked, [0]);
	assert.deepEqual(told.slice(1), [
		"fail timeout the last asking has not ended yet",
		"fail timeout the last asking has not ended yet",
	]);
	await answers(GOOD);
	assert.equal(told.length, 3, "an answer after the timeout is no answer");
	assert.equal(asked.length, 2, "and now there is room for the next asking");
	await answers(GOOD);
	assert.equal(told.at(-1), "pass");
});

test("a check that throws has failed, and its words are for the detail", async () => {
	const { check, step, told, answers } = fixture();
	check.start();
	await step(0);
	await answers(new Error("broken"));
	assert.deepEqual(told, ["fail internal broken"]);
});

test("stop cuts what is out, tells nothing any more and leaves no timer; start begins anew, and knows nothing", async () => {
	const { check, step, told, asked, answers, scheduler, out } = fixture();
	check.start();
	await step(0);
	await answers(GOOD);
	await step(5_000);
	check.stop();
	check.stop();
	await settle();
	assert.deepEqual([out(), told.length, scheduler.pending], [0, 1, 0]);
	check.start();
	await step(0);
	await answers(BAD);
	assert.deepEqual(told, ["pass", "fail http_status 503"], "it counts at once");
	assert.equal(asked.length, 3);
	check.stop();
	await step(60_000);
	assert.equal(asked.length, 3);
});

test("after a stop and a start the next asking waits for the end of the one before", async () => {
	const { check, step, told, asked, answers, beStubborn, scheduler } = fixture();
	beStubborn();
	check.start();
	await step(0);
	check.stop();
	check.start();
	await step(0);
	assert.deepEqual(asked.length, 1);
	await answers(BAD);
	assert.deepEqual([asked.length, told], [2, []], "the old answer is nobody's");
	await answers(GOOD);
	assert.deepEqual(told, ["pass"]);
	check.stop();
	check.start();
	await step(0);
	check.stop();
	await answers(GOOD);
	assert.deepEqual([told.length, scheduler.pending], [1, 0]);
});

test("whoever is told may stop the check", async () => {
	const scheduler = new ManualScheduler();
	let told = 0;
	const check: ScheduledCheck = new ScheduledCheck(PACE, {
		clock: scheduler.clock,
		scheduler,
		random: () => 0.5,
		check: async () => GOOD,
		onFinding: () => {
			told += 1;
			check.stop();
		},
	});
	check.start();
	scheduler.advance(0);
	await settle();
	assert.deepEqual([told, scheduler.pending], [1, 0]);
});
