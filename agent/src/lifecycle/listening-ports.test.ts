import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import {
	byPort,
	choosePort,
	ephemeralPorts,
	isDebugPort,
	type ListeningPort,
	listeningPorts,
	parseCommands,
	parseLsof,
} from "./listening-ports.ts";

const port = (number: number, args: readonly string[] = ["app"], debugOptions = ""): ListeningPort => ({
	port: number,
	addresses: ["0.0.0.0"],
	pid: 1,
	args,
	debugOptions,
});
const EPHEMERAL = { first: 32_768, last: 60_999 };
const choice = (ports: readonly ListeningPort[], preferred?: number): string => {
	const chosen = choosePort(ports, EPHEMERAL, preferred);
	if (chosen.kind === "several") return chosen.ports.map((each) => each.port).join(" or ");
	return chosen.kind === "one" ? String(chosen.port.port) : "none";
};

test("one port is it; several are a question; none is none", () => {
	assert.equal(choice([]), "none");
	assert.equal(choice([port(3000)]), "3000");
	assert.equal(choice([port(3000), port(9090)]), "3000 or 9090");
	assert.equal(choice([port(40_000), port(50_000)]), "40000 or 50000");
});

test("a port that the system gave loses against one that was chosen, and is found when it is alone", () => {
	assert.equal(choice([port(3000), port(40_000)]), "3000");
	assert.equal(choice([port(40_000)]), "40000");
});

test("PORT in the environment of the app decides between several, and means nothing when nobody listens there", () => {
	assert.equal(choice([port(3000), port(9090)], 9090), "9090");
	assert.equal(choice([port(3000), port(9090)], 8080), "3000 or 9090");
	assert.equal(choice([port(3000)], Number.NaN), "3000");
});

test("a debugger's port is never the app's, not even when it is the only one", () => {
	const node = ["node", "--inspect", "server.js"];
	assert.equal(choice([port(9229, node)]), "none");
	assert.equal(choice([port(3000, node), port(9229, node)]), "3000");
});

const debug: readonly [string, ListeningPort, boolean][] = [
	["node --inspect", port(9229, ["node", "--inspect", "a.js"]), true],
	["node --inspect-brk as the last word", port(9229, ["node", "--inspect-brk"]), true],
	["node --inspect-wait in NODE_OPTIONS", port(9229, ["node"], "--inspect-wait"), true],
	["node --inspect=127.0.0.1:4000", port(4000, ["node", "--inspect=127.0.0.1:4000"]), true],
	["node --inspect=4000, its other port", port(9229, ["node", "--inspect=4000"]), false],
	["the third worker of a cluster", port(9232, ["node", "--inspect", "a.js"]), true],
	["node without a debugger on 9229", port(9229, ["node", "a.js"]), false],
	["--inspector is another option", port(9229, ["tool", "--inspector"]), false],
	["the JVM", port(5005, ["java", "-agentlib:jdwp=transport=dt_socket,server=y,suspend=n,address=*:5005"]), true],
	["the JVM by variable", port(5005, ["java"], "-agentlib:jdwp=transport=dt_socket,address=5005"), true],
	["the JVM's own port", port(8080, ["java", "-agentlib:jdwp=transport=dt_socket,address=5005"]), false],
	["debugpy", port(5678, ["python", "-m", "debugpy", "--listen", "0.0.0.0:5678", "app.py"]), true],
	["debugpy with a number", port(5678, ["python", "-m", "debugpy", "--listen", "5678", "app.py"]), true],
	["a service that lives on 5678", port(5678, ["n8n", "start"]), false],
	["delve", port(2345, ["dlv", "debug", "--headless", "--listen=:2345"]), true],
];
for (const [name, which, is] of debug) {
	test(`${name}: ${is ? "a debugger" : "no debugger"}`, () => {
		assert.equal(isDebugPort(which), is);
	});
}

test("sockets on one port are one port, with all addresses and the oldest process", () => {
	const found = [
		{ port: 3000, address: "::", pid: 12 },
		{ port: 3000, address: "0.0.0.0", pid: 11 },
		{ port: 80, address: "127.0.0.1", pid: 12 },
	];
	assert.deepEqual(
		byPort(found, (pid) => ({ args: [`pid ${pid}`], debugOptions: "" })),
		[
			{ port: 80, addresses: ["127.0.0.1"], pid: 12, args: ["pid 12"], debugOptions: "" },
			{ port: 3000, addresses: ["0.0.0.0", "::"], pid: 11, args: ["pid 11"], debugOptions: "" },
		],
	);
});

test("the output of lsof and ps as macOS writes it", () => {
	assert.deepEqual(parseLsof("p42\nf18\nn*:3000\nf19\nn[::1]:3001\np43\nf7\nn127.0.0.1:9229\nnonsense\n"), [
		{ port: 3000, address: "0.0.0.0", pid: 42 },
		{ port: 3001, address: "::1", pid: 42 },
		{ port: 9229, address: "127.0.0.1", pid: 43 },
	]);
	assert.deepEqual(
		parseCommands("   42 node --inspect a.js  \n\nPID ARGS\n"),
		new Map([[42, ["node", "--inspect", "a.js"]]]),
	);
});

test("the range of ports that the system gives out is a range", () => {
	for (const platform of ["linux", "darwin"] as const) {
		const { first, last } = ephemeralPorts(platform);
		assert.ok(first > 1023 && last > first && last <= 65_535);
	}
});

/** A child that listens on a port of the system's, told on its standard output. */
async function listener(
	t: { after(action: () => void): void },
	program: string,
	args: readonly string[],
): Promise<{ child: ChildProcess; said: number }> {
	const child = spawn(program, [...args], { stdio: ["ignore", "pipe", "inherit"], detached: true });
	t.after(() => {
		try {
			process.kill(-(child.pid ?? Number.NaN), "SIGKILL");
		} catch {
			// It has ended.
		}
	});
	const [bytes] = await once(child.stdout ?? assert.fail("no output"), "data");
	return { child, said: Number.parseInt(String(bytes), 10) };
}
const SERVER = `const s = require("node:net").createServer().listen(0, "127.0.0.1", () => console.log(s.address().port))`;

for (const platform of ["linux", "darwin"] as const) {
	test(`the port of a child, and of a grandchild behind a shell, is found (${platform}'s way)`, async (t) => {
		if (platform === "linux" && process.platform !== "linux") return t.skip("/proc is there on Linux only");
		const direct = await listener(t, process.execPath, ["-e", SERVER]);
		const ports = await listeningPorts(direct.child.pid ?? 0, platform);
		if (platform === "darwin" && ports.length === 0) return t.skip("lsof or ps is not there, or may not look");
		assert.deepEqual(
			ports.map((each) => [each.port, each.addresses, each.pid]),
			[[direct.said, ["127.0.0.1"], direct.child.pid]],
		);
		assert.equal(ports[0]?.args[0], process.execPath);
		const wrapped = await listener(t, "sh", ["-c", `"$0" -e "$1" & wait`, process.execPath, SERVER]);
		const behind = await listeningPorts(wrapped.child.pid ?? 0, platform);
		assert.deepEqual(
			behind.map((each) => each.port),
			[wrapped.said],
		);
		assert.notEqual(behind[0]?.pid, wrapped.child.pid);
	});
}

test("a process that is not there listens on nothing", async () => {
	assert.deepEqual(await listeningPorts(2 ** 30), []);
});
