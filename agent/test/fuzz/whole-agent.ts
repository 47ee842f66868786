/**
 * The clients and the app of the simulation, before a whole data plane on real sockets: the kernel's own splits and delays, with cuts by FIN and RST. The seed gives
 * the same plans again, not the same order of events.
 */

import { once } from "node:events";
import { createServer, Socket } from "node:net";
import { CELL } from "../../src/bridge/counters.ts";
import { AppConnection } from "../sim/app.ts";
import { Client, GAP_MS } from "../sim/client.ts";
import { Dice } from "../sim/dice.ts";
import { Ledger } from "../sim/ledger.ts";
import { judge } from "../sim/verdict.ts";
import type { Stage } from "../sim/world.ts";
import { eventually, startPlane } from "../story/harness.ts";

const QUICK = {
	"timeouts.head": "500ms",
	"timeouts.idle": "1s",
	"timeouts.bodyStall": "500ms",
	"timeouts.response": "700ms",
	"timeouts.writeStall": "500ms",
	"timeouts.linger": "300ms",
	"timeouts.appIdle": "300ms",
	"limits.pipeline": "4",
	"limits.head": "8KiB",
	"limits.target": "4KiB",
};
const CLIENTS = 30;
const HABITS = [
	{ isCalm: true, patienceMs: 15_000 },
	{ isCalm: false, patienceMs: 1_500 },
	{ isCalm: false, patienceMs: 1_500 },
];

class Machine implements Stage {
	readonly dice: Dice;
	readonly violations: string[] = [];
	readonly #timers = new Set<NodeJS.Timeout>();

	constructor(seed: number) {
		this.dice = new Dice(seed);
	}

	get nowMs(): number {
		return performance.now();
	}

	after(ms: number, action: () => void): void {
		const timer = setTimeout(() => {
			this.#timers.delete(timer);
			action();
		}, ms);
		this.#timers.add(timer);
	}

	violated(what: string): void {
		if (this.violations.length < 20) this.violations.push(what);
	}

	stop(): void {
		for (const timer of this.#timers) clearTimeout(timer);
	}
}

export interface Round {
	readonly requests: number;
	readonly answered: number;
	readonly violations: readonly string[];
}

/** One plane, one app, `CLIENTS` clients; until everybody is gone. */
export const fuzzWholeAgent = async (seed: number): Promise<Round> => {
	const machine = new Machine(seed);
	const { dice } = machine;
	const { isCalm, patienceMs } = dice.pick(HABITS);
	const ledger = new Ledger();
	const bodyMax = dice.pick([100, 3_000, 300_000]);
	const pauseMs = dice.pick([1, 10]);

	const apps = new Set<Socket>();
	const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
		apps.add(socket);
		socket.on("close", () => apps.delete(socket));
		new AppConnection(machine, ledger, { isCalm, bodyMax, pauseMs, thinkMs: 0, eventMs: 0 }, socket);
	});
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	const address = server.address();
	const appPort = typeof address === "object" && address !== null ? address.port : 0;
	{
		// A calm agent has its own, longer patience.
		await using agent = await startPlane(appPort, { set: isCalm ? {} : QUICK });
		const clients: Client[] = [];
		const habits = { isCalm, requestsMax: dice.pick([2, 6]), bodyMax, pauseMs, gapMs: GAP_MS, patienceMs };
		for (let i = 0; i < CLIENTS; i++) {
			const socket = new Socket({ allowHalfOpen: true });
			socket.setNoDelay(true);
			const client = new Client(machine, ledger, habits, socket);
			clients.push(client);
			socket.once("connect", () => client.start());
			machine.after(dice.random() * 300, () => socket.connect(agent.port, "127.0.0.1"));
		}
		const { counters } = agent;
		await eventually(() => clients.every(({ isOver }) => isOver), "all clients to be gone");
		await eventually(
			() => counters.get(CELL.DOWNSTREAM_OPEN) + counters.get(CELL.UPSTREAM_OPEN) === 0,
			"the agent to have closed all connections",
		).catch((error: Error) => machine.violated(error.message));
		judge({
			ledger,
			records: agent.records,
			recordsDropped: 0,
			counters,
			isCalm,
			violated: (what) => machine.violated(what),
		});
	}
	machine.stop();
	for (const socket of apps) socket.destroy();
	server.close();
	await once(server, "close");
	const requests = [...ledger.requests.values()];
	return {
		requests: requests.length,
		answered: requests.filter(({ got }) => got !== undefined).length,
		violations: machine.violations,
	};
};
