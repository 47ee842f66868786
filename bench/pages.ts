/**
 * Two questions about metrics pages, for the agent only: what a page of 10,000 of its own series costs the control
 * thread, and whether traffic feels that somebody scrapes (that page, or the app's page of 10 MiB).
 */
import { setTimeout as sleep } from "node:timers/promises";
import { threadTimes } from "./accounting.ts";
import type { StartedPeer } from "./contestant.ts";
import { type Load, type LoadResult, refusalOf } from "./load.ts";
import { fetchBody } from "./origin.ts";
import { type Spread, spreadOf } from "./statistics.ts";

export interface PageFigures {
	readonly series: number;
	readonly bytes: number;
	readonly scrapes: number;
	/** CPU of the agent's main thread per scrape, what it uses when nobody scrapes taken off. */
	readonly controlThreadMs: Spread;
	readonly controlThreadGzipMs: Spread;
	/** From the request to the last byte, as the scraper sees it. */
	readonly wallMs: Spread;
}

export const SERIES_WANTED = 10_000;
/** The agent's `routes.maxSeries` ends it at 2,000 by default. */
const ROUTES_MAX = 1900;
const ROUTES_A_STEP = 100;
const SCRAPES = 15;

/** Sample lines of an exposition page: Prometheus makes a series of each. */
export function countSeries(page: string): number {
	let count = 0;
	for (const line of page.split("\n")) if (line !== "" && !line.startsWith("#")) count++;
	return count;
}

/** A path that no rule can take for an id: letters only, and few of them. */
export function routePath(index: number): string {
	let word = "";
	for (let rest = index; ; rest = Math.floor(rest / 20) - 1) {
		word = "bcdfghjklmnpqrstvwxz".charAt(rest % 20) + word;
		if (rest < 20) break;
	}
	return `/shop/o${word}o`;
}

/** Asks for ever more routes until the agent's own page has the series. */
export async function growPage(agent: StartedPeer, seriesWanted: number): Promise<number> {
	let series = 0;
	for (let route = 0; route < ROUTES_MAX && series < seriesWanted; ) {
		for (let step = 0; step < ROUTES_A_STEP; step++) {
			const answer = await fetchBody(agent.port, routePath(route++));
			if (answer.status !== 200) throw new Error(`a request for a new route was answered with ${answer.status}`);
		}
		await sleep(1100); // records cross to the control thread, and a cached page ages
		const page = await fetchBody(agent.opsPort, "/metrics");
		if (page.status !== 200) throw new Error(`/metrics was answered with ${page.status}`);
		series = countSeries(page.text());
	}
	return series;
}

const mainThreadSeconds = (agent: StartedPeer): number =>
	threadTimes(agent.process.pid).find((thread) => thread.id === agent.process.pid)?.cpuSeconds ?? 0;

/** After this a scrape's garbage and timers have been paid for. */
const REST_MS = 150;

export async function measurePage(agent: StartedPeer, seriesWanted = SERIES_WANTED): Promise<PageFigures> {
	const series = await growPage(agent, seriesWanted);
	const wall: number[] = [];
	let bytes = 0;
	const scrape = async (headers: Record<string, string>): Promise<number> => {
		const before = mainThreadSeconds(agent);
		const begin = performance.now();
		const page = await fetchBody(agent.opsPort, "/metrics", headers);
		if (headers["accept-encoding"] === undefined) {
			wall.push(performance.now() - begin);
			bytes = page.bytes;
		}
		await sleep(REST_MS);
		const used = mainThreadSeconds(agent) - before;
		await sleep(1000); // the page may be cached for a second
		return used * 1000;
	};
	const idleBefore = mainThreadSeconds(agent);
	await sleep(2000);
	const idleMsPerRest = ((mainThreadSeconds(agent) - idleBefore) * 1000 * REST_MS) / 2000;
	const plain: number[] = [];
	const gzip: number[] = [];
	for (let count = 0; count < SCRAPES; count++) {
		plain.push(Math.max(0, (await scrape({})) - idleMsPerRest));
		if (count % 3 === 0) gzip.push(Math.max(0, (await scrape({ "accept-encoding": "gzip" })) - idleMsPerRest));
	}
	return {
		series,
		bytes,
		scrapes: SCRAPES,
		controlThreadMs: spreadOf(plain),
		controlThreadGzipMs: spreadOf(gzip),
		wallMs: spreadOf(wall),
	};
}

/** Latency of paced traffic under one kind of disturbance. */
export interface DisturbedFigures {
	readonly title: string;
	readonly p50Us: number;
	readonly p99Us: number;
	readonly maxUs: number;
	readonly requestsPerSecond: number;
	readonly scrapes: number;
	/** The smallest page that was seen: one without the app's part shows. */
	readonly pageBytes: number;
}

const CONNECTIONS = 32;
/** 32 connections that pause 10 ms on average: about 3,000 requests a second, which no proxy here is busy with. */
const PAUSE_MS = 10;
/** The agent keeps a fetched page for 1 s: more often would measure the cache. */
const SCRAPE_EVERY_MS = 1050;

/** @param scrape fetches one page; undefined: nothing disturbs */
export async function measureDisturbed(
	title: string,
	port: number,
	seconds: number,
	load: Load,
	scrape: (() => Promise<{ readonly status: number; readonly bytes: number }>) | undefined,
): Promise<DisturbedFigures> {
	const order = { port, path: "/", connections: CONNECTIONS, uploadBytes: 0, seconds, pauseMs: PAUSE_MS };
	let isLoading = true;
	const loading = load(order).finally(() => (isLoading = false));
	let scrapes = 0;
	let pageBytes = Number.POSITIVE_INFINITY;
	const scraping = (async () => {
		while (scrape !== undefined && isLoading) {
			const page = await scrape();
			if (page.status !== 200) throw new Error(`the page was answered with ${page.status}`);
			scrapes++;
			pageBytes = Math.min(pageBytes, page.bytes);
			await Promise.race([sleep(SCRAPE_EVERY_MS), loading]);
		}
	})();
	const [result] = await Promise.all([loading, scraping] satisfies [Promise<LoadResult>, Promise<void>]);
	const refusal = refusalOf(result);
	if (refusal !== undefined) throw new Error(refusal);
	const { p50Us, p99Us, maxUs } = result;
	return {
		title,
		p50Us,
		p99Us,
		maxUs,
		requestsPerSecond: result.requests / result.seconds,
		scrapes,
		pageBytes: scrapes === 0 ? 0 : pageBytes,
	};
}
