import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { connect } from "node:net";
import { endianness } from "node:os";
import { type TestContext, test } from "node:test";
import { Worker } from "node:worker_threads";
import type { Address } from "../config/settings.ts";
import { type Logger, silentLogger } from "../foundation/logger.ts";
import { ManualScheduler } from "../foundation/scheduler.ts";
import {
	ADDRESSES_MAX,
	type BypassReading,
	BypassWatch,
	CLOSE_LOOK_MS,
	FIRST_LOOK_MS,
	LOOK_MS,
	MIRRORS_MAX,
	PEERS_MAX,
	REST,
} from "./bypass.ts";
import { ownSockets, readTable, type TableName, type TableRead } from "./proc-sockets.ts";

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const HEADING = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
const LOCALHOST: Address = { kind: "tcp", host: "localhost", port: 3000 };
const POD = "10.0.0.7";
const APP = "127.0.0.1:3000";
const SETTLED_MS = 5_000;

/** `10.0.0.7:3000` or `[fd00::7]:3000` as the kernel writes it; IPv4 in tcp6 as IPv4-mapped. */
function kernelText(place: string, table: TableName): string {
	const [, six, four, port] = /^(?:\[(.*)\]|(.*)):(\d+)$/.exec(place) ?? [];
	const bytes = Buffer.alloc(16);
	if (six !== undefined) {
		const [left = "", right = ""] = six.split("::");
		for (const [index, group] of left.split(":").entries())
			bytes.writeUInt16BE(Number.parseInt(group || "0", 16), index * 2);
		for (const [index, group] of right.split(":").reverse().entries())
			bytes.writeUInt16BE(Number.parseInt(group || "0", 16), 14 - index * 2);
	} else {
		bytes.writeUInt16BE(0xffff, 10);
		bytes.set((four ?? "").split(".").map(Number), 12);
	}
	if (endianness() === "LE") bytes.swap32();
	const address = table === "tcp" ? bytes.subarray(12) : bytes;
	return `${address.toString("hex").toUpperCase()}:${Number(port).toString(16).toUpperCase().padStart(4, "0")}`;
}

class World {
	readonly scheduler = new ManualScheduler();
	readonly tables: Record<TableName, string[]> = { tcp: [], tcp6: [] };
	/** Inodes of sockets that are open in the agent. */
	readonly own = new Set<number>();
	/** What was looked for among the agent's open files. */
	readonly asked: number[][] = [];
	readonly told: string[] = [];
	readonly watch: BypassWatch;
	reads = 0;
	/** Replaces the reading of a table. */
	read: ((name: TableName, take: (piece: string) => void) => Promise<TableRead>) | undefined;
	whenAsked: () => unknown = () => {};

	constructor(apps: readonly Address[] = [LOCALHOST], ownListeners: readonly Address[] = []) {
		const log: Logger = {
			...silentLogger,
			debug: (message) => this.told.push(`debug: ${message}`),
			warn: (message) => this.told.push(`warn: ${message}`),
		};
		this.watch = new BypassWatch(
			apps,
			{ settledMs: SETTLED_MS, ownListeners },
			{
				clock: this.scheduler.clock,
				scheduler: this.scheduler,
				log,
				ownAddresses: () => [POD, "fd00::7"],
				readTable: async (name, take) => {
					this.reads += 1;
					if (this.read !== undefined) return this.read(name, take);
					take(HEADING + this.tables[name].join(""));
					return "whole";
				},
				ownSockets: async (wanted) => {
					this.asked.push([...wanted]);
					this.whenAsked();
					return wanted.intersection(this.own);
				},
			},
		);
	}

	/** One line: a socket of this network namespace. */
	socket(local: string, remote: string, inode: number, state = "01", table: TableName = "tcp"): () => void {
		const line = `   0: ${kernelText(local, table)} ${kernelText(remote, table)} ${state} 00000000:00000000 00:00000000 00000000  1000        0 ${inode} 1 0000000009c086cc 100 0 0 10 0\n`;
		this.tables[table].push(line);
		return () => {
			this.tables[table].splice(this.tables[table].indexOf(line), 1);
		};
	}

