import { CELL, type Counters } from "../../bridge/counters.ts";
import { ENDED_BY, FLAG_OPAQUE, FLAG_PROBE } from "../../bridge/exchange-record.ts";
import type { Settings } from "../../config/settings.ts";
import { FAULT_LIST, FAULTS } from "../../foundation/fault.ts";
import { FRAMING } from "../../http1/body-framing.ts";
import { FIELD } from "../../http1/field-names.ts";
import { METHOD } from "../../http1/methods.ts";
import type { Exchange } from "../exchange.ts";

/**
 * The account of what is in flight: opened before anything may refuse the request, closed at its last byte or at the cut,
 * so that a body that still streams is in flight. Probes have an account of their own: they never keep a drain waiting.
 *
 * While we leave it is also the account of that (`CELL.LEAVING_…`): each exchange is in it with exactly one outcome, so that the drain
 * report adds up. One that is over, but whose last bytes wait for a slow client, is then still in flight (`isUnsent`): an agent that stops too early
 * would cut what it has counted as served.
 */
export class Account {
	readonly #counters: Counters;
	readonly #agents: readonly Buffer[];
	readonly #paths: readonly Buffer[];
	#isLeaving = false;

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
		if (this.#isLeaving) {
			x.arrivedLeaving = true;
			counters.add(CELL.LEAVING_ARRIVED, 1);
		}
	}

	/** From here on we leave: what is in flight now is what the drain found. */
	leave(): void {
		if (this.#isLeaving) return;
		this.#isLeaving = true;
		this.#counters.set(CELL.LEAVING_IN_FLIGHT, this.#counters.get(CELL.IN_FLIGHT));
	}

	/** The end of an exchange, whether `open` ran or it was refused before. One that `isUnsent` stays in flight until it is `sent`, or `unsentLost`. */
	close(x: Exchange): void {
		const counters = this.#counters;
		if (x.isCounted) {
			this.#takeOut(x);
			if (!this.#isLeaving || (x.flags & FLAG_PROBE) !== 0) return;
			if (x.isUnsent) this.unsent();
			else counters.add(outcomeOf(x, true), 1);
		} else if (!x.hasArrived && (x.flags & FLAG_OPAQUE) === 0) {
			x.hasArrived = true;
			counters.add(CELL.REQUESTS_ARRIVED, 1);
			if (this.#isLeaving) {
				counters.add(CELL.LEAVING_ARRIVED, 1);
				counters.add(outcomeOf(x, false), 1);
			}
		}
	}

	/** An answer is over, and its last bytes still wait: it is in flight after all. Of those from before `leave`, told just before it. */
	unsent(): void {
		this.#counters.add(CELL.IN_FLIGHT, 1);
	}

	/** The last bytes of an answer that was unsent have gone. */
	sent(arrivedLeaving: boolean): void {
		this.#counters.add(CELL.IN_FLIGHT, -1);
		this.#counters.add(arrivedLeaving ? CELL.LEAVING_SERVED : CELL.LEAVING_FINISHED, 1);
	}

	/** They never will: we, or its client, have ended the connection. */
	unsentLost(byUs: boolean): void {
		this.#counters.add(CELL.IN_FLIGHT, -1);
		this.#counters.add(byUs ? CELL.LEAVING_CUT : CELL.LEAVING_ABORTED, 1);
	}

	/** The exchange has become a tunnel: nobody waits for its end. */
	upgraded(x: Exchange): void {
		if (!x.isCounted) return;
		this.#takeOut(x);
		if (this.#isLeaving && (x.flags & FLAG_PROBE) === 0) this.#counters.add(CELL.LEAVING_UPGRADED, 1);
	}

	/** A request whose connection had just been closed because it was idle: its client sees that nobody has taken it. */
	refusedUnread(): void {
		// No exchange: nothing of it was read, and nobody has a record of it.
		if (!this.#isLeaving) return;
		// But it has come, and its client may come again: the drain waits for quiet anew.
		this.#counters.add(CELL.REQUESTS_ARRIVED, 1);
		this.#counters.add(CELL.LEAVING_ARRIVED, 1);
		this.#counters.add(CELL.LEAVING_REFUSED, 1);
	}

	#takeOut(x: Exchange): void {
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

const BY_CLIENT = ENDED_BY.indexOf("client");

/** What became of an exchange while we leave. */
const outcomeOf = (x: Exchange, hadHead: boolean): number => {
	const fault = FAULT_LIST[x.faultIndex];
	if (fault === undefined && !x.isCut) return x.arrivedLeaving ? CELL.LEAVING_SERVED : CELL.LEAVING_FINISHED;
	if (fault === FAULTS.drain_stream_closed) return CELL.LEAVING_STREAMS_CLOSED;
	if (fault === FAULTS.internal || fault?.blame === "upstream") return CELL.LEAVING_FAILED;
	if (!x.isCut) return CELL.LEAVING_REFUSED;
	// A head that never became whole is nothing that somebody waits for: a port scanner must not make a stop look bad.
	if (!hadHead) return CELL.LEAVING_ABORTED;
	return fault?.blame === "downstream" || x.endedBy === BY_CLIENT ? CELL.LEAVING_ABORTED : CELL.LEAVING_CUT;
};

const startsWith = (bytes: Buffer, at: number, prefix: Buffer): boolean => {
	for (let i = 0; i < prefix.length; i++) if (bytes[at + i] !== prefix[i]) return false;
	return true;
};
