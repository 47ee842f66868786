import type { RouteSettings } from "../config/settings.ts";
import { METHODS } from "../http1/methods.ts";
import { ASTERISK, HEX, SLASH } from "../http1/octets.ts";

/**
 * The route of a request: a template such as `/users/{id}`, never a raw path.
 *
 * Asked for in this order: the configured table with the request's method, the app's OpenAPI document with the method, both again
 * without it (a preflight of `/users/7` is still `/users/{id}`), then the collapse of what looks like data. The collapse has no
 * memory, so that every replica names alike. The app's own word, `hint`, comes with the response and is for metrics only:
 * the policy of a request is that of its table entry, known before anything is forwarded.
 *
 * Bytes in, constants out: a path that was seen lately costs a hash and a comparison, and nothing is allocated but a new `Route`,
 * of which there are at most `seriesMax` by collapse and as many by hint; what comes later is `overflow`. Escapes of unreserved characters
 * are read as the characters (RFC 3986 §6.2.2.2), or `/%75pload` would get around the bounds of `/upload`; all others are left alone:
 * `/a%2Fb` is one segment and no template's literal.
 */

export type RouteKind = "table" | "openapi" | "collapse" | "hint" | "none";

export interface RoutePolicy {
	/** Largest request body in bytes; Infinity: none. */
	readonly bodyBytesMax: number;
	/** Time to the first byte of the response in ms; Infinity: none. */
	readonly responseMs: number;
}

export interface Route {
	/** Number of the template: the same for equal templates, small, never used again for another. For counters. */
	readonly id: number;
	/** Value of `http.route`; empty: none. */
	readonly template: string;
	readonly templateBytes: Buffer;
	readonly kind: RouteKind;
	readonly policy: RoutePolicy;
}

/** A template with the methods it is for, upper case; none: all. */
export interface RouteTemplate {
	readonly path: string;
	readonly methods: readonly string[];
}

export interface RouteTableOptions {
	readonly table: readonly RouteSettings[];
	/** `routes.collapse`; without it an unknown path has the route `none`. */
	readonly collapse: boolean;
	/** `routes.maxSeries`. */
	readonly seriesMax: number;
	/** `limits.body` and `timeouts.response`, where the table says nothing. */
	readonly policy: RoutePolicy;
}

export const OVERFLOW_TEMPLATE = "__overflow__";
/** Longest template, and longest hint, in bytes. What a collapse would make longer ends with `{rest...}`. */
export const TEMPLATE_BYTES_MAX = 256;
/** A collapsed template has at most so many segments; the rest is `{rest...}`. */
export const COLLAPSE_SEGMENTS_MAX = 12;

/** Paths remembered with their routes; a power of two. */
const CACHE_SLOTS = 1024;
const PERCENT = 0x25;
/** Longer paths are not remembered; with this the cache is 128 KiB a thread. */
const CACHE_PATH_BYTES = 128;

const ID = Buffer.from("{id}");
const REST = Buffer.from("{rest...}");
const ROOT = Buffer.from("/");

/** FNV-1a over a run of bytes, begun with `seed`; 30 bits, so that it is a small integer everywhere. */
function hashOf(bytes: Uint8Array, start: number, end: number, seed: number): number {
	let hash = seed ^ 0x811c9dc5;
	for (let i = start; i < end; i += 1) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193); // i < end
	return (hash ^ (hash >>> 15)) & 0x3fff_ffff;
}

function areEqual(bytes: Uint8Array, start: number, end: number, other: Uint8Array): boolean {
	if (end - start !== other.length) return false;
	for (let i = 0; i < other.length; i += 1) if (bytes[start + i] !== other[i]) return false;
	return true;
}

/** What stands at the end of a template: an entry for some methods (or all), in the order in which they were given. */
interface Ending {
	readonly methods: readonly string[];
	readonly route: Route;
	/** The same template under the policy of no entry, for a method that no entry has. */
	readonly anyMethod: Route;
}

/** A segment such as `{name}.json` or `{id}:close`: literal pieces with at least one byte of data between any two. */
interface MixedSegment {
	readonly text: string;
	/** The first and the last are anchored and may be empty; at least two. */
	readonly literals: readonly Buffer[];
	readonly literalBytes: number;
	readonly node: TrieNode;
}

/** One place in the trie of templates. Segments are compared as bytes; no string is made from a path. */
class TrieNode {
	/** By the segment's hash; `next` chains equal hashes. */
	literals: Map<number, TrieNode>;
	next: TrieNode | undefined;
	segment: Buffer;
	mixed: MixedSegment[];
	parameter: TrieNode | undefined;
	endings: Ending[];
	restEndings: Ending[];