	/** Both ends of a connection inside the pod. */
	inside(peer: string, app: string, inode: number, mirror: number, table: TableName = "tcp"): () => void {
		const removeSide = this.socket(app, peer, inode, "01", table);
		const removeMirror = this.socket(peer, app, mirror, "01", peer.startsWith("[") ? "tcp6" : "tcp");
		return () => {
			removeSide();
			removeMirror();
		};
	}

	/** A look, `afterMs` after what was before. */
	async look(afterMs = 0): Promise<readonly [settled: number, present: number]> {
		this.scheduler.clock.advance(afterMs);
		const { settled, present } = await this.watch.look();
		return [settled, present];
	}
}

test("a peer from outside the pod is present at once, and settled when two looks are further apart than a probe takes", async () => {
	const world = new World();
	const remove = world.socket(`${POD}:3000`, "10.0.9.9:50000", 1);
	assert.deepEqual(await world.look(), [0, 1]);
	assert.deepEqual(await world.look(SETTLED_MS), [0, 1], "a probe may take that long");
	assert.deepEqual(await world.look(1), [1, 1]);
	assert.deepEqual(world.watch.reading(), {
		isAvailable: true,
		unavailable: undefined,
		settled: 1,
		present: 1,
		undecided: 0,
		isTruncated: false,
		lookedMs: SETTLED_MS + 1,
		failedLooks: 0,
		peers: [{ address: "10.0.9.9", port: 3000, count: 1, settled: 1, sinceMs: 0 }],
	});
	remove();
	assert.deepEqual(await world.look(), [0, 0]);
	assert.deepEqual(world.asked, [], "for peers from outside nobody looks through our files");
});

test("a peer inside the pod is undecided in the first look, and ours or somebody's in the next", async () => {
	const world = new World();
	world.inside("127.0.0.1:50001", APP, 1, 101);
	world.inside("127.0.0.1:50002", APP, 2, 102);
	world.own.add(101);
	const look = async (): Promise<readonly [undecided: number, present: number]> => {
		const { undecided, present } = await world.watch.look();
		return [undecided, present];
	};
	assert.deepEqual(await look(), [2, 0]);
	assert.deepEqual(await look(), [0, 1]);
});

test("the time between two looks is counted from the end of the first: a slow one proves nothing more", async () => {
	const world = new World();
	world.socket(`${POD}:3000`, "10.0.9.9:50000", 1);
	world.read = async (name, take) => {
		take(world.tables[name].join(""));
		world.scheduler.clock.advance(2_000);
		return "whole";
	};
	await world.look();
	assert.deepEqual(await world.look(SETTLED_MS), [0, 1], "began 9 s after the first began, 5 s after that ended");
	assert.deepEqual(await world.look(SETTLED_MS), [1, 1]);
});

test("probes come and go and are never settled, not even when one has the port of the one before", async () => {
	const world = new World();
	for (const inode of [1, 2, 3, 4]) {
		const remove = world.socket(`${POD}:3000`, "10.0.0.1:40000", inode);
		assert.deepEqual(await world.look(LOOK_MS + 1), [0, 1]);
		remove();
	}
	assert.deepEqual(await world.look(LOOK_MS), [0, 0]);
});

test("a connection that the app has not accepted yet has no inode; it is the same one when it has", async () => {
	const world = new World();
	const remove = world.socket(`${POD}:3000`, "10.0.9.9:50000", 0);
	await world.look();
	remove();
	world.socket(`${POD}:3000`, "10.0.9.9:50000", 7);
	assert.deepEqual(await world.look(SETTLED_MS + 1), [1, 1]);
});

test("our own connections do not count: their other ends are among our open files, which are asked about once", async () => {
	const world = new World();
	world.inside(`${POD}:50000`, APP, 1, 101);
	world.inside("127.0.0.1:50001", APP, 2, 102);
	world.inside(`${POD}:50002`, `${POD}:3000`, 3, 103);
	world.inside("[::1]:50003", "[::1]:3000", 4, 104, "tcp6");
	world.inside("[fd00::7]:50004", "[fd00::7]:3000", 5, 105, "tcp6");
	world.inside(`${POD}:50005`, APP, 6, 106, "tcp6"); // the app listens on ::
	world.own.add(101).add(102).add(103).add(104).add(105).add(106);
	for (let look = 0; look < 4; look++) assert.deepEqual(await world.look(LOOK_MS), [0, 0]);
	assert.deepEqual(
		world.asked.map((inodes) => inodes.toSorted()),
		[[101, 102, 103, 104, 105, 106]],
	);
});

