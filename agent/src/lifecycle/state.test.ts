import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ManualClock } from "../foundation/clock.ts";
import { Deadline } from "../foundation/deadline.ts";
import { type LogFields, type Logger, silentLogger } from "../foundation/logger.ts";
import { LifecycleState, MOVES, type Move, type State, type StateName } from "./state.ts";

const NAMES = Object.keys(MOVES) as StateName[]; // the record has exactly these keys

function stateOf(at: StateName, clock: ManualClock): State {
	switch (at) {
		case "starting":
		case "ready":
		case "stopping":
			return { at };
		case "unready":
			return { at, why: "app_refuses" };
		case "announcing":
		case "draining":
			return { at, deadline: Deadline.after(clock, 1000) };
		case "stopped":
			return { at, cut: 0 };
	}
}

class Lines implements Logger {
	readonly lines: { level: string; message: string; fields: LogFields | undefined }[] = [];
	debug(message: string, fields?: LogFields): void {
		this.lines.push({ level: "debug", message, fields });
	}
	info(message: string, fields?: LogFields): void {
		this.lines.push({ level: "info", message, fields });
	}
	warn(message: string, fields?: LogFields): void {
		this.lines.push({ level: "warn", message, fields });
	}
	error(message: string, fields?: LogFields): void {
		this.lines.push({ level: "error", message, fields });
	}
}

test("whatever is asked for, only moves of the drawing happen, and every one is counted, logged and told in order", () => {
	fc.assert(
		fc.property(fc.array(fc.tuple(fc.constantFrom(...NAMES), fc.nat({ max: 5000 })), { maxLength: 60 }), (wishes) => {
			const clock = new ManualClock();
			const log = new Lines();
			const state = new LifecycleState(clock, log);
			const told: Move[] = [];
			state.subscribe((move) => told.push(move));
			let at: StateName = "starting";
			let moves = 0;
			for (const [to, ms] of wishes) {
				clock.advance(ms);
				const isAllowed = MOVES[at].includes(to);
				assert.equal(state.canMoveTo(to), isAllowed);
				if (!isAllowed) {
					assert.throws(() => state.set(stateOf(to, clock), "asked"), /no move from/);
					assert.equal(state.at, at);
					continue;
				}
				const wasLeaving = state.isLeaving;
				const lastedMs = state.lastedMs;
				state.set(stateOf(to, clock), "asked");
				moves += 1;
				at = to;
				assert.equal(state.at, to);
				assert.equal(state.lastedMs, 0);
				assert.ok(state.isLeaving || !wasLeaving, "nothing leads back");
				assert.equal(told.at(-1)?.lastedMs, lastedMs);
				assert.equal(told.at(-1)?.atWallMs, clock.wallMs());
			}
			assert.equal(told.length, moves);
			assert.equal(log.lines.length, moves);
			assert.equal(
				state.counts().reduce((sum, { count }) => sum + count, 0),
				moves,
			);
			for (const [index, move] of told.entries()) if (index > 0) assert.equal(move.from, told[index - 1]?.to);
		}),
	);
});

test("from every state there is a way to stopped, and from stopped none", () => {
	const reaches = (from: StateName, seen = new Set<StateName>()): boolean =>
		from === "stopped" || (!seen.has(from) && MOVES[from].some((to) => reaches(to, seen.add(from))));
	for (const name of NAMES) assert.ok(reaches(name), name);
	assert.deepEqual(MOVES.stopped, []);
});

test("a subscriber that moves the state is told of its own move after everybody has been told of the first", () => {
	const clock = new ManualClock();
	const state = new LifecycleState(clock, silentLogger);
	const told: string[] = [];
	state.subscribe(({ to }) => {
		told.push(`a ${to}`);
		if (to === "ready") state.set({ at: "unready", why: "app_refuses" }, "app_refuses");
	});
	state.subscribe(({ to }) => told.push(`b ${to} (now ${state.at})`));
	state.set({ at: "ready" }, "app_passes");
	assert.deepEqual(told, ["a ready", "b ready (now unready)", "a unready", "b unready (now unready)"]);
	assert.deepEqual(state.counts(), [
		{ from: "starting", to: "ready", reason: "app_passes", count: 1 },
		{ from: "ready", to: "unready", reason: "app_refuses", count: 1 },
	]);
});

test("a subscriber that throws is counted and logged, and the others are told all the same", () => {
	const log = new Lines();
	const state = new LifecycleState(new ManualClock(), log);
	let told = 0;
	state.subscribe(() => {
		throw new Error("a broken dashboard");
	});
	state.subscribe(() => {
		throw "not even an Error";
	});
	state.subscribe(() => {
		told += 1;
	});
	state.set({ at: "ready" }, "app_passes");
	assert.equal(told, 1);
	assert.equal(state.observerFaults, 2);
	assert.deepEqual(
		log.lines.filter(({ level }) => level === "error").map(({ fields }) => fields?.["error"]),
		["a broken dashboard", "not even an Error"],
	);
});

test("who has ended its subscription is not told any more, not even of the move that is being told", () => {
	const state = new LifecycleState(new ManualClock(), silentLogger);
	let end: () => void = () => {};
	state.subscribe(() => end());
	end = state.subscribe(() => assert.fail("ended"));
	state.set({ at: "ready" }, "app_passes");
	assert.equal(state.at, "ready");
});

test("subscribers that move the state in circles are stopped by the bound, and so are too many of them", () => {
	const state = new LifecycleState(new ManualClock(), silentLogger);
	let turns = 0;
	state.subscribe(({ to }) => {
		for (let turn = 0; turn < 100; turn += 1) {
			turns += 1;
			if (state.at === "ready") state.set({ at: "unready", why: "app_refuses" }, "app_refuses");
			else state.set({ at: "ready" }, "app_passes");
		}
		assert.fail(`never here: ${to}`);
	});
	state.set({ at: "ready" }, "app_passes");
	assert.ok(state.observerFaults > 0);
	assert.ok(turns < 1000);
	const full = new LifecycleState(new ManualClock(), silentLogger);
	for (let count = 0; count < 64; count += 1) full.subscribe(() => {});
	assert.throws(() => full.subscribe(() => {}), /too many subscribers/);
});

test("ready tells of itself and not of leaving; stopping and stopped are leaving too", () => {
	const clock = new ManualClock();
	const state = new LifecycleState(clock, silentLogger);
	const seen: [StateName, boolean, boolean][] = [];
	const look = (): number => seen.push([state.at, state.isLeaving, state.isStopping]);
	look();
	for (const at of ["ready", "announcing", "draining", "stopping", "stopped"] as const) {
		state.set(stateOf(at, clock), "asked");
		look();
	}
	assert.deepEqual(seen, [
		["starting", false, false],
		["ready", false, false],
		["announcing", true, false],
		["draining", true, false],
		["stopping", true, true],
		["stopped", true, true],
	]);
	assert.deepEqual(state.current, { at: "stopped", cut: 0 });
});
