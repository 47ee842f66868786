import assert from "node:assert/strict";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import type { Settings } from "../config/settings.ts";
import { ManualClock, systemClock } from "../foundation/clock.ts";
import { type Logger, silentLogger } from "../foundation/logger.ts";
import { ManualScheduler } from "../foundation/scheduler.ts";
import { APP_PAGE_LIMITS, type AppPage, AppPages } from "../observe/app-page.ts";
import { ExpositionParser } from "../telemetry/exposition-parse.ts";
import type { ExpositionFormat, MetricSource } from "../telemetry/exposition-write.ts";
import { MetricsPage, type NamedSource } from "./metrics-page.ts";

/** The app's pages as given, in place of the network. */
class GivenPages extends AppPages {
	readonly #pages: readonly (readonly [ExpositionFormat, string])[];
	collected = 0;
	hold: Promise<void> = Promise.resolve();

	constructor(pages: readonly (readonly [ExpositionFormat, string])[]) {
		const urls = pages.map((_, i) => `http://127.0.0.1:${i + 1}/metrics`);
		super({ urls, clock: new ManualClock(), scheduler: new ManualScheduler(), log: silentLogger });
		this.#pages = pages;
	}

	override async collect(): Promise<readonly AppPage[]> {
		this.collected++;
		await this.hold;
		return this.targets.map((target, i) => {
			const [format, text] = this.#pages[i] ?? ["text", ""];
			const parser = new ExpositionParser(format, "lenient", APP_PAGE_LIMITS);
			parser.write(Buffer.from(text));
			target.up = true;
			return { target, page: parser.end() };
		});
	}
}

const ours: MetricSource = {
	writeMetrics(out) {
		out.family("http_server_request_duration_seconds", "histogram", "Ours.", "seconds");
		out.histogram('http_route="/"', [1], [1, 2], 0, 5);
		out.family("http_requests_total", "counter", "Ours.");
		out.sample('endpoint="/"', 3);
		out.family("outrigger_build_info", "gauge", "Ours.");
		out.sample("", 1);
	},
};

interface Setting {
	readonly app: GivenPages;
	readonly collision?: Settings["metrics"]["collision"];
	readonly sources?: readonly NamedSource[];
	readonly log?: Logger;
	readonly onFault?: (observer: string, error: unknown) => void;
}

function pageFor(setting: Setting): MetricsPage {
	return new MetricsPage({
		sources: [{ name: "exchanges", source: ours }],
		collision: "agent",
		clock: systemClock,
		log: silentLogger,
		onFault: (_, error) => {
			throw error;
		},
		...setting,
	});
}

async function render(setting: Setting, format: ExpositionFormat): Promise<string> {
	const page = await pageFor(setting).render(format);
	const text = Buffer.concat(page.blocks).toString("utf8");
	assert.equal(Buffer.byteLength(text), page.bytes);
	const parser = new ExpositionParser(format, "strict", APP_PAGE_LIMITS);
	parser.write(Buffer.from(text));
	if (parser.end() === undefined) assert.fail(`line ${parser.problem?.line}: ${parser.problem?.message}\n${text}`);
	return text;
}

const FORMATS: readonly ExpositionFormat[] = ["text", "openmetrics"];
const APP = `# HELP http_requests_total The app's.
# TYPE http_requests_total counter
http_requests_total{x="1"} 7
# TYPE http_server_request_duration_seconds gauge
http_server_request_duration_seconds 9
# TYPE jobs gauge
jobs 4
`;

