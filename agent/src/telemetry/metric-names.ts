/**
 * Every metric of our own, once: its name, type, labels and what it tells. `docs/metrics.md` has a row for each (a test compares), the writers take name, type and help
 * from here. Names are promises: dashboards and alerts hang on them.
 */
import { assert } from "../foundation/assert.ts";
import type { FamilyType } from "./exposition-write.ts";

export interface Metric {
	readonly name: string;
	readonly type: FamilyType;
	/** Those that may be absent (no route, no status, no error) are named too. */
	readonly labels: readonly string[];
	readonly help: string;
	/** The last part of the name, for OpenMetrics. */
	readonly unit?: string;
}

const REQUEST_LABELS = [
	"http_request_method",
	"http_route",
	"http_response_status_code",
	"url_scheme",
	"network_protocol_version",
	"error_type",
] as const;

const rows = [
	{
		name: "http_server_request_duration_seconds",
		type: "histogram",
		labels: REQUEST_LABELS,
		help: "Time from the first byte of a request to the last byte of its response.",
		unit: "seconds",
	},
	{
		name: "http_server_active_requests",
		type: "gauge",
		labels: ["http_request_method", "url_scheme"],
		help: "Requests that are being served now.",
	},
	{
		name: "http_server_request_body_size_bytes",
		type: "histogram",
		labels: REQUEST_LABELS,
		help: "Bytes of request bodies, without their framing. Only with metrics.bodySizes.",
		unit: "bytes",
	},
	{
		name: "http_server_response_body_size_bytes",
		type: "histogram",
		labels: REQUEST_LABELS,
		help: "Bytes of response bodies, without their framing. Only with metrics.bodySizes.",
		unit: "bytes",
	},
	{
		name: "http_requests_total",
		type: "counter",
		labels: ["method", "endpoint", "status"],
		help: "Requests by method, route and status. Only with metrics.names legacy or both.",
	},
	{
		name: "http_request_duration_seconds",
		type: "histogram",
		labels: ["method", "endpoint"],
		help: "Time from the first byte of a request to the last byte of its response. Only with metrics.names legacy or both.",
		unit: "seconds",
	},
	{
		name: "http_requests_in_progress",
		type: "gauge",
		labels: [],
		help: "Requests that are being served now. Only with metrics.names legacy or both.",
	},
	{
		name: "outrigger_requests_arrived_total",
		type: "counter",
		labels: ["kind"],
		help: "Requests whose first byte has arrived: traffic, or probes.",
	},
	{
		name: "outrigger_exchanges_ended_total",
		type: "counter",
		labels: ["outcome"],
		help: "Exchanges that are over: answered whole, or cut.",
	},
	{
		name: "outrigger_connections",
		type: "gauge",
		labels: ["side"],
		help: "Open connections: downstream from clients, upstream to the app.",
	},
	{
		name: "outrigger_connections_opened_total",
		type: "counter",
		labels: ["side"],
		help: "Connections opened: downstream by clients, upstream to the app.",
	},
	{
		name: "outrigger_relayed_connections",
		type: "gauge",
		labels: ["kind"],
		help: "Open connections whose bytes are relayed unread: opaque from their first byte, or a tunnel after an upgrade.",
	},
	{
		name: "outrigger_relayed_connections_opened_total",
		type: "counter",
		labels: ["kind"],
		help: "Connections that were relayed unread: opaque from their first byte, or a tunnel after an upgrade.",
	},
	{
		name: "outrigger_refused_total",
		type: "counter",
		labels: ["reason"],
		help: "Exchanges that the agent refused or ended; docs/errors.md explains each reason.",
	},
	{
		name: "outrigger_upstream_duration_seconds",
		type: "histogram",
		labels: ["phase"],
		help: "Time spent with the app: connect, wait for the response head, receive the rest.",
		unit: "seconds",
	},
	{
		name: "outrigger_upstream_failures_total",
		type: "counter",
		labels: ["reason"],
		help: "Exchanges that failed because of the app; docs/errors.md explains each reason.",
	},
	{
		name: "outrigger_resent_total",
		type: "counter",
		labels: ["reason"],
		help: "Requests that were sent to the app once more.",
	},
	{
		name: "outrigger_buffered_bytes",
		type: "gauge",
		labels: [],
		help: "Bytes of limits.buffered that are in use.",
		unit: "bytes",
	},
	{
		name: "outrigger_routes",
		type: "gauge",
		labels: [],
		help: "Routes that have a label of their own, by the data thread that has most.",
	},
	{
		name: "outrigger_series",
		type: "gauge",
		labels: [],
		help: "Series of the per-exchange histograms; bounded by routes.maxSeries.",
	},
	{
		name: "outrigger_series_overflow_total",
		type: "counter",
		labels: [],
		help: "Exchanges counted under the route __overflow__ because routes.maxSeries was reached.",
	},
	{
		name: "outrigger_route_hints_rejected_total",
		type: "counter",
		labels: [],
		help: "Values of x-outrigger-route that were no template.",
	},
	{
		name: "outrigger_data_thread_delay_seconds",
		type: "gauge",
		labels: ["thread"],
		help: "Longest time in the last 10 to 20 seconds by which a data thread was late.",
		unit: "seconds",
	},
	{
		name: "outrigger_records_dropped_total",
		type: "counter",
		labels: ["thread"],
		help: "Exchanges of which the observers did not hear because the ring was full; metrics are not affected.",
	},
	{
		name: "outrigger_log_lines_dropped_total",
		type: "counter",
		labels: ["observer"],
		help: "Lines dropped because the destination did not take them; bounded by log.buffer.",
	},
	{
		name: "outrigger_observer_faults_total",
		type: "counter",
		labels: ["observer"],
		help: "Exceptions in what only observes; traffic is not affected.",
	},
	{
		name: "outrigger_state",
		type: "gauge",
		labels: ["state"],
		help: "1 for the present state of the agent.",
	},
	{
		name: "outrigger_state_changes_total",
		type: "counter",
		labels: ["from", "to", "reason"],
		help: "Moves of the agent from one state to another.",
	},
	{
		name: "outrigger_health",
		type: "gauge",
		labels: ["contributor"],
		help: "Health of each contributor, and of all: 1 pass, 0.5 warn, 0 fail, -1 unknown. Of pushed ones the first health.reports names.",
	},
	{
		name: "outrigger_bypass_connections",
		type: "gauge",
		labels: [],
		help: "Connections to the app's port that did not come through the agent, for longer than a probe lasts.",
	},
	{
		name: "outrigger_leases",
		type: "gauge",
		labels: [],
		help: "Leases by which the app holds a drain.",
	},
	{
		name: "outrigger_drain_seconds",
		type: "gauge",
		labels: ["phase"],
		help: "How long the parts of the drain have lasted: announce, drain. Absent before there was one.",
		unit: "seconds",
	},
	{
		name: "outrigger_drain_exchanges",
		type: "gauge",
		labels: ["outcome"],
		help: "What has become of the exchanges since the drain began; docs/lifecycle.md explains each outcome. Absent before there was one.",
	},
	{
		name: "outrigger_drain_connections_closed",
		type: "gauge",
		labels: [],
		help: "Idle connections of clients that the drain has closed.",
	},
	{
		name: "outrigger_data_threads_replaced_total",
		type: "counter",
		labels: [],
		help: "Data threads that died and were replaced; their connections were lost.",
	},
	{
		name: "outrigger_app_metrics_up",
		type: "gauge",
		labels: ["target"],
		help: "Whether the last fetch of the app's metrics page went well.",
	},
	{
		name: "outrigger_app_metrics_duration_seconds",
		type: "gauge",
		labels: ["target"],
		help: "How long the last fetch of the app's metrics page took.",
		unit: "seconds",
	},
	{
		name: "outrigger_app_metrics_samples",
		type: "gauge",
		labels: ["target"],
		help: "Samples of the app's metrics page in the last merged page.",
	},
	{
		name: "outrigger_app_metrics_dropped_total",
		type: "counter",
		labels: ["target", "reason"],
		help: "Pages, families or samples of the app (the reason tells which) that were left out.",
	},
	{
		name: "outrigger_ops_connections",
		type: "gauge",
		labels: [],
		help: "Open connections of the ops port, without those that wait for a drain.",
	},
	{
		name: "outrigger_ops_connections_closed_total",
		type: "counter",
		labels: ["outcome"],
		help: "Old connections of the ops port that made room for a new one: replaced (ops.connections) or waiter_replaced (ops.waiters).",
	},
	{
		name: "outrigger_drained_waiters",
		type: "gauge",
		labels: [],
		help: "Stop hooks that wait at /lifecycle/drained now.",
	},
	{
		name: "outrigger_drained_answers_total",
		type: "counter",
		labels: ["outcome"],
		help: "Stop hooks answered at /lifecycle/drained: drained, restarting (no drain began), stopping (the agent stopped) or overdue.",
	},
	{
		name: "outrigger_api_connections",
		type: "gauge",
		labels: [],
		help: "Open connections of the API port.",
	},
	{
		name: "outrigger_api_connections_closed_total",
		type: "counter",
		labels: ["outcome"],
		help: "Connections of the API port that api.connections closed: an old one (replaced) or the new one (refused).",
	},
	{
		name: "outrigger_api_calls_total",
		type: "counter",
		labels: ["method", "code"],
		help: "Calls of the API's methods by how they ended: ok, or the error's code. What was no call of a method has no method.",
	},
	{
		name: "outrigger_build_info",
		type: "gauge",
		labels: ["version", "revision", "node"],
		help: "1; the labels tell which agent this is.",
	},
] as const satisfies readonly Metric[];

export type MetricName = (typeof rows)[number]["name"];

/** In the order of the page. */
export const METRICS: readonly Metric[] = rows;

const byName: ReadonlyMap<string, Metric> = new Map(rows.map((row) => [row.name, row]));

/** One of them by name. */
export function metric(name: MetricName): Metric {
	const found = byName.get(name);
	assert(found !== undefined, `no metric ${name}`);
	return found;
}
