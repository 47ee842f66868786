import { Agent } from "../agent.ts";
import { renderAddress } from "../config/address.ts";
import { systemClock } from "../foundation/clock.ts";
import { Deadline } from "../foundation/deadline.ts";
import { LogSink } from "../foundation/log-sink.ts";
import { systemScheduler } from "../foundation/scheduler.ts";
import { agentStopBudget, stopBudget } from "../lifecycle/budget.ts";
import { drainExitCode } from "../lifecycle/drain-report.ts";
import { listenForFaults } from "../lifecycle/process-faults.ts";
import { type EndSignal, listenForEnd, signalReason } from "../lifecycle/signals.ts";
import { type Command, EXIT, type Io, type ParsedArgs } from "./command.ts";
import { configOptions, loadConfig, problemText, warningText } from "./load-config.ts";

/** `outrigger agent`: the sidecar process. */
export const agentCommand: Command = {
	name: "agent",
	summary: "run the sidecar",
	usage: "agent [--config FILE] [--set KEY=VALUE …]",
	description:
		"Stands before the app of this pod until SIGTERM, then drains (drain.sigterm: stop ends at once). Exit code 0 when everything was finished, 3 when a drain cut something, 78 when the configuration is bad.",
	examples: [["OUTRIGGER_APP_PORT=3000 outrigger agent", "everything else has a default"]],
	options: configOptions,
	leavesAtOnce: true,
	run: runAgent,
};

async function runAgent(args: ParsedArgs, io: Io): Promise<number> {
	const loaded = await loadConfig(args, io, { app: "required" });
	if ("problems" in loaded) {
		io.stderr.write(problemText(loaded.problems, io));
		return EXIT.configuration;
	}
	io.stderr.write(warningText(loaded.warnings, io));
	const { settings } = loaded;
	const sink = openSink(settings.log.destination, settings.log.bufferBytesMax, io);
	if (sink === undefined) return EXIT.failed;

	const agent = new Agent({ settings, clock: systemClock, scheduler: systemScheduler, sink });
	const signalled = Promise.withResolvers<EndSignal | "fault">();
	let hasFaulted = false;
	const stopFaults = listenForFaults(process, agent.log, {
		onFault: () => {
			hasFaulted = true;
			void agent.fault(); // also in the middle of a drain
			signalled.resolve("fault");
		},
		onSecond: () => void agent.endNow("fault"),
	});
	const stopListening = listenForEnd(process, systemClock, {
		first: (signal) => signalled.resolve(signal),
		second: () => void agent.endNow("second_signal"),
	});
	try {
		const started = agent.start();
		started.catch(() => undefined); // who is told to end while he starts need not hear that he could not
		const addresses = await Promise.race([started, signalled.promise.then(() => undefined)]);
		if (addresses !== undefined)
			agent.log.info("listening", {
				inbound: addresses.inbound.map(renderAddress).join(","),
				ops: renderAddress(addresses.ops),
				...(addresses.api === undefined ? {} : { api: renderAddress(addresses.api) }),
			});
		const signal = await signalled.promise;
		if (signal === "fault") await agent.fault();
		else if (settings.drain.sigterm === "drain") await agent.drain(signalReason(signal));
		else await agent.endNow(signalReason(signal));
		const report = await agent.stop();
		return hasFaulted ? EXIT.failed : drainExitCode(report);
	} catch (error) {
		agent.log.error("the agent cannot start", { error: error instanceof Error ? error.message : String(error) });
		await agent.stop();
		return EXIT.failed;
	} finally {
		stopListening();
		stopFaults();
		// Who does not read the last lines holds up no exit.
		await sink.flush(Deadline.after(systemClock, agentStopBudget(stopBudget(settings.drain)).linesMs));
	}
}

function openSink(destination: string, bufferBytesMax: number, io: Io): LogSink | undefined {
	try {
		return LogSink.open(destination, bufferBytesMax);
	} catch (error) {
		io.stderr.write(
			`outrigger: log.destination ${destination} cannot be opened: ${error instanceof Error ? error.message : String(error)}\n`,
		);
		return undefined;
	}
}
