/**
 * Field names as small numbers: built once at start, asked once per field line.
 *
 * The lookup reads four octets and the length of a name, not all of it: a name that nobody asked for (most of them) is
 * told apart without a second pass, and a name that falls into a used slot is verified octet by octet. Clients choose
 * neither table nor order, so the longest probe is known when the agent starts.
 */
import { assert } from "../foundation/assert.ts";
import { FOLD, IS_TOKEN, LOWER } from "./octets.ts";

/** Stops at this hop, both ways. */
const HOP = 1;
/** Says who or whither: Connection may not name it (CVE-2022-31813 of httpd), and trailers may not hold it. */
const WHO = 2;
/** May not stand in trailers: framing, routing, identity, or about the connection (RFC 9110 §6.5.1). */
const NOT_TRAILER = 4;
/** The owner of a head looks at it as soon as its line has ended. */
const NOTICE = 8;
/** Belongs to Outrigger. */
const OURS = 16;
/** Frames the message: when the app's Connection names it, what the client would see is framed otherwise. */
const FRAMES = 32;

/** What a name is, as bits. */
export const FIELD_FLAG = { HOP, WHO, NOT_TRAILER, NOTICE, OURS, FRAMES } as const;

/**
 * Names known without configuration, in the order of their ids. Only names that somebody asks for: a known name is compared
 * whole at every request, an unknown one hardly at all.
 *
 * Hop-by-hop are those of RFC 9110 §7.6.1 except Transfer-Encoding (the framing is forwarded as it came) and, as in RFC
 * 2616 §13.5.1, the Proxy-Auth… family: §11.7 ties it to one proxy, we never ask for it, and credentials meant for
 * a proxy must not reach an app. HTTP2-Settings goes with the `upgrade: h2c` that is not forwarded (RFC 7540 §3.2.1).
 */
const known: readonly (readonly [name: string, flags: number])[] = [
	["host", WHO | NOT_TRAILER | NOTICE],
	["connection", HOP | NOT_TRAILER | NOTICE],
	["content-length", WHO | NOT_TRAILER | NOTICE | FRAMES],
	["transfer-encoding", WHO | NOT_TRAILER | NOTICE | FRAMES],
	["te", HOP | NOT_TRAILER | NOTICE],
	["trailer", NOT_TRAILER],
	["upgrade", HOP | NOT_TRAILER | NOTICE],
	["expect", NOT_TRAILER | NOTICE],
	["keep-alive", HOP | NOT_TRAILER | NOTICE],
	["proxy-connection", HOP | NOT_TRAILER],
	["proxy-authenticate", HOP | NOT_TRAILER],
	["proxy-authorization", HOP | NOT_TRAILER],
	["proxy-authentication-info", HOP],
	["http2-settings", HOP | NOT_TRAILER],
	["authorization", WHO | NOT_TRAILER],
	["cookie", WHO | NOT_TRAILER],
	["traceparent", WHO | NOT_TRAILER],
	["tracestate", WHO | NOT_TRAILER],
	["baggage", WHO | NOT_TRAILER],
	["forwarded", WHO | NOT_TRAILER],
	["x-forwarded-for", WHO | NOT_TRAILER],
	["x-forwarded-proto", WHO | NOT_TRAILER],
	["x-forwarded-host", WHO | NOT_TRAILER],
	["x-forwarded-port", WHO | NOT_TRAILER],
	["x-real-ip", WHO | NOT_TRAILER],
	["user-agent", 0],
	["max-forwards", NOT_TRAILER],
	["via", 0],
	["date", 0],
	["server", 0],
	["content-type", 0],
	["x-outrigger-route", OURS | NOT_TRAILER],
	["x-outrigger-error", OURS | NOT_TRAILER],
];

/** Ids of the known names; `field-names.test.ts` holds them against the list. */
export const FIELD = {
	UNKNOWN: 0,
	HOST: 1,
	CONNECTION: 2,
	CONTENT_LENGTH: 3,
	TRANSFER_ENCODING: 4,
	TE: 5,
	TRAILER: 6,
	UPGRADE: 7,
	EXPECT: 8,
	KEEP_ALIVE: 9,
	PROXY_CONNECTION: 10,
	PROXY_AUTHENTICATE: 11,
	PROXY_AUTHORIZATION: 12,
	PROXY_AUTHENTICATION_INFO: 13,
	HTTP2_SETTINGS: 14,
	AUTHORIZATION: 15,
	COOKIE: 16,
	TRACEPARENT: 17,
	TRACESTATE: 18,
	BAGGAGE: 19,
	FORWARDED: 20,
	X_FORWARDED_FOR: 21,
	X_FORWARDED_PROTO: 22,
	X_FORWARDED_HOST: 23,
	X_FORWARDED_PORT: 24,
	X_REAL_IP: 25,
	USER_AGENT: 26,
	MAX_FORWARDS: 27,
	VIA: 28,
	DATE: 29,
	SERVER: 30,
	CONTENT_TYPE: 31,
	X_OUTRIGGER_ROUTE: 32,
	X_OUTRIGGER_ERROR: 33,
} as const satisfies Record<string, number>;

/** Most names that configuration may add: the table stays sparse and ids fit their column. */
const CONFIGURED_MAX = 1024;

/** Whole families, because nobody can list them: x-forwarded-prefix, x-outrigger-anything. */
const FORWARDED_PREFIX = Uint8Array.from(Buffer.from("x-forwarded-", "latin1"));
const OURS_PREFIX = Uint8Array.from(Buffer.from("x-outrigger-", "latin1"));
const X = 0x78;

