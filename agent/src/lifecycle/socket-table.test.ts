import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import { parseSocketTable, SocketTableScan, type TableSocket } from "./socket-table.ts";

const HEADING = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
const line = (local: string, remote: string, state: string, inode: number): string =>
	`   0: ${local} ${remote} ${state} 00000000:00000000 00:00000000 00000000  1000        0 ${inode} 1 0000000009c086cc 100 0 0 10 0\n`;
const parse = (text: string) => parseSocketTable(text, undefined, undefined, "LE");

test("an IPv4 line becomes addresses, ports, state and inode", () => {
	const { sockets, malformed } = parse(HEADING + line("0100007F:07E8", "0700000A:C350", "01", 1560));
	assert.equal(malformed, 0);
	assert.deepEqual(sockets, [
		{
			localAddress: "127.0.0.1",
			localPort: 2024,
			remoteAddress: "10.0.0.7",
			remotePort: 50_000,
			state: "established",
			inode: 1560,
			family: 4,
		},
	]);
});

const addresses: readonly [string, string][] = [
	["00000000000000000000000000000000", "::"],
	["00000000000000000000000001000000", "::1"],
	["0000000000000000FFFF00000100007F", "127.0.0.1"],
	["B80D0120000000000000000007000000", "2001:db8::7"],
	["B80D0120010000000000000007000100", "2001:db8:0:1::1:7"],
	["000080FE00000000FF00FCFE0100E0FE", "fe80::fefc:ff:fee0:1"],
	["01000200030004000500060007000800", "2:1:4:3:6:5:8:7"],
	["01000000030004000500060007000800", "0:1:4:3:6:5:8:7"],
];
for (const [hex, text] of addresses) {
	test(`the kernel's ${hex} is ${text}`, () => {
		const [socket] = parse(HEADING + line(`${hex}:0050`, `${hex}:0051`, "0A", 1)).sockets;
		assert.equal(socket?.localAddress, text);
		assert.equal(socket?.remoteAddress, text);
		assert.equal(socket?.family, 6);
		assert.equal(socket?.state, "listen");
	});
}

test("on a big-endian machine the same address is printed the other way round", () => {
	const { sockets } = parseSocketTable(
		HEADING + line("7F000001:0050", "0A000007:0051", "06", 0),
		undefined,
		undefined,
		"BE",
	);
	assert.equal(sockets[0]?.localAddress, "127.0.0.1");
	assert.equal(sockets[0]?.state, "time_wait");
});

test("every state has a name, one that is new is called other", () => {
	const states = ["01", "02", "03", "04", "05", "06", "07", "08", "09", "0A", "0B", "0C", "0D", "FF"];
	const text = HEADING + states.map((state) => line("0100007F:0001", "0100007F:0002", state, 1)).join("");
	assert.deepEqual(
		parse(text).sockets.map(({ state }) => state),
		[
			"established",
			"syn_sent",
			"syn_received",
			"fin_wait_1",
			"fin_wait_2",
			"time_wait",
			"closed",
			"close_wait",
			"last_ack",
			"listen",
			"closing",
			"syn_received",
			"other",
			"other",
		],
	);
});

test("lines that cannot be read are counted and passed over, and a last line without its newline is read", () => {
	const good = line("0100007F:0001", "0100007F:0002", "0A", 7);
	const mixed = line("0100007F:0001", "00000000000000000000000000000000:0002", "0A", 8);
	const { sockets, malformed } = parse(`${HEADING}nonsense\n${good}\n   1: 0100007F\n${mixed}${good.trimEnd()}`);
	assert.deepEqual(
		sockets.map(({ inode }) => inode),
		[7, 7],
	);
	assert.equal(malformed, 3);
	assert.deepEqual(parse(""), { sockets: [], malformed: 0, isTruncated: false });
});

test("no more sockets than the bound are kept, and only those that are wanted count", () => {
	const text = HEADING + [1, 2, 3, 4].map((inode) => line("0100007F:0001", "0100007F:0002", "0A", inode)).join("");
	const truncated = parseSocketTable(text, undefined, 2, "LE");
	assert.equal(truncated.sockets.length, 2);
	assert.equal(truncated.isTruncated, true);
	const wanted = parseSocketTable(text, ({ inode }) => inode > 2, 2, "LE");
	assert.equal(wanted.isTruncated, false);
	assert.deepEqual(
		wanted.sockets.map(({ inode }) => inode),
		[3, 4],
	);
});

