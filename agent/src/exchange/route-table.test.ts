import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { RouteSettings } from "../config/settings.ts";
import {
	COLLAPSE_SEGMENTS_MAX,
	collapsePath,
	isData,
	OVERFLOW_TEMPLATE,
	type Route,
	RouteTable,
	type RouteTableOptions,
	TEMPLATE_BYTES_MAX,
} from "./route-table.ts";

interface Vectors {
	readonly cases: readonly { readonly path: string; readonly template: string }[];
}

// Written by us and read by every language; its shape is checked by the assertions that use it.
const vectors = JSON.parse(
	readFileSync(new URL("../../../proto/vectors/route-collapse.json", import.meta.url), "utf8"),
) as Vectors;

const noLimits = { bodyBytesMax: Number.POSITIVE_INFINITY, responseMs: Number.POSITIVE_INFINITY };

const entry = (path: string, more: Partial<RouteSettings> = {}): RouteSettings => ({
	path,
	methods: [],
	bodyBytesMax: undefined,
	responseMs: undefined,
	...more,
});

function table(paths: readonly (string | RouteSettings)[], more: Partial<RouteTableOptions> = {}): RouteTable {
	return new RouteTable({
		table: paths.map((path) => (typeof path === "string" ? entry(path) : path)),
		collapse: true,
		seriesMax: 2000,
		policy: noLimits,
		...more,
	});
}

/** Asks three times over: found, and twice remembered or found again. The bytes around the path must not matter. */
function routeOf(routes: RouteTable, path: string, method = "GET"): Route {
	const bytes = Buffer.from(`/x${path}/y`);
	const route = routes.match(bytes, 2, bytes.length - 2, method);
	assert.equal(routes.match(bytes, 2, bytes.length - 2, method), route);
	const other = Buffer.from(`${path}?a=b`);
	assert.equal(routes.match(other, 0, other.length - 4, method), route);
	return route;
}

const hintOf = (routes: RouteTable, hint: string): Route | undefined => {
	const bytes = Buffer.from(` ${hint}\r`);
	return routes.hint(bytes, 1, bytes.length - 1);
};

describe("the collapse", () => {
	for (const { path, template } of vectors.cases) {
		it(`makes ${template} of ${path}`, () => {
			const routes = table([]);
			assert.equal(routeOf(routes, path).template, template);
			assert.equal(routeOf(routes, path).kind, "collapse");
			const bytes = Buffer.from(path);
			const out = Buffer.alloc(TEMPLATE_BYTES_MAX);
			assert.equal(out.toString("utf8", 0, collapsePath(bytes, 0, bytes.length, out)), template);
		});
	}

	it("keeps its bounds, makes printable ASCII, and changes nothing the second time, whatever the path", () => {
		const segment = fc.oneof(
			fc.string({ unit: "binary", maxLength: 50 }),
			fc.stringMatching(/^[a-z0-9._-]{0,45}$/),
			fc.constantFrom("", ".", "..", "users", "v1"),
		);
		const path = fc.array(segment, { minLength: 1, maxLength: 30 }).map((parts) => `/${parts.join("/")}`);
		fc.assert(
			fc.property(path, (text) => {
				const out = Buffer.alloc(TEMPLATE_BYTES_MAX);
				const bytes = Buffer.from(text);
				const length = collapsePath(bytes, 0, bytes.length, out);
				const template = out.toString("latin1", 0, length);
				assert.match(template, /^(\/[\x21-\x7e]*)+$/);
				assert.ok(template.split("/").length - 1 <= COLLAPSE_SEGMENTS_MAX);
				assert.equal(
					template.split("/").some((part) => part.length >= 40),
					false,
				);
				// {id} is data by its braces, and {rest...} too when more could follow.
				const again = Buffer.alloc(TEMPLATE_BYTES_MAX);
				const twice = again.toString("latin1", 0, collapsePath(out, 0, length, again));
				assert.equal(twice, template.replace("{rest...}", "{id}"));
			}),
			{ numRuns: 500 },
		);
	});

	it("has no memory: another table says the same", () => {
		fc.assert(
			fc.property(fc.array(fc.webPath(), { minLength: 1, maxLength: 20 }), (paths) => {
				const one = table([]);
				for (const path of paths) {
					const bytes = Buffer.from(path === "" ? "/" : path);
					assert.equal(
						one.match(bytes, 0, bytes.length, "GET").template,
						table([]).match(bytes, 0, bytes.length, "GET").template,
					);
				}
			}),
			{ numRuns: 20 },
		);
	});

	it("sees no data in an empty segment", () => assert.equal(isData(Buffer.from("//"), 1, 1), false));

	it("can be switched off: then there is no route", () => {
		const routes = table(["/known"], { collapse: false });
		assert.equal(routeOf(routes, "/users/1"), routes.none);
		assert.equal(routes.none.template, "");
		assert.equal(routeOf(routes, "/known").template, "/known");
	});
});

