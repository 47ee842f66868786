import type { ExchangeRecord } from "../bridge/exchange-record.ts";

/** An exchange that went well, with the changes that a test wants. */
export function recordOf(changes: Partial<ExchangeRecord> = {}): ExchangeRecord {
	return {
		thread: 0,
		inbound: 0,
		startedWallMs: 1_700_000_000_000,
		durationMs: 20,
		connectMs: 1,
		waitMs: 12,
		receiveMs: 6,
		method: "GET",
		minorVersion: 1,
		status: 200,
		faultIndex: -1,
		endedBy: "app",
		state: "ready",
		flags: 0,
		requestBodyBytes: 0,
		responseBodyBytes: 512,
		path: "/users/7",
		query: "token=secret",
		userAgent: "curl/8",
		requestId: "req-1",
		correlationId: "corr-1",
		traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
		spanId: "00f067aa0ba902b7",
		clientSpanId: "00f067aa0ba902b8",
		parentSpanId: "",
		clientAddress: "10.0.0.9",
		route: "/users/{id}",
		...changes,
	};
}
