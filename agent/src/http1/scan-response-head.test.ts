import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LIMITS, NAMES, readResponse, responseAtEverySplit } from "../../test/fuzz/http1-reading.ts";
import type { FaultReason } from "../foundation/fault.ts";
import { FIELD } from "./field-names.ts";
import { METHOD } from "./methods.ts";
import { COMPLETE, FRAMING, MARK, ResponseHead } from "./scan-head.ts";

const OK = "HTTP/1.1 200 OK\r\n";

const REFUSED: readonly (readonly [text: string, reason: FaultReason, why: string])[] = [
	["\r\nHTTP/1.1 200 OK\r\n", "app_head_invalid", "an empty line before the status line"],
	["HTTP/2.0 200 OK\r\n", "app_head_invalid", "HTTP/2"],
	["HTTP/1.2 200 OK\r\n", "app_head_invalid", "HTTP/1.2"],
	["http/1.1 200 OK\r\n", "app_head_invalid", "a version in small letters"],
	["HTTP/1.1  200 OK\r\n", "app_head_invalid", "two spaces"],
	["HTTP/1.1 20 OK\r\n", "app_head_invalid", "two digits"],
	["HTTP/1.1 099 OK\r\n", "app_head_invalid", "a status below 100"],
	["HTTP/1.1 2000 OK\r\n", "app_head_invalid", "four digits"],
	["HTTP/1.1 200\n", "app_head_invalid", "LF after the status"],
	["HTTP/1.1 200 OK\n", "app_head_invalid", "LF after the reason"],
	["HTTP/1.1 200 O\0K\r\n", "app_head_invalid", "NUL in the reason"],
	["HTTP/1.1 200 OK\rX", "app_head_invalid", "CR alone"],
	["<html>", "app_head_invalid", "no HTTP at all"],
	[`${OK}A: 1\n`, "app_head_invalid", "LF after a field"],
	[`${OK}A : 1\r\n`, "app_head_invalid", "a space before the colon"],
	[`${OK}A: 1\r\n 2\r\n`, "app_head_invalid", "obs-fold"],
	[`${OK}A: \x01\r\n`, "app_head_invalid", "a control character"],
	[`${OK}Content-Length: 1\r\nContent-Length: 1\r\n`, "app_framing_invalid", "two equal lengths"],
	[`${OK}Content-Length: 1, 1\r\n`, "app_framing_invalid", "two lengths in one line"],
	[`${OK}Content-Length: a\r\n`, "app_framing_invalid", "a length that is no number"],
	[`${OK}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n`, "app_framing_invalid", "length, then coding"],
	[`${OK}Transfer-Encoding: chunked\r\nContent-Length: 1\r\n`, "app_framing_invalid", "coding, then length"],
	[`${OK}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n`, "app_framing_invalid", "chunked twice"],
	[`${OK}Transfer-Encoding: gzip, chunked\r\n`, "app_framing_invalid", "another coding"],
	[`${OK}Transfer-Encoding: identity\r\n`, "app_framing_invalid", "identity"],
	["HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n", "app_framing_invalid", "a coding in HTTP/1.0"],
	[`${OK}Connection: close, content-length\r\n`, "app_framing_invalid", "Connection that names the length"],
	[`${OK}Connection: transfer-encoding\r\n`, "app_framing_invalid", "Connection that names the coding"],
];

describe("a response head that is refused", () => {
	for (const [text, reason, why] of REFUSED) {
		it(`is refused with ${reason} for ${why}, wherever it is split`, () => {
			assert.equal(responseAtEverySplit(text, METHOD.GET).verdict, reason);
			assert.equal(readResponse(Buffer.from(`${text}\r\n`, "latin1"), METHOD.HEAD).verdict, reason);
		});
	}

	it("is too large beyond its limits", () => {
		const limits = { headBytesMax: 40, headersMax: 2, targetBytesMax: 1 };
		const fits = `${OK}A: ${"a".repeat(40 - 24)}\r\n\r\n`;
		assert.equal(fits.length, 40);
		assert.equal(responseAtEverySplit(fits, METHOD.GET, limits).verdict, "complete");
		assert.equal(responseAtEverySplit(fits.replace("A: ", "A: a"), METHOD.GET, limits).verdict, "app_head_too_large");
		assert.equal(
			responseAtEverySplit(`HTTP/1.1 200 ${"a".repeat(40)}`, METHOD.GET, limits).verdict,
			"app_head_too_large",
		);
		assert.equal(responseAtEverySplit(`${OK}A:\r\nB:\r\nC:`, METHOD.GET, limits).verdict, "app_head_too_large");
		assert.equal(responseAtEverySplit(`${OK}Connection: a,b,c\r\n`, METHOD.GET, limits).verdict, "app_head_too_large");
	});
});

