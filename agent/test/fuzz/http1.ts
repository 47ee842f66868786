/**
 * Fuzz of the HTTP/1 parsers: messages made by a grammar that is right most of the time and wrong on purpose, mutated, cut at
 * random places. What must hold for every one of them:
 *
 * - no parser throws, and the cut never changes what is found;
 * - a request that is accepted, and edited as the agent edits it, is accepted again and means the same;
 * - no accepted request holds what the table in the design refuses: checked by a second, naive reading;
 * - a chunked body that is made is read back, whatever follows it, and every mutation of it is read the same at any split.
 *
 * Throws an AssertionError that holds the input; the caller prints its seed.
 */
import assert from "node:assert/strict";
import { writeChunkHeader } from "../../src/http1/chunked.ts";
import { HeadEdit } from "../../src/http1/head-edit.ts";
import { COMPLETE, MARK, RequestHead } from "../../src/http1/scan-head.ts";
import { LIMITS, NAMES, readChunked, readRequest, readResponse } from "./http1-reading.ts";

/** Numbers from 0 (included) to 1 (excluded). */
export type Random = () => number;

/** A small generator with a seed (mulberry32): the same seed gives the same run. */
export function seededRandom(seed: number): Random {
	let state = seed >>> 0;
	return () => {
		state = (state + 0x6d2b79f5) >>> 0;
		let t = Math.imul(state ^ (state >>> 15), state | 1);
		t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
		return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
	};
}

const below = (random: Random, n: number): number => Math.floor(random() * n);
const pick = (random: Random, from: readonly string[]): string => from[below(random, from.length)] ?? "";

