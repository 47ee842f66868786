import { createServer } from "node:net";
import { Agent, type AgentAddresses } from "../agent.ts";
import { renderAddress } from "../config/address.ts";
import type { FlagValue } from "../config/flags.ts";
import type { Address, Settings } from "../config/settings.ts";
import { type Clock, systemClock } from "../foundation/clock.ts";
import { Deadline } from "../foundation/deadline.ts";
import { LogSink } from "../foundation/log-sink.ts";
import { type Scheduler, systemScheduler } from "../foundation/scheduler.ts";
import { AppPort, tryConnect } from "../lifecycle/app-port.ts";
import { stopBudget } from "../lifecycle/budget.ts";
import { ChildApp, type ChildEnd, ChildStartError } from "../lifecycle/child-app.ts";
import type { DrainReport } from "../lifecycle/drain-report.ts";
import type { StopReason } from "../lifecycle/drain-sequence.ts";
import { choosePort, ephemeralPorts, type ListeningPort, listeningPorts } from "../lifecycle/listening-ports.ts";
import { type PortNews, PortWatch } from "../lifecycle/port-watch.ts";
import { type EndSignal, listenForEnd, type SignalSource, signalReason } from "../lifecycle/signals.ts";
import { rememberedAddresses } from "../lifecycle/source-address.ts";
import type { MoveReason } from "../lifecycle/state.ts";
import { type Command, EXIT, type Io, type ParsedArgs, stringOption, UsageError } from "./command.ts";
import { configOptions, isDefault, loadConfig, problemText, warningText } from "./load-config.ts";

/**
 * `outrigger run -- CMD`: an agent and its app on one machine, for a developer.
 *
 *   agent starts ─► CMD starts ─► its port is found ─► serving ─┬─ Ctrl-C, SIGTERM ─► drain ─► CMD is stopped ─┬─► agent stops, CMD's code
 *                                                              ├─ CMD ends by itself ──────────────────────────┤
 *                                                              └─ it listens on several ports ─► CMD is stopped ┘   (64)
 *
 * The agent is there before CMD, as in a pod, so that CMD can be told where it is. Everything that is said goes to standard error, and
 * CMD's own output to where CMD sent it. A second signal ends everything at once.
 */

/** What this command needs of the agent; `agent.ts` has it. */
export interface RunnableAgent {
	/** Rejects when a port cannot be bound or a part cannot start; nothing is left then. */
	start(): Promise<AgentAddresses>;
	/** Where the app of that entry of `inbound` listens, from now on. */
	setApp(inbound: number, app: Address): void;
	/** Announces and drains. Resolves when the app may be stopped; never rejects. A second call joins the first. */
	drain(startedBy: MoveReason): Promise<DrainReport>;
	/** The app's process has ended: ends a drain, or makes a short one. Never rejects. */
	appGone(): Promise<DrainReport>;
	/** Cuts what is in flight, in this turn. */
	endNow(why: StopReason): Promise<DrainReport>;
	/** Stops every part, and tells what was cut. Safe without `start`, safe twice; never rejects. */
	stop(): Promise<DrainReport>;
}

/** Two descriptors may be the same pipe, but never two sinks one descriptor: each would wait for the other's bytes. */
export interface RunSinks {
	readonly stdout: LogSink;
	readonly stderr: LogSink;
	/** For the agent's own lines: one of the two, or a file. */
	readonly agent: LogSink;
}

/** The effective settings before `run` adapts them, and which of them somebody asked for. */
export interface LoadedSettings {
	readonly settings: Settings;
	/** Whether this key (`drain.announceMin`, `inbound.0.listen`) has its default value. */
	readonly isDefault: (path: string) => boolean;
}

