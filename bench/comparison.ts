/** The whole comparison: starts the app and the proxies, runs the scenarios one after the other, gathers the results. */
import { setTimeout as sleep } from "node:timers/promises";
import { residentBytes } from "./accounting.ts";
import { messageOf, type StartedPeer, startPeer } from "./contestant.ts";
import { measureIdle } from "./idle-connections.ts";
import { type Load, wrkLoad } from "./load.ts";
import { describeCommit, describeMachine } from "./machine.ts";
import type { Options } from "./options.ts";
import { fetchBody, type Origin, startOrigin } from "./origin.ts";
import { type DisturbedFigures, growPage, measureDisturbed, measurePage, SERIES_WANTED } from "./pages.ts";
import type { Peer } from "./peers/peer.ts";
import type { Answer, Results, ScenarioResult, Stay } from "./results.ts";
import { figuresOf, runRounds } from "./rounds.ts";
import { IDLE_CONNECTIONS, type LoadScenario, type Scenario, windowSeconds } from "./scenarios.ts";
import { spreadOf } from "./statistics.ts";
import type { Window } from "./window.ts";

type Say = (line: string) => void;

interface Ground {
	readonly peers: readonly Peer[];
	readonly options: Options;
	readonly folder: string;
	readonly load: Load;
	readonly origin: Origin;
	readonly say: Say;
}

const SMALL_PAGE_BYTES = 4096;
const LARGE_PAGE_BYTES = 10 * 1024 * 1024;
const STARTS = 7;
const SETTLE_MS = 1500;
/** After this without traffic, memory is what stays. */
const AFTER_MS = 3000;
/** How long a proxy may take to write the lines that it still has. The agent has written its own; its drain is no part of this. */
const stopGraceMs = (peer: Peer): number => (peer.isAgent ? 0 : 12_000);

export async function compare(peers: readonly Peer[], options: Options, folder: string, say: Say): Promise<Results> {
	const origin = await startOrigin(folder, options.loadCore, SMALL_PAGE_BYTES);
	const ground: Ground = { peers, options, folder, load: wrkLoad(folder), origin, say };
	const failures: string[] = [];
	const scenarios: ScenarioResult[] = [];
	try {
		const loads = options.scenarios.filter((scenario) => scenario.kind === "load");
		const stays = loads.length === 0 ? [] : await runLoads(ground, loads, scenarios, failures);
		for (const scenario of options.scenarios) {
			if (scenario.kind === "load") continue;
			say(`${scenario.name}: ${scenario.title}`);
			const result = await runSpecial(ground, scenario.kind, scenario);
			for (const answer of result.answers) {
				if ("failure" in answer) failures.push(`${scenario.name}, ${answer.peer}: ${answer.failure}`);
			}
			scenarios.push(result);
		}
		return {
			date: new Date().toISOString(),
			commit: describeCommit(),
			machine: describeMachine(),
			rounds: options.rounds,
			seconds: options.seconds,
			peers: peers.map((peer) => ({ name: peer.name, version: peer.version(), setting: peer.setting })),
			scenarios,
			stays,
			failures,
		};
	} finally {
		await origin.process.stop(0);
	}
}

async function runLoads(
	ground: Ground,
	loads: readonly LoadScenario[],
	scenarios: ScenarioResult[],
	failures: string[],
): Promise<readonly Stay[]> {
	const { options, say, origin } = ground;
	const cores = options.proxyCore;
	const running: StartedPeer[] = [];
	try {
		for (const peer of ground.peers) {
			running.push(await startPeer(peer, { folder: ground.folder, cores, originPort: origin.port }));
		}
		await sleep(SETTLE_MS);
		const books = new Map(
			running.map((peer) => [peer.name, { idleBytes: residentBytes(peer.pids()), peakBytes: 0, requests: 1 }]),
		);
		for (const scenario of loads) {
			const entries = await runRounds(
				running,
				scenario,
				{
					rounds: options.rounds,
					extraRounds: options.extraRounds,
					seconds: windowSeconds(scenario, options.seconds),
					warmUpSeconds: windowSeconds(scenario, scenario === loads[0] ? 2 : 1),
					afterWindow(contestant, window, isMeasured) {
						const book = books.get(contestant.name);
						if (book === undefined) return;
						book.peakBytes = Math.max(book.peakBytes, window.peakResidentBytes);
						book.requests += window.load.requests;
						running.find((peer) => peer.name === contestant.name)?.countLogLines();
						if (!isMeasured) return;
						const us = ((window.cpuSeconds / window.load.requests) * 1e6).toFixed(2);
						say(`  ${scenario.name} ${contestant.name}: ${us} µs CPU/request${byThread(window)}`);
					},
				},
				{ load: ground.load, counts: origin.counts, originPids: [origin.process.pid] },
			);
			for (const entry of entries) {
				if (entry.failure !== undefined) {
					failures.push(`${scenario.name}, ${entry.peer}: ${entry.failure}`);
					say(`  FAILED ${scenario.name} ${entry.peer}: ${entry.failure}`);
				}
			}
			const { name, title, measure } = scenario;
			scenarios.push({ kind: "load", name, title, measure, figures: figuresOf(entries), entries });
		}
		await sleep(AFTER_MS);
		const afterBytes = new Map(running.map((peer) => [peer.name, residentBytes(peer.pids())]));
		// Envoy keeps its lines for up to ten seconds: only a stop brings out the last ones
		await Promise.all(running.map((peer) => peer.process.stop(stopGraceMs(peer.peer))));
		return running.map((peer): Stay => {
			const book = books.get(peer.name) ?? { idleBytes: 0, peakBytes: 0, requests: 0 };
			return { peer: peer.name, ...book, afterBytes: afterBytes.get(peer.name) ?? 0, logLines: peer.countLogLines() };
		});
	} finally {
		await Promise.all(running.map((peer) => peer.process.stop(0)));
	}
}

