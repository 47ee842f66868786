/**
 * What the stories are told with: clients and apps that say exact bytes over real sockets, one data plane inside the test's own
 * process, and the whole agent. Nothing here sleeps for luck: every wait is for something that happens, and fails with what
 * has come so far when it has not happened within `WAIT_MS`.
 *
 * @example
 * await using app = await startApp(async (wire) => {
 *   await wire.request();
 *   wire.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
 * });
 * await using plane = await startPlane(app.port);
 * await using client = await connect(plane.port);
 * client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
 * assert.equal((await client.response()).status, 200);
 */
import { strict as assert } from "node:assert";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Agent } from "../../src/agent.ts";
import type { DataMessage } from "../../src/bridge/commands.ts";
import { CELL, Counters } from "../../src/bridge/counters.ts";
import { type ExchangeRecord, RecordView, readExchangeRecord } from "../../src/bridge/exchange-record.ts";
import { RecordRing } from "../../src/bridge/record-ring.ts";
import { SeriesTable } from "../../src/bridge/series-table.ts";
import { settingsFrom } from "../../src/config/layers.ts";
import type { Settings } from "../../src/config/settings.ts";
import { DataPlane } from "../../src/data-plane.ts";
import { type Clock, type ManualClock, systemClock } from "../../src/foundation/clock.ts";
import { FAULT_LIST, type FaultReason } from "../../src/foundation/fault.ts";
import { LogSink } from "../../src/foundation/log-sink.ts";
import { systemScheduler } from "../../src/foundation/scheduler.ts";
import { IdSource } from "../../src/telemetry/ids.ts";
import { AppSocket } from "../../src/upstream/app-socket.ts";
import type { Connect } from "../../src/upstream/pool.ts";

/** No story takes so long; what has not happened by then does not happen. */
const WAIT_MS = 20_000;

// ── which faults are told of where ────────────────────────────────────────────────────────────────────────────────

/** Faults with an answer that only a wait, a bound or a connection brings about: `connection-*.test.ts` reaches each. */
export const CONNECTION_FAULTS = [
	"head_timeout",
	"body_timeout",
	"connections_exceeded",
	"in_flight_exceeded",
	"buffer_exceeded",
	"app_refused",
	"app_connect_timeout",
	"app_response_timeout",
] as const satisfies readonly FaultReason[];

/** Faults with an answer that no story can reach, each with the reason. */
export const UNREACHED_FAULTS = {
	internal: "stands for a mistake of the agent; nothing a peer sends leads to it",
} as const satisfies Partial<Record<FaultReason, string>>;

/** Faults with an answer that messages alone bring about: `message-refusals.test.ts` reaches each. */
export const MESSAGE_FAULTS: readonly FaultReason[] = FAULT_LIST.filter(
	({ status, reason }) =>
		status > 0 && !(CONNECTION_FAULTS as readonly string[]).includes(reason) && !(reason in UNREACHED_FAULTS),
).map(({ reason }) => reason);

// ── one end of a connection ───────────────────────────────────────────────────────────────────────────────────────

export interface Message {
	/** The start line without its CRLF, and all of the head with its blank line; latin1. */
	readonly startLine: string;
	readonly head: string;
	/** In the order in which they came, names as they were written. */
	readonly fields: readonly (readonly [name: string, value: string])[];
	/** Payload, its framing taken off. */
	readonly body: Buffer;
	/** Field lines after the last chunk. */
	readonly trailers: readonly string[];
	/** The message as it came, framing and all; the 1xx before it not included. */
	readonly raw: Buffer;
}

export interface Request extends Message {
	readonly method: string;
	readonly target: string;
}

export interface Response extends Message {
	readonly status: number;
	/** The heads of the 1xx that came before. */
	readonly interim: readonly string[];
}

/** All values of a field, in their order. */
export const fieldValues = (message: Message, name: string): string[] =>
	message.fields.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value);

/** The value of a field that is there once; `undefined` when it is not there. */
export const field = (message: Message, name: string): string | undefined => {
	const values = fieldValues(message, name);
	assert.ok(values.length <= 1, `${name} is there ${values.length} times: ${values.join(" | ")}`);
	return values[0];
};

/** A raw socket: says bytes, reads messages. Both a client and the app's end of a connection are one. */
export class Wire implements AsyncDisposable {
	readonly socket: Socket;
	/** Octets that have come so far, those already read included. */
	receivedBytes = 0;
	/** FIN has come. */
	isEnded = false;
	/** The connection is over. */
	isClosed = false;
	/** `code` of the error that ended it: `ECONNRESET` for RST. */
	error: string | undefined;
	#chunks: Buffer[] = [];
	#pending: Buffer = Buffer.alloc(0);
	readonly #waiting = new Set<() => void>();

