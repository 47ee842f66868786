import { CELL, type Counters } from "../../bridge/counters.ts";
import { FLAG_PARENT, FLAG_SAMPLED } from "../../bridge/exchange-record.ts";
import type { Settings } from "../../config/settings.ts";
import type { Clock } from "../../foundation/clock.ts";
import { FIELD, type FieldNames } from "../../http1/field-names.ts";
import { MARK } from "../../http1/scan-fields.ts";
import { type IdSource, isValidId, UUID_BYTES } from "../../telemetry/ids.ts";
import {
	CLIENT_SPAN_AT,
	countTracestateMembers,
	newSpanIds,
	newTrace,
	parseTraceparent,
	type Sampler,
	TRACE_SAMPLED,
	TRACEPARENT_BYTES,
	writeTraceparent,
} from "../../telemetry/trace-context.ts";
import type { Exchange } from "../exchange.ts";
import { ForwardedFields, forwardedKind } from "../forwarded.ts";

const ascii = (text: string): Buffer => Buffer.from(text, "latin1");
const TRACEPARENT = ascii("traceparent: ");
const VIA = ascii("via: 1.1 outrigger\r\n");
const CR = 0x0d;
const LF = 0x0a;

/**
 * Who a request is: trace context (W3C level 2), request and correlation id, forwarded fields. It reads accepted fields only, marks those lines
 * that must not reach the app, and leaves the lines that take their place in `x.lines`.
 *
 * Rules: `data-path.md`, Identity. An id that came is kept byte for byte; one that is missing takes the other's value; when there
 * is none, a UUIDv7. More than one line of an id field is as none: nobody could say which of them is meant.
 */
export class Identity {
	readonly #trust: boolean;
	readonly #via: boolean;
	readonly #requestIdField: number;
	readonly #correlationIdField: number;
	readonly #requestIdName: Buffer;
	readonly #correlationIdName: Buffer;
	readonly #ids: IdSource;
	readonly #sampler: Sampler;
	readonly #clock: Clock;
	readonly #counters: Counters;
	readonly #forwarded: ForwardedFields;
	#lines = Buffer.allocUnsafeSlow(2048);

	constructor(
		settings: Pick<Settings, "identity" | "limits">,
		names: FieldNames,
		ids: IdSource,
		sampler: Sampler,
		clock: Clock,
		counters: Counters,
	) {
		const { identity, limits } = settings;
		const requestId = identity.headers[0] ?? "x-request-id";
		const correlationId = identity.headers[1] ?? requestId;
		this.#trust = identity.trust;
		this.#via = identity.via;
		this.#requestIdField = names.idOf(requestId);
		this.#correlationIdField = names.idOf(correlationId);
		this.#requestIdName = ascii(`${requestId}: `);
		this.#correlationIdName = ascii(`${correlationId}: `);
		this.#ids = ids;
		this.#sampler = sampler;
		this.#clock = clock;
		this.#counters = counters;
		this.#forwarded = new ForwardedFields(identity, limits.headersMax);
	}

	/** The phase. */
	identify(x: Exchange): void {
		const fields = x.head.fields;
		const bytes = x.headBytes;
		const forwarded = this.#forwarded;
		forwarded.begin();
		let hasForwarded = false;
		for (let i = 0; i < fields.count; i++) {
			const id = fields.fieldId(i);
			if (id === FIELD.USER_AGENT) {
				x.userAgentStart = fields.valueStart(i);
				x.userAgentEnd = fields.valueEnd(i);
				continue;
			}
			const kind = forwardedKind(bytes, fields.nameStart(i), fields.nameEnd(i));
			if (kind === 0) continue;
			hasForwarded = true;
			if (forwarded.note(kind, bytes, fields.valueStart(i), fields.valueEnd(i))) fields.setMark(i, MARK.REPLACED);
		}
		this.#traceContext(x);
		this.#readIds(x);
		const peer = x.peer;
		if (hasForwarded && peer !== undefined) x.clientAddress = forwarded.clientAddress(bytes, peer);
		this.#writeLines(x);
	}

