/**
 * The same exchange twice: through the agent, and directly to the same app. Client and app are `node:http`, a reading of HTTP that is not ours. What the app got
 * and what the client got must be the same, but for what is documented.
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, request, type Server } from "node:http";
import { Readable, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { bodyOf, type Dice } from "../sim/dice.ts";

export interface Plan {
	readonly id: number;
	readonly method: string;
	readonly target: string;
	readonly fields: readonly string[];
	readonly bodyBytes: number;
	/** `none`: no body at all. */
	readonly framing: "none" | "length" | "chunked";
	readonly status: number;
	readonly answerFields: readonly string[];
	readonly answerBytes: number;
	readonly answerFraming: "length" | "chunked" | "close";
	readonly interim: boolean;
}

export interface Seen {
	readonly startLine: string;
	/** Names in lower case, in the order in which they came. */
	readonly fields: readonly string[];
	readonly bodyBytes: number;
	readonly sha256: string;
	readonly trailers: readonly string[];
}

/** What the agent puts in or takes out on the way to the app (`data-path`: Identity, hop-by-hop fields). */
export const CHANGED_IN_REQUESTS = new Set([
	"connection",
	"keep-alive",
	"traceparent",
	"x-request-id",
	"x-correlation-id",
	"x-forwarded-for",
	"x-forwarded-proto",
	"x-forwarded-host",
]);
/** And on the way back. A body that ends with the connection goes on as chunked. */
export const CHANGED_IN_RESPONSES = new Set([
	"connection",
	"keep-alive",
	"transfer-encoding",
	"x-request-id",
	"x-correlation-id",
]);

const METHODS = ["GET", "GET", "HEAD", "POST", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "PROPFIND"];
const VALUES = [
	"",
	"1",
	"a, b",
	"a;q=0.5, b",
	"\xe4\xf6\xfc",
	'"q\\""',
	"x".repeat(300),
	"a\tb",
	'{"json":[1,2]}',
	'W/"etag"',
];
const NAMES = [
	"x-a",
	"X-B",
	"accept",
	"Accept-Language",
	"cookie",
	"authorization",
	"if-none-match",
	"x-tenant-id",
	"Content-Type",
	"cache-control",
	"Prefer",
];
const ANSWER_NAMES = [
	"x-a",
	"X-B",
	"set-cookie",
	"Set-Cookie",
	"etag",
	"vary",
	"content-type",
	"link",
	"server",
	"cache-control",
	"location",
	"www-authenticate",
];
const TARGETS = ["/", "/a/b?c=d&e", "/%7B%2F?x=%00", "/|{}^`", "//x//y", "/a;b=c,d", "/?", "/a?b?c#", "/'()*!$&+,;=:@"];
const PIECE_BYTES = 1 << 16;

export const planOf = (dice: Dice, id: number, sizeMax: number): Plan => {
	const method = dice.pick(METHODS);
	const mayBody = method !== "HEAD" && (method.startsWith("P") || dice.chance(0.2));
	const status = dice.pick([200, 200, 200, 201, 202, 204, 304, 400, 404, 409, 500, 503]);
	const list = (names: readonly string[]): string[] =>
		Array.from({ length: dice.below(8) }, () => [dice.pick(names), dice.pick(VALUES)]).flat();
	return {
		id,
		method,
		target: dice.pick(TARGETS),
		fields: list(NAMES),
		bodyBytes: mayBody ? dice.size(sizeMax) : 0,
		framing: mayBody ? dice.pick(["length", "chunked"] as const) : "none",
		status,
		answerFields: list(ANSWER_NAMES),
		answerBytes: dice.size(sizeMax),
		answerFraming: dice.pick(["length", "chunked", "close"] as const),
		interim: dice.chance(0.1),
	};
};

function* piecesOf(id: number, length: number): Generator<Buffer> {
	for (let left = length; left > 0; ) {
		const piece = bodyOf(id + left, Math.min(left, PIECE_BYTES));
		left -= piece.length;
		yield piece;
	}
}

/** Rejects when the other side is gone before all is sent. */
const send = (id: number, length: number, to: Writable): Promise<void> =>
	pipeline(Readable.from(piecesOf(id, length)), to);

