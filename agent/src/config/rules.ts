import { isDeepStrictEqual } from "node:util";
import { isLoopback, listenersClash, renderAddress } from "./address.ts";
import type { Effective } from "./effective.ts";
import { concretePath, variableOf } from "./key-tree.ts";
import { defaultOf, type KeyPath, keyOf, type ObjectListPath } from "./keys.ts";
import { asText, exampleFor } from "./layer.ts";
import type { Place, Problem } from "./problems.ts";
import { routeShape } from "./route-template.ts";
import type { Address } from "./settings.ts";
import { renderDuration, renderSize } from "./units.ts";

/** What no key can see alone: values that are each right and do not fit together. */

/** Who asks: `agent` must know the app's port, `run` finds it, `check` only says what will be needed. */
export type AppRule = "required" | "found_later" | "advised";

type Report = (problem: Problem) => void;

/** Each rule looks only at values that could be read: one mistake is told once. */
export function checkRules(values: Effective, app: AppRule): void {
	const report: Report = (problem) => values.problems.push(problem);
	checkApps(values, app, report);
	checkListeners(values, report);
	checkCapture(values, report);
	checkNames(values, report);
	checkRoutes(values, report);
	checkTimes(values, report);
	checkHealth(values, report);
	checkDrain(values, report);
	checkLimits(values, report);
	checkTraces(values, report);
	warnAboutIdleKeys(values);
}

/** The place of the first of these keys that somebody has set, so that the problem is told where it can be mended. */
function blamed(values: Effective, paths: readonly KeyPath[], index = 0): Place {
	const path = paths.find((each) => values.isGiven(each, index)) ?? paths[0];
	return path === undefined ? { kind: "default" } : values.placeOf(path, index);
}

function allSound(values: Effective, ...paths: readonly KeyPath[]): boolean {
	return paths.every((path) => values.isSound(path));
}

function indexes(count: number): readonly number[] {
	return Array.from({ length: count }, (_, index) => index);
}

function checkApps(values: Effective, app: AppRule, report: Report): void {
	if (app === "found_later" || !values.isWhole || !allSound(values, "capture")) return;
	if (values.problems.some(({ place }) => place.kind === "variable" && place.name === "OUTRIGGER_APP_PORT")) return;
	const isCaptured = values.get("capture") !== "none";
	if (!isCaptured) return;
	if (values.count("inbound") === 0) {
		report({
			kind: "missing",
			place: values.listPlace("inbound"),
			key: "inbound",
			message: "the list is empty, so there is nothing to do",
			expected: "at least one entry, or capture: none",
			example: "inbound: [{ app: localhost:3000 }]",
		});
	}
	for (const index of indexes(values.count("inbound"))) {
		if (!values.isSound("inbound[].app", index) || values.get("inbound[].app", index) !== undefined) continue;
		const problem: Problem = {
			kind: "missing",
			place: index === 0 ? { kind: "variable", name: "OUTRIGGER_APP_PORT" } : values.entryPlace("inbound", index),
			key: concretePath("inbound[].app", index),
			message: "nobody has said where the app listens",
			expected: `${keyOf("inbound[].app").kind.expected}, or capture: none`,
			example: index === 0 ? "OUTRIGGER_APP_PORT=3000" : "app: localhost:3000",
		};
		if (app === "advised" && index === 0 && !values.isGiven("inbound[].listen", 0)) values.warnings.push(problem);
		else report(problem);
	}
}

interface Listener {
	readonly path: KeyPath;
	readonly index: number;
	readonly address: Address;
}

function listeners(values: Effective): readonly Listener[] {
	const rows: { readonly path: KeyPath; readonly index: number; readonly address: Address }[] = [];
	if (values.get("capture") !== "none") {
		for (const index of indexes(values.count("inbound"))) {
			if (values.isSound("inbound[].listen", index))
				rows.push({ path: "inbound[].listen", index, address: values.get("inbound[].listen", index) });
		}
	}
	for (const path of ["ops.listen", "api.listen"] as const) {
		if (values.isSound(path)) rows.push({ path, index: 0, address: values.get(path) });
	}
	return rows;
}

