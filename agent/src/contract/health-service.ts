import { API_METHODS } from "@outrigger/contract";
import type { HealthNode, HealthTree } from "../lifecycle/health-tree.ts";
import { ApiError, type Method } from "./method.ts";
import { renderTime } from "./proto-json.ts";

/** `outrigger.v1.Health`: what the app pushes, and the whole tree with causes, details and advice. */
export interface HealthParts {
	readonly tree: Pick<HealthTree, "report" | "view">;
	/** What the probes on 9801 say. */
	readonly live: () => Verdict;
	readonly ready: () => Verdict;
}

export interface Verdict {
	readonly ok: boolean;
	/** A word: `draining`, `app_refuses`. */
	readonly reason?: string | undefined;
}

export function healthMethods({ tree, live, ready }: HealthParts): readonly Method[] {
	return [
		{
			path: API_METHODS.reportHealth,
			handle: ({ contributors }) => {
				const outcome = tree.report(contributors ?? []);
				if (outcome.ok) return {};
				throw new ApiError(
					outcome.kind === "full" ? "resource_exhausted" : "invalid_argument",
					outcome.problems.map(({ place, message }) => `${place}: ${message}`).join("; "),
				);
			},
		},
		{
			path: API_METHODS.getHealth,
			handle: () => {
				const { status, children } = tree.view();
				const [isLive, isReady] = [live(), ready()];
				return {
					status,
					ready: isReady.ok,
					live: isLive.ok,
					...(isReady.ok ? {} : { whyNotReady: isReady.reason }),
					...(isLive.ok ? {} : { whyNotLive: isLive.reason }),
					contributors: children.map(contributorOf),
				};
			},
		},
	];
}

function contributorOf(node: HealthNode): object {
	const { name, status, critical, sinceWallMs, reason, detail, advice, children } = node;
	return {
		name,
		status,
		critical,
		since: renderTime(sinceWallMs),
		reason,
		detail,
		advice,
		...(children.length === 0 ? {} : { contributors: children.map(contributorOf) }),
	};
}
