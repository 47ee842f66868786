import { connect, type Socket } from "node:net";
import type { Dice } from "../sim/dice.ts";
import { fieldOf, Malformed, type ReadMessage, StrictReader } from "../sim/strict-reading.ts";

/** What all clients together have done and seen. `sent` = `answered` + `unanswered` once all are gone. */
export interface Tally {
	sent: number;
	answered: number;
	/** Of `answered`: 2xx of the app. */
	good: number;
	/** Of `answered`: refused by the agent, by reason. */
	readonly refused: Map<string, number>;
	/** Connections that ended, by us or not, before the answer was whole. */
	unanswered: number;
	/** Of `unanswered`: those on connections that this side cut. */
	aborted: number;
	/** Malformed on purpose. */
	malformed: number;
	connections: number;
	readonly violations: string[];
}

export const newTally = (): Tally => ({
	sent: 0,
	answered: 0,
	good: 0,
	refused: new Map(),
	unanswered: 0,
	aborted: 0,
	malformed: 0,
	connections: 0,
	violations: [],
});

const UPLOAD = Buffer.alloc(20_000, "z");
const PIPELINE_MAX = 12;
/** A connection is given up after so many rounds, so that opening and closing is part of it. */
const ROUNDS_MAX = 200;
/** After a failure, so that an app that is away is not asked a million times, ms. */
const PAUSE_MS = 20;

/** One client after the other on one place: connects, asks, is answered or cuts, comes again. Until `mayGoOn` says no. */
export class SoakClient {
	readonly #port: number;
	readonly #dice: Dice;
	readonly #tally: Tally;
	readonly #mayGoOn: () => boolean;
	/** Ids of what was asked and not yet answered. */
	#open: number[] = [];
	#wake: (() => void) | undefined;
	#isGone = true;

	constructor(port: number, dice: Dice, tally: Tally, mayGoOn: () => boolean) {
		this.#port = port;
		this.#dice = dice;
		this.#tally = tally;
		this.#mayGoOn = mayGoOn;
	}

	async run(): Promise<void> {
		while (this.#mayGoOn()) await this.#connection();
	}

	async #connection(): Promise<void> {
		const dice = this.#dice;
		this.#tally.connections++;
		this.#isGone = false;
		this.#open = [];
		const socket = connect({ port: this.#port, host: "127.0.0.1", noDelay: true });
		let hasFailed = false;
		const reader = new StrictReader("response", {
			head: () => undefined,
			whole: (message) => {
				if (!this.#onAnswer(message)) hasFailed = true;
			},
			opaque: () => undefined,
		});
		const gone = (): void => {
			this.#isGone = true;
			this.#wake?.();
		};
		socket.on("data", (bytes: Buffer) => {
			try {
				reader.read(bytes);
			} catch (error) {
				if (!(error instanceof Malformed)) throw error;
				this.#note(`no response: ${error.message}`);
				socket.destroy();
			}
			this.#wake?.();
		});
		socket.on("error", gone);
		socket.on("close", gone);
		let wasCut = false;
		for (let round = 0; round < ROUNDS_MAX && !this.#isGone && !hasFailed && this.#mayGoOn() && !wasCut; round++) {
			wasCut = await this.#round(socket, dice.random());
		}
		socket.destroy();
		await this.#until(() => this.#isGone);
		this.#tally.unanswered += this.#open.length;
		if (wasCut) this.#tally.aborted += this.#open.length;
		if (hasFailed || (this.#open.length > 0 && !wasCut)) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
	}

	/** One exchange or several at once. True: this side has cut. */
	async #round(socket: Socket, fate: number): Promise<boolean> {
		const dice = this.#dice;
		if (fate < 0.015) return this.#abort(socket);
		if (fate < 0.017) {
			// The agent answers and closes.
			socket.write(this.#request("GET", "/a", "name : 1\r\n"));
			this.#tally.malformed++;
		} else if (fate < 0.022) {
			// A slow reader of a large answer.
			socket.write(this.#request("GET", "/big"));
			socket.pause();
			await new Promise((resolve) => setTimeout(resolve, dice.between(5, 60)));
			socket.resume();
		} else if (fate < 0.026) {
			socket.write(this.#request("GET", "/cut"));
		} else if (fate < 0.05) {
			const isChunked = dice.chance(0.5);
			const size = dice.size(UPLOAD.length) + 1;
			socket.write(
				this.#request("POST", "/up", isChunked ? "transfer-encoding: chunked\r\n" : `content-length: ${size}\r\n`),
			);
			if (isChunked) socket.write(`${size.toString(16)}\r\n`);
			socket.write(UPLOAD.subarray(0, size));
			if (isChunked) socket.write("\r\n0\r\n\r\n");
		} else if (fate < 0.08) {
			socket.write(this.#request("GET", dice.pick(["/slow", "/big", "/chunked"])));
		} else {
			let text = "";
			for (let n = dice.between(1, PIPELINE_MAX); n > 0; n--) text += this.#request("GET", `/a/${dice.below(50)}`);
			socket.write(text);
		}
		await this.#until(() => this.#open.length === 0 || this.#isGone);
		return false;
	}

	async #abort(socket: Socket): Promise<true> {
		const dice = this.#dice;
		if (dice.chance(0.5)) socket.write(this.#request("GET", dice.pick(["/slow", "/big", "/a"])));
		else socket.write(this.#request("POST", "/up", "content-length: 5000\r\n") + "half of it");
		if (dice.chance(0.7)) await new Promise((resolve) => setTimeout(resolve, dice.between(0, 20)));
		const way = dice.below(3);
		if (this.#isGone) return true;
		if (way === 0) socket.resetAndDestroy();
		else if (way === 1) socket.destroy();
		else {
			socket.end();
			await this.#until(() => this.#isGone || this.#open.length === 0);
		}
		return true;
	}

	#request(method: string, target: string, fields = ""): string {
		const id = ++this.#tally.sent;
		this.#open.push(id);
		return `${method} ${target} HTTP/1.1\r\nhost: soak\r\nx-request-id: s${id}\r\n${fields}\r\n`;
	}

	/** False: the round did not go well. */
	#onAnswer(message: ReadMessage): boolean {
		const id = this.#open.shift();
		if (id === undefined) {
			this.#note(`an answer to nothing: ${message.startLine}`);
			return false;
		}
		this.#tally.answered++;
		const reason = fieldOf(message, "x-outrigger-error");
		if (reason !== undefined) {
			this.#tally.refused.set(reason, (this.#tally.refused.get(reason) ?? 0) + 1);
			return false;
		}
		if (fieldOf(message, "x-request-id") !== `s${id}`)
			this.#note(`request s${id} got the answer of ${fieldOf(message, "x-request-id")}`);
		this.#tally.good++;
		return fieldOf(message, "connection") !== "close";
	}

	#note(what: string): void {
		if (this.#tally.violations.length < 20) this.#tally.violations.push(what);
	}

	#until(condition: () => boolean): Promise<void> {
		if (condition()) return Promise.resolve();
		return new Promise((resolve) => {
			this.#wake = () => {
				if (!condition()) return;
				this.#wake = undefined;
				resolve();
			};
		});
	}
}