function checkListeners(values: Effective, report: Report): void {
	const rows = listeners(values);
	for (const [position, one] of rows.entries()) {
		for (const other of rows.slice(position + 1)) {
			if (!listenersClash(one.address, other.address)) continue;
			// Told at the one that somebody has set: of two, the later.
			const [at, taken] =
				values.isGiven(other.path, other.index) || !values.isGiven(one.path, one.index) ? [other, one] : [one, other];
			report({
				kind: "conflict",
				place: values.placeOf(at.path, at.index),
				key: concretePath(at.path, at.index),
				message: `${renderAddress(at.address)} is taken by ${concretePath(taken.path, taken.index)} (${renderAddress(taken.address)})`,
				expected: "each listener has a port of its own",
				example: exampleFor(values.placeOf(at.path, at.index), concretePath(at.path, at.index), keyOf(at.path).example),
			});
		}
	}
	for (const index of indexes(values.count("inbound"))) {
		const app = values.isSound("inbound[].app", index) ? values.get("inbound[].app", index) : undefined;
		const own = app === undefined ? undefined : rows.find(({ address }) => leadsTo(app, address));
		if (app === undefined || own === undefined) continue;
		report({
			kind: "conflict",
			place: values.placeOf("inbound[].app", index),
			key: concretePath("inbound[].app", index),
			message: `at ${renderAddress(app)} listens the agent itself (${concretePath(own.path, own.index)}), so it would call itself`,
			expected: "the port on which the app listens",
			example: exampleFor(values.placeOf("inbound[].app", index), "app", "localhost:3000"),
		});
	}
	if (!values.isSound("workers") || values.get("workers") === 1) return;
	for (const { path, index, address } of rows) {
		if (path !== "inbound[].listen" || (address.kind === "tcp" && address.port !== 0)) continue;
		report({
			kind: "conflict",
			place: blamed(values, ["workers"]),
			key: "workers",
			message: `several data threads cannot share ${concretePath(path, index)} (${renderAddress(address)})`,
			expected: "a fixed TCP port, or workers: 1",
			example: "workers: 1",
		});
	}
}

/** Whether calling the one reaches the other, as far as one can tell without asking the network. */
function leadsTo(app: Address, own: Address): boolean {
	if (app.kind === "unix" || own.kind === "unix") return listenersClash(app, own);
	return isLoopback(app) && listenersClash(app, own);
}

function checkCapture(values: Effective, report: Report): void {
	if (!values.isSound("capture") || values.get("capture") !== "none") return;
	for (const index of indexes(values.count("inbound"))) {
		for (const path of ["inbound[].listen", "inbound[].protocol"] as const) {
			if (!values.isGiven(path, index)) continue;
			report({
				kind: "conflict",
				place: values.placeOf(path, index),
				key: concretePath(path, index),
				message: "with capture: none nothing is listened on for traffic",
				expected: "an entry with app only, or capture: port",
				example: "inbound: [{ app: localhost:3000 }]",
			});
		}
	}
}

function checkNames(values: Effective, report: Report): void {
	for (const [list, path] of [
		["inbound", "inbound[].name"],
		["health.checks", "health.checks[].name"],
	] as const) {
		const seen = new Map<string, number>();
		for (const index of indexes(values.count(list))) {
			const name = values.isSound(path, index) ? values.get(path, index) : undefined;
			if (name === undefined) continue;
			const earlier = seen.get(name);
			if (earlier === undefined) seen.set(name, index);
			else {
				report({
					kind: "duplicate",
					place: values.placeOf(path, index),
					key: concretePath(path, index),
					message: `${concretePath(path, earlier)} is also ${JSON.stringify(name)}`,
					expected: "a name for each",
					example: exampleFor(values.placeOf(path, index), "name", `${name}-${index + 1}`),
				});
			}
		}
	}
	for (const index of indexes(values.count("health.checks"))) {
		needed(values, "health.checks", "health.checks[].name", index, report);
		needed(values, "health.checks", "health.checks[].url", index, report);
	}
}

function needed(values: Effective, list: ObjectListPath, path: KeyPath, index: number, report: Report): void {
	if (!values.isSound(path, index) || values.get(path, index) !== undefined) return;
	const place = values.entryPlace(list, index);
	const { kind, example } = keyOf(path);
	report({
		kind: "missing",
		place,
		key: concretePath(path, index),
		message: "this must be there",
		expected: kind.expected,
		example:
			place.kind === "variable"
				? `${variableOf(concretePath(path, index))}=${asText(example)}`
				: exampleFor(place, concretePath(path, index), example),
	});
}

