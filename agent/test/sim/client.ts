import type { ByteStream } from "../../src/foundation/byte-stream.ts";
import { bodyOf, type Dice } from "./dice.ts";
import { garbage } from "./garbage.ts";
import type { Kind, Ledger, Loss, SentRequest } from "./ledger.ts";
import { bodyOfMessage, fieldOf, fieldsOf, Malformed, type ReadMessage, StrictReader } from "./strict-reading.ts";
import type { Stage } from "./world.ts";

export interface ClientHabits {
	/** No cuts, no garbage, nothing too slow: every request has to be answered well. */
	readonly isCalm: boolean;
	readonly requestsMax: number;
	readonly bodyMax: number;
	/** After so long without an end the client gives up, ms. */
	readonly patienceMs: number;
	/** Longest pause between two pieces, ms. */
	readonly pauseMs: number;
	/** Longest pause between an answer and the next request, ms. */
	readonly gapMs: number;
}

/** The usual `gapMs`. */
export const GAP_MS = 400;

/** Asks a client for one request after the other, where it does not make a plan of its own. */
export interface Asker {
	/** All is answered, and the connection stays. */
	idle(client: Client): void;
	/** Nothing more can be asked here. `left`: what was asked and not answered; those that were begun have their `lost`. */
	over(client: Client, left: readonly SentRequest[]): void;
}

type Reading = "fast" | "slow" | "crawling" | "stalled";
type Ending = "fin" | "rst" | "destroy";

