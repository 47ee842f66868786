import type { AppProcess } from "./app-process.ts";
import type { ControlThread } from "./control-thread.ts";
import type { World } from "./world.ts";

/**
 * - `sidecar`: a pod with a native sidecar. Both stop hooks run at once; the app gets its SIGTERM when its hook is answered, the agent when the app is gone.
 * - `run`: Ctrl-C at `outrigger run`, which stops the app itself.
 * - `plain`: SIGTERM for both at the same time, without a hook.
 */
export type Way = "sidecar" | "run" | "plain";

export interface SupervisorParts {
	readonly world: World;
	readonly way: Way;
	readonly control: ControlThread;
	readonly app: AppProcess;
	/** When the stop begins, and how long it may last, ms. */
	readonly beginMs: number;
	readonly graceMs: number;
	/** How long the exec of the agent's own hook may take, ms. */
	readonly hookMs: number;
	/** In the turn in which the stop begins. */
	readonly onBegin: () => void;
}

/** From an answered hook to the SIGTERM, from the end of a process to the next step, at most, ms. */
const ANSWERED_MS = 50;
const NOTICED_MS = 300;
/** Between two signals of one stop, ms. */
const APART_MS = 20;
/** A sidecar gets so long after its SIGTERM, whatever is left of the grace period (kubelet). */
const KILL_MS = 2_000;

/** Who stops the two processes: the kubelet, or `outrigger run` and who sits before it. */
export class Supervisor {
	/** Whether the agent's process has ended. */
	isOver = false;
	readonly #parts: SupervisorParts;
	/** Since when the app's own hook waits, monotonic ms. */
	#hookSinceMs: number | undefined;
	#agentHasSigterm = false;

	constructor(parts: SupervisorParts) {
		this.#parts = parts;
		const { world, beginMs, graceMs } = parts;
		world.after(beginMs, () => this.#begin());
		world.after(beginMs + graceMs, () => this.#timeIsUp());
	}

	/** For how long the app's own hook has waited. */
	get waitedMs(): number {
		return this.#hookSinceMs === undefined ? 0 : this.#parts.world.nowMs - this.#hookSinceMs;
	}

	/** The drain is over. */
	onOver(): void {
		const { world, way, control, app } = this.#parts;
		// An agent that has made a mistake ends, and its hook with it.
		if (control.isFaulty) this.#stopAgent();
		switch (way) {
			case "sidecar":
				world.after(world.dice.random() * ANSWERED_MS, () => {
					world.tell("kubelet", "SIGTERM for the app");
					app.sigterm();
				});
				break;
			case "run":
				if (!app.isAlive) this.#stopAgent();
				app.sigterm();
				world.after(control.budget.appStopMs, () => app.die());
				break;
			case "plain":
				this.#stopAgent();
				break;
			default:
				way satisfies never;
		}
	}

	/** The app's process has ended. */
	onAppGone(): void {
		const { world, way, control, beginMs } = this.#parts;
		switch (way) {
			case "sidecar":
				// Before the stop it would be started again; here it stays away.
				if (world.nowMs >= beginMs) this.#sigtermAgentSoon();
				break;
			case "run":
				if (control.outcome === undefined) control.hurry("app_gone");
				else this.#stopAgent();
				break;
			case "plain":
				break;
			default:
				way satisfies never;
		}
	}

	/** Somebody has lost patience. */
	secondSignal(): void {
		const { way, control, app } = this.#parts;
		if (control.beganMs === undefined) return;
		control.endNow("second_signal");
		this.#stopAgent();
		if (way === "run") app.die();
	}

	#begin(): void {
		const { world, way, control, app, hookMs, onBegin } = this.#parts;
		const { dice } = world;
		world.tell("kubelet", `the stop begins: ${way}`);
		onBegin();
		switch (way) {
			case "sidecar":
				if (app.isAlive) {
					world.after(dice.random() * APART_MS, () => {
						this.#hookSinceMs = world.nowMs;
					});
				}
				world.after(dice.random() * hookMs, () => {
					control.begin("command");
					if (!app.isAlive) this.#sigtermAgentSoon();
				});
				break;
			case "run":
				control.begin("sigint");
				break;
			case "plain":
				world.after(dice.random() * APART_MS, () => control.begin("sigterm"));
				world.after(dice.random() * APART_MS, () => app.sigterm());
				break;
			default:
				way satisfies never;
		}
	}

	#timeIsUp(): void {
		const { world, way, control, app } = this.#parts;
		world.tell("kubelet", "the grace period is over");
		app.die();
		if (control.stoppedMs !== undefined) return;
		if (way === "plain") world.violated("the agent had to be killed");
		else this.#sigtermAgent();
	}

	#sigtermAgentSoon(): void {
		const { world } = this.#parts;
		world.after(world.dice.random() * NOTICED_MS, () => this.#sigtermAgent());
	}

	#sigtermAgent(): void {
		const { world, control } = this.#parts;
		if (this.#agentHasSigterm || control.stoppedMs !== undefined) return;
		this.#agentHasSigterm = true;
		world.tell("kubelet", "SIGTERM for the agent");
		control.endNow("sigterm");
		this.#stopAgent();
		world.after(KILL_MS, () => {
			if (control.stoppedMs === undefined) world.violated("the agent had to be killed");
		});
	}

	#stopAgent(): void {
		const { world, control } = this.#parts;
		control.stop(() => {
			if (control.scheduler.pending > 0) world.violated(`${control.scheduler.pending} timers of the agent are left`);
			this.isOver = true;
		});
	}
}
