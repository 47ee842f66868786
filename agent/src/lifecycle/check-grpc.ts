import type { ClientHttp2Session, IncomingHttpHeaders, IncomingHttpStatusHeader } from "node:http2";
import { renderAddress } from "../config/address.ts";
import type { Address } from "../config/settings.ts";
import { type AskingParts, decodeLeniently, explainConnecting } from "./check-http.ts";
import { open } from "./check-tcp.ts";
import type { HealthFinding } from "./health-tree.ts";
import type { Check } from "./scheduled-check.ts";

/**
 * `grpc.health.v1.Health/Check` (github.com/grpc/grpc/blob/master/doc/health-checking.md), over HTTP/2 without TLS and with prior knowledge,
 * framed as github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md says. Two fields of protobuf do not need its library:
 *
 *     message HealthCheckRequest  { string service = 1; }         → 0A length bytes
 *     message HealthCheckResponse { ServingStatus status = 1; }   → 08 varint   (UNKNOWN 0, SERVING 1, NOT_SERVING 2, SERVICE_UNKNOWN 3)
 *
 * `node:http2` is loaded with the first asking.
 */
export interface GrpcTarget {
	readonly address: Address;
	/** Empty: the server as a whole. */
	readonly service: string;
}

/** The server answers 7 bytes. */
const ANSWER_BYTES_MAX = 4_096;
/** MB of a session's memory, nghttp2's least. */
const SESSION_MEMORY_MAX = 1;

const PATH = "/grpc.health.v1.Health/Check";
const SERVING = 1;
const STATUSES = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"] as const;

/** Codes that say something about the question (github.com/grpc/grpc/blob/master/doc/statuscodes.md). */
const NOT_FOUND = 5;
const UNIMPLEMENTED = 12;

