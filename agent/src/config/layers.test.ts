import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { stringify } from "yaml";
import { defaultFile, type Loaded, loadSettings, type Sources, settingsFrom } from "./layers.ts";
import { renderPlace } from "./problems.ts";
import type { AppRule } from "./rules.ts";
import type { Settings } from "./settings.ts";
import { fileBytesMax } from "./yaml-file.ts";

interface Given {
	readonly yaml?: string | Uint8Array;
	readonly env?: Readonly<Record<string, string>>;
	readonly sets?: readonly string[];
	readonly flags?: Sources["flags"];
	readonly app?: AppRule;
	readonly memory?: number;
}

/** The file is called c.yaml; the app's port is known unless `app` says that it matters. */
function load(given: Given): Promise<Loaded> {
	const { yaml, env = {}, sets = [], flags = [], app = "found_later", memory } = given;
	return loadSettings({
		env,
		sets,
		flags,
		app,
		cwd: "/etc",
		file: yaml === undefined ? undefined : "c.yaml",
		system: {
			readFile: async (path) => {
				const bytes = typeof yaml === "string" ? new TextEncoder().encode(yaml) : yaml;
				return path === "/etc/c.yaml" ? bytes : undefined;
			},
			hostName: () => "orders-7d4b9c-x2x",
			memoryLimitBytes: () => memory,
		},
	});
}

async function good(given: Given): Promise<Settings> {
	const loaded = await load(given);
	assert.ok(loaded.ok, JSON.stringify(loaded, undefined, 1));
	return loaded.settings;
}

/** `place kind key`, one a problem. */
async function bad(given: Given): Promise<readonly string[]> {
	const loaded = await load(given);
	assert.ok(!loaded.ok, "there was no problem");
	for (const problem of loaded.problems) {
		assert.ok(problem.message.length > 5);
		assert.doesNotMatch(problem.message, /[.]$/);
	}
	return loaded.problems.map(({ place, kind, key }) =>
		[renderPlace(place), kind, ...(key === undefined ? [] : [key])].join(" "),
	);
}

/** As `interface.md` of the design promises it. */
const promised = `
service: { name: orders, namespace: shop, version: 1.4.2 }
inbound:
  - name: http
    listen: ":9810"
    app: localhost:3000
    protocol: auto
ops:      { listen: ":9801", connections: 64, bearerTokenFile: none }
api:      { listen: 127.0.0.1:9802, hosts: [] }
capture:  port
workers:  1
limits:   { buffered: auto, connections: 20000, inFlight: none, head: 64KiB, headers: 128, target: 16KiB, body: none, pipeline: 16, lingerBytes: 1MiB }
timeouts: { head: 10s, idle: 620s, bodyStall: 30s, connect: 1s, response: none, appIdle: 1s, writeStall: 30s, linger: 5s }
connections: { maxAge: none, halfClose: abort, source: auto, proxyProtocol: false }
identity: { trust: true, trustedHops: 1, headers: [x-request-id, x-correlation-id], passOn: [x-tenant-id], forcedSamplesPerSecond: 100, via: false }
routes:   { table: [], openapi: auto, collapse: true, maxSeries: 2000 }
metrics:  { names: otel, collision: agent, app: [] }
traces:   { exporter: none, sample: 0.05, keepErrors: true, keepSlowerThan: 1s, queue: 2048 }
log:      { level: info, access: true, accessSample: 1, skip: [probes], fieldBytes: 1KiB, redact: [], destination: stdout, buffer: 1MiB }
health:   { app: { http: auto, interval: 5s, timeout: 1s, fall: 3, rise: 1, critical: true }, checks: [] }
drain:    { grace: 30s, announceMin: 5s, quietMin: 1s, quietMax: 10s, streams: 10s, startWithin: 5s, appStop: 10s, agentStop: 2s, sigterm: drain, report: /dev/termination-log }
probes:   { agents: [kube-probe, ELB-HealthChecker, GoogleHC], paths: [] }
`;

