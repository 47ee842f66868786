// npm run coverage: the unit suite under c8, with all its workers and child processes. Bounds: .c8rc.json.
import { spawnSync } from "node:child_process";
import { globSync, readFileSync, rmSync } from "node:fs";
import { transform } from "esbuild";

/** Files in which nothing is left but types: they are never loaded, and would count as wholly uncovered. */
const typesOnly = [];
for (const file of globSync("{agent,proto,sdk,k8s}/src/**/*.ts")) {
	if (file.endsWith(".test.ts")) continue;
	const options = { loader: "ts", tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } } };
	const { code } = await transform(readFileSync(file, "utf8"), options);
	if (code.replace(/^export \{\s*\};?$/m, "").trim() === "") typesOnly.push(file);
}
const { exclude } = JSON.parse(readFileSync(".c8rc.json", "utf8"));
const excludes = [...exclude, ...typesOnly].map((pattern) => `--exclude=${pattern}`);

// A run that was killed leaves its raw data; it would be added to ours.
rmSync("coverage", { recursive: true, force: true });
const loader = new URL("coverage-loader.mjs", import.meta.url).href;
const { status } = spawnSync(
	process.execPath,
	["node_modules/c8/bin/c8.js", ...excludes, process.execPath, "scripts/test.mjs", ...process.argv.slice(2)],
	{
		stdio: "inherit",
		env: { ...process.env, NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ""} --import ${loader}`.trim() },
	},
);
process.exit(status ?? 1);
