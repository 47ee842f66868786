/**
 * One connection of the load, and the exchanges on it, one after the other. It repeats nothing and forgives nothing: every exchange ends
 * as whole and right, or as a `Failure` that says how far it came.
 *
 *   connecting ──► idle ⇄ busy ──► closed
 *        └────────────┴──────────────▲
 *
 * What it must not do is to make failures of its own. A server may close a connection that it takes for idle, and who sends on it just then
 * gets no answer. So a connection leaves `idle` with the first sign that the server is done with it, and callers send in the check phase
 * of the event loop (`setImmediate`), directly after all FINs that the kernel had were read. What remains is the time on the wire.
 */
import { connect, type Socket } from "node:net";
import { BodyCheck } from "./body.ts";
import { ResponseReader } from "./response-reader.ts";

export interface Target {
	readonly host: string;
	readonly port: number;
}

export const renderTarget = ({ host, port }: Target): string => `${host}:${port}`;

export interface Request {
	/** Start line and fields, without the empty line: what belongs to the connection is added here. */
	readonly head: string;
	readonly upload?: Buffer;
	/** The upload is sent in parts, so that it takes so long. */
	readonly uploadMs: number;
	/** The answer is read in parts, so that it takes so long. */
	readonly downloadMs: number;
	/** All that the answer's body may be. */
	readonly expected: Buffer;
	/** No further request comes on this connection. */
	readonly isLast: boolean;
}

export type FailureKind =
	/** Nobody accepted the connection. */
	| "refused"
	/** The connection ended before the first byte of an answer: closed by FIN, or reset. */
	| "closed"
	| "reset"
	/** The answer began and did not end. */
	| "cut"
	/** A whole answer with another status than 200. */
	| "status"
	/** A whole answer with a body that is not the expected one. */
	| "body"
	/** No byte moved for the time that is allowed. */
	| "stalled"
	| "malformed";

export interface Failure {
	readonly kind: FailureKind;
	readonly detail: string;
	readonly status: number;
	readonly receivedBytes: number;
	readonly sentBytes: number;
}

export interface Ending {
	readonly failure: Failure | undefined;
	/** Which server a load balancer had chosen, where it says so. */
	readonly server: string | undefined;
}

export interface ConnectionTimes {
	readonly connectMs: number;
	/** Without a byte in either direction. */
	readonly stallMs: number;
}

/** Parts of an upload and of a slow read: so often. */
const STEP_MS = 50;
/** How far a slow reader may be ahead before it stops reading: reading is not worth a timer below that. */
const AHEAD_MS = 20;

export class ClientConnection {
	readonly target: Target;
	/** Exchanges that were begun on it. */
	exchanges = 0;
	#state: "connecting" | "idle" | "busy" | "closed" = "connecting";
	readonly #socket: Socket;
	readonly #times: ConnectionTimes;
	#isConnected = false;
	#error: NodeJS.ErrnoException | undefined;
	#exchange: Exchange | undefined;

