import { CELL, type Counters } from "../bridge/counters.ts";
import { type EndedBy, FLAG_EVENT_STREAM, FLAG_OPAQUE, FLAG_PROBE, FLAG_TUNNEL } from "../bridge/exchange-record.ts";
import type { InboundSettings, Settings } from "../config/settings.ts";
import type { Answers } from "../exchange/answers.ts";
import type { Exchange, ExchangePool } from "../exchange/exchange.ts";
import type { RequestTaker, ResponseTaker } from "../exchange/exchange-events.ts";
import type { Peer } from "../exchange/forwarded.ts";
import type { Account } from "../exchange/phases/account.ts";
import type { Phase } from "../exchange/phases.ts";
import { type ByteStream, reset } from "../foundation/byte-stream.ts";
import { FAULTS, type Fault } from "../foundation/fault.ts";
import type { TurnClock } from "../foundation/turn-clock.ts";
import { BATCH_BYTES_MAX, type WriteBatch } from "../foundation/write-batch.ts";
import { FRAMING } from "../http1/body-framing.ts";
import { ChunkedScanner } from "../http1/chunked.ts";
import type { FieldNames } from "../http1/field-names.ts";
import { METHOD } from "../http1/methods.ts";
import { COMPLETE, INCOMPLETE } from "../http1/scan-result.ts";
import type { Budget } from "./budget.ts";

/** What all connections of a data thread have in common. */
export interface ConnectionParts {
	readonly settings: Settings;
	readonly names: FieldNames;
	readonly clock: TurnClock;
	readonly batch: WriteBatch;
	readonly counters: Counters;
	readonly exchanges: ExchangePool;
	readonly phases: readonly Phase[];
	readonly answers: Answers;
	readonly budget: Budget;
	/** Sees to the ids of an exchange that was refused before the identity phase. */
	readonly identify: (x: Exchange) => void;
	/** The way to the app for one exchange. */
	readonly forward: (inbound: number) => RequestTaker;
	/** The way to the app for a connection that is relayed as it is. */
	readonly relay: (inbound: number) => RequestTaker;
	/** The one end of every exchange: counted, recorded, given back. */
	readonly finish: (x: Exchange) => void;
	/** Told of what becomes of an exchange beside its beginning and its end. */
	readonly account: Pick<Account, "upgraded" | "refusedUnread" | "unsent" | "sent" | "unsentLost">;
	/** A mistake of ours was caught: counted and told. The exchange and its connection are ended by who caught it. */
	readonly mistake: (error: unknown) => void;
	/** Whether the agent is leaving: each answer is then the connection's last. */
	readonly isLeaving: () => boolean;
	/** Index in `LIFECYCLE_STATES`. */
	readonly lifecycleState: () => number;
}

type State = "idle" | "head" | "exchange" | "linger" | "tunnel" | "closed";

/** Smallest buffer for a head that does not come in one piece. */
const HEAD_ROOM_BYTES = 1024;
/** A head whose chunk is so much larger than itself is copied out of it, so that a long exchange does not keep the chunk. */
const HEAD_COPY_BYTES = 8 * 1024;
const HEAD_END = Buffer.from("\r\n\r\n");
const HTTP2_PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const NO_BYTES = Buffer.alloc(0);

/**
 * One client's HTTP/1.x connection: requests one after the other, answers in their order.
 *
 * ```
 *          first byte           head complete, phases passed
 *   idle ────────────► head ───────────────────────────────► exchange ──── 101 ────► tunnel
 *    ▲                  │ Fault                                │   │                   │
 *    │                  └──────► answer ◄──────────────────────┘   │ the connection    │ both halves over
 *    │                             │                               │ ends with it      ▼
 *    └──── response and request whole, both sides stay ────────────┴──► linger ───► closed
 * ```
 *
 * * *head*: bytes are held until the blank line, at most `limits.head`, at most `timeouts.head`.
 * * *exchange*: request bytes go to the app as they come, framed as they came; what comes after the request waits (pipelining) with
 *   at most `limits.pipeline` requests, then the socket is not read. A FIN of the client is an abort (`connections.halfClose`).
 * * *linger*: the answer is out, FIN is sent, and what still comes is discarded: closing with unread bytes would make the kernel
 *   send RST and the client lose its answer (RFC 9112 §9.6). Beyond `limits.lingerBytes` nothing more is read; `timeouts.linger` ends it.
 *
 * Back-pressure is kept both ways: whoever cannot take stops whoever sends. All deadlines of the connection are one number that
 * `expire` looks at a few times a second.
 *
 * Every door through which an event comes in catches: an exception ends the exchange in which it was thrown with 500 and closes this
 * connection, and no other (`lifecycle.md`, the agent's own faults).
 */