async function runSpecial(
	ground: Ground,
	kind: Exclude<Scenario["kind"], "load">,
	{ name, title }: Scenario,
): Promise<Exclude<ScenarioResult, { kind: "load" }>> {
	const agents = ground.peers.filter((peer) => peer.isAgent);
	switch (kind) {
		case "start":
			return { kind, name, title, answers: await answersOf(ground.peers, (peer) => measureStart(ground, peer)) };
		case "idle":
			return {
				kind,
				name,
				title,
				answers: await answersOf(ground.peers, (peer) =>
					withPeer(ground, peer, ground.options.proxyCore, {}, async (running) => {
						await warmUp(ground.load, running.port);
						return measureIdle(running, IDLE_CONNECTIONS, SETTLE_MS);
					}),
				),
			};
		case "metrics-page":
			return {
				kind,
				name,
				title,
				answers: await answersOf(agents, (peer) =>
					withPeer(ground, peer, ground.options.proxyCore, {}, (running) => measurePage(running)),
				),
			};
		case "scrape":
			return { kind, name, title, answers: await answersOf(agents, (peer) => measureScrapes(ground, peer)) };
		default:
			return kind satisfies never;
	}
}

async function answersOf<T>(peers: readonly Peer[], ask: (peer: Peer) => Promise<T>): Promise<readonly Answer<T>[]> {
	const answers: Answer<T>[] = [];
	for (const peer of peers) {
		try {
			answers.push({ peer: peer.name, figures: await ask(peer) });
		} catch (error) {
			answers.push({ peer: peer.name, failure: messageOf(error) });
		}
	}
	return answers;
}

async function withPeer<T>(
	ground: Ground,
	peer: Peer,
	cores: string,
	env: Readonly<Record<string, string>>,
	use: (running: StartedPeer) => Promise<T>,
): Promise<T> {
	const running = await startPeer(peer, { folder: ground.folder, cores, originPort: ground.origin.port, env });
	try {
		return await use(running);
	} finally {
		await running.process.stop(0); // nothing is in flight and nothing is asked of its end
	}
}

const warmUp = (load: Load, port: number): Promise<unknown> =>
	load({ port, path: "/", connections: 16, uploadBytes: 0, seconds: 1, pauseMs: 0 });

async function measureStart(ground: Ground, peer: Peer) {
	const times: number[] = [];
	for (let count = 0; count <= STARTS; count++) {
		const ms = await withPeer(ground, peer, ground.options.proxyCore, {}, async (running) => running.startMs);
		if (count > 0) times.push(ms); // the first one reads the files into the page cache
	}
	return spreadOf(times);
}

/**
 * Traffic on a quiet agent, then while pages are scraped. The scraper and the app share the core of the load, so the
 * same page fetched from the app directly shows how much of a difference is theirs.
 */
async function measureScrapes(ground: Ground, peer: Peer): Promise<readonly DisturbedFigures[]> {
	const { options, load, folder, say } = ground;
	const seconds = Math.max(4, options.seconds * 2);
	const rows: DisturbedFigures[] = [];
	const app = await startOrigin(folder, options.loadCore, LARGE_PAGE_BYTES);
	try {
		const env = { OUTRIGGER_METRICS__APP__0: `http://127.0.0.1:${app.port}/metrics` };
		for (const [cores, where] of [
			[options.proxyCore, "one core"],
			[`${options.loadCore},${options.proxyCore}`, "two cores, shared with the load"],
		] as const) {
			const running = await startPeer(peer, { folder, cores, originPort: app.port, env });
			try {
				const measure = async (title: string, scrape?: () => Promise<{ status: number; bytes: number }>) => {
					say(`  ${title} (${where})`);
					rows.push(await measureDisturbed(`${title} (${where})`, running.port, seconds, load, scrape));
				};
				await warmUp(load, running.port);
				await measure("nobody scrapes");
				await measure("the app's 10 MiB page is fetched past the agent", () => fetchBody(app.port, "/metrics"));
				await measure("the app's 10 MiB page is scraped through the agent", () =>
					fetchBody(running.opsPort, "/metrics"),
				);
			} finally {
				await running.process.stop(0);
			}
		}
		const running = await startPeer(peer, { folder, cores: options.proxyCore, originPort: ground.origin.port });
		try {
			await growPage(running, SERIES_WANTED);
			await warmUp(load, running.port);
			rows.push(await measureDisturbed("nobody scrapes, 10,000 series", running.port, seconds, load, undefined));
			const scrape = () => fetchBody(running.opsPort, "/metrics");
			rows.push(await measureDisturbed("10,000 own series are scraped", running.port, seconds, load, scrape));
		} finally {
			await running.process.stop(0);
		}
		return rows;
	} finally {
		await app.process.stop(0);
	}
}

/** Where several threads share the work: who took how much. */
function byThread({ threadSeconds, load }: Window): string {
	const parts = Object.entries(threadSeconds)
		.map(([name, seconds]) => ({ name, us: (seconds / load.requests) * 1e6 }))
		.filter(({ us }) => us >= 0.05)
		.sort((a, b) => b.us - a.us)
		.map(({ name, us }) => `${name} ${us.toFixed(2)}`);
	return parts.length > 1 ? ` (${parts.join(", ")})` : "";
}
