import assert from "node:assert/strict";
import { existsSync, globSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { loadAll } from "../../agent/src/commands/registry.ts";
import { variableOf } from "../../agent/src/config/key-tree.ts";
import { KEY_PATHS } from "../../agent/src/config/keys.ts";
import { FAULT_LIST, FAULTS } from "../../agent/src/foundation/fault.ts";
import { METRICS } from "../../agent/src/telemetry/metric-names.ts";
import { NO_ADVICE, pages, renderErrors, replaceGenerated } from "../../scripts/docs-pages.ts";
import { isTest } from "./layers.ts";
import { packageSources, read, root } from "./repository.ts";

/** All that stands in a page as code in the first cell of a table's row, or as a heading. */
function documented(page: string, pattern: RegExp): readonly string[] {
	return [...read(page).matchAll(pattern)].map((match) => match[1] ?? "");
}

/** What a link to a heading of the page is called: lower case, without punctuation, spaces as hyphens. */
function anchorsOf(page: string): readonly string[] {
	const prose = page.replace(/^```[\s\S]*?^```$/gm, "");
	return [...prose.matchAll(/^#{1,6} (.+)$/gm)].map(([, heading = ""]) =>
		heading
			.toLowerCase()
			.replace(/[^\p{L}\p{N} _-]/gu, "")
			.replaceAll(" ", "-"),
	);
}

const HEADINGS = /^#{2,4} `([^`]+)`$/gm;
const FIRST_CELLS = /^\| `([^`]+)`/gm;

describe("what exists is documented, and nothing is documented that does not exist:", () => {
	test("each fault is a heading of docs/errors.md", () => {
		assert.deepEqual(
			documented("docs/errors.md", HEADINGS).toSorted(),
			Object.keys(FAULTS).toSorted(),
			"run: npm run docs",
		);
	});

	test("each fault is made somewhere: a reason that nobody gives is a promise that nobody keeps", () => {
		const sources = packageSources().filter(({ path }) => path.startsWith("agent/src/") && !isTest(path));
		const text = sources.map(({ path }) => read(path)).join("\n");
		for (const { reason } of FAULT_LIST)
			assert.match(text, new RegExp(`\\bFAULTS\\.${reason}\\b`), `nothing makes ${reason}`);
	});

	test("each fault has advice on what to do", () => {
		const page = read("docs/errors.md");
		for (const { reason } of FAULT_LIST) {
			const section = page.split(`### \`${reason}\`\n`)[1]?.split(/^### /m)[0] ?? "";
			const advice = section.split(/^\*.*Whose: .*\*$/m)[1] ?? "";
			assert.ok(!section.includes(NO_ADVICE), `docs/errors.md: write below "${reason}" what to do about it`);
			assert.ok(
				advice.replace(/<!--.*-->/g, "").trim().length > 20,
				`docs/errors.md: write below "${reason}" what to do about it`,
			);
		}
	});

	test("each metric is a row of docs/metrics.md", () => {
		const names = METRICS.map(({ name }) => name);
		assert.deepEqual(documented("docs/metrics.md", FIRST_CELLS).toSorted(), names.toSorted(), "run: npm run docs");
	});

	test("each configuration key is a row of docs/configuration.md, with its variable", () => {
		const page = "docs/configuration.md";
		assert.deepEqual(documented(page, FIRST_CELLS).toSorted(), [...KEY_PATHS].toSorted(), "run: npm run docs");
		for (const path of KEY_PATHS) assert.ok(read(page).includes(`\`${variableOf(path)}\``), variableOf(path));
	});

	test("each command is a heading of docs/commands.md", async () => {
		const names = (await loadAll()).flatMap(({ name, subcommands = [] }) => [
			name,
			...subcommands.map((below) => below.name),
		]);
		assert.ok(names.length > 0);
		const headings = documented("docs/commands.md", HEADINGS).map((heading) => heading.replace(/^outrigger /, ""));
		assert.deepEqual(headings.toSorted(), names.toSorted(), "run: npm run docs");
	});

	test("what the pages say of these is what the sources say", async () => {
		for (const { path, render } of await pages()) {
			assert.equal(read(path), render(read(path)), `${path} is not up to date; run: npm run docs`);
		}
	});
});