describe("the settings", () => {
	test("OUTRIGGER_APP_PORT alone is enough, and gives what the promised file gives", async () => {
		const env = {
			OUTRIGGER_APP_PORT: "3000",
			OTEL_RESOURCE_ATTRIBUTES: "service.name=orders,service.namespace=shop,service.version=1.4.2",
		};
		assert.deepEqual(await good({ env, app: "required" }), await good({ yaml: promised, app: "required" }));
	});

	test("the app's check is a path with its query, a URL or a gRPC service; a URL's password is not shown", async () => {
		const app = async (yaml: string): Promise<readonly string[]> => {
			const { http, grpc } = (await good({ yaml: `health: { app: ${yaml} }` })).health.app;
			return [http, grpc];
		};
		assert.deepEqual(await app("{ http: '/ready?full=1' }"), ["/ready?full=1", "none"]);
		assert.deepEqual(await app("{ http: 'https://localhost:8443/ready' }"), ["https://localhost:8443/ready", "none"]);
		assert.deepEqual(await app("{ grpc: shop.Orders }"), ["auto", "shop.Orders"]);
		assert.deepEqual(await app("{ http: none, grpc: '*' }"), ["none", "*"]);
		const loaded = await load({ yaml: "health: { app: { http: 'http://me:secret@localhost:81/' } }" });
		assert.ok(loaded.ok && !JSON.stringify(loaded.entries).includes("secret"));
	});

	test("are complete, frozen to the last leaf, and can be handed to a thread", async () => {
		const settings = await good({ yaml: promised });
		const walk = (value: unknown, path: string): void => {
			if (typeof value !== "object" || value === null) return;
			assert.ok(Object.isFrozen(value), path);
			for (const [name, child] of Object.entries(value)) walk(child, `${path}.${name}`);
		};
		walk(settings, "settings");
		assert.deepEqual(structuredClone(settings), settings);
	});

	test("have units in their names: milliseconds, bytes, Infinity for none", async () => {
		const { limits, timeouts, drain, inbound, apps } = await good({ yaml: promised });
		assert.equal(limits.headBytesMax, 65_536);
		assert.equal(limits.inFlightMax, Number.POSITIVE_INFINITY);
		assert.equal(limits.bodyBytesMax, Number.POSITIVE_INFINITY);
		assert.equal(timeouts.idleMs, 620_000);
		assert.equal(timeouts.responseMs, Number.POSITIVE_INFINITY);
		assert.equal(drain.graceMs, 30_000);
		assert.deepEqual(inbound, [
			{
				name: "http",
				listen: { kind: "tcp", host: undefined, port: 9810 },
				app: { kind: "tcp", host: "localhost", port: 3000 },
				protocol: "auto",
			},
		]);
		assert.deepEqual(apps, [{ kind: "tcp", host: "localhost", port: 3000 }]);
	});

	test("limits.buffered is a quarter of the container's memory, 256 MiB without a limit, or what was set", async () => {
		assert.equal((await good({})).limits.bufferedBytesMax, 256 * 1024 ** 2);
		assert.equal((await good({ memory: 128 * 1024 ** 2 })).limits.bufferedBytesMax, 32 * 1024 ** 2);
		assert.equal(
			(await good({ memory: 128 * 1024 ** 2, sets: ["limits.buffered=5MiB"] })).limits.bufferedBytesMax,
			5 * 1024 ** 2,
		);
	});

	test("the service's name is told, else the pod's, else the host's, of which no part is guessed away", async () => {
		const name = async (given: Given): Promise<string> => (await good(given)).service.name;
		assert.equal(await name({}), "orders-7d4b9c-x2x");
		assert.equal(await name({ env: { POD_NAME: "orders-1" } }), "orders-1");
		assert.equal(await name({ env: { POD_NAME: "" } }), "orders-7d4b9c-x2x");
		assert.equal(await name({ yaml: "service: { name: a }", env: { POD_NAME: "orders-1" } }), "a");
		assert.equal(await name({ yaml: "service: { name: a }", env: { OTEL_SERVICE_NAME: "b" } }), "b");
		assert.equal(await name({ env: { OTEL_SERVICE_NAME: "b", OUTRIGGER_SERVICE__NAME: "c" } }), "c");
		assert.equal((await good({ env: { POD_NAMESPACE: "shop" } })).service.namespace, "shop");
		assert.equal((await good({ env: { POD_NAMESPACE: "" } })).service.namespace, undefined);
	});

	test("traces: an endpoint switches the exporter on, a switch that is set wins, attributes come together", async () => {
		const env = {
			OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318/base/",
			OTEL_EXPORTER_OTLP_HEADERS: "authorization=Bearer%20x",
			OTEL_RESOURCE_ATTRIBUTES: "team=shop",
			OTEL_SERVICE_NAME: "orders",
			POD_NAME: "orders-1",
			POD_UID: "u",
			POD_NAMESPACE: "shop",
			NODE_NAME: "n",
		};
		const { traces } = await good({ env });
		assert.equal(traces.exporter, "otlp");
		assert.equal(traces.endpoint, "http://collector:4318/base/v1/traces");
		assert.deepEqual(traces.headers, { authorization: "Bearer x" });
		assert.deepEqual(traces.resourceAttributes, {
			"k8s.pod.name": "orders-1",
			"k8s.pod.uid": "u",
			"k8s.namespace.name": "shop",
			"k8s.node.name": "n",
			team: "shop",
			"service.name": "orders",
			"service.namespace": "shop",
		});
		assert.equal((await good({ env: { ...env, OTEL_SDK_DISABLED: "true" } })).traces.exporter, "none");
		assert.equal((await good({ env: { ...env, OTEL_TRACES_SAMPLER: "always_on" } })).traces.sample, 1);
		assert.equal((await good({})).traces.endpoint, undefined);
	});

	test("with capture: none there is no data path, and the app is still known", async () => {
		const { inbound, apps } = await good({
			env: { OUTRIGGER_CAPTURE: "none", OUTRIGGER_APP_PORT: "3000" },
			app: "required",
		});
		assert.deepEqual(inbound, []);
		assert.deepEqual(apps, [{ kind: "tcp", host: "localhost", port: 3000 }]);
		assert.deepEqual((await good({ env: { OUTRIGGER_CAPTURE: "none" }, app: "required" })).apps, []);
	});

	test("of a route keep what it does not say undefined", async () => {
		const { routes } = await good({
			yaml: "routes: { table: [{ path: '/a/{id}', methods: [GET], body: none, response: 5m }, { path: /b }] }",
		});
		assert.deepEqual(routes.table, [
			{ path: "/a/{id}", methods: ["GET"], bodyBytesMax: Number.POSITIVE_INFINITY, responseMs: 300_000 },
			{ path: "/b", methods: [], bodyBytesMax: undefined, responseMs: undefined },
		]);
	});

	test("for tests and benchmarks come from a few keys, and wrong ones are our mistake", () => {
		const settings = settingsFrom({ "inbound.0.app": "127.0.0.1:1234", "timeouts.head": "50ms" });
		assert.equal(settings.timeouts.headMs, 50);
		assert.throws(() => settingsFrom({ "timeouts.hed": "50ms" }), /timeouts.head/);
	});
});

