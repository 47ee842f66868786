import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
	FORWARDED,
	FORWARDED_FOR,
	FORWARDED_HOST,
	FORWARDED_LOOKALIKE,
	FORWARDED_OTHER,
	FORWARDED_PORT,
	FORWARDED_PROTO,
	FORWARDED_REAL_IP,
	ForwardedFields,
	forwardedKind,
	Peer,
} from "./forwarded.ts";

const kindOf = (name: string): number => {
	const bytes = Buffer.from(`-${name}-`);
	return forwardedKind(bytes, 1, bytes.length - 1);
};

interface Outcome {
	/** What is left of what came, then what was put in. */
	readonly lines: readonly string[];
	readonly client: string;
}

interface Options {
	readonly trust?: boolean;
	readonly hops?: number;
	readonly peer?: string | undefined;
	readonly host?: string;
	readonly fields?: ForwardedFields;
}

/** Runs fields through as the identity phase does. */
function through(came: readonly (readonly [string, string])[], options: Options = {}): Outcome {
	const { trust = true, hops = 1, host = "shop.test:8080" } = options;
	const peer = new Peer("peer" in options ? options.peer : "10.0.0.9");
	const fields = options.fields ?? new ForwardedFields({ trust, trustedHops: hops }, 128);
	let text = `host: ${host}\r\n`;
	const places: [number, number, number, number][] = [];
	for (const [name, value] of came) {
		places.push([
			text.length,
			text.length + name.length,
			text.length + name.length + 2,
			text.length + name.length + 2 + value.length,
		]);
		text += `${name}: ${value}\r\n`;
	}
	const head = Buffer.from(text, "latin1");
	fields.begin();
	const lines: string[] = [];
	for (const [nameStart, nameEnd, start, end] of places) {
		const kind = forwardedKind(head, nameStart, nameEnd);
		if (kind !== 0 && fields.note(kind, head, start, end)) continue;
		lines.push(head.toString("latin1", nameStart, end));
	}
	const max = fields.bytesMax(peer, host.length);
	const target = Buffer.alloc(max + 8, "#");
	const end = fields.write(target, 4, peer, head, 6, 6 + host.length);
	assert.ok(end - 4 <= max, `${end - 4} bytes were written, at most ${max} were announced`);
	assert.equal(target.toString("latin1", end), "#".repeat(target.length - end));
	assert.equal(target.toString("latin1", 0, 4), "####");
	const put = target.toString("latin1", 4, end);
	assert.ok(put.endsWith("\r\n"));
	lines.push(...put.slice(0, -2).split("\r\n"));
	return { lines, client: fields.clientAddress(head, peer) };
}

describe("names of forwarded fields", () => {
	const cases: readonly (readonly [string, number])[] = [
		["x-forwarded-for", FORWARDED_FOR],
		["X-Forwarded-For", FORWARDED_FOR],
		["X-FORWARDED-PROTO", FORWARDED_PROTO],
		["x-forwarded-host", FORWARDED_HOST],
		["x-forwarded-port", FORWARDED_PORT],
		["Forwarded", FORWARDED],
		["X-Real-IP", FORWARDED_REAL_IP],
		["x-forwarded-prefix", FORWARDED_OTHER],
		["x-forwarded-f", FORWARDED_OTHER],
		["X_Forwarded_For", FORWARDED_LOOKALIKE],
		["x-forwarded_proto", FORWARDED_LOOKALIKE],
		["x_real-ip", FORWARDED_LOOKALIKE],
		["x-forwarded-client_cert", FORWARDED_LOOKALIKE],
		["x-forwarded-", 0],
		["x-forwarded", 0],
		["x-forward", 0],
		["forwardee", 0],
		["forwarded-by", 0],
		["x-request-id", 0],
		["host", 0],
		["x-real-i", 0],
		["user-agent", 0],
		["x-powered-by", 0],
	];
	for (const [name, kind] of cases) {
		it(`${name} is ${kind === 0 ? "none" : `kind ${kind}`}`, () => assert.equal(kindOf(name), kind));
	}
});

