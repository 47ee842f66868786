import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Command } from "./command.ts";
import { completionCommand } from "./completion.ts";
import { configCommand } from "./config.ts";
import { helpCommand } from "./help.ts";
import { versionCommand } from "./version.ts";

const run: Command = {
	name: "run",
	summary: "start a command (it's [quick]: very)",
	usage: "run -- CMD",
	options: { config: { type: "string", placeholder: "FILE", summary: "a file", completesFiles: true } },
	takesRest: true,
	run: async () => 0,
};
const catalog: readonly Command[] = [
	run,
	configCommand,
	{ ...completionCommand, run: async () => 0 },
	versionCommand,
	{ ...helpCommand, run: async () => 0 },
];

async function script(shell: string): Promise<string> {
	let text = "";
	const output = { write: (piece: string) => void (text += piece), isTerminal: false, columns: undefined };
	const code = await completionCommand.run(
		{ values: {}, positionals: [shell], rest: undefined },
		{ stdout: output, stderr: output, env: {}, cwd: "/" },
		catalog,
	);
	assert.equal(code, 0);
	return text;
}

/** Why a shell cannot be asked, or `false`. */
function lacks(shell: string): string | false {
	return spawnSync(shell, ["--version"]).status === 0 ? false : `${shell} is not on this machine`;
}

test("bash completes commands, subcommands, flags, values and files, and nothing of what comes after --", {
	skip: lacks("bash"),
}, async (t) => {
	const folder = mkdtempSync(join(tmpdir(), "outrigger-completion-"));
	t.after(() => rmSync(folder, { recursive: true }));
	writeFileSync(join(folder, "outrigger.yaml"), "");
	writeFileSync(join(folder, "script.bash"), await script("bash"));
	const ask = (...words: readonly string[]): readonly string[] => {
		const line = `source ./script.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _outrigger; printf "%s\\n" "\${COMPREPLY[@]}"`;
		const { stdout, stderr } = spawnSync("bash", ["--norc", "-uc", line, "bash", ...words], {
			cwd: folder,
			encoding: "utf8",
		});
		assert.equal(stderr, "");
		return stdout.split("\n").filter((line) => line !== "");
	};
	assert.deepEqual(ask("outrigger", ""), ["run", "config", "completion", "version", "help", "--help", "--version"]);
	assert.deepEqual(ask("outrigger", "co"), ["config", "completion"]);
	assert.deepEqual(ask("outrigger", "config", "s"), ["show", "schema"]);
	assert.deepEqual(ask("outrigger", "config", "check", "--"), ["--config", "--set", "--output", "--help"]);
	assert.deepEqual(ask("outrigger", "config", "show", "-o", ""), ["table", "json"]);
	assert.deepEqual(ask("outrigger", "config", "show", "--output", "j"), ["json"]);
	assert.deepEqual(ask("outrigger", "run", "--config", "out"), ["outrigger.yaml"]);
	assert.deepEqual(
		ask("outrigger", "run", "--config", "config", "--"),
		["--config", "--help"],
		"the value of a flag is no command",
	);
	assert.deepEqual(ask("outrigger", "run", "--", "ls", "-"), []);
	assert.deepEqual(ask("outrigger", "completion", "z"), ["zsh"]);
	assert.deepEqual(ask("outrigger", "help", "ver"), ["version"]);
	assert.deepEqual(ask("outrigger", "nothing", ""), []);
});

test("zsh accepts its script", { skip: lacks("zsh") }, async () => {
	const { status, stderr } = spawnSync("zsh", ["-f", "-n"], { input: await script("zsh"), encoding: "utf8" });
	assert.deepEqual([status, stderr], [0, ""]);
	const asked = spawnSync(
		"zsh",
		[
			"-f",
			"-c",
			'autoload -U compinit; compinit -u -D; eval "$(cat)"; whence -w _outrigger _outrigger_config_check; print $_comps[outrigger]',
		],
		{ input: await script("zsh"), encoding: "utf8" },
	);
	assert.deepEqual(
		[asked.stdout, asked.stderr],
		["_outrigger: function\n_outrigger_config_check: function\n_outrigger\n", ""],
	);
});

test("fish completes commands, subcommands, flags and values", { skip: lacks("fish") }, async (t) => {
	const folder = mkdtempSync(join(tmpdir(), "outrigger-completion-"));
	t.after(() => rmSync(folder, { recursive: true }));
	writeFileSync(join(folder, "script.fish"), await script("fish"));
	const ask = (line: string): readonly string[] => {
		const { stdout, stderr } = spawnSync("fish", ["-c", `source script.fish; complete -C ${JSON.stringify(line)}`], {
			cwd: folder,
			encoding: "utf8",
			env: { PATH: process.env["PATH"], HOME: folder },
		});
		assert.equal(stderr, "");
		return stdout
			.split("\n")
			.filter((each) => each !== "")
			.map((each) => each.split("\t", 1)[0] ?? "")
			.sort();
	};
	assert.deepEqual(ask("outrigger co"), ["completion", "config"]);
	assert.deepEqual(ask("outrigger config s"), ["schema", "show"]);
	assert.deepEqual(ask("outrigger config show --output "), ["json", "table"]);
	assert.deepEqual(ask("outrigger completion f"), ["fish"]);
	assert.ok(ask("outrigger run --config scr").includes("script.fish"));
});

test("each script names every command, and what is special for a shell is quoted", async () => {
	const bash = await script("bash");
	const zsh = await script("zsh");
	const fish = await script("fish");
	for (const { name } of catalog) {
		assert.ok(bash.includes(`"${name}") words=`), name);
		assert.ok(zsh.includes(`${name}) _outrigger_${name} ;;`), name);
		assert.ok(fish.includes(`-a ${name} `), name);
	}
	assert.ok(zsh.includes("'run:start a command (it'\\''s [quick]: very)'"));
	assert.ok(zsh.includes("'--config=[a file]:FILE:_files'"));
	assert.ok(
		zsh.includes(
			"'(-o --output)'{-o+,--output=}'[how to print the result (default\\: table)]:table|json:(table json)'",
		),
	);
	assert.ok(fish.includes("'start a command (it\\'s [quick]: very)'"));
	assert.ok(fish.includes("-l config -r -F -d 'a file'"));
});