for (const format of FORMATS) {
	test(`collision agent: the app's families of our names are left out, counted and named once (${format})`, async () => {
		const said: unknown[] = [];
		const app = new GivenPages([["text", APP]]);
		const log: Logger = { ...silentLogger, warn: (_, fields) => said.push(fields?.["family"]) };
		const setting = { app, log };
		const page = pageFor(setting);
		await page.render(format);
		await page.render(format);
		assert.equal(said.length, 2);
		assert.equal(app.targets[0]?.dropped.get("collision"), 4);
		const text = await render({ app }, format);
		assert.ok(text.includes('http_requests_total{endpoint="/"} 3\n'));
		assert.ok(!text.includes('{x="1"}'));
		assert.ok(text.includes("\njobs 4\n"));
		assert.ok(text.includes('reason="collision"} 6\n'), "this page's are counted on this page");
	});

	test(`collision app: ours are left out (${format})`, async () => {
		const app = new GivenPages([["text", APP]]);
		const text = await render({ app, collision: "app" }, format);
		assert.ok(!text.includes('endpoint="/"') && !text.includes("_bucket"));
		assert.ok(text.includes('http_requests_total{x="1"} 7\n'));
		assert.ok(text.includes("http_server_request_duration_seconds 9\n"));
		assert.ok(text.includes("outrigger_build_info 1\n"));
		assert.equal(app.targets[0]?.dropped.get("collision"), undefined);
	});

	test(`collision both: families of one type are one family, of two types the app's is left out (${format})`, async () => {
		const app = new GivenPages([["text", APP]]);
		const text = await render({ app, collision: "both" }, format);
		assert.ok(text.includes('http_requests_total{endpoint="/"} 3\nhttp_requests_total{origin="app",x="1"} 7\n'));
		assert.ok(!text.includes("http_server_request_duration_seconds 9\n"));
		assert.equal(app.targets[0]?.dropped.get("collision"), 1);
	});

	test(`names of ours from the app are dropped whatever metrics.collision says (${format})`, async () => {
		for (const collision of ["agent", "app", "both"] as const) {
			const fake =
				"outrigger_build_info 666\noutrigger_x 1\n# TYPE outrigger summary\noutrigger_sum 1\noutrigger_count 1\n";
			const app = new GivenPages([["text", fake]]);
			const text = await render({ app, collision }, format);
			assert.ok(text.includes("outrigger_build_info 1\n"));
			assert.ok(!text.includes("666") && !text.includes("outrigger_x") && !text.includes("outrigger_sum"));
			assert.equal(app.targets[0]?.dropped.get("reserved"), 3);
		}
	});

	test(`two pages of the app make one: the first has the name (${format})`, async () => {
		const app = new GivenPages([
			["text", "a 1\nb 1\n"],
			["openmetrics", '# TYPE a counter\na_total 2\n# TYPE b gauge\nb{x="2"} 2\n# EOF\n'],
		]);
		const text = await render({ app }, format);
		assert.ok(!text.includes('b{x="2"}'));
		assert.equal(app.targets[0]?.dropped.size, 0);
	});

	test(`what is odd at an app stays a valid page (${format})`, async () => {
		const odd =
			'a 1\nb NaN\na{x="1"} 2\na{x="1"} 3\n# TYPE c_total counter\nc_total 1\n# TYPE c_created gauge\nc_created 2\n' +
			'# TYPE h histogram\nh_bucket{le="1"} 1\n# TYPE h_count gauge\nh_count 4\nd{p="c:\\q"} 1 5\n# TYPE e counter\ne -1\n';
		const app = new GivenPages([["text", odd]]);
		const text = await render({ app }, format);
		assert.ok(text.includes('\na 1\na{x="1"} 2\n'));
		assert.ok(text.includes("b NaN\n"));
		assert.ok(text.includes('d{p="c:\\\\q"} 1'));
		assert.equal(text.includes("c_created"), format === "text");
	});
}

test("an app without a page, or with none that can be read, costs nothing of ours", async () => {
	assert.ok(!(await render({ app: new GivenPages([]) }, "text")).includes("outrigger_app_metrics"));
	const text = await render({ app: new GivenPages([["text", "nonsense"]]) }, "openmetrics");
	assert.ok(text.includes('http_requests_total{endpoint="/"} 3\n'));
	assert.ok(text.endsWith("# EOF\n"));
});

test("a source that throws is counted, and the page has what the others say", async () => {
	const faults: string[] = [];
	const broken: MetricSource = {
		async writeMetrics(out) {
			out.family("outrigger_half", "gauge", "Half.");
			out.sample("", 1);
			throw new Error("broken");
		},
	};
	const text = await render(
		{
			app: new GivenPages([]),
			sources: [
				{ name: "broken", source: broken },
				{ name: "exchanges", source: ours },
			],
			onFault: (observer) => faults.push(observer),
		},
		"text",
	);
	assert.deepEqual(faults, ["broken"]);
	assert.ok(text.includes("outrigger_half 1\n") && text.includes("outrigger_build_info 1\n"));
});

test("scrapers that ask at the same time for the same format share a page", async () => {
	const app = new GivenPages([["text", APP]]);
	let release: () => void = () => {};
	app.hold = new Promise((resolve) => {
		release = resolve;
	});
	const page = pageFor({ app });
	const all = [page.render("text"), page.render("text"), page.render("openmetrics")];
	release();
	const [first, second, third] = await Promise.all(all);
	assert.equal(first, second);
	assert.notEqual(first, third);
	assert.equal(app.collected, 2);
	await page.render("text");
	assert.equal(app.collected, 3);
});

test("gzip holds the same page and is made once", async () => {
	const rows = Array.from({ length: 5_000 }, (_, i) => `jobs{worker="${i}"} ${i}\n`).join("");
	const page = await pageFor({ app: new GivenPages([["text", `# TYPE jobs gauge\n${rows}`]]) }).render("text");
	const [first, second] = await Promise.all([page.gzip(), page.gzip()]);
	assert.equal(first, second);
	assert.deepEqual(gunzipSync(Buffer.concat(first)), Buffer.concat(page.blocks));
});