	constructor(segment: Buffer) {
		this.literals = new Map();
		this.next = undefined;
		this.segment = segment;
		this.mixed = [];
		this.parameter = undefined;
		this.endings = [];
		this.restEndings = [];
	}

	literal(bytes: Uint8Array, start: number, end: number): TrieNode | undefined {
		if (this.literals.size === 0) return undefined;
		let node = this.literals.get(hashOf(bytes, start, end, 0));
		while (node !== undefined && !areEqual(bytes, start, end, node.segment)) node = node.next;
		return node;
	}

	literalFor(segment: Buffer): TrieNode {
		const known = this.literal(segment, 0, segment.length);
		if (known !== undefined) return known;
		const node = new TrieNode(segment);
		const hash = hashOf(segment, 0, segment.length, 0);
		node.next = this.literals.get(hash);
		this.literals.set(hash, node);
		return node;
	}
}

/** Splits `{name}.json` at its parameters; undefined when there are none. Braces that do not pair are literal. */
function literalsOf(segment: string): string[] | undefined {
	const literals: string[] = [];
	let from = 0;
	let at = segment.indexOf("{");
	while (at !== -1) {
		const close = segment.indexOf("}", at);
		if (close === -1) break;
		literals.push(segment.slice(from, at));
		from = close + 1;
		at = segment.indexOf("{", from);
	}
	if (literals.length === 0) return undefined;
	literals.push(segment.slice(from));
	return literals;
}

function fits(mixed: MixedSegment, bytes: Uint8Array, start: number, end: number): boolean {
	const { literals } = mixed;
	const first = literals[0] as Buffer; // at least two
	const last = literals[literals.length - 1] as Buffer;
	if (end - start < mixed.literalBytes + literals.length - 1) return false;
	if (!areEqual(bytes, start, start + first.length, first) || !areEqual(bytes, end - last.length, end, last))
		return false;
	let at = start + first.length;
	const stop = end - last.length;
	for (let i = 1; i < literals.length - 1; i += 1) {
		const piece = literals[i] as Buffer;
		at += 1; // a parameter is never empty
		while (at + piece.length <= stop && !areEqual(bytes, at, at + piece.length, piece)) at += 1;
		at += piece.length;
		if (at > stop) return false;
	}
	return at < stop;
}

/** A set of templates. Every node is visited at most once per path, so a match costs at most what the templates weigh. */
class TemplateTrie {
	readonly #root = new TrieNode(Buffer.alloc(0));
	#size = 0;

	add(template: string, ending: Ending): void {
		this.#size += 1;
		const segments = template.split("/");
		let node = this.#root;
		for (let i = 1; i < segments.length; i += 1) {
			const text = segments[i] as string; // i < length
			if (i === segments.length - 1 && text.startsWith("{") && text.endsWith("...}")) {
				node.restEndings.push(ending);
				return;
			}
			const literals = literalsOf(text);
			if (literals === undefined) node = node.literalFor(Buffer.from(text));
			else if (literals.every((literal) => literal === "") && literals.length === 2) {
				node.parameter ??= new TrieNode(Buffer.alloc(0));
				node = node.parameter;
			} else {
				let mixed = node.mixed.find((other) => other.text === literals.join("{}"));
				if (mixed === undefined) {
					const pieces = literals.map((literal) => Buffer.from(literal));
					const literalBytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
					mixed = { text: literals.join("{}"), literals: pieces, literalBytes, node: new TrieNode(Buffer.alloc(0)) };
					node.mixed.push(mixed);
					node.mixed.sort((a, b) => b.literalBytes - a.literalBytes); // the one that says more goes first
				}
				node = mixed.node;
			}
		}
		node.endings.push(ending);
	}

	/** The route for a path that begins with a slash; `method` undefined: whatever the method. */
	find(bytes: Uint8Array, start: number, end: number, method: string | undefined): Route | undefined {
		return this.#size === 0 ? undefined : descend(this.#root, bytes, start + 1, end, method);
	}
}

function choose(endings: readonly Ending[], method: string | undefined): Route | undefined {
	for (let i = 0; i < endings.length; i += 1) {
		const ending = endings[i] as Ending; // i < length
		if (method === undefined) return ending.anyMethod;
		if (ending.methods.length === 0 || ending.methods.includes(method)) return ending.route;
	}
	return undefined;
}

