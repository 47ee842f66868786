/**
 * What does it cost to read a head, and to edit it? Nanoseconds per head, on one thread, for heads as browsers, curl and wrk
 * send them, whole and cut into pieces; and what a call into the runtime costs for a small copy, which is where
 * `SMALL_COPY` of head-edit.ts comes from.
 *
 * `tsx agent/bench/scan-head.ts [rounds]`. The test beside it runs it with one round; the hash is over what was found,
 * not over time, so it is the same for the same sources.
 */
import { createHash } from "node:crypto";
import { pathToFileURL } from "node:url";
import { ChunkedScanner } from "../src/http1/chunked.ts";
import { FIELD, FieldNames } from "../src/http1/field-names.ts";
import { HeadEdit } from "../src/http1/head-edit.ts";
import { METHOD } from "../src/http1/methods.ts";
import { COMPLETE, MARK, RequestHead, ResponseHead } from "../src/http1/scan-head.ts";

const lines = (...all: string[]): Buffer => Buffer.from(all.join("\r\n") + "\r\n\r\n", "latin1");

/** Heads as their clients send them. */
export const HEADS: Readonly<Record<string, Buffer>> = {
	wrk: lines("GET /small HTTP/1.1", "Host: 127.0.0.1:9810"),
	curl: lines("GET /users/42?fields=name HTTP/1.1", "Host: orders.shop:9810", "User-Agent: curl/8.5.0", "Accept: */*"),
	browser: lines(
		"GET /api/v1/orders/8f14e45f?expand=items HTTP/1.1",
		"Host: shop.example.com",
		"Connection: keep-alive",
		"User-Agent: Mozilla/5.0 (X11; Linux x64; rv:140.0) Gecko/20100101 Firefox/140.0",
		"Accept: application/json, text/plain, */*",
		"Accept-Language: en-US,en;q=0.5",
		"Accept-Encoding: gzip, deflate, br, zstd",
		"Referer: https://shop.example.com/orders",
		"Sec-Fetch-Dest: empty",
		"Sec-Fetch-Mode: cors",
		"Sec-Fetch-Site: same-origin",
		"Cookie: session=0f5c1c3e9b7d4a6f8e2d1b0a9c8f7e6d",
	),
};

export const RESPONSE: Buffer = lines(
	"HTTP/1.1 200 OK",
	"X-Powered-By: Express",
	"Content-Type: application/json; charset=utf-8",
	"Content-Length: 41",
	'ETag: W/"29-mVtx5Qk3sLm0T7B0h9k1pJ7uG2c"',
	"Date: Mon, 23 Nov 2026 02:52:00 GMT",
	"Connection: keep-alive",
	"Keep-Alive: timeout=5",
);

export interface Measurement {
	readonly name: string;
	readonly nsEach: number;
}

export interface Outcome {
	readonly measurements: readonly Measurement[];
	/** SHA-256 over what the scanners found. */
	readonly hash: string;
}

const TURNS = 300;
const limits = { headBytesMax: 65536, headersMax: 128, targetBytesMax: 16384 };

/** Asks every question in `rounds` rounds of `TURNS` turns each. */
export function benchScanHead(rounds: number): Outcome {
	const measurements: Measurement[] = [];
	const hash = createHash("sha256");
	const names = new FieldNames(["x-request-id", "x-correlation-id", "x-tenant-id"]);
	const request = new RequestHead(limits, names);
	const response = new ResponseHead(limits, names);
	const edit = new HeadEdit();
	const target = Buffer.alloc(4096);
	const put = Buffer.from(
		"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n" +
			"x-request-id: 01939a6e-7c1d-7a3e-9c55-9d2f0b6a4e11\r\nx-forwarded-for: 10.0.0.7\r\n",
		"latin1",
	);

	const measure = (name: string, turn: () => number): void => {
		let found = turn();
		let nsEach = Number.POSITIVE_INFINITY;
		// The best of many short rounds: other work on the machine, and the compiler's, only ever adds.
		for (let round = 0; round < rounds; round++) {
			const before = process.hrtime.bigint();
			for (let i = 0; i < TURNS; i++) found = turn();
			nsEach = Math.min(nsEach, Number(process.hrtime.bigint() - before) / TURNS);
		}
		hash.update(`${name}=${found};`);
		measurements.push({ name, nsEach });
	};

	for (const [name, head] of Object.entries(HEADS)) {
		measure(`request, ${name}, ${head.length} B`, () => {
			request.reset(0);
			return request.scan(head, head.length) === COMPLETE ? request.end + request.fieldCount : -1;
		});
	}
	const browser = HEADS["browser"] ?? target;
	measure("request, browser, in 8 pieces", () => {
		request.reset(0);
		for (let i = 1; i < 8; i++) request.scan(browser, (browser.length * i) >> 3);
		return request.scan(browser, browser.length) === COMPLETE ? request.end : -1;
	});
	measure("request, browser, scan and edit", () => {
		request.reset(0);
		request.scan(browser, browser.length);
		edit.begin(browser, request.start, request.end);
		for (let i = 0; i < request.fieldCount; i++) {
			if (request.mark(i) !== MARK.FORWARD) edit.cutField(request, i);
		}
		edit.put(put);
		return edit.writeTo(target, 0);
	});
	measure(`response, ${RESPONSE.length} B`, () => {
		response.reset(0, METHOD.GET);
		return response.scan(RESPONSE, RESPONSE.length) === COMPLETE
			? response.contentLength + response.first(FIELD.DATE)
			: -1;
	});
	const chunks = Buffer.from("29\r\n" + "x".repeat(41) + "\r\n0\r\n\r\n", "latin1");
	const chunked = new ChunkedScanner(limits, names, "response");
	measure("chunked body, one small chunk", () => {
		chunked.reset();
		return chunked.scan(chunks, 0, chunks.length) === COMPLETE ? chunked.payloadBytes : -1;
	});

	for (const size of [8, 16, 32, 64, 128, 400]) {
		measure(`copy ${size} B: loop`, () => {
			for (let i = 0; i < size; i++) target[i] = browser[i] as number; // size ≤ browser.length
			return size;
		});
		measure(`copy ${size} B: set`, () => {
			target.set(browser.subarray(0, size), 0);
			return size;
		});
		measure(`copy ${size} B: copy`, () => browser.copy(target, 0, 0, size));
	}
	return { measurements, hash: hash.digest("hex") };
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
	const outcome = benchScanHead(Number(process.argv[2] ?? 1_500));
	for (const { name, nsEach } of outcome.measurements) {
		process.stdout.write(`${name.padEnd(36)}${nsEach.toFixed(1).padStart(9)} ns\n`);
	}
	process.stdout.write(`hash ${outcome.hash}\n`);
}
