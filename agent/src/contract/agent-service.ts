import { API_METHODS } from "@outrigger/contract";
import {
	type ExchangeRecord,
	FLAG_EVENT_STREAM,
	FLAG_OPAQUE,
	FLAG_PROBE,
	FLAG_RESENT,
	FLAG_REUSED,
	FLAG_SAMPLED,
	FLAG_TUNNEL,
} from "../bridge/exchange-record.ts";
import { renderAddress } from "../config/address.ts";
import type { Address, Settings } from "../config/settings.ts";
import type { BuildInfo } from "../foundation/build-info.ts";
import { FAULT_LIST } from "../foundation/fault.ts";
import type { DrainReport } from "../lifecycle/drain-report.ts";
import type { Lease } from "../lifecycle/leases.ts";
import type { StateName } from "../lifecycle/state.ts";
import { PathPatterns } from "../observe/path-patterns.ts";
import type { RecentExchanges } from "../observe/recent.ts";
import { explain } from "./explain.ts";
import { reportAnswer } from "./lifecycle-service.ts";
import type { Method } from "./method.ts";
import { Fields, renderTime } from "./proto-json.ts";

/** `outrigger.v1.Agent`: what it is and does, and what became of the last exchanges. */
export interface AgentServiceParts {
	readonly build: BuildInfo;
	readonly pid: number;
	readonly service: Settings["service"];
	/** Names of the entries of `inbound`. */
	readonly inboundNames: readonly string[];
	/** Read at each call. */
	readonly info: () => AgentInfo;
	readonly exchanges: Pick<RecentExchanges, "find" | "latest">;
	/** What the log may not say, is not said here either. */
	readonly log: Pick<Settings["log"], "query" | "redact">;
}

/** The agent as it is now. */
export interface AgentInfo {
	readonly startedWallMs: number;
	readonly state: StateName;
	readonly stateSinceWallMs: number;
	/** Why it is not ready, or why it leaves: a word. */
	readonly why: string | undefined;
	readonly addresses: {
		readonly inbound: readonly Address[];
		readonly ops: Address;
		readonly api: Address | undefined;
	};
	readonly apps: readonly AppInfo[];
	readonly inFlight: number;
	readonly streams: number;
	readonly tunnels: number;
	readonly connections: { readonly downstream: number; readonly upstream: number };
	/** Connections to the app that came past us. */
	readonly bypass: number;
	readonly leases: readonly Lease[];
	/** The drain that is under way. */
	readonly drain: DrainInfo | undefined;
	/** The drain that is over. */
	readonly report: DrainReport | undefined;
}

export interface AppInfo {
	/** Name of the entry of `inbound`. */
	readonly name: string;
	/** Where it answered, else where it is looked for; `undefined` until its port is found. */
	readonly address: Address | undefined;
	readonly state: "unknown" | "accepts" | "refuses";
	readonly lastError: string | undefined;
}

export interface DrainInfo {
	readonly startedBy: string;
	readonly reason: string | undefined;
	readonly phase: string;
	readonly deadlineWallMs: number;
	/** In words: `2 exchanges in flight`. */
	readonly waitingFor: readonly string[];
}

const EXCHANGES_DEFAULT = 50;
/** Each has up to seven texts of `log.fieldBytes`. */
const EXCHANGES_MAX = 200;
/** An id has up to 128 characters, a `traceparent` 55. */
const ID = { charactersMax: 128 };
/** W3C Trace Context §3.2.2: who has the field at hand need not cut the trace id out of it. */
const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/i;
const TRACE_ID = /^[0-9a-f]{32}$/i;

export function agentMethods(parts: AgentServiceParts): readonly Method[] {
	const render = exchangeRenderer(parts);
	return [
		{ path: API_METHODS.getInfo, handle: () => infoAnswer(parts) },
		{
			path: API_METHODS.listExchanges,
			handle: (input) => {
				const limit = new Fields(input).count("limit", EXCHANGES_MAX, EXCHANGES_DEFAULT);
				return { exchanges: parts.exchanges.latest(limit).map(render) };
			},
		},
		{
			path: API_METHODS.why,
			handle: (input) => {
				const id = idOf(new Fields(input).requiredText("id", ID));
				const found = parts.exchanges.find(id, EXCHANGES_MAX);
				return { exchanges: found.map((record) => ({ ...render(record), explanation: explain(record) })) };
			},
		},
	];
}

