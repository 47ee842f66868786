import { unreachable } from "../foundation/assert.ts";
import type { Clock } from "../foundation/clock.ts";
import type { Logger } from "../foundation/logger.ts";
import type { Cancel, Scheduler } from "../foundation/scheduler.ts";
import type { AppPortState } from "./app-port.ts";

/**
 * The app's container alone is being restarted: its stop hook has been answered although no drain began, so its SIGTERM follows, while the
 * pod and the agent stay.
 *
 *             begin                      port refuses
 *   none ────────────────► expected ─────────────────────► down
 *    ▲ │                    │                               │
 *    │ └─ begin, while the port refuses already ───────────►│
 *    │◄─ never refused for appStop + 2 s ─┘                 │
 *    └◄──────────────── port accepts ───────────────────────┘
 *
 * `expected` that ends without a refusal was another container of the pod, whose restart is none of our business, or a hook that was no
 * hook: anybody who reaches 9801 can ask there. So `expected` by itself is no proof of anything, and who makes a pod unready for it lets
 * any neighbour do so. It watches the port closely, whose refusal then is the proof, and comes within a second of the app's SIGTERM. Another
 * `begin` meanwhile does not prolong it: that is for the next time.
 *
 * `down` lasts as long as the app stays away, which may be for ever: then the port refuses all the time, and the pod is rightly unready.
 */
export type RestartPhase = "none" | "expected" | "down";

export interface AppRestartParts {
	readonly clock: Clock;
	readonly scheduler: Scheduler;
	readonly log: Logger;
	/** What the app may take to end: `drain.appStop`. */
	readonly appStopMs: number;
	/** Makes the check of the app's port run in short steps, until what it returns is called: `AppPort.watchClosely` of each port. */
	readonly watchClosely: () => () => void;
	/** Told of each change, in the turn of its cause. */
	readonly onChange: (phase: RestartPhase) => void;
}

/** From the hook's answer to the app's SIGTERM, and from the end of its process to a check that was refused often enough. */
const SLACK_MS = 2_000;

type State =
	| { readonly at: "none" }
	| { readonly at: "expected"; readonly cancel: Cancel; readonly endWatch: () => void }
	| { readonly at: "down"; readonly sinceMs: number; readonly endWatch: () => void };

const NONE: State = { at: "none" };

export class AppRestart {
	readonly #parts: AppRestartParts;
	#state: State = NONE;
	#port: AppPortState = "unknown";

	constructor(parts: AppRestartParts) {
		this.#parts = parts;
	}

	get phase(): RestartPhase {
		return this.#state.at;
	}

	/** A stop hook was answered although no drain began. As often as it likes: only the first counts. */
	begin(): void {
		if (this.#state.at !== "none") return;
		const { clock, watchClosely } = this.#parts;
		const sinceMs = clock.monotonicMs();
		if (this.#port === "refuses") this.#set({ at: "down", sinceMs, endWatch: watchClosely() });
		else this.#set({ at: "expected", cancel: this.#giveUpLater(), endWatch: watchClosely() });
	}

	/** What the check of the app's port says: `accepts` when all ports of the app do, `refuses` when one does not. Told all the time. */
	onPort(port: AppPortState): void {
		this.#port = port;
		const state = this.#state;
		switch (state.at) {
			case "none":
				break;
			case "expected":
				if (port !== "refuses") break;
				state.cancel();
				this.#set({ at: "down", sinceMs: this.#parts.clock.monotonicMs(), endWatch: state.endWatch });
				break;
			case "down":
				if (port !== "accepts") break;
				this.#parts.log.info("the app's container has been restarted", {
					away_ms: Math.round(this.#parts.clock.monotonicMs() - state.sinceMs),
				});
				this.#end();
				break;
			default:
				unreachable(state);
		}
	}

	/** The agent leaves, and whether the app is being restarted is no question any more. Safe twice. */
	stop(): void {
		this.#end();
	}

	#giveUpLater(): Cancel {
		const waitMs = this.#parts.appStopMs + SLACK_MS;
		return this.#parts.scheduler.after(waitMs, () => {
			this.#parts.log.info("the app's port never refused: what is restarted is not the app, or nothing is", {
				watched_ms: Math.round(waitMs),
			});
			this.#end();
		});
	}

	#end(): void {
		const state = this.#state;
		if (state.at === "none") return;
		if (state.at === "expected") state.cancel();
		state.endWatch();
		this.#set(NONE);
	}

	#set(state: State): void {
		this.#state = state;
		this.#parts.onChange(state.at);
	}
}
