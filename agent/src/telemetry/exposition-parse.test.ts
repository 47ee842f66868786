import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ManualClock } from "../foundation/clock.ts";
import { type ExpositionLimits, ExpositionParser, type ParsedPage, parseChunks } from "./exposition-parse.ts";
import type { ExpositionFormat } from "./exposition-write.ts";
import { TimeSlices } from "./time-slice.ts";

const LIMITS: ExpositionLimits = {
	bytesMax: 1 << 20,
	lineBytesMax: 16_384,
	samplesMax: 10_000,
	familiesMax: 1_000,
	labelsMax: 8,
};

interface Result {
	readonly page: ParsedPage | undefined;
	readonly problem: string;
}

function parse(
	format: ExpositionFormat,
	rules: "strict" | "lenient",
	text: string | Buffer,
	limits: Partial<ExpositionLimits> = {},
	step = Number.POSITIVE_INFINITY,
): Result {
	const parser = new ExpositionParser(format, rules, { ...LIMITS, ...limits });
	const bytes = Buffer.from(text);
	for (let at = 0; at < bytes.length; at += step) if (!parser.write(bytes.subarray(at, at + step))) break;
	const page = parser.end();
	const problem = parser.problem;
	return { page, problem: problem === undefined ? "" : `${problem.kind} ${problem.line}: ${problem.message}` };
}

/** What real exporters send in text 0.0.4. */
const takenTexts: readonly (readonly [string, string, number])[] = [
	["an empty page", "", 0],
	["no metadata", "a 1\nb 2\n", 2],
	["no line feed at the end", "a 1", 1],
	["empty lines, comments and blanks", "\n  \n# hello\n#nothing\n  # indented\n\ta 1\n", 1],
	["blanks wherever they may be", 'a \t{ b = "c" , d="e" , } \t 1 \t 1700000000000 \n', 1],
	["no space behind the labels", 'a{b="c"}1\n', 1],
	["a trailing blank", "a 1 \n", 1],
	["timestamps in milliseconds", "a 1 1700000000000\nb 1 -5\n", 2],
	["NaN and infinities in any case", "a NaN\nb +Inf\nc -inf\nd Nan\ne Infinity\n", 5],
	["odd numbers", "a .5\nb 5.\nc -1.5e-3\nd +7\ne 00012\nf 12345678901234567890\ng -0.25\n", 7],
	["families in two places", 'a 1\nb 1\na{x="1"} 2\n', 3],
	[
		"HELP and TYPE twice or late",
		"# TYPE a gauge\n# TYPE a counter\n# HELP a x\n# HELP a y\na 1\n# TYPE a gauge\n# HELP a z\n",
		1,
	],
	["OpenMetrics' word for untyped", "# TYPE a unknown\na 1\n", 1],
	["an odd escape", 'a{b="c:\\dir"} 1\n', 1],
	["HELP without text", "# HELP a\n# TYPE a gauge\na 1\n", 1],
	["a family whose sample name is another's", "# TYPE a_count gauge\na_count 1\n# TYPE a summary\na_sum 1\n", 2],
];
for (const [what, text, samples] of takenTexts) {
	test(`text 0.0.4 is taken: ${what}`, () => {
		const { page, problem } = parse("text", "lenient", text);
		assert.equal(problem, "");
		assert.equal(page?.samples, samples);
		assert.equal(parse("text", "lenient", text, {}, 1).page?.samples, samples, "byte by byte");
	});
}

