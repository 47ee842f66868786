import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Where `.ci/peers` puts what it installs. */
const installed =
	process.env["TEST_TOOLS"] ?? join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "outrigger-peers");

/** The apps of this folder: the same paths in every language. */
export const apps = fileURLToPath(new URL("./apps/", import.meta.url));

const inPath = (name: string): string | undefined =>
	(process.env["PATH"] ?? "")
		.split(delimiter)
		.concat("/usr/sbin")
		.map((folder) => join(folder, name))
		.find((file) => existsSync(file));

const inCache = (...path: string[]): string | undefined => {
	const file = join(installed, ...path);
	return existsSync(file) ? file : undefined;
};

/** Programs of other people. `undefined`: not on this machine. */
export const tools = {
	curl: inPath("curl"),
	nginx: inPath("nginx"),
	prometheus: inPath("prometheus"),
	promtool: inPath("promtool"),
	java: inCache("java", "Server.class") === undefined ? undefined : inPath("java"),
	python: inCache("python", "bin", "python"),
	uvicorn: inCache("python", "bin", "uvicorn"),
	gunicorn: inCache("python", "bin", "gunicorn"),
	go: inCache("go-peers"),
	chromium: inPath("chromium-headless-shell") ?? inPath("chromium") ?? inPath("google-chrome"),
	/** Folder with express and @grpc/grpc-js. */
	nodeModules: inCache("node", "node_modules"),
	/** Class path of the compiled `apps/java`. */
	javaClasses: [join(installed, "java"), join(installed, "java", "lib", "*")].join(delimiter),
};

export type Tool = Exclude<keyof typeof tools, "javaClasses">;

/** For `{ skip }` of a test: `false` when all are there, else the reason. */
export function without(...names: readonly Tool[]): string | false {
	const missing = names.filter((name) => tools[name] === undefined);
	return missing.length === 0 ? false : `not on this machine: ${missing.join(", ")} (.ci/peers installs it)`;
}

/** The path of a tool that the test is not skipped without. */
export function tool(name: Tool): string {
	const path = tools[name];
	if (path === undefined) throw new Error(`${name} is not on this machine`);
	return path;
}

/** Whether curl was built with that feature. */
export function curlHas(feature: string): boolean {
	return tools.curl !== undefined && execFileSync(tools.curl, ["--version"], { encoding: "utf8" }).includes(feature);
}
