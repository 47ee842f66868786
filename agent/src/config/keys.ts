import {
	boolean,
	choice,
	duration,
	hideUserinfo,
	integer,
	ipAddress,
	type Kind,
	list,
	listenAddress,
	loopbackAddress,
	number,
	optional,
	or,
	type Pairs,
	pairs,
	size,
	type TextRule,
	targetAddress,
	text,
	url,
	type Written,
} from "./kinds.ts";
import { routeTemplateMistake } from "./route-template.ts";

/**
 * Every key of the configuration, once: kind with bounds, default, meaning, example. The schema, the variables, the
 * documentation and the types of the values come from here. `[]` stands for the index in a list of objects.
 */
export interface Key<T> {
	readonly kind: Kind<T>;
	/** As it would be written; `undefined`: there is none, `defaultNote` says what happens then. For items: by index. */
	readonly default: Written | undefined | ((index: number) => Written | undefined);
	/** Said in place of the default where that depends on the machine or on the index. */
	readonly defaultNote?: string;
	/** One or two sentences for a platform engineer. */
	readonly meaning: string;
	/** A value that could well be set; never the default. */
	readonly example: Written;
	/** The value is never shown: not in `config show`, not in a problem, not in the log. */
	readonly secret?: true;
}

/** An empty list or mapping as default: nothing. */
const nothing: readonly string[] = [];

/** How many entries each list of objects may have. */
export const objectLists = Object.freeze({
	inbound: { itemsMax: 32, meaning: "What is listened on for the app's traffic, one entry for each port of the app." },
	"routes.table": {
		itemsMax: 1000,
		meaning: "Routes that the app does not tell by itself. The first that fits counts.",
	},
	"health.checks": { itemsMax: 32, meaning: "More checks than the app's own, for health's tree." },
} as const);

export type ObjectListPath = keyof typeof objectLists;

const name: TextRule = {
	label: "name",
	expected: "a name of lower-case letters, digits and dashes",
	pattern: "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?",
	charactersMax: 63,
};

const line: TextRule = {
	label: "text",
	expected: "a line of text without control characters",
	pattern: "[^\\x00-\\x1f\\x7f]+",
	charactersMax: 255,
};

const filePath: TextRule = {
	label: "path",
	expected: "the absolute path of a file",
	pattern: "/[^\\x00]*",
	charactersMax: 4096,
};

const urlPath: TextRule = {
	label: "URL path",
	expected: "a path that begins with / and has no query",
	pattern: "/[^\\s?#\\x00-\\x1f\\x7f]*",
	charactersMax: 1024,
};

/** A readiness probe's path may have a query; one on another port, or with TLS, is told as a URL. */
const healthPage: TextRule = {
	label: "path or URL",
	expected: "a path that begins with /, or a URL that begins with http:// or https://",
	pattern: '(?:/|https?://[^\\s/?#]+)[!-"$-~]*',
	charactersMax: 2000,
	refuse: (value) => (value.startsWith("/") || URL.canParse(value) ? undefined : "this is not a URL"),
	show: hideUserinfo,
};

/** What HealthCheckRequest.service may hold, as far as one can type it. */
const grpcService: TextRule = {
	label: "gRPC service",
	expected: "the name of a gRPC service such as shop.Orders, or * for the whole server",
	pattern: "[!-~]+",
	charactersMax: 255,
};

/** `*` stands for the rest of a segment's characters, at the end for anything. */
const pathPattern: TextRule = {
	label: "path pattern",
	expected: "a path pattern such as /internal/*",
	pattern: "/[^\\s?#\\x00-\\x1f\\x7f]*",
	charactersMax: 1024,
};

/** Fields that frame, route or authorise a message, or end at one hop: nobody may make ids of them. */
const reservedFields = new Set(
	(
		"host connection keep-alive proxy-connection te trailer transfer-encoding upgrade content-length content-type expect " +
		"authorization proxy-authorization cookie set-cookie forwarded via traceparent tracestate x-forwarded-for " +
		"x-forwarded-host x-forwarded-proto x-real-ip"
	).split(" "),
);

