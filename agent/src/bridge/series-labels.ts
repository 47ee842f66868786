/** What the labels of a per-exchange series are made of, as small numbers that both threads understand. */
import { FAULT_LIST } from "../foundation/fault.ts";

/** Values of `url_scheme`; the order is the wire order. */
export const SCHEMES = ["http", "https"] as const;

/** The route of all series for which there was no room. */
export const OVERFLOW_ROUTE = "__overflow__";

/** What tells one series of `http_server_request_duration_seconds` from another. */
export interface SeriesLabels {
	/** Empty: not known. */
	readonly route: string;
	/** Index in `METHODS`. */
	readonly method: number;
	/** 0: no answer was sent. */
	readonly status: number;
	readonly minorVersion: number;
	/** Index in `SCHEMES`. */
	readonly scheme: number;
	/** Index in `FAULT_LIST`; −1: none. */
	readonly faultIndex: number;
}

/** All labels but the route as one number below 2^24: 4 bits method, 10 status, 1 version, 1 scheme, 8 fault. */
export function seriesKey(
	method: number,
	status: number,
	minorVersion: number,
	scheme: number,
	faultIndex: number,
): number {
	return (
		((method & 15) << 20) | ((status & 1023) << 10) | ((minorVersion & 1) << 9) | ((scheme & 1) << 8) | (faultIndex + 1)
	);
}

/** The labels that `seriesKey` made a number of. */
export function labelsOfKey(route: string, key: number): SeriesLabels {
	return {
		route,
		method: (key >> 20) & 15,
		status: (key >> 10) & 1023,
		minorVersion: (key >> 9) & 1,
		scheme: (key >> 8) & 1,
		faultIndex: (key & 255) - 1,
	};
}

/** `error_type` by the OTel conventions: our fault's reason, else the status when the server failed; empty: no error. */
export function errorType(faultIndex: number, status: number): string {
	const fault = FAULT_LIST[faultIndex];
	if (fault !== undefined) return fault.reason;
	return status >= 500 ? String(status) : "";
}

/** Bucket bounds of durations of requests, seconds (OTel advice for `http.server.request.duration`). */
export const DURATION_BOUNDS: readonly number[] = [
	0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
];

/** Bucket bounds of the phases towards the app, seconds: most of them take microseconds. */
export const PHASE_BOUNDS: readonly number[] = [
	0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];

/** Bucket bounds of body sizes, bytes. */
export const SIZE_BOUNDS: readonly number[] = [
	0, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864, 1_073_741_824,
];

/** Cells of a histogram: one per bucket, the last for +Inf, then the sum. Buckets are not cumulative. */
export function histogramCells(bounds: readonly number[]): number {
	return bounds.length + 2;
}
