import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import {
	ENDED_BY,
	type ExchangeRecord,
	FLAG_EVENT_STREAM,
	FLAG_OPAQUE,
	FLAG_PROBE,
	FLAG_RESENT,
	FLAG_REUSED,
	FLAG_TUNNEL,
	LIFECYCLE_STATES,
} from "../bridge/exchange-record.ts";
import { FAULT_LIST, FAULTS, type FaultReason } from "../foundation/fault.ts";
import { explain, helpOf } from "./explain.ts";
import { recordOf } from "./record.fixture.ts";

const none = Number.NaN;
const failed = (reason: FaultReason, changes: Partial<ExchangeRecord>): ExchangeRecord =>
	recordOf({ faultIndex: FAULTS[reason].index, connectMs: none, waitMs: none, receiveMs: none, status: 0, ...changes });

test("an exchange is explained: who ended it and why, where the time went, what was special", () => {
	const rows: readonly (readonly [ExchangeRecord, string])[] = [
		[
			recordOf(),
			"The app answered 200, and all of its answer was passed on. It took 20 ms: 12 ms waiting for the app's answer to begin, 6 ms passing the answer on, 1 ms connecting to the app, 1 ms taking in the request.",
		],
		[
			recordOf({ durationMs: 1_200, connectMs: none, waitMs: 1_150, receiveMs: 40, status: 404, flags: FLAG_REUSED }),
			"The app answered 404, and all of its answer was passed on. It took 1.2 s, most of it waiting for the app's answer to begin.",
		],
		[
			recordOf({ durationMs: 0.4, connectMs: none, waitMs: 0.3, receiveMs: 0.05 }),
			"The app answered 200, and all of its answer was passed on. It took 0.4 ms.",
		],
		[
			recordOf({ durationMs: 9_000, connectMs: 1, waitMs: 20, receiveMs: 30, status: 201 }),
			"The app answered 201, and all of its answer was passed on. It took 9 s, most of it taking in the request.",
		],
		[
			recordOf({ endedBy: "agent", status: 204, connectMs: none, waitMs: none, receiveMs: none, durationMs: 0 }),
			"The agent answered 204 itself, as max-forwards asked it to. It took 0 ms.",
		],
		[
			failed("head_bare_lf", { endedBy: "agent", status: 400, durationMs: 0.2 }),
			"The agent refused it (head_bare_lf): A line of the head ends with LF alone. The client got 400 from the agent, and its connection was closed. It took 0.2 ms. What to do: docs/errors.md#head_bare_lf",
		],
		[
			failed("in_flight_exceeded", { endedBy: "limit", status: 503, durationMs: 0.2 }),
			"A bound of the agent was met (in_flight_exceeded): There are more exchanges in flight than limits.inFlight. The client got 503 from the agent. It took 0.2 ms. What to do: docs/errors.md#in_flight_exceeded",
		],
		[
			failed("app_response_timeout", { endedBy: "timeout", status: 504, durationMs: 30_000, connectMs: 2 }),
			"A time limit ended it (app_response_timeout): The app did not answer in time. The client got 504 from the agent. It took 30 s, most of it before an answer began. What to do: docs/errors.md#app_response_timeout",
		],
		[
			failed("app_closed", { endedBy: "app", status: 502, durationMs: 3, flags: FLAG_RESENT }),
			"The app ended it (app_closed): The app closed the connection before its response began. The client got 502 from the agent. It took 3 ms, most of it before an answer began. The request was sent a second time, because the app had closed the connection on which it went first. What to do: docs/errors.md#app_closed",
		],
		[
			failed("app_reset", { endedBy: "app", status: 502, durationMs: 3, flags: FLAG_REUSED }),
			"The app ended it (app_reset): The app reset the connection before its response began. The client got 502 from the agent. It took 3 ms, most of it before an answer began. The connection to the app had carried other requests before. What to do: docs/errors.md#app_reset",
		],
		[
			failed("app_truncated", {
				endedBy: "app",
				status: 200,
				waitMs: 5,
				receiveMs: 95,
				durationMs: 100,
				responseBodyBytes: 1,
			}),
			"The app ended it (app_truncated): The app closed the connection in the middle of its response. The app had answered 200, and 1 byte of the body had come: the answer was cut there. It took 100 ms, most of it passing the answer on. What to do: docs/errors.md#app_truncated",
		],
		[
			failed("client_closed", { endedBy: "client", durationMs: 4_000, connectMs: 1 }),
			"The client ended it (client_closed): The client closed the connection before the exchange was over. No answer had begun. It took 4 s, most of it before an answer began. What to do: docs/errors.md#client_closed",
		],
		[
			failed("drain_cut", { endedBy: "drain", durationMs: 18_000, connectMs: 1, state: "draining" }),
			"The agent's stop ended it (drain_cut): The agent stopped before the exchange was over. No answer had begun. It took 18 s, most of it before an answer began. It came while the agent was leaving (draining). What to do: docs/errors.md#drain_cut",
		],
		[
			failed("internal", { endedBy: "agent", status: 500, durationMs: 0 }),
			"The agent failed (internal): The agent made a mistake; its log has the details. The client got 500 from the agent, and its connection was closed. It took 0 ms. What to do: docs/errors.md#internal",
		],
		[
			recordOf({ flags: FLAG_TUNNEL, status: 101, endedBy: "client", durationMs: 300_000 }),
			"The app switched the connection to another protocol (101); the client closed it. It lasted 5 min.",
		],
		[
			recordOf({ flags: FLAG_OPAQUE, status: 0, endedBy: "drain", durationMs: 61_000, state: "announcing" }),
			"A connection that was relayed as it is; the agent's stop closed it. It lasted 1 min 1 s. It came while the agent was leaving (announcing), and was served all the same.",
		],
		[
			recordOf({ flags: FLAG_PROBE, durationMs: 0.5 }),
			"The app answered 200, and all of its answer was passed on. It took 0.5 ms. It was a probe: not counted as traffic, and no drain waits for it.",
		],
		[
			recordOf({ flags: FLAG_EVENT_STREAM, durationMs: 60_000, waitMs: 5, receiveMs: 59_995, state: "stopping" }),
			"The app answered 200, and all of its answer was passed on. It took 1 min, most of it passing the answer on. It was an event stream. It came while the agent was leaving (stopping), and was served all the same.",
		],
		[
			recordOf({ durationMs: 0, state: "starting" }),
			"The app answered 200, and all of its answer was passed on. It took 0 ms. It came before the agent had found the app ready.",
		],
		[
			failed("app_refused", { endedBy: "app", status: 502, durationMs: 0.3, state: "unready" }),
			"The app ended it (app_refused): The app does not accept connections. The client got 502 from the agent. It took 0.3 ms. It came while the agent was not ready for traffic. What to do: docs/errors.md#app_refused",
		],
	];
	for (const [record, text] of rows) assert.equal(explain(record), text);
});

test("every fault, whoever ended it and in whatever state, has an explanation of whole sentences", () => {
	for (const fault of [undefined, ...FAULT_LIST]) {
		for (const endedBy of ENDED_BY) {
			for (const state of LIFECYCLE_STATES) {
				for (const flags of [0, FLAG_TUNNEL, FLAG_OPAQUE]) {
					const status = fault?.status ?? 200;
					const text = explain(recordOf({ faultIndex: fault?.index ?? -1, endedBy, state, flags, status }));
					assert.match(text, /^[A-Z][\s\S]*(?:\.|#[a-z0-9_]+)$/, text);
					assert.doesNotMatch(text, /undefined|NaN|\.\.| {2}/, text);
				}
			}
		}
	}
});

test("the help of each fault is a heading of the page of errors", () => {
	for (const fault of FAULT_LIST) {
		const [page = "", heading] = helpOf(fault).split("#");
		assert.ok(existsSync(new URL(`../../../${page}`, import.meta.url)), page);
		assert.equal(heading, fault.reason); // test/rules/docs.test.ts sees to the headings
	}
});