/** `grpc://host:port/service`. */
export function grpcTargetOfUrl(text: string): GrpcTarget {
	const url = new URL(text);
	const host = url.hostname.replace(/^\[|\]$/g, "");
	const service = url.pathname.replace(/^\//, "");
	return { address: { kind: "tcp", host, port: Number(url.port) }, service: decodeLeniently(service) };
}

export function grpcCheck(target: GrpcTarget, parts: AskingParts): Check {
	const who = target.service === "" ? "the server" : `service "${target.service}"`;
	const asked = `gRPC health of ${who} at ${renderAddress(target.address)}`;
	return async (signal) => {
		const { status, reason, detail } = await askGrpc(target, parts, signal);
		return { status, reason, detail: `${asked}: ${detail}` };
	};
}

/** Never rejects. */
function askGrpc(target: GrpcTarget, parts: AskingParts, signal: AbortSignal): Promise<HealthFinding> {
	const http2 = process.getBuiltinModule("node:http2");
	return new Promise((resolve) => {
		const { address, service } = target;
		const authority = address.kind === "unix" ? "localhost" : renderAddress(address);
		const socket = open(address, parts);
		// Heard before the stream hears that it was cancelled, which says less.
		socket.on("error", (error: NodeJS.ErrnoException) => end(explain(error)));
		const session: ClientHttp2Session = http2.connect(`http://${authority}`, {
			createConnection: () => socket,
			maxSessionMemory: SESSION_MEMORY_MAX,
			settings: { enablePush: false },
		});
		const end = (finding: HealthFinding): void => {
			signal.removeEventListener("abort", onAbort);
			resolve(finding);
			session.destroy();
		};
		const onAbort = (): void => end(failed("timeout", "it was cut off"));
		session.on("error", (error: NodeJS.ErrnoException) => end(explain(error)));
		session.on("close", () => end(failed("broken_off", "it closed the connection without an answer")));
		const stream = session.request({
			":method": "POST",
			":path": PATH,
			"content-type": "application/grpc",
			te: "trailers",
			"user-agent": parts.userAgent,
		});
		let head: (IncomingHttpHeaders & IncomingHttpStatusHeader) | undefined;
		let trailers: IncomingHttpHeaders | undefined;
		const blocks: Buffer[] = [];
		let bytes = 0;
		stream.on("response", (fields) => {
			head = fields;
		});
		stream.on("trailers", (fields) => {
			trailers = fields;
		});
		stream.on("data", (block: Buffer) => {
			bytes += block.length;
			if (bytes > ANSWER_BYTES_MAX) end(failed("bad_answer", `its answer is larger than ${ANSWER_BYTES_MAX} bytes`));
			else blocks.push(block);
		});
		stream.on("error", (error: NodeJS.ErrnoException) => end(explain(error)));
		stream.on("close", () => end(judgeGrpc(head, trailers, Buffer.concat(blocks))));
		stream.end(encodeRequest(service));
		if (signal.aborted) onAbort();
		else signal.addEventListener("abort", onAbort);
	});
}

function failed(reason: string, detail: string): HealthFinding {
	return { status: "fail", reason, detail };
}

function explain(error: NodeJS.ErrnoException): HealthFinding {
	const code = error.code ?? "";
	if (code === "ERR_HTTP2_STREAM_ERROR") return failed("broken_off", `it reset the stream (${error.message})`);
	if (code.startsWith("ERR_HTTP2_"))
		return failed("bad_answer", `what answers there does not speak HTTP/2 (${error.message})`);
	if (code === "ECONNRESET" || code === "EPIPE")
		return failed("broken_off", "it closed the connection without an answer");
	return { status: "fail", ...explainConnecting(error, false) };
}

/** The finding that a whole answer comes to. `trailers` are in the head when there is no message ("Trailers-Only"). */
export function judgeGrpc(
	head: Readonly<Record<string, unknown>> | undefined,
	trailers: Readonly<Record<string, unknown>> | undefined,
	body: Buffer,
): HealthFinding {
	if (head === undefined) return failed("broken_off", "it ended the stream without an answer");
	if (head[":status"] !== 200) return failed("http_status", `it was answered with HTTP status ${head[":status"]}`);
	if (!/^application\/grpc(?:[+;]|$)/i.test(String(head["content-type"] ?? ""))) {
		return failed("bad_answer", "the answer is not of type application/grpc");
	}
	const code = String((trailers ?? head)["grpc-status"] ?? "");
	if (!/^\d{1,3}$/.test(code)) return failed("broken_off", "the answer has no grpc-status: it broke off");
	if (Number(code) === NOT_FOUND) return failed("service_unknown", "the server does not know this service (NOT_FOUND)");
	if (Number(code) === UNIMPLEMENTED) {
		return failed("no_health_service", "the server has no grpc.health.v1.Health service (UNIMPLEMENTED)");
	}
	if (Number(code) !== 0) {
		return failed(
			"grpc_status",
			`it was answered with grpc-status ${code} ${message((trailers ?? head)["grpc-message"])}`.trim(),
		);
	}
	const status = decodeAnswer(body);
	if (status === undefined) return failed("bad_answer", "the answer is no HealthCheckResponse");
	if (status === SERVING) return { status: "pass", detail: "SERVING" };
	return failed("not_serving", STATUSES[status] ?? `unknown status ${status}`);
}

/** Percent-encoded; for people, so what is not encoded rightly is shown as it stands. */
function message(field: unknown): string {
	return decodeLeniently(typeof field === "string" ? field : "");
}

/** One message, uncompressed: flag, length, HealthCheckRequest. */
export function encodeRequest(service: string): Buffer {
	const name = Buffer.from(service, "utf8");
	const field = name.length === 0 ? [] : [0x0a, ...varint(name.length), ...name];
	const frame = Buffer.alloc(5 + field.length);
	frame.writeUInt32BE(field.length, 1);
	frame.set(field, 5);
	return frame;
}

function varint(value: number): readonly number[] {
	const bytes: number[] = [];
	for (let rest = value; ; rest >>>= 7) {
		if (rest < 0x80) return [...bytes, rest];
		bytes.push((rest & 0x7f) | 0x80);
	}
}

/** `status` of the one message; undefined when there is none, when it is compressed (we did not offer that), or no protobuf. */
export function decodeAnswer(frame: Buffer): number | undefined {
	if (frame.length < 5 || frame[0] !== 0 || frame.readUInt32BE(1) !== frame.length - 5) return undefined;
	const reader = new FieldReader(frame.subarray(5));
	let status = 0; // proto3: a field that is not there
	while (!reader.isAtEnd) {
		const tag = reader.varint();
		if (tag === undefined || tag >>> 3 === 0) return undefined;
		if (tag === 0x08) {
			const value = reader.varint();
			if (value === undefined) return undefined;
			status = value;
		} else if (!reader.skip(tag & 7)) return undefined;
	}
	return status;
}

/** protobuf.dev/programming-guides/encoding. */
class FieldReader {
	readonly #bytes: Buffer;
	#at = 0;

	constructor(bytes: Buffer) {
		this.#bytes = bytes;
	}

	get isAtEnd(): boolean {
		return this.#at === this.#bytes.length;
	}

	/** At most 32 bits of it; undefined when it does not end. */
	varint(): number | undefined {
		let value = 0;
		for (let shift = 0; shift < 70; shift += 7) {
			const byte = this.#bytes[this.#at];
			if (byte === undefined) return undefined;
			this.#at += 1;
			if (shift < 32) value |= (byte & 0x7f) << shift;
			if (byte < 0x80) return value >>> 0;
		}
		return undefined;
	}

	/** Over a field of this wire type. */
	skip(wireType: number): boolean {
		let bytes: number | undefined;
		if (wireType === 0) return this.varint() !== undefined;
		if (wireType === 1) bytes = 8;
		else if (wireType === 2) bytes = this.varint();
		else if (wireType === 5) bytes = 4;
		if (bytes === undefined || bytes > this.#bytes.length - this.#at) return false;
		this.#at += bytes;
		return true;
	}
}
