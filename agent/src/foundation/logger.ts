/**
 * What the agent itself has to say: one JSON object a line, `level time msg` and then the fields, through the same sink as the access lines.
 *
 * pino does the writing. Loading it takes about 60 ms of the 200 that a start may take, so it is loaded after the start (`load`); the lines before are written
 * here, in the same form. Fields are cut at `log.fieldBytes`. Nothing here throws.
 */
import type { Clock } from "./clock.ts";
import type { LineSink } from "./log-sink.ts";

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export type LogFields = Readonly<Record<string, unknown>>;

/** What every part of the agent is handed. */
export interface Logger {
	debug(message: string, fields?: LogFields): void;
	info(message: string, fields?: LogFields): void;
	warn(message: string, fields?: LogFields): void;
	error(message: string, fields?: LogFields): void;
}

/** For tests and for parts that run without a log. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

type Spoken = "debug" | "info" | "warn" | "error";

interface Writer {
	write(level: Spoken, record: Record<string, unknown>): void;
}

/** Fields of one line; what is beyond is left out. */
const FIELDS_MAX = 64;
const RESERVED = new Set(["level", "time", "msg"]);

export class AgentLogger implements Logger {
	readonly #sink: LineSink;
	readonly #clock: Clock;
	readonly #level: LogLevel;
	readonly #least: number;
	readonly #fieldBytesMax: number;
	#writer: Writer;

	/** `level`: `log.level`. `fieldBytesMax`: `log.fieldBytes`. */
	constructor(sink: LineSink, clock: Clock, level: LogLevel, fieldBytesMax: number) {
		this.#sink = sink;
		this.#clock = clock;
		this.#level = level;
		this.#least = LOG_LEVELS.indexOf(level);
		this.#fieldBytesMax = fieldBytesMax;
		this.#writer = {
			write: (at, record) => {
				const time = new Date(clock.wallMs()).toISOString();
				sink.writeLine(`${JSON.stringify({ level: at, time, ...record })}\n`, "log");
			},
		};
	}

	/** Brings in pino. Until then, and if it cannot be loaded, lines are written without it. */
	async load(): Promise<void> {
		const { pino } = await import("pino");
		const clock = this.#clock;
		const logger = pino(
			{
				level: this.#level,
				base: null,
				timestamp: () => `,"time":"${new Date(clock.wallMs()).toISOString()}"`,
				formatters: { level: (label) => ({ level: label }) },
			},
			{ write: (line: string) => this.#sink.writeLine(line, "log") },
		);
		this.#writer = { write: (level, record) => logger[level](record) };
	}

	debug(message: string, fields?: LogFields): void {
		this.#log("debug", message, fields);
	}

	info(message: string, fields?: LogFields): void {
		this.#log("info", message, fields);
	}

	warn(message: string, fields?: LogFields): void {
		this.#log("warn", message, fields);
	}

	error(message: string, fields?: LogFields): void {
		this.#log("error", message, fields);
	}

	#log(level: Spoken, message: string, fields: LogFields | undefined): void {
		if (LOG_LEVELS.indexOf(level) < this.#least) return;
		const record: Record<string, unknown> = { msg: this.#bounded(message) };
		let count = 0;
		for (const [name, value] of Object.entries(fields ?? {})) {
			if (value === undefined) continue;
			if (++count > FIELDS_MAX) break;
			record[RESERVED.has(name) ? `${name}_` : name] = this.#value(value);
		}
		this.#writer.write(level, record);
	}

	#value(value: unknown): unknown {
		switch (typeof value) {
			case "string":
				return this.#bounded(value);
			case "number":
			case "boolean":
				return value;
			case "object":
				if (value instanceof Error) return this.#bounded(value.stack ?? value.message);
				try {
					const text = JSON.stringify(value) ?? "";
					return text.length <= this.#fieldBytesMax ? value : this.#bounded(text);
				} catch {
					return "[cannot be written]"; // a circle, or a toJSON that throws
				}
			default:
				return this.#bounded(String(value));
		}
	}

	/** In UTF-16 units: near enough to bytes for a bound. */
	#bounded(text: string): string {
		return text.length <= this.#fieldBytesMax ? text : `${text.slice(0, this.#fieldBytesMax)}…`;
	}
}
