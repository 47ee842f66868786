/**
 * What does it cost to say who a request is and where it goes? Nanoseconds per call on one thread, for the calls that the
 * phases identity and route make on every request.
 *
 * `tsx agent/bench/identity.ts [iterations]`. The test beside it runs it with tiny inputs; the hash is over what came out,
 * with random bytes and time replaced, so it is the same for the same sources.
 */
import { createHash } from "node:crypto";
import { pathToFileURL } from "node:url";
import { ForwardedFields, forwardedKind, Peer } from "../src/exchange/forwarded.ts";
import { RouteTable } from "../src/exchange/route-table.ts";
import { ManualClock } from "../src/foundation/clock.ts";
import { IdSource, isValidId, UUID_BYTES } from "../src/telemetry/ids.ts";
import {
	CLIENT_SPAN_AT,
	countTracestateMembers,
	newSpanIds,
	newTrace,
	parseTraceparent,
	Sampler,
	TRACE_BYTES,
	writeTraceparent,
} from "../src/telemetry/trace-context.ts";

export interface Measurement {
	readonly name: string;
	readonly nsEach: number;
}

export interface Outcome {
	readonly measurements: readonly Measurement[];
	/** SHA-256 over what came out. */
	readonly hash: string;
}

const ROUNDS = 8;
const NAMES = [
	"host",
	"user-agent",
	"accept",
	"accept-encoding",
	"x-forwarded-for",
	"x-request-id",
	"content-type",
	"cookie",
];

/** Runs every question `iterations` times. */
export function benchIdentity(iterations: number): Outcome {
	const measurements: Measurement[] = [];
	const hash = createHash("sha256");
	const out = Buffer.alloc(512);
	const trace = Buffer.alloc(TRACE_BYTES);

	const measure = (name: string, turn: (i: number) => number): void => {
		let found = turn(0);
		hash.update(`${name}=${found}:`).update(out).update(trace);
		let nsEach = Number.POSITIVE_INFINITY;
		// The best of several rounds, in processor time: other work on the machine only ever adds.
		for (let round = 0; round < ROUNDS; round += 1) {
			const before = process.cpuUsage();
			for (let i = 0; i < iterations; i += 1) found |= turn(i);
			const { user, system } = process.cpuUsage(before);
			nsEach = Math.min(nsEach, ((user + system) * 1000) / iterations);
		}
		measurements.push({ name: found === 0x7fff_ffff ? `${name} ` : name, nsEach }); // `found` is used, so nothing is optimised away
	};

	let seed = 1;
	const counting = new IdSource((target) => {
		for (let i = 0; i < target.length; i += 1)
			target[i] = (seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff) >> 16;
	});
	const random = new IdSource();
	counting.writeUuid7(out, 0, 1_700_000_000_000);
	hash.update(out);
	newTrace(trace, counting);
	newSpanIds(trace, counting);
	hash.update(trace);

	const id = Buffer.from("01939a6e-7c1d-7a3e-9c55-9d2f0b6a4e11");
	measure("is an id of 36 bytes valid", () => (isValidId(id, 0, id.length) ? 1 : 0));
	const scratch = Buffer.alloc(TRACE_BYTES);
	measure("new UUIDv7", (i) => {
		random.writeUuid7(scratch, 0, 1_700_000_000_000 + (i >> 4));
		return UUID_BYTES;
	});
	measure("new trace id and both span ids", () => {
		newTrace(scratch, random);
		newSpanIds(scratch, random);
		return TRACE_BYTES;
	});
	const parent = Buffer.from("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
	measure("read traceparent", () => parseTraceparent(parent, 0, parent.length, trace));
	const state = Buffer.from("vendor=opaque-value-1,other@sys=0123456789abcdef");
	measure("check tracestate of two members", () => countTracestateMembers(state, 0, state.length, 0));
	measure("write traceparent", () => writeTraceparent(out, 0, trace, CLIENT_SPAN_AT, 1));
	const sampler = new Sampler({ ratio: 0.05, forcedPerSecond: Number.POSITIVE_INFINITY, clock: new ManualClock() });
	measure("sampling decision", () => sampler.decide(trace, -1));

	const names = NAMES.map((name) => Buffer.from(name));
	measure("eight field names: forwarded fields?", () => {
		let kinds = 0;
		for (const name of names) kinds += forwardedKind(name, 0, name.length);
		return kinds;
	});
	const fields = new ForwardedFields({ trust: true, trustedHops: 1 }, 128);
	const peer = new Peer("10.0.0.7");
	const head = Buffer.from("orders.shop:9810 203.0.113.5, 198.51.100.17");
	measure("forwarded lines of a direct client", () => {
		fields.begin();
		return fields.write(out, 0, peer, head, 0, 16);
	});
	measure("forwarded lines behind a load balancer, and the client's address", () => {
		fields.begin();
		fields.note(1, head, 17, head.length);
		return fields.write(out, 0, peer, head, 0, 16) + fields.clientAddress(head, peer).length;
	});

	const routes = new RouteTable({
		table: [],
		collapse: true,
		seriesMax: 2000,
		policy: { bodyBytesMax: Number.POSITIVE_INFINITY, responseMs: Number.POSITIVE_INFINITY },
	});
	routes.replaceOpenapi(
		Array.from({ length: 200 }, (_, i) => ({ path: `/api/v1/things${i}/{id}/parts/{part}`, methods: ["GET"] })),
	);
	const path = Buffer.from("/api/v1/orders/recent");
	measure("route of a path seen before, 21 B", () => routes.match(path, 0, path.length, "GET").id);
	/** Four letters that are others for each of 65,536 turns. */
	const vary = (bytes: Buffer, at: number, i: number): void => {
		for (let k = 0; k < 4; k += 1) bytes[at + k] = 0x61 + ((i >> (4 * k)) & 15);
	};
	const fresh = Buffer.from("/api/v1/things77/00000000/parts/blade");
	measure("route of a new path among 200 templates", (i) => {
		vary(fresh, 17, i);
		return routes.match(fresh, 0, fresh.length, "GET").id;
	});
	const unknown = Buffer.from("/shop/orders/00000000-e29b-41d4-a716-446655440000/items/42");
	measure("route of a new path by collapse", (i) => {
		vary(unknown, 13, i);
		return routes.match(unknown, 0, unknown.length, "GET").id;
	});
	const hint = Buffer.from("/shop/orders/{id}/items/{item}");
	measure("route that the app named", () => routes.hint(hint, 0, hint.length)?.id ?? -1);
	return { measurements, hash: hash.digest("hex") };
}

const [, script, count] = process.argv;
if (script !== undefined && import.meta.url === pathToFileURL(script).href) {
	const { measurements, hash } = benchIdentity(count === undefined ? 300_000 : Number(count));
	for (const { name, nsEach } of measurements) console.log(`${nsEach.toFixed(0).padStart(8)} ns  ${name}`);
	console.log(`result ${hash}`);
}
