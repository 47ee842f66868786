/**
 * How long the app keeps an idle connection, learned so that we close first.
 *
 * A request that is written at the moment in which the app closes the connection is lost or has to be resent. So idle
 * connections are given up earlier than the app gives them up. The starting value (`timeouts.appIdle`) is only ever lowered:
 * by `Keep-Alive: timeout=` and by closes that are seen.
 */
export class KeepAliveLesson {
	/** Below this a connection is not worth keeping: it is used again at once or not at all. */
	static readonly floorMs = 100;

	#idleMs: number;
	#source: "configured" | "field" | "close" = "configured";
	/** Idle time at the last close that was seen; a lesson needs two that agree, since one may be a restart. */
	#suspectedMs = Number.POSITIVE_INFINITY;

	constructor(configuredMs: number) {
		this.#idleMs = configuredMs;
	}

	/** Milliseconds for which an idle connection may be used again. */
	get idleMs(): number {
		return this.#idleMs;
	}

	/** What the present value comes from. */
	get source(): "configured" | "field" | "close" {
		return this.#source;
	}

	/** The app said `Keep-Alive: timeout=seconds` (RFC 2068 §19.7.1.1). Returns whether something was learned. */
	told(seconds: number): boolean {
		// Half of it, at most a second less: the app's clock started when it had sent its answer, and it may round down.
		return this.#lower(Math.max(seconds * 500, seconds * 1000 - 1000), "field");
	}

	/** The app closed a connection that had been idle for so long. Returns whether something was learned. */
	sawClose(idleMs: number): boolean {
		if (idleMs < KeepAliveLesson.floorMs) return false; // closed after its answer, not for being idle
		const agrees = Math.abs(idleMs - this.#suspectedMs) < 0.2 * idleMs;
		this.#suspectedMs = idleMs;
		return agrees && this.#lower(idleMs * 0.8, "close");
	}

	#lower(ms: number, source: "field" | "close"): boolean {
		const next = Math.max(KeepAliveLesson.floorMs, Math.floor(ms));
		if (next >= this.#idleMs) return false;
		this.#idleMs = next;
		this.#source = source;
		return true;
	}
}
