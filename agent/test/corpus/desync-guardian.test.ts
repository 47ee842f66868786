/**
 * Heads of aws/http-desync-guardian by its own tiers: Severe never reaches the app, Ambiguous never unchanged, Compliant must
 * pass once it has a Host. Acceptable is for us to choose: what passes is listed too.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { requestAtEverySplit } from "../fuzz/http1-reading.ts";
import { assertDifferences, type Case, type Listed, raw, readCases, SKIP_REASON, text, withHost } from "./corpora.ts";

const LISTED: Listed = [
	{
		why: "Compliant, but data-path.md: a transfer coding other than chunked is 501",
		verdicts: {
			"desync-more-compliant-tests-006": "coding_unsupported",
			"desync-more-compliant-tests-008": "coding_unsupported",
			"desync-more-compliant-tests-009": "coding_unsupported",
			"desync-rfc-compliant-009": "coding_unsupported",
			"desync-rfc-compliant-010": "coding_unsupported",
			"desync-rfc-compliant-011": "coding_unsupported",
		},
	},
	{
		why: "Compliant there, but chunked has no parameters (RFC 9112 §7.1), and who ignores them and who does not differ",
		verdicts: { "desync-more-compliant-tests-010": "coding_invalid" },
	},
	{
		why: "Compliant there because URIs are not looked at; data-path.md: an empty target is 400",
		verdicts: { "desync-rfc-compliant-014": "head_target" },
	},
	{
		why: "Ambiguous because a GET or HEAD has a body; its framing is not: RFC 9110 §9.3.1 allows it, search engines use it, and we read and forward exactly that body",
		verdicts: {
			"desync-ambiguous-013": "complete",
			"desync-ambiguous-014": "complete",
			"desync-ambiguous-015": "complete",
			"desync-ambiguous-016": "complete",
			"desync-real-life-test-cases-001": "complete",
			"desync-real-life-test-cases-002": "complete",
		},
	},
	{
		why: "Ambiguous because the name resembles Transfer-Encoding; three hyphens or underscores are another variable to CGI, WSGI and PHP too",
		verdicts: { "desync-ambiguous-031": "complete", "desync-ambiguous-032": "complete" },
	},
	{
		why: "Acceptable and taken: Content-Length: 0 with GET or HEAD",
		verdicts: { "desync-acceptable-005": "complete", "desync-acceptable-006": "complete" },
	},
];

const bytesOf = (entry: Case): Buffer =>
	typeof entry["head_with_host_b64"] === "string" ? raw(entry, "head_with_host_b64") : withHost(raw(entry, "head_b64"));

describe("the desync-guardian corpus", { skip: SKIP_REASON }, () => {
	it("is judged by its tiers, but for the cases listed with their reason", () => {
		const found = new Map<string, string>();
		const cases = readCases("desync_guardian_cases.json");
		assert.ok(cases.length >= 159);
		for (const entry of cases) {
			const { verdict } = requestAtEverySplit(bytesOf(entry));
			const mustPass = text(entry, "tier") === "Compliant";
			if ((verdict === "complete") !== mustPass) found.set(text(entry, "id"), verdict);
		}
		assertDifferences(found, LISTED);
	});

	it("never lets a Severe head pass, with or without Host", () => {
		const severe = readCases("desync_guardian_cases.json").filter((entry) => entry["tier"] === "Severe");
		assert.ok(severe.length >= 50);
		for (const entry of severe) {
			for (const bytes of [raw(entry, "head_b64"), bytesOf(entry)]) {
				const { verdict } = requestAtEverySplit(bytes);
				assert.ok(verdict !== "complete" && verdict !== "incomplete", `${text(entry, "id")}: ${verdict}`);
			}
		}
	});
});