function startsWith(bytes: Uint8Array, from: number, to: number, prefix: Uint8Array): boolean {
	if (to - from < prefix.length) return false;
	for (let i = 0; i < prefix.length; i++) {
		if (FOLD[bytes[from + i] as number] !== prefix[i]) return false;
	}
	return true;
}

export class FieldNames {
	/** Number of names; ids are 1 to this. */
	readonly count: number;
	readonly #mask: number;
	/** Hash → id, 0: free. Open addressing. */
	readonly #slots: Uint16Array;
	/** By id: where its name begins in `text`; id + 1 is where it ends. */
	readonly #begins: Int32Array;
	readonly #text: Uint8Array;
	readonly #flagsById: Uint8Array;
	readonly #idByName: ReadonlyMap<string, number>;

	/**
	 * @param configured lower-case names that configuration adds (`identity.headers`, `identity.passOn`). They say who: they
	 *   are protected like `authorization`. Names that are known already keep their id and become protected too.
	 */
	constructor(configured: readonly string[] = []) {
		assert(configured.length <= CONFIGURED_MAX, `more than ${CONFIGURED_MAX} configured field names`);
		const flags = new Map(known);
		for (const name of configured) flags.set(name, (flags.get(name) ?? 0) | WHO | NOT_TRAILER);
		const names = [...flags.keys()];
		this.count = names.length;
		// Eight slots a name: most names that nobody asked for meet an empty slot.
		this.#mask = 2 ** Math.ceil(Math.log2(names.length * 8)) - 1;
		this.#slots = new Uint16Array(this.#mask + 1);
		this.#begins = new Int32Array(names.length + 2);
		this.#flagsById = new Uint8Array(names.length + 1);
		this.#text = Uint8Array.from(Buffer.from(names.join(""), "latin1"));
		const ids = new Map<string, number>();
		let at = 0;
		names.forEach((name, index) => {
			const id = index + 1;
			ids.set(name, id);
			this.#flagsById[id] = flags.get(name) ?? 0;
			this.#begins[id] = at;
			at += name.length;
			this.#begins[id + 1] = at;
			const from = this.#begins[id] as number; // written two lines above
			for (let i = from; i < at; i++) {
				const octet = this.#text[i] as number; // at ≤ text.length
				assert(IS_TOKEN[octet] === 1 && LOWER[octet] === octet, `field name ${name} is not a lower-case token`);
			}
			assert(name.length > 0, "a field name is empty");
			let slot = this.#slotOf(this.#text, from, at);
			while (this.#slots[slot] !== 0) slot = (slot + 1) & this.#mask;
			this.#slots[slot] = id;
		});
		this.#idByName = ids;
	}

	/** Id of a lower-case name; 0 when it is not in the table. For start-up, not for requests. */
	idOf(name: string): number {
		return this.#idByName.get(name) ?? FIELD.UNKNOWN;
	}

	/** Name of an id, lower-case. */
	nameOf(id: number): string {
		return Buffer.from(this.#text.subarray(this.#begins[id], this.#begins[id + 1])).toString("latin1");
	}

	/** Bits of `FIELD_FLAG`; 0 for id 0. */
	flags(id: number): number {
		return this.#flagsById[id] as number; // ids come from this table
	}

	/**
	 * Id of the name in bytes[from..to), in any case; 0 when it is not in the table. Negative when it is the name of −id but for
	 * underscores that stand for hyphens: another name to HTTP, the same one to many an app. `from < to`.
	 */
	find(bytes: Uint8Array, from: number, to: number): number {
		const lower = LOWER;
		const begins = this.#begins;
		const text = this.#text;
		let slot = this.#slotOf(bytes, from, to);
		for (;;) {
			const id = this.#slots[slot] as number; // slot ≤ mask
			if (id === 0) return 0;
			const begin = begins[id] as number; // ids in `slots` have both ends
			if ((begins[id + 1] as number) - begin === to - from) {
				const shift = begin - from;
				let i = from;
				while (i < to && lower[bytes[i] as number] === text[i + shift]) i++;
				if (i === to) return id;
				while (i < to && FOLD[bytes[i] as number] === FOLD[text[i + shift] as number]) i++;
				if (i === to) return -id;
			}
			slot = (slot + 1) & this.#mask;
		}
	}

	/** Whether a name that is not in the table begins with x-forwarded-. */
	isForwardedName(bytes: Uint8Array, from: number, to: number): boolean {
		return startsWith(bytes, from, to, FORWARDED_PREFIX);
	}

	/** Whether a name begins with x-outrigger-. */
	isOurName(bytes: Uint8Array, from: number, to: number): boolean {
		return ((bytes[from] as number) | 0x20) === X && startsWith(bytes, from, to, OURS_PREFIX);
	}

	#slotOf(bytes: Uint8Array, from: number, to: number): number {
		const fold = FOLD;
		const length = to - from;
		const first = fold[bytes[from] as number] as number;
		const last = fold[bytes[to - 1] as number] as number;
		const middle = fold[bytes[from + (length >> 1)] as number] as number;
		const quarter = fold[bytes[from + (length >> 2)] as number] as number;
		const mixed = first | (last << 8) | (middle << 16) | (quarter << 24);
		return ((Math.imul(mixed, 0x9e3779b1) >>> 12) + length) & this.#mask;
	}
}
