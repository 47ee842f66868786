import { unreachable } from "../foundation/assert.ts";
import type { Clock } from "../foundation/clock.ts";
import type { Cancel, Scheduler } from "../foundation/scheduler.ts";
import type { Choice, ListeningPort } from "./listening-ports.ts";

/**
 * Finds the app's port under `outrigger run`, and finds it again when an app that reloads itself comes back on another one.
 *
 *   looking ──the same choice for SETTLE_MS──► watching ──the port is gone──► looking
 *      └──several──► ambiguous (the end: only a person can say which)
 *
 * It waits until the choice has settled because an app that opens its metrics port a moment before its own would otherwise be
 * known by the wrong one, sometimes.
 */
export type PortNews =
	/** Nothing yet; told every `TELL_MS`. `others`: what it does listen on, such as a debugger's port. */
	| { readonly kind: "waiting"; readonly waitedMs: number; readonly others: readonly ListeningPort[] }
	| { readonly kind: "found"; readonly port: ListeningPort; readonly previous: number | undefined }
	| { readonly kind: "several"; readonly ports: readonly ListeningPort[] }
	/** Told once a port: it listens on another one as well, which came later. */
	| { readonly kind: "also"; readonly port: ListeningPort; readonly chosen: number };

export interface PortWatchParts {
	/** What the app's processes listen on now. */
	readonly look: () => Promise<readonly ListeningPort[]>;
	readonly choose: (ports: readonly ListeningPort[]) => Choice;
	readonly tell: (news: PortNews) => void;
	readonly clock: Clock;
	readonly scheduler: Scheduler;
}

/** Between two looks while there is no port: a developer waits for it. */
export const LOOK_MS = 100;
/** Between two looks afterwards: only a change is to be seen. */
export const WATCH_MS = 2_000;
export const SETTLE_MS = 250;
export const TELL_MS = 5_000;
/** Ports that are told of once each. */
const TOLD_MAX = 64;

type Phase =
	| { readonly at: "looking"; readonly sinceMs: number; readonly choice: string; readonly choiceSinceMs: number }
	| { readonly at: "watching"; readonly port: number }
	| { readonly at: "ambiguous" }
	| { readonly at: "stopped" };

export class PortWatch {
	readonly #parts: PortWatchParts;
	readonly #told = new Set<number>();
	#phase: Phase = { at: "stopped" };
	#previous: number | undefined;
	#toldMs = 0;
	#cancelLook: Cancel | undefined;

	constructor(parts: PortWatchParts) {
		this.#parts = parts;
	}

	start(): void {
		this.#lookFrom(this.#parts.clock.monotonicMs());
		this.#lookAfter(0);
	}

	stop(): void {
		this.#phase = { at: "stopped" };
		this.#cancelLook?.();
		this.#cancelLook = undefined;
	}

	#lookFrom(nowMs: number): void {
		this.#phase = { at: "looking", sinceMs: nowMs, choice: "", choiceSinceMs: nowMs };
		this.#toldMs = nowMs;
	}

	#lookAfter(ms: number): void {
		this.#cancelLook = this.#parts.scheduler.after(ms, () => void this.#look());
	}

	async #look(): Promise<void> {
		const ports = await this.#parts.look();
		const nowMs = this.#parts.clock.monotonicMs();
		const phase = this.#phase;
		switch (phase.at) {
			case "stopped": // while we looked
			case "ambiguous":
				return;
			case "looking":
				this.#consider(phase, ports, nowMs);
				break;
			case "watching":
				this.#compare(phase.port, ports, nowMs);
				break;
			default:
				unreachable(phase);
		}
		const next: Phase = this.#phase; // read again: it has moved, or `tell` has stopped us
		if (next.at === "looking") this.#lookAfter(LOOK_MS);
		else if (next.at === "watching") this.#lookAfter(WATCH_MS);
	}

	#consider(phase: Phase & { at: "looking" }, ports: readonly ListeningPort[], nowMs: number): void {
		const choice = this.#parts.choose(ports);
		const text = choiceText(choice);
		if (text !== phase.choice) this.#phase = { ...phase, choice: text, choiceSinceMs: nowMs };
		else if (choice.kind !== "none" && nowMs - phase.choiceSinceMs >= SETTLE_MS) {
			this.#decide(choice);
			return;
		}
		if (nowMs - this.#toldMs >= TELL_MS) {
			this.#toldMs = nowMs;
			this.#parts.tell({ kind: "waiting", waitedMs: nowMs - phase.sinceMs, others: ports });
		}
	}

	#decide(choice: Exclude<Choice, { kind: "none" }>): void {
		if (choice.kind === "several") {
			this.#phase = { at: "ambiguous" };
			this.#parts.tell(choice);
			return;
		}
		const previous = this.#previous;
		this.#previous = choice.port.port;
		this.#phase = { at: "watching", port: choice.port.port };
		this.#parts.tell({ kind: "found", port: choice.port, previous });
	}

	#compare(chosen: number, ports: readonly ListeningPort[], nowMs: number): void {
		if (!ports.some(({ port }) => port === chosen)) {
			this.#lookFrom(nowMs);
			return;
		}
		const choice = this.#parts.choose(ports);
		const others = choice.kind === "several" ? choice.ports : choice.kind === "one" ? [choice.port] : [];
		for (const port of others) {
			if (port.port === chosen || this.#told.has(port.port) || this.#told.size === TOLD_MAX) continue;
			this.#told.add(port.port);
			this.#parts.tell({ kind: "also", port, chosen });
		}
	}
}

function choiceText(choice: Choice): string {
	switch (choice.kind) {
		case "none":
			return "";
		case "one":
			return String(choice.port.port);
		case "several":
			return choice.ports.map(({ port }) => port).join(" ");
	}
}
