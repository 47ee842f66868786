import type { IncomingMessage, RequestOptions } from "node:http";
import type { LookupFunction } from "node:net";
import { isLoopback, renderAddress } from "../config/address.ts";
import type { Address } from "../config/settings.ts";
import { request } from "../foundation/node-http.ts";
import { HEALTH_JSON_BYTES_MAX, type HealthJson, isHealthJson, readHealthJson } from "./health-json.ts";
import type { HealthFinding } from "./health-tree.ts";
import type { Check } from "./scheduled-check.ts";

/**
 * One GET of a health page, as the kubelet asks it: 2xx and 3xx pass, redirects are not followed, the body must come whole. It is kept only when it is
 * `application/health+json`; any other is read and thrown away up to the same bound, so that an app does not find a reset connection
 * in its log after each check.
 *
 * Whoever answers may be broken or hostile: the head, the body and the number of interim answers are bounded, and everything ends with `signal`. Every
 * asking has a connection of its own and says that it closes it.
 */
export interface HealthPage {
	readonly address: Address;
	readonly isTls: boolean;
	/** Whether the certificate is looked at. */
	readonly isVerified: boolean;
	/** With the query, which is sent and never shown. */
	readonly path: string;
	/** `user:password` of the URL: sent, never shown. */
	readonly auth: string | undefined;
}

/** What every check is handed. */
export interface AskingParts {
	readonly userAgent: string;
	/** A door of `NameLookups`, for this check alone. */
	readonly lookup: LookupFunction;
}

export type HttpOutcome =
	| { readonly t: "answered"; readonly status: number; readonly health: HealthJson | undefined }
	/** Whoever listens there does not speak HTTP/1, or says nothing at all. */
	| { readonly t: "alien"; readonly reason: string; readonly detail: string }
	| { readonly t: "failed"; readonly reason: string; readonly detail: string };

const HEAD_BYTES_MAX = 16_384;
/** Answers 1xx before the answer. */
const INTERIM_MAX = 16;
const ACCEPT = "application/health+json, application/json;q=0.9, */*;q=0.8";

/** The page of an `http://` or `https://` URL. `isOwn`: of the app itself, whose certificate nobody looks at: the kubelet does not either. */
export function pageOfUrl(text: string, isOwn: boolean): HealthPage {
	const url = new URL(text);
	const isTls = url.protocol === "https:";
	const host = url.hostname.replace(/^\[|\]$/g, "");
	const address: Address = { kind: "tcp", host, port: url.port === "" ? (isTls ? 443 : 80) : Number(url.port) };
	const auth =
		url.username === "" && url.password === ""
			? undefined
			: `${decodeLeniently(url.username)}:${decodeLeniently(url.password)}`;
	return {
		address,
		isTls,
		// What does not leave the pod needs no proof of who answers, and is self-signed more often than not.
		isVerified: !isOwn && !isLoopback(address),
		path: `${url.pathname}${url.search}`,
		auth,
	};
}

/** For details: without query and password. */
export function renderPage({ address, isTls, path }: HealthPage): string {
	const where =
		address.kind === "unix" ? `${renderAddress(address)} ` : `http${isTls ? "s" : ""}://${renderAddress(address)}`;
	return `GET ${where}${path.split("?", 1)[0]}`;
}

export function httpCheck(page: HealthPage, parts: AskingParts): Check {
	return async (signal) => judgeHttp(page, await askHttp(page, parts, signal));
}

/** Never rejects. After `signal` the outcome does not matter; the connection is gone. */
export function askHttp(page: HealthPage, parts: AskingParts, signal: AbortSignal): Promise<HttpOutcome> {
	return new Promise((resolve) => {
		const outgoing = send(page, parts);
		let interim = 0;
		let hasAnswer = false;
		// Called more than once without harm: what is first counts, and what follows are the sounds of destroying.
		const end = (outcome: HttpOutcome): void => {
			signal.removeEventListener("abort", onAbort);
			resolve(outcome);
			outgoing.destroy();
		};
		const onAbort = (): void => end({ t: "failed", reason: "timeout", detail: "it was cut off" });
		const countInterim = (): void => {
			interim += 1;
			if (interim > INTERIM_MAX) {
				end({ t: "failed", reason: "bad_answer", detail: `more than ${INTERIM_MAX} interim answers (1xx)` });
			}
		};
		outgoing.on("information", countInterim);
		outgoing.on("response", (response) => {
			hasAnswer = true;
			readBody(response, end);
		});
		outgoing.on("error", (error: NodeJS.ErrnoException) => {
			// What goes wrong after the head is told by the response, which knows whether it was whole.
			if (!hasAnswer) end(explain(error, page, outgoing.socket?.bytesRead ?? 0));
		});
		// 101 without an upgrade to wait for ends without an error.
		outgoing.on("close", () => {
			if (!hasAnswer)
				end({ t: "failed", reason: "bad_answer", detail: "it switched to a protocol that nobody asked for" });
		});
		if (signal.aborted) onAbort();
		else signal.addEventListener("abort", onAbort);
		outgoing.end();
	});
}

