import { concretePath, objectListOf } from "./key-tree.ts";
import { defaultOf, KEY_PATHS, type KeyPath, keyOf, type ObjectListPath, objectLists, type ValueOf } from "./keys.ts";
import type { Input, Written } from "./kinds.ts";
import { type Assignment, asText, exampleFor, type Layer, valueProblem } from "./layer.ts";
import type { Place, Problem } from "./problems.ts";

/** A value with its source, as a person would write it; what is secret is replaced. For `config show` and the API. */
export interface Entry {
	/** With indexes: `inbound.0.listen`. */
	readonly path: string;
	/** `undefined`: there is no value, and that is allowed. */
	readonly value: Written | undefined;
	readonly source: Place;
}

/** What a default is that depends on the machine. */
export interface MachineDefaults {
	readonly serviceName: { readonly value: string; readonly note: string };
	readonly serviceNamespace: { readonly value: string; readonly note: string } | undefined;
	/** What `limits.buffered: auto` comes to, in bytes. */
	readonly bufferedBytes: number;
}

interface Held {
	readonly value: unknown;
	readonly place: Place;
}

/** How many entries a list of objects has when nobody gives it. */
const initialCounts: Readonly<Record<ObjectListPath, number>> = { inbound: 1, "routes.table": 0, "health.checks": 0 };

/** The layers laid over each other: for each key its value, and where that comes from. */
export class Effective {
	readonly problems: Problem[] = [];
	readonly warnings: Problem[] = [];
	readonly #held = new Map<string, Held>();
	/** Defaults that have been read: rules, settings and entries each ask for them. */
	readonly #defaults = new Map<string, Held>();
	readonly #counts = new Map<ObjectListPath, number>();
	readonly #listPlaces = new Map<ObjectListPath, Place>();
	/** By concrete path of the entry: `inbound.0`. */
	readonly #entryPlaces = new Map<string, Place>();
	/** Concrete paths whose value could not be read: rules do not look at them, so that one mistake is told once. */
	readonly #unsound = new Set<string>();
	readonly #machine: MachineDefaults;
	/** Whether every layer could be understood as a whole. */
	isWhole = true;

	constructor(machine: MachineDefaults) {
		this.#machine = machine;
		for (const list of Object.keys(objectLists) as ObjectListPath[]) this.#counts.set(list, initialCounts[list]);
	}

