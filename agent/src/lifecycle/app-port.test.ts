import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { renderAddress } from "../config/address.ts";
import type { Address } from "../config/settings.ts";
import { ManualScheduler } from "../foundation/scheduler.ts";
import { AppPort, appPlaces, RETRY_MS, tryConnect } from "./app-port.ts";

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const localhost: Address = { kind: "tcp", host: "localhost", port: 3000 };

function fixture(app: Address | undefined = localhost, own: readonly string[] = ["10.0.0.7"], timeoutMs = 1_000) {
	const scheduler = new ManualScheduler();
	const accepting = new Set<string>();
	const tried: string[] = [];
	let hangs = false;
	/** How a place fails that does not accept; ECONNREFUSED when nothing is told. */
	const codes = new Map<string, string>();
	const port = new AppPort(
		"app-port",
		app,
		{ intervalMs: 5_000, timeoutMs, fall: 3, rise: 2 },
		{
			clock: scheduler.clock,
			scheduler,
			random: () => 0.5,
			ownAddresses: () => own,
			tryConnect: async (address) => {
				tried.push(renderAddress(address));
				if (hangs) {
					scheduler.clock.advance(timeoutMs);
					throw new Error("no answer in time");
				}
				const place = renderAddress(address);
				if (!accepting.has(place)) throw Object.assign(new Error(place), { code: codes.get(place) ?? "ECONNREFUSED" });
			},
		},
	);
	const told: string[] = [];
	port.subscribe(({ state, address }) => told.push(`${state} ${address === undefined ? "-" : renderAddress(address)}`));
	const step = async (ms: number): Promise<void> => {
		scheduler.advance(ms);
		await settle();
	};
	return {
		port,
		scheduler,
		accepting,
		codes,
		tried,
		told,
		step,
		hang: () => {
			hangs = true;
		},
	};
}

test("localhost means 127.0.0.1, then ::1, then the addresses of the pod; anything else means itself", () => {
	const render = (app: Address, own: readonly string[]): readonly string[] => appPlaces(app, own).map(renderAddress);
	const expected = ["127.0.0.1:3000", "[::1]:3000", "10.0.0.7:3000", "[fd00::7]:3000"];
	assert.deepEqual(render(localhost, ["10.0.0.7", "fd00::7"]), expected);
	assert.deepEqual(render({ ...localhost, host: undefined }, ["10.0.0.7", "fd00::7"]), expected);
	assert.deepEqual(render({ ...localhost, host: "10.1.1.1" }, ["10.0.0.7"]), ["10.1.1.1:3000"]);
	assert.deepEqual(render({ kind: "unix", path: "/run/app.sock" }, ["10.0.0.7"]), ["unix:/run/app.sock"]);
	assert.equal(appPlaces(localhost, Array(100).fill("10.0.0.7")).length, 8);
});

test("an app that comes is seen at the next short retry, on whichever address it listens", async () => {
	const { port, accepting, told, tried, step } = fixture();
	assert.equal(port.status.state, "unknown");
	await port.start();
	await step(0);
	assert.equal(port.status.state, "refuses");
	assert.match(
		port.status.lastError ?? "",
		/^ECONNREFUSED 127\.0\.0\.1:3000, ECONNREFUSED \[::1\]:3000, ECONNREFUSED 10/,
	);
	accepting.add("10.0.0.7:3000");
	await step(RETRY_MS);
	assert.equal(port.status.state, "refuses", "rise is 2 once it has refused");
	await step(RETRY_MS);
	assert.deepEqual(told, ["refuses -", "refuses 10.0.0.7:3000", "accepts 10.0.0.7:3000"]);
	assert.equal(port.status.lastError, undefined);
	tried.length = 0;
	await step(5_000);
	assert.deepEqual(tried, ["10.0.0.7:3000"], "where it answered is tried first");
	await port.stop();
});

test("the first answer counts at once; afterwards it takes fall failures, quickly one after the other", async () => {
	const { port, accepting, told, step, scheduler } = fixture();
	accepting.add("127.0.0.1:3000");
	await port.start();
	await port.start();
	await step(0);
	assert.equal(port.status.state, "accepts");
	const sinceMs = port.status.sinceMs;
	accepting.clear();
	await step(5_000);
	assert.equal(port.status.state, "accepts");
	assert.match(port.status.lastError ?? "", /ECONNREFUSED/);
	assert.equal(port.status.sinceMs, sinceMs);
	await step(RETRY_MS);
	await step(RETRY_MS);
	assert.equal(port.status.state, "refuses");
	assert.deepEqual(
		port.status.address,
		{ kind: "tcp", host: "127.0.0.1", port: 3000 },
		"most likely it comes back there",
	);
	assert.ok(port.status.sinceMs > sinceMs);
	assert.deepEqual(
		told,
		["accepts 127.0.0.1:3000", "accepts 127.0.0.1:3000", "refuses 127.0.0.1:3000"],
		"the first failure is told, and changes nothing else",
	);
	await port.stop();
	assert.equal(scheduler.pending, 0);
});

