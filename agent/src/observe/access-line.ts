/**
 * One JSON object a line for each exchange, formatted from the record's bytes into a buffer that goes to the sink in large slices.
 *
 * The keys, their order and what is left out are a promise of `interface.md`. Whatever bytes a client sends, the line is one line, valid JSON and valid UTF-8: control characters (U+0000–U+001F,
 * U+007F–U+009F) are escaped, bytes that are no UTF-8 become U+FFFD. No string is made on the way of an ordinary line.
 */
import {
	ENDED_BY,
	FLAG_OPAQUE,
	FLAG_PROBE,
	LIFECYCLE_STATES,
	type RecordMemory,
	type RecordView,
	recordBytesMax,
} from "../bridge/exchange-record.ts";
import { FAULT_LIST } from "../foundation/fault.ts";
import type { LineSink } from "../foundation/log-sink.ts";
import { METHODS } from "../http1/methods.ts";
import { PathPatterns } from "./path-patterns.ts";

export interface AccessLineSettings {
	readonly level: string;
	/** Share of the exchanges that went well, 0 to 1. */
	readonly accessSample: number;
	readonly skip: readonly string[];
	readonly redact: readonly string[];
	readonly fieldBytesMax: number;
	readonly query: boolean;
}

/** A slice that is handed to the sink: large, because each costs a system call. */
const SLICE_BYTES = 65_536;
/** All keys and numbers of a line together, and some more. */
const FIXED_BYTES_MAX = 1024;
/** `\u001f` for one byte. */
const EXPANSION_MAX = 6;

/**
 * A piece of a line that is known beforehand, as doubles: eight bytes a copy. ASCII in a double is never a NaN, so its bits stay what they are. The copy may write up to seven bytes
 * behind the piece, which the next one overwrites.
 */
interface Piece {
	readonly words: Float64Array;
	readonly length: number;
}

function piece(text: string): Piece {
	const words = new Float64Array(Math.ceil(text.length / 8));
	Buffer.from(words.buffer).write(text, "latin1");
	return { words, length: text.length };
}

const KEY = {
	time: piece('{"time":"'),
	status: piece(',"http.response.status_code":'),
	duration: piece(',"duration_ms":'),
	upstream: piece(',"upstream_ms":'),
	requestSize: piece(',"http.request.body.size":'),
	responseSize: piece(',"http.response.body.size":'),
	path: piece(',"url.path":"'),
	query: piece(',"url.query":"'),
	route: piece(',"http.route":"'),
	client: piece(',"client.address":"'),
	userAgent: piece(',"user_agent.original":"'),
	correlationId: piece(',"correlation_id":"'),
	requestId: piece(',"request_id":"'),
	traceId: piece(',"trace_id":"'),
	spanId: piece('","span_id":"'),
	serverError: piece(',"error.type":"'),
	redacted: piece("[redacted]"),
} as const;

const LEVELS = ["info", "warn", "error"] as const;
const INFO = 0;
const WARN = 1;
const ERROR = 2;
const afterTime = LEVELS.map((level) => piece(`","level":"${level}","msg":"request"`));
const afterTimeOpaque = LEVELS.map((level) => piece(`","level":"${level}","msg":"connection"`));
const methods = METHODS.map((method) => piece(`,"http.request.method":"${method}"`));
const versions = ["1.0", "1.1"].map((version) => piece(`,"network.protocol.version":"${version}"`));
const faults = FAULT_LIST.map((fault) => piece(`,"error.type":"${fault.reason}"`));
/** By `endedBy * LIFECYCLE_STATES.length + state`. */
const tails = ENDED_BY.flatMap((by) =>
	LIFECYCLE_STATES.map((state) => piece(`,"ended_by":"${by}","state":"${state}"}\n`)),
);
const NOTHING = piece("");

/** 1: may stand in a JSON string as it is. */
const plain = new Uint8Array(256);
for (let byte = 0x20; byte < 0x7f; byte++) plain[byte] = byte === 0x22 || byte === 0x5c ? 0 : 1;

const QUOTE = 0x22;
const HEX = Buffer.from("0123456789abcdef");

/** Where lines are put together. */
class Slice {
	readonly bytes: Buffer;
	readonly view: DataView;

	constructor(length: number) {
		this.bytes = Buffer.allocUnsafeSlow(length);
		this.view = new DataView(this.bytes.buffer, 0, length);
	}
}

