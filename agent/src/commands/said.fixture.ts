import type { Io, ParsedArgs } from "./command.ts";
import { runCommandLine } from "./command-line.ts";
import { COMMANDS } from "./registry.ts";

/** What a command has said, and where it was called. */
export class Said {
	out = "";
	err = "";
	readonly io: Io;
	readonly #heard = new Set<() => void>();

	constructor(given: { readonly env?: Io["env"]; readonly cwd?: string; readonly columns?: number } = {}) {
		const output = (key: "out" | "err"): Io["stdout"] => ({
			write: (text) => {
				this[key] += text;
				for (const tell of this.#heard) tell();
			},
			isTerminal: given.columns !== undefined,
			columns: given.columns,
		});
		this.io = { stdout: output("out"), stderr: output("err"), env: given.env ?? {}, cwd: given.cwd ?? "/nowhere" };
	}

	/** Resolves when `holds` does, looked at whenever something is said. */
	until(holds: () => boolean): Promise<void> {
		return new Promise((resolve) => {
			const look = (): void => {
				if (!holds()) return;
				this.#heard.delete(look);
				resolve();
			};
			this.#heard.add(look);
			look();
		});
	}
}

/** Types a command line, as a user does. */
export async function type(said: Said, ...argv: readonly string[]): Promise<number> {
	return (await runCommandLine(argv, said.io, COMMANDS)).code;
}

export function argsOf(values: ParsedArgs["values"], ...positionals: readonly string[]): ParsedArgs {
	return { values, positionals, rest: undefined };
}