describe("a peer", () => {
	const cases: readonly (readonly [string | undefined, string, string])[] = [
		["192.0.2.7", "192.0.2.7", "for=192.0.2.7;proto=http"],
		["::ffff:192.0.2.7", "192.0.2.7", "for=192.0.2.7;proto=http"],
		["2001:db8::1", "2001:db8::1", 'for="[2001:db8::1]";proto=http'],
		["fe80::1%eth0", "fe80::1", 'for="[fe80::1]";proto=http'],
		["::ffff:1", "::ffff:1", 'for="[::ffff:1]";proto=http'],
		[undefined, "unknown", "for=unknown;proto=http"],
		["evil\r\nx: y", "unknown", "for=unknown;proto=http"],
	];
	for (const [remote, address, element] of cases) {
		it(`${JSON.stringify(remote)} is ${address}`, () => {
			const peer = new Peer(remote);
			assert.equal(peer.address, address);
			assert.equal(peer.bytes.toString(), address);
			assert.equal(peer.element.toString(), element);
			assert.equal(peer.lines.toString(), `x-forwarded-for: ${address}\r\nx-forwarded-proto: http\r\n`);
		});
	}
});

describe("forwarded fields from a peer that is not trusted", () => {
	const spoofed: readonly (readonly [string, string])[] = [
		["X-Forwarded-For", "127.0.0.1"],
		["x-forwarded-proto", "https"],
		["x-forwarded-host", "bank.test"],
		["x-forwarded-port", "443"],
		["forwarded", "for=127.0.0.1"],
		["x-real-ip", "127.0.0.1"],
		["x-forwarded-prefix", "/admin"],
		["X_Forwarded_For", "127.0.0.1"],
	];
	const own = ["x-forwarded-for: 10.0.0.9", "x-forwarded-proto: http", "x-forwarded-host: shop.test:8080"];

	for (const options of [{ trust: false }, { trust: true, hops: 0 }, { trust: false, hops: 3 }]) {
		it(`are all replaced (${JSON.stringify(options)})`, () => {
			assert.deepEqual(through([["accept", "*/*"], ...spoofed], options), {
				lines: ["accept: */*", ...own],
				client: "10.0.0.9",
			});
		});
	}
});

