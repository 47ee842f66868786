import { strict as assert } from "node:assert";
import { after, test } from "node:test";
import { CELL } from "../../src/bridge/counters.ts";
import { FAULTS, type FaultReason } from "../../src/foundation/fault.ts";
import {
	answering,
	connect,
	field,
	MESSAGE_FAULTS,
	ok,
	type PlaneRun,
	piecesOf,
	type Response,
	splitPoints,
	startApp,
	startPlane,
} from "./harness.ts";

interface Refusal {
	readonly raw: string;
	readonly reason: FaultReason;
	/** The status that `data-path.md` promises: written here again, so that a change of `fault.ts` is seen. */
	readonly status: number;
}

const HOST = "host: a\r\n";
const get = (fields: string, status: number, reason: FaultReason): Refusal => ({
	raw: `GET / HTTP/1.1\r\n${HOST}${fields}\r\n\r\n`,
	status,
	reason,
});
const line = (first: string, status: number, reason: FaultReason): Refusal => ({
	raw: `${first}\r\n${HOST}\r\n`,
	status,
	reason,
});
const chunked = (body: string, status: number, reason: FaultReason): Refusal => ({
	raw: `POST / HTTP/1.1\r\n${HOST}transfer-encoding: chunked\r\n\r\n${body}`,
	status,
	reason,
});

