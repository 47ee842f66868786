/**
 * The pages of docs/ that follow from sources: each is the present page with its generated parts written anew, so that what
 * people have written around and between them stays. `npm run docs` writes them, `test/rules/docs.test.ts` compares.
 */
import type { Command } from "../agent/src/commands/command.ts";
import { loadAll } from "../agent/src/commands/registry.ts";
import { variableOf } from "../agent/src/config/key-tree.ts";
import { defaultOf, KEY_PATHS, keyOf, objectLists } from "../agent/src/config/keys.ts";
import type { Written } from "../agent/src/config/kinds.ts";
import { FAULT_LIST, type Fault } from "../agent/src/foundation/fault.ts";
import { METRICS } from "../agent/src/telemetry/metric-names.ts";

export interface Page {
	readonly path: string;
	/** The whole page as it should be, from the whole page as it is. */
	readonly render: (present: string) => string;
}

const BEGIN = "<!-- from the sources: npm run docs -->";
const END = "<!-- end -->";

/** Puts `body` between the two marks of a page; at its end when there are none. */
export function replaceGenerated(present: string, body: string): string {
	const generated = `${BEGIN}\n\n${body.trim()}\n\n${END}`;
	const from = present.indexOf(BEGIN);
	const to = present.indexOf(END, from);
	if (from === -1 || to === -1) return `${present.trimEnd()}\n\n${generated}\n`;
	return present.slice(0, from) + generated + present.slice(to + END.length);
}

const code = (text: string): string => `\`${text}\``;

/** A cell of a table: one line, and no bar that would end it. */
const cell = (text: string): string => text.replaceAll("\n", " ").replaceAll("|", "\\|");

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
	return [head, head.map(() => "---"), ...rows].map((row) => `| ${row.map(cell).join(" | ")} |`).join("\n");
}

// Errors: a section for each fault. Its first lines follow from the source; what comes after them is advice, by hand.

const blames = { downstream: "the client", upstream: "the app", agent: "the agent" } as const;

function faultFacts({ status, blame, closes, resend, detail }: Fault): string {
	const outcome = status === 0 ? "The exchange is cut, without an answer" : `Answer ${status}`;
	const connection = status === 0 || !closes ? "" : ", and the connection ends";
	const again = resend ? "; sent once more first, where that can do no harm" : "";
	return `${detail}\n\n*${outcome}${connection}${again}. Whose: ${blames[blame]}.*`;
}

export function renderErrors(present: string, faults: readonly Fault[] = FAULT_LIST): string {
	const advice = new Map(
		present
			.split(/^### /m)
			.slice(1)
			.map((section): [string, string] => {
				const reason = /^`([^`]+)`/.exec(section)?.[1] ?? "";
				const from = /^\*.*Whose: .*\*$/m.exec(section);
				const text = from === null ? "" : section.slice(from.index + from[0].length);
				return [reason, (text.split(END)[0] ?? "").trim()];
			}),
	);
	const sections = faults.map(
		(fault) => `### ${code(fault.reason)}\n\n${faultFacts(fault)}\n\n${advice.get(fault.reason) || NO_ADVICE}`,
	);
	return replaceGenerated(present, sections.join("\n\n"));
}

/** What stands under a fault that is new; the rule fails until somebody has written what to do about it. */
export const NO_ADVICE = "(What to do about it is not written yet.)";

// Metrics.

export function renderMetrics(present: string): string {
	const rows = METRICS.map(({ name, type, labels, help }) => [
		code(name),
		type,
		labels.length === 0 ? "" : labels.map(code).join(" "),
		help,
	]);
	return replaceGenerated(present, table(["metric", "type", "labels", "meaning"], rows));
}

// Configuration: a section for each first word, a table of its keys.

function written(value: Written | undefined): string {
	if (value === undefined) return "";
	return code(typeof value === "object" ? JSON.stringify(value) : String(value));
}

export function renderConfiguration(present: string): string {
	const groups = Map.groupBy(KEY_PATHS, (path) => path.split(/[.[]/, 1)[0] ?? "");
	const sections = [...groups].map(([group, paths]) => {
		const rows = paths.map((path) => {
			const key = keyOf(path);
			const meaning = key.secret === true ? `${key.meaning} Never shown.` : key.meaning;
			return [
				`${code(path)}<br>${code(variableOf(path))}`,
				meaning,
				key.kind.expected,
				key.defaultNote ?? written(defaultOf(path)),
				written(key.example),
			];
		});
		const lists = Object.entries(objectLists)
			.filter(([list]) => list.split(".", 1)[0] === group)
			.map(([list, { itemsMax, meaning }]) => `${code(list)}: ${meaning} At most ${itemsMax}.\n\n`);
		return `## ${group}\n\n${lists.join("")}${table(["key, variable", "meaning", "expected", "default", "example"], rows)}`;
	});
	return replaceGenerated(present, sections.join("\n\n"));
}

// Commands, in the order of the help.

function renderCommand(command: Command, level: number): string {
	const parts = [
		`${"#".repeat(level)} ${code(`outrigger ${command.name}`)}`,
		`${command.summary.slice(0, 1).toUpperCase()}${command.summary.slice(1)}.`,
		`\`\`\`\noutrigger ${command.usage}\n\`\`\``,
		command.description ?? "",
	];
	const options = Object.entries(command.options).map(([name, option]) => {
		const short = option.short === undefined ? "" : `${code(`-${option.short}`)}, `;
		const placeholder = option.placeholder === undefined ? "" : ` ${option.placeholder}`;
		const choices =
			option.choices === undefined || option.placeholder?.includes("|") ? "" : ` (${option.choices.join(", ")})`;
		return [`${short}${code(`--${name}${placeholder}`)}`, option.summary + choices];
	});
	if (options.length > 0) parts.push(table(["option", "does"], options));
	if (command.examples !== undefined)
		parts.push(
			table(
				["example", "does"],
				command.examples.map(([line, does]) => [code(line), does]),
			),
		);
	return [
		...parts.filter((part) => part !== ""),
		...(command.subcommands ?? []).map((below) => renderCommand(below, level + 1)),
	].join("\n\n");
}

export async function pages(): Promise<readonly Page[]> {
	const commands = (await loadAll()).map((command) => renderCommand(command, 2)).join("\n\n");
	return [
		{ path: "docs/errors.md", render: (present) => renderErrors(present) },
		{ path: "docs/metrics.md", render: renderMetrics },
		{ path: "docs/configuration.md", render: renderConfiguration },
		{ path: "docs/commands.md", render: (present) => replaceGenerated(present, commands) },
	];
}
