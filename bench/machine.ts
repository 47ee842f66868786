/** What the figures were taken on: without it they mean nothing. */
import { spawnSync } from "node:child_process";
import { cpus, release, totalmem } from "node:os";

export interface Machine {
	readonly cpu: string;
	readonly cores: number;
	readonly memoryBytes: number;
	readonly kernel: string;
	readonly node: string;
}

export const describeMachine = (): Machine => ({
	cpu: cpus()[0]?.model.trim() ?? "unknown",
	cores: cpus().length,
	memoryBytes: totalmem(),
	kernel: `Linux ${release()}`,
	node: process.versions.node,
});

/** The commit that is checked out, with a word when the work tree differs from it. */
export function describeCommit(): string {
	const git = (...args: string[]) =>
		spawnSync("git", args, { cwd: import.meta.dirname, encoding: "utf8", timeout: 10_000 });
	const head = git("rev-parse", "--short=12", "HEAD");
	if (head.status !== 0) return "none yet";
	const isClean = git("diff", "--quiet", "HEAD", "--", "../agent", "../proto").status === 0;
	return `${head.stdout.trim()}${isClean ? "" : " and changes not committed"}`;
}
