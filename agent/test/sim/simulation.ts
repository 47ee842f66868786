/**
 * One simulated run of a whole data plane: random clients, a random app, seeded sockets, a clock that jumps from event to event. What has to hold
 * whatever happens:
 *
 * - the app receives only well-formed requests, each of which the agent has accounted for;
 * - no response is delivered as whole that was not whole; responses come in order and belong to their requests;
 * - every exchange ends exactly once; requests in = answers + cuts; all gauges are 0 in the end;
 * - nothing that is not idempotent is sent twice;
 * - no socket and no timer is left.
 *
 * In a calm run (nobody cuts, stalls or talks nonsense) every request is answered whole as well: what waits for ever is found there.
 */
import { CELL, Counters } from "../../src/bridge/counters.ts";
import { type ExchangeRecord, RecordView, readExchangeRecord } from "../../src/bridge/exchange-record.ts";
import { RecordRing } from "../../src/bridge/record-ring.ts";
import { SeriesTable } from "../../src/bridge/series-table.ts";
import { settingsFrom } from "../../src/config/layers.ts";
import type { Settings } from "../../src/config/settings.ts";
import { DataPlane, SWEEP_MS } from "../../src/data-plane.ts";
import { Peer } from "../../src/exchange/forwarded.ts";
import { IdSource } from "../../src/telemetry/ids.ts";
import type { AppStream } from "../../src/upstream/connection.ts";
import { AppConnection, type AppHabits } from "./app.ts";
import { Client, type ClientHabits, GAP_MS } from "./client.ts";
import { Ledger } from "./ledger.ts";
import { type LinkWeather, SimSocket } from "./sim-socket.ts";
import { judge } from "./verdict.ts";
import { World } from "./world.ts";

const BASE = {
	"inbound.0.listen": "127.0.0.1:0",
	"routes.openapi": "none",
	"routes.maxSeries": "100",
	"inbound.0.app": "localhost:3000",
};
const QUICK = {
	"timeouts.head": "2s",
	"timeouts.idle": "5s",
	"timeouts.bodyStall": "2s",
	"timeouts.connect": "500ms",
	"timeouts.response": "3s",
	"timeouts.writeStall": "2s",
	"timeouts.linger": "1s",
	"limits.pipeline": "4",
	"limits.head": "8KiB",
	"limits.target": "4KiB",
};
const TIGHT = {
	"limits.lingerBytes": "8KiB",
	"limits.connections": "3",
	"limits.inFlight": "2",
	"limits.body": "20KiB",
};
/** Less than the configuration takes: so many bytes are enough for a few heads. */
const TIGHT_BUFFERED_BYTES = 64 * 1024;
const TIGHT_AGENT = 2;

/** Which agent is simulated; the first is the calm one's. */
const AGENTS: readonly Readonly<Record<string, string>>[] = [
	BASE,
	{ ...BASE, ...QUICK },
	{ ...BASE, ...QUICK, ...TIGHT },
	{ ...BASE, ...QUICK, "connections.halfClose": "serve", "connections.maxAge": "1s" },
	{ ...BASE, ...QUICK, "inbound.0.app": "127.0.0.1:3000", "limits.headers": "16" },
];
const settingsOf: (Settings | undefined)[] = [];
const settingsOfAgent = (agent: number): Settings => {
	const settings = settingsFrom(AGENTS[agent] ?? BASE);
	if (agent !== TIGHT_AGENT) return settings;
	return { ...settings, limits: { ...settings.limits, bufferedBytesMax: TIGHT_BUFFERED_BYTES } };
};

/** Simulated time by which everybody must be gone. */
const CLIENTS_GONE_MS = 120_000;
/** And by which all that the agent then does on its own is done. */
const QUIET_MS = 60_000;
const RING_BYTES = 1 << 16;

export interface SimulationReport {
	readonly seed: number;
	readonly isCalm: boolean;
	readonly events: number;
	readonly requests: number;
	readonly answered: number;
	readonly records: number;
	readonly violations: readonly string[];
}

