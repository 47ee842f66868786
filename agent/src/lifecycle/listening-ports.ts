import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { listProcesses, outputOf, treeOf } from "./process-tree.ts";
import { parseSocketTable } from "./socket-table.ts";

/**
 * On which TCP ports a process and its descendants listen, and which of them is the app's. On Linux from `/proc`; elsewhere by
 * asking `ps` and `lsof`. A look changes nothing and asks the app nothing.
 */
export interface ListeningPort {
	readonly port: number;
	/** All addresses on which it listens, `0.0.0.0` and `::` included; sorted. */
	readonly addresses: readonly string[];
	readonly pid: number;
	/** What the process was started with; empty when it cannot be read. */
	readonly args: readonly string[];
	/** `NODE_OPTIONS` and the like of the process, in which a debugger may be asked for. */
	readonly debugOptions: string;
}

/** An open file each: more are not looked at. */
const FILES_MAX = 65_536;
const DEBUG_VARIABLES = ["NODE_OPTIONS", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"];

/** Ports on which the tree of `root` listens, smallest first. Never rejects: what cannot be read is not there. */
export async function listeningPorts(
	root: number,
	platform: NodeJS.Platform = process.platform,
): Promise<readonly ListeningPort[]> {
	const pids = treeOf(root, await listProcesses(platform));
	return platform === "linux" ? portsFromProc(pids) : portsFromLsof(pids);
}

function portsFromProc(pids: readonly number[]): readonly ListeningPort[] {
	const owners = new Map<number, number>();
	for (const pid of pids) for (const inode of socketInodes(pid)) if (!owners.has(inode)) owners.set(inode, pid);
	const found: FoundSocket[] = [];
	for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
		const listening = parseSocketTable(
			readText(table),
			(socket) => socket.state === "listen" && owners.has(socket.inode),
		);
		for (const socket of listening.sockets) {
			found.push({ port: socket.localPort, address: socket.localAddress, pid: owners.get(socket.inode) ?? 0 });
		}
	}
	return byPort(found, (pid) => ({
		args: readText(`/proc/${pid}/cmdline`)
			.split("\0")
			.filter((arg) => arg !== ""),
		debugOptions: readText(`/proc/${pid}/environ`)
			.split("\0")
			.filter((entry) => DEBUG_VARIABLES.some((name) => entry.startsWith(`${name}=`)))
			.map((entry) => entry.slice(entry.indexOf("=") + 1))
			.join(" "),
	}));
}

