import { AppConnection, type AppHabits } from "./app.ts";
import type { Ledger } from "./ledger.ts";
import type { SimSocket } from "./sim-socket.ts";
import type { World } from "./world.ts";

/** What an app does when SIGTERM comes: it has no handler and dies; ends in good order; goes on as if nothing were. */
export type OnSigterm = "dies" | "finishes" | "ignores";

/** How long an app that finishes waits for what it has begun, ms; then it ends all the same. */
const FINISH_MS = 3_000;
const LOOK_MS = 50;

/** The app as a process: listens, is stopped, dies. */
export class AppProcess {
	readonly connections: AppConnection[] = [];
	isListening = true;
	isAlive = true;
	/** Since when nobody listens, monotonic ms. */
	deafSinceMs = Number.POSITIVE_INFINITY;
	hasSigterm = false;
	readonly #world: World;
	readonly #ledger: Ledger;
	readonly #habits: AppHabits;
	readonly #onSigterm: OnSigterm;
	readonly #onGone: () => void;

	constructor(world: World, ledger: Ledger, habits: AppHabits, onSigterm: OnSigterm, onGone: () => void) {
		this.#world = world;
		this.#ledger = ledger;
		this.#habits = habits;
		this.#onSigterm = onSigterm;
		this.#onGone = onGone;
	}

	/** A connection to it: `near` is the agent's end. `mayFail`: now and then nobody answers, or it is refused. */
	dialled(near: SimSocket, far: SimSocket, mayFail: boolean): void {
		const { dice } = this.#world;
		near.isConnecting = true;
		const fate = dice.random();
		if (mayFail && fate < 0.01) return;
		this.#world.after(dice.random() * (dice.chance(0.9) ? 2 : 200), () => {
			if (near.destroyed) return;
			if (!this.isListening || (mayFail && fate < 0.02)) {
				near.refused("ECONNREFUSED");
				return;
			}
			this.connections.push(new AppConnection(this.#world, this.#ledger, this.#habits, far));
			near.connected();
		});
	}

	sigterm(): void {
		if (!this.isAlive || this.hasSigterm) return;
		this.hasSigterm = true;
		const { dice } = this.#world;
		this.#world.tell("app", `SIGTERM: ${this.#onSigterm}`);
		switch (this.#onSigterm) {
			case "dies":
				this.#world.after(dice.random() * 5, () => this.die());
				break;
			case "finishes":
				this.#world.after(dice.random() * 50, () => this.#finish());
				break;
			case "ignores":
				break;
			default:
				this.#onSigterm satisfies never;
		}
	}

	/** SIGKILL, or a crash. */
	die(): void {
		if (!this.isAlive) return;
		this.#world.tell("app", "is gone");
		this.isAlive = false;
		this.#stopListening();
		for (const connection of this.connections) connection.die();
		this.#onGone();
	}

	#finish(): void {
		if (!this.isAlive) return;
		this.#stopListening();
		for (const connection of this.connections) connection.finish();
		this.#endWhenIdle(this.#world.nowMs + this.#world.dice.random() * FINISH_MS);
	}

	#endWhenIdle(untilMs: number): void {
		if (this.#world.nowMs >= untilMs || this.connections.every(({ isOver }) => isOver)) {
			this.die();
			return;
		}
		this.#world.after(LOOK_MS, () => this.#endWhenIdle(untilMs));
	}

	#stopListening(): void {
		if (!this.isListening) return;
		this.isListening = false;
		this.deafSinceMs = this.#world.nowMs;
	}
}
