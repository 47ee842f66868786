/**
 * Request methods as small numbers. Method names are case-sensitive (RFC 9110 §9.1). What is not in the list is 0, and its
 * label is `_OTHER` (OpenTelemetry's http.request.method): a client cannot make new label values.
 */

/** By id. QUERY: draft-ietf-httpbis-safe-method-w-body, safe and idempotent; known to OpenTelemetry. */
export const METHODS = [
	"_OTHER",
	"GET",
	"HEAD",
	"POST",
	"PUT",
	"DELETE",
	"CONNECT",
	"OPTIONS",
	"TRACE",
	"PATCH",
	"QUERY",
] as const;

export type MethodName = (typeof METHODS)[number];

export const METHOD = {
	OTHER: 0,
	GET: 1,
	HEAD: 2,
	POST: 3,
	PUT: 4,
	DELETE: 5,
	CONNECT: 6,
	OPTIONS: 7,
	TRACE: 8,
	PATCH: 9,
	QUERY: 10,
} as const satisfies Record<string, number>;

const names = METHODS.map((name) => Uint8Array.from(Buffer.from(name, "latin1")));

/** Id of the method that stands in bytes[from..to); 0 when it is not in the list. */
export function methodIdOf(bytes: Uint8Array, from: number, to: number): number {
	const length = to - from;
	for (let id = 1; id < names.length; id++) {
		const name = names[id] as Uint8Array; // id < names.length
		if (name.length !== length) continue;
		let i = 0;
		while (i < length && name[i] === bytes[from + i]) i++;
		if (i === length) return id;
	}
	return METHOD.OTHER;
}

/** Safe methods do not ask for a change (RFC 9110 §9.2.1). Of a method that we do not know nothing is assumed. */
export function isSafe(id: number): boolean {
	return id === METHOD.GET || id === METHOD.HEAD || id === METHOD.OPTIONS || id === METHOD.TRACE || id === METHOD.QUERY;
}

/** Idempotent methods may be sent once more (RFC 9110 §9.2.2). */
export function isIdempotent(id: number): boolean {
	return isSafe(id) || id === METHOD.PUT || id === METHOD.DELETE;
}
