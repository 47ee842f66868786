/** What clients sent and apps answered, kept by both sides, so that each can be held against the other and against the agent's records. */
import type { ReadMessage } from "./strict-reading.ts";

/** What is asked for: a request as they come, a probe, an event stream, another protocol. */
export type Kind = "plain" | "probe" | "stream" | "upgrade";

export interface SentRequest {
	readonly id: number;
	readonly kind: Kind;
	readonly method: string;
	/** As the app has to get it: origin-form. */
	readonly target: string;
	readonly minorVersion: 0 | 1;
	/** Fields of its own, in their order, that must reach the app as they are. */
	readonly fields: readonly (readonly [name: string, value: string])[];
	readonly body: Buffer;
	readonly hasBody: boolean;
	readonly asksForUpgrade: boolean;
	readonly expects: boolean;
	/** On the wire. */
	readonly bytes: Buffer;
	readonly headBytes: number;
	/** The client said that it is its last. */
	readonly closes: boolean;
	isSentWhole: boolean;
	/** How often the app got it whole. */
	wholeAtApp: number;
	/** What the client got whole; `undefined`: nothing. */
	got: GotAnswer | undefined;
	/** How its last try went wrong; `undefined`: it did not, or it was never sent. */
	lost: Loss | undefined;
	/** When the client knew what had become of it, monotonic ms. */
	endedMs: number;
}

export interface GotAnswer {
	readonly status: number;
	readonly bodyBytes: number;
	/** Why the agent refused it, when it made this answer. */
	readonly error: string | undefined;
	/** Whether it said that the connection ends with it. */
	readonly closes: boolean;
}

/**
 * - `clean`: the connection ended in good order, and not one byte of an answer had come: nobody has taken the request;
 * - `behind`: the same, after an answer that had said so;
 * - `broken`: reset, or ended in the middle of its answer;
 * - `given up`: by the client itself;
 * - `not connected`: nobody accepted the connection.
 */
export type Loss = "clean" | "behind" | "broken" | "given up" | "not connected";

export interface SaidAnswer {
	readonly nonce: number;
	readonly id: number;
	readonly status: number;
	readonly body: Buffer;
	/** Whether what the app wrote was a whole response. */
	isWhole: boolean;
}

export interface AppHead {
	/** From `traceparent`: the agent's client span, by which its record is found. */
	readonly spanId: string;
	readonly id: number;
	readonly method: string;
	readonly hasBody: boolean;
	/** When the app had it, monotonic ms. */
	readonly atMs: number;
	readonly message: ReadMessage;
}

export class Ledger {
	readonly requests = new Map<number, SentRequest>();
	readonly answers = new Map<number, SaidAnswer>();
	readonly heads: AppHead[] = [];
	/** Connections that were relayed as opaque bytes, as the app counts them. */
	opaque = 0;
	#ids = 0;
	#nonces = 0;

	nextId(): number {
		return ++this.#ids;
	}

	nextNonce(): number {
		return ++this.#nonces;
	}
}
