import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { ask } from "./ask.ts";
import { type App, eventually, freePort, startAgent, startApp, startNamed } from "./peers.ts";
import { Running, run } from "./processes.ts";
import { apps, type Tool, tool, tools, without } from "./tools.ts";

const TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OPENMETRICS = { accept: "application/openmetrics-text; version=1.0.0" };
const TEXT = { accept: "text/plain; version=0.0.4" };

/** The reference parser of OpenMetrics. Prints how many families it found. */
const REFERENCE = `
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
print(len(list(parse(sys.stdin.buffer.read().decode()))))`;

/** What promtool has against a page of the text format, a line each. */
async function complaints(page: string): Promise<readonly string[]> {
	const { stdout, stderr, code } = await run(tool("promtool"), ["check", "metrics"], { input: page });
	const lines = `${stdout}${stderr}`.split("\n").filter((line) => line !== "");
	assert.ok(code === 0 || code === 3, `promtool cannot read the page:\n${lines.join("\n")}`);
	return lines;
}

/**
 * client_golang's own OpenMetrics page has a gauge and a counter `go_memstats_alloc_bytes`, which are one name there: the agent
 * asks for OpenMetrics, and passes the second on without its type and help.
 */
const KNOWN = ["go_memstats_alloc_bytes_total no help text"];

/**
 * The series of a page, without the values, and without the time of creation that only the text format shows as a series. OpenMetrics
 * writes bounds as floats (`le="1.0"`), and the agent passes them on as they came.
 */
