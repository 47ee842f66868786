import { assert } from "../foundation/assert.ts";
import type { Clock } from "../foundation/clock.ts";
import type { Component } from "../foundation/component.ts";
import type { Logger } from "../foundation/logger.ts";
import type { Cancel, Scheduler } from "../foundation/scheduler.ts";
import { type ReportProblem, readReport } from "./health-report.ts";

/**
 * How the agent and its app are: one tree, of which every probe, page and metric is a rendering.
 *
 *     health ─┬─ agent    our own parts; those that are `live` decide liveness
 *             ├─ app      one contributor for each port of the app
 *             ├─ checks   `health.checks`
 *             ├─ reports  what the app has pushed, with a time to live
 *             └─ advice   what was learned about the configuration
 *
 * **Rollup.** A child that is not critical counts as `warn` unless it passes; the worst of what counts is the parent's status, in the
 * order pass < warn < unknown < fail. A node that has a status of its own and children is the worse of the two. `advice` and all
 * that is in it is not critical, so advice warns and does no more.
 *
 * **Liveness** fails when a `live` contributor fails. Only the group `agent` can have such ones: nothing outside the agent, neither
 * the app nor a database nor what somebody has pushed, can have the container killed.
 *
 * **Readiness** fails when a critical contributor outside `agent` fails, or one of `app` or `checks` is unknown: that means that it was not asked
 * yet, and lasts no longer than its timeout. A critical *report* that is unknown does not fail it: it has most likely expired, the silence of a
 * thread that pushes says little about whether requests are answered, and to take every pod out because a pusher has a bug would be
 * an outage made by us. It shows (the tree is `unknown`), and an app that means it pushes `fail`.
 *
 * The tree renders nothing, asks nobody and owns one timer, for the next report that expires.
 */
export type HealthStatus = "pass" | "warn" | "fail" | "unknown";

/** In the order in which they are shown. */
export const HEALTH_GROUPS = ["agent", "app", "checks", "reports", "advice"] as const;
export type HealthGroup = (typeof HEALTH_GROUPS)[number];

/** What somebody has found out about one thing. */
export interface HealthFinding {
	readonly status: HealthStatus;
	/** A name (`app_refuses`), for everybody to see. */
	readonly reason?: string | undefined;
	/** The cause in words: only for those who may ask on the agent's own API. */
	readonly detail?: string | undefined;
	/** What to change, best as the line to write. */
	readonly advice?: string | undefined;
	readonly children?: readonly HealthChild[] | undefined;
}

export interface HealthChild extends HealthFinding {
	readonly name: string;
	readonly critical: boolean;
}

/** One node as it is now; never changes. */
export interface HealthNode {
	readonly name: string;
	/** Its own and that of its children, rolled up. */
	readonly status: HealthStatus;
	readonly critical: boolean;
	/** Whether liveness looks at it. */
	readonly live: boolean;
	/** Since when `status` holds: monotonic ms, and wall clock ms for people. */
	readonly sinceMs: number;
	readonly sinceWallMs: number;
	readonly reason: string | undefined;
	readonly detail: string | undefined;
	readonly advice: string | undefined;
	readonly children: readonly HealthNode[];
}

/** Why the pod is not ready as far as health goes. */
export type NotReadyWhy = "app_refuses" | "app_fails" | "check_fails" | "app_unknown" | "check_unknown";

export type Readiness =
	| { readonly isReady: true }
	/** `contributor` with its group: `checks/database`. */
	| { readonly isReady: false; readonly why: NotReadyWhy; readonly contributor: string };

export type Liveness =
	| { readonly isLive: true }
	| { readonly isLive: false; readonly reason: string; readonly contributor: string };

export type ReportOutcome =
	| { readonly ok: true }
	/** `full`: it is well formed, and there is no room. Nothing of it was taken. */
	| { readonly ok: false; readonly kind: "invalid" | "full"; readonly problems: readonly ReportProblem[] };

/** The door of one contributor to the tree. */
export interface Contributor {
	/** The name under which it is shown. */
	readonly name: string;
	set(finding: HealthFinding): void;
	remove(): void;
}

