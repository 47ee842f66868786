/** A pair of agent and app, started as a pod starts: the agent, its startup probe, then the app; and ready when the probe says so. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { nowMs, type Process, startProcess } from "../processes.ts";
import type { App } from "./apps.ts";
import type { Target } from "./client-connection.ts";
import type { DoomedPod, Hook } from "./kubelet.ts";

export const MODES = ["port", "none", "without"] as const;
/** `capture: port`, `capture: none`, or no agent at all. */
export type Mode = (typeof MODES)[number];

/** A place for a pod. Each pair has two, so that a new pod never stands where the old one was: late clients would not notice. */
export interface Slot {
	/** Of the load balancer's server. */
	readonly name: string;
	readonly appPort: number;
	readonly inboundPort: number;
	readonly opsPort: number;
	readonly apiPort: number;
}

export interface PodSettings {
	readonly app: App;
	readonly mode: Mode;
	/** The agent's main.js. */
	readonly agent: string;
	readonly graceMs: number;
	readonly downloadBytes: number;
	/** Further variables for the agent. */
	readonly env: Readonly<Record<string, string>>;
}

export interface Pod {
	readonly slot: Slot;
	/** Where its traffic is taken. */
	readonly address: Target;
	readonly folder: string;
	readonly doomed: DoomedPod;
	/** From the first exec until it was ready, ms. */
	readonly startMs: number;
	/** Why one of its processes is no longer there, as soon as that is so. */
	hasEnded(): string | undefined;
	/** What the agent wrote into its termination message. */
	report(): unknown;
	/** SIGKILL for what is left. */
	kill(): Promise<void>;
}

const START_MS_MAX = 60_000;
const PROBE_EVERY_MS = 50;
const PROBE_MS = 1000;
const HOST = "127.0.0.1";

/** Where requests for the pod in that slot go, in that mode. */
export const trafficPort = (slot: Slot, mode: Mode): number => (mode === "port" ? slot.inboundPort : slot.appPort);
export const checkPort = (slot: Slot, mode: Mode): number => (mode === "without" ? slot.appPort : slot.opsPort);
/** Without an agent the app is asked for something that it has, as a probe of such a pod would. */
export const checkPath = (app: App, mode: Mode): string => (mode === "without" ? app.paths.quick : "/readyz");

/** As the image and the injector set the agent's variables, and the ports of the slot. */
export function agentEnvironment(slot: Slot, settings: PodSettings, folder: string): Readonly<Record<string, string>> {
	return {
		MALLOC_ARENA_MAX: "1",
		MALLOC_TRIM_THRESHOLD_: "65536",
		OUTRIGGER_SERVICE__NAME: `${settings.app.name}-${slot.name}`,
		OUTRIGGER_APP_PORT: String(slot.appPort),
		// with capture: none there is no data path, and to ask for one would be a mistake in the configuration
		...(settings.mode === "port" ? { OUTRIGGER_INBOUND__0__LISTEN: `${HOST}:${slot.inboundPort}` } : {}),
		OUTRIGGER_OPS__LISTEN: `${HOST}:${slot.opsPort}`,
		OUTRIGGER_API__LISTEN: `${HOST}:${slot.apiPort}`,
		OUTRIGGER_CAPTURE: settings.mode,
		OUTRIGGER_DRAIN__GRACE: `${settings.graceMs}ms`,
		OUTRIGGER_DRAIN__SIGTERM: "stop",
		OUTRIGGER_DRAIN__REPORT: join(folder, "termination-log"),
		...settings.env,
	};
}

let started = 0;

/**
 * Starts a pod and waits until it is ready.
 * @throws when it does not become so; nothing of it is left then
 */
