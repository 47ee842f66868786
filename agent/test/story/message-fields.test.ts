import { strict as assert } from "node:assert";
import { test } from "node:test";
import { connect, field, fieldValues, ok, type Request, startApp, startPlane } from "./harness.ts";

/** One request through a plane; what the app got, and what the client got for `answer`. */
const exchange = async (raw: string, answer: string | Buffer = ok(), set: Record<string, string> = {}) => {
	let seen: Request | undefined;
	await using app = await startApp(async (wire) => {
		seen = await wire.request();
		wire.write(answer);
	});
	await using plane = await startPlane(app.port, { set });
	await using client = await connect(plane.port);
	client.write(raw);
	const response = await client.response();
	client.end();
	await plane.settle();
	assert.equal(plane.records.length, 1);
	if (seen === undefined) assert.fail("the app has not been asked");
	return { request: seen, response };
};

/** What the agent itself puts into a request. */
const OURS = new Set([
	"traceparent",
	"x-request-id",
	"x-correlation-id",
	"x-forwarded-for",
	"x-forwarded-proto",
	"x-forwarded-host",
]);
const given = (request: Request): string[] =>
	request.fields.filter(([name]) => !OURS.has(name)).map(([name, value]) => `${name}: ${value}`);

test("names keep their case, values their octets, lines their order, both ways", async () => {
	const lines = [
		"HoSt: A.example:8080",
		"X-OBS: caf\xe9 \xff\x80",
		"x-tab: a\tb",
		"X-Twice: 1",
		"x-TWICE: 2",
		"x-empty:",
		"Accept: */*",
	];
	const { request, response } = await exchange(
		`GET /caf\xc3\xa9|{}"<>^\`\\?q=\xff HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`,
		Buffer.from(`HTTP/1.1 299 Tr\xe8s bien\r\n${lines.slice(1).join("\r\n")}\r\nContent-LENGTH: 0\r\n\r\n`, "latin1"),
	);
	assert.equal(request.startLine, `GET /caf\xc3\xa9|{}"<>^\`\\?q=\xff HTTP/1.1`);
	assert.deepEqual(
		given(request),
		lines.map((line) => (line.endsWith(":") ? `${line} ` : line)),
	);
	assert.equal(response.startLine, "HTTP/1.1 299 Tr\xe8s bien");
	for (const line of lines.slice(1)) assert.ok(response.head.includes(`\r\n${line}\r\n`), line);
});

test("a head of exactly limits.head and of exactly limits.headers passes both ways", async () => {
	const start = "GET / HTTP/1.1\r\nhost: a\r\nx: ";
	const large = `${start}${"v".repeat(64 * 1024 - start.length - 4)}\r\n\r\n`;
	assert.equal(large.length, 64 * 1024);
	const answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ny: ";
	const { request, response } = await exchange(
		large,
		`${answer}${"w".repeat(64 * 1024 - answer.length - 4)}\r\n\r\nok`,
	);
	assert.equal(field(request, "x")?.length, 64 * 1024 - start.length - 4);
	assert.equal(field(response, "y")?.length, 64 * 1024 - answer.length - 4);

	const many = Array.from({ length: 127 }, (_, i) => `x-${i}: ${i}`);
	const both = await exchange(
		`GET / HTTP/1.1\r\nhost: a\r\n${many.join("\r\n")}\r\n\r\n`,
		`HTTP/1.1 200 OK\r\ncontent-length: 0\r\n${many.join("\r\n")}\r\n\r\n`,
	);
	assert.deepEqual(given(both.request).slice(1), many);
	for (const line of many) assert.ok(both.response.head.includes(`\r\n${line}\r\n`));
});

test("hop-by-hop fields and those that Connection names stop here, both ways", async () => {
	const hop = [
		"Connection: close, X-Named , ,x-other",
		"X-Named: 1",
		"x-other: 2",
		"X-OTHER: 3",
		"Keep-Alive: timeout=5",
		"Proxy-Connection: keep-alive",
		"Proxy-Authenticate: Basic",
		"Proxy-Authorization: Basic Zm9v",
		"Proxy-Authentication-Info: x",
		"TE: gzip",
		"Upgrade: websocket",
		"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
	];
	const { request, response } = await exchange(
		`GET / HTTP/1.1\r\nhost: a\r\nx-stays: 1\r\n${hop.join("\r\n")}\r\n\r\n`,
		`HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-stays: 1\r\n${hop.join("\r\n")}\r\n\r\nok`,
	);
	assert.deepEqual(given(request), ["host: a", "x-stays: 1"]);
	assert.deepEqual(
		response.fields.map(([name]) => name),
		["content-length", "x-stays", "x-request-id", "x-correlation-id", "connection"],
	);
	assert.equal(field(response, "connection"), "close");
});