/** Refused with the head; the app hears nothing of them. */
const HEADS: readonly Refusal[] = [
	line("GET / HTTP/1.1\n", 400, "head_bare_lf"),
	{ raw: `GET / HTTP/1.1\n${HOST}\r\n`, status: 400, reason: "head_bare_lf" },
	{ raw: "GET / HTTP/1.1\r\nhost: a\n\r\n", status: 400, reason: "head_bare_lf" },
	{ raw: "GET / HTTP/1.1\r\nhost: a\r\n\n", status: 400, reason: "head_bare_lf" },
	{ raw: "\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", status: 400, reason: "head_bare_lf" },
	{ raw: `GET / HTTP/1.1\r${HOST}\r\n`, status: 400, reason: "head_bare_cr" },
	{ raw: "GET / HTTP/1.1\r\nhost: a\rx: y\r\n\r\n", status: 400, reason: "head_bare_cr" },
	{ raw: "GET / HTTP/1.1\r\nhost: a\r\n\rx", status: 400, reason: "head_bare_cr" },
	get("x: a\0b", 400, "head_control_character"),
	get("x: a\x7fb", 400, "head_control_character"),
	get("x: a\x1bb", 400, "head_control_character"),
	get("x: a\r\n b", 400, "head_obs_fold"),
	get("x: a\r\n\tb", 400, "head_obs_fold"),
	{ raw: `GET / HTTP/1.1\r\n ${HOST}\r\n`, status: 400, reason: "head_obs_fold" },
	get("x : a", 400, "head_space_before_colon"),
	get("content-length\t: 5", 400, "head_space_before_colon"),
	get(": a", 400, "head_field_name"),
	get("x\0y: a", 400, "head_field_name"),
	get("x\xe9: a", 400, "head_field_name"),
	get("no colon", 400, "head_space_before_colon"),
	get("nocolon", 400, "head_field_name"),
	get("(x): a", 400, "head_field_name"),
	get("Content_Length: 1", 400, "head_field_alias"),
	get("transfer_encoding: chunked", 400, "head_field_alias"),
	{ raw: `\r\n\r\nGET / HTTP/1.1\r\n${HOST}\r\n`, status: 400, reason: "head_leading_bytes" },
	line(" GET / HTTP/1.1", 400, "head_method"),
	line("\0GET / HTTP/1.1", 400, "head_method"),
	line("G@T / HTTP/1.1", 400, "head_method"),
	line("GET\t/ HTTP/1.1", 400, "head_method"),
	line("\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", 400, "head_method"),
	line("GET", 400, "head_request_line"),
	line("GET /", 400, "head_request_line"),
	line("GET / HTTP/1.1 ", 400, "head_request_line"),
	line("GET / HTTP/11", 400, "head_request_line"),
	line("GET / http/1.1", 400, "head_request_line"),
	line("GET / FTP/1.1", 400, "head_request_line"),
	line("GET  / HTTP/1.1", 400, "head_target"),
	line("GET /a b HTTP/1.1", 400, "head_request_line"),
	line("GET /a\tb HTTP/1.1", 400, "head_target"),
	line("GET /a\0b HTTP/1.1", 400, "head_target"),
	line("GET /a\x7f HTTP/1.1", 400, "head_target"),
	line("GET a HTTP/1.1", 400, "head_target"),
	line("GET * HTTP/1.1", 400, "head_target"),
	line("GET http:/// HTTP/1.1", 400, "head_target"),
	line("GET http://user@a/ HTTP/1.1", 400, "head_target"),
	line("GET ftp://a/ HTTP/1.1", 400, "head_target"),
	{ raw: "GET / HTTP/1.1\r\n\r\n", status: 400, reason: "host_missing" },
	get("Host: a", 400, "host_repeated"),
	{ raw: "GET / HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n", status: 400, reason: "host_repeated" },
	...["a b", "a/b", "a@b", ":80", "a:b", "[::1", "<a>", "a\xe9", "a%zz"].map(
		(host): Refusal => ({ raw: `GET / HTTP/1.1\r\nhost: ${host}\r\n\r\n`, status: 400, reason: "host_invalid" }),
	),
	get("content-length: 1\r\ntransfer-encoding: chunked", 400, "length_and_coding"),
	get("transfer-encoding: chunked\r\ncontent-length: 1", 400, "length_and_coding"),
	get("content-length: 1\r\ncontent-length: 1", 400, "length_repeated"),
	get("content-length: 1\r\ncontent-length: 2", 400, "length_repeated"),
	get("content-length: 1, 1", 400, "length_repeated"),
	...["", "+1", "-1", "1a", "0x1", "1 1", "9007199254740992", "99999999999999999999", "1.0", "\xb2"].map((length) =>
		get(`content-length: ${length}`, 400, "length_invalid"),
	),
	{ raw: "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", status: 400, reason: "coding_in_http10" },
	get("transfer-encoding: ", 400, "coding_invalid"),
	get("transfer-encoding: ,", 400, "coding_invalid"),
	get("transfer-encoding: chunked;q=1", 400, "coding_invalid"),
	get('transfer-encoding: "chunked"', 400, "coding_invalid"),
	get("transfer-encoding: \x0bchunked", 400, "head_control_character"),
	get("transfer-encoding: chunked, gzip", 400, "coding_not_final"),
	get("transfer-encoding: chunked, chunked", 400, "coding_not_final"),
	get("transfer-encoding: chunked\r\ntransfer-encoding: chunked", 400, "coding_not_final"),
	get("transfer-encoding: gzip, chunked", 501, "coding_unsupported"),
	get("transfer-encoding: identity", 501, "coding_unsupported"),
	get("transfer-encoding: xchunked", 501, "coding_unsupported"),
	...[
		"host",
		"Content-Length",
		"transfer-encoding",
		"authorization",
		"cookie",
		"forwarded",
		"x-forwarded-for",
		"X-Forwarded-Anything",
		"x-real-ip",
		"traceparent",
		"x-request-id",
		"x-correlation-id",
		"x-tenant-id",
	].map((name) => get(`connection: close, ${name}`, 400, "connection_names_field")),
	line("GET / HTTP/2.0", 505, "head_version"),
	line("GET / HTTP/1.2", 505, "head_version"),
	line("GET / HTTP/0.9", 505, "head_version"),
	line("PRI * HTTP/2.0", 505, "head_version"),
	{ raw: `GET /${"t".repeat(16 * 1024)} HTTP/1.1\r\n${HOST}\r\n`, status: 414, reason: "head_target_too_long" },
	get(`x: ${"v".repeat(64 * 1024)}`, 431, "head_too_large"),
	{ raw: `${"M".repeat(65 * 1024)} / HTTP/1.1\r\n${HOST}\r\n`, status: 431, reason: "head_too_large" },
	get(Array.from({ length: 128 }, (_, i) => `x-${i}: ${i}`).join("\r\n"), 431, "head_too_many_fields"),
	get(`connection: ${Array.from({ length: 129 }, (_, i) => `x-${i}`).join(",")}`, 431, "head_too_many_fields"),
	{ raw: `CONNECT a:443 HTTP/1.1\r\n${HOST}\r\n`, status: 405, reason: "method_not_allowed" },
	line("TRACE / HTTP/1.1", 405, "method_not_allowed"),
	{ raw: `POST / HTTP/1.1\r\n${HOST}content-length: 4097\r\n\r\n`, status: 413, reason: "body_too_large" },
];

