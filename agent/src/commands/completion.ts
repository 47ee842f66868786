import { type Command, EXIT, type OptionSpec } from "./command.ts";
import { commonOptions } from "./common-options.ts";
import type { CatalogCommand } from "./registry.ts";

/** Scripts by which shells complete commands, flags and values; made of the commands themselves. */

const shells = ["bash", "zsh", "fish"] as const;

export const completionCommand: CatalogCommand = {
	name: "completion",
	summary: "print a script by which your shell completes outrigger's words",
	usage: "completion bash|zsh|fish",
	options: {},
	positionals: [{ name: "the shell", required: true, choices: shells }],
	examples: [
		["source <(outrigger completion bash)", "for this bash; put the line into ~/.bashrc for every one"],
		["outrigger completion zsh > ~/.zfunc/_outrigger", "for zsh, when ~/.zfunc is in $fpath"],
		["outrigger completion fish > ~/.config/fish/completions/outrigger.fish", "for fish"],
	],
	run: async ({ positionals }, { stdout }, catalog) => {
		const [shell] = positionals;
		stdout.write(shell === "bash" ? bash(catalog) : shell === "zsh" ? zsh(catalog) : fish(catalog));
		return EXIT.done;
	},
};

interface Flag {
	readonly name: string;
	readonly spec: OptionSpec;
}

function flagsOf(command: Command): readonly Flag[] {
	return Object.entries({ ...command.options, ...commonOptions }).map(([name, spec]) => ({ name, spec }));
}

/** `--output` and `-o`. */
function spellings({ name, spec }: Flag): readonly string[] {
	return [`--${name}`, ...(spec.short === undefined ? [] : [`-${spec.short}`])];
}

function everyCommand(catalog: readonly Command[]): readonly Command[] {
	return catalog.flatMap((command) => [command, ...(command.subcommands ?? [])]);
}

function lastWord({ name }: Command): string {
	return name.split(" ").at(-1) ?? name;
}

/** Words that may come where no flag stands: subcommands, or the choices of the first argument. */
function wordsOf(command: Command, catalog: readonly Command[]): readonly string[] {
	if (command.name === "help") return catalog.map(({ name }) => name);
	return command.subcommands?.map(lastWord) ?? command.positionals?.[0]?.choices ?? [];
}

function bash(catalog: readonly Command[]): string {
	const flags = everyCommand(catalog).flatMap(flagsOf);
	const withValue = [...new Set(flags.filter(({ spec }) => spec.type === "string").flatMap(spellings))];
	const parents = catalog.filter(({ subcommands }) => subcommands !== undefined);
	const cases = everyCommand(catalog).flatMap((command) => {
		const own = flagsOf(command);
		const values = own
			.filter(({ spec }) => spec.type === "string")
			.map(
				(flag) =>
					`      "${command.name}":${spellings(flag).join(`|"${command.name}":`)}) ${bashValue(flag.spec)}; return ;;`,
			);
		return values;
	});
	const words = everyCommand(catalog).map(
		(command) =>
			`      "${command.name}") words="${[...wordsOf(command, catalog), ...flagsOf(command).flatMap(spellings)].join(" ")}" ;;`,
	);
	return `# bash completion for outrigger
_outrigger() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD - 1]}" command="" word words="" i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case "$word" in
      --) compopt -o default 2>/dev/null; return ;;
      ${withValue.join("|")}) ((i++)); continue ;;
      -*) continue ;;
    esac
    case "$command" in
      "") command="$word" ;;
      ${parents.map(({ name }) => `"${name}"`).join("|")}) command="$command $word" ;;
    esac
  done
  case "$command:$previous" in
${cases.join("\n").replace(/^ {6}/gm, "    ")}
  esac
  case "$command" in
    "") words="${[...catalog.map(({ name }) => name), "--help", "--version"].join(" ")}" ;;
${words.join("\n").replace(/^ {6}/gm, "    ")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _outrigger outrigger
`;
}

function bashValue({ choices, completesFiles }: OptionSpec): string {
	if (choices !== undefined) return `COMPREPLY=($(compgen -W "${choices.join(" ")}" -- "$current"))`;
	return completesFiles === true ? 'compopt -o default 2>/dev/null; COMPREPLY=($(compgen -f -- "$current"))' : ":";
}