	constructor(socket: Socket) {
		this.socket = socket;
		socket.on("data", (bytes: Buffer) => {
			this.receivedBytes += bytes.length;
			this.#chunks.push(bytes);
			this.#wake();
		});
		socket.on("end", () => {
			this.isEnded = true;
			this.#wake();
		});
		socket.on("error", (error: NodeJS.ErrnoException) => {
			this.error ??= error.code ?? error.message;
			this.#wake();
		});
		socket.on("close", () => {
			this.isClosed = true;
			this.#wake();
		});
		socket.on("drain", () => this.#wake());
	}

	/** What has come and was not read as part of a message. */
	get unread(): Buffer {
		if (this.#chunks.length > 0) {
			this.#pending = Buffer.concat([this.#pending, ...this.#chunks]);
			this.#chunks = [];
		}
		return this.#pending;
	}

	/** Latin1. */
	write(bytes: string | Uint8Array): void {
		if (!this.socket.destroyed) this.socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
	}

	/** Each piece in a read of its own, as far as the system lets us: a turn of the event loop between them. */
	async writePieces(pieces: Iterable<Uint8Array>): Promise<void> {
		for (const piece of pieces) {
			this.write(piece);
			await turn();
		}
	}

	/** FIN: nothing more is said, but still listened to. */
	end(): void {
		this.socket.end();
	}

	/** RST. */
	reset(): void {
		this.socket.resetAndDestroy();
	}

	/** Resolves when `condition` holds; looked at whenever something happens on this connection. */
	async until(condition: () => boolean, what: string): Promise<void> {
		if (condition()) return;
		await new Promise<void>((resolve, reject) => {
			const done = (): void => {
				clearTimeout(timer);
				this.#waiting.delete(look);
			};
			const look = (): void => {
				if (!condition()) return;
				done();
				resolve();
			};
			const timer = setTimeout(() => {
				done();
				reject(new Error(`waited for ${what}; ${this.#story()}`));
			}, WAIT_MS);
			this.#waiting.add(look);
		});
	}

	/** The next request. Rejects when the connection ends before it is whole. */
	async request(): Promise<Request> {
		const head = await this.requestHead();
		return { ...head, ...(await this.body(head)) };
	}

	/** The head of the next request; its body is left to `body`. */
	async requestHead(): Promise<Request> {
		const message = await this.#head();
		const [method = "", target = "", version] = message.startLine.split(" ");
		assert.match(version ?? "", /^HTTP\/1\.[01]$/, `no request line: ${message.startLine}`);
		return { ...message, method, target };
	}

	/** The body of a request whose head has been read. */
	async body(head: Request): Promise<Pick<Message, "body" | "trailers" | "raw">> {
		return this.#body(
			head,
			field(head, "transfer-encoding") === undefined ? (field(head, "content-length") ?? "0") : undefined,
		);
	}

	/** The next final response, 1xx before it included. `method` is that of the request: it says whether there is a body. */
	async response(method = "GET"): Promise<Response> {
		const interim: string[] = [];
		for (;;) {
			const message = await this.#head();
			assert.match(message.startLine, /^HTTP\/1\.[01] [1-9][0-9]{2}/, `no status line: ${message.startLine}`);
			const status = Number(message.startLine.slice(9, 12));
			if (status < 200 && status !== 101) {
				interim.push(message.head);
				continue;
			}
			const isEmpty = method === "HEAD" || status < 200 || status === 204 || status === 304;
			const length = isEmpty ? "0" : field(message, "content-length");
			const isChunked = !isEmpty && field(message, "transfer-encoding") !== undefined;
			const rest =
				isChunked || length !== undefined
					? await this.#body(message, isChunked ? undefined : length)
					: await this.#toEnd(message);
			return { ...message, ...rest, status, interim };
		}
	}

	/** All that comes until the connection is over; says whether it was a FIN. */
	async rest(): Promise<{ readonly bytes: Buffer; readonly isClean: boolean }> {
		await this.until(() => this.isEnded || this.isClosed, "the end of the connection");
		return { bytes: this.unread, isClean: this.isEnded && this.error === undefined };
	}

	async closed(): Promise<void> {
		await this.until(() => this.isClosed, "the connection to be over both ways");
	}