for (const [name, peer, app, table] of [
	["on loopback", "127.0.0.1:50000", APP, "tcp"],
	["by IPv6", "[::1]:50000", "[::1]:3000", "tcp6"],
	["with an IPv4-mapped address", "127.0.0.1:50000", APP, "tcp6"],
	["by the pod's address", `${POD}:50000`, `${POD}:3000`, "tcp"],
	["by a link-local address", "[fe80::1]:50000", "[fe80::1]:3000", "tcp6"],
] as const) {
	test(`a process beside us that calls the app ${name} counts from the second look on`, async () => {
		const world = new World();
		world.inside(peer, app, 1, 900, table);
		assert.deepEqual(await world.look(), [0, 0], "it may be ours");
		assert.deepEqual(await world.look(1), [0, 1]);
		assert.deepEqual(await world.look(SETTLED_MS), [1, 1]);
		assert.deepEqual(world.asked, [[900]]);
	});
}

test("an IPv4-mapped peer from outside is told by its IPv4 address", async () => {
	const world = new World();
	world.socket(`${POD}:3000`, "10.0.9.9:50000", 1, "01", "tcp6");
	await world.look();
	assert.deepEqual(
		world.watch.reading().peers.map(({ address }) => address),
		["10.0.9.9"],
	);
});

test("a connection of ours that ends while we look is not taken for somebody else's", async () => {
	const world = new World();
	const remove = world.inside(`${POD}:50000`, APP, 1, 101);
	world.own.add(101);
	await world.look();
	world.own.delete(101); // closed before our files are read: the tables are read later, and it is not in them
	world.whenAsked = remove;
	assert.deepEqual(await world.look(SETTLED_MS + 1), [0, 0]);
	assert.deepEqual(world.asked, [[101]]);
	world.inside(`${POD}:50000`, APP, 3, 103);
	await world.look();
	world.whenAsked = () => world.tables.tcp.pop(); // the app's end is still there
	assert.deepEqual(await world.look(SETTLED_MS + 1), [0, 0]);
	assert.deepEqual(await world.look(SETTLED_MS + 1), [0, 0]);
	world.tables.tcp.length = 0;
	const removeNext = world.inside(`${POD}:50000`, APP, 2, 102);
	world.own.add(102);
	world.whenAsked = () => {
		// Closed after it was found: the app's end may still be there.
		removeNext();
		world.socket(APP, `${POD}:50000`, 2);
	};
	await world.look();
	assert.deepEqual(await world.look(SETTLED_MS + 1), [0, 0]);
	assert.deepEqual(await world.look(SETTLED_MS + 1), [0, 0]);
});

test("ports that are used again by somebody else are looked at anew", async () => {
	const world = new World();
	const remove = world.inside("127.0.0.1:50000", APP, 1, 101);
	world.own.add(101);
	await world.look();
	await world.look();
	remove();
	world.inside("127.0.0.1:50000", APP, 2, 900);
	await world.look();
	assert.deepEqual(await world.look(1), [0, 1]);
	assert.deepEqual(world.asked, [[101], [900]]);
});

test("connections that the app has not accepted are told apart by the other end", async () => {
	const world = new World();
	const remove = world.inside("127.0.0.1:50000", APP, 0, 101);
	world.own.add(101);
	await world.look();
	await world.look();
	remove();
	world.inside("127.0.0.1:50000", APP, 0, 900);
	await world.look();
	assert.deepEqual(await world.look(), [0, 1]);
	assert.deepEqual(world.asked, [[101], [900]]);
});

test("a connection of ours of which first only the end of an earlier one was seen is found to be ours", async () => {
	const world = new World();
	world.socket(APP, `${POD}:50000`, 1);
	const remove = world.socket(`${POD}:50000`, APP, 0, "05");
	await world.look();
	remove();
	world.socket(`${POD}:50000`, APP, 101);
	world.own.add(101);
	for (let look = 0; look < 3; look++) assert.deepEqual(await world.look(SETTLED_MS + 1), [0, 0]);
	assert.deepEqual(world.asked, [[101]]);
});