	/** Identity of an exchange that was refused before `identify` could run: nothing of a malformed head is believed. */
	identifyAnew(x: Exchange): void {
		newTrace(x.traceBytes, this.#ids);
		newSpanIds(x.traceBytes, this.#ids);
		this.#newIds(x);
		x.hasIdentity = true;
	}

	#traceContext(x: Exchange): void {
		const fields = x.head.fields;
		const bytes = x.headBytes;
		const at = fields.first(FIELD.TRACEPARENT);
		const parentFlags =
			this.#trust && at >= 0 && fields.countOf(FIELD.TRACEPARENT) === 1
				? parseTraceparent(bytes, fields.valueStart(at), fields.valueEnd(at), x.traceBytes)
				: -1;
		for (let i = at; i >= 0; i = fields.next(FIELD.TRACEPARENT, i)) fields.setMark(i, MARK.REPLACED);
		if (parentFlags < 0) newTrace(x.traceBytes, this.#ids);
		else x.flags |= FLAG_PARENT;
		this.#tracestate(x, parentFlags >= 0);
		newSpanIds(x.traceBytes, this.#ids);
		const before = this.#sampler.overCap;
		x.traceFlags = this.#sampler.decide(x.traceBytes, parentFlags);
		if (this.#sampler.overCap !== before) this.#counters.add(CELL.FORCED_SAMPLES_REFUSED, 1);
		if ((x.traceFlags & TRACE_SAMPLED) !== 0) x.flags |= FLAG_SAMPLED;
		if (!this.#trust) {
			for (let i = fields.first(FIELD.BAGGAGE); i >= 0; i = fields.next(FIELD.BAGGAGE, i))
				fields.setMark(i, MARK.REPLACED);
		}
	}

	/** All lines of `tracestate` stay, or all go (level 2 §3.3.1). */
	#tracestate(x: Exchange, isContinued: boolean): void {
		const fields = x.head.fields;
		const first = fields.first(FIELD.TRACESTATE);
		if (first < 0) return;
		let members = isContinued ? 0 : -1;
		for (let i = first; i >= 0 && members >= 0; i = fields.next(FIELD.TRACESTATE, i)) {
			members = countTracestateMembers(x.headBytes, fields.valueStart(i), fields.valueEnd(i), members);
		}
		if (members > 0) return;
		for (let i = first; i >= 0; i = fields.next(FIELD.TRACESTATE, i)) fields.setMark(i, MARK.REPLACED);
	}

	#readIds(x: Exchange): void {
		const fields = x.head.fields;
		const request = this.#usable(x, this.#requestIdField);
		const correlation =
			this.#correlationIdField === this.#requestIdField ? request : this.#usable(x, this.#correlationIdField);
		x.hasIdentity = true;
		if (request < 0 && correlation < 0) {
			this.#newIds(x);
			return;
		}
		const requestFrom = request >= 0 ? request : correlation;
		const correlationFrom = correlation >= 0 ? correlation : request;
		x.requestIdBytes = x.headBytes;
		x.requestIdStart = fields.valueStart(requestFrom);
		x.requestIdEnd = fields.valueEnd(requestFrom);
		x.correlationIdBytes = x.headBytes;
		x.correlationIdStart = fields.valueStart(correlationFrom);
		x.correlationIdEnd = fields.valueEnd(correlationFrom);
	}

	/** Index of the one valid line of an id field, −1 when there is none. Its lines are marked when they cannot stay. */
	#usable(x: Exchange, field: number): number {
		const fields = x.head.fields;
		const at = fields.first(field);
		if (at < 0) return -1;
		if (
			this.#trust &&
			fields.countOf(field) === 1 &&
			isValidId(x.headBytes, fields.valueStart(at), fields.valueEnd(at))
		) {
			return at;
		}
		for (let i = at; i >= 0; i = fields.next(field, i)) fields.setMark(i, MARK.REPLACED);
		return -1;
	}

	#newIds(x: Exchange): void {
		this.#ids.writeUuid7(x.idRoom, 0, Math.floor(this.#clock.wallMs()));
		x.requestIdBytes = x.idRoom;
		x.requestIdStart = 0;
		x.requestIdEnd = UUID_BYTES;
		x.correlationIdBytes = x.idRoom;
		x.correlationIdStart = 0;
		x.correlationIdEnd = UUID_BYTES;
	}

	#writeLines(x: Exchange): void {
		const head = x.head;
		const fields = head.fields;
		const peer = x.peer;
		const hostAt = fields.first(FIELD.HOST);
		const isAbsolute = head.authorityEnd > head.authorityStart;
		const hostStart = isAbsolute ? head.authorityStart : hostAt >= 0 ? fields.valueStart(hostAt) : 0;
		const hostEnd = isAbsolute ? head.authorityEnd : hostAt >= 0 ? fields.valueEnd(hostAt) : 0;
		const forwardedMax = peer === undefined ? 0 : this.#forwarded.bytesMax(peer, hostEnd - hostStart);
		const ids = x.requestIdEnd - x.requestIdStart + (x.correlationIdEnd - x.correlationIdStart);
		const names = this.#requestIdName.length + this.#correlationIdName.length + TRACEPARENT.length + VIA.length;
		const need = forwardedMax + ids + names + TRACEPARENT_BYTES + 6;
		if (this.#lines.length < need) this.#lines = Buffer.allocUnsafeSlow(need * 2); // bounded: nothing here is longer than the head
		const lines = this.#lines;
		let end = put(lines, 0, TRACEPARENT, 0, TRACEPARENT.length);
		end = writeTraceparent(lines, end, x.traceBytes, CLIENT_SPAN_AT, x.traceFlags);
		end = putLineEnd(lines, end);
		if (!this.#stays(x, this.#requestIdField)) {
			end = put(lines, end, this.#requestIdName, 0, this.#requestIdName.length);
			end = put(lines, end, x.requestIdBytes, x.requestIdStart, x.requestIdEnd);
			end = putLineEnd(lines, end);
		}
		if (this.#correlationIdField !== this.#requestIdField && !this.#stays(x, this.#correlationIdField)) {
			end = put(lines, end, this.#correlationIdName, 0, this.#correlationIdName.length);
			end = put(lines, end, x.correlationIdBytes, x.correlationIdStart, x.correlationIdEnd);
			end = putLineEnd(lines, end);
		}
		if (peer !== undefined) end = this.#forwarded.write(lines, end, peer, x.headBytes, hostStart, hostEnd);
		if (this.#via) end = put(lines, end, VIA, 0, VIA.length);
		x.lines = lines;
		x.linesEnd = end;
	}

	#stays(x: Exchange, field: number): boolean {
		const at = x.head.fields.first(field);
		return at >= 0 && x.head.fields.mark(at) === MARK.FORWARD;
	}
}

/** A loop, not `copy`: these runs are short, and the call into the runtime costs more than forty bytes do. */
const put = (target: Buffer, offset: number, source: Buffer, start: number, end: number): number => {
	let at = offset;
	for (let i = start; i < end; i++) target[at++] = source[i] as number; // start, end are places in source
	return at;
};

const putLineEnd = (target: Buffer, at: number): number => {
	target[at] = CR;
	target[at + 1] = LF;
	return at + 2;
};
