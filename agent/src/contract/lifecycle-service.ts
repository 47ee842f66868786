import { API_METHODS } from "@outrigger/contract";
import type { Clock } from "../foundation/clock.ts";
import type { Deadline } from "../foundation/deadline.ts";
import type { JsonObject } from "../foundation/json-object.ts";
import { renderDuration } from "../foundation/proto-duration.ts";
import { type DrainReport, reportSentence } from "../lifecycle/drain-report.ts";
import type { Lease, Leases } from "../lifecycle/leases.ts";
import type { StateName } from "../lifecycle/state.ts";
import { ApiError, type Call, type Method } from "./method.ts";
import { Fields, renderTime } from "./proto-json.ts";

/** `outrigger.v1.Lifecycle`: the drain, the app's own readiness, leases. */
export interface LifecycleParts {
	readonly clock: Clock;
	readonly state: { readonly at: StateName };
	readonly drain: {
		readonly hasBegun: boolean;
		/** By when it is over; `undefined` until it has begun. */
		readonly deadline: Deadline | undefined;
		/** Resolves when it is over, or when the agent stops without one; never rejects. */
		readonly over: Promise<unknown>;
	};
	/** Begins the drain; nothing when it has begun. `reason`: what the caller gave, for the log. */
	readonly beginDrain: (startedBy: "command" | "contract", reason: string | undefined) => void;
	/** What the drain was, once it is over. */
	readonly report: () => DrainReport | undefined;
	/** The app takes traffic, as far as it is concerned: takes `notReady` back. */
	readonly ready: () => void;
	readonly notReady: (reason: string | undefined) => void;
	readonly leases: Pick<Leases, "hold" | "renew" | "release">;
	/** A lease may be held for so long without being renewed. Not the drain's budget: a lease is held long before a drain begins. */
	readonly leaseTtlMaxMs: number;
}

/** How `user-agent` of the `outrigger` command begins. */
export const COMMAND_AGENT = "outrigger/";

const LEASE_TTL_MIN_MS = 100;
const REASON = { charactersMax: 256 };
const LEASE_NAME = { charactersMax: 128 };
const LEASE_ID = { charactersMax: 64 };

export function lifecycleMethods(parts: LifecycleParts): readonly Method[] {
	const waiters = new Set<() => void>();
	// Once for all who wait: callers come and go, and the promise would keep them all.
	void parts.drain.over.then(() => {
		for (const tell of waiters) tell();
		waiters.clear();
	});
	return [
		{ path: API_METHODS.drain, handle: (input, call) => drain(parts, waiters, input, call) },
		{
			path: API_METHODS.ready,
			handle: () => {
				parts.ready();
				return { state: parts.state.at };
			},
		},
		{
			path: API_METHODS.notReady,
			handle: (input) => {
				parts.notReady(new Fields(input).text("reason", REASON));
				return { state: parts.state.at };
			},
		},
		{ path: API_METHODS.holdLease, handle: (input) => holdLease(parts, input) },
		{
			path: API_METHODS.releaseLease,
			handle: (input) => ({ released: parts.leases.release(new Fields(input).requiredText("id", LEASE_ID)) }),
		},
	];
}

async function drain(parts: LifecycleParts, waiters: Set<() => void>, input: JsonObject, call: Call): Promise<object> {
	const fields = new Fields(input);
	const reason = fields.text("reason", REASON);
	const waits = fields.flag("wait");
	const begun = !parts.drain.hasBegun;
	if (begun) parts.beginDrain(call.userAgent.startsWith(COMMAND_AGENT) ? "command" : "contract", reason);
	if (waits && parts.report() === undefined) {
		call.beginWait(); // after the beginning: that there is no room for one who waits must not keep the pod from draining
		await new Promise<void>((resolve) => {
			waiters.add(resolve);
			call.signal.addEventListener("abort", () => {
				waiters.delete(resolve);
				resolve();
			});
		});
	}
	const { deadline } = parts.drain;
	return {
		state: parts.state.at,
		begun,
		...(deadline === undefined
			? {}
			: {
					deadline: renderTime(parts.clock.wallMs() + deadline.remainingMs()),
					remaining: renderDuration(deadline.remainingMs()),
				}),
		report: reportAnswer(parts.report()),
	};
}

/** With the sentence that says it all, so that nobody else has to make one. */
export function reportAnswer(report: DrainReport | undefined): object | undefined {
	return report === undefined ? undefined : { summary: reportSentence(report), ...report };
}

function holdLease({ leases, leaseTtlMaxMs, state }: LifecycleParts, input: JsonObject): object {
	const fields = new Fields(input);
	const ttlMs = fields.requiredDuration("ttl", LEASE_TTL_MIN_MS, leaseTtlMaxMs);
	const id = fields.text("id", LEASE_ID);
	if (state.at === "stopping" || state.at === "stopped") {
		throw new ApiError("failed_precondition", "the drain is over: nothing waits for a lease any more");
	}
	if (id !== undefined) {
		const renewed = leases.renew(id, ttlMs);
		if (renewed === undefined) {
			throw new ApiError("not_found", "there is no lease of that id: it has ended, or the agent was started anew");
		}
		return leaseAnswer(renewed);
	}
	const name = fields.requiredText("name", LEASE_NAME);
	const held = leases.hold(name, ttlMs);
	if (held === undefined) throw new ApiError("resource_exhausted", "there are as many leases as drain.leases allows");
	return leaseAnswer(held);
}

function leaseAnswer({ id, expiresWallMs }: Lease): object {
	return { id, expires: renderTime(expiresWallMs) };
}
