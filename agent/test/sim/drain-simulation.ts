/**
 * One simulated stop of a whole pod: callers with open arrivals, an app, the kubelet, and between them the agent: the real data plane, and the real
 * drain on a control thread from which every message takes its time. Seeded sockets, a clock that jumps from event to event.
 *
 * The ways to be stopped are in `supervisor.ts`, what has to hold in `drain-verdict.ts`. A run is calm when nobody misbehaves: app and callers abort nothing, threads are quick, and who has not
 * learned yet that we leave calls at least twice in the quiet time. Of such a run no request may be lost.
 */
import type { ControlMessage, DataMessage } from "../../src/bridge/commands.ts";
import { Counters } from "../../src/bridge/counters.ts";
import { type ExchangeRecord, RecordView, readExchangeRecord } from "../../src/bridge/exchange-record.ts";
import { RecordRing } from "../../src/bridge/record-ring.ts";
import { SeriesTable } from "../../src/bridge/series-table.ts";
import { settingsFrom } from "../../src/config/layers.ts";
import type { Settings } from "../../src/config/settings.ts";
import { DataPlane, SWEEP_MS } from "../../src/data-plane.ts";
import { Peer } from "../../src/exchange/forwarded.ts";
import { CLOSING_MS } from "../../src/lifecycle/drain-sequence.ts";
import { IdSource } from "../../src/telemetry/ids.ts";
import type { AppStream } from "../../src/upstream/connection.ts";
import type { AppHabits } from "./app.ts";
import { AppProcess, type OnSigterm } from "./app-process.ts";
import { Callers } from "./callers.ts";
import { type ClientHabits, GAP_MS } from "./client.ts";
import { ControlThread } from "./control-thread.ts";
import type { Dice } from "./dice.ts";
import { judgeAtOver, judgeClosedIdle, judgeDrain, type StopStory } from "./drain-verdict.ts";
import { Ledger } from "./ledger.ts";
import { type LinkWeather, SimSocket } from "./sim-socket.ts";
import { Supervisor, type Way } from "./supervisor.ts";
import { judge } from "./verdict.ts";
import { World } from "./world.ts";

const BASE = {
	"inbound.0.listen": "127.0.0.1:0",
	"routes.openapi": "none",
	"routes.maxSeries": "100",
	"inbound.0.app": "127.0.0.1:3000",
};
/** Budgets of a stop: the default, shorter ones, that of `outrigger run`, and one that holds hardly anything. */
const PLANS: readonly Readonly<Record<string, string>>[] = [
	{},
	{
		"drain.grace": "12s",
		"drain.announceMin": "1s",
		"drain.quietMin": "500ms",
		"drain.quietMax": "2s",
		"drain.streams": "3s",
	},
	{
		"drain.grace": "6s",
		"drain.announceMin": "500ms",
		"drain.quietMin": "200ms",
		"drain.quietMax": "1s",
		"drain.streams": "1s",
	},
	{ "drain.announceMin": "0s", "drain.quietMin": "0s", "drain.quietMax": "0s", "drain.streams": "2s" },
	{
		"drain.grace": "4s",
		"drain.announceMin": "300ms",
		"drain.quietMin": "200ms",
		"drain.quietMax": "500ms",
		"drain.streams": "300ms",
	},
];
const RUN_PLAN = 3;
const TIGHT_PLAN = 4;
const settingsOf: (Settings | undefined)[] = [];

/** Between the kubelet and the pod nothing is late or in pieces. */
const NEAR: LinkWeather = { roomBytes: 65_536, delayMs: 1, readMax: 65_536 };
/** Where clients are: some are slow, and the rest of an answer waits in the agent; some are far, and do not know yet what we have said. */
const PLACES: readonly Partial<LinkWeather>[] = [{}, {}, {}, { roomBytes: 1_500 }, { farMs: 40 }];
/** How long after the request to close idle connections somebody may still be sending on one: the agent sees it within `CLOSING_MS`. */
const STRAGGLE_MS = CLOSING_MS - 20;
const RING_BYTES = 1 << 16;
/** By when everybody must be gone. */
const GONE_MS = 240_000;

export interface DrainSimulationReport {
	readonly seed: number;
	readonly isCalm: boolean;
	readonly way: Way;
	readonly ended: string;
	readonly events: number;
	readonly requests: number;
	readonly answered: number;
	/** Arrived while leaving. */
	readonly arrivedLeaving: number;
	readonly refusedClean: number;
	readonly violations: readonly string[];
}

