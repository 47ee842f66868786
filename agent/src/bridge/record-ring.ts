/**
 * A ring of records in shared memory: one thread writes, one thread reads, and neither ever waits for the other.
 *
 * A full ring refuses the record and counts it: whatever happens on the reading side costs records, never traffic. A record is one contiguous
 * run of bytes that begins at a multiple of 8, so that both sides may look at it through a `Float64Array`.
 *
 * Memory: a header of 128 bytes (the two positions lie in different cache lines), then the data, a power of two. Each record is preceded by
 * 8 bytes, of which the first four hold its length; a length of −1 says "the rest of the lap is unused". The positions are counts of bytes modulo 2^32:
 * equal means empty. Publication is the `Atomics.store` of a position after the plain writes that it covers: the other side's `Atomics.load` that
 * sees the new position also sees those writes (ECMA-262 §29.11, synchronizes-with).
 *
 * A writer that dies between `reserve` and `commit` has published nothing. A ring may be handed to a new writer, never to a second one.
 */
import { assert } from "../foundation/assert.ts";

const HEADER_BYTES = 128;
const WRITE_POSITION = 0;
const DROPPED = 1;
const READ_POSITION = 16; // 64 bytes further: another cache line
const PREFIX_BYTES = 8;
const UNUSED = -1;
/** The reader gives space back at least this often, so that a long drain does not fill the ring behind it. */
const RELEASE_RECORDS = 64;
const SMALLEST_BYTES = 1024;
const LARGEST_BYTES = 2 ** 30;

/** Told of each record: where it begins (a multiple of 8) and how many bytes were committed. Valid only during the call. */
export type RecordHandler = (offset: number, length: number) => void;

export class RecordRing {
	readonly shared: SharedArrayBuffer;
	/** The data as bytes; offsets of `reserve` and `drain` count from its start. */
	readonly bytes: Buffer;
	/** The same memory: index = offset / 8. */
	readonly f64: Float64Array;
	/** The same memory: index = offset / 4. */
	readonly i32: Int32Array;
	/** The same memory: index = offset / 2. */
	readonly u16: Uint16Array;
	/** The same memory, for copies of several bytes at a time. */
	readonly view: DataView;
	/** Bytes of data. */
	readonly capacity: number;
	readonly #header: Int32Array;
	readonly #mask: number;
	/** The writer's own copies; the reader's position may be older than the truth, which only makes the ring look fuller. */
	#written: number;
	#readSeen: number;
	#reserved = -1;
	#reservedBytes = 0;

	constructor(shared: SharedArrayBuffer) {
		const capacity = shared.byteLength - HEADER_BYTES;
		assert(capacity >= SMALLEST_BYTES && (capacity & (capacity - 1)) === 0, "the memory of a ring comes from allocate");
		this.shared = shared;
		this.capacity = capacity;
		this.#mask = capacity - 1;
		this.bytes = Buffer.from(shared, HEADER_BYTES, capacity);
		this.f64 = new Float64Array(shared, HEADER_BYTES, capacity / 8);
		this.i32 = new Int32Array(shared, HEADER_BYTES, capacity / 4);
		this.u16 = new Uint16Array(shared, HEADER_BYTES, capacity / 2);
		this.view = new DataView(shared, HEADER_BYTES, capacity);
		this.#header = new Int32Array(shared, 0, HEADER_BYTES / 4);
		this.#written = Atomics.load(this.#header, WRITE_POSITION);
		this.#readSeen = Atomics.load(this.#header, READ_POSITION);
	}

	/** A new ring whose data has at least `bytes` bytes (rounded up to a power of two, 1 KiB to 1 GiB). */
	static allocate(bytes: number): RecordRing {
		assert(bytes > 0 && bytes <= LARGEST_BYTES, "a ring has between 1 byte and 1 GiB");
		let capacity = SMALLEST_BYTES;
		while (capacity < bytes) capacity *= 2;
		return new RecordRing(new SharedArrayBuffer(HEADER_BYTES + capacity));
	}

	/**
	 * Writer: room for a record of up to `maxBytes` bytes. The offset into the views, a multiple of 8; −1 when there is no such room now, which
	 * has then been counted. A second `reserve` without `commit` takes the place of the first.
	 */
	reserve(maxBytes: number): number {
		const need = ((maxBytes + 7) & ~7) + PREFIX_BYTES;
		const index = this.#written & this.#mask;
		const lapBytes = this.capacity - index;
		const skipped = need > lapBytes ? lapBytes : 0;
		const total = need + skipped;
		if (total > this.capacity - ((this.#written - this.#readSeen) | 0)) {
			this.#readSeen = Atomics.load(this.#header, READ_POSITION);
			if (total > this.capacity - ((this.#written - this.#readSeen) | 0)) {
				this.#reserved = -1;
				this.#header[DROPPED] = (this.#header[DROPPED] as number) + 1; // it is there, and this thread alone writes it
				return -1;
			}
		}
		// Not published before commit moves the position, so it may be written now.
		if (skipped > 0) this.i32[index >> 2] = UNUSED;
		this.#reserved = (this.#written + skipped) | 0;
		this.#reservedBytes = maxBytes;
		return (skipped > 0 ? 0 : index) + PREFIX_BYTES;
	}

	/** Writer: hands over what was written at the offset of the last `reserve`. */
	commit(actualBytes: number): void {
		const reserved = this.#reserved;
		assert(this.#reservedBytes >= actualBytes && actualBytes >= 0, "a record is no larger than what was reserved");
		this.#reservedBytes = -1; // a second commit would hand over the bytes of nobody
		this.i32[(reserved & this.#mask) >> 2] = actualBytes;
		this.#written = (reserved + ((actualBytes + 7) & ~7) + PREFIX_BYTES) | 0;
		Atomics.store(this.#header, WRITE_POSITION, this.#written);
	}

	/**
	 * Reader: calls `handler` for up to `maxRecords` records, oldest first, and returns how many there were. A record whose handler throws counts as read;
	 * the error is passed on.
	 */
	drain(handler: RecordHandler, maxRecords: number): number {
		const end = Atomics.load(this.#header, WRITE_POSITION);
		let position = this.#header[READ_POSITION] as number; // it is there, and this thread alone writes it
		let records = 0;
		try {
			while (position !== end && records < maxRecords) {
				const index = position & this.#mask;
				const length = this.i32[index >> 2] as number; // index is masked by the capacity
				if (length === UNUSED) {
					position = (position + this.capacity - index) | 0;
					continue;
				}
				position = (position + ((length + 7) & ~7) + PREFIX_BYTES) | 0;
				records++;
				handler(index + PREFIX_BYTES, length);
				if (records % RELEASE_RECORDS === 0) Atomics.store(this.#header, READ_POSITION, position);
			}
		} finally {
			Atomics.store(this.#header, READ_POSITION, position);
		}
		return records;
	}

	/** Either side: records refused so far because the ring was full. Modulo 2^32. */
	get dropped(): number {
		return Atomics.load(this.#header, DROPPED) >>> 0;
	}

	/** Either side: bytes in use now. */
	get usedBytes(): number {
		return (Atomics.load(this.#header, WRITE_POSITION) - Atomics.load(this.#header, READ_POSITION)) | 0;
	}
}
