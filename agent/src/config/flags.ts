import { didYouMean } from "./did-you-mean.ts";
import { findPath } from "./key-tree.ts";
import { KEY_PATHS } from "./keys.ts";
import { type Assignment, isListKey, type Layer } from "./layer.ts";
import { type Problem, quote } from "./problems.ts";

/** A flag that stands for one key: `--app-port 3000` is `{ flag: "--app-port", path: "inbound.0.app", text: "localhost:3000" }`. */
export interface FlagValue {
	readonly flag: string;
	/** With indexes. */
	readonly path: string;
	readonly text: string;
}

/** @param sets What followed each `--set`: `timeouts.head=5s`. */
export function readFlags(sets: readonly string[], flags: readonly FlagValue[] = []): Layer {
	const problems: Problem[] = [];
	const given: FlagValue[] = [];
	for (const set of sets) {
		const equals = set.indexOf("=");
		if (equals > 0)
			given.push({ flag: `--set ${set.slice(0, equals)}`, path: set.slice(0, equals), text: set.slice(equals + 1) });
		else {
			problems.push({
				kind: "wrong_type",
				place: { kind: "flag", name: "--set" },
				message: `there is no key=value (found ${quote(set)})`,
				expected: "the path of a key, =, and its value",
				example: "--set timeouts.head=5s",
			});
		}
	}
	// By path, so that of two flags for one key the last counts.
	const assignments = new Map<string, Assignment>();
	for (const { flag, path, text } of [...given, ...flags]) {
		const found = findPath(path, isListKey);
		if (found?.type !== "key") {
			problems.push(unknownPath(flag, path, found !== undefined));
			continue;
		}
		const { concrete, itemIndex } = found;
		const input = { form: "text", place: { kind: "flag", name: flag }, text } as const;
		assignments.set(path, { path: found.path, concrete, input, ...(itemIndex === undefined ? {} : { itemIndex }) });
	}
	return { assignments: [...assignments.values()], lists: [], problems, warnings: [], isWhole: true };
}

function unknownPath(flag: string, path: string, isSection: boolean): Problem {
	const place = { kind: "flag", name: flag } as const;
	if (isSection) {
		const inside = KEY_PATHS.map((each) => each.replace("[]", ".0")).find((each) => each.startsWith(`${path}.`));
		return {
			kind: "wrong_type",
			place,
			message: "this holds other keys and has no value of its own",
			expected: `a key below it, such as ${inside ?? path}`,
		};
	}
	const index = /\.([0-9]{1,4})(?=\.|$)/.exec(path)?.[1] ?? "0";
	const suggestion = didYouMean(
		path,
		KEY_PATHS.map((each) => each.replace("[]", `.${index}`)),
	);
	return {
		kind: "unknown_key",
		place,
		message: `there is no key ${quote(path)}`,
		expected: "the path of a key; `outrigger config show` lists all",
		...(suggestion === undefined ? {} : { suggestion }),
	};
}
