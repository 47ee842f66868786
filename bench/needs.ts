/** What the bench needs beyond npm's packages: found, named with the command that brings it, or (on request) installed. */
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { cpus, platform } from "node:os";
import { join } from "node:path";
import { CACHE_FOLDER, findExecutable, VENV_FOLDER } from "./executables.ts";
import type { Missing, Peer } from "./peers/peer.ts";

const TOOLS: readonly Missing[] = [
	{ what: "wrk", how: "apt-get install wrk", apt: ["wrk"] },
	{ what: "taskset", how: "apt-get install util-linux", apt: ["util-linux"] },
	{ what: "cc", how: "apt-get install gcc libc6-dev", apt: ["gcc", "libc6-dev"] },
];

export function findMissing(peers: readonly Peer[], find = findExecutable): readonly Missing[] {
	const tools = TOOLS.filter((tool) => find(tool.what) === undefined);
	return [...tools, ...peers.flatMap((peer) => peer.missing() ?? [])];
}

/** Why this machine cannot run the bench at all; undefined when it can. */
export function unsuitable(system: string = platform(), cores: number = cpus().length): string | undefined {
	if (system !== "linux") return `the bench reads the kernel's books in /proc and needs Linux; this is ${system}`;
	if (cores < 2) return "the bench needs two cores: one for the proxy, one for load and app";
	return undefined;
}

export function describeMissing(missing: readonly Missing[]): string {
	const lines = missing.map(({ what, how }) => `  ${what}: ${how}`);
	return ["The bench is missing:", ...lines, "Run it with --install to get these, or choose others with --peers."].join(
		"\n",
	);
}

/**
 * Installs what apt and pip have. No service is started: RUNLEVEL=1 keeps invoke-rc.d from it where there is no
 * systemd, and SYSTEMD_OFFLINE where there is.
 */
export function install(missing: readonly Missing[], say: (line: string) => void): void {
	const apt = missing.flatMap((entry) => entry.apt ?? []);
	const pip = missing.flatMap((entry) => entry.pip ?? []);
	const run = (argv: readonly string[]): void => {
		const [file = "", ...args] = argv;
		say(`$ ${argv.join(" ")}`);
		const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1", SYSTEMD_OFFLINE: "1" };
		const done = spawnSync(file, args, { env, stdio: ["ignore", "ignore", "inherit"] });
		if (done.status !== 0) throw new Error(`${file} failed: ${done.error?.message ?? `exit code ${done.status}`}`);
	};
	const root = process.getuid?.() === 0 ? [] : ["sudo"];
	if (apt.length > 0) {
		run([...root, "apt-get", "update", "-q"]);
		run([...root, "apt-get", "install", "-y", "-q", "--no-install-recommends", ...apt]);
	}
	if (pip.length > 0) {
		mkdirSync(CACHE_FOLDER, { recursive: true });
		run(["python3", "-m", "venv", VENV_FOLDER]);
		run([join(VENV_FOLDER, "bin", "pip"), "install", "--quiet", ...pip]);
	}
}
