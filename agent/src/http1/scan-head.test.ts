import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { fuzzHttp1, seededRandom } from "../../test/fuzz/http1.ts";
import { LIMITS, NAMES, readRequest, requestAtEverySplit } from "../../test/fuzz/http1-reading.ts";
import type { FaultReason } from "../foundation/fault.ts";
import { FIELD } from "./field-names.ts";
import { METHOD } from "./methods.ts";
import { COMPLETE, FRAMING, INCOMPLETE, MARK, RequestHead, TARGET } from "./scan-head.ts";

const LINE = "GET / HTTP/1.1\r\n";
const HOST = "Host: a\r\n";
/** A complete request with these field lines, each with its CRLF. */
const withFields = (fields: string): string => `${LINE}${HOST}${fields}\r\n`;

const REFUSED: readonly (readonly [text: string, reason: FaultReason, why: string])[] = [
	["\r\n\r\nGET / HTTP/1.1\r\n", "head_leading_bytes", "two empty lines"],
	["\nGET / HTTP/1.1\r\n", "head_bare_lf", "an empty line that is only LF"],
	["\rGET / HTTP/1.1\r\n", "head_bare_cr", "a CR before the request line"],
	["\r\n\nGET / HTTP/1.1\r\n", "head_bare_lf", "a second empty line that is only LF"],
	[" GET / HTTP/1.1\r\n", "head_method", "a space before the method"],
	["\0GET / HTTP/1.1\r\n", "head_method", "NUL before the method"],
	["G\x01T / HTTP/1.1\r\n", "head_method", "a control character in the method"],
	["GE(T / HTTP/1.1\r\n", "head_method", "a delimiter in the method"],
	["GET\t/ HTTP/1.1\r\n", "head_method", "HTAB after the method"],
	["GET\r\n", "head_request_line", "a method alone"],
	["GET\n", "head_bare_lf", "a method alone and LF"],
	["GET /\r\n", "head_request_line", "HTTP/0.9"],
	["GET /\n", "head_bare_lf", "HTTP/0.9 with LF"],
	["GET  / HTTP/1.1\r\n", "head_target", "two spaces before the target"],
	["GET /a\x7fb HTTP/1.1\r\n", "head_target", "DEL in the target"],
	["GET /a\tb HTTP/1.1\r\n", "head_target", "HTAB in the target"],
	["GET /a\0b HTTP/1.1\r\n", "head_target", "NUL in the target"],
	["GET /a?b\x01 HTTP/1.1\r\n", "head_target", "a control character in the query"],
	["GET /a?b\r HTTP/1.1\r\n", "head_request_line", "CR in the query"],
	["GET /a b HTTP/1.1\r\n", "head_request_line", "a space in the target"],
	["GET a HTTP/1.1\r\n", "head_target", "a target without a slash"],
	["GET a/b HTTP/1.1\r\n", "head_target", "a relative target"],
	["GET ?a HTTP/1.1\r\n", "head_target", "a query alone"],
	["GET * HTTP/1.1\r\n", "head_target", "asterisk-form with GET"],
	["OPTIONS *a HTTP/1.1\r\n", "head_target", "more than an asterisk"],
	["GET ftp://a/ HTTP/1.1\r\n", "head_target", "another scheme"],
	["GET http:/a/ HTTP/1.1\r\n", "head_target", "one slash"],
	["GET http:a HTTP/1.1\r\n", "head_target", "no slash"],
	["GET http:// HTTP/1.1\r\n", "head_target", "no authority"],
	["GET http:///a HTTP/1.1\r\n", "head_target", "an empty authority"],
	["GET http://:80/a HTTP/1.1\r\n", "head_target", "a port without a host"],
	["GET http://u:p@a/ HTTP/1.1\r\n", "head_target", "userinfo"],
	["GET http://a#b HTTP/1.1\r\n", "head_target", "a fragment in the authority"],
	["GET http://a\\b/ HTTP/1.1\r\n", "head_target", "a backslash in the authority"],
	["GET http://\xe4/ HTTP/1.1\r\n", "head_target", "raw bytes in the authority"],
	["CONNECT /a HTTP/1.1\r\n", "head_target", "CONNECT to a path"],
	["GET / HTTP/2.0\r\n", "head_version", "HTTP/2.0"],
	["GET / HTTP/1.2\r\n", "head_version", "HTTP/1.2"],
	["GET / HTTP/0.9\r\n", "head_version", "HTTP/0.9 said aloud"],
	["PRI * HTTP/2.0\r\n", "head_version", "the preface of HTTP/2"],
	["GET / http/1.1\r\n", "head_request_line", "a version in small letters"],
	["GET / HTTP/1\r\n", "head_request_line", "no minor version"],
	["GET / HTTP/11.1\r\n", "head_request_line", "two digits"],
	["GET / HTTP/1.10\r\n", "head_request_line", "two minor digits"],
	["GET / HTTP/1,1\r\n", "head_request_line", "a comma in the version"],
	["GET / HTTPS/1.1\r\n", "head_request_line", "another protocol"],
	["GET / HTTP/1.1 \r\n", "head_request_line", "a space after the version"],
	["GET / HTTP/1.1\n", "head_bare_lf", "LF after the version"],
	["GET / HTTP/1.\n", "head_bare_lf", "LF within the version"],
	["GET / HTTP/1.1\rX", "head_bare_cr", "CR alone after the version"],
	[`${LINE} Host: a\r\n`, "head_obs_fold", "white space before the first field"],
	[`${LINE}${HOST}X: 1\r\n 2\r\n`, "head_obs_fold", "a folded value"],
	[`${LINE}${HOST}X: 1\r\n\t2\r\n`, "head_obs_fold", "a value folded with HTAB"],
	[`${LINE}${HOST}X: 1\n`, "head_bare_lf", "LF after a value"],
	[`${LINE}${HOST}X:\n`, "head_bare_lf", "LF after a colon"],
	[`${LINE}${HOST}X\n`, "head_bare_lf", "LF after a name"],
	[`${LINE}${HOST}\n`, "head_bare_lf", "LF as the blank line"],
	[`${LINE}${HOST}X: 1\rY: 2\r\n`, "head_bare_cr", "CR alone in a value"],
	[`${LINE}${HOST}X: 1\r\r\n`, "head_bare_cr", "two CR"],
	[`${LINE}${HOST}\rX`, "head_bare_cr", "CR alone as the blank line"],
	[`${LINE}${HOST}X: a\0b\r\n`, "head_control_character", "NUL in a value"],
	[`${LINE}${HOST}X: a\x7fb\r\n`, "head_control_character", "DEL in a value"],
	[`${LINE}${HOST}X: \x0b1\r\n`, "head_control_character", "a vertical tab before a value"],
	[`${LINE}${HOST}X : 1\r\n`, "head_space_before_colon", "a space before the colon"],
	[`${LINE}${HOST}X\t: 1\r\n`, "head_space_before_colon", "HTAB before the colon"],
	[`${LINE}${HOST}: 1\r\n`, "head_field_name", "an empty name"],
	[`${LINE}${HOST}X(Y: 1\r\n`, "head_field_name", "a delimiter in a name"],
	[`${LINE}${HOST}(X: 1\r\n`, "head_field_name", "a delimiter before a name"],
	[`${LINE}${HOST}X\r\n`, "head_field_name", "a line without a colon"],
	[`${LINE}${HOST}X\xe4: 1\r\n`, "head_field_name", "obs-text in a name"],
	[`${LINE}${HOST}Content_Length: 1\r\n`, "head_field_alias", "a length with an underscore"],
	[`${LINE}${HOST}transfer_encoding: chunked\r\n`, "head_field_alias", "a coding with an underscore"],
	[`${LINE}\r\n`, "host_missing", "HTTP/1.1 without Host"],
	[`${LINE}${HOST}${HOST}`, "host_repeated", "Host twice"],
	["GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n", "host_repeated", "Host twice in HTTP/1.0"],
	[`${LINE}Host: a b\r\n`, "host_invalid", "a space in Host"],
	[`${LINE}Host: a@b\r\n`, "host_invalid", "userinfo in Host"],
	[`${LINE}Host: a/b\r\n`, "host_invalid", "a path in Host"],
	[`${LINE}Host: :80\r\n`, "host_invalid", "a port alone"],
	[`${LINE}Host: a, b\r\n`, "host_invalid", "two hosts in one Host"],
	[`${LINE}${HOST}Content-Length: 1\r\nContent-Length: 1\r\n`, "length_repeated", "two equal lengths"],
	[`${LINE}${HOST}Content-Length: 1\r\ncontent-length: 2\r\n`, "length_repeated", "two lengths"],
	[`${LINE}${HOST}Content-Length: 1, 1\r\n`, "length_repeated", "two lengths in one line"],
	[`${LINE}${HOST}Content-Length: 1 ,1\r\n`, "length_repeated", "two lengths in one line, spaced"],
	[`${LINE}${HOST}Content-Length:\r\n`, "length_invalid", "an empty length"],
	[`${LINE}${HOST}Content-Length: +1\r\n`, "length_invalid", "a sign"],
	[`${LINE}${HOST}Content-Length: -1\r\n`, "length_invalid", "a negative length"],
	[`${LINE}${HOST}Content-Length: 0x10\r\n`, "length_invalid", "a hexadecimal length"],
	[`${LINE}${HOST}Content-Length: 1 2\r\n`, "length_invalid", "a space within a length"],
	[`${LINE}${HOST}Content-Length: 1.0\r\n`, "length_invalid", "a fraction"],
	[`${LINE}${HOST}Content-Length: 9007199254740992\r\n`, "length_invalid", "2^53"],
	[`${LINE}${HOST}Content-Length: ${"9".repeat(400)}\r\n`, "length_invalid", "an endless length"],
	[`${LINE}${HOST}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n`, "length_and_coding", "length, then coding"],
	[`${LINE}${HOST}Transfer-Encoding: chunked\r\nContent-Length: 1\r\n`, "length_and_coding", "coding, then length"],
	["GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n", "coding_in_http10", "a coding in HTTP/1.0"],
	[`${LINE}${HOST}Transfer-Encoding: gzip\r\n`, "coding_unsupported", "another coding"],
	[`${LINE}${HOST}Transfer-Encoding: gzip, chunked\r\n`, "coding_unsupported", "another coding first"],
	[`${LINE}${HOST}Transfer-Encoding: x;q="a", chunked\r\n`, "coding_unsupported", "another coding with parameters"],
	[`${LINE}${HOST}Transfer-Encoding: xchunked\r\n`, "coding_unsupported", "a coding that ends like chunked"],
	[`${LINE}${HOST}Transfer-Encoding: identity\r\n`, "coding_unsupported", "identity"],
	[`${LINE}${HOST}Transfer-Encoding: chunked, gzip\r\n`, "coding_not_final", "chunked not last"],
	[`${LINE}${HOST}Transfer-Encoding: chunked, chunked\r\n`, "coding_not_final", "chunked twice"],
	[`${LINE}${HOST}Transfer-Encoding: chunked,\r\n`, "coding_not_final", "a comma after chunked"],
	[
		`${LINE}${HOST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n`,
		"coding_not_final",
		"chunked in two lines",
	],
	[
		`${LINE}${HOST}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n`,
		"coding_not_final",
		"another coding after chunked",
	],
	[`${LINE}${HOST}Transfer-Encoding:\r\n`, "coding_invalid", "an empty coding"],
	[`${LINE}${HOST}Transfer-Encoding: , chunked\r\n`, "coding_invalid", "a comma before chunked"],
	[`${LINE}${HOST}Transfer-Encoding: "chunked"\r\n`, "coding_invalid", "a quoted coding"],
	[`${LINE}${HOST}Transfer-Encoding: chunked;q=1\r\n`, "coding_invalid", "chunked with a parameter"],
	[`${LINE}${HOST}Transfer-Encoding: chunked foo\r\n`, "coding_invalid", "two words"],
	...[
		"host",
		"Content-Length",
		"transfer-encoding",
		"authorization",
		"cookie",
		"forwarded",
		"x-forwarded-for",
		"X-Forwarded-Prefix",
		"x-real-ip",
		"traceparent",
		"x-request-id",
		"x-correlation-id",
		"x-tenant-id",
	].map(
		(name) =>
			[
				`${LINE}${HOST}Connection: keep-alive, ${name}\r\n`,
				"connection_names_field",
				`Connection that names ${name}`,
			] as const,
	),
	["CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "method_not_allowed", "CONNECT"],
	["TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "method_not_allowed", "TRACE"],
];

describe("a request head that is refused", () => {
	for (const [text, reason, why] of REFUSED) {
		it(`is refused with ${reason} for ${why}, wherever it is split`, () => {
			assert.equal(requestAtEverySplit(text).verdict, reason);
			// The first wrong byte decides: what follows cannot change the verdict.
			assert.equal(readRequest(Buffer.from(`${text}Foo: bar\r\n\r\n`, "latin1")).verdict, reason);
		});
	}

	it("is refused at the first wrong byte, not at the end of the head", () => {
		const early: readonly (readonly [string, FaultReason])[] = [
			["GET / HTTP/1.1\n", "head_bare_lf"],
			[`${LINE}${HOST}X :`.slice(0, -1), "head_space_before_colon"],
			[`${LINE}${HOST}${HOST}`, "host_repeated"],
			[`${LINE}${HOST}Content-Length: x\r\n`, "length_invalid"],
		];
		for (const [text, reason] of early) {
			const bytes = Buffer.from(text, "latin1");
			assert.equal(readRequest(bytes).verdict, reason);
			assert.equal(readRequest(bytes.subarray(0, -1)).verdict, "incomplete");
		}
	});

	it("stays refused, and keeps what was read before the fault", () => {
		const bytes = Buffer.from("POST /orders?x HTTP/1.1\r\nX-Request-Id: abc\r\nBad Name: 1\r\n\r\n", "latin1");
		const head = new RequestHead(LIMITS, NAMES);
		head.reset(0);
		const result = head.scan(bytes, bytes.length);
		assert.equal(head.scan(bytes, bytes.length), result);
		assert.equal(head.methodId, METHOD.POST);
		assert.equal(bytes.toString("latin1", head.targetStart, head.pathEnd), "/orders");
		const id = head.first(NAMES.idOf("x-request-id"));
		assert.equal(bytes.toString("latin1", head.valueStart(id), head.valueEnd(id)), "abc");
		assert.equal(head.end, -1);
	});
});

describe("a limit of a head", () => {
	const limits = { headBytesMax: 64, headersMax: 3, targetBytesMax: 8 };

	it("is crossed by the byte after the last one allowed, wherever the head is split", () => {
		const fits = `GET / HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(64 - 32)}\r\n\r\n`;
		assert.equal(fits.length, 64);
		assert.equal(requestAtEverySplit(fits, limits).verdict, "complete");
		assert.equal(requestAtEverySplit(fits.replace("X: ", "X: y"), limits).verdict, "head_too_large");
		assert.equal(requestAtEverySplit(fits.slice(0, 63), limits).verdict, "incomplete");
		assert.equal(requestAtEverySplit("G".repeat(65), limits).verdict, "head_too_large");
	});

	it("counts an empty line before the head", () => {
		const fits = `\r\nGET / HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(64 - 34)}\r\n\r\n`;
		assert.equal(requestAtEverySplit(fits, limits).verdict, "complete");
		assert.equal(requestAtEverySplit(fits.replace("X: ", "X: y"), limits).verdict, "head_too_large");
	});

	it("is for the target 414, for its path and its query", () => {
		assert.equal(requestAtEverySplit("GET /2345678 HTTP/1.1\r\nHost: a\r\n\r\n", limits).verdict, "complete");
		assert.equal(requestAtEverySplit("GET /23456789", limits).verdict, "head_target_too_long");
		assert.equal(requestAtEverySplit("GET /?345678 HTTP/1.1\r\nHost: a\r\n\r\n", limits).verdict, "complete");
		assert.equal(requestAtEverySplit("GET /?3456789", limits).verdict, "head_target_too_long");
		assert.equal(requestAtEverySplit("GET /234567? HTTP/1.1\r\nHost: a\r\n\r\n", limits).verdict, "complete");
		assert.equal(requestAtEverySplit("GET /2345678?", limits).verdict, "head_target_too_long");
		assert.equal(requestAtEverySplit("GET /2345678\x01", limits).verdict, "head_target");
	});

	it("is for the fields 431, at the first byte of the field too many", () => {
		const three = `${LINE}${HOST}A: 1\r\nB: 2\r\n`;
		assert.equal(requestAtEverySplit(`${three}\r\n`, limits).verdict, "complete");
		assert.equal(requestAtEverySplit(`${three}C`, limits).verdict, "head_too_many_fields");
	});

	it("bounds the names in Connection too", () => {
		const three = `${LINE}${HOST}Connection: a, b, c, close`;
		assert.equal(requestAtEverySplit(`${three}\r\n\r\n`, limits).verdict, "complete");
		assert.equal(requestAtEverySplit(`${three}, d\r\n`, limits).verdict, "head_too_many_fields");
	});

	it("lets the columns grow up to it", () => {
		const many = Array.from({ length: 127 }, (_, i) => `X-${i}: ${i}\r\n`).join("");
		const reading = readRequest(Buffer.from(withFields(many), "latin1"));
		assert.equal(reading.verdict, "complete");
		const fields = reading.found?.["fields"] as { name: string; value: string; line: string }[];
		assert.equal(fields.length, 128);
		assert.deepEqual(fields.at(-1), { name: "X-126", value: "126", id: 0, mark: MARK.FORWARD, line: "X-126: 126\r\n" });
		assert.equal(readRequest(Buffer.from(withFields(`${many}Y: 1\r\n`), "latin1")).verdict, "head_too_many_fields");
	});
});

describe("a request head that is accepted", () => {
	it("gives its parts as offsets", () => {
		const { verdict, found } = requestAtEverySplit(
			"POST /orders/7?a=b&c HTTP/1.1\r\nHOST:\t shop:80 \r\nX-Empty:\r\nX-Spaces: \t \r\ncontent-length: 0012\r\n\r\n",
		);
		assert.equal(verdict, "complete");
		assert.deepEqual(found, {
			length: 96,
			method: "POST",
			methodId: METHOD.POST,
			target: "/orders/7?a=b&c",
			targetForm: TARGET.ORIGIN,
			authority: undefined,
			path: "/orders/7",
			minorVersion: 1,
			startLine: "POST /orders/7?a=b&c HTTP/1.1\r\n",
			framing: FRAMING.LENGTH,
			contentLength: 12,
			keepAlive: true,
			expectsContinue: false,
			upgradeAsked: false,
			isH2cUpgrade: false,
			teTrailers: false,
			fields: [
				{ name: "HOST", value: "shop:80", id: FIELD.HOST, mark: MARK.FORWARD, line: "HOST:\t shop:80 \r\n" },
				{ name: "X-Empty", value: "", id: 0, mark: MARK.FORWARD, line: "X-Empty:\r\n" },
				{ name: "X-Spaces", value: "", id: 0, mark: MARK.FORWARD, line: "X-Spaces: \t \r\n" },
				{
					name: "content-length",
					value: "0012",
					id: FIELD.CONTENT_LENGTH,
					mark: MARK.FORWARD,
					line: "content-length: 0012\r\n",
				},
			],
		});
	});

	it("may have one empty line before it, and begins after that", () => {
		const head = new RequestHead(LIMITS, NAMES);
		const bytes = Buffer.from(`\r\n${withFields("")}GET`, "latin1");
		head.reset(0);
		assert.equal(head.hasBegun, false);
		assert.equal(head.scan(bytes, 2), INCOMPLETE);
		assert.equal(head.hasBegun, false);
		assert.equal(head.scan(bytes, bytes.length), COMPLETE);
		assert.equal(head.hasBegun, true);
		assert.equal(head.start, 2);
		assert.equal(head.end, bytes.length - 3);
		assert.equal(requestAtEverySplit(`\r\n${withFields("")}`).verdict, "complete");
	});

	it("ends before the bytes that follow, and the next one is read from there with the same head", () => {
		const one = Buffer.from(withFields("Connection: close\r\nX-Request-Id: a\r\n"), "latin1");
		const both = Buffer.concat([one, Buffer.from(withFields(""), "latin1")]);
		const head = new RequestHead(LIMITS, NAMES);
		head.reset(0);
		assert.equal(head.scan(both, both.length), COMPLETE);
		assert.equal(head.end, one.length);
		assert.equal(head.first(NAMES.idOf("x-request-id")), 2);
		head.reset(head.end);
		assert.equal(head.scan(both, both.length), COMPLETE);
		assert.equal(head.end, both.length);
		assert.equal(head.first(NAMES.idOf("x-request-id")), -1);
		assert.equal(head.count(FIELD.CONNECTION), 0);
		assert.equal(head.keepAlive, true);
	});

	it("passes unusual but harmless bytes in the target and in values as they are", () => {
		const target = '/|{}^`"<>\\#[]\x80\xff?q={}|?#';
		const { verdict, found } = requestAtEverySplit(`GET ${target} HTTP/1.1\r\n${HOST}X: \x80\xff\t"{}\r\n\r\n`);
		assert.equal(verdict, "complete");
		assert.equal(found?.["target"], target);
	});

	it("may be HTTP/1.0 without Host, and may have an empty Host", () => {
		assert.equal(requestAtEverySplit("GET / HTTP/1.0\r\n\r\n").verdict, "complete");
		assert.equal(requestAtEverySplit(`${LINE}Host:\r\n\r\n`).verdict, "complete");
	});

	it("takes unknown methods, case-sensitively", () => {
		assert.equal(requestAtEverySplit(`get / HTTP/1.1\r\n${HOST}\r\n`).found?.["methodId"], METHOD.OTHER);
		assert.equal(requestAtEverySplit(`M-SEARCH / HTTP/1.1\r\n${HOST}\r\n`).found?.["methodId"], METHOD.OTHER);
		assert.equal(requestAtEverySplit(`QUERY / HTTP/1.1\r\n${HOST}\r\n`).found?.["methodId"], METHOD.QUERY);
	});

	it("counts fields by id and finds each of them", () => {
		const head = new RequestHead(LIMITS, NAMES);
		const bytes = Buffer.from(withFields("Cookie: a\r\nX: 1\r\ncookie: b\r\n"), "latin1");
		head.reset(0);
		assert.equal(head.scan(bytes, bytes.length), COMPLETE);
		assert.equal(head.count(FIELD.COOKIE), 2);
		assert.equal(head.first(FIELD.COOKIE), 1);
		assert.equal(head.next(FIELD.COOKIE, 1), 3);
		assert.equal(head.next(FIELD.COOKIE, 3), -1);
		assert.equal(head.first(FIELD.AUTHORIZATION), -1);
	});
});

describe("the form of a target", () => {
	const target = (line: string) => {
		const { verdict, found } = requestAtEverySplit(`${line} HTTP/1.1\r\n${HOST}\r\n`);
		assert.equal(verdict, "complete");
		return [found?.["targetForm"], found?.["authority"], found?.["path"]];
	};

	it("is origin, asterisk or absolute, and absolute-form gives authority and origin-form", () => {
		assert.deepEqual(target("GET /a?b"), [TARGET.ORIGIN, undefined, "/a"]);
		assert.deepEqual(target("GET //a//b"), [TARGET.ORIGIN, undefined, "//a//b"]);
		assert.deepEqual(target("OPTIONS *"), [TARGET.ASTERISK, undefined, "*"]);
		assert.deepEqual(target("GET http://b:80/a?b"), [TARGET.ABSOLUTE, "b:80", "/a"]);
		assert.deepEqual(target("GET HTTPS://b/a"), [TARGET.ABSOLUTE, "b", "/a"]);
		assert.deepEqual(target("GET http://[::1]:8080/"), [TARGET.ABSOLUTE, "[::1]:8080", "/"]);
	});

	it("gets the slash that an absolute-form without a path lacks, and the asterisk for OPTIONS", () => {
		assert.deepEqual(target("GET http://b"), [TARGET.ABSOLUTE, "b", "/"]);
		assert.deepEqual(target("GET http://b?x=/y"), [TARGET.ABSOLUTE, "b", "/"]);
		assert.deepEqual(target("OPTIONS http://b"), [TARGET.ABSOLUTE, "b", "*"]);
		assert.deepEqual(target("OPTIONS http://b?x"), [TARGET.ABSOLUTE, "b", "/"]);
	});
});

describe("the connection of a request", () => {
	const settled = (fields: string, version = "HTTP/1.1") =>
		requestAtEverySplit(`POST / ${version}\r\n${HOST}${fields}\r\n`).found ?? {};

	it("persists by version and options", () => {
		assert.equal(settled("")["keepAlive"], true);
		assert.equal(settled("Connection: close\r\n")["keepAlive"], false);
		assert.equal(settled("Connection: Keep-Alive, CLOSE\r\n")["keepAlive"], false);
		assert.equal(settled("Connection: keep-alive\r\nConnection:,close ,\r\n")["keepAlive"], false);
		assert.equal(settled("Connection: closed\r\n")["keepAlive"], true);
		assert.equal(settled("", "HTTP/1.0")["keepAlive"], false);
		assert.equal(settled("Connection: keep-alive\r\n", "HTTP/1.0")["keepAlive"], true);
		assert.equal(settled("Proxy-Connection: keep-alive\r\n", "HTTP/1.0")["keepAlive"], false);
	});

	it("upgrades only in HTTP/1.1, with Connection: upgrade, and not to h2c", () => {
		const upgrade = (fields: string, version?: string) => {
			const found = settled(fields, version);
			return [found["upgradeAsked"], found["isH2cUpgrade"]];
		};
		assert.deepEqual(upgrade("Connection: Upgrade\r\nUpgrade: websocket\r\n"), [true, false]);
		assert.deepEqual(upgrade("Upgrade: websocket\r\nConnection: keep-alive, upgrade\r\n"), [true, false]);
		assert.deepEqual(upgrade("Upgrade: websocket\r\n"), [false, false]);
		assert.deepEqual(upgrade("Connection: upgrade\r\n"), [false, false]);
		assert.deepEqual(upgrade("Connection: upgrade\r\nUpgrade: ,\r\n"), [false, false]);
		assert.deepEqual(upgrade("Connection: upgrade\r\nUpgrade: websocket\r\n", "HTTP/1.0"), [false, false]);
		assert.deepEqual(upgrade("Connection: upgrade\r\nUpgrade: H2C\r\n"), [false, true]);
		assert.deepEqual(upgrade("Connection: upgrade\r\nUpgrade: websocket, h2c/1\r\n"), [false, true]);
		assert.deepEqual(upgrade("Upgrade: h2c\r\n"), [false, false]);
	});

	it("expects 100 only in HTTP/1.1 with a body to come", () => {
		const expect = "Expect: 100-Continue\r\n";
		assert.equal(settled(`${expect}Content-Length: 1\r\n`)["expectsContinue"], true);
		assert.equal(settled(`${expect}Transfer-Encoding: Chunked\r\n`)["expectsContinue"], true);
		assert.equal(settled(`${expect}Content-Length: 0\r\n`)["expectsContinue"], false);
		assert.equal(settled(expect)["expectsContinue"], false);
		assert.equal(settled("Expect: other\r\nContent-Length: 1\r\n")["expectsContinue"], false);
		assert.equal(settled(`${expect}Content-Length: 1\r\n`, "HTTP/1.0")["expectsContinue"], false);
	});

	it("takes trailers when TE says so, without a weight", () => {
		assert.equal(settled("TE: gzip;q=0.5, Trailers\r\n")["teTrailers"], true);
		assert.equal(settled("TE: trailers;q=0\r\n")["teTrailers"], false);
		assert.equal(settled("TE: gzip\r\n")["teTrailers"], false);
	});

	it("marks what stops here: hop-by-hop, named by Connection, and ours", () => {
		const found = settled(
			"Foo: 1\r\nConnection: foo, keep-alive, BAR\r\nKeep-Alive: 5\r\nTE: trailers\r\nProxy-Connection: x\r\n" +
				"Proxy-Authorization: x\r\nUpgrade: x\r\nHTTP2-Settings: x\r\nTransfer-Encoding: chunked\r\nTrailer: a\r\n" +
				"bar: 2\r\nX_Forwarded-For: 1\r\nx_request_id: 1\r\nUser_Agent: 1\r\nX_Outrigger_A: 1\r\nX-Outrigger-Route: /\r\nx-outrigger-other: 1\r\nx-outrigge: 1\r\nConnection: trailer, nothing\r\n",
		);
		const fields = found["fields"] as { name: string; mark: number }[];
		assert.deepEqual(
			fields.map(({ name, mark }) => [name, mark]),
			[
				["Host", MARK.FORWARD],
				["Foo", MARK.NOMINATED],
				["Connection", MARK.HOP],
				["Keep-Alive", MARK.HOP],
				["TE", MARK.HOP],
				["Proxy-Connection", MARK.HOP],
				["Proxy-Authorization", MARK.HOP],
				["Upgrade", MARK.HOP],
				["HTTP2-Settings", MARK.HOP],
				["Transfer-Encoding", MARK.FORWARD],
				["Trailer", MARK.NOMINATED],
				["bar", MARK.NOMINATED],
				["X_Forwarded-For", MARK.ALIAS],
				["x_request_id", MARK.ALIAS],
				["User_Agent", MARK.FORWARD],
				["X_Outrigger_A", MARK.OURS],
				["X-Outrigger-Route", MARK.OURS],
				["x-outrigger-other", MARK.OURS],
				["x-outrigge", MARK.FORWARD],
				["Connection", MARK.HOP],
			],
		);
	});

	it("is known for CONNECT and TRACE too, so that the answer need not end it", () => {
		const trace = requestAtEverySplit(`TRACE / HTTP/1.1\r\n${HOST}Content-Length: 5\r\n\r\n`);
		assert.equal(trace.verdict, "method_not_allowed");
		assert.equal(trace.found?.["framing"], FRAMING.LENGTH);
		assert.equal(trace.found?.["keepAlive"], true);
		const connect = requestAtEverySplit("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n");
		assert.equal(connect.verdict, "method_not_allowed");
		assert.equal(connect.found?.["authority"], "a:443");
		assert.equal(connect.found?.["keepAlive"], false, "what follows may be a tunnel that the client believes to have");
	});
});

describe("whatever bytes arrive", () => {
	it("give the same verdict at random splits, never throw, and mean the same after an edit", () => {
		fc.assert(
			fc.property(fc.integer({ min: 0, max: 2 ** 31 - 1 }), (seed) => {
				fuzzHttp1(seededRandom(seed), 20);
			}),
			{ numRuns: 60 },
		);
	});

	it("never make the scanner throw, not even as raw octets", () => {
		fc.assert(
			fc.property(fc.uint8Array({ maxLength: 200 }), (octets) => {
				const bytes = Buffer.from(octets);
				assert.notEqual(readRequest(bytes).verdict, "internal");
			}),
			{ numRuns: 300 },
		);
	});
});