export interface RunParts {
	/** The settings; `undefined` when they are bad, which has then been said (exit code 78). */
	readonly load: (args: ParsedArgs, io: Io, flags: readonly FlagValue[]) => Promise<LoadedSettings | undefined>;
	readonly createAgent: (settings: Settings, sink: LogSink) => RunnableAgent;
	readonly openSinks: (settings: Settings) => RunSinks;
	readonly signals: SignalSource;
	/** Calls back in the last turn of our process, in which nothing can be waited for. What it returns ends that. */
	readonly atExit: (action: () => void) => () => void;
	readonly canListen: (address: Address) => Promise<boolean>;
	readonly look: (pid: number) => Promise<readonly ListeningPort[]>;
	readonly clock: Clock;
	readonly scheduler: Scheduler;
}

/** What is still to be written when everything has ended gets this long; who does not read holds up no exit. */
const FLUSH_MS = 1_000;
/** A second agent on one machine moves all of its default ports by this, a third by twice as much. */
const PORT_STEP = 20;
const PORT_TRIES = 10;
/** How often it is said that the app's port is not there, where it is known. */
const TELL_MS = 5_000;

export function makeRunCommand(parts: RunParts): Command {
	return {
		name: "run",
		summary: "start a command behind an agent on this machine",
		usage: "run [--app-port N] [--config FILE] [--set KEY=VALUE …] -- CMD [ARG …]",
		description:
			"Starts CMD, finds the port on which it listens, and puts an agent before it. Ctrl-C or SIGTERM drains, then stops CMD; a second one ends both at once. What CMD writes is passed on; the agent's own lines go to stderr, beside CMD's. The exit code is that of CMD, 128 + N when signal N ended it, 127 when there is no such program, 126 when it cannot be started.",
		examples: [
			["outrigger run -- node server.ts", "finds the port by itself"],
			["outrigger run --app-port 8000 -- uvicorn shop:app", "when CMD listens on several ports"],
		],
		options: {
			"app-port": {
				type: "string",
				placeholder: "N",
				summary: "the port on which CMD listens, when there are several",
			},
			...configOptions,
		},
		takesRest: true,
		leavesAtOnce: true,
		run: (args, io) => run(parts, args, io),
	};
}

async function run(parts: RunParts, args: ParsedArgs, io: Io): Promise<number> {
	const [program, ...programArgs] = args.rest ?? [];
	if (program === undefined) throw new UsageError("run needs a command: outrigger run -- CMD");
	const loaded = await parts.load(args, io, flagsOf(args));
	if (loaded === undefined) return EXIT.configuration;
	const adapted = forDeveloper(loaded);
	const { settings, movedBy } = await withFreePorts(adapted, loaded.isDefault, parts.canListen);
	const sinks = openSinks(parts, settings, io);
	if (sinks === undefined) return EXIT.failed;
	const say = (text: string): void => sinks.stderr.writeLine(`outrigger: ${text}\n`, "log");
	try {
		return await new Session(parts, settings, movedBy, sinks, say).run(program, programArgs, io);
	} finally {
		const deadline = Deadline.after(parts.clock, FLUSH_MS);
		await Promise.all([sinks.stdout.flush(deadline), sinks.stderr.flush(deadline), sinks.agent.flush(deadline)]);
	}
}

function openSinks(parts: RunParts, settings: Settings, io: Io): RunSinks | undefined {
	try {
		return parts.openSinks(settings);
	} catch (error) {
		io.stderr.write(`outrigger: log.destination ${settings.log.destination} cannot be opened: ${messageOf(error)}\n`);
		return undefined;
	}
}

function messageOf(error: unknown): string {
	return error instanceof Error ? error.message : String(error);
}

function flagsOf(args: ParsedArgs): readonly FlagValue[] {
	const text = stringOption(args, "app-port");
	if (text === undefined) return [];
	const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
	if (port < 1 || port > 65_535) {
		throw new UsageError(`--app-port: a port is a number from 1 to 65535, not ${JSON.stringify(text)}`);
	}
	return [{ flag: "--app-port", path: "inbound.0.app", text: `localhost:${port}` }];
}

