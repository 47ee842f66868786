import { API_METHODS } from "@outrigger/contract";
import { humanTime } from "../foundation/human-time.ts";
import { callAgent, findAgent, urlOption } from "./api-client.ts";
import { type Command, EXIT, type Io, type ParsedArgs, UsageError } from "./command.ts";
import { outputOption, type Paint, painter, printable, usesColour, wantsJson, wrap, writeJson } from "./output.ts";
import { count, list, object, word } from "./read-answer.ts";

const ANSWER_MS = 10_000;
const WIDTH = 100;

/** `outrigger why ID`: what became of a request. */
export const whyCommand: Command = {
	name: "why",
	summary: "tell what became of a request: who ended it, why, and where the time went",
	usage: "why ID [--url URL] [-o table|json]",
	description:
		"ID is what the answer's x-request-id or x-correlation-id says, a trace id, or a whole traceparent. The agent remembers its last exchanges, those that failed for longest; exit code 1 when it knows none with that id.",
	examples: [
		["outrigger why 01a2069f-1a11-7002-b903-981f7fc618d6", "the id from x-request-id"],
		[
			"outrigger why 4bf92f3577b34da6a3ce929d0e0e4736 -o json",
			"all requests of a trace, with everything that is known",
		],
	],
	options: { ...urlOption, ...outputOption },
	positionals: [{ name: "ID", required: true }],
	run: runWhy,
};

async function runWhy(args: ParsedArgs, io: Io): Promise<number> {
	const [id = ""] = args.positionals;
	if (id.trim() === "") throw new UsageError("ID is empty");
	const place = await findAgent(args, io);
	const outcome = await callAgent(place, API_METHODS.why, { id }, { timeoutMs: ANSWER_MS });
	if (!outcome.ok) {
		io.stderr.write(`outrigger why: ${printable(outcome.message)}\n`);
		return EXIT.failed;
	}
	const exchanges = list(outcome.answer["exchanges"]);
	if (wantsJson(args)) writeJson(io.stdout, outcome.answer);
	else if (exchanges.length > 0) {
		const paint = painter(usesColour(io.stdout, io.env));
		io.stdout.write(exchanges.map((exchange) => renderExchange(exchange, paint, io.stdout.columns)).join("\n"));
	}
	if (exchanges.length > 0) return EXIT.done;
	io.stderr.write(
		`outrigger why: the agent at ${place.url} knows no exchange with the id ${printable(id)}.\n` +
			"It remembers only its own and only the last, those that failed for longest: another pod's agent may know it, and the access lines do.\n",
	);
	return EXIT.failed;
}

/** One exchange: what it was, its ids, what became of it. Ends with a newline. */
export function renderExchange(exchange: unknown, paint: Paint, columns: number | undefined): string {
	const x = object(exchange);
	const error = word(x["error"]);
	const result = `${word(x["status"]) === "" ? "no answer" : word(x["status"])}${error === "" ? "" : ` ${error}`}`;
	const isBad = error !== "" || count(x["status"]) >= 500;
	const request = x["opaque"] === true ? "opaque connection" : `${word(x["method"])} ${word(x["path"])}`.trim();
	const head = `${paint("bold", request === "" ? "malformed request" : request)} → ${paint(isBad ? "bad" : "good", result)}`;
	const from = word(x["clientAddress"]);
	const facts = [
		word(x["startedAt"]),
		humanTime(count(x["durationMs"])),
		word(x["route"]) === "" ? "" : `route ${word(x["route"])}`,
		from === "" ? "" : `from ${from}`,
		word(x["inbound"]) === "" ? "" : `by ${word(x["inbound"])}`,
	].filter((text) => text !== "");
	const ids = [
		["request id", x["requestId"]],
		["correlation id", x["correlationId"]],
		["trace id", x["traceId"]],
	]
		.filter(([, id]) => word(id) !== "")
		.map(([label, id]) => `  ${String(label).padEnd(14)}  ${word(id)}`);
	const width = Math.max(Math.min(columns ?? WIDTH, WIDTH), 40);
	const explanation = word(x["explanation"]);
	const said = explanation === "" ? [] : [wrap(explanation, width, "  ")];
	return `${[head, wrap(facts.join(", "), width, "  "), ...ids, ...said].join("\n")}\n`;
}
