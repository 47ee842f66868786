import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isAuthority } from "./authority.ts";

const is = (text: string): boolean => isAuthority(Buffer.from(`[${text}]`, "latin1"), 1, text.length + 1);

describe("an authority", () => {
	it("is a name, an address or a literal, with or without a port", () => {
		for (const text of [
			"a",
			"shop.example.com:8080",
			"127.0.0.1:80",
			"a:",
			"under_score",
			"a%20b",
			"0.0.0.0=5000",
			"a!$&'()*+,;=~b",
			"[::1]",
			"[::1]:80",
			"[::]:",
			"[2001:DB8::ffff:1.2.3.4]:1",
			"[v1.a:b]",
		]) {
			assert.equal(is(text), true, text);
		}
	});

	it("is nothing else", () => {
		for (const text of [
			"",
			":80",
			"a:b",
			"a:80:80",
			"a:8 0",
			"u@a",
			"a b",
			"a/b",
			"a?b",
			"a#b",
			"a\\b",
			"a<b",
			'a"b',
			"a|b",
			"a^b",
			"\xe4",
			"a\t",
			"%",
			"%2",
			"%2g",
			"%g2",
			"[",
			"[]",
			"[:]",
			"[::1",
			"[::1]a",
			"[::1%25eth0]",
			"[g::1]",
			"[v]",
			"[v/:]",
			"a[::1]",
			"a]",
		]) {
			assert.equal(is(text), false, text);
		}
	});
});
