import type { OptionSpec } from "./command.ts";

/** Flags that each command understands. */
export const commonOptions: Readonly<Record<string, OptionSpec>> = Object.freeze({
	help: { type: "boolean", short: "h", summary: "show this help" },
});