describe("targets that are no path", () => {
	const routes = table(["/"]);
	it("OPTIONS * has a route of its own", () => {
		assert.equal(routeOf(routes, "*", "OPTIONS"), routes.asterisk);
		assert.equal(routes.asterisk.template, "*");
	});
	it("an empty path is the root (absolute-form)", () => assert.equal(routeOf(routes, "").template, "/"));
	it("anything else has none", () => {
		assert.equal(routeOf(routes, "**"), routes.none);
		assert.equal(routeOf(routes, "users"), routes.none);
	});
});

describe("the table", () => {
	const cases: readonly (readonly [string, readonly string[], readonly (readonly [string, string])[]])[] = [
		[
			"a literal goes before a parameter, a parameter before the rest",
			["/users/{rest...}", "/users/{id}", "/users/me", "/users"],
			[
				["/users", "/users"],
				["/users/me", "/users/me"],
				["/users/ann", "/users/{id}"],
				["/users/ann/x", "/users/{rest...}"],
				["/users/", "/users/{rest...}"],
				["/users/me/x", "/users/{rest...}"],
			],
		],
		[
			"it steps back when a branch does not reach the end",
			["/a/b/c", "/a/{x}/d", "/{x}/b/e", "/{all...}"],
			[
				["/a/b/c", "/a/b/c"],
				["/a/b/d", "/a/{x}/d"],
				["/a/b/e", "/{x}/b/e"],
				["/a/b/f", "/{all...}"],
				["/", "/{all...}"],
			],
		],
		[
			"a parameter is never empty and holds no slash",
			["/a/{x}/b", "/a/{x}"],
			[
				["/a//b", "/a//b"],
				["/a/", "/a/"],
				["/a/1/2/b", "/a/{id}/{id}/b"],
			],
		],
		[
			"an escape of an unreserved character is the character, and nothing is read twice",
			["/upload", "/a-b/{x}"],
			[
				["/%75pload", "/upload"],
				["/%75PLOAD", "/uPLOAD"],
				["/a%2Db/%7e", "/a-b/{x}"],
				["/a%2db/c%2Fd", "/a-b/{x}"],
				["/%2575pload", "/{id}"], // by collapse, not /upload
				["/%%37%35pload", "/{id}"],
				["/%7", "/{id}"],
			],
		],
		[
			"a slash at the end makes another path",
			["/a", "/b/"],
			[
				["/a", "/a"],
				["/a/", "/a/"],
				["/b", "/b"],
				["/b/", "/b/"],
			],
		],
		[
			"a parameter may have text about it, and the longer text goes first",
			[
				"/f/{name}.json",
				"/f/{name}.min.json",
				"/f/{name}",
				"/f/v{major}.{minor}.{patch}-x",
				"/f/{id}:close",
				"/f/{a}{b}",
			],
			[
				["/f/a.json", "/f/{name}.json"],
				["/f/a.min.json", "/f/{name}.min.json"],
				["/f/.json", "/f/{a}{b}"],
				["/f/v1.2.3-x", "/f/v{major}.{minor}.{patch}-x"],
				["/f/v1.2-x", "/f/{a}{b}"],
				["/f/v..-x", "/f/{a}{b}"],
				["/f/7:close", "/f/{id}:close"],
				["/f/:close", "/f/{a}{b}"],
				["/f/a", "/f/{name}"],
			],
		],
		[
			"no parameter within a segment is empty",
			["/m/{a}.{b}", "/n/x{a}--{b}--{c}y"],
			[
				["/m/a.b", "/m/{a}.{b}"],
				["/m/a.b.c", "/m/{a}.{b}"],
				["/m/ab.", "/m/ab."],
				["/m/.ab", "/m/.ab"],
				["/m/abc", "/m/abc"],
				["/n/xa--b--cy", "/n/x{a}--{b}--{c}y"],
				["/n/xa--b-cccy", "/n/xa--b-cccy"],
				["/n/xa----ccy", "/n/xa----ccy"],
				["/n/xaaaaaaaa--y", "/n/xaaaaaaaa--y"],
			],
		],
		[
			"a mixed segment steps back too",
			["/f/{name}.json/x", "/f/{name}.{kind}/y", "/f/{name}.json/z"],
			[
				["/f/a.json/x", "/f/{name}.json/x"],
				["/f/a.json/y", "/f/{name}.{kind}/y"],
				["/f/a.json/z", "/f/{name}.json/z"],
				["/f/a.json/w", "/f/a.json/w"],
			],
		],
		[
			"braces that do not pair are literal, and escapes are left alone",
			["/a{b", "/caf%C3%A9", "/a/b"],
			[
				["/a{b", "/a{b"],
				["/caf%C3%A9", "/caf%C3%A9"],
				["/caf%c3%a9", "/{id}"],
				["/a%2Fb", "/{id}"],
			],
		],
	];
	for (const [name, templates, paths] of cases) {
		it(name, () => {
			const routes = table(templates);
			for (const [path, template] of paths) assert.equal(routeOf(routes, path).template, template, path);
		});
	}

	it("gives the policy of the entry, and the general one where it says nothing", () => {
		const routes = table([entry("/up", { bodyBytesMax: 10 }), entry("/slow", { responseMs: 5 }), "/plain"], {
			policy: { bodyBytesMax: 1000, responseMs: 2000 },
		});
		assert.deepEqual({ ...routeOf(routes, "/up").policy }, { bodyBytesMax: 10, responseMs: 2000 });
		assert.deepEqual({ ...routeOf(routes, "/slow").policy }, { bodyBytesMax: 1000, responseMs: 5 });
		assert.deepEqual({ ...routeOf(routes, "/plain").policy }, { bodyBytesMax: 1000, responseMs: 2000 });
		assert.deepEqual({ ...routeOf(routes, "/other").policy }, { bodyBytesMax: 1000, responseMs: 2000 });
		assert.equal(routeOf(routes, "/up").kind, "table");
	});

	it("has entries of one template for different methods; for other methods the name, not the policy", () => {
		const routes = table([
			entry("/users/{id}", { methods: ["PUT", "PATCH"], bodyBytesMax: 5 }),
			entry("/users/{id}", { methods: ["GET"], bodyBytesMax: 7 }),
		]);
		const put = routeOf(routes, "/users/ann", "PUT");
		const get = routeOf(routes, "/users/ann", "GET");
		const options = routeOf(routes, "/users/ann", "OPTIONS");
		assert.deepEqual(
			[put, get, options].map((route) => [route.template, route.kind, route.policy.bodyBytesMax]),
			[
				["/users/{id}", "table", 5],
				["/users/{id}", "table", 7],
				["/users/{id}", "table", Number.POSITIVE_INFINITY],
			],
		);
		assert.equal(new Set([put.id, get.id, options.id]).size, 1, "one template has one id");
	});

	it("an entry for a method that nobody knows is one for all such methods", () => {
		const routes = table([entry("/cache", { methods: ["PURGE"], bodyBytesMax: 0 })]);
		assert.equal(routeOf(routes, "/cache", "_OTHER").policy.bodyBytesMax, 0);
		assert.equal(routeOf(routes, "/cache", "GET").policy.bodyBytesMax, Number.POSITIVE_INFINITY);
	});

	it("prefers a template that has the method to a more literal one that has not", () => {
		const routes = table([entry("/users/me", { methods: ["GET"] }), entry("/users/{id}", { methods: ["POST"] })]);
		assert.equal(routeOf(routes, "/users/me", "GET").template, "/users/me");
		assert.equal(routeOf(routes, "/users/me", "POST").template, "/users/{id}");
	});

	it("finds every path that its template makes, among many", () => {
		const name = fc.stringMatching(/^[a-z]{1,6}$/);
		const template = fc.array(fc.oneof(name, fc.constant("{p}")), { minLength: 1, maxLength: 6 });
		fc.assert(
			fc.property(
				fc.uniqueArray(template, { minLength: 1, maxLength: 60, selector: (t) => t.join("/") }),
				name,
				(all, data) => {
					const templates = all.map((parts) => `/${parts.join("/")}`);
					const routes = table(templates);
					for (const text of templates) {
						const route = routeOf(routes, text.replaceAll("{p}", data));
						assert.equal(route.kind, "table");
						// Another template may be more literal, but never less; and it must make the same path.
						assert.equal(route.template.replaceAll("{p}", data), expectedShape(route.template, text, data));
					}
				},
			),
			{ numRuns: 100 },
		);
	});
});

