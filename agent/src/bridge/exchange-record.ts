/**
 * One record per exchange: what a data thread tells the control thread. The data thread writes an `ExchangeFacts` into the ring as
 * fixed numbers and short runs of bytes; the control thread reads an `ExchangeRecord` with strings.
 */
import { BoundedMap } from "../foundation/bounded.ts";
import { METHODS } from "../http1/methods.ts";
import type { RecordRing } from "./record-ring.ts";

/** Who ended an exchange; the value of `ended_by` in the access line. The order is the wire order. */
export const ENDED_BY = ["client", "app", "agent", "limit", "timeout", "drain"] as const;
export type EndedBy = (typeof ENDED_BY)[number];

/** States of the agent (`lifecycle.md`). The order is the wire order. */
export const LIFECYCLE_STATES = [
	"starting",
	"ready",
	"unready",
	"announcing",
	"draining",
	"stopping",
	"stopped",
] as const;
export type LifecycleState = (typeof LIFECYCLE_STATES)[number];

/** Bits of `flags`. */
export const FLAG_SAMPLED = 1;
/** The request came from a probe or a health check. */
export const FLAG_PROBE = 2;
/** The request was sent to the app a second time. */
export const FLAG_RESENT = 4;
/** The upstream connection had carried an exchange before. */
export const FLAG_REUSED = 8;
/** The exchange became a tunnel by an Upgrade. */
export const FLAG_TUNNEL = 16;
/** Whole connection relayed as opaque bytes (HTTP/2 preface, `protocol: tcp`): has no request. */
export const FLAG_OPAQUE = 32;
/** The incoming `traceparent` was valid: `parentSpanId` is there. */
export const FLAG_PARENT = 64;
/** An event stream (`text/event-stream`). */
export const FLAG_EVENT_STREAM = 128;

/** What the data thread hands over. Offsets are into the Buffer named beside them; an empty range means absent. */
export interface ExchangeFacts {
	/** Index in `settings.inbound`. */
	readonly inbound: number;
	/** Wall clock at the first byte of the request, ms. */
	readonly startedWallMs: number;
	/** First byte of the request to the last byte of the response, ms. */
	readonly durationMs: number;
	/** Time to connect to the app; NaN when a connection was reused or none was made. */
	readonly connectMs: number;
	/** Request head sent to response head received; NaN when none came. */
	readonly waitMs: number;
	/** Response head received to its last byte; NaN when none came. */
	readonly receiveMs: number;
	/** Canonical method name, `_OTHER` for those not known; empty when the head was malformed before it was known. */
	readonly method: string;
	/** Index in `METHODS` of http1/methods.ts; looked at when `method` is not empty. */
	readonly methodId: number;
	readonly minorVersion: number;
	/** Status sent to the client; 0: none. */
	readonly status: number;
	/** Index in `FAULT_LIST`, −1: no fault. */
	readonly faultIndex: number;
	/** Index in `ENDED_BY`. */
	readonly endedBy: number;
	/** Index in `LIFECYCLE_STATES`. */
	readonly state: number;
	readonly flags: number;
	readonly requestBodyBytes: number;
	readonly responseBodyBytes: number;
	/** The request's head as it came. */
	readonly headBytes: Buffer;
	readonly pathStart: number;
	readonly pathEnd: number;
	/** Without the question mark. */
	readonly queryStart: number;
	readonly queryEnd: number;
	readonly userAgentStart: number;
	readonly userAgentEnd: number;
	readonly requestIdBytes: Buffer;
	readonly requestIdStart: number;
	readonly requestIdEnd: number;
	readonly correlationIdBytes: Buffer;
	readonly correlationIdStart: number;
	readonly correlationIdEnd: number;
	/** `traceBytes[0]` is 0 when there are no ids. Hex, lower case, ASCII, in this order and at these offsets: trace id 0–32, server span id 32–48, client span id 48–64, parent span id 64–80. */
	readonly traceBytes: Buffer;
	/** The same 80 bytes: eight at a time they are copied four times as quickly. */
	readonly traceView: DataView;
	readonly clientAddress: string;
	/** The route as it stands in the metrics; empty: none. */
	readonly route: string;
}

