/**
 * Targets and heads of seanmonstar/httparse, which is lenient: what it refuses we must refuse, what it accepts shows that
 * nothing valid is broken, and where we are stricter the case is listed.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { METHOD } from "../../src/http1/methods.ts";
import { requestAtEverySplit, responseAtEverySplit } from "../fuzz/http1-reading.ts";
import { assertDifferences, type Listed, raw, readCases, SKIP_REASON, text, withHost } from "./corpora.ts";

const urltests = (...numbers: readonly number[]): Readonly<Record<string, string>> =>
	Object.fromEntries(numbers.map((n) => [`httparse-urltest_${String(n).padStart(3, "0")}`, "head_target"]));

const LISTED: Listed = [
	{
		why: "the target has none of the four forms of RFC 9112 §3.2: it does not begin with a slash, and is no http URI",
		verdicts: urltests(
			...[56, 57, 58, 59, 60, 66, 67, 119, 129, 130, 131, 132, 133, 145, 146, 147, 148, 149, 168, 169],
			...[174, 175, 176, 177, 231, 232, 244, 245, 248],
		),
	},
	{
		why: "data-path.md: LF alone does not end a line",
		verdicts: {
			"httparse-test_request_newlines": "head_bare_lf",
			"httparse-test_request_empty_lines_prefix_lf_only": "head_bare_lf",
			"httparse-test_request_path_backslash": "head_bare_lf",
		},
	},
	{
		why: "data-path.md: at most one empty line before the request line",
		verdicts: { "httparse-test_request_empty_lines_prefix": "head_leading_bytes" },
	},
];

describe("the httparse corpus", { skip: SKIP_REASON }, () => {
	it("is judged as there, with a Host added, but for the cases listed with their reason", () => {
		const found = new Map<string, string>();
		const cases = readCases("httparse_cases.json");
		assert.ok(cases.length >= 286);
		for (const entry of cases) {
			const bytes = raw(entry, "raw_b64");
			const isResponse = bytes.toString("latin1").startsWith("HTTP/");
			const { verdict } = isResponse ? responseAtEverySplit(bytes, METHOD.GET) : requestAtEverySplit(withHost(bytes));
			const ours = verdict === "complete" ? "accept" : verdict === "incomplete" ? "partial" : "reject";
			if (ours !== text(entry, "upstream_verdict")) found.set(text(entry, "id"), verdict);
		}
		assertDifferences(found, LISTED);
	});
});