export class AccessLineWriter {
	readonly #sink: LineSink;
	readonly #settings: AccessLineSettings;
	readonly #least: number;
	readonly #skipProbes: boolean;
	readonly #skip: PathPatterns | undefined;
	readonly #redact: PathPatterns | undefined;
	readonly #sliceBytes: number;
	#out: Slice;
	#at = 0;
	#lines = 0;
	/** Text of the last time written, 24 bytes, and which it is. */
	readonly #time = piece("2026-01-01T00:00:00.000Z");
	readonly #timeBytes = Buffer.from(this.#time.words.buffer);
	#timeMs = Number.NaN;
	#timeSecond = Number.NaN;

	constructor(sink: LineSink, settings: AccessLineSettings) {
		this.#sink = sink;
		this.#settings = settings;
		this.#least = leastLevel(settings.level);
		this.#skipProbes = settings.skip.includes("probes");
		this.#skip = PathPatterns.of(settings.skip.filter((pattern) => pattern !== "probes"));
		this.#redact = PathPatterns.of(settings.redact);
		this.#sliceBytes = Math.max(SLICE_BYTES, FIXED_BYTES_MAX + EXPANSION_MAX * recordBytesMax(settings.fieldBytesMax));
		this.#out = new Slice(this.#sliceBytes);
	}

