/**
 * The load: requests that begin at their moment, whatever became of those before (open loop), over two ways, without any repetition. A
 * server that is slow or away meets as many requests as one that is not.
 */
import { createHash } from "node:crypto";
import { type Arrival, Arrivals, type Way, type What } from "./arrivals.ts";
import { patternOf } from "./body.ts";
import { type ConnectionTimes, type Ending, type Request, renderTarget, type Target } from "./client-connection.ts";
import { ConnectionPool } from "./connection-pool.ts";
import { Ledger, type Lost, type Tally } from "./ledger.ts";

export interface LoadSettings {
	readonly seed: number;
	readonly ratePerSecond: number;
	/** undefined: everything goes directly. */
	readonly lb: Target | undefined;
	readonly paths: Readonly<Record<What, string>>;
	readonly uploadSizes: readonly number[];
	readonly uploadMs: number;
	readonly downloadBytes: number;
	readonly downloadMs: number;
	readonly times: ConnectionTimes;
}

/** Half of the requests, where there is a load balancer. */
const LB_SHARE = 0.5;
const SWEEP_MS = 500;
/** No body but the download is longer. */
const LEARNED_BYTES_MAX = 64 * 1024;

/** What each question is answered with while nothing is restarted. All answers are held to that, to the byte. */
export interface Expectations {
	readonly quick: Buffer;
	readonly slow: Buffer;
	readonly download: Buffer;
	/** By the number of bytes that were sent. */
	readonly upload: ReadonlyMap<number, Buffer>;
}

/**
 * Asks the app itself once for everything, and looks whether it understood: the echo of an upload has its length, and its hash where the app
 * can take one.
 * @throws when the app does not answer as it must
 */
export async function learnExpectations(settings: LoadSettings, app: Target): Promise<Expectations> {
	const ask = async (path: string, upload?: Buffer): Promise<Buffer> => {
		const answer = await fetch(`http://${renderTarget(app)}${path}`, {
			...(upload === undefined ? {} : { method: "POST", body: new Uint8Array(upload) }),
			signal: AbortSignal.timeout(settings.times.stallMs),
		});
		const body = Buffer.from(await answer.arrayBuffer());
		if (answer.status !== 200) throw new Error(`${path} is answered with ${answer.status}: ${body.toString()}`);
		return body;
	};
	const small = async (path: string, upload?: Buffer): Promise<Buffer> => {
		const body = await ask(path, upload);
		if (body.length > LEARNED_BYTES_MAX) throw new Error(`${path} is answered with ${body.length} bytes`);
		return body;
	};
	const download = patternOf(settings.downloadBytes);
	if (!(await ask(settings.paths.download)).equals(download)) throw new Error("the download is not what it must be");
	const upload = new Map<number, Buffer>();
	for (const size of settings.uploadSizes) {
		const sent = patternOf(size);
		const body = await small(settings.paths.upload, sent);
		const { length, sha256 } = JSON.parse(body.toString()) as { length?: unknown; sha256?: unknown };
		const wanted = createHash("sha256").update(sent).digest("hex");
		if (length !== size || (sha256 !== undefined && sha256 !== wanted)) {
			throw new Error(`an upload of ${size} bytes is answered with ${body.toString()}`);
		}
		upload.set(size, body);
	}
	return { quick: await small(settings.paths.quick), slow: await small(settings.paths.slow), download, upload };
}

export interface LoadParts {
	readonly expectations: Expectations;
	readonly nowMs: () => number;
	readonly onLost: (lost: Lost) => void;
}

export class Load {
	readonly #settings: LoadSettings;
	readonly #parts: LoadParts;
	readonly #arrivals: Arrivals;
	readonly #ledger = new Ledger();
	readonly #pool: ConnectionPool;
	readonly #uploads: ReadonlyMap<number, Buffer>;
	#addresses: readonly Target[] = [];
	#startMs = 0;
	#next: Arrival;
	#timer: NodeJS.Timeout | undefined;
	#sweeper: NodeJS.Timeout | undefined;
	#isStopping = false;
	#onIdle: (() => void) | undefined;

	constructor(settings: LoadSettings, parts: LoadParts) {
		this.#settings = settings;
		this.#parts = parts;
		const { seed, ratePerSecond, uploadSizes } = settings;
		const lbShare = settings.lb === undefined ? 0 : LB_SHARE;
		this.#arrivals = new Arrivals({ seed, ratePerSecond, uploadSizes, lbShare });
		this.#pool = new ConnectionPool(settings.times);
		this.#uploads = new Map(uploadSizes.map((size) => [size, patternOf(size)]));
		this.#next = this.#arrivals.next();
	}

