/**
 * What has to hold of a stop, whatever happens. Each is held against what clients and app saw themselves, and against the records of the exchanges, which
 * are made apart from the account that the report is made of.
 *
 * What is promised, and what cannot be:
 *
 * - When a drain is over by itself (`idle`), the app has no request whose exchange is not over, the agent has read no byte of one that is not, and what it
 *   has answered is the kernel's. What is still on its way to the agent is nobody's knowledge: it is served while the app can answer, or lost with it. For
 *   that the quiet time is there, and in a calm run it is enough: nothing is lost but who comes after it (a straggler).
 * - Who has asked on a connection that was just closed because it was idle sees it end in good order, without a byte; the app has not seen that request, it is
 *   counted as refused, and who asks again within the quiet time is served.
 * - What is sent behind an answer with `connection: close` is taken by nobody and is in no number: its client has been told.
 * - What the client got whole, the record and the report call whole; what they call whole the client got, unless it went away itself.
 * - Probes, tunnels and opaque connections hold nothing and may end in any way.
 */
import type { ExchangeRecord } from "../../src/bridge/exchange-record.ts";
import { FLAG_EVENT_STREAM, FLAG_OPAQUE, FLAG_PROBE, FLAG_TUNNEL } from "../../src/bridge/exchange-record.ts";
import type { Settings } from "../../src/config/settings.ts";
import { SWEEP_MS } from "../../src/data-plane.ts";
import { FAULT_LIST, FAULTS } from "../../src/foundation/fault.ts";
import type { DrainReport } from "../../src/lifecycle/drain-report.ts";
import { CLOSING_MS, HURRY_MS, LOOK_MS } from "../../src/lifecycle/drain-sequence.ts";
import type { AppProcess } from "./app-process.ts";
import type { Callers, Conversation, LostRequest } from "./callers.ts";
import type { ControlThread } from "./control-thread.ts";
import type { Ledger, SentRequest } from "./ledger.ts";
import type { World } from "./world.ts";

export interface StopStory {
	readonly world: World;
	readonly settings: Settings;
	readonly ledger: Ledger;
	readonly control: ControlThread;
	readonly callers: Callers;
	readonly app: AppProcess;
	/** Of all exchanges that are over and have been read. */
	readonly records: readonly ExchangeRecord[];
	readonly isCalm: boolean;
	/** The longest time of a message between the threads, ms. */
	readonly lineMs: number;
	/** When the app's process ended. */
	readonly gone: { readonly at: number | undefined };
	/** Until when leases and bypassing sockets held the drain. */
	readonly lastHeldMs: () => number;
	/** How many hold it now. */
	readonly held: () => number;
}

/** Wall clock of a simulated world at its beginning, ms. */
const WALL_MS = 1_700_000_000_000;
/** Times in records are read from a wall clock whose double holds no smaller part. */
const GRAIN_MS = 0.01;
/** So long a message may take, and idle connections are still closed before the drain is over, ms. */
const LINE_QUICK_MS = 20;
/** Streams are asked to close again after this time (`STREAMS_AGAIN_MS`), and a look may come between. */
const STREAMS_LATE_MS = 250 + 2 * LOOK_MS;

const NO_EXCHANGE = FLAG_PROBE | FLAG_TUNNEL | FLAG_OPAQUE;

const startOf = (record: ExchangeRecord): number => record.startedWallMs - WALL_MS;
const endOf = (record: ExchangeRecord): number => startOf(record) + record.durationMs;

/** Whether the drain was over because there was nothing left. */
const isByItself = ({ control }: StopStory): boolean => control.outcome?.ended === "idle";

/** Whether it was over by itself at the very end of its time, when nobody waits any more for who may just be sending. */
const isAtTheEnd = ({ control }: StopStory): boolean => {
	const { outcome, lateMs } = control;
	return outcome !== undefined && outcome.announcedMs + outcome.drainedMs > outcome.budgetMs - lateMs - CLOSING_MS;
};

