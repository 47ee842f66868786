import { isLoopback } from "../config/address.ts";
import type { Address, TcpAddress } from "../config/settings.ts";
import { unreachable } from "../foundation/assert.ts";
import type { Clock } from "../foundation/clock.ts";
import type { Component } from "../foundation/component.ts";
import type { Logger } from "../foundation/logger.ts";
import type { Cancel, Scheduler } from "../foundation/scheduler.ts";
import type { TableName, TableRead } from "./proc-sockets.ts";
import { SocketTableScan, type TableSocket } from "./socket-table.ts";

/**
 * Who came past us: the established peers of the app's ports that are not this process, seen in the kernel's tables of sockets.
 *
 * A peer from outside the pod has one line there, the app's. A peer inside the pod has two, the app's and its own (the *mirror*),
 * and it is ours when the mirror is among the open files of this process. A look is not an instant: tables are read a page at a
 * time, one after the other, while connections come and go. So a peer inside the pod is believed only when it was seen before
 * *and* after the open files were read, or twice without a mirror; what is ours is then never taken for somebody else's.
 *
 *                     ┌─ its mirror is among our files ──► own
 *   inside the pod ──►│
 *    (undecided)      ├─ it is not ──► not_ours ──seen again──► foreign ◄── seen again without a mirror
 *                     │                                            ▲
 *                     └────────────────────────────────────────────┘
 *   outside the pod ───────────────────────────────────────────────► foreign, at once
 *
 * All that is foreign is `present`. It is `settled` when it was seen in two looks further apart than the longest probe timeout,
 * since the kubelet's own probes come past us too.
 *
 * Half closed connections are not seen: an app that forgets to close its side would hold up every drain. Nor can it be seen
 * whether a connection has a request or idles. And a proxy in the pod that takes connections in the app's name (TPROXY) has
 * sockets that look like the app's.
 */
export interface BypassReading {
	/** Whether the numbers mean anything. When not, they are 0. */
	readonly isAvailable: boolean;
	readonly unavailable: BypassUnavailable | undefined;
	/** Foreign peers that were there in two looks further apart than `settledMs`: for the metric, advice, a drain with a data path. */
	readonly settled: number;
	/** All foreign peers of the last look, probes included: for a drain without a data path. */
	readonly present: number;
	/** Peers inside the pod of which only the next look will tell whether they are ours. */
	readonly undecided: number;
	/** There were more sockets than are followed: the numbers are too low. */
	readonly isTruncated: boolean;
	/** Monotonic ms when the last look that succeeded began to read the tables; what happened later it cannot know. `undefined` before the first. */
	readonly lookedMs: number | undefined;
	/**
	 * Looks that have failed since then. Above 0 the numbers are those of that look: who was there may have gone, and others may have come. They are kept
	 * because nobody goes away when we run out of files, and a drain must not end as if everybody had.
	 */
	readonly failedLooks: number;
	/** Where they come from: settled ones first, then the most frequent; no more than `ADDRESSES_MAX`. */
	readonly peers: readonly BypassPeer[];
}

/**
 * `not_yet`: no look has been completed. `no_app`: there is no TCP port of an app in this pod (it has a Unix socket, is elsewhere, or
 * has not been found). `unreadable`: another system, no `/proc`, or no file could be opened, and no look has succeeded before.
 */
export type BypassUnavailable = "not_yet" | "no_app" | "unreadable";

export interface BypassPeer {
	readonly address: string;
	/** The app's port to which it is connected. */
	readonly port: number;
	readonly count: number;
	/** How many of `count` have settled. */
	readonly settled: number;
	/** Monotonic ms when the oldest of them was first seen. */
	readonly sinceMs: number;
}

export interface BypassSettings {
	/** The longest probe timeout, ms. */
	readonly settledMs: number;
	/** Where the agent itself listens: that may be the app's port on another address. */
	readonly ownListeners: readonly Address[];
}

export interface BypassParts {
	readonly clock: Clock;
	readonly scheduler: Scheduler;
	readonly log: Logger;
	/** Addresses of this pod, asked for at each look: on a laptop they change. */
	readonly ownAddresses: () => readonly string[];
	/** Hands over the text of a table, in pieces that may end anywhere; rejects when it cannot be read. */
	readonly readTable: (name: TableName, take: (piece: string) => void) => Promise<TableRead>;
	/** Which of these sockets, by inode, this process has open. */
	readonly ownSockets: (wanted: ReadonlySet<number>) => Promise<ReadonlySet<number>>;
}