/** Literal before mixed before parameter before rest; steps back when a branch does not reach the end. */
function descend(
	node: TrieNode,
	bytes: Uint8Array,
	at: number,
	end: number,
	method: string | undefined,
): Route | undefined {
	// `at` is the first byte of a segment, and end + 1 when the segment before was the last.
	if (at > end) return choose(node.endings, method);
	let to = at;
	while (to < end && bytes[to] !== SLASH) to += 1;
	const literal = node.literal(bytes, at, to);
	if (literal !== undefined) {
		const route = descend(literal, bytes, to + 1, end, method);
		if (route !== undefined) return route;
	}
	for (let i = 0; i < node.mixed.length; i += 1) {
		const mixed = node.mixed[i] as MixedSegment; // i < length
		if (!fits(mixed, bytes, at, to)) continue;
		const route = descend(mixed.node, bytes, to + 1, end, method);
		if (route !== undefined) return route;
	}
	if (node.parameter !== undefined && to > at) {
		const route = descend(node.parameter, bytes, to + 1, end, method);
		if (route !== undefined) return route;
	}
	return choose(node.restEndings, method);
}

const DIGIT = 1;
const HEX_LETTER = 2;
const OTHER_LETTER = 4;
const UPPER = 8;
/** Stand in names, and between the digits of dates, times, versions, addresses and ranges. */
const MARK = 16;
/** Stand between digits only: coordinates, lists of numbers. */
const NUMBER_MARK = 32;
/** Bytes that only data has: escapes, raw UTF-8, `@`, `=`, `;`, `~`, brackets. */
const DATA = 64;

const CLASS = new Uint8Array(256).fill(DATA);
for (const character of "0123456789") CLASS[character.charCodeAt(0)] = DIGIT;
for (const character of "abcdef") CLASS[character.charCodeAt(0)] = HEX_LETTER;
for (const character of "ghijklmnopqrstuvwxyz_") CLASS[character.charCodeAt(0)] = OTHER_LETTER;
for (const character of "ABCDEF") CLASS[character.charCodeAt(0)] = HEX_LETTER | UPPER;
for (const character of "GHIJKLMNOPQRSTUVWXYZ") CLASS[character.charCodeAt(0)] = OTHER_LETTER | UPPER;
for (const character of "-.:") CLASS[character.charCodeAt(0)] = MARK;
for (const character of ",+") CLASS[character.charCodeAt(0)] = NUMBER_MARK;

/**
 * Whether a path segment is data rather than a name. By its bytes alone, so that every replica says the same; the cases are
 * `proto/vectors/route-collapse.json`.
 *
 * 1. it holds a byte that names do not have (`%` `@` `=` `;` `(` `~`, raw UTF-8 …);
 * 2. digits, with nothing but `- . : , +` about them: numbers, dates, times, addresses, coordinates; with letters, `,` and `+` are data;
 * 3. hex digits (and dashes: UUIDs), eight or more with a decimal digit among them, or sixteen or more;
 * 4. four decimal digits or more, or three in eight bytes or more: ULIDs, `order-10432`, `inv_2024a`;
 * 5. a digit, an upper-case and a lower-case letter in ten bytes or more: base64url, nanoid;
 * 6. a digit in twenty bytes or more; or forty bytes or more of anything.
 */
export function isData(bytes: Uint8Array, start: number, end: number): boolean {
	const length = end - start;
	if (length === 0) return false;
	if (length >= 40) return true;
	let all = 0;
	let digits = 0;
	let hexLetters = 0;
	let dashes = 0;
	let isLower = false;
	for (let i = start; i < end; i += 1) {
		const byte = bytes[i] as number; // i < end
		const is = CLASS[byte] as number;
		all |= is;
		if (is === DIGIT) digits += 1;
		else if (byte === 0x2d) dashes += 1;
		if ((is & HEX_LETTER) !== 0) hexLetters += 1;
		if (byte >= 0x61) isLower = true;
	}
	if ((all & DATA) !== 0) return true;
	if ((all & (HEX_LETTER | OTHER_LETTER)) === 0) return digits > 0;
	if ((all & NUMBER_MARK) !== 0) return true;
	const hex = digits + hexLetters;
	if (hex + dashes === length && (hex >= 16 || (hex >= 8 && digits > 0))) return true;
	if (digits >= 4 || (digits >= 3 && length >= 8)) return true;
	return digits > 0 && (length >= 20 || (length >= 10 && (all & UPPER) !== 0 && isLower));
}

