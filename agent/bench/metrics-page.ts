/**
 * What does a scrape cost the control thread? Two pages: our own with many series, and an app's large page read and passed on.
 * Prints for each: milliseconds of the thread, longest turn of the event loop, bytes, and a hash of the result.
 *
 *     node --import tsx agent/bench/metrics-page.ts [series=10000] [appBytes=10485760] [rounds=5]
 */
import { createHash } from "node:crypto";
import { pathToFileURL } from "node:url";
import { systemClock } from "../src/foundation/clock.ts";
import { silentLogger } from "../src/foundation/logger.ts";
import { systemScheduler } from "../src/foundation/scheduler.ts";
import { APP_PAGE_LIMITS, type AppPage, AppPages, type AppTarget } from "../src/observe/app-page.ts";
import { MetricsPage } from "../src/ops/metrics-page.ts";
import { ExpositionParser, parseChunks } from "../src/telemetry/exposition-parse.ts";
import { type ExpositionFormat, type MetricSource, renderLabels } from "../src/telemetry/exposition-write.ts";
import { TimeSlices } from "../src/telemetry/time-slice.ts";

export interface BenchSettings {
	/** Sample lines of our own page, about. */
	readonly series: number;
	readonly appBytes: number;
	readonly rounds: number;
	readonly print: (line: string) => void;
}

const BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

/** Histograms as the exchanges make them: 14 bounds, so 17 lines a label set. */
export function histogramSource(series: number): MetricSource {
	const width = BOUNDS.length + 1;
	const sets = Math.max(1, Math.floor(series / (width + 2)));
	const counts = new Float64Array(sets * width);
	for (let i = 0; i < counts.length; i++) counts[i] = (i * 7919) % 1000;
	const labels = Array.from({ length: sets }, (_, i) =>
		renderLabels({
			http_request_method: "GET",
			http_route: `/users/{id}/${i}`,
			http_response_status_code: 200,
			url_scheme: "http",
		}),
	);
	return {
		async writeMetrics(out) {
			if (!out.family("http_server_request_duration_seconds", "histogram", "Duration of requests.", "seconds")) return;
			for (let i = 0; i < sets; i++) {
				out.histogram(labels[i] ?? "", BOUNDS, counts, i * width, i * 0.125);
				if (out.isDue()) await out.pause();
			}
		},
	};
}

/** An app's page of about so many bytes: gauges and histograms with labels, as chunks of 64 KiB. */
export function appPageChunks(bytes: number): Buffer[] {
	const lines: string[] = [];
	let length = 0;
	for (let family = 0; length < bytes; family++) {
		const name = `app_jobs_${family}_seconds`;
		lines.push(`# HELP ${name} Time of jobs.`, `# TYPE ${name} gauge`);
		for (let i = 0; i < 500 && length < bytes; i++) {
			const line = `${name}{queue="queue-${i % 50}",worker="worker-${i}",zone="zone-${i % 3}"} ${i * 1.25}`;
			lines.push(line);
			length += line.length + 1;
		}
	}
	const all = Buffer.from(`${lines.join("\n")}\n`);
	const chunks: Buffer[] = [];
	for (let at = 0; at < all.length; at += 65_536) chunks.push(all.subarray(at, at + 65_536));
	return chunks;
}

async function* iterate(chunks: readonly Buffer[]): AsyncGenerator<Uint8Array> {
	yield* chunks;
}

/** In place of the network. */
class GivenPages extends AppPages {
	readonly #chunks: readonly Buffer[];
	parse = new TimeSlices(systemClock);

	constructor(chunks: readonly Buffer[]) {
		const urls = chunks.length === 0 ? [] : ["http://127.0.0.1:1/metrics"];
		super({ urls, clock: systemClock, scheduler: systemScheduler, log: silentLogger });
		this.#chunks = chunks;
	}

	override async collect(): Promise<readonly AppPage[]> {
		return Promise.all(this.targets.map((target) => this.#read(target)));
	}

	async #read(target: AppTarget): Promise<AppPage> {
		this.parse = new TimeSlices(systemClock);
		const parser = new ExpositionParser("text", "lenient", APP_PAGE_LIMITS);
		const page = await parseChunks(parser, iterate(this.#chunks), this.parse);
		if (page === undefined) throw new Error(parser.problem?.message ?? "refused");
		return { target, page };
	}
}

/** One line per page and format; returns the hashes, which must not change from run to run. */
export async function run(settings: BenchSettings): Promise<string[]> {
	const hashes: string[] = [];
	const cases: readonly (readonly [string, number, number])[] = [
		["ours", settings.series, 0],
		["app", 17, settings.appBytes],
	];
	for (const [name, series, appBytes] of cases) {
		for (const format of ["text", "openmetrics"] satisfies ExpositionFormat[]) {
			const app = new GivenPages(appBytes === 0 ? [] : appPageChunks(appBytes));
			const page = new MetricsPage({
				sources: [{ name: "exchanges", source: histogramSource(series) }],
				app,
				collision: "agent",
				clock: systemClock,
				log: silentLogger,
				onFault: (_, error) => {
					throw error;
				},
			});
			let best = Number.POSITIVE_INFINITY;
			let longest = 0;
			let bytes = 0;
			let hash = "";
			for (let round = 0; round < settings.rounds; round++) {
				const rendered = await page.render(format);
				const parsed = appBytes === 0 ? { totalMs: 0, longestMs: 0 } : app.parse;
				best = Math.min(best, rendered.totalMs + parsed.totalMs);
				longest = Math.max(longest, rendered.longestTurnMs, parsed.longestMs);
				bytes = rendered.bytes;
				const digest = createHash("sha256");
				for (const block of rendered.blocks) digest.update(block);
				hash = digest.digest("hex").slice(0, 16);
			}
			hashes.push(hash);
			settings.print(
				`${name} ${format}: ${best.toFixed(1)} ms (best of ${settings.rounds}), longest turn ${longest.toFixed(1)} ms, ${bytes} bytes, ${hash}`,
			);
		}
	}
	return hashes;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
	const [series = 10_000, appBytes = 10 * 1024 * 1024, rounds = 5] = process.argv.slice(2).map(Number);
	await run({ series, appBytes, rounds, print: (line) => console.log(line) });
}