const refusedTexts: readonly (readonly [string, string])[] = [
	["a b\n", "malformed 1: the value is not a number"],
	["a 1\nb 0x10\n", "malformed 2: the value is not a number"],
	["a 1_000\n", "malformed 1: the value is not a number"],
	[`a ${"1".repeat(200)}\n`, "malformed 1: the value is not a number"],
	["a\n", "malformed 1: there is no space before the value"],
	["1a 1\n", "malformed 1: the line does not begin with a metric name"],
	["{} 1\n", "malformed 1: the line does not begin with a metric name"],
	['{"a.b"} 1\n', "malformed 1: the line does not begin with a metric name"],
	['a{b="c" 1\n', "malformed 1: there is no comma or closing brace behind a label"],
	['a{b="c\n', "malformed 1: a label value has no closing quote"],
	['a{b="c\\\n', "malformed 1: a label value has no closing quote"],
	["a{b} 1\n", "malformed 1: there is no `=` behind a label name"],
	["a{b=c} 1\n", "malformed 1: a label value is not in quotes"],
	['a{1="c"} 1\n', "malformed 1: a label name is missing or malformed"],
	['a{b="1",b="2"} 1\n', "malformed 1: a label name is there twice"],
	['a{__name__="x"} 1\n', "malformed 1: the label __name__ is reserved"],
	['a{a="",b="",c="",d="",e="",f="",g="",h="",i=""} 1\n', "malformed 1: there are too many labels"],
	["a 1 x\n", "malformed 1: the timestamp is not a number of milliseconds"],
	["a 1 1.5\n", "malformed 1: the timestamp is not a number of milliseconds"],
	["a 1 1 1\n", "malformed 1: there is something behind the timestamp"],
	['a 1 # {b="c"} 1\n', "malformed 1: the timestamp is not a number of milliseconds"],
	["# TYPE a nonsense\n", "malformed 1: TYPE of a is not a type of this format"],
	["# TYPE a\n", "malformed 1: TYPE of a is not a type of this format"],
	["# HELP a-b x\n", "malformed 1: HELP: the metric name is malformed"],
	["<html>\n", "malformed 1: the line does not begin with a metric name"],
];
for (const [text, problem] of refusedTexts) {
	test(`text 0.0.4 is refused: ${JSON.stringify(text.slice(0, 40))}`, () => {
		assert.equal(parse("text", "lenient", text).problem, problem);
		assert.equal(parse("text", "lenient", text, {}, 1).problem, problem);
	});
}

test("bytes that are not UTF-8 are refused, wherever a chunk ends", () => {
	for (const step of [1, 3, 100]) {
		const bytes = Buffer.concat([Buffer.from('a{b="ü"} 1\nc{d="'), Buffer.from([0xff, 0xfe]), Buffer.from('"} 1\n')]);
		assert.match(parse("text", "lenient", bytes, {}, step).problem, /UTF-8/);
		assert.equal(parse("text", "lenient", 'a{b="üß🚲"} 1\n', {}, step).problem, "");
	}
});

/** Pages that can be read but break a rule of a type: strict refuses, lenient remembers. */
const flawed: readonly (readonly [string, RegExp])[] = [
	['# TYPE a histogram\na_bucket{le="1"} 1\na_sum 1\na_count 1\n', /no bucket \+Inf/],
	['# TYPE a histogram\na_bucket{le="+Inf"} 1\na_sum 1\na_count 2\n', /not that of the bucket/],
	['# TYPE a histogram\na_bucket{le="+Inf"} 1\na_sum 1\n', /only one of sum and count/],
	['# TYPE a histogram\na_bucket{le="+Inf"} 1\na_sum -1\na_count 1\n', /the sum is negative/],
	['# TYPE a histogram\na_bucket{le="2"} 1\na_bucket{le="1"} 1\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n', /ascend/],
	['# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n', /ascend/],
	['# TYPE a histogram\na_bucket{le="inf"} 1\na_sum 1\na_count 1\n', /no bound/],
	["# TYPE a histogram\na_bucket 1\na_sum 1\na_count 1\n", /no bound/],
	["# TYPE a histogram\na 1\n", /no sample of that name/],
	["# TYPE a counter\na -1\n", /negative or not a number/],
	["# TYPE a counter\na NaN\n", /negative or not a number/],
	["# TYPE a summary\na_sum NaN\na_count 1\n", /a sum is negative or not a number/],
	["# TYPE a summary\na 1\n", /quantile is not from 0 to 1/],
	['# TYPE a summary\na{quantile="2"} 1\n', /quantile is not from 0 to 1/],
	['# TYPE a summary\na{quantile="0.5"} -1\n', /value of a quantile/],
	['# TYPE a summary\na_sum{x="1"} 1\na_sum{x="2"} 1\na_count{x="1"} 1\na_count{x="2"} 1\n', /apart/],
	["# TYPE a summary\na_sum 1 1\na_count 1\n", /some have none/],
	["# TYPE a summary\na_sum 1 2\na_count 1 1\n", /backwards/],
];
for (const [text, message] of flawed) {
	test(`a flaw is refused by the strict rules and remembered by the lenient ones: ${JSON.stringify(text)}`, () => {
		assert.match(parse("text", "strict", text).problem, message);
		const { page, problem } = parse("text", "lenient", text);
		assert.equal(problem, "");
		assert.match(page?.families[0]?.flaw ?? "", message);
		assert.equal(page?.flaws.length, 1);
	});
}

