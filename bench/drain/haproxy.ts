/**
 * The load balancer. Its settings are those of its own examples, and none that would hide a lost request: a connection that cannot be made is
 * tried again on the same server (its default: three times, a second apart), nothing else is, and no request goes to a second server.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";

export interface Backend {
	/** As it is called in the log and in the status page. */
	readonly name: string;
	readonly port: number;
	readonly checkPort: number;
}

export interface BalancerSite {
	readonly port: number;
	/** A folder with a short path: a Unix socket is put into it. */
	readonly folder: string;
	readonly backends: readonly Backend[];
	readonly checkPath: string;
}

/** Between two checks, and how many of them must say the same: a server is out after at most two seconds and in again as soon. */
export const CHECK = { intervalMs: 1000, fall: 2, rise: 2 } as const;

const socketOf = (folder: string): string => join(folder, "haproxy.sock");

export function configuration({ port, folder, backends, checkPath }: BalancerSite): string {
	const { intervalMs, fall, rise } = CHECK;
	const servers = backends.map(
		({ name, port: to, checkPort }) => `	server ${name} 127.0.0.1:${to} check port ${checkPort}`,
	);
	return `
global
	maxconn 4000
	stats socket ${socketOf(folder)} mode 600 level user
	log stdout len 1024 format raw local0
defaults
	mode http
	log global
	option dontlog-normal            # only requests that failed or were tried again
	timeout connect 5s
	timeout client 50s
	timeout server 50s
	retries 3                        # the default; retry-on is conn-failure, redispatch is off: also defaults
frontend in
	bind 127.0.0.1:${port}
	http-request capture req.hdr(x-bench-id) len 16
	log-format "%[capture.req.hdr(0)] %s %ST %tsc %rc"
	http-response set-header x-bench-server %s
	default_backend pods
backend pods
	balance roundrobin
	option httpchk
	http-check send meth GET uri ${checkPath} ver HTTP/1.1 hdr host bench.local
	http-check expect status 200
	default-server inter ${intervalMs} fall ${fall} rise ${rise}
${servers.join("\n")}
`;
}

export function writeConfiguration(site: BalancerSite): string {
	const file = join(site.folder, "haproxy.cfg");
	writeFileSync(file, configuration(site));
	return file;
}

const ANSWER_MS = 5000;

function askSocket(path: string, command: string): Promise<string> {
	const { promise, resolve, reject } = Promise.withResolvers<string>();
	const socket = connect(path);
	const parts: Buffer[] = [];
	socket.setTimeout(ANSWER_MS, () => socket.destroy(new Error(`haproxy did not answer "${command}"`)));
	socket.on("connect", () => socket.end(`${command}\n`));
	socket.on("data", (bytes: Buffer) => parts.push(bytes));
	socket.on("error", reject);
	socket.on("close", () => resolve(Buffer.concat(parts).toString()));
	return promise;
}

/** The servers that the table of `show stat` says are up. */
export function serversUp(table: string): ReadonlySet<string> {
	const [head = "", ...lines] = table.trim().split("\n");
	const columns = head.replace(/^# */, "").split(",");
	const [name, status] = [columns.indexOf("svname"), columns.indexOf("status")];
	if (name === -1 || status === -1) throw new Error(`not haproxy's statistics: ${JSON.stringify(head.slice(0, 100))}`);
	const up = new Set<string>();
	for (const line of lines) {
		const cells = line.split(",");
		const server = cells[name] ?? "";
		// A server that is about to change says "UP 1/2"; it still, or already, gets requests.
		if (/^UP\b/.test(cells[status] ?? "") && server !== "BACKEND") up.add(server);
	}
	return up;
}

export const askServersUp = async (folder: string): Promise<ReadonlySet<string>> =>
	serversUp(await askSocket(socketOf(folder), "show stat -1 4 -1"));

/** What its log says of a request: which server, how it ended (its two letters for that), how often it tried to connect. */
export interface LoggedRequest {
	readonly server: string;
	readonly status: number;
	readonly ended: string;
	readonly retries: string;
}

export function parseLog(text: string): ReadonlyMap<number, LoggedRequest> {
	const found = new Map<number, LoggedRequest>();
	for (const line of text.split("\n")) {
		const match = /^(\d+) (\S+) (-?\d+) (\S+) (\+?\d+)$/.exec(line.trim());
		if (match === null) continue; // checks that changed their mind, and what haproxy says at its start
		const [, id = "", server = "", status = "", ended = "", retries = ""] = match;
		found.set(Number(id), { server, status: Number(status), ended, retries });
	}
	return found;
}

export const readLog = (file: string): ReadonlyMap<number, LoggedRequest> => parseLog(readFileSync(file, "utf8"));
