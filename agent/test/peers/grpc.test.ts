import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type AgentProcess, type App, startAgent, startApp } from "./peers.ts";
import { run } from "./processes.ts";
import { apps, tool, tools, without } from "./tools.ts";

for (const protocol of ["auto", "tcp"]) {
	describe(`gRPC through an inbound with protocol ${protocol}`, { skip: without("go") }, () => {
		let app: App;
		let agent: AgentProcess;
		before(async () => {
			app = await startApp(tool("go"), ["grpc-server"]);
			agent = await startAgent(app.port, {
				OUTRIGGER_INBOUND__0__PROTOCOL: protocol,
				OUTRIGGER_ROUTES__OPENAPI: "none",
			});
		});
		after(async () => {
			await agent?.stop();
			await app?.stop();
		});

		const allWell = async (program: string, args: readonly string[], env = {}): Promise<string> => {
			const { code, stdout, stderr } = await run(program, args, { env }, 100_000);
			assert.equal(code, 0, `${stdout}\n${stderr}`);
			assert.match(stdout.toString(), /all well\n$/);
			return stdout.toString();
		};

		test("passes gRPC's own interoperability cases, unary and streaming", async () => {
			const said = await allWell(tool("go"), ["grpc-client", agent.inbound]);
			assert.equal(said.trim().split("\n").length, 14);
		});
		test("works for grpcio of Python", { skip: without("python") }, async () => {
			await allWell(tool("python"), [`${apps}python/grpc_client.py`, agent.inbound]);
		});
		test("works for grpc-js of Node", { skip: without("nodeModules") }, async () => {
			await allWell(process.execPath, [`${apps}node/grpc-client.cjs`, agent.inbound], {
				NODE_PATH: tools.nodeModules ?? "",
			});
		});
		test("is counted as relayed connections, and not as HTTP requests", async () => {
			assert.ok((await agent.metric('outrigger_relayed_connections_opened_total{kind="opaque"}')) >= 1);
			assert.doesNotMatch(await agent.metricsPage(), /^http_server_request_duration_seconds_count/m);
		});
	});
}
