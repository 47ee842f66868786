/** Finds executables, and the bench's folder for what it builds and installs. */
import { spawnSync } from "node:child_process";
import { accessSync, constants, globSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

/** Outside the repository; safe to delete. */
export const CACHE_FOLDER = join(tmpdir(), "outrigger-bench");
export const VENV_FOLDER = join(CACHE_FOLDER, "venv");

/** Debian keeps nginx and haproxy where the PATH of an ordinary user does not look. */
const FURTHER_FOLDERS = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

function isExecutable(file: string): boolean {
	try {
		accessSync(file, constants.X_OK);
		return true;
	} catch {
		return false;
	}
}

export function findExecutable(name: string): string | undefined {
	const folders = [...(process.env["PATH"] ?? "").split(delimiter), ...FURTHER_FOLDERS];
	return folders.map((folder) => join(folder, name)).find(isExecutable);
}

/** The package's own `envoy` is a Python script; its start would be counted as Envoy's. This is the binary within. */
export function findEnvoy(): string | undefined {
	const pattern = join(VENV_FOLDER, "lib", "python3*", "site-packages", "envoy", "_bin", "envoy");
	return globSync(pattern).find(isExecutable) ?? findExecutable("envoy");
}

/** What a command prints, both streams together. */
export function outputOf(file: string, args: readonly string[]): string {
	const done = spawnSync(file, args, { encoding: "utf8", timeout: 20_000 });
	if (done.error !== undefined) throw done.error;
	return `${done.stdout}${done.stderr}`.trim();
}

/** The first thing in a text that looks like a version. */
export function versionIn(text: string): string {
	return /\d+\.\d+(?:\.\d+)?/.exec(text)?.[0] ?? "unknown";
}
