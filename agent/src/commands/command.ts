/**
 * What a command is. `main.ts` hands over real streams and the real environment, a test hands over its own; a command never
 * touches `process` for these, and never ends the process: it returns its exit code.
 */

/** Exit codes of every command (`docs/commands.md`). `run` passes on the code of what it ran. */
export const EXIT = Object.freeze({
	done: 0,
	failed: 1,
	couldNotRun: 2,
	drainCut: 3,
	usage: 64,
	configuration: 78,
});

export interface Output {
	/** Writes text as it is; the newline is the caller's. */
	write(text: string): void;
	/** Whether a person is looking: colour and progress only then. */
	readonly isTerminal: boolean;
	/** Width in characters; `undefined` when it is not a terminal. */
	readonly columns: number | undefined;
}

export interface Io {
	/** Results, and nothing else. */
	readonly stdout: Output;
	/** Everything else: progress, advice, problems. */
	readonly stderr: Output;
	readonly env: Readonly<Record<string, string | undefined>>;
	/** Absolute path; relative paths of arguments start here. */
	readonly cwd: string;
}

export interface OptionSpec {
	readonly type: "boolean" | "string";
	/** One letter. */
	readonly short?: string;
	/** May be given several times; the value is then an array. */
	readonly multiple?: boolean;
	/** What stands for the value in help: `FILE`, `N`. For `string` options. */
	readonly placeholder?: string;
	/** The only values that are allowed; checked before `run`. */
	readonly choices?: readonly string[];
	/** One line, without a full stop. */
	readonly summary: string;
	/** Whether a shell completes the value with file names. */
	readonly completesFiles?: boolean;
}

/** What the user typed, checked against the command's options. */
export interface ParsedArgs {
	readonly values: Readonly<Record<string, string | boolean | readonly string[] | undefined>>;
	/** Arguments before `--`. */
	readonly positionals: readonly string[];
	/** What follows `--`, untouched; `undefined` when there is no `--`. */
	readonly rest: readonly string[] | undefined;
}

export interface Command {
	/** The word, or the words with one space: `config check`. */
	readonly name: string;
	/** One line, without a full stop. */
	readonly summary: string;
	/** Without the program's name: `agent [--config FILE]`. */
	readonly usage: string;
	/** What the summary leaves out: a few sentences. */
	readonly description?: string;
	/** Command lines that work, each with what it does. */
	readonly examples?: readonly (readonly [line: string, does: string])[];
	/** Long names without dashes. `help` and `h` are added to each by the command line itself. */
	readonly options: Readonly<Record<string, OptionSpec>>;
	/** Names of the arguments for messages and completion; more than these are a usage error. Default: none. */
	readonly positionals?: readonly PositionalSpec[];
	/** Whether `-- CMD …` may follow. Default: no. */
	readonly takesRest?: boolean;
	/** `config` has some; such a command's own `run` is called when none is named. */
	readonly subcommands?: readonly Command[];
	/**
	 * The exit does not wait until stdout has been read: for commands that live long and write their output through a sink of
	 * their own. Default: a command's exit waits for its last byte.
	 */
	readonly leavesAtOnce?: boolean;
	/** Resolves to the exit code. A throw is our mistake: it is printed and becomes exit code 1. */
	run(args: ParsedArgs, io: Io): Promise<number>;
}

export interface PositionalSpec {
	readonly name: string;
	readonly required: boolean;
	readonly choices?: readonly string[];
}

/** A wrong use of the command line: printed with a pointer to the help, exit code 64. */
export class UsageError extends Error {
	override readonly name = "UsageError";
}

/** The value of a `string` option; `undefined` when it was not given. */
export function stringOption(args: ParsedArgs, name: string): string | undefined {
	const value = args.values[name];
	return typeof value === "string" ? value : undefined;
}

/** All values of a `multiple` option, in order. */
export function stringOptions(args: ParsedArgs, name: string): readonly string[] {
	const value = args.values[name];
	return typeof value === "string" ? [value] : Array.isArray(value) ? value : [];
}

export function isSet(args: ParsedArgs, name: string): boolean {
	return args.values[name] === true;
}
