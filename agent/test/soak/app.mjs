// The app of the soak, a process of its own so that it can be killed. PORT: where it listens; it says "ready PORT" when it does.
import { createServer } from "node:http";

const SMALL = Buffer.alloc(41, "x");
const BIG = Buffer.alloc(100_000, "y");

const server = createServer((request, response) => {
	const { url = "/" } = request;
	if (url.startsWith("/up")) {
		let bytes = 0;
		request.on("data", (piece) => {
			bytes += piece.length;
		});
		request.on("end", () => response.end(String(bytes)));
		return;
	}
	request.resume();
	if (url.startsWith("/slow")) {
		setTimeout(() => response.end(SMALL), 50);
	} else if (url.startsWith("/cut")) {
		response.write(SMALL);
		setImmediate(() => response.destroy());
	} else if (url.startsWith("/chunked")) {
		response.write(SMALL);
		response.end(SMALL);
	} else {
		const body = url.startsWith("/big") ? BIG : SMALL;
		response.setHeader("content-length", body.length);
		response.end(body);
	}
});
server.keepAliveTimeout = 2_000;
server.listen(Number(process.env["PORT"] ?? 0), "127.0.0.1", () => {
	const address = server.address();
	process.stdout.write(`ready ${typeof address === "object" && address !== null ? address.port : 0}\n`);
});
