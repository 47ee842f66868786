import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { createGzip, gzipSync } from "node:zlib";
import { ManualClock, systemClock } from "../foundation/clock.ts";
import type { Logger } from "../foundation/logger.ts";
import { silentLogger } from "../foundation/logger.ts";
import { systemScheduler } from "../foundation/scheduler.ts";
import { ExpositionWriter } from "../telemetry/exposition-write.ts";
import { TimeSlices } from "../telemetry/time-slice.ts";
import { APP_PAGE_LIMITS, AppPages, type AppPagesParts, type DropReason } from "./app-page.ts";

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** An app on loopback that lives as long as the test. */
async function startApp(t: TestContext, handler: Handler): Promise<string> {
	const server = createServer(handler);
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	t.after(() => {
		server.closeAllConnections();
		server.close();
	});
	const address = server.address();
	if (address === null || typeof address === "string") assert.fail("no address");
	return `http://127.0.0.1:${address.port}/metrics`;
}

function pagesFor(t: TestContext, urls: readonly string[], parts: Partial<AppPagesParts> = {}): AppPages {
	const pages = new AppPages({ urls, clock: systemClock, scheduler: systemScheduler, log: silentLogger, ...parts });
	t.after(() => pages.stop());
	return pages;
}

function dropsOf(pages: AppPages): readonly (readonly [DropReason, number])[] {
	return pages.targets.flatMap(({ dropped }) => [...dropped]);
}

const text = (body: string | Buffer, headers: Record<string, string> = {}): Handler => {
	return (_, response) =>
		response.writeHead(200, { "content-type": "text/plain; version=0.0.4", ...headers }).end(body);
};

test("a page is fetched, parsed, and asked for as Prometheus asks", async (t) => {
	let seen: IncomingMessage["headers"] = {};
	const url = await startApp(t, (request, response) => {
		seen = request.headers;
		text("# TYPE a gauge\na 1\nb 2\n")(request, response);
	});
	const pages = pagesFor(t, [`${url}?token=secret`]);
	const [page] = await pages.collect();
	assert.equal(page?.page?.samples, 2);
	assert.equal(page?.target.label, url, "the label has no query: it may hold a secret");
	assert.equal(page.target.up, true);
	assert.match(seen.accept ?? "", /^application\/openmetrics-text/);
	assert.equal(seen["accept-encoding"], "gzip");
	assert.equal(seen.connection, "close");
	assert.deepEqual(dropsOf(pages), []);
});

test("gzip is undone", async (t) => {
	const url = await startApp(t, text(gzipSync("a 1\n"), { "content-encoding": "gzip" }));
	const [page] = await pagesFor(t, [url]).collect();
	assert.equal(page?.page?.samples, 1);
});

test("OpenMetrics is read as that, and no content type as text", async (t) => {
	const om = await startApp(
		t,
		text("# TYPE a counter\na_total 1\n# EOF\n", { "content-type": "application/openmetrics-text" }),
	);
	const none = await startApp(t, (_, response) => response.end("a 1\n"));
	const [first, second] = await pagesFor(t, [om, none]).collect();
	assert.equal(first?.page?.format, "openmetrics");
	assert.equal(second?.page?.format, "text");
});

const endless = (line: string): Handler => {
	return (_, response) => {
		response.writeHead(200, { "content-type": "text/plain" });
		const more = (): void => {
			while (!response.destroyed && response.write(line.repeat(100)));
			if (!response.destroyed) response.once("drain", more);
		};
		more();
	};
};