/** Refused after the head may have gone to the app, which then never gets a whole request. */
const BODIES: readonly Refusal[] = [
	...["", " 5", "5 ", "0x5", "-5", "g", "5\t", "11111111111111111", "20000000000000"].map((size) =>
		chunked(`${size}\r\nhello\r\n0\r\n\r\n`, 400, "chunk_size"),
	),
	chunked("5\nhello\r\n0\r\n\r\n", 400, "chunk_size"),
	chunked("5;\r\nhello\r\n0\r\n\r\n", 400, "chunk_extension"),
	chunked("5;a=\r\nhello\r\n0\r\n\r\n", 400, "chunk_extension"),
	chunked('5;a="x\r\nhello\r\n0\r\n\r\n', 400, "chunk_extension"),
	chunked("5;a\nhello\r\n0\r\n\r\n", 400, "chunk_extension"),
	chunked(`5;${"x".repeat(66 * 1024)}\r\nhello\r\n0\r\n\r\n`, 400, "chunk_extension"),
	chunked("5\rXhello\r\n0\r\n\r\n", 400, "chunk_framing"),
	chunked("5\r\nhello\n0\r\n\r\n", 400, "chunk_framing"),
	chunked("5\r\nhelloX\r\n0\r\n\r\n", 400, "chunk_framing"),
	chunked("5\r\nhello\rX0\r\n\r\n", 400, "chunk_framing"),
	...[
		"content-length: 5",
		"transfer-encoding: chunked",
		"host: b",
		"x-forwarded-for: b",
		"x-request-id: b",
		"x-outrigger-route: /b",
		"x y: z",
		"x: y\r\n z",
		"x: a\0b",
	].map((trailer) => chunked(`1\r\nx\r\n0\r\n${trailer}\r\n\r\n`, 400, "trailer_field")),
	chunked("0\r\nx: y\n\r\n", 400, "trailer_field"),
	chunked("0\r\n\rX", 400, "trailer_field"),
	chunked(`1001\r\n${"b".repeat(0x1001)}\r\n0\r\n\r\n`, 413, "body_too_large"),
];

const reached = new Set<FaultReason>();

const SET = { "limits.body": "4KiB" };
const ID = /^[A-Za-z0-9._:+/=-]{1,128}$/;

