import { connect, type Socket } from "node:net";
import { renderAddress } from "../config/address.ts";
import type { Address } from "../config/settings.ts";
import { connectedToItself } from "./app-port.ts";
import { type AskingParts, explainConnecting } from "./check-http.ts";
import type { Check } from "./scheduled-check.ts";

/** Opens a connection and closes it. */
export function tcpCheck(address: Address, parts: AskingParts): Check {
	const asked = `connecting to ${renderAddress(address)}`;
	return (signal) =>
		new Promise((resolve) => {
			const socket = open(address, parts);
			const end = (error: NodeJS.ErrnoException | undefined): void => {
				signal.removeEventListener("abort", onAbort);
				socket.destroy();
				if (error === undefined) resolve({ status: "pass", detail: `${asked} worked` });
				else {
					const { reason, detail } = explainConnecting(error, false);
					resolve({ status: "fail", reason, detail: `${asked}: ${detail}` });
				}
			};
			const onAbort = (): void => end(Object.assign(new Error("it was cut off"), { code: "ETIMEDOUT" }));
			socket.on("error", end);
			socket.on("connect", () => end(connectedToItself(socket)));
			if (signal.aborted) onAbort();
			else signal.addEventListener("abort", onAbort);
		});
}

/** A connection to an address, with names resolved through the check's own door. */
export function open(address: Address, { lookup }: AskingParts): Socket {
	return address.kind === "unix"
		? connect({ path: address.path })
		: connect({ host: address.host ?? "127.0.0.1", port: address.port, lookup });
}