/** RFC 9110 §5.1: a token. */
const fieldName: TextRule = {
	label: "field name",
	expected: "the name of a header field",
	pattern: "[A-Za-z0-9!#$%&'*+.^_`|~-]+",
	charactersMax: 64,
	keeps: "lower",
	refuse: (value) => {
		const lower = value.toLowerCase();
		if (lower.startsWith("x-outrigger-")) return "names that begin with x-outrigger- belong to Outrigger";
		return reservedFields.has(lower) ? "this field frames, routes or authorises the message" : undefined;
	},
};

const method: TextRule = {
	label: "method",
	expected: "a method in capitals",
	pattern: "[A-Z][A-Z0-9_-]*",
	charactersMax: 32,
	refuse: (value) => (value === "CONNECT" || value === "TRACE" ? "this method is never forwarded" : undefined),
};

const routeTemplate: TextRule = {
	label: "route template",
	expected: "a route template such as /users/{id}",
	pattern: "/[^\\s?#\\x00-\\x1f\\x7f]*",
	charactersMax: 512,
	refuse: routeTemplateMistake,
};

const skipped: TextRule = {
	label: "path pattern",
	expected: "the word probes or a path pattern such as /internal/*",
	pattern: "(?:probes|/[^\\s?#\\x00-\\x1f\\x7f]*)",
	charactersMax: 1024,
};

const sink: TextRule = {
	label: "destination",
	expected: "stdout, stderr or the absolute path of a file",
	pattern: "(?:stdout|stderr|/[^\\x00]*)",
	charactersMax: 4096,
};

const hostName: TextRule = {
	label: "host",
	expected: "a host name or an address, with or without a port",
	pattern: "(?:[A-Za-z0-9_.-]+|\\[[0-9A-Fa-f:.]+\\])(?::[0-9]{1,5})?",
	charactersMax: 260,
	keeps: "lower",
};

const attributeName: TextRule = {
	label: "attribute",
	expected: "the name of an attribute",
	pattern: "[^\\s=,\\x00-\\x1f\\x7f]+",
	charactersMax: 255,
};

const attributeValue: TextRule = {
	label: "text",
	expected: "a line of text",
	pattern: "[^\\x00-\\x1f\\x7f]*",
	charactersMax: 1024,
};

/** Values that carry a token are longer than others. */
const exportFieldName: TextRule = { ...fieldName, refuse: () => undefined };
const exportFieldValue: TextRule = { ...attributeValue, charactersMax: 8192 };

const none: undefined = undefined;
const unbounded = Number.POSITIVE_INFINITY;

/** Only gives the literal its type: the kind and the value belong together. */
function key<T>(definition: Key<T>): Key<T> {
	return definition;
}

