import { CELL, type Counters } from "../bridge/counters.ts";
import { FLAG_EVENT_STREAM, FLAG_PROBE, FLAG_RESENT, FLAG_REUSED } from "../bridge/exchange-record.ts";
import type { Exchange } from "../exchange/exchange.ts";
import type { RequestTaker, ResponseTaker } from "../exchange/exchange-events.ts";
import type { ReturnFields } from "../exchange/phases/return-fields.ts";
import { FAULTS, type Fault } from "../foundation/fault.ts";
import type { TurnClock } from "../foundation/turn-clock.ts";
import { BATCH_BYTES_MAX } from "../foundation/write-batch.ts";
import { FRAMING } from "../http1/body-framing.ts";
import { CHUNK_END, CHUNK_HEADER_BYTES_MAX, LAST_CHUNK, writeChunkHeader } from "../http1/chunked.ts";
import { FIELD } from "../http1/field-names.ts";
import type { HeadEdit } from "../http1/head-edit.ts";
import { isIdempotent } from "../http1/methods.ts";
import { MARK } from "../http1/scan-fields.ts";
import type { ResponseHead } from "../http1/scan-response-head.ts";
import type { ResponseSink, UpstreamConnection } from "./connection.ts";
import type { Pool } from "./pool.ts";

const ascii = (text: string): Buffer => Buffer.from(text, "latin1");
const VERSION = ascii("HTTP/1.1");
const CONNECTION_CLOSE = ascii("connection: close\r\n");
const CONNECTION_KEEP_ALIVE = ascii("connection: keep-alive\r\n");
const CONNECTION_UPGRADE = ascii("connection: upgrade\r\n");
const CONNECTION_TE = ascii("connection: te\r\nte: trailers\r\n");
const CONNECTION_TE_UPGRADE = ascii("connection: te, upgrade\r\nte: trailers\r\n");
const TRANSFER_CHUNKED = ascii("transfer-encoding: chunked\r\n");
/** For HTTP/1.0 clients that sent none (RFC 9112 §3.2 asks for it in what we forward). */
const HOST_UNKNOWN = ascii("host: localhost\r\n");
const HOST = ascii("host: ");
const LINE_END = ascii("\r\n");
const SLASH = ascii("/");
const ASTERISK = ascii("*");
const EVENT_STREAM = ascii("text/event-stream");

/** What all forwards of a data thread have in common. */
export interface ForwardParts {
	readonly clock: TurnClock;
	readonly counters: Counters;
	readonly edit: HeadEdit;
	readonly returnFields: ReturnFields;
	/** Takes a forward back whose exchange is over. */
	readonly release: (forward: Forward) => void;
}

/**
 * The app's side of one exchange: a connection from the pool, the head out, bodies both ways, the head back, the one resend.
 *
 * A request is written when its connection is made, so what fails before that has written nothing and is tried at the next address of
 * the app. After that a request is sent once more only if it is idempotent, has no body, its connection had carried another
 * exchange before, and no byte of an answer has come (`data-path.md`, the upstream side).
 */
export class Forward implements RequestTaker, ResponseSink {
	readonly #parts: ForwardParts;
	#pool: Pool;
	#x: Exchange | undefined;
	#taker: ResponseTaker | undefined;
	#connection: UpstreamConnection | undefined;
	/** The request as it goes out, until an answer begins: head, and the body that came with it. */
	#request: Buffer | undefined;
	#requestIsWhole = false;
	#hasWritten = false;
	#triedCandidates = 0;
	/** Index of the address that the present connection goes to. */
	#candidate = 0;
	#isTunnel = false;
	/** A response that ends with the connection is sent chunked to HTTP/1.1. */
	#rechunks = false;

	constructor(parts: ForwardParts, pool: Pool) {
		this.#parts = parts;
		this.#pool = pool;
	}

	/** Makes a pooled forward ready for another app. */
	reuse(pool: Pool): this {
		this.#pool = pool;
		return this;
	}

