/**
 * Makes the bundle that ships: `agent/dist/main.js` (the `outrigger` command) and `agent/dist/data-thread.js` (the
 * worker that carries traffic). One file each, because loading a hundred small ones is most of a short start; what only
 * some runs need (undici, yaml, pino, prom-client) is imported dynamically in the sources and becomes a chunk of its own.
 *
 *     node agent/build.ts [--quiet] [--sourcemap]
 */
import { execFileSync } from "node:child_process";
import { chmod, readFile, rename, rm } from "node:fs/promises";
import { isBuiltin } from "node:module";
import { fileURLToPath } from "node:url";
import { type BuildOptions, build, type Plugin, stop } from "esbuild";

const quiet = process.argv.includes("--quiet");
const folder = fileURLToPath(new URL(".", import.meta.url));
const { version } = JSON.parse(await readFile(new URL("package.json", import.meta.url), "utf8")) as { version: string };

/** The commit that is built; `unknown` in a tarball. What is not committed shows as `-changed`. */
function revision(): string {
	const git = (...args: string[]): string =>
		execFileSync("git", args, { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
	try {
		return (
			git("rev-parse", "--short=12", "HEAD").trim() + (git("status", "--porcelain").trim() === "" ? "" : "-changed")
		);
	} catch {
		return "unknown";
	}
}

/**
 * What the entries may weigh with all our code behind them, in bytes: their part of the 200 ms from exec to the first
 * served request. Packages do not count as long as they are imported dynamically. `main.js` is all commands together; the agent loads some
 * two thirds of it.
 */
const BYTES_MAX = { "main.js": 480 * 1024, "data-thread.js": 250 * 1024, "drain.js": 40 * 1024 } as const;

const dist = new URL("dist", import.meta.url);
/** Made beside dist, so that whoever runs the present bundle does so until the new one is whole. */
const next = new URL("dist.next", import.meta.url);
await rm(next, { recursive: true, force: true });

/** The first line of a command. Not in the source, which nobody runs by its name. */
const hashbang: Plugin = {
	name: "hashbang",
	setup({ onLoad }) {
		onLoad({ filter: /[\\/]src[\\/]main\.ts$/ }, async ({ path }) => ({
			contents: `#!/usr/bin/env node\n${await readFile(path, "utf8")}`,
			loader: "ts",
		}));
	},
};

/**
 * An ES import of a built-in module reads every one of its exports, and some are getters that load what nobody here uses (of `node:http`
 * and `node:crypto` in Node 26: undici, WebSocket, Web Crypto; 14 MiB and 100 ms). `getBuiltinModule` reads none.
 */
const builtinsUnread: Plugin = {
	name: "builtins-unread",
	setup({ onResolve, onLoad }) {
		onResolve({ filter: /^[a-z]/ }, ({ path, kind }) => {
			if (!isBuiltin(path)) return undefined;
			// `import()` stays as it is: of what is made here a bundle would give only `default`, and its names are what is asked for.
			return kind === "dynamic-import" ? { path, external: true } : { path, namespace: "builtin" };
		});
		// The bundle's own code looks at every property of a CommonJS module, and to look at some of `node:util` and `node:fs` loads them as well
		// (worker_threads among them). Nobody looks at what is inherited. A module that is a function stays what it is.
		onLoad({ filter: /^/, namespace: "builtin" }, ({ path }) => ({
			contents: `const own = process.getBuiltinModule(${JSON.stringify(path)}); module.exports = typeof own === "function" ? own : Object.create(own);`,
			loader: "js",
		}));
	},
};

/**
 * `import()` of a CommonJS package gives its names in Node, but only `default` in a bundle. A module between the two hands the
 * names on, so that sources mean the same bundled and not.
 */
const namesOfCommonJs: Plugin = {
	name: "names-of-commonjs",
	setup({ onResolve, onLoad, resolve }) {
		onResolve({ filter: /^[a-z@]/ }, ({ path, kind, namespace, pluginData, resolveDir }) => {
			const isOurs = kind === "dynamic-import" && namespace === "file" && pluginData !== "resolved";
			return isOurs && !isBuiltin(path) ? { path, namespace: "names", pluginData: resolveDir } : undefined;
		});
		onLoad({ filter: /^/, namespace: "names" }, async ({ path, pluginData: resolveDir }) => {
			const { path: file, errors } = await resolve(path, {
				kind: "import-statement",
				resolveDir,
				pluginData: "resolved",
			});
			if (errors.length > 0) return { errors };
			const names = Object.keys((await import(file)) as object).filter(
				(name) => name !== "default" && name !== "module.exports",
			);
			const isCommonJs = names.length < Object.keys((await import(file)) as object).length;
			const handOn = isCommonJs
				? `import whole from ${JSON.stringify(file)}; export default whole; export const { ${names.join(", ")} } = whole;`
				: `export * from ${JSON.stringify(file)};`;
			return { contents: handOn, resolveDir };
		});
	},
};

/**
 * A stop hook runs when the node may be short of everything, so `outrigger drain` is one file: each further one that Node loads costs half a millisecond and
 * 0.4 MiB, and with the chunks that it shares with the others there are fourteen. The configuration, which few need for it, stays outside.
 */
const drainAlone: Plugin = {
	name: "drain-alone",
	setup({ onResolve }) {
		onResolve({ filter: /\/(?:drain-alone|load-config)\.ts$/ }, ({ path, kind }) => {
			if (kind !== "dynamic-import") return undefined;
			if (path.endsWith("/drain-alone.ts")) return { path: "./drain.js", external: true };
			return { path: "./load-config.js", external: true };
		});
	},
};

const common: BuildOptions = {
	absWorkingDir: folder,
	outdir: "dist.next",
	bundle: true,
	format: "esm",
	platform: "node",
	target: "node22.19",
	// Identifiers stay as they are: they are what stack traces and CPU profiles show. (keepNames would cost a call for each
	// closure that is made at run time.)
	minifyWhitespace: true,
	minifySyntax: true,
	legalComments: "linked",
	sourcemap: process.argv.includes("--sourcemap") ? "linked" : false,
	define: { __OUTRIGGER_VERSION__: JSON.stringify(version), __OUTRIGGER_REVISION__: JSON.stringify(revision()) },
	banner: {
		// Bundled CommonJS packages call require() for Node's own modules; an ES module has none.
		js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
	},
	logLevel: "warning",
};
const [all, drain] = await Promise.all([
	build({
		...common,
		metafile: true,
		entryPoints: {
			main: "src/main.ts",
			"data-thread": "src/data-thread.ts",
			"load-config": "src/commands/load-config.ts",
		},
		// Beside the entries, so that a URL relative to import.meta.url means the same in every chunk.
		chunkNames: "[name]-[hash]",
		splitting: true,
		plugins: [hashbang, drainAlone, builtinsUnread, namesOfCommonJs],
	}),
	build({
		...common,
		metafile: true,
		entryPoints: { drain: "src/commands/drain-alone.ts" },
		plugins: [drainAlone, builtinsUnread],
	}),
]).catch((error: unknown) => {
	// What is wrong in the sources has been printed.
	if (!(error instanceof Error && error.message.startsWith("Build failed"))) console.error(error);
	process.exit(1);
});
// esbuild keeps its service process for the next build; there is none.
await stop();
await chmod(new URL("dist.next/main.js", import.meta.url), 0o755);
await rm(dist, { recursive: true, force: true });
await rename(next, dist);

const outputs = { ...all.metafile.outputs, ...drain.metafile.outputs };

const ofPackages = (file: string): boolean =>
	Object.keys(outputs[file]?.inputs ?? {}).some((input) => input.includes("node_modules/"));

/** An entry with all that is ours behind it, and what that imports statically. Chunks of packages come when they are needed. */
const loadedBy = (entry: string): ReadonlySet<string> => {
	const found = new Set<string>([entry]);
	for (const file of found) {
		for (const { path, kind, external } of outputs[file]?.imports ?? []) {
			if (external !== true && (kind === "import-statement" || !ofPackages(path))) found.add(path);
		}
	}
	return found;
};

const kib = (bytes: number): string => `${(bytes / 1024).toFixed(1)} KiB`;
const bytesOf = (file: string): number => outputs[file]?.bytes ?? 0;
let tooLarge = false;
const counted = new Set<string>();
for (const [name, bytesMax] of Object.entries(BYTES_MAX)) {
	const files = loadedBy(`dist.next/${name}`);
	const bytes = [...files].reduce((sum, file) => sum + bytesOf(file), 0);
	for (const file of files) counted.add(file);
	if (!quiet) console.log(`${name.padEnd(16)} ${kib(bytes).padStart(11)} without packages, of ${kib(bytesMax)}`);
	if (bytes > bytesMax) {
		tooLarge = true;
		const heaviest = [...files]
			.flatMap((file) => Object.entries(outputs[file]?.inputs ?? {}))
			.sort(([, a], [, b]) => b.bytesInOutput - a.bytesInOutput)
			.slice(0, 5)
			.map(([input, { bytesInOutput }]) => `${input} (${kib(bytesInOutput)})`);
		console.error(
			`${name} is larger than it may be. Import packages dynamically, and leave out what not every run needs. Heaviest: ${heaviest.join(", ")}`,
		);
	}
}
if (!quiet) {
	for (const [file, { bytes }] of Object.entries(outputs)) {
		if (file.endsWith(".js") && !counted.has(file))
			console.log(`${file.replace("dist.next/", "").padEnd(40)} ${kib(bytes).padStart(11)} when needed`);
	}
}
process.exitCode = tooLarge ? 1 : 0;
