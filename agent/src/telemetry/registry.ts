import type { Registry } from "prom-client";
import { type ExpositionWriter, type FamilyType, type MetricSource, renderLabels } from "./exposition-write.ts";

import { type MetricName, metric } from "./metric-names.ts";

/**
 * What prom-client holds: the agent's process and runtime, and numbers that their owners keep and that are read at a scrape
 * (state, checks, build). Per-exchange series are not here: they live in shared memory and are written by their own source.
 *
 * prom-client is loaded at the first scrape: in a bare process that costs 60 ms and 10 MiB, which nobody should pay before the first
 * request is served. Its numbers go out through our writer, so there is one way to write a page.
 */

/** Sets the value of one label set. */
export type SetValue = (labels: Readonly<Record<string, string>>, value: number) => void;

/** A family whose numbers are asked for when a page is made. */
export interface PulledMetric {
	/** As in the docs: a counter ends with `_total`. */
	readonly name: string;
	readonly type: "gauge" | "counter";
	readonly help: string;
	readonly labelNames: readonly string[];
	/** Calls `set` once per label set. Runs on the control thread and must not wait. */
	readonly read: (set: SetValue) => void;
}

/** A family of ours by its name: type, help and labels stand in `metric-names.ts`. */
export function pulledMetric(name: MetricName, read: PulledMetric["read"]): PulledMetric {
	const { type, help, labels } = metric(name);
	return { name, type: type === "counter" ? "counter" : "gauge", help, labelNames: labels, read };
}

/** Prefix of all that is the agent's own; the app's page may not use it. */
export const OWN_PREFIX = "outrigger_";

const TYPES: ReadonlyMap<unknown, FamilyType> = new Map([
	["counter", "counter"],
	["gauge", "gauge"],
	["histogram", "histogram"],
	["summary", "summary"],
]);

export class AgentRegistry implements MetricSource {
	readonly #pulled: PulledMetric[] = [];
	#loaded: Promise<Registry> | undefined;

	/** Takes in a family. Before the first scrape: afterwards it would be missing from some pages, so that is a mistake. */
	add(metric: PulledMetric): void {
		if (this.#loaded !== undefined) throw new Error(`${metric.name} was added after the first scrape`);
		this.#pulled.push(metric);
	}

	/** `outrigger_build_info`. */
	addBuildInfo(version: string, revision: string, node: string): void {
		this.add(pulledMetric("outrigger_build_info", (set) => set({ version, revision, node }, 1)));
	}

	/** What could not be loaded (no descriptor was left, say) is tried again at the next scrape. */
	async #load(): Promise<Registry> {
		this.#loaded ??= load(this.#pulled);
		try {
			return await this.#loaded;
		} catch (error) {
			this.#loaded = undefined;
			throw error;
		}
	}

	async writeMetrics(out: ExpositionWriter): Promise<void> {
		const registry = await this.#load();
		for (const family of await registry.getMetricsAsJSON()) {
			const type = TYPES.get(family.type) ?? "unknown";
			// Gauges that prom-client calls `…_total` are sums of the gauge beside them, under a counter's name.
			if (type === "gauge" && family.name.endsWith("_total")) continue;
			if (!out.family(family.name, type, family.help)) continue;
			for (const { labels, value, ...rest } of family.values) {
				const rendered = renderLabels(definedOnly(labels));
				const sampleName = "metricName" in rest && typeof rest.metricName === "string" ? rest.metricName : "";
				if (type === "counter" || !sampleName.startsWith(family.name)) out.sample(rendered, value);
				else out.suffixed(sampleName.slice(family.name.length), rendered, value);
				if (out.isDue()) await out.pause();
			}
		}
	}
}

function definedOnly(labels: Partial<Record<string, string | number>>): Record<string, string | number> {
	const defined: Record<string, string | number> = {};
	for (const [name, value] of Object.entries(labels)) if (value !== undefined) defined[name] = value;
	return defined;
}

async function load(pulled: readonly PulledMetric[]): Promise<Registry> {
	const [registryModule, gaugeModule, counterModule, defaultsModule] = await Promise.all([
		import("prom-client/lib/registry.js"),
		import("prom-client/lib/gauge.js"),
		import("prom-client/lib/counter.js"),
		import("prom-client/lib/defaultMetrics.js"),
	]);
	const registry = new registryModule.default();
	defaultsModule.default({ register: registry, prefix: OWN_PREFIX });
	for (const metric of pulled) {
		const { name, help, type, read } = metric;
		const common = { name, help, labelNames: [...metric.labelNames], registers: [registry] };
		if (type === "gauge") {
			const gauge = new gaugeModule.default({
				...common,
				collect: () => {
					gauge.reset();
					read((labels, value) => gauge.set(labels, value));
				},
			});
		} else {
			const counter = new counterModule.default({
				...common,
				collect: () => {
					counter.reset();
					read((labels, value) => counter.inc(labels, value));
				},
			});
		}
	}
	return registry;
}
