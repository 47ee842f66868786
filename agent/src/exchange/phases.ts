import type { Counters } from "../bridge/counters.ts";
import type { Settings } from "../config/settings.ts";
import type { Fault } from "../foundation/fault.ts";
import type { Exchange } from "./exchange.ts";
import type { Account } from "./phases/account.ts";
import type { Identity } from "./phases/identity.ts";
import { limit } from "./phases/limit.ts";
import { normalise } from "./phases/normalise.ts";
import { policy } from "./phases/policy.ts";
import { route } from "./phases/route.ts";
import type { RouteTable } from "./route-table.ts";

/** Plain and synchronous. `undefined`: go on. A Fault: answer with it and end. */
export type Phase = (x: Exchange) => Fault | undefined;

export interface PhaseParts {
	readonly account: Account;
	readonly identity: Identity;
	readonly routes: RouteTable;
	readonly counters: Counters;
}

/** The way of a request head, in travel order. Built once, when the thread starts. */
export const requestPhases = (settings: Settings, parts: PhaseParts): readonly Phase[] => [
	(x) => {
		parts.account.open(x); // first: what is refused below has still been counted; knows probes
		return undefined;
	},
	limit(settings.limits, settings.workers, parts.counters), // before any work: refusing must be cheap
	normalise, // before anything trusts the head
	(x) => {
		parts.identity.identify(x); // before anything can be refused for what it asks: the answer carries the client's ids
		return undefined;
	},
	route(parts.routes), // before policy, which is set per route
	policy, // last: the bounds of this one request
];
