/** All peers by name, and builds of the agent by file. */
import { resolve } from "node:path";
import { envoy } from "./envoy.ts";
import { haproxy } from "./haproxy.ts";
import { nginx, nginxBufferedLog } from "./nginx.ts";
import { AGENT_BUNDLE, outriggerPeer } from "./outrigger.ts";
import type { Peer } from "./peer.ts";
import { relay } from "./relay.ts";

const OTHERS: readonly Peer[] = [nginx, nginxBufferedLog, haproxy, envoy, relay];

/** @throws with the names that exist, when one does not */
export function choosePeers(wanted: readonly string[], nodeFlags: readonly string[]): readonly Peer[] {
	const chosen = wanted.map((word) => {
		const [name = "", file] = word.split("=");
		if (file !== undefined) return outriggerPeer(name, resolve(file), nodeFlags);
		if (name === "outrigger") return outriggerPeer(name, AGENT_BUNDLE, nodeFlags);
		const peer = OTHERS.find((other) => other.name === name);
		if (peer === undefined) {
			const names = OTHERS.map((other) => other.name).join(", ");
			throw new Error(
				`no peer is called "${name}"; there are: outrigger, ${names}, NAME=FILE for a build of the agent`,
			);
		}
		return peer;
	});
	if (new Set(chosen.map((peer) => peer.name)).size < chosen.length)
		throw new Error("each peer needs a name of its own");
	return chosen;
}
