import { connect, createServer, isIP } from "node:net";
import { type NetworkInterfaceInfo, networkInterfaces } from "node:os";

/**
 * From which address the agent connects to the app. Not from loopback: applications, servers and frameworks trust 127/8 with admin
 * routes and forwarded headers, and a client from outside must not become a local one by passing through us. So it is the
 * pod's own address; where there is none, 127.0.0.6, which is what Istio uses and no default list of trusted proxies has.
 */
export interface SourceAddresses {
	/** For connections to an IPv4 address of this pod; `undefined`: whatever the kernel takes. */
	readonly ipv4: string | undefined;
	/** For connections to an IPv6 address of this pod. */
	readonly ipv6: string | undefined;
}

export const NO_SOURCE: SourceAddresses = Object.freeze({ ipv4: undefined, ipv6: undefined });

/** Every address of 127/8 can be bound on Linux without being configured; on other systems only 127.0.0.1. */
export const FALLBACK_SOURCE = "127.0.0.6";

/** A connection over loopback is a matter of microseconds; a filter that drops it must not hold up the start. */
const PROBE_TIMEOUT_MS = 250;
/**
 * Turns of the event loop after that time. In a process that was busy (it starts, on a machine that has much to do) the timer is due before
 * the sockets have been looked at, and to give up then would mean to call the app from loopback.
 */
const PROBE_LAST_TURNS = 20;

export type Interfaces = NodeJS.Dict<NetworkInterfaceInfo[]>;

/**
 * The addresses of this pod or machine that others can reach, in the order of the interfaces. Without loopback, and without
 * link-local ones (RFC 4291 §2.5.6, RFC 3927): these need a scope, or are not what others call us by.
 */
export function ownAddresses(interfaces: Interfaces = networkInterfaces()): readonly string[] {
	const addresses: string[] = [];
	for (const infos of Object.values(interfaces)) {
		for (const info of infos ?? []) if (!info.internal && !isLinkLocal(info.address)) addresses.push(info.address);
	}
	return addresses;
}

/** The same, for those who ask again and again. The kernel wants a descriptor for the answer: who has none left goes on with what he knew. */
export function rememberedAddresses(ask: () => readonly string[] = ownAddresses): () => readonly string[] {
	let known: readonly string[] = [];
	return () => {
		try {
			known = ask();
		} catch {
			// EMFILE. Addresses change far more rarely than that is over.
		}
		return known;
	};
}

function isLinkLocal(address: string): boolean {
	return address.startsWith("169.254.") || /^fe[89ab]/i.test(address);
}

/**
 * What we would like to connect from, before asking the kernel. `setting` is `connections.source`: `auto`, `none` or an address,
 * which then stands for its family alone.
 */
export function wantedSource(setting: string, interfaces: Interfaces, platform: NodeJS.Platform): SourceAddresses {
	if (setting === "none") return NO_SOURCE;
	if (setting !== "auto") {
		return isIP(setting) === 6 ? { ipv4: undefined, ipv6: setting } : { ipv4: setting, ipv6: undefined };
	}
	const own = ownAddresses(interfaces);
	return {
		ipv4: own.find((address) => isIP(address) === 4) ?? (platform === "linux" ? FALLBACK_SOURCE : undefined),
		ipv6: own.find((address) => isIP(address) === 6),
	};
}

/** Whether a connection to loopback can be made from `source`, and arrives as coming from there. */
export type SourceProbe = (source: string) => Promise<boolean>;

/**
 * The addresses to connect from, each tried once over loopback. One that was chosen automatically and does not work is left out, and the
 * kernel chooses; one that was configured is kept as it is, so that what does not work is seen and not quietly replaced.
 */
export async function sourceAddresses(
	setting: string,
	interfaces: Interfaces = networkInterfaces(),
	platform: NodeJS.Platform = process.platform,
	probe: SourceProbe = probeSource,
): Promise<SourceAddresses> {
	const wanted = wantedSource(setting, interfaces, platform);
	if (setting !== "auto") return wanted;
	const keep = async (source: string | undefined): Promise<string | undefined> =>
		source !== undefined && (await probe(source)) ? source : undefined;
	const [ipv4, ipv6] = await Promise.all([keep(wanted.ipv4), keep(wanted.ipv6)]);
	if (ipv4 === undefined && wanted.ipv4 !== FALLBACK_SOURCE && platform === "linux") {
		return { ipv4: await keep(FALLBACK_SOURCE), ipv6 };
	}
	return { ipv4, ipv6 };
}

/** Makes one real connection: to be able to bind an address does not yet mean that loopback can be reached from it. */
export function probeSource(source: string): Promise<boolean> {
	const { promise, resolve } = Promise.withResolvers<boolean>();
	const host = isIP(source) === 6 ? "::1" : "127.0.0.1";
	const server = createServer({ pauseOnConnect: true });
	const end = (works: boolean): void => {
		clearTimeout(timer);
		server.close();
		resolve(works);
	};
	let turnsLeft = PROBE_LAST_TURNS;
	const giveUp = (): void => {
		if (turnsLeft-- > 0) setImmediate(giveUp);
		else end(false);
	};
	const timer = setTimeout(giveUp, PROBE_TIMEOUT_MS);
	server.on("error", () => end(false));
	server.on("connection", (socket) => {
		const arrivedFrom = socket.remoteAddress;
		socket.on("error", () => {});
		socket.resetAndDestroy(); // leaves no TIME_WAIT behind
		end(arrivedFrom === source);
	});
	server.listen({ host, port: 0, backlog: 1 }, () => {
		const address = server.address();
		if (address === null || typeof address === "string") {
			end(false);
			return;
		}
		const socket = connect({ host, port: address.port, localAddress: source });
		socket.on("error", () => end(false));
		socket.on("close", () => socket.destroy());
	});
	return promise;
}
