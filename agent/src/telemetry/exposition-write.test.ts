import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { AssertionFailure } from "../foundation/assert.ts";
import { ManualClock } from "../foundation/clock.ts";
import { ExpositionParser } from "./exposition-parse.ts";
import {
	type ExpositionFormat,
	ExpositionWriter,
	familyId,
	formatBound,
	formatNumber,
	negotiateFormat,
	renderLabels,
	type WriterOptions,
} from "./exposition-write.ts";
import { TimeSlices } from "./time-slice.ts";

const LIMITS = { bytesMax: 1 << 20, lineBytesMax: 16_384, samplesMax: 10_000, familiesMax: 1_000, labelsMax: 64 };

function writer(format: ExpositionFormat, options: Partial<WriterOptions> = {}): ExpositionWriter {
	return new ExpositionWriter({ format, slices: new TimeSlices(new ManualClock()), ...options });
}

function textOf(out: ExpositionWriter): string {
	return Buffer.concat(out.finish().blocks).toString("utf8");
}

function problemOf(format: ExpositionFormat, text: string): string {
	const parser = new ExpositionParser(format, "strict", LIMITS);
	parser.write(Buffer.from(text));
	return parser.end() === undefined ? `line ${parser.problem?.line}: ${parser.problem?.message}\n${text}` : "";
}

function writeAll(out: ExpositionWriter): void {
	out.family("a_requests_total", "counter", 'Said "so"\nand \\ so.');
	out.sample(renderLabels({ path: 'a"b\\c\nd' }), 3, {
		labels: 'trace_id="ab"',
		value: 0.5,
		timestampSeconds: 12.3456,
	});
	out.suffixed("_created", renderLabels({ path: 'a"b\\c\nd' }), 12.5);
	out.family("b_seconds", "gauge", "B.", "seconds");
	out.sample("", Number.NaN);
	out.sample('x="1"', Number.POSITIVE_INFINITY);
	out.sample('x="2"', Number.NEGATIVE_INFINITY);
	out.sample('x="3"', -0);
	out.family("c_info", "info", "C.");
	out.sample('v="1"', 1);
	out.family("d_seconds", "histogram", "D.", "seconds");
	out.histogram('m="GET"', [0.5, 1], [9, 1, 2, 3], 1, 4.5, [
		undefined,
		{ labels: 'trace_id="cd"', value: 0.75, timestampSeconds: undefined },
	]);
	out.histogram("", [0.5, 1], [0, 0, 0], 0, 0);
	out.family("e", "unknown", "E.");
	out.sample("", 1);
	out.family("f", "stateset", "F.");
	out.sample('f="on"', 1);
}

test("text 0.0.4 is written as its readers know it", () => {
	const out = writer("text");
	writeAll(out);
	const text = textOf(out);
	assert.equal(
		text,
		`# HELP a_requests_total Said "so"\\nand \\\\ so.
# TYPE a_requests_total counter
a_requests_total{path="a\\"b\\\\c\\nd"} 3
# HELP b_seconds B.
# TYPE b_seconds gauge
b_seconds NaN
b_seconds{x="1"} +Inf
b_seconds{x="2"} -Inf
b_seconds{x="3"} 0
# HELP c_info C.
# TYPE c_info gauge
c_info{v="1"} 1
# HELP d_seconds D.
# TYPE d_seconds histogram
d_seconds_bucket{m="GET",le="0.5"} 1
d_seconds_bucket{m="GET",le="1"} 3
d_seconds_bucket{m="GET",le="+Inf"} 6
d_seconds_sum{m="GET"} 4.5
d_seconds_count{m="GET"} 6
d_seconds_bucket{le="0.5"} 0
d_seconds_bucket{le="1"} 0
d_seconds_bucket{le="+Inf"} 0
d_seconds_sum 0
d_seconds_count 0
# HELP e E.
# TYPE e untyped
e 1
# HELP f F.
# TYPE f gauge
f{f="on"} 1
`,
	);
	assert.equal(problemOf("text", text), "");
});

test("OpenMetrics has units, exemplars, created and its own names", () => {
	const out = writer("openmetrics");
	writeAll(out);
	const text = `${textOf(out)}# EOF\n`;
	assert.equal(problemOf("openmetrics", text), "");
	for (const line of [
		'# HELP a_requests Said \\"so\\"\\nand \\\\ so.',
		"# TYPE a_requests counter",
		'a_requests_total{path="a\\"b\\\\c\\nd"} 3 # {trace_id="ab"} 0.5 12.346',
		'a_requests_created{path="a\\"b\\\\c\\nd"} 12.5',
		"# UNIT b_seconds seconds",
		"# TYPE c info",
		'c_info{v="1"} 1',
		'd_seconds_bucket{m="GET",le="1.0"} 3 # {trace_id="cd"} 0.75',
		"# TYPE e unknown",
		"# TYPE f stateset",
	]) {
		assert.ok(text.includes(`${line}\n`), line);
	}
});

test("an exemplar that breaks a bound is left out, the sample is not", () => {
	const out = writer("openmetrics");
	out.family("a", "counter", "A.");
	out.sample("", 1, { labels: `x="${"y".repeat(130)}"`, value: 1, timestampSeconds: undefined });
	out.sample('b="1"', 1, { labels: 'x="y"', value: Number.NaN, timestampSeconds: undefined });
	assert.match(textOf(out), /^a_total 1\na_total\{b="1"\} 1\n$/m);
});

