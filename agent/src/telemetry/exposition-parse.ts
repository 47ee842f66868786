import { isUtf8 } from "node:buffer";
import { EXEMPLAR_CHARACTERS_MAX, type ExpositionFormat, type FamilyType } from "./exposition-write.ts";
import { isMetricName, isSameRun, parseNumber, SampleLine } from "./sample-line.ts";
import { SeriesTable } from "./series-table.ts";
import type { TimeSlices } from "./time-slice.ts";

/**
 * Reads metrics as text: Prometheus' text format 0.0.4 and OpenMetrics 1.0.
 *
 * Two sets of rules. `strict` is for judging our own page: everything that a specification forbids is a problem. `lenient` is for
 * the app's page: what cannot be read is a problem (the whole page is refused: half a page looks like a whole one); what can be
 * read but breaks a rule of its type (a histogram without +Inf, a counter below zero) is a *flaw* of that family, whose
 * samples are then passed on without the type; a series that is there twice is dropped and counted; order does not matter.
 *
 * Lines are not kept as strings: a family is a list of runs of bytes in blocks of 64 KiB, so that most of a page can be passed on
 * as it came.
 */

/** Bounds of one page. */
export interface ExpositionLimits {
	/** Bytes of the page after decompression. */
	readonly bytesMax: number;
	/** Bytes of one line; at most `LINE_BYTES_CEILING`. */
	readonly lineBytesMax: number;
	readonly samplesMax: number;
	readonly familiesMax: number;
	/** Labels of one sample. */
	readonly labelsMax: number;
}

export type ProblemKind = "malformed" | "too_large" | "line_too_long" | "too_many_samples" | "too_many_families";

export interface ExpositionProblem {
	readonly kind: ProblemKind;
	/** Counted from 1; 0: the page as a whole. */
	readonly line: number;
	/** For people; holds names of metrics but no other bytes of the page. */
	readonly message: string;
}

/** What stands behind a family's name in a sample's name. Bits: a family has several. */
export const PART_VALUE = 1;
export const PART_TOTAL = 2;
export const PART_CREATED = 4;
export const PART_BUCKET = 8;
export const PART_SUM = 16;
export const PART_COUNT = 32;
export const PART_GSUM = 64;
export const PART_GCOUNT = 128;
export const PART_INFO = 256;
/** The name belongs to the family, but no sample may have it. */
const PART_NONE = 0;

/** Suffix of each part. */
export const PART_SUFFIXES: readonly (readonly [part: number, suffix: string])[] = [
	[PART_VALUE, ""],
	[PART_TOTAL, "_total"],
	[PART_CREATED, "_created"],
	[PART_BUCKET, "_bucket"],
	[PART_SUM, "_sum"],
	[PART_COUNT, "_count"],
	[PART_GSUM, "_gsum"],
	[PART_GCOUNT, "_gcount"],
	[PART_INFO, "_info"],
];

/** Parts of each type in OpenMetrics (its section on each type); VALUE is left out where no sample has the bare name. */
const OPENMETRICS_PARTS: Readonly<Record<FamilyType, number>> = {
	counter: PART_TOTAL | PART_CREATED,
	gauge: PART_VALUE,
	histogram: PART_BUCKET | PART_SUM | PART_COUNT | PART_CREATED,
	summary: PART_VALUE | PART_SUM | PART_COUNT | PART_CREATED,
	info: PART_INFO,
	stateset: PART_VALUE,
	gaugehistogram: PART_BUCKET | PART_GSUM | PART_GCOUNT,
	unknown: PART_VALUE,
};

const TEXT_PARTS: Readonly<Record<FamilyType, number>> = {
	counter: PART_VALUE,
	gauge: PART_VALUE,
	histogram: PART_BUCKET | PART_SUM | PART_COUNT,
	summary: PART_VALUE | PART_SUM | PART_COUNT,
	info: PART_VALUE,
	stateset: PART_VALUE,
	gaugehistogram: PART_BUCKET | PART_GSUM | PART_GCOUNT,
	unknown: PART_VALUE,
};

/** Parts that a family of this type may have in this format. */
export function partsOf(format: ExpositionFormat, type: FamilyType): number {
	return (format === "text" ? TEXT_PARTS : OPENMETRICS_PARTS)[type];
}

