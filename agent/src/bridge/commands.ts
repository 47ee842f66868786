/**
 * What the threads say to each other in words: rare, small, typed messages over a MessagePort. Numbers go through `counters.ts` and `series-table.ts`,
 * exchanges through `record-ring.ts`.
 */
import type { LifecycleState } from "./exchange-record.ts";
import type { SeriesLabels } from "./series-labels.ts";

/** A template that routes are named after. */
export interface RouteTemplate {
	/** Such as `/users/{id}`. */
	readonly path: string;
	/** Upper-case methods; empty: all. */
	readonly methods: readonly string[];
}

/** Where the app listens, as the data thread needs it: no name any more. */
export type AppAddress =
	| { readonly kind: "tcp"; readonly host: string; readonly port: number }
	| { readonly kind: "unix"; readonly path: string };

/** Control thread → data thread. */
export type ControlMessage =
	/** Bind the inbounds, accept. Answered by `listening` or `fatal`. */
	| { readonly kind: "listen" }
	/** The templates of the app's OpenAPI document; takes the place of those told before. */
	| { readonly kind: "routes"; readonly templates: readonly RouteTemplate[] }
	| { readonly kind: "state"; readonly state: LifecycleState }
	/**
	 * Where the app of an inbound may be found, in the order in which it is looked for (none: not known yet), and the addresses to
	 * come from, per family (`undefined`: whatever the kernel takes).
	 */
	| {
			readonly kind: "app";
			readonly inbound: number;
			readonly addresses: readonly AppAddress[];
			readonly source: { readonly ipv4: string | undefined; readonly ipv6: string | undefined };
	  }
	/** Close the connections that have been idle for at least so long, ms; counted in `CELL.IDLE_CLOSED`. */
	| { readonly kind: "closeIdle"; readonly idleMs: number }
	/** Close the event streams that are open now; counted in `CELL.LEAVING_STREAMS_CLOSED`. */
	| { readonly kind: "closeStreams" }
	/** Close the listeners, cut what is left and end. Answered by `stopped`. */
	| { readonly kind: "stop" };

/** Data thread → control thread. */
export type DataMessage =
	| { readonly kind: "started" }
	| { readonly kind: "listening"; readonly inbounds: readonly ListeningInbound[] }
	| { readonly kind: "series"; readonly slot: number; readonly labels: SeriesLabels }
	/** `x-outrigger-route` values that were no template; told at most once a minute, the count is in the counters. */
	| { readonly kind: "routeHintRejected"; readonly hint: string }
	/** What was learned of the app's own idle timeout (`data-path.md`, the upstream side). */
	| {
			readonly kind: "appIdleLearned";
			readonly inbound: number;
			readonly idleMs: number;
			readonly from: "close" | "header";
	  }
	| { readonly kind: "stopped" }
	/** The thread cannot go on. */
	| { readonly kind: "fatal"; readonly message: string; readonly stack: string | undefined }
	/** One exchange ended by a mistake of ours, or anything else worth a line. */
	| {
			readonly kind: "log";
			readonly level: "debug" | "info" | "warn" | "error";
			readonly message: string;
			readonly fields: Readonly<Record<string, string | number | boolean>>;
	  };

export interface ListeningInbound {
	/** Index in `settings.inbound`. */
	readonly inbound: number;
	/** The port that was bound (asked for with 0: the system's); 0 for a Unix socket. */
	readonly port: number;
}

/** What a data thread is given at its birth besides the settings. */
export interface DataThreadMemory {
	readonly thread: number;
	readonly ring: SharedArrayBuffer;
	readonly counters: SharedArrayBuffer;
	readonly series: SharedArrayBuffer;
}

/** The part of a MessagePort or Worker that is used. */
export interface PortLike {
	postMessage(message: unknown): void;
	on(event: "message", listener: (message: unknown) => void): unknown;
	off(event: "message", listener: (message: unknown) => void): unknown;
}

/** One end of the line between two threads. */
export interface Line<Out, In> {
	send(message: Out): void;
	/** The function that is returned ends it. */
	onMessage(handler: (message: In) => void): () => void;
}

function line<Out, In extends { readonly kind: string }>(port: PortLike, kinds: ReadonlySet<string>): Line<Out, In> {
	const isMessage = (message: unknown): message is In =>
		typeof message === "object" &&
		message !== null &&
		"kind" in message &&
		typeof message.kind === "string" &&
		kinds.has(message.kind); // both ends are of one build: the tag is proof enough of the rest
	return {
		send: (message) => port.postMessage(message),
		onMessage: (handler) => {
			const listener = (message: unknown): void => {
				if (isMessage(message)) handler(message); // a Worker's port also carries what libraries post
			};
			port.on("message", listener);
			return () => {
				port.off("message", listener);
			};
		},
	};
}

const controlKinds: Readonly<Record<ControlMessage["kind"], true>> = {
	listen: true,
	routes: true,
	state: true,
	app: true,
	closeIdle: true,
	closeStreams: true,
	stop: true,
};
const dataKinds: Readonly<Record<DataMessage["kind"], true>> = {
	started: true,
	listening: true,
	series: true,
	routeHintRejected: true,
	appIdleLearned: true,
	stopped: true,
	fatal: true,
	log: true,
};

/** The control thread's end. */
export function controlLine(port: PortLike): Line<ControlMessage, DataMessage> {
	return line(port, new Set(Object.keys(dataKinds)));
}

/** A data thread's end. */
export function dataLine(port: PortLike): Line<DataMessage, ControlMessage> {
	return line(port, new Set(Object.keys(controlKinds)));
}
