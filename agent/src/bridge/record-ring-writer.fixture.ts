/** The writing thread of record-ring.test.ts: numbered records of many lengths, as fast as it can. */
import { workerData } from "node:worker_threads";
import { RecordRing } from "./record-ring.ts";

const { shared, records } = workerData as { shared: SharedArrayBuffer; records: number }; // given by the test
const ring = new RecordRing(shared);
for (let seed = 1; seed <= records; seed++) {
	const length = 8 + (seed % 200);
	const offset = ring.reserve(length);
	if (offset < 0) continue;
	ring.i32[offset / 4] = seed;
	for (let i = 8; i < length; i++) ring.bytes[offset + i] = (seed + i) & 255;
	ring.commit(length);
}
