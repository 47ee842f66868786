import type { Readable } from "node:stream";
import type { Dispatcher } from "undici";
import type { Clock } from "../foundation/clock.ts";
import type { Logger } from "../foundation/logger.ts";
import type { Cancel, Scheduler } from "../foundation/scheduler.ts";
import {
	type ExpositionLimits,
	ExpositionParser,
	type ParsedPage,
	type ProblemKind,
	parseChunks,
} from "../telemetry/exposition-parse.ts";
import {
	type ExpositionFormat,
	type ExpositionWriter,
	type MetricSource,
	renderLabels,
} from "../telemetry/exposition-write.ts";
import { type MetricName, metric } from "../telemetry/metric-names.ts";
import { TimeSlices } from "../telemetry/time-slice.ts";

/**
 * The app's own pages of metrics: fetched when somebody scrapes us, read, and kept for a second.
 *
 * Promises: a page that is late, huge, broken or hostile costs the app's part of our page and nothing else; no turn of the event
 * loop is longer than some milliseconds; one scrape of a target at a time, whoever asks; no connection to the app is left
 * open (it would be one more socket that a drain has to explain).
 */

/** Bounds for one target. */
export interface AppPageLimits extends ExpositionLimits {
	/** From the first byte sent to the last line read. */
	readonly timeoutMs: number;
	/** How long a page serves further scrapes. */
	readonly cacheMs: number;
	/** Pages that are fetched; further ones are configuration that helps nobody. */
	readonly targetsMax: number;
}

export const APP_PAGE_LIMITS: AppPageLimits = Object.freeze({
	bytesMax: 16 * 1024 * 1024,
	lineBytesMax: 16 * 1024,
	samplesMax: 250_000,
	familiesMax: 10_000,
	labelsMax: 64,
	timeoutMs: 8_000,
	cacheMs: 1_000,
	targetsMax: 16,
});

/**
 * Why something of an app's page is missing. The first rows mean the whole page, then families, then samples: that is what
 * `outrigger_app_metrics_dropped_total` counts.
 */
export const DROP_REASONS = [
	"unreachable", // page: no connection, or it broke
	"timeout", // page
	"status", // page: not 200
	"content_type", // page: neither text nor OpenMetrics
	"content_encoding", // page: coded in a way that was not asked for, or broken gzip
	"malformed", // page: see the log for line and reason
	"too_large", // page
	"line_too_long", // page
	"too_many_samples", // page
	"too_many_families", // page
	"collision", // family: the name is taken (metrics.collision)
	"reserved", // family: the name begins with outrigger_
	"created", // family: x_created beside a counter x has no place in OpenMetrics
	"duplicate", // sample: the series was there already
] as const;
export type DropReason = (typeof DROP_REASONS)[number];

/** The page of one target, or why there is none. */
export interface AppPage {
	readonly target: AppTarget;
	readonly page: ParsedPage | undefined;
}

/** One URL of `settings.metrics.app`. */
export class AppTarget {
	/** Without user, password and query: the label `target`. */
	readonly label: string;
	readonly url: URL;
	up = false;
	durationSeconds = 0;
	samples = 0;
	readonly dropped = new Map<DropReason, number>();
	/** The last thing said about it in the log, so that it is said once. */
	lastSaid = "";

	constructor(url: URL, label: string) {
		this.url = url;
		this.label = label;
	}

	drop(reason: DropReason, count = 1): void {
		this.dropped.set(reason, (this.dropped.get(reason) ?? 0) + count);
	}
}

interface Refusal {
	readonly reason: DropReason;
	readonly detail: string;
}

interface Cached {
	readonly untilMs: number;
	readonly page: AppPage;
}

export interface AppPagesParts {
	/** `settings.metrics.app`: absolute http URLs. */
	readonly urls: readonly string[];
	readonly clock: Clock;
	readonly scheduler: Scheduler;
	readonly log: Logger;
	readonly limits?: AppPageLimits;
}

const ACCEPT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

export class AppPages implements MetricSource {
	readonly targets: readonly AppTarget[];
	readonly limits: AppPageLimits;
	readonly #clock: Clock;
	readonly #scheduler: Scheduler;
	readonly #log: Logger;
	readonly #running = new Map<AppTarget, Promise<AppPage>>();
	readonly #cached = new Map<AppTarget, Cached>();
	#cancelRelease: Cancel | undefined;
	/** Every fetch that is under way ends with it. */
	readonly #stopping = new AbortController();
	#longestTurnMs = 0;

