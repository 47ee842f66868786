/** How long something took or has lasted, for people: two units at most, as exact as one wants to read it. */
export function humanTime(ms: number): string {
	if (!(ms > 0)) return "0 ms";
	if (ms < 0.1) return "less than 0.1 ms";
	if (ms < 9.95) return `${Number(ms.toFixed(1))} ms`;
	if (ms < 999.5) return `${Math.round(ms)} ms`;
	if (ms < 59_950) return `${Number((ms / 1000).toFixed(ms < 9_995 ? 2 : 1))} s`;
	const seconds = Math.round(ms / 1000);
	const [value, unit, below, belowUnit] =
		seconds < 3_600
			? [Math.floor(seconds / 60), "min", seconds % 60, "s"]
			: seconds < 86_400
				? [Math.floor(seconds / 3_600), "h", Math.floor((seconds % 3_600) / 60), "min"]
				: [Math.floor(seconds / 86_400), "d", Math.floor((seconds % 86_400) / 3_600), "h"];
	return below === 0 ? `${value} ${unit}` : `${value} ${unit} ${below} ${belowUnit}`;
}
