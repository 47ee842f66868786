import type { Command, OptionSpec } from "./command.ts";
import { commonOptions } from "./common-options.ts";
import { wrap } from "./output.ts";

/** Help as text, for one command and for all. */

const widthMax = 100;

/** @param columns Of the terminal; `undefined` when there is none. */
export function renderCommandHelp(command: Command, columns?: number): string {
	const width = Math.min(columns ?? widthMax, widthMax);
	const parts = [`outrigger ${command.usage}\n`, `${wrap(sentence(command.summary), width, "")}\n`];
	if (command.description !== undefined) parts.push(`${wrap(command.description, width, "")}\n`);
	if (command.subcommands !== undefined) {
		parts.push(
			`Commands:\n${columnsOf(
				command.subcommands.map(({ name, summary }) => [name, summary]),
				width,
			)}`,
		);
	}
	const options = Object.entries({ ...command.options, ...commonOptions }).map(
		([name, spec]) => [optionHead(name, spec), optionText(spec)] as const,
	);
	parts.push(`Flags:\n${columnsOf(options, width)}`);
	if (command.examples !== undefined) parts.push(`Examples:\n${columnsOf(command.examples, width)}`);
	return parts.join("\n");
}

export function renderOverview(commands: readonly Command[], columns?: number): string {
	const width = Math.min(columns ?? widthMax, widthMax);
	return [
		"outrigger COMMAND [FLAG …]\n",
		`${wrap("A sidecar that gives any service correlation, metrics, traces, access logs, health and a shutdown that loses no request.", width, "")}\n`,
		`Commands:\n${columnsOf(
			commands.map(({ name, summary }) => [name, summary]),
			width,
		)}`,
		`Flags:\n${columnsOf(
			[
				["--help", "show this help, or with a command before it that command's"],
				["--version", "show the version"],
			],
			width,
		)}`,
	].join("\n");
}

/** `-o, --output table|json`. */
export function optionHead(name: string, spec: OptionSpec): string {
	const short = spec.short === undefined ? "" : `-${spec.short}, `;
	return `${short}--${name}${spec.type === "string" ? ` ${spec.placeholder ?? "VALUE"}` : ""}`;
}

function optionText({ summary, multiple }: OptionSpec): string {
	return multiple === true ? `${summary}; may be repeated` : summary;
}

function sentence(text: string): string {
	return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** Two columns, the second wrapped, or one below the other where there is no room for two; ends with a newline. */
function columnsOf(rows: readonly (readonly [left: string, right: string])[], width: number): string {
	const left = Math.max(...rows.map(([text]) => text.length)) + 4;
	const isStacked = left > width / 2;
	const indent = " ".repeat(isStacked ? 6 : left);
	return rows
		.map(([head, text]) => {
			const body = wrap(text, width, indent);
			return isStacked ? `  ${head}\n${body}\n` : `${`  ${head}`.padEnd(left)}${body.slice(left)}\n`;
		})
		.join("");
}
