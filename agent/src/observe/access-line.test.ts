import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { everydayFacts, measureRecords } from "../../bench/records.ts";
import {
	type ExchangeFacts,
	FLAG_OPAQUE,
	FLAG_PROBE,
	RecordView,
	writeExchangeRecord,
} from "../bridge/exchange-record.ts";
import { RecordRing } from "../bridge/record-ring.ts";
import { FAULTS } from "../foundation/fault.ts";
import type { LineSink } from "../foundation/log-sink.ts";
import { METHOD } from "../http1/methods.ts";
import { type AccessLineSettings, AccessLineWriter } from "./access-line.ts";

const settings: AccessLineSettings = {
	level: "info",
	accessSample: 1,
	skip: ["probes"],
	redact: [],
	fieldBytesMax: 1024,
	query: false,
};

class KeepingSink implements LineSink {
	readonly chunks: Buffer[] = [];
	readonly lineCounts: number[] = [];
	readonly #isFree: boolean;

	constructor(isFree = true) {
		this.#isFree = isFree;
	}

	write(chunk: Buffer, lines: number): boolean {
		this.chunks.push(this.#isFree ? Buffer.from(chunk) : chunk);
		this.lineCounts.push(lines);
		return this.#isFree;
	}

	writeLine(): void {
		assert.fail("access lines go in slices");
	}

	get text(): string {
		return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(this.chunks));
	}
}

function facts(changes: Partial<ExchangeFacts> = {}): ExchangeFacts {
	return { ...everydayFacts(), ...changes };
}

/** Facts whose path, query or user agent is `bytes`. */
function withHead(bytes: Uint8Array | string, field: "path" | "query" | "userAgent" = "path"): ExchangeFacts {
	const headBytes = Buffer.from(bytes as string); // both overloads copy
	const none = { pathStart: 0, pathEnd: 0, queryStart: 0, queryEnd: 0, userAgentStart: 0, userAgentEnd: 0 };
	return facts({ ...none, headBytes, [`${field}End`]: headBytes.length });
}

function write(
	all: readonly ExchangeFacts[],
	changes: Partial<AccessLineSettings> = {},
	sink = new KeepingSink(),
): string {
	const used = { ...settings, ...changes };
	const lines = new AccessLineWriter(sink, used);
	const ring = RecordRing.allocate(1 << 20);
	const view = new RecordView(ring);
	for (const one of all) {
		assert.ok(writeExchangeRecord(ring, one, used.fieldBytesMax));
		ring.drain((offset) => lines.write(view.load(offset)), 1);
	}
	lines.flush();
	lines.flush(); // nothing left
	return sink.text;
}

function parse(one: ExchangeFacts, changes: Partial<AccessLineSettings> = {}): Record<string, unknown> {
	return JSON.parse(write([one], changes)) as Record<string, unknown>;
}