const METHODS = ["GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "QUERY", "BREW"];
/** How long a tunnel stays open that has nothing more to say, ms. */
const TUNNEL_MS = 10_000;
/** How long a client may take to close its half, ms. */
const SLOW_END_MS = 8_000;
/** How an answer begins, and no echo of the preface. */
const H = 0x48;
const OPAQUE_PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** A client on one connection. Holds what comes against what it asked for. */
export class Client {
	isOver = false;
	readonly #stage: Stage;
	readonly #ledger: Ledger;
	readonly #habits: ClientHabits;
	readonly #socket: ByteStream;
	readonly #requests: SentRequest[] = [];
	readonly #isOpaque: boolean;
	readonly #tail: Buffer | undefined;
	readonly #isPipelining: boolean;
	readonly #reading: Reading;
	readonly #reader: StrictReader;
	/** After so many bytes the client cuts. */
	#cutAt = Number.POSITIVE_INFINITY;
	#written = 0;
	#next = 0;
	#answered = 0;
	#mayGoOn = true;
	#awaitsContinue: (() => void) | undefined;
	#tunnelSent = Buffer.alloc(0);
	#tunnelGot = 0;
	#isEnded = false;
	readonly #asker: Asker | undefined;
	/** Where each request begins in what was written here. */
	readonly #startsAt: number[] = [];
	#hasStarted = false;
	#isSending = false;
	/** Has ended the connection by its own will. */
	#gaveUp = false;
	#hasTold = false;

	/** Without `asker` it makes a plan of its own. */
	constructor(stage: Stage, ledger: Ledger, habits: ClientHabits, socket: ByteStream, asker?: Asker) {
		const { dice } = stage;
		this.#asker = asker;
		this.#stage = stage;
		this.#ledger = ledger;
		this.#habits = habits;
		this.#socket = socket;
		this.#isOpaque = dice.chance(0.04);
		this.#isPipelining = dice.chance(0.5);
		if (asker !== undefined && dice.chance(0.2)) this.#reading = "crawling";
		else this.#reading = dice.chance(0.25) ? "slow" : !habits.isCalm && dice.chance(0.08) ? "stalled" : "fast";
		if (!this.#isOpaque && asker === undefined) {
			const count = dice.between(1, habits.requestsMax);
			for (let i = 0; i < count; i++) this.#requests.push(planRequest(dice, ledger, habits, i === count - 1));
		}
		const isTunnel = this.#isOpaque || this.#requests.some(({ asksForUpgrade }) => asksForUpgrade);
		this.#tail = asker === undefined && !habits.isCalm && !isTunnel && dice.chance(0.3) ? garbage(dice) : undefined;
		if (!habits.isCalm && asker !== undefined && dice.chance(0.1)) this.#cutAt = dice.size(10_000);
		else if (!habits.isCalm && asker === undefined && dice.chance(0.3)) {
			const total = this.#requests.reduce((sum, { bytes }) => sum + bytes.length, this.#tail?.length ?? 0);
			this.#cutAt = dice.below(total + 1);
		}
		this.#reader = new StrictReader(
			"response",
			{
				head: (message) => this.#onHead(message),
				whole: (message) => this.#onWhole(message),
				opaque: (bytes) => this.#onTunnel(bytes),
			},
			() => this.#requests[this.#answered]?.method === "HEAD",
		);
		socket.on("data", (bytes) => this.#onData(bytes));
		socket.on("end", () => this.#onEnd());
		socket.on("error", () => this.#over());
		socket.on("close", () => this.#over());
		stage.after(habits.patienceMs, () => {
			if (this.isOver) return;
			if (habits.isCalm && !this.isServed) stage.violated(`a client waited in vain; ${this.#story()}`);
			this.#gaveUp = true;
			this.#socket.resetAndDestroy();
			this.#over();
		});
	}

	/** The connection is made. */
	start(): void {
		this.#hasStarted = true;
		if (!this.#isOpaque) {
			this.#sendNext();
			return;
		}
		this.#reader.becomeOpaque();
		this.#startTunnel(OPAQUE_PREFACE);
	}

	/** Whether all that was asked for was answered. */
	get isServed(): boolean {
		return this.#answered >= this.#requests.length;
	}

	/** Whether it speaks something that nobody reads, and cannot be asked for anything. */
	get isOpaque(): boolean {
		return this.#isOpaque;
	}

	/** Whether the connection is a tunnel. */
	get isTunnel(): boolean {
		return this.#isOpaque || this.#tunnelSent.length > 0;
	}

	/** The request that was answered last on this connection. */
	get lastAnswered(): SentRequest | undefined {
		return this.#requests[this.#answered - 1];
	}

	/** Whether it takes a further request now: the asker may ask. Nobody asks behind what may never be over. */
	get takesMore(): boolean {
		const last = this.#requests.at(-1);
		return (
			!this.isOver &&
			!this.#isEnded &&
			!this.#hasTold &&
			this.#mayGoOn &&
			!this.#isOpaque &&
			(this.isServed || (this.#isPipelining && last?.asksForUpgrade !== true && last?.kind !== "stream"))
		);
	}

	ask(request: SentRequest): void {
		this.#requests.push(request);
		request.lost = undefined;
		request.isSentWhole = false;
		if (this.#hasStarted) this.#sendNext();
	}

	/** The requests that have been begun and not answered, and where each begins in what was written here. */
	get awaited(): readonly { readonly request: SentRequest; readonly startsAt: number }[] {
		return this.#requests.slice(this.#answered, this.#next).map((request, index) => ({
			request,
			startsAt: this.#startsAt[this.#answered + index] ?? Number.POSITIVE_INFINITY,
		}));
	}

	/** Closes an idle connection in good order. */
	leave(): void {
		if (this.isOver || this.#isEnded || !this.isServed || this.#isOpaque) return;
		this.#isEnded = true;
		this.#tellOver();
		if (!this.#socket.destroyed) this.#socket.end();
	}

	// ── sending ──

	#sendNext(): void {
		if (this.isOver || this.#isEnded || this.#isSending || !this.#mayGoOn) return;
		const request = this.#requests[this.#next];
		if (request === undefined) {
			if (this.#asker !== undefined) return;
			if (this.#tail !== undefined) this.#sendPieces(this.#tail, () => undefined);
			else if (this.#cutAt !== Number.POSITIVE_INFINITY) this.#cutLater();
			return;
		}
		this.#next++;
		this.#isSending = true;
		this.#startsAt.push(this.#written);
		const sent = (): void => {
			this.#isSending = false;
			request.isSentWhole = true;
			if (this.#isPipelining) this.#sendNext();
		};
		if (request.kind === "probe") {
			// Who probes is near, and says it in one piece.
			this.#written += request.bytes.length;
			this.#socket.write(request.bytes);
			sent();
			return;
		}
		if (!request.expects) {
			this.#sendPieces(request.bytes, sent);
			return;
		}
		this.#sendPieces(request.bytes.subarray(0, request.headBytes), () => {
			let isWaiting = true;
			const goOn = (): void => {
				if (!isWaiting) return;
				isWaiting = false;
				this.#awaitsContinue = undefined;
				this.#sendPieces(request.bytes.subarray(request.headBytes), sent);
			};
			this.#awaitsContinue = goOn;
			this.#stage.after(300, goOn); // RFC 9110 §10.1.1: a client does not wait for ever
		});
	}

	#sendPieces(bytes: Buffer, then: () => void): void {
		const { dice } = this.#stage;
		if (this.isOver || this.#isEnded) return;
		const isWhole = bytes.length === 0 || dice.chance(0.5);
		const length = isWhole
			? bytes.length
			: dice.chance(0.3)
				? Math.min(bytes.length, dice.between(1, 40))
				: dice.between(1, bytes.length);
		const piece = bytes.subarray(0, Math.min(length, this.#cutAt - this.#written));
		this.#written += piece.length;
		if (piece.length > 0) this.#socket.write(piece);
		if (this.#written >= this.#cutAt) {
			this.#cutLater();
			return;
		}
		if (isWhole || piece.length === bytes.length) {
			then();
			return;
		}
		this.#stage.after(dice.random() * this.#habits.pauseMs, () => this.#sendPieces(bytes.subarray(piece.length), then));
	}

	#cutLater(): void {
		const { dice } = this.#stage;
		this.#isEnded = true;
		this.#gaveUp = true;
		const ending = dice.pick<Ending>(["fin", "rst", "destroy"]);
		this.#stage.after(dice.chance(0.5) ? 0 : dice.random() * 20, () => {
			if (this.#socket.destroyed) return;
			if (ending === "fin") this.#socket.end();
			else if (ending === "rst") this.#socket.resetAndDestroy();
			else this.#socket.destroy();
			if (ending !== "fin") this.#over();
		});
	}

	// ── what comes ──

	#onData(bytes: Buffer): void {
		if (this.isOver) return;
		try {
			this.#reader.read(bytes);
		} catch (error) {
			if (!(error instanceof Malformed)) throw error;
			this.#stage.violated(`a client got what is no response: ${error.message}; ${this.#story()}`);
			this.#socket.resetAndDestroy();
			this.#over();
			return;
		}
		if (this.isOver || this.#reading === "fast") return;
		const { dice } = this.#stage;
		if (dice.chance(this.#reading === "crawling" ? 1 : 0.3)) {
			this.#socket.pause();
			if (this.#reading !== "stalled")
				this.#stage.after(dice.random() * this.#habits.pauseMs * 2, () => this.#socket.resume());
		}
	}

	#onHead(message: ReadMessage): void {
		const status = Number(message.startLine.slice(9, 12));
		const request = this.#requests[this.#answered];
		if (request === undefined || this.#next <= this.#answered) {
			if (this.#tail === undefined && fieldOf(message, "x-outrigger-error") === undefined) {
				this.#stage.violated(`an answer to no request: ${message.startLine}; ${this.#story()}`);
			}
			this.#mayGoOn = false;
			this.#reader.becomeOpaque(); // answers to garbage are the garbage's own
			return;
		}
		if (status === 101) {
			if (!request.asksForUpgrade) this.#stage.violated("a 101 that nobody asked for");
			request.got = { status, bodyBytes: 0, error: undefined, closes: false };
			this.#reader.becomeOpaque();
			this.#startTunnel(Buffer.alloc(0));
			return;
		}
		if (status < 200) {
			if (request.minorVersion === 0) this.#stage.violated("a 1xx for HTTP/1.0");
			if (fieldOf(message, "x-sim-interim") !== String(request.id))
				this.#stage.violated(`a 1xx of another request for ${request.id}`);
			this.#awaitsContinue?.();
			return;
		}
		this.#checkIds(request, message);
	}

	#checkIds(request: SentRequest, message: ReadMessage): void {
		const ids = fieldsOf(message, "x-request-id");
		const isOurs = fieldOf(message, "x-outrigger-error") !== undefined;
		const isRight = ids.length === 1 && (ids[0] === `sim-${request.id}` || (isOurs && !ids[0]?.startsWith("sim-")));
		if (!isRight) this.#stage.violated(`request ${request.id} was answered with the ids ${ids.join(" | ")}`);
		const nonce = fieldOf(message, "x-sim-nonce");
		if (isOurs) {
			if (nonce !== undefined) this.#stage.violated("an answer of the agent with fields of the app");
			return;
		}
		if (nonce === "0") return; // what an app says of itself on a new connection looks like the answer to the first request
		// No field of an app's answer may come from anywhere but that answer.
		const answer = this.#ledger.answers.get(Number(nonce));
		if (answer?.id !== request.id)
			this.#stage.violated(`request ${request.id} got the answer to ${answer?.id ?? "nothing"}`);
	}

	#onWhole(message: ReadMessage): void {
		const request = this.#requests[this.#answered];
		if (request === undefined) return;
		this.#answered++;
		const status = Number(message.startLine.slice(9, 12));
		const error = fieldOf(message, "x-outrigger-error");
		const body = bodyOfMessage(message);
		const closes =
			fieldOf(message, "connection") === "close" ||
			(request.minorVersion === 0 && fieldOf(message, "connection") !== "keep-alive");
		request.got = { status, bodyBytes: body.length, error, closes };
		request.endedMs = this.#stage.nowMs;
		if (error === undefined) this.#checkAnswer(request, message, status, body);
		else if (this.#habits.isCalm && this.#asker === undefined)
			this.#stage.violated(`request ${request.id} was refused: ${status} ${error}`);
		else if (request.method !== "HEAD" && !body.includes(`"reason":"${error}"`))
			this.#stage.violated("a problem document of another reason");

		if (closes) this.#mayGoOn = false;
		if (this.isServed || closes) this.#done(closes);
		else if (!this.#isPipelining) {
			const { dice } = this.#stage;
			this.#stage.after(dice.chance(0.6) ? 0 : dice.random() * this.#habits.gapMs, () => this.#sendNext());
		}
	}

	#checkAnswer(request: SentRequest, message: ReadMessage, status: number, body: Buffer): void {
		const answer = this.#ledger.answers.get(Number(fieldOf(message, "x-sim-nonce")));
		if (answer === undefined) return; // told in #checkIds
		if (!answer.isWhole) this.#stage.violated(`request ${request.id}: half a response was delivered as a whole one`);
		if (answer.status !== status)
			this.#stage.violated(`request ${request.id}: status ${answer.status} became ${status}`);
		if (!answer.body.equals(body)) {
			this.#stage.violated(
				`request ${request.id}: a body of ${answer.body.length} bytes came as ${body.length} others`,
			);
		}
		for (const name of ["x-outrigger-route", "keep-alive", "proxy-authenticate"]) {
			if (fieldOf(message, name) !== undefined) this.#stage.violated(`${name} reached the client`);
		}
	}

	/** All is said: the ways to leave. */
	#done(weAreTold: boolean): void {
		const { dice } = this.#stage;
		if (this.#tail !== undefined && !weAreTold) {
			if (!this.#isPipelining) this.#sendNext();
			return;
		}
		if (this.#asker !== undefined) {
			if (weAreTold) this.#tellOver();
			else this.#asker.idle(this);
			return;
		}
		if (weAreTold || dice.chance(0.2)) return; // the agent closes: now, or when the connection has been idle for long
		this.#isEnded = true;
		this.#stage.after(dice.random() * 20, () => {
			if (this.#socket.destroyed) return;
			if (dice.chance(0.5)) this.#socket.end();
			else {
				this.#socket.destroy();
				this.#over();
			}
		});
	}

	#onEnd(): void {
		if (this.isOver) return;
		const { dice } = this.#stage;
		const isWithin = this.#reader.isWithin;
		const isCut = !this.#reader.ended() && isWithin;
		if (this.#asker !== undefined) this.#lose(this.#gaveUp ? "given up" : isCut ? "broken" : "clean");
		else if (isCut && this.#habits.isCalm) this.#stage.violated("a response was cut short");
		this.#isEnded = true;
		const isSlow = !dice.chance(0.9);
		if (isSlow && this.#asker === undefined) return; // it never does
		this.#stage.after(dice.random() * (isSlow ? SLOW_END_MS : 10), () => {
			if (!this.#socket.destroyed) this.#socket.end();
		});
	}

	#over(): void {
		if (this.isOver) return;
		this.isOver = true;
		if (this.#asker !== undefined) this.#lose(this.#gaveUp ? "given up" : "broken");
		else if (this.#habits.isCalm && !this.isServed)
			this.#stage.violated(`a connection ended before its answers; ${this.#story()}`);
	}

	/** The connection ends before all is answered. */
	#lose(how: Loss): void {
		if (this.#hasTold) return;
		const begun = this.#requests.slice(this.#answered, this.#next);
		const { message } = this.#reader;
		// Nobody takes what is behind an answer that closes, also when that answer is cut, nor behind a request that nobody has taken.
		const isTold = message !== undefined && fieldOf(message, "connection") === "close";
		const behind = how === "clean" || (how === "broken" && isTold) ? "behind" : how;
		for (const [at, request] of begun.entries()) {
			request.lost = at === 0 ? how : behind;
			request.endedMs = this.#stage.nowMs;
		}
		this.#tellOver();
	}

	#tellOver(): void {
		if (this.#hasTold || this.#asker === undefined) return;
		this.#hasTold = true;
		for (const request of this.#requests.slice(this.#answered, this.#next)) request.lost ??= "behind";
		this.#asker.over(this, this.#requests.slice(this.#answered));
	}

	// ── tunnels ──

	#startTunnel(first: Buffer): void {
		const { dice } = this.#stage;
		this.#answered = this.#requests.length;
		this.#tellOver();
		this.#tunnelSent = Buffer.concat([first, bodyOf(dice.below(1000), dice.size(40_000) + 1)]);
		this.#cutAt =
			this.#habits.isCalm || dice.chance(0.5)
				? Number.POSITIVE_INFINITY
				: this.#written + dice.below(this.#tunnelSent.length);
		let rest = this.#tunnelSent;
		if (this.#asker !== undefined && first.length > 0) {
			// A preface goes out in one piece, as those who speak HTTP/2 do it: half of one may be any request.
			this.#cutAt += first.length;
			this.#written += first.length;
			this.#socket.write(first);
			rest = rest.subarray(first.length);
		}
		this.#sendPieces(rest, () => {
			this.#isEnded = true;
			if (this.#asker === undefined && dice.chance(0.7)) this.#socket.end();
		});
	}

	#onTunnel(bytes: Buffer): void {
		if (this.#tunnelSent.length === 0) return;
		// A connection beyond the bound is told so before anybody knows what it speaks.
		if (this.#isOpaque && this.#tunnelGot === 0 && !this.#habits.isCalm && bytes[0] === H) {
			this.#tunnelSent = Buffer.alloc(0);
			return;
		}
		const expected = this.#tunnelSent.subarray(this.#tunnelGot, this.#tunnelGot + bytes.length);
		if (!expected.equals(bytes)) this.#stage.violated("a tunnel gave other bytes than were sent");
		this.#tunnelGot += bytes.length;
		if (this.#tunnelGot < this.#tunnelSent.length || this.#socket.destroyed) return;
		// A plan comes to its end; who is asked keeps the tunnel open for some time, perhaps for ever.
		if (this.#asker === undefined) this.#socket.end();
		else if (this.#stage.dice.chance(0.5)) {
			this.#stage.after(this.#stage.dice.random() * TUNNEL_MS, () => {
				if (!this.#socket.destroyed) this.#socket.end();
			});
		}
	}

	#story(): string {
		const asked = this.#requests.map(
			({ id, method, minorVersion, isSentWhole }) => `${id} ${method}/1.${minorVersion}${isSentWhole ? "" : " (part)"}`,
		);
		return `asked for ${asked.join(", ")}; ${this.#answered} answered, ${this.#written} bytes sent, ${this.#reading} reader, pipelining ${this.#isPipelining}, cut at ${this.#cutAt}, opaque ${this.#isOpaque}`;
	}
}

/** A body in random chunks, some with extensions, perhaps with trailers. */
export const chunked = (dice: Dice, body: Buffer): Buffer => {
	const parts: (Buffer | string)[] = [];
	for (let at = 0; at < body.length; ) {
		const size = Math.min(
			body.length - at,
			dice.chance(0.3) ? dice.between(1, 20) : dice.between(1, Math.max(1, body.length)),
		);
		const digits = size.toString(16);
		parts.push(
			`${dice.chance(0.1) ? "00" : ""}${dice.chance(0.3) ? digits.toUpperCase() : digits}${dice.chance(0.1) ? ";a=b" : ""}\r\n`,
		);
		parts.push(body.subarray(at, at + size), "\r\n");
		at += size;
	}
	parts.push("0\r\n", dice.chance(0.2) ? "x-sim-sum: 1\r\n" : "", "\r\n");
	return Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part, "latin1") : part)));
};

/** A request as a client makes it, entered into the ledger. `isLast`: it may be one after which the connection can carry no other. */
export const planRequest = (
	dice: Dice,
	ledger: Ledger,
	{ isCalm, bodyMax }: Pick<ClientHabits, "isCalm" | "bodyMax">,
	isLast: boolean,
	kind: Kind = "plain",
): SentRequest => {
	const id = ledger.nextId();
	const minorVersion = isLast && kind !== "upgrade" && dice.chance(0.1) ? 0 : 1;
	const method = kind === "stream" ? "GET" : kind === "probe" ? dice.pick(["GET", "HEAD"]) : dice.pick(METHODS);
	const asksForUpgrade = kind === "upgrade" || (kind === "plain" && isLast && minorVersion === 1 && dice.chance(0.08));
	const hasBody =
		!asksForUpgrade &&
		kind === "plain" &&
		(method === "POST" || method === "PUT" || method === "PATCH" || dice.chance(0.15));
	const isChunked = hasBody && minorVersion === 1 && dice.chance(0.5);
	const body = hasBody ? bodyOf(id, dice.size(bodyMax)) : Buffer.alloc(0);
	const expects = hasBody && body.length > 0 && minorVersion === 1 && dice.chance(0.15);
	const target = `/r/${id}${dice.pick(["", "?a=b", "/%7B|{}", "?q=http://x/y", "/\xc3\xa4"])}`;
	const fields: [string, string][] = [["x-sim-id", String(id)]];
	for (let n = dice.below(4); n > 0; n--)
		fields.push([dice.pick(["x-sim-a", "X-Sim-B", "x-sim-c"]), dice.pick(["", "1", "a\tb", "\xff\x80", "a, b"])]);
	const isAbsolute = dice.chance(0.1);
	const closes = isLast && !isCalm && dice.chance(0.2);
	const connection = asksForUpgrade
		? "connection: upgrade\r\nupgrade: sim\r\n"
		: closes
			? "Connection: close\r\n"
			: dice.pick(["", "", "connection: keep-alive\r\nkeep-alive: 5\r\n", "connection: x-hop\r\nx-hop: 1\r\n"]);
	const says =
		kind === "probe" ? "user-agent: kube-probe/1.31\r\n" : kind === "stream" ? "accept: text/event-stream\r\n" : "";
	const framing = isChunked
		? dice.pick(["transfer-encoding: chunked\r\n", "Transfer-Encoding:\tChunked\r\n"])
		: hasBody
			? `content-length: ${body.length}\r\n`
			: "";
	const head = Buffer.from(
		`${dice.chance(0.05) ? "\r\n" : ""}${method} ${isAbsolute ? "http://sim:80" : ""}${target} HTTP/1.${minorVersion}\r\nhost: sim\r\n` +
			`${fields.map(([name, value]) => `${name}: ${value}\r\n`).join("")}x-request-id: sim-${id}\r\n${says}${connection}${framing}` +
			`${expects ? "expect: 100-continue\r\n" : ""}${dice.chance(0.1) ? "x-outrigger-route: /x\r\nx-forwarded-for: 10.1.1.1\r\n" : ""}\r\n`,
		"latin1",
	);
	const bytes = Buffer.concat([head, isChunked ? chunked(dice, body) : body]);
	const request: SentRequest = {
		id,
		kind,
		method,
		target,
		minorVersion,
		fields,
		body,
		hasBody,
		asksForUpgrade,
		expects,
		bytes,
		headBytes: head.length,
		closes: closes || minorVersion === 0,
		isSentWhole: false,
		wholeAtApp: 0,
		got: undefined,
		lost: undefined,
		endedMs: Number.NaN,
	};
	ledger.requests.set(id, request);
	return request;
};
