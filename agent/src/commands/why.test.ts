import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { API_METHODS } from "@outrigger/contract";
import { startServer } from "../contract/contract.fixture.ts";
import type { JsonObject } from "../foundation/json-object.ts";
import { painter } from "./output.ts";
import { Said, type } from "./said.fixture.ts";
import { renderExchange } from "./why.ts";

const EXCHANGE = {
	startedAt: "2023-11-14T22:13:20.000Z",
	inbound: "http",
	method: "GET",
	path: "/users/7",
	route: "/users/{id}",
	status: 502,
	error: "app_closed",
	durationMs: 3.2,
	clientAddress: "10.0.0.9",
	requestId: "req-1",
	correlationId: "corr-1",
	traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
	explanation: "The app ended it (app_closed): The app closed the connection before its response began. It took 3 ms.",
};

async function ask(t: TestContext, exchanges: readonly JsonObject[], ...argv: readonly string[]) {
	const asked: JsonObject[] = [];
	const { port } = await startServer(t, [
		{
			path: API_METHODS.why,
			handle: (input) => {
				asked.push(input);
				return { exchanges };
			},
		},
	]);
	const said = new Said();
	const code = await type(said, "why", "--url", `http://127.0.0.1:${port}`, ...argv);
	return { code, asked, out: said.out, err: said.err };
}

describe("outrigger why", () => {
	test("tells each exchange with that id, and what became of it", async (t) => {
		const { code, out, err, asked } = await ask(t, [EXCHANGE, { ...EXCHANGE, requestId: "req-2" }], "corr-1");
		assert.deepEqual([code, err, asked], [0, "", [{ id: "corr-1" }]]);
		const block = (id: string): string =>
			`GET /users/7 → 502 app_closed
  2023-11-14T22:13:20.000Z, 3.2 ms, route /users/{id}, from 10.0.0.9, by http
  request id      ${id}
  correlation id  corr-1
  trace id        4bf92f3577b34da6a3ce929d0e0e4736
  The app ended it (app_closed): The app closed the connection before its response began. It took 3
  ms.
`;
		assert.equal(out, `${block("req-1")}\n${block("req-2")}`);
	});

	test("-o json prints all that is known", async (t) => {
		const { out, code } = await ask(t, [EXCHANGE], "req-1", "-o", "json");
		assert.equal(code, 0);
		assert.deepEqual(JSON.parse(out), { epoch: "epoch-1", exchanges: [EXCHANGE] });
	});

	test("of an id that is not known says where else to look, and ends with 1", async (t) => {
		const { code, out, err } = await ask(t, [], "req-9\u001b[31m");
		assert.deepEqual([code, out], [1, ""]);
		assert.match(
			err,
			/^outrigger why: the agent at http:.* knows no exchange with the id req-9 \[31m\.\nIt remembers only its own/,
		);
		assert.deepEqual(JSON.parse((await ask(t, [], "req-9", "-o", "json")).out).exchanges, []);
	});

	test("without an id, or without an agent, says so", async () => {
		const said = new Said({ env: { OUTRIGGER_AGENT_URL: "unix:/none/api.sock" } });
		assert.equal(await type(said, "why"), 64);
		assert.equal(await type(said, "why", " "), 64);
		assert.equal(await type(said, "why", "req-1"), 1);
		assert.match(said.err, /ID is missing\n[\s\S]*ID is empty\n[\s\S]*outrigger why: no agent listens at unix:/);
	});
});

test("an exchange of which little is known is shown all the same, and nothing of it reaches the terminal unescaped", () => {
	const plain = painter(false);
	assert.equal(renderExchange({}, plain, undefined), "malformed request → no answer\n  0 ms\n");
	assert.match(renderExchange({ opaque: true, status: 200 }, plain, 80), /^opaque connection → 200\n/);
	assert.match(
		renderExchange({ method: "GET", path: "/\u009b31m\u202eevil" }, plain, 80),
		/^GET \/ 31m evil → no answer\n/,
	);
	const coloured = painter(true);
	assert.match(
		renderExchange(EXCHANGE, coloured, 80),
		/^\u001b\[1mGET \/users\/7\u001b\[0m → \u001b\[31m502 app_closed\u001b\[0m\n/,
	);
	assert.match(
		renderExchange({ ...EXCHANGE, error: undefined, status: 200 }, coloured, 80),
		/\u001b\[32m200\u001b\[0m\n/,
	);
});