const seriesOf = (page: string): ReadonlySet<string> =>
	new Set(
		(page.match(/^[a-z]\w*(?:\{.*\})?(?= )/gm) ?? [])
			.filter((series) => !/_created(?:\{|$)/.test(series))
			.map((series) => series.replace(/\b(le|quantile)="(\d+)"/, '$1="$2.0"')),
	);

async function assertOpenMetrics(page: string): Promise<void> {
	assert.ok(page.endsWith("# EOF\n"));
	const { code, stdout, stderr } = await run(tool("python"), ["-c", REFERENCE], { input: page });
	assert.equal(code, 0, stderr);
	assert.ok(Number(stdout.toString()) > 10);
}

const pages: readonly { readonly of: string; readonly needs: readonly Tool[]; readonly start: () => Promise<App> }[] = [
	{
		of: "Python's prometheus_client",
		needs: ["python"],
		start: () => startApp(tool("python"), [`${apps}python/metrics_page.py`]),
	},
	{ of: "Go's client_golang", needs: ["go"], start: () => startNamed("go") },
	{
		of: "the JVM's client",
		needs: ["java"],
		start: () =>
			startApp(tool("java"), [
				"-XX:TieredStopAtLevel=1",
				"-Dfile.encoding=UTF-8",
				"-cp",
				tools.javaClasses,
				"MetricsPage",
			]),
	},
	{
		of: "Node's prom-client",
		needs: [],
		start: () =>
			startApp(process.execPath, [
				`${apps}node/metrics-page.mjs`,
				createRequire(import.meta.url).resolve("prom-client"),
			]),
	},
];

describe("the agent's page", { skip: without("promtool") }, () => {
	for (const names of ["otel", "legacy", "both"]) {
		test(`is clean for promtool and for the reference parser, with names ${names}`, {
			skip: without("python"),
		}, async (t) => {
			const app = await startNamed("node");
			t.after(() => app.stop());
			const agent = await startAgent(app.port, {
				OUTRIGGER_METRICS__NAMES: names,
				OUTRIGGER_METRICS__BODY_SIZES: "true",
			});
			t.after(() => agent.stop());
			await ask(agent.url, { headers: { traceparent: TRACEPARENT } });
			await ask(agent.url, { path: "/status/500" });
			await ask(agent.url, { method: "TRACE" });
			assert.deepEqual(await complaints(await agent.metricsPage(TEXT)), []);
			await assertOpenMetrics(await agent.metricsPage(OPENMETRICS));
		});
	}

	for (const { of, needs, start } of pages) {
		test(`merged with one of ${of} gives promtool no more to complain of`, { skip: without(...needs) }, async (t) => {
			const app = await start();
			t.after(() => app.stop());
			const agent = await startAgent(app.port, { OUTRIGGER_METRICS__APP__0: `${app.url}/metrics` });
			t.after(() => agent.stop());
			const direct = await (await fetch(`${app.url}/metrics`, { headers: TEXT })).text();
			const merged = await agent.metricsPage(TEXT);
			const before = [...KNOWN, ...(await complaints(direct))];
			assert.deepEqual(
				(await complaints(merged)).filter((line) => !before.includes(line)),
				[],
			);
			for (const series of [
				/^peer_orders_total\{kind="quoted \\" and \\\\"\} 3(\.0)?$/m,
				/^peer_orders_total\{kind="ünicode"\} 1(\.0)?$/m,
			]) {
				assert.match(direct, series);
				assert.match(merged, series);
			}
			const families = merged.match(/^# TYPE \S+/gm) ?? [];
			assert.equal(new Set(families).size, families.length, "a family is there twice");
			assert.deepEqual([...seriesOf(direct).difference(seriesOf(merged))], []);
			assert.match(merged, /^outrigger_app_metrics_up\{target="[^"]*"\} 1$/m);
			if (tools.python !== undefined) await assertOpenMetrics(await agent.metricsPage(OPENMETRICS));
		});
	}
});

test("Prometheus scrapes the agent: the target is up, series and exemplars arrive, the app's among them", {
	skip: without("prometheus", "go"),
}, async (t) => {
	const app = await startNamed("go");
	t.after(() => app.stop());
	const agent = await startAgent(app.port, { OUTRIGGER_METRICS__APP__0: `${app.url}/metrics` });
	t.after(() => agent.stop());
	for (let i = 0; i < 10; i++) await ask(agent.url, { path: `/bytes/${i}`, headers: { traceparent: TRACEPARENT } });

	const folder = await mkdtemp(join(tmpdir(), "outrigger-prometheus-"));
	t.after(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
	const config = join(folder, "prometheus.yml");
	await writeFile(
		config,
		`global: { scrape_interval: 1s, scrape_timeout: 1s }
scrape_configs:
  - job_name: pods
    static_configs: [ { targets: ["${new URL(agent.ops).host}"] } ]
`,
	);
	const port = await freePort();
	const prometheus = new Running(tool("prometheus"), [
		`--config.file=${config}`,
		`--storage.tsdb.path=${join(folder, "data")}`,
		`--web.listen-address=127.0.0.1:${port}`,
		"--enable-feature=exemplar-storage",
	]);
	t.after(() => prometheus.stop("SIGKILL"));
	const api = async <T>(path: string): Promise<T> => {
		const answer = await fetch(`http://127.0.0.1:${port}/api/v1/${path}`);
		return ((await answer.json()) as { data: T }).data;
	};
	const value = async (query: string): Promise<number | undefined> => {
		const { result } = await api<{ result: readonly { value: readonly [number, string] }[] }>(
			`query?query=${encodeURIComponent(query)}`,
		);
		const [first] = result;
		return first === undefined ? undefined : Number(first.value[1]);
	};

	await eventually(async () => ((await value('up{job="pods"}')) === 1 ? true : undefined), "the target is up");
	const { activeTargets } = await api<{ activeTargets: readonly { health: string; lastError: string }[] }>("targets");
	assert.deepEqual(
		activeTargets.map(({ health, lastError }) => [health, lastError]),
		[["up", ""]],
	);
	assert.equal(await value('sum(http_server_request_duration_seconds_count{http_route="/bytes/{id}"})'), 10);
	assert.equal(await value("sum(peer_orders_total)"), 4);
	assert.equal(await value("outrigger_app_metrics_up"), 1);
	assert.equal(await value("scrape_samples_scraped - scrape_samples_post_metric_relabeling"), 0);

	type Exemplars = readonly { readonly exemplars: readonly { readonly labels: Readonly<Record<string, string>> }[] }[];
	const exemplars = async (series: string): Promise<readonly string[]> => {
		const found = await api<Exemplars>(`query_exemplars?query=${encodeURIComponent(series)}&start=0&end=${2 ** 33}`);
		return found.flatMap((each) => each.exemplars.map(({ labels }) => labels["trace_id"] ?? ""));
	};
	// Exemplars come only with OpenMetrics, so that was what the two agreed on.
	const trace = TRACEPARENT.slice(3, 35);
	assert.ok((await exemplars("http_server_request_duration_seconds_bucket")).includes(trace));
	assert.ok((await exemplars("peer_work_seconds_bucket")).includes(trace));
});