const assertProblem = (answer: Response, { status, reason }: Omit<Refusal, "raw">): void => {
	assert.deepEqual([answer.status, field(answer, "x-outrigger-error")], [status, reason]);
	assert.equal(field(answer, "content-type"), "application/problem+json");
	const requestId = field(answer, "x-request-id") ?? "";
	assert.match(requestId, ID);
	assert.match(field(answer, "x-correlation-id") ?? "", ID);
	const { trace_id: traceId, ...problem } = JSON.parse(answer.body.toString()) as Record<string, unknown>;
	assert.match(String(traceId), /^[0-9a-f]{32}$/);
	assert.deepEqual(problem, {
		type: `https://outrigger.dev/errors/${reason}`,
		title: problem["title"],
		status,
		detail: FAULTS[reason].detail,
		reason,
		request_id: requestId,
		correlation_id: field(answer, "x-correlation-id"),
	});
	assert.equal(field(answer, "retry-after"), status === 503 ? "1" : undefined);
	if (status === 405) assert.match(field(answer, "allow") ?? "", /GET.*POST/);
	reached.add(reason);
};

/** One connection, one message, cut at that place (0: nowhere); what comes back, and that nothing but it comes. */
const refuse = async (plane: PlaneRun, refusal: Refusal, cut: number): Promise<Response> => {
	await using client = await connect(plane.port);
	await client.writePieces(cut === 0 ? piecesOf(refusal.raw) : piecesOf(refusal.raw, cut));
	const answer = await client.response(refusal.raw.startsWith("HEAD") ? "HEAD" : "GET");
	const keeps = refusal.raw.startsWith("TRACE");
	assert.equal(field(answer, "connection"), keeps ? undefined : "close");
	if (!keeps) {
		const { bytes, isClean } = await client.rest();
		assert.deepEqual([bytes.length, isClean], [0, true]);
	}
	return answer;
};

const nameOf = ({ raw, status, reason }: Refusal): string =>
	`${status} ${reason}: ${JSON.stringify(raw.length > 90 ? `${raw.slice(0, 45)}…${raw.slice(-40)}` : raw)}`;

for (const refusal of HEADS) {
	test(`refused wherever it is cut: ${nameOf(refusal)}`, async () => {
		await using app = await startApp(() => undefined);
		await using plane = await startPlane(app.port, { set: SET });
		const cuts = [0, ...splitPoints(refusal.raw.length, 10)];
		for (const cut of cuts) assertProblem(await refuse(plane, refusal, cut), refusal);
		assert.equal(app.wires.length, 0, "the app hears nothing of it");
		await plane.settle();
		assert.equal(plane.records.length, cuts.length, "one record for each");
		for (const record of plane.records) {
			assert.deepEqual([record.status, plane.reasonOf(record)], [refusal.status, refusal.reason]);
		}
		const refused = CELL.REFUSED_START + FAULTS[refusal.reason].index;
		assert.equal(plane.counters.get(refused), cuts.length);
	});
}

for (const refusal of BODIES) {
	test(`refused wherever it is cut, and never whole at the app: ${nameOf(refusal)}`, async () => {
		let whole = 0;
		await using app = await startApp(async (wire) => {
			await wire.request().then(
				() => whole++,
				() => undefined, // cut, as it has to be
			);
		});
		await using plane = await startPlane(app.port, { set: SET });
		const cuts = [0, ...splitPoints(refusal.raw.length, 10)];
		for (const cut of cuts) assertProblem(await refuse(plane, refusal, cut), refusal);
		await plane.settle();
		assert.equal(whole, 0);
		for (const record of plane.records) {
			assert.deepEqual([record.status, plane.reasonOf(record)], [refusal.status, refusal.reason]);
		}
	});
}