const OPENMETRICS_TYPES: ReadonlySet<string> = new Set(Object.keys(OPENMETRICS_PARTS));
const TEXT_TYPES: ReadonlyMap<string, FamilyType> = new Map([
	["counter", "counter"],
	["gauge", "gauge"],
	["histogram", "histogram"],
	["summary", "summary"],
	["untyped", "unknown"],
]);

/** One family of a page. */
export class PageFamily {
	/** As declared: in text 0.0.4 a counter is `x_total`, in OpenMetrics `x`. */
	readonly name: string;
	type: FamilyType = "unknown";
	/** Unescaped; `undefined`: none was given. */
	help: string | undefined;
	unit = "";
	/** Triples: index of the block, start, end; whole lines with their line feeds. */
	readonly runs: number[] = [];
	samples = 0;
	/** Bits of the parts that have samples. */
	parts = 0;
	hasTimestamps = false;
	hasExemplars = false;
	/** An exemplar breaks a rule: all of this family's are left out. */
	hasBadExemplars = false;
	/** Some line must be written again even for the same format. */
	isLoose = false;
	/** The first rule of its type that it breaks; `undefined`: none. */
	flaw: string | undefined;
	/** Number that makes this family's groups differ from other families' in the table. */
	readonly salt: number;
	isTyped = false;

	constructor(name: string, salt: number) {
		this.name = name;
		this.salt = salt;
	}
}

/** A page that could be read. */
export interface ParsedPage {
	readonly format: ExpositionFormat;
	/** In the order of their first mention; some have no sample. */
	readonly families: readonly PageFamily[];
	readonly blocks: readonly Buffer[];
	readonly samples: number;
	readonly bytes: number;
	/** Samples left out because their series was there already. */
	readonly duplicates: number;
	/** The first few flaws, for the log. */
	readonly flaws: readonly ExpositionProblem[];
}

interface NameEntry {
	readonly family: PageFamily;
	readonly part: number;
}

const BLOCK_BYTES = 65_536;
/** A line must fit into a block together with the beginning of the next one. */
export const LINE_BYTES_CEILING = 32_768;
const FLAWS_KEPT = 8;
const LINE_FEED = 0x0a;
const HASH = 0x23;
const SPACE = 0x20;
const TAB = 0x09;

/** Feeds a page to the parser so that no turn of the event loop is long, however large its pieces are. */
export async function parseChunks(
	parser: ExpositionParser,
	chunks: AsyncIterable<Uint8Array>,
	slices: TimeSlices,
): Promise<ParsedPage | undefined> {
	const iterator = chunks[Symbol.asyncIterator]();
	try {
		for (;;) {
			slices.stop();
			const next = await iterator.next();
			slices.restart();
			if (next.done === true) break;
			for (let at = 0; at < next.value.length; at += PIECE_BYTES) {
				if (!parser.write(next.value.subarray(at, at + PIECE_BYTES))) return undefined;
				if (slices.isOver()) await slices.pause();
			}
			// A source that always has its next chunk ready would otherwise keep the thread in microtasks.
			await slices.pause();
		}
		return parser.end();
	} finally {
		await iterator.return?.();
	}
}

/** Bytes that are parsed between two readings of the clock: well under a millisecond. */
const PIECE_BYTES = 16_384;

/**
 * Parses one page. Call `write` for each chunk until it says false or the page is over, then `end`. Work per `write` is
 * proportional to the bytes written.
 */
export class ExpositionParser {
	readonly #format: ExpositionFormat;
	readonly #isStrict: boolean;
	readonly #limits: ExpositionLimits;
	readonly #line: SampleLine;
	readonly #families: PageFamily[] = [];
	/** Names of families as declared. */
	readonly #declared = new Map<string, PageFamily>();
	/** Names of samples. */
	readonly #names = new Map<string, NameEntry>();
	readonly #series = new SeriesTable();
	readonly #groups = new SeriesTable();
	readonly #flaws: ExpositionProblem[] = [];
	#blocks: Buffer[] = [];
	#block: Buffer = Buffer.alloc(0);
	#filled = 0;
	#parsed = 0;
	#bytes = 0;
	#lineNumber = 0;
	#samples = 0;
	#duplicates = 0;
	#isEnded = false;
	#problem: ExpositionProblem | undefined;

	/** The family of the last line, and the name of its last sample as bytes of the present block. */
	#current: PageFamily | undefined;
	#lastNameStart = 0;
	#lastNameEnd = 0;
	#lastEntry: NameEntry | undefined;

