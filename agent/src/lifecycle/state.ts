import { assert } from "../foundation/assert.ts";
import type { Clock } from "../foundation/clock.ts";
import type { Deadline } from "../foundation/deadline.ts";
import type { Logger } from "../foundation/logger.ts";

/**
 * The state of the agent: one machine, and the only place that says whether we are ready, leaving or gone.
 *
 *                 ┌───────────────────────────────┐
 *   starting ──► ready ◄──► unready                │ stop now: second signal, a part that cannot start, a fault,
 *      │           │           │                   │ SIGTERM in a native sidecar
 *      └───────────┴─────┬─────┘                   │
 *                        ▼                         ▼
 *                   announcing ──► draining ──► stopping ──► stopped
 *                        └───────────────────────▲   (the app is gone, or the budget ended while announcing)
 *
 * `stopping` begins when the drain is over: the app may be stopped, and what still comes is served while it can answer. From one
 * `unready` to another: the reason has changed.
 *
 * `starting` may go to `unready` as well: our parts have started and the app does not accept yet. The agent's own startup
 * never waits for the app. Nothing leads back from `announcing`: who has said that it leaves, leaves.
 *
 * Each move has a reason from a closed set (it is a label of `outrigger_state_changes_total`), is logged, counted and told to
 * subscribers in the order of the moves, also when a subscriber itself moves the state. A subscriber that throws is logged and
 * counted, and the others are told all the same. This file waits for nothing and owns no timer.
 */
export type State =
	| { readonly at: "starting" }
	| { readonly at: "ready" }
	| { readonly at: "unready"; readonly why: UnreadyReason }
	| { readonly at: "announcing"; readonly deadline: Deadline }
	| { readonly at: "draining"; readonly deadline: Deadline }
	| { readonly at: "stopping" }
	/** `cut`: exchanges that were ended before they were over. */
	| { readonly at: "stopped"; readonly cut: number };

export type StateName = State["at"];

/**
 * Why the agent does not want traffic although it does not leave: a part of ours fails liveness; the app's port is closed; its check fails; it said so (`NotReady`); its container alone
 * is being restarted; a critical check of something else fails, or a critical report of the app.
 */
export const UNREADY_REASONS = [
	"agent_fails",
	"app_refuses",
	"app_fails",
	"app_says",
	"restarting",
	"check_fails",
] as const;
export type UnreadyReason = (typeof UNREADY_REASONS)[number];

/** Why a state was left for another. Bounded: each is a value of the label `reason`. */
export type MoveReason =
	| "app_passes"
	| UnreadyReason
	| "command"
	| "contract"
	| "sigterm"
	| "sigint"
	| "sighup"
	| "announced"
	| "idle"
	| "deadline"
	| "app_gone"
	| "second_signal"
	| "start_failed"
	| "fault"
	| "asked"
	| "parts_stopped";

export interface Move {
	readonly from: StateName;
	readonly to: StateName;
	readonly state: State;
	readonly reason: MoveReason;
	/** Wall clock, ms. */
	readonly atWallMs: number;
	/** How long the state that was left had lasted, ms. */
	readonly lastedMs: number;
}

export interface MoveCount {
	readonly from: StateName;
	readonly to: StateName;
	readonly reason: MoveReason;
	readonly count: number;
}

/** Which states may follow which. */
export const MOVES: Readonly<Record<StateName, readonly StateName[]>> = {
	starting: ["ready", "unready", "announcing", "stopping"],
	ready: ["unready", "announcing", "stopping"],
	unready: ["ready", "unready", "announcing", "stopping"], // for another reason
	announcing: ["draining", "stopping"],
	draining: ["stopping"],
	stopping: ["stopped"],
	stopped: [],
};

/** More subscribers than there are parts that could want to know is a leak. */
const SUBSCRIBERS_MAX = 64;
/** Moves that subscribers may cause while they are told of one. The longest path there is, without turning round, has six. */
const CAUSED_MAX = 16;

