import { ENDED_BY, type EndedBy, type ExchangeFacts } from "../bridge/exchange-record.ts";
import type { Settings } from "../config/settings.ts";
import type { Fault } from "../foundation/fault.ts";
import type { FieldNames } from "../http1/field-names.ts";
import { METHODS } from "../http1/methods.ts";
import { RequestHead } from "../http1/scan-head.ts";
import type { Peer } from "./forwarded.ts";
import type { Route } from "./route-table.ts";

const NO_BYTES = Buffer.alloc(0);

const endedByIndex = Object.fromEntries(ENDED_BY.map((name, index) => [name, index])) as Record<EndedBy, number>; // one per name

/**
 * All that is known about one request and its response. Exchanges are pooled: `begin` makes one new, `release` in `ExchangePool` takes it
 * back, and nothing may hold on to one after its record has been written.
 *
 * Offsets are into `headBytes`, which holds the request's head as it came for as long as the exchange lives.
 */
export class Exchange implements ExchangeFacts {
	readonly head: RequestHead;
	headBytes: Buffer = NO_BYTES;
	/** Index in `settings.inbound`. */
	inbound = 0;
	/** The other end of the client's connection. */
	peer: Peer | undefined = undefined;
	/** Of the client as far as it can be believed; of the peer until `identity` has run. */
	clientAddress = "";

	startedWallMs = 0;
	/** Monotonic ms of the first byte of the request, and of what follows; NaN: has not happened. */
	startedMs = 0;
	connectBeganMs = Number.NaN;
	sentMs = Number.NaN;
	answeredMs = Number.NaN;
	durationMs = 0;
	connectMs = Number.NaN;
	waitMs = Number.NaN;
	receiveMs = Number.NaN;

	method = "";
	methodId = 0;
	minorVersion = 1;
	status = 0;
	faultIndex = -1;
	endedBy = 0;
	state = 0;
	flags = 0;
	requestBodyBytes = 0;
	responseBodyBytes = 0;

	pathStart = 0;
	pathEnd = 0;
	queryStart = 0;
	queryEnd = 0;
	userAgentStart = 0;
	userAgentEnd = 0;

	requestIdBytes: Buffer = NO_BYTES;
	requestIdStart = 0;
	requestIdEnd = 0;
	correlationIdBytes: Buffer = NO_BYTES;
	correlationIdStart = 0;
	correlationIdEnd = 0;
	/** Trace id, server span, client span, parent span: 32 + 16 + 16 + 16 hex digits. */
	readonly traceBytes: Buffer = Buffer.alloc(80);
	readonly traceView = new DataView(this.traceBytes.buffer, this.traceBytes.byteOffset, 80);
	/** Whether `identity` has run: until then there is no id to answer with. */
	hasIdentity = false;
	/** Flags octet of the trace context (W3C Trace Context level 2 §3.2.2.5). */
	traceFlags = 0;

	/** The route for metrics; set by `route`, perhaps replaced by the app's hint. */
	routed: Route | undefined = undefined;
	/** Bounds of this request, by `policy`. */
	bodyBytesMax = 0;
	responseMs = Number.POSITIVE_INFINITY;
	/** The answer is ours and no fault: `OPTIONS` with `max-forwards: 0`. */
	isAnsweredHere = false;
	/** Whether the account has been opened: `account` ran and `onEnd` has not. */
	isCounted = false;
	/** Whether it has been counted as arrived: a malformed head is no less a request that came. */
	hasArrived = false;
	/** Whether it arrived when we had said that we leave. */
	arrivedLeaving = false;
	/** Whether it is over, and the last bytes of its answer still wait for the client; only looked at while we leave. */
	isUnsent = false;
	/** New value of Max-Forwards; −1: leave it. */
	maxForwards = -1;
	/** Whether it ended without an answer sent whole. */
	isCut = false;

	/**
	 * Lines that `identity` puts into the request, and where they end. The bytes belong to `identity` and are good until
	 * the present turn of the event loop is over: the head is written before that.
	 */
	lines: Buffer = NO_BYTES;
	linesEnd = 0;

