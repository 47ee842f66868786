/**
 * The effective configuration: frozen, complete, units in the names. Made once by `layers.ts`, cloned to every data thread.
 * `Number.POSITIVE_INFINITY` stands for `none` where a number has no bound.
 */
export interface TcpAddress {
	readonly kind: "tcp";
	/** `undefined`: all addresses, both families. For `app`: a name, or an address without brackets. */
	readonly host: string | undefined;
	readonly port: number;
}

export interface UnixAddress {
	readonly kind: "unix";
	readonly path: string;
}

export type Address = TcpAddress | UnixAddress;

export interface InboundSettings {
	/** Name of the entry; unique. */
	readonly name: string;
	readonly listen: Address;
	/** Where the app listens. `undefined` only under `outrigger run`, until the port is found. */
	readonly app: Address | undefined;
	readonly protocol: "auto" | "http1" | "http2" | "tcp";
}

export interface RouteSettings {
	/** A template such as `/users/{id}`; a last segment `{rest...}` takes what remains. */
	readonly path: string;
	/** Upper-case methods; empty: all. */
	readonly methods: readonly string[];
	/** Largest request body in bytes; Infinity: `limits.body`. */
	readonly bodyBytesMax: number | undefined;
	/** Time to the first byte of the response; `undefined`: `timeouts.response`. */
	readonly responseMs: number | undefined;
}

export interface Settings {
	readonly service: {
		readonly name: string;
		readonly namespace: string | undefined;
		readonly version: string | undefined;
	};
	/** What is listened on for traffic; empty with `capture: none`. */
	readonly inbound: readonly InboundSettings[];
	/**
	 * Where the app listens, each once: what readiness, checks and the look for bypassing sockets need also with `capture: none`.
	 * Empty only under `outrigger run`, until the port is found, and with `capture: none` when no port was told.
	 */
	readonly apps: readonly Address[];
	readonly ops: {
		readonly listen: Address;
		readonly connectionsMax: number;
		readonly waitersMax: number;
		readonly bearerTokenFile: string | undefined;
	};
	readonly api: { readonly listen: Address; readonly connectionsMax: number; readonly hosts: readonly string[] };
	readonly capture: "port" | "env" | "none";
	readonly workers: number;
	readonly limits: {
		/** Bytes; `auto` has been resolved (a quarter of the cgroup's memory, 256 MiB without a limit). */
		readonly bufferedBytesMax: number;
		readonly connectionsMax: number;
		readonly inFlightMax: number;
		readonly headBytesMax: number;
		readonly headersMax: number;
		readonly targetBytesMax: number;
		readonly bodyBytesMax: number;
		readonly pipelineMax: number;
		readonly lingerBytesMax: number;
	};
	readonly timeouts: {
		readonly headMs: number;
		readonly idleMs: number;
		readonly bodyStallMs: number;
		readonly connectMs: number;
		readonly responseMs: number;
		readonly appIdleMs: number;
		readonly writeStallMs: number;
		readonly lingerMs: number;
	};
	readonly connections: {
		readonly maxAgeMs: number;
		readonly halfClose: "abort" | "serve";
		/** `auto`: the pod's own address, 127.0.0.6 where there is none; or an address; `none`: whatever the kernel takes. */
		readonly source: "auto" | "none" | string;
		readonly proxyProtocol: boolean;
	};
	readonly identity: {
		/** Whether ids, trace context and forwarded fields that come from outside are believed. */
		readonly trust: boolean;
		readonly trustedHops: number;
		/** Lower-case names of the id fields: the first is the request id, the second the correlation id. */
		readonly headers: readonly string[];
		/** Lower-case names of request fields that the SDK passes on to other services. */
		readonly passOn: readonly string[];
		readonly forcedSamplesPerSecond: number;
		readonly via: boolean;
	};
	readonly routes: {
		readonly table: readonly RouteSettings[];
		/** `auto`: ask the app for /openapi.json; `none`; or a path. */
		readonly openapi: "auto" | "none" | string;
		readonly collapse: boolean;
		readonly seriesMax: number;
	};
	readonly metrics: {
		readonly names: "otel" | "legacy" | "both";
		readonly collision: "agent" | "app" | "both";
		/** URLs of the app's pages. */
		readonly app: readonly string[];
		/** Whether the two body size histograms are kept. */
		readonly bodySizes: boolean;
	};
	readonly traces: {
		readonly exporter: "none" | "otlp";
		readonly sample: number;
		readonly keepErrors: boolean;
		readonly keepSlowerThanMs: number;
		readonly queueMax: number;
		/** The whole URL of OTLP/HTTP for traces, path included; `undefined` when there is no exporter and none was told. */
		readonly endpoint: string | undefined;
		/** Fields of each export request. Secret: never logged, never shown. */
		readonly headers: Readonly<Record<string, string>>;
		/** Attributes of the resource: `service.*` from `service`, what OTEL_RESOURCE_ATTRIBUTES says, the pod's names. */
		readonly resourceAttributes: Readonly<Record<string, string>>;
	};
	readonly log: {
		readonly level: "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "silent";
		readonly access: boolean;
		/** Share of successful exchanges that get an access line, 0 to 1; errors always do. */
		readonly accessSample: number;
		/** `probes`, or path patterns such as `/internal/*`. */
		readonly skip: readonly string[];
		readonly fieldBytesMax: number;
		/** Path patterns whose path and query are replaced by `[redacted]`. */
		readonly redact: readonly string[];
		/** Whether `url.query` is in the line; off by default. */
		readonly query: boolean;
		/** `stdout`, `stderr` or a path. */
		readonly destination: string;
		readonly bufferBytesMax: number;
	};
	readonly health: {
		readonly app: {
			/** `auto`, `none`, a path with or without query, or an http(s) URL. */
			readonly http: string;
			/** `none`, `*` for the server as a whole, or the name of a service. */
			readonly grpc: string;
			readonly intervalMs: number;
			readonly timeoutMs: number;
			readonly fall: number;
			readonly rise: number;
			readonly critical: boolean;
		};
		readonly checks: readonly CheckSettings[];
		/** Pushed contributors. */
		readonly reportsMax: number;
	};
	readonly drain: {
		readonly graceMs: number;
		readonly announceMinMs: number;
		readonly quietMinMs: number;
		readonly quietMaxMs: number;
		readonly streamsMs: number;
		readonly leasesMax: number;
		readonly startWithinMs: number;
		readonly appStopMs: number;
		readonly agentStopMs: number;
		readonly sigterm: "drain" | "stop";
		/** Path of the termination message file, or `none`. */
		readonly report: string;
	};
	readonly probes: {
		/** Prefixes of `User-Agent`. */
		readonly agents: readonly string[];
		readonly paths: readonly string[];
		/** The longest that a probe's connection to the app's port may last. */
		readonly timeoutMs: number;
	};
}

export interface CheckSettings {
	readonly name: string;
	/** `http://host:port/path`, `tcp://host:port` or `grpc://host:port/service`. */
	readonly url: string;
	readonly intervalMs: number;
	readonly timeoutMs: number;
	readonly fall: number;
	readonly rise: number;
	readonly critical: boolean;
}
