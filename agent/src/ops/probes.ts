import { parseAccept } from "../telemetry/exposition-write.ts";

/** What a probe is told. `reason` is a name (`app_refuses`, `draining`), never a sentence: causes and details are for 9802. */
export interface ProbeAnswer {
	readonly ok: boolean;
	readonly reason?: string;
}

/**
 * Who knows how the agent is. Every method only reads memory: a probe never waits for anything.
 * In this first form the agent lives while its data threads turn, and is ready while the app's port accepts.
 */
export interface ProbeSource {
	live(): ProbeAnswer;
	ready(): ProbeAnswer;
	/** Whether the agent itself has started; never waits for the app. */
	started(): ProbeAnswer;
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

/** Asks the source and writes the answer: text, or JSON for those who ask for it. A source that throws is not well. */
export function renderProbe(source: ProbeSource, name: ProbeName, accept: string | undefined): RenderedProbe {
	let answer: ProbeAnswer;
	try {
		answer = source[name]();
	} catch {
		answer = { ok: false, reason: "internal" };
	}
	const status = answer.ok ? 200 : 503;
	const word = answer.ok ? "pass" : "fail";
	const json = jsonType(accept);
	if (json !== undefined) {
		const reason = answer.reason === undefined ? {} : { reason: answer.reason };
		return { status, contentType: json, body: `${JSON.stringify({ status: word, ...reason })}\n` };
	}
	const body = `${answer.ok ? "ok" : "fail"}${answer.reason === undefined ? "" : ` ${answer.reason}`}\n`;
	return { status, contentType: "text/plain; charset=utf-8", body };
}

function jsonType(accept: string | undefined): string | undefined {
	if (accept === undefined) return undefined;
	let best: string | undefined;
	let bestQuality = 0;
	for (const { type, quality } of parseAccept(accept)) {
		if (quality > bestQuality && (type === "application/json" || type === "application/health+json")) {
			best = type;
			bestQuality = quality;
		}
	}
	return best;
}