test("a check that hangs uses up its time and tries no further place", async () => {
	const { port, tried, step, hang } = fixture();
	hang();
	await port.start();
	await step(0);
	assert.deepEqual(tried, ["127.0.0.1:3000"]);
	assert.match(port.status.lastError ?? "", /no answer in time/);
	await port.stop();
});

test("without a port nothing is tried; a port that is found is checked at once and the old one forgotten", async () => {
	const scheduler = new ManualScheduler();
	const { promise: slow, resolve: answer } = Promise.withResolvers<void>();
	const tried: string[] = [];
	const port = new AppPort(
		"app-port",
		undefined,
		{ intervalMs: 5_000, timeoutMs: 1_000, fall: 1, rise: 1 },
		{
			clock: scheduler.clock,
			scheduler,
			random: () => 0,
			ownAddresses: () => [],
			tryConnect: (address) => {
				tried.push(renderAddress(address));
				return address.kind === "tcp" && address.port === 3000 ? slow : Promise.resolve();
			},
		},
	);
	await port.start();
	scheduler.advance(60_000);
	await settle();
	assert.deepEqual(tried, []);
	port.setApp(localhost);
	scheduler.advance(0);
	port.setApp({ ...localhost, port: 4000 });
	answer(); // too late: nobody asks about 3000 any more
	await settle();
	assert.equal(port.status.address, undefined);
	scheduler.advance(0);
	await settle();
	assert.deepEqual(port.status.address, { kind: "tcp", host: "127.0.0.1", port: 4000 });
	await port.stop();
	assert.equal(scheduler.pending, 0);
});

/** Until the port refuses, one short retry after the other. */
async function untilRefused({ port, step }: ReturnType<typeof fixture>): Promise<void> {
	await step(5_000);
	for (let checks = 1; port.status.state !== "refuses"; checks++) {
		assert.ok(checks < 10, "fall is 3");
		await step(RETRY_MS);
	}
}

test("an app is gone when it is refused everywhere, not when a place is silent or we cannot ask", async () => {
	const all = ["127.0.0.1:3000", "[::1]:3000", "10.0.0.7:3000"] as const;
	const cases: readonly (readonly [string, readonly [string, string, string], boolean])[] = [
		["nobody listens", ["ECONNREFUSED", "ECONNREFUSED", "ECONNREFUSED"], true],
		["a pod without IPv6", ["ECONNREFUSED", "EADDRNOTAVAIL", "ECONNREFUSED"], true],
		["a kernel without IPv6", ["ECONNREFUSED", "EAFNOSUPPORT", "ECONNREFUSED"], true],
		["a full backlog at one place", ["ECONNREFUSED", "ECONNREFUSED", "ETIMEDOUT"], false],
		["reset by something between", ["ECONNRESET", "ECONNREFUSED", "ECONNREFUSED"], false],
		["no file descriptor is left", ["EMFILE", "EMFILE", "EMFILE"], false],
		["no place is there at all", ["ENETUNREACH", "EADDRNOTAVAIL", "ENETUNREACH"], false],
	];
	for (const [name, codes, isGone] of cases) {
		const fixed = fixture();
		fixed.accepting.add(all[0]);
		await fixed.port.start();
		await fixed.step(0);
		assert.equal(fixed.port.status.isGone, false, name);
		fixed.accepting.clear();
		for (const [index, place] of all.entries()) fixed.codes.set(place, codes[index] ?? "");
		await fixed.step(5_000);
		assert.equal(fixed.port.status.isGone, false, `${name}: one failure says nothing`);
		await untilRefused(fixed);
		assert.equal(fixed.port.status.isGone, isGone, name);
		fixed.accepting.add(all[0]);
		await fixed.step(RETRY_MS);
		await fixed.step(RETRY_MS);
		assert.deepEqual([fixed.port.status.state, fixed.port.status.isGone], ["accepts", false], name);
		await fixed.port.stop();
	}
	const socket = fixture({ kind: "unix", path: "/run/app.sock" });
	socket.codes.set("unix:/run/app.sock", "ENOENT");
	await socket.port.start();
	await socket.step(0);
	assert.equal(socket.port.status.isGone, true, "the file of the socket is gone");
	await socket.port.stop();
});

test("an app that hung and now is gone is told once more, although its port refused before", async () => {
	const fixed = fixture(localhost, []);
	fixed.codes.set("127.0.0.1:3000", "ETIMEDOUT");
	await fixed.port.start();
	await fixed.step(0);
	const told: boolean[] = [];
	fixed.port.subscribe(({ isGone }) => told.push(isGone));
	await fixed.step(RETRY_MS);
	assert.deepEqual(told, []);
	fixed.codes.clear();
	await fixed.step(RETRY_MS);
	await fixed.step(RETRY_MS);
	assert.deepEqual(told, [true]);
	await fixed.port.stop();
});