/** What an app can do to us, and what it costs: its own page. */
const hostile: readonly (readonly [string, Handler, DropReason])[] = [
	["never answers", () => {}, "timeout"],
	[
		"answers one byte and stops",
		(_, response) => response.writeHead(200, { "content-type": "text/plain" }).write("a"),
		"timeout",
	],
	["answers 404", (_, response) => response.writeHead(404).end("a 1\n"), "status"],
	["redirects", (_, response) => response.writeHead(302, { location: "http://127.0.0.1:1/" }).end(), "status"],
	["answers HTML", text("<html>", { "content-type": "text/html" }), "content_type"],
	["answers JSON", text("{}", { "content-type": "application/json" }), "content_type"],
	["answers in a coding that nobody asked for", text("x", { "content-encoding": "br" }), "content_encoding"],
	["answers broken gzip", text("no gzip", { "content-encoding": "gzip" }), "content_encoding"],
	[
		"answers gzip that is cut short",
		text(gzipSync("a 1\n".repeat(1000)).subarray(0, 20), { "content-encoding": "gzip" }),
		"content_encoding",
	],
	["answers what is no page", text("hello world, how are you\n"), "malformed"],
	["answers bytes that are not UTF-8", text(Buffer.from([0x61, 0xff, 0x0a])), "malformed"],
	["answers without end", endless("a 1\n"), "too_large"],
	["answers a line without end", endless("x"), "line_too_long"],
	[
		"has too many samples",
		text(Array.from({ length: 2_000 }, (_, i) => `a{b="${i}"} 1\n`).join("")),
		"too_many_samples",
	],
	["has too many families", text(Array.from({ length: 200 }, (_, i) => `a${i} 1\n`).join("")), "too_many_families"],
	[
		"has a sample with too many labels",
		text(`a{${Array.from({ length: 20 }, (_, i) => `l${i}="x"`).join()}} 1\n`),
		"malformed",
	],
	["closes the connection", (request) => request.socket.destroy(), "unreachable"],
	[
		"closes in the middle",
		(_, response) => {
			response.writeHead(200, { "content-type": "text/plain", "content-length": "1000" });
			response.write("a 1\n", () => response.destroy());
		},
		"unreachable",
	],
	[
		"sends a gzip bomb",
		(_, response) => {
			response.writeHead(200, { "content-type": "text/plain", "content-encoding": "gzip" });
			const gzip = createGzip();
			gzip.pipe(response);
			response.once("close", () => gzip.destroy());
			gzip.end(Buffer.alloc(8 * 1024 * 1024, "# 0123456789\n"));
		},
		"too_large",
	],
];
const BOUNDS = {
	...APP_PAGE_LIMITS,
	bytesMax: 100_000,
	samplesMax: 1_000,
	familiesMax: 100,
	labelsMax: 8,
	timeoutMs: 2_000,
};
for (const [what, handler, reason] of hostile) {
	test(`an app that ${what} costs its own page: ${reason}`, async (t) => {
		const bad = await startApp(t, handler);
		const good = await startApp(t, text("a 1\n"));
		// Time limits are real here: a short one where the time limit is the point, a long one where it is not.
		const timeoutMs = reason === "timeout" ? 150 : 10_000;
		const pages = pagesFor(t, [bad, good], { limits: { ...BOUNDS, timeoutMs } });
		const [first, second] = await pages.collect();
		assert.equal(first?.page, undefined);
		assert.equal(first?.target.up, false);
		assert.deepEqual([...(first?.target.dropped ?? [])], [[reason, 1]]);
		assert.equal(second?.page?.samples, 1);
	});
}

test("a port where nobody listens is told as that, and said once", async (t) => {
	const said: unknown[] = [];
	const log: Logger = { ...silentLogger, warn: (_, fields) => said.push(fields) };
	const clock = new ManualClock();
	const pages = pagesFor(t, ["http://127.0.0.1:1/metrics"], { log, clock });
	await pages.collect();
	clock.advance(5_000);
	await pages.collect();
	assert.deepEqual(said, [{ target: "http://127.0.0.1:1/metrics", problem: "unreachable: ECONNREFUSED" }]);
	assert.deepEqual(dropsOf(pages), [["unreachable", 2]]);
});

