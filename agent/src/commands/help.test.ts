import assert from "node:assert/strict";
import { test } from "node:test";
import { BUILD_INFO } from "../foundation/build-info.ts";
import { type Io, type ParsedArgs, UsageError } from "./command.ts";
import { configCommand } from "./config.ts";
import { helpCommand } from "./help.ts";
import { renderCommandHelp, renderOverview } from "./help-text.ts";
import { versionCommand } from "./version.ts";

const catalog = [configCommand, versionCommand];

function listen(): { readonly io: Io; readonly said: () => string } {
	let text = "";
	const output = { write: (piece: string) => void (text += piece), isTerminal: true, columns: 60 };
	return { io: { stdout: output, stderr: output, env: {}, cwd: "/" }, said: () => text };
}

function words(...positionals: readonly string[]): ParsedArgs {
	return { values: {}, positionals, rest: undefined };
}

test("help lists all commands, or shows one", async () => {
	const all = listen();
	assert.equal(await helpCommand.run(words(), all.io, catalog), 0);
	assert.match(all.said(), /^outrigger COMMAND/);
	for (const { name, summary } of catalog)
		assert.match(all.said(), new RegExp(`^  ${name} +${summary.slice(0, 15)}`, "m"));
	const one = listen();
	assert.equal(await helpCommand.run(words("config", "check"), one.io, catalog), 0);
	assert.equal(one.said(), renderCommandHelp(configCommand.subcommands?.[0] ?? configCommand, 60));
	await assert.rejects(
		async () => helpCommand.run(words("confg"), one.io, catalog),
		new UsageError("there is no command confg; did you mean config?"),
	);
	await assert.rejects(
		async () => helpCommand.run(words("zzz"), one.io, catalog),
		new UsageError("there is no command zzz"),
	);
});

test("help is never wider than the terminal, nor than 100 columns", () => {
	for (const [columns, widest] of [
		[60, 60],
		[undefined, 100],
		[300, 100],
	] as const) {
		for (const text of [
			renderOverview(catalog, columns),
			...(configCommand.subcommands ?? []).map((each) => renderCommandHelp(each, columns)),
		]) {
			for (const line of text.split("\n")) {
				// A single word or a heading that is longer cannot be broken.
				if (line.trimStart().includes(" ") && !line.startsWith("outrigger ") && !/^ {2}\S/.test(line))
					assert.ok(line.length <= widest, line);
			}
		}
	}
});

test("help of a command has its usage, subcommands, flags and examples", () => {
	const text = renderCommandHelp(configCommand);
	assert.match(
		text,
		/^outrigger config check\|show\|schema\|env \[FLAG …\]\n\nCheck, show and describe the configuration\.\n/,
	);
	assert.match(text, /Commands:\n {2}config check +tell all problems/);
	const check = renderCommandHelp(configCommand.subcommands?.[0] ?? configCommand);
	assert.match(check, /--set KEY=VALUE +one key, .*may be repeated/);
	assert.match(check, /Examples:\n {2}outrigger config check --config outrigger\.yaml\s+before/);
});

test("version is a line, or JSON", async () => {
	const line = listen();
	assert.equal(await versionCommand.run(words(), line.io), 0);
	assert.equal(
		line.said(),
		`outrigger ${BUILD_INFO.version} (revision ${BUILD_INFO.revision}, Node.js ${process.versions.node})\n`,
	);
	const json = listen();
	await versionCommand.run({ values: { output: "json" }, positionals: [], rest: undefined }, json.io);
	assert.deepEqual(JSON.parse(json.said()), BUILD_INFO);
});
