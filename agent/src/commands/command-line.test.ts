import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
	type Command,
	EXIT,
	type Io,
	isSet,
	type ParsedArgs,
	stringOption,
	stringOptions,
	UsageError,
} from "./command.ts";
import { checkArgs, runCommandLine } from "./command-line.ts";
import { COMMANDS } from "./registry.ts";

interface Said {
	readonly out: string;
	readonly err: string;
	readonly code: number;
	readonly leavesAtOnce: boolean;
}

const command = (part: Partial<Command> & Pick<Command, "name">): Command => ({
	summary: `does ${part.name}`,
	usage: `${part.name} [FLAG …]`,
	options: {},
	run: async () => EXIT.done,
	...part,
});

const seen: ParsedArgs[] = [];
const commands: Readonly<Record<string, Command>> = {
	start: command({
		name: "start",
		options: {
			file: { type: "string", short: "f", placeholder: "FILE", summary: "a file" },
			set: { type: "string", multiple: true, summary: "a key" },
			output: { type: "string", short: "o", choices: ["table", "json"], summary: "how" },
			watch: { type: "boolean", short: "w", summary: "go on" },
		},
		positionals: [
			{ name: "WHAT", required: true, choices: ["one", "two"] },
			{ name: "MORE", required: false },
		],
		takesRest: true,
		leavesAtOnce: true,
		run: async (args) => {
			seen.push(args);
			return 7;
		},
	}),
	config: command({
		name: "config",
		subcommands: [command({ name: "config check", run: async () => 78 })],
		run: async () => {
			throw new UsageError("say which");
		},
	}),
	broken: command({
		name: "broken",
		run: async () => {
			throw new TypeError("our mistake");
		},
	}),
	odd: command({
		name: "odd",
		run: async () => {
			throw "a text";
		},
	}),
	must: command({ name: "must", positionals: [{ name: "NAME", required: true }] }),
};

async function type(...argv: readonly string[]): Promise<Said> {
	const said = { out: "", err: "" };
	const output = (key: "out" | "err"): Io["stdout"] => ({
		write: (text) => {
			said[key] += text;
		},
		isTerminal: false,
		columns: undefined,
	});
	const io: Io = { stdout: output("out"), stderr: output("err"), env: {}, cwd: "/" };
	const loaders = Object.fromEntries(Object.entries(commands).map(([name, each]) => [name, async () => each]));
	const outcome = await runCommandLine(argv, io, loaders);
	return { ...said, ...outcome };
}