	// The group (one label set) that is being read.
	#hasGroup = false;
	#groupA = 0;
	#groupB = 0;
	#groupTimestamp = Number.NaN;
	#bound = Number.NaN;
	#bucketCount = 0;
	#hasBuckets = false;
	#hasInfinity = false;
	#hasNegativeBound = false;
	#sum: number | undefined;
	#count: number | undefined;

	constructor(format: ExpositionFormat, rules: "strict" | "lenient", limits: ExpositionLimits) {
		this.#format = format;
		this.#isStrict = rules === "strict";
		this.#limits = limits;
		this.#line = new SampleLine(limits.labelsMax);
	}

	/** Why the page was refused. */
	get problem(): ExpositionProblem | undefined {
		return this.#problem;
	}

	/** Takes the next bytes. False: the page is refused, see `problem`. */
	write(chunk: Uint8Array): boolean {
		if (this.#problem !== undefined) return false;
		this.#bytes += chunk.length;
		if (this.#bytes > this.#limits.bytesMax) {
			this.#refuse("too_large", `the page is larger than ${this.#limits.bytesMax} bytes`);
			return false;
		}
		let at = 0;
		while (at < chunk.length) {
			if (this.#filled === this.#block.length) this.#nextBlock();
			const stop = Math.min(chunk.length, at + this.#block.length - this.#filled);
			this.#block.set(chunk.subarray(at, stop), this.#filled);
			this.#filled += stop - at;
			at = stop;
			this.#parseLines();
			if (this.#problem !== undefined) return false;
		}
		return true;
	}

	/** Says that the page is over; `undefined`: it is refused, see `problem`. */
	end(): ParsedPage | undefined {
		if (this.#problem !== undefined) return undefined;
		if (this.#parsed < this.#filled) {
			// The last line has no line feed: it gets one, so that it can be passed on like the others.
			if (this.#filled === this.#block.length) this.#nextBlock();
			this.#block[this.#filled++] = LINE_FEED;
			this.#parseLines();
		}
		if (this.#problem === undefined) this.#leaveFamily();
		if (this.#problem === undefined && this.#format === "openmetrics" && !this.#isEnded) {
			this.#refuse("malformed", "the page does not end with `# EOF`: it may be cut short");
		}
		if (this.#problem !== undefined) return undefined;
		return {
			format: this.#format,
			families: this.#families,
			blocks: this.#blocks,
			samples: this.#samples,
			bytes: this.#bytes,
			duplicates: this.#duplicates,
			flaws: this.#flaws,
		};
	}

	#nextBlock(): void {
		const block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
		this.#filled = this.#block.copy(block, 0, this.#parsed, this.#filled);
		this.#parsed = 0;
		this.#block = block;
		this.#blocks.push(block);
		this.#lastEntry = undefined; // its name is in the block before
	}

	#parseLines(): void {
		const block = this.#block;
		const first = this.#parsed;
		const last = block.lastIndexOf(LINE_FEED, this.#filled - 1);
		if (last >= first) {
			// A line feed is never inside a character, so whole lines can be checked by themselves.
			if (!isUtf8(block.subarray(first, last))) {
				this.#refuse("malformed", "the bytes are not UTF-8");
				return;
			}
			let start = first;
			while (start <= last) {
				const end = block.indexOf(LINE_FEED, start);
				this.#lineNumber++;
				if (end - start > this.#limits.lineBytesMax) this.#refuseLine();
				else this.#parseLine(block, start, end);
				if (this.#problem !== undefined) return;
				start = end + 1;
			}
			this.#parsed = start;
		}
		if (this.#filled - this.#parsed > this.#limits.lineBytesMax) {
			this.#lineNumber++;
			this.#refuseLine();
		}
	}

	#refuseLine(): void {
		this.#refuse("line_too_long", `the line is longer than ${this.#limits.lineBytesMax} bytes`);
	}

	#parseLine(block: Buffer, start: number, end: number): void {
		if (this.#isEnded) {
			this.#refuse("malformed", "there is something behind `# EOF`");
			return;
		}
		if (block[start] === HASH) {
			this.#parseComment(block, start, end);
			return;
		}
		if (this.#format === "text") {
			let at = start;
			while (at < end && (block[at] === SPACE || block[at] === TAB)) at++;
			if (at === end) return;
			if (block[at] === HASH) {
				this.#parseComment(block, at, end);
				return;
			}
		}
		this.#parseSample(block, start, end);
	}

	// ---- metadata

	#parseComment(block: Buffer, start: number, end: number): void {
		const text = block.toString("utf8", start, end);
		const match =
			this.#format === "text"
				? /^#[ \t]+(HELP|TYPE)[ \t]+([^ \t]+)(?:[ \t]+(.*))?$/s.exec(text)
				: /^# (HELP|TYPE|UNIT) ([^ ]+) (.*)$/s.exec(text);
		if (match === null) {
			if (this.#format === "text") return; // any other comment
			if (text === "# EOF") this.#isEnded = true;
			else this.#refuse("malformed", "the line is neither metadata, nor a sample, nor `# EOF`");
			return;
		}
		const [, keyword = "", name = "", rest = ""] = match;
		const bytes = Buffer.from(name, "utf8");
		if (!isMetricName(bytes, 0, bytes.length)) {
			this.#refuse("malformed", `${keyword}: the metric name is malformed`);
			return;
		}
		const family = this.#declare(name);
		if (family === undefined) return;
		if (family.samples > 0) {
			if (this.#isStrict) this.#refuse("malformed", `${keyword} of ${name} comes after its samples`);
			else if (keyword === "HELP") family.help ??= unescapeHelp(rest, this.#format);
			return;
		}
		if (keyword === "HELP") this.#help(family, rest);
		else if (keyword === "TYPE") this.#type(family, rest);
		else this.#unit(family, rest);
	}

	/** The family that a line of metadata is about. */
	#declare(name: string): PageFamily | undefined {
		const known = this.#declared.get(name);
		if (known !== undefined) {
			if (known !== this.#current) {
				if (this.#isStrict) this.#refuse("malformed", `the family ${name} is in two places`);
				else this.#enterFamily(known);
			}
			return this.#problem === undefined ? known : undefined;
		}
		return this.#newFamily(name);
	}

	#newFamily(name: string): PageFamily | undefined {
		if (this.#families.length >= this.#limits.familiesMax) {
			this.#refuse("too_many_families", `there are more than ${this.#limits.familiesMax} families`);
			return undefined;
		}
		const family = new PageFamily(name, Math.imul(this.#families.length + 1, 0x9e3779b1));
		this.#families.push(family);
		this.#declared.set(name, family);
		this.#claim(family);
		if (this.#problem !== undefined) return undefined;
		this.#enterFamily(family);
		return family;
	}

	/** Takes the names that samples of this family have. */
	#claim(family: PageFamily): void {
		const parts = partsOf(this.#format, family.type);
		for (const [part, suffix] of PART_SUFFIXES) {
			if (part !== PART_VALUE && (parts & part) === 0) continue;
			const name = family.name + suffix;
			const there = this.#names.get(name);
			if (there !== undefined && there.family !== family) {
				if (this.#isStrict || this.#format === "openmetrics") {
					this.#refuse("malformed", `the families ${there.family.name} and ${family.name} both have ${name}`);
					return;
				}
				continue; // text 0.0.4 has no such rule: the first keeps the name
			}
			this.#names.set(name, { family, part: (parts & part) === 0 ? PART_NONE : part });
		}
		this.#lastEntry = undefined;
	}

	#help(family: PageFamily, text: string): void {
		if (family.help !== undefined) {
			if (this.#isStrict) this.#refuse("malformed", `there are two HELP of ${family.name}`);
			return;
		}
		family.help = unescapeHelp(text, this.#format);
	}

	#type(family: PageFamily, word: string): void {
		if (family.isTyped) {
			if (this.#isStrict) this.#refuse("malformed", `there are two TYPE of ${family.name}`);
			return;
		}
		let type: FamilyType | undefined;
		if (this.#format === "openmetrics")
			type = OPENMETRICS_TYPES.has(word) ? (word as FamilyType) : undefined; // its keys
		else {
			const trimmed = this.#isStrict ? word : word.trim().toLowerCase();
			type = TEXT_TYPES.get(trimmed);
			// OpenMetrics' word in a page of text, as some exporters have it.
			if (type === undefined && !this.#isStrict && trimmed === "unknown") type = "unknown";
		}
		if (type === undefined) {
			this.#refuse("malformed", `TYPE of ${family.name} is not a type of this format`);
			return;
		}
		family.type = type;
		family.isTyped = true;
		this.#claim(family);
		this.#checkUnit(family);
	}

	#unit(family: PageFamily, unit: string): void {
		if (family.unit !== "") {
			if (this.#isStrict) this.#refuse("malformed", `there are two UNIT of ${family.name}`);
			return;
		}
		if (unit !== "" && !/^[a-zA-Z0-9_:]+$/.test(unit)) {
			this.#refuse("malformed", `UNIT of ${family.name} is malformed`);
			return;
		}
		family.unit = unit;
		this.#checkUnit(family);
	}

	#checkUnit(family: PageFamily): void {
		if (family.unit === "") return;
		const isAllowed = family.type !== "info" && family.type !== "stateset";
		if (isAllowed && family.name.endsWith(`_${family.unit}`)) return;
		if (this.#isStrict) {
			this.#refuse("malformed", `the unit of ${family.name} is not the end of its name, or its type has none`);
		} else family.unit = "";
	}

	// ---- samples

	#parseSample(block: Buffer, start: number, end: number): void {
		const line = this.#line;
		const wrong = line.scan(block, start, end, this.#format);
		if (wrong !== undefined) {
			this.#refuse("malformed", wrong);
			return;
		}
		const entry = this.#entryOf(block, line);
		if (entry === undefined) return;
		const family = entry.family;
		if (family !== this.#current) {
			if (this.#isStrict && family.samples > 0) {
				this.#refuse("malformed", `the family ${family.name} is in two places`);
				return;
			}
			this.#enterFamily(family);
			if (this.#problem !== undefined) return;
		}
		if (this.#samples >= this.#limits.samplesMax) {
			this.#refuse("too_many_samples", `there are more than ${this.#limits.samplesMax} samples`);
			return;
		}
		if (!this.#check(family, entry.part, block, line)) {
			this.#duplicates++;
			return;
		}
		if (this.#problem !== undefined) return;
		this.#samples++;
		family.samples++;
		// A sample that should not be (PART_NONE) has the bare name: only that is ever claimed without being allowed.
		family.parts |= entry.part === PART_NONE ? PART_VALUE : entry.part;
		if (line.isLoose) family.isLoose = true;
		if (!Number.isNaN(line.timestamp)) family.hasTimestamps = true;
		if (line.hasExemplar) family.hasExemplars = true;
		const runs = family.runs;
		const blockIndex = this.#blocks.length - 1;
		if (runs[runs.length - 1] === start && runs[runs.length - 3] === blockIndex) runs[runs.length - 1] = end + 1;
		else runs.push(blockIndex, start, end + 1);
	}

	#entryOf(block: Buffer, line: SampleLine): NameEntry | undefined {
		const last = this.#lastEntry;
		if (last !== undefined && isSameRun(block, this.#lastNameStart, this.#lastNameEnd, line.nameStart, line.nameEnd)) {
			return last;
		}
		const name = block.toString("latin1", line.nameStart, line.nameEnd);
		let entry = this.#names.get(name);
		if (entry === undefined) {
			const family = this.#newFamily(name);
			if (family === undefined) return undefined;
			entry = { family, part: PART_VALUE };
		}
		this.#lastEntry = entry;
		this.#lastNameStart = line.nameStart;
		this.#lastNameEnd = line.nameEnd;
		return entry;
	}

	#enterFamily(family: PageFamily): void {
		if (this.#current === family) return;
		this.#leaveFamily();
		this.#current = family;
	}

	#leaveFamily(): void {
		if (this.#current !== undefined && this.#hasGroup) this.#leaveGroup(this.#current);
		this.#hasGroup = false;
	}

	/** The rules of the sample's type. False: the series was there already, and the sample is left out (lenient only). */
	#check(family: PageFamily, part: number, block: Buffer, line: SampleLine): boolean {
		const type = family.type;
		if (part === PART_NONE) this.#flaw(family, `a ${type} has no sample of that name`);
		// The label that tells the samples of one group apart; info has one group (OpenMetrics, Info).
		const own = this.#ownLabel(family, part, block, line);
		let groupA = line.hashA;
		let groupB = line.hashB;
		if (type === "info") {
			groupA = 0;
			groupB = 0;
		} else if (own >= 0) {
			groupA = (groupA - (line.labelHashes[own * 2] ?? 0)) | 0;
			groupB = (groupB - (line.labelHashes[own * 2 + 1] ?? 0)) | 0;
		}
		const isSameGroup = this.#hasGroup && groupA === this.#groupA && groupB === this.#groupB;
		const isNew = this.#series.add(line.hashA ^ line.nameHashA, line.hashB + line.nameHashB);
		const isNewer = line.timestamp >= this.#groupTimestamp;
		if (!isNew) {
			if (!this.#isStrict) return false;
			if (!(isSameGroup && isNewer)) {
				this.#refuse("malformed", `a series of ${family.name} is there twice`);
				return true;
			}
		}
		if (!isSameGroup) this.#newGroup(family, groupA, groupB, line.timestamp);
		else {
			if (Number.isNaN(line.timestamp) !== Number.isNaN(this.#groupTimestamp)) {
				this.#flaw(family, "some samples of a group have a timestamp and some have none");
			} else if (line.timestamp < this.#groupTimestamp && type !== "info") {
				this.#flaw(family, "timestamps of a group go backwards");
			} else if (line.timestamp > this.#groupTimestamp) {
				this.#leaveGroup(family);
				this.#resetGroup();
			}
			this.#groupTimestamp = line.timestamp;
		}
		this.#checkValue(family, part, own, block, line);
		this.#checkExemplar(family, part, line);
		return true;
	}

	/** Index of `le`, `quantile`, or the label with a stateset's name; −1: there is none. */
	#ownLabel(family: PageFamily, part: number, block: Buffer, line: SampleLine): number {
		const isBucket = part === PART_BUCKET;
		if (isBucket || (family.type === "summary" && part === PART_VALUE)) {
			const index = line.boundIndex;
			if (index < 0) return -1;
			const length = (line.labels[index * 4 + 1] ?? 0) - (line.labels[index * 4] ?? 0);
			return length === (isBucket ? 2 : 8) ? index : this.#findLabel(isBucket ? "le" : "quantile", block, line);
		}
		return family.type === "stateset" ? this.#findLabel(family.name, block, line) : -1;
	}

	#findLabel(name: string, block: Buffer, line: SampleLine): number {
		for (let i = 0; i < line.labelCount; i++) {
			const start = line.labels[i * 4] ?? 0;
			const end = line.labels[i * 4 + 1] ?? 0;
			if (end - start === name.length && block.toString("latin1", start, end) === name) return i;
		}
		return -1;
	}

	#newGroup(family: PageFamily, a: number, b: number, timestamp: number): void {
		if (this.#hasGroup) this.#leaveGroup(family);
		this.#resetGroup();
		this.#hasGroup = true;
		this.#groupA = a;
		this.#groupB = b;
		this.#groupTimestamp = timestamp;
		const type = family.type;
		// Where a group is one series, the table of series has said it already.
		const hasGroups = type !== "gauge" && type !== "unknown" && type !== "info";
		if (hasGroups && (type !== "counter" || this.#format === "openmetrics")) {
			if (!this.#groups.add(a ^ family.salt, b + family.salt)) this.#flaw(family, "samples of one group are apart");
		}
	}

	#resetGroup(): void {
		this.#bound = Number.NaN;
		this.#bucketCount = 0;
		this.#hasBuckets = false;
		this.#hasInfinity = false;
		this.#hasNegativeBound = false;
		this.#sum = undefined;
		this.#count = undefined;
	}

	/** What can only be said when all samples of a label set have been seen. */
	#leaveGroup(family: PageFamily): void {
		const isGauge = family.type === "gaugehistogram";
		if (family.type !== "histogram" && !isGauge) return;
		const sum = this.#sum;
		const count = this.#count;
		if (!this.#hasInfinity) this.#flaw(family, "a histogram has no bucket +Inf");
		else if (count !== undefined && count !== this.#bucketCount)
			this.#flaw(family, "the count is not that of the bucket +Inf");
		else if ((sum === undefined) !== (count === undefined)) {
			// Text 0.0.4 of some exporters leaves the sum out where bounds are negative, as OpenMetrics asks.
			if (isGauge || sum !== undefined || !this.#hasNegativeBound)
				this.#flaw(family, "there is only one of sum and count");
		} else if (sum !== undefined && this.#hasNegativeBound && !isGauge && this.#format === "openmetrics") {
			this.#flaw(family, "there is a sum although a bucket is negative");
		} else if (sum !== undefined && sum < 0 && !this.#hasNegativeBound) this.#flaw(family, "the sum is negative");
	}

	#checkValue(family: PageFamily, part: number, own: number, block: Buffer, line: SampleLine): void {
		const value = line.value;
		const type = family.type;
		const isCounter = type === "counter" && part !== PART_CREATED;
		if (isCounter || part === PART_BUCKET || part === PART_COUNT || part === PART_GCOUNT) {
			if (!(value >= 0)) this.#flaw(family, "a count is negative or not a number");
		}
		if (part === PART_BUCKET) this.#checkBucket(family, own, block, line);
		else if (part === PART_SUM || part === PART_GSUM) {
			if (Number.isNaN(value) || (type === "summary" && value < 0))
				this.#flaw(family, "a sum is negative or not a number");
			this.#sum = value;
		} else if (part === PART_COUNT || part === PART_GCOUNT) this.#count = value;
		else if (type === "summary" && part === PART_VALUE) {
			const quantile = own < 0 ? undefined : this.#boundOf(own, block, line);
			if (quantile === undefined || !(quantile >= 0 && quantile <= 1))
				this.#flaw(family, "a quantile is not from 0 to 1");
			if (value < 0) this.#flaw(family, "the value of a quantile is negative");
		} else if (type === "stateset" && (own < 0 || (value !== 0 && value !== 1))) {
			this.#flaw(family, "a state has no name, or is neither 0 nor 1");
		} else if (type === "info" && value !== 1) this.#flaw(family, "an info is not 1");
	}

	#checkBucket(family: PageFamily, own: number, block: Buffer, line: SampleLine): void {
		const bound = own < 0 ? undefined : this.#boundOf(own, block, line);
		if (bound === undefined || Number.isNaN(bound)) {
			this.#flaw(family, "a bucket has no bound, or one that is not a number");
			return;
		}
		if (this.#hasBuckets && (!(bound > this.#bound) || line.value < this.#bucketCount)) {
			this.#flaw(family, "the buckets do not ascend");
		}
		this.#hasBuckets = true;
		this.#bound = bound;
		this.#bucketCount = line.value;
		if (bound < 0) this.#hasNegativeBound = true;
		if (bound === Number.POSITIVE_INFINITY) this.#hasInfinity = true;
	}

	/** The value of `le` or `quantile`. Infinity is only `+Inf`: it is compared as text by those who query. */
	#boundOf(own: number, block: Buffer, line: SampleLine): number | undefined {
		const start = line.labels[own * 4 + 2] ?? 0;
		const end = line.labels[own * 4 + 3] ?? 0;
		const value = parseNumber(block, start, end);
		if (value === Number.POSITIVE_INFINITY && block.toString("latin1", start, end) !== "+Inf") return undefined;
		return value;
	}

	#checkExemplar(family: PageFamily, part: number, line: SampleLine): void {
		if (!line.hasExemplar) return;
		if (line.exemplarCharacters <= EXEMPLAR_CHARACTERS_MAX && (part & (PART_TOTAL | PART_BUCKET)) !== 0) return;
		if (this.#isStrict) this.#refuse("malformed", "an exemplar is too long, or its sample may have none");
		else family.hasBadExemplars = true;
	}

	#flaw(family: PageFamily, message: string): void {
		if (this.#isStrict) {
			this.#refuse("malformed", `${family.name}: ${message}`);
			return;
		}
		if (family.flaw !== undefined) return;
		family.flaw = message;
		if (this.#flaws.length < FLAWS_KEPT) {
			this.#flaws.push({ kind: "malformed", line: this.#lineNumber, message: `${family.name}: ${message}` });
		}
	}

	#refuse(kind: ProblemKind, message: string): void {
		if (this.#problem !== undefined) return;
		this.#problem = { kind, line: kind === "too_large" ? 0 : this.#lineNumber, message };
		this.#blocks = []; // nothing of a refused page is needed any more
	}
}

/** HELP as it was meant: `\\` and `\n`, in OpenMetrics also `\"`; any other backslash stands for itself. */
function unescapeHelp(text: string, format: ExpositionFormat): string {
	if (!text.includes("\\")) return text;
	return text.replace(format === "text" ? /\\([\\n])/g : /\\([\\n"])/g, (_, c: string) => (c === "n" ? "\n" : c));
}
