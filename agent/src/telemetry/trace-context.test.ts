import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ManualClock } from "../foundation/clock.ts";
import { IdSource } from "./ids.ts";
import {
	CLIENT_SPAN_AT,
	countTracestateMembers,
	isSampledByRatio,
	newSpanIds,
	newTrace,
	parseTraceparent,
	Sampler,
	SERVER_SPAN_AT,
	TRACE_BYTES,
	TRACE_RANDOM,
	TRACE_SAMPLED,
	TRACEPARENT_BYTES,
	TRACESTATE_MEMBERS_MAX,
	writeTraceparent,
} from "./trace-context.ts";

interface Vectors {
	readonly traceparent: readonly {
		readonly name: string;
		readonly value: string;
		readonly valid: boolean;
		readonly traceId?: string;
		readonly parentId?: string;
		readonly flags?: number;
	}[];
	readonly tracestate: readonly { readonly name: string; readonly lines: readonly string[]; readonly keep: boolean }[];
	readonly ratio: readonly { readonly traceId: string; readonly ratio: number; readonly sampled: boolean }[];
}

// Written by us and read by every language; its shape is checked by the assertions that use it.
const vectors = JSON.parse(
	readFileSync(new URL("../../../proto/vectors/trace-context.json", import.meta.url), "utf8"),
) as Vectors;

const hex = (digits: number) =>
	fc
		.array(fc.constantFrom(..."0123456789abcdef"), { minLength: digits, maxLength: digits })
		.map((list) => list.join(""))
		.filter((text) => !/^0+$/.test(text));

describe("traceparent", () => {
	for (const { name, value, valid, traceId, parentId, flags } of vectors.traceparent) {
		it(`${valid ? "is read" : "is refused"}: ${name}`, () => {
			const out = Buffer.alloc(TRACE_BYTES, ".");
			// A byte before and behind that would make a shorter or longer value, were it read.
			const bytes = Buffer.from(`0${value}-`);
			const read = parseTraceparent(bytes, 1, bytes.length - 1, out);
			if (valid) {
				assert.equal(read, flags);
				assert.equal(out.toString("latin1"), `${traceId}${".".repeat(32)}${parentId}`);
			} else {
				assert.equal(read, -1);
				assert.equal(out.toString("latin1"), ".".repeat(TRACE_BYTES), "something was written");
			}
		});
	}

	it("that we write is read again as it was, whatever the ids and flags", () => {
		fc.assert(
			fc.property(hex(32), hex(16), hex(16), fc.integer({ min: 0, max: 255 }), (trace, server, client, flags) => {
				const kept = Buffer.from(`${trace}${server}${client}${"0".repeat(16)}`);
				const written = Buffer.alloc(TRACEPARENT_BYTES + 4, ".");
				assert.equal(writeTraceparent(written, 2, kept, CLIENT_SPAN_AT, flags), 2 + TRACEPARENT_BYTES);
				const text = written.toString("latin1");
				assert.equal(text, `..00-${trace}-${client}-0${flags & 3}..`);
				const out = Buffer.alloc(TRACE_BYTES);
				assert.equal(parseTraceparent(written, 2, 2 + TRACEPARENT_BYTES, out), flags & 3);
				assert.equal(out.toString("latin1", 0, 32), trace);
				assert.equal(out.toString("latin1", 64, 80), client);
				writeTraceparent(written, 2, kept, SERVER_SPAN_AT, flags);
				assert.equal(written.toString("latin1", 38, 54), server);
			}),
		);
	});

	it("is read exactly when the grammar of level 2 has it, whatever the bytes", () => {
		const valid = fc.tuple(hex(2), hex(32), hex(16), hex(2)).map((parts) => parts.join("-"));
		const noise = fc.tuple(valid, fc.nat(70), fc.constantFrom(..."0-fgF. ", "")).map(([value, at, put]) => {
			const cut = at % (value.length + 1);
			return value.slice(0, cut) + put + value.slice(cut + (at > 35 ? 1 : 0));
		});
		const grammar = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}($|-)/;
		fc.assert(
			fc.property(fc.oneof(valid, noise), (value) => {
				const isValid = grammar.test(value) && (!value.startsWith("00") || value.length === TRACEPARENT_BYTES);
				const bytes = Buffer.from(value, "latin1");
				assert.equal(parseTraceparent(bytes, 0, bytes.length, Buffer.alloc(TRACE_BYTES)) !== -1, isValid);
			}),
			{ numRuns: 1000 },
		);
	});
});

