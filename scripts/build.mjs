// npm run build: every package as it ships, in the order in which they need each other.
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";

const steps = [
	["proto", ["node_modules/typescript/bin/tsc", "-p", "proto/tsconfig.build.json"]],
	["sdk", ["node_modules/typescript/bin/tsc", "-p", "sdk/tsconfig.build.json"]],
	["k8s", ["node_modules/typescript/bin/tsc", "-p", "k8s/tsconfig.build.json"]],
	["agent", ["agent/build.ts", ...process.argv.slice(2)]],
];
for (const [name, args] of steps) {
	console.log(`build ${name}`);
	rmSync(`${name}/dist`, { recursive: true, force: true });
	const { status } = spawnSync(process.execPath, args, { stdio: "inherit" });
	if (status !== 0) process.exit(status ?? 1);
}
