/** Durations and sizes as people write them. Text in, whole milliseconds or bytes out, and back. */

const durationUnits: readonly (readonly [unit: string, ms: number])[] = [
	["h", 3_600_000],
	["m", 60_000],
	["s", 1000],
	["ms", 1],
];

const sizeUnits: readonly (readonly [unit: string, bytes: number])[] = [
	["GiB", 1 << 30],
	["MiB", 1 << 20],
	["KiB", 1 << 10],
	["B", 1],
];

/** Body of a regular expression, also for the JSON Schema. At most 9 digits before the point, so that nothing overflows. */
export const durationPattern = "(?:[0-9]{1,9}(?:\\.[0-9]{1,6})?(?:ms|s|m|h))";
export const sizePattern = "(?:[0-9]{1,9}(?:\\.[0-9]{1,6})?(?:B|KiB|MiB|GiB))";

const durationWhole = new RegExp(`^${durationPattern}$`);
const sizeWhole = new RegExp(`^${sizePattern}$`);

/** `250ms`, `10s`, `1.5m`, `2h` or `0s` → milliseconds; `undefined` for anything else, and for parts of a millisecond. */
export function parseDuration(text: string): number | undefined {
	return durationWhole.test(text) ? whole(text, durationUnits) : undefined;
}

/** `512B`, `16KiB`, `1.5MiB`, `2GiB` or `0B` → bytes; `undefined` for anything else, and for parts of a byte. */
export function parseSize(text: string): number | undefined {
	return sizeWhole.test(text) ? whole(text, sizeUnits) : undefined;
}

/** The largest unit in which it is a whole number: 90000 → `90s`. */
export function renderDuration(ms: number): string {
	return ms === 0 ? "0s" : inLargest(ms, durationUnits);
}

/** The largest unit in which it is a whole number: 16384 → `16KiB`. */
export function renderSize(bytes: number): string {
	return bytes === 0 ? "0B" : inLargest(bytes, sizeUnits);
}

function whole(text: string, units: readonly (readonly [string, number])[]): number | undefined {
	const unit = text.replace(/^[0-9.]+/, "");
	const [integer = "", fraction = ""] = text.slice(0, text.length - unit.length).split(".");
	const factor = units.find(([name]) => name === unit)?.[1] ?? 0; // the pattern allows no other unit
	// In whole numbers: 1.005 × 1000 is 1004.9999… in floating point.
	const scaled = BigInt(integer + fraction) * BigInt(factor);
	const divisor = 10n ** BigInt(fraction.length);
	return scaled % divisor === 0n ? Number(scaled / divisor) : undefined;
}

function inLargest(amount: number, units: readonly (readonly [string, number])[]): string {
	const fit = units.find(([, factor]) => amount % factor === 0);
	return fit === undefined ? String(amount) : `${amount / fit[1]}${fit[0]}`;
}
