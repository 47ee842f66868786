/** The house of `agent/src` and the arrows between packages, as a function over sources: what breaks a rule, in words. */
import { type Import, packageOf, resolveRelative, type Source } from "./source.ts";

/** The floor of each folder and file of agent/src. A file imports from lower floors and its own folder. */
export const FLOORS: Readonly<Record<string, number>> = {
	"main.ts": 7,
	commands: 6,
	"agent.ts": 5,
	"data-thread.ts": 5,
	// All of one data thread, put together; data-thread.ts runs it in a worker, tests where they like.
	"data-plane.ts": 4,
	ops: 4,
	contract: 4,
	downstream: 3,
	upstream: 3,
	observe: 3,
	lifecycle: 3,
	bridge: 2,
	exchange: 2,
	http1: 1,
	http2: 1,
	telemetry: 1,
	config: 1,
	foundation: 0,
};

/**
 * The arrows that go sideways all the same, each in one direction only. exchange → bridge: an exchange counts in shared
 * memory and fills its record as it goes; bridge knows numbers and bytes, and nothing of exchanges.
 */
const SIDEWAYS: Readonly<Record<string, readonly string[]>> = { exchange: ["bridge"] };

/** What begins a program or is what a package gives out: nobody need import it. */
const ENTRIES =
	/^(?:agent\/src\/(?:main|data-thread)\.ts|(?:proto|sdk|k8s)\/src\/index\.ts|sdk\/src\/[^/]+\/index\.ts)$/;
/** The only places where a file may be called index.ts. */
const DOORS = /^(?:(?:proto|sdk|k8s)\/src\/index\.ts|sdk\/src\/[^/]+\/index\.ts)$/;

const FORBIDDEN_FOLDERS = ["utils", "common", "helpers", "shared", "services", "managers"];

