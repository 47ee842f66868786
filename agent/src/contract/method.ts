import type { JsonObject } from "../foundation/json-object.ts";

/**
 * A method of the contract: a path, and a function from what was asked to what is answered. The table of all methods knows nothing of HTTP;
 * `server.ts` speaks Connect's unary JSON protocol (https://connectrpc.com/docs/protocol) for it.
 */

/** Connect's error codes, each with the HTTP status that the protocol gives it. */
export const STATUS_OF_CODE = Object.freeze({
	canceled: 499,
	unknown: 500,
	invalid_argument: 400,
	deadline_exceeded: 504,
	not_found: 404,
	already_exists: 409,
	permission_denied: 403,
	resource_exhausted: 429,
	failed_precondition: 400,
	aborted: 409,
	out_of_range: 400,
	unimplemented: 501,
	internal: 500,
	unavailable: 503,
	data_loss: 500,
	unauthenticated: 401,
} as const);

export type ErrorCode = keyof typeof STATUS_OF_CODE;

/**
 * An answer that is an error. Thrown, other than the faults of the data path: these are rare, on loopback, and raised deep inside of a reader
 * of input.
 */
export class ApiError extends Error {
	override readonly name = "ApiError";
	readonly code: ErrorCode;

	/** `message` is for people, and is sent. */
	constructor(code: ErrorCode, message: string) {
		super(message);
		this.code = code;
	}
}

/** What a method is told of its caller. */
export interface Call {
	/** Aborts when nobody waits for the answer any more: the caller has gone, its time is over, or the agent stops. */
	readonly signal: AbortSignal;
	/** The caller's `user-agent`; empty: none. */
	readonly userAgent: string;
	/**
	 * Says that the answer may take minutes: the connection is then not given to somebody else. Throws `resource_exhausted` when too many wait
	 * already, so that there is always room for a call that does not.
	 */
	beginWait(): void;
}

export interface Method {
	/** `/outrigger.v1.Lifecycle/Drain`. */
	readonly path: string;
	/**
	 * `input`: the body, parsed; always an object, its fields not yet looked at. The answer gets the agent's epoch added. A throw that is no
	 * `ApiError` is our mistake: `internal`, logged. A promise that waits ends when the signal aborts.
	 */
	readonly handle: (input: JsonObject, call: Call) => object | Promise<object>;
}