	// ── from the client ──────────────────────────────────────────────────────────────────────────────────────────

	begin(x: Exchange, taker: ResponseTaker, body: Buffer | undefined, isWhole: boolean): boolean {
		this.#x = x;
		this.#taker = taker;
		this.#requestIsWhole = isWhole;
		this.#hasWritten = false;
		this.#triedCandidates = 0;
		this.#isTunnel = false;
		this.#rechunks = false;
		this.#request = this.#render(x, body);
		const idle = this.#pool.takeIdle(isIdempotent(x.methodId));
		if (idle === undefined) return this.#open();
		x.flags |= FLAG_REUSED;
		return this.#use(idle);
	}

	send(bytes: Buffer): boolean {
		const connection = this.#connection;
		if (connection === undefined) return true;
		if (this.#hasWritten) {
			this.#request = undefined; // from here on nobody has all of the request any more
			return connection.write(bytes);
		}
		// Only what came with the head can come before the connection is made: the client is paused until then.
		this.#request = this.#request === undefined ? bytes : Buffer.concat([this.#request, bytes]);
		return false;
	}

	holdsRequestBytes(): boolean {
		return !this.#hasWritten || (this.#connection?.stream.writableLength ?? 0) > 0;
	}

	requestEnded(): void {
		this.#requestIsWhole = true;
		const connection = this.#connection;
		if (connection === undefined) return;
		if (this.#isTunnel) connection.stream.end();
		else if (this.#hasWritten) this.#noteSent(connection);
	}

	pauseResponse(): void {
		this.#connection?.pause();
	}

	resumeResponse(): void {
		this.#connection?.stream.releaseBytes?.(); // the client has taken all there was
		this.#connection?.resume();
	}

	abandon(): void {
		const connection = this.#connection;
		const x = this.#x;
		if (x !== undefined && connection?.hasAnswered) this.#noteBody(x, connection);
		this.#forget();
		connection?.abandon();
	}

	// ── to the app ───────────────────────────────────────────────────────────────────────────────────────────────

	/** The request as the app gets it. */
	#render(x: Exchange, body: Buffer | undefined): Buffer {
		const head = x.head;
		const fields = head.fields;
		const edit = this.#parts.edit;
		edit.begin(x.headBytes, head.start, head.end);
		if (head.minorVersion === 0) edit.replaceRange(head.targetEnd + 1, head.startLineEnd - 2, VERSION);
		const isAbsolute = head.authorityEnd > head.authorityStart;
		if (isAbsolute) {
			const prefix = head.originPrefix === 0 ? undefined : head.originPrefix === 0x2a ? ASTERISK : SLASH;
			if (prefix === undefined) edit.cut(head.targetStart, head.originStart);
			else edit.replaceRange(head.targetStart, head.originStart, prefix);
		}
		const keepsUpgrade = head.upgradeAsked;
		for (let i = 0; i < fields.count; i++) {
			const id = fields.fieldId(i);
			if (id === FIELD.UPGRADE && keepsUpgrade) continue;
			if (fields.mark(i) !== MARK.FORWARD || (isAbsolute && id === FIELD.HOST)) edit.cutField(head, i);
		}
		const forwardsAt = x.maxForwards < 0 ? -1 : fields.first(FIELD.MAX_FORWARDS);
		if (forwardsAt >= 0 && fields.mark(forwardsAt) === MARK.FORWARD) {
			edit.replaceRange(fields.valueStart(forwardsAt), fields.valueEnd(forwardsAt), ascii(String(x.maxForwards)));
		}
		if (isAbsolute) {
			edit.put(HOST);
			edit.putRange(x.headBytes, head.authorityStart, head.authorityEnd);
			edit.put(LINE_END);
		} else if (fields.first(FIELD.HOST) < 0) {
			edit.put(HOST_UNKNOWN);
		}
		if (head.teTrailers) edit.put(keepsUpgrade ? CONNECTION_TE_UPGRADE : CONNECTION_TE);
		else if (keepsUpgrade) edit.put(CONNECTION_UPGRADE);
		edit.putRange(x.lines, 0, x.linesEnd);

		const bodyBytes = body === undefined ? 0 : body.length;
		const request = Buffer.allocUnsafe(edit.byteLength + bodyBytes);
		const end = edit.writeTo(request, 0);
		body?.copy(request, end);
		return request;
	}

	#open(): boolean {
		const x = this.#x;
		if (x === undefined) return true;
		x.flags &= ~FLAG_REUSED;
		x.connectBeganMs = this.#parts.clock.monotonicMs();
		this.#candidate = this.#pool.candidate;
		const connection = this.#pool.open();
		if (connection === undefined) {
			this.#parts.counters.add(CELL.UPSTREAM_FAILED_START + FAULTS.app_refused.index, 1);
			this.#giveUp(FAULTS.app_refused);
			return true;
		}
		return this.#use(connection);
	}

