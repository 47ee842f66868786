import { readFileSync, statSync } from "node:fs";
import { connect } from "node:net";
import { resolve } from "node:path";
import { CONFIG_PATH, DEFAULT_AGENT_URL, VARIABLES } from "@outrigger/contract";
import { BUILD_INFO } from "../foundation/build-info.ts";
import { humanTime } from "../foundation/human-time.ts";
import type { JsonObject } from "../foundation/json-object.ts";
import { AnswerReader, type HttpAnswer } from "./answer-reader.ts";
import { type Io, type OptionSpec, type ParsedArgs, stringOption, UsageError } from "./command.ts";
import { parseObject } from "./read-answer.ts";

/**
 * Calls of the agent's API, for the commands that ask it: one method, one connection. On `node:net` alone, and with nothing loaded that is not
 * needed: `outrigger drain` is a stop hook, and runs when the node may be short of CPU.
 */

/** `--url`, for every command that asks the agent. */
export const urlOption: Readonly<Record<"url", OptionSpec>> = Object.freeze({
	url: {
		type: "string",
		placeholder: "URL",
		summary: `where the agent's API is (default: ${VARIABLES.agentUrl}, else api.listen of the configuration, else ${DEFAULT_AGENT_URL})`,
	},
});

/** Where an agent is. */
export interface AgentPlace {
	/** As people write it. */
	readonly url: string;
	readonly address: { readonly path: string } | { readonly host: string; readonly port: number };
	/** For the `Host` field. */
	readonly host: string;
}

export type CallOutcome = Answered | NotAnswered;

export interface Answered {
	readonly ok: true;
	readonly answer: JsonObject;
}

export interface NotAnswered {
	readonly ok: false;
	/** `unreachable`: nobody listens. `lost`: no whole answer came. `strange`: what answers is no agent. `refused`: the agent says no. */
	readonly kind: "unreachable" | "lost" | "strange" | "refused";
	/** One line for people. */
	readonly message: string;
}

export interface CallOptions {
	/** From connecting to the whole answer. */
	readonly timeoutMs: number;
	/** Ends the call: it is then `lost`. */
	readonly signal?: AbortSignal;
}

