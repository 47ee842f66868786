import type { Address, CheckSettings } from "../config/settings.ts";
import type { Clock } from "../foundation/clock.ts";
import type { Component } from "../foundation/component.ts";
import type { Scheduler } from "../foundation/scheduler.ts";
import { grpcCheck, grpcTargetOfUrl } from "./check-grpc.ts";
import { type AskingParts, httpCheck, pageOfUrl } from "./check-http.ts";
import { tcpCheck } from "./check-tcp.ts";
import type { Contributor, HealthTree } from "./health-tree.ts";
import type { NameLookups } from "./name-lookup.ts";
import { type Check, ScheduledCheck } from "./scheduled-check.ts";

/**
 * `health.checks`: what the app depends on, looked at in the background. A probe reads what came of it; nobody ever waits for a check, and none of them can
 * fail liveness.
 */
export interface ChecksParts {
	readonly tree: HealthTree;
	readonly clock: Clock;
	readonly scheduler: Scheduler;
	/** In [0, 1). */
	readonly random: () => number;
	readonly lookups: NameLookups;
	readonly userAgent: string;
}

export class Checks implements Component {
	readonly name = "health-checks";
	readonly #checks: readonly ScheduledCheck[];

	constructor(settings: readonly CheckSettings[], parts: ChecksParts) {
		this.#checks = settings.map((each) => {
			const contributor = parts.tree.add("checks", each.name, { critical: each.critical });
			return scheduled(each, contributor, parts);
		});
	}

	async start(): Promise<void> {
		for (const check of this.#checks) check.start();
	}

	async stop(): Promise<void> {
		for (const check of this.#checks) check.stop();
	}
}

function scheduled(settings: CheckSettings, contributor: Contributor, parts: ChecksParts): ScheduledCheck {
	const { clock, scheduler, random, lookups, userAgent } = parts;
	const { intervalMs, timeoutMs, fall, rise } = settings;
	return new ScheduledCheck(
		// What is down is not asked more often: it has enough to do with coming back.
		{ intervalMs, timeoutMs, fall, rise, retryMs: intervalMs },
		{
			clock,
			scheduler,
			random,
			check: checkOfUrl(settings.url, { userAgent, lookup: lookups.door() }),
			onFinding: (finding) => contributor.set(finding),
		},
	);
}

/** What an URL of `health.checks` asks for; its form has been checked with the configuration. */
export function checkOfUrl(url: string, parts: AskingParts): Check {
	switch (new URL(url).protocol) {
		case "tcp:":
			return tcpCheck(tcpAddressOfUrl(url), parts);
		case "grpc:":
			return grpcCheck(grpcTargetOfUrl(url), parts);
		default:
			return httpCheck(pageOfUrl(url, false), parts);
	}
}

function tcpAddressOfUrl(text: string): Address {
	const url = new URL(text);
	return { kind: "tcp", host: url.hostname.replace(/^\[|\]$/g, ""), port: Number(url.port) };
}