export interface HealthTreeParts {
	/** `health.reports`. */
	readonly reportsMax: number;
	readonly clock: Clock;
	readonly scheduler: Scheduler;
	readonly log: Logger;
}

export const NAME_CHARACTERS_MAX = 64;
/** Of details and advice. */
export const TEXT_CHARACTERS_MAX = 1_024;
export const CHILDREN_MAX = 64;
/** Contributors of one group other than `reports`: more than all that the configuration can make. */
const CONTRIBUTORS_MAX = 64;
/** Of nodes below a contributor. */
const DEPTH_MAX = 3;
const SUBSCRIBERS_MAX = 64;
/** How often subscribers may change the tree while they are told of a change. */
const CAUSED_MAX = 16;

const SEVERITY: Readonly<Record<HealthStatus, number>> = { pass: 0, warn: 1, unknown: 2, fail: 3 };

function worse(a: HealthStatus, b: HealthStatus): HealthStatus {
	return SEVERITY[b] > SEVERITY[a] ? b : a;
}

/** The status of a node whose children these are; of none: `pass`. `proto/vectors/health.json` has it in tables. */
export function rollup(
	children: Iterable<{ readonly status: HealthStatus; readonly critical: boolean }>,
): HealthStatus {
	let worst: HealthStatus = "pass";
	for (const { status, critical } of children) {
		worst = worse(worst, critical || status === "pass" ? status : "warn");
	}
	return worst;
}

/** A name that can be shown anywhere: other characters are replaced, what is too long is cut. */
export function cleanName(text: string): string {
	const clean = text
		.slice(0, NAME_CHARACTERS_MAX)
		.replace(/[^A-Za-z0-9._:@[\] -]/g, "_")
		.trim();
	return clean === "" ? "_" : clean;
}

/** Text that can be printed on a terminal: what is too long is cut, control characters are spaces. */
export function cleanText(text: string): string {
	const cut = text.length > TEXT_CHARACTERS_MAX ? `${text.slice(0, TEXT_CHARACTERS_MAX - 1)}…` : text;
	return cut.toWellFormed().replace(/[\x00-\x1f\x7f-\x9f]/g, " ");
}

interface Since {
	status: HealthStatus;
	sinceMs: number;
	sinceWallMs: number;
}

class Group {
	readonly nodes = new Map<string, HealthNode>();
	readonly critical: boolean;
	since: Since;

	constructor(critical: boolean, since: Since) {
		this.critical = critical;
		this.since = since;
	}
}

/** What a pushed contributor has beside its node. */
interface Pushed {
	readonly expiresMs: number;
	readonly isExpired: boolean;
}

export class HealthTree implements Component {
	readonly name = "health-tree";
	readonly #parts: HealthTreeParts;
	readonly #groups: ReadonlyMap<HealthGroup, Group>;
	readonly #pushed = new Map<string, Pushed>();
	readonly #subscribers = new Set<() => void>();
	#since: Since;
	#version = 0;
	#isTelling = false;
	#isToldAgain = false;
	#faults = 0;
	#cancelExpiry: Cancel | undefined;
	/** When the timer runs out; Infinity without one. */
	#expiryAtMs = Number.POSITIVE_INFINITY;

	constructor(parts: HealthTreeParts) {
		this.#parts = parts;
		this.#since = this.#now("pass");
		this.#groups = new Map(HEALTH_GROUPS.map((name) => [name, new Group(name !== "advice", this.#now("pass"))]));
	}

	async start(): Promise<void> {}

	/** What is known stays; no report expires any more. */
	async stop(): Promise<void> {
		this.#cancelExpiry?.();
		this.#cancelExpiry = undefined;
		this.#expiryAtMs = Number.POSITIVE_INFINITY;
	}

	/**
	 * Rises with every change of a name, a status, a criticality or a reason: with all that is shown to everybody. A detail that alone changes (a
	 * measured value) does not raise it, so that whoever keeps a rendering need not make it anew each second.
	 */
	get version(): number {
		return this.#version;
	}