/** What the control thread reads: the same, as strings. */
export interface ExchangeRecord {
	/** Index of the data thread. */
	readonly thread: number;
	readonly inbound: number;
	readonly startedWallMs: number;
	readonly durationMs: number;
	readonly connectMs: number;
	readonly waitMs: number;
	readonly receiveMs: number;
	readonly method: string;
	readonly minorVersion: number;
	readonly status: number;
	readonly faultIndex: number;
	readonly endedBy: EndedBy;
	readonly state: LifecycleState;
	readonly flags: number;
	readonly requestBodyBytes: number;
	readonly responseBodyBytes: number;
	readonly path: string;
	readonly query: string;
	readonly userAgent: string;
	readonly requestId: string;
	readonly correlationId: string;
	readonly traceId: string;
	readonly spanId: string;
	readonly clientSpanId: string;
	/** Empty: none. */
	readonly parentSpanId: string;
	readonly clientAddress: string;
	readonly route: string;
}

/*
 * The layout, from the record's offset (a multiple of 8):
 *
 *   0 f64  startedWallMs     56 u16 status             68 u16 lengths of path, query, user agent, request id, correlation id,
 *   8 f64  durationMs        58 u16 faultIndex + 1            client address, route
 *  16 f64  connectMs         60 u16 flags              82     unused
 *  24 f64  waitMs            62 u8  method             88     trace id 32, server span id 16, client span id 16, parent span id 16
 *  32 f64  receiveMs         63 u8  minorVersion      168     the seven runs of bytes, in the order of their lengths
 *  40 f64  requestBodyBytes  64 u8  endedBy
 *  48 f64  responseBodyBytes 65 u8  state
 *                            66 u16 inbound
 */
const NUMBERS = 56;
const FLAGS = 60;
const LENGTHS = 68;
const TRACE = 88;
const TRACE_BYTES = 80;
const NO_METHOD = 255;
const RUNS = TRACE + TRACE_BYTES;
/** `log.fieldBytes` may be larger, a length is 16 bits. */
const LONGEST_FIELD_BYTES = 0xffff;

/** The memory in which a record lies: a `RecordRing`, or a copy. All views begin at the same byte. */
export interface RecordMemory {
	readonly bytes: Buffer;
	readonly f64: Float64Array;
	readonly u16: Uint16Array;
	readonly view: DataView;
}

/** Bytes that the largest record takes; rings must be much larger. */
export function recordBytesMax(fieldBytesMax: number): number {
	return RUNS + 7 * Math.min(fieldBytesMax, LONGEST_FIELD_BYTES);
}

/**
 * Data thread: one exchange into the ring; `false` when the ring is full, which it has counted. Strings longer than `fieldBytesMax` (`log.fieldBytes`) are
 * cut. ≤ 0.3 µs with everyday fields; allocates nothing.
 */
export function writeExchangeRecord(ring: RecordRing, facts: ExchangeFacts, fieldBytesMax: number): boolean {
	const max = fieldBytesMax < LONGEST_FIELD_BYTES ? fieldBytesMax : LONGEST_FIELD_BYTES;
	const path = bounded(facts.pathEnd - facts.pathStart, max);
	const query = bounded(facts.queryEnd - facts.queryStart, max);
	const userAgent = bounded(facts.userAgentEnd - facts.userAgentStart, max);
	const requestId = bounded(facts.requestIdEnd - facts.requestIdStart, max);
	const correlationId = bounded(facts.correlationIdEnd - facts.correlationIdStart, max);
	const clientText = encoded(facts.clientAddress);
	const clientAddress = bounded(clientText.length, max);
	const routeText = encoded(facts.route);
	const route = bounded(routeText.length, max);
	const length = RUNS + path + query + userAgent + requestId + correlationId + clientAddress + route;
	const offset = ring.reserve(length + 3); // texts are copied in words: the last may be three bytes too long
	if (offset < 0) return false;
	const { bytes, f64, u16, view } = ring;
	const number = offset >> 3;
	f64[number] = facts.startedWallMs;
	f64[number + 1] = facts.durationMs;
	f64[number + 2] = facts.connectMs;
	f64[number + 3] = facts.waitMs;
	f64[number + 4] = facts.receiveMs;
	f64[number + 5] = facts.requestBodyBytes;
	f64[number + 6] = facts.responseBodyBytes;
	const short = (offset + NUMBERS) >> 1;
	u16[short] = facts.status;
	u16[short + 1] = facts.faultIndex + 1;
	u16[short + 2] = facts.flags;
	bytes[offset + 62] = facts.method === "" ? NO_METHOD : facts.methodId;
	bytes[offset + 63] = facts.minorVersion;
	bytes[offset + 64] = facts.endedBy;
	bytes[offset + 65] = facts.state;
	u16[short + 5] = facts.inbound;
	u16[short + 6] = path;
	u16[short + 7] = query;
	u16[short + 8] = userAgent;
	u16[short + 9] = requestId;
	u16[short + 10] = correlationId;
	u16[short + 11] = clientAddress;
	u16[short + 12] = route;
	const { traceView } = facts;
	for (let i = 0; i < TRACE_BYTES; i += 8) view.setFloat64(offset + TRACE + i, traceView.getFloat64(i, true), true);
	let to = offset + RUNS;
	to = copy(facts.headBytes, facts.pathStart, path, bytes, to);
	to = copy(facts.headBytes, facts.queryStart, query, bytes, to);
	to = copy(facts.headBytes, facts.userAgentStart, userAgent, bytes, to);
	const requestIdAt = to;
	to = copy(facts.requestIdBytes, facts.requestIdStart, requestId, bytes, to);
	if (
		facts.correlationIdBytes === facts.requestIdBytes &&
		facts.correlationIdStart === facts.requestIdStart &&
		correlationId === requestId
	) {
		to = copyWithin(view, requestIdAt, requestId, to); // the usual case: one came or was made for both
	} else to = copy(facts.correlationIdBytes, facts.correlationIdStart, correlationId, bytes, to);
	to = copyText(clientText, clientAddress, view, to);
	copyText(routeText, route, view, to);
	ring.commit(length);
	return true;
}

