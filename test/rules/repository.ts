/** The files of this repository, as the rules look at them. */
import { execFileSync } from "node:child_process";
import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readSource, type Source } from "./source.ts";

export const root = fileURLToPath(new URL("../../", import.meta.url));

export const read = (path: string): string => readFileSync(join(root, path), "utf8");

/** All files that are, or are about to be, part of the repository. Without git (a tarball): all that are there. */
export function repositoryFiles(): readonly string[] {
	if (existsSync(join(root, ".git"))) {
		const list = execFileSync("git", ["ls-files", "-co", "--exclude-standard"], { cwd: root, encoding: "utf8" });
		return list.split("\n").filter((path) => path !== "" && existsSync(join(root, path)));
	}
	return globSync("**/*", { cwd: root, exclude: (path) => /(?:^|\/)(?:node_modules|dist|coverage)$/.test(path) });
}

/** The TypeScript of our packages: sources and tests. */
export function packageSources(): readonly Source[] {
	return repositoryFiles()
		.filter((path) => /^(?:agent|proto|sdk|k8s)\/.*(?<!\.d)\.ts$/.test(path) && !path.startsWith("proto/src/gen/"))
		.map((path) => readSource(path, read(path)));
}
