import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { FAULTS } from "../foundation/fault.ts";
import { ProxyProtocolParser } from "./proxy-protocol.ts";

const SIGNATURE = Buffer.from("0d0a0d0a000d0a515549540a", "hex");

function v2(command: number, family: number, payload: Uint8Array, length = payload.length): Buffer {
	const head = Buffer.alloc(16);
	SIGNATURE.copy(head);
	head[12] = command;
	head[13] = family;
	head.writeUInt16BE(length, 14);
	return Buffer.concat([head, payload]);
}

const bytesOf = (hex: string): Buffer => Buffer.from(hex.replaceAll(" ", ""), "hex");
const TCP4 = bytesOf("c0000207 0a000001 1267 2646");
const TCP6 = bytesOf("20010db8000000000000000000000005 fe800000000000000000000000000001 1267 2646");
const TLVS = Buffer.concat([bytesOf("03 0004 00000000"), bytesOf("ea 0100"), Buffer.alloc(256, "x")]);

interface Result {
	readonly taken: number;
	readonly isDone: boolean;
	readonly isFault: boolean;
	readonly source: string;
	readonly destination: string;
}

/** Parses in portions that end at the given places. */
function parse(bytes: Uint8Array, ...cuts: readonly number[]): Result {
	const parser = new ProxyProtocolParser();
	let taken = 0;
	let from = 0;
	for (const to of [...cuts, bytes.length]) {
		// Each portion is its own memory, as from a socket: nothing may be read again later.
		const portion = Uint8Array.from(bytes.subarray(from, to));
		taken += parser.push(portion, 0, portion.length);
		portion.fill(0);
		from = to;
	}
	if (parser.fault !== undefined) assert.equal(parser.fault, FAULTS.proxy_protocol);
	assert.ok(!(parser.isDone && parser.fault !== undefined));
	return {
		taken,
		isDone: parser.isDone,
		isFault: parser.fault !== undefined,
		source: `${parser.sourceAddress} ${parser.sourcePort}`,
		destination: `${parser.destinationAddress} ${parser.destinationPort}`,
	};
}

const line = (text: string): Buffer => Buffer.from(`${text}\r\n`, "latin1");
const NONE = ["undefined 0", "undefined 0"] as const;
const V4 = ["192.0.2.7 4711", "10.0.0.1 9798"] as const;
const V6 = ["2001:db8::5 4711", "fe80::1 9798"] as const;