test("TE keeps only `trailers`, and says so in Connection", async () => {
	for (const te of ["trailers", "gzip, Trailers", "trailers;q=1, trailers"]) {
		const { request } = await exchange(`GET / HTTP/1.1\r\nhost: a\r\nTE: ${te}\r\nconnection: te\r\n\r\n`);
		assert.deepEqual([fieldValues(request, "te"), fieldValues(request, "connection")], [["trailers"], ["te"]]);
	}
	const { request } = await exchange("GET / HTTP/1.1\r\nhost: a\r\nTE: gzip;q=0.5\r\n\r\n");
	assert.deepEqual([fieldValues(request, "te"), fieldValues(request, "connection")], [[], []]);
});

test("what begins with x-outrigger- is ours: removed from requests and from answers", async () => {
	const { request, response } = await exchange(
		"GET /raw HTTP/1.1\r\nhost: a\r\nX-Outrigger-Error: internal\r\nx-outrigger-anything: 1\r\nx-outrigge: 1\r\n\r\n",
		ok("", "x-outrigger-error: internal\r\nX-OUTRIGGER-Route: /r/{id}\r\nx-outrigger-x: 1\r\nx-outrigge: 1\r\n"),
	);
	assert.deepEqual(given(request), ["host: a", "x-outrigge: 1"]);
	assert.deepEqual(
		response.fields.map(([name]) => name),
		["content-length", "x-outrigge", "x-request-id", "x-correlation-id"],
	);
});

