import type { Clock } from "../foundation/clock.ts";

/**
 * Who may keep a connection to the ops port. Two bounds, since two kinds of callers must not get into each other's way:
 *
 *   new ──► idle ⇄ probe, metrics     at most `ops.connections`
 *             └──────► waits          at most `ops.waiters`; until its socket is closed, it never goes back
 *
 * In both, *the newcomer always gets in and an old one goes for it*: a probe must get through whatever the others do, and so must a
 * stop hook, since a hook that is refused is an instant SIGTERM for the app.
 *
 * But 9801 is open to everybody in the pod network, and a hook that is closed is an instant SIGTERM as well. So it must not be possible to push the
 * kubelet out by coming after it (the oldest goes), nor by being there first (the newcomer is refused). The kubelet cannot be known by anything
 * that it sends, but what nobody can choose is the address that a TCP connection comes from. Hence: **whoever has most
 * connections pays**. Of the address that has most, the newcomer counted, the least useful and then the oldest connection goes. A
 * stranger who opens one after the other closes his own; the kubelet has one for each hook and each probe, and Prometheus
 * one. Where it is the kubelet itself that has most (a pod with more than 64 hooks, or hooks repeated after the kubelet's own
 * restart), the oldest is the one whose caller most likely is gone.
 *
 * What this does not hold off is a crowd: as many addresses as there are places, or some twenty against a pod in which three hooks
 * wait. Who has that many hostile neighbours needs a NetworkPolicy for 9801; a pod's own node is let through by every one.
 */
export type Use = "idle" | "probe" | "metrics" | "waits";

/** The part of a socket that is needed here. `undefined`: a Unix socket, or a peer that was gone when it was accepted. */
export interface PlaceHolder {
	readonly remoteAddress?: string | undefined;
	destroy(): unknown;
}

export interface PlaceBounds {
	/** `ops.connections`. */
	readonly connectionsMax: number;
	/** `ops.waiters`. */
	readonly waitersMax: number;
}

interface Place {
	readonly holder: PlaceHolder;
	/** Read when it came: a socket that is closed no longer knows it. */
	readonly address: string;
	use: Use;
	/** Monotonic ms of the last change of `use`. */
	sinceMs: number;
}

/** Who of one address goes first. A probe is answered in the turn in which it came: one that is still there does not take its answer. */
const WORTH: Readonly<Record<Use, number>> = { idle: 0, metrics: 1, probe: 2, waits: 3 };

export class ConnectionPlaces {
	readonly #bounds: PlaceBounds;
	readonly #clock: Clock;
	readonly #onWaiterReplaced: (address: string, count: number) => void;
	/** In the order of their arrival. */
	readonly #places = new Map<PlaceHolder, Place>();
	#waiters = 0;
	#replaced = 0;
	#waitersReplaced = 0;

	/** `onWaiterReplaced` is told from where a waiter was that had to go, and how many there have been. */
	constructor(bounds: PlaceBounds, clock: Clock, onWaiterReplaced: (address: string, count: number) => void) {
		this.#bounds = bounds;
		this.#clock = clock;
		this.#onWaiterReplaced = onWaiterReplaced;
	}

	/** Connections that do not wait. */
	get connections(): number {
		return this.#places.size - this.#waiters;
	}

	get waiters(): number {
		return this.#waiters;
	}

	/** Connections, and waiters, that have made room. */
	get replaced(): number {
		return this.#replaced;
	}

	get waitersReplaced(): number {
		return this.#waitersReplaced;
	}

	/** A new connection, idle. */
	enter(holder: PlaceHolder): void {
		const place: Place = {
			holder,
			address: holder.remoteAddress ?? "",
			use: "idle",
			sinceMs: this.#clock.monotonicMs(),
		};
		this.#places.set(holder, place);
		if (this.connections <= this.#bounds.connectionsMax) return;
		const victim = this.#victim(place);
		if (victim === undefined) return;
		this.#replaced += 1;
		this.#close(victim);
	}

	/** Its socket is closed. */
	leave(holder: PlaceHolder): void {
		const place = this.#places.get(holder);
		if (place === undefined) return; // it made room
		this.#places.delete(holder);
		if (place.use === "waits") this.#waiters -= 1;
	}

	/** `undefined`: it has left, or made room. */
	useOf(holder: PlaceHolder): Use | undefined {
		return this.#places.get(holder)?.use;
	}

	/** What it is used for from now on. Who waits stays a waiter: its connection ends with its answer. */
	use(holder: PlaceHolder, use: Use): void {
		const place = this.#places.get(holder);
		if (place === undefined || place.use === "waits") return;
		place.use = use;
		place.sinceMs = this.#clock.monotonicMs();
		if (use !== "waits") return;
		this.#waiters += 1;
		if (this.#waiters <= this.#bounds.waitersMax) return;
		const victim = this.#victim(place);
		if (victim === undefined) return;
		this.#waitersReplaced += 1;
		this.#close(victim);
		this.#onWaiterReplaced(victim.address, this.#waitersReplaced);
	}

	/** Closes all. */
	clear(): void {
		for (const place of [...this.#places.values()]) this.#close(place);
	}

	#close(place: Place): void {
		this.leave(place.holder);
		place.holder.destroy();
	}

	/** Who makes room for `newcomer`, among those that are bounded together with it. Looks at all of them: only when there are too many. */
	#victim(newcomer: Place): Place | undefined {
		const isWaiting = newcomer.use === "waits";
		const counts = new Map<string, number>();
		for (const { use, address } of this.#places.values()) {
			if ((use === "waits") === isWaiting) counts.set(address, (counts.get(address) ?? 0) + 1);
		}
		let victim: Place | undefined;
		for (const place of this.#places.values()) {
			if ((place.use === "waits") !== isWaiting || place === newcomer) continue;
			if (victim === undefined || goesBefore(place, victim, counts)) victim = place;
		}
		return victim;
	}
}

function goesBefore(one: Place, other: Place, counts: ReadonlyMap<string, number>): boolean {
	const byCrowd = (counts.get(other.address) ?? 0) - (counts.get(one.address) ?? 0);
	if (byCrowd !== 0) return byCrowd < 0;
	const byWorth = WORTH[one.use] - WORTH[other.use];
	return byWorth !== 0 ? byWorth < 0 : one.sinceMs < other.sinceMs;
}
