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

/** Breaks at spaces; each line begins with `indent`. */
export function wrap(text: string, width: number, indent: string): string {
	const lines: string[] = [];
	let line = indent;
	for (const word of text.split(" ")) {
		const isFirst = line === indent;
		if (!isFirst && line.length + 1 + word.length > width) {
			lines.push(line);
			line = indent + word;
		} else line += isFirst ? word : ` ${word}`;
	}
	return [...lines, line].join("\n");
}

const STYLES = { bold: 1, dim: 2, bad: 31, good: 32, warn: 33 } as const;
export type Style = keyof typeof STYLES;
export type Paint = (style: Style, text: string) => string;

/** What puts colour on text, or leaves it as it is. */
export function painter(isColoured: boolean): Paint {
	return (style, text) => (isColoured ? `\u001b[${STYLES[style]}m${text}\u001b[0m` : text);
}

/** Text of somebody else, for a terminal: what could move the cursor or turn the writing round becomes a space. */
export function printable(text: string): string {
	return text.replace(/[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, " ");
}