	get status(): HealthStatus {
		return this.#since.status;
	}

	/** What subscribers have thrown so far. */
	get observerFaults(): number {
		return this.#faults;
	}

	/** Calls `listener` after each rise of `version`; changes that subscribers make are told once, afterwards. What it returns ends that. */
	subscribe(listener: () => void): () => void {
		assert(this.#subscribers.size < SUBSCRIBERS_MAX, "too many subscribers of the health tree");
		const own = (): void => listener();
		this.#subscribers.add(own);
		return () => {
			this.#subscribers.delete(own);
		};
	}

	/**
	 * A new contributor, `unknown` until it says something. A name that is taken gets a number. `live` is for the group `agent` alone.
	 */
	add(
		group: Exclude<HealthGroup, "reports" | "advice">,
		name: string,
		kind: { readonly critical: boolean; readonly live?: boolean },
	): Contributor {
		const live = kind.live === true;
		assert(!live || group === "agent", "nothing outside the agent may fail liveness");
		const home = this.#group(group);
		assert(home.nodes.size < CONTRIBUTORS_MAX, "too many contributors to health");
		const shown = freeName(cleanName(name), home.nodes);
		const shape = { name: shown, critical: kind.critical, live };
		this.#put(group, shape, { status: "unknown", reason: "not_asked" });
		return {
			name: shown,
			set: (finding) => {
				if (home.nodes.has(shown)) this.#put(group, shape, finding); // once removed, a late answer changes nothing
			},
			remove: () => {
				if (home.nodes.delete(shown)) this.#changed([group]);
			},
		};
	}

	/** Something that was learned about the configuration, or `undefined` when it is not so any more. */
	advise(name: string, finding: Omit<HealthFinding, "status" | "children"> | undefined): void {
		const home = this.#group("advice");
		const shown = cleanName(name);
		if (finding === undefined) {
			if (home.nodes.delete(shown)) this.#changed(["advice"]);
		} else if (home.nodes.size < CONTRIBUTORS_MAX || home.nodes.has(shown)) {
			this.#put("advice", { name: shown, critical: false, live: false }, { ...finding, status: "warn" });
		}
	}

	/**
	 * What the app pushes: `[{ name, status, ttl, critical?, detail? }]`, as parsed from JSON. All of it or nothing. A known name is renewed, a time to live
	 * of `0s` takes it out. When there is no room, those that expired longest ago make it.
	 */
	report(contributors: unknown): ReportOutcome {
		const { reportsMax, clock } = this.#parts;
		const reading = readReport(contributors);
		if ("problems" in reading) return { ok: false, kind: "invalid", problems: reading.problems };
		const kept = reading.entries.filter(({ ttlMs }) => ttlMs > 0);
		const { nodes } = this.#group("reports");
		const named = new Set(reading.entries.map(({ name }) => name));
		const others = [...this.#pushed].filter(([name]) => !named.has(name));
		const excess = others.length + kept.length - reportsMax;
		const goes = others
			.filter(([, { isExpired }]) => isExpired)
			.toSorted(([, a], [, b]) => a.expiresMs - b.expiresMs)
			.slice(0, Math.max(0, excess));
		if (goes.length < excess) {
			const beyond = Math.min(kept.length, excess - goes.length);
			return {
				ok: false,
				kind: "full",
				problems: [
					{
						place: "contributors",
						message: `there is no room for ${beyond} of them; health.reports is ${reportsMax}`,
					},
				],
			};
		}
		let isChanged = false;
		for (const [name] of goes) isChanged = this.#forget(name) || isChanged;
		const nowMs = clock.monotonicMs();
		for (const { name, status, critical, detail, ttlMs } of reading.entries) {
			if (ttlMs === 0) {
				isChanged = this.#forget(name) || isChanged;
				continue;
			}
			const before = nodes.get(name);
			const node = this.#node({ name, critical, live: false }, { status, detail }, before, 0);
			nodes.set(name, node);
			this.#pushed.set(name, { expiresMs: nowMs + ttlMs, isExpired: false });
			this.#expireAt(nowMs + ttlMs);
			isChanged = isChanged || !looksSame(before, node);
		}
		if (isChanged) this.#changed(["reports"]);
		return { ok: true };
	}

	liveness(): Liveness {
		for (const { live, status, reason, name } of this.#group("agent").nodes.values()) {
			if (live && status === "fail") return { isLive: false, reason: reason ?? "fails", contributor: `agent/${name}` };
		}
		return { isLive: true };
	}

	/** What fails is told before what is unknown, the app before the others. */
	readiness(): Readiness {
		const app = this.#firstCritical("app", "fail");
		if (app !== undefined) {
			const why = app.reason === "app_refuses" ? "app_refuses" : "app_fails";
			return { isReady: false, why, contributor: `app/${app.name}` };
		}
		for (const group of ["checks", "reports"] as const) {
			const failed = this.#firstCritical(group, "fail");
			if (failed !== undefined) {
				return { isReady: false, why: "check_fails", contributor: `${group}/${failed.name}` };
			}
		}
		const notAsked = this.#firstCritical("app", "unknown");
		if (notAsked !== undefined) return { isReady: false, why: "app_unknown", contributor: `app/${notAsked.name}` };
		const unknown = this.#firstCritical("checks", "unknown");
		if (unknown !== undefined) return { isReady: false, why: "check_unknown", contributor: `checks/${unknown.name}` };
		return { isReady: true };
	}

	/** The whole tree as it is now. Its root is called `health`; its children are the groups. */
	view(): HealthNode {
		const children = [...this.#groups].map(([name, { critical, since, nodes }]) =>
			groupNode(name, critical, since, [...nodes.values()]),
		);
		return groupNode("health", true, this.#since, children);
	}

	/** Every contributor, without what is below it: for the metric. Bounded by `health.reports` and the bounds of the other groups. */
	*contributors(): IterableIterator<{ readonly group: HealthGroup; readonly path: string; readonly node: HealthNode }> {
		for (const [group, { nodes }] of this.#groups) {
			for (const node of nodes.values()) yield { group, path: `${group}/${node.name}`, node };
		}
	}

	#group(name: HealthGroup): Group {
		const group = this.#groups.get(name);
		assert(group !== undefined, "the constructor makes all groups");
		return group;
	}

	#firstCritical(group: HealthGroup, status: HealthStatus): HealthNode | undefined {
		for (const node of this.#group(group).nodes.values()) if (node.critical && node.status === status) return node;
		return undefined;
	}

	#put(group: HealthGroup, shape: Shape, finding: HealthFinding): void {
		const { nodes } = this.#group(group);
		const before = nodes.get(shape.name);
		const node = this.#node(shape, finding, before, 0);
		nodes.set(shape.name, node);
		if (!looksSame(before, node)) this.#changed([group]);
	}

	#forget(name: string): boolean {
		this.#pushed.delete(name);
		return this.#group("reports").nodes.delete(name);
	}