	async [Symbol.asyncDispose](): Promise<void> {
		this.socket.destroy();
		await this.closed();
	}

	/** Takes the first `length` octets of what has come. */
	async take(length: number): Promise<Buffer> {
		await this.until(() => this.#available() >= length || this.isEnded || this.isClosed, `${length} octets`);
		const unread = this.unread;
		assert.ok(unread.length >= length, `the connection ended before ${length} octets had come; ${this.#story()}`);
		this.#pending = unread.subarray(length);
		return unread.subarray(0, length);
	}

	#available(): number {
		let available = this.#pending.length;
		for (const chunk of this.#chunks) available += chunk.length;
		return available;
	}

	async #line(): Promise<string> {
		await this.until(() => this.unread.includes("\r\n") || this.isEnded || this.isClosed, "a line");
		const end = this.unread.indexOf("\r\n");
		assert.ok(end >= 0, `the connection ended in the middle of a message; ${this.#story()}`);
		return (await this.take(end + 2)).toString("latin1", 0, end);
	}

	async #head(): Promise<Message> {
		await this.until(() => this.unread.includes("\r\n\r\n") || this.isEnded || this.isClosed, "a head");
		const end = this.unread.indexOf("\r\n\r\n");
		assert.ok(end >= 0, `the connection ended before a head was there; ${this.#story()}`);
		const raw = await this.take(end + 4);
		const head = raw.toString("latin1");
		const [startLine = "", ...lines] = head.slice(0, -4).split("\r\n");
		const fields = lines.map((line): [string, string] => {
			const colon = line.indexOf(":");
			assert.match(line.slice(0, colon), /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/, `no field line: ${JSON.stringify(line)}`);
			assert.doesNotMatch(line, /[\0-\x08\x0a-\x1f\x7f]/, "a field holds a control character");
			return [line.slice(0, colon), line.slice(colon + 1).trim()];
		});
		return { startLine, head, fields, body: Buffer.alloc(0), trailers: [], raw };
	}

	async #body(message: Message, length: string | undefined): Promise<Pick<Message, "body" | "trailers" | "raw">> {
		if (length !== undefined) {
			assert.match(length, /^[0-9]+$/);
			const body = await this.take(Number(length));
			return { body, trailers: [], raw: Buffer.concat([message.raw, body]) };
		}
		assert.equal(field(message, "transfer-encoding")?.toLowerCase(), "chunked");
		assert.equal(field(message, "content-length"), undefined, "chunked and a length");
		const data: Buffer[] = [];
		const raw: Buffer[] = [message.raw];
		for (;;) {
			const line = await this.#line();
			raw.push(Buffer.from(`${line}\r\n`, "latin1"));
			assert.match(line, /^[0-9a-fA-F]+(;.*)?$/, `no chunk size: ${JSON.stringify(line)}`);
			const size = Number.parseInt(line, 16);
			if (size === 0) break;
			const chunk = await this.take(size + 2);
			assert.equal(chunk.toString("latin1", size), "\r\n", "a chunk ends with CRLF");
			raw.push(chunk);
			data.push(chunk.subarray(0, size));
		}
		const trailers: string[] = [];
		for (let line = await this.#line(); ; line = await this.#line()) {
			raw.push(Buffer.from(`${line}\r\n`, "latin1"));
			if (line === "") break;
			trailers.push(line);
		}
		return { body: Buffer.concat(data), trailers, raw: Buffer.concat(raw) };
	}

	async #toEnd(message: Message): Promise<Pick<Message, "body" | "trailers" | "raw">> {
		const { isClean, bytes } = await this.rest();
		assert.ok(isClean, `a body that ends with the connection was cut short; ${this.#story()}`);
		this.#pending = Buffer.alloc(0);
		return { body: bytes, trailers: [], raw: Buffer.concat([message.raw, bytes]) };
	}

	#wake(): void {
		for (const look of this.#waiting) look();
	}

	#story(): string {
		const state = `ended ${this.isEnded}, closed ${this.isClosed}, error ${this.error ?? "none"}, ${this.receivedBytes} octets in all`;
		return `${state}, unread: ${JSON.stringify(this.unread.toString("latin1", 0, 600))}`;
	}
}

/** One turn of the event loop, I/O included. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Resolves when `condition` holds, looked at every few milliseconds: for what no event tells. */
export const eventually = async (condition: () => boolean, what: string): Promise<void> => {
	const giveUpMs = performance.now() + WAIT_MS;
	while (!condition()) {
		if (performance.now() > giveUpMs) throw new Error(`waited for ${what}`);
		await new Promise((resolve) => setTimeout(resolve, 5));
	}
};

