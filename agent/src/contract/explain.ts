import {
	type ExchangeRecord,
	FLAG_EVENT_STREAM,
	FLAG_OPAQUE,
	FLAG_PROBE,
	FLAG_RESENT,
	FLAG_REUSED,
	FLAG_TUNNEL,
} from "../bridge/exchange-record.ts";
import { unreachable } from "../foundation/assert.ts";
import { FAULT_LIST, FAULTS, type Fault } from "../foundation/fault.ts";
import { humanTime } from "../foundation/human-time.ts";

/**
 * What became of one exchange, in a few plain sentences: who ended it and why, where the time went, and what was special about it. Only what the
 * record says: no guess about what the app was doing meanwhile.
 */
export function explain(record: ExchangeRecord): string {
	const fault = FAULT_LIST[record.faultIndex];
	return [outcome(record, fault), whereTheTimeWent(record), ...circumstances(record, fault), ...help(fault)].join(" ");
}

/** Where the advice for a fault is; also said by the page's own links. */
export function helpOf({ reason }: Fault): string {
	return `docs/errors.md#${reason}`;
}

/** Above this share one part of the time is told alone. */
const MOST = 0.75;
/** Parts below this share are not worth a word. */
const LITTLE = 0.05;

function has({ flags }: ExchangeRecord, flag: number): boolean {
	return (flags & flag) !== 0;
}

function outcome(record: ExchangeRecord, fault: Fault | undefined): string {
	if (fault !== undefined)
		return `${who(record, fault)} (${fault.reason}): ${fault.detail} ${whatTheClientGot(record, fault)}`;
	const { status, endedBy } = record;
	if (has(record, FLAG_OPAQUE)) return `A connection that was relayed as it is; ${closer(record)} closed it.`;
	if (has(record, FLAG_TUNNEL)) {
		return `The app switched the connection to another protocol (${status}); ${closer(record)} closed it.`;
	}
	if (endedBy === "agent") return `The agent answered ${status} itself, as max-forwards asked it to.`;
	return `The app answered ${status}, and all of its answer was passed on.`;
}

function who({ endedBy }: ExchangeRecord, fault: Fault): string {
	switch (endedBy) {
		case "client":
			return "The client ended it";
		case "app":
			return "The app ended it";
		case "limit":
			return "A bound of the agent was met";
		case "timeout":
			return "A time limit ended it";
		case "drain":
			return "The agent's stop ended it";
		case "agent":
			return fault === FAULTS.internal ? "The agent failed" : "The agent refused it";
		default:
			return unreachable(endedBy);
	}
}

function closer({ endedBy }: ExchangeRecord): string {
	switch (endedBy) {
		case "client":
			return "the client";
		case "app":
			return "the app";
		case "timeout":
			return "a time limit of the agent";
		case "drain":
			return "the agent's stop";
		case "agent":
		case "limit":
			return "the agent";
		default:
			return unreachable(endedBy);
	}
}

function whatTheClientGot({ status, receiveMs, responseBodyBytes }: ExchangeRecord, fault: Fault): string {
	// The fault's own status is only sent while the app's answer has not begun; after that the exchange is cut.
	if (fault.status > 0 && status === fault.status) {
		return `The client got ${status} from the agent${fault.closes ? ", and its connection was closed" : ""}.`;
	}
	if (receiveMs >= 0) {
		return `The app had answered ${status}, and ${bytes(responseBodyBytes)} of the body had come: the answer was cut there.`;
	}
	return "No answer had begun.";
}

function bytes(count: number): string {
	return count === 1 ? "1 byte" : `${count} bytes`;
}

function whereTheTimeWent(record: ExchangeRecord): string {
	const { durationMs, connectMs, waitMs, receiveMs } = record;
	if (has(record, FLAG_TUNNEL | FLAG_OPAQUE)) return `It lasted ${humanTime(durationMs)}.`;
	const parts: readonly (readonly [ms: number, what: string])[] = [
		[part(connectMs), "connecting to the app"],
		[part(waitMs), "waiting for the app's answer to begin"],
		[part(receiveMs), "passing the answer on"],
	];
	const restMs = durationMs - parts.reduce((sum, [ms]) => sum + ms, 0);
	const isAnswered = receiveMs >= 0;
	const all = [...parts, [restMs, isAnswered ? "taking in the request" : "before an answer began"] as const]
		.filter(([ms]) => ms >= LITTLE * durationMs)
		.toSorted(([a], [b]) => b - a);
	const total = `It took ${humanTime(durationMs)}`;
	const [largest] = all;
	if (durationMs < 1 || largest === undefined) return `${total}.`;
	if (largest[0] >= MOST * durationMs) return `${total}, most of it ${largest[1]}.`;
	return `${total}: ${all.map(([ms, what]) => `${humanTime(ms)} ${what}`).join(", ")}.`;
}

/** NaN stands for what has not happened. */
function part(ms: number): number {
	return ms > 0 ? ms : 0;
}

function circumstances(record: ExchangeRecord, fault: Fault | undefined): readonly string[] {
	const told: string[] = [];
	if (has(record, FLAG_PROBE)) told.push("It was a probe: not counted as traffic, and no drain waits for it.");
	if (has(record, FLAG_EVENT_STREAM)) told.push("It was an event stream.");
	if (has(record, FLAG_RESENT)) {
		told.push("The request was sent a second time, because the app had closed the connection on which it went first.");
	} else if (has(record, FLAG_REUSED) && fault?.blame === "upstream") {
		told.push("The connection to the app had carried other requests before.");
	}
	const state = stateSaid(record, fault);
	if (state !== undefined) told.push(state);
	return told;
}

function stateSaid({ state }: ExchangeRecord, fault: Fault | undefined): string | undefined {
	switch (state) {
		case "ready":
			return undefined;
		case "starting":
			return "It came before the agent had found the app ready.";
		case "unready":
			return "It came while the agent was not ready for traffic.";
		case "announcing":
		case "draining":
		case "stopping":
		case "stopped":
			return `It came while the agent was leaving (${state})${fault === undefined ? ", and was served all the same" : ""}.`;
		default:
			return unreachable(state);
	}
}

function help(fault: Fault | undefined): readonly string[] {
	return fault === undefined ? [] : [`What to do: ${helpOf(fault)}`];
}
