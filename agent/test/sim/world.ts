import { ManualClock } from "../../src/foundation/clock.ts";
import type { Cancel, Scheduler } from "../../src/foundation/scheduler.ts";
import { Dice } from "./dice.ts";

/** What clients and apps need of the place in which they play: the simulation's world, or this machine with real sockets. */
export interface Stage {
	readonly dice: Dice;
	/** Monotonic. */
	readonly nowMs: number;
	after(ms: number, action: () => void): void;
	/** Something that must never be. Noted, not thrown: a `catch` on the way must not hide it. */
	violated(what: string): void;
}

interface Planned {
	readonly atMs: number;
	/** Of two at the same time the earlier planned goes first. */
	readonly order: number;
	readonly action: () => void;
}

/** Timers of the agent on the world's time, counted: a part that has stopped leaves none. */
export class WorldScheduler implements Scheduler {
	pending = 0;
	readonly #world: World;

	constructor(world: World) {
		this.#world = world;
	}

	after(ms: number, action: () => void): Cancel {
		let isWaiting = true;
		this.pending++;
		const end = (): void => {
			if (!isWaiting) return;
			isWaiting = false;
			this.pending--;
		};
		this.#world.after(Math.max(0, ms), () => {
			if (!isWaiting) return;
			end();
			action();
		});
		return end;
	}
}

/** So many events are no run any more but a circle. */
const EVENTS_MAX = 200_000;

/**
 * Time and order of a simulated run: events in the order of their time, after each what Node would do before the next one
 * (`tick`), and at the end of a turn, which holds one event or several, what was asked for with `afterTurn`.
 */
export class World implements Stage {
	readonly dice: Dice;
	readonly clock = new ManualClock();
	readonly violations: string[] = [];
	events = 0;
	readonly #heap: Planned[] = [];
	#order = 0;
	#ticks: (() => void)[] = [];
	#turnEnds: (() => void)[] = [];

	/** Told of everything that happens on a socket, when a failing seed is looked at. */
	readonly #tell: ((line: string) => void) | undefined;

	constructor(seed: number, tell?: (line: string) => void) {
		this.dice = new Dice(seed);
		this.#tell = tell;
	}

	tell(who: string, what: string, bytes?: Uint8Array): void {
		if (this.#tell === undefined) return;
		const shown =
			bytes === undefined ? "" : ` ${bytes.length} ${JSON.stringify(Buffer.from(bytes).toString("latin1", 0, 300))}`;
		this.#tell(`${this.nowMs.toFixed(2).padStart(9)} ${who} ${what}${shown}`);
	}

	get nowMs(): number {
		return this.clock.monotonicMs();
	}

	/** How many events are to come. */
	get pending(): number {
		return this.#heap.length;
	}

	violated(what: string): void {
		if (this.violations.length < 20) this.violations.push(`${what} (at ${this.nowMs.toFixed(1)} ms)`);
	}

	after(ms: number, action: () => void): void {
		this.#push({ atMs: this.nowMs + ms, order: this.#order++, action });
	}

	/** As `process.nextTick`. */
	tick(action: () => void): void {
		this.#ticks.push(action);
	}

	/** As `setImmediate`. */
	readonly afterTurn = (action: () => void): void => {
		this.#turnEnds.push(action);
	};

	/** Runs until nothing is to come, `isOver` says so, or `untilMs` is reached. */
	run(isOver: () => boolean, untilMs: number): void {
		while (!isOver()) {
			const next = this.#heap[0];
			const isTurnOver = next === undefined || next.atMs > this.nowMs || this.dice.chance(0.4);
			if (isTurnOver && this.#turnEnds.length > 0) {
				this.#endTurn();
				continue;
			}
			if (next === undefined) return;
			if (next.atMs > untilMs) return;
			if (++this.events > EVENTS_MAX) {
				this.violated("there is no end of events");
				return;
			}
			this.#pop();
			if (next.atMs > this.nowMs) this.clock.advance(next.atMs - this.nowMs);
			this.#do(next.action);
		}
		this.#endTurn();
	}

	#endTurn(): void {
		const actions = this.#turnEnds;
		this.#turnEnds = [];
		for (const action of actions) this.#do(action);
	}

	#do(action: () => void): void {
		try {
			action();
			for (let i = 0; i < this.#ticks.length; i++) this.#ticks[i]?.();
		} catch (error) {
			this.violated(`an exception came out: ${error instanceof Error ? error.stack : String(error)}`);
		}
		this.#ticks.length = 0;
	}

	// A binary heap: thousands of runs, each of some hundred events, are made in a few seconds.
	#isBefore(a: number, b: number): boolean {
		const x = this.#heap[a];
		const y = this.#heap[b];
		if (x === undefined || y === undefined) return false;
		return x.atMs < y.atMs || (x.atMs === y.atMs && x.order < y.order);
	}

	#swap(a: number, b: number): void {
		const x = this.#heap[a];
		const y = this.#heap[b];
		if (x === undefined || y === undefined) return;
		this.#heap[a] = y;
		this.#heap[b] = x;
	}

	#push(planned: Planned): void {
		let at = this.#heap.push(planned) - 1;
		for (let up = (at - 1) >> 1; at > 0 && this.#isBefore(at, up); up = (at - 1) >> 1) {
			this.#swap(at, up);
			at = up;
		}
	}

	#pop(): void {
		const last = this.#heap.pop();
		if (this.#heap.length === 0 || last === undefined) return;
		this.#heap[0] = last;
		for (let at = 0; ; ) {
			let least = at;
			if (this.#isBefore(2 * at + 1, least)) least = 2 * at + 1;
			if (this.#isBefore(2 * at + 2, least)) least = 2 * at + 2;
			if (least === at) return;
			this.#swap(at, least);
			at = least;
		}
	}
}
