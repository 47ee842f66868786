/** Where the corpora are: `OUTRIGGER_CORPORA`. They are not part of the repository; without them their tests are skipped. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";

const folder = process.env["OUTRIGGER_CORPORA"];

/** For the `skip` option of a test: a reason, or false when the corpora are there. */
export const SKIP_REASON: string | false =
	folder === undefined || folder === ""
		? "OUTRIGGER_CORPORA is unset: the corpora are not part of the repository"
		: false;

export type Case = Readonly<Record<string, unknown>>;

/** The list `cases` of a corpus file. */
export function readCases(file: string): readonly Case[] {
	assert.ok(folder !== undefined, "only behind SKIP_REASON");
	const parsed: unknown = JSON.parse(readFileSync(path.join(folder, file), "utf8"));
	assert.ok(typeof parsed === "object" && parsed !== null && "cases" in parsed && Array.isArray(parsed.cases));
	return parsed.cases;
}

/** A string of a case; fails when it is none. */
export function text(entry: Case, key: string): string {
	const value = entry[key];
	assert.ok(typeof value === "string", `${String(entry["id"])}: ${key} is a string`);
	return value;
}

/** Bytes of a case, from base64. */
export function raw(entry: Case, key: string): Buffer {
	return Buffer.from(text(entry, key), "base64");
}

/** Gives a request a Host line after its request line, when its head has none. */
export function withHost(bytes: Buffer): Buffer {
	const all = bytes.toString("latin1");
	const head = /\r?\n\r?\n/.exec(all.trimStart());
	const text = head === null ? all : all.slice(0, all.length - all.trimStart().length + head.index + 1);
	if (/^host[ \t]*:/im.test(text)) return bytes;
	const lineEnd = all.indexOf("\n", all.search(/[^\r\n]/));
	if (lineEnd === -1) return bytes;
	return Buffer.from(`${all.slice(0, lineEnd + 1)}Host: localhost\r\n${all.slice(lineEnd + 1)}`, "latin1");
}

/**
 * Cases that we judge otherwise than their corpus, grouped by the reason. What differs and is not listed fails, and so does
 * a listed case that does not differ any more, or differs in another way: the list cannot go stale.
 */
export type Listed = readonly { readonly why: string; readonly verdicts: Readonly<Record<string, string>> }[];

export function assertDifferences(found: ReadonlyMap<string, string>, listed: Listed): void {
	const expected = listed.flatMap(({ verdicts }) => Object.entries(verdicts));
	assert.equal(new Set(expected.map(([id]) => id)).size, expected.length, "no case is listed twice");
	assert.deepEqual([...found].sort(), expected.sort());
}