	/** One exchange; nothing is written when the settings leave it out. */
	write(view: RecordView): void {
		const status = view.status;
		const faultIndex = view.faultIndex;
		const level = status >= 500 ? ERROR : status >= 400 || faultIndex >= 0 ? WARN : INFO;
		if (level < this.#least) return;
		if (this.#skipProbes && (view.flags & FLAG_PROBE) !== 0) return;
		const memory = view.memory;
		const source = memory.bytes;
		if (this.#skip?.matches(source, view.pathStart, view.pathEnd) === true) return;
		if (level === INFO && this.#settings.accessSample < 1 && !this.#isSampled(view)) return;

		if (FIXED_BYTES_MAX + EXPANSION_MAX * (view.routeEnd - view.pathStart) > this.#sliceBytes - this.#at) this.flush();
		const out = this.#out;
		const method = methods[view.method];
		const isOpaque = (view.flags & FLAG_OPAQUE) !== 0;

		let at = put(KEY.time, out, this.#at);
		at = this.#putTime(view.startedWallMs + view.durationMs, out, at);
		at = put((isOpaque ? afterTimeOpaque : afterTime)[level] ?? NOTHING, out, at);
		if (method !== undefined) at = put(method, out, at);
		if (this.#redact?.matches(source, view.pathStart, view.pathEnd) === true) {
			at = put(KEY.path, out, at);
			at = put(KEY.redacted, out, at);
			out.bytes[at++] = QUOTE;
			if (this.#settings.query && view.queryEnd > view.pathEnd) {
				at = put(KEY.query, out, at);
				at = put(KEY.redacted, out, at);
				out.bytes[at++] = QUOTE;
			}
		} else {
			at = this.#field(KEY.path, memory, view.pathStart, view.pathEnd, out, at);
			if (this.#settings.query) at = this.#field(KEY.query, memory, view.pathEnd, view.queryEnd, out, at);
		}
		at = this.#field(KEY.route, memory, view.clientAddressEnd, view.routeEnd, out, at);
		if (status > 0) at = putWhole(status, out, put(KEY.status, out, at));
		at = putMs(view.durationMs, out, put(KEY.duration, out, at));
		const upstreamMs = known(view.connectMs) + known(view.waitMs) + known(view.receiveMs);
		if (view.connectMs >= 0 || view.waitMs >= 0) at = putMs(upstreamMs, out, put(KEY.upstream, out, at));
		const requestBytes = view.requestBodyBytes;
		if (requestBytes >= 0) at = putWhole(requestBytes, out, put(KEY.requestSize, out, at));
		const responseBytes = view.responseBodyBytes;
		if (responseBytes >= 0) at = putWhole(responseBytes, out, put(KEY.responseSize, out, at));
		at = this.#field(KEY.client, memory, view.correlationIdEnd, view.clientAddressEnd, out, at);
		if (method !== undefined) at = put(versions[view.minorVersion] ?? NOTHING, out, at);
		at = this.#field(KEY.userAgent, memory, view.queryEnd, view.userAgentEnd, out, at);
		at = this.#field(KEY.correlationId, memory, view.requestIdEnd, view.correlationIdEnd, out, at);
		at = this.#field(KEY.requestId, memory, view.userAgentEnd, view.requestIdEnd, out, at);
		if (view.hasTrace) {
			const trace = view.traceStart;
			at = putWords(memory.view, trace, 32, out, put(KEY.traceId, out, at));
			at = putWords(memory.view, trace + 32, 16, out, put(KEY.spanId, out, at));
			out.bytes[at++] = QUOTE;
		}
		if (faultIndex >= 0) at = put(faults[faultIndex] ?? NOTHING, out, at);
		else if (status >= 500) {
			at = putWhole(status, out, put(KEY.serverError, out, at));
			out.bytes[at++] = QUOTE;
		}
		this.#at = put(tails[view.endedBy * LIFECYCLE_STATES.length + view.state] ?? END, out, at);
		this.#lines++;
	}

	/** Hands what has been written to the sink: after each turn over the ring. */
	flush(): void {
		if (this.#at === 0) return;
		const isFree = this.#sink.write(this.#out.bytes.subarray(0, this.#at), this.#lines, "access_line");
		if (!isFree) this.#out = new Slice(this.#sliceBytes);
		this.#at = 0;
		this.#lines = 0;
	}

	/** The same exchanges in every service that sees the trace. */
	#isSampled(view: RecordView): boolean {
		const source = view.memory.bytes;
		let value = 0;
		for (let i = view.traceStart + 24; i < view.traceStart + 32; i++) {
			const byte = source[i] ?? 0;
			value = value * 16 + (byte > 0x39 ? byte - 0x57 : byte - 0x30);
		}
		return value / 2 ** 32 < this.#settings.accessSample;
	}

	#field(key: Piece, source: RecordMemory, start: number, end: number, out: Slice, at: number): number {
		if (start >= end) return at;
		at = put(key, out, at);
		// Four bytes at a time as long as all four may stand as they are: none below 0x20 or above 0x7e, no quote, no backslash.
		const { view } = source;
		const to = out.view;
		let i = start;
		for (; i + 4 <= end; i += 4, at += 4) {
			const four = view.getInt32(i, true);
			const quote = four ^ 0x22222222;
			const backslash = four ^ 0x5c5c5c5c;
			const high = four | (four + 0x01010101) | (four - 0x20202020) | (quote - 0x01010101) | (backslash - 0x01010101);
			if ((high & 0x80808080) !== 0) break;
			to.setInt32(at, four, true);
		}
		const { bytes } = source;
		for (; i < end; i++) {
			const byte = bytes[i] as number; // i < end ≤ length
			if (plain[byte] === 0) {
				at = putEscaped(bytes, i, end, end - start >= this.#settings.fieldBytesMax, out.bytes, at);
				break;
			}
			out.bytes[at++] = byte;
		}
		out.bytes[at++] = QUOTE;
		return at;
	}

	#putTime(wallMs: number, out: Slice, at: number): number {
		const ms = Math.floor(wallMs);
		const time = this.#timeBytes;
		if (ms !== this.#timeMs) {
			const second = Math.floor(ms / 1000);
			if (second === this.#timeSecond) {
				const rest = ms - second * 1000;
				time[20] = 0x30 + ((rest / 100) | 0);
				time[21] = 0x30 + (((rest / 10) | 0) % 10);
				time[22] = 0x30 + (rest % 10);
			} else {
				time.write(new Date(ms).toISOString(), "latin1");
				this.#timeSecond = second;
			}
			this.#timeMs = ms;
		}
		return put(this.#time, out, at);
	}
}

const END = piece("}\n");

/** Index in `LEVELS` of the least level that is written; beyond the last: none. */
function leastLevel(level: string): number {
	if (level === "trace" || level === "debug" || level === "info") return INFO;
	if (level === "warn") return WARN;
	return level === "error" ? ERROR : LEVELS.length;
}

function known(ms: number): number {
	return ms >= 0 ? ms : 0;
}

function put(from: Piece, out: Slice, at: number): number {
	const { words } = from;
	const { view } = out;
	for (let i = 0; i < words.length; i++) view.setFloat64(at + i * 8, words[i] as number, true); // i < length
	return at + from.length;
}

function putRange(from: Buffer, start: number, end: number, out: Buffer, at: number): number {
	for (let i = start; i < end; i++) out[at++] = from[i] as number; // end ≤ length
	return at;
}

/** `length` is a multiple of 4. */
function putWords(from: DataView, start: number, length: number, out: Slice, at: number): number {
	const { view } = out;
	for (let i = 0; i < length; i += 4) view.setInt32(at + i, from.getInt32(start + i));
	return at + length;
}

/** A whole number from 0 to 2^53−1 in decimal. */
function putWhole(value: number, out: Slice, at: number): number {
	if (value > 0x7fffffff) return at + out.bytes.write(String(Math.floor(value)), at, "latin1");
	let rest = value | 0;
	let digits = 1;
	for (let limit = 10; digits < 10 && rest >= limit; limit *= 10) digits++;
	for (let i = at + digits - 1; i >= at; i--) {
		const next = (rest / 10) | 0;
		out.bytes[i] = 0x30 + rest - next * 10;
		rest = next;
	}
	return at + digits;
}

/** Milliseconds with three decimals: microseconds. */
function putMs(ms: number, out: Slice, at: number): number {
	const micros = ms > 0 ? Math.round(ms * 1000) : 0;
	const whole = Math.floor(micros / 1000);
	const rest = micros - whole * 1000;
	at = putWhole(whole, out, at);
	out.bytes[at++] = 0x2e;
	out.bytes[at++] = 0x30 + ((rest / 100) | 0);
	out.bytes[at++] = 0x30 + (((rest / 10) | 0) % 10);
	out.bytes[at++] = 0x30 + (rest % 10);
	return at;
}

/**
 * The rest of a field that needs care. Ill-formed UTF-8 is replaced by U+FFFD as the WHATWG Encoding Standard does: one for each maximal part of a sequence
 * (Unicode 16, §3.9, table 3-7 tells which bytes may follow). With `isCut` an unfinished sequence at the end is left out: we have cut it ourselves.
 */
export function putEscaped(
	source: Buffer,
	start: number,
	end: number,
	isCut: boolean,
	out: Buffer,
	at: number,
): number {
	let i = start;
	while (i < end) {
		const byte = source[i] as number; // i < end ≤ length
		if (plain[byte] === 1) {
			out[at++] = byte;
			i++;
		} else if (byte === QUOTE || byte === 0x5c) {
			out[at++] = 0x5c;
			out[at++] = byte;
			i++;
		} else if (byte < 0x80) {
			at = putControl(byte, out, at);
			i++;
		} else {
			const length = sequenceLength(source, i, end);
			if (length > 0) {
				const second = source[i + 1] as number; // length ≥ 2
				if (byte === 0xc2 && second < 0xa0) at = putControl(second, out, at);
				else at = putRange(source, i, i + length, out, at);
				i += length;
			} else {
				if (isCut && i - length === end && isUnfinished(byte, -length)) break;
				out[at++] = 0xef;
				out[at++] = 0xbf;
				out[at++] = 0xbd;
				i -= length;
			}
		}
	}
	return at;
}

function putControl(code: number, out: Buffer, at: number): number {
	out[at] = 0x5c;
	out[at + 1] = 0x75;
	out[at + 2] = 0x30;
	out[at + 3] = 0x30;
	out[at + 4] = HEX[code >> 4] as number; // code < 0xa0
	out[at + 5] = HEX[code & 15] as number;
	return at + 6;
}

/** Bytes of the well-formed sequence that begins at `i` with a byte ≥ 0x80; else minus the bytes that one U+FFFD stands for. */
function sequenceLength(source: Buffer, i: number, end: number): number {
	const first = source[i] as number; // i < end
	const length = leadLength(first);
	if (length === 0) return -1;
	let least = 0x80;
	let most = 0xbf;
	if (first === 0xe0) least = 0xa0;
	else if (first === 0xed) most = 0x9f;
	else if (first === 0xf0) least = 0x90;
	else if (first === 0xf4) most = 0x8f;
	for (let n = 1; n < length; n++) {
		const next = i + n < end ? (source[i + n] as number) : 0;
		if (next < least || next > most) return -n;
		least = 0x80;
		most = 0xbf;
	}
	return length;
}

/** How long a sequence is that begins with this byte; 0: none does. */
function leadLength(first: number): number {
	if (first >= 0xc2 && first <= 0xdf) return 2;
	if (first >= 0xe0 && first <= 0xef) return 3;
	return first >= 0xf0 && first <= 0xf4 ? 4 : 0;
}

function isUnfinished(first: number, present: number): boolean {
	return leadLength(first) > present;
}
