import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { describe, type TestContext, test } from "node:test";
import { API_METHODS } from "@outrigger/contract";
import { startServer } from "../contract/contract.fixture.ts";
import type { Method } from "../contract/method.ts";
import { ManualClock } from "../foundation/clock.ts";
import type { JsonObject } from "../foundation/json-object.ts";
import { ManualScheduler } from "../foundation/scheduler.ts";
import { argsOf, Said, type } from "./said.fixture.ts";
import { makeStatusCommand } from "./status.ts";

const INFO = { version: "1.2.3", state: "ready", inFlight: 1 };
const HEALTH = { status: "pass", ready: true, live: true, contributors: [] };

function methods(info: () => JsonObject): readonly Method[] {
	return [
		{ path: API_METHODS.getInfo, handle: () => info() },
		{ path: API_METHODS.getHealth, handle: () => HEALTH },
	];
}

describe("outrigger status", () => {
	test("shows what the agent says, once", async (t) => {
		const { port } = await startServer(
			t,
			methods(() => INFO),
		);
		const said = new Said();
		assert.equal(await type(said, "status", "--url", `127.0.0.1:${port}`), 0);
		assert.match(
			said.out,
			/^state +ready\n[\s\S]*^traffic +1 exchange in flight, 0 event streams[\s\S]*^health +pass\n/m,
		);
		assert.equal(said.err, "");
		assert.doesNotMatch(said.out, /\u001b/);
	});

	test("-o json is the info with the health in it", async (t) => {
		const { port } = await startServer(
			t,
			methods(() => INFO),
		);
		const said = new Said();
		assert.equal(await type(said, "status", "--url", `127.0.0.1:${port}`, "-o", "json"), 0);
		assert.deepEqual(JSON.parse(said.out), { epoch: "epoch-1", ...INFO, health: HEALTH });
	});

	test("colour is there on a terminal and not with NO_COLOR", async (t) => {
		const { port } = await startServer(
			t,
			methods(() => INFO),
		);
		for (const [env, isColoured] of [
			[{}, true],
			[{ NO_COLOR: "1" }, false],
		] as const) {
			const said = new Said({ columns: 80, env });
			await type(said, "status", "--url", `127.0.0.1:${port}`);
			assert.equal(said.out.includes("\u001b["), isColoured);
		}
	});

	test("of an agent that is not there, or that does not know the method, is one line and code 1", async (t) => {
		const said = new Said();
		assert.equal(await type(said, "status", "--url", "unix:/none/api.sock"), 1);
		assert.match(said.err, /^outrigger status: no agent listens at unix:\/none\/api\.sock \(ENOENT\).*\n$/);
		const [getInfo] = methods(() => INFO);
		assert.ok(getInfo !== undefined);
		const { port } = await startServer(t, [getInfo]);
		said.err = "";
		assert.equal(await type(said, "status", "--url", `127.0.0.1:${port}`), 1);
		assert.match(said.err, /^outrigger status: the agent at .* says unimplemented: /);
		assert.equal(said.out, "");
	});
});

