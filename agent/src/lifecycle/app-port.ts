import { connect, type Socket } from "node:net";
import { renderAddress } from "../config/address.ts";
import type { Address } from "../config/settings.ts";
import type { Clock } from "../foundation/clock.ts";
import type { Component } from "../foundation/component.ts";
import { Deadline } from "../foundation/deadline.ts";
import type { Cancel, Scheduler } from "../foundation/scheduler.ts";

/**
 * Whether the app's port accepts connections. It is asked in the background; who wants to know reads a field, so a probe
 * costs no I/O and can not be held up by an app that hangs.
 *
 *   unknown ──► refuses ◄──(fall failures)── accepts
 *      │           └────(rise successes)────────▲
 *      └────────────────────────────────────────┘   (first answer: rise and fall do not apply, nothing is at stake yet)
 *
 * The app is looked for on loopback, then on the pod's own address; the place that answered is tried first the next time, and
 * `status.address` tells it to the data path. The check opens a connection and closes it: an app sees that as a client which
 * thought better of it.
 *
 * "Refuses" says that no connection came to be. Whether that means that nobody listens any more is another question: an app that is
 * busy or stopped lets connections time out, and we may have no file descriptor left to ask with. `isGone` answers it.
 */
export type AppPortState = "unknown" | "accepts" | "refuses";

export interface AppPortStatus {
	readonly state: AppPortState;
	/** Where it answered; `undefined` until it has. Kept while it refuses: most likely it comes back there. */
	readonly address: Address | undefined;
	/** Monotonic ms since when `state` holds. */
	readonly sinceMs: number;
	/**
	 * Nobody listens: the state is `refuses`, and at the last check every place said so (ECONNREFUSED; ENOENT for a Unix socket). False
	 * when a place did not answer, or anything else went wrong: then the app may well be alive.
	 */
	readonly isGone: boolean;
	/** How the last check ended; `refused`: every place said that nobody listens. One is no verdict, but who listens all the time is never refused. */
	readonly lastCheck: "none" | "accepted" | "refused" | "failed";
	/** Why the last check failed, for people: `ECONNREFUSED 127.0.0.1:3000, ECONNREFUSED ::1:3000`. */
	readonly lastError: string | undefined;
}

export interface AppPortSettings {
	/** Between two checks while it accepts, ms; ±10 %, so that many agents on a node do not check in step. */
	readonly intervalMs: number;
	/** For a whole check, all places included, ms. */
	readonly timeoutMs: number;
	readonly fall: number;
	readonly rise: number;
}

export interface AppPortParts {
	readonly clock: Clock;
	readonly scheduler: Scheduler;
	/** In [0, 1). */
	readonly random: () => number;
	/** Addresses of this pod, asked for at each check: on a laptop they change. */
	readonly ownAddresses: () => readonly string[];
	/** Resolves when a connection was accepted (and has been closed again), rejects when not. */
	readonly tryConnect: (address: Address, timeoutMs: number) => Promise<void>;
}

/** An app that starts should get its traffic soon; to be refused on loopback costs microseconds. */
export const RETRY_MS = 200;
/** Shares of the interval by which it is stretched or shortened. */
const JITTER = 0.1;
/** More places than this are not tried: a laptop can have dozens of addresses. */
const PLACES_MAX = 8;
/** The place is there and nobody listens. A file of a Unix socket without its process refuses as a port does. */
const REFUSALS: ReadonlySet<string> = new Set(["ECONNREFUSED", "ENOENT"]);
/** The place itself is not there, as ::1 in a pod without IPv6: it neither proves that the app is gone nor speaks against it. */
const NO_PLACE: ReadonlySet<string> = new Set(["EADDRNOTAVAIL", "EAFNOSUPPORT", "ENETUNREACH"]);

type Found =
	| { readonly address: Address }
	| { readonly address: undefined; readonly error: string; readonly isRefusedEverywhere: boolean };

