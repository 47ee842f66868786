import {
	PART_BUCKET,
	PART_COUNT,
	PART_CREATED,
	PART_SUFFIXES,
	PART_VALUE,
	type PageFamily,
	type ParsedPage,
	partsOf,
} from "./exposition-parse.ts";
import { type ExpositionFormat, escapeHelp, type FamilyType, TEXT_TYPE } from "./exposition-write.ts";
import { SampleLine } from "./sample-line.ts";
import type { TimeSlices } from "./time-slice.ts";

/**
 * Passes the families of a parsed page on, in the format that the client asked for.
 *
 * | from the app | text 0.0.4 | OpenMetrics |
 * |---|---|---|
 * | counter `x_total` | counter `x_total` | counter `x` with `x_total` |
 * | counter `x` of text 0.0.4 | counter `x` | unknown `x`: a counter there must end with `_total`, and names are promises |
 * | untyped, unknown | untyped | unknown |
 * | info, stateset | gauge | as it is |
 * | gaugehistogram | one untyped family per sample name | as it is |
 * | `x_created` of OpenMetrics | gauge `x_created` | as it is |
 * | exemplars | left out | as they are |
 * | timestamps | ms | s |
 * | a family that breaks a rule of its type | one untyped family per sample name | one unknown family per sample name |
 */
export interface FamilyOutput {
	/** On the HELP and TYPE lines. */
	readonly name: string;
	readonly type: FamilyType;
	readonly source: PageFamily;
	/** Bits of the parts of `source` that belong here. */
	readonly parts: number;
	/** Sample and family names that nobody else in the document may have. */
	readonly claims: readonly string[];
	/** It is not passed on as the type that it said it was. */
	readonly isDemoted: boolean;
}

/** Names that a family takes for itself in a document of that format. `name` as on its TYPE line. */
export function claimsOf(name: string, type: FamilyType, format: ExpositionFormat): string[] {
	const parts = partsOf(format, type);
	const claims = [name];
	for (const [part, suffix] of PART_SUFFIXES) {
		if (part !== PART_VALUE && (parts & part) !== 0) claims.push(name + suffix);
	}
	return claims;
}

/** As which families one of the app's is passed on. Empty when it has no samples. */
export function planFamily(source: PageFamily, from: ExpositionFormat, to: ExpositionFormat): FamilyOutput[] {
	if (source.samples === 0) return [];
	const { name, type, parts } = source;
	const output = (name: string, type: FamilyType, parts: number, isDemoted = false): FamilyOutput => ({
		name,
		type,
		source,
		parts,
		claims: claimsOf(name, type, to),
		isDemoted,
	});
	if (source.flaw !== undefined || (to === "text" && type === "gaugehistogram")) {
		return PART_SUFFIXES.filter(([part]) => (parts & part) !== 0).map(([part, suffix]) =>
			output(name + suffix, "unknown", part, true),
		);
	}
	if (from === to) return [output(name, type, parts)];
	if (to === "openmetrics") {
		if (type !== "counter") return [output(name, type, parts)];
		if (name.length > 6 && name.endsWith("_total")) return [output(name.slice(0, -6), "counter", parts)];
		return [output(name, "unknown", parts, true)];
	}
	const outputs: FamilyOutput[] = [];
	const rest = parts & ~PART_CREATED;
	const suffix = type === "counter" ? "_total" : type === "info" ? "_info" : "";
	if (rest !== 0) outputs.push(output(name + suffix, type, rest));
	if ((parts & PART_CREATED) !== 0) outputs.push(output(`${name}_created`, "gauge", PART_CREATED));
	return outputs;
}

const SINK_BLOCK_BYTES = 65_536;
/** Runs of at least so many bytes are handed on as they are; shorter ones are copied together. */
const OWN_BLOCK_BYTES = 4_096;

/** Collects pieces of a document into few blocks. */
export class BlockSink {
	readonly blocks: Buffer[] = [];
	#block: Buffer = Buffer.alloc(0);
	#start = 0;
	#end = 0;

	/** Appends bytes of a buffer that nobody will change. */
	bytes(buffer: Buffer, start: number, end: number): void {
		if (end - start >= OWN_BLOCK_BYTES) {
			this.flush();
			this.blocks.push(buffer.subarray(start, end));
			return;
		}
		this.#reserve(end - start);
		this.#end += buffer.copy(this.#block, this.#end, start, end);
	}

	/** Appends a string whose characters are bytes. */
	latin1(text: string): void {
		this.#reserve(text.length);
		this.#end += this.#block.write(text, this.#end, "latin1");
	}

	/** Appends any string. */
	text(text: string): void {
		this.#reserve(text.length * 3);
		this.#end += this.#block.write(text, this.#end, "utf8");
	}

	/** Puts a finished block behind what is there. */
	append(block: Buffer): void {
		this.bytes(block, 0, block.length);
	}

