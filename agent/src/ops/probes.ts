import { BoundedMap } from "../foundation/bounded.ts";
import type { HealthNode, HealthStatus } from "../lifecycle/health-tree.ts";
import { parseAccept } from "../telemetry/exposition-write.ts";

/** What a probe is told. `reason` is a name (`app_refuses`, `draining`), never a sentence: causes and details are for 9802. */
export interface ProbeAnswer {
	readonly ok: boolean;
	readonly reason?: string;
}

/** As much of the health tree as a page shows. */
export interface ProbeHealth {
	/** Rises with every change that a page would show. */
	readonly version: number;
	readonly status: HealthStatus;
	view(): HealthNode;
}

/** Who knows how the agent is. Every method only reads memory: a probe never waits for anything. */
export interface ProbeSource {
	live(): ProbeAnswer;
	ready(): ProbeAnswer;
	/** Whether the agent itself has started; never waits for the app. */
	started(): ProbeAnswer;
	/** What JSON lists. Without it there is the status alone. */
	readonly health?: ProbeHealth;
}

export type ProbeName = "live" | "ready" | "started";

/** Paths of the probes. `/health` and `/readiness` are what many existing services have, and answer the same. */
export const PROBE_PATHS: ReadonlyMap<string, ProbeName> = new Map([
	["/livez", "live"],
	["/readyz", "ready"],
	["/startupz", "started"],
	["/health", "live"],
	["/readiness", "ready"],
]);

export interface RenderedProbe {
	readonly status: 200 | 503;
	readonly contentType: string;
	readonly body: string;
}

export type ProbeType = "text" | "json" | "health_json";

const CONTENT_TYPES: Readonly<Record<ProbeType, string>> = {
	text: "text/plain; charset=utf-8",
	json: "application/json",
	health_json: "application/health+json",
};
const TYPES: ReadonlyMap<string, ProbeType> = new Map([
	["application/json", "json"],
	["application/health+json", "health_json"],
	["application/*", "json"],
]);
/** Values of `Accept` that are remembered: a kubelet, a scraper and a few people. */
const ACCEPTS_MAX = 32;
/** A longer one is read each time. */
const ACCEPT_CHARACTERS_MAX = 256;

interface Kept {
	readonly version: number;
	readonly ok: boolean;
	readonly reason: string | undefined;
	readonly rendered: RenderedProbe;
}

/**
 * The answers of the probes: text, or JSON for those who ask for it. A body is made anew only when what it says has changed, so hundreds of
 * contributors cost a probe nothing.
 *
 * Everybody may read it, so there are names and status words, and the reason by which a probe fails; no causes and no details.
 */
export class ProbePages {
	readonly #source: ProbeSource;
	/** By probe and type: nine at most. */
	readonly #kept = new Map<string, Kept>();
	readonly #types = new BoundedMap<string, ProbeType>(ACCEPTS_MAX);
	#renders = 0;

	constructor(source: ProbeSource) {
		this.#source = source;
	}

	/** Bodies that were made so far. */
	get renders(): number {
		return this.#renders;
	}

	/** Asks the source and answers. A source that throws is not well, and what it threw stays inside. */
	render(name: ProbeName, accept: string | undefined): RenderedProbe {
		const type = this.#typeFor(accept);
		try {
			return this.#render(name, type);
		} catch {
			return this.#write({ ok: false, reason: "internal" }, type, undefined);
		}
	}

	#render(name: ProbeName, type: ProbeType): RenderedProbe {
		const { ok, reason } = this.#source[name]();
		const health = type === "text" ? undefined : this.#source.health;
		const version = health?.version ?? 0;
		const key = `${name} ${type}`;
		const kept = this.#kept.get(key);
		if (kept?.version === version && kept.ok === ok && kept.reason === reason) return kept.rendered;
		const rendered = this.#write({ ok, ...(reason === undefined ? {} : { reason }) }, type, health);
		this.#kept.set(key, { version, ok, reason, rendered });
		return rendered;
	}

	#write(answer: ProbeAnswer, type: ProbeType, health: ProbeHealth | undefined): RenderedProbe {
		this.#renders += 1;
		const body = type === "text" ? textBody(answer) : `${JSON.stringify(jsonBody(answer, type, health))}\n`;
		return { status: answer.ok ? 200 : 503, contentType: CONTENT_TYPES[type], body };
	}

	#typeFor(accept: string | undefined): ProbeType {
		if (accept === undefined) return "text";
		if (accept.length > ACCEPT_CHARACTERS_MAX) return typeFor(accept);
		const known = this.#types.get(accept);
		if (known !== undefined) return known;
		const type = typeFor(accept);
		this.#types.set(accept, type);
		return type;
	}
}

function textBody({ ok, reason }: ProbeAnswer): string {
	return `${ok ? "ok" : "fail"}${reason === undefined ? "" : ` ${reason}`}\n`;
}

/** A probe that succeeds while something is not well says `warn`: its status code is what Kubernetes goes by, its word is for people. */
function wordOf({ ok }: ProbeAnswer, health: ProbeHealth | undefined): "pass" | "warn" | "fail" {
	if (!ok) return "fail";
	return health === undefined || health.status === "pass" ? "pass" : "warn";
}

function jsonBody(answer: ProbeAnswer, type: "json" | "health_json", health: ProbeHealth | undefined): object {
	const status = wordOf(answer, health);
	const reason = answer.reason === undefined ? {} : { reason: answer.reason };
	if (health === undefined) return { status, ...reason };
	const groups = health.view().children.filter(({ children }) => children.length > 0);
	if (type === "json") {
		const contributors = Object.fromEntries(groups.map((group) => [group.name, Object.fromEntries(statuses(group))]));
		return { status, ...reason, contributors };
	}
	// draft-inadarei-api-health-check-06 §4: a key has at most one colon, a value is a list, and there is no word for unknown.
	const checks = groups.flatMap((group) =>
		[...statuses(group)].map(([name, word]) => [
			`${group.name}:${name.replaceAll(":", "_")}`,
			[{ status: word === "unknown" ? "warn" : word }],
		]),
	);
	// §3.5: `output` is for the states that are not pass.
	return {
		status,
		...(answer.reason === undefined ? {} : { output: answer.reason }),
		checks: Object.fromEntries(checks),
	};
}

/** Status words by name, of what is below a node; what is further below as `http/database`. */
function* statuses(node: HealthNode, prefix = ""): IterableIterator<readonly [name: string, status: HealthStatus]> {
	for (const child of node.children) {
		const name = `${prefix}${child.name}`;
		yield [name, child.status];
		yield* statuses(child, `${name}/`);
	}
}

/** RFC 9110 §12.5.1, as far as a probe needs it: JSON is for those who name it and do not prefer text. Of two that are equal the first. */
function typeFor(accept: string): ProbeType {
	let best: ProbeType = "text";
	let bestQuality = 0;
	let textQuality = 0;
	for (const { type, quality } of parseAccept(accept)) {
		if (type === "text/plain" || type === "text/*") textQuality = Math.max(textQuality, quality);
		const named = TYPES.get(type);
		if (named === undefined || quality <= bestQuality) continue;
		best = named;
		bestQuality = quality;
	}
	return textQuality > bestQuality ? "text" : best;
}
