import type { ExpositionFormat } from "./exposition-write.ts";

/**
 * One sample line of an exposition, taken apart: bytes in, offsets and numbers out. It is the only place that knows the grammar of
 * samples; the parser asks it for each line, and the converter asks it again for the lines that must be written differently.
 *
 * One instance is used for all lines (nothing is allocated per line but odd numbers), so a result is good until the next `scan`.
 */

const NAME_START = 1;
const NAME_PART = 2;
const COLON = 4;
const CLASSES = new Uint8Array(256);
for (let c = 0; c < 256; c++) {
	const isLetter = (c >= 0x41 && c <= 0x5a) || (c >= 0x61 && c <= 0x7a) || c === 0x5f;
	const isDigit = c >= 0x30 && c <= 0x39;
	if (isLetter) CLASSES[c] = NAME_START | NAME_PART;
	else if (isDigit) CLASSES[c] = NAME_PART;
	else if (c === 0x3a) CLASSES[c] = COLON;
}

const TAB = 0x09;
const SPACE = 0x20;
const QUOTE = 0x22;
const HASH = 0x23;
const COMMA = 0x2c;
const EQUALS = 0x3d;
const BACKSLASH = 0x5c;
const OPEN = 0x7b;
const CLOSE = 0x7d;

/** Characters of a number; longer ones are refused. The corpus has 43. */
const NUMBER_CHARACTERS_MAX = 128;
const REAL = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
const INFINITE = /^[+-]?inf(?:inity)?$/i;

/** A number by the grammar of OpenMetrics (and of 0.0.4 without Go's hexadecimal and underscores); `undefined`: it is none. */
export function parseNumber(bytes: Buffer, start: number, end: number): number | undefined {
	const length = end - start;
	if (length === 0 || length > NUMBER_CHARACTERS_MAX) return undefined;
	const plain = parsePlain(bytes, start, end);
	if (!Number.isNaN(plain)) return plain;
	const text = bytes.toString("latin1", start, end);
	if (REAL.test(text)) return Number(text);
	if (INFINITE.test(text)) return text.startsWith("-") ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
	return /^nan$/i.test(text) ? Number.NaN : undefined;
}

/** Powers of ten that a double holds exactly. */
const POWERS = Array.from({ length: 16 }, (_, i) => 10 ** i);

/**
 * Most numbers are `-?digits.digits` with at most 15 digits: then both the digits and the power of ten are exact, and so one division rounds
 * correctly. NaN: it is something else.
 */
function parsePlain(bytes: Buffer, start: number, end: number): number {
	const isNegative = bytes[start] === 0x2d;
	const first = isNegative ? start + 1 : start;
	if (end - first > 16 || first === end) return Number.NaN;
	let value = 0;
	let point = -1;
	for (let at = first; at < end; at++) {
		const c = bytes[at] ?? 0;
		const digit = c - 0x30;
		if (digit >= 0 && digit <= 9) value = value * 10 + digit;
		else if (c === 0x2e && point === -1 && at > first) point = at;
		else return Number.NaN;
	}
	if (point === -1 ? end - first > 15 : point === end - 1) return Number.NaN;
	if (point !== -1) value /= POWERS[end - point - 1] ?? Number.NaN;
	return isNegative ? -value : value;
}

/** Whether the bytes are a metric name (letters, digits, underscore, colon). */
export function isMetricName(bytes: Buffer, start: number, end: number): boolean {
	if (start >= end || ((CLASSES[bytes[start] ?? 0] ?? 0) & (NAME_START | COLON)) === 0) return false;
	for (let at = start + 1; at < end; at++) {
		if ((CLASSES[bytes[at] ?? 0] ?? 0) === 0) return false;
	}
	return true;
}

/** Spreads the bits of a 32-bit number (the finish of MurmurHash3). */
function mix(h: number): number {
	h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
	h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
	return h ^ (h >>> 16);
}

