/**
 * The smallest thing that the bench takes for an agent, so that the way of a pod is tested without the real one: a relay, probes, a hook that
 * waits, a command that begins. It knows no request, so it loses some.
 */
import { writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { createRelay } from "../peers/relay.ts";

const portOf = (name: string): number => Number(/:(\d+)$/.exec(process.env[name] ?? "")?.[1]);
const [opsPort, apiPort] = [portOf("OUTRIGGER_OPS__LISTEN"), portOf("OUTRIGGER_API__LISTEN")];
/** Long enough that late clients have learned of it. */
const DRAIN_MS = 200;

if (process.argv[2] === "drain") {
	request({ port: apiPort, host: "127.0.0.1", method: "POST" }, (answer) => answer.resume()).end();
} else {
	const drained = Promise.withResolvers<void>();
	let isLeaving = false;
	const ops = createServer((asked, response) => {
		if (asked.url === "/lifecycle/drained") void drained.promise.then(() => response.end("idle"));
		else {
			response.statusCode = isLeaving && asked.url === "/readyz" ? 503 : 200;
			response.end();
		}
	});
	const api = createServer((_, response) => {
		isLeaving = true;
		setTimeout(drained.resolve, DRAIN_MS);
		response.end("{}");
	});
	ops.listen(opsPort, "127.0.0.1");
	api.listen(apiPort, "127.0.0.1");
	if (process.env["OUTRIGGER_CAPTURE"] === "port") {
		const relay = createRelay(Number(process.env["OUTRIGGER_APP_PORT"]));
		relay.listen(portOf("OUTRIGGER_INBOUND__0__LISTEN"), "127.0.0.1");
	}
	process.on("SIGTERM", () => {
		writeFileSync(process.env["OUTRIGGER_DRAIN__REPORT"] ?? "", JSON.stringify({ ended: "idle", served: 1 }));
		process.exit(0);
	});
}
