import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { Peer } from "./peer.ts";

export const AGENT_BUNDLE = resolve(import.meta.dirname, "..", "..", "agent", "dist", "main.js");

/**
 * The agent, default configuration, everything on, on the Node that runs the bench.
 * @param bundle another build of it can stand beside the present one, for a before and after
 */
export function outriggerPeer(name: string, bundle: string, nodeFlags: readonly string[] = []): Peer {
	return {
		name,
		setting:
			"default configuration, environment of the image, everything on: ids, metrics, access line to stdout, which is a file; two threads on the one core",
		isAgent: true,
		version: () => `${packageVersion(bundle)} on Node ${process.versions.node}`,
		missing: () => (existsSync(bundle) ? undefined : { what: `the agent's bundle ${bundle}`, how: "npm run build" }),
		withFlags: (flags) => outriggerPeer(name, bundle, [...nodeFlags, ...flags]),
		launch(site) {
			mkdirSync(site.folder, { recursive: true });
			return {
				argv: [process.execPath, ...nodeFlags, bundle, "agent"],
				env: {
					// As the image sets them (agent/Dockerfile).
					MALLOC_ARENA_MAX: "1",
					MALLOC_TRIM_THRESHOLD_: "65536",
					OUTRIGGER_APP_PORT: String(site.originPort),
					OUTRIGGER_INBOUND__0__LISTEN: `127.0.0.1:${site.port}`,
					OUTRIGGER_OPS__LISTEN: `127.0.0.1:${site.opsPort}`,
					OUTRIGGER_API__LISTEN: `127.0.0.1:${site.apiPort}`,
					...site.env,
				},
				logFile: join(site.folder, "stdout.log"),
				isLogStdout: true,
			};
		},
	};
}

function packageVersion(bundle: string): string {
	try {
		const text = readFileSync(join(dirname(bundle), "..", "package.json"), "utf8");
		return /"version":\s*"([^"]+)"/.exec(text)?.[1] ?? "unknown";
	} catch {
		return "unknown";
	}
}
