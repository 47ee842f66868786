import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { connectionsWithin, fileBudget, openFilesMax, refusalsMax } from "./file-limit.ts";
import { settingsFrom } from "./layers.ts";

const ONE = { connectionsMax: 20_000, listeners: 1, proxyProtocol: false };
const RESERVE = 512;

for (const [what, needs, files, fit] of [
	["a million files: what is configured", {}, 1_048_576, 20_000],
	["exactly enough", {}, RESERVE + 2 * 20_000 + 128, 20_000],
	["one too few", {}, RESERVE + 2 * 20_000 + 127, 19_999],
	["4096: two for each, and 128 that are being refused", {}, 4_096, (4_096 - RESERVE - 128) / 2],
	["1024: half is reserved at most", {}, 1_024, (512 - 128) / 2],
	["few: as many may be refused as are served", {}, 256, Math.floor(128 / 3)],
	["fewer are configured than fit", { connectionsMax: 40 }, 256, 40],
	["very few: some can be told that there is no room", {}, 80, (40 - 16) / 2],
	["two listeners with a share each", { listeners: 2 }, 256, 2 * Math.floor(64 / 3)],
	["shares that are rounded up fit as well", { listeners: 4, connectionsMax: 41 }, 256, 4 * ((32 - 16) / 2)],
	["one more for a PROXY header that is waited for", { proxyProtocol: true }, 256, 128 / 4],
	["nothing listens", { listeners: 0 }, 256, 42],
	["no room at all: one all the same", {}, 3, 1],
	["not one for each listener", { listeners: 64 }, 16, 1],
	["no files", {}, 0, 1],
] as const) {
	test(`connections within the limit of open files: ${what}`, () => {
		assert.equal(connectionsWithin({ ...ONE, ...needs }, files, RESERVE), fit);
	});
}

test("clients never use what is reserved, whatever is configured; and another file never takes a connection away", () => {
	fc.assert(
		fc.property(
			fc.integer({ min: 1, max: 1_000_000 }),
			fc.integer({ min: 1, max: 64 }),
			fc.boolean(),
			fc.integer({ min: 0, max: 2_000_000 }),
			fc.integer({ min: 0, max: 100_000 }),
			(connectionsMax, listeners, proxyProtocol, files, reserve) => {
				const needs = { connectionsMax, listeners, proxyProtocol };
				const fit = connectionsWithin(needs, files, reserve);
				assert.ok(fit >= 1 && fit <= connectionsMax);
				assert.ok(connectionsWithin(needs, files + 1, reserve) >= fit);
				const share = Math.ceil(fit / listeners);
				const used = listeners * (share * (proxyProtocol ? 3 : 2) + refusalsMax(share));
				assert.ok(fit === 1 || used <= files - Math.min(reserve, Math.floor(files / 2)), `${used} files are used`);
			},
		),
	);
});

const settings = (set: Readonly<Record<string, string>> = {}) =>
	settingsFrom({ "inbound.0.app": "127.0.0.1:3000", ...set });

test("a machine with enough files changes nothing, nor does one whose limit is not known", () => {
	for (const files of [undefined, 1_048_576]) {
		assert.deepEqual(fileBudget(settings(), files), { connectionsMax: 20_000, advice: undefined });
	}
	assert.deepEqual(fileBudget(settings({ capture: "none" }), 256), { connectionsMax: 20_000, advice: undefined });
});

test("with too few files fewer clients are let in, and it is said what to change", () => {
	assert.deepEqual(fileBudget(settings(), 4_096), {
		connectionsMax: 1_728,
		advice: {
			reason: "too_few_files",
			detail:
				"the agent may have 4096 files open: room for 1728 connections of clients, not for the 20000 of limits.connections",
			advice: "limits.connections: 1728, or a limit of open files (nofile) of 40640",
		},
	});
	// ops.connections 64, ops.waiters 64, api.connections 256, and 128 of our own
	assert.equal(connectionsWithin(ONE, 4_096, 64 + 64 + 256 + 128), 1_728);
});

test("what is advised is enough, either way", () => {
	for (const set of [{}, { workers: "3" }, { "connections.proxyProtocol": "true" }, { "limits.connections": "100" }]) {
		const { advice, connectionsMax } = fileBudget(settings(set), 256);
		const [, files] = /nofile\) of (\d+)$/.exec(advice?.advice ?? "") ?? [];
		assert.equal(fileBudget(settings(set), Number(files)).advice, undefined, JSON.stringify(set));
		assert.equal(fileBudget(settings({ ...set, "limits.connections": `${connectionsMax}` }), 256).advice, undefined);
	}
});

const table = (soft: string): string =>
	`Limit                     Soft Limit           Hard Limit           Units     \nMax processes             63419                63419                processes \nMax open files            ${soft.padEnd(20)} 524288               files     \nMax locked memory         8388608              8388608              bytes     \n`;

test("the limit is read as Linux writes it; without one, and elsewhere, there is none", (t) => {
	const folder = mkdtempSync(join(tmpdir(), "outrigger-files-"));
	t.after(() => rmSync(folder, { recursive: true }));
	const path = join(folder, "limits");
	for (const [text, files] of [
		[table("1024"), 1_024],
		[table("1048576"), 1_048_576],
		[table("unlimited"), undefined],
		["", undefined],
	] as const) {
		writeFileSync(path, text);
		assert.equal(openFilesMax(path), files);
	}
	assert.equal(openFilesMax(join(folder, "nowhere")), undefined);
});

test("the limit of this process is what its shell says", (t) => {
	if (process.platform !== "linux") return t.skip("there is no /proc/self/limits here");
	const said = execFileSync("/bin/sh", ["-c", "ulimit -n"], { encoding: "utf8" }).trim(); // what we have it inherits
	assert.equal(openFilesMax(), said === "unlimited" ? undefined : Number(said));
});
