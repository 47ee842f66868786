import type { Command, Io, ParsedArgs } from "./command.ts";

/** Which commands there are. Each is loaded when it is called, so that `agent` starts fast. */

/** A command that tells of the others: `help`, `completion`. */
export interface CatalogCommand extends Omit<Command, "run"> {
	run(args: ParsedArgs, io: Io, catalog: readonly Command[]): Promise<number>;
}

export const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = Object.freeze({
	agent: async () => (await import("./agent.ts")).agentCommand,
	run: async () => (await import("./run.ts")).runCommand,
	drain: async () => (await import("./drain.ts")).drainCommand,
	status: async () => (await import("./status.ts")).statusCommand,
	why: async () => (await import("./why.ts")).whyCommand,
	config: async () => (await import("./config.ts")).configCommand,
	completion: async () => withCatalog((await import("./completion.ts")).completionCommand),
	version: async () => (await import("./version.ts")).versionCommand,
	help: async () => withCatalog((await import("./help.ts")).helpCommand),
});

/** All commands, in the order of help. */
export function loadAll(): Promise<readonly Command[]> {
	return Promise.all(Object.values(COMMANDS).map((load) => load()));
}

function withCatalog(command: CatalogCommand): Command {
	return { ...command, run: async (args, io) => command.run(args, io, await loadAll()) };
}
