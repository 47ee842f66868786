/** Path patterns of the configuration (`log.skip`, `log.redact`): a path, in which `*` stands for any bytes, slashes included. Matched on the bytes as they came. */
const STAR = 0x2a;

export class PathPatterns {
	readonly #patterns: readonly Buffer[];

	private constructor(patterns: readonly string[]) {
		this.#patterns = patterns.map((pattern) => Buffer.from(pattern, "utf8"));
	}

	/** `undefined` when there are none, so that the usual case costs nothing. */
	static of(patterns: readonly string[]): PathPatterns | undefined {
		return patterns.length === 0 ? undefined : new PathPatterns(patterns);
	}

	/** Whether a pattern fits `source[start..end)` whole. */
	matches(source: Uint8Array, start: number, end: number): boolean {
		for (const pattern of this.#patterns) if (matchesOne(pattern, source, start, end)) return true;
		return false;
	}
}

/** Time is at most pattern times path: a star that was passed is never looked at again but the last. */
function matchesOne(pattern: Uint8Array, source: Uint8Array, start: number, end: number): boolean {
	let at = start;
	let p = 0;
	let star = -1;
	let resume = start;
	while (at < end) {
		if (pattern[p] === STAR) {
			star = p++;
			resume = at;
		} else if (p < pattern.length && pattern[p] === source[at]) {
			p++;
			at++;
		} else if (star >= 0) {
			p = star + 1;
			at = ++resume;
		} else return false;
	}
	while (pattern[p] === STAR) p++;
	return p === pattern.length;
}
