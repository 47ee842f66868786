/**
 * The field lines of a head, or of trailers: RFC 9112 §5, RFC 9110 §5.
 *
 *      ┌────────────── LF ◄──── next line ──────────────┐
 *      ▼                                                │
 *   LINE ─ tchar ─► NAME ─ ':' ─► SPACE ─ other ─► VALUE ─ CR ─► VALUE_LF
 *      │                            └───── CR ──────────────────►┘
 *      └─ CR ─► END_LF ─ LF ─► complete
 *
 * Resumable at every byte, and each byte is looked at once, however the input is cut: what is known is kept in offsets, so
 * the bytes from the first line to `to` must stand at the same offsets at every call. The first wrong byte decides, so
 * the verdict does not depend on the cut either.
 *
 * Strict: CRLF only, no obs-fold, no space before the colon, no control characters but HTAB in a value. obs-text passes.
 *
 * `Content_Length` and `Transfer_Encoding` are refused, `X_Forwarded_For` and its like are marked to be cut: CGI, WSGI and PHP
 * make one variable of both spellings, so an app could frame or believe what we did not see.
 *
 * Values are not looked into here. Fields that frame a message or speak of the connection are handed to the owner as soon
 * as their line has ended (`NOTICE`), so that what is wrong in them is refused at that byte.
 */
import { FAULTS, type Fault } from "../foundation/fault.ts";
import type { ListCursor } from "./connection-fields.ts";
import { FIELD, FIELD_FLAG, type FieldNames } from "./field-names.ts";
import type { HeadLimits } from "./limits.ts";
import { COLON, CR, HTAB, IS_TOKEN, IS_VALUE, LF, rangesEqual, SP } from "./octets.ts";
import { COMPLETE, INCOMPLETE } from "./scan-result.ts";

/** The field that has just ended (the last one) is one of those that the owner reads at once. */
export const NOTICE = 2;
/** What a line was, for `scan` alone. */
const PLAIN = 0;
const ALIAS = 1;

// Plain constants beside `MARK` and `FIELD_FLAG`, for the one place where every field passes: the bundler writes their
// value there, while a property is loaded and checked each time.
const FORWARD = 0;
const HOP = 1;
const OURS = 3;
const HOP_FLAG: number = FIELD_FLAG.HOP;
const OURS_FLAG: number = FIELD_FLAG.OURS;
const NOTICE_FLAG: number = FIELD_FLAG.NOTICE;

/** Whether a field stops here, and why. Everything but `FORWARD` is cut out of the head that is forwarded. */
export const MARK = {
	FORWARD,
	/** Hop-by-hop by its definition. */
	HOP,
	/** Named by a Connection field. */
	NOMINATED: 2,
	/** Begins with x-outrigger-. */
	OURS,
	/** The name of a field that says who or whither, with underscores: an app that reads both as one would believe it. */
	ALIAS: 5,
	/** May not be in this message at all: a body's length in a 1xx or 204 response. */
	FORBIDDEN: 4,
	/** Taken out by what reads the head: another line goes in its place, or nothing may. */
	REPLACED: 6,
} as const;

const LINE = 0;
const NAME = 1;
const SPACE = 2;
const VALUE = 3;
const VALUE_LF = 4;
const END_LF = 5;

/** Offsets of one field in `#spans`: name start, name end, value start, value end. The row after the last has the line's end. */
const STRIDE = 4;
/** Fields for which there is room from the start; a head with more makes the columns grow, up to `headersMax`. */
const ROOM_AT_FIRST = 32;

export class FieldLines {
	/** Complete field lines so far. */
	count = 0;
	/** First byte that was not looked at. After COMPLETE: the byte after the blank line. */
	position = 0;
	readonly #names: FieldNames;
	readonly #max: number;
	#state = LINE;
	#spans: Int32Array;
	#ids: Uint16Array;
	#marks: Uint8Array;
	/** By field id: index of the first such field, −1 when there is none; and how many there are. */
	readonly #firstById: Int32Array;
	readonly #countById: Int32Array;