/** `tell`: told of every event, for looking at a seed that failed. */
export const simulate = (seed: number, tell?: (line: string) => void): SimulationReport => {
	const world = new World(seed, tell);
	const { dice } = world;
	const isCalm = dice.chance(0.3);
	const agent = isCalm ? 0 : dice.between(1, AGENTS.length - 1);
	settingsOf[agent] ??= settingsOfAgent(agent);
	const settings = settingsOf[agent];

	const ledger = new Ledger();
	const sockets: SimSocket[] = [];
	const pauseMs = dice.pick([1, 20, 200]);
	const bodyMax = dice.pick([100, 3_000, 200_000]);
	const appHabits: AppHabits = { isCalm, bodyMax, pauseMs, thinkMs: 0, eventMs: 0 };
	const weather = (): LinkWeather => ({
		roomBytes: dice.pick([20_480, 65_536, 400_000]),
		delayMs: dice.pick([1, 10, 100]),
		readMax: dice.pick([bodyMax < 1000 ? 3 : 500, 1_500, 65_536]),
	});

	// ── the app ──
	const apps: AppConnection[] = [];
	let isAppDown = false;
	const dialled = (address: { readonly kind: string; readonly host?: string | undefined }): AppStream => {
		const [near, far] = SimSocket.pair(world, weather(), true, `app${sockets.length}`);
		sockets.push(near, far);
		near.isConnecting = true;
		const fate = dice.random();
		if (!isCalm && fate < 0.02) return near; // nobody answers
		world.after(dice.random() * (dice.chance(0.9) ? 2 : 300), () => {
			if (near.destroyed) return;
			const isElsewhere = address.host === "::1" || (!isCalm && fate < 0.05);
			if (isAppDown || isElsewhere) {
				near.refused("ECONNREFUSED");
				return;
			}
			apps.push(new AppConnection(world, ledger, appHabits, far));
			near.connected();
		});
		return near;
	};
	const dieSometimes = (): void => {
		world.after(dice.random() * 3_000, () => {
			isAppDown = true;
			for (const app of apps) app.die();
			world.after(dice.random() * 500, () => {
				isAppDown = false;
			});
		});
	};
	if (!isCalm && dice.chance(0.2)) dieSometimes();

	// ── the agent ──
	const ring = RecordRing.allocate(RING_BYTES);
	const view = new RecordView(ring);
	const records: ExchangeRecord[] = [];
	const collect = (): void => {
		ring.drain((offset) => records.push(readExchangeRecord(view.load(offset), 0)), Number.POSITIVE_INFINITY);
	};
	const plane = new DataPlane({
		settings,
		memory: {
			thread: 0,
			ring: ring.shared,
			counters: Counters.allocate().shared,
			series: SeriesTable.allocate(settings.routes.seriesMax, settings.metrics.bodySizes),
		},
		clock: world.clock,
		afterTurn: world.afterTurn,
		ids: new IdSource((into) => {
			for (let i = 0; i < into.length; i++) into[i] = dice.below(256);
		}),
		connect: dialled,
		send: (message) => {
			if (message.kind === "log" && message.level === "error")
				world.violated(`${message.message}: ${JSON.stringify(message.fields)}`);
		},
	});
	const listener = plane.listeners[0];
	if (listener === undefined) throw new RangeError("no listener");
	const sweep = (): void => {
		plane.sweep();
		collect();
		world.after(SWEEP_MS, sweep);
	};
	world.after(SWEEP_MS, sweep);

	// ── the clients ──
	const clientHabits: ClientHabits = {
		isCalm,
		requestsMax: dice.pick([2, 6, 12]),
		bodyMax,
		pauseMs,
		gapMs: GAP_MS,
		patienceMs: isCalm ? 100_000 : dice.pick([2_000, 8_000]),
	};
	const clients: Client[] = [];
	const count = dice.between(1, 4);
	for (let i = 0; i < count; i++) {
		world.after(dice.random() * 500, () => {
			const [near, far] = SimSocket.pair(world, weather(), false, `client${i}`);
			sockets.push(near, far);
			const client = new Client(world, ledger, clientHabits, far);
			clients.push(client);
			listener.take(near, new Peer(`10.0.0.${i}`), undefined);
			client.start();
		});
	}
	if (!isCalm && dice.chance(0.1)) {
		world.after(dice.random() * 2_000, () => {
			void plane.obey({ kind: "state", state: "draining" });
			void plane.obey({ kind: "closeIdle", idleMs: 0 });
		});
	}
	if (!isCalm && dice.chance(0.05)) world.after(dice.random() * 2_000, () => plane.stop());

	// ── until everybody is gone ──
	const isQuiet = (): boolean => clients.length === count && clients.every(({ isOver }) => isOver);
	world.run(isQuiet, CLIENTS_GONE_MS);
	if (!isQuiet()) world.violated("a client is still there");
	// What was sent before is still served, one request after the other; each may take the longest of the agent's timeouts.
	const { counters } = plane;
	const isEmpty = (): boolean => counters.get(CELL.DOWNSTREAM_OPEN) + counters.get(CELL.UPSTREAM_OPEN) === 0;
	world.run(isEmpty, world.nowMs + QUIET_MS);
	world.run(() => false, world.nowMs + 2 * SWEEP_MS);
	collect();
	judge({
		ledger,
		records,
		recordsDropped: ring.dropped,
		counters,
		isCalm,
		violated: (what) => world.violated(what),
	});
	for (const socket of sockets) {
		if (!socket.destroyed && socket.listenerCount("data") > 0 && socket.listenerCount("connect") > 0)
			world.violated("a connection to the app is left");
		if (socket.destroyed && socket.hasTimeout) world.violated("a timer of a closed socket is left");
	}
	return {
		seed,
		isCalm,
		events: world.events,
		requests: ledger.requests.size,
		answered: [...ledger.requests.values()].filter(({ got }) => got !== undefined).length,
		records: records.length,
		violations: world.violations,
	};
};
