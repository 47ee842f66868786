import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
	isHostName,
	isLoopback,
	listenersClash,
	listenOptions,
	parseListen,
	parseTarget,
	renderAddress,
} from "./address.ts";
import type { Address } from "./settings.ts";

const long = `/${"a".repeat(107)}`;

function listen(text: string): Address {
	const parsed = parseListen(text);
	assert.ok(!("mistake" in parsed), text);
	return parsed;
}

test("addresses to listen on", () => {
	const good: readonly (readonly [string, Address])[] = [
		[":9810", { kind: "tcp", host: undefined, port: 9810 }],
		[":0", { kind: "tcp", host: undefined, port: 0 }],
		["127.0.0.1:9802", { kind: "tcp", host: "127.0.0.1", port: 9802 }],
		["[::1]:80", { kind: "tcp", host: "::1", port: 80 }],
		["localhost:80", { kind: "tcp", host: "localhost", port: 80 }],
		["unix:/run/a.sock", { kind: "unix", path: "/run/a.sock" }],
	];
	for (const [text, address] of good) assert.deepEqual(parseListen(text), address, text);
	const bad: readonly (readonly [string, RegExp])[] = [
		["9810", /colon/],
		["", /no port/],
		["localhost", /no port/],
		["::1", /brackets/],
		["::1:80", /brackets/],
		["[127.0.0.1]:80", /IPv6/],
		["example.org:80", /not on a name/],
		["256.0.0.1:80", /not on a name/],
		[":65536", /0 to 65535/],
		[":123456789012345678901", /0 to 65535/],
		[":-1", /no port/],
		["http://localhost:80", /URL/],
		["unix:run/a.sock", /absolute/],
		["unix:/a\0b", /NUL/],
		[`unix:${long}`, /107 bytes/],
	];
	for (const [text, why] of bad) {
		const parsed = parseListen(text);
		assert.ok("mistake" in parsed, text);
		assert.match(parsed.mistake, why, text);
	}
});

test("addresses where an app listens", () => {
	for (const text of ["localhost:3000", "10.0.0.7:1", "[fe80::1]:65535", "app_1.shop.svc:80", "unix:/run/app.sock"]) {
		const parsed = parseTarget(text);
		assert.ok(!("mistake" in parsed), text);
		assert.equal(renderAddress(parsed), text);
	}
	const bad: readonly (readonly [string, RegExp])[] = [
		[":3000", /localhost:3000/],
		["localhost:0", /1 to 65535/],
		["-a:80", /neither/],
		["1.2.3:80", /neither/],
		["a..b:80", /neither/],
		["unix:app.sock", /absolute/],
	];
	for (const [text, why] of bad) {
		const parsed = parseTarget(text);
		assert.ok("mistake" in parsed, text);
		assert.match(parsed.mistake, why, text);
	}
});

test("what is rendered is parsed to the same address", () => {
	const host = fc.oneof(fc.constant(undefined), fc.ipV4(), fc.ipV6(), fc.constant("localhost"));
	fc.assert(
		fc.property(host, fc.nat(65_535), (name, port) => {
			const address: Address = { kind: "tcp", host: name, port };
			assert.deepEqual(parseListen(renderAddress(address)), address);
		}),
	);
});

test("loopback is what only this machine reaches", () => {
	for (const text of ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[0:0:0:0:0:0:0:1]:1", "localhost:1", "unix:/x"]) {
		assert.equal(isLoopback(listen(text)), true, text);
	}
	for (const text of [":1", "0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[fe80::1%lo]:1", "[::2]:1"]) {
		assert.equal(isLoopback(listen(text)), false, text);
	}
});

test("two listeners clash when the kernel would refuse the second", () => {
	const rows: readonly (readonly [string, string, boolean])[] = [
		[":80", ":80", true],
		[":80", ":81", false],
		[":0", ":0", false],
		[":80", "127.0.0.1:80", true],
		[":80", "[::1]:80", true],
		["0.0.0.0:80", "[::1]:80", false],
		["0.0.0.0:80", "127.0.0.1:80", true],
		["[::]:80", "127.0.0.1:80", true],
		["127.0.0.1:80", "127.0.0.2:80", false],
		["localhost:80", "127.0.0.1:80", true],
		["localhost:80", "[::1]:80", true],
		["unix:/a", "unix:/a", true],
		["unix:/a", "unix:/b", false],
		["unix:/a", ":80", false],
	];
	for (const [a, b, clash] of rows) {
		assert.equal(listenersClash(listen(a), listen(b)), clash, `${a} ${b}`);
		assert.equal(listenersClash(listen(b), listen(a)), clash, `${b} ${a}`);
	}
});

test("host names have labels of 1 to 63 characters and are no numbers", () => {
	assert.equal(isHostName("a".repeat(63)), true);
	for (const name of ["", "a".repeat(64), `${"a.".repeat(127)}a`, "1.2.3.4", "a b", "a.", "-a", "a-"]) {
		assert.equal(isHostName(name), false, name);
	}
});

test("what a server is told to listen on is the address, and nothing that it does not say", () => {
	assert.deepEqual(listenOptions(listen(":80")), { port: 80 });
	assert.deepEqual(listenOptions(listen("[::1]:80")), { port: 80, host: "::1" });
	assert.deepEqual(listenOptions(listen("unix:/run/a.sock")), { path: "/run/a.sock" });
});