/** `tell`: told of every event, for looking at a seed that failed. */
export const simulateDrain = (seed: number, tell?: (line: string) => void): DrainSimulationReport => {
	const world = new World(seed, tell);
	const { dice } = world;
	const isCalm = dice.chance(0.4);
	const way: Way = dice.pick(["sidecar", "sidecar", "sidecar", "run", isCalm ? "sidecar" : "plain"]);
	const planAt = way === "run" && dice.chance(0.7) ? RUN_PLAN : dice.pick([0, 1, 1, 2, 2, isCalm ? 2 : TIGHT_PLAN]);
	settingsOf[planAt] ??= settingsFrom({ ...BASE, ...PLANS[planAt] });
	const settings = settingsOf[planAt];
	const { announceMinMs, quietMinMs, graceMs } = settings.drain;

	const ledger = new Ledger();
	const sockets: SimSocket[] = [];
	const pauseMs = dice.pick([1, 20, 200]);
	const bodyMax = dice.pick(isCalm ? [100, 3_000, 60_000] : [100, 3_000, 200_000]);
	const weather = (): LinkWeather => ({
		roomBytes: dice.pick([20_480, 65_536, 400_000]),
		delayMs: dice.pick(isCalm ? [1, 10] : [1, 10, 100]),
		readMax: dice.pick([500, 1_500, 65_536]),
	});
	/** How long a message between the threads takes at most, ms. */
	const lineMs = dice.pick(isCalm ? [0.1, 5, 20] : [0.1, 20, 150]);

	// ── the app ──
	const gone: { at: number | undefined } = { at: undefined };
	/** About what a drain has: what lasts longer than it cannot be waited for. */
	const drainMs = graceMs / 2;
	const appHabits: AppHabits = {
		isCalm,
		bodyMax,
		pauseMs,
		thinkMs: dice.pick([1, 200, drainMs * (isCalm ? 0.2 : 0.8)]),
		eventMs: dice.pick([50, 1_000]),
	};
	const app = new AppProcess(
		world,
		ledger,
		appHabits,
		dice.pick<OnSigterm>(["dies", "finishes", "finishes", "ignores"]),
		() => {
			gone.at = world.nowMs;
			supervisor.onAppGone();
		},
	);
	const detectMs = dice.between(50, 700);

	// ── the agent ──
	const ring = RecordRing.allocate(RING_BYTES);
	const view = new RecordView(ring);
	const records: ExchangeRecord[] = [];
	const collect = (): void => {
		ring.drain((offset) => records.push(readExchangeRecord(view.load(offset), 0)), Number.POSITIVE_INFINITY);
	};
	const shared = Counters.allocate().shared;
	let isAccepting = true;
	const toControl = lineOf<DataMessage>(world, dice, lineMs, (message) => control.onMessage(message));
	const plane = new DataPlane({
		settings,
		memory: {
			thread: 0,
			ring: ring.shared,
			counters: shared,
			series: SeriesTable.allocate(settings.routes.seriesMax, settings.metrics.bodySizes),
		},
		clock: world.clock,
		afterTurn: world.afterTurn,
		ids: new IdSource((into) => {
			for (let i = 0; i < into.length; i++) into[i] = dice.below(256);
		}),
		connect: (): AppStream => {
			const [near, far] = SimSocket.pair(world, weather(), true, `app${sockets.length}`);
			sockets.push(near, far);
			app.dialled(near, far, !isCalm);
			return near;
		},
		send: (message) => {
			if (message.kind === "log" && message.level === "error")
				world.violated(`${message.message}: ${JSON.stringify(message.fields)}`);
			toControl(message);
		},
	});
	const listener = plane.listeners[0];
	if (listener === undefined) throw new RangeError("no listener");
	const toData = lineOf<ControlMessage>(world, dice, lineMs, (message) => {
		world.tell("agent", `data thread: ${JSON.stringify(message)}`);
		if (message.kind === "stop") isAccepting = false;
		const open = message.kind === "closeIdle" ? callers.conversations.filter(({ near }) => !near.hasEnded) : [];
		void plane.obey(message);
		if (open.length === 0) return;
		collect();
		judgeClosedIdle(
			story,
			open.filter(({ near }) => near.hasEnded),
		);
	});
	const sweep = (): void => {
		plane.sweep();
		collect();
		if (control.stoppedMs === undefined) world.after(SWEEP_MS, sweep);
	};
	world.after(SWEEP_MS, sweep);

	let bypass = 0;
	let leases = 0;
	const control = new ControlThread({
		world,
		settings,
		counters: shared,
		post: toData,
		bypass: () => bypass,
		lateMs: () => supervisor.waitedMs,
		isAppGone: () => world.nowMs - app.deafSinceMs >= detectMs,
		onOver: () => {
			collect();
			judgeAtOver(story);
			supervisor.onOver();
		},
		onCloseIdle: () => {
			if (dice.chance(0.5)) world.after(dice.random() * STRAGGLE_MS, () => callers.straggle());
		},
	});
	control.start();

	// ── the callers ──
	const clientHabits: ClientHabits = {
		isCalm,
		requestsMax: 0,
		bodyMax,
		pauseMs,
		gapMs: GAP_MS,
		patienceMs: isCalm ? 2 * GONE_MS : dice.pick([2_000, 8_000, 60_000]),
	};
	const callers = new Callers({
		world,
		ledger,
		habits: clientHabits,
		count: dice.between(1, 5),
		connect: (isNear) => {
			if (!isAccepting) return undefined;
			const link = isNear ? NEAR : { ...weather(), ...dice.pick(PLACES) };
			const [near, far] = SimSocket.pair(world, link, false, `client${sockets.length}`);
			sockets.push(near, far);
			listener.take(near, new Peer("10.0.0.1"), undefined);
			return { near, far };
		},
		comesBack: isCalm ? 0.7 : 0.4,
		earlyMs: quietMinMs * 0.2,
		retryMs: Math.max(20, quietMinMs * 0.4),
	});
	const beginMs = dice.between(100, 1_500);
	const meanGapMs = dice.pick([30, 100, 400, 1_500]);
	const arrive = (): void => {
		const isLeaving = world.nowMs >= beginMs;
		if (control.stoppedMs !== undefined || (isLeaving && callers.haveLearned)) return;
		callers.arrive(dice.chance(0.06) ? "stream" : dice.chance(0.04) ? "upgrade" : "plain");
		const gapMs = -meanGapMs * Math.log(1 - dice.random());
		world.after(isCalm && quietMinMs > 0 ? Math.min(gapMs, quietMinMs * 0.4) : gapMs, arrive);
	};
	world.after(0, arrive);
	const probeMs = dice.pick([130, 1_010, Number.POSITIVE_INFINITY]);
	const probe = (): void => {
		if (control.stoppedMs !== undefined) return;
		callers.probe();
		world.after(probeMs, probe);
	};
	world.after(probeMs + 7, probe); // never just when the agent sweeps

	// ── what else holds a drain ──
	let lastHeldMs = 0;
	const holds = (): void => {
		const ms = dice.random() * drainMs * (isCalm ? 0.5 : 1.5);
		const ttlMs = dice.random() * drainMs;
		if (dice.chance(0.5)) {
			const lease = control.stopMs === undefined ? control.leases.hold("job", ttlMs) : undefined;
			if (lease === undefined) return;
			const untilMs = world.nowMs + Math.min(ms, ttlMs);
			lastHeldMs = Math.max(lastHeldMs, untilMs);
			leases++;
			world.after(Math.min(ms, ttlMs), () => {
				leases--;
			});
			world.after(ms, () => control.leases.release(lease.id));
		} else {
			bypass++;
			lastHeldMs = Math.max(lastHeldMs, world.nowMs + ms);
			world.after(ms, () => {
				bypass--;
			});
		}
	};
	for (let n = dice.chance(0.3) ? dice.between(1, 3) : 0; n > 0; n--)
		world.after(beginMs + (dice.random() - 0.5) * 2_000, holds);

	// ── the stop ──
	const learnMs = dice.random() * announceMinMs * (isCalm ? 1.2 : 2) + (isCalm ? 0 : dice.random() * 1_000);
	const supervisor = new Supervisor({
		world,
		way,
		control,
		app,
		beginMs,
		graceMs,
		hookMs: isCalm ? 100 : 600,
		onBegin: () => callers.learnWithin(learnMs),
	});
	if (!isCalm) {
		const somewhen = (): number => beginMs + (dice.random() - 0.1) * graceMs * 0.6;
		if (dice.chance(0.15)) world.after(somewhen(), () => app.die());
		if (dice.chance(0.08)) world.after(somewhen(), () => supervisor.secondSignal());
		if (dice.chance(0.08)) world.after(somewhen(), () => control.hurry("fault"));
	}

	const story: StopStory = {
		world,
		settings,
		ledger,
		control,
		callers,
		app,
		records,
		isCalm,
		lineMs,
		gone,
		lastHeldMs: () => lastHeldMs,
		held: () => leases + bypass,
	};

	// ── until everybody is gone ──
	world.run(() => supervisor.isOver && !app.isAlive && callers.areGone, GONE_MS);
	if (!supervisor.isOver) world.violated("the agent is still there");
	if (!callers.areGone) world.violated("a client is still there");
	world.run(() => false, world.nowMs + 1_000);
	collect();
	judge({
		ledger,
		records,
		recordsDropped: ring.dropped,
		counters: plane.counters,
		isCalm: false, // what is calm here has its own verdict
		violated: (what) => world.violated(what),
	});
	judgeDrain(story);
	for (const socket of sockets) {
		if (!socket.destroyed && socket.listenerCount("connect") > 0) world.violated("a connection to the app is left");
		if (socket.destroyed && socket.hasTimeout) world.violated("a timer of a closed socket is left");
	}
	for (const { near } of callers.conversations) if (!near.destroyed) world.violated("a connection of a client is left");
	const requests = [...ledger.requests.values()];
	return {
		seed,
		isCalm,
		way,
		ended: control.outcome?.ended ?? "never",
		events: world.events,
		requests: requests.length,
		answered: requests.filter(({ got }) => got !== undefined && got.error === undefined).length,
		arrivedLeaving: control.report?.arrived ?? 0,
		refusedClean: callers.losses.filter(({ how }) => how === "clean").length,
		violations: world.violations,
	};
};

/** One way between the threads: messages keep their order, and each takes its time. */
function lineOf<M>(world: World, dice: Dice, delayMaxMs: number, take: (message: M) => void): (message: M) => void {
	let lastMs = 0;
	return (message) => {
		lastMs = Math.max(lastMs, world.nowMs + (dice.chance(0.8) ? 0.1 : 1) * dice.random() * delayMaxMs);
		world.after(lastMs - world.nowMs, () => take(message));
	};
}
