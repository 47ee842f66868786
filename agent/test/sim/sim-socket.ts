import { EventEmitter } from "node:events";
import { ReadRoom } from "../../src/foundation/read-room.ts";
import type { AppStream } from "../../src/upstream/connection.ts";
import type { World } from "./world.ts";

/** As `net.Socket`'s: above it `write` answers false and `drain` follows. */
const HIGH_WATER_BYTES = 64 * 1024;

/** What bytes of a read become when its event is over. */
const OVERWRITTEN = 0xee;

export interface LinkWeather {
	/** What the kernel takes for each direction before it wants to be read. At least 20 KiB: a head to an idle connection fits. */
	readonly roomBytes: number;
	/** Longest time on the way, ms. */
	readonly delayMs: number;
	/** Longest piece that one read gives. */
	readonly readMax: number;
	/** How far away the other end is: so much later is everything read, ms. */
	readonly farMs?: number;
}

const failure = (code: string): Error => Object.assign(new Error(`simulated ${code}`), { code });

/**
 * One end of a connection that exists only in the simulation, with the manners of a `net.Socket` (`allowHalfOpen`) and a Linux kernel:
 *
 * - `write` keeps a reference, the kernel copies what it takes; while corked, connecting or blocked, bytes wait;
 * - a failed write destroys the socket, or with `isApp` is swallowed and told, as `AppSocket` does;
 * - who has paused notices neither FIN nor RST, except by writing;
 * - closing with unread bytes sends RST; RST loses what was on the way, or does not;
 * - `drain`, `error` and `close` come after the present event, never within the call that leads to them;
 * - the bytes of a read by the agent are overwritten after the event, unless it has asked for them (`own`).
 */
export class SimSocket extends EventEmitter implements AppStream {
	writableCorked = 0;
	destroyed = false;
	writeFailed = false;
	onWriteFailed: ((isAtOnce: boolean) => void) | undefined;
	isConnecting = false;
	/** Bytes that were handed to a listener, for the story of a failure. */
	bytesRead = 0;
	/** Of the agent's sockets: how many had been read when, ms. */
	readonly #reads: (readonly [bytes: number, atMs: number])[] = [];
	readonly #world: World;
	readonly #weather: LinkWeather;
	readonly #isApp: boolean;
	readonly #room: ReadRoom | undefined;
	#nextRoom: Buffer | undefined;
	#peer: SimSocket | undefined;
	#name = "";
	// Written and not yet taken by the kernel.
	#waiting: Uint8Array[] = [];
	#writing: { pieces: Uint8Array[]; readonly bytes: number } | undefined;
	#unwritten = 0;
	#needDrain = false;
	#isEnding = false;
	#hasFinished = false;
	// Taken by the kernel and not yet read by the peer.
	#flight: Buffer[] = [];
	#flightBytes = 0;
	#finSent = false;
	// Reading.
	#isPaused = false;
	#endSeen = false;
	#isReset = false;
	#readIsPlanned = false;
	#timeoutMs = 0;
	#activeMs = 0;
	#watch = 0;

	private constructor(world: World, weather: LinkWeather, isApp: boolean, sharesReads: boolean) {
		super();
		this.#world = world;
		this.#weather = weather;
		this.#isApp = isApp;
		this.#room = sharesReads ? new ReadRoom() : undefined;
	}

	/** Both ends of a connection that is made; the first is the agent's. `isApp`: it is an `AppSocket`. */
	static pair(world: World, weather: LinkWeather, isApp: boolean, name = ""): [SimSocket, SimSocket] {
		const near = new SimSocket(world, weather, isApp, true);
		const far = new SimSocket(world, weather, false, false);
		near.#peer = far;
		far.#peer = near;
		near.#name = `agent→${name}`;
		far.#name = name;
		return [near, far];
	}

	// ── connecting ──

	connected(): void {
		if (this.destroyed) return;
		this.isConnecting = false;
		this.#world.tell(this.#name, "connect");
		this.emit("connect");
		this.#pump();
		this.#finishWhenDone();
		this.#planRead();
	}

	refused(code: string): void {
		this.#fail(code);
	}

	// ── writing ──

	/** When the byte at that place was read by the agent, monotonic ms; Infinity: it was not. */
	readAtMs(place: number): number {
		return this.#reads.find(([bytes]) => bytes > place)?.[1] ?? Number.POSITIVE_INFINITY;
	}

	/** Whether no more will be written: FIN is out or waits for what was written before, or the socket is closed. */
	get hasEnded(): boolean {
		return this.#isEnding || this.destroyed;
	}

	get writableLength(): number {
		return this.#unwritten;
	}

	get writableNeedDrain(): boolean {
		return this.#needDrain && !this.destroyed && !this.#isEnding;
	}

	write(bytes: Uint8Array): boolean {
		this.#world.tell(this.#name, this.writableCorked > 0 ? "write (corked)" : "write", bytes);
		if (this.#isEnding) {
			this.#world.violated("a write after the end");
			return false;
		}
		if (this.destroyed) return false;
		this.#unwritten += bytes.length;
		const isWelcome = this.#unwritten < HIGH_WATER_BYTES;
		if (!isWelcome) this.#needDrain = true;
		this.#waiting.push(bytes);
		this.#active();
		this.#pump();
		return isWelcome && !this.destroyed;
	}

