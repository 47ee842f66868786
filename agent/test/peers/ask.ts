import { type Agent, type IncomingHttpHeaders, type IncomingMessage, request } from "node:http";

export interface Asking {
	readonly method?: string;
	readonly path?: string;
	readonly headers?: Readonly<Record<string, string>>;
	/** A list of pieces goes chunked. */
	readonly body?: Buffer | readonly Buffer[];
	readonly agent?: Agent;
	readonly localAddress?: string;
}

export interface Answer {
	readonly status: number;
	readonly headers: IncomingHttpHeaders;
	readonly body: Buffer;
	readonly trailers: NodeJS.Dict<string>;
	readonly informational: readonly number[];
	/** Whether the request went over a connection that had carried another one. */
	readonly isReused: boolean;
}

/** One exchange with node:http as client: no redirects, no decoding, nothing tried again. */
export function ask(base: string, asking: Asking = {}): Promise<Answer> {
	const { promise, resolve, reject } = Promise.withResolvers<Answer>();
	const { method = "GET", path = "/", headers = {}, body, agent, localAddress } = asking;
	const isChunked = Array.isArray(body);
	const informational: number[] = [];
	const outgoing = request(
		new URL(base),
		{
			method,
			path,
			headers: {
				...headers,
				...(Buffer.isBuffer(body) ? { "content-length": String(body.length) } : {}),
				...(isChunked ? { "transfer-encoding": "chunked" } : {}),
			},
			agent: agent ?? false,
			...(localAddress === undefined ? {} : { localAddress }),
		},
		(response) => {
			const chunks: Buffer[] = [];
			response.on("data", (bytes: Buffer) => chunks.push(bytes));
			response.on("error", reject);
			response.on("end", () =>
				resolve({
					status: response.statusCode ?? 0,
					headers: response.headers,
					body: Buffer.concat(chunks),
					trailers: response.trailers,
					informational,
					isReused: outgoing.reusedSocket,
				}),
			);
		},
	);
	outgoing.on("information", ({ statusCode }) => informational.push(statusCode));
	outgoing.on("error", reject);
	if (isChunked) for (const piece of body) outgoing.write(piece);
	outgoing.end(Buffer.isBuffer(body) ? body : undefined);
	return promise;
}

/** Asks and hands over the answer when its head has come; the caller reads or destroys it. */
export function open(base: string, path: string): Promise<IncomingMessage> {
	const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
	request(new URL(path, base), { agent: false }, resolve).on("error", reject).end();
	return promise;
}
