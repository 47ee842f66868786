/** A mistake of ours, at several places on a request's way: it costs the exchange in which it happens, and no other. */
import { strict as assert } from "node:assert";
import { Socket } from "node:net";
import { test } from "node:test";
import { CELL } from "../../src/bridge/counters.ts";
import { Identity } from "../../src/exchange/phases/identity.ts";
import { ReturnFields } from "../../src/exchange/phases/return-fields.ts";
import { Forward } from "../../src/upstream/forward.ts";
import { Relay } from "../../src/upstream/relay.ts";
import { answering, connect, eventually, field, ok, startApp, startPlane, Wire } from "./harness.ts";

const GET = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

const BROKEN = new RangeError("something is broken");

/** The method throws instead, once. */
const breakOnce = <T extends object>(owner: T, method: keyof T & string): void => {
	const { [method]: sound } = owner;
	assert.ok(typeof sound === "function", `${method} is a method`);
	Object.defineProperty(owner, method, {
		configurable: true,
		writable: true,
		value: () => {
			Object.defineProperty(owner, method, { value: sound, configurable: true, writable: true });
			throw BROKEN;
		},
	});
};

test("one before the request is forwarded: 500, counted and told, and the others go on", async () => {
	await using app = await startApp(answering(() => ok()));
	await using plane = await startPlane(app.port);
	await using other = await connect(plane.port);
	other.write(GET);
	assert.equal((await other.response()).status, 200);
	breakOnce(Identity.prototype, "identify");
	await using client = await connect(plane.port);
	client.write(`${GET}${GET}`);
	const response = await client.response();
	assert.equal(response.status, 500);
	assert.equal(field(response, "x-outrigger-error"), "internal");
	assert.equal(field(response, "connection"), "close");
	assert.ok((await client.rest()).isClean, "the second of the pipeline is not answered: its connection is over");
	other.write(GET);
	assert.equal((await other.response()).status, 200);
	other.end();
	client.end();
	const records = await plane.recorded(3);
	assert.equal(records[1]?.endedBy, "agent");
	assert.equal(plane.counters.get(CELL.INTERNAL_FAULTS), 1);
	const told = plane.messages.filter(({ kind }) => kind === "log");
	assert.equal(told.length, 1);
	assert.match(JSON.stringify(told), /something is broken/);
	await plane.settle();
});

test("one in the answer of the app: 500, and the connection to the app is not used again", async () => {
	await using app = await startApp(async (wire, index) => {
		if (index > 0) return answering(() => ok())(wire, index);
		await wire.request();
		breakOnce(ReturnFields.prototype, "apply");
		wire.write(ok());
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	client.write(GET);
	const response = await client.response();
	assert.equal(response.status, 500);
	await (await app.wire(0)).closed();
	client.end();
	await using other = await connect(plane.port);
	other.write(GET);
	assert.equal((await other.response()).status, 200);
	other.end();
	await plane.recorded(2);
	await plane.settle();
	assert.equal(plane.counters.get(CELL.INTERNAL_FAULTS), 1);
});

test("one in the middle of an answer: the client feels a cut, never a whole answer", async () => {
	await using app = await startApp(async (wire) => {
		await wire.request();
		wire.write("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf");
		await wire.until(() => isSeen, "the client to have it");
		breakOnce(Forward.prototype, "responseBytes");
		wire.write("half");
	});
	let isSeen = false;
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	client.write(GET);
	await client.until(() => client.unread.includes("half"), "the first half");
	isSeen = true;
	(await app.wire(0)).socket.emit("drain");
	await client.closed();
	const [record] = await plane.recorded(1);
	assert.equal(client.error, "ECONNRESET");
	assert.equal(plane.reasonOf(record), "internal");
	assert.equal(plane.counters.get(CELL.CUT), 1);
	await plane.settle();
	assert.equal(plane.counters.get(CELL.INTERNAL_FAULTS), 1);
});

test("one in a relayed connection ends that connection alone", async () => {
	await using app = await startApp(async (wire) => {
		wire.socket.on("data", (bytes: Buffer) => wire.socket.write(bytes));
		await wire.until(() => wire.isEnded || wire.isClosed, "the end");
		wire.end();
	});
	await using plane = await startPlane(app.port, { set: { "inbound.0.protocol": "tcp" } });
	await using first = await connect(plane.port);
	first.write("a");
	await first.take(1);
	const before = plane.counters.get(CELL.DOWNSTREAM_OPENED);
	breakOnce(Relay.prototype, "begin");
	const second = new Wire(new Socket());
	second.socket.connect(plane.port, "127.0.0.1"); // may be reset before it is told that it is there
	await second.closed();
	assert.equal(plane.counters.get(CELL.DOWNSTREAM_OPENED), before + 1);
	first.write("c");
	assert.equal((await first.take(1)).toString(), "c");
	first.end();
	await first.rest();
	await eventually(() => plane.counters.get(CELL.OPAQUE_OPEN) === 0, "the relays to be over");
	await plane.settle();
	assert.equal(plane.counters.get(CELL.INTERNAL_FAULTS), 1);
});
