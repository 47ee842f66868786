/**
 * Reads messages with the parsers of `http1/` and tells all that was found as one plain value, so that two readings can be
 * compared: whole, at every split point, byte by byte, moved to another offset.
 */
import assert from "node:assert/strict";
import type { Fault } from "../../src/foundation/fault.ts";
import { type BodySide, ChunkedScanner, DATA } from "../../src/http1/chunked.ts";
import { FieldNames } from "../../src/http1/field-names.ts";
import type { HeadLimits } from "../../src/http1/limits.ts";
import {
	COMPLETE,
	FRAMING,
	INCOMPLETE,
	RequestHead,
	ResponseHead,
	type ScanResult,
} from "../../src/http1/scan-head.ts";

export const LIMITS: HeadLimits = { headBytesMax: 65536, headersMax: 128, targetBytesMax: 16384 };
/** With the names that the default configuration adds. */
export const NAMES = new FieldNames(["x-request-id", "x-correlation-id", "x-tenant-id"]);

export interface Reading {
	/** `complete`, `incomplete`, or the reason of the Fault. */
	readonly verdict: string;
	/** All offsets, relative to the start, and what was settled; only for complete heads. */
	readonly found: Readonly<Record<string, unknown>> | undefined;
}

export function verdictOf(result: ScanResult | Fault): string {
	return result === COMPLETE ? "complete" : result === INCOMPLETE ? "incomplete" : result.reason;
}

interface FieldReading {
	readonly name: string;
	readonly value: string;
	readonly id: number;
	readonly mark: number;
	readonly line: string;
}

function fieldsOf(head: RequestHead | ResponseHead, bytes: Buffer): readonly FieldReading[] {
	const fields: FieldReading[] = [];
	for (let i = 0; i < head.fieldCount; i++) {
		fields.push({
			name: bytes.toString("latin1", head.nameStart(i), head.nameEnd(i)),
			value: bytes.toString("latin1", head.valueStart(i), head.valueEnd(i)),
			id: head.fieldId(i),
			mark: head.mark(i),
			line: bytes.toString("latin1", head.lineStart(i), head.lineEnd(i)),
		});
	}
	return fields;
}

function foundInRequest(head: RequestHead, bytes: Buffer): Reading["found"] {
	const from = head.start;
	return {
		length: head.end - from,
		method: bytes.toString("latin1", head.methodStart, head.methodEnd),
		methodId: head.methodId,
		target: bytes.toString("latin1", head.targetStart, head.targetEnd),
		targetForm: head.targetForm,
		authority:
			head.authorityStart === -1 ? undefined : bytes.toString("latin1", head.authorityStart, head.authorityEnd),
		path:
			(head.originPrefix === 0 ? "" : String.fromCharCode(head.originPrefix)) +
			bytes.toString("latin1", head.originStart, head.pathEnd),
		minorVersion: head.minorVersion,
		startLine: bytes.toString("latin1", from, head.startLineEnd),
		framing: head.framing,
		contentLength: head.contentLength,
		keepAlive: head.keepAlive,
		expectsContinue: head.expectsContinue,
		upgradeAsked: head.upgradeAsked,
		isH2cUpgrade: head.isH2cUpgrade,
		teTrailers: head.teTrailers,
		fields: fieldsOf(head, bytes),
	};
}

function foundInResponse(head: ResponseHead, bytes: Buffer): Reading["found"] {
	return {
		length: head.end - head.start,
		status: head.status,
		reason: bytes.toString("latin1", head.reasonStart, head.reasonEnd),
		minorVersion: head.minorVersion,
		startLine: bytes.toString("latin1", head.start, head.startLineEnd),
		framing: head.framing,
		contentLength: head.contentLength,
		keepAlive: head.keepAlive,
		keepAliveTimeoutSeconds: head.keepAliveTimeoutSeconds,
		isUpgrade: head.isUpgrade,
		isH2cUpgrade: head.isH2cUpgrade,
		isInformational: head.isInformational,
		fields: fieldsOf(head, bytes),
	};
}

/** Feeds bytes[start..] in pieces that end at `cuts` (ascending) and at the end. */
function feed(head: RequestHead | ResponseHead, bytes: Buffer, cuts: readonly number[]): ScanResult {
	for (const cut of cuts) {
		const result = head.scan(bytes, cut);
		if (result !== INCOMPLETE) {
			// What was said is said: more bytes change nothing.
			assert.equal(head.scan(bytes, bytes.length), result);
			return result;
		}
	}
	return head.scan(bytes, bytes.length);
}

export function readRequest(
	bytes: Buffer,
	cuts: readonly number[] = [],
	start = 0,
	head: RequestHead = new RequestHead(LIMITS, NAMES),
): Reading {
	head.reset(start);
	const result = feed(head, bytes, cuts);
	const hasAll = result === COMPLETE || (result !== INCOMPLETE && result.reason === "method_not_allowed");
	return { verdict: verdictOf(result), found: hasAll ? foundInRequest(head, bytes) : undefined };
}

export function readResponse(
	bytes: Buffer,
	methodId: number,
	cuts: readonly number[] = [],
	start = 0,
	head: ResponseHead = new ResponseHead(LIMITS, NAMES),
): Reading {
	head.reset(start, methodId);
	const result = feed(head, bytes, cuts);
	return { verdict: verdictOf(result), found: result === COMPLETE ? foundInResponse(head, bytes) : undefined };
}