function zsh(catalog: readonly Command[]): string {
	const described = (commands: readonly Command[], indent: string): string =>
		commands.map((command) => `${indent}${single(`${lastWord(command)}:${command.summary}`)}`).join("\n");
	const functions = everyCommand(catalog).map((command) => {
		const specs = flagsOf(command).map((flag) => `    ${zshFlag(flag)}`);
		const { subcommands } = command;
		const name = zshName(command);
		if (subcommands !== undefined) {
			return `${name}() {
  local context state state_descr line
  typeset -A opt_args
  _arguments -C \\
${specs.join(" \\\n")} \\
    '1:command:->command' \\
    '*::argument:->argument'
  case $state in
    command)
      local -a commands=(
${described(subcommands, "        ")}
      )
      _describe command commands ;;
    argument)
      case $words[1] in
${subcommands.map((each) => `        ${lastWord(each)}) ${zshName(each)} ;;`).join("\n")}
      esac ;;
  esac
}`;
		}
		const words = wordsOf(command, catalog);
		const rest =
			command.takesRest === true
				? ["    '*:::command: _normal'"]
				: words.length > 0
					? [`    ${single(`1:word:(${words.join(" ")})`)}`]
					: [];
		return `${name}() {\n  _arguments \\\n${[...specs, ...rest].join(" \\\n")}\n}`;
	});
	return `#compdef outrigger
# zsh completion for outrigger
${functions.join("\n")}
_outrigger() {
  local context state state_descr line
  typeset -A opt_args
  _arguments -C \\
    '--help[show what there is]' \\
    '--version[show the version]' \\
    '1:command:->command' \\
    '*::argument:->argument'
  case $state in
    command)
      local -a commands=(
${described(catalog, "        ")}
      )
      _describe command commands ;;
    argument)
      case $words[1] in
${catalog.map((each) => `        ${each.name}) ${zshName(each)} ;;`).join("\n")}
      esac ;;
  esac
}
if [ "$funcstack[1]" = "_outrigger" ]; then _outrigger "$@"; else compdef _outrigger outrigger; fi
`;
}

function zshName({ name }: Command): string {
	return `_outrigger_${name.replaceAll(" ", "_")}`;
}

/** One specification of _arguments; a flag with a short form is one of two that exclude each other. */
function zshFlag({ name, spec }: Flag): string {
	const { short, type, choices, completesFiles, multiple, placeholder = "VALUE", summary } = spec;
	const text = summary.replaceAll("[", "(").replaceAll("]", ")").replaceAll(":", "\\:");
	const action = choices !== undefined ? `(${choices.join(" ")})` : completesFiles === true ? "_files" : " ";
	const value = type === "boolean" ? "" : `:${placeholder}:${action}`;
	const repeat = multiple === true ? "*" : "";
	if (short === undefined) return single(`${repeat}--${name}${type === "boolean" ? "" : "="}[${text}]${value}`);
	return `'(-${short} --${name})'{-${short}${type === "boolean" ? "" : "+"},--${name}${type === "boolean" ? "" : "="}}${single(`[${text}]${value}`)}`;
}

function fish(catalog: readonly Command[]): string {
	const lines = ["# fish completion for outrigger", "complete -c outrigger -f"];
	for (const command of catalog) {
		lines.push(`complete -c outrigger -n __fish_use_subcommand -a ${command.name} -d ${fishQuote(command.summary)}`);
	}
	lines.push(`complete -c outrigger -n __fish_use_subcommand -l help -d 'show what there is'`);
	lines.push(`complete -c outrigger -n __fish_use_subcommand -l version -d 'show the version'`);
	for (const command of everyCommand(catalog)) {
		const seen = fishCondition(command, catalog);
		for (const word of wordsOf(command, catalog)) {
			const below = command.subcommands?.find((each) => lastWord(each) === word);
			const description = below === undefined ? "" : ` -d ${fishQuote(below.summary)}`;
			lines.push(`complete -c outrigger -n ${fishQuote(seen)} -a ${word}${description}`);
		}
		for (const { name, spec } of flagsOf(command)) {
			const { short, type, choices, completesFiles, summary } = spec;
			lines.push(
				[
					`complete -c outrigger -n ${fishQuote(seen)} -l ${name}`,
					...(short === undefined ? [] : [`-s ${short}`]),
					...(type === "boolean" ? [] : completesFiles === true ? ["-r", "-F"] : ["-x"]),
					...(choices === undefined ? [] : [`-a ${fishQuote(choices.join(" "))}`]),
					`-d ${fishQuote(summary)}`,
				].join(" "),
			);
		}
	}
	return `${lines.join("\n")}\n`;
}

/** When a command's words are wanted: it is there, and if it has subcommands, none of them yet. */
function fishCondition(command: Command, catalog: readonly Command[]): string {
	const [parent = "", word] = command.name.split(" ");
	if (word !== undefined) return `__fish_seen_subcommand_from ${parent}; and __fish_seen_subcommand_from ${word}`;
	const below = catalog.find(({ name }) => name === parent)?.subcommands;
	const none = below === undefined ? "" : `; and not __fish_seen_subcommand_from ${below.map(lastWord).join(" ")}`;
	return `__fish_seen_subcommand_from ${parent}${none}`;
}

/** In single quotes for bash and zsh. */
function single(text: string): string {
	return `'${text.replaceAll("'", "'\\''")}'`;
}

function fishQuote(text: string): string {
	return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
