import { assert } from "../foundation/assert.ts";
import type { TimeSlices } from "./time-slice.ts";

/**
 * Writes metrics as text: Prometheus' text format 0.0.4 and OpenMetrics 1.0, from the same calls.
 *
 * Label sets come as strings that were rendered once (`renderLabels`), so that a page costs additions of strings and
 * conversions of numbers only. The writer promises a valid document as long as each family is opened once and each label set
 * is written once in it; it does not check for double series (the strict parser in the tests does).
 *
 * Sources: https://prometheus.io/docs/instrumenting/exposition_formats/ and the OpenMetrics 1.0 specification.
 */
export type ExpositionFormat = "text" | "openmetrics";

export const EXPOSITION_CONTENT_TYPE: Readonly<Record<ExpositionFormat, string>> = Object.freeze({
	text: "text/plain; version=0.0.4; charset=utf-8",
	openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
});

export type FamilyType =
	| "counter"
	| "gauge"
	| "histogram"
	| "summary"
	| "info"
	| "stateset"
	| "gaugehistogram"
	| "unknown";

/** A trace that stands for a bucket. OpenMetrics only; left out in text 0.0.4. */
export interface Exemplar {
	/** Rendered labels, together at most 128 characters (OpenMetrics, Exemplars); a longer one is left out. */
	readonly labels: string;
	readonly value: number;
	/** Seconds since 1970; `undefined`: none is written. */
	readonly timestampSeconds: number | undefined;
}

/** Code points that the names and values of an exemplar's labels may have together. */
export const EXEMPLAR_CHARACTERS_MAX = 128;

/** Characters that are put together as a string before they become bytes. */
const TEXT_CHARACTERS = 16_384;

/** Something that writes its families when a page is made. May wait: `if (out.isDue()) await out.pause();` after each label set. */
export interface MetricSource {
	writeMetrics(out: ExpositionWriter): void | Promise<void>;
}

export interface WriterOptions {
	readonly format: ExpositionFormat;
	/** Shares the event loop; one for the whole page. */
	readonly slices: TimeSlices;
	/** Families (see `familyId`) that are left out, because the app's page has them and `metrics.collision` is `app`. */
	readonly omit?: (id: string, type: FamilyType) => boolean;
	/** Families after whose last sample a place is kept, where the app's samples go when `metrics.collision` is `both`. */
	readonly mark?: (id: string, type: FamilyType) => boolean;
}

/** Place kept after a family's last sample. */
export interface FamilyMark {
	readonly id: string;
	/** The family's samples end where the block of this index begins. */
	readonly blockIndex: number;
}

/** What text 0.0.4 calls each type. */
export const TEXT_TYPE: Readonly<Record<FamilyType, string>> = {
	counter: "counter",
	gauge: "gauge",
	histogram: "histogram",
	summary: "summary",
	info: "gauge",
	stateset: "gauge",
	gaugehistogram: "histogram",
	unknown: "untyped",
};

/** What `sample` puts behind the family's name. */
const SAMPLE_SUFFIX: Readonly<Record<FamilyType, string>> = {
	counter: "_total",
	gauge: "",
	histogram: "",
	summary: "",
	info: "_info",
	stateset: "",
	gaugehistogram: "",
	unknown: "",
};

/** Name of a family without the suffix that its type has: `x_total` as counter is `x`, `x_info` as info is `x`. */
export function familyId(name: string, type: FamilyType): string {
	const suffix = SAMPLE_SUFFIX[type];
	return suffix !== "" && name.length > suffix.length && name.endsWith(suffix) ? name.slice(0, -suffix.length) : name;
}

/** What the family is called on its HELP and TYPE lines: in text 0.0.4 with the suffix of its type. */
export function familyName(id: string, type: FamilyType, format: ExpositionFormat): string {
	return format === "text" ? id + SAMPLE_SUFFIX[type] : id;
}