export interface ConnectOptions {
	readonly host?: string;
	/** Where Node has it: `socket.connect` to a Unix socket. */
	readonly path?: string;
}

/** A client that is connected. */
export const connect = async (port: number, options: ConnectOptions = {}): Promise<Wire> => {
	const socket = new Socket({ allowHalfOpen: true });
	const wire = new Wire(socket);
	socket.setNoDelay(true);
	socket.connect(options.path === undefined ? { port, host: options.host ?? "127.0.0.1" } : { path: options.path });
	await new Promise<void>((resolve, reject) => {
		socket.once("connect", resolve);
		socket.once("error", reject);
	});
	return wire;
};

// ── the app ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** What the app does with each connection; what it throws fails `close`, unless the connection was over by then. */
export type AppScript = (wire: Wire, index: number) => Promise<void> | void;

export class App implements AsyncDisposable {
	readonly #server: Server;
	/** Every connection so far. */
	readonly wires: Wire[] = [];
	readonly #scripts: Promise<void>[] = [];
	readonly #errors: unknown[] = [];

	constructor(server: Server, script: AppScript) {
		this.#server = server;
		server.on("connection", (socket) => {
			socket.setNoDelay(true);
			const wire = new Wire(socket);
			const index = this.wires.push(wire) - 1;
			this.#scripts.push(
				(async () => script(wire, index))().catch((error: unknown) => {
					if (!wire.isEnded && !wire.isClosed) this.#errors.push(error);
				}),
			);
		});
	}

	get port(): number {
		const address = this.#server.address();
		return typeof address === "object" && address !== null ? address.port : 0;
	}

	/** The connection with that number, once it is there. */
	async wire(index: number): Promise<Wire> {
		await eventually(() => this.wires.length > index, `connection ${index} to the app`);
		return this.wires[index] as Wire; // the line above has waited for it
	}

	/** Stops listening and cuts every connection; rejects with the first error of a script. */
	async [Symbol.asyncDispose](): Promise<void> {
		const closed = new Promise((resolve) => this.#server.close(resolve));
		for (const wire of this.wires) wire.socket.destroy();
		await Promise.all(this.#scripts);
		await closed;
		if (this.#errors.length > 0) throw this.#errors[0];
	}
}

/** An app on a port of 127.0.0.1 that the system chooses; `at`: another address, or the path of a Unix socket. */
export const startApp = async (script: AppScript, at = "127.0.0.1", port = 0): Promise<App> => {
	const server = createServer({ allowHalfOpen: true });
	const app = new App(server, script);
	await new Promise<void>((resolve, reject) => {
		server.once("error", reject);
		server.listen(at.startsWith("/") ? { path: at } : { host: at, port }, resolve);
	});
	return app;
};

/** A script that answers every request of a connection with the same bytes, or with what it says of the request. */
export const answering =
	(answer: string | Buffer | ((request: Request, wire: Wire) => string | Buffer | undefined)): AppScript =>
	async (wire) => {
		while (!wire.isClosed) {
			await wire.until(() => wire.unread.length > 0 || wire.isEnded || wire.isClosed, "a request");
			if (wire.unread.length === 0) break;
			const request = await wire.request();
			const bytes = typeof answer === "function" ? answer(request, wire) : answer;
			if (bytes !== undefined) wire.write(bytes);
		}
		wire.end();
	};

/** `HTTP/1.1 200` with a length. */
export const ok = (body: string | Buffer = "ok", fields = ""): Buffer =>
	Buffer.concat([
		Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n${fields}\r\n`, "latin1"),
		Buffer.from(body),
	]);

// ── the agent ─────────────────────────────────────────────────────────────────────────────────────────────────────

export interface PlaneOptions {
	/** Concrete path → text, as of `settingsFrom`. */
	readonly set?: Readonly<Record<string, string>>;
	/** A `ManualClock` stands still until `advance`; without one the system's time passes and deadlines are looked at by a timer. */
	readonly clock?: ManualClock;
	/** In place of sockets to the app as they are made ordinarily. */
	readonly connect?: Connect;
	/** In place of the source of ids. */
	readonly ids?: IdSource;
}

/** One data plane inside this process, on real sockets: what is counted and recorded can be looked at. */
export class PlaneRun implements AsyncDisposable {
	readonly plane: DataPlane;
	readonly port: number;
	/** The port of each entry of `inbound`. */
	readonly ports: readonly number[];
	/** What the data thread has told the control thread. */
	readonly messages: readonly DataMessage[];
	readonly settings: Settings;
	readonly counters: Counters;
	readonly #ring: RecordRing;
	readonly #view: RecordView;
	readonly #records: ExchangeRecord[] = [];
	readonly #clock: ManualClock | undefined;
	readonly #timer: NodeJS.Timeout | undefined;

	constructor(
		plane: DataPlane,
		ports: readonly number[],
		messages: readonly DataMessage[],
		settings: Settings,
		ring: RecordRing,
		clock: ManualClock | undefined,
	) {
		this.plane = plane;
		this.ports = ports;
		this.port = ports[0] ?? 0;
		this.messages = messages;
		this.settings = settings;
		this.counters = plane.counters;
		this.#ring = ring;
		this.#view = new RecordView(ring);
		this.#clock = clock;
		this.#timer = clock === undefined ? setInterval(() => plane.sweep(), 20) : undefined;
	}

	/** One record for each exchange that is over, in the order of their ends. */
	get records(): readonly ExchangeRecord[] {
		this.#ring.drain(
			(offset) => this.#records.push(readExchangeRecord(this.#view.load(offset), 0)),
			Number.POSITIVE_INFINITY,
		);
		return this.#records;
	}

	/** Resolves when so many exchanges are over. */
	async recorded(count: number): Promise<readonly ExchangeRecord[]> {
		await eventually(() => this.records.length >= count, `${count} records; there are ${this.records.length}`);
		assert.equal(this.records.length, count, "one record for each exchange");
		return this.records;
	}

	/** Reason of a record's fault; `undefined` when all was well. */
	reasonOf(record: ExchangeRecord | undefined): FaultReason | undefined {
		return FAULT_LIST[record?.faultIndex ?? -1]?.reason;
	}

	/** Lets time pass on the manual clock, then looks at all deadlines. */
	advance(ms: number): void {
		assert.ok(this.#clock !== undefined, "this plane runs on the system's clock");
		this.#clock.advance(ms);
		this.plane.sweep();
	}

	/**
	 * Waits until every client is gone, then holds the account: nothing in flight, nothing buffered, as many records as answers and
	 * cuts. Stories call it at their end; it is what "nothing is unaccounted for" means.
	 */
	async settle(): Promise<void> {
		const { counters } = this;
		const get = (cell: number): number => counters.get(cell);
		await eventually(
			() => get(CELL.DOWNSTREAM_OPEN) === 0,
			`all clients to be gone; ${get(CELL.DOWNSTREAM_OPEN)} are open, ${get(CELL.IN_FLIGHT)} in flight`,
		);
		assert.equal(this.records.length, get(CELL.ANSWERED) + get(CELL.CUT), "requests in = answers + cuts");
		assert.equal(this.#ring.dropped, 0, "the ring had room for every record");
		assert.equal(get(CELL.IN_FLIGHT), 0, "in flight");
		assert.equal(get(CELL.BUFFERED_BYTES), 0, "bytes of the budget in use");
		assert.equal(get(CELL.TUNNELS) + get(CELL.OPAQUE_OPEN) + get(CELL.EVENT_STREAMS), 0, "tunnels and streams");
		for (let method = 0; method <= 10; method++)
			assert.equal(get(CELL.ACTIVE_BY_METHOD_START + method), 0, `active, method ${method}`);
	}

	async [Symbol.asyncDispose](): Promise<void> {
		clearInterval(this.#timer);
		this.plane.stop();
		await eventually(() => this.counters.get(CELL.UPSTREAM_OPEN) === 0, "all connections to the app to be closed");
	}
}

/** Starts a plane before the app on that port of 127.0.0.1. */
export const startPlane = async (appPort: number, options: PlaneOptions = {}): Promise<PlaneRun> => {
	const settings = settingsFrom({
		"inbound.0.listen": "127.0.0.1:0",
		"inbound.0.app": `127.0.0.1:${appPort}`,
		...options.set,
	});
	const ring = RecordRing.allocate(1 << 22);
	const clock: Clock = options.clock ?? systemClock;
	const bound = Promise.withResolvers<readonly number[]>();
	const messages: DataMessage[] = [];
	const plane = new DataPlane({
		afterTurn: setImmediate,
		settings,
		memory: {
			thread: 0,
			ring: ring.shared,
			counters: Counters.allocate().shared,
			series: SeriesTable.allocate(settings.routes.seriesMax, settings.metrics.bodySizes),
		},
		clock,
		ids: options.ids ?? new IdSource(),
		connect: options.connect ?? connectToApp,
		send: (message) => {
			messages.push(message);
			if (message.kind === "listening") bound.resolve(message.inbounds.map(({ port }) => port));
		},
	});
	await plane.obey({ kind: "listen" });
	return new PlaneRun(plane, await bound.promise, messages, settings, ring, options.clock);
};

/** A socket to the app, as `data-thread.ts` makes them. */
export const connectToApp: Connect = (address, localAddress) => {
	const socket = new AppSocket();
	socket.setNoDelay(true);
	if (address.kind === "unix") socket.connect({ path: address.path });
	else {
		const to = { host: address.host ?? "127.0.0.1", port: address.port };
		socket.connect(localAddress === undefined ? to : { ...to, localAddress });
	}
	return socket;
};

/** The whole agent: threads, observers, ops port; its lines go to a file. */
export class AgentRun implements AsyncDisposable {
	readonly agent: Agent;
	readonly port: number;
	readonly opsPort: number;
	readonly #folder: string;
	readonly #sink: LogSink;

	constructor(agent: Agent, port: number, opsPort: number, folder: string, sink: LogSink) {
		this.agent = agent;
		this.port = port;
		this.opsPort = opsPort;
		this.#folder = folder;
		this.#sink = sink;
	}

	/** All lines written so far. */
	lines(): readonly Record<string, unknown>[] {
		const text = readFileSync(join(this.#folder, "log"), "utf8");
		return text
			.split("\n")
			.slice(0, -1)
			.map((line) => JSON.parse(line) as Record<string, unknown>); // one object a line is what the log promises
	}

	/** Access lines, once there are so many. */
	async accessLines(count: number): Promise<readonly Record<string, unknown>[]> {
		const access = (): Record<string, unknown>[] =>
			this.lines().filter((line) => "http.response.status_code" in line || "ended_by" in line);
		await eventually(() => access().length >= count, `${count} access lines; there are ${access().length}`);
		assert.equal(access().length, count, "one access line for each exchange");
		return access();
	}

	/** A page of the ops port. */
	async ops(path: string): Promise<{ readonly status: number; readonly text: string }> {
		const answer = await fetch(`http://127.0.0.1:${this.opsPort}${path}`);
		return { status: answer.status, text: await answer.text() };
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.agent.stop();
		this.#sink.close();
		rmSync(this.#folder, { recursive: true, force: true });
	}
}

/** Starts the agent before the app on that port of 127.0.0.1. */
export const startAgent = async (appPort: number, set: Readonly<Record<string, string>> = {}): Promise<AgentRun> => {
	const folder = mkdtempSync(join(tmpdir(), "outrigger-story-"));
	const settings = settingsFrom({
		"inbound.0.listen": "127.0.0.1:0",
		"inbound.0.app": `127.0.0.1:${appPort}`,
		"ops.listen": "127.0.0.1:0",
		"api.listen": "127.0.0.1:0",
		"health.app.http": "none",
		"drain.report": "none",
		"routes.openapi": "none",
		"drain.announceMin": "0s",
		...set,
	});
	const sink = LogSink.open(join(folder, "log"), settings.log.bufferBytesMax);
	const agent = new Agent({ settings, clock: systemClock, scheduler: systemScheduler, sink });
	const { inbound, ops } = await agent.start();
	const portOf = (address: typeof ops | undefined): number => (address?.kind === "tcp" ? address.port : 0);
	return new AgentRun(agent, portOf(inbound[0]), portOf(ops), folder, sink);
};

/**
 * Where a message is cut in two: every place when it is short, else the first and last 40 and `count` between them.
 * `writePieces` hands the two halves over in reads of their own.
 */
export const splitPoints = (length: number, count = 40): number[] => {
	if (length <= 160) return Array.from({ length: length - 1 }, (_, i) => i + 1);
	const points = new Set<number>();
	for (let i = 1; i <= 40; i++) points.add(i).add(length - i);
	for (let i = 1; i <= count; i++) points.add(Math.floor((i * length) / (count + 1)));
	return [...points].sort((a, b) => a - b);
};

/** The octets of a text in latin1, cut at those places. */
export const piecesOf = (message: string | Buffer, ...cuts: readonly number[]): Buffer[] => {
	const bytes = typeof message === "string" ? Buffer.from(message, "latin1") : message;
	const ends = [...cuts, bytes.length];
	return ends.map((end, i) => bytes.subarray(i === 0 ? 0 : ends[i - 1], end));
};