for (const [what, fields, expected] of [
	["both valid", "x-request-id: r\r\nx-correlation-id: c\r\n", ["r", "c"]],
	["only the request id", "X-Request-ID: r\r\n", ["r", "r"]],
	["only the correlation id", "x-correlation-id: c\r\n", ["c", "c"]],
	["one invalid", "x-request-id: a b\r\nx-correlation-id: c\r\n", ["c", "c"]],
	["one too long", `x-request-id: ${"i".repeat(129)}\r\nx-correlation-id: c\r\n`, ["c", "c"]],
	["one doubled", "x-request-id: r\r\nx-request-id: r\r\nx-correlation-id: c\r\n", ["c", "c"]],
	["one empty", "x-request-id:\r\nx-correlation-id: c\r\n", ["c", "c"]],
	["none", "", undefined],
	["both invalid", 'x-request-id: "x"\r\nx-correlation-id: \xe9\r\n', undefined],
	["both doubled", "x-request-id: a\r\nx-request-id: b\r\nx-correlation-id: a\r\nx-correlation-id: a\r\n", undefined],
] as const) {
	test(`ids: ${what}; the app and the client get the same, once, whatever the app says`, async () => {
		const { request, response } = await exchange(
			`GET / HTTP/1.1\r\nhost: a\r\n${fields}\r\n`,
			ok("", "X-Request-Id: of-the-app\r\nx-correlation-id: of-the-app\r\nx-correlation-id: again\r\n"),
		);
		const ids = [field(request, "x-request-id"), field(request, "x-correlation-id")];
		assert.deepEqual([field(response, "x-request-id"), field(response, "x-correlation-id")], ids);
		if (expected !== undefined) assert.deepEqual(ids, expected);
		else {
			assert.match(ids[0] ?? "", /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
			assert.equal(ids[0], ids[1]);
		}
	});
}

test("a valid traceparent is continued, an invalid or doubled one begins a new trace without tracestate", async () => {
	const trace = "0af7651916cd43dd8448eb211c80319c";
	const parent = `00-${trace}-b7ad6b7169203331-01`;
	const { request } = await exchange(`GET / HTTP/1.1\r\nhost: a\r\ntraceparent: ${parent}\r\ntracestate: a=1\r\n\r\n`);
	assert.match(field(request, "traceparent") ?? "", new RegExp(`^00-${trace}-(?!b7ad6b7169203331)[0-9a-f]{16}-01$`));
	assert.equal(field(request, "tracestate"), "a=1");
	for (const fields of ["traceparent: 00-x\r\n", `traceparent: ${parent}\r\ntraceparent: ${parent}\r\n`]) {
		const anew = await exchange(`GET / HTTP/1.1\r\nhost: a\r\n${fields}tracestate: a=1\r\n\r\n`);
		assert.match(
			field(anew.request, "traceparent") ?? "",
			new RegExp(`^00-(?!${trace})[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]$`),
		);
		assert.equal(field(anew.request, "tracestate"), undefined);
	}
});

for (const [target, origin] of [
	["http://b.example:81/x?y=http://z/", "/x?y=http://z/"],
	["HTTPS://b.example:81/", "/"],
	["http://b.example:81", "/"],
	["http://b.example:81?q", "/?q"],
] as const) {
	test(`absolute-form ${target}: its authority is the host, and the app gets ${origin}`, async () => {
		const { request } = await exchange(`GET ${target} HTTP/1.1\r\nhost: other\r\n\r\n`);
		assert.deepEqual([request.target, field(request, "host")], [origin, "b.example:81"]);
	});
}

test("OPTIONS * passes, and its absolute-form is `*` again", async () => {
	assert.equal((await exchange("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n")).request.target, "*");
	const { request } = await exchange("OPTIONS http://b HTTP/1.1\r\nhost: a\r\n\r\n");
	assert.deepEqual([request.target, field(request, "host")], ["*", "b"]);
});

test("OPTIONS counts max-forwards down, other methods and other values do not", async () => {
	for (const [method, sent, got] of [
		["OPTIONS", "10", "9"],
		["OPTIONS", "1", "0"],
		["OPTIONS", "x", "x"],
		["OPTIONS", "-1", "-1"],
		["GET", "5", "5"],
		["GET", "0", "0"],
	]) {
		const { request } = await exchange(`${method} / HTTP/1.1\r\nhost: a\r\nMax-Forwards: ${sent}\r\n\r\n`);
		assert.equal(field(request, "max-forwards"), got);
	}
});

test("OPTIONS with max-forwards 0 is answered here, with ids, and the connection goes on", async () => {
	await using app = await startApp(() => undefined);
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	for (let i = 0; i < 3; i++) {
		client.write(
			"OPTIONS * HTTP/1.1\r\nhost: a\r\nmax-forwards: 0\r\nx-request-id: mine\r\ncontent-length: 2\r\n\r\nhi",
		);
		const answer = await client.response("OPTIONS");
		assert.deepEqual(
			[answer.status, field(answer, "x-request-id"), field(answer, "connection")],
			[204, "mine", undefined],
		);
		assert.match(field(answer, "allow") ?? "", /OPTIONS/);
	}
	assert.equal(app.wires.length, 0);
	client.end();
	await plane.settle();
});

test("methods that nobody knows pass as they are, lower case and all", async () => {
	for (const method of ["get", "PROPFIND", "QUERY", "x-!#$%&'*+.^_`|~"]) {
		assert.equal((await exchange(`${method} / HTTP/1.1\r\nhost: a\r\n\r\n`)).request.method, method);
	}
});

test("a request without a Host in HTTP/1.0 and an empty Host in HTTP/1.1 pass", async () => {
	assert.equal(field((await exchange("GET / HTTP/1.1\r\nhost:\r\n\r\n")).request, "host"), "");
});

test("an upgrade that is not taken up leaves a connection on which requests go on, those written behind it included", async () => {
	await using app = await startApp(async (wire) => {
		for (;;) {
			const request = await wire.request();
			wire.write(
				ok(
					`${request.target} ${field(request, "upgrade") ?? "no upgrade"}`,
					"upgrade: websocket\r\nconnection: upgrade\r\n",
				),
			);
		}
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	client.write(
		"GET /1 HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n" +
			"GET /3 HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
	);
	for (const expected of ["/1 websocket", "/2 no upgrade", "/3 no upgrade"]) {
		const answer = await client.response();
		assert.equal(answer.body.toString(), expected);
		assert.equal(field(answer, "upgrade"), undefined);
	}
	client.end();
	await plane.settle();
});
