/** The load as a process of its own, so that nothing that the bench does besides delays a request. Started by load-link.ts. */
import { nowMs } from "../processes.ts";
import { Load, learnExpectations } from "./load.ts";
import type { FromLoad, ToLoad } from "./load-messages.ts";

/** How often the bench is told how many requests have begun. */
const PROGRESS_MS = 200;

const tell = (message: FromLoad): void => {
	process.send?.(message);
};

let load: Load | undefined;
let progress: NodeJS.Timeout | undefined;

async function obey(message: ToLoad): Promise<void> {
	switch (message.type) {
		case "prepare": {
			const expectations = await learnExpectations(message.settings, message.app);
			load = new Load(message.settings, { expectations, nowMs, onLost: (lost) => tell({ type: "lost", lost }) });
			tell({ type: "prepared" });
			return;
		}
		case "addresses":
			load?.setAddresses(message.addresses);
			return;
		case "start":
			load?.start();
			progress = setInterval(() => tell({ type: "begun", begun: load?.begun ?? 0 }), PROGRESS_MS);
			return;
		case "stop": {
			const tally = await load?.stop();
			clearInterval(progress);
			if (tally !== undefined) tell({ type: "done", tally });
			return;
		}
		default:
			message satisfies never;
	}
}

process.on("message", (message: ToLoad) => {
	obey(message).catch((error: unknown) => {
		console.error(error);
		process.exit(1); // the bench sees it end, and what it said
	});
});
// The bench is gone, whichever way: nobody wants these requests any more.
process.on("disconnect", () => process.exit(0));