export class Http1Connection implements ResponseTaker {
	readonly #socket: ByteStream;
	readonly #parts: ConnectionParts;
	readonly #inbound: number;
	readonly #protocol: InboundSettings["protocol"];
	readonly #peer: Peer;
	readonly #onClosed: (connection: Http1Connection) => void;
	readonly #openedMs: number;
	#state: State = "idle";
	/** Monotonic ms; Infinity: nothing is waited for. */
	#deadlineMs: number;
	#x: Exchange | undefined;
	#request: RequestTaker | undefined;
	/** Bytes of an unfinished head, in a buffer that may be larger than `#heldBytes`. */
	#held: Buffer | undefined;
	#heldBytes = 0;
	/** Bytes after the present request. */
	#ahead: Buffer | undefined;
	/** Requests that `#ahead` holds, as far as blank lines tell. */
	#aheadRequests = 0;
	/** Bytes of the budget that are ours: held for reading, and waiting to be written. */
	#budgeted = 0;
	#unwritten = 0;
	/** Bytes of the budget that the present exchange has: its head as it came, and as it goes out. */
	#exchangeBytes = 0;
	/** What waited to be written at the last look, and since when it has not become less, monotonic ms. */
	#seenUnwritten = 0;
	#stuckSinceMs = 0;
	#bodyLeft = 0;
	#chunked: ChunkedScanner | undefined;
	#requestIsWhole = true;
	#responseBegan = false;
	/** The client has said `Expect: 100-continue` and nothing else: it is the app that is waited for. */
	#awaitsContinue = false;
	#closes = false;
	#isPaused = false;
	#isFeeding = false;
	#peerEnded = false;
	#weEnded = false;
	#lingered = 0;
	/** Monotonic ms since which nothing has been asked. */
	#idleSinceMs: number;
	/** Closed because it was idle, and nothing has come since. */
	#wasIdle = false;
	/** Whether the last exchange ended with an answer of the app, for which a drain waits to its last byte. */
	#lastWasWhole = false;
	/** While we leave: such an answer is over and counted as in flight, for its last bytes wait for the client; and whether its exchange arrived when we left. */
	#isUnsent = false;
	#unsentArrivedLeaving = false;
	/** What of an HTTP/2 preface has come on a connection that has said nothing else; `null`: it has said something else. */
	#preface: Buffer | null | undefined;

