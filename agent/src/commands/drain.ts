import { API_METHODS } from "@outrigger/contract";
import { systemClock } from "../foundation/clock.ts";
import { Deadline } from "../foundation/deadline.ts";
import { humanTime } from "../foundation/human-time.ts";
import type { JsonObject } from "../foundation/json-object.ts";
import { type AgentPlace, type CallOutcome, callAgent, findAgent, urlOption } from "./api-client.ts";
import { type Command, EXIT, type Io, isSet, type ParsedArgs, stringOption } from "./command.ts";
import { outputOption, printable, wantsJson, writeJson, writeTable } from "./output.ts";
import { count, durationMsOf, object, word } from "./read-answer.ts";

/** How hard the beginning is tried. */
export interface BeginLimits {
	/** For all tries together, ms. */
	readonly withinMs: number;
	/** From one that failed to the next, ms. */
	readonly retryMs: number;
}

/**
 * Nobody else begins the drain: without it the app's hook takes the stop for a restart, and the app ends with requests in flight. So an agent that is
 * slow (a node short of CPU), that starts just now or has no place for the connection gets time, and is asked again.
 */
const BEGIN: BeginLimits = Object.freeze({ withinMs: 10_000, retryMs: 100 });
/** What the answer to `--wait` may take beyond the drain's own deadline. */
const BEYOND_MS = 10_000;
/** Longest `drain.grace`: for an agent that does not say by when it is over. */
const DRAIN_MS_MAX = 86_400_000;
/** What the agent takes of a reason. */
const REASON_CHARACTERS_MAX = 256;

/** `outrigger drain`: the agent's own stop hook, and the way for people to begin a drain. */
export const drainCommand: Command = {
	name: "drain",
	summary: "tell the agent to leave: announce, finish what is in flight, report",
	usage: "drain [--wait] [--reason TEXT] [--url URL] [-o table|json]",
	description:
		"Begins the drain, or joins the one that has begun, and returns as soon as that is so; the agent and its app go on serving until it is over. Nothing leads back. An agent that cannot be reached is tried again for 10 s; then the exit code is 1. With --wait it is 3 when the drain cut something.",
	examples: [
		["outrigger drain", "the stop hook (preStop) of the agent's container"],
		["outrigger drain --wait --reason 'node goes away'", "waits for the report and prints it"],
	],
	options: {
		wait: { type: "boolean", short: "w", summary: "wait until the drain is over, and print its report" },
		reason: { type: "string", placeholder: "TEXT", summary: "why, for the agent's log" },
		...urlOption,
		...outputOption,
	},
	run: (args, io) => runDrain(args, io),
};

export async function runDrain(args: ParsedArgs, io: Io, limits: BeginLimits = BEGIN): Promise<number> {
	const place = await findAgent(args, io);
	const waits = isSet(args, "wait");
	const reason = stringOption(args, "reason");
	const asked = reason === undefined ? {} : { reason: printable(reason).slice(0, REASON_CHARACTERS_MAX) };
	// Begun first, and waited for with a second call: whatever becomes of the waiting, the pod leaves.
	const begun = await begin(place, asked, io, limits);
	if (!begun.ok) return fail(io, begun.message);
	if (!waits || isOver(begun.answer)) {
		tell(args, io, begun.answer);
		return waits ? codeOf(begun.answer) : EXIT.done;
	}
	io.stderr.write(`${stageText(begun.answer)}\n`);
	const remainingMs = durationMsOf(begun.answer["remaining"]);
	const timeoutMs = (remainingMs >= 0 ? Math.min(remainingMs, DRAIN_MS_MAX) : DRAIN_MS_MAX) + BEYOND_MS;
	const over = await callAgent(place, API_METHODS.drain, { wait: true }, { timeoutMs });
	if (!over.ok) return fail(io, `the drain has begun, but its report did not come: ${over.message}`);
	tell(args, io, over.answer);
	return codeOf(over.answer);
}

/** As often as it takes: to begin what has begun changes nothing, so a try whose answer was lost does no harm. */
async function begin(place: AgentPlace, asked: JsonObject, io: Io, limits: BeginLimits): Promise<CallOutcome> {
	const deadline = Deadline.after(systemClock, limits.withinMs);
	for (let isFirst = true; ; isFirst = false) {
		const outcome = await callAgent(place, API_METHODS.drain, asked, { timeoutMs: deadline.remainingMs() });
		const isHopeful = !outcome.ok && (outcome.kind === "unreachable" || outcome.kind === "lost");
		if (!isHopeful || deadline.remainingMs() <= limits.retryMs) return outcome;
		if (isFirst && io.stderr.isTerminal) {
			io.stderr.write(`${printable(outcome.message)}; trying again for up to ${humanTime(limits.withinMs)}\n`);
		}
		await new Promise((resolve) => setTimeout(resolve, limits.retryMs));
	}
}

function fail(io: Io, message: string): number {
	io.stderr.write(`outrigger drain: ${printable(message)}\n`);
	return EXIT.failed;
}

function isOver({ report }: JsonObject): boolean {
	return report !== undefined;
}

/** What was cut, and what was left for the stop that follows to cut. */
function codeOf({ report }: JsonObject): number {
	const { cut, lost, left } = object(report);
	return count(cut) + count(lost) + count(left) > 0 ? EXIT.drainCut : EXIT.done;
}

function stageText({ begun, remaining, state }: JsonObject): string {
	const remainingMs = durationMsOf(remaining);
	const limit = remainingMs >= 0 ? `, and will be over within ${humanTime(remainingMs)}` : "";
	return `The drain ${begun === true ? "has begun" : "had begun before"}${limit} (${word(state)}).`;
}

function tell(args: ParsedArgs, io: Io, answer: JsonObject): void {
	if (wantsJson(args)) writeJson(io.stdout, answer);
	else if (!isOver(answer)) io.stdout.write(`${stageText(answer)}\n`);
	else {
		const { summary, ...rest } = object(answer["report"]);
		io.stdout.write(`The drain is over; ${word(summary)}.\n\n`);
		writeTable(
			io.stdout,
			["REPORT", "VALUE"],
			Object.entries(rest).map(([name, value]) => [printable(name), word(value)]),
		);
	}
}
