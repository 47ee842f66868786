/** The little arithmetic of the bench. */

/** The middle of a few rounds, with how far they lay apart. */
export interface Spread {
	readonly median: number;
	readonly min: number;
	readonly max: number;
}

/** @throws when there is nothing to take a median of: an empty round must not look like a fast one */
export function spreadOf(values: readonly number[]): Spread {
	const sorted = values.toSorted((a, b) => a - b);
	const min = sorted[0];
	const max = sorted.at(-1);
	const upper = sorted[Math.floor(sorted.length / 2)];
	const lower = sorted[Math.ceil(sorted.length / 2) - 1];
	if (min === undefined || max === undefined || upper === undefined || lower === undefined) {
		throw new Error("no values to take a median of");
	}
	return { median: (upper + lower) / 2, min, max };
}

/**
 * The ratio to the base, taken round by round and then in the middle. What disturbs a round (a neighbour on the
 * machine, a warm core) disturbs both sides of that round's ratio; a ratio of two medians would keep it.
 * @returns undefined when there is no round in which the base has a figure
 */
export function ratioOf(values: readonly number[], base: readonly number[]): Spread | undefined {
	const ratios: number[] = [];
	for (const [round, value] of values.entries()) {
		const divisor = base[round];
		if (divisor !== undefined && divisor > 0) ratios.push(value / divisor);
	}
	return ratios.length === 0 ? undefined : spreadOf(ratios);
}
