/** Builds and starts the app that stands behind every proxy (origin.c). */
import { spawnSync } from "node:child_process";
import { mkdirSync, statSync } from "node:fs";
import { get } from "node:http";
import { join } from "node:path";
import { CACHE_FOLDER } from "./executables.ts";
import { freePort, type Process, startProcess, waitForAnswer } from "./processes.ts";

const SOURCE = join(import.meta.dirname, "origin.c");

export interface OriginCounts {
	readonly requests: number;
	/** Bytes of request bodies that were read to their end or cut. */
	readonly bodyBytes: number;
}

export interface Origin {
	readonly port: number;
	readonly process: Process;
	counts(): Promise<OriginCounts>;
}

/** Compiles origin.c once, and again when it has changed. */
function buildOrigin(): string {
	mkdirSync(CACHE_FOLDER, { recursive: true });
	const binary = join(CACHE_FOLDER, "origin");
	const built = statSync(binary, { throwIfNoEntry: false });
	if (built !== undefined && built.mtimeMs > statSync(SOURCE).mtimeMs) return binary;
	const done = spawnSync("cc", ["-O2", "-o", binary, SOURCE], { encoding: "utf8" });
	if (done.status !== 0) throw new Error(`cc could not build bench/origin.c: ${done.stderr || done.error?.message}`);
	return binary;
}

/** @param pageBytes size of the page that the app itself serves at /metrics */
export async function startOrigin(folder: string, cores: string | undefined, pageBytes: number): Promise<Origin> {
	const binary = buildOrigin();
	const port = await freePort();
	const process = startProcess({
		argv: [binary, String(port), String(pageBytes)],
		stdoutFile: join(folder, "origin.log"),
		stderrFile: join(folder, "origin.log"),
		...(cores === undefined ? {} : { cores }),
	});
	await waitForAnswer(port, 5000, process.hasEnded);
	return { port, process, counts: () => readCounts(port) };
}

export async function readCounts(port: number): Promise<OriginCounts> {
	const counts: unknown = JSON.parse((await fetchBody(port, "/stats")).text());
	if (typeof counts === "object" && counts !== null && "requests" in counts && "bodyBytes" in counts) {
		return { requests: Number(counts.requests), bodyBytes: Number(counts.bodyBytes) };
	}
	throw new Error("the app does not tell its counts");
}

export interface Fetched {
	readonly status: number;
	readonly bytes: number;
	text(): string;
}

/** One GET on a connection of its own; the body is kept, so it is for pages, not for load. */
export function fetchBody(port: number, path: string, headers: Record<string, string> = {}): Promise<Fetched> {
	return new Promise((resolve, reject) => {
		const request = get({ host: "127.0.0.1", port, path, headers, agent: false, timeout: 30_000 }, (response) => {
			const chunks: Buffer[] = [];
			let bytes = 0;
			response.on("data", (chunk: Buffer) => {
				chunks.push(chunk);
				bytes += chunk.length;
			});
			response.on("error", reject);
			response.on("end", () => {
				resolve({ status: response.statusCode ?? 0, bytes, text: () => Buffer.concat(chunks).toString("utf8") });
			});
		});
		request.on("timeout", () => request.destroy(new Error(`no answer to ${path} within 30 s`)));
		request.on("error", reject);
	});
}
