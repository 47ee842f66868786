import assert from "node:assert/strict";
import { test } from "node:test";
import type { JsonObject } from "../foundation/json-object.ts";
import { painter } from "./output.ts";
import { renderStatus } from "./status-view.ts";

const nowMs = Date.parse("2023-11-14T22:30:00.000Z");

const INFO: JsonObject = {
	epoch: "0197-epoch",
	version: "1.2.3",
	revision: "abc",
	node: "26.0.0",
	pid: 7,
	service: { name: "orders", namespace: "shop", version: "1.4.2" },
	startedAt: "2023-11-14T22:13:20.000Z",
	state: "draining",
	stateSince: "2023-11-14T22:29:54.000Z",
	why: "command",
	addresses: { inbound: [":9810", ":9811"], ops: ":9801", api: "127.0.0.1:9802" },
	apps: [
		{ name: "http", address: "127.0.0.1:3000", state: "accepts" },
		{ name: "grpc", state: "refuses", lastError: "ECONNREFUSED 127.0.0.1:3001" },
	],
	inFlight: 3,
	streams: 1,
	tunnels: 0,
	connections: { downstream: 12, upstream: 4 },
	bypass: 2,
	leases: [{ id: "lease-1", name: "import", expires: "2023-11-14T22:30:12.000Z" }],
	drain: {
		startedBy: "command",
		reason: "deploy",
		phase: "draining",
		deadline: "2023-11-14T22:30:12.000Z",
		waitingFor: ["3 exchanges in flight", "1.0 s more without a request"],
	},
	report: { summary: "nothing was cut" },
};

const HEALTH: JsonObject = {
	status: "fail",
	ready: false,
	live: true,
	whyNotReady: "draining",
	contributors: [
		{
			name: "app",
			status: "fail",
			critical: true,
			contributors: [
				{
					name: "http",
					status: "fail",
					critical: true,
					since: "2023-11-14T22:29:57.000Z",
					reason: "app_fails",
					detail: "HTTP 503",
					contributors: [{ name: "db", status: "pass", critical: false, since: "2023-11-14T22:13:20.000Z" }],
				},
			],
		},
		{ name: "checks", status: "pass", critical: true },
		{
			name: "advice",
			status: "warn",
			critical: false,
			contributors: [
				{
					name: "keep-alive",
					status: "warn",
					critical: false,
					since: "2023-11-14T22:20:00.000Z",
					advice: "server.keepAliveTimeout = 75_000",
				},
			],
		},
	],
};

test("all that the agent says is there, each thing on its line", () => {
	const text = renderStatus({ info: INFO, health: HEALTH }, { paint: painter(false), columns: undefined, nowMs });
	assert.equal(
		text,
		`state         draining, for 6 s: command
service       orders 1.4.2 in shop
agent         outrigger 1.2.3 (revision abc, Node.js 26.0.0), pid 7, started 16 min 40 s ago, epoch
              0197-epoch
addresses     in :9810, in :9811, ops :9801, api 127.0.0.1:9802
app           http at 127.0.0.1:3000: accepts
app           grpc not found yet: refuses (ECONNREFUSED 127.0.0.1:3001)
traffic       3 exchanges in flight, 1 event stream, 0 tunnels
connections   12 from clients, 4 to the app, 2 past the agent
lease         import, ends in 12 s unless it is renewed (lease-1)
drain         draining, begun by command (deploy), over within 12 s
waits for     3 exchanges in flight
              1.0 s more without a request
last drain    nothing was cut

health        fail (not ready: draining)
  app                     fail
    http                  fail  for 3 s, app_fails
        HTTP 503
      db                  pass  for 16 min 40 s, not critical
  advice                  warn
    keep-alive            warn  for 10 min, not critical
        advice: server.keepAliveTimeout = 75_000
`,
	);
});

test("what is good, strained and bad has its colour", () => {
	const coloured = { paint: painter(true), columns: 80, nowMs };
	const text = renderStatus({ info: INFO, health: HEALTH }, coloured);
	for (const piece of [
		"\u001b[33mdraining\u001b[0m",
		"\u001b[32maccepts\u001b[0m",
		"\u001b[31mrefuses\u001b[0m",
		"\u001b[33m2 past the agent\u001b[0m",
		"\u001b[31mfail\u001b[0m",
		"\u001b[32mpass\u001b[0m",
		"\u001b[33mwarn\u001b[0m",
	]) {
		assert.ok(text.includes(piece), piece);
	}
	for (const [state, code] of [
		["ready", 32],
		["unready", 31],
		["starting", 31],
		["stopped", 33],
	] as const) {
		assert.ok(
			renderStatus({ info: { state }, health: {} }, coloured).includes(`\u001b[${code}m${state}\u001b[0m`),
			state,
		);
	}
});

test("an agent that says less, or something else, is shown as far as it goes, and moves no cursor", () => {
	const plain = { paint: painter(false), columns: 80, nowMs };
	const nothing = renderStatus({ info: {}, health: {} }, plain);
	assert.doesNotMatch(nothing, /undefined|NaN|object/);
	const odd = {
		state: "ready",
		stateSince: "never",
		service: "orders",
		apps: [1, null, { name: "http\u001b[2J", state: "accepts", address: 7 }],
		leases: {},
		drain: null,
		report: 5,
		addresses: [],
		inFlight: "3",
	};
	const health = {
		status: "odd",
		contributors: [{ name: "x", contributors: [null, { name: "y", status: "__proto__" }] }],
	};
	const text = renderStatus({ info: odd, health }, plain);
	assert.doesNotMatch(text, /undefined|NaN|\[object|\u001b/);
	assert.match(text, /http \[2J at 7: accepts/);
	let deep: JsonObject = { name: "leaf", status: "pass" };
	for (let i = 0; i < 50; i++) deep = { name: `n${i}`, status: "pass", contributors: [deep] };
	assert.ok(renderStatus({ info: {}, health: { contributors: [deep] } }, plain).split("\n").length < 30);
});

test("no line is wider than the terminal where it can be broken", () => {
	const long = {
		...INFO,
		why: "x ".repeat(100),
		drain: { ...(INFO["drain"] as JsonObject), reason: "word ".repeat(40) },
	};
	const text = renderStatus({ info: long, health: HEALTH }, { paint: painter(false), columns: 64, nowMs });
	for (const line of text.split("\n")) assert.ok(line.length <= 64, line);
});