test("a family that is left out takes its samples with it and is counted", () => {
	const out = writer("text", { omit: (id) => id === "a" });
	assert.equal(out.family("a_total", "counter", "A."), false);
	out.sample("", 1);
	out.suffixed("_sum", "", 1);
	out.histogram("", [1], [1, 1], 0, 1);
	assert.equal(out.family("b", "gauge", "B."), true);
	out.sample("", 2);
	assert.equal(textOf(out), "# HELP b B.\n# TYPE b gauge\nb 2\n");
	assert.equal(out.omittedFamilies, 1);
	assert.deepEqual([...out.families], [["b", "gauge"]]);
});

test("a place is kept behind a marked family", () => {
	const out = writer("text", { mark: (id) => id === "a" });
	out.family("a", "gauge", "A.");
	out.sample("", 1);
	out.family("b", "gauge", "B.");
	out.sample("", 2);
	const { blocks, marks } = out.finish();
	assert.deepEqual(marks, [{ id: "a", blockIndex: 1 }]);
	assert.match(String(blocks[0]), /a 1\n$/);
	assert.match(String(blocks[1]), /^# HELP b/);
});

test("our own mistakes are told: bad names, double families, a unit that is not in the name", () => {
	assert.throws(() => writer("text").family("a-b", "gauge", ""), AssertionFailure);
	assert.throws(() => writer("text").family("a", "gauge", "", "seconds"), AssertionFailure);
	assert.throws(() => renderLabels({ "a-b": "c" }), AssertionFailure);
	const out = writer("text");
	out.family("a_total", "counter", "");
	assert.throws(() => out.family("a", "counter", ""), AssertionFailure);
});

test("a family's id has no suffix of its type", () => {
	assert.equal(familyId("a_total", "counter"), "a");
	assert.equal(familyId("a_total", "gauge"), "a_total");
	assert.equal(familyId("_total", "counter"), "_total");
	assert.equal(familyId("a_info", "info"), "a");
	assert.equal(formatNumber(1e21), "1e+21");
	assert.equal(formatBound(1, "openmetrics"), "1.0");
	assert.equal(formatBound(0.5, "openmetrics"), "0.5");
	assert.equal(formatBound(1, "text"), "1");
});

test("the writer lets other work have its turn", async () => {
	const clock = new ManualClock();
	const out = new ExpositionWriter({ format: "text", slices: new TimeSlices(clock, (resume) => resume()) });
	clock.advance(10);
	assert.equal(
		Array.from({ length: 16 }, () => out.isDue()).some((due) => due),
		true,
	);
	await out.pause();
	assert.equal(out.isDue(), false);
});

const accepts: readonly (readonly [string | undefined, ExpositionFormat])[] = [
	[undefined, "text"],
	["", "text"],
	["*/*", "text"],
	["application/openmetrics-text", "openmetrics"],
	["application/openmetrics-text; version=1.0.0; charset=utf-8", "openmetrics"],
	['application/openmetrics-text; version="0.0.1"', "openmetrics"],
	["application/openmetrics-text; version=2.0.0", "text"],
	["application/openmetrics-text;q=0.5, text/plain", "text"],
	["application/openmetrics-text;q=0, */*", "text"],
	["application/openmetrics-text;q=0.5,text/plain;q=0.5", "openmetrics"],
	["application/openmetrics-text;q=nonsense", "text"],
	["application/openmetrics-text;q=0.2,*/*;q=0.3", "text"],
	["text/*;q=0.1,application/openmetrics-text;q=0.3", "openmetrics"],
	["application/json", "text"],
	["nonsense;;,", "text"],
	[
		"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4," +
			"text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
		"openmetrics",
	],
];
for (const [accept, format] of accepts) {
	test(`accept ${JSON.stringify(accept)} gets ${format}`, () => assert.equal(negotiateFormat(accept), format));
}

test("whatever is written can be read, and says the same", () => {
	const value = fc.oneof(fc.double(), fc.integer());
	const labels = fc.dictionary(fc.stringMatching(/^[a-z_][a-z0-9_]{0,8}$/), fc.string({ unit: "binary" }), {
		maxKeys: 4,
		noNullPrototype: true,
	});
	const series = fc.uniqueArray(fc.tuple(labels, value), {
		maxLength: 8,
		selector: ([set]) =>
			renderLabels(
				Object.fromEntries(
					Object.entries(set)
						.filter(([, v]) => v !== "")
						.sort(),
				),
			),
	});
	fc.assert(
		fc.property(fc.constantFrom<ExpositionFormat>("text", "openmetrics"), series, fc.string(), (format, sets, help) => {
			const out = writer(format);
			out.family("a", "gauge", help);
			for (const [set, number] of sets) out.sample(renderLabels(set), number);
			const text = textOf(out) + (format === "openmetrics" ? "# EOF\n" : "");
			const parser = new ExpositionParser(format, "strict", LIMITS);
			parser.write(Buffer.from(text));
			const page = parser.end();
			assert.equal(parser.problem, undefined, text);
			assert.equal(page?.samples, sets.length);
			if (format === "openmetrics" || help.trim() !== "")
				assert.equal(page?.families[0]?.help, expectedHelp(help, format));
		}),
		{ verbose: 1 },
	);
});

/** Text 0.0.4 has no way to say that HELP begins with blanks. */
function expectedHelp(help: string, format: ExpositionFormat): string {
	const wellFormed = help.toWellFormed();
	return format === "text" ? wellFormed.replace(/^[ \t]+/, "") : wellFormed;
}
