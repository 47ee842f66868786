import { CELL, type Counters } from "../../bridge/counters.ts";
import type { Settings } from "../../config/settings.ts";
import { FIELD, type FieldNames } from "../../http1/field-names.ts";
import type { HeadEdit } from "../../http1/head-edit.ts";
import { MARK } from "../../http1/scan-fields.ts";
import type { ResponseHead } from "../../http1/scan-response-head.ts";
import type { Exchange } from "../exchange.ts";
import type { RouteTable } from "../route-table.ts";

const ascii = (text: string): Buffer => Buffer.from(text, "latin1");
const LINE_END = ascii("\r\n");

/**
 * The fields of a response on its way back: what is hop-by-hop or ours stops here, the app's copies of the ids are replaced by those of the
 * exchange, and the route that the app names is taken for the metrics.
 */
export class ReturnFields {
	readonly #requestIdField: number;
	readonly #correlationIdField: number;
	readonly #requestIdName: Buffer;
	readonly #correlationIdName: Buffer;
	readonly #routes: RouteTable;
	readonly #counters: Counters;

	constructor(identity: Settings["identity"], names: FieldNames, routes: RouteTable, counters: Counters) {
		const requestId = identity.headers[0] ?? "x-request-id";
		const correlationId = identity.headers[1] ?? requestId;
		this.#requestIdField = names.idOf(requestId);
		this.#correlationIdField = names.idOf(correlationId);
		this.#requestIdName = ascii(`${requestId}: `);
		this.#correlationIdName = ascii(`${correlationId}: `);
		this.#routes = routes;
		this.#counters = counters;
	}

	/** Edits a head, final or not, that `edit` has begun with. */
	apply(x: Exchange, head: ResponseHead, bytes: Buffer, edit: HeadEdit): void {
		for (let i = 0; i < head.fieldCount; i++) {
			const id = head.fieldId(i);
			if (head.mark(i) !== MARK.FORWARD || id === this.#requestIdField || id === this.#correlationIdField) {
				edit.cutField(head, i);
			}
		}
		if (head.isInformational) return;
		edit.put(this.#requestIdName);
		edit.putRange(x.requestIdBytes, x.requestIdStart, x.requestIdEnd);
		edit.put(LINE_END);
		if (this.#correlationIdField !== this.#requestIdField) {
			edit.put(this.#correlationIdName);
			edit.putRange(x.correlationIdBytes, x.correlationIdStart, x.correlationIdEnd);
			edit.put(LINE_END);
		}
		const hintAt = head.first(FIELD.X_OUTRIGGER_ROUTE);
		if (hintAt >= 0) {
			const hinted = this.#routes.hint(bytes, head.valueStart(hintAt), head.valueEnd(hintAt));
			if (hinted === undefined) this.#counters.add(CELL.ROUTE_HINTS_REJECTED, 1);
			else x.routed = hinted;
		}
	}
}
