import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type AgentProcess, type App, eventually, startAgent, startApp, startNamed } from "./peers.ts";
import { tool, without } from "./tools.ts";

/** What `/readyz` says, once it says that. */
const says = (agent: AgentProcess, text: string): Promise<string> =>
	eventually(async () => {
		const answer = await fetch(`${agent.ops}/readyz`);
		const body = (await answer.text()).trim();
		return body === text ? body : undefined;
	}, `/readyz says ${text}`);

/** The words of the tree. */
const tree = async (agent: AgentProcess): Promise<string> => {
	const answer = await fetch(`${agent.ops}/readyz`, { headers: { accept: "application/json" } });
	return answer.text();
};

const QUICK = {
	OUTRIGGER_ROUTES__OPENAPI: "none",
	OUTRIGGER_HEALTH__APP__INTERVAL: "100ms",
	OUTRIGGER_HEALTH__APP__TIMEOUT: "100ms",
	OUTRIGGER_HEALTH__APP__FALL: "2",
};

/** An agent before an app, and both gone afterwards. */
async function withAgent(
	app: App,
	env: Readonly<Record<string, string>>,
	tell: (agent: AgentProcess) => Promise<void>,
) {
	try {
		const agent = await startAgent(app.port, { ...QUICK, ...env });
		try {
			await tell(agent);
		} finally {
			await agent.stop();
		}
	} finally {
		await app.stop();
	}
}

describe("health of real servers", () => {
	const grpc = { skip: without("go") };

	test("gRPC's own health service: readiness follows the service that is named", grpc, async () => {
		const app = await startApp(tool("go"), ["grpc-server"]);
		await withAgent(
			app,
			{ OUTRIGGER_INBOUND__0__PROTOCOL: "http2", OUTRIGGER_HEALTH__APP__GRPC: "shop.Orders" },
			async (agent) => {
				await says(agent, "ok");
				app.process.kill("SIGUSR1");
				await says(agent, "fail app_fails");
				app.process.kill("SIGUSR1");
				await says(agent, "ok");
			},
		);
	});

	test("gRPC: the whole server, and a service that it does not know", grpc, async () => {
		await withAgent(
			await startApp(tool("go"), ["grpc-server"]),
			{ OUTRIGGER_HEALTH__APP__GRPC: "*" },
			async (agent) => void (await says(agent, "ok")),
		);
		await withAgent(
			await startApp(tool("go"), ["grpc-server"]),
			{ OUTRIGGER_HEALTH__APP__GRPC: "no.Such" },
			async (agent) => void (await says(agent, "fail app_fails")),
		);
	});

	test("gRPC: auto asks /health, finds no HTTP/1, and lets the port decide", grpc, async () => {
		await withAgent(await startApp(tool("go"), ["grpc-server"]), {}, async (agent) => void (await says(agent, "ok")));
	});

	test(
		"a check of another server beside the app is in the tree, and only warns unless it is critical",
		grpc,
		async () => {
			const beside = await startApp(tool("go"), ["grpc-server"]);
			try {
				await withAgent(
					await startNamed("go"),
					{
						OUTRIGGER_HEALTH__CHECKS__0__NAME: "orders",
						OUTRIGGER_HEALTH__CHECKS__0__URL: `grpc://127.0.0.1:${beside.port}/shop.Orders`,
						OUTRIGGER_HEALTH__CHECKS__0__INTERVAL: "100ms",
						OUTRIGGER_HEALTH__CHECKS__0__TIMEOUT: "100ms",
						OUTRIGGER_HEALTH__CHECKS__0__FALL: "1",
					},
					async (agent) => {
						await eventually(
							async () => ((await tree(agent)).includes('"orders":"pass"') ? true : undefined),
							"the check passes",
						);
						beside.process.kill("SIGUSR1");
						await eventually(
							async () => ((await tree(agent)).includes('"orders":"fail"') ? true : undefined),
							"the check fails",
						);
						await says(agent, "ok");
						assert.equal(await agent.metric('outrigger_health{contributor="checks/orders"}'), 0);
					},
				);
			} finally {
				await beside.stop();
			}
		},
	);

	for (const [name, needs] of [
		["uvicorn", "uvicorn"],
		["go", "go"],
		["java", "java"],
		["node", undefined],
	] as const) {
		test(`${name} as it is becomes ready with everything at its default`, {
			skip: needs && without(needs),
		}, async () => {
			await withAgent(await startNamed(name), {}, async (agent) => void (await says(agent, "ok")));
		});
	}
});
