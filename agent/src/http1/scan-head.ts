/**
 * The head of a request: bytes → offsets and meaning, or the Fault that refuses it. RFC 9112 §2–§6, RFC 9110 §7.
 *
 *   START ─ CR ─► START_LF ─ LF ─► METHOD      (one empty line may stand before: RFC 9112 §2.2)
 *     └─ tchar ─► METHOD ─ SP ─► PATH ─ '?' ─► QUERY ─ SP ─► VERSION ─ 8 octets ─► LINE_CR ─ CR ─► LINE_LF ─ LF ─►
 *     FIELDS (scan-fields.ts, line by line) ─ blank line ─► DONE
 *   any ─ first wrong byte ─► FAILED            (stays there: the same Fault again)
 *
 * Promises: each byte is looked at once, however the input is cut, and the cut never changes the verdict: what is wrong is
 * told at the first byte that makes it wrong. Nothing is allocated, decoded or copied; what is known are offsets into the
 * caller's bytes, which therefore stay at the same offsets until the head has been used.
 *
 * The strict reading is taken wherever two are possible. Beyond the syntax this file settles how the body ends, whether
 * the connection persists, what the client asked of the connection, and which fields stop here (`mark`).
 *
 * Decisions that the RFCs leave open:
 * - An empty Host is taken (RFC 9112 §3.2 makes clients send it when the target has no authority); `:80` alone is not.
 * - Host twice is refused in HTTP/1.0 too. HTTP/1.0 without Host passes.
 * - absolute-form only with http and https, without userinfo, with a host; a `#` never belongs to its authority.
 * - HTTP/1.0 keeps the connection with `Connection: keep-alive`, as every server in use does (RFC 9112 §9.3 warns of
 *   old proxies that pass the option on blindly; those are gone).
 * - The version is judged after its line is complete, so that garbage is 400 and another HTTP is 505.
 *
 * Not here: what a field outside framing, Host and Connection holds.
 */
import { FAULTS, type Fault } from "../foundation/fault.ts";
import { isAuthority } from "./authority.ts";
import { checkCoding, FRAMING, LENGTH_LIST, parseLength } from "./body-framing.ts";
import { isH2c, isTrailers, ListCursor, OPTION, optionOf } from "./connection-fields.ts";
import { FIELD, FIELD_FLAG, type FieldNames } from "./field-names.ts";
import type { HeadLimits } from "./limits.ts";
import { METHOD, methodIdOf } from "./methods.ts";
import {
	ASTERISK,
	COLON,
	CR,
	equalsIgnoringCase,
	IS_PATH,
	IS_TARGET,
	IS_TOKEN,
	LF,
	QUESTION,
	SLASH,
	SP,
} from "./octets.ts";
import { FieldLines, NOTICE } from "./scan-fields.ts";
import { COMPLETE, INCOMPLETE, type ScanResult } from "./scan-result.ts";

export { FRAMING } from "./body-framing.ts";
export { MARK } from "./scan-fields.ts";
export { ResponseHead } from "./scan-response-head.ts";
export { COMPLETE, INCOMPLETE, type ScanResult } from "./scan-result.ts";

/** Forms of a request target (RFC 9112 §3.2). AUTHORITY comes with CONNECT only, which is not forwarded. */
export const TARGET = { ORIGIN: 0, ABSOLUTE: 1, ASTERISK: 2, AUTHORITY: 3 } as const;

const START = 0;
const START_LF = 1;
const METHOD_NAME = 2;
const PATH = 3;
const QUERY = 4;
const VERSION = 5;
const LINE_CR = 6;
const LINE_LF = 7;
const FIELDS = 8;
const DONE = 9;
const FAILED = 10;

/** `HTTP/` DIGIT `.` DIGIT; zeros stand for digits. */
const VERSION_PATTERN = Uint8Array.from([0x48, 0x54, 0x54, 0x50, SLASH, 0, 0x2e, 0]);
const SCHEME_HTTP = Uint8Array.from(Buffer.from("http://", "latin1"));
const SCHEME_HTTPS = Uint8Array.from(Buffer.from("https://", "latin1"));
const CONTINUE = Uint8Array.from(Buffer.from("100-continue", "latin1"));

