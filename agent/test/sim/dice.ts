import { type Random, seededRandom } from "../fuzz/http1.ts";

/** All chance of a run, from one seed: the same seed gives the same run. */
export class Dice {
	readonly random: Random;

	constructor(seed: number) {
		this.random = seededRandom(seed);
	}

	/** A whole number from 0 (included) to `n` (excluded). */
	below(n: number): number {
		return Math.floor(this.random() * n);
	}

	/** A whole number, both ends included. */
	between(least: number, most: number): number {
		return least + this.below(most - least + 1);
	}

	chance(probability: number): boolean {
		return this.random() < probability;
	}

	pick<T>(from: readonly T[]): T {
		return from[this.below(from.length)] as T; // lists given here are not empty
	}

	/** Mostly small, now and then up to `most`. */
	size(most: number): number {
		return Math.floor(most ** this.random()) - 1;
	}
}

/** Bytes that bodies are made of; what is not printable, CRLF and things that look like framing are in it. */
const noise = (() => {
	const dice = new Dice(0x0b0d1e5);
	const texts = [
		"\r\n",
		"0\r\n\r\n",
		"GET /smuggled HTTP/1.1\r\nhost: evil\r\n\r\n",
		"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
	];
	const bytes = Buffer.alloc(1 << 17);
	for (let at = 0; at < bytes.length; ) {
		if (dice.chance(0.02)) at += bytes.write(dice.pick(texts), at, "latin1");
		else bytes[at++] = dice.below(256);
	}
	return bytes;
})();

/** `length` bytes that belong to that number and to no other. */
export const bodyOf = (id: number, length: number): Buffer => {
	const start = (id * 7919) % 65_536;
	if (start + length <= noise.length) return noise.subarray(start, start + length);
	const parts: Buffer[] = [];
	for (let left = length, at = start; left > 0; at = 0) {
		const part = noise.subarray(at, Math.min(noise.length, at + left));
		parts.push(part);
		left -= part.length;
	}
	return Buffer.concat(parts);
};
