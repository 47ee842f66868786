import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Agent } from "node:http";
import { after, before, describe, test } from "node:test";
import { type Answer, ask, open } from "./ask.ts";
import { type AgentProcess, type App, type AppName, eventually, pattern, startAgent, startNamed } from "./peers.ts";
import { run } from "./processes.ts";
import { type Tool, tool, without } from "./tools.ts";

const UPLOADS = 40;

interface Server {
	readonly name: AppName;
	readonly needs: readonly Tool[];
	/** Whether it uses a connection for more than one request. */
	readonly keepsAlive: boolean;
	/** How many at once it bears directly: http.server's backlog is 5. */
	readonly clients: number;
}

const servers: readonly Server[] = [
	{ name: "node", needs: [], keepsAlive: true, clients: 64 },
	{ name: "go", needs: ["go"], keepsAlive: true, clients: 64 },
	{ name: "java", needs: ["java"], keepsAlive: true, clients: 64 },
	{ name: "uvicorn", needs: ["uvicorn"], keepsAlive: true, clients: 64 },
	{ name: "gunicorn", needs: ["gunicorn"], keepsAlive: true, clients: 64 },
	{ name: "aiohttp", needs: ["python"], keepsAlive: true, clients: 64 },
	{ name: "httpServer", needs: ["python"], keepsAlive: false, clients: 5 },
];

/** What the agent may change or add: framing and connection fields, and its ids. The clock is nobody's. */
const OURS = ["connection", "keep-alive", "transfer-encoding", "date", "x-request-id", "x-correlation-id"];
const seen = ({ status, headers, body, trailers }: Answer): unknown => ({
	status,
	headers: Object.fromEntries(Object.entries(headers).filter(([name]) => !OURS.includes(name))),
	body: body.toString("latin1"),
	trailers,
});

for (const { name, needs, keepsAlive, clients } of servers) {
	describe(`behind the agent, the server ${name}`, { skip: without(...needs) }, () => {
		let app: App;
		let agent: AgentProcess;
		before(async () => {
			app = await startNamed(name);
			agent = await startAgent(app.port, { OUTRIGGER_ROUTES__OPENAPI: "none" });
		});
		after(async () => {
			await agent?.stop();
			await app?.stop();
		});

		const small: readonly (readonly [what: string, asking: Parameters<typeof ask>[1]])[] = [
			["a GET", {}],
			["a HEAD", { method: "HEAD", path: "/bytes/1000" }],
			["a POST with a length", { method: "POST", path: "/echo", body: Buffer.from("known length") }],
			["a POST with an empty body", { method: "POST", path: "/echo", body: Buffer.alloc(0) }],
			["a chunked POST", { method: "POST", path: "/echo", body: [Buffer.from("in "), Buffer.from("two pieces")] }],
			["an answer that is streamed", { path: "/stream/200" }],
			["an ETag", { path: "/etag" }],
			["a 304", { path: "/etag", headers: { "if-none-match": '"v1"' } }],
			["a 204", { path: "/status/204" }],
			["a 404", { path: "/status/404" }],
			["a 418", { path: "/status/418" }],
			["a 500", { path: "/status/500" }],
			["a 503", { path: "/status/503" }],
		];
		for (const [what, asking] of small) {
			test(`answers ${what} as it does directly`, async () => {
				assert.deepEqual(seen(await ask(agent.url, asking)), seen(await ask(app.url, asking)));
			});
		}

		test("receives large bodies whole, with a length and chunked", async () => {
			const body = pattern(5 * 1024 * 1024 + 17);
			const pieces = Array.from({ length: 60 }, (_, i) => body.subarray(i * 90_000, (i + 1) * 90_000));
			const expected = { length: body.length, sha256: createHash("sha256").update(body).digest("hex") };
			for (const each of [body, pieces.filter((piece) => piece.length > 0)]) {
				const answer = await ask(agent.url, { method: "POST", path: "/sha", body: each });
				assert.equal(answer.status, 200);
				assert.deepEqual(JSON.parse(answer.body.toString()), expected);
			}
		});

		test("sends large bodies whole", async () => {
			const bytes = 8 * 1024 * 1024 + 3;
			const { status, body } = await ask(agent.url, { path: `/bytes/${bytes}` });
			assert.equal(status, 200);
			assert.ok(body.equals(pattern(bytes)));
		});

		test("carries large bodies both ways at once", async () => {
			const body = pattern(3 * 1024 * 1024);
			const answer = await ask(agent.url, { method: "POST", path: "/echo", body });
			assert.equal(answer.status, 200);
			assert.ok(answer.body.equals(body));
		});

		test("is asked many times over one connection of the client", async () => {
			const client = new Agent({ keepAlive: true, maxSockets: 1 });
			const opened = 'outrigger_connections_opened_total{side="upstream"}';
			const openedBefore = await agent.metric(opened);
			let reused = 0;
			for (let i = 0; i < 60; i++) {
				const asking = i % 3 === 0 ? { method: "POST", path: "/echo", body: Buffer.from(`turn ${i}`) } : {};
				const answer = await ask(agent.url, { ...asking, agent: client });
				assert.equal(answer.status, 200);
				assert.equal(answer.body.toString(), i % 3 === 0 ? `turn ${i}` : "hello\n");
				if (answer.isReused) reused++;
			}
			client.destroy();
			assert.equal(reused, 59);
			const openedNow = (await agent.metric(opened)) - openedBefore;
			if (keepsAlive) assert.ok(openedNow < 20, `${openedNow} connections to the app for 60 requests`);
			else assert.equal(openedNow, 60);
		});

		test(`is asked by ${clients} clients at once`, async () => {
			const answers = await Promise.all(
				Array.from({ length: clients }, (_, i) =>
					ask(agent.url, { method: "POST", path: "/sha", body: pattern(i * 997) }),
				),
			);
			for (const [i, { status, body }] of answers.entries()) {
				assert.equal(status, 200);
				assert.equal((JSON.parse(body.toString()) as { length: number }).length, i * 997);
			}
		});

		test("streams events that arrive while the answer goes on", async () => {
			const response = await open(agent.url, "/events/3");
			assert.equal(response.headers["content-type"]?.split(";")[0], "text/event-stream");
			let text = "";
			for await (const bytes of response) {
				text += String(bytes);
				if (text.includes("data: 2\n\n")) break; // and the iterator ends the connection
			}
			assert.ok(text.startsWith("data: 0\n\n"));
			await eventually(
				async () => ((await agent.metric("outrigger_event_streams")) === 0 ? true : undefined),
				"the stream ends with its client",
			);
		});

		test("sees the request's ids, and the client the same ones", async () => {
			const { headers, body } = await ask(agent.url, { path: "/who", headers: { "x-request-id": "peer-1" } });
			const who = JSON.parse(body.toString()) as { headers: Record<string, string> };
			assert.equal(who.headers["x-request-id"], "peer-1");
			assert.equal(headers["x-request-id"], "peer-1");
			assert.equal(headers["x-correlation-id"], who.headers["x-correlation-id"]);
			assert.match(who.headers["traceparent"] ?? "", /^00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]$/);
		});

		test(`refuses ${UPLOADS} of ${UPLOADS} uploads early, and the client receives the answer`, {
			skip: without("curl"),
		}, async () => {
			const body = pattern(4 * 1024 * 1024);
			let received = 0;
			const problems = new Set<string>();
			for (let i = 0; i < UPLOADS; i++) {
				const { code, stdout, stderr } = await run(
					tool("curl"),
					["-sS", "-m", "20", "-H", "expect:", "--data-binary", "@-", "-w", "\n%{http_code}", `${agent.url}/refuse`],
					{ input: body },
				);
				const [text, status] = [stdout.toString().slice(0, -4).trim(), stdout.toString().slice(-3)];
				if (status === "413" && text === "too much") received++;
				else problems.add(`${code} ${status} ${text} ${stderr}`);
			}
			assert.equal(received, UPLOADS, [...problems].join("\n"));
		});
	});
}

