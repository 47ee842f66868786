/**
 * What can be wrong with a configuration, and how a person is told: where, what was expected, what was found, and a line that
 * would be right. All problems are told at once, so nothing here throws.
 */

/** Where a value comes from, or where a problem is. */
export type Place =
	| { readonly kind: "file"; readonly file: string; readonly line: number; readonly column: number }
	| { readonly kind: "variable"; readonly name: string }
	| { readonly kind: "flag"; readonly name: string }
	/** `note` says how a default that depends on the machine came to be: `host name`. */
	| { readonly kind: "default"; readonly note?: string };

export type ProblemKind =
	/** The file cannot be read, is too large or is not UTF-8. */
	| "file"
	/** The file is not YAML, or uses more of YAML than is allowed. */
	| "syntax"
	| "unknown_key"
	| "wrong_type"
	/** Right type, but not a value that this key can have. */
	| "bad_value"
	| "out_of_bounds"
	| "bad_address"
	| "duplicate"
	| "missing"
	/** Two keys that are each right do not fit together. */
	| "conflict"
	/** Something that is set and has no effect; only ever a warning. */
	| "ignored";

export interface Problem {
	readonly kind: ProblemKind;
	readonly place: Place;
	/** Path of the key with indexes, `inbound.0.listen`; absent when there is no such key. */
	readonly key?: string;
	/** One sentence without a full stop at the end. Never holds the value of a secret. */
	readonly message: string;
	/** What would be right, in words. */
	readonly expected?: string;
	/** Something that can be copied: a line of YAML, or `NAME=value`. */
	readonly example?: string;
	/** The nearest name that exists. */
	readonly suggestion?: string;
}

/** `file:line:column`, the name of the variable or flag, or `default`. */
export function renderPlace(place: Place): string {
	switch (place.kind) {
		case "file":
			return `${place.file}:${place.line}:${place.column}`;
		case "variable":
		case "flag":
			return place.name;
		case "default":
			return place.note === undefined ? "default" : `default (${place.note})`;
	}
}

export interface RenderOptions {
	readonly colour: boolean;
	/** `problem` or `warning`: decides the colour and the word. */
	readonly severity?: "problem" | "warning";
}

/** Problems as text for a person, one block each, in the order given; ends with a newline unless there are none. */
export function renderProblems(problems: readonly Problem[], options: RenderOptions): string {
	const paint = (code: string, text: string): string => (options.colour ? `\u001b[${code}m${text}\u001b[0m` : text);
	const isWarning = options.severity === "warning";
	return problems
		.map((problem) => {
			// A flag's name holds the key already.
			const key = problem.key === undefined || problem.place.kind === "flag" ? "" : `${problem.key}: `;
			const word = isWarning ? paint("33", "warning: ") : "";
			const lines = [
				`${paint("1", renderPlace(problem.place))}: ${word}${key}${paint(isWarning ? "33" : "31", problem.message)}`,
			];
			if (problem.expected !== undefined) lines.push(`    expected: ${problem.expected}`);
			if (problem.suggestion !== undefined) lines.push(`    did you mean ${paint("32", problem.suggestion)}?`);
			if (problem.example !== undefined) lines.push(`    example: ${paint("32", problem.example)}`);
			return `${lines.join("\n")}\n`;
		})
		.join("");
}

/** Longest piece of somebody's value that is repeated in a message. */
const quotedCharactersMax = 60;

/** A found value for a message: quoted, cut, with control characters escaped, so that it cannot paint on a terminal. */
export function quote(text: string): string {
	const cut = text.length > quotedCharactersMax ? `${text.slice(0, quotedCharactersMax)}…` : text;
	return JSON.stringify(cut).replace(
		/[\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
		(character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
	);
}
