import type { Fault } from "../../foundation/fault.ts";
import { FIELD } from "../../http1/field-names.ts";
import { METHOD } from "../../http1/methods.ts";
import type { Exchange } from "../exchange.ts";

/** Largest Max-Forwards that is counted down; what is larger is passed on as it is. */
const MAX_FORWARDS_DIGITS = 9;

/**
 * What a proxy has to do with a request before anybody looks at it: `OPTIONS` with Max-Forwards counts down, and at 0 this hop answers (RFC
 * 9110 §7.6.2). Syntax and framing were settled by the scanner: a head that comes here can be read in one way only.
 */
export const normalise = (x: Exchange): Fault | undefined => {
	if (x.methodId !== METHOD.OPTIONS) return undefined;
	const fields = x.head.fields;
	const at = fields.first(FIELD.MAX_FORWARDS);
	if (at < 0 || fields.countOf(FIELD.MAX_FORWARDS) > 1) return undefined;
	const start = fields.valueStart(at);
	const end = fields.valueEnd(at);
	if (end === start || end - start > MAX_FORWARDS_DIGITS) return undefined;
	let value = 0;
	for (let i = start; i < end; i++) {
		const digit = (x.headBytes[i] ?? 0) - 0x30;
		if (digit < 0 || digit > 9) return undefined; // not a number: nothing that we could count down
		value = value * 10 + digit;
	}
	if (value === 0) x.isAnsweredHere = true;
	else x.maxForwards = value - 1;
	return undefined;
};
