import type { ByteStream } from "../foundation/byte-stream.ts";
import { errorCode, reset } from "../foundation/byte-stream.ts";
import { FAULTS, type Fault } from "../foundation/fault.ts";
import { BATCH_BYTES_MAX, type WriteBatch } from "../foundation/write-batch.ts";
import { FRAMING } from "../http1/body-framing.ts";
import { ChunkedScanner } from "../http1/chunked.ts";
import type { FieldNames } from "../http1/field-names.ts";
import type { HeadLimits } from "../http1/limits.ts";
import { ResponseHead } from "../http1/scan-response-head.ts";
import { COMPLETE, INCOMPLETE } from "../http1/scan-result.ts";

/** A socket to the app: a write that fails does not end the reading (`app-socket.ts`). */
export interface AppStream extends ByteStream {
	/** Whether a write has failed: nothing more reaches the app. */
	readonly writeFailed: boolean;
	/** Told once, when a write has failed. `isAtOnce`: the kernel took no byte of it. */
	onWriteFailed: ((isAtOnce: boolean) => void) | undefined;
}

/** Who takes the response of one exchange. Every exchange ends with exactly one of `responseEnded` and `upstreamFailed`. */
export interface ResponseSink {
	/** A 1xx other than 101. The head lies in `bytes`. */
	informational(head: ResponseHead, bytes: Buffer): void;
	/**
	 * The final head (or 101), with that part of the body that came in the same read. When that is all of it, `responseEnded` follows in the
	 * same turn. The bytes are good only during the call.
	 */
	responseHead(head: ResponseHead, bytes: Buffer, bodyStart: number, bodyEnd: number): void;
	/** More of the body: framing bytes included unless `dechunk` was asked for. */
	responseBytes(bytes: Buffer): void;
	/** Whether bytes that were given wait for the client, and so are kept. */
	holdsResponseBytes(): boolean;
	responseEnded(): void;
	/** Nothing more comes. What has been delivered is not a whole response. */
	upstreamFailed(fault: Fault): void;
	/** The connection was made: the request may be written. */
	upstreamConnected(): void;
	/** A write has failed before an answer began: what was written last has not reached the app. */
	upstreamRefusedBytes(): void;
	/** The app takes request bytes again. */
	upstreamDrained(): void;
	/** Bytes after a 101, and the app's half of the tunnel ending. */
	tunnelBytes(bytes: Buffer): void;
	tunnelEnded(): void;
	tunnelClosed(): void;
}

/** Who owns the connection between exchanges. */
export interface ConnectionOwner {
	/** The exchange is over and the connection can carry another. */
	released(connection: UpstreamConnection): void;
	/** The connection is gone. `idleMs`: for how long it had been idle when the app closed it, −1 when it was not idle. */
	closed(connection: UpstreamConnection, idleMs: number): void;
	/** The connection was made, or could not be made. */
	connected(connection: UpstreamConnection): void;
	now(): number;
	/** An event of the connection begins. */
	turn(): void;
	/** A mistake of ours was caught. */
	mistake(error: unknown): void;
}

type State = "connecting" | "idle" | "head" | "body" | "tunnel" | "closed";

/**
 * One connection to the app, carrying one exchange at a time.
 *
 * ```
 *            connect              begin()          final head          last byte
 * connecting ───────►  idle ───────────────► head ───────────► body ───────────► idle
 *      └──────────── begin() before connect ──▲ │ 101                    │ not to be kept
 *                                               └────► tunnel ────► closed ◄── error, FIN, abandon()
 * ```
 *
 * The response is framed here and nowhere else: what the sink is given is either the whole response, byte for byte, or it
 * is told `upstreamFailed`. A response cut short is never told as ended.
 */
export class UpstreamConnection {
	readonly stream: AppStream;
	readonly #owner: ConnectionOwner;
	readonly #batch: WriteBatch;
	readonly #head: ResponseHead;
	#chunked: ChunkedScanner | undefined;
	readonly #limits: HeadLimits;
	readonly #names: FieldNames;
	#state: State = "connecting";
	#sink: ResponseSink | undefined;
	/** Bytes of a head that has not come whole. */
	#partial: Buffer | undefined;
	#bodyLeft = 0;
	#framing: number = FRAMING.NONE;
	#methodId = 0;
	#dechunk = false;
	#requestIsSent = false;
	#upgradeWasAsked = false;
	#mayKeep = true;
	#peerEnded = false;
	#isPaused = false;
	/** Monotonic ms at which it was made. */
	readonly openedMs: number;
	/** Monotonic ms since which it is idle. */
	idleSinceMs = 0;
	/** The pool's number of the app's place at which it was opened. */
	place = 0;
	/** Exchanges carried so far. */
	served = 0;
	/** Whether a byte of the present response has come. */
	hasAnswered = false;
	isConnected = false;
	/** Payload octets of the present response's body. */
	payloadBytes = 0;

