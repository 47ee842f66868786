/**
 * Every way in which an exchange can go wrong, once.
 *
 * A reason is at the same time the label of `outrigger_refused_total` (or of the upstream failures), the value of the
 * `x-outrigger-error` header, `error.type` in the access line and a heading of `docs/errors.md`. The set is closed: nothing
 * outside this file makes a Fault. Faults are constants and are returned, never thrown: a refusal is ordinary work, and
 * a stack trace per bad request is a gift to attackers.
 */

/** Who has to change something: the client, the app, or we. */
export type Blame = "downstream" | "upstream" | "agent";

export interface Fault {
	/** Name of the fault, `snake_case`; see `docs/errors.md`. */
	readonly reason: FaultReason;
	readonly blame: Blame;
	/** Status code of the answer; 0 when no answer can be sent (the exchange is cut). */
	readonly status: number;
	/** Whether the downstream connection ends with the answer. */
	readonly closes: boolean;
	/** Whether the request may be sent once more when it is idempotent and has no body (`data-path.md`, the upstream side). */
	readonly resend: boolean;
	/** One sentence for people: `detail` of the problem document. Never holds bytes of the request. */
	readonly detail: string;
	/** Small number for records and counters: the index in `FAULT_LIST`. */
	readonly index: number;
}

interface Row {
	readonly blame: Blame;
	readonly status: number;
	readonly closes: boolean;
	readonly resend: boolean;
	readonly detail: string;
}

const client = (status: number, detail: string, closes = true): Row => ({
	blame: "downstream",
	status,
	closes,
	resend: false,
	detail,
});
const app = (status: number, detail: string, resend = false): Row => ({
	blame: "upstream",
	status,
	closes: false,
	resend,
	detail,
});
const own = (status: number, detail: string, closes = true): Row => ({
	blame: "agent",
	status,
	closes,
	resend: false,
	detail,
});

const rows = {
	// The head of a request: RFC 9112 §2–§5, RFC 9110 §5.
	head_leading_bytes: client(400, "There is more than one empty line before the request line."),
	head_request_line: client(400, "The request line is not method, space, target, space, version."),
	head_method: client(400, "The method is not a token."),
	head_target: client(400, "The request target is empty, of no known form, or holds a control character or a space."),
	head_version: client(505, "Only HTTP/1.0 and HTTP/1.1 are spoken here."),
	head_bare_lf: client(400, "A line of the head ends with LF alone."),
	head_bare_cr: client(400, "A CR in the head is not followed by LF."),
	head_control_character: client(400, "A field value holds a control character."),
	head_obs_fold: client(400, "A field value is folded over two lines."),
	head_space_before_colon: client(400, "There is white space between a field name and its colon."),
	head_field_name: client(400, "A field name is empty or not a token."),
	head_field_alias: client(400, "A field name is that of a framing field with underscores for hyphens."),
	head_too_large: client(431, "The head is larger than limits.head."),
	head_too_many_fields: client(431, "The head has more fields than limits.headers."),
	head_target_too_long: client(414, "The request target is longer than limits.target."),
	host_missing: client(400, "An HTTP/1.1 request needs a Host field."),
	host_repeated: client(400, "There is more than one Host field."),
	host_invalid: client(400, "The Host is not an authority."),
	length_and_coding: client(400, "Content-Length and Transfer-Encoding are both there."),
	length_repeated: client(400, "There is more than one Content-Length."),
	length_invalid: client(400, "The Content-Length is not a decimal number up to 2^53−1."),
	coding_in_http10: client(400, "HTTP/1.0 has no Transfer-Encoding."),
	coding_invalid: client(400, "The Transfer-Encoding is not a list of codings."),
	coding_not_final: client(400, "Chunked is not the last transfer coding, or is there twice."),
	coding_unsupported: client(501, "Only the transfer coding chunked is supported."),
	connection_names_field: client(400, "Connection names a field that is not hop-by-hop."),
	method_not_allowed: client(405, "CONNECT and TRACE are not forwarded.", false),
	// The body of a request: RFC 9112 §7.1.
	chunk_size: client(400, "A chunk size is not a hexadecimal number of a length that can be."),
	chunk_extension: client(400, "A chunk extension is malformed or too long."),
	chunk_framing: client(400, "A chunk does not end with CRLF."),
	trailer_field: client(400, "The trailers are malformed or hold a framing or routing field."),
	body_too_large: client(413, "The body is larger than the route allows."),
	head_timeout: client(408, "The head did not arrive in time."),
	body_timeout: client(408, "The body stopped arriving."),
	// The client's end of the connection.
	client_closed: client(0, "The client closed the connection before the exchange was over."),
	client_stalled: client(0, "The client stopped reading the response."),
	proxy_protocol: client(0, "The connection does not begin with a PROXY protocol header."),
	// Bounds of the agent.
	connections_exceeded: own(503, "There are more connections than limits.connections."),
	in_flight_exceeded: own(503, "There are more exchanges in flight than limits.inFlight.", false),
	buffer_exceeded: own(503, "The byte budget limits.buffered is used up."),
	drain_cut: own(0, "The agent stopped before the exchange was over."),
	drain_stream_closed: own(0, "The event stream was closed because the pod goes away; its client connects anew."),
	internal: own(500, "The agent made a mistake; its log has the details."),
	// The app.
	app_refused: app(502, "The app does not accept connections."),
	app_connect_timeout: app(504, "The app did not accept a connection in time."),
	app_closed: app(502, "The app closed the connection before its response began.", true),
	app_reset: app(502, "The app reset the connection before its response began.", true),
	app_head_invalid: app(502, "The head of the app's response is not HTTP/1.1."),
	app_head_too_large: app(502, "The head of the app's response is larger than limits.head."),
	app_framing_invalid: app(502, "The framing of the app's response is ambiguous or broken."),
	app_upgrade_unasked: app(502, "The app switched to a protocol that the client did not ask for."),
	app_truncated: app(0, "The app closed the connection in the middle of its response."),
	app_response_timeout: app(504, "The app did not answer in time."),
} as const satisfies Record<string, Row>;

export type FaultReason = keyof typeof rows;

const entries = Object.entries(rows) as [FaultReason, Row][]; // keys of the literal above, so the cast only restores them

/** All faults in a fixed order: `FAULT_LIST[fault.index] === fault`. */
export const FAULT_LIST: readonly Fault[] = entries.map(([reason, row], index) =>
	Object.freeze({ reason, ...row, index }),
);

/** All faults by reason. */
export const FAULTS = Object.freeze(Object.fromEntries(FAULT_LIST.map((fault) => [fault.reason, fault]))) as Readonly<
	Record<FaultReason, Fault>
>; // one entry per key of `rows`, by construction