/** A loop, not `set`: these runs are shorter than what a call into the runtime costs. */
function putBytes(source: Uint8Array, from: number, to: number, target: Uint8Array, offset: number): number {
	for (let i = from; i < to; i += 1) target[offset + i - from] = source[i] as number; // from, to are places in source
	return offset + to - from;
}

/**
 * Writes the collapsed template of a path (which begins with a slash) into `out`, of at least `TEMPLATE_BYTES_MAX` bytes, and returns its
 * length. Segments that are data become `{id}`; what is too deep or too long becomes `{rest...}`.
 */
export function collapsePath(bytes: Uint8Array, start: number, end: number, out: Uint8Array): number {
	let at = 0;
	let from = start + 1;
	for (let segments = 1; ; segments += 1) {
		let to = from;
		while (to < end && bytes[to] !== SLASH) to += 1;
		const data = isData(bytes, from, to);
		const length = data ? ID.length : to - from;
		out[at] = SLASH;
		at += 1;
		// Room is kept for "/{rest...}" behind this segment, so that the bound always holds.
		if (to < end && (segments === COLLAPSE_SEGMENTS_MAX || at + length + 1 + REST.length > TEMPLATE_BYTES_MAX)) {
			return putBytes(REST, 0, REST.length, out, at);
		}
		at = data ? putBytes(ID, 0, ID.length, out, at) : putBytes(bytes, from, to, out, at);
		if (to >= end) return at;
		from = to + 1;
	}
}

/** Routes that came to be while running, by the bytes of their templates. At most `max`; it grows as they come. */
class RouteInterner {
	readonly #max: number;
	/** Clients choose what is collapsed: without it they could choose paths that all fall into one slot. */
	readonly #seed: number;
	#slots: (Route | undefined)[];
	#count: number;

	constructor(max: number) {
		this.#max = max;
		this.#seed = Math.floor(Math.random() * 2 ** 30); // nobody is shown what would tell it
		this.#slots = new Array<Route | undefined>(64).fill(undefined);
		this.#count = 0;
	}

	get count(): number {
		return this.#count;
	}

	get isFull(): boolean {
		return this.#count >= this.#max;
	}

