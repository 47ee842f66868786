/** The nearest of a few names, for people who mistyped one. */

/** Longer names are not compared: the cost is the product of the lengths, and a name that long is not a typing mistake. */
const comparedCharactersMax = 100;

/**
 * The candidate with the fewest edits (insert, delete, replace, swap of neighbours), ignoring case, `_` and `-`; `undefined` when
 * even the nearest differs in more than a third of its letters and is not the beginning of the other.
 */
export function didYouMean(name: string, candidates: Iterable<string>): string | undefined {
	if (name.length > comparedCharactersMax) return undefined;
	const wanted = plain(name);
	let best: string | undefined;
	let bestDistance = Number.POSITIVE_INFINITY;
	for (const candidate of candidates) {
		const known = plain(candidate);
		const allowed = Math.max(1, Math.floor(Math.max(wanted.length, known.length) / 3));
		// `warning` for `warn`, `config` for `configuration`: as good as the worst that is allowed.
		const isBeginning =
			Math.min(wanted.length, known.length) >= 3 && (wanted.startsWith(known) || known.startsWith(wanted));
		if (!isBeginning && Math.abs(wanted.length - known.length) > allowed) continue;
		const distance = isBeginning ? Math.min(allowed, editDistance(wanted, known)) : editDistance(wanted, known);
		if (distance <= allowed && distance < bestDistance && distance < known.length) {
			best = candidate;
			bestDistance = distance;
		}
	}
	return best;
}

function plain(name: string): string {
	return name.toLowerCase().replace(/[_-]/g, "");
}

/** Optimal string alignment distance. */
function editDistance(a: string, b: string): number {
	let before: number[] = [];
	let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
	for (let row = 1; row <= a.length; row++) {
		const current = [row];
		for (let column = 1; column <= b.length; column++) {
			const same = a[row - 1] === b[column - 1];
			let least = Math.min(
				at(previous, column) + 1,
				at(current, column - 1) + 1,
				at(previous, column - 1) + (same ? 0 : 1),
			);
			const isSwap = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
			if (isSwap) least = Math.min(least, at(before, column - 2) + 1);
			current.push(least);
		}
		before = previous;
		previous = current;
	}
	return at(previous, b.length);
}

/** Rows are filled before they are read, so the default is never taken. */
function at(row: readonly number[], index: number): number {
	return row[index] ?? Number.POSITIVE_INFINITY;
}
