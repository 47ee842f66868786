/** What an idle connection costs in resident memory: many of them, each after one request. */
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { residentBytes } from "./accounting.ts";
import type { Contestant } from "./contestant.ts";

export interface IdleFigures {
	readonly connections: number;
	readonly beforeBytes: number;
	readonly openBytes: number;
	readonly closedBytes: number;
	/** (open − before) / connections. */
	readonly bytesPerConnection: number;
}

/** So many are opened at a time: below every peer's backlog. */
const BATCH = 100;
const ANSWER_MS_MAX = 10_000;

/**
 * Opens the connections, lets each make one request and read its answer, waits until memory has settled, counts, closes.
 * The contestant should be fresh and have served a little: one that has been under load has memory left to hide them in.
 * @throws when one of the connections is refused, cut or not answered
 */
export async function measureIdle(contestant: Contestant, connections: number, settleMs: number): Promise<IdleFigures> {
	const pids = contestant.pids();
	await sleep(settleMs);
	const beforeBytes = residentBytes(pids);
	const sockets: Socket[] = [];
	let cut = 0;
	try {
		while (sockets.length < connections) {
			const size = Math.min(BATCH, connections - sockets.length);
			const opened = await Promise.all(Array.from({ length: size }, () => openAndAsk(contestant.port)));
			for (const socket of opened) socket.once("close", () => cut++);
			sockets.push(...opened);
		}
		await sleep(settleMs);
		const openBytes = residentBytes(pids);
		if (cut > 0) throw new Error(`${cut} of ${connections} idle connections were closed by the proxy`);
		for (const socket of sockets) socket.destroy();
		await sleep(settleMs);
		const closedBytes = residentBytes(pids);
		const bytesPerConnection = (openBytes - beforeBytes) / connections;
		return { connections, beforeBytes, openBytes, closedBytes, bytesPerConnection };
	} finally {
		for (const socket of sockets) socket.destroy();
	}
}

function openAndAsk(port: number): Promise<Socket> {
	return new Promise((resolve, reject) => {
		const socket = connect(port, "127.0.0.1");
		let answer = "";
		const fail = (why: string): void => {
			socket.destroy();
			reject(new Error(`an idle connection could not be opened: ${why}`));
		};
		socket.setTimeout(ANSWER_MS_MAX, () => fail("no answer in time"));
		socket.on("connect", () =>
			socket.write("GET / HTTP/1.1\r\nhost: localhost\r\nuser-agent: outrigger-bench\r\n\r\n"),
		);
		socket.on("error", (error) => fail(error.message));
		socket.on("close", () => fail("closed before its answer"));
		socket.on("data", (chunk) => {
			answer += chunk.toString("latin1");
			if (!isWhole(answer)) return;
			if (!answer.startsWith("HTTP/1.1 200")) return fail(answer.slice(0, 60));
			socket.setTimeout(0);
			socket.removeAllListeners("data").removeAllListeners("close").removeAllListeners("error");
			socket.on("error", () => undefined); // counted by its close
			socket.resume();
			resolve(socket);
		});
	});
}

/** Enough of HTTP for the app's small answer, chunked or with a length. */
function isWhole(answer: string): boolean {
	const end = answer.indexOf("\r\n\r\n");
	if (end === -1) return false;
	const length = /\r\ncontent-length: *(\d+)/i.exec(answer)?.[1];
	return length === undefined ? answer.endsWith("0\r\n\r\n") : answer.length >= end + 4 + Number(length);
}