const pairs = (raw: readonly string[]): string[] => {
	const lines: string[] = [];
	for (let i = 0; i < raw.length; i += 2) lines.push(`${raw[i]?.toLowerCase()}: ${raw[i + 1]}`);
	return lines;
};

const see = async (message: IncomingMessage, startLine: string): Promise<Seen> => {
	const hash = createHash("sha256");
	let bodyBytes = 0;
	for await (const piece of message) {
		bodyBytes += (piece as Buffer).length;
		hash.update(piece as Buffer);
	}
	if (!message.complete) throw new Error(`${startLine}: cut short after ${bodyBytes} bytes`);
	return {
		startLine,
		fields: pairs(message.rawHeaders),
		bodyBytes,
		sha256: hash.digest("hex"),
		trailers: pairs(message.rawTrailers),
	};
};

/** The app: answers as planned, and keeps what it got until it is asked for. */
export class DifferentialApp implements AsyncDisposable {
	readonly plans = new Map<number, Plan>();
	readonly #got = new Map<number, Seen>();
	readonly #server: Server;

	constructor() {
		this.#server = createServer({ keepAlive: true, maxHeaderSize: 65_536 }, (message, answer) => {
			const id = Number(message.headers["x-diff-id"]);
			const plan = this.plans.get(id);
			if (plan === undefined) {
				answer.writeHead(500).end();
				return;
			}
			void (async () => {
				if (plan.interim) answer.writeEarlyHints({ link: "</a>; rel=preload" });
				this.#got.set(id, await see(message, `${message.method} ${message.url} HTTP/${message.httpVersion}`));
				answer.sendDate = false;
				const isBodiless = plan.method === "HEAD" || plan.status === 204 || plan.status === 304;
				const framing = isBodiless
					? []
					: plan.answerFraming === "length"
						? ["content-length", String(plan.answerBytes)]
						: plan.answerFraming === "close"
							? ["connection", "close"]
							: ["transfer-encoding", "chunked"];
				if (plan.answerFraming === "close" && !isBodiless) answer.useChunkedEncodingByDefault = false;
				answer.writeHead(plan.status, "As planned", [...plan.answerFields, ...framing]);
				if (isBodiless) answer.end();
				else await send(plan.id + 1, plan.answerBytes, answer);
			})().catch(() => answer.destroy());
		});
	}

	async listen(): Promise<number> {
		this.#server.listen(0, "127.0.0.1");
		await once(this.#server, "listening");
		const address = this.#server.address();
		return typeof address === "object" && address !== null ? address.port : 0;
	}

	/** What the app got of that exchange; once. */
	got(id: number): Seen | undefined {
		const seen = this.#got.get(id);
		this.#got.delete(id);
		return seen;
	}

	async [Symbol.asyncDispose](): Promise<void> {
		this.#server.closeAllConnections();
		this.#server.close();
		await once(this.#server, "close");
	}
}

/** Makes the exchange with what listens on that port. */
export const exchange = async (plan: Plan, port: number): Promise<Seen> => {
	const framing =
		plan.framing === "length"
			? ["content-length", String(plan.bodyBytes)]
			: plan.framing === "chunked"
				? ["transfer-encoding", "chunked"]
				: [];
	const asking = request({
		host: "127.0.0.1",
		port,
		method: plan.method,
		path: plan.target,
		agent: false,
		// A list is written as it is, repeated names included.
		headers: ["host", "shop.example", "x-diff-id", String(plan.id), ...plan.fields, ...framing] as unknown as Record<
			string,
			string
		>,
	});
	const answered = once(asking, "response");
	if (plan.framing === "none") asking.end();
	else void send(plan.id, plan.bodyBytes, asking).catch(() => undefined); // then there is no whole answer, either
	const [answer] = (await answered) as [IncomingMessage];
	return see(answer, `HTTP/${answer.httpVersion} ${answer.statusCode} ${answer.statusMessage}`);
};

/** Without the documented changes. */
export const without = (seen: Seen, changed: ReadonlySet<string>): Seen => ({
	...seen,
	fields: seen.fields.filter((line) => !changed.has(line.slice(0, line.indexOf(":")))),
});
