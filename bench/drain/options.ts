/** The command line of `npm run bench:drain`. */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { list, wholeNumber } from "../options.ts";
import { AGENT_BUNDLE } from "../peers/outrigger.ts";
import { APPS, type App, chooseApps } from "./apps.ts";
import { MODES, type Mode } from "./pod.ts";

export interface Options {
	readonly apps: readonly App[];
	readonly modes: readonly Mode[];
	readonly pairs: number;
	readonly restarts: number;
	readonly requests: number;
	readonly ratePerSecond: number;
	readonly lateMs: number;
	readonly seed: number;
	/** The agent's main.js. */
	readonly agent: string;
	/** Files of earlier runs (--json), for what this one does not measure. */
	readonly fromFiles: readonly string[];
	readonly jsonFile?: string;
	readonly markdownFile?: string;
	readonly isCheck: boolean;
	readonly isInstall: boolean;
	readonly isKept: boolean;
	readonly isHelp: boolean;
}

export const HELP = `npm run bench:drain -- [options]

A rolling restart without a cluster: pairs of agent and app, a load balancer before them and a client that picks addresses itself, constant load, and
one pair after the other ended and replaced as the kubelet does it. Counts every request that was lost, and says which and why.

  --apps LIST        of ${APPS.map(({ name }) => name).join(",")} (the default: all)
  --modes LIST       port (capture: port), none (capture: none), without (no agent); the default: all
  --pairs N          3
  --restarts N       20, of one pair after the other
  --requests N       100000, at least; the restarts are spread over them
  --rate N           500 requests a second in all, by the clock
  --late MS          2000: so long after its end has begun a pod still gets requests from the client that picks addresses itself
  --seed N           1: the same requests at the same moments
  --quick            one app (node), capture: port, 2 pairs, 3 restarts, 5,000 requests, with --check; half a minute
  --agent FILE       another build of the agent: its main.js
  --json FILE        every failure and every stop
  --from LIST        files of earlier runs (--json): what this one does not measure is shown as it was there, with its date and commit
  --markdown [=FILE] the results, written between their markers in docs/benchmarks.md, or in FILE
  --check            exit code 1 when capture: port lost a request, or a stop took too long or was not clean
  --install          installs what is missing: apt-get for haproxy, nginx, Go, a JDK, pip (in a venv) for FastAPI
  --keep             leaves the folder with all logs, and says where it is
  --help
`;

const USUAL = { pairs: 3, restarts: 20, requests: 100_000, rate: 500 };
const QUICK = { pairs: 2, restarts: 3, requests: 5000, rate: 200 };

function chooseModes(wanted: readonly string[]): readonly Mode[] {
	return wanted.map((name) => {
		const mode = MODES.find((other) => other === name);
		if (mode === undefined) throw new Error(`no mode is called "${name}"; there are: ${MODES.join(", ")}`);
		return mode;
	});
}

/** @throws with one clear sentence for the user */
export function parseOptions(args: readonly string[]): Options {
	// --markdown alone means the usual file; parseArgs knows no optional values
	const spelled = args.map((arg) => (arg === "--markdown" ? "--markdown=" : arg));
	const { values } = parseArgs({
		args: spelled,
		options: {
			apps: { type: "string" },
			modes: { type: "string" },
			pairs: { type: "string" },
			restarts: { type: "string" },
			requests: { type: "string" },
			rate: { type: "string" },
			late: { type: "string", default: "2000" },
			seed: { type: "string", default: "1" },
			quick: { type: "boolean", default: false },
			agent: { type: "string" },
			json: { type: "string" },
			from: { type: "string", default: "" },
			markdown: { type: "string" },
			check: { type: "boolean", default: false },
			install: { type: "boolean", default: false },
			keep: { type: "boolean", default: false },
			help: { type: "boolean", default: false },
		},
	});
	const usual = values.quick ? QUICK : USUAL;
	const number = (name: keyof typeof usual, min: number, max: number): number =>
		wholeNumber(name, values[name] ?? String(usual[name]), min, max);
	const appNames = APPS.map(({ name }) => name).join();
	return {
		apps: chooseApps(list(values.apps ?? (values.quick ? "node" : appNames))),
		modes: chooseModes(list(values.modes ?? (values.quick ? "port" : MODES.join()))),
		// with one pair alone there would be nobody to send to
		pairs: number("pairs", 2, 20),
		restarts: number("restarts", 0, 10_000),
		requests: number("requests", 1, 100_000_000),
		ratePerSecond: number("rate", 1, 20_000),
		lateMs: wholeNumber("late", values.late, 0, 25_000),
		seed: wholeNumber("seed", values.seed, 0, 4_294_967_295),
		agent: values.agent === undefined ? AGENT_BUNDLE : resolve(values.agent),
		fromFiles: list(values.from),
		isCheck: values.check || values.quick,
		isInstall: values.install,
		isKept: values.keep,
		isHelp: values.help,
		...(values.json === undefined ? {} : { jsonFile: values.json }),
		...(values.markdown === undefined ? {} : { markdownFile: values.markdown || "docs/benchmarks.md" }),
	};
}
