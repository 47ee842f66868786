import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CELL, CounterReader, Counters } from "../bridge/counters.ts";
import { SeriesTable, SeriesUnion } from "../bridge/series-table.ts";
import { ManualClock } from "../foundation/clock.ts";
import { FAULTS } from "../foundation/fault.ts";
import { METHOD } from "../http1/methods.ts";
import { type ExpositionFormat, ExpositionWriter } from "../telemetry/exposition-write.ts";
import { METRICS } from "../telemetry/metric-names.ts";
import { TimeSlices } from "../telemetry/time-slice.ts";
import { ExchangeMetrics, type ObserverCounts } from "./exchange-metrics.ts";

interface Parts {
	readonly counters: Counters;
	readonly table: SeriesTable;
	readonly union: SeriesUnion;
	readonly reader: CounterReader;
}

function parts(bodySizes = false): Parts {
	const counters = Counters.allocate();
	const union = new SeriesUnion(50, bodySizes);
	const table = new SeriesTable(SeriesTable.allocate(50, bodySizes), 50, bodySizes, counters, (slot, labels) =>
		union.define(0, slot, labels),
	);
	union.addThread(0, table.shared);
	const reader = new CounterReader();
	reader.addThread(0, counters.shared);
	return { counters, table, union, reader };
}

const observers: ObserverCounts = {
	recordsDropped: () => [[0, 7]],
	linesDropped: () => [
		["access_line", 2],
		["log", 0],
	],
	faults: () => [["recent", 1]],
};

function observe(
	{ table }: Parts,
	route: string,
	status: number,
	seconds: number,
	faultIndex = -1,
	minorVersion = 1,
): void {
	table.observe(table.route(route), METHOD.GET, status, minorVersion, 0, faultIndex, seconds, 10, 300);
}

async function page(
	all: Parts,
	names: "otel" | "legacy" | "both" = "otel",
	format: ExpositionFormat = "text",
	clock = new ManualClock(),
): Promise<string> {
	const slices = new TimeSlices(clock, (resume) => setImmediate(resume));
	const out = new ExpositionWriter({ format, slices });
	await new ExchangeMetrics(all.reader, all.union, observers, { names }).writeMetrics(out);
	return Buffer.concat(out.finish().blocks).toString();
}

function has(text: string, line: string): void {
	assert.ok(text.split("\n").includes(line), `no line ${line} in\n${text}`);
}