test("a peer on loopback whose own end cannot be seen counts when it was seen so twice", async () => {
	const world = new World();
	world.socket(APP, "127.0.0.1:50000", 1); // its mirror came too late for this look
	world.socket(`${POD}:3000`, `${POD}:50001`, 2); // came back through a translation of addresses: it has none
	world.socket(`${POD}:50001`, `${POD}:3000`, 0, "06"); // but an earlier connection had
	world.socket(APP, "127.0.0.1:50002", 0); // not accepted yet: who knows whether it is the same connection twice
	assert.deepEqual(await world.look(), [0, 0]);
	world.socket("127.0.0.1:50000", APP, 101);
	world.own.add(101);
	assert.deepEqual(await world.look(), [0, 1]);
	assert.deepEqual(await world.look(SETTLED_MS + 1), [1, 1]);
	assert.deepEqual(
		world.watch.reading().peers.map(({ address }) => address),
		[POD],
	);
});

test("a mirror that appears later takes back what was said without it", async () => {
	const world = new World();
	world.socket(`${POD}:3000`, "10.0.0.8:50000", 1); // an address of ours of which the system did not tell
	assert.deepEqual(await world.look(), [0, 1]);
	world.socket("10.0.0.8:50000", `${POD}:3000`, 101);
	world.own.add(101);
	assert.deepEqual(await world.look(), [0, 0]);
	assert.deepEqual(await world.look(SETTLED_MS + 1), [0, 0]);
});

test("a peer that no process holds any more waits for nothing", async () => {
	const world = new World();
	const remove = world.inside("127.0.0.1:50000", APP, 1, 900);
	await world.look();
	assert.deepEqual(await world.look(SETTLED_MS + 1), [1, 1]);
	remove();
	const removeSide = world.socket(APP, "127.0.0.1:50000", 1);
	world.socket("127.0.0.1:50000", APP, 0, "04");
	assert.deepEqual(await world.look(), [0, 0]);
	// Nor does it hide the connection that comes after it with the same addresses.
	removeSide();
	world.socket(APP, "127.0.0.1:50000", 2);
	world.socket("127.0.0.1:50000", APP, 901);
	world.socket("127.0.0.1:50000", APP, 0, "05");
	await world.look();
	assert.deepEqual(await world.look(), [0, 1]);
});

test("only established connections count, and only at the app's end of them", async () => {
	const world = new World();
	world.socket("0.0.0.0:3000", "0.0.0.0:0", 1, "0A");
	world.socket(`${POD}:3000`, "10.0.9.9:50001", 0, "03");
	world.socket(`${POD}:3000`, "10.0.9.9:50002", 2, "08");
	world.socket(`${POD}:3000`, "10.0.9.9:50003", 0, "06");
	world.socket(`${POD}:50004`, "10.0.9.9:3000", 3); // the app is a client of the same port elsewhere
	world.socket(`${POD}:50005`, "10.0.9.9:8080", 4);
	world.socket(`${POD}:3001`, "10.0.9.9:50006", 5);
	await world.look();
	assert.deepEqual(await world.look(SETTLED_MS + 1), [0, 0]);
});

test("connections to ourselves on the app's port of another address are not the app's", async () => {
	const world = new World([{ ...LOCALHOST, host: "127.0.0.1" }], [{ kind: "tcp", host: POD, port: 3000 }]);
	world.socket(`${POD}:3000`, "10.0.9.9:50000", 1);
	await world.look();
	assert.deepEqual(await world.look(SETTLED_MS + 1), [0, 0]);
});

test("lines that cannot be read and lines that stand there twice do no harm", async () => {
	const world = new World();
	world.socket(`${POD}:3000`, "10.0.9.9:50000", 1);
	world.tables.tcp.push(...world.tables.tcp, "   1: 0700000A:0BB8 nonsense\n", "\n", "   2: 0700000A:0BB8 0909000A:C3");
	assert.deepEqual(await world.look(), [0, 1]);
});