/** A reusable head of a request, one per exchange. Offsets are −1 until their byte has been seen. */
export class RequestHead {
	/** Where the request line begins: after the empty line that may stand before it. */
	start = 0;
	/** Byte after the blank line; −1 until the head is complete. */
	end = -1;
	/** Id in `METHODS`; 0 for a method that is not in the list or not yet there. */
	methodId: number = METHOD.OTHER;
	methodStart = -1;
	methodEnd = -1;
	targetStart = -1;
	targetEnd = -1;
	/** One of `TARGET`. */
	targetForm: number = TARGET.ORIGIN;
	/** absolute-form (and CONNECT's authority-form): the authority; else −1. */
	authorityStart = -1;
	authorityEnd = -1;
	/** Where the origin-form begins within the target; `targetEnd` when absolute-form has neither path nor query. */
	originStart = -1;
	/** Octet to put before the origin-form: `/` when absolute-form has no path, `*` for OPTIONS (RFC 9112 §3.2.4), else 0. */
	originPrefix = 0;
	/** End of the path: before the first `?`, or the end of the target. */
	pathEnd = -1;
	/** 0 or 1. */
	minorVersion = 1;
	/** Byte after the CRLF of the request line. */
	startLineEnd = -1;

	// Known when the head is complete:
	/** One of `FRAMING`, never CLOSE. */
	framing: number = FRAMING.NONE;
	/** Octets of the body with FRAMING.LENGTH, else 0. */
	contentLength = 0;
	/** Whether the client keeps the connection (RFC 9112 §9.3). Always false after CONNECT: what follows may be no HTTP. */
	keepAlive = false;
	/** `Expect: 100-continue` in HTTP/1.1 with a body to come (RFC 9110 §10.1.1). */
	expectsContinue = false;
	/** Upgrade asked for, in HTTP/1.1, with `Connection: upgrade`, and not to h2c: it is forwarded. */
	upgradeAsked = false;
	/** The upgrade asked for has h2c in its list: it is not forwarded. */
	isH2cUpgrade = false;
	/** `TE: trailers`: the client takes trailers; all else of TE stops here. */
	teTrailers = false;

	readonly #fields: FieldLines;
	readonly #names: FieldNames;
	readonly #limits: HeadLimits;
	readonly #cursor = new ListCursor();
	#state = START;
	#position = 0;
	/** Offset that the head must end at or before. */
	#limit = 0;
	#fault: Fault | undefined = undefined;
	/** `OPTION` bits of all Connection fields. */
	#options = 0;
	/** How many names of fields the Connection fields hold. */
	#nominations = 0;
	#expects = false;

	constructor(limits: HeadLimits, names: FieldNames) {
		this.#limits = limits;
		this.#names = names;
		this.#fields = new FieldLines(limits, names);
	}

	/** Makes the head ready for a message that begins at offset `start`. */
	reset(start: number): void {
		this.start = start;
		this.end = -1;
		this.methodId = METHOD.OTHER;
		this.methodStart = -1;
		this.methodEnd = -1;
		this.targetStart = -1;
		this.targetEnd = -1;
		this.targetForm = TARGET.ORIGIN;
		this.authorityStart = -1;
		this.authorityEnd = -1;
		this.originStart = -1;
		this.originPrefix = 0;
		this.pathEnd = -1;
		this.minorVersion = 1;
		this.startLineEnd = -1;
		this.framing = FRAMING.NONE;
		this.contentLength = 0;
		this.keepAlive = false;
		this.expectsContinue = false;
		this.upgradeAsked = false;
		this.isH2cUpgrade = false;
		this.teTrailers = false;
		this.#fields.reset(start);
		this.#state = START;
		this.#position = start;
		this.#limit = start + this.#limits.headBytesMax;
		this.#fault = undefined;
		this.#options = 0;
		this.#nominations = 0;
		this.#expects = false;
	}