const STARTING: State = { at: "starting" };

export class LifecycleState {
	#state: State = STARTING;
	#sinceMs: number;
	#telling = false;
	/** Moves since the telling began. */
	#caused = 0;
	#faults = 0;
	readonly #clock: Clock;
	readonly #log: Logger;
	readonly #subscribers = new Set<(move: Move) => void>();
	readonly #pending: Move[] = [];
	readonly #counts = new Map<string, { from: StateName; to: StateName; reason: MoveReason; count: number }>();

	constructor(clock: Clock, log: Logger) {
		this.#clock = clock;
		this.#log = log;
		this.#sinceMs = clock.monotonicMs();
	}

	get current(): State {
		return this.#state;
	}

	get at(): StateName {
		return this.#state.at;
	}

	/** How long the present state has lasted, ms. */
	get lastedMs(): number {
		return this.#clock.monotonicMs() - this.#sinceMs;
	}

	/** Whether the agent has said that it leaves, or is past that. */
	get isLeaving(): boolean {
		return this.at === "announcing" || this.at === "draining" || this.isStopping;
	}

	get isStopping(): boolean {
		return this.at === "stopping" || this.at === "stopped";
	}

	/** What subscribers have thrown so far. */
	get observerFaults(): number {
		return this.#faults;
	}

	canMoveTo(to: StateName): boolean {
		return MOVES[this.at].includes(to);
	}

	/**
	 * Moves to another state. A move that the drawing does not have is our own mistake and throws; who cannot know whether it is
	 * still possible asks `canMoveTo` first, in the same turn.
	 */
	set(state: State, reason: MoveReason): void {
		const from = this.at;
		assert(this.canMoveTo(state.at), `no move from ${from} to ${state.at} (${reason})`);
		assert(this.#caused < CAUSED_MAX, "subscribers move the state in circles");
		this.#caused += 1;
		const lastedMs = this.lastedMs;
		this.#state = state;
		this.#sinceMs = this.#clock.monotonicMs();
		const key = `${from} ${state.at} ${reason}`;
		const counted = this.#counts.get(key);
		if (counted === undefined) this.#counts.set(key, { from, to: state.at, reason, count: 1 });
		else counted.count += 1;
		this.#log.info(`${from} → ${state.at}: ${reason}`, {
			from,
			to: state.at,
			reason,
			lasted_ms: Math.round(lastedMs),
		});
		this.#pending.push({ from, to: state.at, state, reason, atWallMs: this.#clock.wallMs(), lastedMs });
		this.#tell();
	}

	/** Tells `listener` every later move. What it returns ends that. */
	subscribe(listener: (move: Move) => void): () => void {
		assert(this.#subscribers.size < SUBSCRIBERS_MAX, "too many subscribers of the state");
		const own = (move: Move): void => listener(move);
		this.#subscribers.add(own);
		return () => {
			this.#subscribers.delete(own);
		};
	}

	/** Every kind of move there has been, with its number. Bounded by the moves and reasons above. */
	counts(): readonly MoveCount[] {
		return [...this.#counts.values()].map((counted) => ({ ...counted }));
	}

	/** One move at a time: a move made by a subscriber is told after the one that it was told of, to everybody. */
	#tell(): void {
		if (this.#telling) return;
		this.#telling = true;
		try {
			for (let move = this.#pending[0]; move !== undefined; move = this.#pending[0]) {
				for (const subscriber of [...this.#subscribers]) this.#tellOne(subscriber, move);
				this.#pending.shift();
			}
		} finally {
			this.#telling = false;
			this.#caused = 0;
		}
	}

	#tellOne(subscriber: (move: Move) => void, move: Move): void {
		if (!this.#subscribers.has(subscriber)) return; // ended its subscription while others were told
		try {
			subscriber(move);
		} catch (error) {
			this.#faults += 1;
			this.#log.error("a subscriber of the state failed", {
				to: move.to,
				error: error instanceof Error ? error.message : String(error),
			});
		}
	}
}
