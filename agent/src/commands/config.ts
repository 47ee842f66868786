import { OUTSIDE_VARIABLES } from "../config/environment.ts";
import { variableOf } from "../config/key-tree.ts";
import { defaultOf, KEY_PATHS, keyOf } from "../config/keys.ts";
import { asText, asYaml } from "../config/layer.ts";
import { OPENTELEMETRY_VARIABLES } from "../config/opentelemetry.ts";
import { renderPlace, renderProblems } from "../config/problems.ts";
import { type Command, EXIT, type Io, type ParsedArgs, UsageError } from "./command.ts";
import { configOptions, countOf, loadConfig, problemText, warningText } from "./load-config.ts";
import { outputOption, usesColour, wantsJson, writeJson, writeTable } from "./output.ts";

const check: Command = {
	name: "config check",
	summary: "tell all problems of the configuration at once",
	usage: "config check [--config FILE] [--set KEY=VALUE] [-o table|json]",
	description:
		"Reads the file, the environment and the flags as the agent would, and binds nothing. Exit code 78 when there is a problem. That nobody has said where the app listens is only a warning here, because the pod says it.",
	examples: [["outrigger config check --config outrigger.yaml", "before it goes into a ConfigMap"]],
	options: { ...configOptions, ...outputOption },
	run: async (args, io) => {
		const loaded = await loadConfig(args, io, { app: "advised" });
		const problems = loaded.ok ? [] : loaded.problems;
		const code = loaded.ok ? EXIT.done : EXIT.configuration;
		if (wantsJson(args)) {
			writeJson(io.stdout, { ok: loaded.ok, file: loaded.file ?? null, problems, warnings: loaded.warnings });
			return code;
		}
		// The problems are this command's result, so they go where results go.
		const colour = usesColour(io.stdout, io.env);
		io.stdout.write(
			renderProblems(problems, { colour }) + renderProblems(loaded.warnings, { colour, severity: "warning" }),
		);
		const from = loaded.file === undefined ? "without a file" : `with ${loaded.file}`;
		io.stderr.write(
			problems.length === 0
				? `The configuration is good (${from}).\n`
				: `${countOf(problems)} in the configuration (${from}).\n`,
		);
		return code;
	},
};

const show: Command = {
	name: "config show",
	summary: "show the effective values with the source of each, secrets hidden",
	usage: "config show [--config FILE] [--set KEY=VALUE] [-o table|json]",
	options: { ...configOptions, ...outputOption },
	run: async (args, io) => {
		const loaded = await loadConfig(args, io, { app: "advised" });
		if (!loaded.ok) {
			if (wantsJson(args)) writeJson(io.stdout, { ok: false, problems: loaded.problems });
			else io.stderr.write(problemText(loaded.problems, io));
			return EXIT.configuration;
		}
		io.stderr.write(warningText(loaded.warnings, io));
		const { entries } = loaded;
		if (wantsJson(args))
			writeJson(
				io.stdout,
				entries.map(({ path, value, source }) => ({ key: path, value: value ?? null, source })),
			);
		else {
			writeTable(
				io.stdout,
				["KEY", "VALUE", "SOURCE"],
				entries.map(({ path, value, source }) => [
					path,
					value === undefined ? "-" : asYaml(value),
					renderPlace(source),
				]),
			);
		}
		return EXIT.done;
	},
};

const schema: Command = {
	name: "config schema",
	summary: "print the JSON Schema of the configuration file",
	usage: "config schema",
	description:
		"JSON Schema, draft 2020-12. An editor that knows YAML checks and completes the file with it: # yaml-language-server: $schema=outrigger.schema.json",
	examples: [["outrigger config schema > outrigger.schema.json", "for an editor"]],
	options: {},
	run: async (_, io) => {
		const { configurationSchema } = await import("../config/json-schema.ts");
		writeJson(io.stdout, configurationSchema());
		return EXIT.done;
	},
};

interface Variable {
	readonly name: string;
	/** Absent for variables that are no keys. */
	readonly key?: string;
	readonly default?: string;
	readonly meaning: string;
	readonly secret: boolean;
}

function variables(): readonly Variable[] {
	const outside = Object.entries({ ...OUTSIDE_VARIABLES, ...OPENTELEMETRY_VARIABLES }).map(([name, meaning]) => ({
		name,
		meaning,
		secret: name.endsWith("_HEADERS"),
	}));
	const keys = KEY_PATHS.map((path): Variable => {
		const { meaning, defaultNote, secret } = keyOf(path);
		const written = defaultOf(path);
		return {
			name: variableOf(path),
			key: path,
			default: defaultNote ?? (written === undefined ? "" : asText(written)),
			meaning,
			secret: secret === true,
		};
	});
	return [...outside, ...keys];
}

const env: Command = {
	name: "config env",
	summary: "list every variable with its default and meaning",
	usage: "config env [-o table|json]",
	description: "In lists the 0 is the index of an entry. An empty variable counts as not set.",
	options: outputOption,
	run: async (args, io) => {
		const rows = variables();
		if (wantsJson(args)) writeJson(io.stdout, rows);
		else {
			writeTable(
				io.stdout,
				["VARIABLE", "DEFAULT", "MEANING"],
				rows.map((row) => [row.name, row.default ?? "", row.secret ? `${row.meaning} Secret.` : row.meaning]),
			);
		}
		return EXIT.done;
	},
};

export const configCommand: Command = {
	name: "config",
	summary: "check, show and describe the configuration",
	usage: "config check|show|schema|env [FLAG …]",
	options: {},
	subcommands: [check, show, schema, env],
	run: async (_args: ParsedArgs, _io: Io) => {
		throw new UsageError("say which: check, show, schema or env");
	},
};