function send(page: HealthPage, { userAgent, lookup }: AskingParts): ReturnType<typeof request> {
	const { address, path, auth } = page;
	const options: RequestOptions = {
		...(address.kind === "unix"
			? { socketPath: address.path }
			: { host: address.host ?? "127.0.0.1", port: address.port, lookup }),
		path,
		...(auth === undefined ? {} : { auth }),
		headers: { accept: ACCEPT, "user-agent": userAgent, connection: "close" },
		agent: false,
		maxHeaderSize: HEAD_BYTES_MAX,
	};
	if (!page.isTls) return request(options);
	// TLS is loaded with the first check that needs it.
	return process.getBuiltinModule("node:https").request({ ...options, rejectUnauthorized: page.isVerified });
}

function readBody(response: IncomingMessage, end: (outcome: HttpOutcome) => void): void {
	const status = response.statusCode ?? 0;
	const isKept = isHealthJson(response.headers["content-type"]);
	const blocks: Buffer[] = [];
	let bytes = 0;
	response.on("data", (block: Buffer) => {
		bytes += block.length;
		if (bytes > HEALTH_JSON_BYTES_MAX) {
			const problem = `it is larger than ${HEALTH_JSON_BYTES_MAX} bytes`;
			const health: HealthJson = { status: undefined, detail: undefined, children: [], left: 0, problem };
			end({ t: "answered", status, health: isKept ? health : undefined });
		} else if (isKept) blocks.push(block);
	});
	response.on("end", () =>
		end({ t: "answered", status, health: isKept ? readHealthJson(Buffer.concat(blocks).toString("utf8")) : undefined }),
	);
	const broken = (): void =>
		end({ t: "failed", reason: "broken_off", detail: `its answer (${status}) broke off or has bad framing` });
	response.on("error", broken);
	response.on("close", broken);
}

function explain(error: NodeJS.ErrnoException, page: HealthPage, bytesRead: number): HttpOutcome {
	const code = error.code ?? error.name;
	if (code === "HPE_INVALID_CONSTANT" || code === "HPE_INVALID_VERSION") {
		return { t: "alien", reason: "bad_answer", detail: "what answers there does not speak HTTP/1" };
	}
	if (code === "HPE_HEADER_OVERFLOW") {
		return {
			t: "failed",
			reason: "bad_answer",
			detail: `the head of its answer is larger than ${HEAD_BYTES_MAX} bytes`,
		};
	}
	if (code.startsWith("HPE_"))
		return { t: "failed", reason: "bad_answer", detail: `its answer is malformed (${code})` };
	if (code === "ECONNRESET" || code === "EPIPE") {
		return bytesRead === 0
			? { t: "alien", reason: "no_answer", detail: "it closed the connection without an answer" }
			: { t: "failed", reason: "broken_off", detail: "it closed the connection in the middle of its answer" };
	}
	return { t: "failed", ...explainConnecting(error, page.isTls) };
}

/** Why there is no connection, in a name and in words. */
export function explainConnecting(
	error: NodeJS.ErrnoException,
	isTls: boolean,
): { readonly reason: string; readonly detail: string } {
	const code = error.code ?? error.name;
	switch (code) {
		case "ECONNREFUSED":
		case "ENOENT":
			return { reason: "connect_refused", detail: `nobody listens there (${code})` };
		case "ENOTFOUND":
		case "EAI_AGAIN":
			return { reason: "name_unresolved", detail: `the name cannot be resolved (${code})` };
		case "ETIMEDOUT":
		case "EHOSTUNREACH":
		case "ENETUNREACH":
			return { reason: "connect_failed", detail: `there is no way there (${code})` };
		case "EPROTO":
			return { reason: "tls_failed", detail: "it does not speak TLS, or none that is spoken here (EPROTO)" };
		default:
			return isTls
				? { reason: "tls_failed", detail: `no TLS with it: ${error.message.split(";", 1)[0]}` } // behind it: advice for Node's command line
				: { reason: "connect_failed", detail: `no connection: ${error.message}` };
	}
}

/** The finding that an outcome comes to. Status and document must both be good: an app that says `fail` with a 200 means it. */
export function judgeHttp(page: HealthPage, outcome: HttpOutcome): HealthFinding {
	const asked = renderPage(page);
	if (outcome.t !== "answered")
		return { status: "fail", reason: outcome.reason, detail: `${asked}: ${outcome.detail}` };
	const { status, health } = outcome;
	const isGood = status >= 200 && status < 400;
	const parts = [`${asked} was answered with ${status}`];
	if (health?.problem !== undefined) parts.push(`its application/health+json is of no use, ${health.problem}`);
	if (health?.detail !== undefined) parts.push(health.detail);
	if (health !== undefined && health.left > 0) parts.push(`${health.left} of its checks were left out`);
	const finding = { detail: parts.join("; "), children: health?.children };
	if (!isGood) return { status: "fail", reason: "http_status", ...finding };
	if (health?.status === "fail") return { status: "fail", reason: "says_fail", ...finding };
	if (health?.status === "warn") return { status: "warn", reason: "says_warn", ...finding };
	return { status: "pass", ...finding };
}

/** Of percent-encoding; what is not encoded rightly is meant as it stands. */
export function decodeLeniently(text: string): string {
	try {
		return decodeURIComponent(text);
	} catch {
		return text;
	}
}
