/** What is measured, by name. */

/** Traffic of one kind over a number of connections, for a number of rounds. */
export interface LoadScenario {
	readonly kind: "load";
	readonly name: string;
	readonly title: string;
	readonly path: string;
	readonly connections: number;
	/** Bytes of each request's body; 0: a GET. */
	readonly uploadBytes: number;
	/** Large bodies are compared by bytes per CPU second, small ones by CPU per request. */
	readonly measure: "requests" | "bytes";
}

/** A question of its own, answered once (or a few times) per peer on a process started for it. */
export interface SpecialScenario {
	readonly kind: "start" | "idle" | "metrics-page" | "scrape";
	readonly name: string;
	readonly title: string;
}

export type Scenario = LoadScenario | SpecialScenario;

const MIB = 1024 * 1024;
const CONNECTIONS = [1, 64, 1000] as const;

const KINDS = [
	{ name: "small", title: "41 B answers", path: "/", uploadBytes: 0, measure: "requests" },
	{ name: "10k", title: "10 KiB answers", path: "/10k", uploadBytes: 0, measure: "requests" },
	{ name: "1m", title: "1 MiB answers", path: "/1m", uploadBytes: 0, measure: "bytes" },
	{ name: "upload", title: "1 MiB uploads", path: "/upload", uploadBytes: MIB, measure: "bytes" },
] as const;

const plural = (n: number): string => (n === 1 ? "1 connection" : `${n.toLocaleString("en")} connections`);

export const IDLE_CONNECTIONS = 5000;

export const SCENARIOS: readonly Scenario[] = [
	...KINDS.flatMap(({ name, title, ...rest }) =>
		CONNECTIONS.map(
			(connections): LoadScenario => ({
				kind: "load",
				name: `${name}-${connections}`,
				title: `${title}, ${plural(connections)}`,
				connections,
				...rest,
			}),
		),
	),
	{ kind: "start", name: "start", title: "exec to first served request" },
	{ kind: "idle", name: "idle-5000", title: `${plural(IDLE_CONNECTIONS)} idle after one request each` },
	{ kind: "metrics-page", name: "metrics-page", title: "a /metrics page of 10,000 series" },
	{ kind: "scrape", name: "scrape", title: "latency while the app's 10 MiB metrics page is scraped" },
];

/** 1,000 connections with 1 MiB each need more than a second for one turn: a shorter window sees no answer at all. */
const TURN_SECONDS_MIN = 5;

export const windowSeconds = ({ measure, connections }: LoadScenario, seconds: number): number =>
	measure === "bytes" && connections >= 1000 ? Math.max(seconds, TURN_SECONDS_MIN) : seconds;

const QUICK = ["small-64", "1m-64", "upload-64", "start", "idle-5000"];

/**
 * Scenarios by name, by the beginning of a name before a dash (`small`), or by group (`all`, `quick`, `load`).
 * @throws with the names that exist, when one does not
 */
export function chooseScenarios(wanted: readonly string[]): readonly Scenario[] {
	const isWanted = (scenario: Scenario): boolean =>
		wanted.some(
			(word) =>
				word === "all" ||
				word === scenario.name ||
				word === scenario.name.split("-")[0] ||
				(word === "load" && scenario.kind === "load") ||
				(word === "quick" && QUICK.includes(scenario.name)),
		);
	const chosen = SCENARIOS.filter(isWanted);
	for (const word of wanted) {
		const isKnown = chooseOne(word).length > 0;
		if (!isKnown) {
			const names = SCENARIOS.map((scenario) => scenario.name).join(" ");
			throw new Error(`no scenario is called "${word}"; there are: all quick load ${names}`);
		}
	}
	return chosen;
}

function chooseOne(word: string): readonly Scenario[] {
	if (word === "all" || word === "quick" || word === "load") return SCENARIOS;
	return SCENARIOS.filter((scenario) => scenario.name === word || scenario.name.split("-")[0] === word);
}