describe("a PROXY protocol header that is taken", () => {
	const cases: readonly (readonly [string, Buffer, readonly [string, string]])[] = [
		["version 1, TCP4", line("PROXY TCP4 192.0.2.7 10.0.0.1 4711 9798"), V4],
		["version 1, TCP6", line("PROXY TCP6 2001:db8::5 fe80::1 4711 9798"), V6],
		["version 1, ports at the ends", line("PROXY TCP4 192.0.2.7 10.0.0.1 0 65535"), ["192.0.2.7 0", "10.0.0.1 65535"]],
		["version 1, UNKNOWN", line("PROXY UNKNOWN"), NONE],
		["version 1, UNKNOWN with what must be ignored", line("PROXY UNKNOWN ffff::1 x 70000 y"), NONE],
		[
			"version 1, the longest line",
			line(`PROXY UNKNOWN ${"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ".repeat(2)}65535 65535`),
			NONE,
		],
		["version 2, TCP4", v2(0x21, 0x11, TCP4), V4],
		["version 2, TCP6", v2(0x21, 0x21, TCP6), V6],
		["version 2, TCP4 with TLVs", v2(0x21, 0x11, Buffer.concat([TCP4, TLVS])), V4],
		["version 2, TCP6 with TLVs", v2(0x21, 0x21, Buffer.concat([TCP6, TLVS])), V6],
		["version 2, as long as it can be", v2(0x21, 0x11, Buffer.concat([TCP4, Buffer.alloc(65_535 - 12)])), V4],
		["version 2, LOCAL with nothing", v2(0x20, 0x00, Buffer.alloc(0)), NONE],
		["version 2, LOCAL with addresses, which must be ignored", v2(0x20, 0x11, TCP4), NONE],
		["version 2, LOCAL with a family that is not defined", v2(0x20, 0x99, Buffer.alloc(3)), NONE],
		["version 2, UNSPEC", v2(0x21, 0x00, Buffer.alloc(0)), NONE],
		["version 2, UNSPEC with bytes", v2(0x21, 0x00, Buffer.alloc(20)), NONE],
		["version 2, UDP over IPv4", v2(0x21, 0x12, TCP4), NONE],
		["version 2, UDP over IPv6", v2(0x21, 0x22, TCP6), NONE],
		["version 2, Unix stream", v2(0x21, 0x31, Buffer.alloc(216, "/")), NONE],
		["version 2, Unix datagram with TLVs", v2(0x21, 0x32, Buffer.alloc(230, "/")), NONE],
	];
	for (const [name, header, [source, destination]] of cases) {
		const whole = { taken: header.length, isDone: true, isFault: false, source, destination };
		it(`${name}: at every split point the same, and no byte of the request is taken`, () => {
			const bytes = Buffer.concat([header, Buffer.from("GET / HTTP/1.1\r\n")]);
			const step = header.length > 1000 ? 997 : 1;
			for (let cut = 0; cut <= bytes.length; cut += step) assert.deepEqual(parse(bytes, cut), whole);
			assert.deepEqual(parse(bytes, ...Array.from({ length: Math.min(400, bytes.length) }, (_, i) => i)), whole);
		});
		it(`${name}: cut short it is neither done nor refused`, () => {
			const step = header.length > 1000 ? 997 : 1;
			for (let length = 0; length < header.length; length += step) {
				const { taken, isDone, isFault } = parse(header.subarray(0, length));
				assert.deepEqual({ taken, isDone, isFault }, { taken: length, isDone: false, isFault: false });
			}
		});
	}

	const texts: readonly (readonly [string, string])[] = [
		["00000000000000000000000000000000", "::"],
		["00000000000000000000000000000001", "::1"],
		["20010db8000000000000000000000000", "2001:db8::"],
		["20010db8000000010001000100010001", "2001:db8:0:1:1:1:1:1"],
		["20010000000000010000000000000001", "2001:0:0:1::1"],
		["20010db8000000000001000000000001", "2001:db8::1:0:0:1"],
		["00000000000000000000ffffc0000207", "::ffff:c000:207"],
		["00010002000300040005000600070008", "1:2:3:4:5:6:7:8"],
	];
	for (const [hex, text] of texts) {
		it(`writes ${hex} as ${text} (RFC 5952)`, () => {
			const payload = Buffer.concat([bytesOf(hex), bytesOf(hex), bytesOf("0001 0002")]);
			assert.equal(parse(v2(0x21, 0x21, payload)).source, `${text} 1`);
		});
	}
});

