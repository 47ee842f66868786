import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ManualClock } from "./clock.ts";
import type { LineSink } from "./log-sink.ts";
import { AgentLogger, LOG_LEVELS, type LogLevel, silentLogger } from "./logger.ts";

class Lines implements LineSink {
	readonly lines: string[] = [];

	write(): boolean {
		assert.fail("the logger writes single lines");
	}

	writeLine(line: string): void {
		assert.match(line, /^[^\n]*\n$/);
		this.lines.push(line);
	}

	get last(): Record<string, unknown> {
		return JSON.parse(this.lines.at(-1) ?? "null") as Record<string, unknown>;
	}
}

function logger(level: LogLevel = "debug", fieldBytesMax = 100): { readonly log: AgentLogger; readonly out: Lines } {
	const out = new Lines();
	return { log: new AgentLogger(out, new ManualClock(0), level, fieldBytesMax), out };
}

describe("the agent's logger", () => {
	test("writes the same lines before and after pino is there", async () => {
		const { log, out } = logger();
		const say = (): void => {
			log.debug("a");
			log.info("b", { from: "ready", lasted_ms: 3, isDone: true, absent: undefined });
			log.warn("line\nfeed", { nested: { a: [1] } });
			log.error("d", { time: "mine", level: 3, msg: "x" });
		};
		say();
		const before = out.lines.splice(0);
		await log.load();
		say();
		assert.deepEqual(out.lines, before);
		assert.equal(
			before[1],
			'{"level":"info","time":"1970-01-01T00:00:00.000Z","msg":"b","from":"ready","lasted_ms":3,"isDone":true}\n',
		);
		assert.deepEqual(out.last, {
			level: "error",
			time: "1970-01-01T00:00:00.000Z",
			msg: "d",
			time_: "mine",
			level_: 3,
			msg_: "x",
		});
	});

	test("obeys log.level, before and after", async () => {
		for (const level of LOG_LEVELS) {
			const { log, out } = logger(level);
			const say = (): void => {
				log.debug("x");
				log.info("x");
				log.warn("x");
				log.error("x");
			};
			say();
			const expected = { trace: 4, debug: 4, info: 3, warn: 2, error: 1, fatal: 0, silent: 0 }[level];
			assert.equal(out.lines.length, expected, level);
			await log.load();
			say();
			assert.equal(out.lines.length, 2 * expected, level);
		}
	});

	test("bounds what it is given", () => {
		const { log, out } = logger("info", 10);
		log.info("0123456789abc", { text: "x".repeat(50), large: { text: "x".repeat(50) }, small: { a: 1 } });
		assert.deepEqual(out.last, {
			level: "info",
			time: "1970-01-01T00:00:00.000Z",
			msg: "0123456789…",
			text: "xxxxxxxxxx…",
			large: '{"text":"x…',
			small: { a: 1 },
		});
		log.info("many", Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`f${i}`, i])));
		assert.equal(Object.keys(out.last).length, 3 + 64);
	});

	test("never throws, whatever the fields are", () => {
		const { log, out } = logger("info", 1000);
		const circle: Record<string, unknown> = {};
		circle["self"] = circle;
		log.info("x", { circle, big: 10n, nothing: null, symbol: Symbol("s"), error: new Error("broken"), act: () => 1 });
		assert.equal(out.last["circle"], "[cannot be written]");
		assert.equal(out.last["big"], "10");
		assert.equal(out.last["nothing"], null);
		assert.equal(out.last["symbol"], "Symbol(s)");
		assert.match(String(out.last["error"]), /^Error: broken\n/);
		const bare = new Error("bare");
		delete bare.stack;
		log.info("x", { error: bare, empty: { toJSON: () => undefined } });
		assert.equal(out.last["error"], "bare");
	});

	test("can be silent", () => {
		for (const level of ["debug", "info", "warn", "error"] as const) assert.equal(silentLogger[level]("x"), undefined);
	});
});