	cork(): void {
		this.writableCorked++;
	}

	uncork(): void {
		if (this.writableCorked === 0) return;
		this.writableCorked--;
		this.#pump();
	}

	end(): void {
		this.#world.tell(this.#name, "end");
		if (this.#isEnding || this.destroyed) return;
		if (this.writableCorked > 0) {
			this.writableCorked = 1;
			this.uncork();
		}
		this.#isEnding = true;
		this.#finishWhenDone();
	}

	#pump(): void {
		if (this.isConnecting || this.destroyed || this.writableCorked > 0) return;
		if (this.#writing !== undefined || this.#waiting.length === 0) return;
		const pieces = this.#waiting;
		this.#waiting = [];
		this.#writing = { pieces, bytes: pieces.reduce((sum, piece) => sum + piece.length, 0) };
		this.#carry(true);
	}

	/** Hands the kernel what it takes. `isWithin`: within the call of `write`, so events come later. */
	#carry(isWithin: boolean): void {
		const writing = this.#writing;
		if (writing === undefined || this.destroyed) return;
		if (this.writeFailed) {
			this.#written(isWithin);
			return;
		}
		if (this.#isReset) {
			this.#writeFails(isWithin);
			return;
		}
		let room = this.#weather.roomBytes - this.#flightBytes;
		while (writing.pieces.length > 0 && room > 0) {
			const piece = writing.pieces[0] as Uint8Array; // there is one
			const taken = piece.subarray(0, room);
			this.#flight.push(Buffer.from(taken));
			this.#flightBytes += taken.length;
			room -= taken.length;
			if (taken.length === piece.length) writing.pieces.shift();
			else writing.pieces[0] = piece.subarray(taken.length);
			this.#active();
		}
		this.#wakePeer();
		if (writing.pieces.length === 0) this.#written(isWithin);
	}