test("any text at all is read without an error", () => {
	fc.assert(
		fc.property(fc.string({ unit: "binary", maxLength: 400 }), (text) => {
			const { sockets, malformed } = parse(`heading\n${text}`);
			assert.ok(sockets.length + malformed <= text.split("\n").length);
		}),
	);
});

/** Any table, whole and in pieces, for ports that some of its lines have. */
const addressText = fc.constantFrom(
	"0100007F",
	"0700000A",
	"0000000000000000FFFF00000100007F",
	"B80D0120000000000000000007000000",
);
const portText = fc.constantFrom("0BB8", "0BB9", "00BB", "BB80", "FFFF");
const anyLine = fc.oneof(
	{
		weight: 6,
		arbitrary: fc
			.tuple(addressText, portText, addressText, portText, fc.constantFrom("01", "0A", "06", "FF"), fc.nat())
			.map(([local, localPort, remote, remotePort, state, inode]) =>
				line(`${local}:${localPort}`, `${remote}:${remotePort}`, state, inode),
			),
	},
	{
		weight: 1,
		arbitrary: fc.string({ maxLength: 200, unit: fc.constantFrom(..."0BB8: \n".split("")) }).map((text) => `${text}\n`),
	},
);

test("a scan for ports, in whatever pieces the table comes, finds what is found without it", () => {
	fc.assert(
		fc.property(
			fc.array(anyLine, { maxLength: 30 }),
			fc.uniqueArray(fc.constantFrom<number>(0x0bb8, 0x0bb9, 0xbb, 0xffff, 1), { maxLength: 3 }),
			fc.array(fc.nat(5_000), { maxLength: 8 }),
			fc.boolean(),
			(lines, ports, cuts, isWhole) => {
				const text = HEADING + (isWhole ? lines.join("") : lines.join("").trimEnd());
				const found: TableSocket[] = [];
				const scan = new SocketTableScan(ports, (socket) => found.push(socket), "LE");
				let start = 0;
				for (const cut of [...cuts.toSorted((a, b) => a - b), text.length]) {
					scan.add(text.slice(start, cut));
					start = Math.max(start, cut);
				}
				scan.end();
				const hasPort = ({ localPort, remotePort }: TableSocket): boolean =>
					ports.includes(localPort) || ports.includes(remotePort);
				const expected = parseSocketTable(text, hasPort, undefined, "LE");
				assert.deepEqual(found, expected.sockets);
				assert.ok(scan.malformed <= expected.malformed);
			},
		),
	);
});

test("a scan counts only those lines that seem to have its port and cannot be read, and bounds what it keeps of a line", () => {
	const found: TableSocket[] = [];
	const scan = new SocketTableScan([0x0bb8], (socket) => found.push(socket), "LE");
	scan.add(`${HEADING}   0: 0100007F:0BB8 nonsense\n   1: nonsense\n`);
	assert.equal(scan.malformed, 1);
	const good = line("0100007F:0BB8", "0700000A:C350", "01", 7).trimEnd();
	scan.add(good);
	for (let i = 0; i < 100; i++) scan.add(" 0".repeat(1_000));
	scan.add(`\n${good}`);
	scan.end();
	assert.deepEqual(
		found.map(({ inode }) => inode),
		[7, 7],
	);
	assert.equal(scan.malformed, 1);
});

test("more addresses than are kept while a table is read are read all the same", () => {
	const found = new Set<string>();
	const scan = new SocketTableScan([0x0bb8], ({ remoteAddress }) => found.add(remoteAddress), "LE");
	for (let i = 0; i < 3_000; i++) {
		const hex = i.toString(16).toUpperCase().padStart(4, "0");
		scan.add(line("0100007F:0BB8", `${hex}000A:C350`, "01", i + 1));
	}
	assert.equal(found.size, 3_000);
});

test("the real table shows a server of ours", async (t) => {
	if (process.platform !== "linux") return t.skip("/proc/net/tcp is there on Linux only");
	const server = createServer();
	t.after(() => server.close());
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	const address = server.address();
	assert.ok(address !== null && typeof address === "object");
	const { sockets, malformed } = parseSocketTable(
		readFileSync("/proc/net/tcp", "latin1"),
		({ localPort, state }) => state === "listen" && localPort === address.port,
	);
	assert.equal(malformed, 0);
	assert.deepEqual(
		sockets.map(({ localAddress, family }) => [localAddress, family]),
		[["127.0.0.1", 4]],
	);
});
