import type { Clock } from "../foundation/clock.ts";
import type { IdSource } from "./ids.ts";

/**
 * W3C Trace Context level 2 (https://www.w3.org/TR/trace-context-2/) over bytes, and the sampling decision.
 *
 * What a request's identity is made of, in this order:
 *
 * 1. `parentFlags = trusted and exactly one traceparent ? parseTraceparent(…) : -1`. Two of them are as none (§3.2.2 has one value).
 * 2. `-1`: `newTrace(trace, ids)`, and every `tracestate` line goes (§3.3: it means nothing without its traceparent).
 *    Otherwise each `tracestate` line goes through `countTracestateMembers`; one malformed line, or none with a member: all go.
 * 3. `newSpanIds(trace, ids)`, `flags = sampler.decide(trace, parentFlags)`.
 * 4. The app gets `writeTraceparent(…, CLIENT_SPAN_AT, flags)`: its parent is our CLIENT span. `baggage` is never touched.
 *
 * It does not know header fields: the head scanner has found the values and cut the white space around them.
 */

/** Layout of the 80 bytes that an exchange keeps of its trace (`ExchangeFacts.traceBytes`). All lower-case hex in ASCII. */
export const TRACE_BYTES = 80;
export const TRACE_ID_AT = 0;
export const SERVER_SPAN_AT = 32;
export const CLIENT_SPAN_AT = 48;
export const PARENT_SPAN_AT = 64;

/** Length of a version 00 `traceparent`, and of all that we write. */
export const TRACEPARENT_BYTES = 55;

/** `trace-flags`, §3.2.2.5. Other bits are not defined and are written as zero, as the section demands. */
export const TRACE_SAMPLED = 1;
/** Level 2: the rightmost seven bytes of the trace id are random. Kept as the parent says; set on our own. */
export const TRACE_RANDOM = 2;
const KNOWN_FLAGS = TRACE_SAMPLED | TRACE_RANDOM;

/** Most list members of a `tracestate` (§3.3.1.1), over all its lines. */
export const TRACESTATE_MEMBERS_MAX = 32;
const TRACESTATE_KEY_MAX = 256;
const TRACESTATE_VALUE_MAX = 256;

const DASH = 0x2d;
const ZERO = 0x30;
const TAB = 0x09;
const SPACE = 0x20;
const COMMA = 0x2c;
const EQUALS = 0x3d;

/** Value of each lower-case hex digit; 16 for every other byte. Upper case is invalid (§3.2.2.1: `HEXDIGLC`). */
const HEX_VALUE = new Uint8Array(256).fill(16);
for (let value = 0; value < 16; value += 1) HEX_VALUE["0123456789abcdef".charCodeAt(value)] = value;

/** `key` of a list member, level 2 §3.3.1.3.1: 2 may begin one, 1 may follow. Level 2 lets a digit begin and `@` stand anywhere after. */
const KEY_BYTE = new Uint8Array(256);
for (const character of "_-*/@") KEY_BYTE[character.charCodeAt(0)] = 1;
for (const character of "abcdefghijklmnopqrstuvwxyz0123456789") KEY_BYTE[character.charCodeAt(0)] = 2;

/** `chr` of a value, §3.3.1.3.2: printable ASCII but comma and equals sign. */
const VALUE_BYTE = new Uint8Array(256);
for (let value = 0x20; value <= 0x7e; value += 1) VALUE_BYTE[value] = value === COMMA || value === EQUALS ? 0 : 1;

/** Whether `count` bytes from `at` are lower-case hex and not all zero. */
function isId(bytes: Uint8Array, at: number, count: number): boolean {
	let any = 0;
	for (let i = at; i < at + count; i += 1) {
		const value = HEX_VALUE[bytes[i] as number] as number; // the caller has checked the length
		if (value === 16) return false;
		any |= value;
	}
	return any !== 0;
}

/**
 * Reads the value of a `traceparent` (§3.2). Returns its flags (sampled, random; others are masked) and writes the trace id and the
 * parent's span id into `out`; returns −1 and writes nothing when the value is invalid. A version that is not known yet is read
 * as far as we know it: 55 bytes, then the end or a dash (§3.2.4). Version `ff` is invalid, and 00 has exactly 55 bytes.
 */