/**
 * What is right in a pod and wrong on a laptop, unless somebody asked for it: no load balancer has to learn that we leave, so Ctrl-C
 * must not wait; and standard output belongs to CMD.
 */
export function forDeveloper({ settings, isDefault }: LoadedSettings): Settings {
	const { drain, log } = settings;
	return {
		...settings,
		drain: {
			...drain,
			announceMinMs: isDefault("drain.announceMin") ? 0 : drain.announceMinMs,
			quietMinMs: isDefault("drain.quietMin") ? 0 : drain.quietMinMs,
			quietMaxMs: isDefault("drain.quietMin") && isDefault("drain.quietMax") ? 0 : drain.quietMaxMs,
			report: isDefault("drain.report") ? "none" : drain.report,
		},
		log: { ...log, destination: isDefault("log.destination") ? "stderr" : log.destination },
	};
}

/**
 * The default ports, all moved by the same step when one of them is taken: the agent of a second service on this machine is then at
 * 9821, 9822 and 9830, and not at numbers that depend on who came when. A port that somebody asked for is never moved.
 */
export async function withFreePorts(
	settings: Settings,
	isDefault: (path: string) => boolean,
	canListen: (address: Address) => Promise<boolean>,
): Promise<{ readonly settings: Settings; readonly movedBy: number }> {
	const moved = (address: Address, path: string, by: number): Address =>
		address.kind === "tcp" && isDefault(path) ? { ...address, port: address.port + by } : address;
	for (let attempt = 0; attempt < PORT_TRIES; attempt += 1) {
		const by = attempt * PORT_STEP;
		const candidate: Settings = {
			...settings,
			inbound: settings.inbound.map((entry, index) => ({
				...entry,
				listen: moved(entry.listen, `inbound.${index}.listen`, by),
			})),
			ops: { ...settings.ops, listen: moved(settings.ops.listen, "ops.listen", by) },
			api: { ...settings.api, listen: moved(settings.api.listen, "api.listen", by) },
		};
		const ours = [
			...candidate.inbound.map(({ listen }, index) => ({ listen, path: `inbound.${index}.listen` })),
			{ listen: candidate.ops.listen, path: "ops.listen" },
			{ listen: candidate.api.listen, path: "api.listen" },
		].filter(({ path }) => isDefault(path));
		const free = await Promise.all(ours.map(({ listen }) => canListen(listen)));
		if (free.every((isFree) => isFree)) return { settings: candidate, movedBy: by };
	}
	return { settings, movedBy: 0 }; // the agent's start will name the port that is taken
}

type Event =
	| { readonly kind: "signal"; readonly signal: EndSignal }
	| { readonly kind: "ended"; readonly end: ChildEnd }
	| { readonly kind: "several"; readonly ports: readonly ListeningPort[] };

/** One agent and one app, from start to end. */
class Session {
	readonly #parts: RunParts;
	readonly #settings: Settings;
	readonly #movedBy: number;
	readonly #sinks: RunSinks;
	readonly #say: (text: string) => void;
	readonly #signalled = Promise.withResolvers<Event>();
	readonly #several = Promise.withResolvers<Event>();
	readonly #cleanUps: (() => void)[] = [];
	#agent: RunnableAgent | undefined;
	#child: ChildApp | undefined;
	#isHurried = false;
	#program = "";

	constructor(parts: RunParts, settings: Settings, movedBy: number, sinks: RunSinks, say: (text: string) => void) {
		this.#parts = parts;
		this.#settings = settings;
		this.#movedBy = movedBy;
		this.#sinks = sinks;
		this.#say = say;
	}

