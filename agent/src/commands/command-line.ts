import { parseArgs } from "node:util";
import { didYouMean } from "../config/did-you-mean.ts";
import { type Command, EXIT, type Io, type OptionSpec, type ParsedArgs, UsageError } from "./command.ts";
import { commonOptions } from "./common-options.ts";

/** Words → command, flags checked → its exit code. */

export interface Outcome {
	readonly code: number;
	/** The exit does not wait for stdout to be read (`Command.leavesAtOnce`). */
	readonly leavesAtOnce: boolean;
}

/** By name. Each is loaded when it is called. */
export type Commands = Readonly<Record<string, () => Promise<Command>>>;

const programName = "outrigger";

/** @param argv Without the program's own two words. */
export async function runCommandLine(argv: readonly string[], io: Io, commands: Commands): Promise<Outcome> {
	let command: Command | undefined;
	try {
		command = await loadCommand(argv[0], commands);
		const subcommand = findSubcommand(command, argv[1]);
		command = subcommand ?? command;
		const args = checkArgs(command, argv.slice(subcommand === undefined ? 1 : 2));
		const code = args === "help" ? await showHelp(command, io) : await command.run(args, io);
		return { code, leavesAtOnce: command.leavesAtOnce === true };
	} catch (error) {
		const words = command === undefined ? programName : `${programName} ${command.name}`;
		if (error instanceof UsageError) {
			io.stderr.write(`${words}: ${error.message}\nTry: ${words} --help\n`);
			return { code: EXIT.usage, leavesAtOnce: false };
		}
		io.stderr.write(`${words}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
		return { code: EXIT.failed, leavesAtOnce: false };
	}
}

function loadCommand(first: string | undefined, commands: Commands): Promise<Command> {
	if (first === undefined) throw new UsageError("a command is missing");
	const word = first === "--help" || first === "-h" ? "help" : first === "--version" ? "version" : first;
	if (word.startsWith("-")) throw new UsageError(`there is no flag ${word} before the command`);
	const load = Object.hasOwn(commands, word) ? commands[word] : undefined;
	if (load === undefined) throw new UsageError(`there is no command ${word}${meant(word, Object.keys(commands))}`);
	return load();
}

function findSubcommand(command: Command, word: string | undefined): Command | undefined {
	const { subcommands } = command;
	if (subcommands === undefined || word === undefined || word.startsWith("-")) return undefined;
	const lastWord = (each: Command): string => each.name.slice(command.name.length + 1);
	const subcommand = subcommands.find((each) => lastWord(each) === word);
	if (subcommand !== undefined) return subcommand;
	throw new UsageError(`there is no command ${word}${meant(word, subcommands.map(lastWord))}`);
}

function meant(word: string, known: readonly string[]): string {
	const suggestion = didYouMean(word, known);
	return suggestion === undefined ? "" : `; did you mean ${suggestion}?`;
}

async function showHelp(command: Command, io: Io): Promise<number> {
	const { renderCommandHelp } = await import("./help-text.ts");
	io.stdout.write(renderCommandHelp(command, io.stdout.columns));
	return EXIT.done;
}

/** Splits and checks the words after the command. Throws `UsageError`. */
export function checkArgs(command: Command, argv: readonly string[]): ParsedArgs | "help" {
	const options: Readonly<Record<string, OptionSpec>> = { ...command.options, ...commonOptions };
	const end = argv.indexOf("--");
	const rest = end < 0 ? undefined : argv.slice(end + 1);
	// Not strict: parseArgs would stop at the first mistake with a text of its own, and knows no suggestions.
	const { tokens } = parseArgs({
		args: [...(end < 0 ? argv : argv.slice(0, end))],
		options: Object.fromEntries(
			Object.entries(options).map(([name, { type, short }]) => [
				name,
				{ type, ...(short === undefined ? {} : { short }) },
			]),
		),
		strict: false,
		tokens: true,
		allowPositionals: true,
	});
	const values: Record<string, string | boolean | readonly string[]> = {};
	const positionals: string[] = [];
	for (const token of tokens) {
		if (token.kind === "positional") positionals.push(token.value);
		if (token.kind !== "option") continue;
		const { name, rawName, value } = token;
		const spec = Object.hasOwn(options, name) ? options[name] : undefined;
		if (spec === undefined) {
			const known = Object.keys(options).map((each) => `--${each}`);
			throw new UsageError(`there is no flag ${rawName}${meant(rawName, known)}`);
		}
		if (name === "help") return "help";
		values[name] = optionValue(spec, rawName, value, token.inlineValue === true, values[name]);
	}
	if (rest !== undefined && command.takesRest !== true) throw new UsageError("nothing may follow --");
	checkPositionals(command, positionals);
	return { values, positionals, rest };
}

function optionValue(
	spec: OptionSpec,
	rawName: string,
	value: string | undefined,
	isInline: boolean,
	earlier: string | boolean | readonly string[] | undefined,
): string | boolean | readonly string[] {
	if (spec.type === "boolean") {
		if (value !== undefined) throw new UsageError(`${rawName} takes no value`);
		return true;
	}
	// `--config --set a=b`: the next flag is not the value; `--config=--set` says that it is.
	if (value === undefined || value === "" || (!isInline && value.startsWith("-") && value !== "-")) {
		throw new UsageError(`${rawName} needs a value: ${rawName} ${spec.placeholder ?? "VALUE"}`);
	}
	const { choices } = spec;
	if (choices !== undefined && !choices.includes(value)) {
		throw new UsageError(`${rawName} is one of ${choices.join(", ")}, not ${value}${meant(value, choices)}`);
	}
	if (spec.multiple === true) return [...(Array.isArray(earlier) ? earlier : []), value];
	if (earlier !== undefined) throw new UsageError(`${rawName} is there twice`);
	return value;
}

function checkPositionals(command: Command, given: readonly string[]): void {
	const specs = command.positionals ?? [];
	const extra = given[specs.length];
	if (extra !== undefined) {
		const hint = command.takesRest === true ? "; put -- before the command that is to be started" : "";
		throw new UsageError(`there is nothing to do with ${extra}${hint}`);
	}
	for (const [position, { name, required, choices }] of specs.entries()) {
		const word = given[position];
		if (word === undefined) {
			if (required)
				throw new UsageError(`${name} is missing${choices === undefined ? "" : `: one of ${choices.join(", ")}`}`);
		} else if (choices !== undefined && !choices.includes(word)) {
			throw new UsageError(`${name} is one of ${choices.join(", ")}, not ${word}${meant(word, choices)}`);
		}
	}
}