test("the most frequent addresses are told, settled ones first, and not more than there is room for", async () => {
	const world = new World([LOCALHOST, { ...LOCALHOST, port: 4000 }]);
	let inode = 0;
	const from = (address: string, count: number, port = 3000): void => {
		for (let i = 0; i < count; i++) world.socket(`${POD}:${port}`, `${address}:${50_000 + inode}`, ++inode);
	};
	from("10.0.1.1", 2);
	from("10.0.1.1", 1, 4000);
	await world.look();
	from("10.0.2.2", 9);
	from("10.0.1.1", 3);
	for (let i = 0; i < 20; i++) from(`10.0.3.${i}`, 1);
	assert.deepEqual(await world.look(SETTLED_MS + 1), [3, 35]);
	const { peers } = world.watch.reading();
	assert.equal(peers.length, ADDRESSES_MAX);
	assert.deepEqual(
		peers.slice(0, 4).map(({ address, port, count, settled }) => [address, port, count, settled]),
		[
			["10.0.1.1", 3000, 5, 2],
			["10.0.1.1", 4000, 1, 1],
			["10.0.2.2", 3000, 9, 0],
			["10.0.3.0", 3000, 1, 0],
		],
	);
	assert.equal(peers[0]?.sinceMs, 0);
});

test("more connections than are followed are said to be more, and those that are known stay known", async () => {
	const world = new World();
	world.socket(`${POD}:3000`, "10.0.9.9:50000", 1);
	await world.look();
	const first = world.tables.tcp.splice(0);
	for (let i = 0; i < PEERS_MAX; i++) {
		world.socket(`${POD}:3000`, `10.1.${i >> 8}.${i & 255}:50000`, i + 2);
	}
	world.tables.tcp.push(...first);
	assert.deepEqual(await world.look(SETTLED_MS + 1), [1, PEERS_MAX]);
	assert.equal(world.watch.reading().isTruncated, true);
	world.tables.tcp.splice(0, PEERS_MAX);
	await world.look();
	assert.equal(world.watch.reading().isTruncated, false);
	world.read = async (name, take) => {
		take(world.tables[name].join(""));
		return "truncated";
	};
	assert.deepEqual(await world.look(), [1, 1]);
	assert.equal(world.watch.reading().isTruncated, true);
});

test("with more sockets inside the pod than are looked at, nobody is counted because his own end was not seen", async () => {
	const world = new World();
	for (let i = 0; i <= MIRRORS_MAX; i++) {
		world.socket(`127.0.${1 + (i >> 15)}.1:${4_000 + (i & 0x7fff)}`, "127.0.0.9:3000", i + 1);
	}
	world.socket(APP, "127.0.0.1:50000", 1);
	await world.look();
	assert.deepEqual(await world.look(SETTLED_MS + 1), [0, 0]);
	assert.equal(world.watch.reading().isTruncated, true);
	world.tables.tcp.splice(0, 1);
	assert.deepEqual(await world.look(), [1, 1], "now all were seen, and it has none");
});

test("where there is no table nothing is known, which is said once; IPv6 may be missing", async () => {
	const world = new World();
	assert.equal(world.watch.reading().unavailable, "not_yet");
	world.read = async () => "missing";
	assert.deepEqual(await world.look(), [0, 0]);
	await world.look(LOOK_MS);
	const { isAvailable, unavailable, lookedMs } = world.watch.reading();
	assert.deepEqual([isAvailable, unavailable, lookedMs], [false, "unreadable", undefined]);
	assert.equal(world.told.length, 1);
	world.socket(`${POD}:3000`, "10.0.9.9:50000", 1);
	world.read = async (name, take) => {
		if (name === "tcp6") return "missing";
		take(world.tables.tcp.join(""));
		return "whole";
	};
	assert.deepEqual(await world.look(), [0, 1]);
	assert.equal(world.watch.reading().isAvailable, true);
});

const noFiles = async (): Promise<never> => {
	throw Object.assign(new Error("too many open files"), { code: "EMFILE" });
};

test("a look that fails changes no number: what the last one saw stands, with how many have failed since", async () => {
	const world = new World();
	world.socket(`${POD}:3000`, "10.0.9.9:50000", 1);
	await world.look();
	world.inside("127.0.0.1:50001", APP, 2, 900);
	await world.look(SETTLED_MS + 1);
	const seen = world.watch.reading();
	assert.deepEqual([seen.settled, seen.present, seen.undecided, seen.failedLooks], [1, 1, 1, 0]);
	const told: BypassReading[] = [];
	world.watch.subscribe((reading) => told.push(reading));
	world.read = noFiles;
	await world.look(1);
	assert.deepEqual(world.watch.reading(), { ...seen, failedLooks: 1 });
	world.read = async () => "missing";
	await world.look(1);
	assert.deepEqual(told, [
		{ ...seen, failedLooks: 1 },
		{ ...seen, failedLooks: 2 },
	]);
	world.tables.tcp.length = 0;
	world.read = undefined;
	assert.deepEqual(await world.look(1), [0, 0]);
	assert.equal(world.watch.reading().failedLooks, 0);
	world.whenAsked = () => assert.fail("there is nobody of whom to ask");
	await world.look();
	assert.deepEqual(world.told, [
		"warn: connections that come past the agent cannot be seen for now; what was seen last counts",
	]);
});

