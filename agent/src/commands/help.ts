import { didYouMean } from "../config/did-you-mean.ts";
import { EXIT, UsageError } from "./command.ts";
import { renderCommandHelp, renderOverview } from "./help-text.ts";
import type { CatalogCommand } from "./registry.ts";

export const helpCommand: CatalogCommand = {
	name: "help",
	summary: "show what there is, or how a command is used",
	usage: "help [COMMAND …]",
	options: {},
	positionals: [
		{ name: "COMMAND", required: false },
		{ name: "COMMAND", required: false },
	],
	examples: [["outrigger help config check", "the same as outrigger config check --help"]],
	run: async ({ positionals }, { stdout }, catalog) => {
		if (positionals.length === 0) {
			stdout.write(renderOverview(catalog, stdout.columns));
			return EXIT.done;
		}
		const name = positionals.join(" ");
		const all = catalog.flatMap((command) => [command, ...(command.subcommands ?? [])]);
		const command = all.find((each) => each.name === name);
		if (command === undefined) {
			const suggestion = didYouMean(
				name,
				all.map((each) => each.name),
			);
			throw new UsageError(
				`there is no command ${name}${suggestion === undefined ? "" : `; did you mean ${suggestion}?`}`,
			);
		}
		stdout.write(renderCommandHelp(command, stdout.columns));
		return EXIT.done;
	},
};
