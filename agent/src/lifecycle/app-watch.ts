import type { Address, InboundSettings, Settings } from "../config/settings.ts";
import type { Clock } from "../foundation/clock.ts";
import type { Component } from "../foundation/component.ts";
import type { Logger } from "../foundation/logger.ts";
import type { Scheduler } from "../foundation/scheduler.ts";
import { AppHealth, appTarget } from "./app-checks.ts";
import { AppPort, type AppPortState, type AppPortStatus } from "./app-port.ts";
import { AppRestart } from "./app-restart.ts";
import type { HealthTree } from "./health-tree.ts";
import type { NameLookups } from "./name-lookup.ts";
import type { LifecycleState, UnreadyReason } from "./state.ts";

/**
 * The app, as the agent's state sees it: readiness follows its ports, its check, what it says of itself, its restarts, and whatever else in health is
 * critical. The reasons not to be ready, the first that is so:
 *
 *   agent_fails   a part of ours fails liveness: who is about to be killed for it, or hangs, must not stay in rotation
 *   restarting    its container alone is being restarted, and the port has refused since
 *   app_refuses, app_fails, check_fails    as the health tree has it
 *   app_says      `NotReady`, until `Ready`, or until its port refuses and accepts again: who starts anew has said nothing yet
 *
 * The agent's own start never waits for the app: what is not known yet leaves it `starting`.
 */
export interface WatchedApp {
	/** Name of the entry of `inbound`, or the address without a data path. */
	readonly name: string;
	/** `undefined` under `outrigger run` until the port is found. */
	readonly app: Address | undefined;
	readonly protocol: InboundSettings["protocol"] | undefined;
}

export interface AppWatchParts {
	readonly apps: readonly WatchedApp[];
	readonly health: Settings["health"]["app"];
	/** `drain.appStop`, ms. */
	readonly appStopMs: number;
	readonly state: LifecycleState;
	readonly tree: HealthTree;
	readonly lookups: NameLookups;
	readonly userAgent: string;
	readonly ownAddresses: () => readonly string[];
	readonly tryConnect: (address: Address, timeoutMs: number) => Promise<void>;
	/** The app of that entry answers there. */
	readonly onAddress: (index: number, address: Address) => void;
	/** Everything is well: the app may be asked what else there is to know of it. */
	readonly onReady: () => void;
	/** We leave, and nobody listens at any of the app's ports. */
	readonly onGone: () => void;
	readonly clock: Clock;
	readonly scheduler: Scheduler;
	/** In [0, 1). */
	readonly random: () => number;
	readonly log: Logger;
}

/**
 * What the app has said of itself.
 *
 *              NotReady              a port that did not refuse does
 *   nothing ──────────────► not ready ────────────────► not ready, before it ended
 *      ▲                     │     ▲                     │     │
 *      ├────── Ready ────────┘     └────── NotReady ─────┘     │
 *      └─────────── Ready; every port accepts ─────────────────┘
 *
 * What an app says before it listens holds. While it is `not_ready` the ports are watched closely: a process that crashes may be back within a second.
 */
type Said = "nothing" | "not_ready" | "not_ready_before_it_ended";

export class AppWatch implements Component {
	readonly name = "app-watch";
	readonly #parts: AppWatchParts;
	readonly #ports: readonly AppPort[];
	readonly #healths: readonly AppHealth[];
	readonly #restart: AppRestart;
	readonly #endWatches: (() => void)[] = [];
	#said: Said = "nothing";
	/** While `#said` is something. */
	#endSaidWatch: (() => void) | undefined;
	#isRunning = false;