function bounded(length: number, max: number): number {
	return length < max ? (length > 0 ? length : 0) : max;
}

/** Up to this many bytes a loop is quicker than the call of `Buffer.copy` into shared memory (measured in bench/records.ts). */
const LOOP_BYTES = 64;

function copy(from: Buffer, start: number, length: number, to: Buffer, at: number): number {
	if (length > LOOP_BYTES) from.copy(to, at, start, start + length);
	else for (let i = 0; i < length; i++) to[at + i] = from[start + i] as number; // a range of the facts lies in its Buffer
	return at + length;
}

function copyWithin(view: DataView, from: number, length: number, at: number): number {
	let i = 0;
	for (; i + 4 <= length; i += 4) view.setInt32(at + i, view.getInt32(from + i, true), true);
	for (; i < length; i++) view.setUint8(at + i, view.getUint8(from + i));
	return at + length;
}

/** A text as UTF-8, behind it at least three bytes that do not matter. */
interface EncodedText {
	readonly view: DataView;
	readonly length: number;
}

/** Routes and client addresses repeat: encoded once, they are copied in words, three times as quickly as character by character. */
const encodedTexts = new BoundedMap<string, EncodedText>(4096);

function encoded(text: string): EncodedText {
	let found = encodedTexts.get(text);
	if (found === undefined) {
		const length = Buffer.byteLength(text, "utf8");
		const bytes = Buffer.alloc(length + 3);
		bytes.write(text, "utf8");
		found = { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length), length };
		encodedTexts.set(text, found);
	}
	return found;
}

function copyText(text: EncodedText, length: number, view: DataView, at: number): number {
	for (let i = 0; i < length; i += 4) view.setInt32(at + i, text.view.getInt32(i, true), true);
	return at + length;
}

/**
 * A look at a record where it lies (so that every index below is one of the memory's: the casts only take back noUncheckedIndexedAccess). One view is used for all: `load` points it at the next one. Numbers are read when they are asked for, a run of bytes is known by
 * where it begins and ends in `memory.bytes`.
 */
export class RecordView {
	readonly memory: RecordMemory;
	offset = 0;
	pathStart = 0;
	/** Also where the query starts; and so on. */
	pathEnd = 0;
	queryEnd = 0;
	userAgentEnd = 0;
	requestIdEnd = 0;
	correlationIdEnd = 0;
	clientAddressEnd = 0;
	routeEnd = 0;

	constructor(memory: RecordMemory) {
		this.memory = memory;
	}

	/** Points at the record that begins at `offset`, a multiple of 8. */
	load(offset: number): this {
		const u16 = this.memory.u16;
		const lengths = (offset + LENGTHS) >> 1;
		this.offset = offset;
		this.pathStart = offset + RUNS;
		this.pathEnd = this.pathStart + (u16[lengths] as number);
		this.queryEnd = this.pathEnd + (u16[lengths + 1] as number);
		this.userAgentEnd = this.queryEnd + (u16[lengths + 2] as number);
		this.requestIdEnd = this.userAgentEnd + (u16[lengths + 3] as number);
		this.correlationIdEnd = this.requestIdEnd + (u16[lengths + 4] as number);
		this.clientAddressEnd = this.correlationIdEnd + (u16[lengths + 5] as number);
		this.routeEnd = this.clientAddressEnd + (u16[lengths + 6] as number);
		return this;
	}