	async run(program: string, args: readonly string[], io: Io): Promise<number> {
		const { clock, scheduler, signals, atExit } = this.#parts;
		this.#program = [program, ...args].join(" ");
		this.#cleanUps.push(
			listenForEnd(signals, clock, {
				first: (signal) => this.#signalled.resolve({ kind: "signal", signal }),
				second: (signal) => this.#hurry(signal),
			}),
		);
		try {
			const agent = this.#parts.createAgent(this.#settings, this.#sinks.agent);
			this.#agent = agent;
			const addresses = await this.#startAgent(agent);
			if (addresses === undefined) return EXIT.failed;
			const env = childEnvironment(io.env, addresses, this.#settings.inbound[0]?.app);
			const out = { write: (bytes: Uint8Array) => passOn(this.#sinks.stdout, bytes) };
			const err = { write: (bytes: Uint8Array) => passOn(this.#sinks.stderr, bytes) };
			const child = await ChildApp.start({ program, args, env, cwd: io.cwd }, out, err, scheduler);
			this.#child = child;
			// If our process ends in a way that nobody foresaw, the app must not stay behind with its port.
			this.#cleanUps.push(atExit(() => child.kill()));
			if (this.#isHurried) child.kill();
			this.#watchPort(agent, addresses, child, env);
			return await this.#untilEnd(agent, child);
		} catch (error) {
			if (!(error instanceof ChildStartError)) throw error;
			this.#say(error.message);
			return error.exitCode;
		} finally {
			for (const cleanUp of this.#cleanUps.reverse()) cleanUp();
			await this.#agent?.stop();
		}
	}

	async #startAgent(agent: RunnableAgent): Promise<AgentAddresses | undefined> {
		try {
			const addresses = await agent.start();
			if (this.#movedBy > 0) {
				this.#say(`the usual ports are taken, probably by another agent: all are moved by ${this.#movedBy}`);
			}
			return addresses;
		} catch (error) {
			this.#say(`the agent cannot start: ${messageOf(error)}`);
			return undefined;
		}
	}

	#watchPort(agent: RunnableAgent, addresses: AgentAddresses, child: ChildApp, env: Environment): void {
		const app = this.#settings.inbound[0]?.app;
		if (app !== undefined) {
			this.#awaitKnownPort(app, addresses, child);
			return;
		}
		const ephemeral = ephemeralPorts();
		const preferred = Number(env["PORT"]);
		const watch = new PortWatch({
			look: () => this.#parts.look(child.pid),
			choose: (ports) => choosePort(ports, ephemeral, preferred),
			tell: (news) => this.#tell(news, agent, addresses),
			clock: this.#parts.clock,
			scheduler: this.#parts.scheduler,
		});
		this.#cleanUps.push(() => watch.stop());
		watch.start();
	}

	/** The port was told to us: it is only waited for. */
	#awaitKnownPort(app: Address, addresses: AgentAddresses, child: ChildApp): void {
		const { health } = this.#settings;
		const { clock, scheduler, look } = this.#parts;
		const port = new AppPort("app-port", app, health.app, {
			clock,
			scheduler,
			random: Math.random,
			ownAddresses: rememberedAddresses(),
			tryConnect,
		});
		const startedMs = clock.monotonicMs();
		let cancelTell = (): void => {};
		const tellLater = (): void => {
			cancelTell = scheduler.after(TELL_MS, async () => {
				const others = await look(child.pid);
				if (port.status.state === "accepts" || child.hasExited) return;
				const seconds = Math.round((clock.monotonicMs() - startedMs) / 1000);
				this.#say(
					`nothing answers at ${renderAddress(app)} after ${seconds} s${listensInstead(others)}; still waiting`,
				);
				tellLater();
			});
		};
		const end = (): void => {
			cancelTell();
			void port.stop();
		};
		port.subscribe(({ state, address }) => {
			if (state !== "accepts" || address === undefined) return;
			end();
			this.#say(greeting(`${this.#program} answers at ${renderAddress(address)}`, addresses));
		});
		this.#cleanUps.push(end);
		tellLater();
		void port.start();
	}

	#tell(news: PortNews, agent: RunnableAgent, addresses: AgentAddresses): void {
		switch (news.kind) {
			case "waiting":
				this.#say(
					`${this.#program} listens on no port yet, after ${Math.round(news.waitedMs / 1000)} s${listensInstead(news.others)}; ` +
						"still waiting. If it listens outside of its own processes (a container), say where: --app-port N",
				);
				return;
			case "found":
				agent.setApp(0, placeOf(news.port));
				if (news.previous === undefined) {
					this.#say(greeting(`${this.#program} listens on port ${news.port.port} (pid ${news.port.pid})`, addresses));
				} else if (news.previous !== news.port.port) {
					this.#say(`the app listens on port ${news.port.port} now, and no longer on ${news.previous}`);
				}
				return;
			case "also":
				this.#say(
					`the app listens on ${news.port.port} too; traffic goes to ${news.chosen}. To choose the other: --app-port ${news.port.port}`,
				);
				return;
			case "several":
				this.#several.resolve(news);
				return;
		}
	}

	async #untilEnd(agent: RunnableAgent, child: ChildApp): Promise<number> {
		const budget = stopBudget(this.#settings.drain);
		const ended = child.ended.then((end): Event => ({ kind: "ended", end }));
		const event = await Promise.race([ended, this.#signalled.promise, this.#several.promise]);
		switch (event.kind) {
			case "ended": {
				this.#say(`${this.#program} ${endText(event.end)}; stopping`);
				await agent.appGone();
				await child.stop(budget.appStopMs); // of its group, what has outlived it
				this.#say(`stopped${cutText(await agent.stop())}: the app ${endText(event.end)}`);
				return event.end.exitCode;
			}
			case "several": {
				this.#say(
					[
						"the app listens on several ports; say which of them gets the traffic:",
						...event.ports.map((port) => `  --app-port ${port.port}\t${port.args.join(" ")} (pid ${port.pid})`),
					].join("\n"),
				);
				await Promise.all([agent.endNow("asked"), child.stop(budget.appStopMs)]);
				return EXIT.usage;
			}
			case "signal": {
				if (!this.#isHurried) {
					this.#say(
						`${event.signal}: finishing what is in flight, at most ${Math.round(budget.drainMs / 1000)} s; once more ends at once`,
					);
				}
				void child.ended.then(() => agent.appGone());
				await agent.drain(signalReason(event.signal));
				const end = await child.stop(budget.appStopMs);
				this.#say(`stopped${cutText(await agent.stop())}: the app ${endText(end)}`);
				return end.exitCode;
			}
		}
	}

	#hurry(signal: EndSignal): void {
		this.#isHurried = true;
		this.#say(`${signal} again: ending at once`);
		void this.#agent?.endNow("second_signal");
		this.#child?.kill();
	}
}