const LISTEN_VARIABLE = "OUTRIGGER_API__LISTEN";
/** A larger file is no configuration, and the agent would not have read it. */
const CONFIG_BYTES_MAX = 262_144;
/** YAML with a key `api`, in whatever style; may find one in a comment, which only costs time. */
const SPEAKS_OF_API = /(?:^|[\s{,"'])api["']?\s*:/;

/** Where the flags, the environment and the configuration say that the agent is. Throws `UsageError`. */
export async function findAgent(args: ParsedArgs, io: Io): Promise<AgentPlace> {
	const flag = stringOption(args, "url");
	if (flag !== undefined) return placeOf(flag, "--url");
	for (const variable of [VARIABLES.agentUrl, LISTEN_VARIABLE]) {
		const value = io.env[variable];
		if (value !== undefined && value !== "") return placeOf(value, variable);
	}
	const listen = await configuredListen(io);
	return placeOf(listen ?? DEFAULT_AGENT_URL, "api.listen");
}

/** `http://host:port`, `host:port` or `unix:/path`. Port 80 when a URL has none, as everywhere. */
export function placeOf(text: string, source: string): AgentPlace {
	if (text.startsWith("unix:/")) {
		const path = text.slice("unix:".length).replace(/^\/\/+/, "/");
		return { url: `unix:${path}`, address: { path }, host: "localhost" };
	}
	if (/^https:/i.test(text)) {
		throw new UsageError(
			`${source}: ${text}: the agent's API speaks plain HTTP, since it is on loopback; write http://`,
		);
	}
	const match = /^(http:\/\/)?(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?\/?$/i.exec(text);
	const [, scheme, host = "", digits] = match ?? [];
	const port = digits === undefined && scheme !== undefined ? 80 : Number(digits);
	if (match === null || !(port > 0 && port <= 65_535)) {
		throw new UsageError(`${source}: ${text} is no place of an agent; write ${DEFAULT_AGENT_URL} or unix:/path`);
	}
	const bare = host.startsWith("[") ? host.slice(1, -1) : host;
	return { url: `http://${host}:${port}`, address: { host: bare, port }, host: `${host}:${port}` };
}

/** What the configuration says. Reading it whole costs more than all the rest of a drain, so it is only done where the file speaks of the API. */
async function configuredListen(io: Io): Promise<string | undefined> {
	const named = io.env[VARIABLES.config];
	const file = resolve(io.cwd, named === undefined || named === "" ? CONFIG_PATH : named);
	try {
		const { size } = statSync(file);
		if (size > CONFIG_BYTES_MAX || !SPEAKS_OF_API.test(readFileSync(file, "latin1"))) return undefined;
	} catch {
		return undefined; // no file, or not for us: the agent is then most likely where it is by default
	}
	const { configuredApi } = await import("./load-config.ts");
	const listen = await configuredApi(io);
	if (listen !== undefined) return listen;
	io.stderr.write(
		`outrigger: ${file} has problems (outrigger config check tells them), so ${DEFAULT_AGENT_URL} is tried\n`,
	);
	return undefined;
}

/** Calls one method. Never rejects: whatever goes wrong is told in words. */
export async function callAgent(
	place: AgentPlace,
	path: string,
	input: JsonObject,
	options: CallOptions,
): Promise<CallOutcome> {
	const exchanged = await exchange(place, path, JSON.stringify(input), options);
	return "ok" in exchanged ? exchanged : outcomeOf(place, exchanged);
}

function exchange(
	place: AgentPlace,
	path: string,
	body: string,
	{ timeoutMs, signal }: CallOptions,
): Promise<HttpAnswer | NotAnswered> {
	return new Promise((settle) => {
		const reader = new AnswerReader();
		const socket = connect(place.address);
		let isConnected = false;
		const end = (outcome: HttpAnswer | NotAnswered): void => {
			clearTimeout(timer);
			signal?.removeEventListener("abort", abort);
			socket.destroy();
			settle(outcome);
		};
		const lost = (what: string): void =>
			end({ ok: false, kind: "lost", message: `the agent at ${place.url}: ${what}` });
		/** Whatever the reader throws is for people. */
		const read = (step: () => void): void => {
			try {
				step();
			} catch (error) {
				lost(error instanceof Error ? error.message : String(error));
				return;
			}
			if (reader.answer !== undefined) end(reader.answer);
		};
		const timer = setTimeout(() => lost(`no answer within ${humanTime(timeoutMs)}`), timeoutMs);
		const abort = (): void => lost("not waited for any longer");
		if (signal?.aborted === true) abort();
		signal?.addEventListener("abort", abort);
		socket.on("connect", () => {
			isConnected = true;
		});
		socket.on("data", (chunk: Buffer) => read(() => reader.push(chunk)));
		socket.on("end", () => read(() => reader.end()));
		socket.on("error", (error: NodeJS.ErrnoException) => {
			const code = error.code ?? error.message;
			if (isConnected) lost(`the connection broke (${code})`);
			else end({ ok: false, kind: "unreachable", message: unreachableText(place, code) });
		});
		socket.write(
			`POST ${path} HTTP/1.1\r\nhost: ${place.host}\r\nuser-agent: outrigger/${BUILD_INFO.version}\r\n` +
				"content-type: application/json\r\nconnect-protocol-version: 1\r\nconnection: close\r\n" +
				`content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
		);
	});
}

function unreachableText({ url }: AgentPlace, code: string): string {
	switch (code) {
		case "ECONNREFUSED":
		case "ENOENT":
			return `no agent listens at ${url} (${code}); is it running there? --url says where it is`;
		case "EACCES":
		case "EPERM":
			return `${url} may not be opened (${code}): its owner and the owner's group may`;
		case "ENOTFOUND":
		case "EAI_AGAIN":
			return `the host of ${url} is not known (${code})`;
		default:
			return `the agent at ${url} cannot be reached (${code})`;
	}
}

function outcomeOf({ url }: AgentPlace, { status, contentType, body }: HttpAnswer): CallOutcome {
	const answer = contentType === "application/json" ? parseObject(body.toString("utf8")) : undefined;
	if (answer !== undefined && status === 200 && typeof answer["epoch"] === "string") return { ok: true, answer };
	if (answer !== undefined && status !== 200 && typeof answer["code"] === "string") {
		const message = `the agent at ${url} says ${answer["code"]}: ${String(answer["message"])}`;
		return { ok: false, kind: "refused", message };
	}
	const what = `HTTP ${status}${contentType === "" ? "" : `, ${contentType}`}`;
	return { ok: false, kind: "strange", message: `what answers at ${url} is no Outrigger agent (${what})` };
}
