import { humanTime } from "../foundation/human-time.ts";
import type { JsonObject } from "../foundation/json-object.ts";
import { type Paint, type Style, wrap } from "./output.ts";
import { count, list, momentOf, object, word } from "./read-answer.ts";

/** What `outrigger status` shows: answers of the agent in, text out. The agent may be older or newer than the command: what is missing is left out. */
export interface Status {
	/** `Agent/GetInfo`. */
	readonly info: JsonObject;
	/** `Health/Get`. */
	readonly health: JsonObject;
}

export interface ViewOptions {
	readonly paint: Paint;
	/** Of the terminal; `undefined` when it is none. */
	readonly columns: number | undefined;
	/** Wall clock, ms. */
	readonly nowMs: number;
}

/** Words as wide as a label of the first column. */
const LABEL = 12;
const WIDTH = 100;
/** Deeper than any tree of the agent. */
const DEPTH_MAX = 8;

export function renderStatus({ info, health }: Status, options: ViewOptions): string {
	const rows: (readonly [label: string, text: string])[] = [
		["state", stateText(info, options)],
		["service", serviceText(info)],
		["agent", agentText(info, options)],
		["addresses", addressesText(info)],
		...list(info["apps"]).map((app) => ["app", appText(app, options)] as const),
		["traffic", trafficText(info)],
		["connections", connectionsText(info, options)],
		...list(info["leases"]).map((lease) => ["lease", leaseText(lease, options)] as const),
		...drainRows(info, options),
	];
	const lines = rows.filter(([, text]) => text !== "").map(([label, text]) => row(label, text, options));
	return `${[...lines, "", ...healthLines(health, options)].join("\n")}\n`;
}

function row(label: string, text: string, { paint, columns }: ViewOptions): string {
	const indent = " ".repeat(LABEL + 2);
	// Colours have no width, and a wrapped line is counted without them: rows with colour are short.
	const body = text.includes("\u001b") ? indent + text : wrap(text, Math.max(columns ?? WIDTH, 40), indent);
	return `${paint("bold", label.padEnd(LABEL))}  ${body.slice(indent.length)}`;
}

function stateText(info: JsonObject, { paint, nowMs }: ViewOptions): string {
	const state = word(info["state"]);
	const style: Style = state === "ready" ? "good" : state === "unready" || state === "starting" ? "bad" : "warn";
	const why = word(info["why"]);
	return `${paint(style, state)}${lasting(info["stateSince"], nowMs, ", for ")}${why === "" ? "" : `: ${why}`}`;
}

function serviceText({ service }: JsonObject): string {
	const { name, namespace, version } = object(service);
	const of = [word(name), word(version)].filter((text) => text !== "").join(" ");
	return word(namespace) === "" ? of : `${of} in ${word(namespace)}`;
}

function agentText(info: JsonObject, { nowMs }: ViewOptions): string {
	const pid = word(info["pid"]);
	return [
		`outrigger ${word(info["version"])} (revision ${word(info["revision"])}, Node.js ${word(info["node"])})`,
		pid === "" ? "" : `pid ${pid}`,
		lasting(info["startedAt"], nowMs, "started ", " ago"),
		`epoch ${word(info["epoch"])}`,
	]
		.filter((text) => text !== "")
		.join(", ");
}

function addressesText({ addresses }: JsonObject): string {
	const { inbound, ops, api } = object(addresses);
	return [
		...list(inbound).map((address) => `in ${word(address)}`),
		...(word(ops) === "" ? [] : [`ops ${word(ops)}`]),
		...(word(api) === "" ? [] : [`api ${word(api)}`]),
	].join(", ");
}

function appText(app: unknown, { paint }: ViewOptions): string {
	const { name, address, state, lastError } = object(app);
	const text = word(state);
	const where = word(address) === "" ? "not found yet" : `at ${word(address)}`;
	const style: Style = text === "accepts" ? "good" : text === "refuses" ? "bad" : "warn";
	return `${word(name)} ${where}: ${paint(style, text)}${word(lastError) === "" ? "" : ` (${word(lastError)})`}`;
}