type Environment = Readonly<Record<string, string | undefined>>;

/** CMD learns where its agent is. Its `PORT` is its own business: it is neither set nor changed. */
export function childEnvironment(env: Environment, addresses: AgentAddresses, app: Address | undefined): Environment {
	const { OUTRIGGER_AGENT_URL: _inherited, ...rest } = env; // of an agent that we may ourselves run behind
	return {
		...rest,
		...(addresses.api === undefined ? {} : { OUTRIGGER_AGENT_URL: agentUrl(addresses.api) }),
		...(app?.kind === "tcp" ? { OUTRIGGER_APP_PORT: String(app.port) } : {}),
	};
}

function agentUrl(api: Address): string {
	return api.kind === "unix" ? renderAddress(api) : `http://${renderAddress(reachable(api))}`;
}

/** An address that can be typed: who listens on all addresses is reached on loopback. */
function reachable(address: Address): Address {
	if (address.kind === "unix") return address;
	const isAny = address.host === undefined || address.host === "0.0.0.0" || address.host === "::";
	return isAny ? { ...address, host: "127.0.0.1" } : address;
}

/** `localhost` lets the agent find the family; an app that listens on one other address is looked for there. */
function placeOf({ port, addresses }: ListeningPort): Address {
	const isLocal = addresses.some((address) => ["0.0.0.0", "::", "127.0.0.1", "::1"].includes(address));
	return { kind: "tcp", host: isLocal ? "localhost" : addresses[0], port };
}