const HEAD_OF = "HTTP/1.1 200 OK\r\n";
/** What an app may say instead of an answer. `isWholeHead`: its nonsense is in the body, and only in one piece is it a 502. */
const NONSENSE: readonly { readonly raw: string; readonly reason: FaultReason; readonly isBody?: true }[] = [
	...[
		"hello\r\n\r\n",
		"HTTP/2 200 OK\r\n\r\n",
		"HTTP/1.2 200 OK\r\n\r\n",
		"HTTP/1.1 20 OK\r\n\r\n",
		"HTTP/1.1 2000 OK\r\n\r\n",
		"HTTP/1.1 099 OK\r\n\r\n",
		"HTTP/1.1  200 OK\r\n\r\n",
		" HTTP/1.1 200 OK\r\n\r\n",
		"\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\ncontent-length: 0\r\n\r\n",
		"HTTP/1.1 200 O\0K\r\n\r\n",
		`${HEAD_OF}x : y\r\n\r\n`,
		`${HEAD_OF}: y\r\n\r\n`,
		`${HEAD_OF}x: y\r\n z\r\n\r\n`,
		`${HEAD_OF}x: y\n\r\n`,
		`${HEAD_OF}x: a\rset-cookie: b\r\n\r\n`,
		`${HEAD_OF}x: a\0b\r\n\r\n`,
	].map((raw) => ({ raw, reason: "app_head_invalid" as const })),
	...[
		"content-length: 1\r\ncontent-length: 1",
		"content-length: 1, 1",
		"content-length: -1",
		"content-length: x",
		"content-length: 1\r\ntransfer-encoding: chunked",
		"transfer-encoding: chunked\r\ncontent-length: 1",
		"transfer-encoding: gzip, chunked",
		"transfer-encoding: gzip",
		"transfer-encoding: chunked\r\ntransfer-encoding: chunked",
		"connection: transfer-encoding\r\ntransfer-encoding: chunked",
		"connection: content-length\r\ncontent-length: 1",
	].map((fields) => ({ raw: `${HEAD_OF}${fields}\r\n\r\n`, reason: "app_framing_invalid" as const })),
	{ raw: "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", reason: "app_framing_invalid" },
	...["x\r\n", "5 \r\nhello", "5\nhello", "5\r\nhelloXX", "0\r\ncontent-length: 5\r\n\r\n", "0\r\n\rX"].map((body) => ({
		raw: `${HEAD_OF}transfer-encoding: chunked\r\n\r\n${body}`,
		reason: "app_framing_invalid" as const,
		isBody: true as const,
	})),
	{ raw: `${HEAD_OF}x: ${"v".repeat(66 * 1024)}`, reason: "app_head_too_large" },
	{ raw: `${HEAD_OF}${"x: y\r\n".repeat(129)}\r\n`, reason: "app_head_too_large" },
	{
		raw: "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
		reason: "app_upgrade_unasked",
	},
	{ raw: "HTTP/1.1 101 Switching Protocols\r\n\r\n", reason: "app_upgrade_unasked" },
];

for (const { raw, reason, isBody } of NONSENSE) {
	const shown = raw.length > 90 ? `${raw.slice(0, 45)}…` : raw;
	test(`an app that says ${JSON.stringify(shown)} is a 502 ${reason}, and never a whole answer`, async () => {
		const cuts = [0, ...splitPoints(raw.length, 10)];
		await using app = await startApp(async (wire, index) => {
			await wire.request();
			const cut = cuts[index] ?? 0;
			await wire.writePieces(cut === 0 ? piecesOf(raw) : piecesOf(raw, cut));
		});
		await using plane = await startPlane(app.port);
		let refused = 0;
		for (const cut of cuts) {
			await using client = await connect(plane.port);
			client.write(`POST / HTTP/1.1\r\n${HOST}content-length: 0\r\n\r\n`);
			await client.until(() => client.unread.length > 0 || client.isClosed, "an answer or a cut");
			if (isBody === true && cut > 0 && client.unread.toString("latin1", 9, 12) !== "502") {
				await assert.rejects(client.response(), /ended in the middle|ended before/);
				assert.equal(client.error, "ECONNRESET");
				continue;
			}
			refused++;
			assertProblem(await client.response(), { status: 502, reason });
			client.end();
		}
		assert.ok(refused > 0);
		await plane.settle();
		for (const record of plane.records) assert.equal(plane.reasonOf(record), reason);
		assert.equal(plane.counters.get(CELL.UPSTREAM_FAILED_START + FAULTS[reason].index), cuts.length);
		assert.equal(plane.counters.get(CELL.ANSWERED), refused);
	});
}

