import type { Document, LineCounter, Node } from "yaml";
import { concretePath, KEY_TREE, type Section, type TreeNode } from "./key-tree.ts";
import { keyOf, objectLists } from "./keys.ts";
import type { Input } from "./kinds.ts";
import { type Assignment, exampleFor, type Layer, suggestKey, type WholeList } from "./layer.ts";
import { type Place, type Problem, quote } from "./problems.ts";

/**
 * The configuration file: YAML 1.2, core schema, one document. Text in, assignments and problems with line and column out. The
 * walk follows the keys, not the file, so that its depth and its cost are ours; the `yaml` package is loaded only when there is a file.
 */

/** A ConfigMap holds 1 MiB in all; a configuration of every key has under 10 KiB. */
export const fileBytesMax = 256 * 1024;

/** Aliases that may be followed in one file: enough for every use, too few for a bomb. */
const aliasesMax = 100;

/** Problems that are told of one file: the first hundred help, a thousand do not. */
const problemsMax = 100;

/** @param file Name for the places. */
export async function readYaml(bytes: Uint8Array, file: string): Promise<Layer> {
	const start: Place = { kind: "file", file, line: 1, column: 1 };
	const only = (kind: Problem["kind"], message: string, expected: string): Layer => ({
		assignments: [],
		lists: [],
		problems: [{ kind, place: start, message, expected }],
		warnings: [],
		isWhole: false,
	});
	if (bytes.length > fileBytesMax) return only("file", "the file is too large", `at most ${fileBytesMax / 1024}KiB`);
	let source: string;
	try {
		source = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
	} catch {
		return only("file", "the file is not UTF-8", "a text file in UTF-8"); // TypeError: the only thing that a fatal decoder throws
	}
	const yaml = await import("yaml");
	const lines = new yaml.LineCounter();
	const documents = yaml.parseAllDocuments(source, {
		lineCounter: lines,
		version: "1.2",
		schema: "core",
		merge: false,
		prettyErrors: false,
		logLevel: "silent",
	});
	// An empty file is one without documents; the package gives an empty array with a property `empty`.
	return new Walk(yaml, file, lines).read([...documents]);
}

class Walk {
	readonly #yaml: typeof import("yaml");
	readonly #file: string;
	readonly #lines: LineCounter;
	readonly #assignments: Assignment[] = [];
	readonly #lists: WholeList[] = [];
	readonly #problems: Problem[] = [];
	/** Offsets of the syntax errors that have been told. */
	readonly #told = new Set<number>();
	#aliases = 0;
	#document: Document.Parsed | undefined;

	constructor(yaml: typeof import("yaml"), file: string, lines: LineCounter) {
		this.#yaml = yaml;
		this.#file = file;
		this.#lines = lines;
	}

	read(documents: readonly Document.Parsed[]): Layer {
		const [first, second] = documents;
		for (const document of documents) this.#reportSyntax(document);
		if (second !== undefined) {
			this.#report(
				"syntax",
				this.#at(second.range[0]),
				"there is a second document",
				"one document; leave out the ---",
			);
		}
		const isWhole = this.#problems.every(({ kind }) => kind === "duplicate"); // of a repeated key the last counts, and the rest is still read
		if (isWhole && first !== undefined) {
			this.#document = first;
			const node = this.#follow(first.contents);
			if (node !== undefined && !isNothing(this.#yaml, node)) this.#section(node, KEY_TREE, 0);
		}
		return {
			assignments: this.#assignments,
			lists: this.#lists,
			problems: this.#problems.slice(0, problemsMax),
			warnings: [],
			isWhole,
		};
	}

	#reportSyntax(document: Document.Parsed): void {
		const { explicit, version } = document.directives.yaml;
		if (explicit === true && version !== "1.2") {
			this.#report("syntax", this.#at(0), `YAML ${version} is asked for`, "YAML 1.2; leave the %YAML line out");
		}
		for (const error of [...document.errors, ...document.warnings]) {
			// One mistake often makes several errors at the same place: the first tells it.
			if (this.#told.has(error.pos[0])) continue;
			this.#told.add(error.pos[0]);
			const place = this.#at(error.pos[0]);
			if (error.code === "DUPLICATE_KEY") this.#report("duplicate", place, "this key is there twice");
			// The package recurses, and gives up on thousands of brackets with a message about its stack.
			else if (error.code === "RESOURCE_EXHAUSTION") this.#report("syntax", place, "this is nested too deeply");
			else this.#report("syntax", place, firstLine(error.message));
		}
	}

	#section(node: Node, section: Section, index: number): void {
		const { isMap, isScalar } = this.#yaml;
		if (!isMap(node)) {
			const name = section.path === "" ? "the file" : concrete(section.path, index);
			this.#report(
				"wrong_type",
				this.#of(node),
				`${name} is not a mapping`,
				`keys such as ${[...section.children.keys()].slice(0, 3).join(", ")}`,
			);
			return;
		}
		for (const pair of node.items) {
			const keyNode = this.#follow(pair.key);
			if (keyNode === undefined) continue;
			const name = isScalar(keyNode) ? String(keyNode.value) : "";
			const child = section.children.get(name);
			if (child === undefined) {
				this.#unknown(keyNode, section, name, index);
				continue;
			}
			const value = this.#follow(pair.value);
			// `timeouts:` with nothing behind it is how a commented-out section looks; a key without a value is a mistake.
			if (value === undefined && pair.value !== null) continue; // an alias without an anchor: already told
			const isEmpty = value === undefined || isNothing(this.#yaml, value);
			if (isEmpty && child.type !== "key") continue;
			this.#child(child, value, this.#of(value ?? keyNode), index);
		}
	}