describe("outrigger status --watch", () => {
	async function watch(t: TestContext, said: Said, output: string, serve = true) {
		let info: JsonObject = INFO;
		const started = await startServer(
			t,
			methods(() => info),
		);
		if (!serve) await started.server.stop();
		const scheduler = new ManualScheduler();
		const signals = new EventEmitter();
		const command = makeStatusCommand({ clock: new ManualClock(), scheduler, signals });
		const running = command.run(argsOf({ watch: true, output, url: `127.0.0.1:${started.port}` }), said.io);
		let { server } = started;
		return {
			running,
			scheduler,
			signals,
			port: started.port,
			set: (next: JsonObject) => {
				info = next;
			},
			/** Waits until the watch pauses, then lets its second go by. */
			tick: async (): Promise<void> => {
				while (scheduler.pending === 0) await new Promise((resolve) => setImmediate(resolve));
				scheduler.advance(1_000);
			},
			stop: () => server.stop(),
			/** Another agent at the same place. */
			restart: async (epoch: string): Promise<void> => {
				({ server } = await startServer(
					t,
					methods(() => info),
					{ epoch, listen: { kind: "tcp", host: "127.0.0.1", port: started.port } },
				));
			},
		};
	}

	const lines = (said: Said): readonly string[] => said.out.split("\n").filter((line) => line !== "");

	test("-o json is one object a line, over a restart of the agent, until Ctrl-C", async (t) => {
		const said = new Said();
		const { running, tick, stop, restart, set, signals, scheduler } = await watch(t, said, "json");
		await said.until(() => lines(said).length === 1);
		set({ ...INFO, state: "draining" });
		await tick();
		await said.until(() => lines(said).length === 2);
		await stop();
		await tick();
		await said.until(() => lines(said).length === 3);
		await restart("epoch-2");
		await tick();
		await said.until(() => lines(said).length === 4);
		await tick();
		await said.until(() => lines(said).length === 5);
		signals.emit("SIGINT");
		assert.equal(await running, 0);
		const seen = lines(said).map((line) => JSON.parse(line));
		assert.deepEqual(
			seen.map(({ epoch, state, restarted, reachable }) => ({ epoch, state, restarted, reachable })),
			[
				{ epoch: "epoch-1", state: "ready", restarted: undefined, reachable: undefined },
				{ epoch: "epoch-1", state: "draining", restarted: undefined, reachable: undefined },
				{ epoch: undefined, state: undefined, restarted: undefined, reachable: false },
				{ epoch: "epoch-2", state: "draining", restarted: true, reachable: undefined },
				{ epoch: "epoch-2", state: "draining", restarted: undefined, reachable: undefined },
			],
		);
		assert.equal(seen[2].kind, "unreachable");
		assert.deepEqual(seen[0].health, HEALTH);
		assert.equal(said.err, "");
		assert.equal(scheduler.pending, 0);
		assert.equal(signals.listenerCount("SIGINT"), 0);
	});

	test("a table is told again below, and says once that the agent is away, and that it was started anew", async (t) => {
		const said = new Said();
		const { running, tick, stop, restart, signals } = await watch(t, said, "table");
		await said.until(() => said.out !== "");
		await stop();
		await tick();
		await said.until(() => said.err !== "");
		await tick();
		await restart("epoch-2");
		await tick();
		await said.until(() => said.out.includes("epoch-2"));
		signals.emit("SIGINT");
		assert.equal(await running, 0);
		assert.match(said.err, /^no agent listens at http:.*; trying again every second\n$/);
		assert.match(said.out, /^state [\s\S]*\n\nThe agent was started anew \(once while watching\): .*\nstate /);
		assert.doesNotMatch(said.out, /\u001b/);
	});

	test("a terminal shows the newest look only", async (t) => {
		const said = new Said({ columns: 80, env: { NO_COLOR: "1" } });
		const { running, tick, stop, restart, signals } = await watch(t, said, "table");
		const screens = (): readonly string[] => said.out.split("\u001b[H\u001b[2J").slice(1);
		await said.until(() => screens().length === 1);
		await stop();
		await tick();
		await said.until(() => screens().length === 2);
		await restart("epoch-2");
		await tick();
		await said.until(() => screens().length === 3);
		await tick();
		await said.until(() => screens().length === 4);
		signals.emit("SIGINT");
		assert.equal(await running, 0);
		const [first = "", away = "", anew = "", later = ""] = screens();
		assert.match(first, /^state /);
		assert.match(away, /^no agent listens at .*; trying again every second\n$/);
		assert.match(anew, /^The agent was started anew \(once while watching\)/);
		assert.match(later, /^The agent was started anew \(once while watching\)/, "a terminal forgets");
		assert.equal(said.err, "");
	});

	test("Ctrl-C also ends a look that is not answered", async (t) => {
		const arrived = Promise.withResolvers<void>();
		const never: Method = {
			path: API_METHODS.getInfo,
			handle: () => {
				arrived.resolve();
				return new Promise(() => {});
			},
		};
		const { port } = await startServer(t, [never]);
		const said = new Said();
		const signals = new EventEmitter();
		const scheduler = new ManualScheduler();
		const command = makeStatusCommand({ clock: new ManualClock(), scheduler, signals });
		const running = command.run(argsOf({ watch: true, url: `127.0.0.1:${port}` }), said.io);
		await arrived.promise;
		signals.emit("SIGINT");
		assert.equal(await running, 0);
		assert.deepEqual([said.out, said.err, scheduler.pending], ["", "", 0]);
	});

	test("an agent that is not there at first is waited for", async (t) => {
		const said = new Said();
		const { running, tick, restart, signals } = await watch(t, said, "json", false);
		await said.until(() => lines(said).length === 1);
		await restart("epoch-2");
		await tick();
		await said.until(() => lines(said).length === 2);
		signals.emit("SIGINT");
		await running;
		const [away, there] = lines(said).map((line) => JSON.parse(line));
		assert.deepEqual([away.reachable, there.epoch, there.restarted], [false, "epoch-2", undefined]);
	});
});
