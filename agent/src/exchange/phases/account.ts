import { CELL, type Counters } from "../../bridge/counters.ts";
import { FLAG_PROBE } from "../../bridge/exchange-record.ts";
import type { Settings } from "../../config/settings.ts";
import { FRAMING } from "../../http1/body-framing.ts";
import { FIELD } from "../../http1/field-names.ts";
import { METHOD } from "../../http1/methods.ts";
import type { Exchange } from "../exchange.ts";

/** Weight of the newest gap in the mean gap between requests. */
const GAP_WEIGHT = 0.2;

/**
 * The account of what is in flight: opened before anything may refuse the request, closed at its last byte or at the cut,
 * so that a body that still streams is in flight. Probes have an account of their own: they never keep a drain waiting.
 */
export class Account {
	readonly #counters: Counters;
	readonly #agents: readonly Buffer[];
	readonly #paths: readonly Buffer[];
	#lastArrivalMs = Number.NaN;

	constructor(probes: Settings["probes"], counters: Counters) {
		this.#counters = counters;
		this.#agents = probes.agents.map((agent) => Buffer.from(agent, "latin1"));
		this.#paths = probes.paths.map((path) => Buffer.from(path, "utf8"));
	}

	/** The phase. */
	open(x: Exchange): void {
		const counters = this.#counters;
		x.isCounted = true;
		x.hasArrived = true;
		counters.add(CELL.ACTIVE_BY_METHOD_START + x.methodId, 1);
		if (this.#isProbe(x)) {
			x.flags |= FLAG_PROBE;
			counters.add(CELL.PROBES_ARRIVED, 1);
			counters.add(CELL.PROBES_IN_FLIGHT, 1);
			return;
		}
		counters.add(CELL.REQUESTS_ARRIVED, 1);
		counters.add(CELL.IN_FLIGHT, 1);
		const gapMs = x.startedMs - this.#lastArrivalMs;
		if (gapMs >= 0) {
			const meanMs = counters.get(CELL.ARRIVAL_GAP_MS);
			counters.set(CELL.ARRIVAL_GAP_MS, meanMs === 0 ? gapMs : meanMs + GAP_WEIGHT * (gapMs - meanMs));
		}
		this.#lastArrivalMs = x.startedMs;
		counters.set(CELL.LAST_ARRIVAL_MS, x.startedWallMs);
	}

	/** The end of whatever `open` began; nothing when it did not run. */
	close(x: Exchange): void {
		if (!x.isCounted) return;
		x.isCounted = false;
		const counters = this.#counters;
		counters.add(CELL.ACTIVE_BY_METHOD_START + x.methodId, -1);
		counters.add((x.flags & FLAG_PROBE) !== 0 ? CELL.PROBES_IN_FLIGHT : CELL.IN_FLIGHT, -1);
	}

	/** Only what asks and brings nothing can be a probe: whoever calls himself one gets no request past the bounds and the access log. */
	#isProbe(x: Exchange): boolean {
		if ((x.methodId !== METHOD.GET && x.methodId !== METHOD.HEAD) || x.head.framing !== FRAMING.NONE) return false;
		const bytes = x.headBytes;
		for (const path of this.#paths) {
			if (x.pathEnd - x.pathStart === path.length && path.compare(bytes, x.pathStart, x.pathEnd) === 0) return true;
		}
		const fields = x.head.fields;
		const at = fields.first(FIELD.USER_AGENT);
		if (at < 0) return false;
		const start = fields.valueStart(at);
		const length = fields.valueEnd(at) - start;
		for (const agent of this.#agents) {
			if (length >= agent.length && startsWith(bytes, start, agent)) return true;
		}
		return false;
	}
}

const startsWith = (bytes: Buffer, at: number, prefix: Buffer): boolean => {
	for (let i = 0; i < prefix.length; i++) if (bytes[at + i] !== prefix[i]) return false;
	return true;
};
