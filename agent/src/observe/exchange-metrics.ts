/**
 * Turns what the data threads count in shared memory into metric families: the per-exchange histograms, connections, refusals, the way to the app.
 *
 * A scrape only reads; labels are rendered once per series. It gives other work its turn between label sets (`out.pause`), so a number may be a few milliseconds newer than the
 * one on the line before it, as with any counters that are not stopped.
 */
import { CELL, type CounterReader, RESEND_REASONS, UPSTREAM_PHASES } from "../bridge/counters.ts";
import { DURATION_BOUNDS, histogramCells, PHASE_BOUNDS, SCHEMES, SIZE_BOUNDS } from "../bridge/series-labels.ts";
import type { Series, SeriesUnion } from "../bridge/series-table.ts";
import { FAULT_LIST } from "../foundation/fault.ts";
import { METHODS } from "../http1/methods.ts";
import { type ExpositionWriter, type MetricSource, renderLabels } from "../telemetry/exposition-write.ts";
import { type MetricName, metric } from "../telemetry/metric-names.ts";

export interface ExchangeMetricsSettings {
	/** `metrics.names`. */
	readonly names: "otel" | "legacy" | "both";
}

/** Numbers of the control thread's own that belong to this page. */
export interface ObserverCounts {
	/** Records lost because a ring was full, by data thread. */
	recordsDropped(): Iterable<readonly [thread: number, count: number]>;
	linesDropped(): Iterable<readonly [observer: string, count: number]>;
	faults(): Iterable<readonly [observer: string, count: number]>;
}

interface Counted {
	readonly labels: string;
	readonly cell: number;
}

const refused: readonly Counted[] = FAULT_LIST.filter((fault) => fault.blame !== "upstream").map((fault) => ({
	labels: renderLabels({ reason: fault.reason }),
	cell: CELL.REFUSED_START + fault.index,
}));
const upstreamFailed: readonly Counted[] = FAULT_LIST.filter((fault) => fault.blame === "upstream").map((fault) => ({
	labels: renderLabels({ reason: fault.reason }),
	cell: CELL.UPSTREAM_FAILED_START + fault.index,
}));
const resent: readonly Counted[] = RESEND_REASONS.map((reason, index) => ({
	labels: renderLabels({ reason }),
	cell: CELL.RESENT_START + index,
}));
const connections: readonly Counted[] = [
	{ labels: renderLabels({ side: "downstream" }), cell: CELL.DOWNSTREAM_OPEN },
	{ labels: renderLabels({ side: "upstream" }), cell: CELL.UPSTREAM_OPEN },
];
const connectionsOpened: readonly Counted[] = [
	{ labels: renderLabels({ side: "downstream" }), cell: CELL.DOWNSTREAM_OPENED },
	{ labels: renderLabels({ side: "upstream" }), cell: CELL.UPSTREAM_OPENED },
];
const relayed: readonly Counted[] = [
	{ labels: renderLabels({ kind: "opaque" }), cell: CELL.OPAQUE_OPEN },
	{ labels: renderLabels({ kind: "tunnel" }), cell: CELL.TUNNELS },
];
const relayedOpened: readonly Counted[] = [
	{ labels: renderLabels({ kind: "opaque" }), cell: CELL.OPAQUE_OPENED },
	{ labels: renderLabels({ kind: "tunnel" }), cell: CELL.TUNNELS_OPENED },
];
const arrived: readonly Counted[] = [
	{ labels: renderLabels({ kind: "traffic" }), cell: CELL.REQUESTS_ARRIVED },
	{ labels: renderLabels({ kind: "probe" }), cell: CELL.PROBES_ARRIVED },
];
const ended: readonly Counted[] = [
	{ labels: renderLabels({ outcome: "answered" }), cell: CELL.ANSWERED },
	{ labels: renderLabels({ outcome: "cut" }), cell: CELL.CUT },
];
const phases: readonly Counted[] = UPSTREAM_PHASES.map((phase, index) => ({
	labels: renderLabels({ phase }),
	cell: CELL.CONNECT_START + index * histogramCells(PHASE_BOUNDS),
}));

