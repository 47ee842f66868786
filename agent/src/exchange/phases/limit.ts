import { CELL, type Counters } from "../../bridge/counters.ts";
import { FLAG_PROBE } from "../../bridge/exchange-record.ts";
import type { Settings } from "../../config/settings.ts";
import { FAULTS, type Fault } from "../../foundation/fault.ts";
import type { Exchange } from "../exchange.ts";

/** `limits.inFlight`, shared out among the data threads. Probes are never refused: a busy app is not a dead one. */
export const limit = (limits: Settings["limits"], workers: number, counters: Counters) => {
	const inFlightMax = Math.ceil(limits.inFlightMax / workers);
	return (x: Exchange): Fault | undefined => {
		if ((x.flags & FLAG_PROBE) !== 0) return undefined;
		return counters.get(CELL.IN_FLIGHT) > inFlightMax ? FAULTS.in_flight_exceeded : undefined;
	};
};