/** Escapes a label value: backslash, quote, line feed. */
export function escapeLabelValue(value: string): string {
	if (!/[\\"\n]/.test(value)) return value;
	return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

/** Renders `{ method: "GET" }` as `method="GET"`: no braces. Names must be valid; values may be anything. */
export function renderLabels(labels: Readonly<Record<string, string | number>>): string {
	let text = "";
	for (const [name, value] of Object.entries(labels)) {
		assert(/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name), `not a label name: ${name}`);
		text += `${text === "" ? "" : ","}${name}="${escapeLabelValue(typeof value === "number" ? formatNumber(value) : value)}"`;
	}
	return text;
}

/** A number as both formats have it. */
export function formatNumber(value: number): string {
	if (value === Number.POSITIVE_INFINITY) return "+Inf";
	if (value === Number.NEGATIVE_INFINITY) return "-Inf";
	return Object.is(value, -0) ? "0" : `${value}`; // NaN prints as NaN
}

/** A number as the value of `le` or `quantile`: OpenMetrics wants integers as `1.0` (its section on canonical numbers). */
export function formatBound(value: number, format: ExpositionFormat): string {
	const text = formatNumber(value);
	return format === "openmetrics" && /^-?\d+$/.test(text) ? `${text}.0` : text;
}

/** Rendered `,le="…"} ` of one list of bounds, with +Inf at the end. */
type BoundTexts = readonly string[];

export class ExpositionWriter {
	readonly format: ExpositionFormat;
	readonly #slices: TimeSlices;
	readonly #omit: ((id: string, type: FamilyType) => boolean) | undefined;
	readonly #mark: ((id: string, type: FamilyType) => boolean) | undefined;
	readonly #blocks: Buffer[] = [];
	readonly #marks: FamilyMark[] = [];
	readonly #families = new Map<string, FamilyType>();
	/** Keyed by the array itself: the same bounds serve thousands of label sets. */
	readonly #boundTexts = new Map<ArrayLike<number>, BoundTexts>();
	#omitted = 0;
	#text = "";
	#id = "";
	#type: FamilyType = "unknown";
	#sampleName = "";
	#isMuted = true;
	#isMarked = false;

	constructor(options: WriterOptions) {
		this.format = options.format;
		this.#slices = options.slices;
		this.#omit = options.omit;
		this.#mark = options.mark;
	}

	/** Ids and types of the families written so far (not of those left out). */
	get families(): ReadonlyMap<string, FamilyType> {
		return this.#families;
	}

	/** Families that `omit` left out. */
	get omittedFamilies(): number {
		return this.#omitted;
	}

	/**
	 * Opens a family; all samples that follow belong to it. `name` as the user reads it: with or without `_total` for counters
	 * and `_info` for infos. `unit` must be the last part of the name.
	 *
	 * False when the family is left out: its samples are ignored, so the caller may skip them.
	 *
	 * @example out.family("outrigger_connections_opened_total", "counter", "Connections opened.");
	 */
	family(name: string, type: FamilyType, help: string, unit = ""): boolean {
		this.#close();
		const id = familyId(name, type);
		assert(/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(id), `not a metric name: ${name}`);
		assert(!this.#families.has(id), `family ${id} is written twice`);
		assert(unit === "" || id.endsWith(`_${unit}`), `family ${id} does not end with its unit ${unit}`);
		if (this.#omit?.(id, type) === true) {
			this.#omitted++;
			this.#isMuted = true;
			return false;
		}
		this.#families.set(id, type);
		this.#isMuted = false;
		this.#isMarked = this.#mark?.(id, type) === true;
		this.#id = id;
		this.#type = type;
		this.#sampleName = id + SAMPLE_SUFFIX[type];
		this.#text += this.format === "text" ? textHeader(id, type, help) : openMetricsHeader(id, type, help, unit);
		return true;
	}

	/** One number: gauges, counters (`_total` is put behind), infos (`_info`), unknowns. `labels` is rendered, may be empty. */
	sample(labels: string, value: number, exemplar?: Exemplar): void {
		if (this.#isMuted) return;
		this.#line(this.#sampleName, labels, value, this.#type === "counter" ? exemplar : undefined);
	}

	/** A sample with a suffix of its own: `_sum`, `_count`, `_created`. The last is left out in text 0.0.4, where it would be a family. */
	suffixed(suffix: string, labels: string, value: number): void {
		if (this.#isMuted || (suffix === "_created" && this.format === "text")) return;
		this.#line(this.#id + suffix, labels, value, undefined);
	}

	/**
	 * One label set of a histogram. `counts[offset + i]` is the number of observations in bucket `i` *alone* (the writer
	 * adds them up); there are `bounds.length + 1` of them, the last is what was above the last bound. `bounds` ascends, is
	 * finite, and should be the same array in every call.
	 */
	histogram(
		labels: string,
		bounds: ArrayLike<number>,
		counts: ArrayLike<number>,
		offset: number,
		sum: number,
		exemplars?: readonly (Exemplar | undefined)[],
	): void {
		if (this.#isMuted) return;
		let texts = this.#boundTexts.get(bounds);
		if (texts === undefined) {
			texts = renderBounds(bounds, this.format);
			this.#boundTexts.set(bounds, texts);
		}
		const name = this.#id;
		const start = labels === "" ? `${name}_bucket{le="` : `${name}_bucket{${labels},le="`;
		const hasExemplars = exemplars !== undefined && this.format === "openmetrics";
		let total = 0;
		let text = "";
		for (let i = 0; i < texts.length; i++) {
			total += counts[offset + i] ?? 0;
			text += start + (texts[i] ?? "") + total;
			if (hasExemplars) {
				const exemplar = exemplars[i];
				if (exemplar !== undefined) text += renderExemplar(exemplar);
			}
			text += "\n";
		}
		const braces = labels === "" ? " " : `{${labels}} `;
		text += `${name}_sum${braces}${formatNumber(sum)}\n${name}_count${braces}${total}\n`;
		this.#append(text);
	}

	/** Whether the caller should `await pause()`. Cheap: ask after each label set. */
	isDue(): boolean {
		return this.#slices.isDue();
	}

	/** Lets other work of the thread have its turn. */
	pause(): Promise<void> {
		return this.#slices.pause();
	}

	/** Ends the last family and hands over what was written: without `# EOF`, which belongs to the page. Call once. */
	finish(): { readonly blocks: Buffer[]; readonly marks: readonly FamilyMark[] } {
		this.#close();
		this.#flush();
		return { blocks: this.#blocks, marks: this.#marks };
	}

	#line(name: string, labels: string, value: number, exemplar: Exemplar | undefined): void {
		let text = labels === "" ? `${name} ${formatNumber(value)}` : `${name}{${labels}} ${formatNumber(value)}`;
		if (exemplar !== undefined && this.format === "openmetrics") text += renderExemplar(exemplar);
		this.#append(`${text}\n`);
	}

	#append(text: string): void {
		this.#text += text;
		if (this.#text.length >= TEXT_CHARACTERS) this.#flush();
	}

	#flush(): void {
		if (this.#text === "") return;
		this.#blocks.push(Buffer.from(this.#text, "utf8"));
		this.#text = "";
	}

	#close(): void {
		if (!this.#isMarked) return;
		this.#flush();
		this.#marks.push({ id: this.#id, blockIndex: this.#blocks.length });
		this.#isMarked = false;
	}
}

/** `# HELP` and `# TYPE` of text 0.0.4, where a counter is called `x_total` and an info is a gauge `x_info`. */
function textHeader(id: string, type: FamilyType, help: string): string {
	const name = familyName(id, type, "text");
	return `# HELP ${name} ${escapeHelp(help, "text")}\n# TYPE ${name} ${TEXT_TYPE[type]}\n`;
}

/** `# TYPE`, `# UNIT` and `# HELP` of OpenMetrics. */
function openMetricsHeader(id: string, type: FamilyType, help: string, unit: string): string {
	const unitLine = unit === "" ? "" : `# UNIT ${id} ${unit}\n`;
	return `# TYPE ${id} ${type}\n${unitLine}# HELP ${id} ${escapeHelp(help, "openmetrics")}\n`;
}

/** HELP: backslash and line feed; OpenMetrics also the quote. */
export function escapeHelp(help: string, format: ExpositionFormat): string {
	if (format === "openmetrics") return escapeLabelValue(help);
	return /[\\\n]/.test(help) ? help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n") : help;
}

function renderBounds(bounds: ArrayLike<number>, format: ExpositionFormat): BoundTexts {
	const texts: string[] = [];
	for (let i = 0; i < bounds.length; i++) texts.push(`${formatBound(bounds[i] ?? Number.NaN, format)}"} `);
	texts.push('+Inf"} ');
	return texts;
}

function renderExemplar(exemplar: Exemplar): string {
	// Counts the rendering's quotes and equals signs too: a bound that is a little tighter than the rule, and cheap.
	if (exemplar.labels.length > EXEMPLAR_CHARACTERS_MAX || !Number.isFinite(exemplar.value)) return "";
	const at = exemplar.timestampSeconds;
	return ` # {${exemplar.labels}} ${formatNumber(exemplar.value)}${at === undefined ? "" : ` ${at.toFixed(3)}`}`;
}

interface MediaRange {
	readonly type: string;
	readonly quality: number;
	readonly version: string | undefined;
}

/** Media ranges of an Accept field that are looked at; a field with more is somebody's joke. */
const MEDIA_RANGES_MAX = 32;

/**
 * Which format a client gets (RFC 9110 §12.5.1). OpenMetrics only to who names it (versions 1.0.0 and 0.0.1) and does
 * not like text better; everybody else, wildcards included, gets text 0.0.4.
 */
export function negotiateFormat(accept: string | undefined): ExpositionFormat {
	if (accept === undefined) return "text";
	let openMetrics = 0;
	let text = 0;
	let wildcard = 0;
	for (const range of parseAccept(accept)) {
		if (range.type === "application/openmetrics-text") {
			const isKnown = range.version === undefined || range.version === "1.0.0" || range.version === "0.0.1";
			if (isKnown) openMetrics = Math.max(openMetrics, range.quality);
		} else if (range.type === "text/plain") {
			if (range.version === undefined || range.version === "0.0.4") text = Math.max(text, range.quality);
		} else if (range.type === "text/*" || range.type === "*/*") wildcard = Math.max(wildcard, range.quality);
	}
	return openMetrics > 0 && openMetrics >= (text === 0 ? wildcard : text) ? "openmetrics" : "text";
}

/** Media ranges with their `q` and `version`; malformed ones are left out. */
export function parseAccept(accept: string): MediaRange[] {
	const ranges: MediaRange[] = [];
	for (const item of accept.split(",", MEDIA_RANGES_MAX)) {
		const [type = "", ...parameters] = item.split(";").map((part) => part.trim().toLowerCase());
		if (!/^[^\s/]+\/[^\s/]+$/.test(type)) continue;
		let quality = 1;
		let version: string | undefined;
		for (const parameter of parameters) {
			if (parameter.startsWith("q=")) quality = parseQuality(parameter.slice(2));
			else if (parameter.startsWith("version=")) version = parameter.slice(8).replaceAll('"', "");
		}
		ranges.push({ type, quality, version });
	}
	return ranges;
}

/** RFC 9110 §12.4.2; a weight that is not one counts as 0: the client did not ask for this. */
function parseQuality(text: string): number {
	return /^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.test(text) ? Number(text) : 0;
}
