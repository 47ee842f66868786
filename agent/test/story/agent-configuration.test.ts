/** A bad configuration of each kind: `outrigger agent` says what and where, ends with 78, and has bound nothing. */
import { strict as assert } from "node:assert";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { runCommandLine } from "../../src/commands/command-line.ts";
import { COMMANDS } from "../../src/commands/registry.ts";

const folder = mkdtempSync(join(tmpdir(), "outrigger-story-"));
after(() => rmSync(folder, { recursive: true }));

interface Kind {
	readonly what: string;
	readonly file?: string;
	readonly env?: Readonly<Record<string, string>>;
	readonly words?: readonly string[];
	/** What standard error must hold: place and meaning. */
	readonly says: readonly RegExp[];
}

const kinds: readonly Kind[] = [
	{ what: "no app", says: [/OUTRIGGER_APP_PORT/] },
	{ what: "a file that is not there", words: ["--config", "/nowhere.yaml"], says: [/--config/, /there is no file/] },
	{ what: "a file that is no YAML", file: "inbound: [", says: [/:1:/] },
	{ what: "an unknown key in the file", file: "timeouts: { hed: 1s }\n", says: [/:1:13/, /head/] },
	{ what: "a value of the wrong kind", file: "limits:\n  connections: many\n", says: [/:2:16/] },
	{ what: "a value out of bounds", file: "workers: 0\n", says: [/:1:10/] },
	{ what: "a size without its unit", words: ["--set", "limits.head=64"], says: [/--set limits\.head/, /unit/] },
	{ what: "an unknown variable", env: { OUTRIGGER_TIMEOUT__HEAD: "1s" }, says: [/OUTRIGGER_TIMEOUT__HEAD/, /no key/] },
	{ what: "a bad variable", env: { OUTRIGGER_TIMEOUTS__HEAD: "soon" }, says: [/OUTRIGGER_TIMEOUTS__HEAD/] },
	{ what: "an app port that is none", env: { OUTRIGGER_APP_PORT: "http" }, says: [/OUTRIGGER_APP_PORT/] },
	{ what: "parts of a drain that do not fit", words: ["--set", "drain.grace=2s"], says: [/drain\.grace/] },
	{
		what: "two entries on one port",
		file: "inbound:\n  - { name: a, listen: ':9811', app: 'localhost:3000' }\n  - { name: b, listen: ':9811', app: 'localhost:3001' }\n",
		says: [/:3:/],
	},
	{
		what: "an app that is the agent itself",
		file: "inbound:\n  - { listen: '127.0.0.1:9811', app: '127.0.0.1:9811' }\n",
		says: [/:2:/],
	},
];

for (const { what, file, env = {}, words = [], says } of kinds) {
	test(`${what}: 78, with its place, and no port was tried`, async () => {
		// Had the agent tried to bind, it would have said that this port is taken, and ended with 1.
		const taken = createServer().listen(0, "127.0.0.1");
		await new Promise((resolve) => taken.once("listening", resolve));
		const address = taken.address();
		assert.ok(typeof address === "object" && address !== null);
		const path = join(folder, `${what.replaceAll(" ", "-")}.yaml`);
		if (file !== undefined) writeFileSync(path, file);
		let stdout = "";
		let stderr = "";
		const output = (write: (text: string) => void) => ({ isTerminal: false, columns: undefined, write });
		const { code } = await runCommandLine(
			["agent", ...(file === undefined ? [] : ["--config", path]), ...words],
			{
				stdout: output((text) => {
					stdout += text;
				}),
				stderr: output((text) => {
					stderr += text;
				}),
				env: {
					...(what === "no app" || what.startsWith("an app that") ? {} : { OUTRIGGER_APP_PORT: "3000" }),
					OUTRIGGER_OPS__LISTEN: `127.0.0.1:${address.port}`,
					...env,
				},
				cwd: folder,
			},
			COMMANDS,
		);
		taken.close();
		assert.equal(code, 78, stderr);
		assert.equal(stdout, "");
		for (const expected of says) assert.match(stderr, expected);
		if (!what.endsWith("no YAML")) assert.match(stderr, /example/); // what could not be read is no key's
		assert.match(stderr, /\d+ problems? in the configuration; nothing was started\.\n$/);
	});
}