function checkRoutes(values: Effective, report: Report): void {
	const seen: { readonly shape: string; readonly methods: readonly string[]; readonly index: number }[] = [];
	for (const index of indexes(values.count("routes.table"))) {
		needed(values, "routes.table", "routes.table[].path", index, report);
		if (!values.isSound("routes.table[].path", index) || !values.isSound("routes.table[].methods", index)) continue;
		const path = values.get("routes.table[].path", index);
		if (path === undefined) continue;
		const methods = values.get("routes.table[].methods", index);
		const shape = routeShape(path);
		// The first that fits counts, so a later one is dead only when the earlier takes all of its methods.
		const earlier = seen.find((each) => each.shape === shape && covers(each.methods, methods));
		if (earlier === undefined) seen.push({ shape, methods, index });
		else {
			report({
				kind: "duplicate",
				place: values.placeOf("routes.table[].path", index),
				key: concretePath("routes.table[].path", index),
				message: `${concretePath("routes.table[].path", earlier.index)} takes the same requests before it`,
				expected: "another path, or other methods",
			});
		}
	}
}

/** An empty list is all methods. */
function covers(earlier: readonly string[], later: readonly string[]): boolean {
	return earlier.length === 0 || (later.length > 0 && later.every((method) => earlier.includes(method)));
}

function checkTimes(values: Effective, report: Report): void {
	const notLonger = (shorter: KeyPath, longer: KeyPath, index: number): void => {
		if (!values.isSound(shorter, index) || !values.isSound(longer, index)) return;
		const [low, high] = [values.get(shorter, index), values.get(longer, index)];
		if (typeof low !== "number" || typeof high !== "number" || low <= high) return;
		report({
			kind: "conflict",
			place: blamed(values, [shorter, longer], index),
			key: concretePath(shorter, index),
			message: `${renderDuration(low)} is longer than ${concretePath(longer, index)} (${renderDuration(high)})`,
			expected: `at most ${concretePath(longer, index)}`,
			example: exampleFor({ kind: "default" }, concretePath(shorter, index), renderDuration(high)),
		});
	};
	notLonger("drain.quietMin", "drain.quietMax", 0);
	notLonger("health.app.timeout", "health.app.interval", 0);
	for (const index of indexes(values.count("health.checks")))
		notLonger("health.checks[].timeout", "health.checks[].interval", index);
}

/** One app has one check; whoever wants more has `health.checks`. */
function checkHealth(values: Effective, report: Report): void {
	if (allSound(values, "health.app.http", "health.app.grpc")) {
		const http = values.get("health.app.http");
		if (values.get("health.app.grpc") !== "none" && http !== "auto" && http !== "none") {
			report({
				kind: "conflict",
				place: blamed(values, ["health.app.grpc", "health.app.http"]),
				key: "health.app.grpc",
				message: "health.app.http names a page as well, and the app has one check",
				expected: "one of the two; the other may be an entry of health.checks with critical: true",
				example: "health: { app: { grpc: shop.Orders } }",
			});
		}
	}
	for (const index of indexes(values.count("health.checks"))) {
		const url = values.isSound("health.checks[].url", index) ? values.get("health.checks[].url", index) : undefined;
		if (url === undefined || !/^tcp:\/\/[^/?]*[/?]./.test(url)) continue;
		report({
			kind: "bad_value",
			place: values.placeOf("health.checks[].url", index),
			key: concretePath("health.checks[].url", index),
			message: "a port has no path",
			expected: "tcp:// with host and port only",
			example: exampleFor(values.placeOf("health.checks[].url", index), "url", "tcp://localhost:5432"),
		});
	}
}

/** The app has at most this part of the grace period to itself (`drain.appStop`). */
const appStopShareMax = 1 / 3;

