import assert from "node:assert/strict";
import { test } from "node:test";
import { painter, printable, wrap } from "./output.ts";

test("text of somebody else moves no cursor and turns no writing round", () => {
	assert.equal(printable("a\u001b[2Jb\u009b1mc\nd\u202ee\u2066f\u2028g"), "a [2Jb 1mc d e f g");
	assert.equal(printable("Grüße, 你好, 🙂"), "Grüße, 你好, 🙂");
});

test("paint is there only where it is wanted", () => {
	assert.equal(painter(false)("bad", "x"), "x");
	assert.equal(painter(true)("bad", "x"), "\u001b[31mx\u001b[0m");
});

test("lines are broken at spaces, and a word that is too long stays whole", () => {
	assert.equal(wrap("aa bb cc", 7, "  "), "  aa bb\n  cc");
	assert.equal(wrap("aa bbbbbbbbbb cc", 7, "  "), "  aa\n  bbbbbbbbbb\n  cc");
});
