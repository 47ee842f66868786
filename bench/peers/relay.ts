/**
 * The floor: Node's sockets and nothing else. A TCP relay that knows no HTTP, one connection to the app per client.
 * What the agent costs above this is what we wrote. Run as a program: `node relay.ts PORT APP_PORT`.
 */
import { mkdirSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { join } from "node:path";
import type { Peer } from "./peer.ts";

export function createRelay(appPort: number): Server {
	return createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
		const app = connect({ port: appPort, host: "127.0.0.1", noDelay: true, allowHalfOpen: true });
		client.on("error", () => app.destroy());
		app.on("error", () => client.destroy());
		client.on("close", () => app.destroy());
		app.on("close", () => client.destroy());
		for (const [from, to] of [
			[client, app],
			[app, client],
		] as const) {
			from.on("data", (bytes) => {
				if (!to.write(bytes)) from.pause();
			});
			to.on("drain", () => from.resume());
			from.on("end", () => to.end());
		}
	});
}

export const relay: Peer = {
	name: "relay",
	setting: "a TCP relay on node:net: no HTTP, no log, no pool (for comparison: what Node's sockets cost)",
	isAgent: false,
	version: () => `Node ${process.versions.node}`,
	missing: () => undefined,
	launch(site) {
		mkdirSync(site.folder, { recursive: true });
		return {
			argv: [process.execPath, import.meta.filename, String(site.port), String(site.originPort)],
			logFile: join(site.folder, "stdout.log"),
			isLogStdout: true,
		};
	},
};

if (import.meta.main) {
	const [port, appPort] = process.argv.slice(2).map(Number);
	createRelay(appPort ?? 0).listen({ port: port ?? 0, host: "127.0.0.1", backlog: 4096 });
}