/** In the turn in which the drain is over. */
export const judgeAtOver = (story: StopStory): void => {
	const { world, app, records, callers, control } = story;
	if (!isByItself(story)) return;
	if (control.outcome?.left !== 0) world.violated(`over by itself with ${control.outcome?.left} in flight`);
	const known = new Set(records.map(({ clientSpanId }) => clientSpanId));
	const requests = new Map(records.map((record) => [record.requestId, record]));
	for (const connection of app.connections) {
		const head = connection.busyWith;
		if (head === undefined || known.has(head.spanId) || isProbe(story, head.id)) continue;
		world.violated(`the drain is over, and the app works on request ${head.id}, which it got ${ago(world, head.atMs)}`);
	}
	if (story.held() > 0) world.violated(`the drain is over, and ${story.held()} leases and sockets hold it`);
	for (const conversation of callers.conversations) {
		const { client, near, isProbe } = conversation;
		if (isProbe) continue;
		const [awaited] = client.awaited;
		// Of a stream that was closed, and of an answer that only tells of a failure, nobody waits for the last.
		const isLost = near.destroyed || client.isOver || client.isTunnel || awaited?.request.kind === "stream";
		const record = requests.get(`sim-${awaited?.request.id}`);
		if (!isLost && record !== undefined && isWhole(record) && near.writableLength > 0)
			world.violated(`the drain is over, and ${near.writableLength} bytes of an answer are not yet the kernel's`);
		if (client.isOver || near.hasEnded) continue;
		if (awaited === undefined) {
			judgeIdle(story, conversation);
			continue;
		}
		// The data thread says with each sweep what has begun.
		if (near.readAtMs(awaited.startsAt) > world.nowMs - SWEEP_MS) continue;
		const { id, kind, asksForUpgrade } = awaited.request;
		if (kind !== "probe" && !asksForUpgrade && !requests.has(`sim-${id}`))
			world.violated(`the drain is over, and the agent has read of request ${id}, which is not over`);
	}
};

/** When the drain is over nobody is left who was not told to close and may just be sending. */
const judgeIdle = (story: StopStory, { client, openedMs }: Conversation): void => {
	const { world, records, settings, lineMs } = story;
	// Without a quiet time nobody is waited for; and a data thread that is slow to hear closes them later.
	if (client.isTunnel || settings.drain.quietMinMs === 0 || lineMs > LINE_QUICK_MS || isAtTheEnd(story)) return;
	const last = records.find(({ requestId }) => requestId === `sim-${client.lastAnswered?.id}`);
	const idleMs = world.nowMs - Math.max(openedMs, last === undefined ? 0 : endOf(last));
	if (idleMs > SWEEP_MS + LOOK_MS)
		world.violated(`the drain is over, and a connection is open that has been idle for ${idleMs.toFixed(1)} ms`);
};

/** In the turn in which idle connections were closed: none was that could just then bring a request. */
export const judgeClosedIdle = (story: StopStory, closed: readonly Conversation[]): void => {
	const { world, records, settings } = story;
	const ends = new Map(records.map((record) => [record.requestId, endOf(record)]));
	for (const { client, openedMs } of closed) {
		const sinceMs = Math.max(openedMs, ends.get(`sim-${client.lastAnswered?.id}`) ?? 0);
		if (world.nowMs - sinceMs < settings.drain.quietMinMs - GRAIN_MS)
			world.violated(`a connection was closed that had been idle for ${(world.nowMs - sinceMs).toFixed(1)} ms`);
	}
};

const ago = (world: World, atMs: number): string => `${(world.nowMs - atMs).toFixed(1)} ms ago`;

const isProbe = ({ ledger }: StopStory, id: number): boolean => ledger.requests.get(id)?.kind === "probe";

/** When everybody is gone. */
export const judgeDrain = (story: StopStory): void => {
	judgeTimes(story);
	judgeReport(story);
	judgeRecords(story);
	judgeClients(story);
	if (story.isCalm) judgeCalm(story);
};

// ── time ──