/** Which of our packages each package may import, and from which of its folders, when not from all. */
const ARROWS: Readonly<Record<string, Readonly<Record<string, RegExp>>>> = {
	proto: {},
	sdk: { "@outrigger/contract": /^/ },
	k8s: { "@outrigger/contract": /^/ },
	agent: { "@outrigger/contract": /^/, "@outrigger/k8s": /^agent\/src\/commands\// },
};
const OWN_PACKAGES = ["@outrigger/agent", "@outrigger/contract", "@outrigger/sdk", "@outrigger/k8s"];

/** Bytes in, values out: neither sockets nor clocks nor files in the two protocol folders. */
const PURE = /^agent\/src\/http[12]\//;
const PURE_MAY_IMPORT = ["node:buffer", "node:util", "node:assert"];

/** Folders that live on the control thread: what they do may take as long as somebody else likes. */
const CONTROL_THREAD = ["ops", "contract", "observe", "commands"];

/** A test, or what only a test runs: a fixture beside it, such as the other side of a worker. */
export const isTest = (path: string): boolean => /\.(?:test|fixture)\.ts$/.test(path);

/**
 * Every broken rule as one sentence with its place and what to do instead. `sources` are the TypeScript files of the
 * packages; `paths` all files of the repository, for the names of folders.
 */
export function findBrokenRules(
	sources: readonly Source[],
	paths: readonly string[] = sources.map(({ path }) => path),
): readonly string[] {
	const files = new Map(sources.map((source) => [source.path, source]));
	return [
		...sources
			.filter(({ path }) => !isTest(path))
			.flatMap((source) => [...floors(source), ...arrows(source), ...purity(source)]),
		...testImports(sources),
		...circles(files),
		...orphans(files),
		...dataThread(files),
		...onlyOnce(sources, {
			pattern: /\bprocess\s*\.\s*exit\s*\(/g,
			what: "process.exit",
			home: "agent/src/main.ts",
			instead: "return an exit code, or a Fault, to whoever called; main.ts alone ends the process",
		}),
		...onlyOnce(sources, {
			pattern: /\bDate\s*\.\s*now\b/g,
			what: "Date.now()",
			home: "agent/src/foundation/clock.ts",
			instead: "take a Clock (foundation/clock.ts) as a parameter, so that a test can move it",
		}),
		...folderNames(paths),
		...doors(paths),
	];
}

/** Folder (or file) of agent/src that a path belongs to: `http1` of agent/src/http1/chunked.ts. */
function roomOf(path: string): string | undefined {
	return /^agent\/src\/([^/]+)/.exec(path)?.[1];
}

function* floors({ path, imports }: Source): Iterable<string> {
	const room = roomOf(path);
	if (room === undefined) return;
	const floor = FLOORS[room];
	if (floor === undefined) {
		yield `${path}: "${room}" has no floor. Put the file into one of the folders of agent/src that test/rules/layers.ts lists, or give the new folder a floor there and say in docs/decisions why it exists.`;
		return;
	}
	for (const { specifier, line } of imports) {
		const target = resolveRelative(path, specifier);
		const targetRoom = target === undefined ? undefined : roomOf(target);
		if (targetRoom === undefined || targetRoom === room) continue;
		const targetFloor = FLOORS[targetRoom];
		if (targetFloor === undefined || targetFloor < floor || SIDEWAYS[room]?.includes(targetRoom)) continue;
		const direction = targetFloor === floor ? "sideways" : "up";
		yield `${path}:${line}: imports ${direction}, ${specifier} (${room} is on floor ${floor}, ${targetRoom} on ${targetFloor}). Let agent.ts hand over a function or value; or, if both need it, move it to a lower floor.`;
	}
}

function* arrows({ path, imports }: Source): Iterable<string> {
	const home = path.split("/")[0] ?? "";
	const allowed = ARROWS[home];
	if (allowed === undefined) return;
	for (const { specifier, kind, line } of imports) {
		const target = resolveRelative(path, specifier);
		if (target !== undefined && !target.startsWith(`${home}/`)) {
			yield `${path}:${line}: reaches into another package by path (${specifier}). Import the package by its name; what its index.ts does not give out is its own affair.`;
		}
		const name = packageOf(specifier);
		if (name === undefined) continue;
		if (OWN_PACKAGES.includes(name)) {
			if (allowed[name]?.test(path) !== true) {
				const where =
					allowed[name] === undefined
						? `${home} may not import ${name}`
						: `only ${home}/src/commands may import ${name}`;
				yield `${path}:${line}: ${where}. What both need belongs in @outrigger/contract.`;
			}
		} else if (home === "proto" || (path.startsWith("agent/src/foundation/") && !isLogger(path, specifier, kind))) {
			yield `${path}:${line}: ${name} in ${home === "proto" ? "proto" : "foundation"}, which stands on Node alone. Use it on a higher floor, and hand over what it makes.`;
		}
	}
}

/** The one package below the first floor: the logger brings in pino when the agent has started, and works without it. */
const isLogger = (path: string, specifier: string, kind: Import["kind"]): boolean =>
	path === "agent/src/foundation/logger.ts" && specifier === "pino" && kind !== "static";

function* purity({ path, imports }: Source): Iterable<string> {
	if (!PURE.test(path)) return;
	for (const { specifier, kind, line } of imports) {
		const isFine =
			kind === "type" ||
			specifier.startsWith(".") ||
			PURE_MAY_IMPORT.includes(specifier) ||
			specifier === "@outrigger/contract";
		if (!isFine) {
			yield `${path}:${line}: ${specifier} in a folder that is pure (bytes in, values out). Take what you need as a parameter.`;
		}
	}
}

function* testImports(sources: readonly Source[]): Iterable<string> {
	for (const { path, imports } of sources) {
		for (const { specifier, line } of imports) {
			const target = resolveRelative(path, specifier) ?? "";
			if (
				target.endsWith(".test.ts") ||
				(isTest(target) && !isTest(path)) ||
				(!isTest(path) && /^[^/]+\/src\//.test(path) && /^(?:agent\/)?test\//.test(target))
			) {
				yield `${path}:${line}: imports ${specifier}, which belongs to tests. Move what is needed into a file of its own that both import.`;
			}
		}
	}
}

function importedFiles(
	source: Source,
	files: ReadonlyMap<string, Source>,
	kinds: readonly string[],
): readonly string[] {
	return source.imports
		.filter(({ kind }) => kinds.includes(kind))
		.map(({ specifier }) => resolveRelative(source.path, specifier))
		.filter((target) => target !== undefined && files.has(target)) as string[]; // undefined has just been filtered out
}

/** Circles of what is loaded: a circle of types alone does no harm, and a state machine and its events may need one. */
function* circles(files: ReadonlyMap<string, Source>): Iterable<string> {
	const done = new Set<string>();
	const told = new Set<string>();
	const found: string[] = [];
	const visit = (path: string, way: readonly string[]): void => {
		const start = way.indexOf(path);
		if (start !== -1) {
			const circle = way.slice(start);
			const key = [...circle].sort().join();
			if (!told.has(key)) {
				told.add(key);
				found.push(
					`${[...circle, path].join(" → ")}: a circle. Move what both need into a third file, or hand one to the other as a parameter.`,
				);
			}
			return;
		}
		if (done.has(path)) return;
		const source = files.get(path);
		if (source !== undefined)
			for (const next of importedFiles(source, files, ["static", "dynamic"])) visit(next, [...way, path]);
		done.add(path);
	};
	for (const path of files.keys()) visit(path, []);
	yield* found;
}

function* orphans(files: ReadonlyMap<string, Source>): Iterable<string> {
	const wanted = new Set<string>();
	for (const source of files.values()) {
		if (isTest(source.path)) continue;
		for (const target of importedFiles(source, files, ["static", "dynamic", "type"])) wanted.add(target);
	}
	for (const path of files.keys()) {
		if (!/^[^/]+\/src\//.test(path) || isTest(path) || ENTRIES.test(path) || wanted.has(path)) continue;
		yield `${path}: nobody imports it. Wire it in where it is needed, or delete it; git remembers.`;
	}
}

/** What a data thread can ever load: no package, and nothing whose cost somebody else decides. */
function* dataThread(files: ReadonlyMap<string, Source>): Iterable<string> {
	const reached = new Map<string, readonly string[]>([["agent/src/data-thread.ts", []]]);
	for (const [path, way] of reached) {
		const source = files.get(path);
		if (source === undefined) continue;
		const room = roomOf(path) ?? "";
		const chain = [...way, path].map((file) => file.replace("agent/src/", "")).join(" → ");
		if (CONTROL_THREAD.includes(room)) {
			yield `${chain}: the data thread reaches ${room}/, which lives on the control thread. Send a record or a command through bridge/ instead.`;
			continue;
		}
		for (const { specifier, kind } of source.imports) {
			const name = packageOf(specifier);
			if (kind !== "type" && name !== undefined && name !== "@outrigger/contract") {
				yield `${chain}: the data thread reaches the package ${name}. Do that work on the control thread and pass its result through bridge/.`;
			}
		}
		for (const next of importedFiles(source, files, ["static", "dynamic"])) {
			if (!reached.has(next)) reached.set(next, [...way, path]);
		}
	}
}

interface OnlyOnce {
	readonly pattern: RegExp;
	readonly what: string;
	readonly home: string;
	readonly instead: string;
}

function* onlyOnce(sources: readonly Source[], { pattern, what, home, instead }: OnlyOnce): Iterable<string> {
	for (const { path, code } of sources) {
		if (!path.startsWith("agent/src/") || isTest(path)) continue;
		const places = [...code.matchAll(pattern)].map(({ index }) => code.slice(0, index).split("\n").length);
		for (const line of path === home ? places.slice(1) : places) {
			yield `${path}:${line}: ${what}, which is only in ${home.replace("agent/src/", "")}, once. Instead: ${instead}.`;
		}
	}
}

function* folderNames(paths: readonly string[]): Iterable<string> {
	const bad = new Set<string>();
	for (const path of paths) {
		const folders = path.split("/").slice(0, -1);
		const at = folders.findIndex((folder) => FORBIDDEN_FOLDERS.includes(folder));
		if (at !== -1) bad.add(folders.slice(0, at + 1).join("/"));
	}
	for (const folder of bad) {
		yield `${folder}/: a folder name that says nothing. Name it after what it holds, or put each file where it is used.`;
	}
}

function* doors(paths: readonly string[]): Iterable<string> {
	for (const path of paths) {
		if (!/^(?:agent|proto|sdk|k8s)\/.*\bindex\.ts$/.test(path) || DOORS.test(path)) continue;
		yield `${path}: index.ts is only the door of a package or of an entry point of the sdk. Name the file after what it exports, and import it directly.`;
	}
}