describe("tracestate", () => {
	for (const { name, lines, keep } of vectors.tracestate) {
		it(`${keep ? "goes on" : "is dropped"}: ${name}`, () => {
			let members = 0;
			for (const line of lines) {
				const bytes = Buffer.from(`a${line}=`, "latin1");
				if (members !== -1) members = countTracestateMembers(bytes, 1, bytes.length - 1, members);
			}
			assert.equal(members > 0, keep);
		});
	}

	it("is judged as the grammar of level 2 says, whatever the bytes", () => {
		const member = /^[a-z0-9][a-z0-9_\-*/@]{0,255}=[ -+\--<>-~]{0,255}[!-+\--<>-~]$/;
		const text = fc
			.array(fc.constantFrom("a", "0", "@", "=", "=", ",", " ", "\t", "A", ".", "~", "k=v", "k=v,", "é"), {
				maxLength: 80,
			})
			.map((parts) => parts.join(""));
		fc.assert(
			fc.property(text, (line) => {
				const members = line
					.split(",")
					.map((part) => part.replace(/^[ \t]+|[ \t]+$/g, ""))
					.filter((part) => part !== "");
				const isValid = members.every((part) => member.test(part)) && members.length <= TRACESTATE_MEMBERS_MAX;
				const bytes = Buffer.from(line, "latin1");
				assert.equal(countTracestateMembers(bytes, 0, bytes.length, 0), isValid ? members.length : -1);
			}),
			{ numRuns: 1000 },
		);
	});
});

describe("a trace that begins here", () => {
	it("has random ids that are all different, and a parent of zeros", () => {
		const ids = new IdSource();
		const seen = new Set<string>();
		const out = Buffer.alloc(TRACE_BYTES, "f");
		for (let i = 0; i < 1000; i += 1) {
			newTrace(out, ids);
			newSpanIds(out, ids);
			const text = out.toString("latin1");
			assert.match(text, /^[0-9a-f]{64}0{16}$/);
			seen.add(text.slice(0, 32)).add(text.slice(32, 48)).add(text.slice(48, 64));
		}
		assert.equal(seen.size, 3000);
	});
});

describe("sampling by ratio", () => {
	for (const { traceId, ratio, sampled } of vectors.ratio) {
		it(`${ratio} ${sampled ? "takes" : "leaves"} ${traceId}`, () => {
			assert.equal(isSampledByRatio(Buffer.from(traceId), ratio), sampled);
		});
	}

	it("agrees with the fraction of 2^64 that Go, Python and Ruby compute", () => {
		fc.assert(
			fc.property(hex(32), fc.double({ min: 0, max: 1, noNaN: true }), (trace, ratio) => {
				const low = BigInt(`0x${trace.slice(16)}`) >> 12n;
				const bound = BigInt(Math.ceil(ratio * 2 ** 52)); // low < x exactly when low < ceil(x)
				assert.equal(isSampledByRatio(Buffer.from(trace), ratio), low < bound);
			}),
		);
	});

	it("samples with a higher ratio whatever a lower one samples", () => {
		const ratio = fc.double({ min: 0, max: 1, noNaN: true });
		fc.assert(
			fc.property(hex(32), ratio, ratio, (trace, a, b) => {
				const bytes = Buffer.from(trace);
				if (isSampledByRatio(bytes, Math.min(a, b))) assert.ok(isSampledByRatio(bytes, Math.max(a, b)));
			}),
		);
	});

	it("takes about the share that was asked for", () => {
		const ids = new IdSource();
		const out = Buffer.alloc(TRACE_BYTES);
		let taken = 0;
		for (let i = 0; i < 20_000; i += 1) {
			newTrace(out, ids);
			if (isSampledByRatio(out, 0.05)) taken += 1;
		}
		// 1,000 expected, standard deviation 31: a failure by chance is one in 10^15.
		assert.ok(taken > 750 && taken < 1250, `${taken} of 20,000`);
	});
});

