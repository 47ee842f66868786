import type { ByteStream } from "../../src/foundation/byte-stream.ts";
import { chunked } from "./client.ts";
import { bodyOf } from "./dice.ts";
import type { AppHead, Ledger, SaidAnswer } from "./ledger.ts";
import { bodyOfMessage, fieldOf, fieldsOf, Malformed, type ReadMessage, StrictReader } from "./strict-reading.ts";
import type { Stage } from "./world.ts";

export interface AppHabits {
	/** Answers every request, whole and in good time, and closes no connection that it did not announce to close. */
	readonly isCalm: boolean;
	readonly bodyMax: number;
	/** Longest pause between two pieces, ms. */
	readonly pauseMs: number;
	/** Longest time from a whole request to the beginning of its answer, ms. */
	readonly thinkMs: number;
	/** Longest pause between two pieces of an event stream, ms. */
	readonly eventMs: number;
}

type Behaviour =
	| "answer"
	| "answer early"
	| "cut by FIN"
	| "cut by RST"
	| "stall"
	| "nonsense"
	| "no answer"
	| "close by FIN"
	| "close by RST"
	| "extra bytes";

const ROUGH: readonly Behaviour[] = [
	...Array<Behaviour>(14).fill("answer"),
	"answer early",
	"answer early",
	"cut by FIN",
	"cut by RST",
	"stall",
	"nonsense",
	"no answer",
	"close by FIN",
	"close by RST",
	"extra bytes",
];

const NONSENSE = [
	"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n",
	"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n",
	"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n",
	"HTTP/2.0 200 OK\r\n",
	"HTTP/1.1 2x0 OK\r\n",
	"HTTP/1.1 200 OK\n",
	"hello\r\n",
	"HTTP/1.1 200 OK\r\nbad name: 1\r\n",
	"HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: other\r\n",
];

/** How long an app hangs. */
const STALL_MS = 4_000;
const PREFACE = "PRI * HTTP/2.0";

/** The app's end of one connection. Reads strictly: what it gets, the agent has to answer for. */
export class AppConnection {
	readonly #stage: Stage;
	readonly #ledger: Ledger;
	readonly #habits: AppHabits;
	readonly #socket: ByteStream;
	readonly #reader: StrictReader;
	#first: Buffer | undefined = Buffer.alloc(0);
	#head: AppHead | undefined;
	#behaviour: Behaviour = "answer";
	#isAnswering = false;
	/** The answer to the present request has been said, as far as it ever will be. */
	#hasAnswered = false;
	/** The app ends: no request after this one. */
	#isFinishing = false;
	#isOpaque = false;
	/** Has closed an idle connection: the request that comes all the same is not answered. */
	#isLeaving = false;
	#isOver = false;
	#echoes = 0;

