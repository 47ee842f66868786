// A page made by prom-client, with one of everything. `argv[2]`: where prom-client is; it is a dependency of the agent.
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

const client = (await import(pathToFileURL(process.argv[2]).href)).default;
client.collectDefaultMetrics();
const orders = new client.Counter({
	name: "peer_orders_total",
	help: "Orders, with a \\ and a\nline end.",
	labelNames: ["kind"],
});
orders.inc({ kind: 'quoted " and \\' }, 3);
orders.inc({ kind: "ünicode" });
new client.Gauge({ name: "peer_level", help: "A level." }).set(Number.NaN);
new client.Histogram({ name: "peer_work_seconds", help: "Work." }).observe(0.2);
new client.Summary({ name: "peer_wait_seconds", help: "Waiting." }).observe(1.5);
const server = createServer(async (_request, response) => {
	response.setHeader("content-type", client.register.contentType);
	response.end(await client.register.metrics());
});
server.listen(0, "127.0.0.1", () => console.log(`listening on 127.0.0.1:${server.address().port}`));
