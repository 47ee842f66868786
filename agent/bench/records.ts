/**
 * What does one exchange cost the observers? Writing the record (data thread), reading it and writing its access line (control thread), counting its series.
 *
 * `node --import tsx agent/bench/records.ts [records]`. Prints a hash of the lines, so that two runs can be seen to have done the same work.
 */
import { createHash } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import { Counters } from "../src/bridge/counters.ts";
import { type ExchangeFacts, FLAG_SAMPLED, RecordView, writeExchangeRecord } from "../src/bridge/exchange-record.ts";
import { RecordRing } from "../src/bridge/record-ring.ts";
import { SeriesTable } from "../src/bridge/series-table.ts";
import { type LineSink, LogSink } from "../src/foundation/log-sink.ts";
import { METHOD } from "../src/http1/methods.ts";
import { AccessLineWriter } from "../src/observe/access-line.ts";
import { RecentExchanges } from "../src/observe/recent.ts";

const FIELD_BYTES = 1024;
const RING_BYTES = 4 * 1024 * 1024;
/** Records per turn over the ring: 50 ms of 20,000 requests a second. */
const BATCH = 1000;

/** An everyday exchange. */
export function everydayFacts(): ExchangeFacts & { startedWallMs: number; durationMs: number } {
	const head = Buffer.from(
		"GET /api/orders/8231/items?page=2 HTTP/1.1\r\nhost: orders.shop.svc\r\nuser-agent: Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0\r\n\r\n",
	);
	const at = (text: string): number => head.indexOf(text);
	const trace = Buffer.from("4bf92f3577b34da6a3ce929d0e0e473600f067aa0ba902b7b7ad6b716920333100f067aa0ba902b7");
	const ids = Buffer.from("01998c5e-7a5b-7c3f-9d21-0f6a3b1c2d3e");
	return {
		inbound: 0,
		startedWallMs: 1_790_000_000_000,
		durationMs: 1.234,
		connectMs: Number.NaN,
		waitMs: 0.9,
		receiveMs: 0.05,
		method: "GET",
		methodId: METHOD.GET,
		minorVersion: 1,
		status: 200,
		faultIndex: -1,
		endedBy: 1,
		state: 1,
		flags: FLAG_SAMPLED,
		requestBodyBytes: 0,
		responseBodyBytes: 41,
		headBytes: head,
		pathStart: at("/api"),
		pathEnd: at("?"),
		queryStart: at("page"),
		queryEnd: at(" HTTP"),
		userAgentStart: at("Mozilla"),
		userAgentEnd: head.length - 4,
		requestIdBytes: ids,
		requestIdStart: 0,
		requestIdEnd: ids.length,
		correlationIdBytes: ids,
		correlationIdStart: 0,
		correlationIdEnd: ids.length,
		traceBytes: trace,
		traceView: new DataView(trace.buffer, trace.byteOffset, trace.length),
		clientAddress: "10.42.17.203",
		route: "/api/orders/{id}/items",
	};
}

export interface RecordCosts {
	/** Nanoseconds per exchange. */
	readonly write: number;
	readonly readAndLine: number;
	readonly recent: number;
	readonly series: number;
	/** Bytes of one record and of one line. */
	readonly recordBytes: number;
	readonly lineBytes: number;
	/** SHA-256 of the lines of the first batch, 16 digits. */
	readonly hash: string;
}

export function measureRecords(records: number): RecordCosts {
	const ring = RecordRing.allocate(RING_BYTES);
	const view = new RecordView(ring);
	const hash = createHash("sha256");
	const nowhere = openSync("/dev/null", "w");
	const file = LogSink.onDescriptor(nowhere, RING_BYTES);
	let isCounted = false;
	let isHashed = true;
	let lineBytes = 0;
	const sink: LineSink = {
		write(chunk, lines, owner) {
			if (isHashed) hash.update(chunk);
			if (isCounted) lineBytes += chunk.length;
			return file.write(chunk, lines, owner);
		},
		writeLine: (line, owner) => file.writeLine(line, owner),
	};
	const lines = new AccessLineWriter(sink, {
		level: "info",
		accessSample: 1,
		skip: ["probes"],
		redact: [],
		fieldBytesMax: FIELD_BYTES,
		query: false,
	});
	const recent = new RecentExchanges(1024 * 1024);
	const counters = Counters.allocate();
	const table = new SeriesTable(SeriesTable.allocate(2000, false), 2000, false, counters, () => {});
	const routes = Array.from({ length: 16 }, (_, i) => table.route(`/api/orders/{id}/${i}`));
	const facts = everydayFacts();
	const toLine = (offset: number): void => lines.write(view.load(offset));
	const toRecent = (offset: number): void => recent.add(view.load(offset), 0);
	const fill = (batch: number): void => {
		for (let i = 0; i < batch; i++) {
			facts.startedWallMs += 0.05;
			facts.durationMs = 0.5 + (i % 100) / 50;
			writeExchangeRecord(ring, facts, FIELD_BYTES);
		}
	};

	let recordBytes = 0;
	const costs = { write: 0, readAndLine: 0, recent: 0, series: 0 };
	// CPU time, so that what else runs on the machine counts less.
	const clock = (): number => {
		const used = process.cpuUsage();
		return (used.user + used.system) * 1000;
	};
	let counted = 0;
	for (let done = 0; done < records; done += BATCH) {
		const batch = Math.min(BATCH, records - done);
		isHashed = done === 0; // it costs more than all the rest
		isCounted = done >= records / 2; // the first half warms up
		let from = clock();
		fill(batch);
		const writing = clock() - from;
		recordBytes = ring.usedBytes / batch;
		from = clock();
		ring.drain(toLine, batch);
		lines.flush();
		const reading = clock() - from;
		fill(batch);
		from = clock();
		ring.drain(toRecent, batch);
		const keeping = clock() - from;
		from = clock();
		for (let i = 0; i < batch; i++) {
			const route = routes[i & 15] ?? table.overflow;
			table.observe(route, METHOD.GET, 200 + (i & 1), 1, 0, -1, 0.0012, 0, 41);
		}
		const observing = clock() - from;
		if (!isCounted) continue;
		counted += batch;
		costs.write += writing;
		costs.readAndLine += reading;
		costs.recent += keeping;
		costs.series += observing;
	}
	closeSync(nowhere);
	return {
		write: costs.write / counted,
		readAndLine: costs.readAndLine / counted,
		recent: costs.recent / counted,
		series: costs.series / counted,
		recordBytes,
		lineBytes: lineBytes / counted,
		hash: hash.digest("hex").slice(0, 16),
	};
}

if (import.meta.main) {
	const costs = measureRecords(Number(process.argv[2] ?? 400_000));
	const ns = (value: number): string => `${value.toFixed(0).padStart(6)} ns`;
	process.stdout.write(
		`write the record        ${ns(costs.write)}   ${costs.recordBytes.toFixed(0)} bytes\n` +
			`read, line, sink        ${ns(costs.readAndLine)}   ${costs.lineBytes.toFixed(0)} bytes\n` +
			`keep as recent          ${ns(costs.recent)}\n` +
			`count in its series     ${ns(costs.series)}\n` +
			`hash of the first lines ${costs.hash}\n`,
	);
}
