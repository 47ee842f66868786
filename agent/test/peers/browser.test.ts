import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { WebSocket } from "ws";
import { startAgent, startNamed } from "./peers.ts";
import { Running } from "./processes.ts";
import { tool, without } from "./tools.ts";

test("a page in Chromium fetches, streams, and opens an EventSource and a WebSocket through the agent", {
	skip: without("chromium"),
}, async (t) => {
	const app = await startNamed("node");
	t.after(() => app.stop());
	const agent = await startAgent(app.port);
	t.after(() => agent.stop());
	const profile = await mkdtemp(join(tmpdir(), "outrigger-browser-"));
	const browser = new Running(tool("chromium"), [
		"--headless",
		"--no-sandbox",
		"--disable-gpu",
		"--disable-dev-shm-usage",
		"--no-first-run",
		`--user-data-dir=${profile}`,
		"--remote-debugging-port=0",
		"about:blank",
	]);
	t.after(async () => {
		await browser.stop("SIGKILL");
		await rm(profile, { recursive: true, force: true, maxRetries: 5 });
	});
	const [, devtools] = await browser.line(/DevTools listening on (ws:\S+)/);
	const socket = new WebSocket(String(devtools));
	t.after(() => socket.terminate());
	await once(socket, "open");

	const answers = new Map<number, (message: Answer) => void>();
	socket.on("message", (data: Buffer) => {
		const message = JSON.parse(data.toString()) as Answer & { id?: number };
		if (message.id !== undefined) answers.get(message.id)?.(message);
	});
	let id = 0;
	const send = async (
		method: string,
		params: unknown,
		sessionId?: string,
	): Promise<Readonly<Record<string, unknown>>> => {
		const { promise, resolve } = Promise.withResolvers<Answer>();
		answers.set(++id, resolve);
		socket.send(JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) }));
		const { result, error } = await promise;
		assert.equal(error, undefined, `${method}: ${JSON.stringify(error)}`);
		return result ?? {};
	};

	const { targetId } = await send("Target.createTarget", { url: "about:blank" });
	const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
	await send("Page.navigate", { url: `${agent.url}/page` }, String(sessionId)); // resolves in the new document
	const look = `new Promise((resolve) => {
		const look = () => (document.title === "done" ? resolve(document.body.textContent) : setTimeout(look, 20));
		look();
	})`;
	const evaluated = await send("Runtime.evaluate", { expression: look, awaitPromise: true }, String(sessionId));
	const { value } = evaluated["result"] as { value: string };
	assert.deepEqual(JSON.parse(value), {
		fetch: "hello\n",
		echo: true,
		many: true,
		streamed: "data: 0\n\n",
		events: "0,1,2",
		socket: 70_000,
	});
});

interface Answer {
	readonly result?: Readonly<Record<string, unknown>>;
	readonly error?: unknown;
}