const judgeTimes = (story: StopStory): void => {
	const { world, control, settings } = story;
	const { beganMs, overMs, outcome, hurriedMs } = control;
	if (overMs === undefined || outcome === undefined) {
		world.violated("the drain was never over");
		return;
	}
	if (beganMs === undefined) return; // stopped without a drain
	const lastedMs = overMs - beganMs;
	const budgetMs = Math.max(0, outcome.budgetMs - control.lateMs);
	if (lastedMs > budgetMs + LOOK_MS) world.violated(`the drain took ${lastedMs} ms of ${budgetMs}`);
	if (Math.abs(outcome.announcedMs + outcome.drainedMs - lastedMs) > 1)
		world.violated(`it lasted ${lastedMs} ms, and says ${outcome.announcedMs} + ${outcome.drainedMs}`);
	if (hurriedMs !== undefined && overMs - hurriedMs > HURRY_MS + LOOK_MS)
		world.violated(`hurried, it took ${overMs - hurriedMs} ms more`);
	const { announceMinMs } = settings.drain;
	if (outcome.ended === "idle" && lastedMs < Math.min(announceMinMs, budgetMs) - GRAIN_MS)
		world.violated(`over after ${lastedMs} ms, announced for less than ${announceMinMs} ms`);
	if (outcome.ended === "deadline" && hurriedMs === undefined && lastedMs < budgetMs - GRAIN_MS)
		world.violated(`over by its deadline after ${lastedMs} ms of ${budgetMs}`);
	judgeQuiet(story, overMs);
	judgePatience(story, beganMs, overMs);
};

/** Nobody came for the quiet time. */
const judgeQuiet = (story: StopStory, overMs: number): void => {
	const { world, ledger, records, settings } = story;
	if (!isByItself(story)) return;
	const bySpan = new Map(records.map((record) => [record.clientSpanId, record]));
	for (const { spanId, id, atMs } of ledger.heads) {
		const record = bySpan.get(spanId);
		if (record === undefined || (record.flags & (FLAG_PROBE | FLAG_OPAQUE)) !== 0 || atMs > overMs) continue;
		const quietMs = overMs - startOf(record);
		if (quietMs < settings.drain.quietMinMs - GRAIN_MS)
			world.violated(`the drain was over ${quietMs.toFixed(1)} ms after request ${id} had come`);
	}
};

const requestOf = ({ ledger }: StopStory, { requestId }: ExchangeRecord): SentRequest | undefined =>
	ledger.requests.get(Number(/^sim-(\d+)$/.exec(requestId)?.[1]));

/** It lasted no longer than something held it. */
const judgePatience = (story: StopStory, beganMs: number, overMs: number): void => {
	const { world, control, settings, records, ledger } = story;
	const { outcome } = control;
	if (outcome === undefined || (outcome.ended !== "idle" && outcome.ended !== "deadline")) return;
	let untilMs = Math.max(beganMs + Math.max(settings.drain.announceMinMs, outcome.quietMs), story.lastHeldMs());
	const seen = new Map(ledger.heads.map(({ spanId, atMs }) => [spanId, atMs]));
	for (const record of records) {
		if ((record.flags & FLAG_PROBE) !== 0 || startOf(record) > overMs) continue;
		if ((record.flags & FLAG_OPAQUE) !== 0) {
			untilMs = Math.max(untilMs, startOf(record)); // until then its preface might have become a request
			continue;
		}
		const arrivedMs = Math.min(endOf(record), seen.get(record.clientSpanId) ?? Number.POSITIVE_INFINITY);
		// A tunnel is in flight until the app says yes to it: so long, an answer may take.
		const endMs = isTunnel(record) ? arrivedMs + record.waitMs : endOf(record);
		// The answer is over when its client has it, however slowly it reads.
		const gotMs = isTunnel(record) ? 0 : (requestOf(story, record)?.endedMs ?? 0);
		// Who was answered without being told to close may bring the next one just then.
		untilMs = Math.max(untilMs, arrivedMs + outcome.quietMs, endMs + outcome.quietMs, gotMs);
	}
	for (const { openedMs, isProbe } of story.callers.conversations)
		if (!isProbe && openedMs <= overMs) untilMs = Math.max(untilMs, openedMs + outcome.quietMs);
	// What was refused unread has come as well.
	for (const { atMs } of unreadOf(story)) untilMs = Math.max(untilMs, Math.min(atMs, overMs) + outcome.quietMs);
	const spareMs = CLOSING_MS + 4 * LOOK_MS + 2 * SWEEP_MS;
	if (overMs > untilMs + spareMs)
		world.violated(`nothing held the drain since ${untilMs.toFixed(1)}, and it was over at ${overMs.toFixed(1)}`);
};

