import { once } from "node:events";
import type { AddressInfo, Server } from "node:net";
import { removeStaleSocket } from "./stale-socket.ts";

/** Where to listen, as `net.Server.listen` takes it. */
type Place = { readonly path: string } | { readonly port: number; readonly host?: string };

/**
 * Binds, or rejects with the system's error. A Unix socket takes the place of one that nobody listens on; `umask` is for its mode, instead of the
 * process's own.
 */
export async function listenOn(server: Server, place: Place, umask?: number): Promise<void> {
	if ("path" in place) await removeStaleSocket(place.path);
	const listening = once(server, "listening"); // rejects on "error"
	if (umask === undefined || !("path" in place)) server.listen(place);
	else {
		// Binding happens within `listen`: so that not for one moment others may connect.
		const before = process.umask(umask);
		try {
			server.listen(place);
		} finally {
			process.umask(before);
		}
	}
	await listening;
}

/** `undefined` while it does not listen, and on a Unix socket. */
export function portAddress(server: Server | undefined): AddressInfo | undefined {
	const address = server?.address();
	return typeof address === "object" && address !== null ? address : undefined;
}
