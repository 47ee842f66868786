import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../foundation/clock.ts";
import { BlockSink, copyHeader, copySamples, createdFamilies, planFamily } from "./exposition-convert.ts";
import { ExpositionParser, type ParsedPage } from "./exposition-parse.ts";
import type { ExpositionFormat } from "./exposition-write.ts";
import { TimeSlices } from "./time-slice.ts";

const LIMITS = { bytesMax: 1 << 20, lineBytesMax: 16_384, samplesMax: 10_000, familiesMax: 1_000, labelsMax: 8 };

function parse(format: ExpositionFormat, text: string): ParsedPage {
	const parser = new ExpositionParser(format, "lenient", LIMITS);
	parser.write(Buffer.from(text));
	const page = parser.end();
	if (page === undefined) assert.fail(parser.problem?.message ?? "refused");
	return page;
}

async function convert(from: ExpositionFormat, to: ExpositionFormat, text: string, isMarked = false): Promise<string> {
	const page = parse(from, text);
	const sink = new BlockSink();
	const clock = new ManualClock();
	const slices = new TimeSlices(clock, (resume) => resume());
	for (const family of page.families) {
		for (const output of planFamily(family, from, to)) {
			const options = { page, to, sink, slices, labelsMax: 8 };
			clock.advance(10);
			copyHeader(output, options);
			await copySamples(output, isMarked, options);
		}
	}
	sink.flush();
	const converted = Buffer.concat(sink.blocks).toString("utf8");
	const parser = new ExpositionParser(to, "strict", LIMITS);
	parser.write(Buffer.from(to === "openmetrics" ? `${converted}# EOF\n` : converted));
	assert.ok(parser.end() !== undefined, `${parser.problem?.message}\n${converted}`);
	return converted;
}

const OPENMETRICS = `# TYPE c counter
# HELP c He said \\"c\\".
c_total{a="\\z"} 1 1.5 # {t="x"} 1 2
c_created{a="\\z"} 1 1.5
# TYPE g_seconds gauge
# UNIT g_seconds seconds
g_seconds 2
# TYPE i info
i_info{v="1"} 1
# TYPE s stateset
s{s="on"} 1
# TYPE h histogram
h_bucket{le="+Inf"} 1
h_sum 1
h_count 1
h_created 5
# TYPE gh gaugehistogram
gh_bucket{le="+Inf"} 1
gh_gsum 1
gh_gcount 1
u 1 99999999999999999999
# EOF
`;

test("OpenMetrics becomes text 0.0.4", async () => {
	assert.equal(
		await convert("openmetrics", "text", OPENMETRICS),
		`# HELP c_total He said "c".
# TYPE c_total counter
c_total{a="\\\\z"} 1 1500
# HELP c_created He said "c".
# TYPE c_created gauge
c_created{a="\\\\z"} 1 1500
# TYPE g_seconds gauge
g_seconds 2
# TYPE i_info gauge
i_info{v="1"} 1
# TYPE s gauge
s{s="on"} 1
# TYPE h histogram
h_bucket{le="+Inf"} 1
h_sum 1
h_count 1
# TYPE h_created gauge
h_created 5
# TYPE gh_bucket untyped
gh_bucket{le="+Inf"} 1
# TYPE gh_gsum untyped
gh_gsum 1
# TYPE gh_gcount untyped
gh_gcount 1
# TYPE u untyped
u 1
`,
	);
});

test("OpenMetrics stays OpenMetrics, exemplars and units included", async () => {
	const converted = await convert("openmetrics", "openmetrics", OPENMETRICS);
	assert.ok(converted.includes('c_total{a="\\\\z"} 1 1.5 # {t="x"} 1 2\n'), converted);
	assert.ok(converted.includes("# TYPE g_seconds gauge\n# UNIT g_seconds seconds\n"));
	assert.ok(converted.includes("# TYPE gh gaugehistogram\n"));
	assert.ok(converted.includes("u 1 99999999999999999999\n"));
});

const TEXT = `# HELP c_total A "counter".
# TYPE c_total counter
c_total{b = "c:\\dir\\n", } 1 1500
# TYPE old counter
old 3
# TYPE u untyped
u 1
# TYPE empty gauge
# TYPE n counter
n -1
# TYPE h histogram
h_bucket{le="1"} 1
h_sum 1
h_count 1
`;

test("text 0.0.4 becomes OpenMetrics; what breaks a rule of its type goes on without it", async () => {
	assert.equal(
		await convert("text", "openmetrics", TEXT),
		`# TYPE c counter
# HELP c A \\"counter\\".
c_total{b="c:\\\\dir\\n"} 1 1.500
# TYPE old unknown
old 3
# TYPE u unknown
u 1
# TYPE n unknown
n -1
# TYPE h_bucket unknown
h_bucket{le="1"} 1
# TYPE h_sum unknown
h_sum 1
# TYPE h_count unknown
h_count 1
`,
	);
});

test("text 0.0.4 stays as it came where it can", async () => {
	const text = '# HELP a A.\n# TYPE a gauge\na{b="ü"} 1 5\na 2\n';
	assert.equal(await convert("text", "text", text), text);
	assert.equal(await convert("text", "text", 'a 1\n\n# x\na{b="1"}\t2\n'), '# TYPE a untyped\na 1\na{b="1"} 2\n');
});

test("exemplars that break a rule are left out, the family stays", async () => {
	const text = `# TYPE c counter\nc_total 1 # {a="${"x".repeat(200)}"} 1\n# EOF\n`;
	assert.equal(await convert("openmetrics", "openmetrics", text), "# TYPE c counter\nc_total 1\n");
});

test("a sample that is marked says where it comes from, and gives way to no label of that name", async () => {
	assert.equal(
		await convert(
			"text",
			"text",
			'# TYPE a gauge\na 1\na{origin="x",b="1"} 2\na{origin="x",exported_origin="y"} 3\n',
			true,
		),
		'# TYPE a gauge\na{origin="app"} 1\na{origin="app",exported_origin="x",b="1"} 2\n',
	);
});

test("large runs are handed on without being copied, and order is kept", () => {
	const sink = new BlockSink();
	const large = Buffer.alloc(10_000, 0x61);
	sink.text("ü\n");
	sink.append(large);
	sink.latin1("b\n");
	sink.append(Buffer.from("c\n"));
	sink.latin1("d".repeat(70_000));
	sink.flush();
	sink.flush();
	assert.equal(sink.blocks[1]?.buffer, large.buffer);
	assert.equal(Buffer.concat(sink.blocks).toString(), `ü\n${"a".repeat(10_000)}b\nc\n${"d".repeat(70_000)}`);
});

test("families of created times are known by the counter, histogram or summary beside them", () => {
	const page = parse(
		"text",
		"# TYPE a_total counter\n# TYPE b summary\n# TYPE c gauge\n# TYPE d counter\n# TYPE e histogram\n",
	);
	assert.deepEqual([...createdFamilies(page)], ["a_created", "b_created", "d_created", "e_created"]);
});
