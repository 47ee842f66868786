/**
 * The repository's Node example with two paths more, an upload and a download, and without its care for SIGTERM: Node ends at once, as it
 * does for everybody who has not thought of it. PORT and DOWNLOAD_BYTES come from the environment.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createApp } from "../../../../examples/node/app.ts";
import { createOrders } from "../../../../examples/node/orders.ts";
import { patternOf } from "../../body.ts";

/** Ten lines: an invoice takes some 100 ms. */
const INVOICE_LINE_MS = 10;

const orders = createOrders(() => new Date(0));
orders.create({ item: "rope" });
const example = createApp({ orders, invoiceLineMs: INVOICE_LINE_MS, heartbeatMs: 15_000 }).server;
const download = patternOf(Number(process.env["DOWNLOAD_BYTES"]));

async function answerUpload(request: IncomingMessage, response: ServerResponse): Promise<void> {
	const hash = createHash("sha256");
	let length = 0;
	for await (const bytes of request as AsyncIterable<Buffer>) {
		hash.update(bytes);
		length += bytes.length;
	}
	response.setHeader("content-type", "application/json");
	response.end(JSON.stringify({ length, sha256: hash.digest("hex") }));
}

createServer((request, response) => {
	if (request.url === "/download") {
		response.setHeader("content-length", download.length);
		response.end(download);
	} else if (request.url === "/upload") {
		answerUpload(request, response).catch(() => response.destroy()); // the client has left
	} else {
		example.emit("request", request, response);
	}
}).listen({ port: Number(process.env["PORT"]), host: "127.0.0.1" });
