import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { configuration, parseLog, readLog, serversUp, writeConfiguration } from "./haproxy.ts";

const folder = mkdtempSync(join(tmpdir(), "outrigger-drain-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const site = {
	port: 1001,
	folder,
	checkPath: "/readyz",
	backends: [
		{ name: "pair1a", port: 2001, checkPort: 3001 },
		{ name: "pair1b", port: 2002, checkPort: 3002 },
	],
};

test("each pod is a server that is checked on its own port, and no request is sent to a second one", () => {
	const text = configuration(site);
	assert.match(text, /^\tserver pair1a 127\.0\.0\.1:2001 check port 3001$/m);
	assert.match(text, /^\tserver pair1b 127\.0\.0\.1:2002 check port 3002$/m);
	assert.match(text, /uri \/readyz /);
	assert.doesNotMatch(text, /^\s*(?:option redispatch|retry-on)/m);
	assert.equal(writeConfiguration(site), join(folder, "haproxy.cfg"));
});

test("a server counts as up while it gets requests", () => {
	const table = [
		"# pxname,svname,status,",
		"pods,pair1a,UP,",
		"pods,pair1b,DOWN,",
		"pods,pair2a,UP 1/2,",
		"pods,pair2b,DOWN 1/2,",
		"pods,BACKEND,UP,",
	].join("\n");
	assert.deepEqual([...serversUp(table)], ["pair1a", "pair2a"]);
	assert.throws(() => serversUp("Unknown command"), /not haproxy's statistics/);
});

test("what its log says of a request is found by the request's number", () => {
	const text = [
		"[NOTICE] (1) : New worker",
		"Server pods/pair1b is DOWN, reason: Layer4 connection problem",
		"17 pair1a 503 SC-- 3",
		"18 <NOSRV> -1 CD-- +2",
	].join("\n");
	const file = join(folder, "haproxy.out");
	writeFileSync(file, text);
	const log = readLog(file);
	assert.deepEqual(log, parseLog(text));
	assert.deepEqual([...log.keys()], [17, 18]);
	assert.deepEqual(log.get(17), { server: "pair1a", status: 503, ended: "SC--", retries: "3" });
	assert.deepEqual(log.get(18), { server: "<NOSRV>", status: -1, ended: "CD--", retries: "+2" });
});
