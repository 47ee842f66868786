/**
 * `npm run bench`: Outrigger's agent against nginx, haproxy and Envoy. What is measured and how: docs/benchmarks.md;
 * how to call it: --help.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { compare } from "./comparison.ts";
import { messageOf } from "./contestant.ts";
import { CACHE_FOLDER } from "./executables.ts";
import { describeMissing, findMissing, install, unsuitable } from "./needs.ts";
import { HELP, type Options, parseOptions } from "./options.ts";
import { choosePeers } from "./peers/list.ts";
import { goBefore, pinSelf } from "./processes.ts";
import { profileAgent } from "./profile.ts";
import { renderResults, renderText, tablesOf, writeMarkdown } from "./report.ts";
import { judge } from "./targets.ts";

const say = (line: string): void => {
	process.stderr.write(`${line}\n`);
};

async function main(options: Options): Promise<number> {
	const peers = choosePeers(options.peers, options.nodeFlags);
	const why = unsuitable();
	if (why !== undefined) {
		say(why);
		return 2;
	}
	let missing = findMissing(peers);
	if (options.isInstall && missing.length > 0) {
		install(missing, say);
		missing = findMissing(peers);
	}
	if (missing.length > 0) {
		say(describeMissing(missing));
		return 2;
	}
	mkdirSync(CACHE_FOLDER, { recursive: true });
	const folder = mkdtempSync(join(CACHE_FOLDER, "run-"));
	process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
	for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130)); // ends the children
	pinSelf(options.loadCore);
	if (options.niceness !== 0) goBefore(options.niceness); // what we start inherits it, the core as well

	if (options.profileFolder !== undefined) {
		await profileAgent(peers, options, folder, resolve(options.profileFolder), say);
		return 0;
	}
	const results = await compare(peers, options, folder, say);
	const agent = peers.find((peer) => peer.isAgent && peer.name === "outrigger") ?? peers.find((peer) => peer.isAgent);
	const verdicts = agent === undefined ? [] : judge(results, agent.name);
	for (const table of tablesOf(results, verdicts)) console.log(renderText(table));
	if (options.jsonFile !== undefined) {
		writeFileSync(options.jsonFile, `${JSON.stringify({ ...results, verdicts }, undefined, "\t")}\n`);
	}
	if (options.markdownFile !== undefined) writeMarkdown(options.markdownFile, renderResults(results, verdicts));
	for (const failure of results.failures) say(`FAILED ${failure}`);
	const isMissed = verdicts.some(({ isMet }) => isMet === false);
	return results.failures.length > 0 || (options.isCheck && isMissed) ? 1 : 0;
}

try {
	const options = parseOptions(process.argv.slice(2));
	if (options.isHelp) process.stdout.write(HELP);
	else process.exitCode = await main(options);
} catch (error) {
	say(messageOf(error));
	process.exitCode = 1;
}
