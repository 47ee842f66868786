const TABLES = 64;
const SLOTS_FIRST = 64;

/**
 * A set of 64-bit hashes of series, as two lanes of 32 bits. Sixty-four small tables in place of a large one: growing then never takes a
 * noticeable turn of the event loop, which a `Set` of some hundred thousand keys does.
 *
 * Two different series have the same hash by accident on one of about 2^64 / n² pages of n series; a page made for it only
 * loses samples of its own.
 */
export class SeriesTable {
	/** Pairs of lanes; two zeros are an empty slot. */
	readonly #tables: Int32Array[] = [];
	readonly #sizes = new Int32Array(TABLES);

	/** Adds a hash; false when it was there. */
	add(a: number, b: number): boolean {
		a = spread(a);
		b = spread(b) | 1; // never the empty slot
		const which = (a >>> 26) & (TABLES - 1);
		let table = this.#tables[which];
		if (table === undefined) {
			for (let i = this.#tables.length; i < TABLES; i++) this.#tables.push(new Int32Array(SLOTS_FIRST * 2));
			table = this.#tables[which] as Int32Array; // pushed by the line above
		}
		if (!insert(table, a, b)) return false;
		const size = (this.#sizes[which] ?? 0) + 1;
		this.#sizes[which] = size;
		if (size * 8 > table.length * 3) {
			const larger = new Int32Array(table.length * 2);
			for (let i = 0; i < table.length; i += 2) {
				const there = table[i + 1] ?? 0;
				if (there !== 0) insert(larger, table[i] ?? 0, there);
			}
			this.#tables[which] = larger;
		}
		return true;
	}
}

/** Spreads the bits (the finish of MurmurHash3): sums of label hashes differ in few of them. */
function spread(h: number): number {
	h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
	h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
	return h ^ (h >>> 16);
}

function insert(table: Int32Array, a: number, b: number): boolean {
	const mask = table.length / 2 - 1;
	let slot = a & mask;
	for (;;) {
		const there = table[slot * 2 + 1];
		if (there === 0) {
			table[slot * 2] = a;
			table[slot * 2 + 1] = b;
			return true;
		}
		if (there === b && table[slot * 2] === a) return false;
		slot = (slot + 1) & mask;
	}
}
