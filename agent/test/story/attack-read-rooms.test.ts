/** Rooms that reads share: bytes of one request, or of one client, never stand where another's were meant. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { CELL } from "../../src/bridge/counters.ts";
import { Peer } from "../../src/exchange/forwarded.ts";
import { FakeStream } from "../../src/foundation/byte-stream.fixture.ts";
import { ReadRoom } from "../../src/foundation/read-room.ts";
import { AppSocket } from "../../src/upstream/app-socket.ts";
import { connect, eventually, startApp, startPlane, turn } from "./harness.ts";

/** A client whose reads lie in rooms as those of a `ClientSocket` do, each as long as the story says. */
class RoomStream extends FakeStream {
	readonly #room = new ReadRoom();
	#next = this.#room.next();

	read(text: string): void {
		const length = this.#next.write(text, "latin1");
		assert.equal(length, text.length, "a read is no longer than a room");
		const bytes = this.#room.take(length, this.#next);
		this.isShared = this.#room.isShared;
		this.emit("data", bytes);
		this.#next = this.#room.next();
	}

	own(bytes: Buffer): Buffer {
		return this.#room.own(bytes);
	}

	releaseBytes(): void {
		this.#room.release();
	}

	forgetBytes(): void {
		this.#room.forget();
	}
}

test("the head of a request that came behind another is not overwritten by the body that follows it", async () => {
	const app = new FakeStream();
	await using plane = await startPlane(1, { connect: () => app });
	const client = new RoomStream();
	plane.plane.listeners[0]?.take(client, new Peer("192.0.2.7"), undefined);

	client.read("POST /1 HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n");
	app.open();
	await turn();
	client.read("b".repeat(40_000));
	client.read("b".repeat(40_000));
	app.isFull = true;
	const head = `POST /2 HTTP/1.1\r\nhost: a\r\nx-request-id: the-second\r\ncookie: ${"c".repeat(26_000)}\r\ncontent-length: 200000\r\n\r\n`;
	client.read("b".repeat(20_000) + head);
	app.drain(); // the app has taken the first body: its rooms are free
	app.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
	await turn();
	app.isFull = true;
	client.read("d".repeat(40_000));
	app.drain();
	client.read("\r\nevil: 1\r\n\r\n".repeat(4_000));
	app.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
	await turn();

	const [, second = ""] = client.text.split("HTTP/1.1 200 OK\r\n").slice(1);
	assert.doesNotMatch(second, /evil/);
	assert.match(second, /\r\nx-request-id: the-second\r\n/);
	client.close();
	app.close();
	await plane.settle();
});

for (const protocol of ["tcp", "http2"]) {
	test(`what came in one read with a PROXY header reaches the app as it was (${protocol})`, async () => {
		const gate = Promise.withResolvers<void>();
		await using app = await startApp(async (wire) => {
			await wire.until(() => wire.unread.length >= 16 || wire.isEnded || wire.isClosed, "what the client said");
			wire.write(wire.unread);
		});
		await using plane = await startPlane(app.port, {
			set: { "connections.proxyProtocol": "true", "inbound.0.protocol": protocol },
			// The app takes its time: what came first has to be kept until it accepts.
			connect: () => {
				const socket = new AppSocket();
				void gate.promise.then(() => socket.connect({ host: "127.0.0.1", port: app.port }));
				return socket;
			},
		});
		await using first = await connect(plane.port);
		first.write(`PROXY TCP4 192.0.2.1 192.0.2.2 1000 2000\r\n${"A".repeat(16)}`);
		await eventually(() => plane.counters.get(CELL.OPAQUE_OPEN) === 1, "the first connection");
		await using second = await connect(plane.port);
		second.write(`PROXY TCP4 192.0.2.1 192.0.2.2 1000 2000\r\n${"B".repeat(16)}`);
		await eventually(() => plane.counters.get(CELL.OPAQUE_OPEN) === 2, "the second connection");
		gate.resolve();
		assert.equal((await first.take(16)).toString(), "A".repeat(16));
		assert.equal((await second.take(16)).toString(), "B".repeat(16));
		first.reset();
		second.reset();
		await plane.settle();
	});
}
