import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualScheduler } from "../foundation/scheduler.ts";
import { choosePort, type ListeningPort } from "./listening-ports.ts";
import { LOOK_MS, type PortNews, PortWatch, SETTLE_MS, TELL_MS, WATCH_MS } from "./port-watch.ts";

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const listening = (...ports: readonly number[]): readonly ListeningPort[] =>
	ports.map((port) => ({
		port,
		addresses: ["0.0.0.0"],
		pid: 1,
		args: port === 9229 ? ["node", "--inspect"] : ["app"],
		debugOptions: "",
	}));

class World {
	readonly scheduler = new ManualScheduler();
	readonly told: string[] = [];
	ports: readonly number[] = [];
	onTold: (news: PortNews) => void = () => {};
	readonly watch = new PortWatch({
		look: async () => listening(...this.ports),
		choose: (ports) => choosePort(ports, { first: 32_768, last: 60_999 }),
		tell: (news) => {
			this.told.push(textOf(news));
			this.onTold(news);
		},
		clock: this.scheduler.clock,
		scheduler: this.scheduler,
	});

	/** In steps of one look, so that each asynchronous look ends before the next timer. */
	async pass(ms: number): Promise<void> {
		for (let left = ms; left > 0; left -= LOOK_MS) {
			this.scheduler.advance(Math.min(left, LOOK_MS));
			await settle();
		}
	}
}

function textOf(news: PortNews): string {
	switch (news.kind) {
		case "waiting":
			return `waiting ${news.waitedMs} [${news.others.map(({ port }) => port)}]`;
		case "found":
			return `found ${news.port.port} after ${news.previous}`;
		case "several":
			return `several ${news.ports.map(({ port }) => port)}`;
		case "also":
			return `also ${news.port.port} beside ${news.chosen}`;
	}
}

test("a port is found when it has been the same for a moment", async () => {
	const world = new World();
	world.watch.start();
	await world.pass(1_000);
	assert.deepEqual(world.told, []);
	world.ports = [3000];
	await world.pass(SETTLE_MS);
	assert.deepEqual(world.told, []);
	await world.pass(2 * LOOK_MS);
	assert.deepEqual(world.told, ["found 3000 after undefined"]);
	world.watch.stop();
	assert.equal(world.scheduler.pending, 0);
});

test("an app that opens its metrics port a moment before its own is asked which one it is, not guessed", async () => {
	const world = new World();
	world.watch.start();
	world.ports = [9090];
	await world.pass(200);
	world.ports = [3000, 9090];
	await world.pass(10_000);
	assert.deepEqual(world.told, ["several 3000,9090"]);
	assert.equal(world.scheduler.pending, 0, "nothing is looked for any more");
});

test("while there is none it says so every few seconds, with what there is instead", async () => {
	const world = new World();
	world.watch.start();
	world.ports = [9229];
	await world.pass(2 * TELL_MS + 200);
	assert.equal(world.told.length, 2);
	assert.match(world.told[0] ?? "", /^waiting 5\d\d\d \[9229\]$/);
	assert.match(world.told[1] ?? "", /^waiting 10\d\d\d \[9229\]$/);
	world.watch.stop();
});

test("another port that comes later is told once, and changes nothing", async () => {
	const world = new World();
	world.ports = [3000];
	world.watch.start();
	await world.pass(500);
	world.ports = [3000, 9090];
	await world.pass(3 * WATCH_MS);
	world.ports = [3000, 40_000];
	await world.pass(2 * WATCH_MS);
	assert.deepEqual(world.told, ["found 3000 after undefined", "also 9090 beside 3000"]);
	world.watch.stop();
});

test("a chosen port that the choice would now leave out is still watched", async () => {
	const world = new World();
	world.ports = [40_000];
	world.watch.start();
	await world.pass(500);
	world.ports = [3000, 40_000];
	await world.pass(2 * WATCH_MS);
	assert.deepEqual(world.told, ["found 40000 after undefined", "also 3000 beside 40000"]);
	world.watch.stop();
});

test("an app that reloads itself is found again, on the same port or on another", async () => {
	const world = new World();
	world.ports = [3000];
	world.watch.start();
	await world.pass(500);
	world.ports = [];
	await world.pass(WATCH_MS);
	world.ports = [3000];
	await world.pass(WATCH_MS);
	world.ports = [4000];
	await world.pass(2 * WATCH_MS);
	assert.deepEqual(world.told, ["found 3000 after undefined", "found 3000 after 3000", "found 4000 after 3000"]);
	world.watch.stop();
});

test("who stops it, also from what it is told or while it looks, is told nothing more", async () => {
	const world = new World();
	world.ports = [3000];
	world.onTold = () => world.watch.stop();
	world.watch.start();
	await world.pass(2_000);
	assert.equal(world.scheduler.pending, 0);
	const other = new World();
	other.ports = [3000];
	other.watch.start();
	other.scheduler.advance(0);
	other.watch.stop();
	await settle();
	assert.equal(other.scheduler.pending, 0);
	assert.deepEqual(other.told, []);
});
