import { API_METHODS } from "@outrigger/contract";
import type { JsonObject } from "../contract/method.ts";
import { humanTime } from "../foundation/human-time.ts";
import { callAgent, findAgent, urlOption } from "./api-client.ts";
import { type Command, EXIT, type Io, isSet, type ParsedArgs, stringOption } from "./command.ts";
import { outputOption, printable, wantsJson, writeJson, writeTable } from "./output.ts";
import { count, durationMsOf, object, word } from "./read-answer.ts";

/** How long the agent may take to begin: on a node that is short of CPU it is slow, and nobody else begins the drain. */
const BEGIN_MS = 10_000;
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
		"Begins the drain, or joins the one that has begun, and returns as soon as that is so; the agent and its app go on serving until it is over. Nothing leads back. Exit code 1 when the agent cannot be reached; with --wait 3 when the drain cut something.",
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
	run: runDrain,
};

async function runDrain(args: ParsedArgs, io: Io): Promise<number> {
	const place = await findAgent(args, io);
	const waits = isSet(args, "wait");
	const reason = stringOption(args, "reason");
	const asked = reason === undefined ? {} : { reason: printable(reason).slice(0, REASON_CHARACTERS_MAX) };
	// Begun first, and waited for with a second call: whatever becomes of the waiting, the pod leaves.
	const begun = await callAgent(place, API_METHODS.drain, asked, { timeoutMs: BEGIN_MS });
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

function fail(io: Io, message: string): number {
	io.stderr.write(`outrigger drain: ${printable(message)}\n`);
	return EXIT.failed;
}

function isOver({ report }: JsonObject): boolean {
	return report !== undefined;
}

/** What was cut, and what was left for the stop that follows to cut. */
function codeOf({ report }: JsonObject): number {
	const { cut, left } = object(report);
	return count(cut) + count(left) > 0 ? EXIT.drainCut : EXIT.done;
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
