import type { Clock } from "../foundation/clock.ts";

/** The signals that ask a process to end. SIGHUP: the terminal was closed. */
export const END_SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP"] as const;
export type EndSignal = (typeof END_SIGNALS)[number];

/** The part of `process` that is needed here. */
export interface SignalSource {
	on(signal: EndSignal, listener: () => void): unknown;
	off(signal: EndSignal, listener: () => void): unknown;
}

export interface EndListener {
	/** The first signal: begin to end. */
	readonly first: (signal: EndSignal) => void;
	/** Any further one: end at once. Told once. */
	readonly second: (signal: EndSignal) => void;
}

/**
 * One Ctrl-C under `npm start` or `npx` arrives twice: from the terminal, which signals its whole foreground group, and from npm, which
 * passes it on. A person who means it a second time needs longer than this.
 */
const ECHO_MS = 250;

/**
 * Tells of the first signal and of the second. What it returns takes the listeners off again: the process then has Node's
 * default behaviour back, so nobody is left with a process that cannot be interrupted.
 */
export function listenForEnd(source: SignalSource, clock: Clock, listener: EndListener): () => void {
	let firstAtMs: number | undefined;
	let isOver = false;
	const handlers = END_SIGNALS.map((signal) => {
		const handle = (): void => {
			if (firstAtMs === undefined) {
				firstAtMs = clock.monotonicMs();
				listener.first(signal);
				return;
			}
			// Only SIGINT comes from terminals; two SIGTERMs are two decisions, however close.
			if (signal === "SIGINT" && clock.monotonicMs() - firstAtMs < ECHO_MS) return;
			if (isOver) return;
			isOver = true;
			listener.second(signal);
		};
		source.on(signal, handle);
		return () => source.off(signal, handle);
	});
	return () => {
		for (const release of handlers) release();
	};
}

/** The label of a signal in moves and reports. */
export function signalReason(signal: EndSignal): "sigterm" | "sigint" | "sighup" {
	switch (signal) {
		case "SIGTERM":
			return "sigterm";
		case "SIGINT":
			return "sigint";
		case "SIGHUP":
			return "sighup";
	}
}
