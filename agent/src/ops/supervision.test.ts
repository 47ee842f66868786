/** What supervises (probes, stop hooks) never waits behind what observes (pages of metrics, scrapers, records), nor behind strangers. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { type TestContext, test } from "node:test";
import { everydayFacts } from "../../bench/records.ts";
import { writeExchangeRecord } from "../bridge/exchange-record.ts";
import { RecordRing } from "../bridge/record-ring.ts";
import { systemClock } from "../foundation/clock.ts";
import { silentLogger } from "../foundation/logger.ts";
import { ManualScheduler, systemScheduler } from "../foundation/scheduler.ts";
import { AppPages } from "../observe/app-page.ts";
import { ExchangeObservers } from "../observe/exchange-observers.ts";
import type { MetricSource } from "../telemetry/exposition-write.ts";
import { DrainedRoute } from "./drained.ts";
import { ask, countersOf, metricsPage, RawClient, type Running, startServer } from "./server.fixture.ts";
import type { OpsServerParts } from "./server.ts";

interface Supervised extends Running {
	readonly route: DrainedRoute;
	readonly endDrain: () => void;
	/** Until so many wait: what is on its way through a socket comes when it comes. */
	readonly untilWaiting: (count: number) => Promise<void>;
}

/** A server in an agent whose drain has begun. */
async function startSupervised(t: TestContext, parts: Partial<OpsServerParts> = {}): Promise<Supervised> {
	const scheduler = new ManualScheduler();
	const { promise: over, resolve } = Promise.withResolvers<{ readonly ended: string }>();
	let begin: () => void = () => {};
	const route = new DrainedRoute({
		whenBegun: (listener) => {
			begin = listener;
			return () => {};
		},
		over,
		remainingMs: () => 10_000,
		startWithinMs: 5_000,
		onRestart: () => assert.fail("a drain has begun"),
		clock: scheduler.clock,
		scheduler,
		log: silentLogger,
	});
	begin();
	const running = await startServer(t, { routes: [route], ...parts });
	return {
		...running,
		route,
		endDrain: () => resolve({ ended: "idle" }),
		untilWaiting: async (count) => {
			while (countersOf(route)["outrigger_drained_waiters"] !== count) await nextTurn();
		},
	};
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A probe and a hook from beginning to end, each on a connection of its own. */
async function supervise({ port, endDrain, untilWaiting }: Supervised): Promise<void> {
	assert.equal((await ask(port, "/livez", { connection: "close" })).status, 200);
	const hook = ask(port, "/lifecycle/drained");
	await untilWaiting(1);
	assert.equal((await ask(port, "/readyz", { connection: "close" })).status, 503);
	endDrain();
	assert.match(String((await hook).body), /"outcome":"drained"/);
}

test("probes and hooks are answered while a scraper waits for the app's page", async (t) => {
	const app = createServer((socket) => {
		socket.on("error", () => {});
		socket.resume(); // and says nothing
	});
	app.listen(0, "127.0.0.1");
	await once(app, "listening");
	t.after(() => app.close());
	const address = app.address();
	assert.ok(typeof address === "object" && address !== null);
	const pages = new AppPages({
		urls: [`http://127.0.0.1:${address.port}/metrics`],
		clock: systemClock,
		scheduler: systemScheduler,
		log: silentLogger,
	});
	t.after(() => pages.stop());
	const supervised = await startSupervised(t, { metrics: metricsPage({ writeMetrics() {} }, { app: pages }) });
	const scraper = new RawClient(t, supervised.port);
	const asked = once(app, "connection");
	scraper.ask("/metrics");
	await asked;
	await supervise(supervised);
	assert.equal(scraper.text, "", "the scraper still waits");
	assert.equal(scraper.socket.destroyed, false);
});

test("probes are answered between the slices of a page that takes as long as it likes", async (t) => {
	let isAnswered = false;
	const endless: MetricSource = {
		async writeMetrics(out) {
			out.family("a", "gauge", "A.");
			for (let i = 0; !isAnswered; i++) {
				out.sample(`label="${i}"`, i);
				if (out.isDue()) await out.pause();
			}
		},
	};
	const supervised = await startSupervised(t, { metrics: metricsPage(endless, { clock: systemClock }) });
	const page = ask(supervised.port, "/metrics", { connection: "close" });
	await supervise(supervised);
	isAnswered = true;
	assert.equal((await page).status, 200);
});

test("64 scrapers that hang keep out neither probe nor hook, and more of them do not push the hook out", async (t) => {
	const scraped = Promise.withResolvers<void>();
	const never: MetricSource = {
		writeMetrics: () => {
			scraped.resolve();
			return new Promise<void>(() => {});
		},
	};
	const supervised = await startSupervised(t, { metrics: metricsPage(never) });
	const { port, server, untilWaiting } = supervised;
	const scrape = (): RawClient => {
		const scraper = new RawClient(t, port);
		scraper.ask("/metrics");
		return scraper;
	};
	const scrapers = Array.from({ length: 64 }, scrape);
	await scraped.promise;
	while (countersOf(server)["outrigger_ops_connections"] !== 64) await nextTurn();
	assert.equal((await ask(port, "/livez", { connection: "close" })).status, 200);
	await Promise.race(scrapers.map(({ closed }) => closed));
	const hook = ask(port, "/lifecycle/drained");
	await untilWaiting(1);
	scrapers.push(...Array.from({ length: 64 }, scrape));
	while ((countersOf(server)["replaced"] ?? 0) < 64) await nextTurn();
	assert.equal((await ask(port, "/livez", { connection: "close" })).status, 200);
	supervised.endDrain();
	assert.match(String((await hook).body), /"outcome":"drained"/);
	assert.deepEqual([countersOf(server)["waiter_replaced"], scrapers.length], [0, 128]);
});

test("probes and hooks are answered while the ring of observers never gets empty", async (t) => {
	const ring = RecordRing.allocate(1 << 20);
	const writer = new RecordRing(ring.shared);
	const fill = (): void => {
		while (writeExchangeRecord(writer, everydayFacts(), 1024));
	};
	let turns = 0;
	const observers = new ExchangeObservers(
		systemScheduler,
		[
			{
				name: "overrun",
				observe: () => {},
				endTurn: () => {
					turns++;
					fill();
				},
			},
		],
		(_, error) => assert.ifError(error),
	);
	observers.addRing(0, ring.shared);
	fill();
	await observers.start();
	t.after(() => observers.stop());
	while (turns === 0) await nextTurn();
	const supervised = await startSupervised(t);
	await supervise(supervised);
	assert.ok(ring.usedBytes > ring.capacity / 2, "it is as full as before");
});

for (const first of ["the kubelet", "a stranger"] as const) {
	test(`64 waiters of a stranger do not push out the kubelet's hook when ${first} was there first`, async (t) => {
		if (process.platform !== "linux") return t.diagnostic("127.0.0.2 is only there on Linux");
		const { port, server, endDrain, untilWaiting } = await startSupervised(t);
		const wait = (from: string, count: number): readonly RawClient[] => {
			const clients = Array.from({ length: count }, () => new RawClient(t, port, from));
			for (const client of clients) client.ask("/lifecycle/drained");
			return clients;
		};
		const untilReplaced = async (count: number): Promise<void> => {
			while (countersOf(server)["waiter_replaced"] !== count) await nextTurn();
		};
		const kubelet = (): readonly RawClient[] => wait("127.0.0.1", 1);
		const stranger = (): readonly RawClient[] => wait("127.0.0.2", 64);
		const early = first === "the kubelet" ? kubelet() : stranger();
		await untilWaiting(early.length);
		const late = first === "the kubelet" ? stranger() : kubelet();
		await untilReplaced(1);
		stranger(); // and 64 more of him
		await untilReplaced(65);
		const hook = first === "the kubelet" ? early[0] : late[0];
		assert.equal(hook?.socket.destroyed, false);
		endDrain();
		await hook?.until('"outcome":"drained"');
	});
}
