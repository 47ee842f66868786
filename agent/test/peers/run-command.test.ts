import assert from "node:assert/strict";
import { test } from "node:test";
import { ask } from "./ask.ts";
import { AGENT_ENV, type AppName, bundle, commandOf } from "./peers.ts";
import { Running } from "./processes.ts";
import { type Tool, without } from "./tools.ts";

const quoted = (words: readonly string[]): string => words.map((word) => `'${word}'`).join(" ");
const line = (name: AppName): readonly string[] => {
	const [program, args] = commandOf[name]();
	return [program, ...args];
};

const { OUTRIGGER_DRAIN__SIGTERM: _, ...ENV } = AGENT_ENV;

const cases: readonly {
	readonly what: string;
	readonly needs: readonly Tool[];
	readonly command: () => readonly string[];
}[] = [
	{ what: "a Node program", needs: [], command: () => line("node") },
	{ what: "a program built from Go", needs: ["go"], command: () => line("go") },
	{ what: "uvicorn", needs: ["uvicorn"], command: () => line("uvicorn") },
	{ what: "uvicorn with two workers", needs: ["uvicorn"], command: () => [...line("uvicorn"), "--workers", "2"] },
	{ what: "gunicorn, whose workers inherit the socket", needs: ["gunicorn"], command: () => line("gunicorn") },
	{ what: "Java", needs: ["java"], command: () => line("java") },
	{ what: "a shell that becomes the program", needs: [], command: () => ["sh", "-c", `exec ${quoted(line("node"))}`] },
	{
		what: "a shell that waits for the program",
		needs: [],
		command: () => ["sh", "-c", `${quoted(line("node"))}; true`],
	},
];

for (const { what, needs, command } of cases) {
	test(`outrigger run finds the port of ${what}, serves it and ends with it`, {
		skip: without(...needs),
	}, async (t) => {
		const running = new Running(process.execPath, [bundle, "run", "--", ...command()], { env: ENV });
		t.after(() => running.stop("SIGKILL"));
		const [, url] = await running.line(/through the agent\s+(http:\S+)/);
		const answer = await ask(String(url));
		assert.equal(answer.status, 200);
		assert.equal(answer.body.toString(), "hello\n");
		assert.ok(answer.headers["x-request-id"]);
		assert.ok(running.child.pid);
		process.kill(running.child.pid, "SIGINT");
		const code = await running.exited;
		// The app's own: after SIGTERM some end by themselves with 0, and some by the signal.
		assert.ok([0, 143].includes(code), `${code}\n${running.lines.slice(-10).join("\n")}`);
		await assert.rejects(ask(String(url)), { code: "ECONNREFUSED" });
	});
}

test("outrigger run ends with the code of the program", async () => {
	const running = new Running(process.execPath, [bundle, "run", "--", "sh", "-c", "exit 7"], { env: ENV });
	assert.equal(await running.exited, 7);
});
