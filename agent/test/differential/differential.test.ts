import { strict as assert } from "node:assert";
import { test } from "node:test";
import { Dice } from "../sim/dice.ts";
import { startPlane } from "../story/harness.ts";
import {
	CHANGED_IN_REQUESTS,
	CHANGED_IN_RESPONSES,
	DifferentialApp,
	exchange,
	type Plan,
	planOf,
	type Seen,
	without,
} from "./exchanges.ts";

const SMALL = 300;
const SMALL_BYTES = 100_000;
const LARGE_BYTES = 64 * 1024 * 1024;
const AT_ONCE = 8;

const seed = Number(process.env["TEST_SEED"] ?? 1);

/** The exchange both ways, and that both are one. */
const compare = async (
	app: DifferentialApp,
	plan: Plan,
	direct: number,
	agent: number,
): Promise<{ got: Seen; answer: Seen }> => {
	const told = `seed ${seed}, exchange ${JSON.stringify(plan)}`;
	app.plans.set(plan.id, plan);
	const directAnswer = await exchange(plan, direct);
	const directGot = app.got(plan.id);
	const answer = await exchange(plan, agent);
	const got = app.got(plan.id);
	app.plans.delete(plan.id);
	assert.ok(directGot !== undefined && got !== undefined, told);
	assert.deepEqual(without(got, CHANGED_IN_REQUESTS), without(directGot, CHANGED_IN_REQUESTS), told);
	assert.deepEqual(without(answer, CHANGED_IN_RESPONSES), without(directAnswer, CHANGED_IN_RESPONSES), told);
	return { got, answer };
};

test("many small exchanges are the same through the agent and directly, but for what is documented", async (t) => {
	t.diagnostic(`seed ${seed}`);
	await using app = new DifferentialApp();
	const direct = await app.listen();
	await using agent = await startPlane(direct);
	const dice = new Dice(seed);
	const plans = Array.from({ length: SMALL }, (_, id) => planOf(dice, id * 1000, SMALL_BYTES));
	for (let at = 0; at < plans.length; at += AT_ONCE) {
		await Promise.all(plans.slice(at, at + AT_ONCE).map((plan) => compare(app, plan, direct, agent.port)));
	}
	const { got, answer } = await compare(app, planOf(dice, 1_000_000, SMALL_BYTES), direct, agent.port);
	for (const name of ["traceparent: ", "x-request-id: ", "x-correlation-id: ", "x-forwarded-for: 127.0.0.1"]) {
		assert.equal(got.fields.filter((line) => line.startsWith(name)).length, 1, name);
	}
	assert.equal(answer.fields.filter((line) => line.startsWith("x-request-id: ")).length, 1);
	await agent.settle();
	assert.equal(agent.records.length, SMALL + 1);
});

const large = (id: number, change: Partial<Plan>): Plan => ({
	id,
	method: "POST",
	target: "/large",
	fields: [],
	bodyBytes: 1,
	framing: "length",
	status: 200,
	answerFields: [],
	answerBytes: 1,
	answerFraming: "length",
	interim: false,
	...change,
});

for (const plan of [
	large(1, { bodyBytes: LARGE_BYTES }),
	large(2, { bodyBytes: LARGE_BYTES - 1, framing: "chunked" }),
	large(3, { answerBytes: LARGE_BYTES }),
	large(4, { answerBytes: LARGE_BYTES + 1, answerFraming: "chunked" }),
	large(5, { answerBytes: LARGE_BYTES / 2, answerFraming: "close" }),
]) {
	const way = plan.bodyBytes > 1 ? `request, ${plan.framing}` : `response, ${plan.answerFraming}`;
	test(`a body of ${(Math.max(plan.bodyBytes, plan.answerBytes) / 1048576).toFixed(0)} MiB is the same by SHA-256 (${way})`, async () => {
		await using app = new DifferentialApp();
		const direct = await app.listen();
		await using agent = await startPlane(direct);
		const { got, answer } = await compare(app, plan, direct, agent.port);
		assert.equal(got.bodyBytes, plan.bodyBytes);
		assert.equal(answer.bodyBytes, plan.answerBytes);
		await agent.settle();
	});
}
