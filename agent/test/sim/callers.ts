import { type Asker, Client, type ClientHabits, planRequest } from "./client.ts";
import type { Kind, Ledger, Loss, SentRequest } from "./ledger.ts";
import type { SimSocket } from "./sim-socket.ts";
import type { World } from "./world.ts";

/** A connection that a caller has made. */
export interface Conversation {
	readonly client: Client;
	/** The agent's end. */
	readonly near: SimSocket;
	readonly openedMs: number;
	/** Nobody waits for a probe. */
	readonly isProbe: boolean;
}

/** A request that was begun when its connection ended. */
export interface LostRequest {
	readonly request: SentRequest;
	readonly near: SimSocket;
	/** Where it begins in what was written on that connection. */
	readonly startsAt: number;
	readonly how: Loss;
	/** When its client knew, monotonic ms. */
	readonly atMs: number;
}

export interface CallersParts {
	readonly world: World;
	readonly ledger: Ledger;
	readonly habits: ClientHabits;
	readonly count: number;
	/** A connection to the agent, perhaps from near, where nothing comes late or in pieces; `undefined`: nobody accepts it. */
	readonly connect: (isNear: boolean) => { readonly near: SimSocket; readonly far: SimSocket } | undefined;
	/** How likely a request that nobody has taken is asked here again, and not elsewhere. */
	readonly comesBack: number;
	/** How long a connection may be there before its first request, ms. */
	readonly earlyMs: number;
	/** From the end of a connection to the next try, at most, ms. */
	readonly retryMs: number;
}

/** From learning that the pod leaves to the end of idle connections, ms. */
const LEAVE_MS = 500;

/** One who calls: load balancer, mesh, SDK. Has connections of its own, and learns at its own time that this pod leaves. */
class Caller implements Asker {
	readonly clients: Client[] = [];
	hasLearned = false;
	readonly #callers: Callers;

	constructor(callers: Callers) {
		this.#callers = callers;
	}

	ask(request: SentRequest): void {
		const { dice } = this.#callers.parts.world;
		// Nobody asks for a stream or another protocol behind what is not answered.
		const isLong = request.asksForUpgrade || request.kind === "stream";
		const free = this.clients.filter(({ takesMore, isServed }) => takesMore && (isServed || !isLong));
		if (free.length > 0 && dice.chance(0.75)) {
			dice.pick(free).ask(request);
			return;
		}
		const client = this.#callers.open(false, this);
		if (client === undefined) request.lost = "not connected";
		else if (dice.chance(0.7)) client.ask(request);
		else this.#askLater(client, request);
	}

	/** On a connection that was made before there was something to ask. */
	#askLater(client: Client, request: SentRequest): void {
		const { world, earlyMs } = this.#callers.parts;
		world.after(world.dice.random() * earlyMs, () => {
			if (client.takesMore) client.ask(request);
			else if (!this.hasLearned) this.ask(request);
			else this.#callers.elsewhere.add(request);
		});
	}

	learn(): void {
		this.hasLearned = true;
		const { world } = this.#callers.parts;
		for (const client of this.clients) {
			if (world.dice.chance(0.5)) world.after(world.dice.random() * LEAVE_MS, () => client.leave());
		}
	}

	idle(): void {
		// The next request comes when it comes.
	}

	over(client: Client, left: readonly SentRequest[]): void {
		const at = this.clients.indexOf(client);
		if (at >= 0) this.clients.splice(at, 1);
		this.#callers.left(this, client, left);
	}
}

/** All who call this pod. Requests come when they come (`arrive`), whatever became of those before. */
export class Callers {
	readonly parts: CallersParts;
	readonly conversations: Conversation[] = [];
	readonly losses: LostRequest[] = [];
	/** Requests that were asked elsewhere, for nobody had taken them here. */
	readonly elsewhere = new Set<SentRequest>();
	/** Requests that were made to come when idle connections are closed. */
	readonly stragglers = new Set<SentRequest>();
	readonly #callers: Caller[] = [];

	constructor(parts: CallersParts) {
		this.parts = parts;
		for (let n = 0; n < parts.count; n++) this.#callers.push(new Caller(this));
	}

	/** Whether everybody knows that this pod leaves. */
	get haveLearned(): boolean {
		return this.#callers.every(({ hasLearned }) => hasLearned);
	}

	get areGone(): boolean {
		return this.conversations.every(({ client }) => client.isOver);
	}

	/** Each learns of it within `withinMs`. */
	learnWithin(withinMs: number): void {
		const { world } = this.parts;
		for (const caller of this.#callers) world.after(world.dice.random() * withinMs, () => caller.learn());
	}

	/** A request of somebody who does not know yet. */
	arrive(kind: Kind): void {
		const { world, ledger, habits } = this.parts;
		const { dice } = world;
		const knowing = this.#callers.filter(({ hasLearned }) => !hasLearned);
		if (knowing.length === 0) return;
		dice.pick(knowing).ask(planRequest(dice, ledger, habits, dice.chance(0.3), kind));
	}

	/** A request on a connection that has been idle, of somebody who sends it just now. */
	straggle(): void {
		const { world, ledger, habits } = this.parts;
		const { dice } = world;
		const idle = this.#callers
			.flatMap(({ clients }) => clients)
			.filter(({ takesMore, isServed }) => takesMore && isServed);
		if (idle.length === 0) return;
		const client = dice.pick(idle);
		const request = planRequest(dice, ledger, habits, false);
		this.stragglers.add(request);
		client.ask(request);
	}

	/** A probe: of the kubelet, on a connection of its own that ends with it, or of a load balancer. */
	probe(): void {
		const { world, ledger, habits } = this.parts;
		const client = this.open(true, { idle: (asked) => asked.leave(), over: (asked) => this.#note(asked) });
		client?.ask(planRequest(world.dice, ledger, { ...habits, isCalm: true }, false, "probe"));
	}

	open(isNear: boolean, asker: Asker): Client | undefined {
		const { world, ledger, habits } = this.parts;
		for (;;) {
			const pair = this.parts.connect(isNear);
			if (pair === undefined) return undefined;
			const client = new Client(world, ledger, habits, pair.far, asker);
			this.conversations.push({ client, near: pair.near, openedMs: world.nowMs, isProbe: isNear });
			client.start();
			if (client.isOpaque) continue; // it tunnels what nobody reads, beside the others
			if (asker instanceof Caller) asker.clients.push(client);
			return client;
		}
	}

	/** A connection has ended before all was answered. */
	left(caller: Caller, client: Client, left: readonly SentRequest[]): void {
		const { world, comesBack, retryMs } = this.parts;
		this.#note(client);
		for (const request of left) {
			if (request.lost === "broken" || request.lost === "given up") continue;
			const isGone = caller.hasLearned && !this.stragglers.has(request);
			if (isGone || !world.dice.chance(comesBack)) this.elsewhere.add(request);
			else world.after(world.dice.random() * retryMs, () => caller.ask(request));
		}
	}

	#note(client: Client): void {
		const near = this.conversations.find((conversation) => conversation.client === client)?.near;
		if (near === undefined) return;
		for (const { request, startsAt } of client.awaited) {
			const how = request.lost;
			if (how !== undefined) this.losses.push({ request, startsAt, near, how, atMs: this.parts.world.nowMs });
		}
	}
}
