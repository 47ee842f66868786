import type { Io, OptionSpec, Output, ParsedArgs } from "./command.ts";
import { stringOption } from "./command.ts";

/** How results are printed: a table for people, JSON for scripts. */

/** `-o`, for every command that prints something. */
export const outputOption: Readonly<Record<"output", OptionSpec>> = Object.freeze({
	output: {
		type: "string",
		short: "o",
		placeholder: "table|json",
		choices: ["table", "json"],
		summary: "how to print the result (default: table)",
	},
});

export function wantsJson(args: ParsedArgs): boolean {
	return stringOption(args, "output") === "json";
}

export function writeJson(output: Output, value: unknown): void {
	output.write(`${JSON.stringify(value, undefined, 2)}\n`);
}

/** Columns that are as wide as their widest cell; the last one is not padded. */
export function writeTable(output: Output, head: readonly string[], rows: readonly (readonly string[])[]): void {
	const all = [head, ...rows];
	const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
	const lines = all.map((row) =>
		row.map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0))).join("  "),
	);
	output.write(`${lines.map((line) => line.trimEnd()).join("\n")}\n`);
}

/** Colour only on a terminal, and never with NO_COLOR (https://no-color.org: any value but the empty one). */
export function usesColour(output: Output, env: Io["env"]): boolean {
	const isForbidden = env["NO_COLOR"] !== undefined && env["NO_COLOR"] !== "";
	return output.isTerminal && !isForbidden && env["TERM"] !== "dumb";
}
