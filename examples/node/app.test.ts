import assert from "node:assert/strict";
import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { afterEach, beforeEach, describe, test } from "node:test";
import { type App, createApp } from "./app.ts";
import { openapi } from "./openapi.ts";
import { createOrders, ORDERS_MAX, type Orders } from "./orders.ts";

describe("the orders API", () => {
	let orders: Orders;
	let app: App;
	let base: string;

	beforeEach(async () => {
		orders = createOrders(() => new Date("2026-01-01T00:00:00Z"));
		app = createApp({ orders, invoiceLineMs: 1, heartbeatMs: 5 });
		app.server.listen(0, "127.0.0.1");
		await once(app.server, "listening");
		base = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
	});

	afterEach(async () => {
		app.server.closeAllConnections();
		await app.stop();
	});

	const create = (order: unknown): Promise<Response> =>
		fetch(`${base}/orders`, { method: "POST", body: typeof order === "string" ? order : JSON.stringify(order) });

	test("an order that is made is found under its location and in the list, the newest first", async () => {
		const first = await create({ item: "rope", quantity: 2 });
		assert.equal(first.status, 201);
		assert.deepEqual(await first.json(), { id: 1, item: "rope", quantity: 2, createdAt: "2026-01-01T00:00:00.000Z" });
		await create({ item: "sail" });

		const found = await fetch(base + (first.headers.get("location") ?? ""));
		assert.equal(found.status, 200);
		assert.equal(((await found.json()) as { item: string }).item, "rope");

		const list = (await (await fetch(`${base}/orders`)).json()) as readonly { item: string }[];
		assert.deepEqual(
			list.map(({ item }) => item),
			["sail", "rope"],
		);
		const short = (await (await fetch(`${base}/orders?limit=1`)).json()) as readonly unknown[];
		assert.equal(short.length, 1);
	});

	for (const [body, field] of [
		["not json", "body"],
		["[1", "body"],
		["null", "body"],
		[{}, "item"],
		[{ item: "" }, "item"],
		[{ item: "x".repeat(201) }, "item"],
		[{ item: "rope", quantity: 0 }, "quantity"],
		[{ item: "rope", quantity: 1.5 }, "quantity"],
		[{ item: "rope", quantity: "2" }, "quantity"],
	] as const) {
		test(`an order of ${JSON.stringify(body).slice(0, 40)} is refused and says that it is because of its ${field}`, async () => {
			const answer = await create(body);
			assert.equal(answer.status, 400);
			assert.equal(answer.headers.get("content-type"), "application/problem+json");
			assert.ok(((await answer.json()) as { detail: string }).detail.startsWith(`${field}: `));
			assert.equal(orders.created, 0);
		});
	}

	test("a body above 64 KiB is refused with 413", async () => {
		const answer = await create(JSON.stringify({ item: "x".repeat(70_000) }));
		assert.equal(answer.status, 413);
		assert.equal(orders.created, 0);
	});

	for (const [target, status] of [
		["/orders/7", 404],
		["/orders/7/invoice", 404],
		["/orders/abc", 404],
		["/nothing", 404],
		["/orders?limit=0", 400],
		["/orders?limit=many", 400],
	] as const) {
		test(`GET ${target} is answered with ${status}`, async () => {
			const answer = await fetch(base + target);
			assert.equal(answer.status, status);
			assert.ok(((await answer.json()) as { detail: string }).detail.length > 0);
		});
	}

	test("a method that a path does not have is answered with 405 and the ones it has", async () => {
		const answer = await fetch(`${base}/orders`, { method: "DELETE" });
		assert.equal(answer.status, 405);
		assert.equal(answer.headers.get("allow"), "GET, POST");
	});

	test("HEAD is answered like GET, without a body", async () => {
		const answer = await fetch(`${base}/health`, { method: "HEAD" });
		assert.equal(answer.status, 200);
		assert.equal(await answer.text(), "");
	});

	test("a target that is no path is answered with 400 and kills nobody", async () => {
		const socket = connect((app.server.address() as AddressInfo).port, "127.0.0.1");
		socket.write("GET //: HTTP/1.1\r\nhost: app\r\nconnection: close\r\n\r\n");
		let answer = "";
		for await (const part of socket.setEncoding("latin1")) answer += part;
		assert.match(answer, /^HTTP\/1\.1 400 /);
	});

	test("an invoice comes a line at a time, ten lines", async () => {
		await create({ item: "rope", quantity: 3 });
		const lines = (await (await fetch(`${base}/orders/1/invoice`)).text()).trimEnd().split("\n");
		assert.equal(lines.length, 10);
		assert.equal(lines[0], "1/10 3 x rope");
	});

	test("an event stream tells of new orders and of being alive, and ends when the app stops", async () => {
		const stream = await fetch(`${base}/events`);
		assert.equal(stream.headers.get("content-type"), "text/event-stream");
		const reader = stream.body?.pipeThrough(new TextDecoderStream()).getReader();
		assert.ok(reader);
		let text = "";
		const until = async (part: string): Promise<void> => {
			while (!text.includes(part)) {
				const { value, done } = await reader.read();
				assert.ok(!done, `the stream ended before ${part}`);
				text += value;
			}
		};
		await until("here from now on");
		await create({ item: "anchor" });
		await until('event: order\ndata: {"id":1,"item":"anchor"');
		await until("still here");
		const stopped = app.stop();
		while (!(await reader.read()).done);
		await stopped;
	});

	test("what is running when the app stops is finished, and health says that it is stopping", async () => {
		await create({ item: "rope" });
		const keepAlive = httpRequest(`${base}/orders/1/invoice`);
		keepAlive.end();
		const [answer] = (await once(keepAlive, "response")) as [IncomingMessage];
		const stopped = app.stop();
		let text = "";
		for await (const part of answer.setEncoding("utf8")) text += part;
		assert.match(text, /10\/10/);
		await stopped;
		await assert.rejects(fetch(`${base}/health`), "the port is closed");
	});

	test("/metrics counts orders, and answers by status", async () => {
		await create({ item: "rope" });
		await (await fetch(`${base}/nothing`)).text();
		const page = await (await fetch(`${base}/metrics`)).text();
		assert.match(page, /^orders_created_total 1$/m);
		assert.match(page, /^orders_answers_total\{status="201"\} 1$/m);
		assert.match(page, /^orders_answers_total\{status="404"\} 1$/m);
	});

	test("every path of /openapi.json exists, with its methods", async () => {
		const document = (await (await fetch(`${base}/openapi.json`)).json()) as typeof openapi;
		assert.deepEqual(document, openapi);
		await create({ item: "rope" });
		for (const [path, methods] of Object.entries(document.paths)) {
			for (const method of Object.keys(methods)) {
				const asked = new AbortController();
				const answer = await fetch(base + path.replace("{id}", "1"), {
					method: method.toUpperCase(),
					signal: asked.signal,
				});
				assert.ok(![404, 405].includes(answer.status), `${method} ${path}: ${answer.status}`);
				asked.abort();
			}
		}
	});
});

test("beyond its bound the oldest order is forgotten", () => {
	const orders = createOrders();
	for (let i = 0; i <= ORDERS_MAX; i++) orders.create({ item: "rope" });
	assert.equal(orders.list(Number.MAX_SAFE_INTEGER).length, ORDERS_MAX);
	assert.equal(orders.find(1), undefined);
	assert.equal(orders.find(2)?.id, 2);
});
