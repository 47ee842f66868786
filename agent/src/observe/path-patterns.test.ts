import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { PathPatterns } from "./path-patterns.ts";

function matches(pattern: string, path: string): boolean {
	const bytes = Buffer.from(`<${path}>`);
	return PathPatterns.of([pattern])?.matches(bytes, 1, bytes.length - 1) ?? assert.fail("no patterns");
}

describe("a path pattern", () => {
	for (const [pattern, path, expected] of [
		["/health", "/health", true],
		["/health", "/healthz", false],
		["/health", "/healt", false],
		["/internal/*", "/internal/", true],
		["/internal/*", "/internal/a/b", true],
		["/internal/*", "/internal", false],
		["*/secret", "/a/b/secret", true],
		["/a/*/c/*/e", "/a/b/c/c/d/e", true],
		["/a/*/c/*/e", "/a/b/d/e", false],
		["*", "", true],
		["/**", "/x", true],
		["/é/*", "/é/x", true],
	] as const) {
		test(`${pattern} ${expected ? "fits" : "does not fit"} ${path === "" ? "nothing" : path}`, () => {
			assert.equal(matches(pattern, path), expected);
		});
	}

	test("fits exactly what the regular expression would (property)", () => {
		const letters = fc.array(fc.constantFrom("a", "b", "/", "*"), { maxLength: 8 }).map((all) => all.join(""));
		fc.assert(
			fc.property(letters, letters, (pattern, path) => {
				assert.equal(matches(pattern, path), new RegExp(`^${pattern.replaceAll("*", ".*")}$`).test(path));
			}),
			{ numRuns: 500 },
		);
	});

	test("is one of several", () => {
		const patterns = PathPatterns.of(["/a", "/b"]);
		assert.equal(patterns?.matches(Buffer.from("/b"), 0, 2), true);
		assert.equal(PathPatterns.of([]), undefined);
	});
});
