import { Agent, type IncomingHttpHeaders, request } from "node:http";
import type { TestContext } from "node:test";
import { type Clock, ManualClock } from "../foundation/clock.ts";
import { silentLogger } from "../foundation/logger.ts";
import { ManualScheduler } from "../foundation/scheduler.ts";
import { TextClient } from "../foundation/text-client.fixture.ts";
import { AppPages } from "../observe/app-page.ts";
import type { MetricSource } from "../telemetry/exposition-write.ts";
import { MetricsPage } from "./metrics-page.ts";
import type { ProbeSource } from "./probes.ts";
import { type OpsRoute, OpsServer, type OpsServerParts } from "./server.ts";

/** A server of the ops port with what is around it, and its clients. */

export const probes: ProbeSource = {
	live: () => ({ ok: true }),
	ready: () => ({ ok: false, reason: "app_refuses" }),
	started: () => ({ ok: true }),
};

interface PageParts {
	readonly app?: AppPages;
	/** The system's, where the page has to be made in slices of time. */
	readonly clock?: Clock;
}

export function metricsPage(source: MetricSource, parts: PageParts = {}): MetricsPage {
	const { clock = new ManualClock(), app = noAppPages() } = parts;
	return new MetricsPage({
		sources: [{ name: "test", source }],
		app,
		collision: "agent",
		clock,
		log: silentLogger,
		onFault: () => {},
	});
}

export const smallSource: MetricSource = {
	writeMetrics(out) {
		out.family("a_total", "counter", "A.");
		out.sample("", 1);
	},
};

export interface Running {
	readonly server: OpsServer;
	readonly port: number;
}

export async function startServer(t: TestContext, parts: Partial<OpsServerParts> = {}): Promise<Running> {
	const server = new OpsServer({
		listen: { kind: "tcp", host: "127.0.0.1", port: 0 },
		connectionsMax: 64,
		waitersMax: 64,
		bearerTokenFile: undefined,
		metrics: metricsPage(smallSource),
		probes,
		routes: [],
		clock: new ManualClock(),
		log: silentLogger,
		...parts,
	});
	await server.start();
	t.after(() => server.stop());
	return { server, port: server.address?.port ?? 0 };
}

export interface Answer {
	readonly status: number;
	readonly headers: IncomingHttpHeaders;
	readonly body: Buffer;
}

export function ask(
	port: number,
	path: string,
	headers: Record<string, string> = {},
	method = "GET",
	body?: string,
): Promise<Answer> {
	return new Promise((resolve, reject) => {
		const outgoing = request({ port, host: "127.0.0.1", path, method, headers, agent: new Agent() }, (response) => {
			const chunks: Buffer[] = [];
			response.on("data", (chunk: Buffer) => chunks.push(chunk));
			response.on("error", reject);
			response.on("end", () =>
				resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
			);
		});
		outgoing.on("error", reject);
		outgoing.end(body);
	});
}

/** Bytes as they are written. */
export class RawClient extends TextClient {
	/** Sends a request that keeps the connection. */
	ask(path: string): void {
		this.socket.write(`GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`);
	}
}

/** Values of pulled metrics: by outcome, else by name. */
export function countersOf(server: Pick<OpsServer, "pulledMetrics">): Record<string, number> {
	const values: Record<string, number> = {};
	for (const { name, read } of server.pulledMetrics) {
		read((labels, value) => {
			values[labels["outcome"] ?? name] = value;
		});
	}
	return values;
}

function noAppPages(): AppPages {
	return new AppPages({ urls: [], clock: new ManualClock(), scheduler: new ManualScheduler(), log: silentLogger });
}

/** `/lifecycle/drained` that never answers. `whenAsked`: the next request has come. */
export function holdingRoute(): { readonly route: OpsRoute; readonly whenAsked: () => Promise<void> } {
	let asked: () => void = () => {};
	return {
		route: { path: "/lifecycle/drained", waits: true, handle: () => asked() },
		whenAsked: () =>
			new Promise((resolve) => {
				asked = resolve;
			}),
	};
}
