import { KEY_PATHS, type KeyPath, type ObjectListPath, objectLists } from "./keys.ts";

/**
 * The keys as a tree, and the two ways into it: `timeouts.bodyStall` as in `--set`, and `OUTRIGGER_TIMEOUTS__BODY_STALL`.
 * A *concrete* path has indexes where a key's path has `[]`: `inbound.0.listen`.
 */
export interface Section {
	readonly type: "section";
	/** Empty for the root. */
	readonly path: string;
	readonly children: ReadonlyMap<string, TreeNode>;
}

export interface ObjectList {
	readonly type: "objects";
	readonly path: ObjectListPath;
	readonly item: Section;
}

export interface Leaf {
	readonly type: "key";
	readonly path: KeyPath;
}

export type TreeNode = Section | ObjectList | Leaf;

export const variablePrefix = "OUTRIGGER_";

interface OpenSection {
	readonly type: "section";
	readonly path: string;
	readonly children: Map<string, TreeNode>;
}

function plant(): Section {
	const root: OpenSection = { type: "section", path: "", children: new Map() };
	for (const path of KEY_PATHS) {
		const segments = path.split(".");
		const last = segments.pop() ?? "";
		let section = root;
		for (const segment of segments) section = descend(section, segment);
		section.children.set(last, { type: "key", path });
	}
	return root;
}

function descend(section: OpenSection, segment: string): OpenSection {
	const isList = segment.endsWith("[]");
	const name = isList ? segment.slice(0, -2) : segment;
	const path = section.path === "" ? name : `${section.path}.${name}`;
	const known = section.children.get(name);
	// What is found here was put here by this function: an OpenSection.
	if (known?.type === "section") return known as OpenSection;
	if (known?.type === "objects") return known.item as OpenSection;
	const made: OpenSection = { type: "section", path: isList ? `${path}[]` : path, children: new Map() };
	section.children.set(name, isList ? { type: "objects", path: path as ObjectListPath, item: made } : made);
	return made;
}

export const KEY_TREE: Section = plant();

/** What a path leads to. `itemIndex`: one item of a list of simple values. */
export type Found =
	| { readonly type: "key"; readonly path: KeyPath; readonly concrete: string; readonly itemIndex?: number }
	| { readonly type: "section" | "objects"; readonly concrete: string };

const indexPattern = /^(?:0|[1-9][0-9]{0,3})$/;

/** `isList` tells whether a key holds a list of simple values, whose items have indexes. */
function follow(
	segments: readonly string[],
	spelled: (name: string) => string,
	isList: (path: KeyPath) => boolean,
): Found | undefined {
	let node: TreeNode = KEY_TREE;
	const concrete: string[] = [];
	for (const [position, segment] of segments.entries()) {
		if (node.type === "key") {
			const isItem = isList(node.path) && position === segments.length - 1 && indexPattern.test(segment);
			return isItem
				? { type: "key", path: node.path, concrete: concrete.join("."), itemIndex: Number(segment) }
				: undefined;
		}
		if (node.type === "objects") {
			if (!indexPattern.test(segment)) return undefined;
			concrete.push(segment);
			node = node.item;
			continue;
		}
		const child: readonly [string, TreeNode] | undefined = [...node.children].find(
			([name]) => spelled(name) === segment,
		);
		if (child === undefined) return undefined;
		concrete.push(child[0]);
		node = child[1];
	}
	if (node.type === "key") return { type: "key", path: node.path, concrete: concrete.join(".") };
	return { type: node.type, concrete: concrete.join(".") };
}

/** `timeouts.bodyStall`, `inbound.0.listen`, `probes.paths.0`. */
export function findPath(path: string, isList: (path: KeyPath) => boolean): Found | undefined {
	return follow(path.split("."), (name) => name, isList);
}

/** `OUTRIGGER_TIMEOUTS__BODY_STALL`, `OUTRIGGER_INBOUND__0__LISTEN`, `OUTRIGGER_PROBES__PATHS__0`. */
export function findVariable(name: string, isList: (path: KeyPath) => boolean): Found | undefined {
	if (!name.startsWith(variablePrefix)) return undefined;
	return follow(name.slice(variablePrefix.length).split("__"), inCapitals, isList);
}

/** The variable of a path: `inbound.0.listen` → `OUTRIGGER_INBOUND__0__LISTEN`. For `inbound[].listen` the index is 0. */
export function variableOf(path: string): string {
	return variablePrefix + path.replaceAll("[]", ".0").split(".").map(inCapitals).join("__");
}

/** `inbound[].listen` and 2 → `inbound.2.listen`. */
export function concretePath(path: KeyPath, index: number): string {
	return path.replace("[]", `.${index}`);
}

/** `bodyStall` → `BODY_STALL`. */
function inCapitals(name: string): string {
	return name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

/** The list of objects that a key's path goes through. */
export function objectListOf(path: KeyPath): ObjectListPath | undefined {
	const end = path.indexOf("[]");
	if (end < 0) return undefined;
	return (Object.keys(objectLists) as ObjectListPath[]).find((list) => list === path.slice(0, end));
}
