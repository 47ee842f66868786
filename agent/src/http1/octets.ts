/**
 * What each of the 256 octets may be part of. One lookup per byte, no strings, no regular expressions.
 *
 * The scanners of this folder read `bytes[p] as number`: every such `p` is below a bound that its loop has just tested
 * against, and an octet is always an index below 256, so neither lookup can miss. The cast states only that.
 */

export const HTAB = 0x09;
export const LF = 0x0a;
export const CR = 0x0d;
export const SP = 0x20;
export const COMMA = 0x2c;
export const SLASH = 0x2f;
export const COLON = 0x3a;
export const SEMICOLON = 0x3b;
export const EQUALS = 0x3d;
export const QUESTION = 0x3f;
export const ASTERISK = 0x2a;
export const DQUOTE = 0x22;
export const BACKSLASH = 0x5c;

const ALPHA_DIGIT = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

function members(characters: string): Uint8Array {
	const table = new Uint8Array(256);
	for (let i = 0; i < characters.length; i++) table[characters.charCodeAt(i)] = 1;
	return table;
}

function where(test: (octet: number) => boolean): Uint8Array {
	return Uint8Array.from({ length: 256 }, (_, octet) => (test(octet) ? 1 : 0));
}

/** Each octet, A–Z made small. Names compare as ASCII, whatever the locale (RFC 9110 §5.1). */
export const LOWER: Uint8Array = Uint8Array.from({ length: 256 }, (_, octet) =>
	octet >= 0x41 && octet <= 0x5a ? octet + 0x20 : octet,
);

/** As `LOWER`, and `_` is `-`: CGI, WSGI and PHP give both names to an app as one variable. */
export const FOLD: Uint8Array = LOWER.map((lower) => (lower === 0x5f ? 0x2d : lower));

/** tchar (RFC 9110 §5.6.2). */
export const IS_TOKEN: Uint8Array = members(`!#$%&'*+-.^_\`|~${ALPHA_DIGIT}`);

/** Field values: HTAB, SP, VCHAR and obs-text; every other control character is refused (RFC 9110 §5.5). */
export const IS_VALUE: Uint8Array = where((octet) => octet === HTAB || (octet >= 0x20 && octet !== 0x7f));

/** Request target: 0x21–0x7E and ≥ 0x80 pass as they are (wider than RFC 3986 on purpose: `|`, `{}`, raw UTF-8). */
export const IS_TARGET: Uint8Array = where((octet) => octet > 0x20 && octet !== 0x7f);

/** As `IS_TARGET`, but not `?`: the run before the query. */
export const IS_PATH: Uint8Array = where((octet) => octet > 0x20 && octet !== 0x7f && octet !== QUESTION);

/** reg-name and IPv4 (RFC 3986 §3.2.2) without pct-encoded: unreserved and sub-delims. */
export const IS_REG_NAME: Uint8Array = members(`-._~!$&'()*+,;=${ALPHA_DIGIT}`);

/** Value of a hexadecimal digit, 255 for every other octet. */
export const HEX: Uint8Array = Uint8Array.from({ length: 256 }, (_, octet) => {
	if (octet >= 0x30 && octet <= 0x39) return octet - 0x30;
	const small = octet | 0x20;
	return small >= 0x61 && small <= 0x66 && octet < 0x80 ? small - 0x57 : 255;
});

/** Whether bytes[from..to) is `lower` (lower-case ASCII) in any case. */
export function equalsIgnoringCase(bytes: Uint8Array, from: number, to: number, lower: Uint8Array): boolean {
	if (to - from !== lower.length) return false;
	for (let i = 0; i < lower.length; i++) {
		if (LOWER[bytes[from + i] as number] !== lower[i]) return false;
	}
	return true;
}

/** Whether two ranges of the same bytes are equal in any case. */
export function rangesEqual(bytes: Uint8Array, aFrom: number, aTo: number, bFrom: number, bTo: number): boolean {
	if (aTo - aFrom !== bTo - bFrom) return false;
	for (let i = 0; i < aTo - aFrom; i++) {
		if (LOWER[bytes[aFrom + i] as number] !== LOWER[bytes[bFrom + i] as number]) return false;
	}
	return true;
}
