import type { Settings } from "../config/settings.ts";
import type { Clock } from "../foundation/clock.ts";
import type { Logger } from "../foundation/logger.ts";
import type { AppPages, AppTarget } from "../observe/app-page.ts";
import {
	BlockSink,
	claimsOf,
	copyHeader,
	copySamples,
	createdFamilies,
	type FamilyOutput,
	planFamily,
} from "../telemetry/exposition-convert.ts";
import type { ParsedPage } from "../telemetry/exposition-parse.ts";
import {
	EXPOSITION_CONTENT_TYPE,
	type ExpositionFormat,
	ExpositionWriter,
	type FamilyType,
	familyName,
	type MetricSource,
} from "../telemetry/exposition-write.ts";
import { OWN_PREFIX } from "../telemetry/registry.ts";
import { TimeSlices } from "../telemetry/time-slice.ts";

/**
 * One valid document out of three: our series, what prom-client holds, and the app's pages.
 *
 *   app's pages ─► plan (reserved? name taken? as which type?) ─┐
 *   our sources ─► writer (leaves out or marks families) ───────┴─► blocks ─► # EOF
 *
 * The app's pages come first, because with `metrics.collision: app` they decide what we write. Each family is there once and in one
 * piece. Scrapers that ask at the same time for the same format share one rendering.
 */
export interface NamedSource {
	/** Label `observer` of `outrigger_observer_faults_total` when it throws. */
	readonly name: string;
	readonly source: MetricSource;
}

export interface MetricsPageParts {
	/** In the order of the page. Families must differ from source to source. */
	readonly sources: readonly NamedSource[];
	readonly app: AppPages;
	readonly collision: Settings["metrics"]["collision"];
	readonly clock: Clock;
	readonly log: Logger;
	/** Called when a source throws: to be counted. Its families so far stay in the page. */
	readonly onFault: (observer: string, error: unknown) => void;
}

/** A finished document. Blocks must not be changed. */
export interface RenderedPage {
	readonly contentType: string;
	readonly blocks: readonly Buffer[];
	readonly bytes: number;
	/** The blocks of the gzip coding; made once, whoever asks. */
	gzip(): Promise<readonly Buffer[]>;
	/** Longest turn of the event loop that it took, ms, and all of them together. */
	readonly longestTurnMs: number;
	readonly totalMs: number;
}

/** Names of left-out families that are remembered, so that each is logged once. */
const NAMES_SAID_MAX = 1_000;

/** What is passed on of one family, and from where. */
interface Planned {
	readonly target: AppTarget;
	readonly page: ParsedPage;
	readonly output: FamilyOutput;
}

export class MetricsPage {
	readonly #parts: MetricsPageParts;
	readonly #rendering = new Map<ExpositionFormat, Promise<RenderedPage>>();
	readonly #said = new Set<string>();

	constructor(parts: MetricsPageParts) {
		this.#parts = parts;
	}

	/** The page as it is now. Waits at most `timeoutMs` for the app; rejects only if we have made a mistake. */
	render(format: ExpositionFormat, timeoutMs = Number.POSITIVE_INFINITY): Promise<RenderedPage> {
		let rendering = this.#rendering.get(format);
		if (rendering === undefined) {
			rendering = this.#render(format, timeoutMs).finally(() => this.#rendering.delete(format));
			this.#rendering.set(format, rendering);
		}
		return rendering;
	}

	async #render(format: ExpositionFormat, timeoutMs: number): Promise<RenderedPage> {
		const { app, clock, collision } = this.#parts;
		const pages = await app.collect(timeoutMs);
		const slices = new TimeSlices(clock);
		const planned: Planned[] = [];
		const appClaims = new Set<string>();
		for (const { target, page } of pages) {
			if (page !== undefined) await this.#plan(target, page, format, planned, appClaims, slices);
		}

		const byName = new Map<string, Planned>();
		if (collision === "both") for (const item of planned) byName.set(item.output.name, item);
		const writer = new ExpositionWriter({
			format,
			slices,
			...(collision === "app"
				? {
						omit: (id: string, type: FamilyType): boolean => {
							const claims = claimsOf(familyName(id, type, format), type, format);
							const isOurs = claims.some((name) => name.startsWith(OWN_PREFIX));
							return !isOurs && claims.some((name) => appClaims.has(name));
						},
					}
				: {}),
			mark: (id, type) => {
				const item = byName.get(familyName(id, type, format));
				return item !== undefined && item.output.type === type && !item.output.isDemoted;
			},
		});
		await this.#writeOurs(writer, slices);
		const { blocks, marks } = writer.finish();

