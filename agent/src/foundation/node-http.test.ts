import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

/** Whether a process that runs this has loaded the parts of Node whose path holds `undici`. */
const loadsUndici = (source: string): boolean => {
	const script = `${source}; console.log(process.moduleLoadList.some((name) => name.includes("undici")));`;
	const args = ["--import", "tsx", "--input-type=module", "-e", script];
	return execFileSync(process.execPath, args, { encoding: "utf8" }).trim() === "true";
};

test("node:http comes without undici, which an ordinary import would bring", () => {
	const door = fileURLToPath(new URL("./node-http.ts", import.meta.url));
	assert.equal(
		loadsUndici(`const { createServer } = await import(${JSON.stringify(door)}); createServer().close()`),
		false,
	);
	// What this is for: when Node mends it, the door can go.
	assert.equal(loadsUndici(`await import("node:http")`), true);
});