export const KEYS = Object.freeze({
	"service.name": key({
		kind: text(line),
		default: none,
		defaultNote: "the host name; in a pod, its name",
		meaning: "What the service is called in logs, traces and on the dashboard. OTEL_SERVICE_NAME says the same.",
		example: "orders",
	}),
	"service.namespace": key({
		kind: or(text(line), "none", none),
		default: "none",
		defaultNote: "none; the pod's namespace when POD_NAMESPACE holds it",
		meaning: "The namespace that makes the service's name unique.",
		example: "shop",
	}),
	"service.version": key({
		kind: or(text(line), "none", none),
		default: "none",
		meaning: "The app's version, for traces and the dashboard.",
		example: "1.4.2",
	}),

	"inbound[].name": key({
		kind: text(name),
		default: (index) => (index === 0 ? "http" : `http-${index + 1}`),
		defaultNote: "http, then http-2, http-3, …",
		meaning: "Name of the entry, for metrics and messages.",
		example: "grpc",
	}),
	"inbound[].listen": key({
		kind: listenAddress(),
		default: (index) => `:${9810 + index}`,
		defaultNote: ":9810, then :9811, :9812, …",
		meaning: "Where traffic for the app is taken. Without a host: all addresses of both families.",
		example: ":9811",
	}),
	"inbound[].app": key({
		kind: optional(targetAddress()),
		default: none,
		defaultNote: "for the first entry localhost and OUTRIGGER_APP_PORT",
		meaning: "Where the app listens. localhost means loopback first, then the pod's own address.",
		example: "localhost:3000",
	}),
	"inbound[].protocol": key({
		kind: choice("auto", "http1", "http2", "tcp"),
		default: "auto",
		meaning: "What is spoken: auto looks at the first bytes, tcp relays any bytes without looking.",
		example: "http1",
	}),

	"ops.listen": key({
		kind: listenAddress(),
		default: ":9801",
		meaning: "Where the kubelet and Prometheus ask: metrics and probes. Everything there is read only.",
		example: ":9901",
	}),
	"ops.connections": key({
		kind: integer(1, 65_535),
		default: 64,
		meaning:
			"How many connections the ops port holds at a time, without those of ops.waiters. Beyond it an old one makes room for the new.",
		example: 16,
	}),
	"ops.waiters": key({
		kind: integer(1, 1024),
		default: 64,
		meaning:
			"How many stop hooks may wait at /lifecycle/drained at a time. Beyond it the oldest of the address that has most of them makes room.",
		example: 16,
	}),
	"ops.bearerTokenFile": key({
		kind: or(text(filePath), "none", none),
		default: "none",
		meaning: "File with a token that /metrics then asks for. Probes never ask for it.",
		example: "/var/run/secrets/outrigger/token",
	}),

	"api.listen": key({
		kind: loopbackAddress(),
		default: "127.0.0.1:9802",
		meaning:
			"Where the app and the outrigger commands talk to the agent. Loopback only, because what is asked there changes things.",
		example: "unix:/run/outrigger/api.sock",
	}),
	"api.connections": key({
		kind: integer(8, 65_535),
		default: 256,
		meaning:
			"How many connections the API holds at a time. A new one replaces the one that has been idle longest; three quarters may wait for something.",
		example: 64,
	}),
	"api.hosts": key({
		kind: list(text(hostName), { itemsMax: 32, plural: "hosts" }),
		default: nothing,
		meaning: "Host names, besides localhost and loopback addresses, under which the API may be asked.",
		example: ["outrigger.local"],
	}),

	capture: key({
		kind: choice("port", "env", "none"),
		default: "port",
		meaning:
			"How the traffic comes to the agent, as the injector chose. none: there is no data path, only health, metrics and drain.",
		example: "none",
	}),
	workers: key({
		kind: integer(1, 64),
		default: 1,
		meaning: "Number of data threads. One is enough for most apps; more of them share the same ports.",
		example: 2,
	}),

	"limits.buffered": key({
		kind: or(size("1MiB", "1024GiB"), "auto", "auto" as const),
		default: "auto",
		defaultNote: "auto: a quarter of the container's memory limit, 256MiB without a limit",
		meaning:
			"Bytes that all connections together may have in memory. Beyond it the newest unfinished request is refused.",
		example: "128MiB",
	}),
	"limits.connections": key({
		kind: integer(1, 1_000_000),
		default: 20_000,
		meaning: "Connections of clients at a time. More are refused with 503.",
		example: 5000,
	}),
	"limits.inFlight": key({
		kind: or(integer(1, 10_000_000), "none", unbounded),
		default: "none",
		meaning:
			"Requests at a time. More are refused with 503. none: an app that holds thousands of streams goes on holding them.",
		example: 500,
	}),
	"limits.head": key({
		kind: size("1KiB", "1MiB"),
		default: "64KiB",
		meaning: "Largest head of a request (start line and header fields). A larger one is refused with 431.",
		example: "32KiB",
	}),
	"limits.headers": key({
		kind: integer(8, 1000),
		default: 128,
		meaning: "Most header fields of a request. More are refused with 431.",
		example: 64,
	}),
	"limits.target": key({
		kind: size("64B", "1MiB"),
		default: "16KiB",
		meaning: "Longest request target (path and query). A longer one is refused with 414.",
		example: "8KiB",
	}),
	"limits.body": key({
		kind: or(size("0B", "1024GiB"), "none", unbounded),
		default: "none",
		meaning: "Largest body of a request. A larger one is refused with 413. Routes may set their own.",
		example: "10MiB",
	}),
	"limits.pipeline": key({
		kind: integer(1, 1024),
		default: 16,
		meaning:
			"Requests that one connection may send ahead before the first is answered. Beyond it the agent stops reading.",
		example: 1,
	}),
	"limits.lingerBytes": key({
		kind: size("0B", "1GiB"),
		default: "1MiB",
		meaning: "Bytes that are read and thrown away after a refusal, so that the client receives the answer.",
		example: "4MiB",
	}),

	"timeouts.head": key({
		kind: duration("1ms", "1h"),
		default: "10s",
		meaning: "Time for a request's head to be complete. Then 408.",
		example: "5s",
	}),
	"timeouts.idle": key({
		kind: or(duration("1ms", "24h"), "none", unbounded),
		default: "620s",
		meaning:
			"How long a client's connection may be idle between requests. Longer than your load balancer's, else it meets closed connections.",
		example: "75s",
	}),
	"timeouts.bodyStall": key({
		kind: or(duration("1ms", "24h"), "none", unbounded),
		default: "30s",
		meaning: "How long a request's body may bring no byte while the agent is reading. Then 408.",
		example: "10s",
	}),
	"timeouts.connect": key({
		kind: duration("1ms", "5m"),
		default: "1s",
		meaning: "Time to connect to the app. Then 504.",
		example: "250ms",
	}),
	"timeouts.response": key({
		kind: or(duration("1ms", "24h"), "none", unbounded),
		default: "none",
		meaning:
			"Time to the first byte of the app's answer after the whole request was sent. Then 504. Routes may set their own.",
		example: "30s",
	}),
	"timeouts.appIdle": key({
		kind: duration("0s", "1h"),
		default: "1s",
		meaning: "How long a connection to the app is kept for the next request. Learned downward from what the app does.",
		example: "500ms",
	}),
	"timeouts.writeStall": key({
		kind: or(duration("1ms", "24h"), "none", unbounded),
		default: "30s",
		meaning: "How long a client may take no byte of an answer that is waiting for it. Then it is cut.",
		example: "60s",
	}),
	"timeouts.linger": key({
		kind: duration("0s", "5m"),
		default: "5s",
		meaning: "How long bytes are read and thrown away after a refusal.",
		example: "2s",
	}),

	"connections.maxAge": key({
		kind: or(duration("1s", "720h"), "none", unbounded),
		default: "none",
		meaning:
			"Age after which a client's connection is closed with its next answer, so that clients spread over new pods.",
		example: "15m",
	}),
	"connections.halfClose": key({
		kind: choice("abort", "serve"),
		default: "abort",
		meaning:
			"What a client's end of sending means while its request is served: abort it, as nginx and Envoy do, or serve the answer first.",
		example: "serve",
	}),
	"connections.source": key({
		kind: or(or(ipAddress(), "auto", "auto" as const), "none", "none" as const),
		default: "auto",
		meaning:
			"Address from which the app is called. auto: the pod's own address, so that apps that trust loopback do not trust strangers. none: what the kernel takes.",
		example: "127.0.0.6",
	}),
	"connections.proxyProtocol": key({
		kind: boolean(),
		default: false,
		meaning:
			"Whether each client's connection begins with a PROXY protocol header (v1 or v2), from which the client's address is taken.",
		example: true,
	}),

	"identity.trust": key({
		kind: boolean(),
		default: true,
		meaning:
			"Whether ids, trace context and forwarded fields that clients send are believed. Set false where the internet calls directly.",
		example: false,
	}),
	"identity.trustedHops": key({
		kind: integer(0, 32),
		default: 1,
		meaning: "How many proxies in front of this one may be believed about x-forwarded-for.",
		example: 2,
	}),
	"identity.headers": key({
		kind: list(text(fieldName), { itemsMin: 2, itemsMax: 2, plural: "field names" }),
		default: ["x-request-id", "x-correlation-id"],
		meaning: "Fields that carry the ids: first the request's, then the correlation's.",
		example: ["request-id", "x-correlation-id"],
	}),
	"identity.passOn": key({
		kind: list(text(fieldName), { itemsMax: 32, plural: "field names" }),
		default: ["x-tenant-id"],
		meaning: "Request fields that the SDK passes on to the services it calls.",
		example: ["x-tenant-id", "x-user-region"],
	}),
	"identity.forcedSamplesPerSecond": key({
		kind: integer(0, 100_000),
		default: 100,
		meaning:
			"How many traces a second clients may force by the sampled flag; more are sampled as if the flag was not there.",
		example: 10,
	}),
	"identity.via": key({
		kind: boolean(),
		default: false,
		meaning: "Whether a via field is added. Off, because some servers stop compressing for requests that carry it.",
		example: true,
	}),

	"routes.table[].path": key({
		kind: optional(text(routeTemplate)),
		default: none,
		defaultNote: "must be there",
		meaning: "Template of the path; {id} stands for one segment, {rest...} as the last one for all that follow.",
		example: "/users/{id}",
	}),
	"routes.table[].methods": key({
		kind: list(text(method), { itemsMax: 16, plural: "methods" }),
		default: nothing,
		defaultNote: "all methods",
		meaning: "Methods for which the route counts.",
		example: ["GET", "POST"],
	}),
	"routes.table[].body": key({
		kind: optional(or(size("0B", "1024GiB"), "none", unbounded)),
		default: none,
		defaultNote: "limits.body",
		meaning: "Largest body of a request on this route.",
		example: "100MiB",
	}),
	"routes.table[].response": key({
		kind: optional(or(duration("1ms", "24h"), "none", unbounded)),
		default: none,
		defaultNote: "timeouts.response",
		meaning: "Time to the first byte of the app's answer on this route.",
		example: "5m",
	}),
	"routes.openapi": key({
		kind: or(or(text(urlPath), "auto", "auto" as const), "none", "none" as const),
		default: "auto",
		meaning: "Where the app's OpenAPI document is, from which routes are learned. auto: /openapi.json, asked for once.",
		example: "/v3/api-docs",
	}),
	"routes.collapse": key({
		kind: boolean(),
		default: true,
		meaning:
			"Whether an unknown path becomes a route by replacing numbers, UUIDs and long codes with {id}. Otherwise it has no route.",
		example: false,
	}),
	"routes.maxSeries": key({
		kind: integer(10, 100_000),
		default: 2000,
		meaning: "Most series that requests may make in the metrics; what is beyond is counted as __overflow__.",
		example: 500,
	}),

	"metrics.names": key({
		kind: choice("otel", "legacy", "both"),
		default: "otel",
		meaning:
			"Names of the request metrics: OpenTelemetry's, those that many existing dashboards use (http_requests_total), or both.",
		example: "both",
	}),
	"metrics.collision": key({
		kind: choice("agent", "app", "both"),
		default: "agent",
		meaning: 'Whose metric is kept when the app has one of the same name. both: the app\'s samples carry origin="app".',
		example: "app",
	}),
	"metrics.app": key({
		kind: list(url(["http", "https"], false), { itemsMax: 16, plural: "URLs" }),
		default: nothing,
		meaning: "The app's own metrics pages, which /metrics of the agent includes.",
		example: ["http://localhost:3000/metrics"],
	}),
	"metrics.bodySizes": key({
		kind: boolean(),
		default: false,
		meaning: "Whether the histograms of request and response body sizes are kept.",
		example: true,
	}),

	"traces.exporter": key({
		kind: choice("none", "otlp"),
		default: "none",
		defaultNote: "none; otlp as soon as there is an endpoint",
		meaning: "Whether spans are sent, by OTLP over HTTP.",
		example: "otlp",
	}),
	"traces.endpoint": key({
		kind: or(url(["http", "https"], false), "none", none),
		default: "none",
		meaning: "Base address of the collector; /v1/traces is added to it. OTEL_EXPORTER_OTLP_ENDPOINT says the same.",
		example: "http://collector.monitoring:4318",
	}),
	"traces.headers": key<Pairs>({
		kind: pairs(exportFieldName, exportFieldValue, 32),
		default: "none",
		meaning:
			"Header fields of each export, for a collector that wants a token. OTEL_EXPORTER_OTLP_HEADERS says the same.",
		example: { authorization: "Bearer …" },
		secret: true,
	}),
	"traces.resourceAttributes": key<Pairs>({
		kind: pairs(attributeName, attributeValue, 128),
		default: "none",
		meaning: "Attributes that every span carries about the service. OTEL_RESOURCE_ATTRIBUTES says the same.",
		example: { "deployment.environment.name": "staging" },
	}),
	"traces.sample": key({
		kind: number(0, 1),
		default: 0.05,
		meaning: "Share of the traces that begin here and are sent. A caller's decision is followed.",
		example: 0.5,
	}),
	"traces.keepErrors": key({
		kind: boolean(),
		default: true,
		meaning: "Whether spans of failed requests are sent although their trace is not sampled.",
		example: false,
	}),
	"traces.keepSlowerThan": key({
		kind: or(duration("1ms", "24h"), "none", unbounded),
		default: "1s",
		meaning: "Spans of requests that took longer are sent although their trace is not sampled.",
		example: "250ms",
	}),
	"traces.queue": key({
		kind: integer(1, 1_000_000),
		default: 2048,
		meaning: "Spans that may wait to be sent. More are dropped and counted.",
		example: 8192,
	}),

	"log.level": key({
		kind: choice("trace", "debug", "info", "warn", "error", "fatal", "silent"),
		default: "info",
		meaning: "Least important messages that the agent writes. Access lines have their own switch.",
		example: "warn",
	}),
	"log.access": key({
		kind: boolean(),
		default: true,
		meaning: "Whether there is one line for each request.",
		example: false,
	}),
	"log.accessSample": key({
		kind: number(0, 1),
		default: 1,
		meaning: "Share of the successful requests that get a line; failed ones always do.",
		example: 0.1,
	}),
	"log.skip": key({
		kind: list(text(skipped), { itemsMax: 64, plural: "entries" }),
		default: ["probes"],
		meaning: "Requests without an access line: probes, or paths by pattern.",
		example: ["probes", "/internal/*"],
	}),
	"log.fieldBytes": key({
		kind: size("16B", "64KiB"),
		default: "1KiB",
		meaning: "Longest value in a line, in bytes; a longer one is cut.",
		example: "256B",
	}),
	"log.redact": key({
		kind: list(text(pathPattern), { itemsMax: 64, plural: "path patterns" }),
		default: nothing,
		meaning: "Paths that are written as [redacted], because they hold what nobody should read.",
		example: ["/reset-password/*"],
	}),
	"log.query": key({
		kind: boolean(),
		default: false,
		meaning: "Whether the query is in the access line. Off, because queries hold secrets more often than one thinks.",
		example: true,
	}),
	"log.destination": key({
		kind: text(sink),
		default: "stdout",
		meaning: "Where lines are written.",
		example: "/var/log/outrigger.log",
	}),
	"log.buffer": key({
		kind: size("4KiB", "1GiB"),
		default: "1MiB",
		meaning:
			"Bytes of lines that may wait when the destination is slow. More are dropped and counted; traffic never waits.",
		example: "4MiB",
	}),

	"health.app.http": key({
		kind: or(or(text(healthPage), "auto", "auto" as const), "none", "none" as const),
		default: "auto",
		meaning:
			"Page that is asked for the app's health: a path on the app's first port, or a URL. auto: /health, unless the answer is 4xx or no HTTP; then only whether the port accepts. none: the port only.",
		example: "/healthz",
	}),
	"health.app.grpc": key({
		kind: or(text(grpcService), "none", "none" as const),
		default: "none",
		meaning:
			"Service whose health is asked for by grpc.health.v1 on the app's first port, in place of health.app.http. *: the server as a whole.",
		example: "shop.Orders",
	}),
	"health.app.interval": key({
		kind: duration("100ms", "1h"),
		default: "5s",
		meaning: "Time between two checks of the app.",
		example: "10s",
	}),
	"health.app.timeout": key({
		kind: duration("1ms", "5m"),
		default: "1s",
		meaning: "Time for one check of the app; not longer than the interval.",
		example: "3s",
	}),
	"health.app.fall": key({
		kind: integer(1, 100),
		default: 3,
		meaning: "Failed checks in a row after which the app counts as unhealthy.",
		example: 1,
	}),
	"health.app.rise": key({
		kind: integer(1, 100),
		default: 1,
		meaning: "Good checks in a row after which the app counts as healthy again.",
		example: 2,
	}),
	"health.app.critical": key({
		kind: boolean(),
		default: true,
		meaning:
			"Whether the pod is not ready while the app's check fails; otherwise that is only a warning. A port that refuses always makes it not ready.",
		example: false,
	}),
	"health.checks[].name": key({
		kind: optional(text(name)),
		default: none,
		defaultNote: "must be there",
		meaning: "Name of the check in health and metrics.",
		example: "database",
	}),
	"health.checks[].url": key({
		kind: optional(url(["http", "https", "tcp", "grpc"], true)),
		default: none,
		defaultNote: "must be there",
		meaning:
			"What is checked: a page that answers 2xx or 3xx, a port that accepts, or grpc.health.v1 of a service (without a path: of the whole server).",
		example: "tcp://localhost:5432",
	}),
	"health.checks[].interval": key({
		kind: duration("100ms", "1h"),
		default: "5s",
		meaning: "Time between two checks.",
		example: "30s",
	}),
	"health.checks[].timeout": key({
		kind: duration("1ms", "5m"),
		default: "1s",
		meaning: "Time for one check; not longer than the interval.",
		example: "3s",
	}),
	"health.checks[].fall": key({
		kind: integer(1, 100),
		default: 3,
		meaning: "Failed checks in a row after which it counts as failed.",
		example: 1,
	}),
	"health.checks[].rise": key({
		kind: integer(1, 100),
		default: 1,
		meaning: "Good checks in a row after which it counts as good again.",
		example: 2,
	}),
	"health.checks[].critical": key({
		kind: boolean(),
		default: false,
		meaning: "Whether the pod is not ready while this fails; otherwise it is only a warning. It never fails liveness.",
		example: true,
	}),

	"health.reports": key({
		kind: integer(0, 10_000),
		default: 256,
		meaning: "How many contributors the app may push to health's tree. More are refused.",
		example: 32,
	}),

	"drain.grace": key({
		kind: duration("2s", "24h"),
		default: "30s",
		meaning: "The pod's terminationGracePeriodSeconds. The injector sets it; all parts of the drain fit into it.",
		example: "60s",
	}),
	"drain.announceMin": key({
		kind: duration("0s", "1h"),
		default: "5s",
		meaning:
			"How long the agent at least says that it is leaving while it serves as before. As long as your load balancer needs to notice.",
		example: "15s",
	}),
	"drain.quietMin": key({
		kind: duration("0s", "10m"),
		default: "1s",
		meaning: "Shortest time without a request after which nobody is believed to come any more.",
		example: "2s",
	}),
	"drain.quietMax": key({
		kind: duration("0s", "10m"),
		default: "10s",
		meaning:
			"Longest time without a request that is waited for; in between it is three times the recent gap between requests.",
		example: "5s",
	}),
	"drain.streams": key({
		kind: duration("0s", "24h"),
		default: "10s",
		meaning: "How long event streams are left alone, from the beginning of the drain, before they are closed.",
		example: "30s",
	}),
	"drain.leases": key({
		kind: integer(1, 10_000),
		default: 64,
		meaning:
			"How many leases the app may hold at a time. A drain waits for each until it is released or its time to live is over.",
		example: 8,
	}),
	"drain.startWithin": key({
		kind: duration("100ms", "10m"),
		default: "5s",
		meaning:
			"How long the app's stop hook waits for the pod's drain to begin. If none begins, this container alone is being restarted.",
		example: "10s",
	}),
	"drain.appStop": key({
		kind: duration("0s", "24h"),
		default: "10s",
		meaning: "Part of the grace period that the app has to itself after its SIGTERM; at most a third of it.",
		example: "5s",
	}),
	"drain.agentStop": key({
		kind: duration("0s", "1h"),
		default: "2s",
		meaning: "Part of the grace period in which the agent sends its last spans and lines.",
		example: "3s",
	}),
	"drain.sigterm": key({
		kind: choice("drain", "stop"),
		default: "drain",
		meaning: "What SIGTERM means. The injector sets stop, because a native sidecar gets it when the app is gone.",
		example: "stop",
	}),
	"drain.report": key({
		kind: or(text(filePath), "none", "none" as const),
		default: "/dev/termination-log",
		meaning: "File that receives the drain report, which Kubernetes keeps as the container's termination message.",
		example: "none",
	}),

	"probes.agents": key({
		kind: list(text({ ...line, label: "user agent", expected: "the beginning of a user agent" }), {
			itemsMax: 64,
			plural: "user agents",
		}),
		default: ["kube-probe", "ELB-HealthChecker", "GoogleHC"],
		meaning: "Beginnings of user-agent by which probes are known. Probes are never refused and never hold a drain.",
		example: ["kube-probe", "Consul Health Check"],
	}),
	"probes.paths": key({
		kind: list(text(urlPath), { itemsMax: 64, plural: "paths" }),
		default: nothing,
		meaning: "Paths that only probes ask for.",
		example: ["/health"],
	}),
	"probes.timeout": key({
		kind: duration("100ms", "5m"),
		default: "5s",
		meaning:
			"The longest that a probe of the pod may take. A connection to the app's own port that is there for longer is no probe but traffic that comes past the agent.",
		example: "15s",
	}),
});

/** A key's path with `[]` for an index: `inbound[].listen`. */
export type KeyPath = keyof typeof KEYS;

/** What a key's value is after reading. */
export type ValueOf<P extends KeyPath> = (typeof KEYS)[P] extends Key<infer T> ? T : never;

/** All paths, in the order of the documentation. */
export const KEY_PATHS: readonly KeyPath[] = Object.freeze(Object.keys(KEYS) as KeyPath[]); // the literal's own keys

/** The key of a path, when its kind's type does not matter. */
export function keyOf(path: KeyPath): Key<unknown> {
	return KEYS[path] as Key<unknown>; // reads only: a Kind<T> given unknown writes what it has itself read
}

/** The default of a key as it would be written; for an item, the one at its index. */
export function defaultOf(path: KeyPath, index = 0): Written | undefined {
	const { default: given } = keyOf(path);
	return typeof given === "function" ? given(index) : given;
}
