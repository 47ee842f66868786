// npm runs this after each install (prepare). It never fails: there may be no git, no repository, or no wish for hooks.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const git = (...args) => spawnSync("git", args, { cwd: root, encoding: "utf8" });

// Only in a clone of this very repository: a tarball unpacked inside another one must not change that one's hooks.
if (
	existsSync(join(root, ".git")) &&
	!process.env.CI &&
	git("config", "--get", "core.hooksPath").stdout?.trim() === ""
) {
	git("config", "core.hooksPath", ".githooks");
}