// ── the report ──

const judgeReport = (story: StopStory): void => {
	const { world, control } = story;
	const { report, beganMs } = control;
	if (report === undefined) return;
	const { inFlightAtStart, arrived, left } = report;
	const ends = sumOfEnds(report);
	if (inFlightAtStart + arrived !== ends)
		world.violated(`${inFlightAtStart} + ${arrived} is not ${ends}: ${JSON.stringify(report)}`);
	if (left !== 0) world.violated(`${left} exchanges are left after the stop`);
	if (Object.values(report).some((value) => typeof value === "number" && !(value >= 0)))
		world.violated(`a number of the report is none: ${JSON.stringify(report)}`);
	if (beganMs !== undefined) judgeNumbers(story, report, beganMs);
};

/**
 * Against the records. The data thread hears of the drain later than it began, and what ended until then is not in the account: known
 * from outside within these bounds.
 */
const judgeNumbers = (story: StopStory, report: DrainReport, beganMs: number): void => {
	const { world, records, lineMs } = story;
	const ours = records.filter(({ flags }) => (flags & NO_EXCHANGE) === 0);
	const { outcome, overMs = 0 } = story.control;
	const surely = ours.filter((record) => endOf(record) > beganMs + lineMs + GRAIN_MS);
	const perhaps = ours.filter((record) => endOf(record) >= beganMs - SWEEP_MS);
	// An answer that was over before, and of which the client had not yet all.
	const unsent = ours.filter(
		(record) => endOf(record) < beganMs - SWEEP_MS && (requestOf(story, record)?.endedMs ?? 0) > beganMs,
	);
	const check = (what: string, count: number, least: readonly unknown[], most: readonly unknown[]): void => {
		if (count < least.length || count > most.length)
			world.violated(`${count} ${what} reported, ${least.length} to ${most.length} recorded`);
	};
	// What had no fault, and its client has not got whole, may have been cut, or given up by its client, when its last bytes were still ours.
	const isGot = (record: ExchangeRecord): boolean => isWhole(record) && requestOf(story, record)?.lost === undefined;
	const notGot = [...perhaps, ...unsent].filter((record) => isWhole(record) && !isGot(record));
	const unread = unreadOf(story);
	// What failed after a drain that was out of time may have been cut by the app's stop.
	const failedLate =
		outcome?.ended === "deadline"
			? perhaps.filter((record) => isFailed(record) && endOf(record) >= overMs - SWEEP_MS)
			: [];
	check(
		"whole answers",
		report.finished + report.served,
		surely.filter(isGot),
		[...perhaps, ...unsent].filter(isWhole),
	);
	check("cuts", report.cut, surely.filter(isCutByUs), [...perhaps.filter(isCutByUs), ...notGot, ...failedLate]);
	check("aborts", report.aborted, surely.filter(isAborted), [...perhaps.filter(isAborted), ...notGot]);
	check("closed streams", report.streamsClosed, surely.filter(isClosedStream), perhaps.filter(isClosedStream));
	check("refusals", report.refused, surely.filter(isRefused), [
		...perhaps.filter(isRefused),
		...unread,
		...opaqueOf(story),
	]);
	check("tunnels", report.upgraded, [], records.filter(isTunnel));
	check("idle connections", report.idleClosed, cleanOf(story, unread), story.callers.conversations);
};

/** Requests of which the agent read and threw away what it had read: what clients saw as a clean end, and what may have been one. */
const unreadOf = ({ callers, records }: StopStory): readonly LostRequest[] => {
	const known = new Set(records.map(({ requestId }) => requestId));
	return callers.losses.filter(
		({ near, startsAt, request, how }) =>
			near.bytesRead > startsAt && how !== "behind" && (how === "clean" || !known.has(`sim-${request.id}`)),
	);
};

