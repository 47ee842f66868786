import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { Dice } from "../../agent/test/sim/dice.ts";
import { APPS, type App, chooseApps } from "./apps.ts";
import { agentEnvironment, checkPath, checkPort, type Slot, startPod, trafficPort } from "./pod.ts";
import { listeningPorts } from "./ports.ts";
import { hasBalancer, type RunSettings, rollingRestart } from "./rolling-restart.ts";

const folder = mkdtempSync(join(tmpdir(), "outrigger-drain-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const onLinux = process.platform === "linux" ? {} : { skip: "ends processes by /proc, which only Linux has" };
const [node] = chooseApps(["node"]);
assert.ok(node !== undefined);

const slot: Slot = { name: "pair1a", appPort: 1, inboundPort: 2, opsPort: 3, apiPort: 4 };

const settings = (change: Partial<RunSettings> = {}): RunSettings => ({
	app: node,
	mode: "without",
	agent: join(import.meta.dirname, "agent.fixture.ts"),
	pairs: 2,
	restarts: 1,
	requests: 200,
	ratePerSecond: 200,
	lateMs: 50,
	seed: 1,
	folder: join(folder, `${change.mode ?? "without"}-${change.isBalanced === true ? "balanced" : "direct"}`),
	graceMs: 30_000,
	downloadBytes: 100_000,
	uploadSizes: [20_000],
	exchangeMs: { upload: 100, download: 100 },
	settleMs: 50,
	agentEnv: {},
	isBalanced: false,
	say: () => undefined,
	...change,
});

test("traffic and checks go where they go in each mode", () => {
	assert.deepEqual(
		(["port", "none", "without"] as const).map((mode) => [
			trafficPort(slot, mode),
			checkPort(slot, mode),
			checkPath(node, mode),
		]),
		[
			[2, 3, "/readyz"],
			[1, 3, "/readyz"],
			[1, 1, "/"],
		],
	);
	const podSettings = { app: node, mode: "none", agent: "", graceMs: 30_000, downloadBytes: 1 } as const;
	const env = agentEnvironment(slot, { ...podSettings, env: { OUTRIGGER_LOG__LEVEL: "warn" } }, "/f");
	assert.deepEqual(
		[env["OUTRIGGER_CAPTURE"], env["OUTRIGGER_DRAIN__SIGTERM"], env["OUTRIGGER_DRAIN__REPORT"]],
		["none", "stop", "/f/termination-log"],
	);
	assert.deepEqual([env["OUTRIGGER_OPS__LISTEN"], env["OUTRIGGER_LOG__LEVEL"]], ["127.0.0.1:3", "warn"]);
});

describe("each app", () => {
	for (const app of APPS) {
		test(`${app.name} says what it needs, what SIGTERM does to it, and how it is started`, () => {
			const missing = app.missing();
			if (missing !== undefined) assert.ok((missing.apt ?? missing.pip ?? []).length > 0, missing.what);
			else assert.match(app.version(), /^\d+\.\d+/);
			assert.ok(app.byItself.length > 5);
			const own = join(folder, `site-${app.name}`);
			mkdirSync(own, { recursive: true });
			const { argv, env } = app.launch({ port: 4321, folder: own, downloadBytes: 10 });
			const told = `${argv.join(" ")} ${JSON.stringify(env)}`;
			if (app.name === "nginx") assert.match(readFileSync(join(own, "nginx.conf"), "utf8"), /listen 127\.0\.0\.1:4321/);
			else assert.match(told, /4321/);
		});
	}

	test("is chosen by name", () => {
		assert.throws(() => chooseApps(["ruby"]), /no app is called "ruby"/);
	});
});

test("without an agent a pod is ended at once, replaced, and every request is accounted for", onLinux, async () => {
	const { restarts, tally, failures, hasBalancer: isBalanced } = await rollingRestart(settings());
	assert.equal(restarts.length, 1);
	const [restart] = restarts;
	assert.deepEqual(
		[restart?.pod, restart?.appEnded, restart?.sidecarEnded, restart?.appHookSaid],
		["pair1a", "signal SIGTERM", undefined, undefined],
	);
	assert.ok(tally.begun >= 200);
	assert.equal(tally.good + tally.lost, tally.begun);
	assert.equal(failures.length, tally.lost);
	assert.equal(isBalanced, false);
	for (const { way, pod } of failures) assert.deepEqual([way, pod], ["direct", "pair1a"]);
});

test("with an agent its hooks are run and waited for, and its exit code and report are kept", onLinux, async () => {
	const said: string[] = [];
	const { restarts, tally, failures } = await rollingRestart(
		settings({ mode: "port", restarts: 2, say: (line) => said.push(line) }),
	);
	assert.deepEqual(
		restarts.map(({ pod }) => pod),
		["pair1a", "pair2a"],
	);
	for (const restart of restarts) {
		assert.deepEqual(
			[restart.appHookSaid, restart.sidecarHookSaid, restart.appEnded, restart.sidecarEnded, restart.isGraceOver],
			["status 200 idle", "exit code 0 ", "signal SIGTERM", "exit code 0", false],
		);
		assert.deepEqual(restart.report, { ended: "idle", served: 1 });
		assert.ok(restart.appSigtermMs >= 200 && (restart.sidecarGoneMs ?? 0) > restart.appGoneMs);
	}
	assert.equal(failures.length, tally.lost);
	assert.match(said.at(-1) ?? "", /^ {2}node port 2\/2: pair2a SIGTERM after \d+ ms, agent exit code 0; /);
});

test(
	"a load balancer learns of pods by its checks, and what it says of lost requests is kept with them",
	hasBalancer() ? onLinux : { skip: "there is no haproxy on this machine" },
	async () => {
		const { tally, failures } = await rollingRestart(settings({ isBalanced: true }));
		assert.ok(tally.begunBy.lb > 0);
		assert.equal(failures.length, tally.lost);
		for (const { way, target, balancer } of failures) {
			assert.equal(target.endsWith(":0"), false);
			if (way === "direct") assert.equal(balancer, undefined);
		}
	},
);

test("an app that does not start is told in its own words, and nothing of the run is left", onLinux, async () => {
	const broken: App = {
		...node,
		launch: () => ({ argv: [process.execPath, "-e", 'console.error("no such app"); process.exit(7)'], env: {} }),
	};
	await assert.rejects(
		rollingRestart(settings({ app: broken, folder: join(folder, "broken") })),
		/a pod of node \(without\) did not start: it ended: exit code 7\..*no such app/,
	);
});

test("a pod that ends by itself in the middle breaks the run off", onLinux, async () => {
	const mortal: App = {
		...node,
		launch(site) {
			const { argv, env } = node.launch(site);
			// the example, and its end after a hundred requests
			const program = `import http from "node:http"; let n = 0; const emit = http.Server.prototype.emit;
				http.Server.prototype.emit = function (name, ...rest) {
					if (name === "request" && ++n > 100) process.exit(9);
					return emit.call(this, name, ...rest);
				};
				await import(${JSON.stringify(argv[1])});`;
			return { argv: [process.execPath, "--input-type=module", "-e", program], env };
		},
	};
	await assert.rejects(
		rollingRestart(settings({ app: mortal, folder: join(folder, "mortal"), restarts: 0, requests: 100_000 })),
		/the app of pair\d[ab] ended: exit code 9/,
	);
});

test("a pod can be started and killed by itself, twice", onLinux, async () => {
	const [appPort = 0] = await listeningPorts(1, new Dice(process.pid));
	const free = { ...slot, appPort };
	const pod = await startPod(
		free,
		{ app: node, mode: "without", agent: "", graceMs: 1000, downloadBytes: 10, env: {} },
		join(folder, "single"),
	);
	assert.equal(pod.hasEnded(), undefined);
	assert.equal(pod.report(), undefined);
	await pod.kill();
	await pod.kill();
	assert.match(pod.hasEnded() ?? "", /the app of pair1a ended: signal SIG/);
});