describe("the sampler", () => {
	const low = Buffer.from("0".repeat(31) + "1");
	const high = Buffer.from("f".repeat(32));

	it("lets the ratio decide on a trace that is ours, and says that its id is random", () => {
		const sampler = new Sampler({ ratio: 0.5, forcedPerSecond: 1, clock: new ManualClock() });
		assert.equal(sampler.decide(low, -1), TRACE_RANDOM | TRACE_SAMPLED);
		assert.equal(sampler.decide(high, -1), TRACE_RANDOM);
	});

	it("follows a parent that did not sample, whatever the ratio", () => {
		const sampler = new Sampler({ ratio: 1, forcedPerSecond: 1, clock: new ManualClock() });
		assert.equal(sampler.decide(low, 0), 0);
		assert.equal(sampler.decide(low, TRACE_RANDOM), TRACE_RANDOM);
	});

	it("follows a parent that sampled up to the cap, then lets the ratio decide, until the bucket fills again", () => {
		const clock = new ManualClock();
		const sampler = new Sampler({ ratio: 0.5, forcedPerSecond: 2, clock });
		assert.equal(sampler.decide(high, TRACE_SAMPLED), TRACE_SAMPLED);
		assert.equal(sampler.decide(high, TRACE_SAMPLED | TRACE_RANDOM), TRACE_SAMPLED | TRACE_RANDOM);
		assert.equal(sampler.decide(high, TRACE_SAMPLED), 0);
		assert.equal(sampler.decide(high, TRACE_SAMPLED | TRACE_RANDOM), TRACE_RANDOM);
		assert.equal(sampler.decide(low, TRACE_SAMPLED), TRACE_SAMPLED);
		assert.equal(sampler.overCap, 3);
		clock.advance(499);
		assert.equal(sampler.decide(high, TRACE_SAMPLED), 0);
		clock.advance(1);
		assert.equal(sampler.decide(high, TRACE_SAMPLED), TRACE_SAMPLED);
		assert.equal(sampler.decide(high, TRACE_SAMPLED), 0);
		assert.equal(sampler.overCap, 5);
	});

	it("never saves up more than a second's worth", () => {
		const clock = new ManualClock();
		const sampler = new Sampler({ ratio: 0, forcedPerSecond: 3, clock });
		clock.advance(3_600_000);
		let sampled = 0;
		for (let i = 0; i < 10; i += 1) sampled += sampler.decide(high, TRACE_SAMPLED);
		assert.equal(sampled, 3);
	});

	it("with a cap below one lets one through each time that it is due", () => {
		const clock = new ManualClock();
		const sampler = new Sampler({ ratio: 0, forcedPerSecond: 0.5, clock });
		assert.equal(sampler.decide(high, TRACE_SAMPLED), TRACE_SAMPLED);
		clock.advance(1999);
		assert.equal(sampler.decide(high, TRACE_SAMPLED), 0);
		clock.advance(1);
		assert.equal(sampler.decide(high, TRACE_SAMPLED), TRACE_SAMPLED);
	});

	it("with a cap of nothing never follows, and with no cap always", () => {
		const never = new Sampler({ ratio: 0, forcedPerSecond: 0, clock: new ManualClock() });
		const always = new Sampler({ ratio: 0, forcedPerSecond: Number.POSITIVE_INFINITY, clock: new ManualClock() });
		for (let i = 0; i < 5; i += 1) {
			assert.equal(never.decide(high, TRACE_SAMPLED), 0);
			assert.equal(always.decide(high, TRACE_SAMPLED), TRACE_SAMPLED);
		}
		assert.equal(always.overCap, 0);
	});
});