describe("a response head that is accepted", () => {
	const read = (text: string, methodId: number = METHOD.GET) => {
		const { verdict, found } = responseAtEverySplit(`${text}\r\n`, methodId);
		assert.equal(verdict, "complete");
		return found ?? {};
	};

	it("gives its parts", () => {
		const found = read("HTTP/1.0 404 N\xf6t  Found\r\nA:b \r\n");
		assert.deepEqual(found, {
			length: 33,
			status: 404,
			reason: "N\xf6t  Found",
			minorVersion: 0,
			startLine: "HTTP/1.0 404 N\xf6t  Found\r\n",
			framing: FRAMING.CLOSE,
			contentLength: 0,
			keepAlive: false,
			keepAliveTimeoutSeconds: -1,
			isUpgrade: false,
			isH2cUpgrade: false,
			isInformational: false,
			fields: [{ name: "A", value: "b", id: 0, mark: MARK.FORWARD, line: "A:b \r\n" }],
		});
	});

	it("may lack the reason, and the space before it", () => {
		for (const line of ["HTTP/1.1 200 \r\n", "HTTP/1.1 200\r\n"]) {
			const found = read(line);
			assert.equal(found["status"], 200);
			assert.equal(found["reason"], "");
			assert.equal(found["startLine"], line);
		}
	});

	it("may have a status that nobody has defined", () => {
		assert.equal(read("HTTP/1.1 999 X\r\n")["status"], 999);
	});

	it("has a body framed by method, status and fields", () => {
		const framing = (text: string, methodId?: number) => {
			const found = read(text, methodId);
			return [found["framing"], found["contentLength"], found["keepAlive"]];
		};
		const length = "Content-Length: 5\r\n";
		const chunked = "Transfer-Encoding: chunked\r\n";
		assert.deepEqual(framing(`${OK}${length}`), [FRAMING.LENGTH, 5, true]);
		assert.deepEqual(framing(`${OK}${chunked}`), [FRAMING.CHUNKED, 0, true]);
		assert.deepEqual(framing(OK), [FRAMING.CLOSE, 0, false]);
		assert.deepEqual(framing(`${OK}${length}`, METHOD.HEAD), [FRAMING.NONE, 0, true]);
		assert.deepEqual(framing(`${OK}${chunked}`, METHOD.HEAD), [FRAMING.NONE, 0, true]);
		assert.deepEqual(framing(OK, METHOD.HEAD), [FRAMING.NONE, 0, true]);
		assert.deepEqual(framing(`HTTP/1.1 304 X\r\n${length}`), [FRAMING.NONE, 0, true]);
		assert.deepEqual(framing(`HTTP/1.1 204 X\r\n${length}`), [FRAMING.NONE, 0, true]);
		assert.deepEqual(framing(`HTTP/1.1 204 X\r\n${chunked}`), [FRAMING.NONE, 0, false]);
		assert.deepEqual(framing("HTTP/1.1 100 X\r\n"), [FRAMING.NONE, 0, true]);
		assert.deepEqual(framing("HTTP/1.1 205 X\r\nContent-Length: 0\r\n"), [FRAMING.LENGTH, 0, true]);
	});

	it("loses the body fields that it may not have", () => {
		const mark = (text: string): number => {
			const fields = read(text)["fields"] as { mark: number }[];
			return fields[0]?.mark ?? -1;
		};
		assert.equal(mark("HTTP/1.1 204 X\r\nContent-Length: 0\r\n"), MARK.FORBIDDEN);
		assert.equal(mark("HTTP/1.1 103 X\r\nTransfer-Encoding: chunked\r\n"), MARK.FORBIDDEN);
		assert.equal(mark("HTTP/1.1 304 X\r\nContent-Length: 9\r\n"), MARK.FORWARD);
	});

	it("keeps the connection by version and options, and says for how long", () => {
		const length = "Content-Length: 0\r\n";
		const keep = (text: string) => {
			const found = read(text);
			return [found["keepAlive"], found["keepAliveTimeoutSeconds"]];
		};
		assert.deepEqual(keep(`${OK}${length}`), [true, -1]);
		assert.deepEqual(keep(`${OK}${length}Connection: close\r\n`), [false, -1]);
		assert.deepEqual(keep(`HTTP/1.0 200 OK\r\n${length}`), [false, -1]);
		assert.deepEqual(keep(`HTTP/1.0 200 OK\r\n${length}Connection: keep-alive\r\n`), [true, -1]);
		assert.deepEqual(keep("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n"), [false, -1]);
		assert.deepEqual(keep(`${OK}${length}Keep-Alive: timeout=5, max=100\r\n`), [true, 5]);
		assert.deepEqual(keep(`${OK}${length}Keep-Alive: max=100,Timeout = 72x\r\n`), [true, 72]);
		assert.deepEqual(keep(`${OK}${length}Keep-Alive: timeout\r\n`), [true, -1]);
		assert.deepEqual(keep(`${OK}${length}Keep-Alive: timeout \t5\r\n`), [true, -1]);
		assert.deepEqual(keep(`${OK}${length}Keep-Alive: timeout=x\r\n`), [true, -1]);
		assert.deepEqual(keep(`${OK}${length}Keep-Alive: timeout=${"9".repeat(30)}\r\n`), [true, 1e9]);
	});

	it("tells an upgrade from an offer", () => {
		const upgrade = (text: string) => {
			const found = read(text);
			return [found["isUpgrade"], found["isH2cUpgrade"], found["isInformational"]];
		};
		assert.deepEqual(upgrade("HTTP/1.1 101 X\r\nUpgrade: websocket\r\n"), [true, false, false]);
		assert.deepEqual(upgrade("HTTP/1.1 101 X\r\n"), [false, false, false]);
		assert.deepEqual(upgrade("HTTP/1.1 200 X\r\nUpgrade: h2c, foo\r\n"), [false, true, false]);
		assert.deepEqual(upgrade("HTTP/1.1 103 X\r\n"), [false, false, true]);
	});

	it("marks what stops here, and what Connection names, who or whither included", () => {
		const found = read(
			`${OK}Content-Length: 0\r\nConnection: x-a, x-request-id\r\nX-A: 1\r\nX-Request-Id: 1\r\n` +
				"Proxy-Authenticate: x\r\nX-Outrigger-Route: /a\r\nTrailer: x\r\nHost: a\r\nTE: a\r\nExpect: x\r\n",
		);
		const fields = found["fields"] as { name: string; mark: number }[];
		assert.deepEqual(
			fields.map(({ name, mark }) => [name, mark]),
			[
				["Content-Length", MARK.FORWARD],
				["Connection", MARK.HOP],
				["X-A", MARK.NOMINATED],
				["X-Request-Id", MARK.NOMINATED],
				["Proxy-Authenticate", MARK.HOP],
				["X-Outrigger-Route", MARK.OURS],
				["Trailer", MARK.FORWARD],
				["Host", MARK.FORWARD],
				["TE", MARK.HOP],
				["Expect", MARK.FORWARD],
			],
		);
	});

	it("ends before the bytes that follow, and its fields are found by id", () => {
		const head = new ResponseHead(LIMITS, NAMES);
		const one = `${OK}Date: a\r\nX-Outrigger-Route: /r\r\nDate: b\r\n\r\n`;
		const bytes = Buffer.from(`${one}HTTP/1.1 103 X\r\n\r\n`, "latin1");
		head.reset(0, METHOD.HEAD);
		assert.equal(head.scan(bytes, bytes.length), COMPLETE);
		assert.equal(head.end, one.length);
		assert.equal(head.count(FIELD.DATE), 2);
		assert.equal(head.next(FIELD.DATE, head.first(FIELD.DATE)), 2);
		assert.equal(head.fieldId(1), FIELD.X_OUTRIGGER_ROUTE);
		head.reset(head.end, METHOD.GET);
		assert.equal(head.scan(bytes, bytes.length), COMPLETE);
		assert.equal(head.status, 103);
		assert.equal(head.fieldCount, 0);
	});
});
