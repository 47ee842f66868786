import type { Settings } from "../config/settings.ts";
import type { StopBudget } from "./budget.ts";
import type { BypassReading } from "./bypass.ts";
import type { HealthTree } from "./health-tree.ts";

/** What the agent learns about the configuration, told in the health tree: a warning each, with the line to change. */
type Advised = Pick<HealthTree, "advise">;

/** What the budget cannot hold is no mistake, but somebody will be cut for it one day. */
export function adviseOnBudget(
	tree: Advised,
	{ drain, timeouts }: Pick<Settings, "drain" | "timeouts">,
	{ drainMs, appStopMs, agentStopMs }: StopBudget,
): void {
	const quietMs = Math.max(drain.announceMinMs, drain.quietMaxMs);
	const longestMs = Number.isFinite(timeouts.responseMs) ? timeouts.responseMs : 0;
	if (quietMs <= drainMs && longestMs <= drainMs) return;
	const tooLong =
		longestMs > drainMs
			? "less than timeouts.response allows a request"
			: "less than the announcement and drain.quietMax";
	const needMs = Math.max(quietMs, longestMs) + appStopMs + agentStopMs;
	tree.advise("grace", {
		reason: "grace_too_short",
		detail: `a stop has ${Math.round(drainMs / 1000)} s to drain: ${tooLong}`,
		advice: `terminationGracePeriodSeconds: ${Math.ceil(needMs / 1000)} (and drain.grace)`,
	});
}

/** Connections that come past us, where there is a data path for them to come through. */
export function adviseOnBypass(tree: Advised, { settled, peers }: Pick<BypassReading, "settled" | "peers">): void {
	const [first] = peers;
	if (settled === 0 || first === undefined) {
		tree.advise("bypass", undefined);
		return;
	}
	tree.advise("bypass", {
		reason: "bypass",
		detail: `${settled} connection${settled === 1 ? "" : "s"} to the app came past the agent, from ${first.address} and perhaps others`,
		advice: `let the Service's targetPort (or the caller) use the agent's port instead of ${first.port}`,
	});
}

/** The app closes idle connections after `idleMs`, which is sooner than we would. */
export function adviseOnAppIdle(tree: Advised, idleMs: number): void {
	tree.advise("app_keep_alive", {
		reason: "app_keep_alive_short",
		detail: `the app closes connections that were idle for ${idleMs} ms`,
		advice:
			"nothing to do behind the agent; where a load balancer calls the app itself, make the app's keep-alive timeout longer than the balancer's",
	});
}