export interface BodyReading {
	readonly verdict: string;
	readonly payload: string;
	readonly consumed: number;
	readonly trailers: string;
}

/** De-chunks bytes that arrive in pieces; each piece is a copy of its own, because nothing may be read again. */
export function readChunked(
	bytes: Buffer,
	cuts: readonly number[] = [],
	side: BodySide = "request",
	scanner: ChunkedScanner = new ChunkedScanner(LIMITS, NAMES, side),
): BodyReading {
	scanner.reset();
	const ends = [...cuts, bytes.length];
	let payload = "";
	let begin = 0;
	let result: ReturnType<ChunkedScanner["next"]> = INCOMPLETE;
	for (const end of ends) {
		const piece = Buffer.from(bytes.subarray(begin, end));
		let from = 0;
		do {
			result = scanner.next(piece, from, piece.length);
			if (result === DATA) payload += piece.toString("latin1", scanner.dataStart, scanner.dataEnd);
			from = scanner.position;
		} while (result === DATA);
		if (result !== INCOMPLETE) {
			const isComplete = result === COMPLETE;
			return {
				verdict: verdictOf(result),
				payload,
				consumed: isComplete ? begin + from : -1,
				trailers: isComplete ? scanner.trailerSection().toString("latin1") : "",
			};
		}
		assert.equal(from, piece.length, "an incomplete body uses all its bytes");
		begin = end;
	}
	return { verdict: "incomplete", payload, consumed: begin, trailers: "" };
}

/** Asserts that a reading is the same whole, at every split point, byte by byte, and returns it. */
export function sameAtEverySplit<T>(bytes: Buffer, read: (cuts: readonly number[]) => T): T {
	const whole = read([]);
	for (let cut = 0; cut <= bytes.length; cut++) {
		assert.deepEqual(read([cut]), whole, `split at ${cut} of ${JSON.stringify(bytes.toString("latin1"))}`);
	}
	const each = Array.from({ length: bytes.length }, (_, i) => i + 1);
	assert.deepEqual(read(each), whole, `byte by byte: ${JSON.stringify(bytes.toString("latin1"))}`);
	return whole;
}

/** A request at every split point, with one reused head, and at another offset. */
export function requestAtEverySplit(text: string | Buffer, limits: HeadLimits = LIMITS): Reading {
	const bytes = typeof text === "string" ? Buffer.from(text, "latin1") : text;
	const head = new RequestHead(limits, NAMES);
	const reading = sameAtEverySplit(bytes, (cuts) => readRequest(bytes, cuts, 0, head));
	const moved = Buffer.concat([Buffer.from("G\r\n x"), bytes]);
	assert.deepEqual(readRequest(moved, [], 5, head), reading, "at another offset");
	return reading;
}

export function responseAtEverySplit(text: string | Buffer, methodId: number, limits: HeadLimits = LIMITS): Reading {
	const bytes = typeof text === "string" ? Buffer.from(text, "latin1") : text;
	const head = new ResponseHead(limits, NAMES);
	const reading = sameAtEverySplit(bytes, (cuts) => readResponse(bytes, methodId, cuts, 0, head));
	const moved = Buffer.concat([Buffer.from("H\r\n x"), bytes]);
	assert.deepEqual(readResponse(moved, methodId, [], 5, head), reading, "at another offset");
	return reading;
}

export function chunkedAtEverySplit(
	text: string | Buffer,
	side: BodySide = "request",
	limits: HeadLimits = LIMITS,
): BodyReading {
	const bytes = typeof text === "string" ? Buffer.from(text, "latin1") : text;
	const scanner = new ChunkedScanner(limits, NAMES, side);
	const reading = sameAtEverySplit(bytes, (cuts) => readChunked(bytes, cuts, side, scanner));
	// Checking on the way through gives the same as taking the framing off.
	scanner.reset();
	const result = scanner.scan(bytes, 0, bytes.length);
	assert.equal(verdictOf(result), reading.verdict);
	if (result === COMPLETE) assert.equal(scanner.position, reading.consumed);
	return reading;
}

/** The verdict on a whole message: of its head, and if that is complete, of its body. `open` ends with the connection. */
function messageVerdict(head: Reading, bytes: Buffer, start: number, cuts: readonly number[], side: BodySide): string {
	const found = head.found;
	if (head.verdict !== "complete" || found === undefined) return head.verdict;
	const bodyStart = start + Number(found["length"]);
	switch (found["framing"]) {
		case FRAMING.LENGTH:
			return bytes.length - bodyStart >= Number(found["contentLength"]) ? "complete" : "incomplete";
		case FRAMING.CHUNKED: {
			const body = bytes.subarray(bodyStart);
			const inBody = cuts.map((cut) => cut - bodyStart).filter((cut) => cut > 0);
			return readChunked(body, inBody, side).verdict;
		}
		case FRAMING.CLOSE:
			return "open";
		default:
			return "complete";
	}
}

/** The verdict on the first request in the bytes, with its body. */
export function readRequestMessage(bytes: Buffer, cuts: readonly number[] = []): string {
	const begin = bytes[0] === 0x0d && bytes[1] === 0x0a ? 2 : 0; // one empty line is no part of the head
	return messageVerdict(readRequest(bytes, cuts), bytes, begin, cuts, "request");
}

/** The verdict on the first response in the bytes, with its body. */
export function readResponseMessage(bytes: Buffer, methodId: number, cuts: readonly number[] = []): string {
	return messageVerdict(readResponse(bytes, methodId, cuts), bytes, 0, cuts, "response");
}
