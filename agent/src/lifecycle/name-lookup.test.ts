import assert from "node:assert/strict";
import type { LookupOptions } from "node:dns";
import type { LookupFunction } from "node:net";
import { test } from "node:test";
import { LOOKUPS_MAX, NameLookups, type Resolve } from "./name-lookup.ts";

/** A resolver whose answers the test gives. */
function fixture() {
	const out: { readonly name: string; readonly answer: (error?: NodeJS.ErrnoException) => void }[] = [];
	const resolve: Resolve = (name, _, callback) => {
		out.push({ name, answer: (error) => callback(error ?? null, error === undefined ? "192.0.2.1" : "", 4) });
	};
	const lookups = new NameLookups(resolve);
	return { lookups, out, names: () => out.map(({ name }) => name) };
}

/** What a lookup came to, as text; `pending` until then. */
function ask(door: LookupFunction, name: string, options: LookupOptions = {}): { answer: string } {
	const asked = { answer: "pending" };
	door(name, options, (error, address, family) => {
		asked.answer = error === null ? `${JSON.stringify(address)} ${family ?? ""}`.trim() : `${error.code ?? ""}`;
	});
	return asked;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("localhost is both loopback addresses, whatever the system says, and nobody is asked", async () => {
	const { lookups, names } = fixture();
	const door = lookups.door();
	const asked = [
		ask(door, "localhost", { all: true }),
		ask(door, "App.LocalHost", { all: true }),
		ask(door, "localhost"),
		ask(door, "localhost", { family: 6 }),
		ask(door, "localhost", { family: "IPv4", all: true }),
	];
	assert.ok(
		asked.every(({ answer }) => answer === "pending"),
		"never in the same turn",
	);
	await turn();
	const both = '[{"address":"127.0.0.1","family":4},{"address":"::1","family":6}]';
	assert.deepEqual(
		asked.map(({ answer }) => answer),
		[both, both, '"127.0.0.1" 4', '"::1" 6', '[{"address":"127.0.0.1","family":4}]'],
	);
	assert.deepEqual(names(), []);
});

test("all checks together ask for few names at a time, and the others wait their turn", async () => {
	const { lookups, out, names } = fixture();
	const asked = ["a", "b", "c", "d"].map((name) => ask(lookups.door(), name));
	assert.equal(LOOKUPS_MAX, 2);
	assert.deepEqual(names(), ["a", "b"]);
	out[1]?.answer(Object.assign(new Error(), { code: "ENOTFOUND" }));
	assert.deepEqual(names(), ["a", "b", "c"]);
	out[0]?.answer();
	out[2]?.answer();
	out[3]?.answer();
	assert.deepEqual(
		asked.map(({ answer }) => answer),
		['"192.0.2.1" 4', "ENOTFOUND", '"192.0.2.1" 4', '"192.0.2.1" 4'],
	);
	ask(lookups.door(), "e");
	ask(lookups.door(), "f");
	ask(lookups.door(), "g");
	assert.deepEqual(names().slice(4), ["e", "f"], "the places have come back");
});

test("a check whose last name is still out fails at once instead of taking another place", async () => {
	const { lookups, out, names } = fixture();
	const door = lookups.door();
	const first = ask(door, "hangs");
	const second = ask(door, "hangs");
	await turn();
	assert.deepEqual([first.answer, second.answer], ["pending", "EAI_AGAIN"]);
	assert.deepEqual(names(), ["hangs"]);
	out[0]?.answer();
	const third = ask(door, "hangs");
	out[1]?.answer();
	assert.equal(third.answer, '"192.0.2.1" 4');
});

test("without a resolver handed over the system is asked", async () => {
	const { promise, resolve } = Promise.withResolvers<string>();
	new NameLookups().door()("127.0.0.1", {}, (error, address) => resolve(error?.code ?? String(address)));
	assert.equal(await promise, "127.0.0.1");
});
