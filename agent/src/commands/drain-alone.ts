import { drainCommand } from "./drain.ts";
import { runOnProcess } from "./process-io.ts";

/**
 * `outrigger drain` without the other commands: what it takes to load them all together is a third of what a drain costs. The command, its flags,
 * its help and its messages are those of the table.
 */
export function runDrainOnProcess(): Promise<number> {
	return runOnProcess({ drain: async () => drainCommand });
}
