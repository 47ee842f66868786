import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { after, test } from "node:test";
import { patternOf } from "./body.ts";
import type { Target } from "./client-connection.ts";
import type { Lost } from "./ledger.ts";
import { Load, type LoadSettings, learnExpectations } from "./load.ts";

const servers: Server[] = [];
after(() => {
	for (const server of servers) {
		server.closeAllConnections();
		server.close();
	}
});

const DOWNLOAD_BYTES = 3000;

const app: RequestListener = async (request, response) => {
	const parts: Buffer[] = [];
	for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
	const body = Buffer.concat(parts);
	if (request.url === "/download") response.end(patternOf(DOWNLOAD_BYTES));
	else if (request.url === "/upload") {
		response.end(JSON.stringify({ length: body.length, sha256: createHash("sha256").update(body).digest("hex") }));
	} else response.end(request.url);
};

async function serve(listener: RequestListener): Promise<Target> {
	const server = createServer(listener);
	servers.push(server);
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	const address = server.address();
	assert.ok(address !== null && typeof address === "object");
	return { host: "127.0.0.1", port: address.port };
}

const settings = (lb: Target | undefined): LoadSettings => ({
	seed: 3,
	ratePerSecond: 1000,
	lb,
	paths: { quick: "/quick", slow: "/slow", upload: "/upload", download: "/download" },
	uploadSizes: [100, 2000],
	uploadMs: 10,
	downloadBytes: DOWNLOAD_BYTES,
	downloadMs: 10,
	times: { connectMs: 20_000, stallMs: 20_000 },
});

/** Lets time pass at its own pace, and each reading moves it a little further: a thousand requests need no second. */
function quickClock(): () => number {
	let ms = 0;
	return () => {
		ms += 0.5;
		return ms;
	};
}

async function runUntil(load: Load, requests: number) {
	load.start();
	while (load.begun < requests) await new Promise((resolve) => setImmediate(resolve));
	return load.stop();
}

test("every request of every sort is answered and counted while nothing is restarted", async () => {
	const [first, second] = [await serve(app), await serve(app)];
	const expectations = await learnExpectations(settings(first), first);
	const lost: Lost[] = [];
	const load = new Load(settings(first), { expectations, nowMs: quickClock(), onLost: (one) => lost.push(one) });
	load.setAddresses([second]);
	const tally = await runUntil(load, 1000);
	assert.deepEqual(lost, []);
	assert.ok(tally.begun >= 1000);
	assert.deepEqual([tally.good, tally.lost], [tally.begun, 0]);
	assert.ok(tally.begunBy.lb > 0 && tally.begunBy.direct > 0 && tally.begunBy.reused > 0 && tally.begunBy.fresh > 0);
	assert.ok(tally.durationMs.upload !== undefined && tally.durationMs.download !== undefined);
});

test("what is lost is told with its way, its target and what was seen, and counted once", async () => {
	const good = await serve(app);
	let requests = 0;
	const bad = await serve((request, response) => {
		requests++;
		if (requests % 3 === 0) request.socket.destroy();
		else {
			response.statusCode = 503;
			response.end();
		}
	});
	const expectations = await learnExpectations(settings(undefined), good);
	const lost: Lost[] = [];
	const load = new Load(settings(good), { expectations, nowMs: quickClock(), onLost: (one) => lost.push(one) });
	load.setAddresses([bad]);
	const tally = await runUntil(load, 300);
	assert.equal(tally.lost, tally.begunBy.direct);
	assert.equal(lost.length, tally.lost);
	assert.equal(new Set(lost.map(({ id }) => id)).size, lost.length);
	for (const one of lost) {
		assert.deepEqual([one.way, one.target], ["direct", `127.0.0.1:${bad.port}`]);
		assert.ok(one.endedMs > one.startedMs);
	}
	assert.deepEqual(new Set(lost.map(({ status }) => status)), new Set([0, 503]));
	assert.throws(() => load.setAddresses([]), /no address/);
});

test("an app that does not understand what it is asked is refused before the load begins", async () => {
	const other = await serve((_, response) => response.end('{"length":1}'));
	await assert.rejects(learnExpectations(settings(undefined), other), /the download is not what it must be/);
	const short = await serve((request, response) => {
		if (request.url === "/upload") response.end('{"length":1}');
		else void app(request, response);
	});
	await assert.rejects(learnExpectations(settings(undefined), short), /an upload of 100 bytes is answered with/);
	const failing = await serve((_, response) => {
		response.statusCode = 500;
		response.end("no");
	});
	await assert.rejects(learnExpectations(settings(undefined), failing), /\/download is answered with 500: no/);
});