	#node(shape: Shape, finding: HealthFinding, before: HealthNode | undefined, depth: number): HealthNode {
		const given = depth === DEPTH_MAX ? [] : (finding.children ?? []).slice(0, CHILDREN_MAX);
		const earlier = new Map(before?.children.map((child) => [child.name, child]));
		const children = new Map<string, HealthNode>();
		for (const child of given) {
			const name = freeName(cleanName(child.name), children);
			const childShape = { name, critical: child.critical, live: false };
			children.set(name, this.#node(childShape, child, earlier.get(name), depth + 1));
		}
		const status = worse(finding.status, rollup(children.values()));
		const since = before?.status === status ? before : this.#now(status);
		return {
			...shape,
			status,
			sinceMs: since.sinceMs,
			sinceWallMs: since.sinceWallMs,
			reason: finding.reason,
			detail: finding.detail === undefined ? undefined : cleanText(finding.detail),
			advice: finding.advice === undefined ? undefined : cleanText(finding.advice),
			children: [...children.values()],
		};
	}

	#now(status: HealthStatus): Since {
		const { clock } = this.#parts;
		return { status, sinceMs: clock.monotonicMs(), sinceWallMs: clock.wallMs() };
	}

	#changed(groups: readonly HealthGroup[]): void {
		for (const name of groups) {
			const group = this.#group(name);
			const status = rollup(group.nodes.values());
			if (status !== group.since.status) group.since = this.#now(status);
		}
		const status = rollup(
			[...this.#groups.values()].map(({ critical, since }) => ({ critical, status: since.status })),
		);
		if (status !== this.#since.status) this.#since = this.#now(status);
		this.#version += 1;
		this.#tell();
	}

	#tell(): void {
		if (this.#isTelling) {
			this.#isToldAgain = true;
			return;
		}
		this.#isTelling = true;
		try {
			let rounds = 0;
			do {
				assert(rounds < CAUSED_MAX, "subscribers change the health tree in circles");
				rounds += 1;
				this.#isToldAgain = false;
				for (const subscriber of [...this.#subscribers]) this.#tellOne(subscriber);
			} while (this.#isToldAgain);
		} finally {
			this.#isTelling = false;
		}
	}

	#tellOne(subscriber: () => void): void {
		if (!this.#subscribers.has(subscriber)) return; // ended its subscription while others were told
		try {
			subscriber();
		} catch (error) {
			this.#faults += 1;
			this.#parts.log.error("a subscriber of the health tree failed", { error });
		}
	}

	/** One timer for all: it runs out with the first that may expire, and is set again for the next. */
	#expireAt(atMs: number): void {
		if (atMs >= this.#expiryAtMs) return;
		this.#cancelExpiry?.();
		this.#expiryAtMs = atMs;
		const { clock, scheduler } = this.#parts;
		this.#cancelExpiry = scheduler.after(Math.ceil(atMs - clock.monotonicMs()), () => this.#expire());
	}

	#expire(): void {
		this.#cancelExpiry = undefined;
		this.#expiryAtMs = Number.POSITIVE_INFINITY;
		const nowMs = this.#parts.clock.monotonicMs();
		const { nodes } = this.#group("reports");
		let nextMs = Number.POSITIVE_INFINITY;
		let isChanged = false;
		for (const [name, { expiresMs, isExpired }] of this.#pushed) {
			const node = nodes.get(name);
			if (isExpired || node === undefined) continue;
			if (expiresMs > nowMs) {
				nextMs = Math.min(nextMs, expiresMs);
				continue;
			}
			this.#pushed.set(name, { expiresMs, isExpired: true });
			const detail = `not renewed in time; before that it was ${node.status}`;
			const shape = { name, critical: node.critical, live: false };
			const expired = this.#node(shape, { status: "unknown", reason: "report_expired", detail }, node, 0);
			nodes.set(name, expired);
			isChanged = isChanged || !looksSame(node, expired);
		}
		if (nextMs < Number.POSITIVE_INFINITY) this.#expireAt(nextMs);
		if (isChanged) this.#changed(["reports"]);
	}
}

interface Shape {
	readonly name: string;
	readonly critical: boolean;
	readonly live: boolean;
}

function groupNode(name: string, critical: boolean, since: Since, children: readonly HealthNode[]): HealthNode {
	return { name, critical, live: false, ...since, reason: undefined, detail: undefined, advice: undefined, children };
}

/** `name`, or with a number behind it when that is taken. */
function freeName(name: string, taken: ReadonlyMap<string, unknown>): string {
	if (!taken.has(name)) return name;
	for (let number = 2; ; number += 1) {
		const suffix = `-${number}`;
		const other = `${name.slice(0, NAME_CHARACTERS_MAX - suffix.length)}${suffix}`;
		if (!taken.has(other)) return other; // ends: `taken` is bounded
	}
}

/** Whether nothing that everybody may see has changed. */
function looksSame(a: HealthNode | undefined, b: HealthNode): boolean {
	return (
		a !== undefined &&
		a.name === b.name &&
		a.status === b.status &&
		a.critical === b.critical &&
		a.reason === b.reason &&
		a.children.length === b.children.length &&
		b.children.every((child, index) => looksSame(a.children[index], child))
	);
}