/** Trace ids are kept in lower case; other ids as they came. */
function idOf(text: string): string {
	const trimmed = text.trim();
	const traceId = TRACEPARENT.exec(trimmed)?.[1] ?? (TRACE_ID.test(trimmed) ? trimmed : undefined);
	return traceId?.toLowerCase() ?? trimmed;
}

function infoAnswer({ build, pid, service, info }: AgentServiceParts): object {
	const now = info();
	const { addresses, apps, drain } = now;
	return {
		...build,
		pid,
		service,
		startedAt: renderTime(now.startedWallMs),
		state: now.state,
		stateSince: renderTime(now.stateSinceWallMs),
		why: now.why,
		addresses: {
			inbound: addresses.inbound.map(renderAddress),
			ops: renderAddress(addresses.ops),
			api: addresses.api === undefined ? undefined : renderAddress(addresses.api),
		},
		apps: apps.map(({ address, ...app }) => ({
			...app,
			address: address === undefined ? undefined : renderAddress(address),
		})),
		inFlight: now.inFlight,
		streams: now.streams,
		tunnels: now.tunnels,
		connections: now.connections,
		bypass: now.bypass,
		leases: now.leases.map(({ id, name, heldWallMs, expiresWallMs }) => ({
			id,
			name,
			held: renderTime(heldWallMs),
			expires: renderTime(expiresWallMs),
		})),
		drain:
			drain === undefined
				? undefined
				: {
						startedBy: drain.startedBy,
						reason: drain.reason,
						phase: drain.phase,
						deadline: renderTime(drain.deadlineWallMs),
						waitingFor: drain.waitingFor,
					},
		report: reportAnswer(now.report),
	};
}

function exchangeRenderer({ inboundNames, log }: AgentServiceParts): (record: ExchangeRecord) => object {
	const redact = PathPatterns.of(log.redact);
	return (record) => {
		const path = Buffer.from(record.path, "utf8");
		const isHidden = redact?.matches(path, 0, path.length) === true;
		const has = (flag: number): true | undefined => ((record.flags & flag) === 0 ? undefined : true);
		return {
			startedAt: renderTime(record.startedWallMs),
			inbound: inboundNames[record.inbound],
			thread: record.thread,
			method: text(record.method),
			path: isHidden ? "[redacted]" : text(record.path),
			query: !log.query ? undefined : isHidden && record.query !== "" ? "[redacted]" : text(record.query),
			route: text(record.route),
			status: record.status === 0 ? undefined : record.status,
			error: FAULT_LIST[record.faultIndex]?.reason,
			endedBy: record.endedBy,
			state: record.state,
			durationMs: milliseconds(record.durationMs),
			connectMs: milliseconds(record.connectMs),
			waitMs: milliseconds(record.waitMs),
			receiveMs: milliseconds(record.receiveMs),
			requestBodyBytes: record.requestBodyBytes,
			responseBodyBytes: record.responseBodyBytes,
			clientAddress: text(record.clientAddress),
			userAgent: text(record.userAgent),
			requestId: text(record.requestId),
			correlationId: text(record.correlationId),
			traceId: text(record.traceId),
			spanId: text(record.spanId),
			parentSpanId: text(record.parentSpanId),
			sampled: has(FLAG_SAMPLED),
			probe: has(FLAG_PROBE),
			resent: has(FLAG_RESENT),
			reused: has(FLAG_REUSED),
			tunnel: has(FLAG_TUNNEL),
			opaque: has(FLAG_OPAQUE),
			eventStream: has(FLAG_EVENT_STREAM),
		};
	};
}

/** Absent rather than empty, as in the access line. */
function text(value: string): string | undefined {
	return value === "" ? undefined : value;
}

/** To the microsecond; absent when it has not happened. */
function milliseconds(ms: number): number | undefined {
	return ms >= 0 ? Number(ms.toFixed(3)) : undefined;
}
