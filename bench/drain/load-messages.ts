/** What the bench and its load say to each other. Plain values, as they pass through a pipe. */
import type { Target } from "./client-connection.ts";
import type { Lost, Tally } from "./ledger.ts";
import type { LoadSettings } from "./load.ts";

export type ToLoad =
	/** Ask `app` what the answers are. */
	| { readonly type: "prepare"; readonly settings: LoadSettings; readonly app: Target }
	| { readonly type: "addresses"; readonly addresses: readonly Target[] }
	| { readonly type: "start" }
	| { readonly type: "stop" };

export type FromLoad =
	| { readonly type: "prepared" }
	| { readonly type: "lost"; readonly lost: Lost }
	| { readonly type: "begun"; readonly begun: number }
	| { readonly type: "done"; readonly tally: Tally };
