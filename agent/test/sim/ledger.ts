/** What clients sent and apps answered, kept by both sides, so that each can be held against the other and against the agent's records. */
import type { ReadMessage } from "./strict-reading.ts";

export interface SentRequest {
	readonly id: number;
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
	/** What the client got: status, body, whether the agent made it; `undefined`: nothing whole. */
	got: { readonly status: number; readonly bodyBytes: number; readonly error: string | undefined } | undefined;
}

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
