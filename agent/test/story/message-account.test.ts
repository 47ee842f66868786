import { strict as assert } from "node:assert";
import { test } from "node:test";
import { connect, eventually, field, ok, type Response, startAgent, startApp } from "./harness.ts";

/** Value of the sample with that name and all these labels; 0 when there is none. Several are added up. */
const sample = (page: string, name: string, labels: Readonly<Record<string, string>> = {}): number => {
	let sum = 0;
	for (const line of page.split("\n")) {
		if (!line.startsWith(`${name}{`) && !line.startsWith(`${name} `)) continue;
		if (Object.entries(labels).every(([key, value]) => line.includes(`${key}="${value}"`))) {
			sum += Number(
				/} ([0-9.e+-]+)|^\S+ ([0-9.e+-]+)/
					.exec(line)
					?.slice(1)
					.find((text) => text !== undefined),
			);
		}
	}
	return sum;
};

test("access lines and metrics of the whole agent say what the clients saw, one for each exchange", async () => {
	await using app = await startApp(async (wire) => {
		for (;;) {
			const { target, body } = await wire.request();
			if (target === "/nonsense") wire.write("nonsense\r\n\r\n");
			else if (target === "/cut") {
				wire.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
				wire.end();
			} else if (target === "/missing") wire.write("HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnone");
			else wire.write(ok(body.length > 0 ? body : "hello", "x-outrigger-route: /named/{it}\r\n"));
		}
	});
	await using agent = await startAgent(app.port);
	const seen: { readonly status: number; readonly answer: Response | undefined }[] = [];

	const ask = async (raw: string, method = "GET"): Promise<void> => {
		await using client = await connect(agent.port);
		client.write(raw);
		const answer = await client.response(method).catch(() => undefined);
		seen.push({ status: answer?.status ?? Number(client.unread.toString("latin1", 9, 12) || "200"), answer });
		client.end();
		await client.closed();
	};
	await ask(
		"GET /named/1?secret=1 HTTP/1.1\r\nhost: a\r\nuser-agent: t\xe9st\r\nx-request-id: r1\r\nx-correlation-id: c1\r\n\r\n",
	);
	await ask("POST /named/2 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
	await ask("GET /missing HTTP/1.0\r\n\r\n");
	await ask("GET /nonsense HTTP/1.1\r\nhost: a\r\n\r\n");
	await ask("GET /cut HTTP/1.1\r\nhost: a\r\n\r\n");
	await ask("GET / HTTP/1.1\r\nhost: a\r\nx : y\r\n\r\n");
	await ask("\x16\x03\x01garbage\r\n\r\n");
	await ask("GET / HTTP/3.0\r\n\r\n");
	await ask("TRACE / HTTP/1.1\r\nhost: a\r\n\r\n");
	await ask("HEAD /gone HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n", "HEAD");
	{
		await using client = await connect(agent.port);
		client.write("POST /aborted HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf");
		await eventually(() => app.wires.some((wire) => wire.unread.includes("half")), "the half body to be at the app");
		client.reset();
	}

	const lines = await agent.accessLines(seen.length + 1);
	const brief = lines.map((line) =>
		[
			line["http.request.method"],
			line["url.path"],
			line["http.response.status_code"],
			line["error.type"],
			line["ended_by"],
			line["http.request.body.size"],
			line["http.response.body.size"],
			line["network.protocol.version"],
		].map((value) => value ?? "-"),
	);
	assert.deepEqual(brief.slice(0, 4), [
		["GET", "/named/1", 200, "-", "app", 0, 5, "1.1"],
		["POST", "/named/2", 200, "-", "app", 3, 3, "1.1"],
		["GET", "/missing", 404, "-", "app", 0, 4, "1.0"],
		["GET", "/nonsense", 502, "app_head_invalid", "app", 0, seen[3]?.answer?.body.length, "1.1"],
	]);
	assert.deepEqual(brief[4]?.slice(0, 5), ["GET", "/cut", 200, "app_truncated", "app"]);
	assert.deepEqual(brief[4]?.[6], 4);
	assert.deepEqual(
		brief.slice(5, 10).map((line) => [line[0], line[2], line[3], line[4]]),
		[
			["GET", 400, "head_space_before_colon", "agent"],
			["-", 400, "head_method", "agent"],
			["GET", 505, "head_version", "agent"],
			["TRACE", 405, "method_not_allowed", "agent"],
			["HEAD", 400, "length_repeated", "agent"],
		],
	);
	assert.deepEqual(
		[brief[10]?.[1], brief[10]?.[2], brief[10]?.[3], brief[10]?.[4]],
		["/aborted", "-", "client_closed", "client"],
	);
	for (const [i, { answer, status }] of seen.entries()) {
		assert.equal(lines[i]?.["http.response.status_code"], status);
		if (answer === undefined) continue;
		assert.equal(lines[i]?.["http.response.body.size"], answer.body.length);
		assert.equal(lines[i]?.["request_id"], field(answer, "x-request-id"));
		assert.equal(lines[i]?.["correlation_id"], field(answer, "x-correlation-id"));
		assert.equal(lines[i]?.["error.type"], field(answer, "x-outrigger-error"));
	}
	assert.equal(lines[0]?.["http.route"], "/named/{it}");
	assert.equal(lines[0]?.["url.query"], undefined);

	const page = (await agent.ops("/metrics")).text;
	const count = "http_server_request_duration_seconds_count";
	assert.equal(sample(page, count), 11, "a sample for each exchange");
	assert.equal(sample(page, count, { http_route: "/named/{it}", http_response_status_code: "200" }), 2);
	assert.equal(sample(page, count, { http_response_status_code: "404" }), 1);
	assert.equal(sample(page, count, { error_type: "app_truncated" }), 1);
	assert.equal(sample(page, count, { error_type: "client_closed" }), 1);
	for (const reason of [
		"head_space_before_colon",
		"head_method",
		"head_version",
		"method_not_allowed",
		"length_repeated",
		"client_closed",
	]) {
		assert.equal(sample(page, "outrigger_refused_total", { reason }), 1, reason);
	}
	for (const reason of ["app_head_invalid", "app_truncated"]) {
		assert.equal(sample(page, "outrigger_upstream_failures_total", { reason }), 1, reason);
	}
	assert.equal(sample(page, "http_server_active_requests"), 0);
	assert.equal(sample(page, "outrigger_connections", { side: "downstream" }), 0);
	assert.equal(sample(page, "outrigger_connections_opened_total", { side: "downstream" }), 11);
});