	/** The field lines, for what goes through all of them. */
	get fields(): FieldLines {
		return this.#fields;
	}
	/** Complete field lines so far. */
	get fieldCount(): number {
		return this.#fields.count;
	}
	/** Whether any byte of a request has been seen; an empty line before it is none. */
	get hasBegun(): boolean {
		return this.methodStart !== -1;
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

	/**
	 * Continues over bytes[position..to). The bytes from `start` on must stand at the same offsets at every call.
	 *
	 * CONNECT and TRACE give `method_not_allowed` only when their head is complete: offsets, framing and `keepAlive` are then
	 * valid, so that the connection can go on after the answer.
	 */
	scan(bytes: Uint8Array, to: number): ScanResult {
		if (this.#state >= DONE) return this.#fault ?? COMPLETE;
		const limit = this.#limit;
		const stop = to < limit ? to : limit;
		if (this.#state < FIELDS) {
			const fault = this.#scanRequestLine(bytes, stop);
			if (fault !== undefined) return this.#fail(fault);
			// Without the final LF, or with it as the last byte allowed:
			if (this.#state < FIELDS) return stop === limit ? this.#fail(FAULTS.head_too_large) : INCOMPLETE;
		}
		const fields = this.#fields;
		for (;;) {
			const result = fields.scan(bytes, stop);
			if (result === NOTICE) {
				const fault = this.#notice(bytes, fields.count - 1);
				if (fault !== undefined) return this.#fail(fault);
			} else if (result === COMPLETE) {
				this.end = fields.position;
				const fault = this.#settle(bytes);
				if (fault !== undefined) return this.#fail(fault);
				this.#state = DONE;
				return COMPLETE;
			} else if (result === INCOMPLETE) {
				return stop === limit ? this.#fail(FAULTS.head_too_large) : INCOMPLETE;
			} else return this.#fail(result);
		}
	}

	#fail(fault: Fault): Fault {
		this.#state = FAILED;
		this.#fault = fault;
		return fault;
	}

	/** Leaves `#state` at FIELDS when the line is there. */
	#scanRequestLine(bytes: Uint8Array, to: number): Fault | undefined {
		let p = this.#position;
		let state = this.#state;
		const isToken = IS_TOKEN; // local: an imported binding is loaded and checked at each use
		const isPath = IS_PATH;
		while (p < to) {
			let octet = bytes[p] as number;
			if (state === START || state === START_LF) {
				if (state === START_LF) {
					if (octet !== LF) return FAULTS.head_bare_cr;
					this.start = ++p;
					state = METHOD_NAME;
					continue;
				}
				if (octet === CR) {
					state = START_LF;
					p++;
					continue;
				}
				state = METHOD_NAME;
			}
			if (state === METHOD_NAME) {
				if (this.methodStart === -1) {
					if (octet === CR) return FAULTS.head_leading_bytes;
					if (octet === LF) return FAULTS.head_bare_lf;
					if (isToken[octet] === 0) return FAULTS.head_method;
					this.methodStart = p;
				}
				while (isToken[octet] !== 0 && ++p < to) octet = bytes[p] as number;
				if (p === to) break;
				if (octet !== SP) return lineFault(octet, FAULTS.head_method);
				this.methodEnd = p;
				this.methodId = methodIdOf(bytes, this.methodStart, p);
				this.targetStart = ++p;
				state = PATH;
				if (p === to) break;
				octet = bytes[p] as number;
			}
			if (state === PATH || state === QUERY) {
				const targetMax = this.targetStart + this.#limits.targetBytesMax;
				const stop = to <= targetMax ? to : targetMax + 1; // one more, to see whether the target ends there
				if (state === PATH) {
					while (isPath[octet] !== 0 && ++p < stop) octet = bytes[p] as number;
					if (p < stop && octet === QUESTION) {
						this.pathEnd = p;
						state = QUERY;
					}
				}
				if (state === QUERY) {
					while (p < stop && IS_TARGET[bytes[p] as number] !== 0) p++;
				}
				if (p > targetMax) return FAULTS.head_target_too_long;
				if (p === to) break;
				octet = bytes[p] as number;
				if (octet !== SP) return lineFault(octet, FAULTS.head_target);
				if (p === this.targetStart) return FAULTS.head_target;
				this.targetEnd = p;
				if (this.pathEnd === -1) this.pathEnd = p;
				state = VERSION;
				if (++p === to) break;
				octet = bytes[p] as number;
			}
			if (state === VERSION) {
				const versionStart = this.targetEnd + 1;
				for (;;) {
					const expected = VERSION_PATTERN[p - versionStart] as number; // below 8, see the break
					if (expected === 0 ? octet < 0x30 || octet > 0x39 : octet !== expected) {
						return octet === LF ? FAULTS.head_bare_lf : FAULTS.head_request_line;
					}
					if (++p === versionStart + 8) {
						state = LINE_CR;
						break;
					}
					if (p === to) break;
					octet = bytes[p] as number;
				}
				if (p === to) break;
				octet = bytes[p] as number;
			}
			if (state === LINE_CR) {
				if (octet !== CR) return octet === LF ? FAULTS.head_bare_lf : FAULTS.head_request_line;
				state = LINE_LF;
				if (++p === to) break;
				octet = bytes[p] as number;
			}
			if (octet !== LF) return FAULTS.head_bare_cr;
			this.startLineEnd = ++p;
			this.#state = FIELDS;
			this.#position = p;
			this.#fields.reset(p);
			if (bytes[p - 5] !== 0x31 || (bytes[p - 3] !== 0x30 && bytes[p - 3] !== 0x31)) return FAULTS.head_version;
			this.minorVersion = bytes[p - 3] === 0x31 ? 1 : 0;
			return this.#readTarget(bytes);
		}
		this.#position = p;
		this.#state = state;
		return undefined;
	}

	/** Form of the target, and where its parts are (RFC 9112 §3.2). */
	#readTarget(bytes: Uint8Array): Fault | undefined {
		const from = this.targetStart;
		const to = this.targetEnd;
		this.originStart = from;
		if (this.methodId === METHOD.CONNECT) {
			// Never forwarded; only the form is checked, so that the answer can be 405.
			this.targetForm = TARGET.AUTHORITY;
			this.authorityStart = from;
			this.authorityEnd = to;
			return isAuthority(bytes, from, to) ? undefined : FAULTS.head_target;
		}
		if (bytes[from] === SLASH) return undefined;
		if (to - from === 1 && bytes[from] === ASTERISK) {
			this.targetForm = TARGET.ASTERISK;
			return this.methodId === METHOD.OPTIONS ? undefined : FAULTS.head_target;
		}
		let p = from;
		while (p < to && bytes[p] !== COLON) p++;
		const authority = p + 3;
		if (
			authority > to ||
			!(
				equalsIgnoringCase(bytes, from, authority, SCHEME_HTTP) ||
				equalsIgnoringCase(bytes, from, authority, SCHEME_HTTPS)
			)
		) {
			return FAULTS.head_target;
		}
		p = authority;
		while (p < to && bytes[p] !== SLASH && bytes[p] !== QUESTION) p++;
		if (!isAuthority(bytes, authority, p)) return FAULTS.head_target;
		this.targetForm = TARGET.ABSOLUTE;
		this.authorityStart = authority;
		this.authorityEnd = p;
		this.originStart = p;
		if (p === to) this.originPrefix = this.methodId === METHOD.OPTIONS ? ASTERISK : SLASH;
		else if (bytes[p] === QUESTION) this.originPrefix = SLASH;
		return undefined;
	}

