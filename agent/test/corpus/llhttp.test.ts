/**
 * Messages of nodejs/llhttp. Judged is the first message of each case, head and body, with a Host added. llhttp is a tokenizer,
 * so its verdict is not the RFC's: in strict mode what it completes we complete and what it refuses we refuse, or the case
 * is listed; what it takes only with a leniency flag we refuse, or the case is listed.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { METHOD } from "../../src/http1/methods.ts";
import { readRequestMessage, readResponseMessage, sameAtEverySplit } from "../fuzz/http1-reading.ts";
import { assertDifferences, type Case, type Listed, raw, readCases, SKIP_REASON, text, withHost } from "./corpora.ts";

const LISTED: Listed = [
	{
		why: "HTTP/0.9, ICE and RTSP are not spoken here",
		verdicts: {
			"request/sample.md:314": "head_request_line",
			"request/method.md:372": "head_request_line",
			"request/method.md:400": "head_request_line",
			"request/method.md:430": "head_request_line",
			"response/sample.md:40": "app_head_invalid",
			"response/sample.md:60": "app_head_invalid",
			"response/sample.md:645": "app_head_invalid",
		},
	},
	{
		why: "CONNECT is not forwarded",
		verdicts: {
			"request/method.md:27": "method_not_allowed",
			"request/method.md:62": "method_not_allowed",
			"request/method.md:96": "method_not_allowed",
			"request/uri.md:188": "method_not_allowed",
		},
	},
	{ why: "asterisk-form is for OPTIONS (RFC 9112 §3.2.4)", verdicts: { "request/method.md:135": "head_target" } },
	{ why: "userinfo in the target (RFC 9110 §4.2.4)", verdicts: { "request/uri.md:222": "head_target" } },
	{ why: "octets from 0x80 on pass in the target", verdicts: { "request/uri.md:148": "complete" } },
	{
		why: "any token is a method here, in any version (RFC 9110 §9.1)",
		verdicts: { "request/invalid.md:66": "complete", "request/invalid.md:356": "complete" },
	},
	{ why: "the version is judged when its line is complete", verdicts: { "request/invalid.md:490": "incomplete" } },
	{
		why: "the first message is right; it is the second, or the bytes after `close`, that need the leniency",
		verdicts: {
			"request/lenient-headers.md:34": "complete",
			"request/connection.md:107": "complete",
			"request/connection.md:392": "complete",
			"response/connection.md:191": "complete",
			"response/connection.md:260": "complete",
		},
	},
	{
		why: "llhttp is told there to skip the body; it has not arrived",
		verdicts: { "request/content-length.md:444": "incomplete", "response/content-length.md:123": "incomplete" },
	},
	{
		why: "data-path.md: a transfer coding other than chunked is 501",
		verdicts: {
			"request/transfer-encoding.md:751": "coding_unsupported",
			"request/transfer-encoding.md:793": "coding_unsupported",
		},
	},
	{
		why: "chunked is not last, or not chunked: llhttp reads to the end of the connection, a client might not",
		verdicts: {
			"response/transfer-encoding.md:43": "app_framing_invalid",
			"response/transfer-encoding.md:74": "app_framing_invalid",
			"response/transfer-encoding.md:110": "app_framing_invalid",
		},
	},
	{
		why: "an empty line before a message is for servers to skip (RFC 9112 §2.2), not before a response",
		verdicts: { "response/sample.md:695": "app_head_invalid" },
	},
];

function expected(entry: Case): string {
	const type = text(entry, "type");
	if (type.includes("-lenient-")) return "refused";
	if (Number(entry["messages_complete"]) > 0) return "complete";
	return entry["outcome"] === "error" ? "refused" : "incomplete";
}

describe("the llhttp corpus", { skip: SKIP_REASON }, () => {
	it("is judged as there, but for the cases listed with their reason, and the same at every split", () => {
		const found = new Map<string, string>();
		const cases = readCases("llhttp_cases.json");
		assert.ok(cases.length >= 251);
		for (const entry of cases) {
			const input = raw(entry, "input_b64");
			const isRequest = text(entry, "type").startsWith("request");
			const bytes = isRequest ? withHost(input) : input;
			const verdict = sameAtEverySplit(bytes, (cuts) =>
				isRequest ? readRequestMessage(bytes, cuts) : readResponseMessage(bytes, METHOD.GET, cuts),
			);
			const isOpen = verdict === "incomplete" || verdict === "open";
			const ours = verdict === "complete" ? "complete" : isOpen ? "incomplete" : "refused";
			if (ours !== expected(entry)) found.set(text(entry, "id"), verdict);
		}
		assertDifferences(found, LISTED);
	});
});
