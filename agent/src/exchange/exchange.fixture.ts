import { strict as assert } from "node:assert";
import { settingsFrom } from "../config/layers.ts";
import type { Settings } from "../config/settings.ts";
import { FieldNames } from "../http1/field-names.ts";
import { ResponseHead } from "../http1/scan-response-head.ts";
import { COMPLETE } from "../http1/scan-result.ts";
import { Exchange } from "./exchange.ts";
import { Peer } from "./forwarded.ts";

/** What exchanges of one data thread have in common. */
export interface Ground {
	readonly settings: Settings;
	readonly names: FieldNames;
}

/** `set`: concrete path → text, as of `settingsFrom`. `idNames`: in place of `identity.headers`, one or two. */
export const groundFrom = (set: Readonly<Record<string, string>> = {}, idNames?: readonly string[]): Ground => {
	const base = settingsFrom(set);
	const settings = idNames === undefined ? base : { ...base, identity: { ...base.identity, headers: idNames } };
	return { settings, names: new FieldNames([...settings.identity.headers, ...settings.identity.passOn]) };
};

export interface Arrival {
	/** Address of the direct peer. */
	readonly peer?: string;
	readonly startedMs?: number;
	readonly startedWallMs?: number;
}

/** An exchange whose head has been read: the request line and field lines of `lines`, without their line ends. */
export const arrived = (ground: Ground, lines: readonly string[], arrival: Arrival = {}): Exchange => {
	const { peer = "10.0.0.9", startedMs = 0, startedWallMs = 1_700_000_000_000 } = arrival;
	const x = new Exchange(ground.settings, ground.names);
	x.begin(0, new Peer(peer), startedWallMs, startedMs, 1);
	x.headBytes = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
	x.head.reset(0);
	assert.equal(x.head.scan(x.headBytes, x.headBytes.length), COMPLETE, "the head is good");
	x.readHead();
	return x;
};

/** The head of a response, and its bytes. `methodId`: of the request. */
export const answered = (
	ground: Ground,
	lines: readonly string[],
	methodId = 1,
): { readonly head: ResponseHead; readonly bytes: Buffer } => {
	const head = new ResponseHead(ground.settings.limits, ground.names);
	const bytes = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
	head.reset(0, methodId);
	assert.equal(head.scan(bytes, bytes.length), COMPLETE, "the head is good");
	return { head, bytes };
};

/** Lines that `identity` puts into the request, without their line ends. */
export const linesOf = (x: Exchange): string[] => x.lines.toString("latin1", 0, x.linesEnd).split("\r\n").slice(0, -1);
