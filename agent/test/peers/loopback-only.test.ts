import assert from "node:assert/strict";
import { connect } from "node:net";
import { networkInterfaces } from "node:os";
import { describe, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { ask } from "./ask.ts";
import { AGENT_ENV, type App, bundle, freePort, startAgent, startApp, startNamed } from "./peers.ts";
import { Running } from "./processes.ts";
import { apps, type Tool, tools, without } from "./tools.ts";

/**
 * Many apps keep a route for callers on loopback, or believe `X-Forwarded-For` from there. A client from outside must not become a
 * local one by passing through the agent.
 */
const local: readonly { readonly name: string; readonly needs: readonly Tool[]; readonly start: () => Promise<App> }[] =
	[
		{ name: "Go with IsLoopback", needs: ["go"], start: () => startNamed("go") },
		{
			name: "uvicorn, which trusts forwarded fields from 127.0.0.1",
			needs: ["uvicorn"],
			start: () => startNamed("uvicorn"),
		},
		{ name: "gunicorn", needs: ["gunicorn"], start: () => startNamed("gunicorn") },
		{ name: "Java with isLoopbackAddress", needs: ["java"], start: () => startNamed("java") },
		{
			name: "Express with trust proxy loopback",
			needs: ["nodeModules"],
			start: () => startApp(process.execPath, [`${apps}node/express-app.cjs`], { NODE_PATH: tools.nodeModules ?? "" }),
		},
	];

const spoofs: readonly Readonly<Record<string, string>>[] = [
	{},
	{ "x-forwarded-for": "127.0.0.1" },
	{ "x-forwarded-for": "127.0.0.1, 127.0.0.1" },
	{ "x-forwarded-for": "::1", "x-forwarded-proto": "https", "x-forwarded-host": "localhost" },
	{ "x-real-ip": "127.0.0.1", forwarded: 'for=127.0.0.1;host="localhost"' },
	{ host: "localhost" },
];

const ownIpv4 = Object.values(networkInterfaces())
	.flatMap((infos) => infos ?? [])
	.find(({ internal, family, address }) => !internal && family === "IPv4" && !address.startsWith("169.254."))?.address;

for (const { name, needs, start } of local) {
	describe(`a route for loopback only, of ${name}`, { skip: without(...needs) }, () => {
		test("is closed to who comes through the agent, whatever is claimed", async (t) => {
			const app = await start();
			t.after(() => app.stop());
			assert.equal((await ask(app.url, { path: "/admin" })).status, 200, "it must be open to loopback itself");
			const agent = await startAgent(app.port, { OUTRIGGER_INBOUND__0__LISTEN: "0.0.0.0:0" });
			t.after(() => agent.stop());
			for (const client of ["127.0.0.1", ...(ownIpv4 === undefined ? [] : [ownIpv4])]) {
				for (const headers of spoofs) {
					for (const trust of ["a believed", "again"]) {
						const answer = await ask(`http://${client}:${agent.port}`, { path: "/admin", headers });
						assert.equal(answer.status, 403, `${trust} ${client} ${JSON.stringify(headers)}: ${answer.body}`);
					}
				}
			}
		});
	});
}

test("the app sees the pod's own address or 127.0.0.6, never 127.0.0.1", async (t) => {
	const app = await startNamed("node");
	t.after(() => app.stop());
	const agent = await startAgent(app.port);
	t.after(() => agent.stop());
	const { peer } = JSON.parse((await ask(agent.url, { path: "/who" })).body.toString()) as { peer: string };
	assert.ok(peer === ownIpv4 || peer === "127.0.0.6", `from ${peer}`);
});

test("not even the first request of an agent that starts comes from loopback", async (t) => {
	const app = await startNamed("node");
	t.after(() => app.stop());
	for (let round = 0; round < 5; round++) {
		const port = await freePort();
		const agent = new Running(process.execPath, [bundle, "agent"], {
			env: {
				...AGENT_ENV,
				OUTRIGGER_INBOUND__0__LISTEN: `127.0.0.1:${port}`,
				OUTRIGGER_INBOUND__0__APP: `127.0.0.1:${app.port}`,
			},
		});
		t.after(() => agent.stop());
		const until = performance.now() + 20_000;
		let peer: string | undefined;
		while (peer === undefined && performance.now() < until) {
			peer = await firstPeer(port);
			await setImmediate();
		}
		assert.ok(peer === ownIpv4 || peer === "127.0.0.6", `from ${peer}`);
		await agent.stop();
	}
});

/** Whom the app sees, `undefined` while nobody listens. Connects and asks as early as can be. */
function firstPeer(port: number): Promise<string | undefined> {
	const { promise, resolve } = Promise.withResolvers<string | undefined>();
	const socket = connect({ host: "127.0.0.1", port });
	let text = "";
	socket.write("GET /who HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
	socket.on("data", (bytes) => {
		text += String(bytes);
	});
	socket.on("error", () => resolve(undefined));
	socket.on("close", () => resolve(/"peer":"([^"]*)"/.exec(text)?.[1]));
	return promise;
}
