import type { Deadline } from "./deadline.ts";

/**
 * A part of the agent that has a life. `start` may fail, and `stop` is still called. `drain` returns *as soon as* it is idle and says
 * what was left when the deadline came first. `stop` is safe without `start`, safe twice, and leaves no timer, listener or
 * socket. Parts start in the order in which `agent.ts` names them; stop is its reverse.
 */
export interface Component {
	readonly name: string;
	start(): Promise<void>;
	/** Number of things (exchanges, waiters, batches) that were still there at the deadline. */
	drain?(deadline: Deadline): Promise<number>;
	stop(): Promise<void>;
}
