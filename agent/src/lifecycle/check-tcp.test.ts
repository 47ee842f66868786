import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type LookupFunction } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Address } from "../config/settings.ts";
import type { AskingParts } from "./check-http.ts";
import { tcpCheck } from "./check-tcp.ts";
import type { HealthFinding } from "./health-tree.ts";
import { Liar } from "./liar.fixture.ts";
import { NameLookups } from "./name-lookup.ts";

const PARTS: AskingParts = { userAgent: "outrigger/test", lookup: new NameLookups().door() };
const look = (address: Address, parts = PARTS, signal = new AbortController().signal): Promise<HealthFinding> =>
	tcpCheck(address, parts)(signal);

test("a port that accepts passes, says nothing and is closed again", async (t) => {
	const liar = await Liar.start(t, () => {}, "connected");
	const { status, detail } = await look(liar.address);
	assert.deepEqual([status, detail], ["pass", `connecting to 127.0.0.1:${liar.address.port} worked`]);
	await liar.closed(1);
	assert.deepEqual(liar.heard, [""]);
	const { status: byName } = await look({ ...liar.address, host: "localhost" });
	assert.equal(byName, "pass");
});

test("a Unix socket is a port too", async (t) => {
	const folder = mkdtempSync(join(tmpdir(), "check-tcp-"));
	const path = join(folder, "app.sock");
	const server = createServer((socket) => socket.resume());
	t.after(() => {
		server.close();
		rmSync(folder, { recursive: true, force: true });
	});
	server.listen(path);
	await once(server, "listening");
	assert.equal((await look({ kind: "unix", path })).status, "pass");
});

test("nobody there, no such name, no way: each has its reason", async (t) => {
	const liar = await Liar.start(t, () => {});
	await liar.stop();
	const refused = await look(liar.address);
	assert.deepEqual([refused.status, refused.reason], ["fail", "connect_refused"]);
	assert.match(refused.detail ?? "", /^connecting to 127\.0\.0\.1:\d+: nobody listens there \(ECONNREFUSED\)$/);
	const lookup: LookupFunction = (_name, _options, callback) =>
		setImmediate(() => callback(Object.assign(new Error("x"), { code: "ENOTFOUND" }), ""));
	assert.equal(
		(await look({ kind: "tcp", host: "name.invalid", port: 1 }, { ...PARTS, lookup })).reason,
		"name_unresolved",
	);
});

test("what hangs is cut by the signal, also while the name is being resolved", async () => {
	const controller = new AbortController();
	const lookup: LookupFunction = () => setImmediate(() => controller.abort());
	const address: Address = { kind: "tcp", host: "name.invalid", port: 1 };
	assert.equal((await look(address, { ...PARTS, lookup }, controller.signal)).reason, "connect_failed");
	assert.equal((await look(address, { ...PARTS, lookup }, AbortSignal.abort())).status, "fail");
});
