import { FAULTS, type Fault } from "../../foundation/fault.ts";
import { FRAMING } from "../../http1/body-framing.ts";
import type { Exchange } from "../exchange.ts";

/** Bounds that are set per route. A body that says that it is too large is refused before it is asked for. */
export const policy = (x: Exchange): Fault | undefined => {
	const bounds = x.routed?.policy;
	if (bounds === undefined) return undefined;
	x.bodyBytesMax = bounds.bodyBytesMax;
	x.responseMs = bounds.responseMs;
	const head = x.head;
	return head.framing === FRAMING.LENGTH && head.contentLength > x.bodyBytesMax ? FAULTS.body_too_large : undefined;
};
