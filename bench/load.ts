/**
 * The load: wrk, one thread, told by a script what to send and asked by the same script for its numbers as JSON
 * (its printed table rounds). A result with any error in it is not a result: `refusalOf` names it.
 */
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface LoadOrder {
	readonly port: number;
	readonly path: string;
	readonly connections: number;
	readonly uploadBytes: number;
	/** Whole seconds: wrk knows no smaller unit. */
	readonly seconds: number;
	/** Mean pause of each connection between an answer and the next request; 0: none, as fast as it goes. */
	readonly pauseMs: number;
}

export interface LoadResult {
	/** Answers that were received whole. */
	readonly requests: number;
	/** Bytes received, heads and unfinished answers included. */
	readonly bytes: number;
	readonly seconds: number;
	readonly p50Us: number;
	readonly p99Us: number;
	readonly maxUs: number;
	readonly errors: Readonly<Record<"connect" | "read" | "write" | "status" | "timeout", number>>;
}

/** Sends load and says what came of it. The tests hand in another one than wrk. */
export type Load = (order: LoadOrder) => Promise<LoadResult>;

const MARK = "@outrigger-bench ";
const ERRORS = ["connect", "read", "write", "status", "timeout"] as const;

/** What wrk is to do: the request is made once, so that the script costs nothing per request unless it must pause. */
export function wrkScript(order: Pick<LoadOrder, "uploadBytes" | "pauseMs">): string {
	const lines = ['wrk.headers["user-agent"] = "outrigger-bench"', 'wrk.headers["accept"] = "*/*"'];
	if (order.uploadBytes > 0) {
		lines.push(
			'wrk.method = "POST"',
			'wrk.headers["content-type"] = "application/octet-stream"',
			`wrk.body = string.rep("x", ${order.uploadBytes})`,
		);
	}
	if (order.pauseMs > 0) {
		lines.push(`function delay() return math.random(0, ${2 * order.pauseMs}) end`);
	}
	const number = (key: string, value: string): string => `string.format('"${key}":%.0f', ${value})`;
	const parts = [
		number("requests", "summary.requests"),
		number("bytes", "summary.bytes"),
		number("durationUs", "summary.duration"),
		number("p50Us", "latency:percentile(50)"),
		number("p99Us", "latency:percentile(99)"),
		number("maxUs", "latency.max"),
		...ERRORS.map((key) => number(key, `summary.errors.${key}`)),
	];
	lines.push(
		"function done(summary, latency)",
		`  io.write("\\n${MARK}{" .. table.concat({${parts.join(", ")}}, ",") .. "}\\n")`,
		"end",
	);
	return `${lines.join("\n")}\n`;
}

/**
 * Finds our line in what wrk printed.
 * @throws when it is not there, with what is there instead
 */
export function parseWrk(output: string): LoadResult {
	const line = output.split("\n").find((text) => text.startsWith(MARK));
	if (line === undefined) throw new Error(`wrk gave no result: ${output.trim().slice(0, 500)}`);
	const fields: unknown = JSON.parse(line.slice(MARK.length));
	const field = (key: string): number => {
		const value = typeof fields === "object" && fields !== null ? Reflect.get(fields, key) : undefined;
		if (typeof value !== "number" || !Number.isFinite(value)) throw new Error(`wrk gave no "${key}": ${line}`);
		return value;
	};
	return {
		requests: field("requests"),
		bytes: field("bytes"),
		seconds: field("durationUs") / 1e6,
		p50Us: field("p50Us"),
		p99Us: field("p99Us"),
		maxUs: field("maxUs"),
		errors: {
			connect: field("connect"),
			read: field("read"),
			write: field("write"),
			status: field("status"),
			timeout: field("timeout"),
		},
	};
}

/** Why this result must not be used; undefined when it may. */
export function refusalOf(result: LoadResult): string | undefined {
	const told = ERRORS.filter((key) => result.errors[key] > 0).map((key) => `${result.errors[key]} ${key}`);
	if (told.length > 0) return `errors: ${told.join(", ")} (in ${result.requests} requests)`;
	if (result.requests === 0) return "not one request was answered";
	return undefined;
}

/** wrk's own patience with one answer: 1,000 connections with 1 MiB each take a second a turn. */
const ANSWER_SECONDS_MAX = 30;

/** @param folder where the scripts are written; @param wrk the executable */
export function wrkLoad(folder: string, wrk = "wrk"): Load {
	mkdirSync(folder, { recursive: true });
	return async (order) => {
		const script = join(folder, `wrk-${order.uploadBytes}-${order.pauseMs}.lua`);
		writeFileSync(script, wrkScript(order));
		const args = ["-t1", `-c${order.connections}`, `-d${order.seconds}s`, `--timeout=${ANSWER_SECONDS_MAX}s`];
		const url = `http://127.0.0.1:${order.port}${order.path}`;
		const child = spawn(wrk, [...args, "-s", script, url], { stdio: ["ignore", "pipe", "pipe"] });
		let output = "";
		child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
		child.stderr.setEncoding("utf8").on("data", (text: string) => (output += text));
		await new Promise<void>((resolve, reject) => {
			child.on("error", reject);
			child.on("close", () => resolve());
		});
		return parseWrk(output);
	};
}
