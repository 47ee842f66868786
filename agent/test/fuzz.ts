/**
 * Fuzz: the parsers, a simulated data plane, the simulated stop of a pod and a whole data plane on real sockets, in turn, until the time is over.
 *
 *     npm run fuzz -- [--seconds 60] [--seed N]
 *     npm run fuzz -- --replay N               tells every event of the simulated run with that seed
 *     npm run fuzz -- --drain --replay N       the same of the simulated stop
 *
 * Exit code 1 on a finding; what is printed then repeats it.
 */
import { parseArgs } from "node:util";
import { fuzzHttp1, seededRandom } from "./fuzz/http1.ts";
import { fuzzWholeAgent } from "./fuzz/whole-agent.ts";
import { simulateDrain } from "./sim/drain-simulation.ts";
import { simulate } from "./sim/simulation.ts";

/** Of each kind in one turn: about as much time for each. */
const PARSER_ROUNDS = 2_000;
const SIMULATED_RUNS = 300;
const SIMULATED_STOPS = 60;

const { values: args } = parseArgs({
	options: {
		seconds: { type: "string", default: "60" },
		seed: { type: "string", default: String(Math.floor(Math.random() * 1e9)) },
		replay: { type: "string" },
		drain: { type: "boolean", default: false },
	},
});
const whole = (name: string, text: string): number => {
	const value = Number(text);
	if (Number.isSafeInteger(value) && value >= 0) return value;
	console.error(`outrigger fuzz: --${name} takes a whole number (found "${text}")`);
	process.exit(64);
};

const finding = (what: string, seed: number, repeat: string, found: unknown): never => {
	console.error(`fuzz: FOUND by ${what}, seed ${seed}; to repeat: ${repeat}`);
	console.error(found);
	process.exit(1);
};

if (args.replay !== undefined) {
	const seed = whole("replay", args.replay);
	const report = (args.drain ? simulateDrain : simulate)(seed, (line) => console.log(line));
	console.log(report);
	process.exit(report.violations.length === 0 ? 0 : 1);
}

const first = whole("seed", args.seed);
const endMs = performance.now() + whole("seconds", args.seconds) * 1000;
console.log(`fuzz: seed ${first}`);
let turns = 0;
let requests = 0;
let answered = 0;
do {
	const seed = first + turns * SIMULATED_RUNS;
	const again = `npm run fuzz -- --seconds 1 --seed ${seed}`;
	try {
		fuzzHttp1(seededRandom(seed), PARSER_ROUNDS);
	} catch (error) {
		finding("the parsers", seed, again, error);
	}
	for (let run = 0; run < SIMULATED_RUNS; run++) {
		const report = simulate(seed + run);
		requests += report.requests;
		answered += report.answered;
		if (report.violations.length > 0)
			finding("the simulation", seed + run, `npm run fuzz -- --replay ${seed + run}`, report.violations);
	}
	for (let run = 0; run < SIMULATED_STOPS; run++) {
		const report = simulateDrain(seed + run);
		requests += report.requests;
		answered += report.answered;
		if (report.violations.length > 0)
			finding("the simulated stop", seed + run, `npm run fuzz -- --drain --replay ${seed + run}`, report.violations);
	}
	const round = await fuzzWholeAgent(seed);
	requests += round.requests;
	answered += round.answered;
	if (round.violations.length > 0) finding("the whole agent", seed, again, round.violations);
	turns++;
} while (performance.now() < endMs);
console.log(
	`fuzz: seed ${first}, ${turns} turns: ${turns * PARSER_ROUNDS} messages of each kind, ${turns * SIMULATED_RUNS} simulated runs, ${turns * SIMULATED_STOPS} simulated stops, ${turns} on real sockets; ${requests} requests, ${answered} answered; nothing found`,
);
process.exit(0);
