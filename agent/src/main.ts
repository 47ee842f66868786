/**
 * argv → command → exit code, and the only process.exit. Nothing is imported statically: on an older Node the rest does not
 * even parse, and no command pays for the loading of another.
 */
const nodeMin = [22, 19] as const;

// Only what every Node since 14 understands, down to the next import().
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
const isTooOld = major < nodeMin[0] || (major === nodeMin[0] && minor < nodeMin[1]);

function tooOld(): number {
	process.stderr.write(`outrigger needs Node.js ${nodeMin.join(".")} or newer; this is ${process.versions.node}.\n`);
	return 1;
}

async function main(): Promise<number> {
	// A stop hook, which may run when the node is short of everything: in one small file of the bundle (`agent/build.ts`).
	if (process.argv[2] === "drain") return (await import("./commands/drain-alone.ts")).runDrainOnProcess();
	const [{ runOnProcess }, { COMMANDS }] = await Promise.all([
		import("./commands/process-io.ts"),
		import("./commands/registry.ts"),
	]);
	return runOnProcess(COMMANDS);
}

// The exit is explicit: a forgotten timer or socket must not keep a stopped agent alive until it is killed. A rejection is our
// mistake: nobody handles it, so Node prints its stack and ends with code 1.
Promise.resolve(isTooOld ? tooOld() : main()).then((code) => process.exit(code));
