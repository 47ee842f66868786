import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import type { Address } from "../config/settings.ts";
import {
	OPENAPI_PATHS,
	type OpenapiOutcome,
	OpenapiRoutes,
	type OpenapiRoutesOptions,
	templatesOf,
} from "./openapi-routes.ts";

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

interface App {
	readonly address: Address;
	readonly asked: readonly { readonly path: string | undefined; readonly agent: string | undefined }[];
}

async function startApp(t: TestContext, answer: Answer, path?: string): Promise<App> {
	const asked: { path: string | undefined; agent: string | undefined }[] = [];
	const server: Server = createServer((request, response) => {
		asked.push({ path: request.url, agent: request.headers["user-agent"] });
		answer(request, response);
	});
	await new Promise<void>((resolve) => {
		if (path === undefined) server.listen(0, "127.0.0.1", resolve);
		else server.listen(path, resolve);
	});
	t.after(async () => {
		server.closeAllConnections();
		await new Promise((resolve) => server.close(resolve));
	});
	if (path !== undefined) return { address: { kind: "unix", path }, asked };
	const { port } = server.address() as AddressInfo; // it listens on TCP
	return { address: { kind: "tcp", host: "127.0.0.1", port }, asked };
}

interface Asker {
	readonly routes: OpenapiRoutes;
	/** Calls appReady and waits for what comes of it. */
	ask(): Promise<OpenapiOutcome>;
	readonly outcomes: readonly OpenapiOutcome[];
}

function asker(t: TestContext, app: Address, more: Partial<OpenapiRoutesOptions> = {}): Asker {
	const outcomes: OpenapiOutcome[] = [];
	let told = (_outcome: OpenapiOutcome): void => {};
	const routes = new OpenapiRoutes({
		app,
		openapi: "auto",
		templatesMax: 100,
		userAgent: "outrigger/test",
		onOutcome: (outcome) => {
			outcomes.push(outcome);
			told(outcome);
		},
		...more,
	});
	t.after(() => routes.stop());
	return {
		routes,
		outcomes,
		ask: () => {
			const { promise, resolve } = Promise.withResolvers<OpenapiOutcome>();
			told = resolve;
			routes.appReady();
			return promise;
		},
	};
}

const DOCUMENT = { openapi: "3.1.0", paths: { "/users/{id}": { get: {} } } };
const TEMPLATES = [{ path: "/users/{id}", methods: ["GET", "HEAD"] }];

const json =
	(value: unknown, status = 200): Answer =>
	(_request, response) => {
		response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
	};