	#use(connection: UpstreamConnection): boolean {
		const x = this.#x;
		if (x === undefined) return true;
		this.#connection = connection;
		connection.begin(this, x.methodId, x.minorVersion === 0, x.head.upgradeAsked);
		return connection.isConnected ? this.#write(connection) : false;
	}

	#write(connection: UpstreamConnection): boolean {
		const request = this.#request;
		const x = this.#x;
		if (request === undefined || x === undefined) return true;
		this.#hasWritten = true;
		const isWelcome = connection.write(request);
		if (this.#connection !== connection) return false; // it refused the bytes at once, and another takes its place
		// A small request may still be refused, at the end of the turn; a large one has been written, and is not kept for that.
		if (request.length > BATCH_BYTES_MAX && !isResendable(x)) this.#request = undefined;
		if (this.#requestIsWhole) this.#noteSent(connection);
		return isWelcome;
	}

	#noteSent(connection: UpstreamConnection): void {
		const x = this.#x;
		if (x !== undefined) x.sentMs = this.#parts.clock.monotonicMs();
		connection.requestSent();
	}

	// ── from the app ─────────────────────────────────────────────────────────────────────────────────────────────

	upstreamConnected(): void {
		const x = this.#x;
		const connection = this.#connection;
		if (x === undefined || connection === undefined) return;
		x.connectMs = this.#parts.clock.monotonicMs() - x.connectBeganMs;
		if (this.#write(connection)) this.#taker?.requestDrained();
	}

	upstreamRefusedBytes(): void {
		const connection = this.#connection;
		if (connection === undefined || connection.served === 0 || this.#request === undefined) return;
		// The kernel took no byte of it, since the app had closed: no request is less sent than this one.
		this.#connection = undefined;
		connection.abandon();
		this.#parts.counters.add(CELL.RESENT_START + RESENT_DEAD, 1);
		this.#hasWritten = false;
		this.#open();
	}

	upstreamDrained(): void {
		this.#taker?.requestDrained();
	}

	informational(head: ResponseHead, bytes: Buffer): void {
		const x = this.#x;
		// HTTP/1.0 knows no 1xx (RFC 9110 §15.2).
		if (x === undefined || x.minorVersion === 0) return;
		const { edit, returnFields } = this.#parts;
		edit.begin(bytes, head.start, head.end);
		returnFields.apply(x, head, bytes, edit);
		const out = Buffer.allocUnsafe(edit.byteLength);
		edit.writeTo(out, 0);
		this.#taker?.informational(out);
	}

	responseHead(head: ResponseHead, bytes: Buffer, bodyStart: number, bodyEnd: number): void {
		const x = this.#x;
		const taker = this.#taker;
		if (x === undefined || taker === undefined) return;
		this.#request = undefined;
		x.answeredMs = this.#parts.clock.monotonicMs();
		x.waitMs = x.answeredMs - (x.sentMs >= 0 ? x.sentMs : x.startedMs); // NaN when the answer came before the request was whole
		x.status = head.status;
		if (head.keepAliveTimeoutSeconds >= 0) this.#pool.lesson.told(head.keepAliveTimeoutSeconds);

		const { edit, returnFields } = this.#parts;
		edit.begin(bytes, head.start, head.end);
		if (head.minorVersion === 0) edit.replaceRange(head.start, head.start + VERSION.length, VERSION);
		returnFields.apply(x, head, bytes, edit);
		if (head.status === 101) {
			if (!isUpgradeAskedFor(x, head, bytes)) {
				this.#parts.counters.add(CELL.UPSTREAM_FAILED_START + FAULTS.app_upgrade_unasked.index, 1);
				this.#connection?.abandon();
				this.#giveUp(FAULTS.app_upgrade_unasked);
				return;
			}
			this.#isTunnel = true;
			const at = head.first(FIELD.UPGRADE);
			edit.put(CONNECTION_UPGRADE);
			edit.putRange(bytes, head.lineStart(at), head.lineEnd(at));
			const out = Buffer.allocUnsafe(edit.byteLength);
			edit.writeTo(out, 0);
			taker.upgraded(out);
			return;
		}
		this.#noteEventStream(x, head, bytes);

		const isHttp10 = x.minorVersion === 0;
		// To HTTP/1.0 a chunked body goes without its framing, and the end of the connection is its end.
		const isDechunked = isHttp10 && head.framing === FRAMING.CHUNKED;
		const codingAt = isHttp10 ? head.first(FIELD.TRANSFER_ENCODING) : -1; // also in answers to HEAD and in 304 (RFC 9112 §6.1)
		if (codingAt >= 0) edit.cutField(head, codingAt);
		this.#rechunks = head.framing === FRAMING.CLOSE && !isHttp10;
		if (this.#rechunks) edit.put(TRANSFER_CHUNKED);
		if (taker.closesAfterResponse(isHttp10 && (isDechunked || head.framing === FRAMING.CLOSE)))
			edit.put(CONNECTION_CLOSE);
		else if (isHttp10) edit.put(CONNECTION_KEEP_ALIVE);

		const bodyBytes = bodyEnd - bodyStart;
		if (this.#rechunks) {
			const out = Buffer.allocUnsafe(edit.byteLength);
			edit.writeTo(out, 0);
			taker.response(out);
			if (bodyBytes > 0) this.responseBytes(bytes.subarray(bodyStart, bodyEnd));
			return;
		}
		const out = Buffer.allocUnsafe(edit.byteLength + bodyBytes);
		const end = edit.writeTo(out, 0);
		if (bodyBytes > 0) bytes.copy(out, end, bodyStart, bodyEnd);
		taker.response(out);
	}

	responseBytes(bytes: Buffer): void {
		const taker = this.#taker;
		if (taker === undefined) return;
		if (!this.#rechunks) {
			taker.body(bytes);
			return;
		}
		const out = Buffer.allocUnsafe(CHUNK_HEADER_BYTES_MAX + bytes.length + CHUNK_END.length);
		let end = writeChunkHeader(bytes.length, out, 0);
		end += bytes.copy(out, end);
		end += CHUNK_END.copy(out, end);
		taker.body(out.subarray(0, end));
	}

	holdsResponseBytes(): boolean {
		return this.#taker?.holdsResponseBytes() === true;
	}

	responseEnded(): void {
		const x = this.#x;
		const taker = this.#taker;
		const connection = this.#connection;
		if (x !== undefined && connection !== undefined) this.#noteBody(x, connection);
		if (this.#rechunks) taker?.body(LAST_CHUNK);
		this.#forget();
		taker?.responseEnded();
	}

	upstreamFailed(fault: Fault): void {
		const x = this.#x;
		const connection = this.#connection;
		if (x === undefined || connection === undefined) return;
		if (fault.blame === "upstream") this.#parts.counters.add(CELL.UPSTREAM_FAILED_START + fault.index, 1);
		if (!connection.isConnected && fault === FAULTS.app_refused && ++this.#triedCandidates < this.#pool.candidates) {
			this.#pool.tryNextCandidate(this.#candidate);
			this.#open();
			return;
		}
		if (this.#mayResend(x, connection, fault)) {
			x.flags |= FLAG_RESENT;
			this.#hasWritten = false;
			this.#parts.counters.add(CELL.RESENT_START + (fault === FAULTS.app_closed ? RESENT_CLOSED : RESENT_RESET), 1);
			this.#open();
			return;
		}
		if (connection.hasAnswered) this.#noteBody(x, connection);
		this.#giveUp(fault);
	}

	tunnelBytes(bytes: Buffer): void {
		const x = this.#x;
		if (x !== undefined) x.responseBodyBytes += bytes.length;
		this.#taker?.tunnelBytes(bytes);
	}

	tunnelEnded(): void {
		this.#taker?.tunnelEnded();
	}

	tunnelClosed(): void {
		const taker = this.#taker;
		this.#forget();
		taker?.tunnelClosed();
	}

	#mayResend(x: Exchange, connection: UpstreamConnection, fault: Fault): boolean {
		return (
			fault.resend &&
			isResendable(x) &&
			(x.flags & FLAG_RESENT) === 0 &&
			connection.served > 0 &&
			!connection.hasAnswered &&
			this.#request !== undefined
		);
	}

	#giveUp(fault: Fault): void {
		const taker = this.#taker;
		this.#forget();
		taker?.failed(fault);
	}

	#noteBody(x: Exchange, connection: UpstreamConnection): void {
		if (!this.#isTunnel) x.responseBodyBytes = connection.payloadBytes;
	}

	#noteEventStream(x: Exchange, head: ResponseHead, bytes: Buffer): void {
		if ((x.flags & FLAG_PROBE) !== 0) return; // whatever it is answered, nothing waits for a probe
		const at = head.first(FIELD.CONTENT_TYPE);
		if (at < 0) return;
		const start = head.valueStart(at);
		if (head.valueEnd(at) - start < EVENT_STREAM.length) return;
		for (let i = 0; i < EVENT_STREAM.length; i++) {
			if (((bytes[start + i] ?? 0) | 0x20) !== ((EVENT_STREAM[i] ?? 0) | 0x20)) return;
		}
		x.flags |= FLAG_EVENT_STREAM;
		this.#parts.counters.add(CELL.EVENT_STREAMS, 1);
	}

	#forget(): void {
		this.#x = undefined;
		this.#taker = undefined;
		this.#connection = undefined;
		this.#request = undefined;
		this.#parts.release(this);
	}
}

