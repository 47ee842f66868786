/**
 * What processes cost, by the kernel's own books (/proc): CPU of a process and of all its children, resident memory,
 * CPU of single threads, and how busy the whole machine was. Linux only. Reading is not free (about 20 µs a process),
 * so callers sample, they do not poll.
 */
import { readdirSync, readFileSync } from "node:fs";

/** Clock ticks per second of /proc/PID/stat: USER_HZ, 100 on every Linux that Node runs on (proc(5)). */
const TICKS_PER_SECOND = 100;
const PAGE_BYTES = 4096;

/** What /proc/PID/stat tells, as far as it is needed here. Times in seconds. */
export interface ProcessStat {
	readonly pid: number;
	readonly parent: number;
	/** utime + stime: all threads of the process, those that have ended included. */
	readonly cpuSeconds: number;
	/** cutime + cstime: children that have ended and were waited for. */
	readonly endedChildrenSeconds: number;
}

/**
 * Parses one line of /proc/PID/stat (proc_pid_stat(5)). The name is in parentheses and may itself hold spaces and
 * parentheses, so the fields are counted from the last one.
 * @throws when the line is not such a line
 */
export function parseProcessStat(line: string): ProcessStat {
	const open = line.indexOf("(");
	const close = line.lastIndexOf(")");
	const fields = line.slice(close + 2).split(" ");
	const number = (index: number): number => Number(fields[index]);
	const stat = {
		pid: Number.parseInt(line.slice(0, open), 10),
		parent: number(1),
		cpuSeconds: (number(11) + number(12)) / TICKS_PER_SECOND,
		endedChildrenSeconds: (number(13) + number(14)) / TICKS_PER_SECOND,
	};
	if (open < 1 || close < open || Object.values(stat).some(Number.isNaN)) {
		throw new Error(`not a line of /proc/PID/stat: ${JSON.stringify(line.slice(0, 200))}`);
	}
	return stat;
}

/** Seconds that the machine's cores spent working, and seconds that a hypervisor took away, since boot. */
export interface MachineTime {
	readonly busySeconds: number;
	readonly stolenSeconds: number;
}

/** Parses the first line of /proc/stat (proc_stat(5)): user nice system idle iowait irq softirq steal guest guest_nice. */
export function parseMachineTime(text: string): MachineTime {
	const first = text.slice(0, text.indexOf("\n"));
	const fields = first.split(/\s+/);
	if (fields[0] !== "cpu" || fields.length < 9) throw new Error(`not /proc/stat: ${JSON.stringify(first)}`);
	const ticks = (index: number): number => Number(fields[index]);
	return {
		busySeconds: (ticks(1) + ticks(2) + ticks(3) + ticks(6) + ticks(7)) / TICKS_PER_SECOND,
		stolenSeconds: ticks(8) / TICKS_PER_SECOND,
	};
}

export const machineTime = (): MachineTime => parseMachineTime(readFileSync("/proc/stat", "latin1"));

function readStat(pid: number): ProcessStat | undefined {
	try {
		return parseProcessStat(readFileSync(`/proc/${pid}/stat`, "latin1"));
	} catch {
		return undefined; // it ended while we were reading
	}
}

/** The pids of a process and of everything it started that still lives. */
export function processTree(root: number): readonly number[] {
	const childrenOf = new Map<number, number[]>();
	for (const name of readdirSync("/proc")) {
		const pid = Number(name);
		if (!Number.isInteger(pid)) continue;
		const stat = readStat(pid);
		if (stat === undefined) continue;
		const siblings = childrenOf.get(stat.parent);
		if (siblings === undefined) childrenOf.set(stat.parent, [pid]);
		else siblings.push(pid);
	}
	const tree = [root];
	for (const pid of tree) tree.push(...(childrenOf.get(pid) ?? []));
	return tree;
}

/**
 * CPU seconds that the processes have used so far, all threads, user and kernel. The resolution is one tick (10 ms) a
 * process: a window of 4 s at full load is read to 0.3 %.
 */
export function cpuSeconds(pids: readonly number[]): number {
	let sum = 0;
	for (const pid of pids) {
		const stat = readStat(pid);
		if (stat !== undefined) sum += stat.cpuSeconds + stat.endedChildrenSeconds;
	}
	return sum;
}

/** Resident bytes of the processes together. What they share is counted for each. */
export function residentBytes(pids: readonly number[]): number {
	let pages = 0;
	for (const pid of pids) {
		try {
			pages += Number(readFileSync(`/proc/${pid}/statm`, "latin1").split(" ")[1]);
		} catch {
			// it ended while we were reading: it holds nothing any more
		}
	}
	return pages * PAGE_BYTES;
}

/** What one thread has used so far. */
export interface ThreadTime {
	readonly id: number;
	readonly name: string;
	readonly cpuSeconds: number;
}

/** The living threads of one process; nanosecond resolution (/proc/PID/task/TID/schedstat). */
export function threadTimes(pid: number): readonly ThreadTime[] {
	const threads: ThreadTime[] = [];
	for (const id of readdirSync(`/proc/${pid}/task`)) {
		try {
			const spent = readFileSync(`/proc/${pid}/task/${id}/schedstat`, "latin1").split(" ")[0];
			const name = readFileSync(`/proc/${pid}/task/${id}/comm`, "latin1").trim();
			threads.push({ id: Number(id), name, cpuSeconds: Number(spent) / 1e9 });
		} catch {
			// the thread ended while we were reading
		}
	}
	return threads;
}