	constructor(parts: AppPagesParts) {
		this.limits = parts.limits ?? APP_PAGE_LIMITS;
		this.#clock = parts.clock;
		this.#scheduler = parts.scheduler;
		this.#log = parts.log;
		this.targets = makeTargets(parts.urls.slice(0, this.limits.targetsMax));
	}

	/** Longest turn of the event loop that reading a page has taken, ms. */
	get longestTurnMs(): number {
		return this.#longestTurnMs;
	}

	/** The present page of each target, in their order. Never rejects; takes at most `timeoutMs` (and what `limits` says). */
	collect(timeoutMs = Number.POSITIVE_INFINITY): Promise<readonly AppPage[]> {
		return Promise.all(this.targets.map((target) => this.#pageOf(target, Math.min(timeoutMs, this.limits.timeoutMs))));
	}

	writeMetrics(out: ExpositionWriter): void {
		if (this.targets.length === 0) return;
		const labels = this.targets.map((target) => renderLabels({ target: target.label }));
		const gauge = (name: MetricName, value: (target: AppTarget) => number): void => {
			const { type, help, unit } = metric(name);
			out.family(name, type, help, unit);
			this.targets.forEach((target, i) => {
				out.sample(labels[i] ?? "", value(target));
			});
		};
		gauge("outrigger_app_metrics_up", (target) => (target.up ? 1 : 0));
		gauge("outrigger_app_metrics_duration_seconds", (target) => target.durationSeconds);
		gauge("outrigger_app_metrics_samples", (target) => target.samples);
		const dropped = metric("outrigger_app_metrics_dropped_total");
		out.family(dropped.name, dropped.type, dropped.help);
		for (const target of this.targets) {
			for (const [reason, count] of target.dropped) out.sample(renderLabels({ target: target.label, reason }), count);
		}
	}

	/** Ends what is under way. Safe twice. */
	stop(): void {
		this.#stopping.abort();
		this.#cancelRelease?.();
		this.#cancelRelease = undefined;
		this.#cached.clear();
	}

	#pageOf(target: AppTarget, timeoutMs: number): Promise<AppPage> {
		const cached = this.#cached.get(target);
		if (cached !== undefined && this.#clock.monotonicMs() < cached.untilMs) return Promise.resolve(cached.page);
		let running = this.#running.get(target);
		if (running === undefined) {
			running = this.#scrape(target, timeoutMs).finally(() => this.#running.delete(target));
			this.#running.set(target, running);
		}
		return running;
	}

	async #scrape(target: AppTarget, timeoutMs: number): Promise<AppPage> {
		const startMs = this.#clock.monotonicMs();
		const result = await this.#fetch(target, timeoutMs);
		const nowMs = this.#clock.monotonicMs();
		target.durationSeconds = (nowMs - startMs) / 1000;
		const isPage = "families" in result;
		target.up = isPage;
		target.samples = isPage ? result.samples : 0;
		if (!isPage) {
			target.drop(result.reason);
			this.#say(target, `${result.reason}: ${result.detail}`);
		} else {
			if (result.duplicates > 0) target.drop("duplicate", result.duplicates);
			const [flaw] = result.flaws;
			this.#say(target, flaw === undefined ? "" : `passed on without its type: line ${flaw.line}: ${flaw.message}`);
		}
		const page = { target, page: isPage ? result : undefined };
		if (!this.#stopping.signal.aborted) {
			this.#cached.set(target, { untilMs: nowMs + this.limits.cacheMs, page });
			// A page can be 16 MiB: it is let go as soon as it may not serve any more.
			this.#cancelRelease?.();
			this.#cancelRelease = this.#scheduler.after(this.limits.cacheMs, () => this.#cached.clear());
		}
		return page;
	}

	#say(target: AppTarget, what: string): void {
		if (what === target.lastSaid) return;
		target.lastSaid = what;
		if (what === "") this.#log.info("the app's metrics are in order again", { target: target.label });
		else this.#log.warn("the app's metrics", { target: target.label, problem: what });
	}