/** The path that `template` makes, provided that `found` can make it too. */
function expectedShape(found: string, template: string, data: string): string {
	const path = template.replaceAll("{p}", data).split("/");
	const parts = found.split("/");
	assert.equal(parts.length, path.length);
	return parts.map((part, i) => (part === "{p}" ? data : path[i])).join("/");
}

describe("equal hashes", () => {
	it("do not confuse segments: thousands of siblings are each found", () => {
		const templates = Array.from({ length: 5000 }, (_, i) => `/s${i}x/{id}`);
		const routes = table(templates);
		for (let i = 0; i < 5000; i += 1) assert.equal(routeOf(routes, `/s${i}x/1`).template, `/s${i}x/{id}`);
		assert.equal(routes.learned, 0);
	});
});

describe("segments with one hash", () => {
	// Found by trying; that they collide is what `hashOf` with no seed gives, and 100 % of the branches shows it.
	const pairs = [
		["sehqglssb", "njjtuljau"],
		["proivstxl", "mnzppgfim"],
	] as const;
	for (const [one, other] of pairs) {
		it(`${one} and ${other} are told apart`, () => {
			const routes = table([`/${one}/{a}`, `/${other}/{b}`]);
			assert.equal(routeOf(routes, `/${one}/x`).template, `/${one}/{a}`);
			assert.equal(routeOf(routes, `/${other}/x`).template, `/${other}/{b}`);
			assert.equal(routeOf(table([`/${one}/{a}`]), `/${other}/x`).template, `/${other}/x`);
		});
	}
});

