/**
 * The example application as a process. `PORT` (default 3000, 0 for any free one) and `HOST` (default: all addresses) say
 * where it listens; the line that it prints says where it is. SIGTERM and Ctrl-C let what is running finish.
 */
import type { AddressInfo } from "node:net";
import { createApp } from "./app.ts";
import { createOrders } from "./orders.ts";

const port = Number(process.env.PORT ?? 3000);
if (!Number.isInteger(port) || port < 0 || port > 65535) {
	console.error(`orders: PORT is "${process.env.PORT}"; a number from 0 to 65535 is expected`);
	process.exit(78);
}

const { server, stop } = createApp({ orders: createOrders(), invoiceLineMs: 200, heartbeatMs: 15_000 });
server.on("error", (error) => {
	console.error(`orders: cannot listen on port ${port}: ${error.message}`);
	process.exit(1);
});
server.listen({ port, host: process.env.HOST }, () => {
	console.log(`orders: listening on port ${(server.address() as AddressInfo).port}`);
});

for (const signal of ["SIGTERM", "SIGINT"] as const) {
	process.once(signal, () => {
		console.log(`orders: ${signal}, finishing what is running`);
		void stop().then(() => console.log("orders: stopped"));
	});
}
