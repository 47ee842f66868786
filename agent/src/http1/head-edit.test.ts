import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { LIMITS, NAMES } from "../../test/fuzz/http1-reading.ts";
import { AssertionFailure } from "../foundation/assert.ts";
import { copyBytes, HeadEdit } from "./head-edit.ts";
import { COMPLETE, RequestHead } from "./scan-head.ts";

const latin1 = (text: string): Buffer => Buffer.from(text, "latin1");
const HEAD = latin1("xxGET http://a/b HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTE: x\r\nAccept: */*\r\n\r\nrest");

function written(edit: HeadEdit): string {
	const target = Buffer.alloc(edit.byteLength + 4, "-");
	assert.equal(edit.writeTo(target, 2), edit.byteLength + 2);
	assert.equal(target.toString("latin1", 0, 2), "--");
	assert.equal(target.toString("latin1", edit.byteLength + 2), "--");
	return target.toString("latin1", 2, edit.byteLength + 2);
}

describe("an edited head", () => {
	const head = new RequestHead(LIMITS, NAMES);
	head.reset(2);
	assert.equal(head.scan(HEAD, HEAD.length), COMPLETE);
	const edit = new HeadEdit();
	const whole = HEAD.toString("latin1", 2, head.end);

	it("is the head that came when nothing was edited", () => {
		edit.begin(HEAD, head.start, head.end);
		assert.equal(edit.byteLength, whole.length);
		assert.equal(written(edit), whole);
	});

	it("lacks the lines that were cut, in whatever order, and has the lines that were put in at its end", () => {
		edit.begin(HEAD, head.start, head.end);
		edit.put(latin1("X-A: 1\r\n"));
		edit.cutField(head, 2);
		edit.cutField(head, 1);
		edit.putRange(latin1("..X-B: "), 2, 7);
		edit.cutField(head, 2);
		edit.put(latin1("2\r\n"));
		assert.equal(written(edit), "GET http://a/b HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nX-A: 1\r\nX-B: 2\r\n\r\n");
	});

	it("has ranges replaced: target, a value, an insertion", () => {
		edit.begin(HEAD, head.start, head.end);
		edit.replaceRange(head.valueStart(0), head.valueEnd(0), latin1("shop"));
		edit.replaceRange(head.targetStart, head.originStart, latin1(""));
		edit.replaceRange(head.lineStart(0), head.lineStart(0), latin1("First: 1\r\n"));
		edit.cutField(head, 3);
		assert.equal(written(edit), "GET /b HTTP/1.1\r\nFirst: 1\r\nHost: shop\r\nConnection: close\r\nTE: x\r\n\r\n");
	});

	it("counts the later of two edits of the same range", () => {
		edit.begin(HEAD, head.start, head.end);
		edit.cutField(head, 0);
		edit.replaceRange(head.lineStart(0), head.lineEnd(0), latin1("Host: b\r\n"));
		edit.cutField(head, 1);
		edit.replaceRange(head.lineStart(1), head.lineStart(1), latin1("Before: 1\r\n"));
		assert.match(written(edit), /1\.1\r\nHost: b\r\nBefore: 1\r\nTE: x\r\n/);
	});

	it("is refused as our mistake when edits overlap, leave the lines, or do not end a line", () => {
		edit.begin(HEAD, head.start, head.end);
		edit.cut(10, 20);
		assert.throws(() => edit.cut(15, 25), AssertionFailure);
		assert.throws(() => edit.cut(5, 11), AssertionFailure);
		assert.throws(() => edit.cut(0, 4), AssertionFailure);
		assert.throws(() => edit.cut(head.end - 3, head.end), AssertionFailure);
		edit.begin(HEAD, head.start, head.end);
		edit.put(latin1("X: 1"));
		assert.throws(() => written(edit), AssertionFailure);
		assert.throws(() => edit.writeTo(Buffer.alloc(10), 0), AssertionFailure);
		assert.throws(() => edit.begin(HEAD, 2, 20), AssertionFailure);
	});

	it("is the same as an edit of the text, for any cuts", () => {
		fc.assert(
			fc.property(fc.shuffledSubarray([0, 1, 2, 3]), fc.string({ maxLength: 100 }), (cuts, value) => {
				edit.begin(HEAD, head.start, head.end);
				for (const i of cuts) edit.cutField(head, i);
				const line = `X: ${value.replaceAll(/[^ -~]/g, "")}\r\n`;
				edit.put(latin1(line));
				let expected = whole;
				for (const i of cuts)
					expected = expected.replace(HEAD.toString("latin1", head.lineStart(i), head.lineEnd(i)), "");
				assert.equal(written(edit), `${expected.slice(0, -2)}${line}\r\n`);
			}),
		);
	});
});

describe("copyBytes", () => {
	it("copies short and long runs alike", () => {
		const source = latin1("0123456789".repeat(20));
		for (const length of [0, 1, 31, 32, 33, 64, 150]) {
			const target = Buffer.alloc(200, "-");
			assert.equal(copyBytes(source, 3, 3 + length, target, 5), 5 + length);
			assert.equal(target.toString("latin1", 0, 6 + length), `-----${source.toString("latin1", 3, 3 + length)}-`);
		}
	});
});
