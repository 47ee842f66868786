import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ID_BYTES_MAX, IdSource, isValidId, UUID_BYTES } from "./ids.ts";

interface Vectors {
	readonly valid: readonly string[];
	readonly invalid: readonly string[];
	readonly uuid7: readonly { readonly wallMs: number; readonly begins: string }[];
}

// Written by us and read by every language; its shape is checked by the assertions that use it.
const vectors = JSON.parse(
	readFileSync(new URL("../../../proto/vectors/ids.json", import.meta.url), "utf8"),
) as Vectors;

const uuid7 = (source: IdSource, wallMs: number): string => {
	const out = Buffer.alloc(UUID_BYTES);
	source.writeUuid7(out, 0, wallMs);
	return out.toString("latin1");
};

const FORM = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

describe("ids from outside", () => {
	for (const id of vectors.valid) {
		it(`${JSON.stringify(id).slice(0, 60)} is kept`, () => {
			const bytes = Buffer.from(`\u0000${id}\u0000`);
			assert.equal(isValidId(bytes, 1, bytes.length - 1), true);
		});
	}
	for (const id of vectors.invalid) {
		it(`${JSON.stringify(id).slice(0, 60)} is not kept`, () => {
			const bytes = Buffer.from(`a${id}a`);
			assert.equal(isValidId(bytes, 1, bytes.length - 1), false);
		});
	}

	it("are judged as the alphabet says, whatever the bytes", () => {
		fc.assert(
			fc.property(fc.uint8Array({ maxLength: ID_BYTES_MAX + 4 }), (bytes) => {
				const isInAlphabet = /^[A-Za-z0-9._:+/=-]{1,128}$/.test(Buffer.from(bytes).toString("latin1"));
				assert.equal(isValidId(bytes, 0, bytes.length), isInAlphabet);
			}),
		);
	});
});

describe("UUIDv7", () => {
	for (const { wallMs, begins } of vectors.uuid7) {
		it(`at ${wallMs} begins with ${begins}`, () => {
			const text = uuid7(new IdSource(), wallMs);
			assert.match(text, FORM);
			assert.equal(text.slice(0, begins.length), begins);
		});
	}

	it("is a valid id, and stands where it was asked for", () => {
		const out = Buffer.alloc(UUID_BYTES + 4, "x");
		new IdSource().writeUuid7(out, 2, 1_700_000_000_000);
		assert.match(out.toString("latin1"), /^xx[0-9a-f-]{36}xx$/);
		assert.equal(isValidId(out, 2, 2 + UUID_BYTES), true);
	});

	it("sorts in the order of making, however the clock stands, slews or runs", () => {
		fc.assert(
			fc.property(fc.array(fc.integer({ min: -9_000, max: 50 }), { maxLength: 200 }), (steps) => {
				const source = new IdSource();
				let highest = 1_700_000_000_000;
				let before = "";
				for (const step of steps) {
					const id = uuid7(source, highest + step);
					highest = Math.max(highest, highest + step);
					assert.match(id, FORM);
					assert.ok(before < id, `${before} is not before ${id}`);
					before = id;
				}
			}),
		);
	});

	it("lets the timestamp run ahead when a millisecond's counter is used up", () => {
		// All bits of the pool set: the counter starts at 0x7ff, so 2,049 ids fit into the first millisecond.
		const source = new IdSource((target) => target.fill(0xff));
		const seen = new Set<string>();
		let before = "";
		for (let i = 0; i < 5000; i += 1) {
			const id = uuid7(source, 1000);
			assert.ok(before < id);
			before = id;
			seen.add(id.slice(0, 13));
		}
		assert.deepEqual([...seen], ["00000000-03e8", "00000000-03e9", "00000000-03ea"]);
	});

	it("follows a clock that was set back by more than ten seconds", () => {
		const source = new IdSource();
		uuid7(source, 1_645_557_742_000);
		assert.equal(uuid7(source, 1_645_557_700_000).slice(0, 13), "017f22e1-d5a0");
	});

	it("does not repeat", () => {
		const source = new IdSource();
		const seen = new Set<string>();
		for (let i = 0; i < 20_000; i += 1) seen.add(uuid7(source, 1_700_000_000_000));
		assert.equal(seen.size, 20_000);
	});
});

describe("random ids", () => {
	it("are lower-case hex of the length asked for, at the place asked for", () => {
		const out = Buffer.alloc(40, "x");
		const source = new IdSource((target) => {
			for (let i = 0; i < target.length; i += 1) target[i] = i & 0xff;
		});
		source.writeHex(out, 2, 8);
		source.writeHex(out, 20, 8);
		assert.equal(out.toString("latin1"), "xx0001020304050607xx08090a0b0c0d0e0fxxxx");
	});

	it("are never all zero", () => {
		let fills = 0;
		const source = new IdSource((target) => {
			fills += 1;
			target.fill(fills === 1 ? 0 : 0xab);
		});
		const out = Buffer.alloc(16);
		source.writeHex(out, 0, 8);
		assert.equal(out.toString("latin1"), "abababababababab");
		assert.equal(fills, 2);
	});

	it("draw from the system once for hundreds of ids", () => {
		let fills = 0;
		const source = new IdSource((target) => {
			fills += 1;
			target.fill(fills);
		});
		const out = Buffer.alloc(32);
		for (let i = 0; i < 512; i += 1) source.writeHex(out, 0, 16);
		assert.equal(fills, 1);
		source.writeHex(out, 0, 16);
		assert.equal(fills, 2);
	});
});