	constructor(stream: AppStream, owner: ConnectionOwner, batch: WriteBatch, limits: HeadLimits, names: FieldNames) {
		this.stream = stream;
		this.#batch = batch;
		this.#owner = owner;
		this.#limits = limits;
		this.#names = names;
		this.#head = new ResponseHead(limits, names);
		this.openedMs = owner.now();
		stream.onWriteFailed = (isAtOnce) => {
			if (isAtOnce) this.#onWriteFailed();
		};
		stream.on("connect", () => {
			owner.turn();
			try {
				this.#onConnect();
			} catch (error) {
				this.#onMistake(error);
			}
		});
		stream.on("data", (bytes) => {
			owner.turn();
			try {
				this.#onData(bytes);
			} catch (error) {
				this.#onMistake(error);
			}
		});
		stream.on("end", () => {
			try {
				this.#onEnd();
			} catch (error) {
				this.#onMistake(error);
			}
		});
		stream.on("drain", () => this.#sink?.upstreamDrained());
		stream.on("error", (error) => this.#onError(error));
		stream.on("close", () => this.#onClose());
	}

	/** Something here, or what was told from here, threw: the exchange ends, and so does the connection. */
	#onMistake(error: unknown): void {
		this.#owner.mistake(error);
		if (this.#state === "idle") this.#close(true, 0);
		else this.#fail(FAULTS.internal);
	}

	get isIdle(): boolean {
		return this.#state === "idle";
	}

	get writeFailed(): boolean {
		return this.stream.writeFailed;
	}

	get isClosed(): boolean {
		return this.#state === "closed";
	}

	/**
	 * Hands the connection to an exchange. `dechunk`: the client speaks HTTP/1.0, so the sink gets payload only.
	 * `upgradeWasAsked`: a 101 is an answer.
	 */
	begin(sink: ResponseSink, methodId: number, dechunk: boolean, upgradeWasAsked: boolean): void {
		this.stream.forgetBytes?.(); // another client may not have taken its last yet
		this.#sink = sink;
		this.#methodId = methodId;
		this.#dechunk = dechunk;
		this.#upgradeWasAsked = upgradeWasAsked;
		this.#requestIsSent = false;
		this.#mayKeep = true;
		this.hasAnswered = false;
		this.payloadBytes = 0;
		this.#head.reset(0, methodId);
		if (this.#state === "idle") this.#state = "head";
	}

	/** Request bytes, framed. The return value is whether more is welcome now; `upstreamDrained` follows when not. */
	write(bytes: Uint8Array): boolean {
		this.#batch.write(this.stream, bytes);
		return !(this.stream.writableNeedDrain && this.stream.writableLength > 0);
	}

	/** The request has been written whole; until then the connection cannot be used again. */
	requestSent(): void {
		this.#requestIsSent = true;
	}

	/** The client takes no more for now. */
	pause(): void {
		this.#isPaused = true;
		this.stream.pause();
	}

	resume(): void {
		if (!this.#isPaused) return;
		this.#isPaused = false;
		this.stream.resume();
	}

	/** The exchange wants nothing more: the app feels a reset. */
	abandon(): void {
		this.#sink = undefined;
		this.#close(true);
	}

	/** Ends an idle connection with RST: bound local ports in TIME_WAIT run out (`data-path.md`, the upstream side). */
	closeIdle(): void {
		this.#close(true);
	}

	#onConnect(): void {
		if (this.#state !== "connecting") return;
		this.isConnected = true;
		this.#state = this.#sink === undefined ? "idle" : "head";
		this.#owner.connected(this);
		this.#sink?.upstreamConnected();
	}

	#onWriteFailed(): void {
		if (this.#state !== "head" || this.hasAnswered) return;
		try {
			this.#sink?.upstreamRefusedBytes();
		} catch (error) {
			this.#onMistake(error);
		}
	}

	#onData(bytes: Buffer): void {
		switch (this.#state) {
			case "head":
				this.#onHeadBytes(bytes);
				break;
			case "body":
				this.#onBodyBytes(bytes, 0);
				break;
			case "tunnel":
				this.#sink?.tunnelBytes(this.#own(bytes));
				break;
			case "idle":
				this.#close(true, 0); // nobody asked: it must not become the answer to the next request
				break;
			default:
				break;
		}
	}

	#onHeadBytes(received: Buffer): void {
		this.hasAnswered = true;
		// The scanner refuses heads above the limit, so what is kept here is bounded by it. Apps send heads in one piece or
		// in few: a buffer that doubles would not pay.
		const bytes = this.#partial === undefined ? received : Buffer.concat([this.#partial, received]);
		this.#partial = undefined;
		const head = this.#head;
		for (;;) {
			const result = head.scan(bytes, bytes.length);
			if (result === INCOMPLETE) {
				// Without the 1xx before it: an app may send any number of them, and what is kept stays below the limit.
				if (head.start === bytes.length) this.#partial = undefined;
				else this.#partial = this.#own(head.start === 0 ? bytes : bytes.subarray(head.start));
				if (head.start > 0) head.reset(0, this.#methodId);
				return;
			}
			if (result !== COMPLETE) {
				this.#fail(result);
				return;
			}
			if (!head.isInformational) break;
			this.#sink?.informational(head, bytes);
			if (this.#state !== "head") return;
			head.reset(head.end, this.#methodId);
		}
		this.#onFinalHead(bytes);
	}

	#onFinalHead(bytes: Buffer): void {
		const head = this.#head;
		const sink = this.#sink;
		if (sink === undefined) return;
		if (head.status === 101) {
			if (!this.#upgradeWasAsked || !head.isUpgrade || head.isH2cUpgrade) {
				this.#fail(FAULTS.app_upgrade_unasked);
				return;
			}
			this.#state = "tunnel";
			sink.responseHead(head, bytes, head.end, head.end);
			if (head.end < bytes.length && this.#state === "tunnel") sink.tunnelBytes(this.#own(bytes.subarray(head.end)));
			return;
		}
		this.#mayKeep = head.keepAlive;
		this.#framing = head.framing;
		this.#state = "body";
		switch (head.framing) {
			case FRAMING.NONE:
				sink.responseHead(head, bytes, head.end, head.end);
				this.#finish(bytes.length > head.end);
				return;
			case FRAMING.LENGTH: {
				const available = bytes.length - head.end;
				const length = head.contentLength;
				if (available >= length) {
					this.payloadBytes = length;
					sink.responseHead(head, bytes, head.end, head.end + length);
					this.#finish(available > length);
					return;
				}
				this.payloadBytes = available;
				this.#bodyLeft = length - available;
				sink.responseHead(head, bytes, head.end, bytes.length);
				return;
			}
			case FRAMING.CHUNKED: {
				this.#chunked ??= new ChunkedScanner(this.#limits, this.#names, "response");
				const scanner = this.#chunked;
				scanner.reset();
				if (this.#dechunk) {
					sink.responseHead(head, bytes, head.end, head.end);
					this.#onBodyBytes(bytes, head.end);
					return;
				}
				const result = scanner.scan(bytes, head.end, bytes.length);
				if (result !== COMPLETE && result !== INCOMPLETE) {
					this.#fail(FAULTS.app_framing_invalid);
					return;
				}
				this.payloadBytes = scanner.payloadBytes;
				const isWhole = result === COMPLETE;
				sink.responseHead(head, bytes, head.end, scanner.position);
				if (isWhole) this.#finish(scanner.position < bytes.length);
				return;
			}
			default:
				this.#mayKeep = false;
				this.payloadBytes = bytes.length - head.end;
				sink.responseHead(head, bytes, head.end, bytes.length);
				if (this.#peerEnded) this.#onEnd();
		}
	}

	#onBodyBytes(bytes: Buffer, from: number): void {
		const sink = this.#sink;
		if (sink === undefined) return;
		switch (this.#framing) {
			case FRAMING.LENGTH: {
				const available = bytes.length - from;
				if (available < this.#bodyLeft) {
					this.#bodyLeft -= available;
					this.payloadBytes += available;
					this.#pass(sink, bytes);
					return;
				}
				const end = from + this.#bodyLeft;
				this.payloadBytes += this.#bodyLeft;
				this.#bodyLeft = 0;
				this.#pass(sink, end === bytes.length ? bytes : bytes.subarray(from, end));
				this.#finish(end < bytes.length);
				return;
			}
			case FRAMING.CHUNKED:
				if (this.#dechunk) this.#dechunkBytes(bytes, from, sink);
				else this.#relayChunked(bytes, from, sink);
				return;
			default:
				if (from === bytes.length) return;
				this.payloadBytes += bytes.length - from;
				this.#pass(sink, from === 0 ? bytes : bytes.subarray(from));
		}
	}

	#relayChunked(bytes: Buffer, from: number, sink: ResponseSink): void {
		const scanner = this.#chunked;
		if (scanner === undefined) return;
		const result = scanner.scan(bytes, from, bytes.length);
		if (result !== COMPLETE && result !== INCOMPLETE) {
			this.#fail(FAULTS.app_framing_invalid);
			return;
		}
		this.payloadBytes = scanner.payloadBytes;
		const end = scanner.position;
		if (end > from) this.#pass(sink, from === 0 && end === bytes.length ? bytes : bytes.subarray(from, end));
		if (result === COMPLETE && this.#state === "body") this.#finish(end < bytes.length);
	}

	#dechunkBytes(bytes: Buffer, start: number, sink: ResponseSink): void {
		const scanner = this.#chunked;
		if (scanner === undefined) return;
		let from = start;
		for (;;) {
			const step = scanner.next(bytes, from, bytes.length);
			from = scanner.position;
			this.payloadBytes = scanner.payloadBytes;
			if (step === INCOMPLETE) return;
			if (step === COMPLETE) {
				this.#finish(from < bytes.length);
				return;
			}
			if (typeof step === "object") {
				this.#fail(FAULTS.app_framing_invalid);
				return;
			}
			this.#pass(sink, bytes.subarray(scanner.dataStart, scanner.dataEnd));
			if (this.#state !== "body") return;
		}
	}

	/** Part of the body on its way: kept by the client's side only when the client does not take it at once. */
	#pass(sink: ResponseSink, bytes: Buffer): void {
		const { stream } = this;
		if (bytes.length <= BATCH_BYTES_MAX || stream.isShared === true) {
			sink.responseBytes(this.#own(bytes));
			return;
		}
		sink.responseBytes(bytes);
		if (sink.holdsResponseBytes()) this.#own(bytes);
	}

	/** The bytes, for those who keep them beyond the event in which they came. */
	#own(bytes: Buffer): Buffer {
		return this.stream.own === undefined ? bytes : this.stream.own(bytes);
	}

	/** The response is whole. `hasMore`: bytes follow that belong to nothing. */
	#finish(hasMore: boolean): void {
		const sink = this.#sink;
		this.#sink = undefined;
		this.served++;
		const reusable =
			this.#mayKeep &&
			!hasMore &&
			this.#requestIsSent &&
			!this.#peerEnded &&
			!this.stream.destroyed &&
			this.stream.writableLength === 0;
		if (reusable) {
			this.#state = "idle";
			this.resume(); // the client may have stopped us with the last piece, and the next one is another
			this.idleSinceMs = this.#owner.now();
			this.#owner.released(this);
		} else {
			this.#close(true);
		}
		sink?.responseEnded();
	}

	#onEnd(): void {
		this.#peerEnded = true;
		switch (this.#state) {
			case "idle":
				this.#close(false, this.#owner.now() - this.idleSinceMs);
				break;
			case "head":
				this.#fail(this.#partial === undefined ? FAULTS.app_closed : FAULTS.app_head_invalid);
				break;
			case "body":
				if (this.#framing === FRAMING.CLOSE) this.#finish(false);
				else this.#fail(FAULTS.app_truncated);
				break;
			case "tunnel":
				this.#sink?.tunnelEnded();
				break;
			default:
				break;
		}
	}

	#onError(error: Error): void {
		switch (this.#state) {
			case "connecting":
				this.#fail(errorCode(error) === "ETIMEDOUT" ? FAULTS.app_connect_timeout : FAULTS.app_refused);
				break;
			case "head":
				this.#fail(this.hasAnswered ? FAULTS.app_head_invalid : FAULTS.app_reset);
				break;
			case "body":
				this.#fail(FAULTS.app_truncated); // a close-delimited body that ends with RST is not whole either
				break;
			case "idle":
				this.#close(false, this.#owner.now() - this.idleSinceMs);
				break;
			default:
				break;
		}
	}

	#onClose(): void {
		switch (this.#state) {
			case "closed":
				break;
			case "tunnel": {
				const sink = this.#sink;
				this.#close(false);
				sink?.tunnelClosed();
				break;
			}
			case "connecting":
				this.#fail(FAULTS.app_refused);
				break;
			case "head":
				this.#fail(FAULTS.app_reset);
				break;
			case "body":
				this.#fail(FAULTS.app_truncated);
				break;
			default:
				this.#close(false, 0); // idle: its owner has to forget it
		}
	}

	/** The connection was not made in time. */
	connectTimedOut(): void {
		this.#fail(FAULTS.app_connect_timeout);
	}

	#fail(fault: Fault): void {
		const sink = this.#sink;
		this.#sink = undefined;
		this.#close(true);
		sink?.upstreamFailed(fault);
	}

	#close(isReset: boolean, idleMs = -1): void {
		if (this.#state === "closed") return;
		this.#state = "closed";
		this.#partial = undefined;
		if (isReset && this.isConnected) reset(this.stream);
		else this.stream.destroy();
		this.#owner.closed(this, idleMs);
	}
}
