/**
 * The two ends of an exchange, as each sees the other. `downstream/` and `upstream/` stand on the same floor and know nothing of each other; they
 * meet here. For one exchange the order of calls is fixed:
 *
 * ```
 * client's side ─► RequestTaker:  begin, send*, requestEnded          (or abandon, at any time)
 * app's side    ─► ResponseTaker: informational*, response, body*, responseEnded
 *                                 or upgraded, tunnelBytes*, tunnelEnded, tunnelClosed
 *                                 or failed, at any time, as the last
 * ```
 */
import type { Fault } from "../foundation/fault.ts";
import type { Exchange } from "./exchange.ts";

/** The client's side: takes the response. */
export interface ResponseTaker {
	/**
	 * Whether the connection will end with this exchange; asked once, when the head of the response is written. `isDelimitedByClose`: it must, since
	 * nothing else tells the client where the body ends.
	 */
	closesAfterResponse(isDelimitedByClose: boolean): boolean;
	/** A 1xx head, ready to be written. */
	informational(bytes: Buffer): void;
	/** The final head, ready to be written, perhaps with the beginning of the body. */
	response(bytes: Buffer): void;
	/** More of the body, as it goes on the wire. The bytes belong to the taker. */
	body(bytes: Buffer): void;
	/** Whether bytes that were given wait for the client, and so are kept. */
	holdsResponseBytes(): boolean;
	/** The response is whole. */
	responseEnded(): void;
	/** Nothing more comes. Nothing written: answer with the fault; something written: cut. */
	failed(fault: Fault): void;
	/** The app takes request bytes again. */
	requestDrained(): void;
	/** The head of a 101, ready to be written: from here on bytes are bytes. */
	upgraded(bytes: Buffer): void;
	tunnelBytes(bytes: Buffer): void;
	/** The app's half of the tunnel is over. */
	tunnelEnded(): void;
	/** The tunnel is over both ways. */
	tunnelClosed(): void;
}

/** The app's side: takes the request. */
export interface RequestTaker {
	/**
	 * The request's head is in `x`; `body` is what came of the body in the same read, framed as it came. `isWhole`: that is all of the request.
	 * The return value is as that of `send`.
	 */
	begin(x: Exchange, taker: ResponseTaker, body: Buffer | undefined, isWhole: boolean): boolean;
	/** More of the body, or of a tunnel. False: `requestDrained` will follow, send no more until then. */
	send(bytes: Buffer): boolean;
	/** Whether bytes that were sent wait for the app, and so are kept. */
	holdsRequestBytes(): boolean;
	/** The request is whole; in a tunnel: the client's half is over. */
	requestEnded(): void;
	/** The client takes no more for now, or again. */
	pauseResponse(): void;
	resumeResponse(): void;
	/** The exchange is over for the client: the app feels it. Nothing is told to the taker any more. */
	abandon(): void;
}