	#wakePeer(): void {
		const peer = this.#peer;
		if (peer !== undefined) peer.#planRead();
	}

	#written(isWithin: boolean): void {
		this.#unwritten -= this.#writing?.bytes ?? 0;
		this.#writing = undefined;
		if (isWithin) this.#world.tick(() => this.#afterWrite());
		else {
			this.#pump();
			this.#afterWrite();
		}
	}

	#afterWrite(): void {
		if (this.#needDrain && this.#unwritten === 0 && !this.#isEnding && !this.destroyed) {
			this.#needDrain = false;
			this.#world.tell(this.#name, "drain");
			this.emit("drain");
		}
		this.#finishWhenDone();
	}

	#writeFails(isWithin: boolean): void {
		if (!this.#isApp) {
			this.#unwritten -= this.#writing?.bytes ?? 0;
			this.#writing = undefined;
			if (isWithin) this.#world.tick(() => this.#fail("EPIPE"));
			else this.#fail("EPIPE");
			return;
		}
		this.writeFailed = true;
		this.#written(isWithin);
		this.onWriteFailed?.(isWithin);
	}

	#finishWhenDone(): void {
		if (!this.#isEnding || this.#hasFinished || this.destroyed || this.isConnecting || this.#unwritten > 0) return;
		this.#hasFinished = true;
		this.#world.tick(() => {
			if (this.destroyed) return;
			this.#finSent = true;
			this.#wakePeer();
			this.#closeWhenOver();
		});
	}

	// ── reading ──

	get isShared(): boolean {
		return this.#room?.isShared === true;
	}

	own(bytes: Buffer): Buffer {
		return this.#room === undefined ? bytes : this.#room.own(bytes);
	}

	releaseBytes(): void {
		this.#room?.release();
	}

	forgetBytes(): void {
		this.#room?.forget();
	}

	/** The agent's sockets read as `AppSocket` and `ClientSocket` do. */
	#intoRoom(bytes: Buffer): Buffer {
		const room = this.#room;
		if (room === undefined) return Buffer.from(bytes);
		this.#nextRoom ??= room.next();
		bytes.copy(this.#nextRoom);
		return room.take(bytes.length, this.#nextRoom);
	}

	override on(event: string, listener: (...given: never[]) => void): this {
		super.on(event, listener as (...given: unknown[]) => void); // as EventEmitter has it, without `any`
		if (event === "data") this.#planRead();
		return this;
	}

	pause(): this {
		this.#isPaused = true;
		this.#world.tell(this.#name, "pause");
		return this;
	}

	resume(): this {
		this.#isPaused = false;
		this.#world.tell(this.#name, "resume");
		this.#planRead();
		return this;
	}

	#planRead(): void {
		if (this.#readIsPlanned) return;
		this.#readIsPlanned = true;
		const { dice } = this.#world;
		const lateMs = dice.chance(0.7) ? 0.05 : dice.random() * this.#weather.delayMs;
		this.#world.after(lateMs + (this.#weather.farMs ?? 0), () => {
			this.#readIsPlanned = false;
			this.#read();
		});
	}

	#read(): void {
		const peer = this.#peer;
		if (peer === undefined || this.isConnecting) return;
		if (this.destroyed) {
			this.#answerLate(peer);
			return;
		}
		if (this.#isPaused || this.listenerCount("data") === 0) return;
		if (peer.#flightBytes > 0) {
			this.#take(peer);
			this.#planRead();
			return;
		}
		if (this.#isReset) {
			this.#fail("ECONNRESET");
			return;
		}
		if (peer.#finSent && !this.#endSeen) {
			this.#endSeen = true;
			this.#world.tell(this.#name, "got FIN");
			this.emit("end");
			this.#world.tick(() => this.#closeWhenOver());
		}
	}

	#take(peer: SimSocket): void {
		const { dice } = this.#world;
		const flight = peer.#flight.length === 1 ? (peer.#flight[0] as Buffer) : Buffer.concat(peer.#flight); // not empty
		const most = dice.chance(0.5) ? flight.length : dice.between(1, this.#weather.readMax);
		const length = Math.min(flight.length, 65_536, most);
		peer.#flight = length === flight.length ? [] : [flight.subarray(length)];
		peer.#flightBytes -= length;
		this.bytesRead += length;
		if (this.#room !== undefined) this.#reads.push([this.bytesRead, this.#world.nowMs]);
		this.#active();
		const bytes = this.#intoRoom(flight.subarray(0, length));
		this.#world.tell(this.#name, "data", bytes);
		this.emit("data", bytes);
		if (this.#room?.isShared === true) bytes.fill(OVERWRITTEN); // as the next read of any socket will
		if (this.#room !== undefined) this.#nextRoom = this.#room.next();
		if (peer.#writing !== undefined) this.#world.after(0.05, () => peer.#carry(false));
	}

	/** Bytes for a socket that is closed: the kernel answers with RST. */
	#answerLate(peer: SimSocket): void {
		if (peer.#flightBytes === 0) return;
		peer.#flight = [];
		peer.#flightBytes = 0;
		peer.#resetArrives(false);
	}

	#resetArrives(losesFlight: boolean): void {
		const peer = this.#peer;
		if (this.#isReset || this.destroyed || peer === undefined) return;
		this.#isReset = true;
		if (losesFlight) {
			peer.#flight = [];
			peer.#flightBytes = 0;
		}
		if (this.#writing !== undefined) this.#carry(false);
		this.#planRead();
	}

	// ── the end ──

	#fail(code: string): void {
		this.#world.tell(this.#name, code);
		if (this.destroyed) return;
		this.destroyed = true;
		this.#drop();
		this.#world.tick(() => {
			this.emit("error", failure(code));
			this.emit("close");
		});
	}

	destroy(): this {
		this.#world.tell(this.#name, "destroy");
		if (this.destroyed) return this;
		this.destroyed = true;
		const peer = this.#peer;
		const isUnread = peer !== undefined && peer.#flightBytes > 0;
		this.#drop();
		if (!this.isConnecting && peer !== undefined) {
			if (isUnread) this.#sendReset(peer);
			else this.#finSent = true;
			peer.#planRead();
		}
		this.#world.tick(() => this.emit("close"));
		return this;
	}

	resetAndDestroy(): this {
		this.#world.tell(this.#name, "reset");
		if (this.destroyed) return this;
		this.destroyed = true;
		this.#drop();
		if (!this.isConnecting && this.#peer !== undefined) this.#sendReset(this.#peer);
		this.#world.tick(() => this.emit("close"));
		return this;
	}

	#sendReset(peer: SimSocket): void {
		const { dice } = this.#world;
		const loses = dice.chance(0.5);
		this.#world.after(dice.chance(0.5) ? 0 : dice.random() * this.#weather.delayMs, () => peer.#resetArrives(loses));
	}

	#closeWhenOver(): void {
		if (this.#endSeen && this.#finSent && !this.destroyed) this.destroy();
	}

	/** Nothing of what waits goes out any more. */
	#drop(): void {
		this.#waiting = [];
		this.#writing = undefined;
		this.#watch++;
		this.#timeoutMs = 0;
	}

	// ── timeout ──

	setTimeout(ms: number): this {
		if (this.destroyed) return this;
		this.#timeoutMs = ms;
		this.#watch++;
		this.#active();
		if (ms > 0) this.#watchFor(ms, this.#watch);
		return this;
	}

	/** Whether a timeout is being watched for. */
	get hasTimeout(): boolean {
		return this.#timeoutMs > 0;
	}

	#watchFor(ms: number, watch: number): void {
		this.#world.after(ms, () => {
			if (watch !== this.#watch || this.#timeoutMs === 0) return;
			const leftMs = this.#activeMs + this.#timeoutMs - this.#world.nowMs;
			if (leftMs > 0.001) this.#watchFor(leftMs, watch);
			else this.emit("timeout");
		});
	}

	#active(): void {
		this.#activeMs = this.#world.nowMs;
	}
}
