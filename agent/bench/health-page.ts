/**
 * What does a probe cost when there are many contributors? A probe whose answer has not changed, and one that has to be made anew.
 * Prints for each form: microseconds a probe, bytes, and a hash of the body.
 *
 *     node --import tsx agent/bench/health-page.ts [contributors=500] [probes=100000]
 */
import { createHash } from "node:crypto";
import { pathToFileURL } from "node:url";
import { systemClock } from "../src/foundation/clock.ts";
import { silentLogger } from "../src/foundation/logger.ts";
import { systemScheduler } from "../src/foundation/scheduler.ts";
import { HealthTree } from "../src/lifecycle/health-tree.ts";
import { ProbePages } from "../src/ops/probes.ts";

export interface BenchSettings {
	readonly contributors: number;
	readonly probes: number;
	readonly print: (line: string) => void;
}

/** What is measured: a probe as it comes each second, and one after each of which something has changed. */
const FORMS: readonly (readonly [name: string, accept: string | undefined])[] = [
	["text", undefined],
	["json", "application/json"],
	["health+json", "application/health+json"],
];

/** One line for each form, unchanged and changed; returns the hashes, which must not change from run to run. */
export async function run(settings: BenchSettings): Promise<string[]> {
	const tree = new HealthTree({
		reportsMax: settings.contributors,
		clock: systemClock,
		scheduler: systemScheduler,
		log: silentLogger,
	});
	tree.report(
		Array.from({ length: settings.contributors }, (_, index) => ({
			name: `component-${index}`,
			status: index % 50 === 49 ? "warn" : "pass",
			detail: "connected, 3 waiting",
			ttl: "3600s",
		})),
	);
	const pages = new ProbePages({
		live: () => ({ ok: true }),
		ready: () => ({ ok: true }),
		started: () => ({ ok: true }),
		health: tree,
	});
	const hashes: string[] = [];
	for (const [name, accept] of FORMS) {
		// Fewer of the dear ones, so that both take about as long.
		for (const [kind, probes] of [
			["unchanged", settings.probes],
			["changed", Math.ceil(settings.probes / 100)],
		] as const) {
			let body = "";
			const startMs = systemClock.monotonicMs();
			for (let probe = 0; probe < probes; probe += 1) {
				if (kind === "changed") tree.advise("bench", probe % 2 === 0 ? { reason: "bench" } : undefined);
				body = pages.render("ready", accept).body;
			}
			const us = ((systemClock.monotonicMs() - startMs) * 1_000) / probes;
			tree.advise("bench", undefined);
			body = pages.render("ready", accept).body;
			const hash = createHash("sha256").update(body).digest("hex").slice(0, 16);
			hashes.push(hash);
			settings.print(`${name} ${kind}: ${us.toFixed(2)} µs, ${Buffer.byteLength(body)} bytes, ${hash}`);
		}
	}
	await tree.stop();
	return hashes;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
	const [contributors = 500, probes = 100_000] = process.argv.slice(2).map(Number);
	await run({ contributors, probes, print: (line) => console.log(line) });
}