	get begun(): number {
		return this.#ledger.begun;
	}

	/** What the client that picks addresses itself knows from now on. What is under way to others goes on. */
	setAddresses(addresses: readonly Target[]): void {
		if (addresses.length === 0) throw new Error("there is no address that the load could go to");
		this.#addresses = addresses;
	}

	start(): void {
		this.#startMs = this.#parts.nowMs();
		this.#sweeper = setInterval(() => this.#pool.sweep(this.#parts.nowMs()), SWEEP_MS);
		this.#wait();
	}

	/** No request begins any more; resolves with the book when the last has ended. */
	async stop(): Promise<Tally> {
		this.#isStopping = true;
		clearTimeout(this.#timer);
		if (this.#ledger.open > 0) {
			const { promise, resolve } = Promise.withResolvers<void>();
			this.#onIdle = resolve;
			await promise;
		}
		clearInterval(this.#sweeper);
		this.#pool.close();
		return this.#ledger.tally(this.#pool.opened, this.#pool.lost);
	}

	#wait(): void {
		const leftMs = this.#startMs + this.#next.atMs - this.#parts.nowMs();
		// Not in the timer's own callback: between it and the check phase the kernel's FINs are read (client-connection.ts).
		this.#timer = setTimeout(() => setImmediate(() => this.#sendDue()), Math.max(0, leftMs));
	}

	#sendDue(): void {
		if (this.#isStopping) return;
		for (;;) {
			const nowMs = this.#parts.nowMs();
			const latenessMs = nowMs - this.#startMs - this.#next.atMs;
			if (latenessMs < 0) break;
			void this.#send(this.#next, nowMs, latenessMs);
			this.#next = this.#arrivals.next();
		}
		this.#wait();
	}

	async #send(arrival: Arrival, startedMs: number, latenessMs: number): Promise<void> {
		const target = this.#targetOf(arrival.way, arrival.pick);
		const connection = arrival.isFresh ? this.#pool.open(target) : this.#pool.take(target, startedMs);
		const earlierExchanges = connection.exchanges;
		this.#ledger.begin(arrival, latenessMs, earlierExchanges > 0);
		const ending = await connection.exchange(this.#requestOf(arrival));
		const endedMs = this.#parts.nowMs();
		this.#pool.give(connection, endedMs);
		this.#ledger.end(arrival, endedMs - startedMs, ending.failure === undefined);
		this.#tell(arrival, ending, { target: renderTarget(target), startedMs, endedMs, earlierExchanges });
		if (this.#isStopping && this.#ledger.open === 0) this.#onIdle?.();
	}

	#tell(
		{ id, what, way }: Arrival,
		{ failure, server }: Ending,
		facts: Pick<Lost, "target" | "startedMs" | "endedMs" | "earlierExchanges">,
	): void {
		if (failure !== undefined) this.#parts.onLost({ ...failure, ...facts, id, what, way, server });
	}

	#targetOf(way: Way, pick: number): Target {
		const target = way === "lb" ? this.#settings.lb : this.#addresses[Math.floor(pick * this.#addresses.length)];
		if (target === undefined) throw new Error("the load has no address to go to");
		return target;
	}

	#requestOf({ id, what, isFresh, uploadBytes }: Arrival): Request {
		const { paths, uploadMs, downloadMs } = this.#settings;
		const { expectations } = this.#parts;
		const upload = what === "upload" ? this.#uploads.get(uploadBytes) : undefined;
		const expected = what === "upload" ? expectations.upload.get(uploadBytes) : expectations[what];
		if (expected === undefined) throw new Error(`nobody knows what ${what} of ${uploadBytes} bytes is answered with`);
		const method = upload === undefined ? "GET" : "POST";
		return {
			head: `${method} ${paths[what]} HTTP/1.1\r\nhost: bench.local\r\nx-bench-id: ${id}\r\n`,
			expected,
			isLast: isFresh,
			uploadMs: what === "upload" ? uploadMs : 0,
			downloadMs: what === "download" ? downloadMs : 0,
			...(upload === undefined ? {} : { upload }),
		};
	}
}