	#child(child: TreeNode, value: Node | undefined, place: Place, index: number): void {
		if (child.type === "key") {
			const input: Input = value === undefined ? { form: "scalar", place, text: "", type: "null" } : this.#input(value);
			this.#assignments.push({ path: child.path, concrete: concretePath(child.path, index), input });
		} else if (value === undefined) {
			return; // a section with nothing in it
		} else if (child.type === "section") {
			this.#section(value, child, index);
		} else if (!this.#yaml.isSeq(value)) {
			this.#report(
				"wrong_type",
				place,
				`${child.path} is not a list`,
				`a list of mappings with ${[...child.item.children.keys()].join(", ")}`,
			);
		} else {
			const { itemsMax } = objectLists[child.path];
			if (value.items.length > itemsMax) {
				this.#report("out_of_bounds", place, `${child.path} has ${value.items.length} entries`, `at most ${itemsMax}`);
				return;
			}
			const nodes = value.items.map((item) => this.#follow(item));
			const entries = nodes.map((node) => (node === undefined ? place : this.#of(node)));
			this.#lists.push({ path: child.path, place, entries });
			for (const [position, node] of nodes.entries()) {
				if (node !== undefined) this.#section(node, child.item, position);
			}
		}
	}

	/** A node as a kind reads it: scalars, lists of scalars, mappings to scalars. What is nested deeper stays empty and is refused by the kind. */
	#input(node: Node): Input {
		const { isScalar, isSeq, isMap } = this.#yaml;
		const place = this.#of(node);
		if (isScalar(node)) {
			const { value, source } = node;
			if (value === null || value === undefined) return { form: "scalar", place, text: "", type: "null" };
			if (typeof value === "number") return { form: "scalar", place, text: source ?? String(value), type: "number" };
			if (typeof value === "boolean") return { form: "scalar", place, text: String(value), type: "boolean" };
			return { form: "scalar", place, text: String(value), type: "string" };
		}
		if (isSeq(node)) return { form: "list", place, items: node.items.map((item) => this.#shallow(item, place)) };
		if (isMap(node)) {
			const entries = node.items.map((pair) => {
				const key = this.#follow(pair.key);
				const name = key !== undefined && isScalar(key) ? String(key.value) : "";
				return [name, this.#shallow(pair.value, place)] as const;
			});
			return { form: "map", place, entries };
		}
		return { form: "scalar", place, text: "", type: "null" };
	}

	#shallow(item: unknown, around: Place): Input {
		const node = this.#follow(item);
		if (node === undefined) return { form: "scalar", place: around, text: "", type: "null" };
		if (this.#yaml.isScalar(node)) return this.#input(node);
		const place = this.#of(node);
		return this.#yaml.isSeq(node) ? { form: "list", place, items: [] } : { form: "map", place, entries: [] };
	}

	/** The node itself, or what its alias stands for. */
	#follow(node: unknown): Node | undefined {
		const { isAlias, isNode } = this.#yaml;
		if (!isNode(node)) return undefined;
		if (!isAlias(node)) return node;
		this.#aliases++;
		if (this.#aliases > aliasesMax) {
			if (this.#aliases === aliasesMax + 1) {
				this.#report("syntax", this.#of(node), "there are too many aliases", `at most ${aliasesMax}`);
			}
			return undefined;
		}
		const target = this.#document === undefined ? undefined : node.resolve(this.#document);
		if (target === undefined)
			this.#report("syntax", this.#of(node), `there is no anchor &${node.source} before this alias`);
		return target;
	}

	#unknown(node: Node, section: Section, name: string, index: number): void {
		const place = this.#of(node);
		const where = section.path === "" ? "" : ` in ${concrete(section.path, index)}`;
		const suggestion = suggestKey(section, name);
		const meant = suggestion === undefined ? undefined : section.children.get(suggestion);
		const { length } = this.#problems;
		this.#report(
			"unknown_key",
			place,
			name === "<<" ? "merge keys (<<) are not YAML 1.2" : `there is no key ${quote(name)}${where}`,
			`one of ${[...section.children.keys()].join(", ")}`,
		);
		const told = this.#problems[length];
		if (told === undefined) return;
		this.#problems[length] = {
			...told,
			...(suggestion === undefined ? {} : { suggestion }),
			...(meant?.type === "key"
				? { example: exampleFor(place, concretePath(meant.path, index), keyOf(meant.path).example) }
				: {}),
		};
	}

	#report(kind: Problem["kind"], place: Place, message: string, expected?: string): void {
		this.#problems.push({ kind, place, message, ...(expected === undefined ? {} : { expected }) });
	}

	#of(node: Node): Place {
		return this.#at(node.range?.[0] ?? 0);
	}

	#at(offset: number): Place {
		const { line, col } = this.#lines.linePos(offset);
		return { kind: "file", file: this.#file, line: Math.max(1, line), column: Math.max(1, col) };
	}
}

/** `inbound[]` and 2 → `inbound.2`. */
function concrete(path: string, index: number): string {
	return path.replace("[]", `.${index}`);
}

function isNothing(yaml: typeof import("yaml"), node: Node): boolean {
	return yaml.isScalar(node) && node.value === null;
}

function firstLine(message: string): string {
	return (message.split("\n", 1)[0] ?? message).replace(/[.:]$/, "");
}
