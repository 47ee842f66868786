/**
 * Ports for what is started, ended and started again: below the range from which the kernel takes the ports of outgoing connections. One of
 * thousands of those would sooner or later sit on the port of a pod that is just away.
 */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import type { Dice } from "../../agent/test/sim/dice.ts";

const LOWEST = 10_000;
const HIGHEST_WHERE_UNKNOWN = 32_767;
const TRIES_MAX = 2000;

/** The highest port that no outgoing connection gets. */
export function highestListeningPort(
	text: () => string = () => readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "latin1"),
): number {
	try {
		const lowest = Number(text().trim().split(/\s+/)[0]);
		return lowest > LOWEST + 1000 ? lowest - 1 : HIGHEST_WHERE_UNKNOWN;
	} catch {
		return HIGHEST_WHERE_UNKNOWN;
	}
}

async function isFree(port: number): Promise<boolean> {
	const server = createServer();
	try {
		server.listen(port, "127.0.0.1");
		await once(server, "listening");
		server.close();
		await once(server, "close");
		return true;
	} catch {
		return false;
	}
}

/** So many different ports of 127.0.0.1 that were free a moment ago. */
export async function listeningPorts(count: number, dice: Dice): Promise<readonly number[]> {
	const highest = highestListeningPort();
	const found = new Set<number>();
	for (let tries = 0; found.size < count; tries++) {
		if (tries === TRIES_MAX) throw new Error(`no ${count} free ports between ${LOWEST} and ${highest}`);
		const port = dice.between(LOWEST, highest);
		if (!found.has(port) && (await isFree(port))) found.add(port);
	}
	return [...found];
}