	constructor(stage: Stage, ledger: Ledger, habits: AppHabits, socket: ByteStream) {
		this.#stage = stage;
		this.#ledger = ledger;
		this.#habits = habits;
		this.#socket = socket;
		this.#reader = new StrictReader("request", {
			head: (message) => this.#onHead(message),
			whole: (message) => this.#onWhole(message),
			opaque: (bytes) => this.#echo(bytes),
		});
		socket.on("data", (bytes) => this.#onData(bytes));
		socket.on("end", () => this.#onEnd());
		socket.on("error", () => this.#over());
		socket.on("close", () => this.#over());
		if (!habits.isCalm && stage.dice.chance(0.03)) this.#closeIdle(); // closes before it was ever used
	}

	/** The app dies: nothing is said any more. */
	die(): void {
		if (!this.#socket.destroyed) this.#socket.resetAndDestroy();
		this.#over();
	}

	/** The app ends in good order: what it has begun is answered, what is idle is closed. */
	finish(): void {
		if (this.#isOver || this.#isFinishing) return;
		this.#isFinishing = true;
		if (this.busyWith !== undefined) return;
		this.#isAnswering = true;
		this.#isLeaving = true;
		if (!this.#socket.destroyed) this.#socket.end();
	}

	get isOver(): boolean {
		return this.#isOver;
	}

	/** The request that the app has, and whose answer it has not said to its end; tunnels have none. */
	get busyWith(): AppHead | undefined {
		return this.#isOver || this.#isOpaque || this.#isLeaving || this.#hasAnswered ? undefined : this.#head;
	}

	// ── what comes ──

	#onData(bytes: Buffer): void {
		if (this.#isOver) return;
		let given = bytes;
		if (this.#first !== undefined) {
			given = Buffer.concat([this.#first, bytes]);
			const begins = given.toString("latin1", 0, PREFACE.length);
			if (PREFACE.startsWith(begins) && begins.length < PREFACE.length) {
				this.#first = given;
				return;
			}
			this.#first = undefined;
			if (begins === PREFACE) {
				this.#ledger.opaque++;
				this.#isOpaque = true;
				this.#reader.becomeOpaque();
			}
		}
		try {
			this.#reader.read(given);
		} catch (error) {
			if (!(error instanceof Malformed)) throw error;
			this.#stage.violated(`the app got what is no request: ${error.message}`);
			this.die();
			return;
		}
		const { dice } = this.#stage;
		if (this.#isOver || !dice.chance(0.1)) return;
		this.#socket.pause();
		this.#stage.after(dice.random() * this.#habits.pauseMs * 2, () => this.#socket.resume());
	}

	#onHead(message: ReadMessage): void {
		const { dice } = this.#stage;
		if ((this.#isAnswering && !this.#isLeaving) || this.#head !== undefined)
			this.#stage.violated("the app got a request before it had answered the last one");
		const method = message.startLine.slice(0, message.startLine.indexOf(" "));
		const traces = fieldsOf(message, "traceparent");
		const spanId = /^00-[0-9a-f]{32}-([0-9a-f]{16})-0[0-3]$/.exec(traces[0] ?? "")?.[1] ?? "";
		if (traces.length !== 1 || spanId === "")
			this.#stage.violated(`the app got a request without a span: ${message.startLine}`);
		const hasBody =
			fieldOf(message, "content-length") !== undefined || fieldOf(message, "transfer-encoding") !== undefined;
		const id = Number(fieldOf(message, "x-sim-id") ?? 0);
		const head: AppHead = { spanId, id, method, hasBody, atMs: this.#stage.nowMs, message };
		this.#head = head;
		this.#hasAnswered = false;
		this.#ledger.heads.push(head);
		this.#check(head);
		if (this.#isLeaving) return;
		this.#behaviour = this.#habits.isCalm ? "answer" : dice.pick(ROUGH);
		if (this.#behaviour === "answer early") this.#answer(head);
		else if (fieldOf(message, "expect") !== undefined && dice.chance(0.8)) {
			this.#socket.write(Buffer.from(`HTTP/1.1 100 Continue\r\nx-sim-interim: ${head.id}\r\n\r\n`));
		}
	}

	/** Against what the client sent. */
	#check(head: AppHead): void {
		const { message } = head;
		for (const name of ["keep-alive", "x-hop", "proxy-connection", "x-outrigger-route", "upgrade-insecure"]) {
			if (fieldOf(message, name) !== undefined) this.#stage.violated(`${name} reached the app`);
		}
		for (const name of ["x-request-id", "x-correlation-id", "x-forwarded-for", "x-forwarded-proto"]) {
			if (fieldsOf(message, name).length !== 1)
				this.#stage.violated(`the app got ${fieldsOf(message, name).length} lines of ${name}`);
		}
		const sent = this.#ledger.requests.get(head.id);
		if (sent === undefined) {
			if (head.id !== 0) this.#stage.violated(`the app got a request ${head.id} that nobody made`);
			return;
		}
		const line = `${sent.method} ${sent.target} HTTP/1.1`;
		if (message.startLine !== line)
			this.#stage.violated(`${JSON.stringify(line)} became ${JSON.stringify(message.startLine)}`);
		const fields = message.fields.filter(([name]) => name.toLowerCase().startsWith("x-sim-"));
		if (JSON.stringify(fields) !== JSON.stringify(sent.fields)) {
			this.#stage.violated(`fields of ${sent.id}: ${JSON.stringify(sent.fields)} became ${JSON.stringify(fields)}`);
		}
		if (fieldOf(message, "x-request-id") !== `sim-${sent.id}`)
			this.#stage.violated(`request ${sent.id} has another id`);
		if (head.hasBody !== sent.hasBody) this.#stage.violated(`request ${sent.id} has lost or won a body`);
	}

	#onWhole(message: ReadMessage): void {
		const head = this.#head;
		if (head === undefined) return;
		const sent = this.#ledger.requests.get(head.id);
		if (sent !== undefined) {
			sent.wholeAtApp++;
			if (!bodyOfMessage(message).equals(sent.body)) {
				this.#stage.violated(
					`request ${sent.id}: a body of ${sent.body.length} bytes came as ${message.bodyBytes} others`,
				);
			}
		}
		if (this.#isAnswering) return; // answered early, still saying it
		if (this.#behaviour === "answer early") this.#head = undefined;
		else if (this.#habits.thinkMs === 0) this.#answer(head);
		else this.#think(head);
	}

	#think(head: AppHead): void {
		this.#isAnswering = true;
		const { dice } = this.#stage;
		// Most answers come soon; a few take long.
		const ms = dice.chance(0.7) ? dice.random() * 20 : dice.random() * this.#habits.thinkMs;
		this.#stage.after(ms, () => {
			if (!this.#isOver && this.#head === head) this.#answer(head);
		});
	}

	// ── what is said ──

	#answer(head: AppHead): void {
		const { dice } = this.#stage;
		this.#isAnswering = true;
		const behaviour = this.#behaviour;
		switch (behaviour) {
			case "no answer":
				return;
			case "close by FIN":
				this.#socket.end();
				return;
			case "close by RST":
				this.die();
				return;
			default:
		}
		if (fieldOf(head.message, "upgrade") === "sim" && behaviour === "answer" && !head.hasBody && dice.chance(0.7)) {
			this.#isOpaque = true;
			this.#reader.becomeOpaque();
			this.#socket.write(Buffer.from("HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: sim\r\n\r\n"));
			return;
		}
		const isStream = fieldOf(head.message, "accept") === "text/event-stream" && behaviour === "answer";
		const nonce = this.#ledger.nextNonce();
		const isNonsense = behaviour === "nonsense";
		let status = dice.pick([200, 200, 200, 200, 201, 404, 500, 204, 304]);
		if (behaviour.startsWith("cut") || behaviour === "stall" || isStream) status = 200;
		const isBodiless = head.method === "HEAD" || status === 204 || status === 304;
		const framing = dice.pick(["length", "length", "chunked", "close"] as const);
		const content = bodyOf(
			nonce,
			dice.size(this.#habits.bodyMax) + (behaviour.startsWith("cut") || behaviour === "stall" ? 1 : 0),
		);
		const answer: SaidAnswer = {
			nonce,
			id: head.id,
			status,
			body: isBodiless ? Buffer.alloc(0) : content,
			isWhole: true,
		};
		this.#ledger.answers.set(nonce, answer);

		const isClosing =
			(framing === "close" && !isBodiless) ||
			dice.chance(0.1) ||
			behaviour === "answer early" ||
			behaviour === "extra bytes";
		let text = "";
		for (let n = dice.chance(0.15) ? dice.between(1, 2) : 0; n > 0; n--) {
			text += `HTTP/1.1 ${dice.pick(["103 Early Hints", "102 Processing"])}\r\nx-sim-interim: ${head.id}\r\n\r\n`;
		}
		if (isNonsense) {
			answer.isWhole = false;
			text += dice.pick(NONSENSE);
		} else {
			text += `HTTP/1.${dice.chance(0.05) && framing !== "chunked" ? 0 : 1} ${status} ${dice.pick(["OK", "", "It is as it is"])}\r\n`;
		}
		if (isStream) text += "content-type: text/event-stream\r\n";
		text += `x-sim-nonce: ${nonce}\r\n${dice.chance(0.2) ? "keep-alive: timeout=5\r\nx-outrigger-route: /r/{id}\r\nx-request-id: of-the-app\r\n" : ""}`;
		if (isClosing) text += "connection: close\r\n";
		else if (text.includes("HTTP/1.0")) text += "connection: keep-alive\r\n";
		if (framing === "length" && status !== 204 && !isNonsense) text += `content-length: ${content.length}\r\n`;
		if (framing === "chunked" && !isBodiless && !isNonsense) text += "transfer-encoding: chunked\r\n";
		const body = isBodiless ? Buffer.alloc(0) : framing === "chunked" ? chunked(dice, content) : content;
		let bytes = Buffer.concat([Buffer.from(`${text}\r\n`, "latin1"), body]);

		if (behaviour === "cut by FIN" || behaviour === "cut by RST" || behaviour === "stall") {
			// At any byte before the last; a body that ends with the connection ends well by FIN.
			const at = dice.below(bytes.length);
			const isWholeByFin =
				behaviour === "cut by FIN" && framing === "close" && !isBodiless && at >= bytes.length - body.length;
			if (isWholeByFin) {
				// An earlier end is an end: what the app says is then all of its body.
				this.#ledger.answers.set(nonce, {
					...answer,
					body: Buffer.from(body.subarray(0, at - (bytes.length - body.length))),
				});
			} else answer.isWhole = isBodiless && at === bytes.length;
			bytes = bytes.subarray(0, at);
		}
		// On a connection that ends with the answer: on any other nobody could tell them from the next answer.
		if (behaviour === "extra bytes")
			bytes = Buffer.concat([bytes, Buffer.from("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")]);
		if (behaviour === "extra bytes" && framing === "close")
			this.#ledger.answers.set(nonce, {
				...answer,
				isWhole: true,
				body: isBodiless ? answer.body : bytes.subarray(bytes.length - 38 - content.length),
			});
		if (isStream) this.#say(bytes, this.#habits.eventMs, 0.05, () => this.#said(behaviour, isClosing));
		else this.#say(bytes, this.#habits.pauseMs, 0.6, () => this.#said(behaviour, isClosing || isNonsense));
	}

	#said(behaviour: Behaviour, isClosing: boolean): void {
		if (this.#isOver || this.#socket.destroyed) return;
		const { dice } = this.#stage;
		this.#isAnswering = false;
		this.#hasAnswered = behaviour !== "stall";
		switch (behaviour) {
			case "cut by FIN":
				this.#isAnswering = true; // no more requests here
				this.#socket.end();
				return;
			case "cut by RST":
				this.die();
				return;
			case "stall":
				// For a while: nothing in the agent ends a response that has begun and does not go on.
				this.#isAnswering = true;
				this.#stage.after(STALL_MS, () => this.die());
				return;
			default:
		}
		if (this.#isFinishing && !isClosing) {
			// Did not announce it: the next request may be on its way.
			this.#head = undefined;
			this.#isAnswering = true;
			this.#isLeaving = true;
			this.#socket.end();
			return;
		}
		if (isClosing) {
			this.#isAnswering = true;
			this.#socket.end();
			// An app that does not read the rest of an upload resets the connection, sooner or later.
			if (behaviour === "answer early" && dice.chance(0.5)) {
				this.#stage.after(dice.random() * 20, () => {
					if (this.#socket.destroyed) return;
					// What the kernel has not taken would be left out, and FIN would make it look whole.
					if (this.#socket.writableLength === 0) this.#socket.destroy();
					else this.#socket.resetAndDestroy();
				});
			}
			return;
		}
		if (behaviour !== "answer early" || !this.#reader.isWithin) this.#head = undefined;
		if (!this.#habits.isCalm && dice.chance(0.2)) this.#closeIdle();
	}

	/** The keep-alive race: the app closes while nothing is asked, or just then. */
	#closeIdle(): void {
		const { dice } = this.#stage;
		const way = dice.below(this.#first === undefined ? 3 : 2); // to who has said nothing, nothing is said: it may be a tunnel
		this.#stage.after(dice.chance(0.5) ? dice.random() * 5 : dice.random() * 1200, () => {
			if (this.#isOver || this.#socket.destroyed || this.#head !== undefined || this.#isAnswering || this.#isOpaque)
				return;
			this.#isAnswering = true;
			this.#isLeaving = true;
			if (way === 0) this.#socket.end();
			else if (way === 1) this.die();
			else
				this.#socket.write(
					Buffer.from(
						"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\nx-sim-nonce: 0\r\n\r\n",
					),
				);
		});
	}

	/** In one piece with that probability, else in pieces, with a pause of up to `pauseMs` before each but the first. */
	#say(bytes: Buffer, pauseMs: number, inOne: number, then: () => void): void {
		const { dice } = this.#stage;
		if (this.#isOver || this.#socket.destroyed) return;
		const isWhole = bytes.length <= 1 || dice.chance(inOne);
		const piece = isWhole
			? bytes
			: bytes.subarray(
					0,
					dice.chance(0.3) ? Math.min(bytes.length, dice.between(1, 50)) : dice.between(1, bytes.length),
				);
		if (piece.length > 0) this.#socket.write(piece);
		if (piece.length === bytes.length) then();
		else
			this.#stage.after(dice.random() * pauseMs, () => this.#say(bytes.subarray(piece.length), pauseMs, inOne, then));
	}

	#echo(bytes: Buffer): void {
		if (this.#isLeaving) return;
		this.#echoes++;
		if (!this.#socket.destroyed) this.#socket.write(Buffer.from(bytes));
		if (!this.#habits.isCalm && this.#echoes > 2 && this.#stage.dice.chance(0.1)) this.die();
	}

	#onEnd(): void {
		if (this.#isOver) return;
		if (!this.#socket.destroyed) this.#socket.end();
	}

	#over(): void {
		if (this.#isOver) return;
		this.#isOver = true;
		const message = this.#reader.message;
		const head = this.#head;
		if (message === undefined || head === undefined) return;
		// What came of a request that was cut is its beginning.
		const sent = this.#ledger.requests.get(head.id);
		const body = bodyOfMessage(message);
		if (sent !== undefined && !sent.body.subarray(0, body.length).equals(body)) {
			this.#stage.violated(`request ${sent.id}: the beginning of its body is not that of its body`);
		}
	}
}