		const ourClaims = new Set<string>();
		for (const [id, type] of writer.families) {
			for (const name of claimsOf(familyName(id, type, format), type, format)) ourClaims.add(name);
		}
		const sink = new BlockSink();
		const inserted = new Set<Planned>();
		let next = 0;
		for (const mark of marks) {
			while (next < mark.blockIndex) sink.append(blocks[next++] ?? Buffer.alloc(0));
			const type = writer.families.get(mark.id);
			const item = type === undefined ? undefined : byName.get(familyName(mark.id, type, format));
			if (item === undefined) continue;
			inserted.add(item);
			await this.#copy(item, true, format, sink, slices);
		}
		while (next < blocks.length) sink.append(blocks[next++] ?? Buffer.alloc(0));

		for (const item of planned) {
			if (inserted.has(item)) continue;
			if (item.output.claims.some((name) => ourClaims.has(name)))
				this.#leaveOut(item.target, item.output.name, "collision");
			else await this.#copy(item, false, format, sink, slices);
			if (slices.isDue()) await slices.pause();
		}
		// Last, since all that has been left out is known only now.
		const aboutApp = new ExpositionWriter({ format, slices });
		app.writeMetrics(aboutApp);
		for (const block of aboutApp.finish().blocks) sink.append(block);
		if (format === "openmetrics") sink.latin1("# EOF\n");
		sink.flush();
		slices.stop();
		return new Page(EXPOSITION_CONTENT_TYPE[format], sink.blocks, slices.longestMs, slices.totalMs);
	}

	/** Decides for each family of one page, against itself and the pages before it. */
	async #plan(
		target: AppTarget,
		page: ParsedPage,
		format: ExpositionFormat,
		planned: Planned[],
		claimed: Set<string>,
		slices: TimeSlices,
	): Promise<void> {
		const created = page.format === "text" && format === "openmetrics" ? createdFamilies(page) : undefined;
		for (const family of page.families) {
			for (const output of planFamily(family, page.format, format)) {
				if (output.claims.some((name) => name.startsWith(OWN_PREFIX))) this.#leaveOut(target, output.name, "reserved");
				else if (created?.has(output.name) === true) target.drop("created");
				else if (output.claims.some((name) => claimed.has(name))) this.#leaveOut(target, output.name, "collision");
				else {
					for (const name of output.claims) claimed.add(name);
					planned.push({ target, page, output });
				}
			}
			if (slices.isDue()) await slices.pause();
		}
	}

	async #writeOurs(writer: ExpositionWriter, slices: TimeSlices): Promise<void> {
		for (const { name, source } of this.#parts.sources) {
			try {
				await source.writeMetrics(writer);
			} catch (error) {
				this.#parts.onFault(name, error);
			}
			if (slices.isOver()) await slices.pause();
		}
	}

	async #copy(
		item: Planned,
		isMarked: boolean,
		format: ExpositionFormat,
		sink: BlockSink,
		slices: TimeSlices,
	): Promise<void> {
		const { target, page, output } = item;
		const options = { page, to: format, sink, slices, labelsMax: this.#parts.app.limits.labelsMax };
		if (!isMarked) copyHeader(output, options);
		const dropped = await copySamples(output, isMarked, options);
		if (dropped > 0) target.drop("collision", dropped);
	}

	#leaveOut(target: AppTarget, family: string, reason: "collision" | "reserved"): void {
		target.drop(reason);
		const key = `${reason} ${family}`;
		if (this.#said.has(key) || this.#said.size >= NAMES_SAID_MAX) return;
		this.#said.add(key);
		this.#parts.log.warn("a family of the app's metrics is left out", { target: target.label, family, reason });
	}
}

class Page implements RenderedPage {
	readonly contentType: string;
	readonly blocks: readonly Buffer[];
	readonly bytes: number;
	readonly longestTurnMs: number;
	readonly totalMs: number;
	#gzip: Promise<readonly Buffer[]> | undefined;

	constructor(contentType: string, blocks: readonly Buffer[], longestTurnMs: number, totalMs: number) {
		this.contentType = contentType;
		this.blocks = blocks;
		this.bytes = blocks.reduce((sum, block) => sum + block.length, 0);
		this.longestTurnMs = longestTurnMs;
		this.totalMs = totalMs;
	}

	gzip(): Promise<readonly Buffer[]> {
		this.#gzip ??= compress(this.blocks);
		return this.#gzip;
	}
}

/** On libuv's threads, block by block: nothing of it is a long turn of ours. */
async function compress(blocks: readonly Buffer[]): Promise<readonly Buffer[]> {
	// Level 1: a page is so repetitive that more effort saves little, and the effort is taken from the pod's CPU.
	const { createGzip } = await import("node:zlib"); // when the first scraper asks: 1 MiB
	const gzip = createGzip({ level: 1 });
	const compressed: Buffer[] = [];
	const done = new Promise<void>((resolve, reject) => {
		gzip.on("data", (chunk: Buffer) => compressed.push(chunk));
		gzip.once("end", resolve);
		gzip.once("error", reject);
	});
	for (const block of blocks) {
		if (!gzip.write(block)) await new Promise((resolve) => gzip.once("drain", resolve));
	}
	gzip.end();
	await done;
	return compressed;
}
