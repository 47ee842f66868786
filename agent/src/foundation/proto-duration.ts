/** A duration as proto3 writes it in JSON (google.protobuf.Duration): seconds with up to nine decimals, and no other unit. */
const DURATION = /^(-?)([0-9]{1,12})(?:\.([0-9]{1,9}))?s$/;

/** `"1.5s"` → 1500; `undefined` when it is no duration. */
export function parseDuration(text: string): number | undefined {
	const match = DURATION.exec(text);
	if (match === null) return undefined;
	const [, sign = "", seconds = "", decimals = ""] = match;
	const ms = Number(`${seconds}.${decimals}0`) * 1000;
	return sign === "-" ? -ms : ms;
}

/** 1500 → `"1.5s"`; to the microsecond. */
export function renderDuration(ms: number): string {
	return `${Number((ms / 1000).toFixed(6))}s`;
}