	constructor(parts: AppWatchParts) {
		this.#parts = parts;
		const { apps, health, clock, scheduler, random, log, tree, lookups, userAgent, appStopMs } = parts;
		const { ownAddresses, tryConnect, state } = parts;
		this.#ports = apps.map(
			({ name, app }) =>
				new AppPort(`app-port ${name}`, app, health, { clock, scheduler, random, ownAddresses, tryConnect }),
		);
		this.#healths = apps.map(
			({ name, protocol }, index) =>
				new AppHealth(
					name,
					{ ...health, target: appTarget(health, index, protocol) },
					{ tree, clock, scheduler, random, lookups, userAgent },
				),
		);
		this.#restart = new AppRestart({
			clock,
			scheduler,
			log,
			appStopMs,
			watchClosely: () => this.#watchPorts(),
			onChange: () => this.#settle(),
		});
		for (const [index, port] of this.#ports.entries())
			port.subscribe((status, before) => this.#onPort(index, status, before));
		tree.subscribe(() => this.#settle());
		state.subscribe(({ to }) => {
			if (to === "announcing") this.#leave();
		});
	}

	/** Of each port, in the order of `apps`. */
	get statuses(): readonly AppPortStatus[] {
		return this.#ports.map(({ status }) => status);
	}

	/** Whether every port accepts. */
	get accepts(): boolean {
		return this.#portState() === "accepts";
	}

	/** Why we are not ready, as a word for probes; `undefined` when we are, or it is not known yet. */
	get why(): UnreadyReason | undefined {
		const { current } = this.#parts.state;
		return current.at === "unready" ? current.why : undefined;
	}

	async start(): Promise<void> {
		this.#isRunning = true;
		await Promise.all([...this.#healths, ...this.#ports].map((part) => part.start()));
		this.#settle(); // without an app to ask there is no event
	}

	async stop(): Promise<void> {
		this.#isRunning = false;
		this.#restart.stop();
		this.#say("nothing");
		for (const end of this.#endWatches.splice(0)) end();
		await Promise.all([...this.#ports, ...this.#healths].map((part) => part.stop()));
	}

	/** Looks for the app of that entry there from now on. */
	setApp(index: number, app: Address): void {
		this.#ports[index]?.setApp(app);
	}

	/** A stop hook was answered although no drain began: this app's container alone may be being restarted. */
	expectRestart(): void {
		if (!this.#parts.state.isLeaving) this.#restart.begin();
	}

	/** The app takes traffic, or none, as far as it is concerned. */
	say(isReady: boolean): void {
		if (this.#parts.state.isLeaving) return;
		this.#say(isReady ? "nothing" : "not_ready");
		this.#settle();
	}

	#onPort(index: number, status: AppPortStatus, before: AppPortStatus): void {
		if (status.address !== undefined) this.#parts.onAddress(index, status.address);
		this.#hear(hasRefused(status) && !hasRefused(before) && before.lastCheck !== "none");
		this.#healths[index]?.onPort(status);
		this.#restart.onPort(this.#portState());
		this.#tellGone();
		this.#settle();
	}

	/** What was said, after a check of a port: one that refuses and did not before is that of a process that has ended. */
	#hear(hasEnded: boolean): void {
		if (this.#said === "nothing") return;
		if (hasEnded) this.#said = "not_ready_before_it_ended";
		const isBack = this.#ports.every(({ status }) => status.lastCheck === "accepted");
		if (this.#said === "not_ready_before_it_ended" && isBack) this.#say("nothing");
	}

	#say(said: Said): void {
		this.#said = said;
		if (said !== "nothing") this.#endSaidWatch ??= this.#watchPorts();
		else {
			this.#endSaidWatch?.();
			this.#endSaidWatch = undefined;
		}
	}

	/** `accepts` when all do, `refuses` when one does. */
	#portState(): AppPortState {
		const states = this.#ports.map(({ status }) => status.state);
		if (states.includes("refuses")) return "refuses";
		return states.every((state) => state === "accepts") ? "accepts" : "unknown";
	}

	/** From here on what matters is whether the app is still there. */
	#leave(): void {
		this.#restart.stop();
		this.#endWatches.push(this.#watchPorts());
		this.#say("nothing");
		this.#tellGone();
	}

	/** The ports alone: anybody who reaches 9801 can make us do it, and the app's own page may cost it something. */
	#watchPorts(): () => void {
		const ends = this.#ports.map((port) => port.watchClosely());
		return () => {
			for (const end of ends) end();
		};
	}

	#tellGone(): void {
		const { state, onGone } = this.#parts;
		if (!state.isLeaving || this.#ports.length === 0) return;
		if (this.#ports.every(({ status }) => status.isGone)) onGone();
	}

	/** Called as often as one likes: moves the state only when it must. */
	#settle(): void {
		const { state, tree, log, onReady } = this.#parts;
		if (!this.#isRunning || state.isLeaving) return;
		const [liveness, readiness] = [tree.liveness(), tree.readiness()];
		const reason = liveness.isLive ? this.#reason(readiness) : "agent_fails";
		if (reason === "unknown") return;
		const { current } = state;
		if (reason === undefined) {
			if (current.at === "ready") return;
			state.set({ at: "ready" }, "app_passes");
			onReady();
		} else if (current.at !== "unready" || current.why !== reason) {
			if (!liveness.isLive) log.info("not ready", { reason, contributor: liveness.contributor });
			else if (!readiness.isReady) log.info("not ready", { reason, contributor: readiness.contributor });
			state.set({ at: "unready", why: reason }, reason);
		}
	}

	#reason(readiness: ReturnType<HealthTree["readiness"]>): UnreadyReason | "unknown" | undefined {
		if (this.#restart.phase === "down") return "restarting";
		if (readiness.isReady) return this.#said === "nothing" ? undefined : "app_says";
		switch (readiness.why) {
			case "app_refuses":
			case "app_fails":
			case "check_fails":
				return readiness.why;
			case "app_unknown":
			case "check_unknown":
				// Asked for the first time, or anew at another place. Who was ready is so no more; who was not waits for the answer.
				return this.#parts.state.at === "ready" ? "app_refuses" : "unknown";
		}
	}
}

function hasRefused({ state, lastCheck }: AppPortStatus): boolean {
	return state === "refuses" || lastCheck === "refused";
}