	async #fetch(target: AppTarget, timeoutMs: number): Promise<ParsedPage | Refusal> {
		const timeout = new AbortController();
		const cancel = this.#scheduler.after(timeoutMs, () => timeout.abort());
		const signal = AbortSignal.any([timeout.signal, this.#stopping.signal]);
		const { Client } = await import("undici"); // 160 ms and 24 MiB: only for those who have a page
		const client = new Client(target.url.origin, {
			pipelining: 0,
			maxHeaderSize: 16_384,
			connect: { timeout: timeoutMs },
		});
		try {
			const response = await client.request({
				method: "GET",
				path: target.url.pathname + target.url.search,
				headers: {
					accept: ACCEPT,
					"accept-encoding": "gzip",
					"user-agent": "outrigger-metrics",
					"x-prometheus-scrape-timeout-seconds": `${timeoutMs / 1000}`,
				},
				reset: true, // connection: close
				headersTimeout: 0, // the signal bounds the whole
				bodyTimeout: 0,
				signal,
			});
			return await this.#read(response);
		} catch (error) {
			if (timeout.signal.aborted) return { reason: "timeout", detail: `there was no whole page after ${timeoutMs} ms` };
			const code = errorCode(error);
			if (code.startsWith("Z_") || code === "ERR_BUFFER_TOO_LARGE") return { reason: "content_encoding", detail: code };
			return { reason: "unreachable", detail: code };
		} finally {
			cancel();
			// Not awaited: it resolves when the socket is gone, and an app that hangs is none of our business any more.
			client.destroy().catch(() => {});
		}
	}

	async #read(response: Dispatcher.ResponseData): Promise<ParsedPage | Refusal> {
		const { body } = response;
		const refuse = (reason: DropReason, detail: string): Refusal => {
			body.on("error", () => {}); // destroying a body that is under way makes it emit one
			body.destroy();
			return { reason, detail };
		};
		if (response.statusCode !== 200) return refuse("status", `the answer was ${response.statusCode}`);
		const format = formatOf(headerText(response.headers["content-type"]));
		if (format === undefined) return refuse("content_type", "the page is neither text/plain nor OpenMetrics");
		const coding = headerText(response.headers["content-encoding"]).trim().toLowerCase();
		if (coding !== "" && coding !== "identity" && coding !== "gzip" && coding !== "x-gzip") {
			return refuse("content_encoding", "the page is coded, but not with gzip");
		}
		const parser = new ExpositionParser(format, "lenient", this.limits);
		const slices = new TimeSlices(this.#clock);
		const page = await parseChunks(parser, coding.endsWith("gzip") ? gunzip(body, this.limits.bytesMax) : body, slices);
		this.#longestTurnMs = Math.max(this.#longestTurnMs, slices.longestMs);
		if (page !== undefined) return page;
		const problem = parser.problem;
		const kind: ProblemKind = problem?.kind ?? "malformed";
		return { reason: kind, detail: `line ${problem?.line ?? 0}: ${problem?.message ?? ""}` };
	}
}

/**
 * Bytes behind gzip. What comes out is bounded by the parser, which ends the iteration; what goes in is bounded here, since empty
 * members of gzip can go on for ever without anything coming out.
 */
async function* gunzip(body: Readable, wireBytesMax: number): AsyncGenerator<Uint8Array> {
	const { createGunzip } = await import("node:zlib");
	const gunzip = createGunzip();
	let wireBytes = 0;
	body.on("data", (chunk: Buffer) => {
		wireBytes += chunk.length;
		if (wireBytes > wireBytesMax)
			gunzip.destroy(Object.assign(new Error("too much gzip"), { code: "ERR_BUFFER_TOO_LARGE" }));
	});
	body.on("error", (error) => gunzip.destroy(error));
	body.pipe(gunzip);
	try {
		yield* gunzip as AsyncIterable<Buffer>; // a transform of bytes without an encoding yields Buffers
	} finally {
		gunzip.destroy();
		body.destroy();
	}
}

/** The format of a content type; text for none at all, since small exporters send none. */
function formatOf(contentType: string): ExpositionFormat | undefined {
	const type = (contentType.split(";", 1)[0] ?? "").trim().toLowerCase();
	if (type === "application/openmetrics-text") return "openmetrics";
	return type === "" || type === "text/plain" ? "text" : undefined;
}

function headerText(value: string | string[] | undefined): string {
	return Array.isArray(value) ? (value[0] ?? "") : (value ?? "");
}

/** A code such as ECONNREFUSED; never the message, which can hold bytes of the app. */
function errorCode(error: unknown): string {
	if (error instanceof AggregateError && error.errors.length > 0) return errorCode(error.errors[0]);
	if (error instanceof Error) return "code" in error && typeof error.code === "string" ? error.code : error.name;
	return "unknown";
}

/** Labels are host and path, told apart by a number where that is not enough. */
function makeTargets(urls: readonly string[]): AppTarget[] {
	const seen = new Map<string, number>();
	return urls.map((text) => {
		const url = new URL(text);
		const name = `${url.protocol}//${url.host}${url.pathname}`;
		const count = (seen.get(name) ?? 0) + 1;
		seen.set(name, count);
		return new AppTarget(url, count === 1 ? name : `${name}#${count}`);
	});
}