describe("the templates of a document", () => {
	const cases: readonly (readonly [string, unknown, readonly (readonly [string, string])[], number])[] = [
		[
			"OpenAPI 3: methods that have an operation; HEAD goes with GET",
			{
				openapi: "3.0.3",
				paths: {
					"/a": { get: {}, post: {}, parameters: [], summary: "x" },
					"/b": { head: {}, get: {} },
					"/c": { put: {} },
				},
			},
			[
				["/a", "GET POST HEAD"],
				["/b", "GET HEAD"],
				["/c", "PUT"],
			],
			0,
		],
		[
			"prefixes of the servers, and the bare path",
			{
				openapi: "3.1.0",
				servers: [
					{ url: "/api/v1/" },
					{ url: "https://x.test/api/v1" },
					{ url: "https://x.test" },
					{ url: "relative" },
				],
				paths: { "/a": { get: {} } },
			},
			[
				["/api/v1/a", "GET HEAD"],
				["/relative/a", "GET HEAD"],
				["/a", "GET HEAD"],
			],
			0,
		],
		[
			"variables of a server at their defaults; one without is no prefix",
			{
				openapi: "3.1.0",
				servers: [
					{ url: "https://{host}/{base}", variables: { host: { default: "x.test" }, base: { default: "v2" } } },
					{ url: "/{tenant}" },
					{ url: "https://[" },
					{ url: 5 },
					"x",
				],
				paths: { "/a": { get: {} } },
			},
			[
				["/v2/a", "GET HEAD"],
				["/a", "GET HEAD"],
			],
			0,
		],
		[
			"a path's own servers go before the document's",
			{ openapi: "3.1.0", servers: [{ url: "/v1" }], paths: { "/a": { servers: [{ url: "/v2" }], post: {} } } },
			[
				["/v2/a", "POST"],
				["/a", "POST"],
			],
			0,
		],
		[
			"Swagger 2 with a basePath",
			{ swagger: "2.0", basePath: "/v1", paths: { "/a": { delete: {} } } },
			[
				["/v1/a", "DELETE"],
				["/a", "DELETE"],
			],
			0,
		],
		["Swagger 2 without", { swagger: "2.0", paths: { "/a": { patch: {} } } }, [["/a", "PATCH"]], 0],
		[
			"an item that is elsewhere, or none, has all methods",
			{ openapi: "3.1.0", paths: { "/a": { $ref: "#/x", get: {} }, "/b": {}, "/c": null } },
			[
				["/a", ""],
				["/b", ""],
				["/c", ""],
			],
			0,
		],
		[
			"what is no path is left out and counted; extensions are not",
			{
				openapi: "3.1.0",
				paths: { a: {}, "/b c": {}, "/d?e": {}, "/f#g": {}, [`/${"h".repeat(256)}`]: {}, "x-own": {}, "/ok": {} },
			},
			[["/ok", ""]],
			5,
		],
		[
			"what is not ASCII is escaped as clients do it",
			{ openapi: "3.1.0", paths: { "/caf\u00e9/{name}": { get: {} }, "/\u{1F6F6}\ud800": {} } },
			[
				["/caf%C3%A9/{name}", "GET HEAD"],
				["/%F0%9F%9B%B6%EF%BF%BD", ""],
			],
			0,
		],
		[
			"more than are taken",
			{ openapi: "3.1.0", paths: Object.fromEntries(Array.from({ length: 150 }, (_, i) => [`/p${i}`, {}])) },
			Array.from({ length: 100 }, (_, i) => [`/p${i}`, ""] as const),
			50,
		],
		["no paths at all", { openapi: "3.1.0", paths: {} }, [], 0],
	];
	for (const [name, document, templates, left] of cases) {
		it(name, () => {
			const found = templatesOf(document, 100);
			assert.deepEqual(
				found?.templates.map((template) => [template.path, template.methods.join(" ")]).toSorted(),
				templates.toSorted(),
			);
			assert.equal(found?.left, left);
		});
	}

	for (const document of [
		undefined,
		null,
		5,
		"x",
		[],
		{},
		{ openapi: "3.1.0" },
		{ openapi: "3.1.0", paths: [] },
		{ paths: {} },
		{ openapi: 3, paths: {} },
	]) {
		it(`are none in ${JSON.stringify(document)}`, () => assert.equal(templatesOf(document, 100), undefined));
	}
});

