// npm run version-packages: raises the versions by what .changeset/ holds, and writes the root CHANGELOG.md. The
// changelogs that changesets writes for each package are merged into it: all packages have one version, so they have one story.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";

const { status } = spawnSync(process.execPath, ["node_modules/@changesets/cli/bin.js", "version"], {
	stdio: "inherit",
});
if (status !== 0) process.exit(1);

/** Heading ("Minor Changes") → entry → packages it is about. */
const sections = new Map();
let version;
for (const name of ["agent", "proto", "sdk", "k8s"]) {
	const file = `${name}/CHANGELOG.md`;
	if (!existsSync(file)) continue;
	const newest = readFileSync(file, "utf8").split(/^## /m)[1] ?? "";
	version = newest.split("\n", 1)[0].trim();
	for (const section of newest.split(/^### /m).slice(1)) {
		const heading = section.split("\n", 1)[0].trim();
		const entries = sections.get(heading) ?? sections.set(heading, new Map()).get(heading);
		for (const entry of section.slice(heading.length).split(/^- /m).slice(1)) {
			const text = entry.trimEnd();
			// That our packages now need each other's new version goes without saying.
			if (text.startsWith("Updated dependencies")) continue;
			entries.set(text, [...(entries.get(text) ?? []), name]);
		}
	}
	rmSync(file);
}
if (version === undefined) process.exit(0);

let text = `## ${version}\n`;
for (const [heading, entries] of sections) {
	if (entries.size === 0) continue;
	text += `\n### ${heading}\n\n`;
	for (const [entry, names] of entries) text += `- ${names.join(", ")}: ${entry}\n`;
}
// What was told by hand meanwhile is what the changesets tell.
const log = readFileSync("CHANGELOG.md", "utf8").replace(/^## Unreleased\n(?:(?!## ).*\n)*/m, "");
const at = log.search(/^## /m);
writeFileSync(
	"CHANGELOG.md",
	at === -1 ? `${log.trimEnd()}\n\n${text}` : `${log.slice(0, at)}${text}\n${log.slice(at)}`,
);
// The lock file holds the versions of our packages too.
process.exit(
	spawnSync("npm", ["install", "--package-lock-only", "--loglevel=error"], { stdio: "inherit" }).status ?? 1,
);
