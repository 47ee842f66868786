/**
 * The head of a response of the app: RFC 9112 §4–§6. Same promises as `scan-head.ts`.
 *
 *   VERSION ─ 8 octets, SP ─► STATUS ─ 3 digits ─► STATUS_END ─ SP ─► REASON ─ CR ─► LINE_LF ─ LF ─► FIELDS ─► DONE
 *                                                     └────────────── CR ───────────────►┘
 *
 * Strict as for requests wherever a client could frame the response otherwise than we do: CRLF only, no obs-fold, no space
 * before the colon, no control characters, one Content-Length (twice is refused, even equal), not beside
 * Transfer-Encoding, only `chunked`, and none in HTTP/1.0.
 *
 * Lenient where it is harmless and common:
 * - no reason, with or without the space before it (`HTTP/1.1 200`);
 * - obs-text in the reason and in values;
 * - statuses from 100 to 999: real applications answer 9xx; they are passed on as they are;
 * - Content-Length in answers to HEAD, in 304, and even in 204 and 1xx, where it is marked as forbidden and so cut out
 *   (RFC 9110 §8.6); Transfer-Encoding in 204 and 1xx likewise, and the connection is then not used again, because nobody
 *   knows whether the app sends a last chunk.
 */
import { FAULTS, type Fault } from "../foundation/fault.ts";
import { checkCoding, FRAMING, parseLength } from "./body-framing.ts";
import { isH2c, keepAliveSeconds, ListCursor, OPTION, optionOf } from "./connection-fields.ts";
import { FIELD, FIELD_FLAG, type FieldNames } from "./field-names.ts";
import type { HeadLimits } from "./limits.ts";
import { METHOD } from "./methods.ts";
import { CR, IS_VALUE, LF, SLASH, SP } from "./octets.ts";
import { FieldLines, MARK, NOTICE } from "./scan-fields.ts";
import { COMPLETE, INCOMPLETE, type ScanResult } from "./scan-result.ts";

const VERSION = 0;
const STATUS = 1;
const STATUS_END = 2;
const REASON = 3;
const LINE_LF = 4;
const FIELDS = 5;
const DONE = 6;
const FAILED = 7;

/** `HTTP/1.` DIGIT SP; the zero stands for 0 or 1. */
const VERSION_PATTERN = Uint8Array.from([0x48, 0x54, 0x54, 0x50, SLASH, 0x31, 0x2e, 0, SP]);

/** A reusable head of a response. Offsets are −1 until their byte has been seen. */
export class ResponseHead {
	start = 0;
	/** Byte after the blank line; −1 until the head is complete. */
	end = -1;
	/** 0 or 1. */
	minorVersion = 1;
	/** 100 to 999; 0 until it has been seen. */
	status = 0;
	/** The reason phrase, possibly empty. */
	reasonStart = -1;
	reasonEnd = -1;
	/** Byte after the CRLF of the status line. */
	startLineEnd = -1;

	// Known when the head is complete:
	/** One of `FRAMING`, given the method of the request (RFC 9112 §6.3). */
	framing: number = FRAMING.NONE;
	/** Octets of the body with FRAMING.LENGTH, else 0. */
	contentLength = 0;
	/** Whether the connection to the app can carry another request after this response. */
	keepAlive = false;
	/** `timeout=` of Keep-Alive in seconds, −1 when it is not there. */
	keepAliveTimeoutSeconds = -1;
	/** 101 with an Upgrade field. */
	isUpgrade = false;
	/** The protocols of the Upgrade field include h2c. */
	isH2cUpgrade = false;

	readonly #fields: FieldLines;
	readonly #names: FieldNames;
	readonly #limits: HeadLimits;
	readonly #cursor = new ListCursor();
	#state = VERSION;
	#position = 0;
	#limit = 0;
	#fault: Fault | undefined = undefined;
	#methodId: number = METHOD.GET;
	#options = 0;
	#nominations = 0;
	/** What the framing fields say, before method and status have their word: −1, or a length. */
	#length = -1;
	#isChunked = false;
	#upgrades = false;

	constructor(limits: HeadLimits, names: FieldNames) {
		this.#limits = limits;
		this.#names = names;
		this.#fields = new FieldLines(limits, names);
	}