/** Who speaks what nobody reads may have been closed before his first byte, too. */
const opaqueOf = ({ callers }: StopStory): readonly Conversation[] =>
	callers.conversations.filter(({ client }) => client.isOpaque);

/** Those that ended in good order, and not because the agent stopped. */
const cleanOf = ({ control }: StopStory, unread: readonly LostRequest[]): readonly LostRequest[] =>
	unread.filter(({ how, atMs }) => how === "clean" && !(atMs >= (control.stopMs ?? Number.POSITIVE_INFINITY)));

const sumOfEnds = (report: DrainReport): number =>
	report.finished +
	report.served +
	report.cut +
	report.refused +
	report.failed +
	report.aborted +
	report.streamsClosed +
	report.upgraded +
	report.left;

const faultOf = (record: ExchangeRecord) => FAULT_LIST[record.faultIndex];
const isWhole = (record: ExchangeRecord): boolean => faultOf(record) === undefined;
/** No answer, or half of one. */
const isCut = (record: ExchangeRecord): boolean => {
	const fault = faultOf(record);
	return fault !== undefined && (fault.status === 0 || fault.status !== record.status);
};
/** Of a head that never became whole we have made the id; whoever ends it, nobody waits for it. */
const hadHead = ({ requestId }: ExchangeRecord): boolean => requestId.startsWith("sim-");
const isFailed = (record: ExchangeRecord): boolean => faultOf(record)?.blame === "upstream";
const isAborted = (record: ExchangeRecord): boolean =>
	isCut(record) && !isFailed(record) && !isClosedStream(record) && (!hadHead(record) || record.endedBy === "client");
const isTunnel = ({ flags }: ExchangeRecord): boolean => (flags & FLAG_TUNNEL) !== 0;
const isCutByUs = (record: ExchangeRecord): boolean => faultOf(record) === FAULTS.drain_cut && hadHead(record);
const isClosedStream = (record: ExchangeRecord): boolean => faultOf(record) === FAULTS.drain_stream_closed;
const isRefused = (record: ExchangeRecord): boolean => {
	const fault = faultOf(record);
	return fault !== undefined && !isCut(record) && fault.blame !== "upstream" && fault !== FAULTS.internal;
};

// ── the exchanges ──

const judgeRecords = (story: StopStory): void => {
	const { world, records, control, settings } = story;
	const { beganMs, overMs, outcome } = control;
	if (overMs === undefined || outcome === undefined) return;
	for (const record of records) {
		if ((record.flags & NO_EXCHANGE) !== 0) continue;
		const id = record.requestId;
		// What comes later is served while the app can answer, and then cut with the rest.
		if (isCutByUs(record) && startOf(record) <= overMs - SWEEP_MS && !mayCut(story))
			world.violated(`${id} was cut although there was time and the app was alive`);
		if (beganMs === undefined) continue;
		const isStream = (record.flags & FLAG_EVENT_STREAM) !== 0;
		const answeredMs = endOf(record) - record.receiveMs;
		const streamsMs = Math.max(beganMs + settings.drain.streamsMs, answeredMs) + STREAMS_LATE_MS + story.lineMs;
		if (isStream && streamsMs < overMs && endOf(record) > streamsMs)
			world.violated(`event stream ${id} was open ${(endOf(record) - streamsMs).toFixed(1)} ms longer than its time`);
		const isEarly = endOf(record) < beganMs + settings.drain.streamsMs - SWEEP_MS;
		if (isClosedStream(record) && isEarly && control.hurriedMs === undefined && !control.hasRefused)
			world.violated(`event stream ${id} was closed before its time`);
	}
};

/** Whether what had come before the end of the drain may be cut: it was out of time, the app is gone, or somebody wants it so. */
const mayCut = ({ control, gone }: StopStory): boolean => {
	const { outcome, overMs, beganMs } = control;
	if (outcome === undefined || overMs === undefined || beganMs === undefined) return true;
	switch (outcome.ended) {
		case "idle":
			return false;
		case "app_gone":
		case "deadline": {
			const isGone = gone.at !== undefined && gone.at <= overMs;
			const isOutOfTime = overMs - beganMs >= outcome.budgetMs - control.lateMs - GRAIN_MS;
			return isGone || isOutOfTime || control.isFaulty;
		}
		default:
			return true;
	}
};

