/** A drain that waits for connections which came past us, and looks that fail meanwhile: nobody has gone because we could not look. */
import { strict as assert } from "node:assert";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { type Json, outrigger, startProcess } from "./agent-process.ts";
import { answering, connect, ok, startApp } from "./harness.ts";

const GET = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const WAITS = "1 connection that came past us";
const skip = process.platform === "linux" ? false : "sockets are seen in /proc";

const folder = mkdtempSync(join(tmpdir(), "outrigger-story-"));
after(() => rmSync(folder, { recursive: true }));

/** A preload: while there is a file of that name no table of sockets can be opened, as when no descriptor is left. */
const blindWhile = (file: string): string => `
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
const { open, existsSync } = fs;
fs.open = (path, ...rest) => {
	if (!String(path).startsWith("/proc/net/tcp") || !existsSync(${JSON.stringify(file)})) return open(path, ...rest);
	process.nextTick(rest.at(-1), Object.assign(new Error("EMFILE: too many open files"), { code: "EMFILE" }));
};
syncBuiltinESMExports();
`;

describe("blind for a while", { concurrency: 2, timeout: 60_000, skip }, () => {
	for (const [name, set] of [
		["with a data path", { "probes.timeout": "100ms" }],
		["capture: none", { capture: "none", "inbound.0.listen": undefined }],
	] as const) {
		test(`${name}: a drain waits for who was there, and sees him go when it can look again`, async () => {
			await using app = await startApp(answering(() => ok()));
			const file = join(folder, name.replace(/\W/g, "-"));
			const log = `${file}.log`;
			await using agent = await startProcess(app.port, {
				log,
				preload: blindWhile(file),
				set: { "drain.sigterm": "stop", ...set },
			});
			await using direct = await connect(app.port);
			direct.write(GET);
			await direct.response();
			await agent.untilMetric("outrigger_bypass_connections", name === "capture: none" ? 0 : 1);
			const hook = agent.ops("/lifecycle/drained");
			assert.equal((await outrigger("drain", "--url", agent.url)).code, 0);
			await agent.waitsFor(WAITS);

			writeFileSync(file, "");
			assert.equal((await agent.says(/^connections that come past the agent cannot be seen for now/))["level"], "warn");
			await agent.waitsFor(WAITS);
			direct.write(GET);
			assert.equal((await direct.response()).status, 200);
			direct.end();
			await direct.closed();
			await agent.waitsFor(WAITS);
			assert.equal((await agent.api("getInfo")).answer["report"], undefined, "nobody knows yet that he has gone");

			rmSync(file);
			const { outcome, ended } = JSON.parse((await hook).text) as Json; // an object is what the hook answers
			assert.deepEqual([outcome, ended], ["drained", "idle"]);
			assert.equal((await agent.endBy("SIGTERM")).code, 0);
		});
	}
});
