import { didYouMean } from "./did-you-mean.ts";
import { KEY_TREE, type Section } from "./key-tree.ts";
import { KEY_PATHS, type KeyPath, keyOf, type ObjectListPath } from "./keys.ts";
import type { Input, Mismatch, Written } from "./kinds.ts";
import type { Place, Problem } from "./problems.ts";

/** What one source (the file, the environment, the flags) says, before anything of it is read as a value. */
export interface Layer {
	readonly assignments: readonly Assignment[];
	/** Lists of objects that the source gives whole; they replace what was before. */
	readonly lists: readonly WholeList[];
	readonly problems: readonly Problem[];
	readonly warnings: readonly Problem[];
	/** Whether the source could be understood as a whole; if not, rules about what is missing would be wrong. */
	readonly isWhole: boolean;
	/** A value that its key cannot have is warned about and ignored. */
	readonly isAdvisory?: true;
}

export interface Assignment {
	readonly path: KeyPath;
	/** The path with indexes. */
	readonly concrete: string;
	/** One item of a list of simple values. */
	readonly itemIndex?: number;
	readonly input: Input;
}

export interface WholeList {
	readonly path: ObjectListPath;
	readonly place: Place;
	/** Where each entry is. */
	readonly entries: readonly Place[];
}

export const emptyLayer: Layer = Object.freeze({
	assignments: [],
	lists: [],
	problems: [],
	warnings: [],
	isWhole: true,
});

/** Whether a key holds a list of simple values. */
export function isListKey(path: KeyPath): boolean {
	return keyOf(path).kind.isList === true;
}

/** The problem of a value that its key cannot have. A secret's value is not in it. */
export function valueProblem(path: KeyPath, concrete: string, mismatch: Mismatch): Problem {
	const { secret, kind, example } = keyOf(path);
	const found = mismatch.found === undefined || secret === true ? "" : ` (found ${mismatch.found})`;
	return {
		kind: mismatch.kind,
		place: mismatch.place,
		key: concrete,
		message: `${mismatch.message}${secret === true ? "" : found}`,
		expected: kind.expected,
		...(mismatch.suggestion === undefined ? {} : { suggestion: mismatch.suggestion }),
		example: exampleFor(mismatch.place, concrete, example),
	};
}

/** A right assignment in the form of the place in which the wrong one was. */
export function exampleFor(place: Place, concrete: string, example: Written): string {
	switch (place.kind) {
		case "variable":
			return `${place.name}=${asText(example)}`;
		case "flag":
			return place.name.startsWith("--set")
				? `--set ${concrete}=${asText(example)}`
				: `${place.name} ${asText(example)}`;
		case "file":
		case "default":
			return `${concrete.split(".").at(-1) ?? concrete}: ${asYaml(example)}`;
	}
}

/** As in a variable. */
export function asText(written: Written): string {
	if (typeof written !== "object") return String(written);
	if (Array.isArray(written)) return written.length === 0 ? "none" : written.join(",");
	return Object.entries(written)
		.map(([name, value]) => `${name}=${value}`)
		.join(",");
}

/** As in a file, on one line. */
export function asYaml(written: Written): string {
	if (Array.isArray(written)) return `[${written.map(scalarYaml).join(", ")}]`;
	if (typeof written === "object") {
		return `{ ${Object.entries(written)
			.map(([name, value]) => `${name}: ${scalarYaml(value)}`)
			.join(", ")} }`;
	}
	return typeof written === "string" ? scalarYaml(written) : String(written);
}

/** JSON strings are YAML strings; what is safe stands without quotes. */
function scalarYaml(value: string): string {
	const isPlain =
		/^[A-Za-z/][A-Za-z0-9 ./_*-]*(?::[A-Za-z0-9./_-]+)*$/.test(value) && !/^(?:true|false|null)$/i.test(value);
	return isPlain || /^[0-9]+(?:\.[0-9]+){2,3}(?::[0-9]+)?$|^[0-9]+(?:ms|s|m|h|B|KiB|MiB|GiB)$/.test(value)
		? value
		: JSON.stringify(value);
}

/** The nearest key for a name that is none: a neighbour, else the same name elsewhere. */
export function suggestKey(section: Section, name: string): string | undefined {
	const neighbour = didYouMean(name, section.children.keys());
	if (neighbour !== undefined) return neighbour;
	const elsewhere = KEY_PATHS.find((path) => path.split(".").at(-1) === name);
	return elsewhere ?? (section === KEY_TREE ? didYouMean(name, KEY_PATHS) : undefined);
}