// ── the clients ──

const judgeClients = (story: StopStory): void => {
	const { world, ledger, records, control, lineMs } = story;
	const byId = new Map(records.map((record) => [record.requestId, record]));
	const atApp = new Set(ledger.heads.map(({ id }) => id));
	for (const request of ledger.requests.values()) {
		const record = byId.get(`sim-${request.id}`);
		const { got, lost, id } = request;
		const isKnownWhole = record !== undefined && isWhole(record);
		if (isServed(request) && got?.status !== 101 && !isKnownWhole)
			world.violated(`request ${id} was answered whole, and its record says ${nameOf(record)}`);
		if (got?.error !== undefined && isKnownWhole)
			world.violated(`request ${id} was refused, and its record says that it was answered`);
		if ((lost === "clean" || lost === "behind") && got === undefined) {
			if (record !== undefined)
				world.violated(`request ${id} ended in good order with nothing, recorded as ${nameOf(record)}`);
			if (atApp.has(id)) world.violated(`request ${id} ended in good order with nothing, and the app has seen it`);
		}
	}
	if (control.beganMs === undefined) return;
	const knownMs = control.beganMs + lineMs + GRAIN_MS;
	for (const { client } of story.callers.conversations) {
		// What was sent ahead is served first: the last answer is the one that ends the connection.
		const last = client.lastAnswered;
		const record = byId.get(`sim-${last?.id}`);
		if (last?.got === undefined || record === undefined || last.got.status === 101 || client.awaited.length > 0)
			continue;
		const answeredMs = Number.isNaN(record.receiveMs) ? endOf(record) : endOf(record) - record.receiveMs;
		if (Math.max(startOf(record), answeredMs) > knownMs && !last.got.closes)
			world.violated(`request ${last.id} was answered while leaving, and its answer does not end the connection`);
	}
};

const nameOf = (record: ExchangeRecord | undefined): string =>
	record === undefined ? "nothing" : (faultOf(record)?.reason ?? "answered");

/** Nobody misbehaved: nothing is lost. */
const judgeCalm = (story: StopStory): void => {
	const { world, ledger, records, control, callers, settings } = story;
	const { overMs, report } = control;
	if (overMs === undefined || report === undefined || !isByItself(story) || isAtTheEnd(story)) return;
	const byId = new Map(records.map((record) => [record.requestId, record]));
	for (const request of ledger.requests.values()) {
		if (isServed(request) || callers.elsewhere.has(request)) continue;
		const record = byId.get(`sim-${request.id}`);
		const isLate = record === undefined || startOf(record) > overMs;
		if (request.kind === "probe" && (isLate || endOf(record) + SWEEP_MS >= overMs)) continue; // nobody waits for it
		if (request.kind === "stream" && record !== undefined && isClosedStream(record)) continue;
		// A straggler comes when nobody is expected any more; but who was refused in good order may come again within the quiet time.
		const mayBeLate = callers.stragglers.has(request) && !callers.losses.some((loss) => loss.request === request);
		if (isLate && (mayBeLate || settings.drain.quietMinMs === 0)) continue;
		world.violated(
			`request ${request.id} (${request.kind}) is lost: ${request.lost ?? "waits"}, recorded as ${nameOf(record)}, ` +
				`${record === undefined ? "never begun" : `came ${(startOf(record) - overMs).toFixed(1)} ms after the end of the drain`}`,
		);
	}
	// Nothing else is refused. Who still sent when the agent had stopped may see a reset in the place of the clean end.
	const unread = unreadOf(story);
	const [least, most] = [cleanOf(story, unread).length, unread.length + opaqueOf(story).length];
	if (report.refused < least || report.refused > most)
		world.violated(`${report.refused} refused, ${least} to ${most} unread`);
	if (records.some(isRefused)) world.violated("a request was refused");
};

const isServed = ({ got }: SentRequest): boolean => got !== undefined && got.error === undefined;
