import type { IncomingMessage } from "node:http";
import type { RouteTemplate } from "../bridge/commands.ts";
import type { Address } from "../config/settings.ts";
import { unreachable } from "../foundation/assert.ts";
import type { Component } from "../foundation/component.ts";
import { isJsonObject } from "../foundation/json-object.ts";
import { request } from "../foundation/node-http.ts";

/**
 * The app's own routes, from its OpenAPI document (control thread).
 *
 * Asked for once the app is ready, with our own user agent. An app that has no document is not asked again; one that could not
 * answer (refused, too slow, 5xx) is asked again at most twice, each time that `appReady` is called. Nothing here throws,
 * retries by itself or follows a redirect: what came of it is handed to `onOutcome`, once per asking.
 */

/** Where frameworks keep it: FastAPI and most others; springdoc; Swagger 2 and Swashbuckle's root. Each is asked at most once. */
export const OPENAPI_PATHS: readonly string[] = ["/openapi.json", "/v3/api-docs", "/swagger.json"];
/** Bytes of a document; JSON of this size keeps the control thread for some 20 ms, once. */
const DOCUMENT_BYTES_MAX = 4 * 1024 * 1024;
/** For all paths together. */
const TIMEOUT_MS = 5_000;
const ASKINGS_MAX = 3;
/** Longest template; as `TEMPLATE_BYTES_MAX` of the route table, which is a floor of the data thread. */
const PATH_BYTES_MAX = 256;
/** Different prefixes of `servers` that are taken. */
const PREFIXES_MAX = 4;

const METHODS = ["get", "put", "post", "delete", "options", "head", "patch", "query"] as const;

export type OpenapiOutcome =
	| {
			readonly t: "found";
			readonly path: string;
			readonly templates: readonly RouteTemplate[];
			readonly left: number;
	  }
	/** No path has a document. Final. */
	| { readonly t: "absent" }
	/** `detail`: one sentence for the log. */
	| { readonly t: "failed"; readonly detail: string };

export interface OpenapiRoutesOptions {
	readonly app: Address;
	/** `settings.routes.openapi`. */
	readonly openapi: "auto" | "none" | string;
	/** `settings.routes.maxSeries`: the most templates that are taken. */
	readonly templatesMax: number;
	readonly userAgent: string;
	readonly onOutcome: (outcome: OpenapiOutcome) => void;
	readonly timeoutMs?: number;
	readonly documentBytesMax?: number;
}

/** Path of a server's URL without a slash at its end, its variables at their defaults; undefined: none that can be used. */
function prefixOf(server: unknown): string | undefined {
	if (!isJsonObject(server) || typeof server["url"] !== "string") return undefined;
	const variables = isJsonObject(server["variables"]) ? server["variables"] : {};
	let url = server["url"];
	for (const [name, variable] of Object.entries(variables)) {
		if (isJsonObject(variable) && typeof variable["default"] === "string")
			url = url.replaceAll(`{${name}}`, variable["default"]);
	}
	if (url.includes("{")) return undefined;
	const parsed = URL.parse(url, "http://localhost/");
	return parsed === null ? undefined : withoutLastSlash(parsed.pathname);
}

function withoutLastSlash(path: string): string {
	return path.endsWith("/") ? path.slice(0, -1) : path;
}

function prefixesOf(servers: unknown): readonly string[] {
	const prefixes: string[] = [];
	for (const server of Array.isArray(servers) ? servers.slice(0, PREFIXES_MAX) : []) {
		const prefix = prefixOf(server);
		if (prefix !== undefined && prefix !== "" && !prefixes.includes(prefix)) prefixes.push(prefix);
	}
	return prefixes;
}

/** Clients send what is not ASCII escaped (RFC 3986 §2.1), and templates are compared with what was sent. */
function escapeNonAscii(path: string): string {
	let escaped = "";
	for (const character of path.toWellFormed()) escaped += character > "~" ? encodeURIComponent(character) : character;
	return escaped;
}

function methodsOf(item: unknown): readonly string[] {
	if (!isJsonObject(item) || "$ref" in item) return [];
	const methods = METHODS.filter((method) => isJsonObject(item[method])).map((method) => method.toUpperCase());
	// Frameworks answer HEAD wherever they answer GET, and do not write it down.
	return methods.includes("GET") && !methods.includes("HEAD") ? [...methods, "HEAD"] : methods;
}

/**
 * The templates of an OpenAPI 3.x or Swagger 2 document: each path with the prefixes of `servers` (of the path, else of the document) or
 * `basePath`, and without, as what stands before the app may cut them. Undefined: `document` is neither. `left`: how many were left
 * out as malformed or beyond `templatesMax`.
 */