test("looks that fail make nobody older: who was seen once and not since has not settled", async () => {
	const world = new World();
	world.socket(`${POD}:3000`, "10.0.9.9:50000", 1);
	await world.look();
	world.read = noFiles;
	for (let look = 0; look < 3; look++) assert.deepEqual(await world.look(SETTLED_MS), [0, 1]);
	assert.equal(world.watch.reading().lookedMs, 0);
	world.tables.tcp.length = 0;
	world.socket(`${POD}:3000`, "10.0.9.9:50000", 2); // another one, with the same addresses
	world.read = undefined;
	assert.deepEqual(await world.look(1), [0, 1]);
});

test("a look that fails at our own open files fails as one that fails at a table, and is made up for by the next", async () => {
	const world = new World();
	world.inside("127.0.0.1:50000", APP, 1, 101);
	world.inside("127.0.0.1:50001", APP, 2, 900);
	world.own.add(101);
	await world.look();
	world.whenAsked = () => {
		throw new Error("no open files can be read");
	};
	assert.deepEqual(await world.look(1), [0, 0]);
	assert.deepEqual([world.watch.reading().undecided, world.watch.reading().failedLooks], [2, 1]);
	world.whenAsked = () => {};
	assert.deepEqual(await world.look(1), [0, 1]);
	assert.deepEqual([world.watch.reading().undecided, world.watch.reading().failedLooks], [0, 0]);
});

test("before the first look that succeeds a failure says that nothing can be seen, also when the app has moved", async () => {
	const world = new World();
	world.socket(`${POD}:4000`, "10.0.9.9:50000", 1);
	world.read = noFiles;
	await world.look(1);
	await world.look(1);
	const { isAvailable, unavailable, lookedMs, failedLooks } = world.watch.reading();
	assert.deepEqual([isAvailable, unavailable, lookedMs, failedLooks], [false, "unreadable", undefined, 2]);
	assert.deepEqual(world.told, ["debug: connections that come past the agent cannot be seen"]);
	world.read = undefined;
	await world.look(1);
	assert.equal(world.watch.reading().isAvailable, true);
	world.watch.setApps([{ ...LOCALHOST, port: 4000 }]);
	world.read = noFiles;
	await world.look(1);
	assert.equal(world.watch.reading().unavailable, "unreadable", "of this port nothing has been seen yet");
});

for (const [name, app] of [
	["at a Unix socket", { kind: "unix", path: "/run/app.sock" }],
	["on another host", { kind: "tcp", host: "10.0.0.8", port: 3000 }],
	["behind a name", { kind: "tcp", host: "app", port: 3000 }],
] as const) {
	test(`of an app ${name} there is nothing to be seen`, async () => {
		const world = new World([app]);
		world.socket(`${POD}:3000`, "10.0.9.9:50000", 1);
		assert.deepEqual(await world.look(), [0, 0]);
		assert.equal(world.watch.reading().unavailable, "no_app");
		assert.equal(world.reads, 0);
	});
}

for (const host of [undefined, "LOCALHOST", "127.0.0.2", "0.0.0.0", "::", "::1", "0:0::1", POD, "FD00:0::7"]) {
	test(`an app at ${host ?? "all addresses"} is in this pod`, async () => {
		const world = new World([{ kind: "tcp", host, port: 3000 }]);
		world.socket(`${POD}:3000`, "10.0.9.9:50000", 1);
		assert.deepEqual(await world.look(), [0, 1]);
	});
}