describe("the command line", () => {
	test("hands a command its flags, arguments and what follows --, and passes on its code", async () => {
		const { code, leavesAtOnce, out, err } = await type(
			"start",
			"one",
			"-f",
			"a",
			"--set",
			"x=1",
			"--set=y=2",
			"-wo",
			"json",
			"more",
			"--",
			"node",
			"-f",
			"--help",
		);
		assert.deepEqual([code, leavesAtOnce, out, err], [7, true, "", ""]);
		const args = seen.pop();
		assert.ok(args !== undefined);
		assert.deepEqual(args.positionals, ["one", "more"]);
		assert.deepEqual(args.rest, ["node", "-f", "--help"]);
		assert.equal(stringOption(args, "file"), "a");
		assert.deepEqual(stringOptions(args, "set"), ["x=1", "y=2"]);
		assert.deepEqual(stringOptions(args, "file"), ["a"]);
		assert.deepEqual(stringOptions(args, "nothing"), []);
		assert.equal(stringOption(args, "watch"), undefined);
		assert.equal(isSet(args, "watch"), true);
		assert.equal(isSet(args, "file"), false);
	});

	test("finds a subcommand", async () => {
		assert.equal((await type("config", "check")).code, 78);
		assert.equal((await type("config")).code, EXIT.usage);
		assert.equal((await type("config", "--help")).code, EXIT.done);
	});

	test("says what is wrong with the words, what was perhaps meant, where help is, and ends with 64", async () => {
		const rows: readonly (readonly [readonly string[], RegExp])[] = [
			[[], /a command is missing\nTry: outrigger --help/],
			[["strat"], /there is no command strat; did you mean start\?/],
			[["zzz"], /there is no command zzz\n/],
			[["__proto__"], /there is no command/],
			[["--set", "x"], /there is no flag --set before the command/],
			[
				["config", "chekc"],
				/^outrigger config: there is no command chekc; did you mean check\?\nTry: outrigger config --help/,
			],
			[["start", "--fil", "x"], /there is no flag --fil; did you mean --file\?\nTry: outrigger start --help/],
			[["start", "-x"], /there is no flag -x\n/],
			[["start", "--constructor"], /there is no flag/],
			[["start", "one", "--file"], /--file needs a value: --file FILE/],
			[["start", "one", "--file="], /--file needs a value/],
			[["start", "one", "--file", "--watch"], /--file needs a value/],
			[["start", "one", "--set"], /--set needs a value: --set VALUE/],
			[["start", "one", "--file", "a", "--file", "b"], /--file is there twice/],
			[["start", "one", "--watch=yes"], /--watch takes no value/],
			[["start", "one", "-o", "jsn"], /-o is one of table, json, not jsn; did you mean json\?/],
			[["start"], /WHAT is missing: one of one, two/],
			[["must"], /NAME is missing\n/],
			[["start", "three"], /WHAT is one of one, two, not three/],
			[["start", "one", "a", "b"], /there is nothing to do with b; put -- before/],
			[["config", "check", "a"], /there is nothing to do with a\n/],
			[["config", "check", "--"], /nothing may follow --/],
			[["config", "check", "--watch"], /there is no flag --watch/],
		];
		for (const [argv, message] of rows) {
			const { code, err, out, leavesAtOnce } = await type(...argv);
			assert.match(err, message, argv.join(" "));
			assert.deepEqual([code, out, leavesAtOnce], [EXIT.usage, "", false], argv.join(" "));
		}
	});

	test("accepts a value that begins with a dash when it is written with =, and - alone", async () => {
		await type("start", "one", "--file=-x");
		assert.equal(seen.pop()?.values["file"], "-x");
		await type("start", "one", "-f", "-");
		assert.equal(seen.pop()?.values["file"], "-");
	});

	test("shows help on stdout for --help and -h, whatever else is wrong", async () => {
		for (const argv of [
			["start", "--help"],
			["start", "-h", "three"],
			["start", "one", "-wh"],
		]) {
			const { code, out, err } = await type(...argv);
			assert.deepEqual([code, err], [EXIT.done, ""]);
			assert.match(out, /^outrigger start \[FLAG …\]\n\nDoes start\.\n/);
			assert.match(out, /-f, --file FILE +a file\n/);
			assert.match(out, /-h, --help +show this help\n/);
		}
		assert.equal(checkArgs(command({ name: "x" }), ["--help"]), "help");
	});

	test("tells our own mistakes with their stack, and ends with 1", async () => {
		const broken = await type("broken");
		assert.equal(broken.code, EXIT.failed);
		assert.match(broken.err, /^outrigger broken: TypeError: our mistake\n +at /);
		assert.deepEqual([(await type("odd")).code, (await type("odd")).err], [EXIT.failed, "outrigger odd: a text\n"]);
	});

	test("understands --help and --version without a command", async () => {
		for (const [word, name] of [
			["--help", "help"],
			["-h", "help"],
			["--version", "version"],
		] as const) {
			const io: Io = {
				stdout: { write: () => {}, isTerminal: false, columns: undefined },
				stderr: { write: () => {}, isTerminal: false, columns: undefined },
				env: {},
				cwd: "/",
			};
			const called: string[] = [];
			const loaders = { [name]: async () => command({ name, run: async () => called.push(name) }) };
			assert.equal((await runCommandLine([word], io, loaders)).code, 1);
			assert.deepEqual(called, [name]);
		}
	});
});

test("every command that is registered has its own name, and says what it does without a full stop", async () => {
	for (const [name, load] of Object.entries(COMMANDS)) {
		const loaded = await load();
		assert.equal(loaded.name, name);
		for (const each of [loaded, ...(loaded.subcommands ?? [])]) {
			assert.ok(each.usage.startsWith(each.name), each.name);
			assert.match(each.summary, /[^.]$/, each.name);
			for (const option of Object.values(each.options)) assert.match(option.summary, /[^.]$/, each.name);
			for (const below of each.subcommands ?? []) assert.ok(below.name.startsWith(`${each.name} `), below.name);
		}
	}
});
