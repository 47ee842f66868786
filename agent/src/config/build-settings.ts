import { renderAddress } from "./address.ts";
import type { Effective } from "./effective.ts";
import type { Env } from "./environment.ts";
import type { Address, Settings } from "./settings.ts";

/** Values → `Settings`: units in the names, nothing left open, frozen to the last leaf. */

/** What `limits.buffered: auto` is when the container has no memory limit. */
const bufferedWithoutLimit = 256 * 1024 * 1024;
const bufferedShare = 1 / 4;

/** Names by which manifests usually hand over the downward API, and the attributes that they become. */
const podVariables: readonly (readonly [variable: string, attribute: string])[] = [
	["POD_NAME", "k8s.pod.name"],
	["POD_UID", "k8s.pod.uid"],
	["POD_NAMESPACE", "k8s.namespace.name"],
	["NODE_NAME", "k8s.node.name"],
];

/**
 * @param values Without problems.
 * @param bufferedBytes What `limits.buffered: auto` comes to.
 */
export function buildSettings(values: Effective, env: Env, bufferedBytes: number): Settings {
	const buffered = values.get("limits.buffered");
	const captures = values.get("capture") !== "none";
	const all = (count: number): readonly number[] => Array.from({ length: count }, (_, index) => index);
	const entries = all(values.count("inbound"));
	const apps = new Map<string, Address>();
	for (const index of entries) {
		const app = values.get("inbound[].app", index);
		if (app !== undefined) apps.set(renderAddress(app), app);
	}
	const service = {
		name: values.get("service.name"),
		namespace: values.get("service.namespace"),
		version: values.get("service.version"),
	};
	const endpoint = values.get("traces.endpoint");
	return deepFreeze<Settings>({
		service,
		inbound: !captures
			? []
			: entries.map((index) => ({
					name: values.get("inbound[].name", index),
					listen: values.get("inbound[].listen", index),
					app: values.get("inbound[].app", index),
					protocol: values.get("inbound[].protocol", index),
				})),
		apps: [...apps.values()],
		ops: {
			listen: values.get("ops.listen"),
			connectionsMax: values.get("ops.connections"),
			waitersMax: values.get("ops.waiters"),
			bearerTokenFile: values.get("ops.bearerTokenFile"),
		},
		api: {
			listen: values.get("api.listen"),
			connectionsMax: values.get("api.connections"),
			hosts: values.get("api.hosts"),
		},
		capture: values.get("capture"),
		workers: values.get("workers"),
		limits: {
			bufferedBytesMax: buffered === "auto" ? bufferedBytes : buffered,
			connectionsMax: values.get("limits.connections"),
			inFlightMax: values.get("limits.inFlight"),
			headBytesMax: values.get("limits.head"),
			headersMax: values.get("limits.headers"),
			targetBytesMax: values.get("limits.target"),
			bodyBytesMax: values.get("limits.body"),
			pipelineMax: values.get("limits.pipeline"),
			lingerBytesMax: values.get("limits.lingerBytes"),
		},
		timeouts: {
			headMs: values.get("timeouts.head"),
			idleMs: values.get("timeouts.idle"),
			bodyStallMs: values.get("timeouts.bodyStall"),
			connectMs: values.get("timeouts.connect"),
			responseMs: values.get("timeouts.response"),
			appIdleMs: values.get("timeouts.appIdle"),
			writeStallMs: values.get("timeouts.writeStall"),
			lingerMs: values.get("timeouts.linger"),
		},
		connections: {
			maxAgeMs: values.get("connections.maxAge"),
			halfClose: values.get("connections.halfClose"),
			source: values.get("connections.source"),
			proxyProtocol: values.get("connections.proxyProtocol"),
		},
		identity: {
			trust: values.get("identity.trust"),
			trustedHops: values.get("identity.trustedHops"),
			headers: values.get("identity.headers"),
			passOn: values.get("identity.passOn"),
			forcedSamplesPerSecond: values.get("identity.forcedSamplesPerSecond"),
			via: values.get("identity.via"),
		},
		routes: {
			table: all(values.count("routes.table")).map((index) => ({
				path: values.get("routes.table[].path", index) ?? "", // rules.ts refuses an entry without one
				methods: values.get("routes.table[].methods", index),
				bodyBytesMax: values.get("routes.table[].body", index),
				responseMs: values.get("routes.table[].response", index),
			})),
			openapi: values.get("routes.openapi"),
			collapse: values.get("routes.collapse"),
			seriesMax: values.get("routes.maxSeries"),
		},
		metrics: {
			names: values.get("metrics.names"),
			collision: values.get("metrics.collision"),
			app: values.get("metrics.app"),
			bodySizes: values.get("metrics.bodySizes"),
		},
		traces: {
			exporter: values.get("traces.exporter"),
			sample: values.get("traces.sample"),
			keepErrors: values.get("traces.keepErrors"),
			keepSlowerThanMs: values.get("traces.keepSlowerThan"),
			queueMax: values.get("traces.queue"),
			endpoint: endpoint === undefined ? undefined : tracesUrl(endpoint),
			headers: { ...values.get("traces.headers") },
			resourceAttributes: {
				...podAttributes(env),
				...values.get("traces.resourceAttributes"),
				...serviceAttributes(service),
			},
		},
		log: {
			level: values.get("log.level"),
			access: values.get("log.access"),
			accessSample: values.get("log.accessSample"),
			skip: values.get("log.skip"),
			fieldBytesMax: values.get("log.fieldBytes"),
			redact: values.get("log.redact"),
			query: values.get("log.query"),
			destination: values.get("log.destination"),
			bufferBytesMax: values.get("log.buffer"),
		},
		health: {
			app: {
				http: values.get("health.app.http"),
				grpc: values.get("health.app.grpc"),
				intervalMs: values.get("health.app.interval"),
				timeoutMs: values.get("health.app.timeout"),
				fall: values.get("health.app.fall"),
				rise: values.get("health.app.rise"),
				critical: values.get("health.app.critical"),
			},
			checks: all(values.count("health.checks")).map((index) => ({
				name: values.get("health.checks[].name", index) ?? "", // rules.ts refuses an entry without one
				url: values.get("health.checks[].url", index) ?? "",
				intervalMs: values.get("health.checks[].interval", index),
				timeoutMs: values.get("health.checks[].timeout", index),
				fall: values.get("health.checks[].fall", index),
				rise: values.get("health.checks[].rise", index),
				critical: values.get("health.checks[].critical", index),
			})),
			reportsMax: values.get("health.reports"),
		},
		drain: {
			graceMs: values.get("drain.grace"),
			announceMinMs: values.get("drain.announceMin"),
			quietMinMs: values.get("drain.quietMin"),
			quietMaxMs: values.get("drain.quietMax"),
			streamsMs: values.get("drain.streams"),
			leasesMax: values.get("drain.leases"),
			startWithinMs: values.get("drain.startWithin"),
			appStopMs: values.get("drain.appStop"),
			agentStopMs: values.get("drain.agentStop"),
			sigterm: values.get("drain.sigterm"),
			report: values.get("drain.report"),
		},
		probes: {
			agents: values.get("probes.agents"),
			paths: values.get("probes.paths"),
			timeoutMs: values.get("probes.timeout"),
		},
	});
}