describe("the OpenAPI document's templates", () => {
	it("come after the table and before the collapse, and after a template that has the method", () => {
		const routes = table([entry("/users/{id}", { methods: ["GET"] })]);
		assert.equal(routeOf(routes, "/teams/red").template, "/teams/red");
		const taken = routes.replaceOpenapi([
			{ path: "/users/{user}", methods: ["GET", "POST"] },
			{ path: "/teams/{team}", methods: ["GET"] },
		]);
		assert.equal(taken, 2);
		assert.equal(routeOf(routes, "/users/ann", "GET").template, "/users/{id}");
		assert.equal(routeOf(routes, "/users/ann", "POST").template, "/users/{user}");
		assert.equal(routeOf(routes, "/users/ann", "DELETE").template, "/users/{id}");
		assert.equal(routeOf(routes, "/teams/red").template, "/teams/{team}");
		assert.equal(routeOf(routes, "/teams/red").kind, "openapi");
		assert.equal(routeOf(routes, "/teams/red", "OPTIONS").template, "/teams/{team}");
		assert.deepEqual({ ...routeOf(routes, "/teams/red").policy }, noLimits);
	});

	it("take the place of those before, remembered paths included; equal templates keep their id", () => {
		const routes = table([]);
		routes.replaceOpenapi([{ path: "/a/{x}", methods: [] }]);
		const before = routeOf(routes, "/a/b");
		routes.replaceOpenapi([{ path: "/c/{x}", methods: [] }]);
		assert.equal(routeOf(routes, "/a/b").template, "/a/b");
		routes.replaceOpenapi([{ path: "/a/{x}", methods: [] }]);
		assert.equal(routeOf(routes, "/a/b"), before);
	});

	it("are at most seriesMax over the life of the table", () => {
		const routes = table([], { seriesMax: 3 });
		const many = Array.from({ length: 10 }, (_, i) => ({ path: `/p${i}/{x}`, methods: [] }));
		assert.equal(routes.replaceOpenapi(many), 3);
		assert.equal(routes.replaceOpenapi(many.toReversed()), 3);
		assert.equal(routeOf(routes, "/p2/a").template, "/p2/{x}");
		assert.equal(routeOf(routes, "/p3/a").template, "/p3/a");
	});
});