	constructor(limits: HeadLimits, names: FieldNames) {
		this.#names = names;
		this.#max = limits.headersMax;
		const room = Math.min(ROOM_AT_FIRST, limits.headersMax);
		this.#spans = new Int32Array((room + 1) * STRIDE);
		this.#ids = new Uint16Array(room);
		this.#marks = new Uint8Array(room);
		this.#firstById = new Int32Array(names.count + 1).fill(-1);
		this.#countById = new Int32Array(names.count + 1);
	}

	/** Forgets everything; the first field line begins at `start`. */
	reset(start: number): void {
		// Only what the last head touched is cleared: the columns by id are longer than most heads.
		for (let i = 0; i < this.count; i++) {
			const id = this.#ids[i] as number; // i < count ≤ length, here and in the accessors below
			this.#firstById[id] = -1;
			this.#countById[id] = 0;
		}
		this.count = 0;
		this.position = start;
		this.#state = LINE;
	}

	nameStart(i: number): number {
		return this.#spans[i * STRIDE] as number;
	}
	nameEnd(i: number): number {
		return this.#spans[i * STRIDE + 1] as number;
	}
	/** Without the white space around the value. */
	valueStart(i: number): number {
		return this.#spans[i * STRIDE + 2] as number;
	}
	valueEnd(i: number): number {
		return this.#spans[i * STRIDE + 3] as number;
	}
	/** Byte after the CRLF of the line of field i: lines follow each other without a gap, and begin with their name. */
	lineEnd(i: number): number {
		return this.#spans[(i + 1) * STRIDE] as number;
	}
	fieldId(i: number): number {
		return this.#ids[i] as number;
	}
	/** One of `MARK`. */
	mark(i: number): number {
		return this.#marks[i] as number;
	}
	setMark(i: number, mark: number): void {
		this.#marks[i] = mark;
	}
	/** Index of the first field with this id, −1 when there is none. */
	first(id: number): number {
		return this.#firstById[id] as number;
	}
	countOf(id: number): number {
		return this.#countById[id] as number;
	}
	/** Index of the next field with this id after field i, −1 when there is none. */
	next(id: number, i: number): number {
		for (let j = i + 1; j < this.count; j++) {
			if (this.#ids[j] === id) return j;
		}
		return -1;
	}

	/**
	 * Marks the fields whose name stands in a Connection field (RFC 9110 §7.6.1). Names × fields comparisons, both bounded by
	 * `headersMax` (the owner has counted the names), and most of them end at the length.
	 */
	markNominated(bytes: Uint8Array, cursor: ListCursor): void {
		for (let c = this.first(FIELD.CONNECTION); c !== -1; c = this.next(FIELD.CONNECTION, c)) {
			cursor.begin(this.valueStart(c), this.valueEnd(c));
			while (cursor.next(bytes)) {
				for (let i = 0; i < this.count; i++) {
					if (
						this.mark(i) === MARK.FORWARD &&
						rangesEqual(bytes, cursor.start, cursor.end, this.nameStart(i), this.nameEnd(i))
					) {
						this.setMark(i, MARK.NOMINATED);
					}
				}
			}
		}
	}

	/** Continues over bytes[position..to). After a Fault or COMPLETE only `reset` may follow. */
	scan(bytes: Uint8Array, to: number): Fault | typeof INCOMPLETE | typeof COMPLETE | typeof NOTICE {
		let p = this.position;
		let state = this.#state;
		let spans = this.#spans;
		let base = this.count * STRIDE;
		// Local, because an imported binding is loaded and checked again at each use.
		const isToken = IS_TOKEN;
		const isValue = IS_VALUE;
		// One turn is one line, or what of it is there. A state that runs out of bytes leaves the loop as it is; `octet` is
		// always the byte at p.
		while (p < to) {
			let octet = bytes[p] as number;
			if (state === LINE) {
				if (octet === CR) {
					state = END_LF;
					if (++p === to) break;
					octet = bytes[p] as number;
				} else {
					if (this.count === this.#max) return FAULTS.head_too_many_fields;
					if (octet === SP || octet === HTAB) return FAULTS.head_obs_fold;
					if (octet === LF) return FAULTS.head_bare_lf;
					// Refuses the empty name too: a colon is no tchar.
					if (isToken[octet] === 0) return FAULTS.head_field_name;
					if (this.count === this.#ids.length) spans = this.#grow();
					spans[base] = p;
					state = NAME;
				}
			}
			if (state === NAME) {
				while (isToken[octet] !== 0 && ++p < to) octet = bytes[p] as number;
				if (p === to) break;
				if (octet !== COLON) {
					if (octet === SP || octet === HTAB) return FAULTS.head_space_before_colon;
					return octet === LF ? FAULTS.head_bare_lf : FAULTS.head_field_name;
				}
				spans[base + 1] = p;
				state = SPACE;
				if (++p === to) break;
				octet = bytes[p] as number;
			}
			if (state === SPACE) {
				while ((octet === SP || octet === HTAB) && ++p < to) octet = bytes[p] as number;
				if (p === to) break;
				spans[base + 2] = p;
				state = VALUE;
			}
			if (state === VALUE) {
				while (isValue[octet] !== 0 && ++p < to) octet = bytes[p] as number;
				if (p === to) break;
				if (octet !== CR) return octet === LF ? FAULTS.head_bare_lf : FAULTS.head_control_character;
				spans[base + 3] = p;
				state = VALUE_LF;
				if (++p === to) break;
				octet = bytes[p] as number;
			}
			if (octet !== LF) return FAULTS.head_bare_cr;
			p++;
			if (state === END_LF) {
				this.#state = END_LF;
				this.position = p;
				return COMPLETE;
			}
			state = LINE;
			base += STRIDE;
			spans[base] = p;
			const line = this.#endLine(bytes);
			if (line !== PLAIN) {
				if (line === ALIAS) return FAULTS.head_field_alias;
				this.#state = LINE;
				this.position = p;
				return NOTICE;
			}
		}
		this.position = p;
		this.#state = state;
		return INCOMPLETE;
	}

	/** Enters the line that has just ended into the columns. PLAIN, NOTICE, or ALIAS when it passes itself off as framing. */
	#endLine(bytes: Uint8Array): number {
		const i = this.count++;
		const row = i * STRIDE;
		const spans = this.#spans;
		const nameStart = spans[row] as number;
		const nameEnd = spans[row + 1] as number;
		const valueStart = spans[row + 2] as number;
		// White space at the end is not part of the value (RFC 9110 §5.5).
		let end = spans[row + 3] as number;
		while (end > valueStart && ((bytes[end - 1] as number) === SP || (bytes[end - 1] as number) === HTAB)) end--;
		spans[row + 3] = end;
		const names = this.#names;
		const id = names.find(bytes, nameStart, nameEnd);
		if (id <= 0) {
			this.#ids[i] = 0;
			this.#marks[i] = names.isOurName(bytes, nameStart, nameEnd) ? OURS : FORWARD;
			if (id === 0) return PLAIN;
			const flags = names.flags(-id);
			if ((flags & FIELD_FLAG.FRAMES) !== 0) return ALIAS;
			if ((flags & FIELD_FLAG.WHO) !== 0) this.#marks[i] = MARK.ALIAS;
			return PLAIN;
		}
		this.#ids[i] = id;
		if ((this.#countById[id] as number)++ === 0) this.#firstById[id] = i;
		const flags = names.flags(id);
		this.#marks[i] = (flags & HOP_FLAG) !== 0 ? HOP : (flags & OURS_FLAG) !== 0 ? OURS : FORWARD;
		return (flags & NOTICE_FLAG) !== 0 ? NOTICE : PLAIN;
	}

	/** Doubles the columns and returns the new offsets. */
	#grow(): Int32Array {
		const room = Math.min(this.#ids.length * 2, this.#max);
		const spans = new Int32Array((room + 1) * STRIDE);
		spans.set(this.#spans);
		this.#spans = spans;
		const ids = new Uint16Array(room);
		ids.set(this.#ids);
		this.#ids = ids;
		const marks = new Uint8Array(room);
		marks.set(this.#marks);
		this.#marks = marks;
		return spans;
	}
}