for (const [how, reason] of [
	["closes without a word", "app_closed"],
	["closes after a 100", "app_closed"],
	["closes in its head", "app_head_invalid"],
	["resets without a word", "app_reset"],
	["resets in its head", "app_head_invalid"],
] as const) {
	test(`an app that ${how} is a 502 ${reason}, and the client's connection goes on`, async () => {
		await using app = await startApp(async (wire, index) => {
			await wire.request();
			if (index % 2 === 1) return wire.write(ok("fine", "connection: close\r\n"));
			if (how.includes("100")) wire.write("HTTP/1.1 100 Continue\r\n\r\n");
			if (how.includes("head")) await wire.writePieces(piecesOf("HTTP/1.1 200 OK\r\ncontent-le"));
			if (how.startsWith("resets")) {
				// An RST overtakes what the agent has not read: give it the turn to read.
				await new Promise((resolve) => setTimeout(resolve, 20));
				wire.reset();
			} else wire.end();
		});
		await using plane = await startPlane(app.port);
		await using client = await connect(plane.port);
		for (let i = 0; i < 3; i++) {
			client.write(`POST / HTTP/1.1\r\n${HOST}content-length: 1\r\n\r\nx`);
			const answer = await client.response();
			assertProblem(answer, { status: 502, reason });
			assert.equal(field(answer, "connection"), undefined);
			client.write(`GET / HTTP/1.1\r\n${HOST}\r\n`);
			assert.equal((await client.response()).body.toString(), "fine");
		}
		client.end();
		await plane.settle();
		assert.equal(plane.records.length, 6);
	});
}

test("ids that came with a refused request are in its answer", async () => {
	await using app = await startApp(() => undefined);
	await using plane = await startPlane(app.port, { set: SET });
	await using client = await connect(plane.port);
	client.write(`TRACE / HTTP/1.1\r\n${HOST}x-request-id: mine\r\nx-correlation-id: ours\r\n\r\n`);
	const answer = await client.response();
	assert.deepEqual([field(answer, "x-request-id"), field(answer, "x-correlation-id")], ["mine", "ours"]);
	client.write(`POST / HTTP/1.1\r\n${HOST}x-request-id: big\r\ncontent-length: 5000\r\n\r\n`);
	assert.equal(field(await client.response(), "x-request-id"), "big");
});

test("a refused HEAD has no body and says the length of what it leaves out", async () => {
	await using app = await startApp(() => undefined);
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	client.write(`HEAD / HTTP/1.1\r\n${HOST}x : y\r\n\r\n`);
	const answer = await client.response("HEAD");
	assert.equal(answer.status, 400);
	assert.ok(Number(field(answer, "content-length")) > 100);
	assert.equal((await client.rest()).bytes.length, 0);
});

test("a good request before a bad one on the same connection is answered first, and what follows the bad one is not looked at", async () => {
	await using app = await startApp(answering(ok("good")));
	await using plane = await startPlane(app.port);
	for (const cut of splitPoints(80)) {
		await using client = await connect(plane.port);
		const raw = `GET /1 HTTP/1.1\r\n${HOST}\r\nGET /2 HTTP/1.1\r\n${HOST}x : y\r\n\r\nGET /3 HTTP/1.1\r\n${HOST}\r\n`;
		await client.writePieces(piecesOf(raw, cut));
		assert.equal((await client.response()).body.toString(), "good");
		assert.equal((await client.response()).status, 400);
		assert.deepEqual(await client.rest(), { bytes: Buffer.alloc(0), isClean: true });
	}
	await plane.settle();
	assert.equal(plane.records.length, 2 * 79);
});

after(() => {
	const missing = MESSAGE_FAULTS.filter((reason) => !reached.has(reason));
	assert.deepEqual(missing, [], "every fault that messages bring about is reached by a story");
});