test("what is in order has no flaw", () => {
	const text =
		'# TYPE h histogram\nh_bucket{le="-1"} 0\nh_bucket{le="1",} 1\nh_bucket{le="+Inf"} 2\nh_sum -3\nh_count 2\n' +
		'# TYPE s summary\ns{quantile="0.5"} NaN\ns{quantile="1"} 2\ns_sum 3\ns_count 2\n';
	const { page } = parse("text", "lenient", text);
	assert.deepEqual(
		page?.families.map(({ flaw }) => flaw),
		[undefined, undefined],
	);
	assert.equal(parse("text", "strict", text).problem, "");
});

test("a series that is there twice is dropped and counted, in whatever order its labels are", () => {
	const text = 'a{b="1",c="2"} 1\na{c="2",b="1"} 2\na{c="2",b="1",d=""} 3\na{b="1",c="3"} 4\n';
	const { page } = parse("text", "lenient", text);
	assert.equal(page?.samples, 2);
	assert.equal(page?.duplicates, 2);
	assert.match(parse("text", "strict", text).problem, /malformed 2: a series of a is there twice/);
});

const strictOnly: readonly (readonly [ExpositionFormat, string, RegExp])[] = [
	["text", 'a 1\nb 1\na{x="1"} 1\n', /two places/],
	["text", "# HELP a x\n# HELP a y\na 1\n", /two HELP/],
	["text", "# TYPE a gauge\n# TYPE a gauge\na 1\n", /two TYPE/],
	["text", "a 1\n# TYPE a gauge\n", /after its samples/],
	["text", "# TYPE a_count gauge\n# TYPE a summary\na_sum 1\n", /both have a_count/],
	["text", "# TYPE a gauge\n# TYPE b gauge\n# HELP a x\n", /two places/],
	["openmetrics", "# TYPE a_x gauge\n# UNIT a_x x\n# UNIT a_x x\n# EOF\n", /two UNIT/],
	["openmetrics", "# TYPE a gauge\n# UNIT a x\n# EOF\n", /the unit of a/],
	["openmetrics", '# TYPE a gauge\na 1 # {b="c"} 1\n# EOF\n', /exemplar/],
];
for (const [format, text, message] of strictOnly) {
	test(`only the strict rules refuse ${JSON.stringify(text)}`, () => {
		assert.match(parse(format, "strict", text).problem, message);
		assert.equal(parse(format, "lenient", text).problem, "");
	});
}

test("a page of OpenMetrics without its end is refused: it may be cut short", () => {
	assert.match(parse("openmetrics", "lenient", "a 1\n").problem, /does not end/);
	assert.match(
		parse("openmetrics", "lenient", "# TYPE a_b gauge\n# UNIT a_b -\n# EOF\n").problem,
		/UNIT of a_b is malformed/,
	);
});