	get startedWallMs(): number {
		return this.memory.f64[this.offset >> 3] as number;
	}

	get durationMs(): number {
		return this.memory.f64[(this.offset >> 3) + 1] as number;
	}

	get connectMs(): number {
		return this.memory.f64[(this.offset >> 3) + 2] as number;
	}

	get waitMs(): number {
		return this.memory.f64[(this.offset >> 3) + 3] as number;
	}

	get receiveMs(): number {
		return this.memory.f64[(this.offset >> 3) + 4] as number;
	}

	get requestBodyBytes(): number {
		return this.memory.f64[(this.offset >> 3) + 5] as number;
	}

	get responseBodyBytes(): number {
		return this.memory.f64[(this.offset >> 3) + 6] as number;
	}

	get status(): number {
		return this.memory.u16[(this.offset + NUMBERS) >> 1] as number;
	}

	get faultIndex(): number {
		return (this.memory.u16[(this.offset + NUMBERS + 2) >> 1] as number) - 1;
	}

	get flags(): number {
		return this.memory.u16[(this.offset + FLAGS) >> 1] as number;
	}

	/** Index in `METHODS` of http1/methods.ts; 255: not known. */
	get method(): number {
		return this.memory.bytes[this.offset + 62] as number;
	}

	get minorVersion(): number {
		return this.memory.bytes[this.offset + 63] as number;
	}

	/** Index in `ENDED_BY`. */
	get endedBy(): number {
		return this.memory.bytes[this.offset + 64] as number;
	}

	/** Index in `LIFECYCLE_STATES`. */
	get state(): number {
		return this.memory.bytes[this.offset + 65] as number;
	}

	get inbound(): number {
		return this.memory.u16[(this.offset + 66) >> 1] as number;
	}

	/** Where the 32 hex digits of the trace id begin; the server span's 16 follow, the client span's 16, the parent's 16. */
	get traceStart(): number {
		return this.offset + TRACE;
	}

	get hasTrace(): boolean {
		return this.memory.bytes[this.offset + TRACE] !== 0;
	}

	/** Bytes from `offset` to the record's end. */
	get length(): number {
		return this.routeEnd - this.offset;
	}
}

/** Control thread: a record as an object with strings: for spans and `outrigger why`, not for each access line. */
export function readExchangeRecord(view: RecordView, thread: number): ExchangeRecord {
	const bytes = view.memory.bytes;
	const trace = view.traceStart;
	const hasTrace = view.hasTrace;
	return {
		thread,
		inbound: view.inbound,
		startedWallMs: view.startedWallMs,
		durationMs: view.durationMs,
		connectMs: view.connectMs,
		waitMs: view.waitMs,
		receiveMs: view.receiveMs,
		method: METHODS[view.method] ?? "",
		minorVersion: view.minorVersion,
		status: view.status,
		faultIndex: view.faultIndex,
		endedBy: ENDED_BY[view.endedBy] ?? "agent",
		state: LIFECYCLE_STATES[view.state] ?? "stopped",
		flags: view.flags,
		requestBodyBytes: view.requestBodyBytes,
		responseBodyBytes: view.responseBodyBytes,
		path: bytes.toString("utf8", view.pathStart, view.pathEnd),
		query: bytes.toString("utf8", view.pathEnd, view.queryEnd),
		userAgent: bytes.toString("utf8", view.queryEnd, view.userAgentEnd),
		requestId: bytes.toString("latin1", view.userAgentEnd, view.requestIdEnd),
		correlationId: bytes.toString("latin1", view.requestIdEnd, view.correlationIdEnd),
		traceId: hasTrace ? bytes.toString("latin1", trace, trace + 32) : "",
		spanId: hasTrace ? bytes.toString("latin1", trace + 32, trace + 48) : "",
		clientSpanId: hasTrace ? bytes.toString("latin1", trace + 48, trace + 64) : "",
		parentSpanId: !hasTrace || (view.flags & FLAG_PARENT) === 0 ? "" : bytes.toString("latin1", trace + 64, trace + 80),
		clientAddress: bytes.toString("latin1", view.correlationIdEnd, view.clientAddressEnd),
		route: bytes.toString("utf8", view.clientAddressEnd, view.routeEnd),
	};
}
