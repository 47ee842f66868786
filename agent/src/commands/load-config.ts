import { renderAddress } from "../config/address.ts";
import type { FlagValue } from "../config/flags.ts";
import { type Loaded, type LoadedSettings, loadSettings } from "../config/layers.ts";
import { type Problem, renderProblems } from "../config/problems.ts";
import type { AppRule } from "../config/rules.ts";
import { realSystem, type System } from "../config/system.ts";
import { type Io, type OptionSpec, type ParsedArgs, stringOption, stringOptions } from "./command.ts";
import { usesColour } from "./output.ts";

/** The configuration as the flags of a command say it. */

/** For every command that reads the configuration. */
export const configOptions: Readonly<Record<"config" | "set", OptionSpec>> = Object.freeze({
	config: {
		type: "string",
		placeholder: "FILE",
		summary: "the configuration file (default: OUTRIGGER_CONFIG, else /etc/outrigger/outrigger.yaml if there)",
		completesFiles: true,
	},
	set: {
		type: "string",
		multiple: true,
		placeholder: "KEY=VALUE",
		summary: "one key, ahead of the file and the environment",
	},
});

export interface LoadOptions {
	readonly app: AppRule;
	/** Flags of the command that stand for a key. */
	readonly flags?: readonly FlagValue[];
	readonly system?: System;
}

export function loadConfig(args: ParsedArgs, io: Io, options: LoadOptions): Promise<Loaded> {
	return loadSettings({
		env: io.env,
		cwd: io.cwd,
		system: options.system ?? realSystem,
		app: options.app,
		file: stringOption(args, "config"),
		sets: stringOptions(args, "set"),
		flags: options.flags ?? [],
	});
}

/** Where the configuration says that the agent's API is; `undefined` when it has problems. */
export async function configuredApi(io: Io): Promise<string | undefined> {
	const loaded = await loadConfig({ values: {}, positionals: [], rest: undefined }, io, { app: "advised" });
	return loaded.ok ? renderAddress(loaded.settings.api.listen) : undefined;
}

/** Whether nobody has set this key: `drain.announceMin`, `inbound.0.listen`. */
export function isDefault({ entries }: LoadedSettings, path: string): boolean {
	return entries.find((entry) => entry.path === path)?.source.kind === "default";
}

/** All problems, then how many there are: for standard error, before exit code 78. */
export function problemText(problems: readonly Problem[], io: Pick<Io, "stderr" | "env">): string {
	return `${renderProblems(problems, { colour: usesColour(io.stderr, io.env) })}${countOf(problems)} in the configuration; nothing was started.\n`;
}

export function warningText(warnings: readonly Problem[], io: Pick<Io, "stderr" | "env">): string {
	return renderProblems(warnings, { colour: usesColour(io.stderr, io.env), severity: "warning" });
}

export function countOf({ length }: readonly Problem[]): string {
	return length === 1 ? "1 problem" : `${length} problems`;
}