export class SampleLine {
	nameStart = 0;
	nameEnd = 0;
	/** Quadruples: name start, name end, value start, value end (between the quotes, still escaped). */
	readonly labels: Int32Array;
	labelCount = 0;
	/** Hashes of each label that has a value, two lanes; their order in the line does not matter, so they may be added up. */
	readonly labelHashes: Int32Array;
	/** Sums of `labelHashes`. */
	hashA = 0;
	hashB = 0;
	nameHashA = 0;
	nameHashB = 0;
	/** Index of the label `le` or `quantile`, −1: none. */
	boundIndex = -1;
	valueStart = 0;
	valueEnd = 0;
	value = 0;
	/** NaN: none. Milliseconds in text 0.0.4, seconds in OpenMetrics. */
	timestamp = Number.NaN;
	timestampStart = 0;
	timestampEnd = 0;
	hasExemplar = false;
	/** Where its `#` is. */
	exemplarStart = 0;
	/** Code points of the exemplar's label names and values. */
	exemplarCharacters = 0;
	/** Has white space, commas or escapes that the other format, or a stricter reader, does not take. */
	isLoose = false;
	readonly #labelsMax: number;

	constructor(labelsMax: number) {
		this.#labelsMax = labelsMax;
		this.labels = new Int32Array(labelsMax * 4);
		this.labelHashes = new Int32Array(labelsMax * 2);
	}

	/** Takes the line apart. Returns what is wrong with it, for people. */
	scan(bytes: Buffer, start: number, end: number, format: ExpositionFormat): string | undefined {
		this.isLoose = false;
		this.hasExemplar = false;
		this.timestamp = Number.NaN;
		const isText = format === "text";
		let at = start;
		if (isText && isBlank(bytes[at])) {
			at = this.#skipBlanks(bytes, at, end);
			this.isLoose = true;
		}
		this.nameStart = at;
		let a = 0x811c9dc5;
		let b = 0x2f0b4c47;
		for (; at < end; at++) {
			const c = bytes[at] ?? 0;
			if ((CLASSES[c] ?? 0) === 0) break;
			a = Math.imul(a ^ c, 0x01000193);
			b = Math.imul(b ^ c, 0x5bd1e995) ^ (b >>> 15);
		}
		this.nameEnd = at;
		this.nameHashA = a;
		this.nameHashB = b;
		if (at === this.nameStart || ((CLASSES[bytes[this.nameStart] ?? 0] ?? 0) & (NAME_START | COLON)) === 0) {
			return "the line does not begin with a metric name";
		}
		this.labelCount = 0;
		this.hashA = 0;
		this.hashB = 0;
		this.boundIndex = -1;
		let blanks = 0;
		if (isText && isBlank(bytes[at])) {
			const next = this.#skipBlanks(bytes, at, end);
			blanks = next - at;
			if (blanks > 1 || bytes[at] === TAB) this.isLoose = true;
			at = next;
		}
		if (at < end && bytes[at] === OPEN) {
			if (blanks > 0) this.isLoose = true;
			const after = this.#scanLabels(bytes, at + 1, end, isText, true);
			if (typeof after === "string") return after;
			at = after;
			blanks = 0;
		}
		if (blanks === 0) {
			const after = this.#oneBlank(bytes, at, end, isText);
			// Prometheus takes `a{b="c"}1` in text 0.0.4.
			if (after === at && !(isText && this.labelCount > 0)) return "there is no space before the value";
			if (after === at) this.isLoose = true;
			at = after;
		}
		this.valueStart = at;
		at = tokenEnd(bytes, at, end, isText);
		this.valueEnd = at;
		const value = parseNumber(bytes, this.valueStart, at);
		if (value === undefined) return "the value is not a number";
		this.value = value;
		if (at === end) return undefined;
		return isText ? this.#textTail(bytes, at, end) : this.#openMetricsTail(bytes, at, end);
	}