describe("what is no PROXY protocol header is refused at the first byte that shows it", () => {
	const cases: readonly (readonly [string, Buffer, number])[] = [
		["a request", Buffer.from("GET / HTTP/1.1\r\n"), 1],
		["a request whose method begins with P", Buffer.from("POST / HTTP/1.1\r\n"), 2],
		["lower case", line("proxy TCP4 192.0.2.7 10.0.0.1 1 2"), 1],
		["an HTTP/2 preface", Buffer.from("PRI * HTTP/2.0\r\n"), 3],
		["version 1 without a space", line("PROXYTCP4 192.0.2.7 10.0.0.1 1 2"), 6],
		["bare LF", Buffer.from("PROXY UNKNOWN\n"), 14],
		["bare CR", Buffer.from("PROXY UNKNOWN\rx"), 15],
		["two CR", Buffer.from("PROXY UNKNOWN\r\r\n"), 15],
		["NUL", Buffer.from("PROXY UNKNOWN \u0000\r\n"), 15],
		["a line of 108 bytes", line(`PROXY UNKNOWN ${"x".repeat(92)}`), 107],
		["a line without an end", Buffer.alloc(500, "PROXY "), 107],
		["a line whose CR is its 107th byte", line(`PROXY UNKNOWN ${"x".repeat(92)}`), 107],
		["version 2, wrong signature", Buffer.concat([SIGNATURE.subarray(0, 11), Buffer.from("xxxxx")]), 12],
		["version 2 that is version 1", v2(0x11, 0x11, TCP4), 13],
		["version 2, command that is not defined", v2(0x22, 0x11, TCP4), 13],
		["version 2, family that is not defined", v2(0x21, 0x41, TCP4), 14],
		["version 2, transport that is not defined", v2(0x21, 0x13, TCP4), 14],
		["version 2, family UNSPEC over TCP", v2(0x21, 0x01, TCP4), 14],
		["version 2, IPv4 with too few bytes", v2(0x21, 0x11, TCP4.subarray(1)), 16],
		["version 2, IPv6 with too few bytes", v2(0x21, 0x21, TCP4), 16],
		["version 2, Unix with too few bytes", v2(0x21, 0x31, TCP6), 16],
	];
	for (const [name, bytes, taken] of cases) {
		it(name, () => {
			for (let cut = 0; cut <= bytes.length; cut += 1) {
				const result = parse(bytes, cut);
				assert.deepEqual([result.isFault, result.isDone, result.taken], [true, false, taken]);
			}
			assert.deepEqual([parse(bytes).source, parse(bytes).destination], NONE);
		});
	}

	const lines = [
		"PROXY ",
		"PROXY TCP4",
		"PROXY TCP4 192.0.2.7 10.0.0.1 1",
		"PROXY TCP4 192.0.2.7 10.0.0.1 1 2 3",
		"PROXY TCP4 192.0.2.7 10.0.0.1 1 2 ",
		"PROXY TCP4  192.0.2.7 10.0.0.1 1 2",
		"PROXY TCP4 192.0.2.256 10.0.0.1 1 2",
		"PROXY TCP4 192.0.2.7 x 1 2",
		"PROXY TCP4 2001:db8::5 fe80::1 1 2",
		"PROXY TCP6 192.0.2.7 10.0.0.1 1 2",
		"PROXY TCP6 fe80::1%eth0 fe80::2 1 2",
		"PROXY TCP4 192.0.2.7 10.0.0.1 65536 2",
		"PROXY TCP4 192.0.2.7 10.0.0.1 01 2",
		"PROXY TCP4 192.0.2.7 10.0.0.1 -1 2",
		"PROXY TCP4 192.0.2.7 10.0.0.1 1 1.5",
		"PROXY TCP4 192.0.2.7 10.0.0.1 1 ",
		"PROXY UDP4 192.0.2.7 10.0.0.1 1 2",
		"PROXY unknown",
	];
	for (const text of lines) {
		it(`version 1: ${JSON.stringify(text)}`, () => {
			const bytes = line(text);
			const result = parse(bytes);
			assert.deepEqual(
				[result.isFault, result.isDone, result.taken, result.source],
				[true, false, bytes.length, NONE[0]],
			);
		});
	}

	it("and takes no more afterwards", () => {
		const parser = new ProxyProtocolParser();
		assert.equal(parser.push(Buffer.from("GET"), 0, 3), 1);
		assert.equal(parser.push(Buffer.from("PROXY UNKNOWN\r\n"), 0, 15), 0);
		assert.equal(parser.isDone, false);
	});

	it("whatever the bytes, all portions give the same", () => {
		const start = fc.constantFrom(Buffer.alloc(0), Buffer.from("PROXY TCP4 "), SIGNATURE, v2(0x21, 0x11, TCP4, 300));
		fc.assert(
			fc.property(
				start,
				fc.uint8Array({ maxLength: 400 }),
				fc.array(fc.nat(400), { maxLength: 5 }),
				(begin, rest, cuts) => {
					const bytes = Buffer.concat([begin, rest]);
					const sorted = cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b);
					assert.deepEqual(parse(bytes, ...sorted), parse(bytes));
				},
			),
			{ numRuns: 500 },
		);
	});
});
