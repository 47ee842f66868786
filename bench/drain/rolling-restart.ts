/**
 * One app in one mode: pairs, load balancer and load are started, and under that load one pair after the other is ended as the kubelet ends a pod
 * and replaced by a new one, at another address.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Dice } from "../../agent/test/sim/dice.ts";
import { findExecutable } from "../executables.ts";
import { nowMs, type Process, startProcess } from "../processes.ts";
import type { App } from "./apps.ts";
import type { Target } from "./client-connection.ts";
import { askServersUp, type LoggedRequest, readLog, writeConfiguration } from "./haproxy.ts";
import { endPod, type Time } from "./kubelet.ts";
import type { LoadSettings } from "./load.ts";
import { LoadLink } from "./load-link.ts";
import { decisiveMs, type Failure, type Outcome, type Restart } from "./outcome.ts";
import {
	checkPath,
	checkPort,
	type Mode,
	type Pod,
	type PodSettings,
	type Slot,
	startPod,
	trafficPort,
} from "./pod.ts";
import { listeningPorts } from "./ports.ts";
import { type Entry, type Phase, Timeline } from "./timeline.ts";

export interface RunSettings {
	readonly app: App;
	readonly mode: Mode;
	readonly agent: string;
	readonly pairs: number;
	readonly restarts: number;
	readonly requests: number;
	readonly ratePerSecond: number;
	/** How long after t0 the client that picks addresses itself learns that one is gone. */
	readonly lateMs: number;
	readonly seed: number;
	readonly folder: string;
	readonly graceMs: number;
	readonly downloadBytes: number;
	readonly uploadSizes: readonly number[];
	readonly exchangeMs: { readonly upload: number; readonly download: number };
	/** Calm before the next restart, ms. */
	readonly settleMs: number;
	/** Further variables for the agent. */
	readonly agentEnv: Readonly<Record<string, string>>;
	/** Half of the requests go through haproxy; otherwise all go directly. */
	readonly isBalanced: boolean;
	readonly say: (line: string) => void;
}

/**
 * The usual sizes. Buffers of the kernel swallow some 7 MiB of a download that nobody reads, and with the last byte in them an app is done: of
 * 16 MiB that are read in 2 s it has to write for 1.3 s.
 */
export const SIZES = {
	downloadBytes: 16 * 1024 * 1024,
	uploadSizes: [256, 384, 512, 768, 1024].map((kib) => kib * 1024),
	exchangeMs: { upload: 1000, download: 2000 },
} as const;

export const CONNECTION_TIMES = { connectMs: 5000, stallMs: 20_000 } as const;

const time: Time = {
	nowMs,
	after(ms, action) {
		const timer = setTimeout(action, ms);
		return () => clearTimeout(timer);
	},
};
const LOOK_MS = 50;
const BALANCER_MS_MAX = 20_000;
const HOST = "127.0.0.1";

export const hasBalancer = (): boolean => findExecutable("haproxy") !== undefined;

/** @throws when a process does not start or ends by itself: then there is no result */
export async function rollingRestart(settings: RunSettings): Promise<Outcome> {
	const run = new Run(settings);
	try {
		await run.start();
		return await run.restartAll();
	} finally {
		await run.end();
	}
}

interface Balancer {
	readonly target: Target;
	readonly process: Process;
	readonly folder: string;
	readonly logFile: string;
}

class Run {
	readonly #settings: RunSettings;
	readonly #podSettings: PodSettings;
	readonly #timeline = new Timeline();
	/** Two for each pair: 2n and 2n + 1. */
	#slots: readonly Slot[] = [];
	/** By pair; undefined while it is away. */
	readonly #pods: (Pod | undefined)[] = [];
	/** All that were ever started: each is killed at the end, whatever became of it. */
	readonly #everyPod: Pod[] = [];
	#isOver = false;
	#addresses: readonly Target[] = [];
	#balancer: Balancer | undefined;
	#load: LoadLink | undefined;
	readonly #late = new Set<() => void>();

	constructor(settings: RunSettings) {
		this.#settings = settings;
		const { app, mode, agent, graceMs, downloadBytes, agentEnv } = settings;
		this.#podSettings = { app, mode, agent, graceMs, downloadBytes, env: agentEnv };
	}

