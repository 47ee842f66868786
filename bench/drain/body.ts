/** Bodies that are known to the byte, so that an answer that is short, long or of another request is seen. */

/** The content of every large body: 0 to 250, over and over. */
export const patternOf = (bytes: number): Buffer =>
	Buffer.alloc(bytes, Buffer.from(Array.from({ length: 251 }, (_, at) => at)));

/** Compares a body with what it must be, as it comes. */
export class BodyCheck {
	readonly #expected: Buffer;
	#received = 0;
	#wrongAt: number | undefined;

	constructor(expected: Buffer) {
		this.#expected = expected;
	}

	get received(): number {
		return this.#received;
	}

	take(bytes: Buffer): void {
		const from = this.#received;
		this.#received += bytes.length;
		if (this.#wrongAt !== undefined) return;
		if (!this.#expected.subarray(from, this.#received).equals(bytes)) this.#wrongAt = from;
	}

	/** What is wrong with the body as it is now; undefined when it is whole and right. */
	mistake(): string | undefined {
		if (this.#wrongAt !== undefined) return `other bytes than expected, from within the part at ${this.#wrongAt}`;
		const wanted = this.#expected.length;
		return this.#received === wanted ? undefined : `${this.#received} of ${wanted} bytes`;
	}
}