test("gunicorn's two seconds of keep-alive are learned from the closes that are seen", {
	skip: without("gunicorn"),
}, async (t) => {
	const app = await startNamed("gunicorn");
	t.after(() => app.stop());
	const agent = await startAgent(app.port, { OUTRIGGER_TIMEOUTS__APP_IDLE: "20s", OUTRIGGER_ROUTES__OPENAPI: "none" });
	t.after(() => agent.stop());
	// Two closes that agree are a lesson; gunicorn looks once a second, so its own may differ by half.
	const learned = "the app closes idle connections sooner than we would; we do now";
	for (let i = 0; i < 8 && !agent.process.lines.some((line) => line.includes(learned)); i++) {
		assert.equal((await ask(agent.url)).status, 200);
		await eventually(
			async () => ((await agent.metric('outrigger_connections{side="upstream"}')) === 0 ? true : undefined),
			"gunicorn closes the idle connection",
		);
	}
	const line = await agent.log("msg", learned);
	const idleMs = Number(line["idle_ms"]);
	assert.ok(idleMs >= 1000 && idleMs < 2500, String(idleMs));
	assert.equal(line["from"], "close");
	assert.equal((await ask(agent.url, { method: "POST", path: "/echo", body: Buffer.from("after") })).status, 200);
});

test("FastAPI's routes are found, and metrics and access lines are named after them", {
	skip: without("uvicorn"),
}, async (t) => {
	const app = await startNamed("uvicorn");
	t.after(() => app.stop());
	const agent = await startAgent(app.port);
	t.after(() => agent.stop());
	await agent.log("msg", "routes are named after the app's OpenAPI document");
	const path = "/users/anna/orders/77";
	await eventually(async () => {
		await ask(agent.url, { path });
		const page = await agent.metricsPage();
		return page.includes('http_route="/users/{user_id}/orders/{order_id}"') ? true : undefined;
	}, "the route of the document is used");
	const line = await agent.log("http.route", "/users/{user_id}/orders/{order_id}");
	assert.equal(line["url.path"], path);
});
