import type { LookupAddress, LookupOptions } from "node:dns";
import type { LookupFunction } from "node:net";

/** As `dns.lookup` is, with the callback that `net.connect` hands over. */
export type Resolve = (hostname: string, options: LookupOptions, callback: LookupCallback) => void;
type LookupCallback = Parameters<LookupFunction>[2];

/**
 * Names for checks, asked for with care: `getaddrinfo` runs in libuv's pool of four threads, which it shares with all that this process does
 * in there; it cannot be called back, and where a name server does not answer it takes half a minute. So all checks together have
 * two of the threads at most, and each of them one: a check whose last name is still out fails at once.
 *
 * `localhost` is answered here (RFC 6761 §6.3): both loopback addresses, IPv4 first, whatever the hosts file says.
 */
export class NameLookups {
	readonly #resolve: Resolve;
	readonly #waiting: (() => void)[] = [];
	#running = 0;

	constructor(resolve: Resolve = systemResolve) {
		this.#resolve = resolve;
	}

	/** For one check: what its connections ask. The queue is bounded by the number of doors. */
	door(): LookupFunction {
		let isOut = false;
		return (hostname, options, callback) => {
			const name = hostname.toLowerCase();
			if (name === "localhost" || name.endsWith(".localhost")) {
				process.nextTick(answerLoopback, options, callback); // as dns.lookup does: never in the same turn
				return;
			}
			if (isOut) {
				const error = Object.assign(new Error(`${hostname} is still being resolved`), { code: "EAI_AGAIN" });
				process.nextTick(callback, error, "");
				return;
			}
			isOut = true;
			this.#begin(() =>
				this.#resolve(hostname, options, (...answer) => {
					isOut = false;
					this.#end();
					callback(...answer);
				}),
			);
		};
	}

	#begin(lookup: () => void): void {
		if (this.#running === LOOKUPS_MAX) this.#waiting.push(lookup);
		else {
			this.#running += 1;
			lookup();
		}
	}

	#end(): void {
		const next = this.#waiting.shift();
		if (next === undefined) this.#running -= 1;
		else next();
	}
}

/** At a time. */
export const LOOKUPS_MAX = 2;

const LOOPBACK: readonly LookupAddress[] = [
	{ address: "127.0.0.1", family: 4 },
	{ address: "::1", family: 6 },
];

function answerLoopback(options: LookupOptions, callback: LookupCallback): void {
	const family =
		options.family === 6 || options.family === "IPv6" ? 6 : options.family === 4 || options.family === "IPv4" ? 4 : 0;
	const addresses = LOOPBACK.filter((each) => family === 0 || each.family === family);
	if (options.all === true) callback(null, [...addresses]);
	else callback(null, addresses[0]?.address ?? "127.0.0.1", addresses[0]?.family);
}

function systemResolve(hostname: string, options: LookupOptions, callback: LookupCallback): void {
	process.getBuiltinModule("node:dns").lookup(hostname, options, callback);
}
