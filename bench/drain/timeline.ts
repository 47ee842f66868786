/** What was going on when a request was lost: the phases of all restarts, on the clock that the load uses too. */
import type { StopPhase } from "./kubelet.ts";

export type Phase =
	/** No restart is under way, and the last one is some seconds ago. */
	| "calm"
	/** Hooks run, or for a pod without hooks nothing: until the app's SIGTERM. "app stops", "agent stops": until they are gone. */
	| StopPhase
	/** The old pod is gone, the new one is not ready. */
	| "gone"
	/** The new pod is ready, and those who send learn of it. */
	| "arrives";

export interface Entry {
	readonly atMs: number;
	readonly phase: Phase;
	/** Index of the pair that is restarted; −1 in calm. */
	readonly pair: number;
	/** Name of the pod that goes; the one that comes is the pair's other. */
	readonly pod: string;
}

const CALM: Omit<Entry, "atMs"> = { phase: "calm", pair: -1, pod: "" };

export class Timeline {
	readonly #entries: Entry[] = [];

	enter(atMs: number, phase: Phase, pair: number, pod: string): void {
		this.#entries.push({ atMs, phase, pair, pod });
	}

	calm(atMs: number): void {
		this.#entries.push({ atMs, ...CALM });
	}

	/** What was going on at that moment. */
	at(atMs: number): Entry {
		return this.#entries.findLast((entry) => entry.atMs <= atMs) ?? { atMs: Number.NEGATIVE_INFINITY, ...CALM };
	}
}