export class ExchangeMetrics implements MetricSource {
	readonly #counters: CounterReader;
	readonly #series: SeriesUnion;
	readonly #observers: ObserverCounts;
	readonly #otel: boolean;
	readonly #legacy: boolean;
	/** Methods that have been active in a scrape: from then on they are in every page. */
	readonly #methodsSeen = new Set<number>();

	constructor(
		counters: CounterReader,
		series: SeriesUnion,
		observers: ObserverCounts,
		settings: ExchangeMetricsSettings,
	) {
		this.#counters = counters;
		this.#series = series;
		this.#observers = observers;
		this.#otel = settings.names !== "legacy";
		this.#legacy = settings.names !== "otel";
	}

	async writeMetrics(out: ExpositionWriter): Promise<void> {
		if (this.#otel) await this.#writeOtel(out);
		if (this.#legacy) await this.#writeLegacy(out);
		const counters = this.#counters;
		this.#rows(out, "outrigger_requests_arrived_total", arrived);
		this.#rows(out, "outrigger_exchanges_ended_total", ended);
		this.#rows(out, "outrigger_connections", connections);
		this.#rows(out, "outrigger_connections_opened_total", connectionsOpened);
		this.#rows(out, "outrigger_relayed_connections", relayed);
		this.#rows(out, "outrigger_relayed_connections_opened_total", relayedOpened);
		this.#rows(out, "outrigger_refused_total", refused);
		if (open(out, "outrigger_upstream_duration_seconds")) {
			const counts = new Float64Array(histogramCells(PHASE_BOUNDS));
			for (const phase of phases) {
				for (let i = 0; i < counts.length; i++) counts[i] = counters.sum(phase.cell + i);
				out.histogram(phase.labels, PHASE_BOUNDS, counts, 0, sumOf(counts));
			}
		}
		this.#rows(out, "outrigger_upstream_failures_total", upstreamFailed);
		this.#rows(out, "outrigger_resent_total", resent);
		one(out, "outrigger_buffered_bytes", counters.sum(CELL.BUFFERED_BYTES));
		one(out, "outrigger_routes", counters.max(CELL.ROUTES));
		one(out, "outrigger_series", this.#series.size);
		one(out, "outrigger_series_overflow_total", counters.sum(CELL.SERIES_OVERFLOW));
		one(out, "outrigger_route_hints_rejected_total", counters.sum(CELL.ROUTE_HINTS_REJECTED));
		if (open(out, "outrigger_data_thread_delay_seconds")) {
			for (const thread of counters.threads()) {
				out.sample(renderLabels({ thread: String(thread) }), counters.of(thread, CELL.DELAY_MAX) ?? 0);
			}
		}
		labelled(out, "outrigger_records_dropped_total", "thread", this.#observers.recordsDropped());
		labelled(out, "outrigger_log_lines_dropped_total", "observer", this.#observers.linesDropped());
		labelled(out, "outrigger_observer_faults_total", "observer", this.#observers.faults());
	}

	async #writeOtel(out: ExpositionWriter): Promise<void> {
		if (open(out, "http_server_request_duration_seconds")) {
			const counts = new Float64Array(histogramCells(DURATION_BOUNDS));
			for (const series of this.#series.all()) {
				this.#series.duration(series, counts);
				const sum = sumOf(counts);
				out.histogram(labelsOf(series), DURATION_BOUNDS, counts, 0, sum, series.exemplars);
				if (out.isDue()) await out.pause();
			}
		}
		if (open(out, "http_server_active_requests")) {
			for (let method = 0; method < METHODS.length; method++) {
				const active = this.#counters.sum(CELL.ACTIVE_BY_METHOD_START + method);
				if (active > 0) this.#methodsSeen.add(method);
				if (this.#methodsSeen.has(method)) {
					out.sample(
						renderLabels({ http_request_method: METHODS[method] ?? "_OTHER", url_scheme: SCHEMES[0] }),
						active,
					);
				}
			}
		}
		if (!this.#series.bodySizes) return;
		await this.#writeSizes(out, "http_server_request_body_size_bytes", 0);
		await this.#writeSizes(out, "http_server_response_body_size_bytes", 1);
	}

	async #writeSizes(out: ExpositionWriter, name: MetricName, which: 0 | 1): Promise<void> {
		if (!open(out, name)) return;
		const counts = new Float64Array(histogramCells(SIZE_BOUNDS));
		for (const series of this.#series.all()) {
			this.#series.bodySize(series, which, counts);
			out.histogram(labelsOf(series), SIZE_BOUNDS, counts, 0, sumOf(counts));
			if (out.isDue()) await out.pause();
		}
	}

	/** The same series with fewer labels, added up. */
	async #writeLegacy(out: ExpositionWriter): Promise<void> {
		const requests = new Map<string, number>();
		const durations = new Map<string, Float64Array>();
		const cells = histogramCells(DURATION_BOUNDS);
		const counts = new Float64Array(cells);
		for (const series of this.#series.all()) {
			this.#series.duration(series, counts);
			let count = 0;
			for (const inBucket of counts.subarray(0, -1)) count += inBucket;
			const { labels } = series;
			const where = { method: METHODS[labels.method] ?? "_OTHER", endpoint: labels.route };
			const all = renderLabels({ ...where, status: String(labels.status) });
			requests.set(all, (requests.get(all) ?? 0) + count);
			const some = renderLabels(where);
			let sums = durations.get(some);
			if (sums === undefined) {
				sums = new Float64Array(cells);
				durations.set(some, sums);
			}
			for (let i = 0; i < cells; i++) sums[i] = (sums[i] as number) + (counts[i] as number); // both have that many
			if (out.isDue()) await out.pause();
		}
		if (open(out, "http_requests_total")) {
			for (const [labels, count] of requests) {
				out.sample(labels, count);
				if (out.isDue()) await out.pause();
			}
		}
		if (open(out, "http_request_duration_seconds")) {
			for (const [labels, sums] of durations) {
				out.histogram(labels, DURATION_BOUNDS, sums, 0, sumOf(sums));
				if (out.isDue()) await out.pause();
			}
		}
		let active = 0;
		for (let method = 0; method < METHODS.length; method++) {
			active += this.#counters.sum(CELL.ACTIVE_BY_METHOD_START + method);
		}
		one(out, "http_requests_in_progress", active);
	}

	#rows(out: ExpositionWriter, name: MetricName, rows: readonly Counted[]): void {
		if (!open(out, name)) return;
		for (const row of rows) out.sample(row.labels, this.#counters.sum(row.cell));
	}
}

/** The last cell of a histogram. */
function sumOf(cells: Float64Array): number {
	return cells.at(-1) as number; // there are always some
}

function open(out: ExpositionWriter, name: MetricName): boolean {
	const { type, help, unit } = metric(name);
	return out.family(name, type, help, unit);
}

function one(out: ExpositionWriter, name: MetricName, value: number): void {
	if (open(out, name)) out.sample("", value);
}

function labelled(
	out: ExpositionWriter,
	name: MetricName,
	label: string,
	rows: Iterable<readonly [number | string, number]>,
): void {
	if (!open(out, name)) return;
	for (const [value, count] of rows) out.sample(renderLabels({ [label]: String(value) }), count);
}

/** The labels of `http_server_request_duration_seconds`; what is not known is absent. */
function labelsOf(series: Series): string {
	if (series.rendered !== undefined) return series.rendered;
	const { labels } = series;
	const named: Record<string, string> = { http_request_method: METHODS[labels.method] ?? "_OTHER" };
	if (labels.route !== "") named["http_route"] = labels.route;
	if (labels.status > 0) named["http_response_status_code"] = String(labels.status);
	named["url_scheme"] = SCHEMES[labels.scheme] ?? "http";
	named["network_protocol_version"] = labels.minorVersion === 0 ? "1.0" : "1.1";
	if (series.errorType !== "") named["error_type"] = series.errorType;
	series.rendered = renderLabels(named);
	return series.rendered;
}