	/** Makes the head ready for a response that begins at offset `start`, to a request with this method. */
	reset(start: number, methodId: number): void {
		this.start = start;
		this.end = -1;
		this.minorVersion = 1;
		this.status = 0;
		this.reasonStart = -1;
		this.reasonEnd = -1;
		this.startLineEnd = -1;
		this.framing = FRAMING.NONE;
		this.contentLength = 0;
		this.keepAlive = false;
		this.keepAliveTimeoutSeconds = -1;
		this.isUpgrade = false;
		this.isH2cUpgrade = false;
		this.#fields.reset(start);
		this.#state = VERSION;
		this.#position = start;
		this.#limit = start + this.#limits.headBytesMax;
		this.#fault = undefined;
		this.#methodId = methodId;
		this.#options = 0;
		this.#nominations = 0;
		this.#length = -1;
		this.#isChunked = false;
		this.#upgrades = false;
	}

	/** Complete field lines so far. */
	get fieldCount(): number {
		return this.#fields.count;
	}
	/** 1xx but 101: another head follows. */
	get isInformational(): boolean {
		return this.status < 200 && this.status !== 101;
	}
	nameStart(i: number): number {
		return this.#fields.nameStart(i);
	}
	nameEnd(i: number): number {
		return this.#fields.nameEnd(i);
	}
	/** Value without the white space around it. */
	valueStart(i: number): number {
		return this.#fields.valueStart(i);
	}
	valueEnd(i: number): number {
		return this.#fields.valueEnd(i);
	}
	lineStart(i: number): number {
		return this.#fields.nameStart(i);
	}
	/** Byte after the CRLF of the line. */
	lineEnd(i: number): number {
		return this.#fields.lineEnd(i);
	}
	/** Id in the `FieldNames` of this head, 0 when unknown. */
	fieldId(i: number): number {
		return this.#fields.fieldId(i);
	}
	/** One of `MARK`: whether the field is forwarded, and if not, why. Complete heads only. */
	mark(i: number): number {
		return this.#fields.mark(i);
	}
	/** Index of the first field with this id, −1 when there is none. */
	first(id: number): number {
		return this.#fields.first(id);
	}
	/** How many fields have this id. */
	count(id: number): number {
		return this.#fields.countOf(id);
	}
	/** Index of the next field with this id after field i, −1 when there is none. */
	next(id: number, i: number): number {
		return this.#fields.next(id, i);
	}