test("each bound refuses the page that is beyond it, and says where", () => {
	const cases: readonly (readonly [string, Partial<ExpositionLimits>, string])[] = [
		["a 1\nb 1\n", { bytesMax: 7 }, "too_large 0: the page is larger than 7 bytes"],
		["a 1\nb 1\n", { samplesMax: 1 }, "too_many_samples 2: there are more than 1 samples"],
		["a 1\nb 1\n", { familiesMax: 1 }, "too_many_families 2: there are more than 1 families"],
		["a 1\nbbbbbbbbbb 1\n", { lineBytesMax: 8 }, "line_too_long 2: the line is longer than 8 bytes"],
		["a 1\nbbbbbbbbbbb", { lineBytesMax: 8 }, "line_too_long 2: the line is longer than 8 bytes"],
	];
	for (const [text, limits, problem] of cases) {
		assert.equal(parse("text", "lenient", text, limits).problem, problem);
		const parser = new ExpositionParser("text", "lenient", { ...LIMITS, ...limits });
		parser.write(Buffer.from(text));
		assert.equal(parser.end(), undefined);
		assert.equal(parser.write(Buffer.from("a 1\n")), false, "a refused page takes nothing more");
	}
});

test("lines are whole across the parser's blocks", () => {
	const lines = Array.from({ length: 3_000 }, (_, i) => `series_${i}{path="/${"x".repeat(i % 97)}"} ${i}`);
	const { page, problem } = parse("text", "lenient", `${lines.join("\n")}\n`, { familiesMax: 5_000 }, 1_237);
	assert.equal(problem, "");
	assert.equal(page?.samples, 3_000);
	assert.ok((page?.blocks.length ?? 0) > 1);
	const again = (page?.families ?? []).map(({ runs }) => {
		const [block = 0, start = 0, end = 0] = runs;
		return page?.blocks[block]?.toString("utf8", start, end - 1);
	});
	assert.deepEqual(again, lines);
});

test("many chunks that are ready at once still leave turns to others", async () => {
	const clock = new ManualClock();
	let turns = 0;
	const slices = new TimeSlices(clock, (resume) => {
		turns++;
		setImmediate(resume);
	});
	async function* chunks(): AsyncGenerator<Uint8Array> {
		for (let i = 0; i < 10; i++) {
			clock.advance(10);
			yield Buffer.from(`a${i} 1\n`.repeat(1));
		}
	}
	const page = await parseChunks(new ExpositionParser("text", "lenient", LIMITS), chunks(), slices);
	assert.equal(page?.samples, 10);
	assert.ok(turns >= 10);
});

test("a page that is refused is not read on", async () => {
	let ended = false;
	async function* chunks(): AsyncGenerator<Uint8Array> {
		try {
			for (;;) yield Buffer.from("nonsense\n");
		} finally {
			ended = true;
		}
	}
	const slices = new TimeSlices(new ManualClock());
	assert.equal(await parseChunks(new ExpositionParser("text", "lenient", LIMITS), chunks(), slices), undefined);
	assert.equal(ended, true);
});

test("whatever bytes come, at whatever split, the parser neither throws nor changes its mind", () => {
	const piece = fc.constantFrom(
		...[
			"a",
			"b_total",
			"# TYPE ",
			"# HELP ",
			"# UNIT ",
			"# EOF\n",
			"\n",
			" ",
			"{",
			"}",
			'"',
			",",
			"=",
			"le",
			"1",
			"-1",
			"+Inf",
		],
		...["NaN", "\\", " # {", "counter", "histogram", "a_bucket", "\t", "é", "\u0000"],
	);
	const page = fc.oneof(
		fc.array(piece, { maxLength: 60 }).map((pieces) => Buffer.from(pieces.join(""))),
		fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
	);
	fc.assert(
		fc.property(
			page,
			fc.constantFrom<ExpositionFormat>("text", "openmetrics"),
			fc.integer({ min: 1, max: 9 }),
			(bytes, format, step) => {
				for (const rules of ["strict", "lenient"] as const) {
					const whole = parse(format, rules, bytes);
					const split = parse(format, rules, bytes, {}, step);
					assert.equal(split.page?.samples, whole.page?.samples);
					assert.equal(split.problem === "", whole.problem === "");
				}
			},
		),
		{ verbose: 1, numRuns: 300 },
	);
});
