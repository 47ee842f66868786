/** The bench's side of the load process. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Target } from "./client-connection.ts";
import type { Lost, Tally } from "./ledger.ts";
import type { LoadSettings } from "./load.ts";
import type { FromLoad, ToLoad } from "./load-messages.ts";

const PROGRAM = join(import.meta.dirname, "load-process.ts");

export class LoadLink {
	readonly lost: Lost[] = [];
	begun = 0;
	readonly #child: ChildProcess;
	#said = "";
	#ended: string | undefined;
	#prepared = Promise.withResolvers<void>();
	#done = Promise.withResolvers<Tally>();

	constructor() {
		this.#child = fork(PROGRAM, [], { stdio: ["ignore", "ignore", "pipe", "ipc"], serialization: "advanced" });
		this.#child.stderr?.on("data", (bytes: Buffer) => {
			this.#said = `${this.#said}${bytes.toString()}`.slice(-2000);
		});
		this.#child.on("message", (message: FromLoad) => this.#hear(message));
		this.#child.on("close", (code, signal) => {
			this.#ended = `the load ended with ${signal ?? code}: ${this.#said.trim() || "it said nothing"}`;
			this.#prepared.reject(new Error(this.#ended));
			this.#done.reject(new Error(this.#ended));
		});
		// Whoever waits for them hears of it; when nobody does, it is no fault of this process.
		this.#prepared.promise.catch(() => undefined);
		this.#done.promise.catch(() => undefined);
	}

	/** Why it is no longer there, as soon as that is so. */
	hasEnded(): string | undefined {
		return this.#ended;
	}

	/** Rejects when the app does not answer as it must. */
	prepare(settings: LoadSettings, app: Target): Promise<void> {
		this.#tell({ type: "prepare", settings, app });
		return this.#prepared.promise;
	}

	setAddresses(addresses: readonly Target[]): void {
		this.#tell({ type: "addresses", addresses });
	}

	start(): void {
		this.#tell({ type: "start" });
	}

	/** Ends the load after its last request, and returns its book. */
	async finish(): Promise<Tally> {
		this.#tell({ type: "stop" });
		return this.#done.promise;
	}

	/** Safe twice, and when it has ended by itself. */
	async kill(): Promise<void> {
		if (this.#ended !== undefined) return;
		const closed = once(this.#child, "close");
		this.#child.kill("SIGKILL");
		await closed;
	}

	#tell(message: ToLoad): void {
		if (this.#child.connected) this.#child.send(message);
	}

	#hear(message: FromLoad): void {
		switch (message.type) {
			case "prepared":
				this.#prepared.resolve();
				return;
			case "lost":
				this.lost.push(message.lost);
				return;
			case "begun":
				this.begun = message.begun;
				return;
			case "done":
				this.begun = message.tally.begun;
				this.#done.resolve(message.tally);
				return;
			default:
				message satisfies never;
		}
	}
}