test("a single refusal is told, and so is that the port accepts again; the state is what it was", async () => {
	const { port, accepting, codes, step } = fixture(localhost, []);
	accepting.add("127.0.0.1:3000");
	await port.start();
	await step(0);
	const told: string[] = [];
	port.subscribe((status, before) => told.push(`${before.lastCheck} → ${status.lastCheck}, ${status.state}`));
	accepting.clear();
	await step(5_000);
	codes.set("127.0.0.1:3000", "ETIMEDOUT");
	await step(RETRY_MS);
	accepting.add("127.0.0.1:3000");
	await step(RETRY_MS);
	await step(5_000);
	assert.deepEqual(told, ["accepted → refused, accepts", "refused → failed, accepts", "failed → accepted, accepts"]);
	await port.stop();
});

test("a place that was not asked because the time was over may have somebody who listens", async () => {
	const { port, step, hang } = fixture();
	hang();
	await port.start();
	await step(0);
	assert.deepEqual([port.status.state, port.status.isGone], ["refuses", false]);
	await port.stop();
});

test("watched closely it is asked every short retry while it accepts, until the last watcher has gone", async () => {
	const { port, accepting, tried, step, scheduler } = fixture();
	accepting.add("127.0.0.1:3000");
	port.watchClosely()(); // before the start it makes no check
	assert.equal(scheduler.pending, 0);
	await port.start();
	await step(0);
	tried.length = 0;
	const end = port.watchClosely();
	const endOther = port.watchClosely();
	await step(0);
	assert.equal(tried.length, 1, "at once");
	for (let i = 0; i < 5; i++) await step(RETRY_MS);
	assert.equal(tried.length, 6);
	end();
	end();
	await step(RETRY_MS);
	assert.equal(tried.length, 7, "somebody still watches");
	endOther();
	await step(RETRY_MS); // the one that was planned
	await step(4_999);
	assert.equal(tried.length, 8);
	await step(1);
	assert.equal(tried.length, 9, "every interval again");
	await port.stop();
	assert.equal(scheduler.pending, 0);
});

test("a watcher that comes during a check makes no second one beside it", async () => {
	const scheduler = new ManualScheduler();
	const { promise: slow, resolve: answer } = Promise.withResolvers<void>();
	let checks = 0;
	const port = new AppPort(
		"app-port",
		{ kind: "unix", path: "/run/app.sock" },
		{ intervalMs: 5_000, timeoutMs: 1_000, fall: 3, rise: 1 },
		{
			clock: scheduler.clock,
			scheduler,
			random: () => 0.5,
			ownAddresses: () => [],
			tryConnect: () => {
				checks += 1;
				return checks === 1 ? slow : Promise.resolve();
			},
		},
	);
	await port.start();
	scheduler.advance(0);
	const end = port.watchClosely();
	assert.equal(scheduler.pending, 0);
	answer();
	await settle();
	scheduler.advance(RETRY_MS);
	assert.equal(checks, 2, "the next follows closely");
	await settle();
	end();
	await port.stop();
	assert.equal(scheduler.pending, 0);
});

test("setApp before the start waits for the start, and an ended subscription hears nothing", async () => {
	const { port, told, accepting, step, scheduler } = fixture();
	port.subscribe(() => assert.fail("ended"))();
	port.setApp({ ...localhost, port: 4000 });
	assert.equal(scheduler.pending, 0);
	accepting.add("[::1]:4000");
	await port.start();
	await step(0);
	assert.deepEqual(told, ["accepts [::1]:4000"]);
	await port.stop();
	await port.stop();
});

async function listening(
	server: Server,
	at: { readonly path: string } | { readonly host: string; readonly port: 0 },
): Promise<number> {
	await new Promise<void>((resolve) => server.listen(at, resolve));
	const address = server.address();
	return typeof address === "object" && address !== null ? address.port : 0;
}

test("tryConnect on real sockets: TCP and Unix accept, a closed port and a missing socket are refused with their code", async (t) => {
	const folder = mkdtempSync(join(tmpdir(), "app-port-"));
	const tcp = createServer((socket) => socket.resume());
	const unix = createServer((socket) => socket.resume());
	t.after(() => {
		tcp.close();
		unix.close();
		rmSync(folder, { recursive: true, force: true });
	});
	const port = await listening(tcp, { host: "127.0.0.1", port: 0 });
	const path = join(folder, "app.sock");
	await listening(unix, { path });
	await tryConnect({ kind: "tcp", host: "127.0.0.1", port }, 5_000);
	await tryConnect({ kind: "tcp", host: undefined, port }, 5_000);
	await tryConnect({ kind: "unix", path }, 5_000);
	await assert.rejects(tryConnect({ kind: "unix", path: join(folder, "none.sock") }, 5_000), { code: "ENOENT" });
	tcp.close();
	await assert.rejects(tryConnect({ kind: "tcp", host: "127.0.0.1", port }, 5_000), { code: "ECONNREFUSED" });
});

test("tryConnect gives up when its time is over", async () => {
	// TEST-NET-1 (RFC 5737) is never answered; a machine that refuses to route it says so with another code, which is a refusal too.
	await assert.rejects(
		tryConnect({ kind: "tcp", host: "192.0.2.77", port: 9 }, 1),
		(error) => error instanceof Error && "code" in error,
	);
});
