/**
 * The W3C's own cases for Trace Context, through the real head scanner and identity phase. They were written for an app that
 * calls on; a sidecar's duties follow from their docstrings: what the client sent is the case's header set, and what "the
 * output header" must be is what the app gets from us. The verdicts here say, for each request of each case, whether
 * the trace is continued or new, and whether its `tracestate` goes on or is dropped.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Counters } from "../../src/bridge/counters.ts";
import { settingsFrom } from "../../src/config/layers.ts";
import { Exchange } from "../../src/exchange/exchange.ts";
import { Peer } from "../../src/exchange/forwarded.ts";
import { Identity } from "../../src/exchange/phases/identity.ts";
import { ManualClock } from "../../src/foundation/clock.ts";
import { FieldNames } from "../../src/http1/field-names.ts";
import { COMPLETE, MARK } from "../../src/http1/scan-head.ts";
import { IdSource } from "../../src/telemetry/ids.ts";
import { parseTraceparent, Sampler, TRACE_BYTES } from "../../src/telemetry/trace-context.ts";

interface Case {
	readonly suite: string;
	readonly name: string;
	readonly expectation: string;
	readonly requests: readonly {
		readonly headers: readonly (readonly [string, string])[];
		/** How often the harness asked the app to call on. */
		readonly callbacks: number;
	}[];
}

/** `kept`: trace id of the (one) traceparent; `new`: another. */
type Trace = "kept" | "new";
/** `kept`: each tracestate line as it came; `none`: no line reaches the app. */
type State = "kept" | "none";

const all = (count: number, trace: Trace, state: State): readonly (readonly [Trace, State])[] =>
	new Array<readonly [Trace, State]>(count).fill([trace, state]);

const VERDICTS: Readonly<Record<string, readonly (readonly [Trace, State])[]>> = {
	test_both_traceparent_and_tracestate_missing: all(1, "new", "none"),
	test_traceparent_included_tracestate_missing: all(1, "kept", "none"),
	test_traceparent_duplicated: all(1, "new", "none"),
	test_traceparent_header_name: all(2, "new", "none"),
	test_traceparent_header_name_valid_casing: all(3, "kept", "none"),
	test_traceparent_version_0x00: all(2, "new", "none"),
	test_traceparent_version_0xcc: [...all(2, "kept", "none"), ...all(1, "new", "none")],
	test_traceparent_version_0xff: all(1, "new", "none"),
	test_traceparent_version_illegal_characters: all(2, "new", "none"),
	test_traceparent_version_too_long: all(2, "new", "none"),
	test_traceparent_version_too_short: all(1, "new", "none"),
	test_traceparent_trace_id_all_zero: all(1, "new", "none"),
	test_traceparent_trace_id_illegal_characters: all(2, "new", "none"),
	test_traceparent_trace_id_too_long: all(1, "new", "none"),
	test_traceparent_trace_id_too_short: all(1, "new", "none"),
	test_traceparent_parent_id_all_zero: all(1, "new", "none"),
	test_traceparent_parent_id_illegal_characters: all(2, "new", "none"),
	test_traceparent_parent_id_too_long: all(1, "new", "none"),
	test_traceparent_parent_id_too_short: all(1, "new", "none"),
	test_traceparent_trace_flags_illegal_characters: all(2, "new", "none"),
	test_traceparent_trace_flags_too_long: all(1, "new", "none"),
	test_traceparent_trace_flags_too_short: all(1, "new", "none"),
	test_traceparent_ows_handling: all(5, "kept", "none"),
	test_tracestate_included_traceparent_missing: all(2, "new", "none"),
	test_tracestate_included_traceparent_included: all(1, "kept", "kept"),
	test_tracestate_header_name: all(2, "kept", "none"),
	test_tracestate_header_name_valid_casing: all(3, "kept", "kept"),
	test_tracestate_empty_header: [...all(1, "kept", "none"), ...all(2, "kept", "kept")],
	test_tracestate_multiple_headers_different_keys: all(1, "kept", "kept"),
	// "either kept as-is or one of them to be discarded": as it came.
	test_tracestate_duplicated_keys: all(4, "kept", "kept"),
	test_tracestate_all_allowed_characters: all(2, "kept", "kept"),
	test_tracestate_ows_handling: all(7, "kept", "kept"),
	test_tracestate_key_illegal_characters: all(3, "kept", "none"),
	test_tracestate_key_illegal_vendor_format: [
		["kept", "kept"],
		["kept", "none"],
		["kept", "kept"],
		["kept", "kept"],
	],
	test_tracestate_member_count_limit: [
		["kept", "kept"],
		["kept", "none"],
	],
	test_tracestate_key_length_limit: [["kept", "kept"], ["kept", "none"], ...all(3, "kept", "kept")],
	test_tracestate_value_illegal_characters: all(2, "kept", "none"),
	test_multiple_requests_with_valid_traceparent: all(1, "kept", "none"),
	test_multiple_requests_without_traceparent: all(1, "new", "none"),
	test_multiple_requests_with_illegal_traceparent: all(1, "new", "none"),
	test_propagates_random_flag: all(1, "kept", "none"),
};

