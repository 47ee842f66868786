import assert from "node:assert/strict";
import { test } from "node:test";
import { type ProbeSource, renderProbe } from "./probes.ts";

const source: ProbeSource = {
	live: () => ({ ok: true }),
	ready: () => ({ ok: false, reason: "app_refuses" }),
	started: () => {
		throw new Error("a secret detail");
	},
};

test("a probe is answered in text, with status words and reasons only", () => {
	const contentType = "text/plain; charset=utf-8";
	assert.deepEqual(renderProbe(source, "live", undefined), { status: 200, contentType, body: "ok\n" });
	assert.deepEqual(renderProbe(source, "ready", "*/*"), { status: 503, contentType, body: "fail app_refuses\n" });
});

test("a source that throws is not well, and its error stays inside", () => {
	assert.deepEqual(renderProbe(source, "started", "text/plain").body, "fail internal\n");
});

test("JSON is for those who ask for it", () => {
	const json = renderProbe(source, "ready", "application/json;q=0.5, application/health+json");
	assert.equal(json.contentType, "application/health+json");
	assert.deepEqual(JSON.parse(json.body), { status: "fail", reason: "app_refuses" });
	assert.deepEqual(JSON.parse(renderProbe(source, "live", "application/json").body), { status: "pass" });
	assert.equal(renderProbe(source, "live", "application/json;q=0").body, "ok\n");
});
