import { resolve } from "node:path";
import { assert } from "../foundation/assert.ts";
import { bufferedFrom, buildSettings } from "./build-settings.ts";
import { Effective, type Entry, type MachineDefaults } from "./effective.ts";
import { type Env, readEnvironment } from "./environment.ts";
import { type FlagValue, readFlags } from "./flags.ts";
import { emptyLayer, type Layer } from "./layer.ts";
import { readOpenTelemetry } from "./opentelemetry.ts";
import { type Place, type Problem, renderProblems } from "./problems.ts";
import { type AppRule, checkRules } from "./rules.ts";
import type { Settings } from "./settings.ts";
import type { System } from "./system.ts";
import { fileBytesMax, readYaml } from "./yaml-file.ts";

/**
 * Where the effective configuration comes from: defaults < file < environment < flags, each value with its source. It is read
 * once, before anything is bound, and all that is wrong is told at once.
 *
 * @example
 * const loaded = await loadSettings({ env: process.env, system: realSystem, app: "required" });
 * if (!loaded.ok) { process.stderr.write(renderProblems(loaded.problems, { colour: false })); return 78; }
 */
export interface Sources {
	readonly env: Env;
	readonly system: System;
	/** Whether the app's address must be known. */
	readonly app: AppRule;
	/** From `--config`; else OUTRIGGER_CONFIG, else the default path if there is a file. */
	readonly file?: string | undefined;
	/** What followed each `--set`. */
	readonly sets?: readonly string[];
	/** Flags that stand for a key: `--app-port`. */
	readonly flags?: readonly FlagValue[];
	/** Where relative paths of files begin. Default: the process's working directory. */
	readonly cwd?: string;
}

export type Loaded = LoadedSettings | LoadProblems;

export interface LoadedSettings {
	readonly ok: true;
	/** Frozen, complete, can be cloned to a thread. */
	readonly settings: Settings;
	/** Every value with its source, secrets hidden. */
	readonly entries: readonly Entry[];
	/** What was ignored or has no effect: to be logged, never a reason to stop. */
	readonly warnings: readonly Problem[];
	/** The file that was read. */
	readonly file: string | undefined;
}

export interface LoadProblems {
	readonly ok: false;
	/** At least one. */
	readonly problems: readonly Problem[];
	readonly warnings: readonly Problem[];
	readonly file: string | undefined;
}

export const defaultFile = "/etc/outrigger/outrigger.yaml";

export async function loadSettings(sources: Sources): Promise<Loaded> {
	const { env } = sources;
	const { layer: file, name } = await readFileLayer(sources);
	const layers = [file, readOpenTelemetry(env), readEnvironment(env), readFlags(sources.sets ?? [], sources.flags)];
	return combine(layers, sources, name);
}

/**
 * Settings from defaults and a few keys, without a file, an environment or a machine: for tests, benchmarks and simulations.
 *
 * @param set Concrete path → text: `{ "inbound.0.app": "127.0.0.1:3000", "timeouts.head": "50ms" }`.
 */
export function settingsFrom(set: Readonly<Record<string, string>> = {}): Settings {
	const system: System = {
		readFile: () => Promise.resolve(undefined),
		hostName: () => "localhost",
		memoryLimitBytes: () => undefined,
	};
	const sets = Object.entries(set).map(([path, text]) => `${path}=${text}`);
	const loaded = combine([readFlags(sets)], { env: {}, system, app: "found_later" }, undefined);
	assert(
		loaded.ok,
		`these settings are wrong:\n${loaded.ok ? "" : renderProblems(loaded.problems, { colour: false })}`,
	);
	return loaded.settings;
}

function combine(layers: readonly Layer[], sources: Sources, file: string | undefined): Loaded {
	const { env, system, app } = sources;
	const machine = machineDefaults(env, system);
	const values = new Effective(machine);
	for (const layer of layers) values.lay(layer);
	checkRules(values, app);
	const { problems, warnings } = values;
	if (problems.length > 0) return { ok: false, problems: inOrder(problems), warnings, file };
	const settings = buildSettings(values, env, machine.bufferedBytes);
	return { ok: true, settings, entries: values.entries(), warnings, file };
}

/** In the pod the host name is the pod's name, cut at 63 characters. No part of it is guessed away: `orders-7d4b9` may be a name. */
function machineDefaults(env: Env, system: System): MachineDefaults {
	const pod = env["POD_NAME"];
	const namespace = env["POD_NAMESPACE"];
	return {
		serviceName:
			pod === undefined || pod === ""
				? { value: system.hostName(), note: "host name" }
				: { value: pod, note: "from POD_NAME" },
		bufferedBytes: bufferedFrom(system.memoryLimitBytes()),
		serviceNamespace:
			namespace === undefined || namespace === "" ? undefined : { value: namespace, note: "from POD_NAMESPACE" },
	};
}

async function readFileLayer(sources: Sources): Promise<{ readonly layer: Layer; readonly name: string | undefined }> {
	const { env, system, cwd = process.cwd() } = sources;
	const fromEnv = env["OUTRIGGER_CONFIG"] === "" ? undefined : env["OUTRIGGER_CONFIG"];
	const name = sources.file ?? fromEnv ?? defaultFile;
	const isAskedFor = sources.file !== undefined || fromEnv !== undefined;
	const place: Place =
		sources.file !== undefined
			? { kind: "flag", name: "--config" }
			: fromEnv !== undefined
				? { kind: "variable", name: "OUTRIGGER_CONFIG" }
				: { kind: "file", file: defaultFile, line: 1, column: 1 };
	const unreadable = (message: string): { readonly layer: Layer; readonly name: string } => ({
		layer: {
			...emptyLayer,
			isWhole: false,
			problems: [
				{
					kind: "file",
					place,
					message,
					expected: "the path of a YAML file",
					example: `outrigger agent --config ${defaultFile}`,
				},
			],
		},
		name,
	});
	try {
		const bytes = await system.readFile(resolve(cwd, name), fileBytesMax + 1);
		if (bytes !== undefined) return { layer: await readYaml(bytes, name), name };
		return isAskedFor ? unreadable(`there is no file ${name}`) : { layer: emptyLayer, name: undefined };
	} catch (error) {
		// Only what the file system says; anything else is our mistake.
		if (!(error instanceof Error && "code" in error && typeof error.code === "string")) throw error;
		return unreadable(`${name} cannot be read (${error.code})`);
	}
}

/** The file's problems from top to bottom, then the rest as they came. */
function inOrder(problems: readonly Problem[]): readonly Problem[] {
	const position = ({ place }: Problem): number =>
		place.kind === "file" ? place.line * 100_000 + place.column : Number.MAX_SAFE_INTEGER;
	return [...problems].sort((a, b) => position(a) - position(b));
}