describe("layers", () => {
	test("defaults < file < OpenTelemetry's variables < our variables < flags, each with its place", async () => {
		const place = async (given: Given): Promise<string> => {
			const loaded = await load(given);
			assert.ok(loaded.ok);
			const entry = loaded.entries.find(({ path }) => path === "traces.sample");
			assert.ok(entry !== undefined);
			return `${String(entry.value)} ${renderPlace(entry.source)}`;
		};
		const yaml = "traces:\n  sample: 0.1\n";
		const otel = { OTEL_TRACES_SAMPLER: "traceidratio", OTEL_TRACES_SAMPLER_ARG: "0.2" };
		const ours = { OUTRIGGER_TRACES__SAMPLE: "0.3" };
		assert.equal(await place({}), "0.05 default");
		assert.equal(await place({ yaml }), "0.1 c.yaml:2:11");
		assert.equal(await place({ yaml, env: otel }), "0.2 OTEL_TRACES_SAMPLER_ARG");
		assert.equal(await place({ yaml, env: { ...otel, ...ours } }), "0.3 OUTRIGGER_TRACES__SAMPLE");
		assert.equal(
			await place({ yaml, env: { ...otel, ...ours }, sets: ["traces.sample=0.4", "traces.sample=0.5"] }),
			"0.5 --set traces.sample",
		);
		const flags = [{ flag: "--sample", path: "traces.sample", text: "0.6" }];
		assert.equal(await place({ yaml, sets: ["traces.sample=0.4"], flags }), "0.6 --sample");
	});

	test("lists of objects: the file's replaces the default, variables change entries by index or put one at the end", async () => {
		const yaml = "inbound:\n  - { name: a, listen: ':1', app: 'localhost:11' }\n  - { app: 'localhost:12' }\n";
		const env = {
			OUTRIGGER_INBOUND__1__NAME: "b",
			OUTRIGGER_INBOUND__2__APP: "localhost:13",
			OUTRIGGER_INBOUND__2__PROTOCOL: "tcp",
		};
		const { inbound } = await good({ yaml, env });
		assert.deepEqual(
			inbound.map(({ name, listen, protocol }) => [name, listen.kind === "tcp" ? listen.port : 0, protocol]),
			[
				["a", 1, "auto"],
				["b", 9811, "auto"],
				["http-3", 9812, "tcp"],
			],
		);
	});

	test("more than ten entries of a list keep their order", async () => {
		const env = Object.fromEntries(
			Array.from({ length: 12 }, (_, index) => [`OUTRIGGER_INBOUND__${index}__APP`, `localhost:${index + 1}`]),
		);
		const { inbound } = await good({ env });
		assert.deepEqual(
			inbound.map(({ app }) => (app?.kind === "tcp" ? app.port : 0)),
			[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
		);
	});

	test("lists of texts: whole with commas, or by index on top of what is there", async () => {
		const paths = async (given: Given): Promise<readonly string[]> => (await good(given)).probes.paths;
		const yaml = "probes: { paths: [/a, /b] }";
		assert.deepEqual(await paths({ yaml, env: { OUTRIGGER_PROBES__PATHS: "/c,/d" } }), ["/c", "/d"]);
		assert.deepEqual(
			await paths({ yaml, env: { OUTRIGGER_PROBES__PATHS__0: "/c", OUTRIGGER_PROBES__PATHS__2: "/e" } }),
			["/c", "/b", "/e"],
		);
		assert.deepEqual(await paths({ yaml, env: { OUTRIGGER_PROBES__PATHS: "none" } }), []);
		assert.deepEqual(await paths({ yaml, env: { OUTRIGGER_PROBES__PATHS: "/c", OUTRIGGER_PROBES__PATHS__1: "/d" } }), [
			"/c",
			"/d",
		]);
		assert.deepEqual(await paths({ yaml, sets: ["probes.paths.1=/x"] }), ["/a", "/x"]);
		assert.deepEqual((await good({ env: { OUTRIGGER_IDENTITY__HEADERS__0: "Request-Id" } })).identity.headers, [
			"request-id",
			"x-correlation-id",
		]);
	});

	test("the file is the flag's, else the variable's, else the usual one if it is there", async () => {
		const asked: string[] = [];
		const read = async (env: Readonly<Record<string, string>>, file: string | undefined): Promise<Loaded> =>
			loadSettings({
				env,
				file,
				cwd: "/here",
				app: "found_later",
				system: {
					readFile: async (path) => {
						asked.push(path);
						return undefined;
					},
					hostName: () => "h",
					memoryLimitBytes: () => undefined,
				},
			});
		const flag = await read({ OUTRIGGER_CONFIG: "b.yaml" }, "a.yaml");
		const variable = await read({ OUTRIGGER_CONFIG: "b.yaml" }, undefined);
		const usual = await read({ OUTRIGGER_CONFIG: "" }, undefined);
		assert.deepEqual(asked, ["/here/a.yaml", "/here/b.yaml", defaultFile]);
		assert.deepEqual([flag.ok, variable.ok, usual.ok], [false, false, true]);
		assert.equal(flag.ok ? "" : renderPlace(flag.problems[0]?.place ?? { kind: "default" }), "--config");
		assert.equal(
			variable.ok ? "" : renderPlace(variable.problems[0]?.place ?? { kind: "default" }),
			"OUTRIGGER_CONFIG",
		);
	});

	test("a file that cannot be read is a problem, whatever else is wrong is told too, and our own mistakes are not hidden", async () => {
		const failing = (error: Error, env: Readonly<Record<string, string>>): Promise<Loaded> =>
			loadSettings({
				env,
				app: "required",
				system: { readFile: () => Promise.reject(error), hostName: () => "h", memoryLimitBytes: () => undefined },
			});
		const denied = await failing(Object.assign(new Error("no"), { code: "EACCES" }), { OUTRIGGER_WORKERS: "x" });
		assert.ok(!denied.ok);
		assert.deepEqual(
			denied.problems.map(({ kind }) => kind),
			["file", "wrong_type"],
			"and not that the app is missing: the file may say it",
		);
		await assert.rejects(failing(new TypeError("ours"), {}), TypeError);
	});
});

describe("what is secret is never shown:", () => {
	const env = {
		OTEL_EXPORTER_OTLP_HEADERS: "authorization=geheim",
		OTEL_EXPORTER_OTLP_ENDPOINT: "http://u:geheim@collector:4318",
		OUTRIGGER_METRICS__APP: "http://u:geheim@localhost/metrics",
	};

	test("not among the effective values", async () => {
		const loaded = await load({ env });
		assert.ok(loaded.ok);
		assert.doesNotMatch(JSON.stringify(loaded.entries), /geheim/);
		assert.equal(loaded.entries.find(({ path }) => path === "traces.headers")?.value, "[hidden]");
		assert.deepEqual(loaded.settings.traces.headers, { authorization: "geheim" });
		const without = await load({});
		assert.equal(without.ok ? without.entries.find(({ path }) => path === "traces.headers")?.value : "", "none");
	});

	test("not in problems or warnings either", async () => {
		const yaml = "traces:\n  headers: [geheim]\n  endpoint: htp://u:geheim@c\n";
		const worse = {
			OTEL_EXPORTER_OTLP_HEADERS: "geheim",
			OTEL_EXPORTER_OTLP_ENDPOINT: "hp://u:geheim@c",
			OUTRIGGER_TRACES__HEADERS: "geheim",
		};
		const loaded = await load({ yaml, env: worse });
		assert.ok(!loaded.ok);
		assert.equal(loaded.problems.length, 3);
		assert.equal(loaded.warnings.length, 2);
		assert.doesNotMatch(JSON.stringify(loaded), /geheim/);
	});
});

/** Each row: what is wrong, the configuration, every problem with its place. Nothing more and nothing less is told. */
const table: readonly (readonly [string, Given, readonly string[]])[] = [
	["syntax", { yaml: "limits: { head: 1KiB\nlog: }" }, ["c.yaml:2:1 syntax", "c.yaml:2:6 syntax"]],
	["a tab", { yaml: "limits:\n\thead: 1KiB" }, ["c.yaml:2:1 syntax"]],
	["two documents", { yaml: "workers: 1\n---\nworkers: 2" }, ["c.yaml:2:1 syntax"]],
	["YAML 1.1", { yaml: "%YAML 1.1\n---\nworkers: 1" }, ["c.yaml:1:1 syntax"]],
	["a tag", { yaml: "workers: !int 1" }, ["c.yaml:1:10 syntax"]],
	["an alias without an anchor", { yaml: "workers: *w" }, ["c.yaml:1:10 syntax"]],
	["not UTF-8", { yaml: new Uint8Array([0x61, 0xff]) }, ["c.yaml:1:1 file"]],
	["too large", { yaml: `#${"x".repeat(fileBytesMax)}` }, ["c.yaml:1:1 file"]],
	["a list at the top", { yaml: "- a" }, ["c.yaml:1:1 wrong_type"]],
	["a text at the top", { yaml: "hello" }, ["c.yaml:1:1 wrong_type"]],
	["a text for a section", { yaml: "limits: 5" }, ["c.yaml:1:9 wrong_type"]],
	["a text for a list of objects", { yaml: "inbound: ':80'" }, ["c.yaml:1:10 wrong_type"]],
	["a text for an object of a list", { yaml: "inbound: [':80']" }, ["c.yaml:1:11 wrong_type"]],
	[
		"a key that is there twice",
		{ yaml: "workers: 1\nlog: { level: loud }\nworkers: 2" },
		["c.yaml:2:15 bad_value log.level", "c.yaml:3:1 duplicate"],
	],
	[
		"a merge key",
		{ yaml: "a: &a { head: 1s }\ntimeouts: { <<: *a }" },
		["c.yaml:1:1 unknown_key", "c.yaml:2:13 unknown_key"],
	],
	["a key that is no text", { yaml: "{ 1: 2, [a]: 3 }" }, ["c.yaml:1:3 unknown_key", "c.yaml:1:9 unknown_key"]],
	[
		"unknown keys, everywhere",
		{
			yaml: "timeout: { head: 1s }\ntimeouts: { hed: 1s }\ninbound:\n  - { lisen: ':80' }",
			env: { OUTRIGGER_TIMEOUT__HEAD: "1s" },
			sets: ["timeouts.hed=1s", "x"],
		},
		[
			"c.yaml:1:1 unknown_key",
			"c.yaml:2:13 unknown_key",
			"c.yaml:4:7 unknown_key",
			"OUTRIGGER_TIMEOUT__HEAD unknown_key",
			"--set wrong_type",
			"--set timeouts.hed unknown_key",
		],
	],
	[
		"a group as a flag",
		{ sets: ["timeouts=1s", "inbound.0=x"] },
		["--set timeouts wrong_type", "--set inbound.0 wrong_type"],
	],
	[
		"wrong types",
		{
			yaml: "workers: two\nlog:\n  access: yes\n  level: 3\ntimeouts: { head: 10, idle: }\nprobes: { paths: /a, agents: [[a], {b: c}, ~] }\nservice: { version: 1.10 }",
		},
		[
			"c.yaml:1:10 wrong_type workers",
			"c.yaml:3:11 wrong_type log.access",
			"c.yaml:4:10 wrong_type log.level",
			"c.yaml:5:19 wrong_type timeouts.head",
			"c.yaml:5:29 wrong_type timeouts.idle",
			"c.yaml:6:18 wrong_type probes.paths",
			"c.yaml:6:31 wrong_type probes.agents",
			"c.yaml:6:36 wrong_type probes.agents",
			"c.yaml:6:44 wrong_type probes.agents",
			"c.yaml:7:21 wrong_type service.version",
		],
	],
	[
		"out of bounds",
		{ yaml: "workers: 0\ntraces: { sample: 1.5 }\nlimits: { head: 1B }", env: { OUTRIGGER_LIMITS__HEADERS: "5000" } },
		[
			"c.yaml:1:10 out_of_bounds workers",
			"c.yaml:2:19 out_of_bounds traces.sample",
			"c.yaml:3:17 out_of_bounds limits.head",
			"OUTRIGGER_LIMITS__HEADERS out_of_bounds limits.headers",
		],
	],
	["too many entries", { yaml: `inbound: [${"{ app: 'a:1' },".repeat(33)}]` }, ["c.yaml:1:10 out_of_bounds"]],
	[
		"an index beyond all bounds",
		{ env: { OUTRIGGER_INBOUND__40__APP: "a:1" } },
		["OUTRIGGER_INBOUND__40__APP out_of_bounds inbound.40.app"],
	],
	[
		"gaps in lists",
		{
			env: {
				OUTRIGGER_INBOUND__2__APP: "a:1",
				OUTRIGGER_ROUTES__TABLE__1__PATH: "/a",
				OUTRIGGER_PROBES__PATHS__1: "/a",
			},
			sets: ["health.checks.1.name=a"],
		},
		[
			"OUTRIGGER_ROUTES__TABLE__1__PATH missing routes.table.1.path",
			"OUTRIGGER_INBOUND__2__APP missing inbound.2.app",
			"OUTRIGGER_PROBES__PATHS__1 missing probes.paths.1",
			"--set health.checks.1.name missing health.checks.1.name",
		],
	],
	[
		"bad addresses",
		{ yaml: "inbound: [{ listen: 9810, app: 3000 }]\nops: { listen: host:80 }\napi: { listen: ':9802' }" },
		[
			"c.yaml:1:21 wrong_type inbound.0.listen",
			"c.yaml:1:32 wrong_type inbound.0.app",
			"c.yaml:2:16 bad_address ops.listen",
			"c.yaml:3:16 bad_address api.listen",
		],
	],
	[
		"the same port several times",
		{ yaml: "inbound:\n  - { listen: ':9801' }\n  - { listen: ':9801' }\napi: { listen: '127.0.0.1:9801' }" },
		[
			"c.yaml:2:15 conflict inbound.0.listen",
			"c.yaml:3:15 conflict inbound.1.listen",
			"c.yaml:3:15 conflict inbound.1.listen",
			"c.yaml:4:16 conflict api.listen",
			"c.yaml:4:16 conflict api.listen",
			"c.yaml:4:16 conflict api.listen",
		],
	],
	[
		"the same names",
		{
			yaml: "inbound: [{ name: a }, { name: a }]\nhealth: { checks: [{ name: b, url: 'tcp://a:1' }, { name: b, url: 'tcp://a:1' }] }",
		},
		["c.yaml:1:32 duplicate inbound.1.name", "c.yaml:2:59 duplicate health.checks.1.name"],
	],
	[
		"an agent that would call itself",
		{ env: { OUTRIGGER_APP_PORT: "9810" } },
		["OUTRIGGER_APP_PORT conflict inbound.0.app"],
	],
	[
		"an agent that would call its own socket",
		{ sets: ["inbound.0.app=unix:/a", "ops.listen=unix:/a"] },
		["--set inbound.0.app conflict inbound.0.app"],
	],
	[
		"capture: none with something to listen on",
		{ yaml: "capture: none\ninbound: [{ listen: ':1', protocol: tcp, app: 'a:1' }]" },
		["c.yaml:2:21 conflict inbound.0.listen", "c.yaml:2:37 conflict inbound.0.protocol"],
	],
	["nobody says where the app is", { app: "required" }, ["OUTRIGGER_APP_PORT missing inbound.0.app"]],
	[
		"nobody says where the second app is",
		{ app: "advised", yaml: "inbound:\n  - { listen: ':1' }\n  - { name: b }" },
		["c.yaml:3:5 missing inbound.1.app", "OUTRIGGER_APP_PORT missing inbound.0.app"],
	],
	["an empty list of inbound", { app: "required", yaml: "inbound: []" }, ["c.yaml:1:10 missing inbound"]],
	[
		"a bad app port is told once",
		{ app: "required", env: { OUTRIGGER_APP_PORT: "x" } },
		["OUTRIGGER_APP_PORT wrong_type"],
	],
	[
		"routes: malformed, missing and never reached",
		{
			yaml: [
				"routes:",
				"  table:",
				"    - { path: '/a/{id' }",
				"    - { methods: [get] }",
				"    - { path: '/b/{x}' }",
				"    - { path: '/b/{y}', methods: [GET] }",
				"    - { path: /c, methods: [GET] }",
				"    - { path: /c, methods: [POST] }",
				"    - { path: /c }",
				"    - { path: /c, methods: [POST, GET] }",
				"    - { path: c, body: 1, response: 1 }",
				"    - { body: 1MiB }",
			].join("\n"),
		},
		[
			"c.yaml:3:15 bad_value routes.table.0.path",
			"c.yaml:4:7 missing routes.table.1.path",
			"c.yaml:4:19 bad_value routes.table.1.methods",
			"c.yaml:6:15 duplicate routes.table.3.path",
			"c.yaml:10:15 duplicate routes.table.7.path",
			"c.yaml:11:15 bad_value routes.table.8.path",
			"c.yaml:11:24 wrong_type routes.table.8.body",
			"c.yaml:11:37 wrong_type routes.table.8.response",
			"c.yaml:12:7 missing routes.table.9.path",
		],
	],
	[
		"checks without a name or URL, and too slow ones",
		{
			yaml: "health:\n  app: { interval: 1s, timeout: 2s }\n  checks: [{ name: a }, { url: 'tcp://a:1', timeout: 6s }]",
		},
		[
			"c.yaml:2:33 conflict health.app.timeout",
			"c.yaml:3:12 missing health.checks.0.url",
			"c.yaml:3:25 missing health.checks.1.name",
			"c.yaml:3:54 conflict health.checks.1.timeout",
		],
	],
	[
		"two checks of the one app, a service that is none, and a port with a path",
		{
			yaml: "health:\n  app: { http: /ready, grpc: '*' }\n  checks: [{ name: a, url: 'tcp://a:1/b' }, { name: b, url: 'tcp://a:1/' }]",
		},
		["c.yaml:2:30 conflict health.app.grpc", "c.yaml:3:28 bad_value health.checks.0.url"],
	],
	[
		"a page of the app that is neither path nor URL, and a gRPC service that is none",
		{ yaml: "health:\n  app: { http: 'tcp://a:1', grpc: a b }" },
		["c.yaml:2:16 bad_value health.app.http", "c.yaml:2:35 bad_value health.app.grpc"],
	],
	["a page at no URL", { yaml: "health: { app: { http: 'http://[/' } }" }, ["c.yaml:1:24 bad_value health.app.http"]],
	[
		"a check by variable only",
		{ env: { OUTRIGGER_HEALTH__CHECKS__0__NAME: "a" } },
		["OUTRIGGER_HEALTH__CHECKS__0__NAME missing health.checks.0.url"],
	],
	[
		"a drain that does not fit into the grace period",
		{ yaml: "drain: { announceMin: 25s }" },
		["c.yaml:1:23 conflict drain.grace"],
	],
	[
		"a grace period into which the drain does not fit",
		{ env: { OUTRIGGER_DRAIN__GRACE: "10s" } },
		["OUTRIGGER_DRAIN__GRACE conflict drain.grace"],
	],
	[
		"a shortest time above the longest",
		{ yaml: "drain: { quietMax: 500ms }" },
		["c.yaml:1:20 conflict drain.quietMin"],
	],
	[
		"a target larger than the head it is in",
		{ yaml: "limits: { head: 8KiB }" },
		["c.yaml:1:17 conflict limits.target"],
	],
	["an exporter without a collector", { yaml: "traces: { exporter: otlp }" }, ["c.yaml:1:21 missing traces.endpoint"]],
	[
		"threads that cannot share",
		{ yaml: "workers: 2\ninbound: [{ listen: 'unix:/a' }, { listen: ':0' }]" },
		["c.yaml:1:10 conflict workers", "c.yaml:1:10 conflict workers"],
	],
	[
		"field names that are not ids",
		{ yaml: "identity: { headers: [x-outrigger-id, Host], passOn: [a b] }" },
		[
			"c.yaml:1:23 bad_value identity.headers",
			"c.yaml:1:39 bad_value identity.headers",
			"c.yaml:1:55 bad_value identity.passOn",
		],
	],
	["only one id", { yaml: "identity: { headers: [x-id] }" }, ["c.yaml:1:22 out_of_bounds identity.headers"]],
	[
		"a value that is wrong is not also in conflict",
		{ yaml: "limits: { head: x, target: 1MiB }\ndrain: { grace: y }\nops: { listen: z }" },
		["c.yaml:1:17 wrong_type limits.head", "c.yaml:2:17 wrong_type drain.grace", "c.yaml:3:16 bad_address ops.listen"],
	],
];

describe("every problem is told at once, with its place:", () => {
	for (const [what, given, wanted] of table) {
		test(what, async () => assert.deepEqual(await bad(given), wanted));
	}

	test("what is nested without end is refused, however it is nested", async () => {
		const depth = 20_000;
		const shapes = ["a: [", "- ", "{a: ", "? "].map((piece) => piece.repeat(depth));
		for (const yaml of [...shapes, `a: ${"[".repeat(depth)}${"]".repeat(depth)}`]) {
			const told = await bad({ yaml });
			assert.ok(
				told.length > 0 && told.every((each) => /^c\.yaml:1:[0-9]+ (?:syntax|unknown_key)$/.test(each)),
				told.join(),
			);
		}
	});

	test("an alias bomb is refused quickly", async () => {
		const levels = Array.from(
			{ length: 30 },
			(_, index) => `l${index + 1}: &l${index + 1} [${`*l${index},`.repeat(10)}]`,
		);
		const yaml = `l0: &l0 [a]\n${levels.join("\n")}\nprobes: { paths: *l30 }\nidentity: { headers: *l0 }`;
		const told = await bad({ yaml });
		assert.ok(told.length <= 100);
	});

	test("aliases are followed, and too many of them are refused", async () => {
		assert.deepEqual(
			(await good({ yaml: "probes: { paths: &p [/a], agents: [&b x, *b2, &b2 y] }".replace(", *b2, &b2 y", "") }))
				.probes.agents,
			["x"],
		);
		assert.equal((await good({ yaml: "timeouts: { head: &t 3s, connect: *t }" })).timeouts.connectMs, 3000);
		const checks = Array.from(
			{ length: 30 },
			(_, index) => `{ name: c${index}, url: *u, interval: *i, timeout: *t, rise: *r }`,
		);
		const yaml = `health:\n  checks: [{ name: c, url: &u tcp://a:1, interval: &i 9s, timeout: &t 1s, rise: &r 2 }, ${checks.join(", ")}]`;
		const told = await bad({ yaml });
		assert.equal(told.filter((each) => / syntax/.test(each)).length, 1);
	});

	test("an anchor that holds itself ends the walk, not the process", async () => {
		assert.deepEqual(await bad({ yaml: "probes: { paths: &a [*a] }" }), ["c.yaml:1:21 wrong_type probes.paths"]);
	});

	test("more than a hundred problems of one file are cut", async () => {
		const told = await bad({ yaml: Array.from({ length: 200 }, (_, index) => `k${index}: 1`).join("\n") });
		assert.equal(told.length, 100);
	});

	test("an empty file, one of comments and one of empty sections are configurations", async () => {
		for (const yaml of ["", "# nothing\n", "---\n", "limits:\ninbound:\n", "\uFEFFworkers: 1"]) await good({ yaml });
	});

	test("an example is in the form of the place, and right", async () => {
		const loaded = await load({
			yaml: "timeouts: { head: 1 }",
			env: { OUTRIGGER_LOG__SKIP: "x" },
			sets: ["log.level=loud"],
			flags: [{ flag: "--app-port", path: "inbound.0.app", text: "0" }],
		});
		assert.deepEqual(loaded.ok ? [] : loaded.problems.map(({ example }) => example), [
			"head: 5s",
			"OUTRIGGER_LOG__SKIP=probes,/internal/*",
			"--set log.level=warn",
			"--app-port localhost:3000",
		]);
	});

	test("a suggestion is a neighbour, or the place where a key of that name is", async () => {
		const loaded = await load({ yaml: "bodyStall: 1s\ndrain: { timeout: 1s, annnounceMin: 1s, zzz: 1 }" });
		assert.deepEqual(loaded.ok ? [] : loaded.problems.map(({ suggestion }) => suggestion), [
			"timeouts.bodyStall",
			"health.app.timeout",
			"announceMin",
			undefined,
		]);
	});
});

describe("warnings are told and stop nothing:", () => {
	const warned = async (given: Given): Promise<readonly string[]> => {
		const loaded = await load(given);
		assert.ok(loaded.ok, JSON.stringify(loaded));
		return loaded.warnings.map(({ place, kind, key }) => `${renderPlace(place)} ${kind} ${key ?? ""}`.trim());
	};

	test("a wrong variable of OpenTelemetry is ignored", async () => {
		const env = {
			OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4318",
			OTEL_TRACES_SAMPLER: "jaeger_remote",
			OTEL_EXPORTER_OTLP_HEADERS: "a",
		};
		assert.deepEqual(await warned({ env }), [
			"OTEL_TRACES_SAMPLER bad_value",
			"OTEL_EXPORTER_OTLP_ENDPOINT bad_value traces.endpoint",
			"OTEL_EXPORTER_OTLP_HEADERS bad_value traces.headers",
		]);
	});

	test("keys without effect", async () => {
		const yaml =
			"metrics: { collision: both }\nlog: { access: false, accessSample: 0.5, skip: [] }\ntraces: { headers: { a: b } }";
		assert.deepEqual(await warned({ yaml }), [
			"c.yaml:1:23 ignored metrics.collision",
			"c.yaml:2:37 ignored log.accessSample",
			"c.yaml:2:48 ignored log.skip",
			"c.yaml:3:20 ignored traces.headers",
		]);
	});

	test("that the app is not told, where that is only looked at", async () => {
		assert.deepEqual(await warned({ app: "advised" }), ["OUTRIGGER_APP_PORT missing inbound.0.app"]);
		assert.deepEqual(await warned({ app: "found_later" }), []);
	});
});

test("whatever a file holds, it ends in settings or in problems with places", async () => {
	const leaf = fc.oneof(
		fc.string(),
		fc.integer(),
		fc.boolean(),
		fc.constant(null),
		fc.constantFrom("1s", "none", "auto", ":80", "1KiB", "/a", "a:1"),
	);
	const keys = fc.constantFrom(
		"inbound",
		"limits",
		"head",
		"listen",
		"app",
		"routes",
		"table",
		"path",
		"log",
		"skip",
		"level",
		"traces",
		"headers",
		"health",
		"checks",
		"workers",
		"x",
	);
	const { tree } = fc.letrec((tie) => ({
		tree: fc.oneof(
			{ depthSize: "small" },
			leaf,
			fc.array(tie("tree"), { maxLength: 4 }),
			fc.dictionary(keys, tie("tree"), { maxKeys: 6 }),
		),
	}));
	await fc.assert(
		fc.asyncProperty(fc.dictionary(keys, tree, { maxKeys: 8 }), async (value) => {
			const loaded = await load({ yaml: stringify(value), app: "required" });
			if (loaded.ok) return;
			assert.ok(loaded.problems.length > 0);
			for (const { place } of loaded.problems) if (place.kind === "file") assert.ok(place.line > 0 && place.column > 0);
		}),
		{ numRuns: 200 },
	);
});