	/** Continues over bytes[position..to). The bytes from `start` on must stand at the same offsets at every call. */
	scan(bytes: Uint8Array, to: number): ScanResult {
		if (this.#state >= DONE) return this.#fault ?? COMPLETE;
		const limit = this.#limit;
		const stop = to < limit ? to : limit;
		if (this.#state < FIELDS) {
			if (!this.#scanStatusLine(bytes, stop)) return this.#fail(FAULTS.app_head_invalid);
			if (this.#state < FIELDS) return stop === limit ? this.#fail(FAULTS.app_head_too_large) : INCOMPLETE;
		}
		const fields = this.#fields;
		for (;;) {
			const result = fields.scan(bytes, stop);
			if (result === NOTICE) {
				const fault = this.#notice(bytes, fields.count - 1);
				if (fault !== undefined) return this.#fail(fault);
			} else if (result === COMPLETE) {
				this.end = fields.position;
				this.#settle(bytes);
				this.#state = DONE;
				return COMPLETE;
			} else if (result === INCOMPLETE) {
				return stop === limit ? this.#fail(FAULTS.app_head_too_large) : INCOMPLETE;
			} else {
				const tooMany = result === FAULTS.head_too_many_fields;
				return this.#fail(tooMany ? FAULTS.app_head_too_large : FAULTS.app_head_invalid);
			}
		}
	}

	#fail(fault: Fault): Fault {
		this.#state = FAILED;
		this.#fault = fault;
		return fault;
	}

	/** False when the line is none. Leaves `#state` at FIELDS when it is there. */
	#scanStatusLine(bytes: Uint8Array, to: number): boolean {
		let p = this.#position;
		let state = this.#state;
		while (p < to) {
			let octet = bytes[p] as number;
			if (state === VERSION) {
				const expected = VERSION_PATTERN[p - this.start] as number; // below 9, see two lines down
				if (expected === 0 ? octet !== 0x30 && octet !== 0x31 : octet !== expected) return false;
				if (++p === this.start + VERSION_PATTERN.length) {
					this.minorVersion = bytes[p - 2] === 0x31 ? 1 : 0;
					state = STATUS;
				}
			} else if (state === STATUS) {
				const digit = octet - 0x30;
				const first = this.start + VERSION_PATTERN.length;
				if (digit < 0 || digit > 9 || (p === first && digit === 0)) return false;
				this.status = this.status * 10 + digit;
				if (++p === first + 3) state = STATUS_END;
			} else if (state === STATUS_END) {
				p++;
				if (octet === SP) {
					this.reasonStart = p;
					state = REASON;
				} else if (octet === CR) {
					this.reasonStart = p - 1;
					this.reasonEnd = p - 1;
					state = LINE_LF;
				} else return false;
			} else if (state === REASON) {
				while (IS_VALUE[octet] !== 0 && ++p < to) octet = bytes[p] as number;
				if (p === to) break;
				if (octet !== CR) return false;
				this.reasonEnd = p++;
				state = LINE_LF;
			} else {
				if (octet !== LF) return false;
				this.startLineEnd = ++p;
				this.#state = FIELDS;
				this.#fields.reset(p);
				return true;
			}
		}
		this.#position = p;
		this.#state = state;
		return true;
	}

	#notice(bytes: Uint8Array, i: number): Fault | undefined {
		const fields = this.#fields;
		const from = fields.valueStart(i);
		const to = fields.valueEnd(i);
		const cursor = this.#cursor;
		switch (fields.fieldId(i)) {
			case FIELD.CONTENT_LENGTH:
				if (this.#length !== -1 || this.#isChunked) return FAULTS.app_framing_invalid;
				this.#length = parseLength(bytes, from, to);
				return this.#length < 0 ? FAULTS.app_framing_invalid : undefined;
			case FIELD.TRANSFER_ENCODING:
				// RFC 9112 §6.1: in HTTP/1.0 the framing is faulty, whatever else is there.
				if (this.minorVersion === 0 || this.#isChunked || this.#length !== -1) return FAULTS.app_framing_invalid;
				this.#isChunked = true;
				return checkCoding(bytes, from, to) === undefined ? undefined : FAULTS.app_framing_invalid;
			case FIELD.CONNECTION:
				return this.#readConnection(bytes, from, to);
			case FIELD.KEEP_ALIVE:
				cursor.begin(from, to);
				while (cursor.next(bytes)) {
					const seconds = keepAliveSeconds(bytes, cursor.start, cursor.end);
					if (seconds >= 0) this.keepAliveTimeoutSeconds = seconds;
				}
				return undefined;
			case FIELD.UPGRADE:
				cursor.begin(from, to);
				while (cursor.next(bytes)) {
					this.#upgrades = true;
					if (isH2c(bytes, cursor.start, cursor.end)) this.isH2cUpgrade = true;
				}
				return undefined;
			default:
				return undefined; // Host, TE, Expect: nothing that a response could mean by them
		}
	}

	/** What an app names stops here, except the framing: without it the client would read another body than we do. */
	#readConnection(bytes: Uint8Array, from: number, to: number): Fault | undefined {
		const cursor = this.#cursor;
		cursor.begin(from, to);
		while (cursor.next(bytes)) {
			const option = optionOf(bytes, cursor.start, cursor.end);
			this.#options |= option;
			if (option !== OPTION.OTHER) continue;
			const id = this.#names.find(bytes, cursor.start, cursor.end);
			if (id > 0 && (this.#names.flags(id) & FIELD_FLAG.FRAMES) !== 0) return FAULTS.app_framing_invalid;
			if (++this.#nominations > this.#limits.headersMax) return FAULTS.app_head_too_large;
		}
		return undefined;
	}

	/** RFC 9112 §6.3: how the body ends, and §9.3: whether the connection goes on. */
	#settle(bytes: Uint8Array): void {
		const fields = this.#fields;
		const status = this.status;
		const options = this.#options;
		let keepAlive = (options & OPTION.CLOSE) === 0 && (this.minorVersion === 1 || (options & OPTION.KEEP_ALIVE) !== 0);
		this.isUpgrade = status === 101 && this.#upgrades;
		if (this.#nominations > 0) fields.markNominated(bytes, this.#cursor);
		if (status < 200 || status === 204) {
			if (this.#isChunked) keepAlive = false;
			this.#forbid(FIELD.CONTENT_LENGTH);
			this.#forbid(FIELD.TRANSFER_ENCODING);
		} else if (this.#methodId !== METHOD.HEAD && status !== 304) {
			if (this.#isChunked) this.framing = FRAMING.CHUNKED;
			else if (this.#length >= 0) {
				this.framing = FRAMING.LENGTH;
				this.contentLength = this.#length;
			} else {
				this.framing = FRAMING.CLOSE;
				keepAlive = false;
			}
		}
		this.keepAlive = keepAlive;
	}

	#forbid(id: number): void {
		const i = this.#fields.first(id);
		if (i !== -1) this.#fields.setMark(i, MARK.FORBIDDEN);
	}
}
