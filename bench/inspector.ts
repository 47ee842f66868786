/**
 * CPU profiles of all threads of a Node process that runs under `--inspect`, by the Chrome DevTools protocol. Workers
 * are reached through the main thread (domain NodeWorker, https://chromedevtools.github.io/devtools-protocol/ and
 * Node's node_protocol.pdl). Unlike `--cpu-prof` this leaves out start and warm-up, and does not hang on a clean exit.
 */
import { fetchBody } from "./origin.ts";

/** As much of a .cpuprofile as is read here (CDP Profiler.Profile). Times in µs. */
export interface CpuProfile {
	readonly nodes: readonly {
		readonly id: number;
		readonly callFrame: {
			readonly functionName: string;
			readonly url: string;
			readonly lineNumber: number;
			readonly columnNumber: number;
		};
		readonly children?: readonly number[];
	}[];
	readonly startTime: number;
	readonly endTime: number;
	readonly samples: readonly number[];
	readonly timeDeltas: readonly number[];
}

export interface ThreadProfile {
	/** `main`, or what the worker calls itself. */
	readonly thread: string;
	readonly profile: CpuProfile;
}

type Params = Readonly<Record<string, unknown>>;
interface Message extends Params {
	readonly id?: number;
	readonly method?: string;
	readonly params?: Params;
	readonly result?: Params;
	readonly error?: { readonly message: string };
}

const CALL_MS_MAX = 20_000;

/** One conversation: with the main thread directly, with a worker in envelopes. */
class Session {
	readonly #post: (text: string) => void;
	readonly #waiting = new Map<number, (message: Message) => void>();
	#lastId = 0;

	constructor(post: (text: string) => void) {
		this.#post = post;
	}

	call(method: string, params: Params = {}): Promise<Params> {
		const id = ++this.#lastId;
		return new Promise((resolve, reject) => {
			const timer = setTimeout(() => reject(new Error(`the inspector did not answer ${method}`)), CALL_MS_MAX);
			this.#waiting.set(id, (message) => {
				clearTimeout(timer);
				if (message.error !== undefined) reject(new Error(`${method}: ${message.error.message}`));
				else resolve(message.result ?? {});
			});
			this.#post(JSON.stringify({ id, method, params }));
		});
	}

	take(message: Message): void {
		if (message.id === undefined) return;
		this.#waiting.get(message.id)?.(message);
		this.#waiting.delete(message.id);
	}
}

const parse = (text: unknown): Message => {
	const message: unknown = JSON.parse(String(text));
	return typeof message === "object" && message !== null ? { ...message } : {};
};

function isCpuProfile(value: unknown): value is CpuProfile {
	return typeof value === "object" && value !== null && "nodes" in value && "samples" in value && "timeDeltas" in value;
}

/** @param inspectPort of `--inspect`; @param during what happens while the threads are being watched */
export async function profileThreads(
	inspectPort: number,
	intervalUs: number,
	during: () => Promise<void>,
): Promise<readonly ThreadProfile[]> {
	const targets: unknown = JSON.parse((await fetchBody(inspectPort, "/json/list")).text());
	const target: unknown = Array.isArray(targets) ? targets[0] : undefined;
	const url = typeof target === "object" && target !== null ? Reflect.get(target, "webSocketDebuggerUrl") : undefined;
	if (typeof url !== "string") throw new Error("the process does not show an inspector");
	const socket = new WebSocket(url);
	await new Promise<void>((resolve, reject) => {
		socket.addEventListener("open", () => resolve());
		socket.addEventListener("error", () => reject(new Error("no connection to the inspector")));
	});
	const main = new Session((text) => socket.send(text));
	const workers = new Map<string, { readonly title: string; readonly session: Session }>();
	socket.addEventListener("message", (event) => {
		const message = parse(event.data);
		const sessionId = String(message.params?.["sessionId"]);
		if (message.method === "NodeWorker.attachedToWorker") {
			const info = message.params?.["workerInfo"];
			const title = typeof info === "object" && info !== null ? String(Reflect.get(info, "title")) : sessionId;
			const post = (text: string) => void main.call("NodeWorker.sendMessageToWorker", { sessionId, message: text });
			workers.set(sessionId, { title, session: new Session(post) });
		} else if (message.method === "NodeWorker.receivedMessageFromWorker") {
			workers.get(sessionId)?.session.take(parse(message.params?.["message"]));
		} else main.take(message);
	});
	try {
		await main.call("NodeWorker.enable", { waitForDebuggerOnStart: false });
		const threads = [{ title: "main", session: main }, ...workers.values()];
		for (const { session } of threads) {
			await session.call("Profiler.enable");
			await session.call("Profiler.setSamplingInterval", { interval: intervalUs });
			await session.call("Profiler.start");
		}
		await during();
		const profiles: ThreadProfile[] = [];
		for (const { title, session } of threads) {
			const { profile } = await session.call("Profiler.stop");
			if (!isCpuProfile(profile)) throw new Error(`no profile came from ${title}`);
			profiles.push({ thread: title, profile });
		}
		return profiles;
	} finally {
		socket.close();
	}
}

/** A function and the time in which it was itself on top of the stack. */
export interface SelfTime {
	readonly name: string;
	/** file:line, both from 1; empty for V8's own entries such as (garbage collector). */
	readonly place: string;
	readonly selfUs: number;
}

/** @param placeOf turns a place in the bundle (from 0) into one in the source */
export function selfTimes(
	profile: CpuProfile,
	placeOf: (url: string, line: number, column: number) => string,
): readonly SelfTime[] {
	const usOfNode = new Map<number, number>();
	for (const [at, id] of profile.samples.entries()) {
		// timeDeltas[i] is the time before sample i; the sample stands for the time after it
		const us = profile.timeDeltas[at + 1] ?? 0;
		usOfNode.set(id, (usOfNode.get(id) ?? 0) + Math.max(0, us));
	}
	const sums = new Map<string, SelfTime>();
	for (const { id, callFrame } of profile.nodes) {
		const us = usOfNode.get(id) ?? 0;
		if (us === 0) continue;
		const { functionName, url, lineNumber, columnNumber } = callFrame;
		const place = url === "" ? "" : placeOf(url, lineNumber, columnNumber);
		const name = functionName || "(anonymous)";
		const key = `${name} ${place}`;
		sums.set(key, { name, place, selfUs: us + (sums.get(key)?.selfUs ?? 0) });
	}
	return [...sums.values()].sort((a, b) => b.selfUs - a.selfUs);
}