/** In steps of the shortest interval, so that each asynchronous look ends before the next timer. */
async function pass(world: World, ms: number): Promise<void> {
	world.scheduler.advance(0);
	await settle();
	for (let left = ms; left > 0; left -= CLOSE_LOOK_MS) {
		world.scheduler.advance(Math.min(left, CLOSE_LOOK_MS));
		for (let turn = 0; turn < 3; turn++) await settle();
	}
}

test("it looks every few seconds, often while somebody watches closely, and not at all when it is stopped", async () => {
	const world = new World();
	const looks: number[] = [];
	const end = world.watch.subscribe(() => looks.push(world.scheduler.clock.monotonicMs()));
	world.watch.subscribe(() => assert.fail("ended"))();
	await world.watch.start();
	await world.watch.start();
	await pass(world, FIRST_LOOK_MS + 2 * LOOK_MS);
	assert.deepEqual(looks.splice(0), [1_000, 6_000, 11_000]);
	const [endOne, endOther] = [world.watch.watchClosely(), world.watch.watchClosely()];
	await pass(world, 500);
	endOne();
	endOne();
	await pass(world, 500);
	assert.deepEqual(looks.splice(0), [11_000, 11_250, 11_500, 11_750, 12_000]);
	endOther();
	await pass(world, 6_000);
	assert.deepEqual(looks.splice(0), [12_250, 17_250]);
	await world.watch.stop();
	await world.watch.stop();
	assert.equal(world.scheduler.pending, 0);
	world.watch.watchClosely()();
	assert.equal(world.scheduler.pending, 0);
	end();
});

test("who watches closely before the start is shown the first look at once", async () => {
	const world = new World();
	world.watch.watchClosely();
	await world.watch.start();
	await pass(world, 1);
	assert.equal(world.watch.reading().lookedMs, 0);
	await world.watch.stop();
});

test("a slow look is joined, never overlapped, and the next one waits until it is over", async () => {
	const world = new World();
	const { promise: slow, resolve: answer } = Promise.withResolvers<TableRead>();
	world.read = () => slow;
	await world.watch.start();
	await pass(world, FIRST_LOOK_MS);
	assert.equal(world.reads, 1);
	world.watch.watchClosely();
	await pass(world, 2_000);
	const joined = world.watch.look();
	assert.equal(joined, world.watch.look());
	assert.equal(world.reads, 1);
	answer("whole");
	await joined;
	await settle();
	assert.equal(world.reads, 2, "the other table");
	assert.equal(world.scheduler.pending, 1);
	await world.watch.stop();
});

test("after a look that took long there is a longer rest, also while somebody watches closely", async () => {
	const world = new World();
	world.watch.watchClosely();
	let tookMs = 500;
	world.read = async () => {
		world.scheduler.clock.advance(tookMs);
		return "whole";
	};
	await world.watch.start();
	await pass(world, 1);
	tookMs = 0;
	await pass(world, REST * 1_000 - CLOSE_LOOK_MS);
	assert.equal(world.reads, 2);
	await pass(world, CLOSE_LOOK_MS);
	assert.equal(world.reads, 4);
	await world.watch.stop();
});

test("an app that is found later is looked at then, and one that moves while we look is looked at again", async () => {
	const world = new World([]);
	await world.watch.start();
	assert.equal(world.scheduler.pending, 0);
	world.socket(`${POD}:4000`, "10.0.9.9:50000", 1);
	const { promise: slow, resolve: answer } = Promise.withResolvers<TableRead>();
	world.read = () => slow;
	world.watch.setApps([LOCALHOST]);
	await pass(world, 1);
	assert.equal(world.reads, 1);
	world.watch.setApps([{ ...LOCALHOST, port: 4000 }]);
	world.read = undefined;
	answer("whole");
	await pass(world, 1);
	assert.equal(world.watch.reading().present, 1);
	await pass(world, SETTLED_MS + LOOK_MS);
	assert.equal(world.watch.reading().settled, 1);
	world.watch.setApps([{ ...LOCALHOST, port: 4000 }, LOCALHOST]);
	assert.equal(world.watch.reading().unavailable, "not_yet");
	await pass(world, 1);
	assert.equal(world.watch.reading().settled, 1, "its age is kept");
	world.watch.setApps([]);
	assert.equal(world.watch.reading().unavailable, "no_app");
	assert.equal(world.scheduler.pending, 0);
	await world.watch.stop();
});