function checkDrain(values: Effective, report: Report): void {
	const parts = ["drain.announceMin", "drain.agentStop", "drain.appStop", "drain.grace"] as const;
	if (!allSound(values, ...parts)) return;
	const graceMs = values.get("drain.grace");
	const announceMs = values.get("drain.announceMin");
	const agentMs = values.get("drain.agentStop");
	const appMs = Math.min(values.get("drain.appStop"), Math.floor(graceMs * appStopShareMax));
	const sumMs = announceMs + appMs + agentMs;
	if (sumMs <= graceMs) {
		checkDrainShares(values, graceMs - appMs - agentMs, report);
		return;
	}
	const place = blamed(values, ["drain.announceMin", "drain.agentStop", "drain.grace", "drain.appStop"]);
	report({
		kind: "conflict",
		place,
		key: "drain.grace",
		message:
			`announceMin ${renderDuration(announceMs)}, the app's stop ${renderDuration(appMs)} and agentStop ${renderDuration(agentMs)} ` +
			`do not fit into a grace period of ${renderDuration(graceMs)}`,
		expected: "a longer terminationGracePeriodSeconds (and drain.grace), or shorter parts",
		example: `drain: { grace: ${renderDuration(graceThatFits(announceMs, agentMs, values.get("drain.appStop")))} }`,
	});
}

/** What happens side by side within the drain: each may last as long as the drain, and no longer. Defaults that do not fit are cut short silently. */
function checkDrainShares(values: Effective, drainMs: number, report: Report): void {
	for (const path of ["drain.quietMin", "drain.streams"] as const) {
		if (!values.isSound(path) || !values.isGiven(path) || values.get(path) <= drainMs) continue;
		report({
			kind: "conflict",
			place: values.placeOf(path),
			key: path,
			message: `${renderDuration(values.get(path))} is longer than the whole drain, for which drain.grace leaves ${renderDuration(drainMs)}`,
			expected: "at most drain.grace without drain.appStop (at most a third of it) and drain.agentStop",
			example: exampleFor(values.placeOf(path), path, renderDuration(drainMs)),
		});
	}
}

/** The least whole seconds into which the parts fit: the app's stop grows with the grace, up to its own value. */
function graceThatFits(announceMs: number, agentMs: number, appStopMs: number): number {
	const restMs = announceMs + agentMs;
	const leastMs = Math.min(restMs + appStopMs, restMs / (1 - appStopShareMax));
	return Math.ceil(leastMs / 1000) * 1000;
}

function checkLimits(values: Effective, report: Report): void {
	if (!allSound(values, "limits.target", "limits.head")) return;
	const [target, head] = [values.get("limits.target"), values.get("limits.head")];
	if (target <= head) return;
	report({
		kind: "conflict",
		place: blamed(values, ["limits.target", "limits.head"]),
		key: "limits.target",
		message: `${renderSize(target)} is larger than limits.head (${renderSize(head)}), of which the target is a part`,
		expected: "at most limits.head",
		example: `limits: { target: ${renderSize(head)} }`,
	});
}

function checkTraces(values: Effective, report: Report): void {
	if (!allSound(values, "traces.exporter", "traces.endpoint") || !values.isGiven("traces.exporter")) return;
	if (values.get("traces.exporter") !== "otlp" || values.get("traces.endpoint") !== undefined) return;
	report({
		kind: "missing",
		place: values.placeOf("traces.exporter"),
		key: "traces.endpoint",
		message: "nobody has said where spans are sent",
		expected: keyOf("traces.endpoint").kind.expected,
		example: "OTEL_EXPORTER_OTLP_ENDPOINT=http://collector.monitoring:4318",
	});
}

/** Keys that somebody has set to something of his own and that change nothing as things are. */
function warnAboutIdleKeys(values: Effective): void {
	const idle = (path: KeyPath, because: string): void => {
		if (!values.isGiven(path) || isDeepStrictEqual(keyOf(path).kind.write(values.get(path)), defaultOf(path))) return;
		values.warnings.push({
			kind: "ignored",
			place: values.placeOf(path),
			key: path,
			message: `this has no effect: ${because}`,
		});
	};
	if (allSound(values, "metrics.app") && values.get("metrics.app").length === 0)
		idle("metrics.collision", "metrics.app is empty");
	if (allSound(values, "log.access") && !values.get("log.access")) {
		idle("log.accessSample", "log.access is false");
		idle("log.skip", "log.access is false");
	}
	if (allSound(values, "traces.endpoint") && values.get("traces.endpoint") === undefined)
		idle("traces.headers", "there is no traces.endpoint");
}
