/** One measured window: load through one proxy, and what it cost. */
import { cpuSeconds, machineTime, residentBytes, type ThreadTime, threadTimes } from "./accounting.ts";
import type { Contestant } from "./contestant.ts";
import { type Load, type LoadResult, refusalOf } from "./load.ts";
import type { OriginCounts } from "./origin.ts";
import { nowMs } from "./processes.ts";
import type { LoadScenario } from "./scenarios.ts";

export interface Window {
	readonly load: LoadResult;
	/** CPU of the proxy: all threads and children, user and kernel. */
	readonly cpuSeconds: number;
	readonly wallSeconds: number;
	/** The same by thread name, threads that did nothing left out; the resolution is finer, ended threads are missing. */
	readonly threadSeconds: Readonly<Record<string, number>>;
	/** Bytes of bodies moved in the scenario's direction. */
	readonly bodyBytes: number;
	readonly peakResidentBytes: number;
	/** Cores that were busy with something that is not part of the bench, on average. Above 0.1 the window is doubtful. */
	readonly foreignCores: number;
}

export interface WindowMeans {
	readonly load: Load;
	/** The app: its books, and its pid, which is part of the bench and no foreign load. */
	readonly counts: () => Promise<OriginCounts>;
	readonly originPids: readonly number[];
}

const SAMPLE_MS = 100;

/** @throws when the load met errors or the proxy ended: then there is no figure */
export async function measureWindow(
	contestant: Contestant,
	scenario: LoadScenario,
	seconds: number,
	means: WindowMeans,
): Promise<Window> {
	const pids = contestant.pids();
	const ours = [...pids, ...means.originPids, process.pid];
	let peakResidentBytes = residentBytes(pids);
	const sampler = setInterval(() => {
		peakResidentBytes = Math.max(peakResidentBytes, residentBytes(pids));
	}, SAMPLE_MS);
	try {
		const countsBefore = await means.counts();
		const threadsBefore = pids.flatMap(threadTimes);
		const before = { cpu: cpuSeconds(pids), ours: cpuSeconds(ours), machine: machineTime(), ms: nowMs() };
		const load = await means.load({
			port: contestant.port,
			path: scenario.path,
			connections: scenario.connections,
			uploadBytes: scenario.uploadBytes,
			seconds,
			pauseMs: 0,
		});
		const after = { cpu: cpuSeconds(pids), ours: cpuSeconds(ours), machine: machineTime(), ms: nowMs() };
		const threadsAfter = pids.flatMap(threadTimes);
		const countsAfter = await means.counts();
		const refusal = contestant.hasEnded() ?? refusalOf(load);
		if (refusal !== undefined) throw new Error(refusal);
		const wallSeconds = (after.ms - before.ms) / 1000;
		const foreign = after.machine.busySeconds - before.machine.busySeconds - (after.ours - before.ours);
		const stolen = after.machine.stolenSeconds - before.machine.stolenSeconds;
		return {
			load,
			cpuSeconds: after.cpu - before.cpu,
			wallSeconds,
			threadSeconds: spentByThread(threadsBefore, threadsAfter),
			bodyBytes: scenario.uploadBytes > 0 ? countsAfter.bodyBytes - countsBefore.bodyBytes : load.bytes,
			peakResidentBytes,
			foreignCores: Math.max(0, foreign + stolen) / wallSeconds,
		};
	} finally {
		clearInterval(sampler);
	}
}

function spentByThread(before: readonly ThreadTime[], after: readonly ThreadTime[]): Record<string, number> {
	const earlier = new Map(before.map((thread) => [thread.id, thread.cpuSeconds]));
	const spent: Record<string, number> = {};
	for (const { id, name, cpuSeconds: until } of after) {
		const seconds = until - (earlier.get(id) ?? 0);
		if (seconds > 0) spent[name] = (spent[name] ?? 0) + seconds;
	}
	return spent;
}