/** Before the first look: what starts has better things to do. */
export const FIRST_LOOK_MS = 1_000;
/** Between two looks, ms. */
export const LOOK_MS = 5_000;
/** Between two looks while a drain waits for them, ms. */
export const CLOSE_LOOK_MS = 250;
/** After a look that was slow there is a rest of that many times as long: the kernel takes 3 ms to write a thousand lines. */
export const REST = 4;
/** Connections of the app that are followed, the agent's own included: some 4 MiB. */
export const PEERS_MAX = 16_384;
/** Mirrors in one look. */
export const MIRRORS_MAX = 65_536;
/** Entries of `BypassReading.peers`. */
export const ADDRESSES_MAX = 16;
const PORTS_MAX = 64;

/**
 * An app that listens on `::` has its sockets in tcp6, and IPv4 clients have theirs in tcp. In this order a connection that begins
 * between the two is not seen at all, in the other it would have no mirror.
 */
const TABLES: readonly TableName[] = ["tcp6", "tcp"];

type Verdict = "undecided" | "not_ours" | "own" | "foreign";

/** One connection of the app. */
interface Peer {
	readonly address: string;
	readonly port: number;
	/** Of the app's socket; 0 until the app has accepted it. Two connections that have the same addresses one after the other differ in it. */
	inode: number;
	/** Inode of the peer's own socket; `undefined`: none was seen, 0: no process holds it any more. */
	mirror: number | undefined;
	verdict: Verdict;
	/** End of the look in which it was first seen: later than the moment. */
	readonly firstSeenMs: number;
	/** Beginning of the look in which it was last seen: earlier than the moment. */
	lastSeenMs: number;
}

const nothing = (unavailable: BypassUnavailable, lookedMs?: number, failedLooks = 0): BypassReading => ({
	isAvailable: false,
	unavailable,
	settled: 0,
	present: 0,
	undecided: 0,
	isTruncated: false,
	lookedMs,
	failedLooks,
	peers: [],
});

export class BypassWatch implements Component {
	readonly name = "bypass-watch";
	readonly #settings: BypassSettings;
	readonly #parts: BypassParts;
	readonly #listeners = new Set<(reading: BypassReading) => void>();
	readonly #ownListeners: ReadonlySet<string>;
	#apps: readonly TcpAddress[] = [];
	#peers = new Map<string, Peer>();
	#reading = nothing("not_yet");
	#state: "new" | "running" | "stopped" = "new";
	/** Raised when the apps change: a look under way has then looked for the wrong ports. */
	#round = 0;
	/** Those who watch closely. */
	#closeWatchers = 0;
	#looking: Promise<BypassReading> | undefined;
	#cancelNext: Cancel | undefined;
	#hasTold = false;

