/** Run by byte-stream.test.ts: ends by itself, or hangs. */
import { connect, createServer } from "node:net";
import { reset } from "./byte-stream.ts";

const server = createServer({ allowHalfOpen: true }, (socket) => {
	socket.on("error", () => {});
	socket.end("x");
	reset(socket);
	server.close();
});
server.listen(0, "127.0.0.1", () => {
	const address = server.address();
	const port = typeof address === "object" && address !== null ? address.port : 0;
	connect(port, "127.0.0.1").on("error", () => {});
});
