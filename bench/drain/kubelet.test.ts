import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ManualScheduler } from "../../agent/src/foundation/scheduler.ts";
import { type Container, type DoomedPod, endPod, type Hook, type Stop, type Time } from "./kubelet.ts";

const GRACE_MS = 30_000;

/** Time that the test moves, and what happened on it. */
class World {
	readonly scheduler = new ManualScheduler();
	readonly events: string[] = [];
	readonly time: Time = {
		nowMs: () => this.scheduler.clock.monotonicMs(),
		after: (ms, action) => this.scheduler.after(ms, action),
	};

	tell(what: string): void {
		this.events.push(`${this.time.nowMs()} ${what}`);
	}

	/** Ends `stopMs` after SIGTERM, or by SIGKILL when that is longer than it gets. */
	container(name: string, stopMs: number): Container {
		let ended: string | undefined;
		return {
			hasEnded: () => ended,
			stop: (graceMs) => {
				this.tell(`SIGTERM ${name}`);
				const { promise, resolve } = Promise.withResolvers<void>();
				this.scheduler.after(Math.min(stopMs, graceMs), () => {
					ended = stopMs <= graceMs ? "exit code 0" : "signal SIGKILL";
					this.tell(`${name} ended: ${ended}`);
					resolve();
				});
				return promise;
			},
		};
	}

	hook(name: string, ms: number, said = "done"): Hook {
		return (signal) => {
			this.tell(`hook of ${name}`);
			const { promise, resolve } = Promise.withResolvers<string>();
			const cancel = this.scheduler.after(ms, () => resolve(said));
			signal.addEventListener("abort", cancel);
			return promise;
		};
	}

	/** Moves time until the pod has ended. */
	async end(pod: DoomedPod): Promise<Stop> {
		let stop: Stop | undefined;
		const ending = endPod(pod, GRACE_MS, this.time).then((result) => {
			stop = result;
		});
		for (let steps = 0; stop === undefined; steps++) {
			assert.ok(steps < 10_000, `the pod does not end: ${this.events.join("; ")}`);
			for (let turn = 0; turn < 20; turn++) await Promise.resolve(); // what is due now goes first
			this.scheduler.advance(10);
		}
		await ending;
		assert.equal(this.scheduler.pending, 0, "a timer is left");
		return stop;
	}
}

describe("the kubelet", () => {
	test("runs all hooks at once, stops the app when its own has returned and the sidecar when the app is gone", async () => {
		const world = new World();
		const stop = await world.end({
			app: world.container("app", 100),
			appHook: world.hook("app", 6000, "status 200 idle"),
			sidecar: world.container("agent", 50),
			sidecarHook: world.hook("agent", 60),
		});
		assert.deepEqual(world.events, [
			"0 hook of agent",
			"0 hook of app",
			"6000 SIGTERM app",
			"6100 app ended: exit code 0",
			"6170 SIGTERM agent",
			"6220 agent ended: exit code 0",
		]);
		assert.deepEqual(
			[stop.appHookMs, stop.appHookSaid, stop.sidecarHookMs, stop.appSigtermMs, stop.appGoneMs, stop.sidecarGoneMs],
			[6000, "status 200 idle", 60, 6000, 6100, 6220],
		);
		assert.deepEqual([stop.appEnded, stop.sidecarEnded, stop.isGraceOver], ["exit code 0", "exit code 0", false]);
	});

	test("stops a container without a hook at once, and needs no sidecar", async () => {
		const world = new World();
		const stop = await world.end({ app: world.container("app", 30) });
		assert.deepEqual(world.events, ["0 SIGTERM app", "30 app ended: exit code 0"]);
		assert.deepEqual([stop.appHookMs, stop.sidecarGoneMs, stop.sidecarEnded], [undefined, undefined, undefined]);
	});

	test("takes a hook that fails for one that has returned", async () => {
		const world = new World();
		const stop = await world.end({
			app: world.container("app", 0),
			appHook: () => Promise.reject(new Error("connection refused")),
			sidecar: world.container("agent", 0),
			sidecarHook: () => Promise.reject(new Error("exit code 64")),
		});
		assert.deepEqual([stop.appSigtermMs, stop.appHookSaid], [0, "failed: connection refused"]);
		assert.equal(stop.sidecarHookSaid, "failed: exit code 64");
	});

	test("does not stop the sidecar before its own hook has returned, although the app is gone", async () => {
		const world = new World();
		const stop = await world.end({
			app: world.container("app", 0),
			sidecar: world.container("agent", 0),
			sidecarHook: world.hook("agent", 500),
		});
		assert.equal(stop.sidecarSigtermMs, 570);
	});

	test("stops everything at the end of the grace period and kills what is left two seconds later", async () => {
		const world = new World();
		const stop = await world.end({
			app: world.container("app", 60_000),
			appHook: world.hook("app", 90_000),
			sidecar: world.container("agent", 60_000),
			sidecarHook: world.hook("agent", 10),
		});
		world.scheduler.advance(0);
		assert.deepEqual(
			world.events.filter((event) => !event.includes("hook")),
			[
				"30000 SIGTERM app",
				"30000 SIGTERM agent",
				"32000 app ended: signal SIGKILL",
				"32000 agent ended: signal SIGKILL",
			],
		);
		assert.equal(stop.isGraceOver, true);
		assert.equal(stop.appHookSaid, "did not return within the grace period");
	});

	test("gives an app that does not end the rest of the grace period, and stops the sidecar beside it then", async () => {
		const world = new World();
		await world.end({
			app: world.container("app", 60_000),
			appHook: world.hook("app", 5000),
			sidecar: world.container("agent", 10),
			sidecarHook: world.hook("agent", 10),
		});
		assert.deepEqual(world.events.slice(2), [
			"5000 SIGTERM app",
			"30000 app ended: signal SIGKILL",
			"30000 SIGTERM agent",
			"30010 agent ended: exit code 0",
		]);
	});
});