/** `limits.buffered: auto` in bytes. @param memoryLimitBytes The container's memory limit; `undefined` without one. */
export function bufferedFrom(memoryLimitBytes: number | undefined): number {
	return memoryLimitBytes === undefined ? bufferedWithoutLimit : Math.floor(memoryLimitBytes * bufferedShare);
}

/** OTLP/HTTP: the path of the signal is appended to the base (OpenTelemetry Protocol Exporter, "Endpoint URLs for OTLP/HTTP"). */
function tracesUrl(base: string): string {
	const url = new URL(base);
	url.pathname = `${url.pathname.replace(/\/$/, "")}/v1/traces`;
	return url.href;
}

function serviceAttributes(service: Settings["service"]): Readonly<Record<string, string>> {
	return {
		"service.name": service.name,
		...(service.namespace === undefined ? {} : { "service.namespace": service.namespace }),
		...(service.version === undefined ? {} : { "service.version": service.version }),
	};
}

function podAttributes(env: Env): Readonly<Record<string, string>> {
	const attributes: Record<string, string> = {};
	for (const [variable, attribute] of podVariables) {
		const value = env[variable];
		if (value !== undefined && value !== "") attributes[attribute] = value;
	}
	return attributes;
}

function deepFreeze<T>(value: T): T {
	if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
	for (const child of Object.values(value)) deepFreeze(child);
	return Object.freeze(value);
}
