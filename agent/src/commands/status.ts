import { API_METHODS } from "@outrigger/contract";
import { type Clock, systemClock } from "../foundation/clock.ts";
import { type Scheduler, systemScheduler } from "../foundation/scheduler.ts";
import type { SignalSource } from "../lifecycle/signals.ts";
import { type AgentPlace, callAgent, findAgent, type NotAnswered, urlOption } from "./api-client.ts";
import { type Command, EXIT, type Io, isSet, type ParsedArgs } from "./command.ts";
import { outputOption, painter, printable, usesColour, wantsJson, writeJson } from "./output.ts";
import { word } from "./read-answer.ts";
import { renderStatus, type Status } from "./status-view.ts";

const ANSWER_MS = 5_000;
/** Between two looks of `--watch`. */
const INTERVAL_MS = 1_000;
/** Cursor to the top left, and nothing below it. */
const CLEAR = "\u001b[H\u001b[2J";

export interface StatusParts {
	readonly clock: Clock;
	readonly scheduler: Scheduler;
	/** Where Ctrl-C comes from. */
	readonly signals: SignalSource;
}

/** `outrigger status`. */
export const statusCommand: Command = makeStatusCommand({
	clock: systemClock,
	scheduler: systemScheduler,
	signals: process,
});

export function makeStatusCommand(parts: StatusParts): Command {
	return {
		name: "status",
		summary: "show what the agent does: state, traffic, health, drain",
		usage: "status [--watch] [--url URL] [-o table|json]",
		description:
			"Asks the agent once, or with --watch every second until Ctrl-C. While it watches, an agent that is not there or was started anew is said and waited for. Exit code 1 when the agent cannot be reached.",
		examples: [
			["outrigger status", "a look"],
			["outrigger status --watch", "while a pod goes away"],
			["outrigger status --watch -o json", "one JSON object a line"],
		],
		options: {
			watch: { type: "boolean", short: "w", summary: "look again every second" },
			...urlOption,
			...outputOption,
		},
		run: async (args, io) => {
			const place = await findAgent(args, io);
			if (isSet(args, "watch")) return new Watch(parts, place, args, io).run();
			const seen = await look(place);
			if ("kind" in seen) {
				io.stderr.write(`outrigger status: ${printable(seen.message)}\n`);
				return EXIT.failed;
			}
			if (wantsJson(args)) writeJson(io.stdout, { ...seen.info, health: seen.health });
			else io.stdout.write(render(seen, parts.clock, io));
			return EXIT.done;
		},
	};
}

async function look(place: AgentPlace, signal?: AbortSignal): Promise<Status | NotAnswered> {
	const options = { timeoutMs: ANSWER_MS, ...(signal === undefined ? {} : { signal }) };
	const [info, health] = await Promise.all([
		callAgent(place, API_METHODS.getInfo, {}, options),
		callAgent(place, API_METHODS.getHealth, {}, options),
	]);
	if (!info.ok) return info;
	if (!health.ok) return health;
	const { epoch: _, ...tree } = health.answer; // the same as in `info`
	return { info: info.answer, health: tree };
}

function render(status: Status, clock: Clock, io: Io): string {
	const paint = painter(usesColour(io.stdout, io.env));
	return renderStatus(status, { paint, columns: io.stdout.columns, nowMs: clock.wallMs() });
}

/** `--watch`: a terminal shows the newest look only; anything else gets one after the other. */
class Watch {
	readonly #parts: StatusParts;
	readonly #place: AgentPlace;
	readonly #io: Io;
	readonly #isJson: boolean;
	readonly #over = new AbortController();
	/** Of the agent that was seen last. */
	#epoch: string | undefined;
	#restarts = 0;
	#isLost = false;
	#looks = 0;

	constructor(parts: StatusParts, place: AgentPlace, args: ParsedArgs, io: Io) {
		this.#parts = parts;
		this.#place = place;
		this.#io = io;
		this.#isJson = wantsJson(args);
	}

	async run(): Promise<number> {
		const { signals } = this.#parts;
		const interrupt = (): void => this.#over.abort();
		signals.on("SIGINT", interrupt);
		try {
			while (!this.#over.signal.aborted) {
				const seen = await look(this.#place, this.#over.signal);
				if (this.#over.signal.aborted) break;
				if ("kind" in seen) this.#tellLost(seen);
				else this.#tell(seen);
				this.#looks++;
				await this.#pause();
			}
		} finally {
			signals.off("SIGINT", interrupt);
		}
		return EXIT.done;
	}

	#pause(): Promise<void> {
		const { signal } = this.#over;
		return new Promise((resolve) => {
			const end = (): void => {
				cancel();
				signal.removeEventListener("abort", end);
				resolve();
			};
			const cancel = this.#parts.scheduler.after(INTERVAL_MS, end);
			signal.addEventListener("abort", end);
		});
	}

	#tell(status: Status): void {
		const epoch = word(status.info["epoch"]);
		const isAnew = this.#epoch !== undefined && epoch !== this.#epoch;
		this.#epoch = epoch;
		this.#isLost = false;
		if (isAnew) this.#restarts++;
		if (this.#isJson) {
			const line = { ...status.info, health: status.health, ...(isAnew ? { restarted: true } : {}) };
			this.#io.stdout.write(`${JSON.stringify(line)}\n`);
			return;
		}
		const { isTerminal } = this.#io.stdout;
		// A terminal forgets what it showed, so there it has to be said again with each look.
		const said = isTerminal && this.#restarts > 0 ? restartsText(this.#restarts) : isAnew ? restartsText(1) : "";
		this.#show(said + render(status, this.#parts.clock, this.#io));
	}

	#tellLost({ kind, message }: NotAnswered): void {
		if (this.#isJson) {
			this.#io.stdout.write(`${JSON.stringify({ reachable: false, kind, message })}\n`);
			return;
		}
		const text = `${printable(message)}; trying again every second\n`;
		if (this.#io.stdout.isTerminal) this.#show(text);
		else if (!this.#isLost) this.#io.stderr.write(text); // once, and not with each look
		this.#isLost = true;
	}

	#show(text: string): void {
		const { stdout } = this.#io;
		const before = stdout.isTerminal ? CLEAR : this.#looks === 0 ? "" : "\n";
		stdout.write(before + text);
	}
}

function restartsText(restarts: number): string {
	const times = restarts === 1 ? "once" : `${restarts} times`;
	return `The agent was started anew (${times} while watching): it remembers nothing of before.\n`;
}