	/** Text 0.0.4 behind the value: blanks, or a timestamp in milliseconds. */
	#textTail(bytes: Buffer, at: number, end: number): string | undefined {
		const start = this.#oneBlank(bytes, at, end, true);
		if (start === end) {
			this.isLoose = true;
			return undefined;
		}
		const stop = tokenEnd(bytes, start, end, true);
		const text = bytes.toString("latin1", start, Math.min(stop, start + 32));
		if (!/^-?\d{1,19}$/.test(text)) return "the timestamp is not a number of milliseconds";
		this.#timestamp(start, stop, Number(text));
		if (stop === end) return undefined;
		this.isLoose = true;
		return this.#skipBlanks(bytes, stop, end) === end ? undefined : "there is something behind the timestamp";
	}

	/** OpenMetrics behind the value: a timestamp in seconds, an exemplar, both or none. */
	#openMetricsTail(bytes: Buffer, at: number, end: number): string | undefined {
		// `at` is at a space: tokenEnd stops nowhere else.
		at++;
		if (bytes[at] !== HASH) {
			const stop = tokenEnd(bytes, at, end, false);
			const value = parseNumber(bytes, at, stop);
			if (value === undefined || !Number.isFinite(value)) return "the timestamp is not a number of seconds";
			this.#timestamp(at, stop, value);
			if (stop === end) return undefined;
			at = stop + 1;
			if (bytes[at] !== HASH) return "there is something behind the timestamp";
		}
		if (bytes[at + 1] !== SPACE || bytes[at + 2] !== OPEN || at + 2 >= end)
			return "the exemplar does not begin with `# {`";
		this.hasExemplar = true;
		this.exemplarStart = at;
		// The exemplar's labels must not overwrite the sample's: they are scanned without being kept.
		const labelCount = this.labelCount;
		const after = this.#scanLabels(bytes, at + 3, end, false, false);
		this.labelCount = labelCount;
		if (typeof after === "string") return `exemplar: ${after}`;
		if (bytes[after] !== SPACE || after >= end) return "there is no space before the exemplar's value";
		const valueEnd = tokenEnd(bytes, after + 1, end, false);
		if (parseNumber(bytes, after + 1, valueEnd) === undefined) return "the exemplar's value is not a number";
		if (valueEnd === end) return undefined;
		const timestamp = parseNumber(bytes, valueEnd + 1, end);
		return timestamp !== undefined && Number.isFinite(timestamp)
			? undefined
			: "the exemplar's timestamp is not a number of seconds";
	}

	#timestamp(start: number, end: number, value: number): void {
		this.timestampStart = start;
		this.timestampEnd = end;
		this.timestamp = value;
	}

	#skipBlanks(bytes: Buffer, at: number, end: number): number {
		while (at < end && isBlank(bytes[at])) at++;
		return at;
	}

	/** One space, or in text 0.0.4 any run of blanks; returns `at` when there is none. */
	#oneBlank(bytes: Buffer, at: number, end: number, isText: boolean): number {
		if (!isText) return at < end && bytes[at] === SPACE ? at + 1 : at;
		const after = this.#skipBlanks(bytes, at, end);
		if (after - at > 1 || bytes[at] === TAB) this.isLoose = true;
		return after;
	}

	/** From behind the opening brace to behind the closing one. `isKept` false: an exemplar's, only counted and checked. */
	#scanLabels(bytes: Buffer, at: number, end: number, isText: boolean, isKept: boolean): number | string {
		const base = isKept ? 0 : this.labelCount;
		let count = base;
		let characters = 0;
		for (;;) {
			if (isText && isBlank(bytes[at])) {
				at = this.#skipBlanks(bytes, at, end);
				this.isLoose = true;
			}
			if (at < end && bytes[at] === CLOSE) {
				if (count > base) {
					// A comma before the brace: text 0.0.4 takes it, OpenMetrics does not.
					if (!isText) return "there is a comma behind the last label";
					this.isLoose = true;
				}
				break;
			}
			if (count >= this.#labelsMax) return "there are too many labels";
			const nameStart = at;
			let a = 0x811c9dc5;
			let b = 0x2f0b4c47;
			for (; at < end; at++) {
				const c = bytes[at] ?? 0;
				if (((CLASSES[c] ?? 0) & NAME_PART) === 0) break;
				a = Math.imul(a ^ c, 0x01000193);
				b = Math.imul(b ^ c, 0x5bd1e995) ^ (b >>> 15);
			}
			const nameEnd = at;
			if (nameEnd === nameStart || ((CLASSES[bytes[nameStart] ?? 0] ?? 0) & NAME_START) === 0) {
				return "a label name is missing or malformed";
			}
			if (isText && isBlank(bytes[at])) {
				at = this.#skipBlanks(bytes, at, end);
				this.isLoose = true;
			}
			if (at >= end || bytes[at] !== EQUALS) return "there is no `=` behind a label name";
			at++;
			if (isText && isBlank(bytes[at])) {
				at = this.#skipBlanks(bytes, at, end);
				this.isLoose = true;
			}
			if (at >= end || bytes[at] !== QUOTE) return "a label value is not in quotes";
			const valueStart = ++at;
			a = Math.imul(a ^ EQUALS, 0x01000193);
			b = Math.imul(b ^ EQUALS, 0x5bd1e995) ^ (b >>> 15);
			for (; at < end; at++) {
				let c = bytes[at] ?? 0;
				if (c === QUOTE) break;
				if ((c & 0xc0) !== 0x80) characters++;
				if (c === BACKSLASH) {
					const next = bytes[at + 1];
					if (next === BACKSLASH || next === QUOTE || next === 0x6e) {
						a = Math.imul(a ^ c, 0x01000193);
						b = Math.imul(b ^ c, 0x5bd1e995) ^ (b >>> 15);
						at++;
						c = next;
					} else {
						// `\z` means backslash and z; hashed like `\\z`, which is how it is written again.
						this.isLoose = true;
						a = Math.imul(a ^ c, 0x01000193);
						b = Math.imul(b ^ c, 0x5bd1e995) ^ (b >>> 15);
					}
				}
				a = Math.imul(a ^ c, 0x01000193);
				b = Math.imul(b ^ c, 0x5bd1e995) ^ (b >>> 15);
			}
			if (at >= end) return "a label value has no closing quote";
			const valueEnd = at++;
			characters += nameEnd - nameStart;
			const slot = count * 4;
			const labels = this.labels;
			for (let other = base * 4; other < slot; other += 4) {
				if (isSameRun(bytes, labels[other] ?? 0, labels[other + 1] ?? 0, nameStart, nameEnd)) {
					return "a label name is there twice";
				}
			}
			labels[slot] = nameStart;
			labels[slot + 1] = nameEnd;
			labels[slot + 2] = valueStart;
			labels[slot + 3] = valueEnd;
			if (isKept) {
				const length = nameEnd - nameStart;
				if (length === 2 && bytes[nameStart] === 0x6c && bytes[nameStart + 1] === 0x65) this.boundIndex = count;
				else if (length === 8) {
					const name = bytes.toString("latin1", nameStart, nameEnd);
					if (name === "quantile") this.boundIndex = count;
					else if (name === "__name__") return "the label __name__ is reserved";
				}
				// An empty label value is the same as no label.
				const isEmpty = valueStart === valueEnd;
				const hashA = isEmpty ? 0 : mix(a);
				const hashB = isEmpty ? 0 : mix(b);
				this.labelHashes[count * 2] = hashA;
				this.labelHashes[count * 2 + 1] = hashB;
				this.hashA = (this.hashA + hashA) | 0;
				this.hashB = (this.hashB + hashB) | 0;
			}
			count++;
			if (isText && isBlank(bytes[at])) {
				at = this.#skipBlanks(bytes, at, end);
				this.isLoose = true;
			}
			if (at < end && bytes[at] === COMMA) {
				at++;
				continue;
			}
			if (at < end && bytes[at] === CLOSE) break;
			return "there is no comma or closing brace behind a label";
		}
		if (isKept) this.labelCount = count;
		else this.exemplarCharacters = characters;
		return at + 1;
	}
}

function isBlank(c: number | undefined): boolean {
	return c === SPACE || c === TAB;
}

/** End of the run of bytes up to the next space (in text 0.0.4: or tab). */
function tokenEnd(bytes: Buffer, at: number, end: number, isText: boolean): number {
	for (; at < end; at++) {
		const c = bytes[at];
		if (c === SPACE || (isText && c === TAB)) break;
	}
	return at;
}

/** Whether two runs hold the same bytes. */
export function isSameRun(bytes: Buffer, start: number, end: number, otherStart: number, otherEnd: number): boolean {
	if (end - start !== otherEnd - otherStart) return false;
	for (let i = end - start - 1; i >= 0; i--) {
		if (bytes[start + i] !== bytes[otherStart + i]) return false;
	}
	return true;
}