/** Where an app that is configured as `app` may listen, in the order in which it is looked for. */
export function appPlaces(app: Address, ownAddresses: readonly string[]): readonly Address[] {
	if (app.kind === "unix") return [app];
	const { host, port } = app;
	if (host !== undefined && host.toLowerCase() !== "localhost") return [app];
	return ["127.0.0.1", "::1", ...ownAddresses]
		.slice(0, PLACES_MAX)
		.map((address) => ({ kind: "tcp", host: address, port }));
}

export class AppPort implements Component {
	readonly name: string;
	readonly #settings: AppPortSettings;
	readonly #parts: AppPortParts;
	readonly #listeners = new Set<(status: AppPortStatus, before: AppPortStatus) => void>();
	#app: Address | undefined;
	#status: AppPortStatus;
	/** Successes (positive) or failures (negative) in a row. */
	#streak = 0;
	#isRunning = false;
	/** Who watches closely now. */
	#watchers = 0;
	/** Raised by everything that makes a check under way worthless: another target, the end. */
	#round = 0;
	#cancelNext: Cancel | undefined;

	/** `app` is `undefined` under `outrigger run` until the port is found: the state is then `unknown`. */
	constructor(name: string, app: Address | undefined, settings: AppPortSettings, parts: AppPortParts) {
		this.name = name;
		this.#app = app;
		this.#settings = settings;
		this.#parts = parts;
		this.#status = {
			state: "unknown",
			address: undefined,
			sinceMs: parts.clock.monotonicMs(),
			isGone: false,
			lastCheck: "none",
			lastError: undefined,
		};
	}

	get status(): AppPortStatus {
		return this.#status;
	}

	/** Tells `listener` each change of `state`, `address`, `isGone` or `lastCheck`, with what was before. What it returns ends that. */
	subscribe(listener: (status: AppPortStatus, before: AppPortStatus) => void): () => void {
		this.#listeners.add(listener);
		return () => {
			this.#listeners.delete(listener);
		};
	}

	/**
	 * Checks at once, and then every `RETRY_MS` also while the app accepts, until what it returns is called (safe twice). For a time in
	 * which the app may go away: a restart of its container, a drain.
	 */
	watchClosely(): () => void {
		this.#watchers += 1;
		// When nothing is planned, a check is under way and the next will follow closely, or `start` has not been called.
		if (this.#watchers === 1 && this.#cancelNext !== undefined) this.#checkAfter(0);
		let isOver = false;
		return () => {
			if (isOver) return;
			isOver = true;
			this.#watchers -= 1;
		};
	}

	/** Looks for the app somewhere else from now on; what was known is forgotten. */
	setApp(app: Address): void {
		this.#app = app;
		this.#streak = 0;
		this.#round += 1;
		this.#change({ state: "unknown", address: undefined, isGone: false, lastCheck: "none", lastError: undefined });
		if (this.#isRunning) this.#checkAfter(0);
	}

	async start(): Promise<void> {
		if (this.#isRunning) return;
		this.#isRunning = true;
		this.#checkAfter(0);
	}

	async stop(): Promise<void> {
		this.#isRunning = false;
		this.#round += 1;
		this.#cancelNext?.();
		this.#cancelNext = undefined;
	}

	#checkAfter(ms: number): void {
		this.#cancelNext?.();
		this.#cancelNext = this.#parts.scheduler.after(ms, () => {
			this.#cancelNext = undefined;
			void this.#check();
		});
	}

	/** Rejects only with what a listener throws, which is our own mistake and belongs to the process handler. */
	async #check(): Promise<void> {
		const app = this.#app;
		if (app === undefined) return; // setApp asks again
		const round = this.#round;
		const found = await this.#find(app);
		if (round !== this.#round) return; // stopped, or looking elsewhere, while we waited
		if (found.address !== undefined) this.#succeeded(found.address);
		else this.#failed(found.error, found.isRefusedEverywhere);
		const { intervalMs } = this.#settings;
		const jitter = 1 + JITTER * (2 * this.#parts.random() - 1);
		const isCalm = this.#status.state === "accepts" && this.#streak > 0 && this.#watchers === 0;
		this.#checkAfter((isCalm ? intervalMs : Math.min(RETRY_MS, intervalMs)) * jitter);
	}

	async #find(app: Address): Promise<Found> {
		const deadline = Deadline.after(this.#parts.clock, this.#settings.timeoutMs);
		const errors: string[] = [];
		const codes: string[] = [];
		const lastText = this.#status.address === undefined ? undefined : renderAddress(this.#status.address);
		const places = appPlaces(app, this.#parts.ownAddresses()).toSorted(
			(a, b) => Number(renderAddress(b) === lastText) - Number(renderAddress(a) === lastText),
		);
		for (const address of places) {
			const leftMs = deadline.remainingMs();
			if (leftMs === 0) break;
			try {
				await this.#parts.tryConnect(address, leftMs);
				return { address };
			} catch (error) {
				const code = errorCode(error);
				codes.push(code);
				errors.push(`${code} ${renderAddress(address)}`);
			}
		}
		const isRefusedEverywhere =
			codes.length === places.length && // none was left out because the time was over
			codes.some((code) => REFUSALS.has(code)) &&
			codes.every((code) => REFUSALS.has(code) || NO_PLACE.has(code));
		return { address: undefined, error: errors.join(", "), isRefusedEverywhere };
	}

	#succeeded(address: Address): void {
		this.#streak = Math.max(0, this.#streak) + 1;
		const isUp = this.#status.state !== "refuses" || this.#streak >= this.#settings.rise;
		this.#change({
			state: isUp ? "accepts" : "refuses",
			address,
			isGone: false,
			lastCheck: "accepted",
			lastError: undefined,
		});
	}

	#failed(error: string, isRefusedEverywhere: boolean): void {
		this.#streak = Math.min(0, this.#streak) - 1;
		const isDown = this.#status.state !== "accepts" || -this.#streak >= this.#settings.fall;
		this.#change({
			state: isDown ? "refuses" : "accepts",
			address: this.#status.address,
			isGone: isDown && isRefusedEverywhere,
			lastCheck: isRefusedEverywhere ? "refused" : "failed",
			lastError: error,
		});
	}

	#change(next: Omit<AppPortStatus, "sinceMs">): void {
		const before = this.#status;
		const isSameState = before.state === next.state;
		this.#status = { ...next, sinceMs: isSameState ? before.sinceMs : this.#parts.clock.monotonicMs() };
		const isSameAddress = textOf(before.address) === textOf(next.address);
		const isSameCheck = before.isGone === next.isGone && before.lastCheck === next.lastCheck;
		if (isSameState && isSameAddress && isSameCheck) return;
		for (const listener of [...this.#listeners]) listener(this.#status, before);
	}
}

