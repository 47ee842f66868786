import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isIdempotent, isSafe, METHOD, METHODS, methodIdOf } from "./methods.ts";

describe("a method", () => {
	it("has the id of its place in the list", () => {
		METHODS.forEach((name, id) => {
			assert.equal(methodIdOf(Buffer.from(`x${name} `), 1, 1 + name.length), id);
			assert.equal(METHOD[name === "_OTHER" ? "OTHER" : name], id);
		});
	});

	it("is _OTHER when it is unknown or in other letters", () => {
		for (const text of ["get", "GETS", "GE", "PROPFIND", "_OTHER", ""]) {
			assert.equal(methodIdOf(Buffer.from(text), 0, text.length), METHOD.OTHER, text);
		}
	});

	it("is safe or idempotent as RFC 9110 says", () => {
		const names = (test: (id: number) => boolean) => METHODS.filter((_, id) => test(id));
		assert.deepEqual(names(isSafe), ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY"]);
		assert.deepEqual(names(isIdempotent), ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "QUERY"]);
	});
});
