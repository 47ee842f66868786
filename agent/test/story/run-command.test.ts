/** `outrigger run` as a developer has it: one process that he starts and interrupts, and the app's own code when it ends. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { CommandProcess, callApi, type Json, waitingFor } from "./agent-process.ts";
import { APP_FILE, eventsIn } from "./app-process.ts";
import { connect, eventually } from "./harness.ts";

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`;

const SETTINGS = [
	"inbound.0.listen=127.0.0.1:0",
	"ops.listen=127.0.0.1:0",
	"api.listen=127.0.0.1:0",
	"health.app.http=none",
	"routes.openapi=none",
];

/** `outrigger run` with the stories' app behind it. */
class Run extends CommandProcess {
	port = 0;
	opsUrl = "";
	apiUrl = "";
	appPid = 0;

	/** When the app's port has been found. */
	static async start(appCode = 0): Promise<Run> {
		const run = new Run([
			"run",
			...SETTINGS.flatMap((setting) => ["--set", setting]),
			"--",
			process.execPath,
			APP_FILE,
			"0",
			"finish",
			String(appCode),
		]);
		const [, pid] = await run.says(/listens on port \d+ \(pid (\d+)\)/);
		const [, port] = await run.says(/the app, through the agent\s+http:\/\/127\.0\.0\.1:(\d+)/);
		const [, ops = ""] = await run.says(/metrics and probes\s+(http:\S+)/);
		const [, api = ""] = await run.says(/for the app itself\s+(http:\S+)/);
		run.appPid = Number(pid);
		run.port = Number(port);
		run.opsUrl = ops;
		run.apiUrl = api;
		while ((await fetch(`${ops}/readyz`)).status !== 200) await new Promise((resolve) => setTimeout(resolve, 10));
		return run;
	}

	/** What the app has said. */
	get events(): readonly Json[] {
		return eventsIn(this.stdout);
	}

	async event(name: string, url?: string): Promise<void> {
		await eventually(
			() => this.events.some((each) => each["event"] === name && (url === undefined || each["url"] === url)),
			`${name} of the app`,
		);
	}

	/** The app leads a group of its own, and would be left behind. */
	override async [Symbol.asyncDispose](): Promise<void> {
		if (this.child.exitCode === null && this.appPid > 1) process.kill(-this.appPid, "SIGKILL");
		await super[Symbol.asyncDispose]();
	}

	/** The last line of all that it has said. */
	get lastLine(): string | undefined {
		return this.stderr.trimEnd().split("\n").at(-1);
	}
}

describe("outrigger run", { concurrency: 2, timeout: 60_000 }, () => {
	test("Ctrl-C: what is in flight is finished, then the app gets SIGTERM, and its code is ours", async () => {
		await using run = await Run.start(7);
		await using client = await connect(run.port);
		client.write("POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n1");
		await run.event("request", "/upload");
		run.child.kill("SIGINT");
		await run.says(/^outrigger: SIGINT: finishing what is in flight, at most \d+ s; once more ends at once$/m);
		assert.equal((await fetch(`${run.opsUrl}/readyz`)).status, 503);
		assert.ok(!run.events.some(({ event }) => event === "sigterm"));
		client.write("2");
		assert.equal((await client.response("POST")).body.toString(), "2");
		const { code } = await run.end;
		assert.equal(code, 7);
		assert.deepEqual(
			run.events.slice(-2).map(({ event, open }) => [event, open]),
			[
				["body", undefined],
				["sigterm", 0],
			],
		);
		assert.equal(run.lastLine, "outrigger: stopped: the app ended with code 7");
	});

	test("a lease holds Ctrl-C as long as it is held", async () => {
		await using run = await Run.start();
		const { answer } = await callApi(run.apiUrl, "holdLease", { name: "import", ttl: "60s" });
		run.child.kill("SIGINT");
		let waits: readonly string[] = [];
		while (waits.join() !== "1 lease") waits = waitingFor((await callApi(run.apiUrl, "getInfo")).answer);
		assert.ok(!run.events.some(({ event }) => event === "sigterm"));
		await callApi(run.apiUrl, "releaseLease", { id: answer["id"] });
		assert.equal((await run.end).code, 0);
		assert.equal(run.events.at(-1)?.["event"], "sigterm");
	});

	test("the app finds its agent by OUTRIGGER_AGENT_URL, and can ask it", async () => {
		await using run = await Run.start();
		await using client = await connect(run.port);
		client.write(get("/agent"));
		const asked = JSON.parse((await client.response()).body.toString()) as Json; // an object is what the protocol promises
		const { answer } = await callApi(run.apiUrl, "getInfo");
		assert.equal(asked["epoch"], answer["epoch"]);
		assert.equal(asked["state"], "ready");
		assert.equal(asked["inFlight"], 1, "its own question was asked on behalf of a request");
		run.child.kill("SIGTERM");
		assert.equal((await run.end).code, 0);
	});

	for (const [how, code, last] of [
		["ends by itself", 5, "outrigger: stopped: the app ended with code 5"],
		["is killed", 137, "outrigger: stopped: the app was ended by SIGKILL"],
	] as const) {
		test(`an app that ${how} takes the agent with it: its code, and a last line that says how it ended`, async () => {
			await using run = await Run.start();
			await using client = await connect(run.port);
			if (code === 5) client.write(get("/exit?5"));
			else {
				client.write(get("/hang"));
				await run.event("request", "/hang");
				process.kill(run.appPid, "SIGKILL");
			}
			assert.equal((await client.response()).status, 502, "whoever waited is told");
			assert.equal((await run.end).code, code);
			assert.equal(run.lastLine, last);
			await assert.rejects(connect(run.port), /ECONNREFUSED/);
		});
	}
});