	/** Makes what was appended last visible in `blocks`. */
	flush(): void {
		if (this.#end === this.#start) return;
		this.blocks.push(this.#block.subarray(this.#start, this.#end));
		this.#start = this.#end;
	}

	#reserve(bytes: number): void {
		if (this.#end + bytes <= this.#block.length) return;
		this.flush();
		this.#block = Buffer.allocUnsafeSlow(Math.max(SINK_BLOCK_BYTES, bytes));
		this.#start = 0;
		this.#end = 0;
	}
}

export interface CopyOptions {
	readonly page: ParsedPage;
	readonly to: ExpositionFormat;
	readonly sink: BlockSink;
	readonly slices: TimeSlices;
	/** Labels of one sample at most: what the page was parsed with. */
	readonly labelsMax: number;
}

/** Writes HELP, UNIT and TYPE of a family. */
export function copyHeader(output: FamilyOutput, options: CopyOptions): void {
	const { name, type, source } = output;
	const help = source.help === undefined ? "" : `# HELP ${name} ${escapeHelp(source.help, options.to)}\n`;
	if (options.to === "text") options.sink.text(`${help}# TYPE ${name} ${TEXT_TYPE[type]}\n`);
	else {
		const hasUnit = source.unit !== "" && name.endsWith(`_${source.unit}`) && type !== "info" && type !== "stateset";
		options.sink.text(`# TYPE ${name} ${type}\n${hasUnit ? `# UNIT ${name} ${source.unit}\n` : ""}${help}`);
	}
}

/**
 * Writes the samples of a family, in turns of at most some milliseconds. `origin` true: each gets the label `origin="app"`, and a
 * label of that name becomes `exported_origin`, as Prometheus does it. Resolves to the samples that could not be written.
 */
export async function copySamples(output: FamilyOutput, isMarked: boolean, options: CopyOptions): Promise<number> {
	const { page, sink, slices, to } = options;
	const { source } = output;
	const keepsExemplars = to === "openmetrics" && page.format === to && !output.isDemoted && !source.hasBadExemplars;
	const isRaw =
		!isMarked &&
		!source.isLoose &&
		(source.parts & ~output.parts) === 0 &&
		!(source.hasTimestamps && page.format !== to) &&
		!(source.hasExemplars && !keepsExemplars);
	const line = new SampleLine(options.labelsMax);
	const suffixParts = new Map<string, number>(PART_SUFFIXES.map(([part, suffix]) => [suffix, part]));
	let dropped = 0;
	for (let run = 0; run < source.runs.length; run += 3) {
		const block = page.blocks[source.runs[run] ?? 0];
		let start = source.runs[run + 1] ?? 0;
		const stop = source.runs[run + 2] ?? 0;
		if (block === undefined) continue;
		if (isRaw) {
			sink.bytes(block, start, stop);
			if (slices.isDue()) await slices.pause();
			continue;
		}
		while (start < stop) {
			const end = block.indexOf(0x0a, start);
			line.scan(block, start, end, page.format);
			const suffix = block.toString("latin1", line.nameStart + source.name.length, line.nameEnd);
			if (((suffixParts.get(suffix) ?? PART_VALUE) & output.parts) !== 0) {
				const text = rewrite(block, end, line, page.format, to, keepsExemplars, isMarked);
				if (text === undefined) dropped++;
				else sink.latin1(text);
			}
			start = end + 1;
			if (slices.isDue()) await slices.pause();
		}
	}
	return dropped;
}

/** One line again, as a string of bytes with its line feed; `undefined`: it cannot have the label `origin`. */
function rewrite(
	bytes: Buffer,
	end: number,
	line: SampleLine,
	from: ExpositionFormat,
	to: ExpositionFormat,
	keepsExemplars: boolean,
	isMarked: boolean,
): string | undefined {
	let labels = isMarked ? 'origin="app"' : "";
	let hasOrigin = false;
	let hasExported = false;
	for (let i = 0; i < line.labelCount * 4; i += 4) {
		let name = bytes.toString("latin1", line.labels[i], line.labels[i + 1]);
		if (isMarked && name === "origin") {
			name = "exported_origin";
			hasOrigin = true;
		} else if (name === "exported_origin") hasExported = true;
		let value = bytes.toString("latin1", line.labels[i + 2], line.labels[i + 3]);
		if (line.isLoose && value.includes("\\")) value = value.replace(/\\(.)/gs, escapeOdd);
		labels += `${labels === "" ? "" : ","}${name}="${value}"`;
	}
	if (hasOrigin && hasExported) return undefined;
	const name = bytes.toString("latin1", line.nameStart, line.nameEnd);
	let text = `${name}${labels === "" ? "" : `{${labels}}`} ${bytes.toString("latin1", line.valueStart, line.valueEnd)}`;
	if (!Number.isNaN(line.timestamp)) {
		if (from === to) text += ` ${bytes.toString("latin1", line.timestampStart, line.timestampEnd)}`;
		else if (to === "openmetrics") text += ` ${(line.timestamp / 1000).toFixed(3)}`;
		// Text 0.0.4 has 64-bit integers; a time outside of them is no time.
		else if (Math.abs(line.timestamp) < 9e15) text += ` ${Math.round(line.timestamp * 1000) + 0}`;
	}
	if (line.hasExemplar && keepsExemplars) text += ` ${bytes.toString("latin1", line.exemplarStart, end)}`;
	return `${text}\n`;
}

/** `\\z` means backslash and z: written as every reader takes it. Pairs are taken together, so `\\\\n` stays what it is. */
function escapeOdd(pair: string, c: string): string {
	return c === "\\" || c === '"' || c === "n" ? pair : `\\\\${c}`;
}

/** Families of a page whose numbers text 0.0.4 has as families of their own: `x_created` beside a counter `x_total`. */
export function createdFamilies(page: ParsedPage): Set<string> {
	const names = new Set<string>();
	for (const { name, type } of page.families) {
		if (type === "counter") names.add(`${name.endsWith("_total") ? name.slice(0, -6) : name}_created`);
		else if ((partsOf(page.format, type) & (PART_BUCKET | PART_COUNT)) !== 0) names.add(`${name}_created`);
	}
	return names;
}