	find(bytes: Uint8Array, start: number, end: number): Route | undefined {
		const mask = this.#slots.length - 1;
		let slot = hashOf(bytes, start, end, this.#seed) & mask;
		for (;;) {
			const route = this.#slots[slot];
			if (route === undefined || areEqual(bytes, start, end, route.templateBytes)) return route;
			slot = (slot + 1) & mask;
		}
	}

	add(route: Route): void {
		this.#count += 1;
		if (this.#count * 2 > this.#slots.length) {
			const before = this.#slots;
			this.#slots = new Array<Route | undefined>(before.length * 2).fill(undefined);
			for (const other of before) if (other !== undefined) this.#place(other);
		}
		this.#place(route);
	}

	#place(route: Route): void {
		const mask = this.#slots.length - 1;
		let slot = hashOf(route.templateBytes, 0, route.templateBytes.length, this.#seed) & mask;
		while (this.#slots[slot] !== undefined) slot = (slot + 1) & mask;
		this.#slots[slot] = route;
	}
}

/** Bytes that mark a parameter in one framework's templates or another's. */
const TEMPLATE_MARK = new Uint8Array(256);
for (const character of "{:<*[(") TEMPLATE_MARK[character.charCodeAt(0)] = 1;

/**
 * Whether a hint can be a template: begins with a slash, at most 256 bytes of printable ASCII, no escape, no fragment, no query
 * (a `?` stays where pattern languages have it: `/:id?`, `(?<id>…)`). A hint without any mark of a template that the
 * collapse would change is a raw path, and a raw path is never a label.
 */
function isTemplateLike(bytes: Uint8Array, start: number, end: number, scratch: Uint8Array): boolean {
	if (end - start < 1 || end - start > TEMPLATE_BYTES_MAX || bytes[start] !== SLASH) return false;
	let isMarked = false;
	for (let i = start; i < end; i += 1) {
		const byte = bytes[i] as number; // i < end
		if (byte <= 0x20 || byte >= 0x7f || byte === 0x25 || byte === 0x23) return false;
		const isBeforeWord =
			i + 1 < end && ((CLASS[bytes[i + 1] as number] as number) & (DIGIT | HEX_LETTER | OTHER_LETTER)) !== 0;
		if (byte === 0x3f && isBeforeWord) return false;
		if (TEMPLATE_MARK[byte] === 1) {
			isMarked = true;
		}
	}
	if (isMarked) return true;
	return areEqual(bytes, start, end, scratch.subarray(0, collapsePath(bytes, start, end, scratch)));
}

/** Exchanges know the methods of `METHODS`; every other one is `_OTHER`, so an entry for PURGE is one for all of those. */
function canonical(method: string): string {
	return (METHODS as readonly string[]).includes(method) ? method : METHODS[0];
}

/** The path with every `%41`, `%7e`, … of an unreserved character (RFC 3986 §2.3) as that character. Allocates: such paths are rare. */
function unescapeUnreserved(bytes: Uint8Array, start: number, end: number): Uint8Array {
	const plain = new Uint8Array(end - start);
	let length = 0;
	for (let i = start; i < end; i += 1) {
		const byte = bytes[i] as number; // i < end, here and below
		if (byte === PERCENT && i + 2 < end) {
			const high = HEX[bytes[i + 1] as number] as number;
			const low = HEX[bytes[i + 2] as number] as number;
			const character = high * 16 + low;
			if (high < 16 && low < 16 && isUnreserved(character)) {
				plain[length++] = character;
				i += 2;
				continue;
			}
		}
		plain[length++] = byte;
	}
	return plain.subarray(0, length);
}

function isUnreserved(byte: number): boolean {
	const letter = byte | 0x20;
	if (letter >= 0x61 && letter <= 0x7a) return true;
	return (byte >= 0x30 && byte <= 0x39) || byte === 0x2d || byte === 0x2e || byte === 0x5f || byte === 0x7e;
}

/** One per data thread. */
export class RouteTable {
	readonly #options: RouteTableOptions;
	readonly #ids: Map<string, number>;
	readonly #table: TemplateTrie;
	#openapi: TemplateTrie;
	readonly #openapiRoutes: Map<string, Route>;
	readonly #collapsed: RouteInterner;
	readonly #hinted: RouteInterner;
	readonly #scratch: Buffer;
	readonly #cacheRoutes: (Route | undefined)[];
	readonly #cacheMethods: string[];
	readonly #cacheLengths: Uint8Array;
	readonly #cacheBytes: Buffer;

	/** No route: a malformed head, or an unknown path while `routes.collapse` is off. Its template is empty. */
	readonly none: Route;
	/** `OPTIONS *`. */
	readonly asterisk: Route;
	/** What is beyond `seriesMax`. */
	readonly overflow: Route;

	constructor(options: RouteTableOptions) {
		this.#options = options;
		this.#ids = new Map();
		this.#table = new TemplateTrie();
		this.#openapi = new TemplateTrie();
		this.#openapiRoutes = new Map();
		this.#collapsed = new RouteInterner(options.seriesMax);
		this.#hinted = new RouteInterner(options.seriesMax);
		// Buffers like the heads that come in: with one kind of array the loops over bytes stay monomorphic.
		this.#scratch = Buffer.alloc(TEMPLATE_BYTES_MAX);
		this.#cacheRoutes = new Array<Route | undefined>(CACHE_SLOTS).fill(undefined);
		this.#cacheMethods = new Array<string>(CACHE_SLOTS).fill("");
		this.#cacheLengths = new Uint8Array(CACHE_SLOTS);
		this.#cacheBytes = Buffer.alloc(CACHE_SLOTS * CACHE_PATH_BYTES);
		this.none = this.#make("", "none", options.policy);
		this.asterisk = this.#make("*", "none", options.policy);
		this.overflow = this.#make(OVERFLOW_TEMPLATE, "none", options.policy);
		for (const entry of options.table) {
			const anyMethod = this.#make(entry.path, "table", options.policy);
			const policy = Object.freeze({
				bodyBytesMax: entry.bodyBytesMax === undefined ? options.policy.bodyBytesMax : entry.bodyBytesMax,
				responseMs: entry.responseMs === undefined ? options.policy.responseMs : entry.responseMs,
			});
			const route = this.#make(entry.path, "table", policy);
			this.#table.add(entry.path, { methods: entry.methods.map(canonical), route, anyMethod });
		}
	}

	/** How many different templates there have been: `Route.id` is below it. */
	get count(): number {
		return this.#ids.size;
	}

	/** How many routes came to be by collapse and by hint. */
	get learned(): number {
		return this.#collapsed.count + this.#hinted.count;
	}

	/**
	 * Takes the templates of the app's OpenAPI document in the place of those before. At most `seriesMax` different templates are
	 * known over the life of the table; those beyond are left to the collapse. Returns how many of these were taken.
	 */
	replaceOpenapi(templates: readonly RouteTemplate[]): number {
		const trie = new TemplateTrie();
		let taken = 0;
		for (const { path, methods } of templates) {
			let route = this.#openapiRoutes.get(path);
			if (route === undefined) {
				if (this.#openapiRoutes.size >= this.#options.seriesMax) continue;
				route = this.#make(path, "openapi", this.#options.policy);
				this.#openapiRoutes.set(path, route);
			}
			trie.add(path, { methods: methods.map(canonical), route, anyMethod: route });
			taken += 1;
		}
		this.#openapi = trie;
		this.#cacheRoutes.fill(undefined);
		return taken;
	}

	/** The route of the path `bytes[start, end)`, without its query. `method`: the canonical name, one constant per method. */
	match(bytes: Uint8Array, start: number, end: number, method: string): Route {
		const length = end - start;
		if (length > CACHE_PATH_BYTES) return this.#find(bytes, start, end, method);
		const slot = hashOf(bytes, start, end, method.charCodeAt(1)) & (CACHE_SLOTS - 1);
		const base = slot * CACHE_PATH_BYTES;
		const cached = this.#cacheRoutes[slot];
		if (cached !== undefined && this.#cacheLengths[slot] === length && this.#cacheMethods[slot] === method) {
			const known = this.#cacheBytes;
			let i = 0;
			while (i < length && known[base + i] === bytes[start + i]) i += 1;
			if (i === length) return cached;
		}
		const route = this.#find(bytes, start, end, method);
		for (let i = 0; i < length; i += 1) this.#cacheBytes[base + i] = bytes[start + i] as number; // start + i < end
		this.#cacheLengths[slot] = length;
		this.#cacheMethods[slot] = method;
		this.#cacheRoutes[slot] = route;
		return route;
	}

	#find(bytes: Uint8Array, start: number, end: number, method: string): Route {
		const escapeAt = bytes.indexOf(PERCENT, start);
		if (escapeAt !== -1 && escapeAt < end) {
			const plain = unescapeUnreserved(bytes, start, end);
			return this.#lookUp(plain, 0, plain.length, method); // once: what an escape stands for is no escape
		}
		return this.#lookUp(bytes, start, end, method);
	}

	#lookUp(bytes: Uint8Array, start: number, end: number, method: string): Route {
		if (start === end) return this.#lookUp(ROOT, 0, 1, method); // absolute-form without a path (RFC 9112 §3.2.2)
		if (bytes[start] !== SLASH) return end - start === 1 && bytes[start] === ASTERISK ? this.asterisk : this.none;
		const known =
			this.#table.find(bytes, start, end, method) ??
			this.#openapi.find(bytes, start, end, method) ??
			this.#table.find(bytes, start, end, undefined) ??
			this.#openapi.find(bytes, start, end, undefined);
		if (known !== undefined) return known;
		if (!this.#options.collapse) return this.none;
		const length = collapsePath(bytes, start, end, this.#scratch);
		return (
			this.#collapsed.find(this.#scratch, 0, length) ??
			this.#learn(this.#collapsed, this.#scratch, 0, length, "collapse")
		);
	}

	/**
	 * The route that the app named in `x-outrigger-route`, `bytes[start, end)`. Undefined: not a template, to be counted and
	 * ignored. For metrics only.
	 */
	hint(bytes: Uint8Array, start: number, end: number): Route | undefined {
		const known = this.#hinted.find(bytes, start, end);
		if (known !== undefined) return known;
		if (!isTemplateLike(bytes, start, end, this.#scratch)) return undefined;
		return this.#learn(this.#hinted, bytes, start, end, "hint");
	}

	#learn(routes: RouteInterner, bytes: Uint8Array, start: number, end: number, kind: RouteKind): Route {
		if (routes.isFull) return this.overflow;
		const route = this.#make(Buffer.from(bytes.subarray(start, end)).toString("latin1"), kind, this.#options.policy);
		routes.add(route);
		return route;
	}

	#make(template: string, kind: RouteKind, policy: RoutePolicy): Route {
		let id = this.#ids.get(template);
		if (id === undefined) {
			id = this.#ids.size;
			this.#ids.set(template, id);
		}
		return Object.freeze({ id, template, templateBytes: Buffer.from(template), kind, policy });
	}
}