describe("the metrics of exchanges", () => {
	test("are the histogram of OpenTelemetry, with what is not known left out", async () => {
		const all = parts();
		observe(all, "/a", 200, 0.003);
		observe(all, "/a", 200, 0.3);
		observe(all, "", 0, 0.01, FAULTS.head_method.index, 0);
		observe(all, "/a", 503, 20);
		const text = await page(all);
		const ok =
			'http_request_method="GET",http_route="/a",http_response_status_code="200",url_scheme="http",network_protocol_version="1.1"';
		has(text, "# TYPE http_server_request_duration_seconds histogram");
		has(text, `http_server_request_duration_seconds_bucket{${ok},le="0.005"} 1`);
		has(text, `http_server_request_duration_seconds_bucket{${ok},le="0.25"} 1`);
		has(text, `http_server_request_duration_seconds_bucket{${ok},le="0.5"} 2`);
		has(text, `http_server_request_duration_seconds_sum{${ok}} 0.303`);
		has(text, `http_server_request_duration_seconds_count{${ok}} 2`);
		has(
			text,
			'http_server_request_duration_seconds_count{http_request_method="GET",url_scheme="http",network_protocol_version="1.0",error_type="head_method"} 1',
		);
		const failed = ok.replace("200", "503");
		has(text, `http_server_request_duration_seconds_bucket{${failed},error_type="503",le="10"} 0`);
		has(text, `http_server_request_duration_seconds_bucket{${failed},error_type="503",le="+Inf"} 1`);
		assert.doesNotMatch(text, /http_requests_total|body_size/);
	});

	test("have exemplars in OpenMetrics", async () => {
		const all = parts();
		observe(all, "/a", 200, 0.003);
		const [series] = all.union.all();
		assert.ok(series !== undefined);
		all.union.exemplar("/a", (METHOD.GET << 20) | (200 << 10) | (1 << 9), {
			labels: 'trace_id="1"',
			value: 0.003,
			timestampSeconds: 5,
		});
		assert.match(await page(all, "otel", "openmetrics"), /le="0\.005"\} 1 # \{trace_id="1"\} 0\.003 5\.000\n/);
		assert.doesNotMatch(await page(all), /trace_id/);
	});

	test("tell connections, refusals, failures and the way to the app", async () => {
		const all = parts();
		const { counters } = all;
		counters.add(CELL.DOWNSTREAM_OPEN, 4);
		counters.add(CELL.UPSTREAM_OPENED, 9);
		counters.add(CELL.OPAQUE_OPENED, 2);
		counters.add(CELL.REFUSED_START + FAULTS.host_missing.index, 3);
		counters.add(CELL.UPSTREAM_FAILED_START + FAULTS.app_reset.index, 5);
		counters.add(CELL.RESENT_START, 1);
		counters.add(CELL.REQUESTS_ARRIVED, 20);
		counters.add(CELL.CUT, 2);
		counters.add(CELL.BUFFERED_BYTES, 4096);
		counters.observePhase(CELL.CONNECT_START, 0.2);
		counters.observeDelay(250, 0);
		const text = await page(all);
		has(text, 'outrigger_connections{side="downstream"} 4');
		has(text, 'outrigger_connections{side="upstream"} 0');
		has(text, 'outrigger_connections_opened_total{side="upstream"} 9');
		has(text, 'outrigger_relayed_connections_opened_total{kind="opaque"} 2');
		has(text, 'outrigger_refused_total{reason="host_missing"} 3');
		has(text, 'outrigger_refused_total{reason="head_method"} 0');
		has(text, 'outrigger_upstream_failures_total{reason="app_reset"} 5');
		has(text, 'outrigger_resent_total{reason="app_closed"} 1');
		has(text, 'outrigger_requests_arrived_total{kind="traffic"} 20');
		has(text, 'outrigger_exchanges_ended_total{outcome="cut"} 2');
		has(text, "outrigger_buffered_bytes 4096");
		has(text, 'outrigger_upstream_duration_seconds_bucket{phase="connect",le="0.00025"} 1');
		has(text, 'outrigger_upstream_duration_seconds_count{phase="wait"} 0');
		has(text, 'outrigger_data_thread_delay_seconds{thread="0"} 0.25');
		has(text, 'outrigger_records_dropped_total{thread="0"} 7');
		has(text, 'outrigger_log_lines_dropped_total{observer="access_line"} 2');
		has(text, 'outrigger_observer_faults_total{observer="recent"} 1');
		assert.doesNotMatch(text, /refused_total\{reason="app_/);
		assert.doesNotMatch(text, /upstream_failures_total\{reason="head_/);
	});

	test("tell what is active by method, and go on telling of a method that was", async () => {
		const all = parts();
		const metrics = new ExchangeMetrics(all.reader, all.union, observers, { names: "both" });
		const render = async (): Promise<string> => {
			const out = new ExpositionWriter({ format: "text", slices: new TimeSlices(new ManualClock()) });
			await metrics.writeMetrics(out);
			return Buffer.concat(out.finish().blocks).toString();
		};
		assert.doesNotMatch(await render(), /active_requests\{/);
		all.counters.add(CELL.ACTIVE_BY_METHOD_START + METHOD.POST, 2);
		all.counters.add(CELL.ACTIVE_BY_METHOD_START + METHOD.GET, 1);
		const busy = await render();
		has(busy, 'http_server_active_requests{http_request_method="POST",url_scheme="http"} 2');
		has(busy, "http_requests_in_progress 3");
		all.counters.add(CELL.ACTIVE_BY_METHOD_START + METHOD.POST, -2);
		has(await render(), 'http_server_active_requests{http_request_method="POST",url_scheme="http"} 0');
	});

	test("have the names that existing dashboards know, when asked", async () => {
		const all = parts();
		observe(all, "/a", 200, 0.003);
		observe(all, "/a", 200, 0.003, -1, 0); // another version: one line here
		observe(all, "/a", 404, 2);
		const legacy = await page(all, "legacy");
		has(legacy, 'http_requests_total{method="GET",endpoint="/a",status="200"} 2');
		has(legacy, 'http_requests_total{method="GET",endpoint="/a",status="404"} 1');
		has(legacy, 'http_request_duration_seconds_bucket{method="GET",endpoint="/a",le="0.005"} 2');
		has(legacy, 'http_request_duration_seconds_count{method="GET",endpoint="/a"} 3');
		has(legacy, "http_requests_in_progress 0");
		assert.doesNotMatch(legacy, /http_server_/);
		const both = await page(all, "both");
		assert.match(both, /http_requests_total\{/);
		assert.match(both, /http_server_request_duration_seconds_count\{/);
	});

	test("have body sizes when they are kept", async () => {
		const all = parts(true);
		observe(all, "/a", 200, 0.003);
		const text = await page(all);
		assert.match(text, /http_server_request_body_size_bytes_bucket\{.*le="0"\} 0\n/);
		assert.match(text, /http_server_request_body_size_bytes_sum\{.*\} 10\n/);
		assert.match(text, /http_server_response_body_size_bytes_bucket\{.*le="1024"\} 1\n/);
	});

	test("give others their turn while a long page is written", async () => {
		const all = parts(true);
		for (let i = 0; i < 50; i++) observe(all, `/${i}`, 200, 0.001);
		let now = 0;
		const clock = new (class extends ManualClock {
			override monotonicMs(): number {
				now += 10;
				return now;
			}
		})();
		let others = 0;
		const slices = new TimeSlices(clock, (resume) => {
			others++;
			setImmediate(resume);
		});
		const out = new ExpositionWriter({ format: "text", slices });
		await new ExchangeMetrics(all.reader, all.union, observers, { names: "both" }).writeMetrics(out);
		assert.ok(others >= 5, `${others} turns`);
		assert.equal(
			Buffer.concat(out.finish().blocks)
				.toString()
				.match(/duration_seconds_count/g)?.length,
			50 + 50 + 3,
		);
	});

	test("leave out what the app's page has, when it goes first", async () => {
		const all = parts(true);
		observe(all, "/a", 200, 0.003);
		const out = new ExpositionWriter({
			format: "text",
			slices: new TimeSlices(new ManualClock()),
			omit: () => true,
		});
		await new ExchangeMetrics(all.reader, all.union, observers, { names: "both" }).writeMetrics(out);
		assert.equal(Buffer.concat(out.finish().blocks).length, 0);
		assert.ok(out.omittedFamilies > 20);
	});

	test("use only names and labels that are promised", async () => {
		const all = parts(true);
		observe(all, "/a", 502, 0.003, FAULTS.app_refused.index);
		all.counters.add(CELL.ACTIVE_BY_METHOD_START + METHOD.GET, 1);
		const text = await page(all, "both");
		const promised = new Map(METRICS.map((metric) => [metric.name, metric]));
		const seen = new Set<string>();
		for (const [, name = "", labels = ""] of text.matchAll(/^([a-z_]+)(?:\{(.*)\})? /gm)) {
			const metric = promised.get(name) ?? promised.get(name.replace(/_(?:bucket|sum|count)$/, ""));
			assert.ok(metric !== undefined, name);
			seen.add(metric.name);
			for (const [, label = ""] of labels.matchAll(/([a-z_]+)="/g)) {
				assert.ok(label === "le" || metric.labels.includes(label), `${name} has no label ${label}`);
			}
		}
		assert.ok(seen.size >= 26);
	});
});
