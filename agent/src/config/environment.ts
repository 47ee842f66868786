import { didYouMean } from "./did-you-mean.ts";
import { findVariable, variableOf, variablePrefix } from "./key-tree.ts";
import { KEY_PATHS, keyOf } from "./keys.ts";
import { type Assignment, asText, isListKey, type Layer } from "./layer.ts";
import { type Problem, quote } from "./problems.ts";

/** Environment → assignments. Everything that begins with `OUTRIGGER_` must be known. */

export type Env = Readonly<Record<string, string | undefined>>;

/** Variables that begin with our prefix and are no keys; each says what it is. */
export const OUTSIDE_VARIABLES: Readonly<Record<string, string>> = Object.freeze({
	OUTRIGGER_APP_PORT: "The app's port on localhost: all that an agent needs to be told.",
	OUTRIGGER_CONFIG: "Path of the configuration file, when --config does not say it.",
	OUTRIGGER_AGENT_URL: "Where apps and SDKs find the agent's API. The agent itself does not read it.",
	OUTRIGGER_CORPORA: "Where Outrigger's own tests find message corpora. The agent itself does not read it.",
});

/**
 * What Kubernetes makes in every pod for a Service whose name begins with `outrigger` (Docker links too):
 * `OUTRIGGER_SERVICE_HOST`, `OUTRIGGER_WEBHOOK_SERVICE_PORT_HTTPS`, `OUTRIGGER_PORT_443_TCP_ADDR`, and `OUTRIGGER_PORT` with an URL.
 */
const serviceLinks: readonly RegExp[] = [
	/^OUTRIGGER(?:_[A-Z0-9_]+)?_SERVICE_HOST$/,
	/^OUTRIGGER(?:_[A-Z0-9_]+)?_SERVICE_PORT(?:_[A-Z0-9_]+)?$/,
	/^OUTRIGGER(?:_[A-Z0-9_]+)?_PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?$/,
];
const serviceLinkUrlName = /^OUTRIGGER(?:_[A-Z0-9_]+)?_PORT$/;
const serviceLinkUrl = /^(?:tcp|udp|sctp):\/\//;

/** Whether Kubernetes has made the variable, and not a person. */
export function isServiceLink(name: string, value: string): boolean {
	return (
		serviceLinks.some((pattern) => pattern.test(name)) || (serviceLinkUrlName.test(name) && serviceLinkUrl.test(value))
	);
}

/** An empty variable counts as not set, as OpenTelemetry's do; for an empty list there is the word none. */
export function readEnvironment(env: Env): Layer {
	const assignments: Assignment[] = [];
	const problems: Problem[] = [];
	for (const name of Object.keys(env).sort()) {
		const value = env[name];
		if (!name.startsWith(variablePrefix) || value === undefined || value === "") continue;
		if (isServiceLink(name, value) || Object.hasOwn(OUTSIDE_VARIABLES, name)) continue;
		const found = findVariable(name, isListKey);
		if (found?.type === "key") {
			const { path, concrete, itemIndex } = found;
			const input = { form: "text", place: { kind: "variable", name }, text: value } as const;
			assignments.push({ path, concrete, input, ...(itemIndex === undefined ? {} : { itemIndex }) });
		} else problems.push(found === undefined ? unknownVariable(name) : sectionVariable(name));
	}
	const port = readAppPort(env, problems);
	// The more exact variable wins over the short one.
	if (port !== undefined && !assignments.some(({ concrete }) => concrete === port.concrete)) assignments.push(port);
	return { assignments, lists: [], problems, warnings: [], isWhole: true };
}

const appPortName = "OUTRIGGER_APP_PORT";

function readAppPort(env: Env, problems: Problem[]): Assignment | undefined {
	const value = env[appPortName];
	// A Service called outrigger-app makes OUTRIGGER_APP_PORT=tcp://10.0.0.1:80 in every pod of its namespace.
	if (value === undefined || value === "" || isServiceLink(appPortName, value)) return undefined;
	const place = { kind: "variable", name: appPortName } as const;
	if (/^[0-9]{1,5}$/.test(value) && Number(value) >= 1 && Number(value) <= 65_535) {
		const input = { form: "text", place, text: `localhost:${Number(value)}` } as const;
		return { path: "inbound[].app", concrete: "inbound.0.app", input };
	}
	problems.push({
		kind: /^[0-9]+$/.test(value) ? "out_of_bounds" : "wrong_type",
		place,
		message: `this is not a port (found ${quote(value)})`,
		expected: "the number of the app's port, from 1 to 65535",
		example: `${appPortName}=3000`,
	});
	return undefined;
}

function unknownVariable(name: string): Problem {
	const index = /__([0-9]{1,4})(?=__|$)/.exec(name)?.[1] ?? "0";
	const known = KEY_PATHS.map((path) => variableOf(path.replaceAll("[]", `.${index}`)));
	const suggestion = didYouMean(name, [...known, ...Object.keys(OUTSIDE_VARIABLES)]);
	const path = KEY_PATHS[known.indexOf(suggestion ?? "")];
	return {
		kind: "unknown_key",
		place: { kind: "variable", name },
		message: "there is no key for this variable",
		expected: "a key's path in capitals with __ between its levels; `outrigger config env` lists all",
		...(suggestion === undefined ? {} : { suggestion }),
		...(suggestion === undefined || path === undefined
			? {}
			: { example: `${suggestion}=${asText(keyOf(path).example)}` }),
	};
}

function sectionVariable(name: string): Problem {
	const prefix = `${name}__`;
	const path = KEY_PATHS.find((each) => variableOf(each).startsWith(prefix));
	return {
		kind: "wrong_type",
		place: { kind: "variable", name },
		message: "this holds other keys and has no value of its own",
		expected: `variables that begin with ${prefix}`,
		...(path === undefined ? {} : { example: `${variableOf(path)}=${asText(keyOf(path).example)}` }),
	};
}
