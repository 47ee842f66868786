import { readFileSync } from "node:fs";
import type { Settings } from "./settings.ts";

/**
 * How many connections of clients there are files for. A process may have so many files open and no more (`RLIMIT_NOFILE`), and sockets are files: without a
 * bound of their own clients use up all of them, and then a probe, a stop hook or a check of the app cannot be accepted or made. Somebody outside would
 * have the container killed. So each listener is given what remains when the rest of the agent has its share:
 *
 *     all files ─┬─ reserve                ops, hooks that wait, the API, and files of our own; half of all at most
 *                └─ clients   × listeners  two for each connection (its own, and one to the app), one more where a PROXY header may be
 *                                          waited for, and one for each connection that is being refused
 */
export interface ConnectionNeeds {
	/** `limits.connections`. */
	readonly connectionsMax: number;
	/** Who accepts connections of clients: an inbound has one in each data thread, with an equal share of `connectionsMax`. */
	readonly listeners: number;
	/** Who has not said his PROXY header is bounded beside those who have. */
	readonly proxyProtocol: boolean;
}

/** What clients may use, and what to say when that is less than is configured. */
export interface FileBudget {
	/** For the data threads, in the place of `limits.connections`. */
	readonly connectionsMax: number;
	readonly advice: FileAdvice | undefined;
}

export interface FileAdvice {
	readonly reason: string;
	readonly detail: string;
	readonly advice: string;
}

/** Connections beyond `limits.connections` that a listener tells so at the same time. */
const REFUSALS_MIN = 16;
const REFUSALS_MAX = 128;
/** A data thread's own: pipes, polls and timers of its event loop. */
const FILES_A_THREAD = 8;
/** Whatever else is open or may be: the event loop of the control thread, the log, checks, pages of the app, looks into `/proc`. */
const OTHER_FILES = 120;

/** How many connections beyond its share a listener tells so at the same time; more are reset. They take files as well, so about as many as it serves. */
export function refusalsMax(share: number): number {
	return Math.max(REFUSALS_MIN, Math.min(share, REFUSALS_MAX));
}

/** How many files this process may have open. Node has raised it as far as it may; `undefined` where there is no limit, or it cannot be known. */
export function openFilesMax(path = "/proc/self/limits"): number | undefined {
	try {
		// Once, at the start, from memory; `node:fs/promises` would cost 4 MiB.
		const soft = /^Max open files\s+(\d+)\s/m.exec(readFileSync(path, "latin1"))?.[1];
		return soft === undefined ? undefined : Number(soft);
	} catch {
		return undefined; // another system
	}
}

/** Connections of clients that fit into `files` beside `reserve`: `connectionsMax` at most, and one at least, for which there may be no room. */
export function connectionsWithin(needs: ConnectionNeeds, files: number, reserve: number): number {
	const listeners = Math.max(1, needs.listeners);
	const filesEach = Math.floor((files - Math.min(reserve, Math.floor(files / 2))) / listeners);
	const each = filesOf(needs.proxyProtocol);
	// The largest share for which `each * share + refusalsMax(share)` is within `filesEach`.
	const share = Math.floor(
		Math.min((filesEach - REFUSALS_MIN) / each, Math.max(filesEach / (each + 1), (filesEach - REFUSALS_MAX) / each)),
	);
	// Shares are rounded up.
	if (Math.ceil(needs.connectionsMax / listeners) <= share) return needs.connectionsMax;
	return Math.min(needs.connectionsMax, Math.max(1, share * listeners));
}

/** @param files As `openFilesMax` says. */
export function fileBudget(
	settings: Pick<Settings, "inbound" | "workers" | "limits" | "ops" | "api" | "connections">,
	files: number | undefined,
): FileBudget {
	const { inbound, workers, limits, ops, api, connections } = settings;
	const { connectionsMax } = limits;
	if (files === undefined || inbound.length === 0) return { connectionsMax, advice: undefined };
	const reserve = ops.connectionsMax + ops.waitersMax + api.connectionsMax + OTHER_FILES + FILES_A_THREAD * workers;
	const needs = { connectionsMax, listeners: inbound.length * workers, proxyProtocol: connections.proxyProtocol };
	const fit = connectionsWithin(needs, files, reserve);
	if (fit === connectionsMax) return { connectionsMax, advice: undefined };
	const share = Math.ceil(connectionsMax / needs.listeners);
	const needed = needs.listeners * (share * filesOf(needs.proxyProtocol) + refusalsMax(share)) + reserve;
	return {
		connectionsMax: fit,
		advice: {
			reason: "too_few_files",
			detail: `the agent may have ${files} files open: room for ${fit} connections of clients, not for the ${connectionsMax} of limits.connections`,
			advice: `limits.connections: ${fit}, or a limit of open files (nofile) of ${needed}`,
		},
	};
}

/** Files for each connection that is served. */
function filesOf(proxyProtocol: boolean): number {
	return proxyProtocol ? 3 : 2;
}
