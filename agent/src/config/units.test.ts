import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseDuration, parseSize, renderDuration, renderSize } from "./units.ts";

test("durations are whole milliseconds with a unit, and nothing else is one", () => {
	const rows: readonly (readonly [string, number | undefined])[] = [
		["250ms", 250],
		["10s", 10_000],
		["5m", 300_000],
		["2h", 7_200_000],
		["0s", 0],
		["0ms", 0],
		["1.5s", 1500],
		["1.005s", 1005],
		["0.1ms", undefined],
		["1.0001s", undefined],
		["10", undefined],
		["0", undefined],
		["", undefined],
		["s", undefined],
		["-1s", undefined],
		["+1s", undefined],
		["1 s", undefined],
		[" 1s", undefined],
		["1s\n", undefined],
		["1S", undefined],
		["1d", undefined],
		["1m30s", undefined],
		["1e3s", undefined],
		[".5s", undefined],
		["5.s", undefined],
		["1234567890s", undefined],
		["١s", undefined],
	];
	for (const [text, ms] of rows) assert.equal(parseDuration(text), ms, JSON.stringify(text));
});

test("sizes are whole bytes with a binary unit, and nothing else is one", () => {
	const rows: readonly (readonly [string, number | undefined])[] = [
		["512B", 512],
		["16KiB", 16_384],
		["1.5MiB", 1_572_864],
		["2GiB", 2_147_483_648],
		["0B", 0],
		["0.5B", undefined],
		["0.3KiB", undefined],
		["16Ki", undefined],
		["16KB", undefined],
		["16kib", undefined],
		["1024", undefined],
		["1TiB", undefined],
	];
	for (const [text, bytes] of rows) assert.equal(parseSize(text), bytes, text);
});

test("what is rendered is parsed to the same amount, and what is parsed is rendered to the same amount", () => {
	const amount = fc.oneof(
		fc.nat(999_999_999),
		fc.nat(999_999).map((n) => n * 1000),
		fc.nat(100_000).map((n) => n * 1024),
	);
	fc.assert(
		fc.property(amount, (n) => {
			assert.equal(parseDuration(renderDuration(n)), n);
			assert.equal(parseSize(renderSize(n)), n);
		}),
	);
	fc.assert(
		fc.property(
			fc.nat(99_999),
			fc.constantFrom("ms", "s", "m", "h"),
			fc.constantFrom("B", "KiB", "MiB", "GiB"),
			(n, time, bytes) => {
				const [ms, size] = [parseDuration(`${n}${time}`), parseSize(`${n}${bytes}`)];
				assert.ok(ms !== undefined && size !== undefined);
				assert.equal(parseDuration(renderDuration(ms)), ms);
				assert.equal(parseSize(renderSize(size)), size);
			},
		),
	);
});

test("the largest unit is taken in which an amount is whole", () => {
	assert.deepEqual([0, 1, 1000, 1001, 60_000, 90_000, 3_600_000].map(renderDuration), [
		"0s",
		"1ms",
		"1s",
		"1001ms",
		"1m",
		"90s",
		"1h",
	]);
	assert.deepEqual([0, 1, 1024, 1025, 1_048_576].map(renderSize), ["0B", "1B", "1KiB", "1025B", "1MiB"]);
});