function textOf(address: Address | undefined): string {
	return address === undefined ? "" : renderAddress(address);
}

function errorCode(error: unknown): string {
	if (error instanceof Error) return "code" in error && typeof error.code === "string" ? error.code : error.message;
	return String(error);
}

/** `tryConnect` on real sockets. The time limit covers name resolution too. */
export function tryConnect(address: Address, timeoutMs: number): Promise<void> {
	const { promise, resolve, reject } = Promise.withResolvers<void>();
	const socket =
		address.kind === "unix"
			? connect({ path: address.path })
			: connect({ host: address.host ?? "localhost", port: address.port });
	const timer = setTimeout(() => end(Object.assign(new Error("no answer in time"), { code: "ETIMEDOUT" })), timeoutMs);
	const end = (error?: Error): void => {
		clearTimeout(timer);
		socket.destroy();
		if (error === undefined) resolve();
		else reject(error);
	};
	socket.on("error", end);
	socket.on("connect", () => end(connectedToItself(socket)));
	return promise;
}

/**
 * An error, when a socket that is connected is so with itself. A port of the ephemeral range with nobody behind it can be: our own port is then the one
 * we are looking for (simultaneous open, RFC 9293 §3.5), once in some 28,000 tries. It means that nobody listens.
 */
export function connectedToItself(socket: Socket): NodeJS.ErrnoException | undefined {
	const isSelf =
		socket.remotePort !== undefined && // on a Unix socket there is none
		socket.localPort === socket.remotePort &&
		socket.localAddress === socket.remoteAddress;
	return isSelf ? Object.assign(new Error("connected to itself"), { code: "ECONNREFUSED" }) : undefined;
}