describe("the app's hint", () => {
	const good = [
		"/users/{id}",
		"/users/:id",
		"/users/<int:id>",
		"/users/*",
		"/users/:id?",
		"/users/(?<id>[a-z]+)",
		"/users/[id]",
		"/",
		"/health",
		"/api/v1/users",
		`/{x}${"a".repeat(252)}`,
	];
	for (const hint of good) {
		it(`${hint.slice(0, 40)} is taken`, () => {
			const routes = table([]);
			const route = hintOf(routes, hint);
			assert.equal(route?.template, hint);
			assert.equal(route?.kind, "hint");
			assert.deepEqual({ ...route?.policy }, noLimits);
			assert.equal(hintOf(routes, hint), route, "the second time it is the same object");
			assert.equal(routes.learned, 1);
		});
	}

	const bad = [
		"",
		"users/{id}",
		"*",
		"/users/{id} x",
		"/users/{id}\u0001",
		"/users/{id}\u007f",
		"/caf\u00e9/{id}",
		"/a%20b/{id}",
		"/a/{id}#top",
		"/a/{id}?x=1",
		"/a/{id}?1",
		"/users/123",
		"/users/550e8400-e29b-41d4-a716-446655440000",
		`/{x}${"a".repeat(253)}`,
	];
	for (const hint of bad) {
		it(`${JSON.stringify(hint).slice(0, 60)} is not`, () => {
			const routes = table([]);
			assert.equal(hintOf(routes, hint), undefined);
			assert.equal(routes.learned, 0);
		});
	}

	it("has the id of the table's template when it is the same", () => {
		const routes = table([entry("/users/{id}", { bodyBytesMax: 1 })]);
		const hint = hintOf(routes, "/users/{id}");
		assert.equal(hint?.id, routeOf(routes, "/users/7").id);
		assert.equal(hint?.policy.bodyBytesMax, Number.POSITIVE_INFINITY);
	});
});

describe("routes that came to be while running", () => {
	it("are at most seriesMax by collapse and as many by hint; what is beyond is __overflow__", () => {
		const routes = table(["/known/{id}"], { seriesMax: 300 });
		const letters = (i: number) =>
			`/${String.fromCharCode(97 + (i % 26), 97 + (Math.floor(i / 26) % 26), 97 + Math.floor(i / 676))}`;
		const seen = new Set<Route>();
		for (let i = 0; i < 1000; i += 1) {
			const route = routeOf(routes, letters(i));
			seen.add(route);
			assert.equal(route.template, i < 300 ? letters(i) : OVERFLOW_TEMPLATE);
		}
		assert.equal(seen.size, 301);
		for (let i = 0; i < 1000; i += 1) {
			assert.equal(hintOf(routes, `/h${letters(i)}`)?.template, i < 300 ? `/h${letters(i)}` : OVERFLOW_TEMPLATE);
		}
		assert.equal(routes.learned, 600);
		assert.equal(routeOf(routes, letters(0)).template, letters(0), "those that are known stay");
		assert.equal(routeOf(routes, "/known/7").template, "/known/{id}", "the table is not touched");
		assert.ok(routes.count <= 600 + 4);
	});

	it("have ids below count, one for each template", () => {
		const routes = table(["/a", "/b/{id}"]);
		const all = [
			routeOf(routes, "/a"),
			routeOf(routes, "/b/1"),
			routeOf(routes, "/c"),
			routes.none,
			routes.overflow,
			routes.asterisk,
		];
		assert.deepEqual(new Set(all.map((route) => route.id)), new Set([0, 1, 2, 3, 4, 5]));
		assert.equal(routes.count, 6);
		for (const route of all) assert.equal(route.templateBytes.toString(), route.template);
	});
});

describe("remembered paths", () => {
	it("never answer for another path or method, however many there are", () => {
		const routes = table([entry("/m/{x}", { methods: ["GET"], bodyBytesMax: 1 })]);
		fc.assert(
			fc.property(
				fc.array(fc.tuple(fc.stringMatching(/^[a-c]{0,4}$/), fc.constantFrom("GET", "PUT", "POST")), { maxLength: 50 }),
				(asked) => {
					for (const [name, method] of asked) {
						const route = routeOf(routes, `/m/${name}`, method);
						assert.equal(route.template, name === "" ? "/m/" : "/m/{x}");
						assert.equal(route.policy.bodyBytesMax, name !== "" && method === "GET" ? 1 : Number.POSITIVE_INFINITY);
					}
				},
			),
			{ numRuns: 50 },
		);
	});

	it("need not be short", () => {
		const routes = table(["/long/{rest...}"]);
		for (const length of [110, 120, 122, 123, 124, 300, 5000]) {
			assert.equal(routeOf(routes, `/long/${"y".repeat(length)}`).template, "/long/{rest...}");
		}
	});
});
