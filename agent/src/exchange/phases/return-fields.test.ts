import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CELL, Counters } from "../../bridge/counters.ts";
import { HeadEdit } from "../../http1/head-edit.ts";
import { METHOD } from "../../http1/methods.ts";
import { answered, arrived, type Ground, groundFrom } from "../exchange.fixture.ts";
import type { Exchange } from "../exchange.ts";
import { RouteTable } from "../route-table.ts";
import { ReturnFields } from "./return-fields.ts";

interface Outcome {
	readonly lines: readonly string[];
	readonly x: Exchange;
	readonly rejected: number;
}

const routes = new RouteTable({
	table: [],
	collapse: true,
	seriesMax: 100,
	policy: { bodyBytesMax: 1_000, responseMs: 1_000 },
});

/** What the client gets of a head of the app. */
const returned = (lines: readonly string[], ground: Ground = groundFrom()): Outcome => {
	const counters = Counters.allocate();
	const x = arrived(ground, ["GET /orders/7 HTTP/1.1", "host: a"]);
	x.requestIdBytes = Buffer.from("our-request");
	x.requestIdEnd = 11;
	x.correlationIdBytes = Buffer.from("our-conversation");
	x.correlationIdEnd = 16;
	const { head, bytes } = answered(ground, lines, METHOD.GET);
	const edit = new HeadEdit();
	edit.begin(bytes, head.start, head.end);
	new ReturnFields(ground.settings.identity, ground.names, routes, counters).apply(x, head, bytes, edit);
	const out = Buffer.alloc(edit.byteLength);
	assert.equal(edit.writeTo(out, 0), out.length);
	const text = out.toString("latin1");
	assert.ok(text.endsWith("\r\n\r\n"));
	return { lines: text.slice(0, -4).split("\r\n"), x, rejected: counters.get(CELL.ROUTE_HINTS_REJECTED) };
};

describe("the fields of a response on its way back", () => {
	test("are as the app wrote them, and the ids are those of the exchange", () => {
		const { lines } = returned([
			"HTTP/1.1 200 Fine",
			"Content-Length: 0",
			"X-Request-Id: the-app-made-this-up",
			"Set-Cookie: a=1",
			"x-correlation-id: and-this",
			"X-Request-ID: twice",
			"set-cookie: b=2",
		]);
		assert.deepEqual(lines, [
			"HTTP/1.1 200 Fine",
			"Content-Length: 0",
			"Set-Cookie: a=1",
			"set-cookie: b=2",
			"x-request-id: our-request",
			"x-correlation-id: our-conversation",
		]);
	});

	test("lose what is hop-by-hop, what Connection names, and what only the agent may say", () => {
		const { lines } = returned([
			"HTTP/1.1 200 OK",
			"content-length: 0",
			"connection: keep-alive, x-hop",
			"keep-alive: timeout=5",
			"x-hop: 1",
			"proxy-connection: keep-alive",
			"x-outrigger-error: app_refused",
			"x-stays: 1",
		]);
		assert.deepEqual(lines, [
			"HTTP/1.1 200 OK",
			"content-length: 0",
			"x-stays: 1",
			"x-request-id: our-request",
			"x-correlation-id: our-conversation",
		]);
	});

	test("have one id when one name serves for both, under the name that was configured", () => {
		const { lines } = returned(["HTTP/1.1 204 No Content", "x-trace: theirs"], groundFrom({}, ["x-trace"]));
		assert.deepEqual(lines, ["HTTP/1.1 204 No Content", "x-trace: our-request"]);
	});

	test("of a 1xx lose the same, and get no ids: they come with the answer", () => {
		const { lines } = returned([
			"HTTP/1.1 103 Early Hints",
			"link: </a.css>; rel=preload",
			"x-request-id: theirs",
			"x-outrigger-route: /a",
		]);
		assert.deepEqual(lines, ["HTTP/1.1 103 Early Hints", "link: </a.css>; rel=preload"]);
	});
});

describe("the route that the app names", () => {
	test("is taken for the metrics and goes no further", () => {
		const { lines, x, rejected } = returned([
			"HTTP/1.1 200 OK",
			"content-length: 0",
			"x-outrigger-route: /orders/{order}",
		]);
		assert.ok(!lines.some((line) => line.startsWith("x-outrigger-route")));
		assert.equal(x.route, "/orders/{order}");
		assert.equal(rejected, 0);
	});

	test("is counted and left when it is no template", () => {
		const { x, rejected } = returned(["HTTP/1.1 200 OK", "content-length: 0", "x-outrigger-route: no slash {"]);
		assert.equal(x.route, "");
		assert.equal(rejected, 1);
	});
});
