/** The app as a process of its own (`story-app.mjs`): it can be signalled, stopped, killed, and it says what happens to it. */
import { strict as assert } from "node:assert";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Json } from "./agent-process.ts";
import { eventually } from "./harness.ts";

export const APP_FILE = fileURLToPath(new URL("./story-app.mjs", import.meta.url));

/** What has been said on standard output, in whole lines; lines of others are passed over. */
export const eventsIn = (said: string): readonly Json[] =>
	said
		.split("\n")
		.slice(0, -1)
		.filter((line) => line.startsWith('{"event"'))
		.map((line) => JSON.parse(line) as Json); // the app writes objects

export interface AppProcessOptions {
	/** 0: the system chooses. */
	readonly port?: number;
	/** `finish`: as a server should. `exit`: at once. `ignore`: not at all. */
	readonly atSigterm?: "finish" | "exit" | "ignore";
}

export class AppProcess implements AsyncDisposable {
	readonly child: ChildProcess;
	readonly exit: Promise<number | null>;
	#said = "";

	constructor({ port = 0, atSigterm = "finish" }: AppProcessOptions) {
		this.child = spawn(process.execPath, [APP_FILE, String(port), atSigterm], {
			stdio: ["ignore", "pipe", "inherit"],
			env: {},
		});
		this.child.stdout?.setEncoding("utf8").on("data", (text: string) => {
			this.#said += text;
		});
		// When all that it has said is here.
		this.exit = once(this.child, "close").then(([code]) => code as number | null); // what `close` tells
	}

	get events(): readonly Json[] {
		return eventsIn(this.#said);
	}

	get port(): number {
		const port = this.events.find(({ event }) => event === "listening")?.["port"];
		assert.ok(typeof port === "number");
		return port;
	}

	/** The first event that is so, once it has happened. */
	async event(name: string, url?: string): Promise<Json> {
		const find = (): Json | undefined =>
			this.events.find((each) => each["event"] === name && (url === undefined || each["url"] === url));
		await eventually(() => find() !== undefined, `${name} ${url ?? ""} of the app`);
		const found = find();
		assert.ok(found !== undefined);
		return found;
	}

	async [Symbol.asyncDispose](): Promise<void> {
		this.child.kill("SIGKILL");
		await this.exit;
	}
}

export const startAppProcess = async (options: AppProcessOptions = {}): Promise<AppProcess> => {
	const app = new AppProcess(options);
	await app.event("listening");
	return app;
};