const METHOD_TEXTS = [
	"GET",
	"GET",
	"POST",
	"HEAD",
	"PUT",
	"OPTIONS",
	"PATCH",
	"get",
	"FOO",
	"CONNECT",
	"TRACE",
	"G T",
	"",
];
const TARGET_TEXTS = [
	"/",
	"/a/b?c=d",
	"/%7B|{}",
	"/a?b?c",
	"*",
	"http://h/p?q",
	"http://h",
	"a:1",
	"/\xc3\xa4",
	"/a b",
	"//x",
];
const VERSION_TEXTS = ["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "http/1.1", "HTTP/1.1 "];
const FIELD_TEXTS = [
	"Host: shop:80",
	"Host: shop:80",
	"Host: shop:80",
	"Host: a b",
	"Content-Length: 5",
	"Content-Length: 05",
	"Content-Length: 5, 5",
	"Transfer-Encoding: chunked",
	"Transfer-Encoding: gzip, chunked",
	"transfer-encoding:\tchunked ",
	"Connection: keep-alive",
	"Connection: close, x-a",
	"Connection: upgrade",
	"Connection: content-length",
	"Upgrade: websocket",
	"Keep-Alive: timeout=3",
	"TE: trailers",
	"X-A: 1",
	"X-B:",
	"X-Outrigger-Route: /x",
	"X-Request-Id: abc",
	"Expect: 100-continue",
	" folded",
	"X C: 1",
	"X-D : 1",
	"X-E: a\tb\x80",
];
const NOISE = [
	"\0",
	"\t",
	"\n",
	"\r",
	"\r\n",
	" ",
	":",
	",",
	";",
	"\x0b",
	"\x7f",
	"\x80",
	"\xff",
	"%",
	"0",
	"chunked",
	"5",
];

function requestText(random: Random): string {
	let text = random() < 0.1 ? "\r\n" : "";
	text += `${pick(random, METHOD_TEXTS)} ${pick(random, TARGET_TEXTS)} ${pick(random, VERSION_TEXTS)}\r\n`;
	for (let n = below(random, 6); n >= 0; n--) text += `${pick(random, FIELD_TEXTS)}\r\n`;
	return `${text}\r\n`;
}

function responseText(random: Random): string {
	const status = pick(random, [
		"200 OK",
		"200",
		"204 No Content",
		"304 Not Modified",
		"101 Go",
		"100 ",
		"99 X",
		"1000 X",
	]);
	let text = `${pick(random, VERSION_TEXTS)} ${status}\r\n`;
	for (let n = below(random, 5); n > 0; n--) text += `${pick(random, FIELD_TEXTS)}\r\n`;
	return `${text}\r\n`;
}

function chunkedText(random: Random): { readonly text: string; readonly payload: string } {
	let text = "";
	let payload = "";
	const header = Buffer.alloc(16);
	for (let n = below(random, 4); n > 0; n--) {
		const data = "abc\r\n0\r\n\r\n".repeat(4).slice(0, 1 + below(random, 40));
		text += header.toString("latin1", 0, writeChunkHeader(data.length, header, 0) - 2);
		text += pick(random, ["", "", ";a", ';a="\\"b"; c=d', " ;a = b"].slice(0, 4));
		text += `\r\n${data}\r\n`;
		payload += data;
	}
	return { text: `${text}0\r\n${pick(random, ["", "", "X-Sum: 1\r\n", "A: b\r\nC: d\r\n"])}\r\n`, payload };
}

function mutate(random: Random, text: string): string {
	let out = text;
	for (let n = below(random, 3); n > 0; n--) {
		const at = below(random, out.length + 1);
		const cut = random() < 0.5 ? below(random, 3) : 0;
		out = out.slice(0, at) + (random() < 0.7 ? pick(random, NOISE) : "") + out.slice(at + cut);
	}
	return out;
}

function cutsOf(random: Random, length: number): readonly number[] {
	return Array.from({ length: below(random, 6) }, () => below(random, length + 1)).sort((a, b) => a - b);
}

/** The meaning that must survive an edit: what an app would act on. */
function meaning(found: Readonly<Record<string, unknown>> | undefined): unknown {
	const fields = (found?.["fields"] ?? []) as { name: string; value: string; mark: number }[];
	return {
		method: found?.["method"],
		target: found?.["target"],
		framing: found?.["framing"],
		contentLength: found?.["contentLength"],
		fields: fields.filter(({ mark }) => mark === MARK.FORWARD).map(({ name, value }) => [name, value]),
	};
}

const head = new RequestHead(LIMITS, NAMES);
const edit = new HeadEdit();

function checkRequest(bytes: Buffer, random: Random): void {
	const text = bytes.toString("latin1");
	const reading = readRequest(bytes);
	assert.deepEqual(readRequest(bytes, cutsOf(random, bytes.length)), reading, JSON.stringify(text));
	if (reading.verdict !== "complete") return;

	// A second, naive reading: nothing of what is refused got through.
	head.reset(0);
	assert.equal(head.scan(bytes, bytes.length), COMPLETE);
	const accepted = bytes.toString("latin1", head.start, head.end);
	assert.match(
		accepted,
		/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [^\x00-\x20\x7f]+ HTTP\/1\.[01]\r\n([^\x00-\x20\x7f:]+:[^\x00-\x08\x0a-\x1f\x7f]*\r\n)*\r\n$/,
	);
	const lengths = accepted.match(/^content-length:[\t ]*\d+[\t ]*\r$/gim)?.length ?? 0;
	const codings = accepted.match(/^transfer-encoding:[\t ]*chunked[\t ]*\r$/gim)?.length ?? 0;
	assert.equal(accepted.match(/^content-length:/gim)?.length ?? 0, lengths, JSON.stringify(text));
	assert.equal(accepted.match(/^transfer-encoding:/gim)?.length ?? 0, codings, JSON.stringify(text));
	assert.ok(lengths + codings <= 1, JSON.stringify(text));

	// parse → edit → parse
	edit.begin(bytes, head.start, head.end);
	for (let i = 0; i < head.fieldCount; i++) {
		if (head.mark(i) !== MARK.FORWARD) edit.cutField(head, i);
	}
	edit.put(Buffer.from("x-put: 1\r\n", "latin1"));
	const target = Buffer.alloc(edit.byteLength + 3);
	const end = edit.writeTo(target, 3);
	assert.equal(end, target.length);
	const again = readRequest(target, [], 3);
	assert.equal(again.verdict, "complete", JSON.stringify(text));
	const before = meaning(reading.found) as { fields: string[][] };
	assert.deepEqual(
		meaning(again.found),
		{ ...before, fields: [...before.fields, ["x-put", "1"]] },
		JSON.stringify(text),
	);
}

/** Runs `iterations` rounds; every round reads a request, a response and a chunked body. */
export function fuzzHttp1(random: Random, iterations: number): void {
	for (let i = 0; i < iterations; i++) {
		checkRequest(Buffer.from(mutate(random, requestText(random)), "latin1"), random);

		const response = Buffer.from(mutate(random, responseText(random)), "latin1");
		const methodId = below(random, 4);
		assert.deepEqual(
			readResponse(response, methodId, cutsOf(random, response.length)),
			readResponse(response, methodId),
			JSON.stringify(response.toString("latin1")),
		);

		const { text, payload } = chunkedText(random);
		const body = Buffer.from(`${text}GET`, "latin1");
		const read = readChunked(body, cutsOf(random, body.length));
		assert.deepEqual(
			[read.verdict, read.payload, read.consumed],
			["complete", payload, text.length],
			JSON.stringify(text),
		);
		const broken = Buffer.from(mutate(random, text), "latin1");
		assert.deepEqual(
			readChunked(broken, cutsOf(random, broken.length)),
			readChunked(broken),
			JSON.stringify(broken.toString("latin1")),
		);
	}
}
