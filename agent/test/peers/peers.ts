import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { Running } from "./processes.ts";
import { apps, tool, tools } from "./tools.ts";

/** What is tested: the bundle as it ships. `TEST_BUNDLE`: another one than that of this tree. */
export const bundle = process.env["TEST_BUNDLE"] ?? fileURLToPath(new URL("../../dist/main.js", import.meta.url));

const LISTENS = /(?:listening on|running on|Listening at:?) (?:http:\/\/)?127\.0\.0\.1:(\d+)/i;

/** An app that listens. */
export class App {
	readonly process: Running;
	readonly port: number;

	constructor(process: Running, port: number) {
		this.process = process;
		this.port = port;
	}

	get url(): string {
		return `http://127.0.0.1:${this.port}`;
	}

	stop(): Promise<number> {
		return this.process.stop();
	}
}

/** Starts a program that says on which port of 127.0.0.1 it listens. */
export async function startApp(
	program: string,
	args: readonly string[],
	env: Readonly<Record<string, string>> = {},
): Promise<App> {
	const process = new Running(program, args, { env });
	try {
		const [, port] = await process.line(LISTENS);
		return new App(process, Number(port));
	} catch (error) {
		await process.stop("SIGKILL");
		throw error;
	}
}

/** The command line of each app of this folder: the same for `startApp` and for `outrigger run`. */
export const commandOf = {
	node: () => [process.execPath, [`${apps}node/http-app.mjs`, "ws"]],
	go: () => [tool("go"), ["server"]],
	java: () => [tool("java"), ["-XX:TieredStopAtLevel=1", "-cp", tools.javaClasses, "Server"]],
	uvicorn: () => [tool("uvicorn"), ["--app-dir", `${apps}python`, "--port", "0", "fastapi_app:app"]],
	gunicorn: () => [
		tool("gunicorn"),
		["--chdir", `${apps}python`, "--bind", "127.0.0.1:0", "--threads", "16", "wsgi_app:app"],
	],
	aiohttp: () => [tool("python"), [`${apps}python/aiohttp_app.py`]],
	httpServer: () => [tool("python"), [`${apps}python/http_server_app.py`]],
} as const satisfies Record<string, () => readonly [string, readonly string[]]>;

export type AppName = keyof typeof commandOf;

export const startNamed = (name: AppName): Promise<App> => {
	const [program, args] = commandOf[name]();
	return startApp(program, args);
};

/** The settings of every agent here: ports by the system, and no waiting at its end. */
export const AGENT_ENV: Readonly<Record<string, string>> = {
	OUTRIGGER_INBOUND__0__LISTEN: "127.0.0.1:0",
	OUTRIGGER_OPS__LISTEN: "127.0.0.1:0",
	OUTRIGGER_API__LISTEN: "127.0.0.1:0",
	OUTRIGGER_DRAIN__REPORT: "none",
	OUTRIGGER_DRAIN__SIGTERM: "stop",
};

/** An access line or another line of the agent's log. */
export type LogLine = Readonly<Record<string, unknown>>;

/** The built agent before an app. */
export class AgentProcess {
	readonly process: Running;
	/** `host:port`, or a path. */
	readonly inbound: string;
	readonly ops: string;

	constructor(process: Running, inbound: string, ops: string) {
		this.process = process;
		this.inbound = inbound;
		this.ops = `http://${ops}`;
	}

	get url(): string {
		return `http://${this.inbound}`;
	}

	get port(): number {
		return Number(this.inbound.slice(this.inbound.lastIndexOf(":") + 1));
	}

	/** The first line with that member and value, past or to come. */
	async log(member: string, value: unknown): Promise<LogLine> {
		const pair = `${JSON.stringify(member)}:${JSON.stringify(value)}`;
		const [line] = await this.process.line(
			new RegExp(`^.*${pair.replaceAll(/[$()*+.?[\]\\^{|}]/g, "\\$&")}.*$`),
			20_000,
		);
		return JSON.parse(line) as LogLine;
	}

	async metricsPage(headers: Readonly<Record<string, string>> = {}): Promise<string> {
		const answer = await fetch(`${this.ops}/metrics`, { headers });
		const page = await answer.text();
		if (!answer.ok) throw new Error(`/metrics answers ${answer.status}: ${page}`);
		return page;
	}

	/** The value of a series of 9801, 0 when it is not there. */
	async metric(series: string): Promise<number> {
		const page = await this.metricsPage();
		const line = page.split("\n").find((text) => text.startsWith(`${series} `));
		return Number(line?.slice(series.length + 1) ?? 0);
	}

	/** Ends it. Rejects when it had ended by itself before, or a part of it had died: no peer may bring that about. */
	async stop(): Promise<number> {
		const hadEnded = this.process.hasExited;
		const code = await this.process.stop();
		const died = this.process.lines.filter((line) => line.includes('"a data thread died'));
		if (hadEnded || died.length > 0) {
			throw new Error(`the agent had ended with ${code}:\n${[...died, ...this.process.lines.slice(-20)].join("\n")}`);
		}
		return code;
	}
}

/** Starts the built agent. `app`: a port of 127.0.0.1, or any value of `inbound[].app`. */
export async function startAgent(
	app: number | string,
	env: Readonly<Record<string, string>> = {},
): Promise<AgentProcess> {
	if (!existsSync(bundle)) throw new Error("there is no bundle to test: npm run build");
	const process_ = new Running(process.execPath, [bundle, "agent"], {
		env: {
			...AGENT_ENV,
			OUTRIGGER_INBOUND__0__APP: typeof app === "number" ? `127.0.0.1:${app}` : app,
			...env,
		},
	});
	try {
		const [line] = await process_.line(/^\{.*"msg":"listening".*$/);
		const { inbound, ops } = JSON.parse(line) as { inbound: string; ops: string };
		return new AgentProcess(process_, inbound, ops);
	} catch (error) {
		await process_.stop("SIGKILL");
		throw error;
	}
}

/** A port that was free a moment ago, for programs that cannot be told 0. */
export function freePort(): Promise<number> {
	const { promise, resolve, reject } = Promise.withResolvers<number>();
	const server = createServer();
	server.once("error", reject);
	server.listen(0, "127.0.0.1", () => {
		const address = server.address();
		server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
	});
	return promise;
}

/** Asks again and again until the answer is right; for what other programs do in their own time. */
export async function eventually<T>(look: () => Promise<T | undefined>, what: string, withinMs = 30_000): Promise<T> {
	const until = performance.now() + withinMs;
	let last = "";
	while (performance.now() < until) {
		try {
			const found = await look();
			if (found !== undefined) return found;
		} catch (error) {
			last = String(error);
		}
		await new Promise((resolve) => setTimeout(resolve, 50));
	}
	throw new Error(`${what}: not within ${withinMs} ms. ${last}`);
}

/** The content of every large body: 0 to 250, over and over. */
export const pattern = (bytes: number): Buffer =>
	Buffer.alloc(bytes, Buffer.from(Array.from({ length: 251 }, (_, i) => i)));
