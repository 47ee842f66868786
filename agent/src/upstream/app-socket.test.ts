import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { describe, test } from "node:test";
import { AppSocket } from "./app-socket.ts";

const listening = async (onConnection: (socket: Socket) => void): Promise<Server & { readonly port: number }> => {
	const server = createServer({ allowHalfOpen: true }, onConnection);
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	const address = server.address();
	assert.ok(typeof address === "object" && address !== null);
	return Object.assign(server, { port: address.port });
};

describe("a socket to the app", () => {
	test("still reads the answer of an app that has closed while we write", async () => {
		const answer = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n";
		const server = await listening((socket) => {
			socket.on("error", () => undefined);
			socket.once("data", () => socket.write(answer, () => socket.destroy()));
		});
		const socket = new AppSocket();
		let received = "";
		let failures = 0;
		socket.onWriteFailed = () => {
			failures++;
		};
		socket.on("data", (bytes) => {
			received += bytes.toString("latin1");
		});
		socket.on("error", () => undefined);
		socket.connect(server.port, "127.0.0.1");
		await once(socket, "connect");
		assert.ok(socket.isOpen);
		// Until a write fails: the answer came first, and the kernel says so only when it has seen the reset.
		const upload = (): void => {
			if (socket.writeFailed || socket.destroyed) return;
			socket.cork();
			socket.write(Buffer.alloc(4096));
			socket.write(Buffer.alloc(4096));
			socket.uncork();
			setImmediate(upload);
		};
		upload();
		await Promise.race([once(socket, "end"), once(socket, "close")]);
		socket.destroy();
		server.close();
		assert.equal(received, answer);
		assert.equal(failures, socket.writeFailed ? 1 : 0);
	});

	test("takes what is written after a failure without a word, and tells the failure once", async () => {
		const server = await listening((socket) => {
			socket.on("error", () => undefined);
			socket.once("data", () => socket.resetAndDestroy());
		});
		const socket = new AppSocket();
		let failures = 0;
		const failed = Promise.withResolvers<void>();
		socket.onWriteFailed = () => {
			failures++;
			failed.resolve();
		};
		socket.on("error", () => undefined);
		socket.pause(); // so that it is the write that meets the reset
		socket.connect(server.port, "127.0.0.1");
		await once(socket, "connect");
		const write = (): void => {
			if (socket.writeFailed || socket.destroyed) return;
			socket.write("x");
			setImmediate(write);
		};
		write();
		await Promise.race([failed.promise, once(socket, "close")]);
		assert.ok(socket.writeFailed, "a write met the reset");
		await new Promise<void>((resolve, reject) =>
			socket.write("swallowed", (error) => (error ? reject(error) : resolve())),
		);
		assert.equal(failures, 1);
		socket.destroy();
		server.close();
	});

	test("that cannot connect says so by its error, whatever was written before", async () => {
		const server = await listening(() => undefined);
		const { port } = server;
		server.close();
		await once(server, "close");
		const socket = new AppSocket();
		socket.connect(port, "127.0.0.1");
		socket.write("waits for the connection");
		const [error] = await once(socket, "error");
		assert.equal((error as NodeJS.ErrnoException).code, "ECONNREFUSED"); // an error event of a socket carries one
		assert.equal(socket.writeFailed, false);
	});

	test("reads a long body whole, in rooms that are its own", async () => {
		const body = Buffer.alloc(3 * 1024 * 1024);
		for (let i = 0; i < body.length; i++) body[i] = (i * 31) & 0xff;
		const server = await listening((socket) => socket.end(body));
		const socket = new AppSocket();
		const pieces: Buffer[] = [];
		let wasShared = 0;
		socket.on("data", (bytes: Buffer) => {
			if (socket.isShared) wasShared++;
			pieces.push(socket.own(bytes));
		});
		socket.connect(server.port, "127.0.0.1");
		await once(socket, "end");
		socket.end();
		await once(socket, "close");
		server.close();
		assert.ok(Buffer.concat(pieces).equals(body));
		assert.ok(wasShared >= 1, "the first read is into the room of all sockets");
	});
});