export async function startPod(slot: Slot, settings: PodSettings, runFolder: string): Promise<Pod> {
	const folder = join(runFolder, `pod-${++started}`);
	mkdirSync(folder, { recursive: true });
	const startedAtMs = nowMs();
	const { app, mode } = settings;
	const env = agentEnvironment(slot, settings, folder);
	const running: Process[] = [];
	const run = (name: string, argv: readonly string[], variables: Readonly<Record<string, string>>): Process => {
		const launched = startProcess({
			argv,
			env: variables,
			stdoutFile: join(folder, `${name}.out`),
			stderrFile: join(folder, `${name}.err`),
		});
		running.push(launched);
		return launched;
	};
	try {
		let sidecar: Process | undefined;
		if (mode !== "without") {
			sidecar = run("agent", [process.execPath, settings.agent, "agent"], env);
			await untilProbed(slot.opsPort, "/startupz", sidecar);
		}
		const launch = app.launch({
			port: slot.appPort,
			folder: join(folder, "app"),
			downloadBytes: settings.downloadBytes,
		});
		const process_ = run("app", launch.argv, launch.env);
		await untilProbed(checkPort(slot, mode), checkPath(app, mode), process_);
		return {
			slot,
			folder,
			address: { host: HOST, port: trafficPort(slot, mode) },
			startMs: nowMs() - startedAtMs,
			doomed: {
				app: process_,
				...(sidecar === undefined
					? {}
					: {
							sidecar,
							appHook: drainedHook(slot.opsPort),
							sidecarHook: drainHook(settings.agent, env),
						}),
			},
			hasEnded() {
				const [appEnded, sidecarEnded] = [process_.hasEnded(), sidecar?.hasEnded()];
				if (appEnded !== undefined) return `the app of ${slot.name} ended: ${appEnded}. ${lastWords(folder, "app")}`;
				if (sidecarEnded === undefined) return undefined;
				return `the agent of ${slot.name} ended: ${sidecarEnded}. ${lastWords(folder, "agent")}`;
			},
			report: () => readReport(join(folder, "termination-log")),
			kill: async () => {
				await Promise.all(running.map((each) => each.stop(0)));
			},
		};
	} catch (error) {
		await Promise.all(running.map((each) => each.stop(0)));
		const why = error instanceof Error ? error.message : String(error);
		const said = ["agent", "app"].map((name) => lastWords(folder, name)).join(" ");
		throw new Error(`a pod of ${app.name} (${mode}) did not start: ${why}. ${said}`);
	}
}

/** What a process said last, so that the bench's message is enough to understand it. */
function lastWords(folder: string, name: string): string {
	const said = ["err", "out"]
		.map((stream) =>
			readText(join(folder, `${name}.${stream}`))
				.trim()
				.slice(-600),
		)
		.filter((text) => text !== "");
	return said.length === 0 ? `${name} said nothing.` : `${name} said: ${said.join(" / ")}`;
}

function readText(file: string): string {
	try {
		return readFileSync(file, "utf8");
	} catch {
		return "";
	}
}

function readReport(file: string): unknown {
	try {
		return JSON.parse(readText(file));
	} catch {
		return undefined;
	}
}

/** Asks as the kubelet's httpGet does, until the answer is from 200 to 399. */
async function untilProbed(port: number, path: string, process_: Process): Promise<void> {
	const untilMs = nowMs() + START_MS_MAX;
	let last = "no answer";
	while (nowMs() < untilMs) {
		const ended = process_.hasEnded();
		if (ended !== undefined) throw new Error(`it ended: ${ended}`);
		try {
			const answer = await fetch(`http://${HOST}:${port}${path}`, {
				signal: AbortSignal.timeout(PROBE_MS),
				headers: { "user-agent": "kube-probe/1.36", connection: "close" },
			});
			await answer.arrayBuffer();
			if (answer.status < 400) return;
			last = `status ${answer.status}`;
		} catch (error) {
			last = error instanceof Error ? String(error.cause ?? error.message) : String(error);
		}
		await sleep(PROBE_EVERY_MS);
	}
	throw new Error(`${path} on port ${port} was not good within ${START_MS_MAX} ms: ${last}`);
}

/** The preStop of the agent's container: `exec: [outrigger, drain]`. */
const drainHook = (agent: string, env: Readonly<Record<string, string>>): Hook => {
	return async (signal) => {
		const { promise, resolve } = Promise.withResolvers<string>();
		const said: Buffer[] = [];
		const child: ChildProcess = spawn(process.execPath, [agent, "drain"], {
			env: { ...process.env, ...env },
			stdio: ["ignore", "pipe", "pipe"],
			signal,
			killSignal: "SIGKILL",
		});
		for (const stream of [child.stdout, child.stderr]) stream?.on("data", (bytes: Buffer) => said.push(bytes));
		child.on("error", (error) => resolve(error.message));
		child.on("close", (code, by) => resolve(`${by ?? `exit code ${code}`} ${Buffer.concat(said).toString().trim()}`));
		return promise;
	};
};

/** The preStop of the app's container: `httpGet` of /lifecycle/drained on the agent's ops port. */
const drainedHook = (opsPort: number): Hook => {
	return async (signal) => {
		const answer = await fetch(`http://${HOST}:${opsPort}/lifecycle/drained`, {
			signal,
			headers: { connection: "close" },
		});
		return `status ${answer.status} ${(await answer.text()).trim()}`;
	};
};