describe("asking the app", () => {
	it("finds the document, with our own user agent, and never asks again", async (t) => {
		const app = await startApp(t, json(DOCUMENT));
		const { routes, ask, outcomes } = asker(t, app.address);
		await routes.start();
		assert.deepEqual(await ask(), { t: "found", path: "/openapi.json", templates: TEMPLATES, left: 0 });
		routes.appReady();
		await routes.stop();
		assert.deepEqual(app.asked, [{ path: "/openapi.json", agent: "outrigger/test" }]);
		assert.equal(outcomes.length, 1);
	});

	it("over a Unix socket", async (t) => {
		const folder = mkdtempSync(join(tmpdir(), "outrigger-openapi-"));
		t.after(() => rmSync(folder, { recursive: true }));
		const app = await startApp(t, json(DOCUMENT), join(folder, "app.sock"));
		assert.equal((await asker(t, app.address).ask()).t, "found");
	});

	it("goes through the known paths, past pages that are no document", async (t) => {
		const app = await startApp(t, (request, response) => {
			if (request.url === "/openapi.json") response.end("<html>our page for everything</html>");
			else if (request.url === "/v3/api-docs") json({ error: "unknown" })(request, response);
			else json(DOCUMENT)(request, response);
		});
		const outcome = await asker(t, app.address).ask();
		assert.deepEqual(outcome, { t: "found", path: "/swagger.json", templates: TEMPLATES, left: 0 });
		assert.deepEqual(
			app.asked.map(({ path }) => path),
			OPENAPI_PATHS,
		);
	});

	it("asks only for the path that is configured", async (t) => {
		const app = await startApp(t, json({}, 404));
		const { ask } = asker(t, app.address, { openapi: "/docs/api.json" });
		assert.deepEqual(await ask(), { t: "absent" });
		assert.deepEqual(
			app.asked.map(({ path }) => path),
			["/docs/api.json"],
		);
	});

	it("does not ask again after a 404, and does not follow a redirect", async (t) => {
		const app = await startApp(t, (_request, response) => {
			response.writeHead(app.asked.length === 1 ? 302 : 404, { location: "/elsewhere" }).end("gone");
		});
		const { routes, ask } = asker(t, app.address);
		assert.deepEqual(await ask(), { t: "absent" });
		routes.appReady();
		await routes.stop();
		assert.deepEqual(
			app.asked.map(({ path }) => path),
			OPENAPI_PATHS,
		);
	});

	it("asks nothing when it is switched off", async (t) => {
		const app = await startApp(t, json(DOCUMENT));
		const { routes, outcomes } = asker(t, app.address, { openapi: "none" });
		routes.appReady();
		await routes.stop();
		assert.deepEqual([app.asked.length, outcomes.length], [0, 0]);
	});

	it("asks an app that could not answer again when it is ready again, three times at most", async (t) => {
		const app = await startApp(t, json({}, 503));
		const { routes, ask, outcomes } = asker(t, app.address);
		for (let i = 0; i < 3; i += 1) {
			assert.deepEqual(await ask(), { t: "failed", detail: "/openapi.json was answered with 503." });
		}
		routes.appReady();
		await routes.stop();
		assert.deepEqual([app.asked.length, outcomes.length], [3, 3]);
	});

	it("asks once at a time", async (t) => {
		const app = await startApp(t, json(DOCUMENT));
		const { routes, ask } = asker(t, app.address);
		const first = ask();
		routes.appReady();
		routes.appReady();
		await first;
		await routes.stop();
		assert.equal(app.asked.length, 1);
	});

	it("fails in words when nobody listens", async (t) => {
		const server = createServer();
		await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
		const { port } = server.address() as AddressInfo; // it listens on TCP
		await new Promise((resolve) => server.close(resolve));
		const outcome = await asker(t, { kind: "tcp", host: undefined, port }).ask();
		assert.equal(outcome.t, "failed");
		assert.match(outcome.t === "failed" ? outcome.detail : "", /^\/openapi\.json could not be read: .*ECONNREFUSED/);
	});

	it("takes an IPv6 address without brackets", async (t) => {
		const { routes } = asker(t, { kind: "tcp", host: "::1", port: 1 });
		const outcome = await asker(t, { kind: "tcp", host: "::1", port: 1 }).ask();
		await routes.stop();
		assert.equal(outcome.t, "failed");
	});

	it("fails when the document is larger than it may be, with and without a length", async (t) => {
		for (const withLength of [true, false]) {
			const body = JSON.stringify({ ...DOCUMENT, info: "x".repeat(5000) });
			const app = await startApp(t, (_request, response) => {
				if (withLength) response.setHeader("content-length", body.length);
				response.write(body.slice(0, 100));
				response.end(body.slice(100));
			});
			assert.equal((await asker(t, app.address, { documentBytesMax: 4096 }).ask()).t, "failed");
			assert.equal((await asker(t, app.address, { documentBytesMax: 8192 }).ask()).t, "found");
		}
	});

	for (const [name, answer] of [
		["never answers", () => {}],
		[
			"never ends its answer",
			(_request: IncomingMessage, response: ServerResponse) => {
				response.write('{"openapi":');
			},
		],
	] as const) {
		it(`fails when the app ${name}`, async (t) => {
			const app = await startApp(t, answer);
			assert.equal((await asker(t, app.address, { timeoutMs: 50 }).ask()).t, "failed");
		});
	}

	it("says nothing any more once it has been stopped, in the middle of an answer too", async (t) => {
		const { promise: isAsked, resolve } = Promise.withResolvers<void>();
		const app = await startApp(t, () => resolve());
		const { routes, outcomes } = asker(t, app.address);
		routes.appReady();
		await isAsked;
		await routes.stop();
		await routes.stop();
		routes.appReady();
		assert.deepEqual([app.asked.length, outcomes.length], [1, 0]);
	});

	it("can be stopped without having been started", async (t) => {
		const { routes, outcomes } = asker(t, { kind: "tcp", host: "127.0.0.1", port: 1 });
		await routes.stop();
		assert.equal(outcomes.length, 0);
	});
});