describe("forwarded fields from a trusted peer", () => {
	it("are begun when there are none", () => {
		assert.deepEqual(through([]), {
			lines: ["x-forwarded-for: 10.0.0.9", "x-forwarded-proto: http", "x-forwarded-host: shop.test:8080"],
			client: "10.0.0.9",
		});
	});

	it("have no host line when the request has no Host (HTTP/1.0)", () => {
		assert.deepEqual(through([], { host: "" }).lines, ["x-forwarded-for: 10.0.0.9", "x-forwarded-proto: http"]);
	});

	it("are continued: one list with the peer behind it, the rest as it came", () => {
		assert.deepEqual(
			through([
				["X-Forwarded-For", "203.0.113.5"],
				["X-Forwarded-Proto", "https"],
				["X-Forwarded-Host", "shop.example"],
				["X-Forwarded-Port", "443"],
				["X-Real-IP", "203.0.113.5"],
			]),
			{
				lines: [
					"X-Forwarded-Proto: https",
					"X-Forwarded-Host: shop.example",
					"X-Forwarded-Port: 443",
					"X-Real-IP: 203.0.113.5",
					"x-forwarded-for: 203.0.113.5, 10.0.0.9",
				],
				client: "203.0.113.5",
			},
		);
	});

	it("say http when only the address was forwarded, and keep a forwarded scheme without an address", () => {
		assert.deepEqual(through([["x-forwarded-for", "203.0.113.5"]]).lines, [
			"x-forwarded-for: 203.0.113.5, 10.0.0.9",
			"x-forwarded-proto: http",
			"x-forwarded-host: shop.test:8080",
		]);
		assert.deepEqual(through([["x-forwarded-proto", "https"]]).lines, [
			"x-forwarded-proto: https",
			"x-forwarded-for: 10.0.0.9",
			"x-forwarded-host: shop.test:8080",
		]);
	});

	it("join several lines into one, in their order, without the empty ones", () => {
		const { lines, client } = through([
			["x-forwarded-for", "198.51.100.1, 198.51.100.2"],
			["x-forwarded-for", ""],
			["x-forwarded-for", "203.0.113.5"],
		]);
		assert.equal(lines[0], "x-forwarded-for: 198.51.100.1, 198.51.100.2, 203.0.113.5, 10.0.0.9");
		assert.equal(client, "203.0.113.5");
	});

	it("never include a name that some servers read as ours", () => {
		assert.deepEqual(through([["X_Forwarded_For", "127.0.0.1"]]).lines, through([]).lines);
	});

	it("take no more lines than the head may have", () => {
		const fields = new ForwardedFields({ trust: true, trustedHops: 1 }, 2);
		const { lines } = through(
			[
				["x-forwarded-for", "192.0.2.1"],
				["x-forwarded-for", "192.0.2.2"],
				["x-forwarded-for", "192.0.2.3"],
				["forwarded", "for=a"],
				["forwarded", "for=b"],
				["forwarded", "for=c"],
			],
			{ fields },
		);
		assert.equal(lines[0], "x-forwarded-for: 192.0.2.1, 192.0.2.2, 10.0.0.9");
		assert.equal(lines[3], 'forwarded: for=a, for=b, for=10.0.0.9;proto=http;host="shop.test:8080"');
	});

	it("forget the request before", () => {
		const fields = new ForwardedFields({ trust: true, trustedHops: 1 }, 8);
		through(
			[
				["x-forwarded-for", "192.0.2.1"],
				["x-forwarded-proto", "https"],
				["x-forwarded-host", "a"],
				["forwarded", 'for="broken'],
			],
			{ fields },
		);
		assert.deepEqual(through([], { fields }), through([]));
	});
});

describe("RFC 7239's forwarded", () => {
	it("is continued when it is there", () => {
		const { lines } = through([["Forwarded", 'for="[2001:db8::1]";proto=https, for=192.0.2.1']], {
			peer: "2001:db8::9",
		});
		assert.equal(
			lines.at(-1),
			'forwarded: for="[2001:db8::1]";proto=https, for=192.0.2.1, for="[2001:db8::9]";proto=http;host="shop.test:8080"',
		);
	});

	it("has no host when the request has none, or one that cannot be quoted", () => {
		assert.equal(
			through([["forwarded", "for=a"]], { host: "" }).lines.at(-1),
			"forwarded: for=a, for=10.0.0.9;proto=http",
		);
		assert.equal(
			through([["forwarded", "for=a"]], { host: 'a"b' }).lines.at(-1),
			"forwarded: for=a, for=10.0.0.9;proto=http",
		);
	});

	for (const value of ['for="a', 'for="a\\"', 'for="a", for=b;by="', '"']) {
		it(`${value} is dropped: what we put behind it would be read as a part of it`, () => {
			assert.deepEqual(through([["forwarded", value]]).lines, through([]).lines);
		});
	}

	it("with escaped quotes inside its quotes is well quoted", () => {
		const { lines } = through([["forwarded", 'for="a\\"b"']]);
		assert.equal(lines.at(-1), 'forwarded: for="a\\"b", for=10.0.0.9;proto=http;host="shop.test:8080"');
	});

	it("is not begun, and an empty one is cut", () => {
		assert.deepEqual(through([["forwarded", ""]]).lines, through([]).lines);
	});
});