test("an app that is in order again is said to be so", async (t) => {
	let body = "nonsense\n";
	const url = await startApp(t, (request, response) => text(body)(request, response));
	const said: string[] = [];
	const log: Logger = { ...silentLogger, warn: (message) => said.push(message), info: (message) => said.push(message) };
	const clock = new ManualClock();
	const pages = pagesFor(t, [url], { log, clock });
	await pages.collect();
	body = "# TYPE a counter\na -1\n";
	clock.advance(5_000);
	await pages.collect();
	body = "a 1\na 1\n";
	clock.advance(5_000);
	await pages.collect();
	assert.deepEqual(said, ["the app's metrics", "the app's metrics", "the app's metrics are in order again"]);
	assert.deepEqual(dropsOf(pages), [
		["malformed", 1],
		["duplicate", 1],
	]);
});

test("a page serves for a second, and one scrape serves all who ask meanwhile", async (t) => {
	let asked = 0;
	const url = await startApp(t, (request, response) => {
		asked++;
		text("a 1\n")(request, response);
	});
	const clock = new ManualClock();
	const pages = pagesFor(t, [url], { clock });
	await Promise.all([pages.collect(), pages.collect(), pages.collect()]);
	await pages.collect();
	assert.equal(asked, 1);
	clock.advance(1_001);
	await pages.collect();
	assert.equal(asked, 2);
});

test("stopping ends what is under way; it is safe twice", async (t) => {
	let arrived: () => void = () => {};
	const arrival = new Promise<void>((resolve) => {
		arrived = resolve;
	});
	const url = await startApp(t, () => arrived());
	const pages = pagesFor(t, [url], { limits: { ...BOUNDS, timeoutMs: 60_000 } });
	const collecting = pages.collect();
	await arrival;
	pages.stop();
	pages.stop();
	const [page] = await collecting;
	assert.equal(page?.page, undefined);
});

test("each target is told apart, and its numbers are written", async (t) => {
	const url = await startApp(t, text("a 1\n"));
	const { host } = new URL(url);
	const pages = pagesFor(t, [`http://user:secret@${host}/metrics?a`, `http://${host}/metrics?b`]);
	await pages.collect();
	pages.targets[0]?.drop("reserved");
	const out = new ExpositionWriter({ format: "text", slices: new TimeSlices(new ManualClock()) });
	pages.writeMetrics(out);
	const written = Buffer.concat(out.finish().blocks).toString();
	assert.ok(written.includes(`outrigger_app_metrics_up{target="${url}"} 1\n`));
	assert.ok(written.includes(`outrigger_app_metrics_samples{target="${url}#2"} 1\n`));
	assert.ok(written.includes(`outrigger_app_metrics_dropped_total{target="${url}",reason="reserved"} 1\n`));
	assert.ok(!written.includes("secret"));
	const none = new ExpositionWriter({ format: "text", slices: new TimeSlices(new ManualClock()) });
	pagesFor(t, []).writeMetrics(none);
	assert.deepEqual(none.finish().blocks, []);
});

const corpora = process.env["OUTRIGGER_CORPORA"];
test("every bad vector of OpenMetrics, sent by a real app, is refused or passed on without its type", {
	skip: corpora === undefined ? "OUTRIGGER_CORPORA is not set" : false,
}, async (t) => {
	const { cases } = JSON.parse(readFileSync(join(corpora ?? "", "openmetrics_vectors.json"), "utf8")) as {
		cases: { name: string; text: string; should_parse: boolean }[];
	};
	let body = "";
	const url = await startApp(t, (_, response) => {
		response.writeHead(200, { "content-type": "application/openmetrics-text; version=1.0.0" }).end(body);
	});
	const clock = new ManualClock();
	const pages = pagesFor(t, [url], { clock });
	const bad = cases.filter(({ should_parse }) => !should_parse);
	assert.ok(bad.length > 100);
	let refused = 0;
	for (const vector of bad) {
		body = vector.text;
		clock.advance(2_000);
		const [result] = await pages.collect();
		if (result?.page === undefined) refused++;
		else if (vector.name.startsWith("bad_value")) assert.fail(vector.name);
	}
	assert.ok(refused > bad.length / 2, `${refused} of ${bad.length}`);
});