	/** Lays one more layer on top. */
	lay(layer: Layer): void {
		this.problems.push(...layer.problems);
		this.warnings.push(...layer.warnings);
		this.isWhole &&= layer.isWhole;
		for (const { path, entries, place } of layer.lists) {
			this.#counts.set(path, entries.length);
			this.#listPlaces.set(path, place);
			for (const [index, entry] of entries.entries()) this.#entryPlaces.set(`${path}.${index}`, entry);
			for (const concrete of this.#held.keys()) if (concrete.startsWith(`${path}.`)) this.#held.delete(concrete);
		}
		const items = new Map<string, Assignment[]>();
		for (const assignment of byIndex(layer.assignments)) {
			if (!this.#makeRoom(assignment)) continue;
			if (assignment.itemIndex === undefined) {
				this.#take(assignment.path, assignment.concrete, assignment.input, layer);
				continue;
			}
			const known = items.get(assignment.concrete);
			if (known === undefined) items.set(assignment.concrete, [assignment]);
			else known.push(assignment);
		}
		for (const assignments of items.values()) this.#takeItems(assignments, layer);
	}

	/** The value of a key; for an item of a list of objects by its index. */
	get<P extends KeyPath>(path: P, index = 0): ValueOf<P> {
		return this.#hold(path, index).value as ValueOf<P>; // was read by this key's own kind
	}

	placeOf(path: KeyPath, index = 0): Place {
		return this.#hold(path, index).place;
	}

	/** Whether somebody has set the key. */
	isGiven(path: KeyPath, index = 0): boolean {
		return this.#held.has(concretePath(path, index));
	}

	/** Whether the value could be read; a default always could. */
	isSound(path: KeyPath, index = 0): boolean {
		return !this.#unsound.has(concretePath(path, index));
	}

	/** Number of entries of a list of objects. */
	count(list: ObjectListPath): number {
		return this.#counts.get(list) ?? 0;
	}

	/** Where a list of objects was given whole. */
	listPlace(list: ObjectListPath): Place {
		return this.#listPlaces.get(list) ?? { kind: "default" };
	}

	/** Where an entry of a list of objects is, or was first spoken of. */
	entryPlace(list: ObjectListPath, index: number): Place {
		return this.#entryPlaces.get(`${list}.${index}`) ?? this.listPlace(list);
	}

	/** Every key with its value and source, in the order of the documentation. */
	entries(): readonly Entry[] {
		const rows: Entry[] = [];
		const told = new Set<ObjectListPath>();
		for (const path of KEY_PATHS) {
			const list = objectListOf(path);
			if (list === undefined) rows.push(this.#entry(path, 0));
			else if (!told.has(list)) {
				told.add(list);
				if (this.count(list) === 0) rows.push({ path: list, value: [], source: this.listPlace(list) });
				const members = KEY_PATHS.filter((each) => objectListOf(each) === list);
				for (let index = 0; index < this.count(list); index++) {
					rows.push(...members.map((member) => this.#entry(member, index)));
				}
			}
		}
		return rows;
	}

	#entry(path: KeyPath, index: number): Entry {
		const { kind, secret } = keyOf(path);
		const { value, place } = this.#hold(path, index);
		const concrete = concretePath(path, index);
		if (value === undefined && defaultOf(path, index) === undefined)
			return { path: concrete, value: undefined, source: place };
		if (secret === true)
			return { path: concrete, value: kind.write(value) === "none" ? "none" : "[hidden]", source: place };
		return { path: concrete, value: (kind.show ?? kind.write)(value), source: place };
	}

	#hold(path: KeyPath, index: number): Held {
		const held = this.#held.get(concretePath(path, index));
		if (held !== undefined) return held;
		const special = this.#machineDefault(path);
		if (special !== undefined) return special;
		const place: Place = { kind: "default" };
		const written = defaultOf(path, index);
		if (written === undefined) return { value: undefined, place };
		const concrete = concretePath(path, index);
		const known = this.#defaults.get(concrete);
		if (known !== undefined) return known;
		const reading = keyOf(path).kind.read(asInput(written, place));
		if ("mismatches" in reading) throw new TypeError(`the default of ${path} is none of its values`); // keys.test.ts reads each
		const made: Held = { value: reading.value, place };
		this.#defaults.set(concrete, made);
		return made;
	}

	/** Defaults that `keys.ts` only describes, because they hang on the machine or on another key. */
	#machineDefault(path: KeyPath): Held | undefined {
		const { serviceName, serviceNamespace, bufferedBytes } = this.#machine;
		switch (path) {
			case "service.name":
				return noted(serviceName);
			case "service.namespace":
				return serviceNamespace === undefined ? undefined : noted(serviceNamespace);
			case "limits.buffered":
				return noted({ value: "auto", note: `now ${Math.floor(bufferedBytes / 1024 ** 2)}MiB` });
			case "traces.exporter":
				if (this.get("traces.endpoint") === undefined) return undefined;
				return noted({ value: "otlp", note: "because there is traces.endpoint" });
			default:
				return undefined;
		}
	}

	#take(path: KeyPath, concrete: string, input: Input, layer: Layer): void {
		const reading = keyOf(path).kind.read(input);
		if ("value" in reading) {
			this.#held.set(concrete, { value: reading.value, place: input.place });
			this.#unsound.delete(concrete);
			return;
		}
		const told = reading.mismatches.map((mismatch) => valueProblem(path, concrete, mismatch));
		if (layer.isAdvisory === true) {
			this.warnings.push(...told.map((problem) => ({ ...problem, message: `${problem.message}; it is ignored` })));
		} else {
			this.problems.push(...told);
			this.#unsound.add(concrete);
		}
	}

	/** Items by index on top of the list as it is so far: replaced, or put at the end. */
	#takeItems(assignments: readonly Assignment[], layer: Layer): void {
		const [first] = assignments;
		if (first === undefined) return;
		const { path, concrete } = first;
		const held = this.#hold(path, 0).value;
		const values: Input[] = (Array.isArray(held) ? held : []).map((value) => ({
			form: "text",
			place: first.input.place,
			text: String(value),
		}));
		for (const { itemIndex = 0, input } of assignments) {
			if (itemIndex > values.length) this.#tellGap(path, `${concrete}.${itemIndex}`, input.place, values.length);
			else values[itemIndex] = input;
		}
		this.#take(path, concrete, { form: "list", place: first.input.place, items: values }, layer);
	}

	/** For an index just behind the end the list grows; an index further on is a problem. */
	#makeRoom({ path, concrete, input }: Assignment): boolean {
		const list = objectListOf(path);
		if (list === undefined) return true;
		const index = Number(concrete.slice(list.length + 1).split(".", 1)[0]);
		const count = this.count(list);
		const { itemsMax } = objectLists[list];
		if (index >= itemsMax) {
			this.problems.push({
				kind: "out_of_bounds",
				place: input.place,
				key: concrete,
				message: `there are at most ${itemsMax} entries`,
				expected: `an index from 0 to ${itemsMax - 1}`,
			});
			return false;
		}
		if (index > count) {
			this.#tellGap(path, concrete, input.place, count);
			return false;
		}
		if (index === count) this.#counts.set(list, count + 1);
		if (!this.#entryPlaces.has(`${list}.${index}`)) this.#entryPlaces.set(`${list}.${index}`, input.place);
		return true;
	}

	#tellGap(path: KeyPath, concrete: string, place: Place, count: number): void {
		this.problems.push({
			kind: "missing",
			place,
			key: concrete,
			message: count === 0 ? "there is no entry yet" : `there are only ${count} entries`,
			expected: `the next index is ${count}`,
			...(place.kind === "variable" ? {} : { example: exampleFor(place, concrete, keyOf(path).example) }),
		});
	}
}

function noted({ value, note }: { readonly value: string; readonly note: string }): Held {
	return { value, place: { kind: "default", note } };
}

/** A default, read the way a value of the file is read. */
function asInput(written: Written, place: Place): Input {
	if (Array.isArray(written))
		return { form: "list", place, items: written.map((text) => ({ form: "text", place, text })) };
	return { form: "text", place, text: asText(written) };
}

/** Whole values before items, lower indexes first: then the order of the variables' names does not matter. */
function byIndex(assignments: readonly Assignment[]): readonly Assignment[] {
	const index = ({ concrete, itemIndex }: Assignment): number =>
		itemIndex ?? Number(/\.([0-9]+)\./.exec(concrete)?.[1] ?? -1);
	return [...assignments].sort((a, b) => index(a) - index(b));
}