function trafficText(info: JsonObject): string {
	return [
		counted(info["inFlight"], "exchange in flight", "exchanges in flight"),
		counted(info["streams"], "event stream", "event streams"),
		counted(info["tunnels"], "tunnel", "tunnels"),
	].join(", ");
}

function connectionsText({ connections, bypass }: JsonObject, { paint }: ViewOptions): string {
	const { downstream, upstream } = object(connections);
	const past = `${count(bypass)} past the agent`;
	return `${count(downstream)} from clients, ${count(upstream)} to the app, ${count(bypass) > 0 ? paint("warn", past) : past}`;
}

function leaseText(lease: unknown, { nowMs }: ViewOptions): string {
	const { id, name, expires } = object(lease);
	return `${word(name)}, ends in ${humanTime(momentOf(expires) - nowMs)} unless it is renewed (${word(id)})`;
}

function drainRows(info: JsonObject, { nowMs }: ViewOptions): readonly (readonly [string, string])[] {
	const rows: (readonly [string, string])[] = [];
	if (info["drain"] !== undefined) {
		const { startedBy, reason, phase, deadline, waitingFor } = object(info["drain"]);
		const why = word(reason) === "" ? "" : ` (${word(reason)})`;
		rows.push([
			"drain",
			`${word(phase)}, begun by ${word(startedBy)}${why}, over within ${humanTime(momentOf(deadline) - nowMs)}`,
		]);
		for (const [index, what] of list(waitingFor).entries()) rows.push([index === 0 ? "waits for" : "", word(what)]);
	}
	if (info["report"] !== undefined) rows.push(["last drain", word(object(info["report"])["summary"])]);
	return rows;
}

const HEALTH_STYLES: Readonly<Record<string, Style>> = { pass: "good", warn: "warn", fail: "bad", unknown: "warn" };

function healthLines(health: JsonObject, options: ViewOptions): readonly string[] {
	const { paint } = options;
	const says = [
		health["ready"] === false ? `not ready: ${word(health["whyNotReady"])}` : "",
		health["live"] === false ? `not live: ${word(health["whyNotLive"])}` : "",
	].filter((text) => text !== "");
	const status = word(health["status"]);
	const head = `${paint("bold", "health".padEnd(LABEL))}  ${painted(paint, status)}${says.length === 0 ? "" : ` (${says.join(", ")})`}`;
	return [head, ...contributorLines(health["contributors"], 1, options)];
}

function painted(paint: Paint, status: string): string {
	const style = Object.hasOwn(HEALTH_STYLES, status) ? HEALTH_STYLES[status] : undefined;
	return style === undefined ? status : paint(style, status);
}

function contributorLines(contributors: unknown, depth: number, options: ViewOptions): readonly string[] {
	if (depth > DEPTH_MAX) return [];
	return list(contributors).flatMap((contributor) => {
		const { name, status, critical, since, reason, detail, advice, contributors: below } = object(contributor);
		const isGroup = depth === 1;
		if (isGroup && list(below).length === 0) return []; // nothing was asked to look at this
		const { paint, columns, nowMs } = options;
		const indent = "  ".repeat(depth);
		const notes = [
			lasting(since, nowMs, "for "),
			word(reason),
			...(isGroup || critical === true ? [] : ["not critical"]),
		].filter((text) => text !== "");
		const head = `${indent}${word(name).padEnd(Math.max(1, 24 - indent.length))}  ${painted(paint, word(status))}`;
		const said = (label: string, text: unknown): readonly string[] =>
			word(text) === "" ? [] : [wrap(`${label}${word(text)}`, Math.max(columns ?? WIDTH, 40), `${indent}    `)];
		return [
			isGroup ? head : `${head}  ${paint("dim", notes.join(", "))}`,
			...said("", detail),
			...said("advice: ", advice),
			...contributorLines(below, depth + 1, options),
		];
	});
}

function lasting(since: unknown, nowMs: number, before: string, after = ""): string {
	const sinceMs = momentOf(since);
	return Number.isNaN(sinceMs) ? "" : `${before}${humanTime(nowMs - sinceMs)}${after}`;
}

function counted(value: unknown, one: string, many: string): string {
	return `${count(value)} ${count(value) === 1 ? one : many}`;
}