describe("links", () => {
	const files = [
		...["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"],
		...globSync(["docs/**/*.md", "examples/**/*.md", ".changeset/*.md"], {
			cwd: root,
			exclude: ["**/node_modules/**"],
		}),
	];
	for (const file of files) {
		test(`of ${file} lead to files that are there`, () => {
			for (const [, target = ""] of read(file).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
				if (/^[a-z]+:/.test(target)) continue;
				assert.ok(existsSync(join(root, dirname(file), target)), `${file} leads to ${target}, which is not there`);
			}
		});
	}

	for (const file of files) {
		test(`of ${file} to a heading lead to one that is there`, () => {
			for (const [, target = "", anchor = ""] of read(file).matchAll(/\]\(([^)#\s]*)#([^)\s]+)\)/g)) {
				if (/^[a-z]+:/.test(target)) continue;
				const page = target === "" ? file : join(dirname(file), target);
				if (!page.endsWith(".md")) continue;
				assert.ok(anchorsOf(read(page)).includes(anchor), `${file}: ${page} has no heading #${anchor}`);
			}
		});
	}

	test("the paths that the life of a request names are there, so that it can be read beside the code", () => {
		const page = read("docs/life-of-a-request.md");
		const paths = [...page.matchAll(/`([\w/-]+\.ts|[a-z0-9-]+\/)`/g)].map(([, path = ""]) => path);
		assert.ok(paths.length > 20, `only ${paths.length} paths were found`);
		const sources = globSync("agent/src/**/*.ts", { cwd: root });
		for (const path of paths) {
			const isThere = sources.some((source) =>
				path.endsWith("/") ? source.startsWith(`agent/src/${path}`) : `/${source}`.endsWith(`/${path}`),
			);
			assert.ok(isThere, `docs/life-of-a-request.md names ${path}, which is not in agent/src`);
		}
	});

	test("the keys of which docs/configuration.md says that they are not used yet exist", () => {
		const section = read("docs/configuration.md").split("## Not used yet\n")[1]?.split(/^# /m)[0] ?? "";
		const rows = [...section.matchAll(/^\* (.*?`): /gm)].map(([, keys = ""]) => keys);
		assert.ok(rows.length > 0);
		for (const [, key = ""] of rows.join(" ").matchAll(/`([^`]+)`/g)) {
			const path = key.replace(/\.\*$/, "");
			const exists = KEY_PATHS.some(
				(known) => known === path || known.startsWith(`${path}.`) || known.startsWith(`${path}[`),
			);
			assert.ok(exists, `docs/configuration.md: there is no key ${key}`);
		}
	});

	test("a link to a heading is checked against the headings as GitHub names them", () => {
		assert.deepEqual(
			anchorsOf("# Not used yet\n\n## `outrigger run`\n\n```\n# no heading\n```\n### What did, and did not\n"),
			["not-used-yet", "outrigger-run", "what-did-and-did-not"],
		);
	});

	test("every decision is in the list of decisions", () => {
		const list = read("docs/decisions/README.md");
		for (const file of globSync("docs/decisions/0*.md", { cwd: root })) {
			const name = file.split("/").at(-1) ?? "";
			assert.ok(list.includes(`(${name})`), `docs/decisions/README.md: add ${name}`);
		}
	});
});

describe("the writer of pages", () => {
	const [first, second] = FAULT_LIST;
	assert.ok(first !== undefined && second !== undefined);

	test("keeps what people have written around the generated part", () => {
		const once = replaceGenerated("# Title\n\nBefore.\n", "one");
		const twice = replaceGenerated(`${once}\nAfter.\n`, "two");
		assert.equal(
			twice,
			"# Title\n\nBefore.\n\n<!-- from the sources: npm run docs -->\n\ntwo\n\n<!-- end -->\n\nAfter.\n",
		);
	});

	test("keeps the advice of each fault, says where there is none, and drops faults that are gone", () => {
		const empty = renderErrors("# Errors\n", [first, second]);
		assert.equal(empty.split(NO_ADVICE).length, 3);
		const advised = empty.replace(NO_ADVICE, "Do this.\n\nAnd that.");
		const again = renderErrors(advised, [second, first]);
		assert.ok(again.includes("Do this.\n\nAnd that."));
		assert.ok(again.indexOf(second.reason) < again.indexOf(first.reason));
		assert.equal(renderErrors(again, [second, first]), again, "written twice, it stays the same");
		assert.ok(!renderErrors(again, [second]).includes(`\`${first.reason}\``));
	});
});