	constructor(
		socket: ByteStream,
		parts: ConnectionParts,
		inbound: number,
		peer: Peer,
		onClosed: (connection: Http1Connection) => void,
	) {
		this.#socket = socket;
		this.#parts = parts;
		this.#inbound = inbound;
		this.#peer = peer;
		this.#onClosed = onClosed;
		this.#protocol = parts.settings.inbound[inbound]?.protocol ?? "auto";
		this.#openedMs = parts.clock.monotonicMs();
		this.#idleSinceMs = this.#openedMs;
		this.#deadlineMs = this.#openedMs + parts.settings.timeouts.idleMs;
		socket.on("data", (bytes) => this.receive(bytes));
		socket.on("end", () => {
			try {
				this.#onEnd();
			} catch (error) {
				this.#onMistake(error);
			}
		});
		socket.on("drain", () => this.#onDrain());
		socket.on("timeout", () => this.#onWriteStall());
		socket.on("error", () => this.#onGone());
		socket.on("close", () => this.#onGone());
	}

	/** Relays the connection as opaque bytes from here on: `protocol: tcp`, or an HTTP/2 preface, which `first` then holds. */
	relay(first: Buffer | undefined): void {
		try {
			this.#relay(first === undefined ? undefined : this.#keep(first));
		} catch (error) {
			this.#onMistake(error);
		}
	}

	#relay(first: Buffer | undefined): void {
		const x = this.#begin();
		x.flags |= FLAG_OPAQUE;
		this.#state = "tunnel";
		this.#deadlineMs = Number.POSITIVE_INFINITY;
		this.#parts.counters.add(CELL.OPAQUE_OPEN, 1);
		this.#parts.counters.add(CELL.OPAQUE_OPENED, 1);
		this.#parts.identify(x);
		const request = this.#parts.relay(this.#inbound);
		this.#request = request;
		if (first !== undefined) x.requestBodyBytes = first.length;
		if (!request.begin(x, this, first, false) && this.#x === x) this.#pause();
	}

	/** Bytes from the client. */
	receive(bytes: Buffer): void {
		this.#parts.clock.turn();
		try {
			this.#onData(bytes);
		} catch (error) {
			this.#onMistake(error);
		}
	}

	/**
	 * Closes the connection when it has been idle since before `beforeMs` (monotonic): FIN, then what a client may just have been sending is discarded
	 * and counted as refused. One that was opened or answered since may bring its request at any moment, and stays. Returns whether it was closed.
	 */
	closeIdle(beforeMs: number): boolean {
		if (this.idleSinceMs > beforeMs || this.idleSinceMs === Number.NEGATIVE_INFINITY) return false;
		this.#wasIdle = true;
		try {
			this.#linger();
		} catch (error) {
			this.#onMistake(error);
		}
		return true;
	}

	/** The first bytes of a request have come, and not yet all of its head. */
	get hasOpenHead(): boolean {
		const hasBytes = this.#state === "idle" && this.#preface !== undefined && this.#preface !== null;
		return hasBytes || this.#state === "head";
	}

	/** Monotonic ms since which it has been idle and could bring a request; −Infinity when it is not idle. */
	get idleSinceMs(): number {
		const isIdle = this.#state === "idle" && !this.#peerEnded && !this.hasOpenHead;
		return isIdle ? this.#idleSinceMs : Number.NEGATIVE_INFINITY;
	}

	/**
	 * Ends an event stream whose share of the drain is over. Never by what would make it look whole: without the last chunk, and with a
	 * reset where only the end of the connection could tell.
	 */
	closeStream(): void {
		const x = this.#x;
		if (x === undefined || this.#state !== "exchange" || !this.#responseBegan || (x.flags & FLAG_EVENT_STREAM) === 0)
			return;
		try {
			if (x.minorVersion === 0) {
				this.#end(FAULTS.drain_stream_closed, "drain");
				return;
			}
			const request = this.#request;
			this.#request = undefined;
			request?.abandon();
			x.isCut = true;
			x.fail(FAULTS.drain_stream_closed, "drain");
			this.#finish();
			this.#linger();
		} catch (error) {
			this.#onMistake(error);
		}
	}

	/** The agent begins to leave. */
	leave(): void {
		if (this.#x !== undefined || !this.#lastWasWhole || this.#socket.writableLength === 0) return;
		this.#isUnsent = true;
		this.#unsentArrivedLeaving = false;
		this.#parts.account.unsent();
	}

	/** The agent stops: what is left is cut. */
	cut(): void {
		try {
			this.#end(FAULTS.drain_cut, "drain");
		} catch (error) {
			this.#onMistake(error);
		}
	}

	/** Refuses the connection before its first request: `limits.connections`. */
	refuse(fault: Fault): void {
		try {
			this.#begin();
			this.#answer(fault, "limit");
		} catch (error) {
			this.#onMistake(error);
		}
	}

	/** Looks at the deadline. `nowMs` is monotonic. */
	expire(nowMs: number): void {
		this.#lookUnsent();
		if (this.#unwritten > 0 && this.#isStuck(nowMs)) {
			this.#end(FAULTS.client_stalled, "timeout");
			return;
		}
		if (nowMs < this.#deadlineMs) return;
		try {
			this.#expire(nowMs);
		} catch (error) {
			this.#onMistake(error);
		}
	}

	#expire(nowMs: number): void {
		switch (this.#state) {
			case "idle": {
				const preface = this.#preface;
				if (preface === undefined || preface === null) {
					this.#linger();
					break;
				}
				// What could have become a preface is a head that was not finished in time, too.
				this.#preface = null;
				this.#feed(preface);
				this.#answer(FAULTS.head_timeout, "timeout");
				break;
			}
			case "head":
				this.#answer(FAULTS.head_timeout, "timeout");
				break;
			case "exchange":
				if (!this.#requestIsWhole && !this.#awaitsContinue) {
					if (this.#isPaused)
						this.#deadlineMs = nowMs + this.#parts.settings.timeouts.bodyStallMs; // not the client's fault
					else this.#answer(FAULTS.body_timeout, "timeout");
				} else if (!this.#responseBegan) {
					this.#parts.counters.add(CELL.UPSTREAM_FAILED_START + FAULTS.app_response_timeout.index, 1);
					this.#answer(FAULTS.app_response_timeout, "timeout");
				} else {
					this.#deadlineMs = Number.POSITIVE_INFINITY;
				}
				break;
			case "linger":
				// The time to read on begins when the answer is out; until then `writeStall` watches.
				if (this.#socket.writableLength > 0) this.#deadlineMs = nowMs + this.#parts.settings.timeouts.lingerMs;
				else this.#socket.destroy();
				break;
			case "tunnel":
				this.#end(FAULTS.client_closed, "client"); // both halves were over, and the app has not taken the rest
				break;
			default:
				this.#deadlineMs = Number.POSITIVE_INFINITY;
		}
	}

	// ── from the client ──────────────────────────────────────────────────────────────────────────────────────────

	#onData(bytes: Buffer): void {
		switch (this.#state) {
			case "idle":
				if (this.#preface !== null) this.#detect(this.#keep(bytes));
				else this.#feed(this.#keep(bytes));
				break;
			case "head":
				this.#feed(this.#keep(bytes));
				break;
			case "exchange":
				if (this.#requestIsWhole) this.#holdAhead(this.#keep(bytes));
				else this.#onBody(bytes);
				break;
			case "tunnel": {
				const x = this.#x;
				if (x !== undefined) x.requestBodyBytes += bytes.length;
				if (!this.#send(bytes)) this.#pause();
				break;
			}
			case "linger":
				if (this.#wasIdle) {
					this.#wasIdle = false;
					this.#parts.account.refusedUnread();
				}
				this.#lingered += bytes.length;
				// Not closed: its answer would be lost on its way. A client that reads no answer before it has sent all waits for the deadline.
				if (this.#lingered > this.#parts.settings.limits.lingerBytesMax) this.#pause();
				break;
			default:
				break;
		}
	}

	/** The first bytes of a connection: HTTP/2 begins with a preface that no HTTP/1 request can be (RFC 9113 §3.4). */
	#detect(bytes: Buffer): void {
		const all = this.#preface === undefined ? bytes : Buffer.concat([this.#preface ?? NO_BYTES, bytes]);
		const length = Math.min(all.length, HTTP2_PREFACE.length);
		if (this.#protocol === "auto" && all.compare(HTTP2_PREFACE, 0, length, 0, length) === 0) {
			this.#preface = all;
			if (length === HTTP2_PREFACE.length) {
				this.#preface = null;
				this.#relay(all);
			} else {
				this.#deadlineMs = this.#parts.clock.monotonicMs() + this.#parts.settings.timeouts.headMs;
			}
			return;
		}
		this.#preface = null;
		this.#feed(all);
	}

	/**
	 * Takes bytes that begin a request or continue its head. A loop, because one read may hold many requests that are answered at
	 * once: each turn leaves what it did not use in `#ahead`.
	 */
	#feed(first: Buffer): void {
		if (this.#isFeeding) {
			this.#ahead = first;
			return;
		}
		this.#isFeeding = true;
		let bytes: Buffer | undefined = first;
		// Caught here and not only at the doors: the next request of a pipeline begins in an event of the last one's connection to the app.
		try {
			while (bytes !== undefined) {
				this.#onHead(bytes);
				bytes = undefined;
				if (this.#state === "idle" && this.#ahead !== undefined && !this.#isBlocked) {
					bytes = this.#ahead;
					this.#dropAhead();
				}
			}
		} catch (error) {
			this.#onMistake(error);
		}
		this.#isFeeding = false;
		// The client's half is over: what has begun and is not whole never will be.
		if (this.#peerEnded && (this.#state === "head" || (this.#state === "exchange" && !this.#requestIsWhole))) {
			this.#end(FAULTS.client_closed, "client");
		}
	}

	#begin(): Exchange {
		const { clock } = this.#parts;
		const x = this.#parts.exchanges.take();
		const nowMs = clock.monotonicMs();
		x.begin(this.#inbound, this.#peer, clock.wallMs(), nowMs, this.#parts.lifecycleState());
		x.head.reset(0);
		this.#socket.forgetBytes?.(); // the last request's connection to the app may not have taken its last yet
		this.#x = x;
		this.#responseBegan = false;
		this.#requestIsWhole = false;
		this.#deadlineMs = nowMs + this.#parts.settings.timeouts.headMs;
		this.#state = "head";
		return x;
	}

	#onHead(received: Buffer): void {
		const x = this.#state === "idle" ? this.#begin() : this.#x;
		if (x === undefined) return;
		let bytes = received;
		let to = received.length;
		if (this.#held !== undefined) {
			bytes = this.#hold(this.#held, this.#heldBytes, received);
			to = this.#heldBytes;
		}
		x.headBytes = bytes;
		const result = x.head.scan(bytes, to);
		if (result === INCOMPLETE) {
			if (this.#held === undefined) {
				this.#held = bytes;
				this.#heldBytes = to;
			}
			if (!this.#take(to - this.#budgeted)) this.#answer(FAULTS.buffer_exceeded, "limit");
			else if (!x.head.hasBegun) this.#notBegun(x);
			return;
		}
		this.#held = undefined;
		this.#heldBytes = 0;
		this.#give();
		x.readHead();
		if (result !== COMPLETE) {
			const isWhole = result === FAULTS.method_not_allowed && x.head.keepAlive && x.head.framing === FRAMING.NONE;
			if (isWhole) {
				this.#requestIsWhole = true;
				this.#keepAhead(bytes, x.head.end, to);
			}
			this.#answer(result, "agent");
			return;
		}
		this.#onRequest(x, bytes, to);
	}

	/** An empty line after a body is no request (RFC 9112 §2.2): it is kept for the scanner, and no head is waited for. */
	#notBegun(x: Exchange): void {
		this.#x = undefined;
		this.#parts.exchanges.give(x);
		this.#becomeIdle();
	}

	#becomeIdle(): void {
		this.#state = "idle";
		this.#idleSinceMs = this.#parts.clock.monotonicMs();
		this.#deadlineMs = this.#idleSinceMs + this.#parts.settings.timeouts.idleMs;
	}

	/** Appends to the unfinished head, in a buffer that doubles: however small the pieces, copying stays linear. */
	#hold(held: Buffer, length: number, more: Buffer): Buffer {
		const need = length + more.length;
		let room = held;
		if (room.length < need) {
			room = Buffer.allocUnsafeSlow(Math.max(HEAD_ROOM_BYTES, need * 2));
			held.copy(room, 0, 0, length);
			this.#held = room;
		}
		more.copy(room, length);
		this.#heldBytes = need;
		return room;
	}

	/** A whole head. `bytes` holds it from 0, and what came after it up to `to`. */
	#onRequest(x: Exchange, bytes: Buffer, to: number): void {
		const head = x.head;
		const nowMs = this.#parts.clock.monotonicMs();
		this.#closes = !head.keepAlive || nowMs - this.#openedMs > this.#parts.settings.connections.maxAgeMs;
		this.#state = "exchange";

		// How far the body reaches into what has come.
		let bodyEnd = head.end;
		let framingFault: Fault | undefined;
		this.#requestIsWhole = false;
		switch (head.framing) {
			case FRAMING.NONE:
				this.#requestIsWhole = true;
				break;
			case FRAMING.LENGTH: {
				const available = to - head.end;
				const length = head.contentLength;
				bodyEnd = head.end + Math.min(available, length);
				x.requestBodyBytes = bodyEnd - head.end;
				this.#bodyLeft = length - x.requestBodyBytes;
				this.#requestIsWhole = this.#bodyLeft === 0;
				break;
			}
			default: {
				this.#chunked ??= new ChunkedScanner(this.#parts.settings.limits, this.#parts.names, "request");
				this.#chunked.reset();
				const result = this.#chunked.scan(bytes, head.end, to);
				bodyEnd = this.#chunked.position;
				x.requestBodyBytes = this.#chunked.payloadBytes;
				if (result === COMPLETE) this.#requestIsWhole = true;
				else if (result !== INCOMPLETE) framingFault = result;
			}
		}

		const body = bodyEnd > head.end ? bytes.subarray(head.end, bodyEnd) : undefined;
		this.#awaitsContinue = head.expectsContinue && body === undefined;
		if (this.#requestIsWhole) {
			this.#keepAhead(bytes, bodyEnd, to);
			this.#deadlineMs = Number.POSITIVE_INFINITY;
		} else {
			this.#deadlineMs = nowMs + this.#parts.settings.timeouts.bodyStallMs;
		}
		if (bytes.length > HEAD_COPY_BYTES + head.end) x.headBytes = Buffer.from(bytes.subarray(0, head.end));

		this.#exchangeBytes = 2 * x.headBytes.length;
		this.#parts.budget.take(this.#exchangeBytes);

		for (const phase of this.#parts.phases) {
			const fault = phase(x);
			if (fault !== undefined) {
				this.#answer(fault, fault.blame === "agent" ? "limit" : "agent");
				return;
			}
		}
		if (this.#parts.budget.isExceeded && (x.flags & FLAG_PROBE) === 0) {
			this.#answer(FAULTS.buffer_exceeded, "limit");
			return;
		}
		if (framingFault !== undefined) {
			this.#answer(framingFault, "agent");
			return;
		}
		if (x.requestBodyBytes > x.bodyBytesMax) {
			this.#answer(FAULTS.body_too_large, "limit");
			return;
		}
		if (x.isAnsweredHere) {
			this.#answerOptions(x);
			return;
		}
		if (this.#requestIsWhole || this.#awaitsContinue) this.#deadlineMs = nowMs + x.responseMs;
		const request = this.#parts.forward(this.#inbound);
		this.#request = request;
		// The app may answer within this call, and the exchange be over with it.
		if (!request.begin(x, this, body, this.#requestIsWhole) && this.#x === x && !this.#requestIsWhole) this.#pause();
	}

	#onBody(bytes: Buffer): void {
		const x = this.#x;
		if (x === undefined) return;
		this.#awaitsContinue = false;
		let end = bytes.length;
		if (this.#chunked !== undefined && x.head.framing === FRAMING.CHUNKED) {
			const scanner = this.#chunked;
			const result = scanner.scan(bytes, 0, bytes.length);
			end = scanner.position;
			x.requestBodyBytes = scanner.payloadBytes;
			if (result === COMPLETE) this.#requestIsWhole = true;
			else if (result !== INCOMPLETE) {
				this.#answer(result, "agent");
				return;
			}
		} else {
			end = Math.min(bytes.length, this.#bodyLeft);
			this.#bodyLeft -= end;
			x.requestBodyBytes += end;
			this.#requestIsWhole = this.#bodyLeft === 0;
		}
		if (x.requestBodyBytes > x.bodyBytesMax) {
			this.#answer(FAULTS.body_too_large, "limit");
			return;
		}
		const nowMs = this.#parts.clock.monotonicMs();
		const request = this.#request;
		const isTaken = this.#send(end === bytes.length ? bytes : bytes.subarray(0, end));
		if (this.#x !== x) return; // the app's answer came within the call, and the exchange is over
		if (this.#requestIsWhole) {
			this.#deadlineMs = this.#responseBegan ? Number.POSITIVE_INFINITY : nowMs + x.responseMs;
			if (end < bytes.length) this.#holdAhead(this.#keep(bytes.subarray(end)));
			request?.requestEnded();
		} else {
			this.#deadlineMs = nowMs + this.#parts.settings.timeouts.bodyStallMs;
			if (!isTaken) this.#pause();
		}
	}

	/** Request bytes of the present event to the app: kept only when the app does not take them at once. */
	#send(bytes: Buffer): boolean {
		const request = this.#request;
		if (request === undefined) return true;
		if (bytes.length <= BATCH_BYTES_MAX || this.#socket.isShared === true) return request.send(this.#own(bytes));
		const isWelcome = request.send(bytes);
		if (request.holdsRequestBytes()) this.#own(bytes);
		return isWelcome;
	}

	/** Bytes of the present event, to be kept beyond it. */
	#own(bytes: Buffer): Buffer {
		return this.#socket.own === undefined ? bytes : this.#socket.own(bytes);
	}

	/**
	 * The same for what is no body: heads and what waits behind a request outlive what the app was given, so their room is not used again when
	 * the app has taken that (ids in an answer are read from the head's bytes).
	 */
	#keep(bytes: Buffer): Buffer {
		const kept = this.#own(bytes);
		this.#socket.forgetBytes?.();
		return kept;
	}

	#keepAhead(bytes: Buffer, from: number, to: number): void {
		if (from < to) this.#holdAhead(bytes.subarray(from, to));
	}

	/** Bytes after a whole request, before its answer: kept, within bounds, and then not read any more. */
	#holdAhead(bytes: Buffer): void {
		this.#ahead = this.#ahead === undefined ? bytes : Buffer.concat([this.#ahead, bytes]);
		const { pipelineMax, headBytesMax } = this.#parts.settings.limits;
		// Not counted beyond the bound: what is ahead is looked at again after each of its requests.
		for (let at = bytes.indexOf(HEAD_END); at >= 0; at = bytes.indexOf(HEAD_END, at + 4)) {
			if (++this.#aheadRequests >= pipelineMax) break;
		}
		if (this.#aheadRequests >= pipelineMax || this.#ahead.length >= headBytesMax) this.#pause();
		this.#take(bytes.length); // beyond the budget new heads are refused; these are bounded by the pause above
	}

	#dropAhead(): void {
		this.#ahead = undefined;
		this.#aheadRequests = 0;
		this.#give();
		this.#resume();
	}

	#onEnd(): void {
		this.#peerEnded = true;
		switch (this.#state) {
			case "idle":
				this.#socket.end();
				break;
			case "head":
				this.#end(FAULTS.client_closed, "client");
				break;
			case "exchange":
				// To serve is to serve the requests that wait as well: `#next` sees when there is none left.
				if (this.#requestIsWhole && this.#parts.settings.connections.halfClose === "serve") break;
				this.#end(FAULTS.client_closed, "client");
				break;
			case "tunnel":
				this.#request?.requestEnded();
				break;
			case "linger":
				if (this.#socket.writableLength === 0) this.#socket.destroy();
				break;
			default:
				break;
		}
	}

	#onGone(): void {
		try {
			if (this.#state === "tunnel" && this.#peerEnded && this.#weEnded) {
				// Both halves are over, and what the client said last may still be on its way to the app: a reset would keep it from there.
				this.#deadlineMs = this.#parts.clock.monotonicMs() + this.#parts.settings.timeouts.writeStallMs;
				return;
			}
			this.#end(FAULTS.client_closed, "client");
		} catch (error) {
			this.#onMistake(error);
		}
	}

	#onWriteStall(): void {
		// The timer runs only while the client does not take what we write.
		if (this.#socket.writableLength > 0) this.#end(FAULTS.client_stalled, "timeout");
	}

	#onDrain(): void {
		this.#written();
		this.#request?.resumeResponse();
		if (this.#state === "idle") this.#goOn();
	}

	/**
	 * The socket's own timer starts again with every byte that the client sends, so a client that sends a little and reads nothing would never be
	 * cut by it. A piece of at most 64 KiB that has not gone in four times `timeouts.writeStall` never will.
	 */
	#isStuck(nowMs: number): boolean {
		const waiting = this.#socket.writableLength;
		if (this.#stuckSinceMs === 0 || waiting !== this.#seenUnwritten) {
			this.#seenUnwritten = waiting;
			this.#stuckSinceMs = nowMs;
		}
		return nowMs - this.#stuckSinceMs > 4 * this.#parts.settings.timeouts.writeStallMs;
	}

	#pause(): void {
		if (this.#isPaused) return;
		this.#isPaused = true;
		this.#socket.pause();
	}

	#resume(): void {
		if (!this.#isPaused) return;
		this.#isPaused = false;
		this.#socket.resume();
	}

	// ── from the app ─────────────────────────────────────────────────────────────────────────────────────────────

	closesAfterResponse(isDelimitedByClose: boolean): boolean {
		// A body that is still coming when the answer begins may never come to its end: then there is no next request to find.
		if (isDelimitedByClose || !this.#requestIsWhole || this.#isLast || this.#isLastWhileLeaving) this.#closes = true;
		return this.#closes;
	}

	informational(bytes: Buffer): void {
		if (this.#awaitsContinue) {
			this.#awaitsContinue = false;
			this.#deadlineMs = this.#parts.clock.monotonicMs() + this.#parts.settings.timeouts.bodyStallMs;
		}
		this.#write(bytes);
	}

	response(bytes: Buffer): void {
		this.#responseBegan = true;
		if (this.#requestIsWhole) this.#deadlineMs = Number.POSITIVE_INFINITY;
		else if (this.#awaitsContinue)
			this.#deadlineMs = this.#parts.clock.monotonicMs() + this.#parts.settings.timeouts.bodyStallMs;
		this.#awaitsContinue = false;
		this.#write(bytes);
	}

	body(bytes: Buffer): void {
		this.#write(bytes);
	}

	holdsResponseBytes(): boolean {
		return this.#socket.writableLength > 0;
	}

	responseEnded(): void {
		const x = this.#x;
		if (x === undefined) return;
		x.end("app");
		this.#finish();
		this.#next();
	}

	failed(fault: Fault): void {
		this.#request = undefined;
		if (this.#x === undefined) return;
		const by = fault.blame === "agent" ? "agent" : fault.status === 504 ? "timeout" : "app";
		try {
			// A response cut short must not look like a whole one: RST, where a FIN could end a close-delimited body.
			if (this.#state === "tunnel" || this.#responseBegan) this.#end(fault, by);
			else this.#answer(fault, by);
		} catch (error) {
			this.#onMistake(error);
		}
	}

	requestDrained(): void {
		if (this.#request?.holdsRequestBytes() === false) this.#socket.releaseBytes?.();
		if (this.#state === "tunnel" || !this.#requestIsWhole) {
			if (this.#isPaused && this.#state === "exchange" && !this.#awaitsContinue) {
				this.#deadlineMs = this.#parts.clock.monotonicMs() + this.#parts.settings.timeouts.bodyStallMs;
			}
			this.#resume();
		}
	}

	upgraded(bytes: Buffer): void {
		const x = this.#x;
		if (x === undefined) return;
		this.#state = "tunnel";
		this.#responseBegan = true;
		this.#deadlineMs = Number.POSITIVE_INFINITY;
		x.flags |= FLAG_TUNNEL;
		this.#parts.account.upgraded(x);
		this.#parts.counters.add(CELL.TUNNELS, 1);
		this.#parts.counters.add(CELL.TUNNELS_OPENED, 1);
		this.#write(bytes);
		const ahead = this.#ahead;
		if (ahead !== undefined) {
			this.#dropAhead();
			this.#onData(ahead);
		}
	}

	tunnelBytes(bytes: Buffer): void {
		this.#write(bytes);
	}

	tunnelEnded(): void {
		if (!this.#weEnded) {
			this.#weEnded = true;
			this.#socket.end();
		}
	}

	tunnelClosed(): void {
		this.#request = undefined;
		const x = this.#x;
		if (x === undefined) return;
		if (!this.#weEnded) {
			this.#end(FAULTS.app_truncated, "app"); // no FIN came before: a cut, and the client has to feel one
			return;
		}
		x.end(this.#peerEnded ? "client" : "app");
		this.#finish();
		if (this.#socket.destroyed)
			this.#end(FAULTS.client_closed, "client"); // over both ways already: `#onGone` has left it to us
		else this.#linger(); // what was written still goes out
	}

	// ── answers and ends ─────────────────────────────────────────────────────────────────────────────────────────

	/** Ends the exchange with our own answer; cuts it when the app's has begun or there is none to give. */
	#answer(fault: Fault, by: EndedBy): void {
		const x = this.#x;
		if (x === undefined) return;
		if (this.#responseBegan || fault.status === 0) {
			this.#end(fault, by);
			return;
		}
		const request = this.#request;
		this.#request = undefined;
		request?.abandon();
		x.fail(fault, by);
		x.status = fault.status;
		this.#identify(x);
		this.#closes ||= fault.closes || !this.#requestIsWhole || this.#isLastWhileLeaving;
		this.#write(this.#parts.answers.problem(fault, x, x.methodId !== METHOD.HEAD, this.#closes));
		this.#finish();
		this.#next();
	}

	#answerOptions(x: Exchange): void {
		this.#closes ||= !this.#requestIsWhole || this.#isLastWhileLeaving;
		x.status = 204;
		x.end("agent");
		this.#write(this.#parts.answers.options(x, this.#closes));
		this.#finish();
		this.#next();
	}

	/** The exchange is over, and what the client got is whole: on with the next request, or no more. */
	#next(): void {
		if (this.#closes || this.#isLast) {
			this.#linger();
			return;
		}
		this.#becomeIdle();
		// Who does not take answers gets no more of them: the next request waits until the last answer has gone.
		if (this.#isBlocked) this.#pause();
		else this.#goOn();
	}

	/** On with what has come behind the last request; nothing when the loop of `#feed` sees to it. */
	#goOn(): void {
		if (this.#isFeeding) return;
		const ahead = this.#ahead;
		if (ahead === undefined) {
			this.#resume();
			return;
		}
		this.#dropAhead();
		this.#feed(ahead);
	}

	/** Whether answers wait for the client; `drain` follows. */
	get #isBlocked(): boolean {
		return this.#socket.writableNeedDrain && this.#socket.writableLength > 0;
	}

	/** Whether the client will send no more requests, and none waits. */
	get #isLast(): boolean {
		return this.#peerEnded && this.#ahead === undefined;
	}

	#linger(): void {
		this.#state = "linger";
		this.#deadlineMs = this.#parts.clock.monotonicMs() + this.#parts.settings.timeouts.lingerMs;
		this.#release();
		this.#resume();
		if (!this.#weEnded) {
			this.#weEnded = true;
			this.#socket.end();
		}
		// Too little may be left for back-pressure, which watches otherwise; but a client that never takes it must not stay for ever.
		if (this.#unwritten === 0 && this.#socket.writableLength > 0) {
			this.#socket.setTimeout(this.#parts.settings.timeouts.writeStallMs);
		}
	}

	/** We leave, so this answer is the connection's last; but requests that were sent ahead are served first. */
	get #isLastWhileLeaving(): boolean {
		return this.#ahead === undefined && this.#parts.isLeaving();
	}

	/** Cuts: no answer, or no more of it. */
	#end(fault: Fault, by: EndedBy): void {
		if (this.#state === "closed") return;
		const x = this.#x;
		const request = this.#request;
		this.#request = undefined;
		if (this.#isUnsent) this.#endUnsent(by);
		const isTunnel = this.#state === "tunnel";
		request?.abandon();
		if (x !== undefined) {
			// A tunnel that its client or our stop ends has had its answer.
			if (!isTunnel || fault.blame === "upstream" || fault === FAULTS.internal) {
				x.isCut = true;
				x.fail(fault, by);
			} else {
				x.end(by);
			}
			if (x.head.methodEnd > 0 && x.method === "") x.readHead();
			this.#identify(x);
			this.#finish();
		}
		this.#release();
		this.#written();
		this.#state = "closed";
		if (this.#socket.writableCorked > 0) this.#socket.uncork(); // answers before this one were given, and go out
		// What still waits goes no more, and FIN would make half of a body that ends with its connection look whole.
		const isHalf = x === undefined ? this.#socket.writableLength > 0 : this.#responseBegan || by !== "client";
		if (isHalf) reset(this.#socket);
		else this.#socket.destroy();
		this.#onClosed(this);
	}

	#finish(): void {
		const x = this.#x;
		if (x === undefined) return;
		this.#x = undefined;
		this.#request = undefined;
		this.#lastWasWhole = x.isCounted && !x.isCut && x.faultIndex < 0 && (x.flags & FLAG_PROBE) === 0;
		if (this.#lastWasWhole && this.#parts.isLeaving()) this.#noteUnsent(x);
		this.#parts.budget.give(this.#exchangeBytes);
		this.#exchangeBytes = 0;
		if ((x.flags & FLAG_TUNNEL) !== 0) this.#parts.counters.add(CELL.TUNNELS, -1);
		if ((x.flags & FLAG_OPAQUE) !== 0) this.#parts.counters.add(CELL.OPAQUE_OPEN, -1);
		const nowMs = this.#parts.clock.monotonicMs();
		x.durationMs = nowMs - x.startedMs;
		if (x.answeredMs >= 0) x.receiveMs = nowMs - x.answeredMs; // NaN while no answer has begun
		try {
			this.#parts.finish(x);
		} catch (error) {
			this.#closes = true; // the answer is out already: no more than that can be done
			this.#parts.mistake(error);
		}
	}

	#noteUnsent(x: Exchange): void {
		if (this.#socket.writableLength === 0) return;
		if (this.#isUnsent) this.#sent(); // of two answers that wait the later one tells
		this.#isUnsent = true;
		this.#unsentArrivedLeaving = x.arrivedLeaving;
		x.isUnsent = true;
		// Nearly all have gone when the turn is over; `expire` sees to the others.
		this.#parts.batch.afterwards(() => this.#lookUnsent());
	}

	#lookUnsent(): void {
		if (this.#isUnsent && this.#socket.writableLength === 0) this.#sent();
	}

	#sent(): void {
		this.#isUnsent = false;
		this.#parts.account.sent(this.#unsentArrivedLeaving);
	}

	/** The connection ends. */
	#endUnsent(by: EndedBy): void {
		// What waits may be of the exchange that is under way, and that one tells.
		if (this.#socket.writableLength === 0 || (this.#x !== undefined && this.#responseBegan)) {
			this.#sent();
			return;
		}
		this.#isUnsent = false;
		this.#parts.account.unsentLost(by === "drain");
	}

	/** Sees to the ids when the exchange did not get as far as that phase. */
	#identify(x: Exchange): void {
		if (x.hasIdentity) return;
		try {
			this.#parts.identify(x);
		} catch (error) {
			this.#parts.mistake(error); // an answer without ids is better than none
		}
	}

	/** Something here threw: the exchange ends with 500, or is cut when its answer has begun, and the connection closes. */
	#onMistake(error: unknown): void {
		this.#parts.mistake(error);
		this.#closes = true;
		try {
			if (this.#state === "tunnel") this.#end(FAULTS.internal, "agent");
			else if (this.#x !== undefined) this.#answer(FAULTS.internal, "agent");
			else if (this.#state !== "linger" && this.#state !== "closed") this.#linger();
		} catch (again) {
			// Even that failed. The connection goes, and what it held is given back.
			this.#parts.mistake(again);
			const x = this.#x;
			if (x !== undefined) x.isCut = true;
			this.#finish();
			if (this.#isUnsent) this.#endUnsent("agent");
			this.#release();
			this.#written();
			this.#socket.destroy();
			if (this.#state !== "closed") {
				this.#state = "closed";
				this.#onClosed(this);
			}
		}
	}

	#release(): void {
		this.#held = undefined;
		this.#heldBytes = 0;
		this.#ahead = undefined;
		this.#aheadRequests = 0;
		this.#give();
	}

	#write(bytes: Buffer): void {
		const socket = this.#socket;
		this.#parts.batch.write(socket, bytes);
		if (!socket.writableNeedDrain || socket.writableLength === 0) return;
		this.#request?.pauseResponse();
		if (this.#unwritten === 0) socket.setTimeout(this.#parts.settings.timeouts.writeStallMs);
		this.#parts.budget.take(socket.writableLength - this.#unwritten);
		this.#unwritten = socket.writableLength;
	}

	#written(): void {
		if (this.#unwritten === 0) return;
		this.#stuckSinceMs = 0;
		this.#parts.budget.give(this.#unwritten);
		this.#unwritten = 0;
		this.#socket.setTimeout(0);
	}

	#take(bytes: number): boolean {
		if (bytes <= 0) return true;
		this.#budgeted += bytes;
		return this.#parts.budget.take(bytes);
	}

	#give(): void {
		if (this.#budgeted === 0) return;
		this.#parts.budget.give(this.#budgeted);
		this.#budgeted = 0;
	}
}
