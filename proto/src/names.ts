/**
 * Every header, variable, port and path that two of our packages share, told once.
 *
 * What only one package uses does not belong here: the agent's configuration keys are in the agent, the annotations of
 * pods in `@outrigger/k8s`. These names are promises to users: one that has been released is never given another meaning.
 */

/** TCP ports. The kubelet and Prometheus know `ops`, the application knows `api`, the Service's targetPort is `inbound`. */
export const PORTS = Object.freeze({
	/** Read only, on all addresses: metrics, probes, `drained`. */
	ops: 9801,
	/** Loopback only: the contract, the dashboard, everything that changes something. */
	api: 9802,
	/** The first captured application port; further ones count up from here. */
	inbound: 9810,
} as const);

/** Header field names, in the lower case that HTTP/2 demands and HTTP/1.1 does not mind (RFC 9110 §5.1). */
export const HEADERS = Object.freeze({
	/** One per request. 1 to 128 characters of `A-Z a-z 0-9 . _ : + / = -`, or a new UUIDv7 takes its place. */
	requestId: "x-request-id",
	/** One per whole conversation between services; the same alphabet and length as the request id. */
	correlationId: "x-correlation-id",
	/** W3C Trace Context level 2, §3.2. */
	traceparent: "traceparent",
	/** W3C Trace Context level 2, §3.3. */
	tracestate: "tracestate",
	/** W3C Baggage §3. */
	baggage: "baggage",
	/** On an answer that the agent itself has made: the reason, a heading of `docs/errors.md`. Never on the app's answers. */
	error: "x-outrigger-error",
	/** Set by the app on its response: the route template (`/users/{id}`) for metrics. The agent removes it. */
	route: "x-outrigger-route",
} as const);

/** What all our own header fields begin with. Clients and apps cannot send such fields through the agent. */
export const OWN_HEADER_PREFIX = "x-outrigger-";

/** Environment variables that stand outside the configuration tree. */
export const VARIABLES = Object.freeze({
	/** The port the application listens on. For most users the only thing to set. */
	appPort: "OUTRIGGER_APP_PORT",
	/** Where the application finds its agent's contract; unset means that there is no agent. */
	agentUrl: "OUTRIGGER_AGENT_URL",
	/** Path of the agent's configuration file. */
	config: "OUTRIGGER_CONFIG",
} as const);

/** What the agent's other variables begin with: `timeouts.bodyStall` is `OUTRIGGER_TIMEOUTS__BODY_STALL`. */
export const VARIABLE_PREFIX = "OUTRIGGER_";

/** The configuration file that is read when neither a flag nor {@link VARIABLES.config} names one. It need not exist. */
export const CONFIG_PATH = "/etc/outrigger/outrigger.yaml";

/** Where the application finds its agent when {@link VARIABLES.agentUrl} says only that there is one. */
export const DEFAULT_AGENT_URL = `http://127.0.0.1:${PORTS.api}`;

/** Paths on the ops port. All are GET, none changes anything. */
export const OPS_PATHS = Object.freeze({
	/** Prometheus text 0.0.4 or OpenMetrics 1.0, by `Accept`. */
	metrics: "/metrics",
	/** 200 while the agent itself turns. */
	livez: "/livez",
	/** 200 while traffic should come here. */
	readyz: "/readyz",
	/** 200 as soon as the agent itself has started; never waits for the app. */
	startupz: "/startupz",
	/** The path that many existing services have; answers as `livez`. */
	health: "/health",
	/** The path that many existing services have; answers as `readyz`. */
	readiness: "/readiness",
	/** Waits until the drain is over; a container's preStop hook calls it. */
	drained: "/lifecycle/drained",
} as const);

/** Methods on the API port, as paths (Connect: `/package.Service/Method`). All are POST with JSON. */
export const API_METHODS = Object.freeze({
	/** Begins the drain or joins it; with `wait` answers when it is over. */
	drain: "/outrigger.v1.Lifecycle/Drain",
	/** The app takes traffic, as far as it is concerned. */
	ready: "/outrigger.v1.Lifecycle/Ready",
	/** The app wants no traffic until it says `ready`. */
	notReady: "/outrigger.v1.Lifecycle/NotReady",
	/** Holds up a drain for a time to live, or renews that. */
	holdLease: "/outrigger.v1.Lifecycle/HoldLease",
	releaseLease: "/outrigger.v1.Lifecycle/ReleaseLease",
	/** What the app says of its parts, each for a time to live. */
	reportHealth: "/outrigger.v1.Health/Report",
	/** The whole tree, with causes, details and advice. */
	getHealth: "/outrigger.v1.Health/Get",
	getInfo: "/outrigger.v1.Agent/GetInfo",
	/** The last exchanges, newest first. */
	listExchanges: "/outrigger.v1.Agent/ListExchanges",
	/** The exchanges with a request, correlation or trace id, each with an explanation. */
	why: "/outrigger.v1.Agent/Why",
} as const);