export function parseTraceparent(bytes: Uint8Array, start: number, end: number, out: Uint8Array): number {
	const length = end - start;
	if (length < TRACEPARENT_BYTES) return -1;
	const high = HEX_VALUE[bytes[start] as number] as number; // length ≥ 55 for all that follows
	const low = HEX_VALUE[bytes[start + 1] as number] as number;
	if (high === 16 || low === 16) return -1;
	const version = high * 16 + low;
	if (version === 0xff) return -1;
	if (length > TRACEPARENT_BYTES && (version === 0 || bytes[start + TRACEPARENT_BYTES] !== DASH)) return -1;
	if (bytes[start + 2] !== DASH || bytes[start + 35] !== DASH || bytes[start + 52] !== DASH) return -1;
	if (!isId(bytes, start + 3, 32) || !isId(bytes, start + 36, 16)) return -1;
	const flagsHigh = HEX_VALUE[bytes[start + 53] as number] as number;
	const flagsLow = HEX_VALUE[bytes[start + 54] as number] as number;
	if (flagsHigh === 16 || flagsLow === 16) return -1;
	for (let i = 0; i < 32; i += 1) out[TRACE_ID_AT + i] = bytes[start + 3 + i] as number;
	for (let i = 0; i < 16; i += 1) out[PARENT_SPAN_AT + i] = bytes[start + 36 + i] as number;
	return flagsLow & KNOWN_FLAGS;
}

/** A trace that begins here: a new random trace id, and a parent of zeros, so that nothing stale stands there. */
export function newTrace(out: Uint8Array, ids: IdSource): void {
	ids.writeHex(out, TRACE_ID_AT, 16);
	for (let i = 0; i < 16; i += 1) out[PARENT_SPAN_AT + i] = ZERO;
}

/** New ids of the SERVER span and of the CLIENT span towards the app. */
export function newSpanIds(out: Uint8Array, ids: IdSource): void {
	ids.writeHex(out, SERVER_SPAN_AT, 8);
	ids.writeHex(out, CLIENT_SPAN_AT, 8);
}

/**
 * Writes a version 00 `traceparent` value, 55 bytes, at `offset`; `spanAt` is `CLIENT_SPAN_AT` (towards the app) or
 * `SERVER_SPAN_AT`. Returns the offset after it.
 */
export function writeTraceparent(
	target: Uint8Array,
	offset: number,
	trace: Uint8Array,
	spanAt: number,
	flags: number,
): number {
	target[offset] = ZERO;
	target[offset + 1] = ZERO;
	target[offset + 2] = DASH;
	for (let i = 0; i < 32; i += 1) target[offset + 3 + i] = trace[TRACE_ID_AT + i] as number; // TRACE_BYTES long
	target[offset + 35] = DASH;
	for (let i = 0; i < 16; i += 1) target[offset + 36 + i] = trace[spanAt + i] as number;
	target[offset + 52] = DASH;
	target[offset + 53] = ZERO;
	target[offset + 54] = ZERO + (flags & KNOWN_FLAGS);
	return offset + TRACEPARENT_BYTES;
}

/**
 * Checks one line of `tracestate` and returns how many members there are now, `before` included, or −1 when the line is malformed
 * or makes them more than 32. With −1 every line is dropped (§3.3.1: a receiver that cannot parse it discards it); with a total of 0 as well.
 *
 * Otherwise the lines go on byte for byte: we add no member of our own, so there is nothing to join, cut or reorder. Duplicate keys
 * are kept as they came, which §3.3.1.3 leaves to whoever does not change the list. No length is cut: 512 characters
 * are what must at least be passed on (§3.3.1.5), `limits.head` bounds the rest. Empty members are allowed and do not count.
 */
