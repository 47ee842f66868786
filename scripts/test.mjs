// Runs the tests of one suite and ends with 1 when one fails, when a file has no test, or when there is nothing to run.
//   npm test                          all unit, story, corpus and rule tests
//   npm test -- agent/src/http1      only files below these paths
//   npm test -- --suite peers        the slow suites, each on its own
import { spawnSync } from "node:child_process";
import { appendFileSync, globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Which files are which suite. A file is in the first suite that claims it. */
const SUITES = {
	peers: ["agent/test/peers/**/*.test.ts"],
	unit: [
		"agent/src/**/*.test.ts",
		"agent/test/**/*.test.ts",
		"agent/bench/**/*.test.ts",
		"bench/**/*.test.ts",
		"examples/node/**/*.test.ts",
		"k8s/src/**/*.test.ts",
		"proto/src/**/*.test.ts",
		"scripts/**/*.test.ts",
		"sdk/src/**/*.test.ts",
		"test/rules/**/*.test.ts",
	],
};
/** Tests wait for events, so two at a time fill two cores; a test that hangs must not hold a machine for hours. */
const CONCURRENCY = 2;
const TEST_TIMEOUT_MS = 240_000;

const args = process.argv.slice(2);
const suiteAt = args.indexOf("--suite");
const suite = suiteAt === -1 ? "unit" : args[suiteAt + 1];
const below = suiteAt === -1 ? args : args.toSpliced(suiteAt, 2);
if (!Object.hasOwn(SUITES, suite)) {
	console.error(`outrigger: there is no suite "${suite}"; there are: ${Object.keys(SUITES).join(", ")}`);
	process.exit(64);
}

const claimed = new Set();
for (const name of Object.keys(SUITES)) {
	if (name === suite) break;
	for (const file of globSync(SUITES[name])) claimed.add(file);
}
const files = globSync(SUITES[suite])
	.filter((file) => !claimed.has(file) && !file.includes("node_modules"))
	.filter((file) => below.length === 0 || below.some((path) => file.startsWith(path.replace(/^\.\//, ""))))
	.sort();
if (files.length === 0) {
	console.error("outrigger: no test file found; nothing was tested.");
	process.exit(1);
}

const folder = mkdtempSync(join(tmpdir(), "outrigger-test-"));
const countsFile = join(folder, "counts.json");
const { status, signal } = spawnSync(
	process.execPath,
	[
		"--import",
		"tsx",
		"--import",
		"./scripts/fixed-seed.mjs",
		"--test",
		`--test-concurrency=${CONCURRENCY}`,
		`--test-timeout=${TEST_TIMEOUT_MS}`,
		"--test-reporter=spec",
		"--test-reporter-destination=stdout",
		"--test-reporter=./scripts/count-reporter.mjs",
		`--test-reporter-destination=${countsFile}`,
		...files,
	],
	{ stdio: ["ignore", "inherit", "inherit"] },
);
let counts;
try {
	counts = JSON.parse(readFileSync(countsFile, "utf8"));
} catch {
	counts = { passed: 0, failed: 1, skipped: 0, empty: [] };
}
rmSync(folder, { recursive: true, force: true });

for (const file of counts.empty) console.error(`outrigger: ${file} holds no test.`);
if (counts.passed === 0) console.error("outrigger: not one test passed.");
const good = status === 0 && counts.failed === 0 && counts.empty.length === 0 && counts.passed > 0;
if (!good) counts.failed = Math.max(counts.failed, counts.empty.length, 1);
console.log(`\n${suite}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
// .ci/run adds these up over its suites.
if (process.env.TEST_TOTALS) appendFileSync(process.env.TEST_TOTALS, `${counts.passed} ${counts.failed} ${suite}\n`);
process.exit(good ? 0 : signal === "SIGINT" ? 130 : 1);
