import assert from "node:assert/strict";
import { test } from "node:test";
import { isServiceLink, OUTSIDE_VARIABLES, readEnvironment } from "./environment.ts";
import type { Problem } from "./problems.ts";

function told(env: Readonly<Record<string, string>>): readonly Problem[] {
	return readEnvironment(env).problems;
}

test("what Kubernetes makes for a Service called outrigger… is ignored", () => {
	const links = {
		OUTRIGGER_SERVICE_HOST: "10.0.0.1",
		OUTRIGGER_SERVICE_PORT: "443",
		OUTRIGGER_SERVICE_PORT_HTTPS: "443",
		OUTRIGGER_PORT: "tcp://10.0.0.1:443",
		OUTRIGGER_PORT_443_TCP: "tcp://10.0.0.1:443",
		OUTRIGGER_PORT_443_TCP_PROTO: "tcp",
		OUTRIGGER_PORT_443_TCP_PORT: "443",
		OUTRIGGER_PORT_443_TCP_ADDR: "10.0.0.1",
		OUTRIGGER_PORT_53_UDP: "udp://10.0.0.1:53",
		OUTRIGGER_WEBHOOK_SERVICE_HOST: "10.0.0.1",
		OUTRIGGER_WEBHOOK_SERVICE_PORT_HTTPS: "443",
		OUTRIGGER_WEBHOOK_PORT: "tcp://10.0.0.1:443",
		OUTRIGGER_APP_PORT: "tcp://10.0.0.1:80",
	};
	for (const [name, value] of Object.entries(links)) assert.equal(isServiceLink(name, value), true, name);
	const layer = readEnvironment(links);
	assert.deepEqual(layer.problems, []);
	assert.deepEqual(layer.assignments, []);
	for (const [name, value] of [
		["OUTRIGGER_AP_PORT", "3000"],
		["OUTRIGGER_PORT", "3000"],
		["OUTRIGGER_PORT_443", "x"],
		["OUTRIGGER_SERVICE_NAME", "x"],
		["MY_OUTRIGGER_SERVICE_HOST", "x"],
	] as const) {
		assert.equal(isServiceLink(name, value), false, name);
	}
});

test("OUTRIGGER_APP_PORT is the first app's port on localhost, and the more exact variable wins over it", () => {
	const [app] = readEnvironment({ OUTRIGGER_APP_PORT: "3000" }).assignments;
	assert.equal(app?.concrete, "inbound.0.app");
	assert.deepEqual(app?.input, {
		form: "text",
		place: { kind: "variable", name: "OUTRIGGER_APP_PORT" },
		text: "localhost:3000",
	});
	const { assignments } = readEnvironment({
		OUTRIGGER_APP_PORT: "3000",
		OUTRIGGER_INBOUND__0__APP: "unix:/run/app.sock",
	});
	assert.deepEqual(
		assignments.map(({ input }) => input.place),
		[{ kind: "variable", name: "OUTRIGGER_INBOUND__0__APP" }],
	);
	for (const [value, kind] of [
		["0", "out_of_bounds"],
		["65536", "out_of_bounds"],
		["123456", "out_of_bounds"],
		["three", "wrong_type"],
		["localhost:3000", "wrong_type"],
	] as const) {
		const [problem, ...more] = told({ OUTRIGGER_APP_PORT: value });
		assert.equal(problem?.kind, kind, value);
		assert.equal(problem?.example, "OUTRIGGER_APP_PORT=3000");
		assert.deepEqual(more, []);
	}
});

test("variables outside of the keys and empty ones are passed over, others must be known", () => {
	const env = Object.fromEntries(Object.keys(OUTSIDE_VARIABLES).map((name) => [name, "3000"]));
	assert.deepEqual(told({ ...env, OUTRIGGER_TIMEOUTS__HEAD: "", PATH: "/bin", OUTRIGGE: "x", outrigger_x: "y" }), []);
	const [problem] = told({ OUTRIGGER_TIMEOUTS_HEAD: "geheim" });
	assert.equal(problem?.kind, "unknown_key");
	assert.equal(problem?.suggestion, "OUTRIGGER_TIMEOUTS__HEAD");
	assert.equal(problem?.example, "OUTRIGGER_TIMEOUTS__HEAD=5s");
	assert.doesNotMatch(JSON.stringify(problem), /geheim/);
	assert.equal(told({ OUTRIGGER_INBOUND__3__LISTN: ":1" })[0]?.suggestion, "OUTRIGGER_INBOUND__3__LISTEN");
	assert.equal(told({ OUTRIGGER_CONFG: "x" })[0]?.suggestion, "OUTRIGGER_CONFIG");
	assert.equal(told({ OUTRIGGER_CONFG: "x" })[0]?.example, undefined);
	assert.equal(told({ OUTRIGGER_WHATEVER_ELSE: "x" })[0]?.suggestion, undefined);
});

test("a variable that names a group of keys says which ones are meant", () => {
	const [section] = told({ OUTRIGGER_TIMEOUTS: "10s" });
	assert.equal(section?.kind, "wrong_type");
	assert.equal(section?.expected, "variables that begin with OUTRIGGER_TIMEOUTS__");
	assert.equal(section?.example, "OUTRIGGER_TIMEOUTS__HEAD=5s");
	assert.equal(told({ OUTRIGGER_INBOUND: ":80" })[0]?.example, "OUTRIGGER_INBOUND__0__NAME=grpc");
	assert.equal(told({ OUTRIGGER_INBOUND__5: ":80" })[0]?.kind, "wrong_type");
});
