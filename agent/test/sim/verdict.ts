import { CELL, type Counters } from "../../src/bridge/counters.ts";
import {
	type ExchangeRecord,
	FLAG_OPAQUE,
	FLAG_PROBE,
	FLAG_RESENT,
	FLAG_TUNNEL,
} from "../../src/bridge/exchange-record.ts";
import { FAULT_LIST } from "../../src/foundation/fault.ts";
import type { Ledger, SentRequest } from "./ledger.ts";

const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY"]);
/** Gauges that are 0 when everybody is gone. */
const GAUGES = [
	"DOWNSTREAM_OPEN",
	"UPSTREAM_OPEN",
	"IN_FLIGHT",
	"PROBES_IN_FLIGHT",
	"EVENT_STREAMS",
	"TUNNELS",
	"OPAQUE_OPEN",
	"BUFFERED_BYTES",
] as const;
const METHODS = 11;
const RESEND_REASONS = 3;

export interface Account {
	readonly ledger: Ledger;
	readonly records: readonly ExchangeRecord[];
	readonly recordsDropped: number;
	readonly counters: Counters;
	readonly isCalm: boolean;
	readonly violated: (what: string) => void;
}

/** When everybody is gone: what clients, apps, records and counters say has to be one story. */
export const judge = (account: Account): void => {
	const { counters, records, violated, ledger } = account;
	const get = (cell: number): number => counters.get(cell);
	for (const name of GAUGES) if (get(CELL[name]) !== 0) violated(`${name} is ${get(CELL[name])} at the end`);
	for (let method = 0; method < METHODS; method++) {
		const active = get(CELL.ACTIVE_BY_METHOD_START + method);
		if (active !== 0) violated(`${active} requests of method ${method} are active at the end`);
	}
	if (get(CELL.INTERNAL_FAULTS) !== 0) violated(`${get(CELL.INTERNAL_FAULTS)} mistakes of the agent`);
	if (account.recordsDropped > 0) violated("the ring was too small for this run");
	if (records.length !== get(CELL.ANSWERED) + get(CELL.CUT)) {
		violated(`${records.length} records, ${get(CELL.ANSWERED)} answers and ${get(CELL.CUT)} cuts`);
	}
	const arrived = get(CELL.REQUESTS_ARRIVED) + get(CELL.PROBES_ARRIVED);
	// What was refused unread while leaving has no record.
	if (arrived > records.length + get(CELL.LEAVING_REFUSED))
		violated(`${arrived} requests arrived, ${records.length} are recorded`);
	if (records.filter(({ flags }) => (flags & FLAG_PROBE) !== 0).length !== get(CELL.PROBES_ARRIVED))
		violated("probes and their records differ");
	const opaque = records.filter(({ flags }) => (flags & FLAG_OPAQUE) !== 0).length;
	if (opaque !== get(CELL.OPAQUE_OPENED) || ledger.opaque > opaque)
		violated(`${opaque} opaque connections recorded, the app saw ${ledger.opaque}`);
	if (records.some(({ durationMs }) => !(durationMs >= 0))) violated("an exchange that took less than no time");
	judgeHeads(account);
	judgeRequests(account);
};

/** What the app got is what the agent accounted for, and nothing twice that may not be sent twice. */
const judgeHeads = ({ ledger, records, counters, violated }: Account): void => {
	const bySpan = new Map<string, ExchangeRecord>();
	for (const record of records) bySpan.set(record.clientSpanId, record);
	const seen = new Map<string, number>();
	let twice = 0;
	for (const { spanId, id, method, hasBody, message } of ledger.heads) {
		const record = bySpan.get(spanId);
		if (record === undefined) violated(`the app got what the agent has no record of: ${message.startLine}`);
		const times = (seen.get(spanId) ?? 0) + 1;
		seen.set(spanId, times);
		if (times === 1) continue;
		twice++;
		if (hasBody || !IDEMPOTENT.has(method)) violated(`${method} ${id} was sent ${times} times`);
		if (times > 2) violated(`request ${id} was sent ${times} times`);
		if (record !== undefined && (record.flags & FLAG_RESENT) === 0)
			violated(`request ${id} was sent again, and its record does not say so`);
	}
	let resent = 0;
	for (let reason = 0; reason < RESEND_REASONS; reason++) resent += counters.get(CELL.RESENT_START + reason);
	if (twice > resent) violated(`${twice} requests came twice, ${resent} were counted`);
};

const judgeRequests = (account: Account): void => {
	const { ledger, records, violated, isCalm } = account;
	const byId = new Map<string, ExchangeRecord[]>();
	for (const record of records) {
		const same = byId.get(record.requestId);
		if (same === undefined) byId.set(record.requestId, [record]);
		else same.push(record);
	}
	const atApp = new Set(ledger.heads.map(({ id }) => id));
	for (const request of ledger.requests.values()) {
		const own = byId.get(`sim-${request.id}`) ?? [];
		if (own.length > 1) violated(`request ${request.id} has ${own.length} records`);
		const record = own[0];
		if (atApp.has(request.id) && record === undefined)
			violated(`request ${request.id} reached the app and has no record`);
		if (isCalm && request.got === undefined) violated(`request ${request.id} has no answer`);
		if (record !== undefined) judgeRecord(request, record, account);
	}
};

const judgeRecord = (request: SentRequest, record: ExchangeRecord, { isCalm, violated }: Account): void => {
	const { id, got } = request;
	const error = FAULT_LIST[record.faultIndex]?.reason;
	if (isCalm && error !== undefined) violated(`request ${id} ended with ${error}`);
	if ((record.flags & FLAG_TUNNEL) !== 0) return; // what went through the tunnel is counted with it
	if (record.requestBodyBytes > request.body.length) violated(`request ${id}: more body recorded than was sent`);
	if (request.wholeAtApp > 0 && record.requestBodyBytes !== request.body.length) {
		violated(`request ${id}: ${record.requestBodyBytes} bytes of body recorded, ${request.body.length} sent`);
	}
	if (got === undefined) return;
	if (got.status !== record.status) violated(`request ${id} was answered ${got.status}, recorded as ${record.status}`);
	if (got.error !== undefined && got.error !== error)
		violated(`request ${id} was refused for ${got.error}, recorded as ${error ?? "nothing"}`);
	if (got.error === undefined && got.status !== 101 && record.responseBodyBytes !== got.bodyBytes) {
		violated(`request ${id}: ${got.bodyBytes} bytes of answer came, ${record.responseBodyBytes} are recorded`);
	}
};
