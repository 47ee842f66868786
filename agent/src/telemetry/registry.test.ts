import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../foundation/clock.ts";
import { ExpositionParser } from "./exposition-parse.ts";
import { type ExpositionFormat, ExpositionWriter } from "./exposition-write.ts";
import { AgentRegistry } from "./registry.ts";
import { TimeSlices } from "./time-slice.ts";

const LIMITS = { bytesMax: 1 << 20, lineBytesMax: 16_384, samplesMax: 10_000, familiesMax: 1_000, labelsMax: 64 };

async function pageOf(registry: AgentRegistry, format: ExpositionFormat): Promise<string> {
	const clock = new ManualClock();
	const slices = new TimeSlices(clock, (resume) => resume());
	const out = new ExpositionWriter({ format, slices, omit: (id) => id === "outrigger_left_out" });
	clock.advance(10);
	await registry.writeMetrics(out);
	const text = Buffer.concat(out.finish().blocks).toString("utf8") + (format === "openmetrics" ? "# EOF\n" : "");
	const parser = new ExpositionParser(format, "strict", LIMITS);
	parser.write(Buffer.from(text));
	assert.ok(parser.end() !== undefined, `${parser.problem?.line}: ${parser.problem?.message}\n${text}`);
	return text;
}

test("the agent's process, its build and what others keep are on the page, under our prefix only", async () => {
	const registry = new AgentRegistry();
	registry.addBuildInfo("1.2.3", "abc", "v26");
	let state = "ready";
	registry.add({
		name: "outrigger_state",
		type: "gauge",
		help: "State.",
		labelNames: ["state"],
		read: (set) => set({ state }, 1),
	});
	let changes = 2;
	registry.add({
		name: "outrigger_state_changes_total",
		type: "counter",
		help: "Changes.",
		labelNames: ["from", "to"],
		read: (set) => set({ from: "a", to: 'b"' }, changes),
	});
	registry.add({ name: "outrigger_left_out", type: "gauge", help: "X.", labelNames: [], read: (set) => set({}, 1) });
	const text = await pageOf(registry, "text");
	assert.ok(text.includes('outrigger_build_info{version="1.2.3",revision="abc",node="v26"} 1\n'));
	assert.ok(text.includes('outrigger_state{state="ready"} 1\n'));
	assert.ok(text.includes('outrigger_state_changes_total{from="a",to="b\\""} 2\n'));
	assert.match(text, /^outrigger_process_resident_memory_bytes \d+$/m);
	assert.match(text, /^outrigger_nodejs_eventloop_lag_seconds /m);
	assert.ok(!text.includes("outrigger_left_out"));
	for (const line of text.trim().split("\n")) assert.match(line, /^(?:# (?:HELP|TYPE) )?outrigger_/);
	for (const [, name] of text.matchAll(/^# TYPE (\S+_total) gauge$/gm))
		assert.fail(`${name} is a gauge with a counter's name`);

	state = "draining";
	changes = 1;
	const again = await pageOf(registry, "openmetrics");
	assert.ok(again.includes('outrigger_state{state="draining"} 1\n'));
	assert.ok(!again.includes("ready"), "a label set that is gone is gone from the page");
	assert.ok(again.includes('outrigger_state_changes_total{from="a",to="b\\""} 1\n'));
	assert.throws(
		() => registry.add({ name: "outrigger_late", type: "gauge", help: "", labelNames: [], read: () => {} }),
		/after the first scrape/,
	);
});