describe("the client's address", () => {
	const lists: readonly (readonly [string, readonly string[], number, string])[] = [
		["one hop: the last entry, which the peer wrote", ["6.6.6.6, 203.0.113.5"], 1, "203.0.113.5"],
		["two hops: the one before", ["6.6.6.6, 203.0.113.5, 198.51.100.2"], 2, "203.0.113.5"],
		["over lines", ["6.6.6.6, 203.0.113.5", "198.51.100.2"], 2, "203.0.113.5"],
		["over lines that are empty", ["203.0.113.5", "", ",", " , "], 1, "203.0.113.5"],
		["fewer entries than hops: the leftmost", ["203.0.113.5, 198.51.100.2"], 5, "203.0.113.5"],
		["tabs and spaces about it", ["6.6.6.6,\t 203.0.113.5 \t,"], 1, "203.0.113.5"],
		["with a port", ["203.0.113.5:4711"], 1, "203.0.113.5"],
		["IPv6", ["2001:db8::5"], 1, "2001:db8::5"],
		["IPv6 in brackets", ["[2001:db8::5]"], 1, "2001:db8::5"],
		["IPv6 in brackets with a port", ["[2001:db8::5]:4711"], 1, "2001:db8::5"],
		["bracket that is not closed", ["[2001:db8::5"], 1, "2001:db8::5"],
		["no address: the peer", ["unknown"], 1, "10.0.0.9"],
		[
			"no address in place of the right entry: the peer, not the entry beside it",
			["203.0.113.5, _hidden"],
			1,
			"10.0.0.9",
		],
		["empty list: the peer", [" , ,"], 1, "10.0.0.9"],
		["too short: the peer", ["1"], 1, "10.0.0.9"],
		["too long: the peer", [`203.0.113.5${"0".repeat(60)}`], 1, "10.0.0.9"],
		["brackets with nothing: the peer", ["[]:1"], 1, "10.0.0.9"],
	];
	for (const [name, values, hops, client] of lists) {
		it(name, () => {
			assert.equal(
				through(
					values.map((value) => ["x-forwarded-for", value] as const),
					{ hops },
				).client,
				client,
			);
		});
	}

	it("is the same when it is remembered, for more clients than are remembered", () => {
		const fields = new ForwardedFields({ trust: true, trustedHops: 1 }, 8);
		for (let round = 0; round < 2; round += 1) {
			for (let i = 0; i < 1000; i += 1) {
				const address = `203.0.${i >> 8}.${i & 255}`;
				assert.equal(through([["x-forwarded-for", address]], { fields }).client, address);
				assert.equal(through([["x-forwarded-for", address]], { fields }).client, address);
			}
		}
	});
});

describe("whatever a client sends", () => {
	const name = fc.constantFrom(
		"x-forwarded-for",
		"x-forwarded-proto",
		"x-forwarded-host",
		"x-forwarded-port",
		"forwarded",
		"x-real-ip",
		"X_Forwarded_For",
		"accept",
	);
	const value = fc
		.array(fc.constantFrom(...' ,;"\\[]:.0123456789abcdef=', "192.0.2.1", "2001:db8::1", "for=", "\u00ff"), {
			maxLength: 30,
		})
		.map((parts) => parts.join("").trim());

	it("no line is broken, and untrusted bytes never reach a forwarded field", () => {
		fc.assert(
			fc.property(fc.array(fc.tuple(name, value), { maxLength: 12 }), fc.integer({ min: 0, max: 3 }), (came, hops) => {
				const { lines, client } = through(came, { hops });
				for (const line of lines) assert.match(line, /^[A-Za-z_-]+: [^\r\n]*$/);
				assert.equal(lines.filter((line) => line.startsWith("x-forwarded-for: ")).length, 1);
				const list = lines.find((line) => line.startsWith("x-forwarded-for: "));
				assert.ok(list?.endsWith("10.0.0.9"));
				if (hops === 0) {
					assert.equal(client, "10.0.0.9");
					assert.deepEqual(
						lines.filter((line) => !line.startsWith("accept")),
						through([]).lines,
					);
				}
			}),
		);
	});
});