	async start(): Promise<void> {
		const { pairs, folder, app, mode } = this.#settings;
		mkdirSync(folder, { recursive: true });
		app.build();
		// Not of the seed: two runs side by side must not take the same.
		const ports = (await listeningPorts(pairs * 8 + 1, new Dice(process.pid))).values();
		const port = (): number => ports.next().value ?? 0;
		this.#slots = Array.from({ length: pairs * 2 }, (_, index) => ({
			name: `pair${Math.floor(index / 2) + 1}${"ab"[index % 2]}`,
			appPort: port(),
			inboundPort: port(),
			opsPort: port(),
			apiPort: port(),
		}));
		for (let pair = 0; pair < pairs; pair++) {
			this.#pods[pair] = await this.#startPod(pair, 0);
		}
		if (this.#settings.isBalanced) this.#balancer = await this.#startBalancer(port());
		const load = new LoadLink();
		this.#load = load;
		await load.prepare(this.#loadSettings(), { host: HOST, port: this.#slotOf(0, 0).appPort });
		this.#tellAddresses(this.#pods.flatMap((pod) => pod?.address ?? []));
		this.#settings.say(`  ${pairs} pairs of ${app.name} are ready (${mode})`);
	}

	async #startPod(pair: number, turn: number): Promise<Pod> {
		const pod = await startPod(this.#slotOf(pair, turn), this.#podSettings, this.#settings.folder);
		this.#everyPod.push(pod);
		if (this.#isOver) {
			await pod.kill();
			throw new Error("the run is over");
		}
		return pod;
	}

	#slotOf(pair: number, turn: number): Slot {
		const slot = this.#slots[pair * 2 + (turn % 2)];
		if (slot === undefined) throw new Error(`there is no pair ${pair}`);
		return slot;
	}

	#loadSettings(): LoadSettings {
		const { seed, ratePerSecond, app, uploadSizes, downloadBytes, exchangeMs } = this.#settings;
		return {
			seed,
			ratePerSecond,
			lb: this.#balancer?.target,
			paths: app.paths,
			uploadSizes,
			uploadMs: exchangeMs.upload,
			downloadBytes,
			downloadMs: exchangeMs.download,
			times: CONNECTION_TIMES,
		};
	}

	async #startBalancer(port: number): Promise<Balancer> {
		const { folder, app, mode } = this.#settings;
		const file = writeConfiguration({
			port,
			folder,
			checkPath: checkPath(app, mode),
			backends: this.#slots.map((slot) => ({
				name: slot.name,
				port: trafficPort(slot, mode),
				checkPort: checkPort(slot, mode),
			})),
		});
		const logFile = join(folder, "haproxy.out");
		const started = startProcess({
			argv: [findExecutable("haproxy") ?? "haproxy", "-db", "-f", file],
			stdoutFile: logFile,
			stderrFile: join(folder, "haproxy.err"),
		});
		const balancer: Balancer = { target: { host: HOST, port }, process: started, folder, logFile };
		this.#balancer = balancer;
		await this.#untilBalanced();
		return balancer;
	}

	/** Until the load balancer sends to exactly the pods that there are. It takes servers for good until it has looked. */
	async #untilBalanced(): Promise<void> {
		const balancer = this.#balancer;
		if (balancer === undefined) return;
		const wanted = this.#pods.flatMap((pod) => pod?.slot.name ?? []).sort();
		const untilMs = nowMs() + BALANCER_MS_MAX;
		let last = "";
		while (nowMs() < untilMs) {
			const ended = balancer.process.hasEnded();
			if (ended !== undefined) throw new Error(`haproxy ended: ${ended}`);
			try {
				last = [...(await askServersUp(balancer.folder))].sort().join();
			} catch (error) {
				last = String(error); // its socket is not there yet
			}
			if (last === wanted.join()) return;
			await sleep(LOOK_MS);
		}
		throw new Error(`haproxy did not come to send to ${wanted.join()} within ${BALANCER_MS_MAX} ms, but to ${last}`);
	}

	#tellAddresses(addresses: readonly Target[]): void {
		this.#addresses = addresses;
		this.#load?.setAddresses(addresses);
	}

	async restartAll(): Promise<Outcome> {
		const { restarts: wanted, requests, ratePerSecond, pairs, lateMs, settleMs, say, app, mode } = this.#settings;
		const load = this.#linked();
		const beginMs = nowMs();
		load.start();
		const restarts: Restart[] = [];
		const gapMs = ((requests / ratePerSecond) * 1000) / Math.max(1, wanted);
		await this.#watched(sleep(settleMs));
		for (let turn = 0; turn < wanted; turn++) {
			// Spread over the time that the requests take, so that every mode has as many restarts in as many requests.
			await this.#watched(sleep(Math.max(0, beginMs + settleMs + turn * gapMs - nowMs())));
			const pair = turn % pairs;
			restarts.push(await this.#watched(this.#restart(pair, Math.floor(turn / pairs) + 1, beginMs)));
			await this.#watched(sleep(settleMs));
			this.#timeline.calm(nowMs());
			const { pod, appSigtermMs, sidecarEnded, appEnded } = restarts[turn] ?? {};
			const ended = sidecarEnded === undefined ? appEnded : `agent ${sidecarEnded}`;
			say(
				`  ${app.name} ${mode} ${turn + 1}/${wanted}: ${pod} SIGTERM after ${Math.round(appSigtermMs ?? 0)} ms, ${ended}; ${load.begun} requests, ${load.lost.length} lost`,
			);
		}
		while (load.begun < requests) await this.#watched(sleep(LOOK_MS));
		const tally = await this.#watched(load.finish());
		return {
			app: app.name,
			mode,
			seed: this.#settings.seed,
			pairs,
			lateMs,
			tally,
			failures: this.#explain(load),
			restarts,
			hasBalancer: this.#balancer !== undefined,
			seconds: (nowMs() - beginMs) / 1000,
		};
	}

	#linked(): LoadLink {
		if (this.#load === undefined) throw new Error("the load has not been started");
		return this.#load;
	}

	async #restart(pair: number, turn: number, beginMs: number): Promise<Restart> {
		const { lateMs, graceMs } = this.#settings;
		const old = this.#pods[pair];
		if (old === undefined) throw new Error(`there is no pod of pair ${pair}`);
		this.#pods[pair] = undefined; // what ends now ends because it must
		const startMs = nowMs();
		const cancel = time.after(lateMs, () => {
			this.#late.delete(cancel);
			this.#tellAddresses(this.#addresses.filter((address) => address !== old.address));
		});
		this.#late.add(cancel);
		const enter = (phase: Phase): void => this.#timeline.enter(nowMs(), phase, pair, old.slot.name);
		const stop = await endPod(old.doomed, graceMs, time, enter);
		await old.kill();
		enter("gone");
		const pod = await this.#startPod(pair, turn);
		this.#pods[pair] = pod;
		enter("arrives");
		this.#tellAddresses([...this.#addresses, pod.address]);
		await this.#untilBalanced();
		const leftMs = startMs + lateMs - nowMs();
		if (leftMs > 0) await sleep(leftMs + LOOK_MS); // the next restart begins when everybody has forgotten this pod
		return { ...stop, pair, pod: old.slot.name, atMs: startMs - beginMs, report: old.report(), newPodMs: pod.startMs };
	}

	/** Waits for something, but not longer than all that must run runs. */
	async #watched<T>(waiting: Promise<T>): Promise<T> {
		const { promise, reject } = Promise.withResolvers<never>();
		const look = (): void => {
			const haproxy = this.#balancer?.process.hasEnded();
			const ended =
				this.#load?.hasEnded() ??
				(haproxy === undefined ? undefined : `haproxy ended: ${haproxy}`) ??
				this.#pods.map((pod) => pod?.hasEnded()).find((why) => why !== undefined);
			if (ended !== undefined) reject(new Error(ended));
		};
		look(); // what is waited for may be over before the first interval, again and again
		const timer = setInterval(look, LOOK_MS);
		try {
			return await Promise.race([promise, waiting]);
		} finally {
			clearInterval(timer);
		}
	}

	#explain(load: LoadLink): readonly Failure[] {
		const log = this.#balancer === undefined ? new Map<number, LoggedRequest>() : readLog(this.#balancer.logFile);
		const podAt = new Map(this.#slots.map((slot) => [`${HOST}:${trafficPort(slot, this.#settings.mode)}`, slot.name]));
		return load.lost.map((lost): Failure => {
			const logged = lost.way === "lb" ? log.get(lost.id) : undefined;
			const pod = lost.server ?? logged?.server ?? podAt.get(lost.target);
			const entry = this.#timeline.at(decisiveMs(lost));
			return {
				...lost,
				pod,
				phase: entry.phase,
				whose: this.#whose(pod, entry),
				balancer: logged === undefined ? undefined : `${logged.status} ${logged.ended} after ${logged.retries} retries`,
			};
		});
	}

	#whose(pod: string | undefined, entry: Entry): Failure["whose"] {
		const index = this.#slots.findIndex((slot) => slot.name === pod);
		if (index === -1) return "unknown";
		if (pod === entry.pod) return "old";
		return Math.floor(index / 2) === entry.pair ? "new" : "other";
	}

	/** Ends everything, whatever state it is in. */
	async end(): Promise<void> {
		this.#isOver = true;
		for (const cancel of this.#late) cancel();
		await this.#load?.kill();
		await this.#balancer?.process.stop(0);
		await Promise.all(this.#everyPod.map((pod) => pod.kill()));
	}
}