const corpora = process.env["OUTRIGGER_CORPORA"];
const settings = settingsFrom({ "identity.forcedSamplesPerSecond": "100000" });
const names = new FieldNames(settings.identity.headers);
const clock = new ManualClock();
const sampler = new Sampler({ ratio: 0, forcedPerSecond: settings.identity.forcedSamplesPerSecond, clock });
const identity = new Identity(settings, names, new IdSource(), sampler, clock, Counters.allocate());
const exchange = new Exchange(settings, names);

/** What reaches the app: the names, in lower case, and values of the lines that are left and of those that are put in. */
function received(headers: readonly (readonly [string, string])[]): readonly (readonly [string, string])[] {
	const text = headers.map(([name, value]) => `${name}: ${value}\r\n`).join("");
	const head = Buffer.from(`GET / HTTP/1.1\r\nHost: app.test\r\n${text}\r\n`, "latin1");
	exchange.begin(0, new Peer("192.0.2.1"), clock.wallMs(), clock.monotonicMs(), 1);
	exchange.head.reset(0);
	assert.equal(exchange.head.scan(head, head.length), COMPLETE);
	exchange.headBytes = head;
	exchange.readHead();
	identity.identify(exchange);
	const fields: (readonly [string, string])[] = [];
	for (let i = 0; i < exchange.head.fieldCount; i += 1) {
		if (exchange.head.mark(i) !== MARK.FORWARD) continue;
		const name = head.toString("latin1", exchange.head.nameStart(i), exchange.head.nameEnd(i));
		fields.push([name.toLowerCase(), head.toString("latin1", exchange.head.valueStart(i), exchange.head.valueEnd(i))]);
	}
	for (const line of exchange.lines.toString("latin1", 0, exchange.linesEnd).split("\r\n")) {
		const colon = line.indexOf(": ");
		if (line !== "") fields.push([line.slice(0, colon), line.slice(colon + 2)]);
	}
	return fields;
}

const valuesOf = (fields: readonly (readonly [string, string])[], name: string): readonly string[] =>
	fields.filter((field) => field[0] === name).map((field) => field[1]);

const skip = corpora === undefined ? "OUTRIGGER_CORPORA is not set" : false;

describe("the W3C's trace context cases", () => {
	// Data of a public suite; its shape is checked by the assertions that use it.
	const { cases } =
		corpora === undefined
			? { cases: [] }
			: (JSON.parse(readFileSync(join(corpora, "w3c_trace_context.json"), "utf8")) as {
					readonly cases: readonly Case[];
				});

	it("have a verdict each, and each verdict a case", { skip }, () => {
		assert.deepEqual(cases.map(({ name }) => name).toSorted(), Object.keys(VERDICTS).toSorted());
	});

	for (const { suite, name, expectation, requests } of cases) {
		it(`${suite} ${name}: ${expectation}`, () => {
			const verdicts = VERDICTS[name];
			assert.equal(verdicts?.length, requests.length);
			const spans = new Set<string>();
			let asked = 0;
			for (const [i, { headers, callbacks }] of requests.entries()) {
				const verdict: readonly [Trace, State] = verdicts?.[i] ?? ["new", "none"];
				const trace: Trace = verdict[0];
				const state: State = verdict[1];
				for (let call = 0; call < callbacks; call += 1) {
					asked += 1;
					const fields = received(headers);
					const [parent = "", ...more] = valuesOf(fields, "traceparent");
					assert.deepEqual(more, [], "there is more than one traceparent");
					const out = Buffer.alloc(TRACE_BYTES);
					const flags = parseTraceparent(Buffer.from(parent), 0, parent.length, out);
					assert.notEqual(flags, -1, `${parent} is invalid`);
					spans.add(parent.slice(36, 52));
					const incoming = headers.filter((header) => header[0].toLowerCase() === "traceparent");
					const came = incoming[0]?.[1].trim() ?? "";
					if (trace === "kept") {
						assert.equal(parent.slice(3, 35), came.slice(3, 35));
						assert.notEqual(parent.slice(36, 52), came.slice(36, 52), "the parent is ours");
						assert.equal(flags, Number.parseInt(came.slice(53, 55), 16) & 3);
					} else {
						for (const [, value] of headers) assert.equal(value.includes(parent.slice(3, 35)), false);
						assert.equal(flags, 2, "a new trace is random and, with a ratio of 0, not sampled");
					}
					const states = headers.filter((header) => header[0].toLowerCase() === "tracestate");
					const kept: readonly string[] =
						state === "kept" ? states.map((header) => header[1].replace(/^[ \t]+|[ \t]+$/g, "")) : [];
					assert.deepEqual(valuesOf(fields, "tracestate"), kept);
				}
			}
			assert.equal(spans.size, asked, "each call has its own span");
		});
	}
});