	constructor(target: Target, times: ConnectionTimes) {
		this.target = target;
		this.#times = times;
		const socket = connect({ ...target, noDelay: true });
		this.#socket = socket;
		socket.setTimeout(times.connectMs);
		socket.on("connect", () => {
			this.#isConnected = true;
			socket.setTimeout(0);
			if (this.#state === "connecting") this.#state = "idle";
			this.#exchange?.send();
			if (this.#exchange !== undefined) socket.setTimeout(times.stallMs);
		});
		socket.on("data", (bytes: Buffer) => this.#receive(bytes));
		socket.on("end", () => this.#ended());
		socket.on("error", (error) => {
			this.#error = error;
		});
		socket.on("timeout", () => this.#settle(this.#isConnected ? "stalled" : "refused", "no progress"));
		socket.on("close", () => this.#ended());
	}

	/** Nothing is being exchanged, and the server has given no sign that it wants to close. */
	get isIdle(): boolean {
		return this.#state === "idle";
	}

	get isClosed(): boolean {
		return this.#state === "closed";
	}

	/** @returns when the exchange has ended, one way or the other; never rejects */
	exchange(request: Request): Promise<Ending> {
		if (this.#state === "busy" || this.#state === "closed" || this.#exchange !== undefined) {
			throw new Error(`an exchange on a connection that is ${this.#state}`);
		}
		this.exchanges++;
		const { promise, resolve } = Promise.withResolvers<Ending>();
		this.#exchange = new Exchange(this.#socket, request, resolve);
		this.#state = "busy";
		if (this.#isConnected) {
			this.#exchange.send();
			this.#socket.setTimeout(this.#times.stallMs);
		}
		return promise;
	}

	/** The client's own end of it: an idle connection that was kept long enough, or the end of the run. */
	close(): void {
		if (this.#state === "busy") return;
		this.#state = "closed";
		this.#socket.destroy();
	}

	#receive(bytes: Buffer): void {
		const exchange = this.#exchange;
		if (exchange === undefined) {
			this.#discard(); // an answer that nobody asked for, such as a 408
			return;
		}
		exchange.receive(bytes);
		if (exchange.reader.isMalformed) this.#settle("malformed", exchange.reader.mistake);
		else if (exchange.reader.isComplete) this.#complete(exchange);
	}

	#ended(): void {
		const exchange = this.#exchange;
		if (exchange === undefined) {
			this.#discard();
			return;
		}
		exchange.reader.end();
		const reason = this.#error?.code ?? "FIN";
		if (exchange.reader.isComplete) this.#complete(exchange);
		else if (!this.#isConnected) this.#settle("refused", reason);
		else if (exchange.reader.hasBegun) this.#settle("cut", reason);
		else this.#settle(this.#error === undefined ? "closed" : "reset", reason);
	}

	#complete(exchange: Exchange): void {
		const { reader, body, request } = exchange;
		const isReusable = reader.isKeptAlive && !request.isLast && exchange.isSent && this.#error === undefined;
		const mistake = body.mistake();
		if (reader.status !== 200) this.#settle("status", `status ${reader.status}`);
		else if (mistake !== undefined) this.#settle("body", mistake);
		else {
			this.#exchange = undefined;
			this.#socket.setTimeout(0);
			if (isReusable) this.#state = "idle";
			else this.#discard();
			exchange.finish(undefined);
		}
	}

	#settle(kind: FailureKind, detail: string): void {
		const exchange = this.#exchange;
		this.#exchange = undefined;
		this.#discard();
		exchange?.finish({ kind, detail });
	}

	#discard(): void {
		this.#state = "closed";
		this.#socket.destroy();
	}
}

class Exchange {
	readonly request: Request;
	readonly body: BodyCheck;
	readonly reader: ResponseReader;
	readonly #socket: Socket;
	readonly #resolve: (ending: Ending) => void;
	#sentBytes = 0;
	#uploadAt = 0;
	#firstByteMs: number | undefined;
	#timer: NodeJS.Timeout | undefined;
	#onDrain: (() => void) | undefined;

	constructor(socket: Socket, request: Request, resolve: (ending: Ending) => void) {
		this.#socket = socket;
		this.request = request;
		this.#resolve = resolve;
		const body = new BodyCheck(request.expected);
		this.body = body;
		this.reader = new ResponseReader((bytes) => body.take(bytes));
	}

	/** All of the request is with the kernel. */
	get isSent(): boolean {
		return this.#uploadAt === (this.request.upload?.length ?? 0);
	}

	send(): void {
		const { head, upload, isLast } = this.request;
		const length = upload === undefined ? "" : `content-length: ${upload.length}\r\n`;
		const bytes = Buffer.from(`${head}${length}${isLast ? "connection: close\r\n" : ""}\r\n`, "latin1");
		this.#sentBytes += bytes.length;
		this.#socket.write(bytes);
		if (upload !== undefined) this.#sendPart(upload);
	}

	#sendPart(upload: Buffer): void {
		const partBytes = Math.max(1, Math.ceil(upload.length / Math.max(1, this.request.uploadMs / STEP_MS)));
		const part = upload.subarray(this.#uploadAt, this.#uploadAt + partBytes);
		this.#uploadAt += part.length;
		this.#sentBytes += part.length;
		const hasRoom = this.#socket.write(part);
		if (this.isSent) return;
		const next = (): void => {
			this.#timer = setTimeout(() => this.#sendPart(upload), STEP_MS);
		};
		if (hasRoom) next();
		else {
			this.#onDrain = next;
			this.#socket.once("drain", next);
		}
	}

	receive(bytes: Buffer): void {
		this.#firstByteMs ??= performance.now();
		this.reader.push(bytes);
		const { downloadMs, expected } = this.request;
		if (downloadMs === 0 || this.reader.isComplete) return;
		const dueMs = this.#firstByteMs + (this.body.received / Math.max(1, expected.length)) * downloadMs;
		const aheadMs = dueMs - performance.now();
		if (aheadMs < AHEAD_MS) return;
		this.#socket.pause();
		this.#timer = setTimeout(() => this.#socket.resume(), aheadMs);
	}

	finish(failure: Pick<Failure, "kind" | "detail"> | undefined): void {
		clearTimeout(this.#timer);
		if (this.#onDrain !== undefined) this.#socket.off("drain", this.#onDrain);
		this.#resolve({
			server: this.reader.fields.get("x-bench-server"),
			failure:
				failure === undefined
					? undefined
					: {
							...failure,
							status: this.reader.status,
							receivedBytes: this.body.received,
							sentBytes: this.#sentBytes,
						},
		});
	}
}
