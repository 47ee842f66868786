import assert from "node:assert/strict";
import { test } from "node:test";
import { findStranger } from "./guard.ts";

const hosts = new Set(["outrigger.local", "agent.test:9000", "[fd00::1]"]);

function code(host: readonly string[] | undefined, origin?: readonly string[]): string | undefined {
	return findStranger(
		{
			headersDistinct: {
				...(host === undefined ? {} : { host: [...host] }),
				...(origin === undefined ? {} : { origin: [...origin] }),
			},
		},
		hosts,
	)?.code;
}

test("localhost, every loopback address and the configured hosts may be called, in any case and with any port", () => {
	for (const host of [
		"localhost",
		"localhost:9802",
		"LocalHost:1",
		"127.0.0.1",
		"127.0.0.1:9802",
		"127.255.1.9:65535",
		"[::1]",
		"[::1]:9802",
		"outrigger.local",
		"OUTRIGGER.local:8080",
		"agent.test:9000",
		"[fd00::1]:9802",
		"[FD00::1]",
	]) {
		assert.equal(code([host]), undefined, host);
	}
});

test("any other host is a stranger, however much it looks like ours", () => {
	for (const host of [
		"",
		"evil.example", // DNS rebinding: the name leads to loopback, and the browser says the name
		"localhost.evil.example:9802",
		"127.0.0.1.evil.example",
		"evil.example#localhost",
		"localhost.", // another name to browsers, so another origin
		"127.0.0.1.",
		"localhost@evil.example",
		"evil@localhost",
		"user:pass@127.0.0.1:9802",
		"localhost:",
		"localhost:65536",
		"localhost:080808",
		"localhost:9802:9802",
		"localhost:98o2",
		"localhost, localhost",
		"localhost evil.example",
		" localhost",
		"localhost/",
		"localhost\\",
		"http://localhost",
		"::1",
		"[::1",
		"[::1]evil.example",
		"[::1]:",
		"[::1%25lo]",
		"[::]",
		"[0:0:0:0:0:0:0:1]", // nobody writes it so; Node's own clients do not
		"[::ffff:127.0.0.1]",
		"0.0.0.0",
		"127.1",
		"127.0.0.01",
		"0x7f.0.0.1",
		"2130706433",
		"128.0.0.1",
		"10.0.0.7",
		"agent.test", // configured with a port: only with that
		"agent.test:9001",
		"sub.outrigger.local",
		"ｌocalhost",
		"localhost\u0000",
	]) {
		assert.equal(code([host]), "permission_denied", JSON.stringify(host));
	}
});

test("no Host and several Hosts are malformed", () => {
	assert.equal(code(undefined), "invalid_argument");
	assert.equal(code(["localhost", "localhost"]), "invalid_argument");
	assert.equal(code(["localhost", "evil.example"]), "invalid_argument");
});

test("an origin is absent or exactly the one that was called", () => {
	for (const [host, origin] of [
		["localhost:9802", "http://localhost:9802"],
		["LOCALHOST:9802", "http://localhost:9802"],
		["127.0.0.1", "http://127.0.0.1"],
		["[::1]:9802", "http://[::1]:9802"],
	] as const) {
		assert.equal(code([host], [origin]), undefined, origin);
	}
	for (const origin of [
		"null", // sandboxed frames, data: and file: URLs, redirects across origins
		"",
		"http://localhost",
		"http://localhost:9801",
		"https://localhost:9802",
		"http://127.0.0.1:9802", // loopback too, but another origin
		"http://localhost:9802/",
		"http://localhost:9802.evil.example",
		"http://evil.example",
		"http://localhost:9802@evil.example",
		"http://user@localhost:9802",
		"http://localhost:9802 http://evil.example",
		"chrome-extension://abc",
		"localhost:9802",
		"//localhost:9802",
	]) {
		assert.equal(code(["localhost:9802"], [origin]), "permission_denied", origin);
	}
	assert.equal(code(["localhost:9802"], ["http://localhost:9802", "http://localhost:9802"]), "permission_denied");
});