export function countTracestateMembers(bytes: Uint8Array, start: number, end: number, before: number): number {
	let members = before;
	let at = start;
	while (at < end) {
		let byte = bytes[at] as number; // at < end
		if (byte === SPACE || byte === TAB || byte === COMMA) {
			at += 1;
			continue;
		}
		if (KEY_BYTE[byte] !== 2) return -1;
		const keyStart = at;
		while (at < end && KEY_BYTE[(byte = bytes[at] as number)] !== 0) at += 1;
		if (at === end || byte !== EQUALS || at - keyStart > TRACESTATE_KEY_MAX) return -1;
		at += 1;
		const valueStart = at;
		while (at < end && VALUE_BYTE[bytes[at] as number] === 1) at += 1;
		let valueEnd = at;
		while (valueEnd > valueStart && bytes[valueEnd - 1] === SPACE) valueEnd -= 1;
		if (valueEnd === valueStart || valueEnd - valueStart > TRACESTATE_VALUE_MAX) return -1;
		while (at < end && ((byte = bytes[at] as number) === SPACE || byte === TAB)) at += 1;
		if (at < end && bytes[at] !== COMMA) return -1;
		members += 1;
		if (members > TRACESTATE_MEMBERS_MAX) return -1;
	}
	return members;
}

const TWO_TO_24 = 0x100_0000;
const TWO_TO_52 = 2 ** 52;

/**
 * OpenTelemetry's TraceIdRatioBased as Go, Python and Ruby have it: the low 64 bits of the trace id, as a fraction of 2^64, are
 * below `ratio`. The highest 52 of them are compared, which doubles hold exactly. So services with one ratio agree on
 * a trace, and what a lower ratio samples, a higher one samples too.
 */
export function isSampledByRatio(trace: Uint8Array, ratio: number): boolean {
	let high = 0;
	for (let i = 16; i < 23; i += 1) high = (high << 4) | (HEX_VALUE[trace[i] as number] as number); // TRACE_BYTES long
	let low = 0;
	for (let i = 23; i < 29; i += 1) low = (low << 4) | (HEX_VALUE[trace[i] as number] as number);
	return high * TWO_TO_24 + low < ratio * TWO_TO_52;
}

export interface SamplerOptions {
	/** `traces.sample`, 0 to 1. */
	readonly ratio: number;
	/** `identity.forcedSamplesPerSecond`, divided by the number of data threads by the caller; Infinity: no cap. */
	readonly forcedPerSecond: number;
	readonly clock: Clock;
}

/**
 * Parent-based sampling with a cap. No parent: the ratio decides. A parent that did not sample is followed. A parent that did is
 * followed as long as the bucket has a token; beyond the cap **the ratio decides as if the trace began here**, so a flood
 * of forced traces costs what the same flood without a parent costs, and services behind us with the same ratio still agree.
 */
export class Sampler {
	readonly #ratio: number;
	readonly #forcedPerSecond: number;
	readonly #burst: number;
	readonly #clock: Clock;
	#tokens: number;
	#filledAtMs: number;
	/** How many forced decisions were beyond the cap and left to the ratio. */
	overCap: number;

	constructor(options: SamplerOptions) {
		this.#ratio = options.ratio;
		this.#forcedPerSecond = options.forcedPerSecond;
		this.#burst = options.forcedPerSecond > 0 ? Math.max(1, options.forcedPerSecond) : 0;
		this.#clock = options.clock;
		this.#tokens = this.#burst;
		this.#filledAtMs = options.clock.monotonicMs();
		this.overCap = 0;
	}

	/**
	 * The flags of this trace from here on. `parentFlags` as `parseTraceparent` gave them, −1: the trace is ours (and its
	 * id all random). Reads the clock only for a forced decision.
	 */
	decide(trace: Uint8Array, parentFlags: number): number {
		if (parentFlags === -1) return isSampledByRatio(trace, this.#ratio) ? TRACE_RANDOM | TRACE_SAMPLED : TRACE_RANDOM;
		if ((parentFlags & TRACE_SAMPLED) === 0 || this.#takeToken()) return parentFlags;
		this.overCap += 1;
		return isSampledByRatio(trace, this.#ratio) ? parentFlags : parentFlags & ~TRACE_SAMPLED;
	}

	#takeToken(): boolean {
		if (this.#forcedPerSecond === Number.POSITIVE_INFINITY) return true;
		const nowMs = this.#clock.monotonicMs();
		this.#tokens = Math.min(this.#burst, this.#tokens + ((nowMs - this.#filledAtMs) * this.#forcedPerSecond) / 1000);
		this.#filledAtMs = nowMs;
		if (this.#tokens < 1) return false;
		this.#tokens -= 1;
		return true;
	}
}