export function templatesOf(
	document: unknown,
	templatesMax: number,
): { readonly templates: readonly RouteTemplate[]; readonly left: number } | undefined {
	if (!isJsonObject(document) || !isJsonObject(document["paths"])) return undefined;
	const isSwagger = typeof document["swagger"] === "string";
	if (!isSwagger && typeof document["openapi"] !== "string") return undefined;
	const shared = isSwagger ? prefixesOf([{ url: document["basePath"] }]) : prefixesOf(document["servers"]);
	const templates = new Map<string, RouteTemplate>();
	let left = 0;
	for (const [raw, item] of Object.entries(document["paths"])) {
		if (raw.startsWith("x-")) continue; // an extension (OpenAPI 3.1 §4.9)
		const path = escapeNonAscii(raw);
		const own = isJsonObject(item) && Array.isArray(item["servers"]) ? prefixesOf(item["servers"]) : shared;
		const methods = methodsOf(item);
		for (const prefix of [...own, ""]) {
			const whole = prefix + path;
			if (
				!isTemplate(path) ||
				whole.length > PATH_BYTES_MAX ||
				(templates.size >= templatesMax && !templates.has(whole))
			) {
				left += 1;
			} else if (!templates.has(whole)) templates.set(whole, { path: whole, methods });
		}
	}
	return { templates: [...templates.values()], left };
}

function isTemplate(path: string): boolean {
	if (!path.startsWith("/")) return false;
	for (let i = 0; i < path.length; i += 1) {
		const code = path.charCodeAt(i);
		if (code <= 0x20 || code === 0x3f || code === 0x23) return false; // space and controls, "?", "#"
	}
	return true;
}

type Asked =
	| { readonly t: "document"; readonly text: string }
	| { readonly t: "absent" }
	| { readonly t: "failed"; readonly detail: string };

/** Asks the app for its document when it is ready. Safe to stop at any time. */
export class OpenapiRoutes implements Component {
	readonly name = "openapi-routes";
	readonly #options: OpenapiRoutesOptions;
	readonly #stopped = new AbortController();
	#askings = 0;
	#isFinal: boolean;
	#asking: Promise<void> | undefined;

	constructor(options: OpenapiRoutesOptions) {
		this.#options = options;
		this.#isFinal = options.openapi === "none";
	}

	async start(): Promise<void> {}

	/** To be called whenever the app has become ready. Returns at once; the outcome is handed over later. */
	appReady(): void {
		if (this.#isFinal || this.#asking !== undefined || this.#askings === ASKINGS_MAX || this.#stopped.signal.aborted)
			return;
		this.#askings += 1;
		this.#asking = this.#ask().then((outcome) => {
			this.#asking = undefined;
			if (this.#stopped.signal.aborted) return;
			this.#isFinal = outcome.t !== "failed";
			this.#options.onOutcome(outcome);
		});
	}

	async stop(): Promise<void> {
		this.#stopped.abort();
		await this.#asking;
	}

	async #ask(): Promise<OpenapiOutcome> {
		const { app, openapi, templatesMax } = this.#options;
		const timeoutMs = this.#options.timeoutMs === undefined ? TIMEOUT_MS : this.#options.timeoutMs;
		const bytesMax = this.#options.documentBytesMax === undefined ? DOCUMENT_BYTES_MAX : this.#options.documentBytesMax;
		const signal = AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(timeoutMs)]);
		const ask = (path: string): Promise<Asked> => this.#get(app, path, bytesMax, signal);
		try {
			const paths = openapi === "auto" ? OPENAPI_PATHS : [openapi];
			for (const path of paths) {
				const asked = await ask(path);
				switch (asked.t) {
					case "failed":
						return asked;
					case "absent":
						break;
					case "document": {
						const found = templatesOf(parseJson(asked.text), templatesMax);
						// Whoever answers every path with a page of its own has no document there: look on.
						if (found !== undefined) return { t: "found", path, ...found };
						break;
					}
					default:
						return unreachable(asked);
				}
			}
			return { t: "absent" };
		} catch (error) {
			return { t: "failed", detail: error instanceof Error ? error.message : "unknown" };
		}
	}

	/** One GET on a connection of its own. node:http, which is here anyway: undici would cost 20 MiB for one document. */
	async #get(app: Address, path: string, bytesMax: number, signal: AbortSignal): Promise<Asked> {
		try {
			const response = await new Promise<IncomingMessage>((resolve, reject) => {
				const place =
					app.kind === "unix" ? { socketPath: app.path } : { host: app.host ?? "127.0.0.1", port: app.port };
				const headers = { accept: "application/json", "user-agent": this.#options.userAgent, connection: "close" };
				request({ ...place, path, headers, agent: false, signal }, resolve)
					.on("error", reject)
					.end();
			});
			if (response.statusCode !== 200) {
				response.destroy();
				if ((response.statusCode ?? 0) < 500) return { t: "absent" };
				return { t: "failed", detail: `${path} was answered with ${response.statusCode}.` };
			}
			const blocks: Buffer[] = [];
			let bytes = 0;
			for await (const block of response as AsyncIterable<Buffer>) {
				bytes += block.length;
				if (bytes > bytesMax) throw new Error(`it is larger than ${bytesMax} bytes`);
				blocks.push(block);
			}
			return { t: "document", text: Buffer.concat(blocks).toString("utf8") };
		} catch (error) {
			const why = error instanceof Error ? error.message : "unknown";
			return { t: "failed", detail: `${path} could not be read: ${why}.` };
		}
	}
}

function parseJson(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch {
		return undefined; // the same as a document of another kind, and told as that
	}
}
