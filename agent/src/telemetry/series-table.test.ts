import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SeriesTable } from "./series-table.ts";

test("a hash is new once", () => {
	const table = new SeriesTable();
	assert.equal(table.add(1, 2), true);
	assert.equal(table.add(1, 2), false);
	assert.equal(table.add(2, 1), true);
	assert.equal(table.add(0, 0), true);
	assert.equal(table.add(0, 0), false);
});

test("it answers like a set, also after it has grown", () => {
	fc.assert(
		fc.property(fc.array(fc.tuple(fc.nat(3_000), fc.nat(3)), { maxLength: 400 }), (pairs) => {
			const table = new SeriesTable();
			const set = new Set<string>();
			for (const [a, b] of pairs) {
				// The last bit of the second lane is given up to tell slots that are empty: whole hashes differ in more.
				const key = `${a},${b}`;
				assert.equal(table.add(a, Math.imul(b + 1, 0x9e3779b1)), !set.has(key));
				set.add(key);
			}
		}),
		{ verbose: 1 },
	);
	const table = new SeriesTable();
	for (let i = 0; i < 50_000; i++) assert.equal(table.add(i, i * 31), true);
	for (let i = 0; i < 50_000; i++) assert.equal(table.add(i, i * 31), false);
});
