// The peers' app on node:http, with a WebSocket and an event stream. `ws` is a dependency of the project.
import { createHash } from "node:crypto";
import { createServer } from "node:http";

/** The content of every large body: 0 to 250, over and over. */
const pattern = (n) => Buffer.alloc(n, Buffer.from(Array.from({ length: 251 }, (_, i) => i)));

const server = createServer((request, response) => {
	const path = request.url;
	const last = path.slice(path.lastIndexOf("/") + 1);
	const answer = (body, status = 200, headers = {}) => {
		const bytes = Buffer.from(body);
		response.writeHead(status, { "content-length": bytes.length, ...headers });
		response.end(bytes);
	};
	if (path === "/") answer("hello\n");
	else if (path === "/echo") {
		response.setHeader("content-type", request.headers["content-type"] ?? "application/octet-stream");
		request.pipe(response); // a proxy must be able to carry both bodies at once
	} else if (path === "/sha") {
		const hash = createHash("sha256");
		let length = 0;
		request.on("data", (bytes) => {
			length += bytes.length;
			hash.update(bytes);
		});
		request.on("end", () => answer(JSON.stringify({ length, sha256: hash.digest("hex") })));
	} else if (path.startsWith("/bytes/")) answer(pattern(Number(last)));
	else if (path.startsWith("/stream/")) {
		for (let i = 0; i < Number(last); i++) response.write(`line ${i}\n`);
		response.end();
	} else if (path.startsWith("/events/")) {
		response.writeHead(200, { "content-type": "text/event-stream" });
		for (let i = 0; i < Number(last); i++) response.write(`data: ${i}\n\n`); // and stays open until the client goes
	} else if (path.startsWith("/status/")) {
		const code = Number(last);
		if (code === 204 || code === 304) response.writeHead(code).end();
		else answer(`status ${code}\n`, code);
	} else if (path === "/etag") {
		if (request.headers["if-none-match"] === '"v1"') response.writeHead(304, { etag: '"v1"' }).end();
		else answer("version 1\n", 200, { etag: '"v1"' });
	} else if (path === "/refuse") answer("too much\n", 413, { connection: "close" });
	else if (path === "/hints") {
		response.writeEarlyHints({ link: "</style.css>; rel=preload; as=style" });
		answer("hinted\n");
	} else if (path === "/who") answer(JSON.stringify({ peer: request.socket.remoteAddress, headers: request.headers }));
	else if (path === "/page") answer(page, 200, { "content-type": "text/html" });
	else if (path.startsWith("/raw/")) answer(path);
	else answer("nothing here\n", 404);
});

/** What a browser does with the app by itself: fetch both ways, EventSource, WebSocket. The title says how it went. */
const page = `<!doctype html><title>running</title><script type="module">
const results = {};
try {
	results.fetch = await (await fetch("/")).text();
	const body = new Uint8Array(1 << 20).map((_, i) => i % 251);
	const echoed = new Uint8Array(await (await fetch("/echo", { method: "POST", body })).arrayBuffer());
	results.echo = echoed.length === body.length && echoed.every((byte, i) => byte === body[i]);
	results.many = (await Promise.all(Array.from({ length: 20 }, async (_, i) => (await fetch("/bytes/" + i * 1000)).arrayBuffer()))).map((b) => b.byteLength).join() === Array.from({ length: 20 }, (_, i) => i * 1000).join();
	const controller = new AbortController();
	const reader = (await fetch("/events/1", { signal: controller.signal })).body.getReader();
	results.streamed = new TextDecoder().decode((await reader.read()).value);
	controller.abort();
	results.events = await new Promise((resolve, reject) => {
		const source = new EventSource("/events/3");
		const got = [];
		source.onmessage = ({ data }) => { got.push(data); if (got.length === 3) { source.close(); resolve(got.join()); } };
		source.onerror = () => reject(new Error("EventSource"));
	});
	results.socket = await new Promise((resolve, reject) => {
		const socket = new WebSocket("ws://" + location.host + "/ws");
		socket.onopen = () => socket.send("x".repeat(70000));
		socket.onmessage = ({ data }) => { resolve(data.length); socket.close(1000); };
		socket.onerror = () => reject(new Error("WebSocket"));
	});
	document.body.textContent = JSON.stringify(results);
} catch (error) {
	document.body.textContent = JSON.stringify({ ...results, error: String(error) });
}
document.title = "done";
</script><body></body>`;

if (process.argv[2] === "ws") {
	const { WebSocketServer } = await import("ws");
	const sockets = new WebSocketServer({ server, path: "/ws", perMessageDeflate: { threshold: 0 } });
	sockets.on("connection", (socket) => {
		socket.on("error", () => undefined);
		socket.on("message", (data, isBinary) => {
			const text = isBinary ? "" : data.toString();
			const [, code] = /^close (\d{4})$/.exec(text) ?? [];
			if (code !== undefined) socket.close(Number(code), "as asked");
			else if (text === "terminate") socket.terminate();
			else if (text === "ping me") socket.ping("from the app");
			else socket.send(data, { binary: isBinary });
		});
	});
}
server.listen(0, "127.0.0.1", () => console.log(`listening on 127.0.0.1:${server.address().port}`));