	/** Room for ids that were made here; ids that came are ranges of `headBytes`. */
	readonly idRoom: Buffer = Buffer.alloc(36);

	constructor(settings: Settings, names: FieldNames) {
		this.head = new RequestHead(settings.limits, names);
	}

	get route(): string {
		return this.routed?.template ?? "";
	}

	/** Makes the exchange new. `wallMs`, `monotonicMs`: the clock at the first byte. */
	begin(inbound: number, peer: Peer, wallMs: number, monotonicMs: number, state: number): void {
		this.inbound = inbound;
		this.peer = peer;
		this.clientAddress = peer.address;
		this.startedWallMs = wallMs;
		this.startedMs = monotonicMs;
		this.connectBeganMs = Number.NaN;
		this.sentMs = Number.NaN;
		this.answeredMs = Number.NaN;
		this.durationMs = 0;
		this.connectMs = Number.NaN;
		this.waitMs = Number.NaN;
		this.receiveMs = Number.NaN;
		this.method = "";
		this.methodId = 0;
		this.minorVersion = 1;
		this.status = 0;
		this.faultIndex = -1;
		this.endedBy = 0;
		this.state = state;
		this.flags = 0;
		this.requestBodyBytes = 0;
		this.responseBodyBytes = 0;
		this.pathStart = 0;
		this.pathEnd = 0;
		this.queryStart = 0;
		this.queryEnd = 0;
		this.userAgentStart = 0;
		this.userAgentEnd = 0;
		this.requestIdStart = 0;
		this.requestIdEnd = 0;
		this.correlationIdStart = 0;
		this.correlationIdEnd = 0;
		this.hasIdentity = false;
		this.traceBytes[0] = 0; // none: nobody must be shown the ids of the exchange before
		this.traceFlags = 0;
		this.routed = undefined;
		this.bodyBytesMax = Number.POSITIVE_INFINITY;
		this.responseMs = Number.POSITIVE_INFINITY;
		this.isAnsweredHere = false;
		this.isCounted = false;
		this.hasArrived = false;
		this.arrivedLeaving = false;
		this.isUnsent = false;
		this.maxForwards = -1;
		this.isCut = false;
		this.linesEnd = 0;
	}

	/** Takes over what the head says, as far as it was understood: a malformed one may have got no further than its method. */
	readHead(): void {
		const head = this.head;
		if (head.methodEnd < 0) return;
		this.methodId = head.methodId;
		this.method = METHODS[head.methodId] ?? "_OTHER";
		this.minorVersion = head.minorVersion;
		if (head.targetEnd < 0) return;
		this.pathStart = Math.max(head.originStart, head.targetStart); // the origin-form, once its beginning is known
		this.pathEnd = Math.max(head.pathEnd, this.pathStart);
		this.queryStart = Math.min(this.pathEnd + 1, head.targetEnd);
		this.queryEnd = head.targetEnd;
	}

	/** Notes the first reason for which the exchange did not go well. */
	fail(fault: Fault, by: EndedBy): void {
		if (this.faultIndex >= 0) return;
		this.faultIndex = fault.index;
		this.endedBy = endedByIndex[by];
	}

	end(by: EndedBy): void {
		if (this.faultIndex < 0) this.endedBy = endedByIndex[by];
	}

	/** Forgets the bytes: a pooled exchange must not keep a client's buffers alive. */
	release(): void {
		this.headBytes = NO_BYTES;
		this.requestIdBytes = NO_BYTES;
		this.correlationIdBytes = NO_BYTES;
		this.lines = NO_BYTES;
		this.peer = undefined;
		this.routed = undefined;
	}
}

/** Exchanges that wait for their next request: never more than were in flight at once, and at most `keep`. */
export class ExchangePool {
	readonly #free: Exchange[] = [];
	readonly #make: () => Exchange;
	readonly #keep: number;

	constructor(make: () => Exchange, keep: number) {
		this.#make = make;
		this.#keep = keep;
	}

	take(): Exchange {
		return this.#free.pop() ?? this.#make();
	}

	give(x: Exchange): void {
		x.release();
		if (this.#free.length < this.#keep) this.#free.push(x);
	}
}