	/** `apps`: where the app listens, as configured; empty under `outrigger run` until the port is found. */
	constructor(apps: readonly Address[], settings: BypassSettings, parts: BypassParts) {
		this.#settings = settings;
		this.#parts = parts;
		this.#ownListeners = new Set(
			settings.ownListeners.flatMap((own) =>
				own.kind === "tcp" && own.host !== undefined ? [placeText(canonical(own.host), own.port)] : [],
			),
		);
		this.setApps(apps);
	}

	/** What the last look saw that did not fail. A new object after each look. */
	reading(): BypassReading {
		return this.#reading;
	}

	/** Tells `listener` the reading after each look, also when it is the same. What it returns ends that. */
	subscribe(listener: (reading: BypassReading) => void): () => void {
		const own = (reading: BypassReading): void => listener(reading);
		this.#listeners.add(own);
		return () => {
			this.#listeners.delete(own);
		};
	}

	/** Watches these from now on. Connections to a port that was watched before keep their age. */
	setApps(apps: readonly Address[]): void {
		this.#apps = apps.filter((app) => app.kind === "tcp");
		if (this.#apps.length === 0) this.#peers = new Map();
		this.#round += 1;
		this.#reading = nothing(this.#apps.length === 0 ? "no_app" : "not_yet");
		if (this.#state === "running") this.#lookAfter(0);
	}

	/** Looks at once and then often, for as long as somebody needs it. What it returns ends that; safe twice. */
	watchClosely(): () => void {
		let isWatching = true;
		this.#closeWatchers += 1;
		if (this.#state === "running") this.#lookAfter(0);
		return () => {
			if (isWatching) this.#closeWatchers -= 1;
			isWatching = false;
		};
	}

	async start(): Promise<void> {
		if (this.#state === "running") return;
		this.#state = "running";
		this.#lookAfter(this.#closeWatchers > 0 ? 0 : FIRST_LOOK_MS);
	}

	async stop(): Promise<void> {
		this.#state = "stopped";
		this.#cancelNext?.();
		this.#cancelNext = undefined;
	}

	/** Looks now, or joins the look that is under way. Rejects only with what a listener throws. */
	look(): Promise<BypassReading> {
		this.#looking ??= this.#look().finally(() => {
			this.#looking = undefined;
		});
		return this.#looking;
	}

	/** The next look comes that long after the end of this one, so that slow ones do not pile up. */
	#lookAfter(ms: number): void {
		this.#cancelNext?.();
		this.#cancelNext = undefined;
		if (this.#apps.length === 0) return; // setApps asks again
		this.#cancelNext = this.#parts.scheduler.after(ms, () => {
			this.#cancelNext = undefined;
			void this.#lookAndGoOn();
		});
	}

	async #lookAndGoOn(): Promise<void> {
		const { clock } = this.#parts;
		const startMs = clock.monotonicMs();
		try {
			await this.look();
		} finally {
			if (this.#state === "running" && this.#cancelNext === undefined) {
				const tookMs = clock.monotonicMs() - startMs;
				this.#lookAfter(Math.max(this.#closeWatchers > 0 ? CLOSE_LOOK_MS : LOOK_MS, REST * tookMs));
			}
		}
	}

	async #look(): Promise<BypassReading> {
		let round: number;
		let reading: BypassReading;
		do {
			round = this.#round;
			reading = await this.#lookOnce();
		} while (round !== this.#round && this.#state !== "stopped");
		if (this.#state === "stopped") return this.#reading;
		this.#reading = reading;
		for (const listener of [...this.#listeners]) listener(reading);
		return reading;
	}

	async #lookOnce(): Promise<BypassReading> {
		const ownAddresses = new Set(this.#parts.ownAddresses());
		const ports = portsHere(this.#apps, ownAddresses);
		if (ports.length === 0) {
			this.#peers = new Map();
			return nothing("no_app", this.#parts.clock.monotonicMs());
		}
		let startMs = this.#parts.clock.monotonicMs();
		const sight = new Sight(ports, ownAddresses, this.#ownListeners, this.#peers);
		try {
			// Before the tables: see above.
			await this.#findOwn();
			startMs = this.#parts.clock.monotonicMs();
			if (!(await this.#readTables(sight))) return this.#failed("there is no table of sockets");
		} catch (error) {
			return this.#failed(error); // no files left to open, say; the next look may succeed
		}
		this.#hasTold = false;
		this.#peers = sight.judge(startMs, this.#parts.clock.monotonicMs());
		return this.#summary(sight.isTruncated, startMs);
	}

	/** Nothing is known that was not known before: peers stay as they are, neither older nor gone. */
	#failed(error: unknown): BypassReading {
		const last = this.#reading;
		const failedLooks = last.failedLooks + 1;
		if (!this.#hasTold) {
			const what = "connections that come past the agent cannot be seen";
			// Never seen: so it is on this system. No more seen: something is wrong, and a drain may wait for it.
			if (last.isAvailable) this.#parts.log.warn(`${what} for now; what was seen last counts`, { error });
			else this.#parts.log.debug(what, { error });
		}
		this.#hasTold = true;
		return last.isAvailable ? { ...last, failedLooks } : nothing("unreadable", undefined, failedLooks);
	}

	async #findOwn(): Promise<void> {
		const wanted = new Map<number, Peer>();
		for (const peer of this.#peers.values()) {
			if (peer.verdict === "undecided" && peer.mirror !== undefined && peer.mirror !== 0) wanted.set(peer.mirror, peer);
		}
		if (wanted.size === 0) return;
		const own = await this.#parts.ownSockets(new Set(wanted.keys()));
		for (const [mirror, peer] of wanted) peer.verdict = own.has(mirror) ? "own" : "not_ours";
	}

	/** Whether there was one. */
	async #readTables(sight: Sight): Promise<boolean> {
		let isThere = false;
		for (const table of TABLES) {
			const scan = new SocketTableScan(sight.ports, (socket) => sight.add(socket));
			const read = await this.#parts.readTable(table, (piece) => scan.add(piece));
			scan.end();
			if (read !== "missing") isThere = true;
			if (read === "truncated") sight.isTruncated = true;
		}
		return isThere;
	}

	#summary(isTruncated: boolean, lookedMs: number): BypassReading {
		let present = 0;
		let settled = 0;
		let undecided = 0;
		const groups = new Map<string, { -readonly [Field in keyof BypassPeer]: BypassPeer[Field] }>();
		for (const { verdict, mirror, address, port, firstSeenMs, lastSeenMs } of this.#peers.values()) {
			// A mirror that no process holds: whoever it was has gone and waits for nothing.
			if (verdict === "own" || mirror === 0) continue;
			if (verdict !== "foreign") {
				undecided += 1;
				continue;
			}
			const isSettled = lastSeenMs - firstSeenMs > this.#settings.settledMs;
			present += 1;
			if (isSettled) settled += 1;
			const key = placeText(address, port);
			let group = groups.get(key);
			if (group === undefined) {
				group = { address, port, count: 0, settled: 0, sinceMs: firstSeenMs };
				groups.set(key, group);
			}
			group.count += 1;
			if (isSettled) group.settled += 1;
			group.sinceMs = Math.min(group.sinceMs, firstSeenMs);
		}
		const peers = [...groups.values()].sort(
			(a, b) => b.settled - a.settled || b.count - a.count || a.sinceMs - b.sinceMs,
		);
		return {
			isAvailable: true,
			unavailable: undefined,
			settled,
			present,
			undecided,
			isTruncated,
			lookedMs,
			failedLooks: 0,
			peers: peers.slice(0, ADDRESSES_MAX),
		};
	}
}

/** What one look sees, line by line, and what follows from it. */
class Sight {
	readonly ports: readonly number[];
	isTruncated = false;
	readonly #portSet: ReadonlySet<number>;
	readonly #ownAddresses: ReadonlySet<string>;
	readonly #ownListeners: ReadonlySet<string>;
	readonly #known: ReadonlyMap<string, Peer>;
	/** The app's sockets. A socket may stand in a table twice, when it moved while that was read. */
	readonly #sides = new Map<string, TableSocket>();
	/** Inodes of the sockets at the other end, under the same keys. */
	readonly #mirrors = new Map<string, number>();
	#roomLeft: number;
	#hasMirrorsLeft = true;

	constructor(
		ports: readonly number[],
		ownAddresses: ReadonlySet<string>,
		ownListeners: ReadonlySet<string>,
		known: ReadonlyMap<string, Peer>,
	) {
		this.ports = ports;
		this.#portSet = new Set(ports);
		this.#ownAddresses = ownAddresses;
		this.#ownListeners = ownListeners;
		this.#known = known;
		this.#roomLeft = PEERS_MAX - known.size;
	}

	/** A socket with one of the ports at either end; with both it may be either side. */
	add(socket: TableSocket): void {
		if (this.#portSet.has(socket.localPort) && socket.state === "established") this.#addSide(socket);
		if (this.#portSet.has(socket.remotePort)) this.#addMirror(socket);
	}

	/** The peers that there are now, with what was known of them. `startMs`, `endMs`: of the look. */
	judge(startMs: number, endMs: number): Map<string, Peer> {
		const peers = new Map<string, Peer>();
		for (const [key, side] of this.#sides) {
			const mirror = this.#mirrors.get(key);
			const known = this.#known.get(key);
			const peer =
				known !== undefined && isSame(known, side, mirror)
					? this.#again(known, mirror)
					: {
							address: side.remoteAddress,
							port: side.localPort,
							inode: side.inode,
							mirror,
							verdict: mirror === undefined && !this.#isInside(side) ? ("foreign" as const) : ("undecided" as const),
							firstSeenMs: endMs,
							lastSeenMs: startMs,
						};
			peer.inode = side.inode;
			peer.lastSeenMs = startMs;
			peers.set(key, peer);
		}
		return peers;
	}

	#again(peer: Peer, mirror: number | undefined): Peer {
		switch (peer.verdict) {
			case "not_ours":
				if (mirror === peer.mirror) peer.verdict = "foreign";
				break;
			case "undecided":
				// Twice without a mirror: it came through a translation of addresses, which looks like a peer inside the pod. Without an
				// inode it may be another connection than before, and each may have begun after its mirror's place had been read.
				if (peer.mirror === undefined && mirror === undefined && peer.inode !== 0 && this.#hasMirrorsLeft)
					peer.verdict = "foreign";
				break;
			case "foreign":
				// Its mirror stands in the table only now, and says more than its absence did.
				if (peer.mirror === undefined && mirror !== undefined) peer.verdict = "undecided";
				break;
			case "own":
				break;
			default:
				unreachable(peer.verdict);
		}
		peer.mirror = mirror ?? peer.mirror;
		return peer;
	}

	#addSide(socket: TableSocket): void {
		const place = placeText(socket.localAddress, socket.localPort);
		if (this.#ownListeners.has(place)) return; // a client of ours
		const key = `${place} ${placeText(socket.remoteAddress, socket.remotePort)}`;
		if (!this.#sides.has(key) && !this.#known.has(key)) {
			if (this.#roomLeft === 0) {
				this.isTruncated = true;
				return;
			}
			this.#roomLeft -= 1;
		}
		this.#sides.set(key, socket);
	}

	#addMirror(socket: TableSocket): void {
		// The app may be a client of the same port of others: thousands of sockets that are nobody's mirror.
		if (socket.state === "time_wait") return; // what is left of an earlier connection
		if (socket.localAddress !== socket.remoteAddress && !this.#isHere(socket.remoteAddress)) return;
		const key = `${placeText(socket.remoteAddress, socket.remotePort)} ${placeText(socket.localAddress, socket.localPort)}`;
		// A line without an inode may be an earlier connection that ends.
		if (socket.inode === 0 && this.#mirrors.has(key)) return;
		if (this.#mirrors.size === MIRRORS_MAX) {
			this.isTruncated = true;
			this.#hasMirrorsLeft = false;
			return;
		}
		this.#mirrors.set(key, socket.inode);
	}

	/** Whether the peer of this socket must be in this network namespace: only from here can loopback be reached. */
	#isInside({ localAddress, remoteAddress }: TableSocket): boolean {
		return isLoopbackText(localAddress) || localAddress === remoteAddress || this.#isHere(remoteAddress);
	}

	#isHere(address: string): boolean {
		return isLoopbackText(address) || isLinkLocalText(address) || this.#ownAddresses.has(address);
	}
}

/** Whether the two lines are the same connection as before, and not a later one between the same addresses. */
function isSame(known: Peer, side: TableSocket, mirror: number | undefined): boolean {
	if (known.inode !== side.inode && known.inode !== 0) return false;
	return known.mirror === mirror || !known.mirror || !mirror;
}

/** The ports of those apps that listen in this pod. */
function portsHere(apps: readonly TcpAddress[], ownAddresses: ReadonlySet<string>): readonly number[] {
	const ports = new Set<number>();
	for (const app of apps) {
		const host = app.host?.toLowerCase();
		const isHere =
			host === undefined ||
			host === "0.0.0.0" ||
			host === "::" ||
			isLoopback({ ...app, host }) ||
			ownAddresses.has(canonical(host));
		if (isHere && ports.size < PORTS_MAX) ports.add(app.port);
	}
	return [...ports];
}

/** As the kernel's tables and the system's interfaces spell an address: the URL parser brings every spelling of IPv6 into one. */
function canonical(host: string): string {
	return host.includes(":") && !host.includes("%") ? new URL(`http://[${host}]`).hostname.slice(1, -1) : host;
}

function isLoopbackText(address: string): boolean {
	return address === "::1" || address.startsWith("127.");
}

/** RFC 4291 §2.5.6, RFC 3927: not among the addresses by which others call us, so not in `ownAddresses`. */
function isLinkLocalText(address: string): boolean {
	return address.startsWith("169.254.") || /^fe[89ab]/.test(address);
}

function placeText(address: string, port: number): string {
	return `${address} ${port}`;
}
