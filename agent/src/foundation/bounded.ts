import { assert } from "./assert.ts";

/** A map that forgets its oldest key to make room for a new one. Setting a known key does not make it younger. */
export class BoundedMap<K, V> {
	readonly capacity: number;
	readonly #entries = new Map<K, V>();
	#forgotten = 0;

	constructor(capacity: number) {
		assert(Number.isSafeInteger(capacity) && capacity > 0, "a bound is a positive whole number");
		this.capacity = capacity;
	}

	get size(): number {
		return this.#entries.size;
	}

	/** Keys that had to go so far. */
	get forgotten(): number {
		return this.#forgotten;
	}

	get(key: K): V | undefined {
		return this.#entries.get(key);
	}

	set(key: K, value: V): void {
		if (!this.#entries.has(key) && this.#entries.size === this.capacity) {
			for (const oldest of this.#entries.keys()) {
				this.#entries.delete(oldest);
				break;
			}
			this.#forgotten++;
		}
		this.#entries.set(key, value);
	}

	delete(key: K): boolean {
		return this.#entries.delete(key);
	}

	entries(): IterableIterator<[K, V]> {
		return this.#entries.entries();
	}
}
