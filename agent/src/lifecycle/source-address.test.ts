import assert from "node:assert/strict";
import { test } from "node:test";
import {
	FALLBACK_SOURCE,
	type Interfaces,
	NO_SOURCE,
	ownAddresses,
	probeSource,
	rememberedAddresses,
	sourceAddresses,
	wantedSource,
} from "./source-address.ts";

const entry = (address: string, internal = false) => {
	const shared = { address, mac: "00:00:00:00:00:00", internal, netmask: "", cidr: null };
	return address.includes(":")
		? ({ ...shared, family: "IPv6", scopeid: 0 } as const)
		: ({ ...shared, family: "IPv4" } as const);
};
const pod: Interfaces = {
	lo: [entry("127.0.0.1", true), entry("::1", true)],
	eth0: [entry("10.0.0.7"), entry("fe80::1"), entry("fd00::7"), entry("169.254.1.1")],
	eth1: [entry("10.1.0.7")],
};
const alone: Interfaces = { lo: [entry("127.0.0.1", true)], gone: undefined };

test("the pod's own addresses are those that others can reach, in the order of the interfaces", () => {
	assert.deepEqual(ownAddresses(pod), ["10.0.0.7", "fd00::7", "10.1.0.7"]);
	assert.deepEqual(ownAddresses(alone), []);
	assert.ok(ownAddresses().every((address) => !address.startsWith("127.")));
});

const wishes: readonly [string, Interfaces, NodeJS.Platform, string | undefined, string | undefined][] = [
	["auto", pod, "linux", "10.0.0.7", "fd00::7"],
	["auto", pod, "darwin", "10.0.0.7", "fd00::7"],
	["auto", alone, "linux", FALLBACK_SOURCE, undefined],
	["auto", alone, "darwin", undefined, undefined],
	["none", pod, "linux", undefined, undefined],
	["127.0.0.9", pod, "linux", "127.0.0.9", undefined],
	["fd00::9", pod, "linux", undefined, "fd00::9"],
];
for (const [setting, interfaces, platform, ipv4, ipv6] of wishes) {
	const place = interfaces === pod ? "in a pod" : "without a network";
	test(`${setting} ${place} on ${platform} means ${ipv4 ?? "any"} and ${ipv6 ?? "any"}`, () => {
		assert.deepEqual(wantedSource(setting, interfaces, platform), { ipv4, ipv6 });
	});
}

const probeOf = (...working: readonly string[]) => {
	const asked: string[] = [];
	const probe = async (source: string): Promise<boolean> => {
		asked.push(source);
		return working.includes(source);
	};
	return { asked, probe };
};

test("addresses that cannot be asked for just now are those of before", () => {
	let isOut = true;
	let own: readonly string[] = ["10.0.0.7"];
	const addresses = rememberedAddresses(() => {
		if (isOut) throw new Error("EMFILE");
		return own;
	});
	assert.deepEqual(addresses(), []);
	isOut = false;
	assert.deepEqual(addresses(), ["10.0.0.7"]);
	isOut = true;
	assert.deepEqual(addresses(), ["10.0.0.7"]);
	isOut = false;
	own = ["10.0.0.8"];
	assert.deepEqual(addresses(), ["10.0.0.8"]);
});

test("an address that works is used, one that does not is left to the kernel, with the fallback before that", async () => {
	const all = probeOf("10.0.0.7", "fd00::7");
	assert.deepEqual(await sourceAddresses("auto", pod, "linux", all.probe), { ipv4: "10.0.0.7", ipv6: "fd00::7" });
	const none = probeOf();
	assert.deepEqual(await sourceAddresses("auto", pod, "linux", none.probe), NO_SOURCE);
	assert.deepEqual(none.asked, ["10.0.0.7", "fd00::7", FALLBACK_SOURCE]);
	const fallback = probeOf(FALLBACK_SOURCE);
	assert.deepEqual(await sourceAddresses("auto", pod, "linux", fallback.probe), {
		ipv4: FALLBACK_SOURCE,
		ipv6: undefined,
	});
	assert.deepEqual(await sourceAddresses("auto", pod, "darwin", probeOf().probe), NO_SOURCE);
});

test("the fallback that does not work is asked for once", async () => {
	const none = probeOf();
	assert.deepEqual(await sourceAddresses("auto", alone, "linux", none.probe), NO_SOURCE);
	assert.deepEqual(none.asked, [FALLBACK_SOURCE]);
});

test("an address that was configured is not tried and not replaced", async () => {
	const none = probeOf();
	assert.deepEqual(await sourceAddresses("127.0.0.9", pod, "linux", none.probe), {
		ipv4: "127.0.0.9",
		ipv6: undefined,
	});
	assert.deepEqual(await sourceAddresses("none", pod, "linux", none.probe), NO_SOURCE);
	assert.deepEqual(none.asked, []);
});

test("a real probe: loopback is reached from 127.0.0.6 on Linux, and from no address that is not ours", async (t) => {
	assert.equal(await probeSource("127.0.0.1"), true);
	assert.equal(await probeSource("203.0.113.9"), false);
	assert.equal(await probeSource("2001:db8::9"), false);
	if (process.platform !== "linux") return t.diagnostic("127.0.0.6 is only there on Linux");
	assert.equal(await probeSource(FALLBACK_SOURCE), true);
});

test("the pod's own address reaches loopback", async (t) => {
	const own = ownAddresses().find((address) => !address.includes(":"));
	if (own === undefined) return t.skip("this machine has no address but loopback");
	assert.equal(await probeSource(own), true);
	assert.equal((await sourceAddresses("auto")).ipv4, own);
});

test("a probe that was kept waiting by this process itself still says yes", async () => {
	const probing = probeSource("127.0.0.1");
	// The timer is then due before the first connection could be looked at.
	Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400);
	assert.equal(await probing, true);
});
