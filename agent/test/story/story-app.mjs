// The app of the stories in which it is a process of its own. Words: PORT, what it does at SIGTERM (finish, exit, ignore), its exit code then.
// It says what happens to it on standard output, one JSON object a line, in the order in which it happens.
import { createServer } from "node:http";

const [port = "0", atSigterm = "finish", code = "0"] = process.argv.slice(2);
const say = (event, more = {}) => process.stdout.write(`${JSON.stringify({ event, ...more })}\n`);

let open = 0;
const tunnels = new Set();

const server = createServer((request, response) => {
	const { method, url = "/" } = request;
	const [path, query = ""] = url.split("?");
	open += 1;
	response.once("close", () => {
		open -= 1;
	});
	say("request", { method, url });
	if (method === "POST") {
		let bytes = 0;
		request.on("data", (piece) => {
			bytes += piece.length;
		});
		request.on("end", () => {
			say("body", { url, bytes });
			response.end(String(bytes));
		});
		return;
	}
	switch (path) {
		case "/bytes":
			response.setHeader("content-length", query);
			response.end(Buffer.alloc(Number(query), "x"));
			break;
		case "/events":
			response.writeHead(200, { "content-type": "text/event-stream" });
			response.write("data: here\n\n");
			break;
		case "/hang":
			break;
		case "/exit":
			process.exit(Number(query));
			break;
		case "/agent":
			fetch(`${process.env["OUTRIGGER_AGENT_URL"]}/outrigger.v1.Agent/GetInfo`, {
				method: "POST",
				headers: { "content-type": "application/json" },
				body: "{}",
			})
				.then((answer) => answer.text())
				.then(
					(text) => response.end(text),
					(error) => response.writeHead(500).end(String(error.cause ?? error)),
				);
			break;
		default:
			response.end(url);
	}
});
server.on("upgrade", (request, socket) => {
	tunnels.add(socket);
	socket.on("error", () => {});
	socket.once("close", () => tunnels.delete(socket));
	socket.write(
		`HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: ${request.headers.upgrade}\r\n\r\n`,
	);
	socket.pipe(socket);
});

process.on("SIGTERM", () => {
	say("sigterm", { open, tunnels: tunnels.size });
	if (atSigterm === "ignore") return;
	if (atSigterm === "exit") process.exit(Number(code));
	for (const socket of tunnels) socket.end();
	server.close(() => process.exit(Number(code)));
});
server.listen(Number(port), "127.0.0.1", () => say("listening", { port: server.address().port }));
