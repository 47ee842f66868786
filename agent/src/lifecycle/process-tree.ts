import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

/** One process, as far as it matters who belongs to whom. */
export interface ProcessRow {
	readonly pid: number;
	readonly parentPid: number;
	readonly groupId: number;
	/** Ended, and not yet waited for by its parent. */
	readonly isZombie: boolean;
}

/** Far more than a machine that somebody develops on has. */
const PROCESSES_MAX = 32_768;
const PS_TIMEOUT_MS = 2_000;
const PS_BYTES_MAX = 4 * 1024 * 1024;

/**
 * `/proc/PID/stat` (proc_pid_stat(5)). The name of the program stands in parentheses and may hold anything, parentheses and newlines
 * included: what follows the last one counts.
 */
export function parseStat(text: string): ProcessRow | undefined {
	const pid = Number.parseInt(text, 10);
	const nameEnd = text.lastIndexOf(")");
	if (!Number.isSafeInteger(pid) || nameEnd === -1) return undefined;
	const [state = "", parent = "", group = ""] = text.slice(nameEnd + 2).split(" ", 3);
	const parentPid = Number(parent);
	const groupId = Number(group);
	if (parent === "" || group === "" || !Number.isSafeInteger(parentPid) || !Number.isSafeInteger(groupId))
		return undefined;
	return { pid, parentPid, groupId, isZombie: state === "Z" || state === "X" };
}

/** Lines of `ps -axo pid=,ppid=,pgid=,stat=`; those that are something else are passed over. */
export function parsePs(text: string): readonly ProcessRow[] {
	const rows: ProcessRow[] = [];
	for (const line of text.split("\n", PROCESSES_MAX)) {
		const match = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)/.exec(line);
		if (match === null) continue;
		rows.push({
			pid: Number(match[1]),
			parentPid: Number(match[2]),
			groupId: Number(match[3]),
			isZombie: match[4]?.startsWith("Z") === true,
		});
	}
	return rows;
}

/** Every process that we may see. Where neither `/proc` nor `ps` is there: none. */
export async function listProcesses(platform: NodeJS.Platform = process.platform): Promise<readonly ProcessRow[]> {
	return platform === "linux" ? readProc() : parsePs(await outputOf("ps", ["-axo", "pid=,ppid=,pgid=,stat="]));
}

function readProc(): readonly ProcessRow[] {
	const rows: ProcessRow[] = [];
	for (const name of pidNames()) {
		try {
			const row = parseStat(readFileSync(`/proc/${name}/stat`, "latin1"));
			if (row !== undefined) rows.push(row);
		} catch {
			// It ended between the listing and the look.
		}
	}
	return rows;
}

function pidNames(): readonly string[] {
	try {
		return readdirSync("/proc")
			.filter((name) => /^\d+$/.test(name))
			.slice(0, PROCESSES_MAX);
	} catch {
		return []; // no /proc, or too many open files
	}
}

/** `root`, what descends from it, and what is in its group: a server that was sent to the background loses its parent, not its group. */
export function treeOf(root: number, processes: readonly ProcessRow[]): readonly number[] {
	const members = new Set<number>([root]);
	for (const row of processes) if (row.groupId === root) members.add(row.pid);
	// Parents need not come before their children in the list, so until nothing is added; each turn but the last adds one at least.
	for (let before = 0; before !== members.size; ) {
		before = members.size;
		for (const row of processes) if (members.has(row.parentPid)) members.add(row.pid);
	}
	return [...members];
}

/** Output of a small program of the system; empty when it is not there, fails or takes too long. */
export function outputOf(program: string, args: readonly string[]): Promise<string> {
	const { promise, resolve } = Promise.withResolvers<string>();
	execFile(program, args, { timeout: PS_TIMEOUT_MS, maxBuffer: PS_BYTES_MAX }, (_error, stdout) => {
		resolve(stdout); // lsof exits with 1 when one of several processes has nothing to show
	});
	return promise;
}
