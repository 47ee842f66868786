import assert from "node:assert/strict";
import { test } from "node:test";
import { FAULT_LIST, FAULTS } from "./fault.ts";

test("each fault is found by its reason and by its index, and none can be changed", () => {
	assert.equal(Object.keys(FAULTS).length, FAULT_LIST.length);
	for (const [index, fault] of FAULT_LIST.entries()) {
		assert.equal(fault.index, index);
		assert.equal(FAULTS[fault.reason], fault);
		assert.ok(Object.isFrozen(fault), fault.reason);
	}
	assert.ok(Object.isFrozen(FAULTS));
});

test("a reason is a label, and its sentence can go into an answer as it is", () => {
	for (const { reason, detail } of FAULT_LIST) {
		assert.match(reason, /^[a-z][a-z0-9]*(_[a-z0-9]+)*$/);
		assert.match(detail, /^[A-Z][^\r\n"\\]*\.$/, reason);
	}
});

test("the status says whose fault it is: 4xx the client's, 502 and 504 the app's, 500 and 503 ours", () => {
	for (const { reason, blame, status } of FAULT_LIST) {
		if (status === 0) continue;
		const fits = {
			downstream: (status >= 400 && status < 500) || status === 501 || status === 505,
			upstream: status === 502 || status === 504,
			agent: status === 500 || status === 503,
		};
		assert.ok(fits[blame], `${reason}: ${status} is not for ${blame}`);
	}
});

test("only what happened before an answer began is sent again, and only when the app closed the connection", () => {
	const resent = FAULT_LIST.filter(({ resend }) => resend).map(({ reason }) => reason);
	assert.deepEqual(resent, ["app_closed", "app_reset"]);
});

test("where a head or a body cannot be told apart from what follows, the connection ends", () => {
	for (const { reason, closes } of FAULT_LIST) {
		if (/^(head|host|length|coding|chunk|trailer)_/.test(reason)) assert.ok(closes, reason);
	}
	for (const { reason, blame, closes } of FAULT_LIST) {
		if (blame === "upstream") assert.ok(!closes, `${reason}: the client has done nothing wrong`);
	}
});