export function greeting(first: string, addresses: AgentAddresses): string {
	const [inbound] = addresses.inbound;
	const ops = `http://${renderAddress(reachable(addresses.ops))}`;
	const app =
		inbound === undefined
			? []
			: inbound.kind === "unix"
				? [inbound.path]
				: [`http://${renderAddress(reachable(inbound))}`];
	const curl =
		inbound?.kind === "unix" ? `curl -i --unix-socket ${inbound.path} http://localhost/` : `curl -i ${app[0]}/`;
	return [
		first,
		"",
		`  the app, through the agent  ${app.join("")}`,
		`  metrics and probes          ${ops}`,
		...(addresses.api === undefined ? [] : [`  for the app itself          ${agentUrl(addresses.api)}`]),
		"",
		"Three things to try:",
		`  ${curl}    # the answer carries x-request-id and x-correlation-id`,
		`  curl -s ${ops}/metrics | grep _seconds_count    # requests by route and status`,
		`  curl -i ${ops}/readyz    # whether traffic should come here`,
		"",
		"Ctrl-C finishes what is in flight, then stops the app.",
	].join("\n");
}

function listensInstead(ports: readonly ListeningPort[]): string {
	if (ports.length === 0) return "";
	return ` (it listens on ${ports.map(({ port }) => port).join(", ")})`;
}

function endText({ exitCode, signal }: ChildEnd): string {
	return signal === undefined ? `ended with code ${exitCode}` : `was ended by ${signal}`;
}

function cutText({ cut }: DrainReport): string {
	return cut === 0 ? "" : `, ${cut} exchange${cut === 1 ? "" : "s"} cut`;
}

function passOn(sink: LogSink, bytes: Uint8Array): void {
	sink.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), 1, "log");
}

/** Whether it can be bound now. Between this look and the agent's own bind somebody else may come; the start then says so. */
export function canListen(address: Address): Promise<boolean> {
	const { promise, resolve } = Promise.withResolvers<boolean>();
	if (address.kind === "unix") return Promise.resolve(true);
	const server = createServer();
	server.once("error", () => resolve(false));
	server.listen(
		{ ...(address.host === undefined ? {} : { host: address.host }), port: address.port, exclusive: true },
		() => server.close(() => resolve(true)),
	);
	return promise;
}

export const runCommand: Command = makeRunCommand({
	load: async (args, io, flags) => {
		const loaded = await loadConfig(args, io, { app: "found_later", flags });
		if ("problems" in loaded) {
			io.stderr.write(problemText(loaded.problems, io));
			return undefined;
		}
		io.stderr.write(warningText(loaded.warnings, io));
		return { settings: loaded.settings, isDefault: (path) => isDefault(loaded, path) };
	},
	createAgent: (settings, sink) => new Agent({ settings, clock: systemClock, scheduler: systemScheduler, sink }),
	openSinks: ({ log }) => {
		const stdout = LogSink.open("stdout", log.bufferBytesMax);
		const stderr = LogSink.open("stderr", log.bufferBytesMax);
		const own = log.destination === "stdout" ? stdout : log.destination === "stderr" ? stderr : undefined;
		return { stdout, stderr, agent: own ?? LogSink.open(log.destination, log.bufferBytesMax) };
	},
	signals: process,
	atExit: (action) => {
		process.once("exit", action);
		return () => process.off("exit", action);
	},
	canListen,
	look: (pid) => listeningPorts(pid),
	clock: systemClock,
	scheduler: systemScheduler,
});