test("who stops it while it looks is told nothing more", async () => {
	const world = new World();
	const { promise: slow, resolve: answer } = Promise.withResolvers<TableRead>();
	world.read = () => slow;
	world.watch.subscribe(() => assert.fail("stopped"));
	await world.watch.start();
	await pass(world, FIRST_LOOK_MS);
	await world.watch.stop();
	answer("whole");
	await pass(world, 1);
	assert.equal(world.watch.reading().unavailable, "not_yet");
	assert.equal(world.scheduler.pending, 0);
});

// ── on this machine's own sockets ──

/** A process that says a line whenever something has happened to it. */
class Child {
	readonly #process: ChildProcess;
	#text = "";
	readonly #waiting = new Set<() => void>();

	constructor(t: TestContext, script: string) {
		this.#process = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
		t.after(() => this.#process.kill("SIGKILL"));
		this.#process.stdout?.setEncoding("latin1").on("data", (text: string) => {
			this.#text += text;
			for (const look of this.#waiting) look();
		});
	}

	/** The first group of `pattern`, as soon as there is a match in what it has said. */
	hear(pattern: RegExp): Promise<string> {
		const { promise, resolve } = Promise.withResolvers<string>();
		const look = (): void => {
			const match = pattern.exec(this.#text);
			if (match === null) return;
			this.#waiting.delete(look);
			resolve(match[1] ?? "");
		};
		this.#waiting.add(look);
		look();
		return promise;
	}

	end(): void {
		this.#process.kill("SIGKILL");
	}
}

/** Greets with one byte, so that a client knows that it was accepted, and tells of each client that has gone. */
const server = (host: string): string => `
	require("node:net").createServer((socket) => {
		const { remotePort } = socket;
		socket.on("error", () => {});
		socket.on("close", () => console.log("gone " + remotePort));
		socket.resume().write("!");
	}).listen(0, ${JSON.stringify(host)}, function () { console.log("port " + this.address().port); });`;
const client = (host: string, port: number, say: string): string => `
	const socket = require("node:net").connect({ host: ${JSON.stringify(host)}, port: ${port} });
	socket.once("data", () => ${say}("port " + socket.localPort));`;

for (const [listens, calls] of [
	["127.0.0.1", "127.0.0.1"],
	["::", "127.0.0.1"],
	["::1", "::1"],
] as const) {
	test(`real sockets: an app on ${listens}, called on ${calls} by us, by a thread of ours and by another process`, async (t) => {
		if (!existsSync("/proc/net/tcp")) return t.skip("there is no /proc/net/tcp here");
		if (listens.includes(":") && !existsSync("/proc/net/tcp6")) return t.skip("this machine has no IPv6");
		const app = new Child(t, server(listens));
		const port = Number(await app.hear(/port (\d+)/));

		const ours = connect({ host: calls, port });
		t.after(() => ours.destroy());
		await new Promise((resolve) => ours.once("data", resolve));
		const thread = new Worker(
			`const { parentPort } = require("node:worker_threads"); ${client(calls, port, "parentPort.postMessage")}`,
			{ eval: true },
		);
		t.after(() => thread.terminate());
		await new Promise((resolve) => thread.once("message", resolve));
		const other = new Child(t, client(calls, port, "console.log"));
		const otherPort = await other.hear(/port (\d+)/);

		const scheduler = new ManualScheduler();
		const watch = new BypassWatch(
			[{ kind: "tcp", host: "localhost", port }],
			{ settledMs: SETTLED_MS, ownListeners: [] },
			{ clock: scheduler.clock, scheduler, log: silentLogger, ownAddresses: () => [], readTable, ownSockets },
		);
		const look = (): Promise<BypassReading> => {
			scheduler.clock.advance(SETTLED_MS + 1);
			return watch.look();
		};
		assert.equal((await look()).isAvailable, true);
		const { settled, present, peers, isTruncated } = await look();
		assert.deepEqual({ settled, present, isTruncated }, { settled: 1, present: 1, isTruncated: false });
		assert.deepEqual(
			peers.map((peer) => [peer.address, peer.port, peer.count]),
			[[calls, port, 1]],
		);

		other.end();
		await app.hear(new RegExp(`gone (${otherPort})`));
		assert.equal((await look()).present, 0);
		await look();
		assert.equal(watch.reading().present, 0);
	});
}