function socketInodes(pid: number): readonly number[] {
	const inodes: number[] = [];
	try {
		for (const file of readdirSync(`/proc/${pid}/fd`).slice(0, FILES_MAX)) {
			try {
				const match = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${file}`));
				if (match !== null) inodes.push(Number(match[1]));
			} catch {
				// Closed between the listing and the look.
			}
		}
	} catch {
		// The process has ended, or belongs to somebody else.
	}
	return inodes;
}

function readText(path: string): string {
	try {
		return readFileSync(path, "latin1");
	} catch {
		return "";
	}
}

async function portsFromLsof(pids: readonly number[]): Promise<readonly ListeningPort[]> {
	const list = pids.join(",");
	const found = parseLsof(await outputOf("lsof", ["-nP", "-iTCP", "-sTCP:LISTEN", "-a", "-p", list, "-F", "pn"]));
	if (found.length === 0) return [];
	const commands = parseCommands(await outputOf("ps", ["-o", "pid=,args=", "-p", list]));
	return byPort(found, (pid) => ({ args: commands.get(pid) ?? [], debugOptions: "" }));
}

export interface FoundSocket {
	readonly port: number;
	readonly address: string;
	readonly pid: number;
}

/** Output of `lsof -F pn`: a line `p<pid>`, then for each socket `f<fd>` and `n<address>:<port>`, `*` for all addresses. */
export function parseLsof(text: string): readonly FoundSocket[] {
	const found: FoundSocket[] = [];
	let pid = 0;
	for (const line of text.split("\n", FILES_MAX)) {
		if (line.startsWith("p")) pid = Number.parseInt(line.slice(1), 10);
		const match = /^n(.*):(\d+)$/.exec(line);
		if (match === null || !Number.isSafeInteger(pid)) continue;
		const address = match[1] ?? "";
		found.push({ port: Number(match[2]), address: address === "*" ? "0.0.0.0" : address.replace(/^\[|\]$/g, ""), pid });
	}
	return found;
}

/** Output of `ps -o pid=,args=`. Where one argument ends and the next begins is lost there: split at spaces. */
export function parseCommands(text: string): ReadonlyMap<number, readonly string[]> {
	const commands = new Map<number, readonly string[]>();
	for (const line of text.split("\n", FILES_MAX)) {
		const match = /^\s*(\d+)\s+(.+?)\s*$/.exec(line);
		if (match !== null) commands.set(Number(match[1]), (match[2] ?? "").split(" "));
	}
	return commands;
}

/** One entry a port: an app that listens on both families, or that forks workers on one port, still has one port. */
export function byPort(
	found: readonly FoundSocket[],
	describe: (pid: number) => Pick<ListeningPort, "args" | "debugOptions">,
): readonly ListeningPort[] {
	const ports = new Map<number, { pid: number; addresses: Set<string> }>();
	for (const { port, address, pid } of found) {
		const known = ports.get(port);
		if (known === undefined) ports.set(port, { pid, addresses: new Set([address]) });
		else {
			known.addresses.add(address);
			known.pid = Math.min(known.pid, pid); // the master, not one of its workers
		}
	}
	return [...ports]
		.map(([port, { pid, addresses }]) => ({ port, addresses: [...addresses].sort(), pid, ...describe(pid) }))
		.sort((a, b) => a.port - b.port);
}

/** Which of the ports gets the traffic. */
export type Choice =
	| { readonly kind: "none" }
	| { readonly kind: "one"; readonly port: ListeningPort }
	| { readonly kind: "several"; readonly ports: readonly ListeningPort[] };

/** The ports that the system gives to those who ask for any: Linux' default `ip_local_port_range`, IANA's elsewhere (RFC 6335 §6). */
export interface PortRange {
	readonly first: number;
	readonly last: number;
}

export function ephemeralPorts(platform: NodeJS.Platform = process.platform): PortRange {
	if (platform !== "linux") return { first: 49_152, last: 65_535 };
	const match = /^(\d+)\s+(\d+)/.exec(readText("/proc/sys/net/ipv4/ip_local_port_range"));
	return match === null ? { first: 32_768, last: 60_999 } : { first: Number(match[1]), last: Number(match[2]) };
}

/**
 * Leaves out what a debugger listens on, then prefers ports that somebody chose to those that the system gave: an editor's
 * debugger, a hot-reload channel or a coverage tool asks for any port, a service has one that people know. A service that itself
 * asks for any port, and has only that one, is found all the same. `preferred` is what `PORT` says in its environment: by a
 * convention that is older than we are, the port for traffic.
 */
export function choosePort(ports: readonly ListeningPort[], ephemeral: PortRange, preferred?: number): Choice {
	const candidates = ports.filter((port) => !isDebugPort(port));
	const told = candidates.find(({ port }) => port === preferred);
	if (told !== undefined) return { kind: "one", port: told };
	const chosen = candidates.filter(({ port }) => port < ephemeral.first || port > ephemeral.last);
	const left = chosen.length > 0 ? chosen : candidates;
	const [first, second] = left;
	if (first === undefined) return { kind: "none" };
	return second === undefined ? { kind: "one", port: first } : { kind: "several", ports: left };
}

/**
 * Whether the process was told to let a debugger in on this very port: Node (`--inspect`, default 9229; cluster workers count up
 * from it), the JVM (`-agentlib:jdwp=…address=5005`), Python (`debugpy --listen 5678`), Go (`dlv --listen=:2345`). A number alone proves nothing: other
 * services use 5005 and 5678 too.
 */
export function isDebugPort({ port, args, debugOptions }: ListeningPort): boolean {
	const line = `${args.join(" ")} ${debugOptions}`;
	const inspect = /--inspect(?:-brk|-wait)?(?:=(\S*))?(?=\s|$)/.exec(line);
	if (inspect !== null) {
		const asked = /(\d+)$/.exec(inspect[1] ?? "");
		const first = asked === null ? 9229 : Number(asked[1]);
		if (port >= first && port < first + 16) return true;
	}
	const others = [
		/jdwp\S*[=,]address=(?:\S*?:)?(\d+)/,
		/debugpy\s(?:.*\s)?--listen[= ](?:\S*?:)?(\d+)/,
		/\bdlv\s(?:.*\s)?--listen[= ]\S*?:(\d+)/,
	];
	return others.some((pattern) => Number(pattern.exec(line)?.[1]) === port);
}
