import type { Exchange } from "../exchange.ts";
import type { RouteTable } from "../route-table.ts";

/** Names the route for metrics and policy. The app may name another for the metrics when it answers (`return-fields.ts`). */
export const route = (routes: RouteTable) => (x: Exchange) => {
	x.routed = routes.match(x.headBytes, x.pathStart, x.pathEnd, x.method);
	return undefined;
};