	/** A field that frames the message or speaks of the connection has just ended. */
	#notice(bytes: Uint8Array, i: number): Fault | undefined {
		const fields = this.#fields;
		const from = fields.valueStart(i);
		const to = fields.valueEnd(i);
		switch (fields.fieldId(i)) {
			case FIELD.HOST:
				if (fields.countOf(FIELD.HOST) > 1) return FAULTS.host_repeated;
				return from === to || isAuthority(bytes, from, to) ? undefined : FAULTS.host_invalid;
			case FIELD.CONTENT_LENGTH: {
				if (fields.countOf(FIELD.CONTENT_LENGTH) > 1) return FAULTS.length_repeated;
				if (this.framing === FRAMING.CHUNKED) return FAULTS.length_and_coding;
				const length = parseLength(bytes, from, to);
				if (length < 0) return length === LENGTH_LIST ? FAULTS.length_repeated : FAULTS.length_invalid;
				this.framing = FRAMING.LENGTH;
				this.contentLength = length;
				return undefined;
			}
			case FIELD.TRANSFER_ENCODING: {
				if (this.minorVersion === 0) return FAULTS.coding_in_http10;
				if (this.framing === FRAMING.LENGTH) return FAULTS.length_and_coding;
				if (this.framing === FRAMING.CHUNKED) return FAULTS.coding_not_final;
				this.framing = FRAMING.CHUNKED;
				return checkCoding(bytes, from, to);
			}
			case FIELD.CONNECTION:
				return this.#readConnection(bytes, from, to);
			case FIELD.TE: {
				const cursor = this.#cursor;
				cursor.begin(from, to);
				while (cursor.next(bytes)) {
					if (isTrailers(bytes, cursor.start, cursor.end)) this.teTrailers = true;
				}
				return undefined;
			}
			case FIELD.UPGRADE: {
				const cursor = this.#cursor;
				cursor.begin(from, to);
				while (cursor.next(bytes)) {
					this.upgradeAsked = true; // settled when the head is complete: Connection may come later
					if (isH2c(bytes, cursor.start, cursor.end)) this.isH2cUpgrade = true;
				}
				return undefined;
			}
			case FIELD.EXPECT:
				if (equalsIgnoringCase(bytes, from, to, CONTINUE)) this.#expects = true;
				return undefined;
			default:
				return undefined; // Keep-Alive: a response's business
		}
	}

	/** RFC 9110 §7.6.1. What it names is taken out; so it may not name what says who or whither, or frames the message. */
	#readConnection(bytes: Uint8Array, from: number, to: number): Fault | undefined {
		const cursor = this.#cursor;
		const names = this.#names;
		cursor.begin(from, to);
		while (cursor.next(bytes)) {
			const option = optionOf(bytes, cursor.start, cursor.end);
			this.#options |= option;
			if (option !== OPTION.OTHER) continue;
			const id = names.find(bytes, cursor.start, cursor.end);
			if (
				id <= FIELD.UNKNOWN
					? names.isForwardedName(bytes, cursor.start, cursor.end)
					: (names.flags(id) & FIELD_FLAG.WHO) !== 0
			) {
				return FAULTS.connection_names_field;
			}
			// Each name is compared with each field: what bounds fields bounds names.
			if (++this.#nominations > this.#limits.headersMax) return FAULTS.head_too_many_fields;
		}
		return undefined;
	}

	/** The head is complete: what can only be said of the whole. */
	#settle(bytes: Uint8Array): Fault | undefined {
		const fields = this.#fields;
		const isHttp11 = this.minorVersion === 1;
		if (isHttp11 && fields.first(FIELD.HOST) === -1) return FAULTS.host_missing;
		const options = this.#options;
		this.keepAlive =
			(options & OPTION.CLOSE) === 0 &&
			(isHttp11 || (options & OPTION.KEEP_ALIVE) !== 0) &&
			this.methodId !== METHOD.CONNECT;
		// An upgrade asked for in HTTP/1.0 is ignored (RFC 9110 §7.8).
		const isUpgrade = isHttp11 && this.upgradeAsked && (options & OPTION.UPGRADE) !== 0;
		this.isH2cUpgrade &&= isUpgrade;
		this.upgradeAsked = isUpgrade && !this.isH2cUpgrade;
		this.expectsContinue =
			this.#expects &&
			isHttp11 &&
			(this.framing === FRAMING.CHUNKED || (this.framing === FRAMING.LENGTH && this.contentLength > 0));
		if (this.#nominations > 0) fields.markNominated(bytes, this.#cursor);
		if (this.methodId === METHOD.CONNECT || this.methodId === METHOD.TRACE) return FAULTS.method_not_allowed;
		return undefined;
	}
}

/** What to say when the request line is left too early. */
function lineFault(octet: number, otherwise: Fault): Fault {
	return octet === LF ? FAULTS.head_bare_lf : octet === CR ? FAULTS.head_request_line : otherwise;
}