/** Whether each protocol that the app switches to was named by the client (RFC 9110 §7.8). A 101 is rare: texts will do. */
const isUpgradeAskedFor = (x: Exchange, head: ResponseHead, bytes: Buffer): boolean => {
	const { fields } = x.head;
	const asked = new Set<string>();
	for (let i = fields.first(FIELD.UPGRADE); i >= 0; i = fields.next(FIELD.UPGRADE, i)) {
		for (const protocol of protocolsOf(x.headBytes, fields.valueStart(i), fields.valueEnd(i))) asked.add(protocol);
	}
	for (let i = head.first(FIELD.UPGRADE); i >= 0; i = head.next(FIELD.UPGRADE, i)) {
		for (const protocol of protocolsOf(bytes, head.valueStart(i), head.valueEnd(i)))
			if (!asked.has(protocol)) return false;
	}
	return true;
};

const protocolsOf = (bytes: Buffer, start: number, end: number): string[] =>
	bytes
		.toString("latin1", start, end)
		.toLowerCase()
		.split(",")
		.map((name) => name.trim())
		.filter((name) => name !== "");

/** Indices in `RESEND_REASONS`. */
const RESENT_CLOSED = 0;
const RESENT_RESET = 1;
const RESENT_DEAD = 2;

const isResendable = (x: Exchange): boolean => isIdempotent(x.methodId) && x.head.framing === FRAMING.NONE;