describe("the access line", () => {
	test("of an everyday exchange is this, in this order", () => {
		assert.equal(
			write([facts()], { query: true }),
			'{"time":"2026-09-21T14:13:20.001Z","level":"info","msg":"request","http.request.method":"GET",' +
				'"url.path":"/api/orders/8231/items","url.query":"page=2","http.route":"/api/orders/{id}/items",' +
				'"http.response.status_code":200,"duration_ms":1.234,"upstream_ms":0.950,"http.request.body.size":0,' +
				'"http.response.body.size":41,"client.address":"10.42.17.203","network.protocol.version":"1.1",' +
				'"user_agent.original":"Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0",' +
				'"correlation_id":"01998c5e-7a5b-7c3f-9d21-0f6a3b1c2d3e","request_id":"01998c5e-7a5b-7c3f-9d21-0f6a3b1c2d3e",' +
				'"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7","ended_by":"app","state":"ready"}\n',
		);
	});

	test("leaves out what is not known", () => {
		const trace = Buffer.alloc(80);
		const line = write([
			facts({
				method: "",
				pathStart: 0,
				pathEnd: 0,
				queryStart: 0,
				queryEnd: 0,
				userAgentStart: 0,
				userAgentEnd: 0,
				requestIdEnd: 0,
				correlationIdEnd: 0,
				traceBytes: trace,
				traceView: new DataView(trace.buffer, trace.byteOffset, 80),
				status: 0,
				faultIndex: FAULTS.client_closed.index,
				endedBy: 0,
				waitMs: Number.NaN,
				receiveMs: Number.NaN,
				requestBodyBytes: Number.NaN,
				responseBodyBytes: Number.NaN,
				clientAddress: "",
				route: "",
			}),
		]);
		assert.equal(
			line,
			'{"time":"2026-09-21T14:13:20.001Z","level":"warn","msg":"request","duration_ms":1.234,' +
				'"error.type":"client_closed","ended_by":"client","state":"ready"}\n',
		);
	});

	test("has the level of its status and of its fault", () => {
		const level = (status: number, faultIndex = -1): unknown => parse(facts({ status, faultIndex }))["level"];
		assert.deepEqual(
			[200, 304, 400, 499, 500, 503].map((status) => level(status)),
			["info", "info", "warn", "warn", "error", "error"],
		);
		assert.equal(level(200, FAULTS.app_truncated.index), "warn");
		assert.equal(level(502, FAULTS.app_refused.index), "error");
	});

	test("has an error type: our fault, else the status of a failing app", () => {
		assert.equal(parse(facts({ status: 502, faultIndex: FAULTS.app_refused.index }))["error.type"], "app_refused");
		assert.equal(parse(facts({ status: 503 }))["error.type"], "503");
		assert.equal(parse(facts({ status: 404 }))["error.type"], undefined);
	});

	test("counts connecting into the time with the app", () => {
		assert.equal(parse(facts({ connectMs: 0.25, waitMs: 1, receiveMs: 2 }))["upstream_ms"], 3.25);
		assert.equal(parse(facts({ connectMs: 0.25, waitMs: Number.NaN, receiveMs: Number.NaN }))["upstream_ms"], 0.25);
	});

	test("of a connection that was relayed unread says so", () => {
		const line = parse(facts({ flags: FLAG_OPAQUE, method: "", route: "" }));
		assert.equal(line["msg"], "connection");
		assert.equal(line["http.request.method"], undefined);
		assert.equal(line["network.protocol.version"], undefined);
	});

	test("tells times to the millisecond, over the change of a second and backwards", () => {
		const at = [0, 1, 1.9, 999, 1000, 1010, 1110, 59_999, 999, 0];
		const times = write(at.map((ms) => facts({ startedWallMs: 1_790_000_000_000 + ms, durationMs: 0 })))
			.trim()
			.split("\n")
			.map((line) => (JSON.parse(line) as { time: string }).time);
		assert.deepEqual(
			times,
			at.map((ms) => new Date(1_790_000_000_000 + Math.floor(ms)).toISOString()),
		);
	});

	test("writes numbers of every size", () => {
		for (const bytes of [0, 9, 10, 99, 100, 65_535, 999_999_999, 2_147_483_647, 2_147_483_648, 2 ** 53 - 1]) {
			assert.equal(parse(facts({ responseBodyBytes: bytes }))["http.response.body.size"], bytes);
		}
		for (const ms of [0, 0.001, 0.01, 0.1, 1, 12.345, 999.9994, 86_400_000, -1]) {
			assert.equal(parse(facts({ durationMs: ms }))["duration_ms"], Math.max(0, Math.round(ms * 1000) / 1000));
		}
	});

	test("stays one line of JSON whatever a client sends", () => {
		const every = Uint8Array.from({ length: 128 }, (_, byte) => byte);
		const line = write([withHead(every, "userAgent")]);
		assert.equal(line.indexOf("\n"), line.length - 1);
		for (const char of line.slice(0, -1)) {
			const code = char.codePointAt(0) ?? 0;
			assert.ok(code >= 0x20 && (code < 0x7f || code > 0x9f), `control character ${code}`);
		}
		assert.equal((JSON.parse(line) as Record<string, string>)["user_agent.original"], Buffer.from(every).toString());
	});

	test("escapes C1 control characters although they are valid UTF-8", () => {
		const line = write([withHead("a\u0085\u009fb\u00a0")]);
		assert.match(line, /"url\.path":"a\\u0085\\u009fb\u00a0"/);
	});

	test("passes UTF-8 and replaces what is none, as a decoder does (property)", () => {
		const nasty = fc.constantFrom(
			0x22,
			0x5c,
			0x0a,
			0x7f,
			0xc2,
			0x80,
			0xbf,
			0xe0,
			0xa0,
			0xed,
			0x9f,
			0xf0,
			0x90,
			0xf4,
			0x8f,
			0xff,
		);
		const bytes = fc.oneof(
			fc.uint8Array({ maxLength: 60 }),
			fc.array(nasty, { maxLength: 60 }).map((all) => Uint8Array.from(all)),
			fc.string({ unit: "binary", maxLength: 40 }).map((text) => Buffer.from(text)),
		);
		fc.assert(
			fc.property(bytes, fc.constantFrom("path", "query", "userAgent"), (head, field) => {
				const line = write([withHead(head, field)], { query: true });
				assert.equal(line.indexOf("\n"), line.length - 1);
				assert.doesNotMatch(line.slice(0, -1), /\p{Cc}/u);
				const key = { path: "url.path", query: "url.query", userAgent: "user_agent.original" }[field];
				const value = (JSON.parse(line) as Record<string, unknown>)[key];
				assert.equal(value, head.length === 0 ? undefined : Buffer.from(head).toString("utf8"));
			}),
			{ numRuns: 500 },
		);
	});

	test("leaves out the rest of a character that the bound has cut", () => {
		assert.equal(parse(withHead("abcdéxx"), { fieldBytesMax: 5 })["url.path"], "abcd");
		assert.equal(parse(withHead("abcd日"), { fieldBytesMax: 6 })["url.path"], "abcd");
		assert.equal(parse(withHead("abc\u{1f600}"), { fieldBytesMax: 6 })["url.path"], "abc");
		assert.equal(parse(withHead(Buffer.from([0x61, 0xff])), { fieldBytesMax: 2 })["url.path"], "a\ufffd");
		assert.equal(parse(withHead(Buffer.from([0x61, 0xc3])), { fieldBytesMax: 9 })["url.path"], "a\ufffd");
	});

	test("shows neither path nor query of what is to be redacted", () => {
		const secret = facts({ route: "/api/orders/{id}/items" });
		const line = write([secret], { redact: ["/api/*"], query: true });
		assert.match(line, /"url\.path":"\[redacted\]","url\.query":"\[redacted\]"/);
		assert.doesNotMatch(line, /8231|page=2/);
		assert.doesNotMatch(write([secret], { redact: ["/api/*"] }), /url\.query/);
		assert.match(write([secret], { redact: ["/other"] }), /8231/);
	});

	test("is not written for what is skipped: probes, paths", () => {
		assert.equal(write([facts({ flags: FLAG_PROBE })]), "");
		assert.notEqual(write([facts({ flags: FLAG_PROBE })], { skip: [] }), "");
		assert.equal(write([facts()], { skip: ["/api/orders/*"] }), "");
		assert.notEqual(write([facts({ flags: FLAG_PROBE })], { skip: ["/internal/*"] }), "");
	});

	test("obeys log.level", () => {
		const all = [facts(), facts({ status: 404 }), facts({ status: 500 })];
		const written = (level: string): number => write(all, { level }).split("\n").length - 1;
		assert.deepEqual(
			["trace", "debug", "info", "warn", "error", "fatal", "silent"].map(written),
			[3, 3, 3, 2, 1, 0, 0],
		);
	});

	test("is sampled by the trace, errors always", () => {
		const traced = (last: string, status = 200): ExchangeFacts => {
			const traceBytes = Buffer.from(`4bf92f3577b34da6a3ce929d${last}00f067aa0ba902b7b7ad6b716920333100f067aa0ba902b7`);
			return facts({ status, traceBytes, traceView: new DataView(traceBytes.buffer, traceBytes.byteOffset, 80) });
		};
		const sampled = { accessSample: 0.5 };
		assert.notEqual(write([traced("7fffffff")], sampled), "");
		assert.equal(write([traced("80000000")], sampled), "");
		assert.equal(write([traced("ffffffff")], sampled), "");
		assert.notEqual(write([traced("ffffffff", 404)], sampled), "");
		assert.equal(write([traced("00000000")], { accessSample: 0 }), "");
	});

	test("goes to the sink in large slices, with the number of their lines", () => {
		const sink = new KeepingSink(false);
		const text = write(Array(500).fill(facts()), {}, sink);
		assert.equal(text.split("\n").length, 501);
		assert.equal(
			sink.lineCounts.reduce((sum, count) => sum + count, 0),
			500,
		);
		for (const chunk of sink.chunks.slice(0, -1)) assert.ok(chunk.length > 60_000, "a system call per slice");
		for (const [index, chunk] of sink.chunks.entries()) {
			assert.equal(chunk.toString().split("\n").length - 1, sink.lineCounts[index]);
		}
	});

	test("has room for the longest fields, each byte escaped", () => {
		const head = Buffer.alloc(100_000, 1);
		const longest = facts({
			headBytes: head,
			pathStart: 0,
			pathEnd: head.length,
			queryStart: 0,
			queryEnd: head.length,
			userAgentStart: 0,
			userAgentEnd: head.length,
			method: "POST",
			methodId: METHOD.POST,
		});
		for (const fieldBytesMax of [1024, 30_000]) {
			const lines = write([longest, longest, longest], { fieldBytesMax, query: true }).trim().split("\n");
			assert.equal(lines.length, 3);
			for (const line of lines) {
				assert.equal((JSON.parse(line) as Record<string, string>)["url.path"]?.length, fieldBytesMax);
			}
		}
	});

	test("is measured by a bench that still runs, and writes what it wrote", () => {
		const costs = measureRecords(4000);
		assert.equal(costs.hash, measureRecords(4000).hash);
		assert.ok(costs.lineBytes > 600 && costs.recordBytes < 400);
	});
});
